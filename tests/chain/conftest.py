"""Tests here may ask for a market on a real EVM."""

from tests.evm.fixtures import deployed, market

__all__ = ["deployed", "market"]
