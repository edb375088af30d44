"""Asking a running guard, for the command line: one question, one answer, and no daemon in between."""

from __future__ import annotations

import socket
import struct
from typing import Final

from protocol.errors import UserError
from protocol.signing import LONGEST_LINE, Answer, Question, read_answer, to_line

SECONDS: Final = 30.0


class NoGuard(UserError):
    """Nobody listens there."""


def ask(path: str, question: Question, *, only_of: int | None = None) -> Answer:
    """`only_of` is the user that the guard must run as, for questions with a secret. Raises NoGuard or UserError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # Where many knock at once, a socket with a time-out of Python's is turned away; this one waits for its turn.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SECONDS), 0))
        try:
            sock.connect(path)
            sock.settimeout(SECONDS)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoGuard(f"{path}: no guard listens there") from None
        except OSError as error:
            raise UserError(f"{path}: the guard cannot be reached: {error.strerror or error}") from None
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if only_of is not None and uid != only_of:
            raise UserError(f"{path}: user {uid} listens there, and not {only_of}, whose guard it should be")
        try:
            sock.sendall(to_line(question))
            return read_answer(_line(sock))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the guard gives no answer: {error}") from None


def _line(sock: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        chunk = sock.recv(4096)
        if not chunk:
            raise ValueError("it has hung up")
        said += chunk
        if len(said) > 64 * LONGEST_LINE:
            raise ValueError("it says too much")
    return said
