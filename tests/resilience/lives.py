"""The lives of one log: where each ends is drawn from a seed, and a client stays through all of them."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import trio
from attrs import Factory, define, frozen

from tests.resilience import evidence
from tests.resilience._doomed import (
    AFTER,
    ANYTHING,
    BEFORE,
    CHANGE,
    CHECKPOINT,
    DECISION,
    DOOM,
    DURING,
    FOUNDING,
    STARTING,
    STOPPING,
    WAITING,
)
from tests.resilience.candles import Files
from tests.world.client import StreamClient
from tests.world.daemon import SECONDS, DaemonProcess

Start = Callable[..., DaemonProcess]
OUTSIDE: Final = "outside"  # from another process, at whatever it was doing
NOWHERE: Final = "http://127.0.0.1:0"
# One set of deaths; a run of many lives has it several times, each time in another order.
DEATHS: Final = (
    (BEFORE, DECISION), (DURING, DECISION), (DURING, DECISION), (AFTER, ANYTHING), (AFTER, CHECKPOINT),
    (OUTSIDE, ""), (OUTSIDE, ""), (STARTING, ""), (STARTING, ""), (STOPPING, ""),
)  # fmt: skip
CHANGE_DEATHS: Final = ((BEFORE, CHANGE), (DURING, CHANGE), (AFTER, CHANGE))
WAITING_DEATHS: Final = ((AFTER, WAITING), (DURING, WAITING))
STARTING_CALLS, STOPPING_CALLS = (100, 60_000), (5, 3_000)  # of our own functions; what a start and a stop take


@frozen
class Way:
    """How a log's agent trades, and whether somebody changes its config all the time."""

    name: str
    env: dict[str, str]
    changes: bool

    @property
    def deaths(self) -> tuple[tuple[str, str], ...]:
        return DEATHS + (CHANGE_DEATHS + WAITING_DEATHS if self.changes else ())


WAYS: Final = (
    Way("at the quote", {}, changes=False),
    Way("at the next open, while the config is changed", {"FORESTAY_PAPER__FILL_AT": "next_open"}, changes=True),
)


@frozen
class Life:
    """How fast it is lived, and where it ends: at a place in a kind of commit after so many rows, or of calls."""

    place: str
    what: str
    step: int
    speed: str
    change_every: int | None  # frames

    def doom(self, last_row: int) -> str | None:
        match self.place:
            case "outside":
                return None
            case "starting" | "stopping":
                return f"{self.place} {self.step}"
            case _:
                return f"{self.place} {self.what} {last_row + self.step}"


def drawn(random: Random, way: Way) -> Iterator[Life]:
    """Lives without end, every kind of death before any comes again. They are short, so that many fit into a market."""
    yield Life(DURING, FOUNDING, 0, "max", None)
    while True:
        for place, what in random.sample(way.deaths, len(way.deaths)):
            yield _life(random, way, place, what)


def _life(random: Random, way: Way, place: str, what: str) -> Life:
    match place, what:
        case (("starting" | "stopping"), _):  # as many early instants as late ones, by order of magnitude
            fewest, most = STARTING_CALLS if place == STARTING else STOPPING_CALLS
            step = round(fewest * (most / fewest) ** random.random())
        case _, "checkpoint":
            step = 0
        case _:
            step = random.randint(10, 300)
    # At full speed a kill from outside, or a change, would come thousands of rows after what it waits for.
    timed = place in (OUTSIDE, STOPPING) or what in (CHANGE, WAITING)
    speed = "300" if timed else random.choice(("max", "300"))
    return Life(place, what, step, speed, random.randint(5, 40) if way.changes and speed != "max" else None)


@define
class Changes:
    """The changes that somebody asked for. Each has a number of its own, as a slippage that no other one has."""

    asked: int = 0
    granted: list[int] = Factory(list)

    @staticmethod
    def slippage(number: int) -> float:
        return 5 + number / 100

    async def one(self, http: httpx.AsyncClient) -> None:
        """Ask for the next one; an answer may not come."""
        self.asked += 1
        number = self.asked
        try:
            answer = await http.patch("/agents/current/config", json={"paper": {"slippage_bps": self.slippage(number)}})
        except httpx.TransportError:
            return
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            assert answer.json()["paper"]["slippage_bps"] == self.slippage(number)
            self.granted.append(number)

    def are_kept(self, rows: list[evidence.Logged]) -> str:
        """What was granted is in the log, the rest once or not at all, in the order they were asked for."""
        configs = [json.loads(row.body) for row in rows if row.kind == "config"]
        assert [config["version"] for config in configs] == list(range(1, len(configs) + 1))
        by_slippage = {self.slippage(number): number for number in range(self.asked + 1)}
        found = [by_slippage[config["config"]["paper"]["slippage_bps"]] for config in configs]
        assert found[0] == 0
        assert found == sorted(set(found))
        assert set(self.granted) <= set(found), "a change that was granted is lost"
        return f"{self.asked} changes asked for, {len(self.granted)} granted, {len(found) - 1} in the log"


