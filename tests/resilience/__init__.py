"""End to end: the real daemon as a process, and what it must survive."""
