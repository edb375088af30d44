"""When was what committed? Looks at a log from outside, all the time.

`python -m tests.benchmarks.watch LOG END` says `ready`, looks until a row at or after END (ms of market time) is
there, or a line comes on standard input, and prints what it saw as JSON: (the last moment at which the log was known
to be without it, the moment it was seen, row, seq) for each change of the log's head.
"""

from __future__ import annotations

import json
import select
import sys
from time import monotonic

import apsw

PAUSE_SECONDS = 0.004
HEAD = "SELECT row, ts, (SELECT max(seq) FROM log) FROM log ORDER BY row DESC LIMIT 1"


def main(log: str, end: str) -> None:
    db = apsw.Connection(log, flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(5000)
    print("ready", flush=True)
    stamps: list[tuple[float, float, int, int]] = []
    row, without = -1, monotonic()
    while True:
        before = monotonic()
        head = db.execute(HEAD).fetchone()
        if head is not None and head[0] != row:
            row = head[0]
            stamps.append((without, monotonic(), row, head[2] or 0))
            if head[1] >= int(end):
                break
        without = before
        if select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            break
    print(json.dumps(stamps), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
