"""Journal: the append-only log, its one writer and its readers."""
