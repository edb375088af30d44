"""What came instead of an answer, as an error of ours: a no, something else than the API, or nothing."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import h11

from protocol.codec import from_json
from server.client.address import Address
from server.client.errors import Refused, Unexpected, Unreachable

_SAID = frozenset({"type", "title", "status", "detail", "code", "errors"})
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def refused(status: int, body: bytes, address: Address) -> Refused:
    """Problem details (RFC 9457), the daemon's own words; where it is not the daemon that speaks, as a proxy may, those
    of HTTP."""
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


def unlike(address: Address, why: str) -> Unexpected:
    return Unexpected(f"{address.base}: what answers there is no Forestay daemon: {address.clean(why)}")


def unanswered(error: Exception, address: Address) -> Unreachable | Unexpected:
    """An error of a connection. What cannot be cured by coming back is Unexpected: a handshake of TLS that one end will
    not have, and what is not HTTP. A connection that merely ended is neither."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return unlike(address, f"its certificate is not to be trusted: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _ENDED):
            return unlike(address, f"it does not speak TLS as we do: {cause.reason or cause}")
        if isinstance(cause, h11.LocalProtocolError) or _is_no_http(cause):
            return unlike(address, "it does not speak HTTP")
    system = (_of_the_system(cause) for cause in _causes(error) if isinstance(cause, OSError))
    said = address.clean(next(filter(None, system), str(error))) or type(error).__name__
    return Unreachable(f"{address.base}: no daemon answers there: {said}")


def _of_the_system(cause: OSError) -> str:
    """Such as "Connection refused", without the words that a library has put around it; "" where it is none of these.
    What a name has failed by has a number of its own, below zero."""
    return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or ""


def _is_no_http(cause: BaseException) -> bool:
    """h11 says the same of an answer that broke off, in other words."""
    return isinstance(cause, h11.RemoteProtocolError) and not str(cause).startswith("peer ")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
        if isinstance(error, BaseExceptionGroup):  # of each address of a name
            error = error.exceptions[0]
