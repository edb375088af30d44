"""The Python client against real daemons: typed answers, whole lists, a stream that nothing is missing from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import trio
from attrs import evolve

from protocol.codec import from_json, to_json, to_plain
from protocol.events import EVENTS, JournalEntry, Snapshot
from protocol.times import EPOCH, from_wire, to_wire
from server.client import AnotherLog, Client, Refused, Stream, Unreachable
from tests.server.clients import PATIENCE, Ended
from tests.world.daemon import DaemonProcess

Start = Callable[..., DaemonProcess]
TOKEN = "only-the-owner-knows-this"
BY_KIND = {kind.kind: kind for kind in EVENTS}


async def taken(events: Stream, count: int) -> list[str]:
    """The next `count` frames."""
    frames = []
    for _ in range(count):
        await anext(events)
        frames.append(events.raw)
    return frames


# --- what is


async def test_answers_are_typed_and_lose_nothing_of_what_the_wire_says(busy: Ended) -> None:
    async with Client(busy.base) as client:
        check = await client.risk_check("ETH/USDT", "buy", Decimal(100))
        assert (check.passes, check.rule) == (False, "daily_drawdown")
        (version,) = await client.config_versions()
        assert (version.version, version.config) == (1, await client.config())
        (position,) = await client.positions()
        assert (position.pair, type(position.value)) == ("LTC/USDT", Decimal)
        health = await client.health()
        assert {"Strategist", "Executor"} <= {actor.name for actor in health.actors}
        assert health.log.seq == busy.head
        for path, value in {
            "": evolve(await client.agent(), last_heartbeat=EPOCH),
            "/positions": [position],
            "/risk/objectives": await client.limits(),
            "/evaluation": await client.evaluation(),
            "/config": version.config,
            "/watchlist": await client.watchlist(),
            "/config/versions": [version],
            "/performance?from=2024-03-04": await client.performance(begin=datetime(2024, 3, 4, tzinfo=UTC)),
            "/funnel?pair=ETH/USDT": await client.funnel("ETH/USDT"),
        }.items():
            wanted = from_json(busy.get(path).content)
            if path == "":
                wanted["last_heartbeat"] = to_wire(EPOCH)
            assert from_json(to_json(to_plain(value))) == wanted, path


# --- what was


async def test_a_list_is_whole_and_of_one_position_however_small_its_pages_are(busy: Ended) -> None:
    async with Client(busy.base) as client:
        for limit in (None, 7):
            events = client.events(limit=limit)
            assert [(events.raw, events.seq) async for _ in events] == [
                (frame, seq) for seq, frame in enumerate(busy.frames, start=1)
            ]
            assert (events.last_seq, events.log_id) == (busy.head, (await client.agent()).log_id)
        assert [entry.id async for entry in client.journal(limit=50)] == [
            entry["id"] for entry in reversed(busy.of("journal_entry"))
        ]
        trades = client.trades(limit=3)
        assert [(trade.pair, trades.seq) async for trade in trades] == [
            (trade["pair"], trade["seq"]) for trade in busy.of("trade")
        ]
        assert [block.order_ref async for block in client.blocks()] == [
            veto["order_ref"] for veto in busy.of("risk_veto")
        ]


async def test_what_lists_are_filtered_by_is_told_to_the_daemon(busy: Ended) -> None:
    begin, end = datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 9, 12, tzinfo=UTC)
    async with Client(busy.base) as client:
        trades = [trade async for trade in client.trades(begin=begin, end=end)]
        assert trades
        assert all(begin <= trade.ts < end for trade in trades)
        elsewhere, nowhere = begin.astimezone(timezone(timedelta(hours=-4))), end.replace(tzinfo=None)
        assert [trade async for trade in client.trades(begin=elsewhere, end=nowhere)] == trades
        sold = [trade async for trade in client.trades(pair="ETH/USDT", side="sell", order="desc")]
        assert [to_wire(trade.ts) for trade in sold] == [
            trade["ts"]
            for trade in reversed(busy.of("trade"))
            if (trade["pair"], trade["side"]) == ("ETH/USDT", "sell")
        ]
        vetoes = [block.order_ref async for block in client.blocks(order="desc")]
        assert vetoes == [veto["order_ref"] for veto in reversed(busy.of("risk_veto"))]
        days = [snapshot.ts.date() async for snapshot in client.equity(interval="1d")]
        assert len(set(days)) == len(days) > 30
        entries = [entry async for entry in client.journal(type="EXECUTED", pair="ETH/USDT", q="sold")]
        assert entries
        for entry in entries:
            assert (entry.type, "ETH/USDT" in entry.tags) == ("EXECUTED", True)
        assert [trade async for trade in client.trades(phase="live")] == []


# --- what comes


async def test_the_stream_gives_each_event_as_its_class_with_its_seq_and_its_own_bytes(busy: Ended) -> None:
    with trio.fail_after(PATIENCE):
        async with Client(busy.base) as client, client.stream(0) as events:
            for seq, (frame, data) in enumerate(zip(busy.frames, busy.events, strict=True), start=1):
                event = await anext(events)
                assert type(event) is BY_KIND[data["event"]]
                assert event.ts == from_wire(data["ts"])
                assert (events.seq, events.raw) == (seq, frame)
            assert events.connected


async def test_a_stream_leaves_at_once_and_an_error_of_the_caller_comes_out_as_it_is(busy: Ended) -> None:
    with trio.fail_after(PATIENCE):
        async with Client(busy.base) as client:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async with client.stream(0) as events:
                    await taken(events, 3)
                    raise ZeroDivisionError
            with trio.move_on_after(0.2) as waiting:
                async with client.stream() as events:
                    await anext(events)
            assert waiting.cancelled_caught


# --- errors


async def test_what_the_daemon_refuses_is_told_with_its_code_and_the_fields(busy: Ended) -> None:
    async with Client(busy.base) as client:
        with pytest.raises(Refused) as no:
            await client.patch_config({"risk": {"daily_drawdown_pct": 25, "max_consecutive_losses": 0}})
        assert (no.value.status, no.value.code) == (422, "VALIDATION_ERROR")
        assert [line.split(" = ")[0] for line in no.value.errors] == ["risk.max_consecutive_losses"]
        with pytest.raises(Refused) as no:
            await client.promote("go live")
        assert (no.value.status, no.value.code) == (409, "SIGNING_NOT_SET_UP")
        with pytest.raises(Refused) as no:
            async with client.stream(busy.head + 1000) as events:
                await anext(events)
        assert (no.value.status, no.value.detail) == (400, "since must be a seq that the log has reached")
    async with Client(busy.base, agent="other") as client:
        with pytest.raises(Refused, match="AGENT_NOT_FOUND"):
            await client.agent()
        with pytest.raises(Refused, match="AGENT_NOT_FOUND"):
            async with client.stream() as events:
                await anext(events)


async def test_another_log_is_announced_however_long_it_is(busy: Ended) -> None:
    async with Client(busy.base) as client:
        for since in (1, busy.head + 1):
            with pytest.raises(AnotherLog) as other:
                async with client.stream(since, log_id="log_before") as events:
                    await anext(events)
            assert (other.value.known, other.value.found) == ("log_before", (await client.agent()).log_id)


async def test_where_nobody_answers_that_is_said() -> None:
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable, match=r"http://127.0.0.1:1: no daemon answers there: Connection refused"):
            await client.agent()


@pytest.mark.parametrize(
    "base",
    ["nonsense", "http://", "http://127.0.0.1:bogus", "ftp://127.0.0.1", "http://me:secret@127.0.0.1", "http://a..b:1"],
)
def test_what_is_no_address_is_refused_at_once(base: str) -> None:
    with pytest.raises(ValueError, match=r"must be like|by itself") as told:
        Client(base)
    assert "secret" not in str(told.value)


async def test_a_token_opens_the_door_and_is_shown_nowhere(start_daemon: Start) -> None:
    daemon = start_daemon("--seed", "3", env={"FORESTAY_SERVER__TOKEN": TOKEN})
    base = await trio.to_thread.run_sync(daemon.listening)
    with trio.fail_after(PATIENCE):
        async with Client(base, TOKEN, patience_seconds=PATIENCE) as client:
            assert (await client.agent()).id == "seed"
            async with client.stream(0) as events:
                assert isinstance(await anext(events), JournalEntry | Snapshot)
            assert TOKEN not in repr(client) + repr(vars(client))
        wrong = TOKEN[::-1]
        async with Client(base, wrong) as client:
            with pytest.raises(Refused) as no:
                await client.agent()
            assert (no.value.status, no.value.code) == (401, "TOKEN_REQUIRED")
            with pytest.raises(Refused) as no:
                async with client.stream(0) as events:
                    await anext(events)
            assert (no.value.status, no.value.code) == (401, "TOKEN_REQUIRED")
            assert wrong not in repr(no.value)
