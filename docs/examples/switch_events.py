"""All that happened and happens, one branch for each kind of event: `python switch_events.py [URL]`."""

import os
import sys

import trio

from protocol.events import Demotion, JournalEntry, Promotion, Snapshot, StatusChange, Trade
from server.client import Client


async def main(base: str) -> None:
    token = os.environ.get("FORESTAY_SERVER__TOKEN")
    async with Client(base, token) as forestay, forestay.history() as events:
        async for event in events:
            match event:
                case Trade(pnl=None):
                    print(f"{event.ts:%F %R}  bought {event.qty} {event.pair} at {event.price}", flush=True)
                case Trade():
                    print(f"{event.ts:%F %R}  sold {event.qty} {event.pair}, {event.pnl:+.2f} USDT", flush=True)
                case Snapshot():
                    print(f"{event.ts:%F %R}  {event.equity:.2f} USDT", flush=True)
                case StatusChange():
                    print(f"{event.ts:%F %R}  from {event.from_} to {event.to}", flush=True)
                case Promotion() | Demotion():
                    print(f"{event.ts:%F %R}  see {event.journal_ref}", flush=True)
                case JournalEntry():
                    print(f"{event.ts:%F %R}  {event.text}", flush=True)
                case _:
                    pass  # more kinds may come: pass them over


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
