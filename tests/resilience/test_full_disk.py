"""A real disk that is full, or read-only: a state that is shown and come out of, and the log is that of any other run.

The disk is a tmpfs of one megabyte in a namespace of its own (`tests.world.small_disk`), which the log outgrows within
seconds.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import pytest
import trio

from tests.resilience import evidence
from tests.resilience.candles import Files, made_up
from tests.world.client import Rest, StreamClient, following
from tests.world.daemon import DaemonProcess
from tests.world.small_disk import SmallDisk, disk

__all__ = ["disk"]

SEED = 12
HOURS = 1_000
SECONDS = 60.0  # a bound against hanging, not a figure
POLL_SECONDS = 0.02
FULL = "disk is full"
TIMES = 8  # how often the disk is full in one run
UNHURRIED = ("--speed", "300")
Start = Callable[..., DaemonProcess]


@pytest.fixture
def start(disk: SmallDisk, start_daemon: Start) -> Start:
    """Start daemons, on the disk unless another data_dir is given."""
    return lambda *flags, data_dir=disk.path / "data": start_daemon(*flags, data_dir=data_dir)


class Run:
    """One market, run undisturbed on ample ground, and on the small disk under the eyes of a client that stays."""

    def __init__(self, start: Start, disk: SmallDisk, hours: int = HOURS) -> None:
        self._start = start
        self._disk = disk
        self.files: Files = made_up(disk.path.parent, hours, SEED)
        self.data_dir = disk.path / "data"
        self.client = StreamClient("http://127.0.0.1:0")  # nowhere yet
        self._copies = 0

    def begin(self, *flags: str) -> DaemonProcess:
        return self._start(*self.files.flags, *(flags or ("--speed", "max")))

    async def begun(self, *flags: str) -> DaemonProcess:
        """Started, and listening."""
        daemon = await trio.to_thread.run_sync(lambda: self.begin(*flags))
        self.client.base = await trio.to_thread.run_sync(daemon.listening)
        return daemon

    def rows(self) -> list[evidence.Logged]:
        """What is on the disk now."""
        self._copies += 1
        return evidence.logged(self._disk.copied("data", self._disk.path.parent / f"copy-{self._copies}"))

    async def finish(self, daemon: DaemonProcess) -> list[evidence.Logged]:
        """Live to the market's end and stop; the log is whole, is what the client saw, and is the undisturbed one."""
        await self.client.until_time(self.files.end)
        assert await trio.to_thread.run_sync(daemon.terminate) == 0, daemon.errors
        rows = self.rows()
        await self.client.until_seq(len(evidence.frames(rows)))
        assert self.client.frames == evidence.frames(rows)
        assert len(self.client.log_ids) == 1
        assert f"{len(rows)} rows" in evidence.verify(self.data_dir)
        assert evidence.essence(rows) == evidence.essence(await self._undisturbed())
        assert evidence.entry_types(rows)[-1] == "STOPPED"
        assert "ACTOR_RESTARTED" not in evidence.entry_types(rows)
        return rows

    async def _undisturbed(self) -> list[evidence.Logged]:
        flags = (*self.files.flags, "--speed", "max", "--exit-at-end")
        ample = self._start(*flags, data_dir=self._disk.path.parent / "ample")
        assert await trio.to_thread.run_sync(ample.wait) == 0, ample.errors
        return evidence.logged(ample.data_dir)


async def until_unavailable(daemon: DaemonProcess, why: str = "") -> str:
    """Wait until /readyz says that the disk does not take writes, for that reason; the reason."""
    async with httpx.AsyncClient(base_url=daemon.base, timeout=SECONDS, verify=False) as http:
        with trio.fail_after(SECONDS):
            while True:
                answer = await http.get("/readyz")
                if answer.status_code == 503 and answer.json()["code"] == "DISK_UNAVAILABLE":
                    reason: str = answer.json()["detail"]
                    if why in reason:
                        return reason
                assert daemon.running, daemon.errors
                await trio.sleep(POLL_SECONDS)


async def until_ready(daemon: DaemonProcess) -> None:
    with trio.fail_after(SECONDS):
        await trio.to_thread.run_sync(daemon.ready)


async def agent_of(daemon: DaemonProcess) -> dict[str, Any]:
    async with Rest(daemon.base) as rest:
        return await rest.agent()


