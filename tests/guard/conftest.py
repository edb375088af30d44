"""Fixtures: a stand-in chain, and guards as processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guard.chain import Chain, served
from tests.guard.houses import GuardProcess, make_folder, settings


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def rpc(chain: Chain) -> Iterator[str]:
    with served(chain) as url:
        yield url


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="guard-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def folder(short_path: Path, rpc: str) -> Path:
    """A guard's folder for the stand-in chain, with the default limits."""
    return make_folder(short_path / "g", settings(rpc))


@pytest.fixture
def start_guard(folder: Path) -> Iterator[Callable[..., GuardProcess]]:
    """Start guards as processes; all are gone when the test ends."""
    started: list[GuardProcess] = []

    def start(env: dict[str, str] | None = None) -> GuardProcess:
        started.append(GuardProcess(folder, env or {}))
        return started[-1]

    yield start
    for guard in started:
        guard.stop()
