"""The signing guard: a process of its own that holds the key, decides what it signs, and trusts nobody.

It knows `protocol` and nothing else of ours. `docs/guard.md` says what it protects against, and what not.
"""