def refused(daemon: DaemonProcess) -> str:
    """It did not start; why, of the one line that says where and why."""
    assert daemon.wait() == 2, daemon.errors
    said = "".join(daemon.errors)
    assert said.startswith("forestay: ")
    assert said.count("\n") == 1
    assert daemon.base == ""
    _, where, why = said.partition(str(daemon.data_dir))
    assert where, said
    return why


async def everything_is_still_read(run: Run, daemon: DaemonProcess) -> None:
    """Lists, the stream from its beginning, and the log itself, beside the daemon: all tell the same."""
    client, latecomer = run.client, StreamClient(daemon.base)
    async with following(latecomer), Rest(daemon.base, limit=61) as rest:
        await latecomer.until_seq(client.seq)
        assert latecomer.frames == client.frames
        assert await rest.events() == client.messages
        told = [message for message in client.messages if message["event"] == "journal_entry"]
        assert await rest.whole("journal") == told[::-1]
        assert rest.last_seq == client.seq
    rows = await trio.to_thread.run_sync(run.rows)
    assert evidence.frames(rows) == client.frames
    assert f"{len(rows)} rows, {client.seq} events" in await trio.to_thread.run_sync(evidence.verify, run.data_dir)


async def test_a_full_disk_stops_the_decisions_and_not_the_reading_and_room_lets_the_same_process_go_on(
    start: Start, disk: SmallDisk
) -> None:
    run = Run(start, disk)
    daemon = await run.begun()
    async with following(run.client):
        assert FULL in await until_unavailable(daemon)
        found = await agent_of(daemon)
        assert (found["state"], found["outage"]["what"]) == ("degraded", "disk")
        assert FULL in found["outage"]["reason"]
        assert "" < found["market"]["time"] < run.files.end, "the run ended first"
        await run.client.until_seq(found["seq"])
        await everything_is_still_read(run, daemon)
        async with httpx.AsyncClient(base_url=daemon.base, timeout=SECONDS, verify=False) as http:
            change = await http.patch("/agents/current/config", json={"snapshot_minutes": 120})
        assert (change.status_code, change.json()["code"]) == (503, "DISK_UNAVAILABLE")
        later = await agent_of(daemon)
        assert later | {"last_heartbeat": ""} == found | {"last_heartbeat": ""}
        disk.make_room()
        await until_ready(daemon)
        rows = await run.finish(daemon)
    types = evidence.entry_types(rows)
    assert (types.count("STARTED"), types.count("STOPPED"), types.count("CONFIG_CHANGE")) == (1, 1, 0)
    assert run.client.connections == 1
    said = "".join(daemon.errors)
    assert said.count("the log cannot be written") == said.count("the log can be written again") == 1
    assert said.count("\n") == 2


async def test_a_disk_that_is_full_again_and_again_costs_nothing_but_time(start: Start, disk: SmallDisk) -> None:
    random, run = Random(SEED), Run(start, disk, 2 * HOURS)
    disk.make_room()
    daemon = await run.begun(*UNHURRIED)
    async with following(run.client):
        for n in range(1, TIMES + 1):
            await run.client.until_seq(run.client.seq + random.randint(1, 60))
            pages = random.randint(0, 12)  # so that other writes are the first that fail
            disk.fill(pages)
            await until_unavailable(daemon)
            found = await agent_of(daemon)
            assert found["market"]["time"] < run.files.end, "the run ended first"
            print(f"seed {SEED}: full for the {n}. time at seq {found['seq']}, {pages} pages later")
            disk.make_room()
            await until_ready(daemon)
        rows = await run.finish(daemon)
    assert evidence.entry_types(rows).count("STARTED") == 1
    assert "".join(daemon.errors).count("the log can be written again") == TIMES


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_start_on_a_disk_that_is_still_full_is_degraded_and_goes_on_when_there_is_room(
    start: Start, disk: SmallDisk, end: signal.Signals
) -> None:
    run = Run(start, disk)
    first = await run.begun()
    async with following(run.client):
        await until_unavailable(first)
        before = await trio.to_thread.run_sync(run.rows)
        first.signal(end)
        assert await trio.to_thread.run_sync(first.wait) == (0 if end == signal.SIGTERM else -end)
        second = await run.begun()
        assert FULL in await until_unavailable(second)
        found = await agent_of(second)
        assert (found["state"], found["outage"]["what"]) == ("degraded", "disk")
        await run.client.until_seq(found["seq"])
        await everything_is_still_read(run, second)
        still = await trio.to_thread.run_sync(run.rows)  # a commit that is small enough may have found its place
        assert still[: len(before)] == before
        disk.make_room()
        await until_ready(second)
        rows = await run.finish(second)
    assert rows[: len(before)] == before
    assert evidence.entry_types(rows).count("STARTED") == 2
    if end == signal.SIGTERM:
        assert "stopping without a STOPPED entry" in "".join(first.errors)


