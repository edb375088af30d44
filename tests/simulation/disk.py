"""A simulated disk under the real SQLite: what was written is in the operating system's cache, what was synced is on
the platter, and a power cut decides about the rest.

The disk is the worst that SQLite is made for and that Linux may be. Writes between two syncs of a file reach the
platter in any order, whole, in part or not at all. A file exists for good from its first sync on; a deletion may be
undone, by itself, until the directory is synced, which SQLite does with the next journal or WAL. What a failed sync was
for is forgotten: it can be read, later syncs pass it over, and it may never reach the platter. But bytes that nobody
writes stay as they are, and so does a sector that is written over with what it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import apsw
from attrs import Factory, define

from actors.journal.store import LogReader

SECTOR: Final = 512
PAGE: Final = 4096  # SQLite's
_STATES: Final = b'"RiskEngine":{'  # what only a checkpoint holds
_LEAVES: Final = {0x0A, 0x0D}  # the first byte of its pages that hold keys, or rows
Row = tuple[int, int | None, int, str, str | None, str, bytes]  # row, seq, ts, kind, type, body, hash
Op = tuple[int, bytes] | int  # a write at an offset, or a truncation to a size
_ROWS: Final = "SELECT row, seq, ts, kind, type, body, hash FROM log WHERE row > ? ORDER BY row"
# SQLite on Linux syncs the directory, too, at the first sync of one of these that it may have created.
_DIRECTORY: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_names = count(1)

# What fails in which trouble, and how. A disk that is "full" takes what does not make a file longer.
TROUBLES: Final[dict[str, dict[str, type[apsw.Error]]]] = {
    "full": {"grow": apsw.FullError, "create": apsw.CantOpenError},
    "broken": {"write": apsw.IOError},
    "sync fails": {"sync": apsw.IOError},
    "read-only": {
        "create": apsw.CantOpenError, "write": apsw.ReadOnlyError, "truncate": apsw.ReadOnlyError,
        "delete": apsw.ReadOnlyError,
    },
    "gone": {
        **dict.fromkeys(("read", "write", "sync", "truncate", "delete"), apsw.IOError), "open": apsw.CantOpenError,
    },
}  # fmt: skip


class SimDisk:
    """Hand `name` to SQLite as its VFS. Everything is drawn from `random`.

    `before` is called with (operation, file) ahead of each open, write, sync, truncate and delete. It may cut the power
    or end the process, and raise an `apsw.Error`; of any other exception SQLite makes one.
    """

    def __init__(self, random: Random) -> None:
        _seed_sqlite(random)
        self._begin(random)

    def _begin(self, random: Random) -> None:
        self.files: dict[str, File] = {}  # by the names that they have now
        self.kept: dict[str, File] = {}  # by the names that they have on the platter
        self.marks: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.misused: list[str] = []  # what nobody may do with a disk, and somebody did
        self.before: Callable[[str, str], None] = lambda _, __: None
        self.trouble: str | None = None
        self.handles: set[Handle] = set()
        self.holders: dict[str, Handle] = {}  # which has the lock of a database
        self.epoch = 0  # counts the deaths of processes
        self.version = 0  # counts changes of what can be read
        self.checkpoint_pages = 1000  # as SQLite's; fewer show more of what happens while a WAL is written back
        self._random = random
        self._due: dict[str, int] = {}  # operations until one that fails
        self._writers: _Writers | None = None
        self._readers: _Readers | None = None

    def close(self) -> None:
        """Take it from SQLite again. Connections that are still open do nothing more."""
        self.process_death()
        for face in (self._writers, self._readers):
            if face is not None:
                face.leave()
        self._writers = self._readers = None

    @property
    def name(self) -> str:
        """Of the VFS for whoever writes. A disk that is only looked at has none."""
        if self._writers is None:
            self._writers = _Writers(self)
        return self._writers.name

    def connect(self, path: Path | str) -> apsw.Connection:
        """A connection that sees what is committed now, on this very disk: to be closed before the disk changes."""
        if self._readers is None:
            self._readers = _Readers(self)
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=self._readers.name)

    # --- what happens to a disk

    def process_death(self) -> None:
        """kill -9: every open handle is dead from now on, and the operating system's cache stays."""
        self.epoch += 1
        for handle in self.handles:
            handle.file = None
        self.handles.clear()

    def power_cut(self) -> None:
        """What no sync has made durable survives, is lost, or is torn between sectors. Every open handle is dead."""
        self.process_death()
        self._due.clear()
        self.version += 1
        names = sorted({*self.files, *self.kept})
        left = {name: self._left_of(self.files.get(name), self.kept.get(name)) for name in names}
        self.files = {name: _at_rest(name, self._after_a_cut(file)) for name, file in left.items() if file is not None}
        self.kept = dict(self.files)

    def fail_next(self, operation: str, after: int = 0) -> None:
        """The next operation of this kind fails with an I/O error, or the one that comes `after` so many."""
        self._due[operation] = after

    def flip(self, path: Path | str, random: Random) -> None:
        """One bit at rest turns over; mostly where a page, or a row on it, says what it holds, or in a checkpoint."""
        file = self.files[str(path)]
        place, mask = random.randrange(len(file.cache)), 1 << random.randrange(8)
        if (where := random.random()) < 0.2:
            place -= place % PAGE - random.randrange(16)
        elif where < 0.5:  # by the lowest bit of a field's type a text is told from bytes
            place = _row_at(file.cache, place - place % PAGE, random) + random.randrange(16)
            mask = random.choice((mask, 1))
        elif where < 0.7 and (states := file.cache.rfind(_STATES)) >= 0:
            place = max(states + random.randrange(-500, 500), 0)
        place = min(place, len(file.cache) - 1)
        file.cache[place] ^= mask
        if place < len(file.platter):
            file.platter[place] ^= mask
        self.version += 1

    # --- other disks made from it

    def copy(self, random: Random) -> SimDisk:
        """The same disk once more, with `random` for what is yet to come. Nobody has a file of it open."""
        same = {id(file): file.copy() for file in (*self.files.values(), *self.kept.values())}
        return _disk(
            random,
            {name: same[id(file)] for name, file in self.files.items()},
            {name: same[id(file)] for name, file in self.kept.items()},
        )

    def durable(self) -> SimDisk:
        """The least that a power cut must leave now: what was synced, and nothing else."""
        files = {name: _at_rest(name, bytearray(file.platter)) for name, file in self.kept.items()}
        return _disk(Random(0), files, dict(files))

    def view(self) -> SimDisk:
        """What another connection sees now: finished commits, and no frame of one that is not."""
        files = {name: _at_rest(name, bytearray(file.committed())) for name, file in self.files.items()}
        return _disk(Random(0), files, dict(files))

    # --- what its handles ask of it

    @property
    def troubled(self) -> bool:
        return self.trouble is not None or bool(self._due)

    def about_to(self, operation: str, name: str) -> None:
        self.before(operation, name)
        self.done[operation] += 1

    def refuse(self, operation: str) -> None:
        """Raise what the disk's trouble has for this operation."""
        if operation in self._due:
            self._due[operation] -= 1
            if self._due[operation] < 0:
                del self._due[operation]
                raise apsw.IOError(f"the disk fails to {operation}")
        if self.trouble is not None and (error := TROUBLES[self.trouble].get(operation)):
            raise error(f"the disk is in trouble ({self.trouble}) and does not {operation}")

    def open(self, name: str, flags: int) -> Handle:
        self.about_to("open", name)
        self.refuse("open")
        file = self.files.get(name)
        if file is None:
            if not flags & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"there is no {name}")
            self.refuse("create")
            file = self.files[name] = File(undo=[] if name.endswith("-wal") else None)
        # SQLite, which would create a WAL, recovers and believes all that can be read in it; who copies it does not.
        if file.undo and flags & apsw.SQLITE_OPEN_CREATE:
            file.undo.clear()
            self.version += 1
        return Handle(self, name, file, syncs_directory=bool(flags & _DIRECTORY and flags & apsw.SQLITE_OPEN_CREATE))

    def delete(self, name: str, sync: bool) -> None:
        self.about_to("delete", name)
        self.refuse("delete")
        if name not in self.files:
            error = apsw.IOError(f"there is no {name}")
            error.extendedresult = apsw.SQLITE_IOERR_DELETE_NOENT  # type: ignore[attr-defined]
            raise error
        del self.files[name]
        if sync:
            self.kept.pop(name, None)
        self.version += 1

    def take(self, handle: Handle) -> None:
        """The newest connection has the database. What a fallen actor left open is dead as of now, and not when the
        garbage collector finds it: then it would write, and no seed could tell when."""
        for other in [other for other in self.handles if other.database == handle.database and other is not handle]:
            other.file = None
            self.handles.remove(other)
            self.marks["handle taken over"] += 1
        self.holders[handle.database] = handle

    # --- a power cut

    def _left_of(self, now: File | None, then: File | None) -> File | None:
        """Which file a name is of, if it was `then` on the platter and is `now` in the cache."""
        if now is then:
            return now
        left = self._random.choice([now, then] if now is None or then is None else [now, then, None])
        self.marks["deletion undone" if left is then is not None else "file lost" if left is None else "file kept"] += 1
        return left

    def _after_a_cut(self, file: File) -> bytearray:
        random, content = self._random, bytearray(file.platter)
        for sector in sorted(file.forgotten):  # of failed syncs
            if random.random() < 0.5:
                _put(content, sector * SECTOR, file.cache[sector * SECTOR : (sector + 1) * SECTOR])
            else:
                self.marks["failed sync taken back"] += 1
        odds = random.choice((0.1, 0.5, 0.9))
        for op in file.unsynced:
            fate = "torn" if random.random() < 0.25 else "survived" if random.random() < odds else "lost"
            if fate == "torn":
                fate = self._tear(content, op)
            elif fate == "survived":
                _apply(content, op)
            self.marks[fate] += 1
        return content

    def _tear(self, content: bytearray, op: Op) -> str:
        """Some sectors of it reach the platter, and rarely something that nobody wrote."""
        if isinstance(op, int):
            return "lost"
        random, (offset, data) = self._random, op
        fates = set()
        for first, last in _cut_by_sector(offset, len(data)):
            old, new = content[first:last], data[first - offset : last - offset]
            fate = random.random()
            fates.add(fate < 0.5)
            if fate > 0.99 and old != new:
                new = random.randbytes(len(new))
                self.marks["garbage"] += 1
            elif fate < 0.5:
                continue
            _put(content, first, new)
        return "torn" if len(fates) == 2 else "lost" if fates == {True} else "survived"


