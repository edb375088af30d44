"""Who may come in. One check in front of everything, for HTTP and WebSocket alike.

Browsers let any page reach loopback, so the door trusts no page but its own: Host must be ours (which defeats DNS
rebinding), Origin absent or ours, Sec-Fetch-Site same-origin, and a body JSON, which no foreign form can send. CORS
headers go to the origins alone that the owner invites by name. Beyond loopback a token is required on top; the
dashboard's own files, which hold nothing of an agent, are given without it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import field, frozen

from protocol.settings import ServerSettings
from server.door.pages import is_page
from server.door.problems import Problem
from server.settings import reached_at

Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
SUBPROTOCOL: Final = "forestay.v1"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN: Final = (
    (b"access-control-expose-headers", b"Link, X-Last-Seq, X-Log-Id"),
    (b"vary", b"Origin"),
)
_MAY_SEND: Final = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type"),
    (b"access-control-max-age", b"600"),
)


@frozen
class Gate:
    """Wraps an ASGI app; what does not pass never reaches it."""

    app: App
    settings: ServerSettings
    port: int
    _hosts: frozenset[str] = field(init=False)
    _origins: frozenset[str] = field(init=False)
    _invited: frozenset[str] = field(init=False)  # other origins that the owner lets in

    def __attrs_post_init__(self) -> None:
        names = {*LOOPBACK, reached_at(self.settings.host)} - {"::1"}
        hosts = {f"{name}:{self.port}" for name in names} | {host.lower() for host in self.settings.allowed_hosts}
        if self.port == 80:
            hosts |= names
        object.__setattr__(self, "_hosts", frozenset(hosts))
        object.__setattr__(self, "_invited", frozenset(origin.lower() for origin in self.settings.allowed_origins))
        object.__setattr__(self, "_origins", self._invited | {f"http://{host}" for host in hosts})

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        problem = self._stranger(headers, scope)
        if problem is None and scope["type"] == "http" and (guest := self._guest(headers)):
            send = _readable_for(guest, send)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                return await _welcome(send)
        problem = problem or self._unreadable(headers, scope)
        if problem is None and scope["type"] == "http" and not is_page(scope["method"], scope["path"]):
            problem = self._unknown(headers, scope)
        if problem is not None:
            return await _refuse(problem, scope, send)
        if scope["type"] == "websocket":
            scope = {**scope, "forestay.token": self._unknown(headers, scope) is None}
        return await self.app(scope, receive, send)

    def _stranger(self, headers: dict[str, list[str]], scope: Scope) -> Problem | None:
        """Not from our own page, program or address."""
        host = headers.get("host", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return Problem(403, "HOST_FORBIDDEN", "the Host header names another server than this one")
        origin = headers.get("origin", [])
        if origin and (len(origin) > 1 or origin[0].lower() not in self._origins):
            return Problem(403, "ORIGIN_FORBIDDEN", "pages of another origin may not use this server")
        trusted_page = self._guest(headers) is not None
        site = headers.get("sec-fetch-site", ["none"])
        opens_page = scope["path"] == "/" and headers.get("sec-fetch-mode") == ["navigate"]
        if not trusted_page and not opens_page and site not in (["same-origin"], ["none"]):
            return Problem(403, "ORIGIN_FORBIDDEN", "pages of another site may not use this server")
        return None

    def _guest(self, headers: dict[str, list[str]]) -> str | None:
        """The origin of a page that the owner invites."""
        origin = headers.get("origin", [])
        return origin[0] if origin and origin[0].lower() in self._invited else None

    def _unreadable(self, headers: dict[str, list[str]], scope: Scope) -> Problem | None:
        if scope["type"] != "http" or scope["method"] in _READING:
            return None
        if scope["method"] == "DELETE" and _is_empty(headers):
            return None  # no form of a foreign page can send that
        kind = headers.get("content-type", [""])[0].split(";")[0].strip().lower()
        if kind not in ("application/json", "application/merge-patch+json"):
            return Problem(415, "UNSUPPORTED_MEDIA_TYPE", "send the body as application/json")
        return None

    def _unknown(self, headers: dict[str, list[str]], scope: Scope) -> Problem | None:
        """Without the token, where one is set. Only on a WebSocket may it come as a subprotocol."""
        token = self.settings.token
        if token is None:
            return None
        given = headers.get("authorization", [])
        lines = headers.get("sec-websocket-protocol", []) if scope["type"] == "websocket" else []
        offered = [part.strip() for line in lines for part in line.split(",")]
        bearers = [value.split(" ", 1)[1].strip() for value in given if value.lower().startswith("bearer ")]
        shown = [*bearers, *(text.removeprefix("token.") for text in offered if text.startswith("token."))]
        if any(hmac.compare_digest(token.encode(), text.encode()) for text in shown):
            return None
        return Problem(401, "TOKEN_REQUIRED", "this server wants its token: Authorization: Bearer ...")


def _is_empty(headers: dict[str, list[str]]) -> bool:
    return "transfer-encoding" not in headers and headers.get("content-length", ["0"]) == ["0"]


def _readable_for(guest: str, send: Any) -> Any:
    """Let a page of that origin read what is answered (the Fetch standard's CORS protocol)."""

    async def readable(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {
                **message,
                "headers": [*message["headers"], (b"access-control-allow-origin", guest.encode()), *_OPEN],
            }
        await send(message)

    return readable


async def _welcome(send: Any) -> None:
    """The browser asks beforehand what a guest may send."""
    await send({"type": "http.response.start", "status": 204, "headers": list(_MAY_SEND)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(problem: Problem, scope: Scope, send: Any) -> None:
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": problem.body(), "more_body": False})
