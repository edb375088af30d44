"""The daemon's backtests: a short queue, one worker process at a time, results kept on the disk.

None of it is in the log: a backtest decides nothing about the agent.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from attrs import asdict, define, field

from protocol.answers import Backtest, BacktestState, FinishedBacktest
from protocol.codec import encoded, from_json
from server.backtesting.report import plotly_js
from server.backtesting.worker import LIBRARY, Job

log = logging.getLogger("forestay.backtests")
WAITING: Final = 8
KEPT: Final = 50


class QueueFull(Exception):
    """As many backtests wait as may."""


@define(eq=False)
class Ticket:
    """One backtest from its submission on. Times are the machine's."""

    id: str
    name: str
    submitted: str
    job: Job | None
    state: BacktestState = "queued"
    progress: float = 0.0
    reached: str | None = None
    error: str | None = None
    result: Any = None
    begun: float = 0.0
    cancel: trio.CancelScope = field(factory=trio.CancelScope)

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def shown(self, now: float) -> Backtest:
        left = None
        if self.state == "running" and self.progress > 0:
            left = round((now - self.begun) * (1 / self.progress - 1), 1)
        progress = round(self.progress, 4)
        return Backtest(self.id, self.name, self.state, self.submitted, progress, self.reached, left, self.error)

    def whole(self, now: float) -> FinishedBacktest:
        """With its result."""
        return FinishedBacktest(**asdict(self.shown(now)), result=self.result)


class Backtests:
    """Submit, look, cancel; `run` does the work until it is cancelled. `wall_time` is the time of now in wire form."""

    def __init__(self, folder: Path, wall_time: Callable[[], str]) -> None:
        self._folder = folder
        self._wall_time = wall_time
        self._tickets: dict[str, Ticket] = {}
        self._queue: deque[Ticket] = deque()
        self._news = trio.Event()
        self._recall()

    def submit(self, job: Job) -> Ticket:
        """Queue it. Raises QueueFull."""
        if len(self._queue) >= WAITING:
            raise QueueFull(f"{WAITING} backtests wait already")
        ticket = Ticket("bt_" + secrets.token_hex(8), job.config.strategy.spec.name, self._wall_time(), job)
        self._tickets[ticket.id] = ticket
        self._queue.append(ticket)
        self._news.set()
        return ticket

    def find(self, id: str) -> Ticket | None:
        return self._tickets.get(id)

    def newest_first(self) -> list[Ticket]:
        return list(reversed(self._tickets.values()))

    def cancel(self, ticket: Ticket) -> None:
        """End it, also while it runs; one that has ended stays what it is."""
        if ticket.ended:
            return
        if ticket.state == "queued":
            self._queue.remove(ticket)
            self._end(ticket, "cancelled")
        ticket.cancel.cancel()

    async def run(self) -> None:
        """One after the other."""
        while True:
            while not self._queue:
                self._news = trio.Event()
                await self._news.wait()
            ticket = self._queue.popleft()
            ticket.state, ticket.begun = "running", trio.current_time()
            with ticket.cancel:
                await self._work(ticket)
            if not ticket.ended:
                self._end(ticket, "cancelled")

    async def _work(self, ticket: Ticket) -> None:
        assert ticket.job is not None, "only what was submitted here is worked on"
        command = [sys.executable, "-m", "server.backtesting.worker"]
        work = partial(
            trio.run_process, command, stdin=encoded(ticket.job), stdout=subprocess.PIPE, check=False,
            deliver_cancel=_kill,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(work)
            await self._listen(ticket, process)
        if not ticket.ended:
            ticket.error = f"the worker ended with code {process.returncode} and no result"
            self._end(ticket, "failed")

    async def _listen(self, ticket: Ticket, process: trio.Process) -> None:
        assert process.stdout is not None, "it was asked for"
        rest = b""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._heard(ticket, from_json(line))

    def _heard(self, ticket: Ticket, words: dict[str, Any]) -> None:
        if "result" in words:
            ticket.result, ticket.progress = words["result"], 1.0
            self._keep(ticket, ".html", words["report"].encode())
            self._end(ticket, "done")
        elif "error" in words:
            ticket.error = words["error"]
            self._end(ticket, "failed")
        else:
            ticket.progress, ticket.reached = float(words["progress"]), words["reached"]

    # --- what is kept

    def _end(self, ticket: Ticket, state: BacktestState) -> None:
        """Remember how it ended, on the disk, too; the oldest are let go."""
        ticket.state, ticket.job = state, None
        ended = [other for other in self._tickets.values() if other.ended]
        for old in ended[: max(0, len(ended) - KEPT)]:
            del self._tickets[old.id]
            for kind in (".json", ".html"):
                self._path(old, kind).unlink(missing_ok=True)
        self._keep(ticket, ".json", encoded(ticket.whole(0.0)))

    def _keep(self, ticket: Ticket, kind: str, data: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            fresh = self._path(ticket, ".new")
            fresh.write_bytes(data)
            os.replace(fresh, self._path(ticket, kind))
        except OSError as error:
            log.warning("backtest %s could not be kept: %s", ticket.id, error)

    def report(self, ticket: Ticket) -> str | None:
        """Its report as one HTML file, the same as the command's; None where there is none. Blocking."""
        try:
            page = self._path(ticket, ".html").read_text(encoding="utf-8")
        except OSError:
            return None
        return page.replace(LIBRARY, plotly_js(), 1)

    def _path(self, ticket: Ticket, kind: str) -> Path:
        return self._folder / f"{ticket.id}{kind}"

    def _recall(self) -> None:
        """What earlier processes kept. What they did not finish is gone; a file that cannot be read is passed over."""
        found = []
        for path in self._folder.glob("bt_*.json"):
            try:
                plain = from_json(path.read_bytes())
                ticket = Ticket(plain["id"], plain["name"], plain["submitted"], None, plain["state"])
                ticket.progress, ticket.reached = float(plain["progress"]), plain["reached"]
                ticket.error, ticket.result = plain["error"], plain["result"]
                found.append(ticket)
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("%s is no backtest's result: passed over", path)
        found.sort(key=lambda ticket: ticket.submitted)
        self._tickets = {ticket.id: ticket for ticket in found[-KEPT:]}


async def _kill(process: trio.Process) -> None:
    process.kill()
