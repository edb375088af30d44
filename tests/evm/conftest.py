"""Every test here may ask for a market on a chain."""

from tests.evm.fixtures import chain, deployed, market

__all__ = ["chain", "deployed", "market"]
