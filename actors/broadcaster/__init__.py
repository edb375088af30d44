"""Broadcaster: what is committed, shown to clients."""
