"""A daemon that stands still, as on a laptop whose lid is closed, and goes on: nothing is lost and nothing fell."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from actors.tower import STUCK_SECONDS
from tests.resilience import evidence
from tests.resilience.candles import made_up
from tests.world.client import Rest, StreamClient, following
from tests.world.daemon import DaemonProcess

SEED = 9
HOURS = 600
Start = Callable[..., DaemonProcess]


@pytest.mark.parametrize(
    ("seconds", "moments"),
    [(1.5, (40, 90, 200)), (STUCK_SECONDS + 2, (90,))],
    ids=["shortly", "for longer than a floor may be silent"],
)
async def test_a_daemon_that_stood_still_goes_on_as_if_it_had_not(
    start_daemon: Start, tmp_path: Path, seconds: float, moments: tuple[int, ...]
) -> None:
    """`moments` are the seqs after which it stands still."""
    files = made_up(tmp_path, HOURS, SEED)
    unharmed = start_daemon(*files.flags, "--speed", "max", "--exit-at-end", data_dir=tmp_path / "unharmed")
    daemon = start_daemon(*files.flags, "--speed", "150")
    client = StreamClient(await trio.to_thread.run_sync(daemon.listening))
    answers: list[int] = []

    async def ask() -> None:
        async with Rest(client.base) as rest:
            answers.append((await rest.agent())["seq"])

    async with following(client):
        for moment in moments:
            await client.until_seq(moment)
            daemon.signal(signal.SIGSTOP)
            assert client.ts < files.end, "the run ended first"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)  # comes while it stands still, and is answered all the same
                await trio.sleep(seconds)  # the standing still itself
                assert len(answers) == moments.index(moment)
                daemon.signal(signal.SIGCONT)
        await client.until_time(files.end)
        agent = daemon.get("/agents/current").json()
        assert agent["restarts"] == {}
        assert await trio.to_thread.run_sync(daemon.terminate) == 0, daemon.errors
        rows = evidence.logged(daemon.data_dir)
        await client.until_seq(len(evidence.frames(rows)))
    assert client.frames == evidence.frames(rows)
    assert "".join(daemon.errors) == ""
    assert len(answers) == len(moments)
    evidence.verify(daemon.data_dir)
    assert await trio.to_thread.run_sync(unharmed.wait) == 0, unharmed.errors
    assert evidence.essence(rows) == evidence.essence(evidence.logged(unharmed.data_dir))
    assert "ACTOR_RESTARTED" not in evidence.entry_types(rows)
