"""Daemons that several tests of the door share, because these only read, or leave things as they found them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from actors.broadcaster.board import Board
from actors.journal.store import FILE_NAME, LogReader, LogStore
from actors.tower import Tower
from protocol.settings import MarketSettings
from server.backtesting.queue import Backtests
from server.door.desk import Door
from server.settings import Offer
from tests.server.clients import Ended, at_the_end
from tests.server.doors import FLOORS, ROWS
from tests.server.markets import PAIRS, busy_flags, end_of
from tests.world.daemon import DaemonProcess
from tests.world.house import in_line


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """At the end of a busy market, a position still open. For tests that only read."""
    folder = tmp_path_factory.mktemp("busy")
    daemon = DaemonProcess(folder / "data", busy_flags(folder))
    try:
        ended = at_the_end(daemon, end_of())
        with closing(ended.client):
            yield ended
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def changeable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """At the end of a shorter market. For tests that change the config; `events` are those of before."""
    folder = tmp_path_factory.mktemp("changeable")
    bars = 300
    daemon = DaemonProcess(folder / "data", busy_flags(folder, bars))
    try:
        ended = at_the_end(daemon, end_of(bars))
        with closing(ended.client):
            yield ended
    finally:
        daemon.kill()


@pytest.fixture
def young(tmp_path: Path) -> Iterator[Door]:
    """The door of a daemon that has a log of a config and two events, and has shown nothing of it yet."""
    path = tmp_path / FILE_NAME
    store = LogStore(path, log_id="log_test")
    store.append(ROWS)
    store.close()
    tower = SimpleNamespace(standing=trio.Event(), whole=False, restarts={}, silence=lambda: 0.0, floors=lambda: FLOORS)
    door = Door(
        agent="seed",
        log_id="log_test",
        market={"kind": "replay"},
        offer=Offer(PAIRS),
        board=Board(),
        reader=LogReader(path),
        reading=in_line,
        tower=cast(Tower, tower),
        stopping=trio.Event(),
        clock=lambda _: datetime(2024, 1, 1, tzinfo=UTC),
        backtests=Backtests(tmp_path / "backtests", lambda: "2024-01-01T00:00:00.000Z"),
        armed=None,
        market_settings=MarketSettings(),
    )
    yield door
    door.reader.close()
