"""The built-in demo market: three made-up pairs that a newcomer can watch within a minute.

It is a teaching market, not a forecast of anything: it is made so that every rule of the house has something to
do, gains and losses alike. Nothing in it is scripted and nothing looks at the agent: prices follow regimes, venues
have their weaknesses, and what the agent makes of that is its own affair.

All of it is whole numbers. A round is computed from the cursor and from a hash of (seed, pair, step), without floats,
libm or `random`, so that the same seed gives the same bytes on any machine. Prices are counted in the pair's ticks,
moves in basis points of the price.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

from attrs import astuple, frozen

from protocol.market import Candle, Observation, Round, Tick
from protocol.money import booked

GENERATOR: Final = 1  # of the prices: whoever changes what a seed means counts this up
BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)  # fixed: the demo has its own calendar
HOUR_SECONDS: Final = 3600

_HOUR = timedelta(hours=1)
_WORDS = Struct(">16H")
_SPAN = 1 << 16  # a die's word is uniform below this
_NORMAL = 37_837  # the standard deviation of a sum of four words: near enough to a bell, and it ends at 3.5 of them


@frozen
class _Regime:
    """How a pair behaves for a while. `pull_pct` of the distance to the anchor is made good each hour; the anchor is the
    price at which the regime began, or with `returns` the one at which its predecessor did."""

    hours: tuple[int, int]
    drift_bp: int
    sigma_bp: int
    then: dict[str, int]  # weights
    pull_pct: int = 0
    home_bp: int = 0
    returns: bool = False
    depth_pct: int = 100  # of the pool's usual depth
    lag_seconds: int = 90  # of the exchange, at most
    outage_bp: int = 40  # chance per hour that the exchange falls silent


_REGIMES: Final = {
    "calm": _Regime((10, 30), 1, 35, {"up": 3, "down": 2, "chop": 3, "fall": 1, "panic": 7}, home_bp=40),
    "up": _Regime((12, 36), 22, 55, {"calm": 3, "chop": 2, "panic": 5}, home_bp=40),
    # A quiet, steady decline: oversold, yet too little movement to pay for a round trip.
    "down": _Regime((30, 44), -30, 24, {"calm": 3, "fall": 1, "panic": 5}),
    "chop": _Regime((18, 48), 0, 110, {"calm": 4, "up": 2, "fall": 1, "panic": 4}, pull_pct=10),
    # The slide: a staircase of falls, rests and weak bounces, in which buying the dip loses again and again.
    "fall": _Regime((9, 11), -95, 25, {"rest": 1}, depth_pct=70, lag_seconds=600, outage_bp=150),
    "rest": _Regime((31, 37), -4, 20, {"bounce": 1}, depth_pct=85),
    "bounce": _Regime((7, 8), 35, 20, {"fall": 10, "calm": 1, "up": 1}, depth_pct=85),
    # Down by a tenth in a few hours, and most of it back within a day or two.
    "panic": _Regime((3, 5), -270, 160, {"recovery": 9, "rout": 1}, depth_pct=60, lag_seconds=2400, outage_bp=500),
    "rout": _Regime((2, 3), -700, 400, {"recovery": 1}, depth_pct=40, lag_seconds=3000, outage_bp=800, returns=True),
    "recovery": _Regime(
        (20, 36),
        0,
        70,
        {"calm": 3, "up": 3, "chop": 2},
        pull_pct=7,
        returns=True,
        home_bp=20,
        depth_pct=80,
        lag_seconds=300,
    ),
}


@frozen
class _Pair:
    """A pair's own figures: `wild_pct` scales its moves, `depth_usdt` is its pool's usual USDT side, `volume` its
    usual hour in whole base units, and `opens` the regime it begins in, for how long: staggered, and so that the
    first moves come when an agent's two days of warming up are over."""

    name: str
    tick: Decimal
    home: int  # ticks
    wild_pct: int
    depth_usdt: int
    volume: int
    opens: tuple[str, int]


_PAIRS: Final = (
    _Pair("BNB/USDT", Decimal("0.01"), 60_000, 90, 2_400_000, 9_000, ("down", 62)),
    _Pair("CAKE/USDT", Decimal("0.0001"), 25_000, 110, 165_000, 160_000, ("rest", 44)),
    _Pair("ETH/USDT", Decimal("0.01"), 300_000, 100, 7_500_000, 12_000, ("up", 52)),
)


@frozen
class _Lane:
    """Where a pair stands after a step: all that its next one needs, whole numbers and a name."""

    price: int
    regime: str
    hours_left: int
    anchor: int
    seen: int  # by the exchange
    seen_age_seconds: int
    silent_hours: int = 0  # that the exchange will yet be silent


