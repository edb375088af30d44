"""The stream without a WebSocket: asks every second, and has in the end what the stream tells, byte for byte.

`python poll_events.py [URL]` prints one message a line.
"""

import os
import sys
from math import inf

import trio

from server.client import AnotherLog, Client

EVERY_SECONDS = 1.0


async def main(base: str) -> None:
    since = 0
    token = os.environ.get("FORESTAY_SERVER__TOKEN")
    async with Client(base, token, patience_seconds=inf) as forestay:  # a daemon that is not there comes back
        log_id = (await forestay.agent()).log_id
        while True:
            events = forestay.events(since)
            async for _ in events:
                if events.log_id != log_id:
                    break
                print(events.raw, flush=True)
                since = events.seq
            if events.log_id != log_id:  # `since` is of the one before
                raise AnotherLog(log_id, events.log_id)
            await trio.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