@define(eq=False)
class File:
    """What can be read is in `cache`, what is safe in `platter`."""

    cache: bytearray = Factory(bytearray)
    platter: bytearray = Factory(bytearray)
    unsynced: list[Op] = Factory(list)
    forgotten: set[int] = Factory(set)  # sectors that a failed sync has left clean in the cache, and not on the platter
    undo: list[tuple[int, bytes, int]] | None = None  # of a WAL: how to get back to its last finished commit

    def copy(self) -> File:
        undo = None if self.undo is None else list(self.undo)
        return File(bytearray(self.cache), bytearray(self.platter), list(self.unsynced), set(self.forgotten), undo)

    def committed(self) -> bytearray:
        """The content as of the last finished commit."""
        if not self.undo:
            return self.cache
        content = bytearray(self.cache)
        for offset, old, size in reversed(self.undo):
            content[offset : offset + len(old)] = old
            del content[size:]
        return content

    def write(self, data: bytes, offset: int) -> None:
        cache = self.cache
        if self.undo is not None:
            self.undo.append((offset, bytes(cache[offset : offset + len(data)]), len(cache)))
        _put(cache, offset, data)
        self.unsynced.append((offset, data))

    def truncate(self, size: int) -> None:
        if self.undo is not None:
            self.undo.append((size, bytes(self.cache[size:]), len(self.cache)))
        _apply(self.cache, size)
        self.unsynced.append(size)

    def sync(self) -> None:
        """A sync with nothing to do ends no commit: after a failed one, it succeeds and means nothing."""
        if not self.unsynced:
            return
        for op in self.unsynced:
            _apply(self.platter, op)
        if self.forgotten:  # a sector is written whole, with what was forgotten in it
            for sector in sorted(self.forgotten & _sectors(self.unsynced)):
                _put(self.platter, sector * SECTOR, self.cache[sector * SECTOR : (sector + 1) * SECTOR])
                self.forgotten.remove(sector)
            self.forgotten = {sector for sector in self.forgotten if sector * SECTOR < len(self.cache)}
        self.unsynced.clear()
        if self.undo:
            self.undo.clear()

    def forget(self) -> None:
        """A sync fails, as on Linux: it is told once, and what was dirty is clean. A new size stays to be synced."""
        self.forgotten |= _sectors(self.unsynced)
        self.unsynced = [op for op in self.unsynced if isinstance(op, int)]


