"""A simulated market: a walk that trades, over midnights, a year's end or a leap day, with holes, and with a clock that
is set back now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import sqrt
from random import Random
from typing import Any, Final

import trio

from protocol.errors import Outage
from protocol.market import Gap, NotYet, Round
from tests.world.market import HOUR, tick

BEGINNINGS: Final = tuple(
    datetime(year, month, day, tzinfo=UTC)
    for year, month, day in ((2026, 1, 1), (2027, 12, 28), (2028, 2, 26), (2026, 3, 28), (2026, 10, 24))
)


class SimMarket:
    """Rounds by number. What it answers is the seed's; whether it answers now is the world's (`trouble`)."""

    interval = HOUR
    series: tuple[str, ...] = ()

    def __init__(
        self,
        random: Random,
        rounds: int,
        pairs: tuple[str, ...],
        *,
        holes: float,
        set_back: bool,
        marks: Counter[str],
        hour: int = 0,
    ) -> None:
        self.pairs = pairs
        self.begins = random.choice(BEGINNINGS) + hour * HOUR
        self.pinned: dict[str, Any] = {"kind": "simulated", "begins": self.begins.isoformat()}
        self.rounds = _walk(random, self.begins, rounds, self.pairs, holes, set_back)
        self.trouble: Callable[[], str | None] = lambda: None
        self.gate: Callable[[int], Awaitable[None]] | None = None
        self._marks = marks

    @property
    def days(self) -> float:
        return (max(round.ts for round in self.rounds) - self.begins) / timedelta(days=1)

    async def next_round(self, cursor: Any | None, /) -> Round | NotYet | Outage | None:
        await trio.lowlevel.checkpoint()
        index = 0 if cursor is None else cursor
        if self.gate is not None:
            await self.gate(index)
        match self.trouble():
            case "market hangs":
                self._marks["market hung"] += 1
                await trio.sleep_forever()
            case "market outage":
                return Outage("market", "the venue does not answer")
        if index >= len(self.rounds):
            return None
        return self.rounds[index]


def _walk(
    random: Random, begins: datetime, count: int, pairs: tuple[str, ...], holes: float, set_back: bool
) -> list[Round]:
    price = {pair: 100.0 * (number + 1) for number, pair in enumerate(pairs)}
    shocks, common = random.choice((0.0, 0.02, 0.15)), random.choice((0.0, 0.8))
    made, ts, last = list[Round](), begins, dict[str, datetime]()
    while len(made) < count:
        if set_back and made and random.random() < 0.03:  # the venue's clock goes back, and then on
            back = ts - random.randrange(30) * HOUR
            ticks = {pair: tick(random, back, price[pair], price[pair] * 1.3) for pair in pairs}
            made.append(Round(back, ticks, len(made) + 1))
            continue
        hours = 1 if random.random() > 0.02 else random.randrange(2, 30)
        ts += hours * HOUR
        shock = random.choice((0.85, 0.9, 1.1)) if random.random() < shocks else 1.0  # of all pairs at once
        spread = (0.02 if len(made) % 40 < 30 else 0.05) * sqrt(hours)
        everybodys = random.gauss(0.0, spread)
        ticks, gaps = {}, list[Gap]()
        for pair in pairs:
            before = price[pair]
            moved = common * everybodys + sqrt(1 - common**2) * random.gauss(0.0, spread)
            price[pair] = before * max(1 + moved, 0.5) * shock
            if pair != pairs[0] and random.random() < holes:
                continue
            ticks[pair] = tick(random, ts, before, price[pair])
            if pair in last and (missing := round((ts - last[pair]) / HOUR) - 1) > 0:
                gaps.append(Gap(pair, last[pair], ts, missing))
            last[pair] = ts
        made.append(Round(ts, ticks, len(made) + 1, tuple(gaps)))
    return made
