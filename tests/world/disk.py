"""A disk that can be told to fail: the real file system under SQLite, with a switch for each kind of failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final, Literal

import apsw

Operation = Literal["open", "write", "sync"]
_names = count(1)

# What a real disk answers, by the trouble it is in: which calls fail, and with what.
TROUBLES: Final[dict[str, tuple[tuple[Operation, ...], type[apsw.Error]]]] = {
    "full": (("write",), apsw.FullError),
    "broken": (("write",), apsw.IOError),
    "read-only": (("write",), apsw.ReadOnlyError),
    "sync fails": (("sync",), apsw.IOError),
    "gone": (("open", "write", "sync"), apsw.IOError),
}


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.about_to("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.about_to("sync")
        super().xSync(flags)


class Disk(apsw.VFS):
    """Hand `name` to SQLite as its VFS. `before` is called ahead of each operation, in whatever thread does it."""

    def __init__(self) -> None:
        self.name = f"disk{next(_names)}"
        self.done: Counter[Operation] = Counter()
        self.before: Callable[[Operation], None] = lambda _: None
        self._failing: dict[Operation, type[apsw.Error]] = {}
        super().__init__(self.name, "")

    def fail(self, trouble: str) -> None:
        """From now on, as `TROUBLES` says."""
        operations, error = TROUBLES[trouble]
        self._failing = dict.fromkeys(operations, error)

    def recover(self) -> None:
        self._failing = {}

    def about_to(self, operation: Operation) -> None:
        self.before(operation)
        if error := self._failing.get(operation):
            raise error(f"the disk fails to {operation}")
        self.done[operation] += 1

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
        self.about_to("open")
        return _File(self, name, flags)


@contextmanager
def disk() -> Iterator[Disk]:
    """A disk for the length of the block."""
    made = Disk()
    try:
        yield made
    finally:
        made.recover()
        with suppress(Exception):
            made.unregister()
