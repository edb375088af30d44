"""Ends and beginnings: signals, a data dir that is taken, settings that differ, a market that is over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio

from tests.resilience import evidence
from tests.resilience.candles import made_up
from tests.world.client import StreamClient, following
from tests.world.daemon import DaemonProcess

SEED = 6
HOURS = 600
STOP_SECONDS = 5.0  # what the daemon promises
PATIENCE = 30.0  # bounds a hang
AT_END = ("--speed", "max", "--exit-at-end")
Start = Callable[..., DaemonProcess]


def refused(daemon: DaemonProcess) -> str:
    """It did not start; the one message that says why."""
    assert daemon.wait() == 2, daemon.errors
    said = "".join(daemon.errors)
    assert said.startswith("forestay: ")
    assert "Traceback" not in said
    assert daemon.base == ""
    return said


def signalled(daemon: DaemonProcess, number: signal.Signals) -> tuple[int, float]:
    """Its exit code, and after how many seconds."""
    begun = time.monotonic()
    os.kill(daemon.pid, number)
    return daemon.wait(), time.monotonic() - begun


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_run_in_good_order_and_the_next_start_goes_on_where_it_stopped(
    start_daemon: Start, tmp_path: Path, number: signal.Signals
) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    daemon = start_daemon(*files.flags, "--speed", "200")
    client = StreamClient(daemon.listening())
    async with following(client):
        await client.until_seq(100)
        code, seconds = await trio.to_thread.run_sync(signalled, daemon, number)
        await client.until(lambda: bool(client.closings))
    rows = evidence.logged(daemon.data_dir)
    assert code == 0, daemon.errors
    assert seconds < STOP_SECONDS
    assert client.closings == [1001]
    assert client.frames == evidence.frames(rows)
    assert json.loads(rows[-1].body)["type"] == "STOPPED"
    assert "Stopped in good order." in daemon.lines[-1]
    assert evidence.essence(rows)[-1][1]["ts"] < files.end, "the run ended first"
    assert "".join(daemon.errors) == ""
    evidence.verify(daemon.data_dir)

    again = start_daemon(*files.flags, *AT_END)
    whole = start_daemon(*files.flags, *AT_END, data_dir=tmp_path / "whole")
    assert await trio.to_thread.run_sync(again.wait) == 0, again.errors
    assert await trio.to_thread.run_sync(whole.wait) == 0, whole.errors
    finished = evidence.logged(again.data_dir)
    assert finished[: len(rows)] == rows
    assert evidence.essence(finished) == evidence.essence(evidence.logged(whole.data_dir))


async def test_no_change_is_granted_once_the_end_is_journaled(start_daemon: Start, tmp_path: Path) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    daemon = start_daemon(*files.flags, "--speed", "100")
    client = StreamClient(daemon.listening())
    granted, under_way = 0, trio.Event()

    async def keep_changing() -> None:
        nonlocal granted
        async with httpx.AsyncClient(base_url=daemon.base, timeout=PATIENCE, verify=False) as http:
            with suppress(httpx.TransportError):  # nobody is there any more
                while True:
                    change = {"snapshot_minutes": 60 + granted % 60}
                    answer = await http.patch("/agents/current/config", json=change)
                    assert answer.status_code in (200, 503), answer.text
                    granted += answer.status_code == 200
                    if granted > 10:
                        under_way.set()

    async with following(client), trio.open_nursery() as nursery:
        nursery.start_soon(keep_changing)
        await client.until_seq(100)
        await under_way.wait()
        daemon.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(daemon.wait) == 0
    entries = evidence.entry_types(evidence.logged(daemon.data_dir))
    assert entries.count("CONFIG_CHANGE") in (granted, granted + 1)  # the last answer may have met a closed door
    assert entries[-1] == "STOPPED"


def test_a_second_daemon_on_the_same_data_dir_is_refused(start_daemon: Start, tmp_path: Path) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    first = start_daemon(*files.flags, "--speed", "1")
    first.ready()
    said = refused(start_daemon(*files.flags, "--speed", "1"))
    assert str(first.data_dir) in said
    assert str(first.pid) in said
    assert first.get("/readyz").status_code == 200
    assert first.terminate() == 0
    assert evidence.entry_types(evidence.logged(first.data_dir)).count("STARTED") == 1


def test_a_log_that_began_on_other_files_is_not_continued(start_daemon: Start, tmp_path: Path) -> None:
    files, others = made_up(tmp_path, HOURS, SEED), made_up(tmp_path, HOURS, SEED + 1)
    began = start_daemon(*files.flags, *AT_END)
    assert began.wait() == 0, began.errors
    rows = evidence.logged(began.data_dir)
    said = refused(start_daemon(*others.flags, *AT_END))
    assert all(path.name in said for path in (*files.paths.values(), *others.paths.values()))
    assert str(began.data_dir) in said
    assert evidence.logged(began.data_dir) == rows


def test_agent_settings_that_differ_from_the_log_are_refused_by_name(start_daemon: Start, tmp_path: Path) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    began = start_daemon(*files.flags, *AT_END)
    assert began.wait() == 0, began.errors
    rows = evidence.logged(began.data_dir)
    said = refused(start_daemon(*files.flags, *AT_END, env={"FORESTAY_RISK__MAX_DRAWDOWN_PCT": "10"}))
    assert "risk.max_drawdown_pct" in said
    assert "10" in said
    assert "20" in said
    assert "PATCH" in said
    assert evidence.logged(began.data_dir) == rows


def test_a_start_after_the_markets_end_repeats_nothing(start_daemon: Start, tmp_path: Path) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    logs = []
    for _ in range(3):
        daemon = start_daemon(*files.flags, *AT_END)
        assert daemon.wait() == 0, daemon.errors
        logs.append(evidence.logged(daemon.data_dir))
    first, second, third = logs
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert evidence.essence(third) == evidence.essence(first)
    assert evidence.entry_types(third)[-4:] == ["STARTED", "STOPPED", "STARTED", "STOPPED"]
    evidence.verify(daemon.data_dir)


async def test_a_start_goes_on_from_a_checkpoint_as_it_would_without_one(start_daemon: Start, tmp_path: Path) -> None:
    files = made_up(tmp_path, 5 * HOURS, SEED)
    daemon = start_daemon(*files.flags, "--speed", "max")
    client = StreamClient(daemon.listening())
    async with following(client):
        await client.until_seq(1_800)  # a checkpoint is made every thousand rounds
        assert await trio.to_thread.run_sync(daemon.terminate) == 0
    assert evidence.essence(evidence.logged(daemon.data_dir))[-1][1]["ts"] < files.end, "the run ended first"
    bare = tmp_path / "without"
    shutil.copytree(daemon.data_dir, bare)
    assert evidence.forget_checkpoints(bare) == 1
    starts = [start_daemon(*files.flags, *AT_END, data_dir=folder) for folder in (daemon.data_dir, bare)]
    for start in starts:
        assert await trio.to_thread.run_sync(start.wait) == 0, start.errors
    finished, refolded = (evidence.logged(start.data_dir) for start in starts)
    assert evidence.entry_types(finished)[-1] == "STOPPED"
    assert evidence.entry_types(finished).count("STARTED") == 2
    assert len(finished) > 3 * 5 * HOURS
    assert finished == refolded
