"""The guard's own memory on the disk: `ledger.jsonl`, append-only, each line's hash covering the line before it.

What `append` has returned from is on the disk; a signature leaves only after that. A last line without its line end
was torn in the writing: the append did not return, so nothing left because of it, and it is cut off, with a record.
Anything else that does not verify stops the guard: what it has spent and signed is not known any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from protocol.codec import from_json, to_json
from protocol.errors import UserError
from protocol.signing import pack, unpack
from protocol.times import EPOCH, from_wire, to_wire
from server.guard.books import RECORDS, Books, Opened, Record, TailCut

FILE_NAME: Final = "ledger.jsonl"
LOCK_NAME: Final = "lock"
# Space that is let go when the disk is full, so that a kill can be written even then.
BALLAST_NAME: Final = "ballast"
_BALLAST_BYTES: Final = 65_536
_SEAL: Final = len(b',"hash":"' + b"0" * 64 + b'"}')
_NOTHING: Final = bytes(32)  # what the first line follows
_SHOWN: Final = 200  # bytes of a torn line that its record keeps


class Damaged(UserError):
    """The ledger is not what was written. A person must see to it."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(
            f"{path}: line {line} is not what was written: {reason}. The guard does not know any more what it has "
            "signed and spent, and signs nothing; see docs/guard.md, When the ledger is damaged"
        )


class Unwritable(Exception):
    """The disk did not take a record. Nothing leaves because of it."""


@contextmanager
def only_guard(folder: Path) -> Iterator[None]:
    """Hold the guard's folder for this process. Raises UserError where another guard has it."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"{folder}: cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: another guard runs in it") from None
        yield
    finally:
        os.close(handle)


def seal(previous: bytes, number: int, at: datetime, record: Record) -> tuple[bytes, bytes]:
    """The line of `record`, its line end included, and its hash."""
    body = to_json({"n": number, "at": to_wire(at), "kind": record.kind, **pack(record)})
    digest = blake2b(previous + body, digest_size=32).digest()
    return body[:-1] + b',"hash":"' + digest.hex().encode() + b'"}\n', digest


def unseal(previous: bytes, number: int, line: bytes) -> tuple[datetime, Record, bytes]:
    """The inverse of `seal`, for a line without its line end. Raises ValueError."""
    body = line[:-_SEAL] + b"}"
    digest = blake2b(previous + body, digest_size=32).digest()
    if line[-_SEAL:] != b',"hash":"' + digest.hex().encode() + b'"}':
        raise ValueError("its hash does not follow from what is there")
    data: Any = from_json(body)
    if data.pop("n") != number:
        raise ValueError("it is out of its order")
    at = from_wire(data.pop("at"))
    return at, unpack(data, RECORDS[data.pop("kind")]), digest


class Ledger:
    """The writer's hand on the ledger. `books` is all of it, folded."""

    def __init__(self, path: Path) -> None:
        """Open, verify, cut a torn tail. Raises Damaged or UserError."""
        self._path = path
        self._broken = ""
        self.books = Books()
        try:
            content = path.read_bytes()
            self._number, self._head, self._at, torn = _fold(path, content, self.books)
            self._length = len(content) - len(torn)
            _write_again(path, content[: self._length])
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            _weigh_down(path.parent)
            if torn:
                self.append(TailCut(torn[:_SHOWN].hex()), self._at)
        except FileNotFoundError:
            raise UserError(
                f"{path}: there is no ledger, so what was signed and spent is not known; `forestay guard init` begins "
                "one, for a new wallet"
            ) from None
        except (OSError, Unwritable) as error:
            raise UserError(f"{path}: the ledger cannot be used: {error}") from None

    @classmethod
    def create(cls, path: Path, address: str, at: datetime) -> None:
        """Begin a ledger for a wallet. Raises FileExistsError where there is one."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, seal(_NOTHING, 1, at, Opened(address))[0])
            os.fsync(handle)
        finally:
            os.close(handle)
        _sync_folder(path.parent)

    @property
    def head(self) -> tuple[int, str]:
        """How many records there are, and the last one's hash."""
        return self._number, self._head.hex()

    def append(self, record: Record, at: datetime, *, at_any_cost: bool = False) -> None:
        """Record, durably on return, and fold into the books. Raises Unwritable, and then the record is not there.
        `at_any_cost` gives the ballast away for it."""
        at = max(at, self._at)
        line, digest = seal(self._head, self._number + 1, at, record)
        try:
            self._write(line)
        except Unwritable as error:
            if not at_any_cost or not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.ENOSPC:
                raise
            (self._path.parent / BALLAST_NAME).unlink(missing_ok=True)
            self._write(line)
        self.books.apply(record, at)
        self._number, self._head, self._at = self._number + 1, digest, at

    def close(self) -> None:
        os.close(self._handle)

    def _write(self, line: bytes) -> None:
        if self._broken:
            raise Unwritable(self._broken)
        try:
            if os.write(self._handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a full disk shows first as a short write
        except OSError as error:
            try:
                os.ftruncate(self._handle, self._length)
            except OSError:
                self._broken = "what was half written could not be taken back; start the guard again"
            raise Unwritable(f"the disk does not take it: {error.strerror}") from error
        try:
            os.fsync(self._handle)
        except OSError as error:
            # What is on the disk now nobody knows, and another sync of this handle would not tell.
            self._broken = "a sync has failed; start the guard again"
            raise Unwritable(f"the disk does not keep it: {error.strerror}") from error
        self._length += len(line)


def read(path: Path) -> Books:
    """The books, beside a running guard or without one; a torn tail is passed over. Raises Damaged or UserError."""
    books = Books()
    try:
        _fold(path, path.read_bytes(), books)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return books


def _fold(path: Path, content: bytes, books: Books) -> tuple[int, bytes, datetime, bytes]:
    """Fold all whole lines into `books`: how many, the last one's hash and time, and what was torn. Raises Damaged."""
    *lines, torn = content.split(b"\n")
    head, last = _NOTHING, EPOCH
    for number, line in enumerate(lines, start=1):
        try:
            last, record, head = unseal(head, number, line)
            books.apply(record, last)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(path, number, str(error)) from None
    if not lines:
        raise Damaged(path, 1, "there is no whole line")
    if torn and _was_whole(head, len(lines) + 1, torn):
        raise Damaged(path, len(lines) + 1, "it is whole, but for its line end")
    return len(lines), head, last, torn


def _was_whole(head: bytes, number: int, torn: bytes) -> bool:
    """A torn line is a beginning of one. All of one with another byte at its end was whole, and may have let a
    signature out."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        unseal(head, number, torn[:-1])
        return True
    return False


def _write_again(path: Path, content: bytes) -> None:
    """What was read may be in the system's cache only, left there by a guard that was killed before its sync. It is
    written over itself and synced before it is believed, as the daemon's log is (docs/decisions/0013)."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, len(content))
        done = 0
        while done < len(content):
            done += os.pwrite(handle, content[done:], done)
        os.fsync(handle)
    finally:
        os.close(handle)
    _sync_folder(path.parent)


def _weigh_down(folder: Path) -> None:
    """See that there is ballast; the disk may be too full for it."""
    path = folder / BALLAST_NAME
    with suppress(OSError):
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, os.urandom(_BALLAST_BYTES))
                os.fsync(handle)
            finally:
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
