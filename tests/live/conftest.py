"""What live trading is tested on: a real EVM, a real guard, a real daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.evm.fixtures import chain, deployed, market
from tests.evm.market import Market
from tests.live.stage import Stage
from tests.world.daemon import DaemonProcess

__all__ = ["chain", "deployed", "market"]


@pytest.fixture
def stage(market: Market, tmp_path: Path, start_daemon: Callable[..., DaemonProcess]) -> Iterator[Stage]:
    stage = Stage(market, tmp_path, start_daemon)
    yield stage
    if hasattr(stage, "guard"):
        stage.guard.stop()