class Handle:
    """An open file, until it is closed or its process ends."""

    __slots__ = ("database", "disk", "file", "level", "name", "syncs_directory", "unsafe")

    def __init__(self, disk: SimDisk, name: str, file: File, *, syncs_directory: bool = False) -> None:
        self.disk, self.name, self.syncs_directory = disk, name, syncs_directory
        self.file: File | None = file
        self.level = 0
        self.unsafe = False  # a sync of something failed on it
        self.database = name.removesuffix("-wal").removesuffix("-journal")
        disk.handles.add(self)

    def _live(self) -> File:
        if self.file is None:
            raise apsw.IOError("the process that opened this is dead")
        return self.file

    def _about_to(self, operation: str) -> File:
        self._live()
        self.disk.about_to(operation, self.name)
        return self._live()

    def xRead(self, amount: int, offset: int) -> bytearray:  # noqa: N802 - SQLite's names, here and below
        file = self.file
        if file is None:
            raise apsw.IOError("the process that opened this is dead")
        if self.disk.troubled:
            self.disk.refuse("read")
        return file.cache[offset : offset + amount]

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        file, disk = self._about_to("write"), self.disk
        if self.unsafe and file.undo is not None:  # of a database SQLite itself writes anew all that was to be synced
            disk.misused.append(f"{self.name} is written on by a handle on which a sync failed")
        disk.version += 1
        try:
            if disk.troubled:
                disk.refuse("write")
                if offset + len(data) > len(file.cache):
                    disk.refuse("grow")
        except apsw.FullError:
            file.write(data[: len(data) // 2], offset)  # a full disk shows first as a short write
            raise
        file.write(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        file = self._about_to("truncate")
        self.disk.refuse("truncate")
        self.disk.version += 1
        file.truncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        file, disk = self._about_to("sync"), self.disk
        try:
            disk.refuse("sync")
        except apsw.IOError:
            disk.marks["failed sync"] += 1
            self.unsafe |= bool(file.unsynced)
            file.forget()
            raise
        file.sync()
        disk.version += 1
        if self.syncs_directory:
            disk.kept = dict(disk.files)
            self.syncs_directory = False
        elif disk.files.get(self.name) is file:
            disk.kept[self.name] = file

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._live().cache)

    def xLock(self, level: int) -> None:  # noqa: N802
        """Once it has the exclusive lock, SQLite asks for it again only to close the database, and would write back the
        WAL. BusyError lets it go without: where this would fail it fails silently on a real disk, whose errors are no
        Python exceptions."""
        if self.file is None or (level == self.level == apsw.SQLITE_LOCK_EXCLUSIVE and self.disk.troubled):
            raise apsw.BusyError("not now")
        self.level = level
        if self.disk.holders.get(self.database) is not self:
            self.disk.take(self)

    def xUnlock(self, level: int) -> None:  # noqa: N802
        self.level = level

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        self.disk.handles.discard(self)
        self.file = None

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096  # as SQLite assumes on Linux, and so is the next

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
        return False


class _Look:
    """A file as it is committed now."""

    __slots__ = ("_content", "_disk")

    def __init__(self, disk: SimDisk, content: bytearray) -> None:
        self._disk, self._content = disk, content

    def xRead(self, amount: int, offset: int) -> bytearray:  # noqa: N802
        if self._disk.trouble == "gone":
            self._disk.refuse("read")
        return self._content[offset : offset + amount]

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._content)

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xClose(self) -> None:  # noqa: N802
        pass

    xSectorSize, xDeviceCharacteristics, xFileControl = (  # noqa: N815
        Handle.xSectorSize, Handle.xDeviceCharacteristics, Handle.xFileControl
    )  # fmt: skip


class _Face(apsw.VFS):
    """The disk as SQLite sees it. Nothing of it reaches the real one."""

    def __init__(self, disk: SimDisk) -> None:
        self.name, self._disk = f"sim{next(_names)}", disk
        super().__init__(self.name, "")
        apsw.connection_hooks.append(self._exclusive)

    def leave(self) -> None:
        with suppress(ValueError):
            apsw.connection_hooks.remove(self._exclusive)
        self.unregister()

    def _exclusive(self, db: apsw.Connection) -> None:
        """A VFS in Python has no shared memory: with exclusive locking SQLite keeps the WAL's index to itself."""
        if db.open_vfs == self.name:
            db.pragma("locking_mode", "exclusive")
            db.set_wal_hook(self._committed)

    def _committed(self, db: apsw.Connection, name: str, pages: int) -> int:
        """As SQLite's own hook: that the WAL could not be written back is no failure of the commit before."""
        if pages >= self._disk.checkpoint_pages:
            with suppress(apsw.Error):
                db.wal_checkpoint(name)
        return apsw.SQLITE_OK

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xSleep(self, microseconds: int) -> int:  # noqa: N802
        return microseconds  # SQLite waits for locks; here, whoever holds one will not let go meanwhile


class _Writers(_Face):
    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        flags[1] = flags[0]
        if name is None:  # SQLite's own notes, which no power cut is asked about
            return Handle(self._disk, f"temporary {next(_names)}", File())
        return self._disk.open(_plain(name), flags[0])

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self._disk.delete(name, sync)

    def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802
        return bool((file := self._disk.files.get(name)) and file.cache)


class _Readers(_Face):
    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        path, disk = _plain(name), self._disk
        if disk.trouble == "gone":
            disk.refuse("open")
        flags[1] = apsw.SQLITE_OPEN_READONLY
        file = disk.files.get(path)
        if file is None and not path.endswith("-wal"):
            raise apsw.CantOpenError(f"there is no {path}")
        return _Look(disk, file.committed() if file else bytearray())

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        raise apsw.ReadOnlyError("only to be read")

    def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802
        return name.endswith("-wal") and name in self._disk.files


def _row_at(file: bytearray, page: int, random: Random) -> int:
    """Where one of a page's rows begins; the page itself, where it is none that has rows, or the file ends in it."""
    if len(file) < page + PAGE:
        return page
    begins = page + 100 * (page == 0)  # what the file says of itself comes first
    count = int.from_bytes(file[begins + 3 : begins + 5], "big")
    if file[begins] not in _LEAVES or not 0 < count <= PAGE // 4:
        return page
    pointer = begins + 8 + 2 * random.randrange(count)
    return page + int.from_bytes(file[pointer : pointer + 2], "big")


class SimReader(LogReader):
    """The product's reader beside the writer: each call sees the commits that are finished by then."""

    def __init__(self, path: Path, disk: SimDisk) -> None:
        self._path, self._disk, self._epoch = path, disk, disk.epoch
        self._at = -1
        self._open: apsw.Connection | None = None

    @property
    def _db(self) -> apsw.Connection:  # type: ignore[override]
        if self._epoch != self._disk.epoch:
            raise apsw.IOError("the process that opened this is dead")
        if self._open is None or self._at != self._disk.version:
            self.close()
            self._open, self._at = self._disk.connect(self._path), self._disk.version
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def rows(disk: SimDisk, path: Path | str, after: int = 0) -> list[Row]:
    """The log's rows after row `after`, as another connection sees them now, whatever trouble the disk is in."""
    if f"{path}-journal" in disk.files:  # a hot one must be rolled back, and that is to write
        view = disk.view()
        with closing(view), closing(apsw.Connection(str(path), vfs=view.name)) as db:
            return _rows(db, after)
    with _calm(disk), suppress(apsw.CantOpenError), closing(disk.connect(path)) as db:
        return _rows(db, after)
    return []


def _rows(db: apsw.Connection, after: int) -> list[Row]:
    try:
        return cast(list[Row], db.execute(_ROWS, (after,)).fetchall())
    except apsw.SQLError as error:
        if "no such table" in str(error):
            return []
        raise


@contextmanager
def _calm(disk: SimDisk) -> Iterator[None]:
    trouble, disk.trouble = disk.trouble, None
    try:
        yield
    finally:
        disk.trouble = trouble


def _disk(random: Random, files: dict[str, File], kept: dict[str, File]) -> SimDisk:
    """Another disk, made without a throw of SQLite's own dice: looking at a disk must not change what happens to it."""
    made = SimDisk.__new__(SimDisk)
    made._begin(random)
    made.files, made.kept = files, kept
    return made


def _at_rest(name: str, content: bytearray) -> File:
    return File(content, bytearray(content), undo=[] if name.endswith("-wal") else None)


def _plain(name: Any) -> str:
    return name.filename() if isinstance(name, apsw.URIFilename) else str(name)


def _put(content: bytearray, offset: int, data: bytes | bytearray) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _apply(content: bytearray, op: Op) -> None:
    if isinstance(op, int):
        del content[op:]
    else:
        _put(content, *op)


def _cut_by_sector(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a write that lie within one sector each, as (first, last) of the file's bytes."""
    first, end = offset, offset + size
    while first < end:
        last = min(end, (first // SECTOR + 1) * SECTOR)
        yield first, last
        first = last


def _sectors(ops: list[Op]) -> set[int]:
    return {first // SECTOR for op in ops if not isinstance(op, int) for first, _ in _cut_by_sector(op[0], len(op[1]))}


def _seed_sqlite(random: Random) -> None:
    """Have SQLite's own dice (the salts of a WAL) thrown by `random`, so that equal seeds give equal bytes."""
    dice = _Dice(random)
    apsw.randomness(0)  # forget; what follows asks the default VFS, which is ours for this long
    apsw.randomness(1)
    dice.unregister()


class _Dice(apsw.VFS):
    def __init__(self, random: Random) -> None:
        self._random = random
        super().__init__(f"dice{next(_names)}", "", makedefault=True)

    def xRandomness(self, numbytes: int) -> bytes:  # noqa: N802
        return self._random.randbytes(numbytes)
