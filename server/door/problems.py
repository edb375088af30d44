"""Errors as clients get them: RFC 9457 problem details, `code` a stable upper-case word. Never a traceback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from quart import Response

from actors.tower import Died, MailboxFull, TooLate
from protocol.answers import ProblemDetails
from protocol.codec import encoded

T = TypeVar("T")
TITLES: Final = {
    400: "Bad request",
    401: "Token missing or wrong",
    403: "Not from here",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "The state forbids it",
    413: "Too large",
    415: "The body must be JSON",
    422: "Impossible value",
    429: "Too many requests",
    500: "Internal error",
    503: "Not right now",
}


class Problem(Exception):
    """An answer that is an error. `extra` are further members, such as `errors`, one line each."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.extra = status, code, detail, extra

    def body(self) -> bytes:
        title = TITLES.get(self.status, "Error")
        return encoded(ProblemDetails("about:blank", title, self.status, self.detail, self.code, **self.extra))

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"} if self.status == 503 else {}

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers(), content_type="application/problem+json")


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """What an actor is asked; what keeps it from answering becomes a 503."""
    try:
        return await ask()
    except (Died, MailboxFull, TooLate) as error:
        raise Problem(503, "RESTARTING", f"the daemon could not take it now: {error}") from None
