"""The log on disk: one SQLite file, one writer, any number of readers.

Two tables carry meaning: `log`, append-only, and `meta`, which names it. `checkpoint` is a cache of folded states and
may be deleted at any time. What `append` has returned from is on the disk (WAL, synchronous=FULL).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import apsw
from attrs import frozen

from actors.journal.chain import NOTHING, Head, Sealed, link
from protocol.codec import from_json, to_json
from protocol.times import from_wire, to_millis

LAYOUT: Final = 2
FILE_NAME: Final = "log.sqlite3"
# Checkpoints are a cache of folded states; another shape of states is another maker, and its checkpoints are ignored.
MAKER: Final = "forestay-5"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS log (
    row INTEGER PRIMARY KEY, seq INTEGER UNIQUE, ts INTEGER NOT NULL, kind TEXT NOT NULL, type TEXT,
    body TEXT NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS log_by_kind ON log (kind, row);
CREATE INDEX IF NOT EXISTS log_by_type ON log (type, seq) WHERE type IS NOT NULL;
CREATE TABLE IF NOT EXISTS checkpoint (
    row INTEGER PRIMARY KEY, hash BLOB NOT NULL, maker TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
"""
HAS_TAG: Final = "EXISTS (SELECT 1 FROM json_each(body, '$.tags') WHERE value = ?)"
HAS_ID: Final = "body ->> '$.id' = ?"
# The errors by which SQLite says that the disk does not take or give what it should, now.
DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError)
_CHUNK: Final = 2**16  # SQLite writes less than 128 KB at once
_HASH: Final = "SELECT hash FROM log WHERE row = ?"
_INSERT: Final = "INSERT INTO log (row, seq, ts, kind, type, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"


@frozen
class Checkpoint:
    """Folded states by floor, as plain data, as they were after `row`."""

    row: int
    states: dict[str, Any]


class Damaged(Exception):
    """The log is not what was written. `seq` is of the first bad event (or of the last good one, for a bad fact)."""

    def __init__(self, row: int, seq: int, reason: str) -> None:
        super().__init__(f"the log is damaged at row {row} (seq {seq}): {reason}")
        self.row, self.seq, self.reason = row, seq, reason


class _Log:
    """What writer and readers have in common."""

    _db: apsw.Connection
    _found_by: ClassVar[str] = ""  # any index

    def latest_checkpoint(self, maker: str) -> Checkpoint | None:
        """The newest one by this `maker` that is as it was written, on the log as it was then, or None."""
        query = (
            "SELECT c.row, CAST(c.body AS BLOB), c.hash, l.hash FROM checkpoint c JOIN log l ON l.row = c.row "
            "WHERE c.maker = ? ORDER BY c.row DESC"
        )
        found = cast(list[tuple[int, bytes, bytes, bytes]], self._db.execute(query, (maker,)).fetchall())
        return next((Checkpoint(row, from_json(body)) for row, body, own, at in found if own == _bound(at, body)), None)

    def bodies(self, after: int, kinds: Iterable[str], limit: int) -> list[tuple[int, str]]:
        """(row, body) of rows after `after` of these kinds, oldest first."""
        names = tuple(kinds)
        query = (
            f"SELECT row, body FROM log {self._found_by} WHERE row > ? AND kind IN ({', '.join('?' * len(names))})"  # noqa: S608
            " ORDER BY row LIMIT ?"
        )
        return cast(list[tuple[int, str]], self._db.execute(query, (after, *names, limit)).fetchall())

    def close(self) -> None:
        self._db.close()


