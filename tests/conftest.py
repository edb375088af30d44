"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.world.daemon import DaemonProcess

ROOT = Path(__file__).parent.parent

# No test asserts a time, so no example has a deadline; a failure prints what replays it.
settings.register_profile("forestay", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forestay")


def pytest_collection_finish() -> None:
    """eth-account, which some tests import, takes a library along that allows 100,000 frames: with so many, a deeply
    nested JSON text ends the process. Our own processes set it back where they load that."""
    sys.setrecursionlimit(1000)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real candles; where it is missing, CI fails and a user's clone is told so in a line."""
    folder = Path(os.environ.get("FORESTAY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "eth-eur-1h.csv").exists():
        words = f"no real candles in {folder} (FORESTAY_TEST_DATA): tests on real data"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{words} cannot run", pytrace=False)
        pytest.skip(f"{words} were not run")
    return folder


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start real daemons as processes; `start(*flags, data_dir=..., env=...)`. All are gone when the test ends."""
    started: list[DaemonProcess] = []

    def start(*flags: str, data_dir: Path | None = None, env: dict[str, str] | None = None) -> DaemonProcess:
        started.append(DaemonProcess(data_dir or tmp_path / "data", flags, env or {}))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()
