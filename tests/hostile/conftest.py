"""Fixtures: one chain for a module's tests, each of which leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evm.anvil import NotSetUp
from tests.evm.fixtures import chain, deployed, market
from tests.guard.conftest import short_path
from tests.hostile.stand import Stand, standing

__all__ = ["chain", "deployed", "market", "short_path"]


@pytest.fixture(scope="module")
def ground() -> Iterator[Stand]:
    """Where the EVM is not set up, the test fails."""
    try:
        with standing() as stand:
            yield stand
    except NotSetUp as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def stand(ground: Stand) -> Iterator[Stand]:
    """The stand as it was at first."""
    with ground.for_now():
        yield ground


@pytest.fixture
def folder(stand: Stand, tmp_path: Path) -> Path:
    """A guard's folder for the stand's market, with nothing signed."""
    return stand.house(tmp_path / "guard")
