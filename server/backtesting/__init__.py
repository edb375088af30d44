"""Backtests: the daemon's own decisions over a market's past, with the log in memory."""