async def test_a_start_that_finds_no_room_even_to_read_says_so_and_leaves_the_log_as_it_is(
    start: Start, disk: SmallDisk
) -> None:
    run = Run(start, disk)
    first = await run.begun()
    async with following(run.client):
        await until_unavailable(first)
        first.kill()
        before = await trio.to_thread.run_sync(run.rows)
        disk.remove("data/log.sqlite3-shm")  # what SQLite lets go of when it opens a log, somebody else may take
        disk.fill()
        assert "disk" in await trio.to_thread.run_sync(refused, run.begin())
        disk.make_room()
        assert await trio.to_thread.run_sync(run.rows) == before
        second = await run.begun()
        await until_ready(second)
        rows = await run.finish(second)
    assert rows[: len(before)] == before


@pytest.mark.parametrize("kilobytes", [4, 16, 40, 100])
async def test_a_first_start_without_room_is_refused_by_the_disks_name_or_waits_for_room(
    start: Start, disk: SmallDisk, kilobytes: int
) -> None:
    run = Run(start, disk, 100)
    disk.make_room(kilobytes)
    daemon = await trio.to_thread.run_sync(run.begin)
    async with following(run.client):
        if await trio.to_thread.run_sync(daemon.listens):
            assert FULL in await until_unavailable(daemon)
            disk.make_room()
        else:
            assert "disk" in await trio.to_thread.run_sync(refused, daemon)
            disk.make_room()
            daemon = await trio.to_thread.run_sync(run.begin)
        run.client.base = await trio.to_thread.run_sync(daemon.listening)
        await until_ready(daemon)
        rows = await run.finish(daemon)
    assert evidence.entry_types(rows).count("STARTED") == 1
    assert json.loads(rows[0].body)["fact"] == "genesis"


async def test_a_log_under_a_read_only_mount_waits_until_it_may_be_written_again(start: Start, disk: SmallDisk) -> None:
    run = Run(start, disk, 2 * HOURS)
    disk.make_room()
    daemon = await run.begun(*UNHURRIED)
    async with following(run.client):
        await run.client.until_seq(100)
        disk.write_protect()
        disk.fill()  # only a write that fails lets go of what is open, and a reopened log is a read-only one
        reason = await until_unavailable(daemon, "cannot be opened")
        disk.make_room()
        found = await agent_of(daemon)
        assert (found["state"], found["outage"]["reason"]) == ("degraded", reason)
        assert found["market"]["time"] < run.files.end, "the run ended first"
        await run.client.until_seq(found["seq"])
        await everything_is_still_read(run, daemon)
        assert (await agent_of(daemon))["seq"] == found["seq"], "room alone does not make it writable"
        disk.lift_protection()
        await until_ready(daemon)
        rows = await run.finish(daemon)
    assert evidence.entry_types(rows).count("STARTED") == 1


async def test_a_start_on_a_disk_that_was_remounted_read_only_is_refused_and_nothing_is_lost(
    start: Start, disk: SmallDisk
) -> None:
    run = Run(start, disk)
    disk.make_room()
    first = await run.begun(*UNHURRIED)
    async with following(run.client):
        await run.client.until_seq(100)
        first.kill()
        before = await trio.to_thread.run_sync(run.rows)
        disk.remount("ro")
        assert "Read-only file system" in await trio.to_thread.run_sync(refused, run.begin())
        disk.remount("rw")
        assert await trio.to_thread.run_sync(run.rows) == before
        rows = await run.finish(await run.begun())
    assert rows[: len(before)] == before