class LogStore(_Log):
    """The writer's hand on the log. Synchronous; one thread at a time.

    What states are folded from, and what the next row follows, is found by row alone: the chain says nothing of an
    index, so a bit that turns over in one is not found.
    """

    _found_by = "NOT INDEXED"

    def __init__(self, path: Path, *, log_id: str, vfs: str | None = None) -> None:
        """Open or create. `log_id` names the log if it is new. Raises one of DISK_ERRORS, or Damaged."""
        self._db = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs)
        try:
            _write_again(f"{path}-wal", vfs)  # SQLite looks into it at the first statement, not before
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", "full")
            with _transaction(self._db):
                self._db.execute(_TABLES)
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('log_id', ?)", (log_id,))
            name: bytes = self._db.execute("SELECT CAST(value AS BLOB) FROM meta WHERE key = 'log_id'").get
            self.log_id = name.decode()
            self.head = _head(self._db)
        except UnicodeDecodeError as error:
            self._db.close()
            raise Damaged(0, 0, f"its name is no text: {error}") from None
        except BaseException:
            self._db.close()
            raise

    def append(self, batch: Sequence[Sealed], checkpoint: Checkpoint | None = None, maker: str = "") -> None:
        """Commit the batch whole, on top of exactly the head it was sealed for. Durable on return. Raises ValueError
        for a batch that was sealed for another head."""
        if batch and not _follows(self.head, batch):
            raise ValueError(f"rows {batch[0].row} to {batch[-1].row} do not follow row {self.head.row} of this log")
        with _transaction(self._db):
            self._db.executemany(
                _INSERT, ((s.row, s.seq, s.ts, s.kind, s.type, s.body.decode(), s.hash) for s in batch)
            )
            if checkpoint:
                body, at = to_json(checkpoint.states), self._db.execute(_HASH, (checkpoint.row,)).get
                values = (checkpoint.row, _bound(at, body), maker, body.decode())
                self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)", values)
                self._db.execute("DELETE FROM checkpoint WHERE row < ?", (checkpoint.row,))
        if batch:
            last = batch[-1]
            seq = next((s.seq for s in reversed(batch) if s.seq is not None), self.head.seq)
            self.head = Head(last.row, seq, last.ts, last.hash)

    def verify(self, after: int = 0) -> int:
        """Check the chain after row `after`; how many rows were good. Raises Damaged."""
        return _verify(self._db, after)


class LogReader(_Log):
    """A reader beside the writer: sees what is committed, waits for nobody. Synchronous; one thread at a time."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        """Raises one of DISK_ERRORS when there is no log."""
        self._db = _open(path, apsw.SQLITE_OPEN_READONLY, vfs)

    def head(self) -> Head:
        return _head(self._db)

    def frames(self, after: int, limit: int) -> list[tuple[int, str]]:
        """(seq, frame) of the events after `after`, oldest first."""
        row = self._first_row(lambda row: _seq_at(self._db, row) > after)
        query = "SELECT seq, body FROM log NOT INDEXED WHERE row >= ? AND seq IS NOT NULL ORDER BY row LIMIT ?"
        return cast(list[tuple[int, str]], self._db.execute(query, (row, limit)).fetchall())

    def rows(self, after: int, limit: int) -> list[tuple[int, int | None, str, str]]:
        """(row, seq, kind, body) of all rows after row `after`, oldest first."""
        query = "SELECT row, seq, kind, body FROM log WHERE row > ? ORDER BY row LIMIT ?"
        return cast(list[tuple[int, int | None, str, str]], self._db.execute(query, (after, limit)).fetchall())

    def seq_at(self, row: int) -> int:
        """The seq of the last event up to `row`."""
        return _seq_at(self._db, row)

    def row_at(self, seq: int) -> int:
        """The row of the last event up to `seq`; 0 before the first."""
        return self._db.execute("SELECT row FROM log WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)).get or 0

    def size(self) -> int:
        """Bytes that the log takes, as it is committed."""
        return int(self._db.pragma("page_count") * self._db.pragma("page_size"))

    def configs(self) -> list[tuple[int, str]]:
        """(row, body) of every version of the config, oldest first."""
        query = "SELECT row, body FROM log WHERE kind = 'config' ORDER BY row"
        return cast(list[tuple[int, str]], self._db.execute(query).fetchall())

    def select(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(query, tuple(values)).fetchall()

    def each(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """As `select`, of so many that they are better not all there at once."""
        return iter(self._db.execute(query, tuple(values)))

    def first_row_at(self, ts: int) -> int:
        """The number of the first row whose time is at or after `ts` (ms); one past the end if there is none."""
        return self._first_row(lambda row: self._db.execute("SELECT ts FROM log WHERE row = ?", (row,)).get >= ts)

    def _first_row(self, holds: Callable[[int], bool]) -> int:
        """The first row that it holds of, and of every later one; one past the end if there is none.

        The log's time never runs backwards, nor do its seqs, so the rows are sorted by both and need no index for it.
        """
        low, high = 1, _head(self._db).row + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def verify(self) -> int:
        """Check the whole chain; how many rows were good. Raises Damaged."""
        return _verify(self._db, 0)


@contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    """All of the block or nothing. A failed disk may already have made SQLite roll back: its error is the one that is
    told, not that there is nothing to roll back any more."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(apsw.Error):
            db.execute("ROLLBACK")
        raise


