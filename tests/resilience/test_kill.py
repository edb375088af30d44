"""Killed again and again, at instants that a seed chooses: the log is the one of a run that never was.

One market is played per seed and way to trade, and every kind of death (`lives.DEATHS`) is died in each. With
FORESTAY_LONG=1 that is done often enough for more than 200 kills.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from random import Random

import pytest
import trio

from tests.resilience import evidence
from tests.resilience._doomed import CHANGES, ROOT
from tests.resilience.candles import made_up
from tests.resilience.lives import WAYS, Lives, Start, Way, drawn
from tests.world.client import following
from tests.world.daemon import DaemonProcess

LONG = os.environ.get("FORESTAY_LONG") == "1"  # at least 200 kills; otherwise at least 20
ROUNDS_OF_DEATHS, HOURS = (2, 4_500) if LONG else (1, 2_500)  # how often a run dies each of its deaths
SEEDS = range(20, 24) if LONG else range(20, 21)
HERE = Path(__file__).relative_to(ROOT)
if "FORESTAY_TEST_SEED" in os.environ:
    SEEDS = range(seed := int(os.environ["FORESTAY_TEST_SEED"]), seed + 1)


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Daemons are started through the launcher that can doom them."""
    launcher = tmp_path / "mortal-forestay"
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.resilience._doomed import main\nmain()\n"
    launcher.write_text(f"#!{sys.executable}\n{code}")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("tests.world.daemon.FORESTAY", launcher)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_run_that_is_killed_again_and_again_is_the_run_that_was_never_killed(
    start_daemon: Start, tmp_path: Path, mortal: None, seed: int, way: Way
) -> None:
    long = "FORESTAY_LONG=1 " if LONG else ""
    print(f"again: {long}FORESTAY_TEST_SEED={seed} .venv/bin/python -m pytest {HERE} -k {way.name.split()[-1]!r}")
    files = made_up(tmp_path, HOURS, seed)
    lives = Lives(start_daemon, files, way, tmp_path / "killed")
    plan, kills = drawn(Random(f"{seed} {way.name}"), way), 1 + ROUNDS_OF_DEATHS * len(way.deaths)
    async with following(lives.client):
        while lives.ends.total() < kills:
            print(f"life {lives.ends.total() + 1:2}: {await lives.live(next(plan))}", flush=True)
            assert lives.client.ts < files.end, "the run ended first"
        last = await lives.begin("max", None)
        lives.client.base = await trio.to_thread.run_sync(last.listening)
        await lives.client.until_time(files.end)
        assert await trio.to_thread.run_sync(last.terminate) == 0
        rows = lives.rows()
        await lives.client.until_seq(len(evidence.frames(rows)))
    print(f"the last lived to its end: {len(rows)} rows; the client connected {lives.client.connections} times")
    print(f"{lives.changes.are_kept(rows)}; killed {dict(lives.ends)}")
    lives.nothing_is_missing_or_repeated(rows)
    evidence.verify(lives.data_dir)
    script = tmp_path / "changes.json"
    script.write_text(json.dumps([row.body for row in rows if row.kind == "config"][1:]))
    flags = (*files.flags, "--speed", "max", "--exit-at-end")
    unharmed = start_daemon(*flags, data_dir=tmp_path / "unharmed", env=way.env | {CHANGES: str(script)})
    assert await trio.to_thread.run_sync(finished, unharmed) == evidence.essence(rows)


def finished(daemon: DaemonProcess) -> list[tuple[str, dict[str, object]]]:
    """What the undisturbed run was about."""
    assert daemon.wait() == 0, daemon.errors
    return evidence.essence(evidence.logged(daemon.data_dir))
