"""The signing guard: its rules, its memory, and its process."""
