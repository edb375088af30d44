"""A backtest in a process of its own: a job comes in on standard input, progress and the result go out as JSON lines.

It lives as long as somebody listens: with the daemon gone, its next word ends it.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import IO, Final

from attrs import frozen

from protocol.codec import from_json, from_plain, to_json
from protocol.errors import UserError
from protocol.settings import AgentConfig, MarketSettings
from protocol.times import to_wire
from server.backtesting.plan import Plan, Progress, as_plain, run
from server.backtesting.report import report
from server.boot import make_market

EVERY_SECONDS: Final = 0.2
LIBRARY: Final = "/* plotly.js */"  # stands in a kept page for it, which is the same in all of them


@frozen
class Job:
    """What a worker is told. Paths are absolute."""

    agent: str
    config: AgentConfig
    market: MarketSettings
    begin: datetime | None = None
    end: datetime | None = None
    out_of_sample: float | None = None

    @property
    def plan(self) -> Plan:
        return Plan(self.config, self.agent, self.begin, self.end, self.out_of_sample)


def main(source: IO[bytes], out: IO[bytes]) -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

    def say(**words: object) -> None:
        out.write(to_json(words) + b"\n")
        out.flush()

    try:
        job = from_plain(from_json(source.read()), Job)
        market = make_market(job.market, None)
        parts = run(job.plan, market, watch=_now_and_then(say))
        title = f"{job.config.strategy.spec.name} on {', '.join(market.pairs)}"
        say(result=as_plain(parts), report=report(title, parts, library=LIBRARY))
    except UserError as error:
        say(error=str(error))


def _now_and_then(say: Callable[..., None]) -> Callable[[Progress], None]:
    said = time.monotonic()

    def watch(progress: Progress) -> None:
        nonlocal said
        if (now := time.monotonic()) - said >= EVERY_SECONDS:
            said = now
            say(progress=progress.done, reached=to_wire(progress.at))

    return watch


if __name__ == "__main__":
    os.nice(10)  # the daemon comes first
    try:
        main(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # nobody listens any more
        os._exit(1)
