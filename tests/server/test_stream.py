"""The stream, against a running daemon, and the slow-client rule, against the board itself."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define
from trio.testing import wait_all_tasks_blocked

from actors.broadcaster.board import Board
from actors.journal.chain import Head, Sealed, seal
from actors.journal.store import FILE_NAME, LogReader, LogStore
from protocol.events import Snapshot
from protocol.money import ZERO
from protocol.times import EPOCH
from server.door.stream import Behind, follow
from tests.server.clients import Ended, Follower, change, close_code, following, frames_in, stream_url
from tests.server.markets import BARS, busy_flags
from tests.world.daemon import DaemonProcess
from tests.world.house import in_line

GOING_AWAY, BAD_REQUEST, NO_AGENT = 1001, 4400, 4404


async def in_thread(call: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(call)


async def chatter(follower: Follower) -> None:
    """Say all kinds of things that nobody asked for."""
    for number in range(1, 8):
        await follower.has(number * 20)
        for words in ("hello", '{"event": "trade"}', b"\x00\xff", '{"since": 0}', "x" * 2000):
            await follower.connection.send_message(words)


async def test_a_stream_goes_on_from_the_log_without_gap_or_repeat_until_the_daemon_stops(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = start_daemon(*busy_flags(tmp_path, speed="250"))
    base = await in_thread(daemon.ready)
    async with following(stream_url(base, 0), stream_url(base), stream_url(base, 0)) as (first, live, chatty):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter, chatty)
            await first.has(150)
        async with following(stream_url(base, 100)) as (later,):
            await later.has(200)
            assert len(first.frames) < BARS, "the market ended before the stream was live"
            assert await in_thread(daemon.terminate) == 0
            followers = [first, live, chatty, later]
            assert [await follower.closed() for follower in followers] == [GOING_AWAY] * 4
    log = frames_in(daemon.data_dir)
    assert first.frames == chatty.frames == log
    assert later.frames == log[100:]
    assert live.frames == log[-len(live.frames) :]
    assert json.loads(log[-1])["type"] == "STOPPED"


def test_every_frame_is_an_object_with_event_ts_and_seq(busy: Ended) -> None:
    assert [event["seq"] for event in busy.events] == list(range(1, busy.head + 1))
    assert {event["event"] for event in busy.events} == {
        "snapshot", "trade", "journal_entry", "risk_veto", "status_change", "quote_rejected",
    }  # fmt: skip
    times = [event["ts"] for event in busy.events]
    assert times == sorted(times)
    assert all(len(ts) == len("2024-03-01T00:00:00.000Z") and ts.endswith("Z") for ts in times)


# What each kind of event carries besides event, ts and seq.
FIELDS = {
    "snapshot": {"equity", "phase", "dd_from_peak", "daily_dd_used"},
    "trade": {"pair", "side", "size", "price", "pnl", "fees", "phase", "journal_ref"},
    "journal_entry": {"id", "type", "tags", "text", "data"},
    "risk_veto": {"rule", "reason", "order_ref"},
    "status_change": {"from", "to"},
    "quote_rejected": {"pair", "reason", "detail", "code"},
}
CODES = {"divergence": "QUOTE_DIVERGENCE", "stale": "QUOTE_STALE", "liquidity": "INSUFFICIENT_LIQUIDITY"}


@pytest.mark.parametrize("kind", FIELDS)
def test_every_event_has_the_fields_of_the_contract(busy: Ended, kind: str) -> None:
    found = busy.of(kind)
    assert found
    assert [event for event in found if not set(event) >= FIELDS[kind]] == []


def test_a_rejected_quote_has_the_code_of_its_reason(busy: Ended) -> None:
    for event in busy.of("quote_rejected"):
        assert event["code"] == CODES[event["reason"]]


def test_what_an_event_refers_to_came_before_it(busy: Ended) -> None:
    entries = {entry["id"]: entry["seq"] for entry in busy.of("journal_entry")}
    for event in (*busy.of("trade"), *busy.of("risk_veto")):
        assert entries[event["journal_ref"]] < event["seq"]


async def test_a_stream_resumes_after_any_seq(busy: Ended) -> None:
    positions = [0, 1, 499, 500, 501, busy.head // 2, busy.head - 1]
    async with following(*(stream_url(busy.base, since) for since in positions)) as followers:
        for since, follower in zip(positions, followers, strict=True):
            assert await follower.has(busy.head - since) == busy.frames[since:]


async def test_a_stream_by_the_agents_name_is_the_same(busy: Ended) -> None:
    async with following(stream_url(busy.base, busy.head - 5, agent="seed")) as (follower,):
        assert await follower.has(5) == busy.frames[-5:]


async def test_without_since_a_stream_starts_with_the_next_event(changeable: Ended) -> None:
    head = len(frames_in(changeable.daemon.data_dir))
    async with following(stream_url(changeable.base), stream_url(changeable.base, head)) as followers:
        answer = await in_thread(partial(change, changeable.base, {"snapshot_minutes": 77}))
        assert answer.status == 200
        for follower in followers:
            event = json.loads((await follower.has(1))[0])
            assert (event["seq"], event["type"]) == (head + 1, "CONFIG_CHANGE")


@pytest.mark.parametrize(
    "since", ["", "-1", "+1", "1.0", "1e2", "abc", "0x10", "%D9%A3", "%20", "1%00", "9" * 18, "9" * 40, "null"]
)
async def test_a_since_that_the_log_has_not_reached_is_refused(busy: Ended, since: str) -> None:
    assert await close_code(stream_url(busy.base, since)) == BAD_REQUEST


async def test_a_since_right_after_the_end_is_in_the_future(busy: Ended) -> None:
    assert await close_code(stream_url(busy.base, busy.head + 1)) == BAD_REQUEST


@pytest.mark.parametrize(
    "path",
    [
        "/ws/agents/nobody", "/ws/agents/SEED", "/ws/agents/" + "%F0%9F%90%8D" * 200, "/ws", "/", "/agents/current",
        "/ws/agents/current/x",
    ],
)  # fmt: skip
async def test_a_stream_that_there_is_not_is_closed_as_such(busy: Ended, path: str) -> None:
    assert await close_code(busy.base.replace("http", "ws", 1) + path) == NO_AGENT


# --- the slow-client rule


@define
class Stream:
    """A log with all its events, and a board that shows as many of them as it is told to."""

    board: Board
    reader: LogReader
    events: list[Sealed]

    def show(self, count: int) -> None:
        """The next `count` events."""
        upcoming = self.events[self.board.row : self.board.row + count]
        self.board.show((s.row, s.seq, s.body.decode(), None) for s in upcoming)

    def followed(self, since: int) -> AbstractAsyncContextManager[AsyncGenerator[list[str], None]]:
        """A client that is told everything after `since`, batch by batch."""
        return aclosing(follow(self.board, self.reader, in_line, since))

    def frames(self, start: int, end: int | None = None) -> list[str]:
        return [sealed.body.decode() for sealed in self.events[start:end]]


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sealed]]:
    path = tmp_path_factory.mktemp("long") / FILE_NAME
    events, _ = seal([Snapshot(EPOCH, Decimal(number), "paper", ZERO, ZERO) for number in range(45_000)], Head())
    store = LogStore(path, log_id="log_test")
    store.append(events)
    store.close()
    return path, events


@pytest.fixture
def stream(long_log: tuple[Path, list[Sealed]]) -> Iterator[Stream]:
    reader = LogReader(long_log[0])
    yield Stream(Board(), reader, long_log[1])
    reader.close()


async def test_a_client_that_catches_up_slowly_is_never_too_slow(stream: Stream) -> None:
    """Far behind, and the log grows faster than it reads, for as long as there is more."""
    stream.show(25_000)
    got: list[str] = []
    async with stream.followed(0) as batches:
        async for frames in batches:
            got += frames
            stream.show(600)
            if len(got) == len(stream.events):
                break
    assert got == stream.frames(0)


async def fall_behind(stream: Stream, shown: int, behind: int) -> list[str]:
    """A client that catches up with `shown` events, takes one more, and looks again `behind` events later."""
    stream.show(shown)
    got: list[str] = []
    async with stream.followed(shown) as batches:

        async def take() -> None:
            got.extend(await anext(batches))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            stream.show(1)
        stream.show(behind)
        stream.board.close()
        async for frames in batches:
            got += frames
    return got


@pytest.mark.parametrize("shown", [0, 5_000, 12_000, 20_000])
async def test_a_client_that_had_caught_up_may_fall_almost_10000_behind(stream: Stream, shown: int) -> None:
    assert await fall_behind(stream, shown, 9_999) == stream.frames(shown, shown + 10_000)


@pytest.mark.parametrize("behind", [10_001, 15_000, 24_000])
@pytest.mark.parametrize("shown", [0, 5_000, 12_000, 20_000])
async def test_a_client_that_had_caught_up_and_falls_further_behind_is_too_slow(
    stream: Stream, shown: int, behind: int
) -> None:
    with pytest.raises(Behind):
        await fall_behind(stream, shown, behind)


async def test_who_is_too_slow_loses_nothing_by_coming_back(stream: Stream) -> None:
    with pytest.raises(Behind):
        await fall_behind(stream, 20_000, 24_000)
    got: list[str] = []
    async with stream.followed(20_001) as batches:
        async for frames in batches:
            got += frames
    assert got == stream.frames(20_001, 44_001)
