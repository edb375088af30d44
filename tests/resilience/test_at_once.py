"""Ten daemons on one data dir at the same instant: one runs, nine say so."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.resilience import evidence
from tests.resilience.candles import made_up
from tests.world import daemon as daemons
from tests.world.daemon import DaemonProcess

SEED = 4
HOURS = 200
TEN = 10
Start = Callable[..., DaemonProcess]


class Gate:
    """Where daemons wait before they become any, until it opens for all of them at once."""

    def __init__(self, folder: Path) -> None:
        self._program = daemons.FORESTAY
        self._arrivals, self._way = folder / "arrivals", folder / "way"
        self._held: list[int] = []
        for fifo in (self._arrivals, self._way):
            os.mkfifo(fifo)
        self._arrived = self._hold(self._arrivals, os.O_RDWR)

    def launcher(self, at: Path) -> Path:
        arrivals, way, program = (shlex.quote(str(path)) for path in (self._arrivals, self._way, self._program))
        at.write_text(f'#!/bin/sh\nprintf . > {arrivals}\n: < {way}\nexec {program} "$@"\n')
        at.chmod(at.stat().st_mode | stat.S_IXUSR)
        return at

    def open_for(self, waiting: int) -> None:
        """Once so many have come."""
        while waiting:
            waiting -= len(os.read(self._arrived, waiting))
        self._hold(self._way, os.O_RDWR)

    def close(self) -> None:
        for handle in self._held:
            os.close(handle)

    def _hold(self, fifo: Path, flags: int) -> int:
        self._held.append(os.open(fifo, flags))
        return self._held[-1]


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    shut = Gate(tmp_path)
    monkeypatch.setattr(daemons, "FORESTAY", shut.launcher(tmp_path / "waiting-forestay"))
    yield shut
    shut.close()


@pytest.mark.parametrize("old", [False, True], ids=["a new log", "a log that is there"])
def test_of_ten_daemons_started_at_once_exactly_one_runs(
    start_daemon: Start, tmp_path: Path, old: bool, request: pytest.FixtureRequest
) -> None:
    files, before = made_up(tmp_path, HOURS, SEED), []
    if old:
        first = start_daemon(*files.flags, "--speed", "400", "--exit-at-end")
        first.ready()
        first.kill()
        before = evidence.logged(first.data_dir)
    gate: Gate = request.getfixturevalue("gate")
    ten = [start_daemon(*files.flags, "--speed", "20") for _ in range(TEN)]
    gate.open_for(TEN)
    others = [daemon for daemon in ten if not daemon.listens()]
    assert len(others) == TEN - 1
    [one] = [daemon for daemon in ten if daemon not in others]
    one.ready()
    for other in others:
        assert other.wait() == 2, other.errors
        [said] = other.errors
        assert str(one.data_dir) in said
        assert "another forestay runs on it" in said
    assert one.terminate() == 0
    assert one.errors == []
    rows = evidence.logged(one.data_dir)
    assert rows[: len(before)] == before
    assert evidence.entry_types(rows[len(before) :]).count("STARTED") == 1
    evidence.verify(one.data_dir)
