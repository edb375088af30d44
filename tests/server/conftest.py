"""Daemons that several tests of the door share, because these only read, or leave things as they found them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.server.clients import Ended, at_the_end
from tests.server.markets import busy_flags, end_of
from tests.world.daemon import DaemonProcess


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
