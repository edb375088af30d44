"""What the benchmarks stand on: a folder on a real disk, candle files, and a description of the machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count as counting
from pathlib import Path
from random import Random
from time import monotonic

from attrs import define, field, frozen

from protocol.times import to_millis

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)
BEGIN = datetime(2022, 1, 1, tzinfo=UTC)
PAIRS = (("ETH/USDT", "eth-eur-1h.csv", 2500.0), ("LTC/USDT", "ltc-eur-1h.csv", 100.0))
NO_DISKS = ("tmpfs", "ramfs")


class Unfit(Exception):
    """Here nothing can be measured; says why."""


@frozen
class Candles:
    """What to replay. `end` is the close of the last candle, in ms."""

    flags: tuple[str, ...]
    end: int
    source: str


@define
class Ground:
    """Hands out fresh folders, and files of candles."""

    folder: Path
    _numbers: Iterator[int] = field(factory=counting)

    def fresh(self, name: str) -> Path:
        path = self.folder / f"{next(self._numbers)}-{name}"
        path.mkdir()
        return path

    def hours(self, number: int, pairs: int) -> Candles:
        """So many hours of one or two pairs: of the real files where they are there, else a seeded walk."""
        folder, data = self.fresh("candles"), _real_data()
        flags, last = [], BEGIN
        for pair, name, price in PAIRS[:pairs]:
            if data:
                lines = (data / name).read_text(encoding="utf-8").splitlines()[: number + 1]
            else:
                lines = _walk(Random(pair), price, number)
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            flags += ["--replay", f"{pair}={folder / name}"]
            last = max(last, datetime.fromisoformat(lines[-1].split(",")[0]))
        return Candles(tuple(flags), to_millis(last + HOUR), "real candles" if data else "made-up candles")

    def gaps(self, pairs: int, bursts: int) -> Candles:
        """Many pairs with an hour missing at the same times: each such round is one commit with a journal entry for
        every pair. Two rounds go before the first."""
        folder, flags = self.fresh("gaps"), []
        hours = [0, 1, *(1 + 2 * n for n in range(1, bursts + 1))]
        hours += [hours[-1] + n for n in range(1, bursts + 1)]  # so that an hour is the usual step
        text = "\n".join(["time,open,high,low,close,volume"] + [f"{_iso(hour)},9,9,9,9,1000" for hour in hours])
        for number in range(pairs):
            (folder / f"{number}.csv").write_text(text + "\n", encoding="utf-8")
            flags += ["--replay", f"P{number:04}/USDT={folder / f'{number}.csv'}"]
        return Candles(tuple(flags), to_millis(BEGIN + (2 * bursts + 2) * HOUR), "made-up candles")


def _real_data() -> Path | None:
    folder = Path(os.environ.get("FORESTAY_TEST_DATA", ROOT.parent / "shared" / "data"))
    return folder if all((folder / name).exists() for _, name, _ in PAIRS) else None


def _walk(random: Random, price: float, hours: int) -> list[str]:
    """Calm stretches, slides and rallies, pulled back to where it began."""
    lines, home, drift = ["time,open,high,low,close,volume"], price, 0.0
    for hour in range(hours):
        if hour % 24 == 0:
            drift = random.choice((0.0, 0.0, -0.008, 0.006)) + 0.01 * (home - price) / home
        opened, price = price, price * (1 + drift + random.gauss(0, 0.005))
        high, low = max(opened, price), min(opened, price)
        lines.append(f"{_iso(hour)},{opened:.4f},{high:.4f},{low:.4f},{price:.4f},{random.uniform(500, 1500):.3f}")
    return lines


def _iso(hour: int) -> str:
    return (BEGIN + hour * HOUR).isoformat()


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """A folder of its own below `folder`, gone afterwards. Raises Unfit where that is no disk."""
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"run-{os.getpid()}"
    try:
        kind = filesystem(folder)
        if kind in NO_DISKS:
            raise Unfit(f"{folder} is on {kind}, which is no disk: choose another with --folder")
        own.mkdir()
        yield Ground(own)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def filesystem(folder: Path) -> str:
    """The kind of the file system that holds `folder`."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, fstype, *_ = line.split()
        inside = folder.resolve().is_relative_to(mount.encode().decode("unicode_escape"))
        if inside and len(mount) >= len(best):
            best, kind = mount, fstype
    return kind


def fsyncs(folder: Path, seconds: float, size: int = 4096) -> float:
    """Appends of so many bytes, each with its fsync, per second."""
    path, count = folder / "fsync", 0
    data, handle = bytes(size), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begin = monotonic()
    while (taken := monotonic() - begin) < seconds:
        os.write(handle, data)
        os.fsync(handle)
        count += 1
    os.close(handle)
    path.unlink()
    return count / taken


def machine(folder: Path) -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{folder} on {filesystem(folder)}"
    )


def load() -> float:
    return os.getloadavg()[0]
