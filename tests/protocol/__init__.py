"""The vocabulary: what it writes, what it reads, what it refuses."""
