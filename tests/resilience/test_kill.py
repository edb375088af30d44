"""Killed twenty times, without a word, at points that a seed chooses: the log is the one of a run that never was."""

from __future__ import annotations

import json
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import frozen

from tests.resilience import evidence
from tests.resilience._doomed import AFTER, BEFORE, DOOM, DURING
from tests.resilience.candles import Files, made_up
from tests.world.client import StreamClient, following
from tests.world.daemon import DaemonProcess

ROOT = Path(__file__).parents[2]
SEED = 20
HOURS = 4_200
OUTSIDE = "outside"  # from another process, at whatever it was doing
PLACES = {BEFORE: 6, DURING: 6, AFTER: 2, OUTSIDE: 6}
LONG = 3_600  # rows: enough for a checkpoint, so that later lives continue from one
Start = Callable[..., DaemonProcess]


@frozen
class Kill:
    """One life: how fast it is lived, and where it ends, in rows from its beginning."""

    place: str
    step: int
    speed: str


def kills(random: Random) -> list[Kill]:
    """Twenty lives, the first of them long."""
    places = [place for place, count in PLACES.items() for _ in range(count)]
    random.shuffle(places)
    lives = [
        # At full speed a kill from outside would come thousands of rows after the one it waits for.
        Kill(place, random.randint(30, 600), "300" if place == OUTSIDE else random.choice(("max", "300")))
        for place in places
    ]
    return [Kill(lives[0].place, LONG, "max"), *lives[1:]]


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Daemons are started through the launcher that can doom them."""
    launcher = tmp_path / "mortal-forestay"
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.resilience._doomed import main\nmain()\n"
    launcher.write_text(f"#!{sys.executable}\n{code}")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("tests.world.daemon.FORESTAY", launcher)


class Lives:
    """The lives of one log, one after the other, under the eyes of a client that stays."""

    def __init__(self, start: Start, files: Files, data_dir: Path) -> None:
        self._start = start
        self._files = files
        self.data_dir = data_dir
        self.client = StreamClient("http://127.0.0.1:0")  # nowhere yet

    async def begin(self, speed: str, doom: str | None) -> DaemonProcess:
        env = {} if doom is None else {DOOM: doom}
        flags = (*self._files.flags, "--speed", speed)
        return await trio.to_thread.run_sync(lambda: self._start(*flags, data_dir=self.data_dir, env=env))

    async def live(self, kill: Kill) -> str:
        """One life to its violent end; what is to be said of it."""
        before = self._rows()
        at = (before[-1].row if before else 0) + kill.step
        daemon = await self.begin(kill.speed, None if kill.place == OUTSIDE else f"{kill.place} {at}")
        self.client.base = await trio.to_thread.run_sync(daemon.listening)
        if kill.place == OUTSIDE:
            await self.client.until_seq(self.client.seq + kill.step // 3)
            daemon.kill()
        code = await trio.to_thread.run_sync(daemon.wait)
        assert code == -signal.SIGKILL, f"the run ended first, with {code}: {daemon.errors}"
        after = self._rows()
        assert not self._ended(after), "the run ended first"
        assert after[: len(before)] == before
        lost = "" if kill.place == OUTSIDE else self._lost(kill.place, after, json.loads(daemon.errors[-1]))
        return f"{kill.place:8} at speed {kill.speed:4} {len(after) - len(before):5} rows advanced{lost}"

    def _lost(self, place: str, after: list[evidence.Logged], words: dict[str, int | list[str]]) -> str:
        """The disk agrees with the dead about where it ended."""
        if place == AFTER:
            assert len(after) == words["last"]
            return ", nobody told of the last commit"
        assert len(after) + 1 == words["first"]
        assert words["outcomes"], "there was no decision to lose"
        return f", rows {words['first']} to {words['last']} lost with {Counter(words['outcomes'])}"  # type: ignore[arg-type]

    def _rows(self) -> list[evidence.Logged]:
        there = (self.data_dir / "log.sqlite3").exists()
        return evidence.logged(self.data_dir) if there else []

    def _ended(self, rows: list[evidence.Logged]) -> bool:
        return any(row.kind == "round" and json.loads(row.body)["ts"] >= self._files.end for row in rows[-100:])


async def test_a_run_that_is_killed_twenty_times_is_the_run_that_was_never_killed(
    start_daemon: Start, tmp_path: Path, mortal: None
) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    unharmed = start_daemon(*files.flags, "--speed", "max", "--exit-at-end", data_dir=tmp_path / "unharmed")
    lives = Lives(start_daemon, files, tmp_path / "killed")
    plan = kills(Random(SEED))
    assert sum(kill.place in (BEFORE, DURING) for kill in plan) >= 10
    print(f"seed {SEED}")
    async with following(lives.client):
        for n, kill in enumerate(plan, 1):
            print(f"life {n:2}: {await lives.live(kill)}")
        last = await lives.begin("max", None)
        lives.client.base = await trio.to_thread.run_sync(last.listening)
        await lives.client.until_time(files.end)
        assert await trio.to_thread.run_sync(last.terminate) == 0
        rows = evidence.logged(lives.data_dir)
        await lives.client.until_seq(len(evidence.frames(rows)))
    print(f"life 21: lived to its end, {len(rows)} rows; the client connected {lives.client.connections} times")
    nothing_is_missing_or_repeated(rows, lives.client)
    evidence.verify(lives.data_dir)
    assert unharmed.wait() == 0, unharmed.errors
    assert evidence.essence(rows) == evidence.essence(evidence.logged(unharmed.data_dir))


def nothing_is_missing_or_repeated(rows: list[evidence.Logged], client: StreamClient) -> None:
    assert [row.row for row in rows] == list(range(1, len(rows) + 1))
    seqs = [row.seq for row in rows if row.seq is not None]
    assert seqs == list(range(1, len(seqs) + 1))
    entries = [json.loads(row.body)["id"] for row in rows if row.kind == "journal_entry"]
    assert len(set(entries)) == len(entries)
    rounds = [json.loads(row.body)["ts"] for row in rows if row.kind == "round"]
    assert len(set(rounds)) == len(rounds)
    assert client.frames == evidence.frames(rows)
    assert len(client.log_ids) == 1
    types = Counter(evidence.entry_types(rows))
    assert types["STOPPED"] == 1
    assert types["ACTOR_RESTARTED"] == 0