class Lives:
    """The lives of one log, one after the other."""

    def __init__(self, start: Start, files: Files, way: Way, data_dir: Path) -> None:
        self._start = start
        self._files = files
        self._way = way
        self.data_dir = data_dir
        self.client = StreamClient(NOWHERE)
        self.changes = Changes()
        self.ends: Counter[str] = Counter()

    async def begin(self, speed: str, doom: str | None) -> DaemonProcess:
        env = self._way.env | ({} if doom is None else {DOOM: doom})
        flags = (*self._files.flags, "--speed", speed)
        return await trio.to_thread.run_sync(lambda: self._start(*flags, data_dir=self.data_dir, env=env))

    async def live(self, life: Life) -> str:
        """One life to its end, violent in all but few; what is to be said of it."""
        before = self.rows()
        daemon = await self.begin(life.speed, life.doom(before[-1].row if before else 0))
        if await trio.to_thread.run_sync(daemon.listens):
            self.client.base = daemon.base
        code = await self._ended(daemon, life)
        self.client.base = NOWHERE
        after = self.rows()
        assert after[: len(before)] == before
        words = self._last_words(daemon, life, code, before, after)
        self.ends[f"{life.place} {life.what}".strip()] += code == -signal.SIGKILL
        return f"{life.place:8} {life.what:10} at speed {life.speed:4} {len(after) - len(before):5} rows on{words}"

    async def _ended(self, daemon: DaemonProcess, life: Life) -> int:
        """Lived out; the exit code."""
        async with trio.open_nursery() as nursery:
            if life.change_every is not None and daemon.base:
                nursery.start_soon(self._keep_changing, daemon.base, life.change_every)
            if life.place in (OUTSIDE, STOPPING):
                await self.client.until_seq(self.client.seq + 1 + (life.step % 100))
                daemon.signal(signal.SIGKILL if life.place == OUTSIDE else signal.SIGTERM)
            code = await trio.to_thread.run_sync(daemon.wait)
            nursery.cancel_scope.cancel()
        return code

    async def _keep_changing(self, base: str, every: int) -> None:
        async with httpx.AsyncClient(base_url=base, timeout=SECONDS, verify=False) as http:
            while True:
                await self.client.until_seq(self.client.seq + every)
                await self.changes.one(http)

    def _last_words(
        self, daemon: DaemonProcess, life: Life, code: int, before: list[evidence.Logged], after: list[evidence.Logged]
    ) -> str:
        """The disk agrees with the dead about where it ended."""
        if code == 0 and life.place == STOPPING:
            assert evidence.entry_types(after)[-1] == "STOPPED"
            return ", stopped in good order before its hour came"
        assert code == -signal.SIGKILL, f"the run ended first, with {code}: {daemon.errors}"
        if life.place == OUTSIDE:
            return ""
        words: dict[str, Any] = json.loads(daemon.errors[-1])
        assert len(daemon.errors) == 1, daemon.errors
        if life.place in (STARTING, STOPPING):
            return f", died in {words['at']} after {life.step} calls"
        kinds = Counter(words["kinds"])
        if life.place == AFTER:
            assert len(after) == words["last"]
            return f", nobody told of {dict(kinds)}"
        assert len(after) + 1 == words["first"]
        assert kinds, "there was nothing to lose"
        return f", rows {words['first']} to {words['last']} lost with {dict(kinds)}"

    def rows(self) -> list[evidence.Logged]:
        return evidence.logged_so_far(self.data_dir)

    def nothing_is_missing_or_repeated(self, rows: list[evidence.Logged]) -> None:
        """In the log, and in what the client saw of it, raw for raw."""
        assert [row.row for row in rows] == list(range(1, len(rows) + 1))
        seqs = [row.seq for row in rows if row.seq is not None]
        assert seqs == list(range(1, len(seqs) + 1))
        entries = [json.loads(row.body)["id"] for row in rows if row.kind == "journal_entry"]
        assert len(set(entries)) == len(entries)
        rounds = [json.loads(row.body)["ts"] for row in rows if row.kind == "round"]
        assert len(set(rounds)) == len(rounds)
        assert self.client.frames == evidence.frames(rows)
        assert len(self.client.log_ids) == 1
        assert "ACTOR_RESTARTED" not in evidence.entry_types(rows)
