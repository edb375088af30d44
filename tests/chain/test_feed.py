"""What the floors make of a market whose next round is still to come, and of candles that are only to be seen."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from actors.market_feed.actor import MARKET_SECONDS
from actors.messages import Halt
from protocol.codec import encode_row
from protocol.errors import Outage
from protocol.events import Decided, RoundSettled, Trade
from protocol.market import NotYet, Round
from tests.actors.logs import decisions
from tests.world.house import house
from tests.world.market import PAIRS, Walk, eager_config

Answer = Round | NotYet | Outage | None


class Scripted(Walk):
    """The walk's rounds, with other answers before some of them, by the round's number; HANG never answers."""

    HANG = object()

    def __init__(self, before: dict[int, list[Any]], rounds: int = 20) -> None:
        super().__init__(25, rounds, PAIRS[:1])
        self._before = before

    async def next_round(self, cursor: Any | None, /) -> Answer:  # type: ignore[override]
        told = self._before.get(0 if cursor is None else cursor)
        if told:
            answer = told.pop(0)
            if answer is self.HANG:
                await trio.sleep_forever()
            return answer  # type: ignore[no-any-return]
        return await super().next_round(cursor)


async def test_waiting_for_the_next_candle_however_long_is_no_outage(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    market = Scripted({3: [NotYet(3.0)] * 1000})
    async with house(tmp_path, market, eager_config(market.pairs)) as standing:
        told = []
        began = trio.current_time()
        while not standing.market_ended.is_set():
            with trio.move_on_after(20):
                await standing.market_ended.wait()
            told.append(standing.board.outages.get("market"))
        assert trio.current_time() - began >= 3000
        assert set(told) == {None}
        await standing.settled()


async def test_a_market_that_is_silent_while_it_is_waited_for_is_one_and_comes_out_of_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    market = Scripted({3: [NotYet(3.0), Scripted.HANG, Scripted.HANG, NotYet(60.0)]})
    async with house(tmp_path, market, eager_config(market.pairs)) as standing:
        await trio.sleep(MARKET_SECONDS + 10)
        shown = standing.board.outages.get("market")
        assert shown == Outage("market", "no answer within 30 s")
        await trio.sleep(30)
        shown = standing.board.outages.get("market")
        assert shown is None, "it answers, though there is no round yet"
        await standing.settled()


@pytest.mark.parametrize("last", [Scripted.HANG, NotYet(100_000.0)])
async def test_a_halt_waits_for_no_market(tmp_path: Path, autojump_clock: trio.testing.MockClock, last: object) -> None:
    market = Scripted({3: [last]})
    async with house(tmp_path, market, eager_config(market.pairs)) as standing:
        await trio.sleep(10)
        began = trio.current_time()
        await standing.tower.outside().address("MarketFeed").ask(Halt())
        assert trio.current_time() == began
        assert standing.board.outages.get("market") is None


def there(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


async def run(folder: Path, market: Walk) -> None:
    async with house(there(folder), market, eager_config(market.pairs)) as standing:
        await standing.settled()


def late(rounds: int, begins_with: int) -> Walk:
    """The walk, of which the first rounds are only candles that the first one of the others brings along."""
    market = Walk(25, rounds, PAIRS[:1])
    seen = {pair: tuple(it.ticks[pair].candle for it in market.rounds[:begins_with]) for pair in market.pairs}
    market.rounds = [
        evolve(round, cursor=number, before=seen if number == 1 else {}, gaps=())
        for number, round in enumerate(market.rounds[begins_with:], 1)
    ]
    return market


async def test_candles_that_come_along_warm_the_indicators_and_nothing_is_decided_on_them(tmp_path: Path) -> None:
    cold, warm = late(60, 10), late(60, 10)
    cold.rounds[0] = evolve(cold.rounds[0], before={})
    for name, market in (("cold", cold), ("warm", warm)):
        await run(tmp_path / name, market)

    def decided(name: str) -> list[datetime]:
        return [row.ts for row in decisions(tmp_path / name) if isinstance(row, Trade | Decided)]

    assert warm.rounds[0].ts <= decided("warm")[0] < decided("cold")[0]
    settled = [row.before for row in decisions(tmp_path / "warm") if isinstance(row, RoundSettled)]
    assert settled == [warm.rounds[0].before, *[{}] * 49]


async def test_a_restart_behind_candles_that_came_along_decides_alike(tmp_path: Path) -> None:
    await run(tmp_path / "whole", late(60, 10))
    first = late(60, 10)
    first.rounds = first.rounds[:20]
    await run(tmp_path / "parts", first)
    await run(tmp_path / "parts", late(60, 10))
    assert decisions(tmp_path / "parts") == decisions(tmp_path / "whole")


def test_a_log_without_such_candles_has_the_bytes_it_always_had() -> None:
    round = Walk(25, 1, PAIRS[:1]).rounds[0]
    assert b'"before"' not in encode_row(RoundSettled(round.ts, round.cursor, round.ticks), None)
