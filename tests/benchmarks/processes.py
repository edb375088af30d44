"""The other processes of a measurement: the daemon, clients, the watcher, and bare servers and programs."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from time import monotonic, sleep
from typing import Any

from attrs import frozen

from tests.benchmarks.ground import ROOT
from tests.world.daemon import DaemonProcess

SECONDS = 120.0  # a bound against hanging, not a figure


class Failed(Exception):
    """A measurement that came to nothing; says why."""


class Helper:
    """A module of this package as a process. It says `ready`, and at its end one line of JSON."""

    def __init__(self, module: str, *args: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, args)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._bound = Timer(SECONDS, self._process.kill)
        self._bound.start()

    def ready(self) -> str:
        """Wait for it; what else it said."""
        line = self._line()
        if not line.startswith("ready"):
            raise Failed(f"{self._process.args!r} did not get ready")
        return line.removeprefix("ready").strip()

    def tell(self, text: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        line = self._line()
        if not line:
            raise Failed(f"{self._process.args!r} ended without a result")
        self.end()
        return json.loads(line)

    def end(self) -> None:
        self._bound.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def helper(module: str, *args: object) -> Iterator[Helper]:
    started = Helper(module, *args)
    try:
        yield started
    finally:
        started.end()


@contextmanager
def daemon(data_dir: Path, flags: Sequence[str]) -> Iterator[tuple[DaemonProcess, int, float]]:
    """A daemon that is ready, its port, and the seconds from its spawning until then."""
    begin = monotonic()
    process = DaemonProcess(data_dir, flags)
    try:
        port = _port(process)
        while not is_ready(port):
            sleep(0.002)
            if not process.running:
                raise Failed(f"the daemon ended: {last_words(process)}")
        yield process, port, monotonic() - begin
        if process.running:
            process.terminate()
    finally:
        process.kill()


def _port(process: DaemonProcess) -> int:
    try:
        return int(process.listening().rsplit(":", 1)[1])
    except AssertionError:
        raise Failed(f"the daemon does not listen: {last_words(process)}") from None


def last_words(process: DaemonProcess) -> str:
    """End it; the last line on its standard error."""
    process.kill()
    return (process.errors or ["without a word"])[-1].strip()


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def resident_mb(pid: int | str) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def bare_python(code: str) -> tuple[float, float]:
    """(seconds, resident MB at its end) of a Python that does only this."""
    begin = monotonic()
    tail = "; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return monotonic() - begin, int(done.stdout) / 1024


def on_disk(path: Path) -> None:
    """Have the file written, so that nobody's fsync waits for it later."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def forget(path: Path) -> None:
    """Take a file out of the page cache, so that the next reader goes to the disk."""
    on_disk(path)
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


@frozen
class Commits:
    """When what was committed, as the watcher saw it."""

    stamps: list[tuple[float, float, int, int]]

    def row_at(self, moment: float) -> int:
        """The last row that had been seen by then."""
        return max((row for _, seen, row, _ in self.stamps if seen <= moment), default=0)

    @property
    def end(self) -> float:
        return self.stamps[-1][1]

    def last_without(self, seq: int) -> float:
        """The last moment at which the log was known not to have the event: its commit came after."""
        return self.stamps[bisect_left(self.stamps, seq, key=lambda stamp: stamp[3])][0]

    @property
    def seqs(self) -> range:
        """The events whose commit was witnessed."""
        return range(self.stamps[0][3] + 1, self.stamps[-1][3] + 1)


@frozen
class Heard:
    """What one client had, and when."""

    opened: float
    closed: int
    stamps: list[tuple[float, int]]

    @property
    def count(self) -> int:
        return 0 if not self.stamps else self.stamps[-1][1] - self.stamps[0][1]

    def until(self, seq: int) -> float:
        """When it had this event."""
        return self.stamps[bisect_left(self.stamps, seq, key=lambda stamp: stamp[1])][0]

    def lags(self, commits: Commits, seqs: range) -> list[float]:
        """Seconds from commit to receipt, at most, of those of `seqs` that came and whose commit was witnessed."""
        if not self.stamps:
            return []
        first, last = self.stamps[0][1], self.stamps[-1][1]
        known = range(max(seqs.start, commits.seqs.start, first), min(seqs.stop, commits.seqs.stop, last + 1))
        return [self.until(seq) - commits.last_without(seq) for seq in known]


def heard(result: Any) -> list[Heard]:
    return [Heard(item["opened"], item["closed"], [tuple(stamp) for stamp in item["stamps"]]) for item in result]


def at_rank(values: Sequence[float], fraction: float) -> float:
    """The value that this fraction of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]
