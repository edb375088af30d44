"""Rounds out of the blocks of a chain."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.chain.bars import significant
from actors.chain.port import Reserves, Swapped, Synced
from actors.market_feed.chain import CATCH_UP, ChainMarket
from protocol.errors import Outage
from protocol.market import Candle, Gap, NotYet, Round
from protocol.settings import ChainSettings
from tests.chain.world import CAKE_POOL, ETH_POOL, GENESIS, HOUR, SECOND, UNIT, Sim, World, pinned, settings

ETH, CAKE = "ETH/USDT", "CAKE/USDT"


def market(sim: Sim, chosen: ChainSettings | None = None, history: dict[str, tuple[Candle, ...]] | None = None) -> Any:
    chosen = chosen or settings()
    return ChainMarket(sim, chosen, pinned(chosen), history or {})


async def ask(it: ChainMarket, cursor: Any = None) -> Round | NotYet | Outage:
    """What it says in the end: it is asked again at once where it still reads."""
    while (answer := await it.next_round(cursor)) == NotYet(0):
        pass
    return answer


async def round_of(it: ChainMarket, cursor: Any = None) -> Round:
    answer = await ask(it, cursor)
    assert isinstance(answer, Round), answer
    return answer


def an_hour(world: World, hour: int, *trades: tuple[str, int]) -> None:
    """Blocks of that hour, in whose middle somebody trades, and enough of the next for its close to count."""
    opens = GENESIS + hour * HOUR
    if world.head.at < opens:
        world.mine_until(opens)
    world.mine_until(opens + HOUR / 2)
    for trade in trades:
        world.mine(world.head.at + SECOND, trade)
    world.mine_until(opens + HOUR - 3 * SECOND)
    close(world, opens + HOUR)


def close(world: World, at: datetime) -> None:
    for number in range(4):
        world.mine(at + number * SECOND)


def at_genesis() -> World:
    world = World()
    close(world, GENESIS)
    return world


# --- candles


async def test_a_candle_is_every_change_of_the_reserves_between_two_closes_and_carries_its_block() -> None:
    world = at_genesis()
    it = market(Sim(world))
    assert await ask(it) == NotYet(3.0)
    an_hour(world, 0, (ETH_POOL, -100 * UNIT), (ETH_POOL, 150 * UNIT), (CAKE_POOL, 10 * UNIT))
    round = await round_of(it)
    assert round.ts == GENESIS + HOUR
    assert list(round.ticks) == [CAKE, ETH]
    last = next(block for block in reversed(world.blocks) if block.at < round.ts)
    changes = [event.reserves for events in world.events for event in events if isinstance(event, Synced)][:2]
    prices = [significant(Decimal(it.second) / it.first) for it in changes]
    eth, cake = round.ticks[ETH], round.ticks[CAKE]
    volume = eth.candle.volume
    assert eth.candle == Candle(round.ts, Decimal(1), prices[0], prices[1], prices[1], volume, 3600)
    assert volume == Decimal("240.90909091")  # 90.9... bought, 150 sold
    assert eth.executable.price == prices[1]
    assert eth.executable.observed_at == last.at == GENESIS + HOUR - 3 * SECOND
    assert eth.executable.depth_usdt == round_to_8(Decimal(world.states[last.number][ETH_POOL].second) / UNIT)
    assert cake.candle.close > 1, "USDT went into a pool whose first token it is, so the price rose"
    assert cake.executable.depth_usdt == 1010
    assert round.cursor["block"] == last.number
    assert round.cursor["hash"] == last.hash
    assert json.loads(json.dumps(round.cursor)) == round.cursor


def round_to_8(number: Decimal) -> Decimal:
    return number.quantize(Decimal("1E-8"))


async def test_the_reference_is_what_the_feed_last_said_by_the_closing_block_and_none_where_there_is_no_feed() -> None:
    world = at_genesis()
    it = market(Sim(world))
    await ask(it)
    world.mine(GENESIS + 600 * SECOND, feed=110_000_000)
    an_hour(world, 0)
    world.mine(world.head.at + SECOND, feed=999_000_000)  # after the close
    round = await round_of(it)
    reference = round.ticks[ETH].reference
    assert reference is not None
    assert (reference.price, reference.observed_at) == (Decimal("1.1"), GENESIS + 600 * SECOND)
    assert round.ticks[CAKE].reference is None


async def test_a_candle_without_trades_stands_where_the_one_before_closed() -> None:
    world = at_genesis()
    it = market(Sim(world))
    await ask(it)
    an_hour(world, 0, (ETH_POOL, 50 * UNIT))
    first = await round_of(it)
    an_hour(world, 1)
    second = await round_of(it, first.cursor)
    closed, flat = first.ticks[ETH].candle.close, second.ticks[ETH].candle
    assert (flat.open, flat.high, flat.low, flat.close, flat.volume) == (closed, closed, closed, closed, Decimal(0))


async def test_a_block_counts_only_once_it_is_deep_enough() -> None:
    world = at_genesis()
    it = market(Sim(world))
    await ask(it)
    world.mine_until(GENESIS + HOUR - 3 * SECOND)
    for _ in range(3):
        world.mine(GENESIS + HOUR)
        assert await ask(it) == NotYet(3.0)
    world.mine(GENESIS + HOUR)  # the third block upon the first one at or after the close
    assert (await round_of(it)).ts == GENESIS + HOUR


async def test_looking_at_a_chain_where_nothing_is_due_costs_one_question() -> None:
    world = at_genesis()
    sim = Sim(world)
    it = market(sim)
    await ask(it)
    sim.asked = 0
    world.mine(world.head.at + SECOND)
    await ask(it)
    assert sim.asked == 1


# --- restarts


trades = st.lists(
    st.tuples(st.sampled_from((ETH_POOL, CAKE_POOL)), st.integers(-(10**20), 10**20).filter(bool)), max_size=3
)
steps = st.lists(st.tuples(st.integers(1, 900), trades), min_size=10, max_size=60)


def expected(world: World, pair: str, closes: datetime, seconds: int) -> Candle:
    """A candle counted out block by block."""
    pool, token_first = (ETH_POOL, True) if pair == ETH else (CAKE_POOL, False)
    opens = closes - seconds * SECOND

    def price(reserves: Reserves) -> Decimal:
        token, usdt = (reserves.first, reserves.second) if token_first else (reserves.second, reserves.first)
        return significant(Decimal(usdt) / Decimal(token))

    before = [state[pool] for block, state in zip(world.blocks, world.states, strict=True) if block.at < opens][-1]
    within = [events for block, events in zip(world.blocks, world.events, strict=True) if opens <= block.at < closes]
    happened = [event for events in within for event in events if event.pool == pool]
    prices = [price(before), *(price(it.reserves) for it in happened if isinstance(it, Synced))]
    swaps = [it for it in happened if isinstance(it, Swapped)]
    moved = [it.first_in - it.first_out if token_first else it.second_in - it.second_out for it in swaps]
    volume = round_to_8(Decimal(sum(map(abs, moved))) / UNIT)
    return Candle(closes, prices[0], max(prices), min(prices), prices[-1], volume, seconds)


@given(steps, st.sets(st.integers(0, 60)), st.integers(1, 50), st.integers(0, 4), st.booleans())
def test_candles_are_what_happened_on_the_chain_however_often_the_market_begins_anew_or_is_cancelled(
    path: list[tuple[int, list[tuple[str, int]]]], restarts: set[int], log_blocks: int, confirmations: int, pruned: bool
) -> None:
    chosen, seconds = settings(log_blocks=log_blocks, confirmations=confirmations, candle_seconds=600), 600

    async def lived() -> tuple[World, list[Round]]:
        world = World()
        close(world, GENESIS)
        sim, found, cursor = Sim(world), list[Round](), None
        sim.state_blocks = confirmations + 5 if pruned else sim.state_blocks
        it = market(sim, chosen)
        for number, (later, moves) in enumerate(path):
            world.mine(world.head.at + later * SECOND, *moves)
            if number in restarts:
                it = market(sim, chosen)
            sim.patience = number if number in restarts else 10**9  # it is cancelled at some await
            with trio.CancelScope() as sim.scope:
                answer = await ask(it, cursor)
                if isinstance(answer, Round):
                    found.append(answer)
                    cursor = answer.cursor
        return world, found

    world, found = trio.run(lived)
    last = None
    for round in found:
        gaps = {gap.pair: gap for gap in round.gaps}
        for pair, tick in round.ticks.items():
            assert tick.candle == expected(world, pair, round.ts, seconds)
            assert tick.candle.opened_at <= tick.executable.observed_at < round.ts
            assert tick.executable.price == tick.candle.close
            seen = round.before.get(pair, ())
            assert seen == tuple(expected(world, pair, it.ts, seconds) for it in seen)
            assert [it.ts for it in seen] == sorted({it.ts for it in seen})
            missing = 0 if last is None else (round.ts - last) // (seconds * SECOND) - 1
            assert gaps.get(pair) == (Gap(pair, last, round.ts, missing) if last and missing else None)
            assert all(it.ts < round.ts and (last is None or it.ts > last) for it in seen)
        assert world.blocks[round.cursor["block"]].hash == round.cursor["hash"]
        assert last is None or round.ts > last
        last = round.ts


async def test_a_round_that_was_not_settled_is_handed_out_again_and_one_that_was_is_not() -> None:
    world = at_genesis()
    it = market(Sim(world))
    await ask(it)
    an_hour(world, 0, (ETH_POOL, 5 * UNIT))
    first = await round_of(it)
    assert await round_of(it) is first
    assert await ask(it, first.cursor) == NotYet(3.0)
    an_hour(world, 1)
    second = await round_of(it, first.cursor)
    assert second.gaps == ()
    assert second.before == {}


async def test_what_was_missed_while_the_daemon_was_off_is_a_gap_and_is_seen_but_not_decided_on() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    for hour in range(1, 4):
        an_hour(world, hour, (ETH_POOL, hour * UNIT))
    again = market(Sim(world))
    round = await round_of(again, first.cursor)
    assert round.ts == GENESIS + 4 * HOUR
    assert round.gaps == tuple(Gap(pair, first.ts, round.ts, 2) for pair in (CAKE, ETH))
    assert round.before[ETH] == tuple(expected(world, ETH, GENESIS + hour * HOUR, 3600) for hour in (2, 3))
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)


async def test_a_candle_that_closed_too_long_ago_is_decided_on_by_nobody() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    world.mine_until(GENESIS + HOUR + 361 * SECOND)
    assert await ask(it) == NotYet(3.0)
    an_hour(world, 1)
    round = await round_of(it)
    assert round.ts == GENESIS + 2 * HOUR
    assert [candle.ts for candle in round.before[ETH]] == [GENESIS + HOUR]


async def test_after_a_long_time_off_it_begins_with_the_candle_under_way() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    late = CATCH_UP + 3
    world.mine_until(GENESIS + late * HOUR, every=HOUR / 4)
    again = market(sim := Sim(world))
    assert await ask(again, first.cursor) == NotYet(3.0)
    asked = sim.asked
    an_hour(world, late, (ETH_POOL, -UNIT))
    round = await round_of(again, first.cursor)
    assert round.gaps == tuple(Gap(pair, first.ts, round.ts, late - 1) for pair in (CAKE, ETH))
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)
    assert [candle.ts for candle in round.before[ETH]] == [GENESIS + late * HOUR], "the one under way then"
    assert asked < 30, "nothing of the time between is read"


async def test_logs_that_no_endpoint_keeps_any_more_are_a_gap_and_not_an_outage_for_ever() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    an_hour(world, 1)
    an_hour(world, 2)
    world.mine_until(GENESIS + 3 * HOUR + 400 * SECOND)
    again = market(sim := Sim(world))
    sim.logs_denied = True
    assert await ask(again, first.cursor) == NotYet(3.0)
    sim.logs_denied = False
    an_hour(world, 3, (ETH_POOL, UNIT))
    round = await round_of(again, first.cursor)
    assert round.gaps == tuple(Gap(pair, first.ts, round.ts, 2) for pair in (CAKE, ETH))
    assert round.before == {}
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)


async def test_where_the_state_at_the_opening_is_pruned_the_first_candle_is_the_next_one() -> None:
    world = at_genesis()
    world.mine_until(GENESIS + HOUR / 2)
    sim = Sim(world)
    sim.state_blocks = 10
    it = market(sim)
    assert await ask(it) == NotYet(3.0)
    an_hour(world, 0)
    assert await ask(it) == NotYet(3.0)
    an_hour(world, 1)
    round = await round_of(it)
    assert round.ts == GENESIS + 2 * HOUR
    assert round.gaps == ()


async def test_a_chain_that_stood_still_made_no_candle() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    close(world, GENESIS + 3 * HOUR + 1800 * SECOND)  # and nothing since
    assert await ask(it, first.cursor) == NotYet(3.0)
    world.mine_until(GENESIS + 4 * HOUR - SECOND)
    close(world, GENESIS + 4 * HOUR)
    round = await round_of(it, first.cursor)
    assert round.gaps == tuple(Gap(pair, first.ts, round.ts, 2) for pair in (CAKE, ETH))
    # The chain's last blocks before it stood still were in the hour of 01:00, and so that one is a candle.
    assert [candle.ts for candle in round.before[ETH]] == [GENESIS + 2 * HOUR]


async def test_a_candle_ends_before_the_first_block_of_its_close_s_time_however_many_there_are() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    world.mine_until(GENESIS + HOUR - SECOND)
    world.mine(GENESIS + HOUR, (ETH_POOL, UNIT))
    for _ in range(20):
        world.mine(GENESIS + HOUR)
    round = await round_of(it)
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)
    assert round.ticks[ETH].candle.volume == 0
    assert round.ticks[ETH].executable.observed_at == GENESIS + HOUR - SECOND


async def test_an_hour_whose_blocks_were_replaced_by_later_ones_is_no_candle() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    world.forget(4)
    world.mine_until(GENESIS + 2 * HOUR + 1800 * SECOND, every=HOUR * 2)
    an_hour(world, 2)
    for market_now in (it, market(Sim(world))):
        while isinstance(answer := await ask(market_now, first.cursor), Outage):
            assert "it is read again" in answer.reason
        assert isinstance(answer, Round)
        assert answer.gaps == tuple(Gap(pair, first.ts, answer.ts, 1) for pair in (CAKE, ETH))
        assert answer.before == {}


async def test_years_in_which_there_was_no_block_are_passed_over_at_once() -> None:
    world = at_genesis()
    sim = Sim(world)
    await ask(it := market(sim))
    later = 24 * 3650
    world.mine(GENESIS + later * HOUR + 10 * SECOND)
    world.mine_until(GENESIS + later * HOUR + 1800 * SECOND)
    sim.asked = 0
    assert await ask(it) == NotYet(3.0)
    assert sim.asked < 100
    an_hour(world, later)
    assert (await round_of(it)).ts == GENESIS + (later + 1) * HOUR


async def test_a_chain_that_is_younger_than_the_candle_begins_with_the_next_one() -> None:
    world = World()
    assert world.head.at == GENESIS - HOUR
    close(world, GENESIS - HOUR / 2)
    chosen = settings(candle_seconds=86_400)
    it = ChainMarket(Sim(world), chosen, pinned(chosen, GENESIS - HOUR), {})
    assert await ask(it) == NotYet(3.0)
    close(world, GENESIS)
    assert await ask(it) == NotYet(3.0)
    world.mine_until(GENESIS + 24 * HOUR - SECOND, every=HOUR)
    close(world, GENESIS + 24 * HOUR)
    assert (await round_of(it)).ts == GENESIS + 24 * HOUR


async def test_an_endpoint_that_has_not_even_the_newest_states_is_an_outage() -> None:
    world = at_genesis()
    sim = Sim(world)
    sim.state_blocks = 0
    it = market(sim)
    assert await ask(it) == Outage("market", "missing trie node")
    sim.state_blocks = 100
    assert await ask(it) == NotYet(3.0)


# --- history


def past(hours: int, until: datetime) -> tuple[Candle, ...]:
    one = Decimal(1)
    return tuple(Candle(until - number * HOUR, one, one, one, one, one) for number in range(hours - 1, -1, -1))


async def test_the_first_round_brings_the_history_along_and_tells_what_is_missing_behind_it() -> None:
    world = at_genesis()
    history = {ETH: past(30, GENESIS - 2 * HOUR), CAKE: past(3, GENESIS + 5 * HOUR)}
    await ask(it := market(Sim(world), history=history))
    an_hour(world, 0)
    round = await round_of(it)
    assert round.before == {ETH: history[ETH]}, "candles of the future are not seen"
    assert round.gaps == (Gap(ETH, GENESIS - 2 * HOUR, round.ts, 2),)
    an_hour(world, 1)
    assert (await round_of(it, round.cursor)).before == {}


# --- what goes wrong


async def test_silence_is_an_outage_and_the_same_candles_come_when_it_is_over() -> None:
    world = at_genesis()
    sim = Sim(world)
    await ask(it := market(sim))
    sim.silent = True
    an_hour(world, 0, (ETH_POOL, UNIT))
    assert await ask(it) == Outage("market", "no endpoint answers")
    sim.silent = False
    assert (await round_of(it)).ticks[ETH].candle == expected(world, ETH, GENESIS + HOUR, 3600)


async def test_a_round_waits_for_the_state_at_its_block_as_long_as_it_may_be_decided_on() -> None:
    world = at_genesis()
    sim = Sim(world)
    await ask(it := market(sim))
    an_hour(world, 0)
    sim.state_blocks = 0
    for _ in range(2):
        assert await ask(it) == Outage("market", "missing trie node")
    sim.state_blocks = 100
    assert (await round_of(it)).ts == GENESIS + HOUR


async def test_a_round_whose_block_is_replaced_while_it_waits_is_made_anew() -> None:
    world = at_genesis()
    sim = Sim(world)
    await ask(it := market(sim))
    an_hour(world, 0)
    sim.state_blocks = 0
    assert await ask(it) == Outage("market", "missing trie node")
    world.reorganise(6)
    sim.state_blocks = 100
    answer = await ask(it)
    assert isinstance(answer, Outage)
    assert "is another one by now: it is read again" in answer.reason
    round = await round_of(it)
    assert round.cursor["hash"] == world.blocks[round.cursor["block"]].hash


async def test_logs_that_do_not_lead_to_the_state_are_not_believed_and_read_again() -> None:
    world = at_genesis()
    sim = Sim(world)
    await ask(it := market(sim, settings(log_blocks=1000)))
    an_hour(world, 0, (ETH_POOL, UNIT), (ETH_POOL, UNIT))
    sim.lost_logs = 2
    answer = await ask(it)
    assert isinstance(answer, Outage)
    assert answer.reason.startswith("an endpoint contradicts itself: its logs of ETH/USDT up to block ")
    assert len(sim.doubts) == 1
    assert (await round_of(it)).ticks[ETH].candle == expected(world, ETH, GENESIS + HOUR, 3600)


async def test_a_reorganisation_of_blocks_that_do_not_count_yet_is_not_seen() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    world.reorganise(3)
    an_hour(world, 1, (ETH_POOL, UNIT))
    round = await round_of(it, first.cursor)
    assert round.gaps == ()
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)


async def test_blocks_that_were_replaced_after_they_counted_are_told_and_read_again() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    world.mine_until(GENESIS + HOUR + 1800 * SECOND)
    world.mine(world.head.at + SECOND, (ETH_POOL, UNIT))
    world.mine_until(GENESIS + HOUR + 3000 * SECOND)
    await ask(it, first.cursor)
    world.reorganise(30)
    world.mine_until(GENESIS + 2 * HOUR - SECOND)
    close(world, GENESIS + 2 * HOUR)
    answer = await ask(it, first.cursor)
    assert isinstance(answer, Outage)
    assert "it is read again" in answer.reason
    round = await round_of(it, first.cursor)
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)


async def test_nothing_is_decided_once_the_block_of_a_round_is_lost_until_a_person_accepts_that() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0, (ETH_POOL, UNIT))
    first = await round_of(it)
    world.reorganise(20)
    an_hour(world, 1)
    for market_now in (it, it, market(Sim(world))):
        answer = await ask(market_now, first.cursor)
        while isinstance(answer, Outage) and "it is read again" in answer.reason:
            answer = await ask(market_now, first.cursor)
        assert isinstance(answer, Outage)
        assert "a reorganisation deeper than 3 blocks" in answer.reason
        assert f'chain.orphaned = ["{first.cursor["hash"]}"]' in answer.reason
    accepting = market(Sim(world), settings(orphaned=(first.cursor["hash"],)))
    assert await ask(accepting, first.cursor) == NotYet(3.0)
    an_hour(world, 2)
    round = await round_of(accepting, first.cursor)
    assert round.gaps == tuple(Gap(pair, first.ts, round.ts, 1) for pair in (CAKE, ETH))
    assert round.ticks[ETH].candle == expected(world, ETH, round.ts, 3600)


async def test_endpoints_that_have_fallen_behind_the_last_round_are_an_outage() -> None:
    world = at_genesis()
    await ask(it := market(Sim(world)))
    an_hour(world, 0)
    first = await round_of(it)
    answer = await ask(market(Sim(at_genesis())), first.cursor)
    assert isinstance(answer, Outage)
    assert "is not 3 blocks deep" in answer.reason


@pytest.mark.parametrize("reserves", [(0, 0), (0, 5), (5, 0), (1, 10**32)])
async def test_an_empty_pool_has_no_price(reserves: tuple[int, int]) -> None:
    world = at_genesis()
    world.states = [{**state, ETH_POOL: Reserves(*reserves)} for state in world.states]
    answer = await ask(market(Sim(world)))
    assert answer == Outage("market", f"the pool of ETH/USDT ({ETH_POOL}) is empty, or as good as: it has no price")


def test_what_is_pinned_names_no_machine_and_no_address_of_an_endpoint() -> None:
    it = market(Sim(at_genesis()))
    assert "http" not in json.dumps(it.pinned)
    assert (it.pairs, it.series, it.interval) == ((CAKE, ETH), (), timedelta(hours=1))
    assert it.begins == GENESIS
