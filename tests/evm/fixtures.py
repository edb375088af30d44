"""Fixtures for tests on a real EVM; another folder's `conftest.py` imports those it wants from here.

Each test has a node of its own, so whatever one does to it (stops it, pauses it, fills its pool) no other one sees. All
begin from one deployment, which the first of them waits for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import frozen

from tests.evm.anvil import Anvil, NotSetUp, anvil
from tests.evm.market import Market, deploy


@frozen
class Deployed:
    """A market, and the state of a chain to have it on."""

    market: Market
    state: bytes


@pytest.fixture(scope="session")
def deployed() -> Deployed:
    """A market to begin from; its own chain is gone. Where the EVM is not set up, the test fails."""
    try:
        with anvil() as chain:
            market = deploy(chain)
            return Deployed(market, chain.dump())
    except NotSetUp as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def market(deployed: Deployed) -> Iterator[Market]:
    """The market on a chain of the test's own."""
    with anvil(state=deployed.state) as chain:
        yield deployed.market.on(chain)


@pytest.fixture
def chain(market: Market) -> Anvil:
    """The chain below the market."""
    return market.chain