class DemoMarket:
    """Rounds without end, one an hour of market time over all pairs, fully determined by seed and cursor.

    The cursor is the state, so continuing costs the same from anywhere.
    """

    pairs: tuple[str, ...] = tuple(pair.name for pair in _PAIRS)
    begins: datetime = BEGINS

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.pinned: dict[str, Any] = {"kind": "demo", "seed": seed, "generator": GENERATOR}

    async def next_round(self, cursor: Any | None) -> Round:
        """The round after `cursor`; the first one, whose candles open at `begins`, after None."""
        step = 1 if cursor is None else cursor["step"] + 1
        ts = BEGINS + step * _HOUR
        after: dict[str, Any] = {"step": step}
        ticks = {}
        for pair in _PAIRS:
            before = self._opening(pair) if cursor is None else _Lane(*cursor[pair.name])
            lane, ticks[pair.name] = _advance(pair, before, _dice(self._seed, pair.name, step), ts)
            after[pair.name] = list(astuple(lane))
        return Round(ts, ticks, after)

    def _opening(self, pair: _Pair) -> _Lane:
        """Before the first candle: near home, in the pair's opening regime."""
        first, second = _dice(self._seed, pair.name, 0)[:2]
        price = _moved(pair.home, _between(-400, 400, first), 10_000)
        regime, hours = pair.opens
        return _Lane(price, regime, hours + _between(-4, 4, second), price, price, 0)


def _advance(pair: _Pair, lane: _Lane, dice: tuple[int, ...], ts: datetime) -> tuple[_Lane, Tick]:
    """One hour of one pair."""
    regime, opening = _REGIMES[lane.regime], lane.price
    swing = regime.drift_bp * _NORMAL + regime.sigma_bp * (sum(dice[:4]) - 2 * _SPAN)
    close = _moved(opening, swing * pair.wild_pct, _NORMAL * 1_000_000)
    close += (lane.anchor - opening) * regime.pull_pct // 100
    close += regime.home_bp * (pair.home - opening) * opening // (max(pair.home, opening) * 10_000)
    close = min(max(close, pair.home // 50), pair.home * 50)
    reach_bp = regime.sigma_bp * pair.wild_pct // 100
    high = _moved(max(opening, close), _between(0, reach_bp, dice[4]), 10_000)
    low = _moved(min(opening, close), -_between(0, reach_bp, dice[5]), 10_000)
    liveliness_pct = 60 + 100 * (high - low) * 100 // opening  # a range of 1 % adds one usual hour
    volume = pair.volume * liveliness_pct * _between(60, 140, dice[6]) // 10_000
    candle = Candle(ts, *(_price(pair, ticks) for ticks in (opening, high, low, close)), Decimal(volume))

    pool = _price(pair, _moved(close, _between(-4, 4, dice[7]), 10_000))
    depth = pair.depth_usdt * regime.depth_pct * _between(75, 125, dice[8]) // 10_000
    seen, age, silent = _look(lane, regime, close, dice)
    reference = Observation("exchange", _price(pair, seen), ts - timedelta(seconds=age))
    tick = Tick(candle, Observation("pool", pool, ts, Decimal(depth)), reference)
    if lane.hours_left > 1:
        return _Lane(close, lane.regime, lane.hours_left - 1, lane.anchor, seen, age, silent), tick
    name = _chosen(regime.then, dice[13])
    anchor = lane.anchor if _REGIMES[name].returns else close
    return _Lane(close, name, _between(*_REGIMES[name].hours, dice[14]), anchor, seen, age, silent), tick


def _look(lane: _Lane, regime: _Regime, close: int, dice: tuple[int, ...]) -> tuple[int, int, int]:
    """What the exchange shows at the close (price, its age in seconds, hours of silence to come): the way from the open
    to the close as it was a moment ago, with noise; or, while it is silent, what it last saw."""
    if lane.silent_hours:
        return lane.seen, lane.seen_age_seconds + HOUR_SECONDS, lane.silent_hours - 1
    age = _between(1, regime.lag_seconds, dice[9])
    way = _moved(close, (lane.price - close) * age, HOUR_SECONDS * close)
    seen = _moved(way, _between(-8, 8, dice[10]), 10_000)
    falls_silent = dice[11] * 10_000 < regime.outage_bp * _SPAN
    return seen, age, _between(2, 6, dice[12]) if falls_silent else 0


def _dice(seed: int, pair: str, step: int) -> tuple[int, ...]:
    """Sixteen uniform words below `_SPAN`, the same ones for the same cause, whatever was drawn before."""
    cause = f"{GENERATOR}|{seed}|{pair}|{step}"
    return _WORDS.unpack(blake2b(cause.encode(), digest_size=_WORDS.size).digest())


def _between(low: int, high: int, word: int) -> int:
    """A whole number from `low` to `high`, both inclusive."""
    return low + word * (high - low + 1) // _SPAN


def _chosen(weights: dict[str, int], word: int) -> str:
    at = word * sum(weights.values()) // _SPAN
    for name, weight in weights.items():
        if at < weight:
            return name
        at -= weight
    raise AssertionError("a word is below its span")


def _moved(price: int, numerator: int, denominator: int) -> int:
    """`price` and that fraction of it, to the nearest tick."""
    return price + (2 * price * numerator + denominator) // (2 * denominator)


def _price(pair: _Pair, ticks: int) -> Decimal:
    return booked(ticks * pair.tick)
