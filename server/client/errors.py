"""What a client is told instead of an answer."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Something that a client asked for did not come. Its text is one line for people; a token is never in it."""


class Refused(ClientError):
    """The daemon said no, in problem details (RFC 9457): `status`, the stable word `code`, the sentence `detail`, and
    `errors`, one line for each bad value. `extra` has what else was in it, such as a promotion's `checks`."""

    def __init__(self, status: int, code: str, detail: str, errors: tuple[str, ...] = (), **extra: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.detail, self.errors, self.extra = status, code, detail, errors, extra

    @property
    def passes(self) -> bool:
        """Is it "not right now", the daemon's own or a proxy's that does not find it? Then asking again can help."""
        return self.status >= 500 or self.status == 429


class Unreachable(ClientError):
    """Nobody answers at that address. A daemon that is being started again does soon: asking again can help."""


class Unexpected(ClientError):
    """What answers there breaks the API's promises: it is no daemon of this kind, or of a much later version, or its
    certificate is not to be trusted. Asking again cannot help."""


class AnotherLog(ClientError):
    """Behind the address is another log than before, whose seqs begin anew: drop what you have, and start over."""

    def __init__(self, known: str, found: str) -> None:
        super().__init__(f"this is another log ({found}) than before ({known}): start over")
        self.known, self.found = known, found
