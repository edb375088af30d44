"""A client that knows only the wire collects a whole run, however often it is cut off, and REST tells the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import trio

from tests.resilience import evidence
from tests.resilience.candles import Files, real_stretch
from tests.world import client as client_module
from tests.world.client import Item, Rest, StreamClient, following
from tests.world.daemon import DaemonProcess

HOURS = 4_000
PAGE = 61
SEEDS = (1, 2)
BLOCK = ("ts", "seq", "rule", "reason", "order_ref", "pair", "side", "size")
Start = Callable[..., DaemonProcess]


def replay(start_daemon: Start, files: Files) -> DaemonProcess:
    """A run at full speed that goes on answering when the market has ended."""
    daemon = start_daemon(*files.flags, "--speed", "max")
    daemon.listening()
    return daemon


def of_kind(messages: list[Item], event: str) -> list[Item]:
    return [message for message in messages if message["event"] == event]


def blocked(veto: Item) -> Item:
    """A veto as the list of blocks tells it."""
    return {"layer": "policy"} | {name: veto[name] for name in BLOCK}


async def everything_of(client: StreamClient, files: Files) -> int:
    """Follow until the market has ended and nothing is missing; the last seq."""
    await client.until_time(files.end)
    async with Rest(client.base) as rest:
        await rest.get("/agents/current/journal", limit=1)
    await client.until_seq(rest.last_seq)
    return rest.last_seq


def test_the_client_knows_only_the_wire() -> None:
    source = Path(client_module.__file__).read_text()
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
    assert imported & {"actors", "protocol", "server", "tests"} == set()
    assert "trio_websocket" in imported


async def test_what_a_client_collected_of_a_whole_run_is_what_rest_returns(
    start_daemon: Start, real_data: Path, tmp_path: Path
) -> None:
    files = real_stretch(real_data, tmp_path, HOURS)
    client = StreamClient(replay(start_daemon, files).base)
    async with following(client):
        last_seq = await everything_of(client, files)
        told = client.messages
        async with Rest(client.base, limit=PAGE) as rest:
            assert await rest.whole("journal") == of_kind(told, "journal_entry")[::-1]
            assert await rest.whole("trades") == of_kind(told, "trade")
            assert await rest.whole("equity") == of_kind(told, "snapshot")
            assert await rest.whole("risk/blocks") == [blocked(veto) for veto in of_kind(told, "risk_veto")]
            assert rest.last_seq == last_seq
            assert await rest.events() == told
            assert rest.pages > 2 * last_seq // PAGE
            agent = await rest.agent()
    assert (agent["seq"], agent["log_id"]) == (last_seq, client.log_ids[0])
    assert client.closings == []
    assert client.connections == 1
    it_was_a_run_worth_following(told)


def it_was_a_run_worth_following(told: list[Item]) -> None:
    assert {entry["type"] for entry in of_kind(told, "journal_entry")} >= {
        "EXECUTED", "SKIPPED", "RISK_VETO", "RISK_BREACH", "STARTED",
    }  # fmt: skip
    assert {trade["side"] for trade in of_kind(told, "trade")} == {"buy", "sell"}
    assert len(of_kind(told, "snapshot")) == HOURS


async def test_the_list_of_events_names_its_next_page_as_every_list_does(
    start_daemon: Start, real_data: Path, tmp_path: Path
) -> None:
    files = real_stretch(real_data, tmp_path, 200)
    client = StreamClient(replay(start_daemon, files).base)
    async with following(client):
        await everything_of(client, files)
        async with Rest(client.base, limit=PAGE) as rest:
            assert await rest.whole("events") == client.messages


async def test_a_client_that_is_cut_off_at_random_and_resumes_collects_the_same_bytes(
    start_daemon: Start, real_data: Path, tmp_path: Path
) -> None:
    files = real_stretch(real_data, tmp_path, HOURS)
    daemon = replay(start_daemon, files)
    steady = StreamClient(daemon.base)
    restless = [StreamClient(daemon.base, whims=Random(seed)) for seed in SEEDS]
    latecomer = StreamClient(daemon.base, whims=Random(0))
    async with following(steady, *restless):
        last_seq = await everything_of(steady, files)
        async with following(latecomer):
            for client in (*restless, latecomer):
                await client.until_seq(last_seq)
    for seed, client in zip((*SEEDS, 0), (*restless, latecomer), strict=True):
        print(f"seed {seed}: {client.connections} connections for {last_seq} frames")
        assert client.connections > 10
        assert client.frames == steady.frames
    exit_code: Any = await trio.to_thread.run_sync(daemon.terminate)
    assert exit_code == 0
    assert evidence.frames(evidence.logged(daemon.data_dir))[:last_seq] == steady.frames
