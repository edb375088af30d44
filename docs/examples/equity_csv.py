"""The equity curve as CSV, the last point of each hour: `python equity_csv.py [URL] > equity.csv`."""

import csv
import os
import sys

import trio

from protocol.times import to_wire
from server.client import Client


async def main(base: str) -> None:
    table = csv.writer(sys.stdout)
    table.writerow(["time", "equity", "phase", "dd_from_peak", "daily_dd_used"])
    async with Client(base, os.environ.get("FORESTAY_SERVER__TOKEN")) as forestay:
        async for point in forestay.equity(interval="1h"):
            row = [to_wire(point.ts), point.equity, point.phase, point.dd_from_peak, point.daily_dd_used]
            table.writerow(row)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
