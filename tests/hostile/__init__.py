"""Hostile requests to the guard, judged by executing what it signs on a real EVM and looking at the balances."""