def _write_again(wal: str, vfs: str | None) -> None:
    """Write the WAL over itself and sync it, before anything in it is believed.

    After a failed fsync, a file system may take pages for clean that never reached the disk: they can be read, later
    syncs pass them over, and a power cut takes them back. What is written anew is dirty anew. Which syncs failed before
    a process died is not known, so every opening does this.
    """
    flags = [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0]
    try:
        file = apsw.VFSFile(vfs or "", wal, flags)
    except apsw.CantOpenError:
        return  # there is none; where the disk is at fault, the log itself cannot be opened either
    try:
        if flags[1] & apsw.SQLITE_OPEN_READONLY:
            raise apsw.ReadOnlyError("the disk is read-only")
        size = file.xFileSize()
        for offset in range(0, size, _CHUNK):
            file.xWrite(file.xRead(min(_CHUNK, size - offset), offset), offset)
        if size:
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()


def _open(path: Path, flags: int, vfs: str | None) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=flags, vfs=vfs)
    db.set_busy_timeout(5000)
    return db


def _head(db: apsw.Connection) -> Head:
    last = db.execute("SELECT row, ts, hash FROM log ORDER BY row DESC LIMIT 1").fetchone()
    if last is None:
        return Head()
    return Head(last[0], _seq_at(db, last[0]), last[1], last[2])


def _seq_at(db: apsw.Connection, row: int) -> int:
    query = "SELECT seq FROM log WHERE row <= ? AND seq IS NOT NULL ORDER BY row DESC LIMIT 1"
    return db.execute(query, (row,)).get or 0


def _bound(at: bytes, body: bytes) -> bytes:
    """What a checkpoint is known by: the log's hash at its row, and its own body."""
    return blake2b(at + body, digest_size=32).digest()


def _verify(db: apsw.Connection, after: int) -> int:
    row, seq, digest = after, 0, NOTHING
    if after:
        digest, seq = db.execute(_HASH, (after,)).get, _seq_at(db, after)
    try:
        for found, own_seq, ts, kind, entry_type, body, stored, are_texts in _rows(db, after):
            row += 1
            bad_seq = own_seq or seq
            if found != row:
                raise Damaged(row, seq + 1, f"row {row} is missing")
            if own_seq is not None and own_seq != seq + 1:
                raise Damaged(row, seq + 1, f"seq {own_seq} stands where {seq + 1} should")
            digest = link(digest, row, own_seq, body)
            if digest != stored:
                raise Damaged(row, bad_seq, "its hash does not fit its content and the row before it")
            if not are_texts:
                raise Damaged(row, bad_seq, "what should be text is none")
            if not _index_fits(body, ts, kind, entry_type):
                raise Damaged(row, bad_seq, "its index columns do not fit its content")
            seq = own_seq or seq
    except (apsw.CorruptError, UnicodeDecodeError) as error:  # the words of SQLite may quote what is no text any more
        raise Damaged(row + 1, seq + 1, f"SQLite cannot read it: {error}") from None
    return row


def _index_fits(body: bytes, ts: int, kind: bytes, entry_type: bytes | None) -> bool:
    data = from_json(body)
    return (
        to_millis(from_wire(data["ts"])) == ts
        and data.get("event", data.get("fact")).encode() == kind
        and (data["type"].encode() if kind == b"journal_entry" else None) == entry_type
    )


def _follows(head: Head, batch: Sequence[Sealed]) -> bool:
    """Do these rows, first to last, go on from `head`?"""
    row, seq, digest = head.row, head.seq, head.hash
    for sealed in batch:
        row, seq = row + 1, seq + (sealed.seq is not None)
        if sealed.row != row or sealed.seq not in (None, seq):
            return False
    return batch[0].hash == link(digest, batch[0].row, batch[0].seq, batch[0].body)


def _rows(db: apsw.Connection, after: int) -> Iterator[Any]:
    """As bytes, so that a text which is none any more can be told from the others; and whether SQLite, too, takes it
    for text: by a bit of its own, of which the bytes say nothing, and by which it compares."""
    return iter(
        db.execute(
            "SELECT row, seq, ts, CAST(kind AS BLOB), CAST(type AS BLOB), CAST(body AS BLOB), hash, "
            "typeof(kind) = 'text' AND typeof(body) = 'text' AND typeof(type) IN ('text', 'null') "
            "FROM log WHERE row > ? ORDER BY row",
            (after,),
        )
    )
