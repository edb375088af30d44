"""The TwakSigner: the way to the signing guard. In paper nothing is armed, and it says so to whoever asks."""

from __future__ import annotations

from typing import Any

from actors.messages import Sign
from actors.tower import Actor
from protocol.errors import Refusal


class TwakSigner(Actor):
    async def receive(self, message: Any) -> Any:
        match message:
            case Sign():
                return Refusal("not_armed", "signing is not armed: the agent trades on paper")
            case _:
                raise TypeError(f"the TwakSigner does not take {message!r}")
