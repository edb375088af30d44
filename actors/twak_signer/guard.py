"""The way to the signing guard: one question on a connection of its own, over a Unix socket."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from protocol.errors import Outage
from protocol.signing import LONGEST_LINE, Answer, Question, read_answer, to_line

ANSWER_SECONDS: Final = 5.0


class Guard(Protocol):
    """The port to the guard."""

    async def ask(self, question: Question, /, *, within: float = ANSWER_SECONDS) -> Answer | Outage:
        """Its answer. An Outage says nothing of what the guard has done: it may have signed, and its answer be lost."""


class SocketGuard:
    """The guard that listens at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def ask(self, question: Question, /, *, within: float = ANSWER_SECONDS) -> Answer | Outage:
        with trio.move_on_after(within):
            try:
                async with await trio.open_unix_socket(self._path) as stream:
                    await stream.send_all(to_line(question))
                    return read_answer(await _line(stream))
            except (OSError, ValueError, trio.BrokenResourceError) as error:
                return Outage("guard", f"the signing guard gives no answer: {error}")
        return Outage("guard", f"the signing guard gives no answer within {within:.0f} s")


async def _line(stream: trio.SocketStream) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        chunk = await stream.receive_some(4096)
        if not chunk:
            raise ValueError("it has hung up")
        said += chunk
        if len(said) > 64 * LONGEST_LINE:
            raise ValueError("it says too much")
    return said
