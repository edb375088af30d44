"""Problem details (RFC 9457), out of whatever came with an answer that is a no."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from protocol.codec import from_json
from server.client.address import Address
from server.client.errors import Refused

_SAID = frozenset({"type", "title", "status", "detail", "code", "errors"})


def refused(status: int, body: bytes, address: Address) -> Refused:
    """The daemon's own words; where it is not the daemon that speaks, as a proxy may, those of HTTP."""
    try:
        found: Any = from_json(address.clean(body.decode()))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in ("code", "detail")):
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "no"
        return Refused(status, f"HTTP_{status}", f"{address.base} answers {status} {phrase}")
    errors = found.get("errors")
    lines = tuple(str(line) for line in errors) if isinstance(errors, list) else ()
    extra = {name: value for name, value in found.items() if name not in _SAID}
    return Refused(status, found["code"], found["detail"], lines, **extra)
