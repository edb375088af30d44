"""What the market says: candles, what venues quote, and rounds of both. All of it data with its own time."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import Factory, frozen


@frozen
class Candle:
    """One finished bar of one pair. `ts` is its close, `seconds` how long it was open; prices in USDT, `volume` in base
    units.

    Invariant, held by whoever makes one: 0 < low <= open, close <= high, volume >= 0, all finite.
    """

    ts: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    seconds: int = 3600

    @property
    def opened_at(self) -> datetime:
        return self.ts - timedelta(seconds=self.seconds)


@frozen
class Observation:
    """A price seen at one venue. `price` is the mid in USDT; `depth_usdt` is the USDT side of the pool that would
    fill an order, None where the venue is only looked at."""

    venue: str
    price: Decimal
    observed_at: datetime
    depth_usdt: Decimal | None = None


@frozen
class Tick:
    """One pair's part of a round: its candle, where an order would be filled, and an independent price or None."""

    candle: Candle
    executable: Observation
    reference: Observation | None


@frozen
class Reading:
    """The latest value of an outside series, and the time it is from."""

    value: Decimal
    at: datetime


@frozen
class Gap:
    """Bars that the market's data lacks: `missing` of them between `after` and `before`, both exclusive."""

    pair: str
    after: datetime
    before: datetime
    missing: int


@frozen
class Round:
    """Everything that became known at one `ts`, over the pairs in name order; `series` are the outside series' latest
    values by then. `cursor` is the market's own bookmark, JSON: handed back, it continues right after this round.
    `before` are older candles by pair that were in no round: the indicators see them, nothing is decided on them."""

    ts: datetime
    ticks: dict[str, Tick]
    cursor: Any
    gaps: tuple[Gap, ...] = ()
    series: dict[str, Reading] = Factory(dict)
    before: dict[str, tuple[Candle, ...]] = Factory(dict)


@frozen
class NotYet:
    """The market answers, but its next round is still to come: it is asked again after so many seconds."""

    seconds: float
