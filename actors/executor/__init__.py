"""Executor: the ledger, the fills and the snapshots."""
