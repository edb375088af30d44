"""The built-in demo market: three made-up pairs that a newcomer can watch within a minute.

It is a teaching market, not a forecast of anything: made so that every rule of the house has something to do, gains
and losses alike. No event is scripted and nothing looks at the agent: prices follow regimes, venues have weaknesses.

All of it is whole numbers, computed from the cursor and a hash of (seed, pair, step), without floats, libm or `random`:
the same seed gives the same bytes on any machine. Prices are counted in ticks, moves in basis points of the price.
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

GENERATOR: Final = 1  # whoever changes what a seed means counts this up
BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)  # fixed: the demo has a calendar of its own
_HOUR = timedelta(hours=1)
_HOUR_SECONDS = 3600
_WORDS = Struct(">16H")
_SPAN = 1 << 16  # a die's word is uniform below this
_NORMAL = 37_837  # the standard deviation of a sum of four words: near enough to a bell, and it ends at 3.5 of them


@frozen
class _Phase:
    """How a pair behaves for some hours. `pull_pct` of the way to the anchor (the price when the regime began) is made
    good each hour; `home_bp` is an hour's drift towards home at full distance: no pair fades away or explodes."""

    hours: tuple[int, int]
    drift_bp: int
    sigma_bp: int
    pull_pct: int = 0
    home_bp: int = 0
    depth_pct: int = 100  # of the pool's usual depth
    lag_seconds: int = 90  # of the exchange, at most
    silence_bp: int = 40  # chance per hour that the exchange falls silent


@frozen
class _Regime:
    """Phases, one after the other, and what may follow, by weight."""

    phases: tuple[_Phase, ...]
    then: dict[str, int]


# By hours, drift and sigma. All in all an hour's move has a sigma of just under 1 %.
_CALM = _Phase((10, 36), 1, 35, home_bp=50)
_UP = _Phase((12, 36), 22, 55, home_bp=120)
_DOWN = _Phase((30, 44), -30, 24)
_CHOPPY = _Phase((18, 48), 0, 110, pull_pct=10)
_LULL = _Phase((12, 24), 10, 35)
_LOW = _Phase((24, 48), -4, 30)
_PANIC = _Phase((4, 6), -240, 150, depth_pct=60, lag_seconds=2400, silence_bp=500)
_ROUT = _Phase((2, 3), -700, 400, depth_pct=40, lag_seconds=3000, silence_bp=800)
_RECOVERY = _Phase((20, 36), 0, 70, pull_pct=7, home_bp=20, depth_pct=80, lag_seconds=300)
_FALL = _Phase((9, 11), -95, 25, depth_pct=70, lag_seconds=600, silence_bp=150)
_STAIR = (_FALL, _Phase((31, 37), -5, 20, depth_pct=85), _Phase((7, 9), 44, 20, depth_pct=85))  # fall, rest, bounce

_REGIMES: Final = {
    "calm": _Regime(
        (_CALM,), {"up": 3, "down": 2, "choppy": 3, "slide": 2, "panic": 3, "tremors": 1, "break": 2, "rout": 1}
    ),
    "up": _Regime((_UP,), {"calm": 3, "choppy": 2, "panic": 3, "break": 1}),
    # A quiet, steady decline: oversold, yet too little movement to pay for a round trip.
    "down": _Regime((_DOWN,), {"calm": 5, "slide": 1, "panic": 1}),
    "choppy": _Regime((_CHOPPY,), {"calm": 4, "up": 2, "slide": 1, "panic": 2, "break": 1}),
    # A staircase of falls, rests and weak bounces: who buys the dip comes out lower, again and again.
    "slide": _Regime(_STAIR * 2, {"calm": 1, "up": 2, "panic": 1}),
    # Down by a tenth in a few hours, and most of it back within a day or two ...
    "panic": _Regime((_PANIC, _RECOVERY), {"calm": 3, "up": 3, "choppy": 2}),
    # ... or nothing of it, or twice, or a good deal deeper.
    "break": _Regime((_PANIC, _LOW), {"calm": 1, "up": 2, "slide": 1}),
    "tremors": _Regime((_PANIC, _RECOVERY, _LULL, _PANIC, _RECOVERY), {"calm": 3, "up": 3, "choppy": 2}),
    "rout": _Regime((_PANIC, _ROUT, _RECOVERY), {"calm": 2, "down": 1}),
    # How the pairs open: in turn, so that each has its weather while the others are quiet, and none before the two days
    # are over that an agent needs to warm up. From then on chance decides.
    "slow start": _Regime((_Phase((44, 50), 0, 35), *_STAIR * 4), {"tremors": 1}),
    "ebb": _Regime((_Phase((56, 64), -30, 24), _Phase((104, 116), 2, 35, home_bp=40)), {"panic": 1}),
    "quiet": _Regime((_Phase((244, 262), 1, 40, home_bp=40),), {"tremors": 1}),
}


@frozen
class _Pair:
    """A pair's own figures. `wild_pct` scales its moves, `depth_usdt` is its pool's usual USDT side, `volume` its usual
    hour in whole base units, `opens` the regime that it begins in."""

    name: str
    tick: Decimal
    home: int  # ticks
    wild_pct: int
    depth_usdt: int
    volume: int
    opens: str


_PAIRS: Final = (
    _Pair("BNB/USDT", Decimal("0.01"), 60_000, 90, 2_400_000, 9_000, "ebb"),
    _Pair("CAKE/USDT", Decimal("0.0001"), 25_000, 110, 165_000, 160_000, "slow start"),
    _Pair("ETH/USDT", Decimal("0.01"), 300_000, 100, 7_500_000, 12_000, "quiet"),
)


@frozen
class _Lane:
    """Where a pair stands after a step: all that its next one needs. Whole numbers and a name, exact in JSON."""

    price: int
    regime: str
    phase: int
    hours_left: int
    anchor: int
    seen: int  # by the exchange
    seen_age_seconds: int
    silent_hours: int  # that the exchange will yet be silent


class DemoMarket:
    """Rounds without end, one an hour of market time over all pairs, fully determined by seed and cursor. The cursor is
    the whole state, so continuing costs the same from anywhere."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.pinned: dict[str, Any] = {"kind": "demo", "seed": seed, "generator": GENERATOR}
        self.pairs = tuple(pair.name for pair in _PAIRS)
        self.series: tuple[str, ...] = ()
        self.begins = BEGINS
        self.interval = _HOUR
        self.ends: datetime | None = None

    async def next_round(self, cursor: Any | None) -> Round:
        """`following`, as a floor asks for it."""
        return self.following(cursor)

    def following(self, cursor: Any | None) -> Round:
        """The round after `cursor`; after None the first one, whose candles open at `begins`."""
        step = 1 if cursor is None else cursor["step"] + 1
        ts = BEGINS + step * _HOUR
        bookmark: dict[str, Any] = {"step": step}
        ticks = {}
        for pair in _PAIRS:
            before = _opening(pair, self._seed) if cursor is None else _Lane(*cursor[pair.name])
            after, ticks[pair.name] = _advance(pair, before, _dice(self._seed, pair.name, step), ts)
            bookmark[pair.name] = list(astuple(after))
        return Round(ts, ticks, bookmark)


def _opening(pair: _Pair, seed: int) -> _Lane:
    """Before the first candle: near home, in the pair's opening regime."""
    first, second = _dice(seed, pair.name, 0)[:2]
    price = _moved(pair.home, _between(-400, 400, first), 10_000)
    return _Lane(price, pair.opens, 0, _between(*_REGIMES[pair.opens].phases[0].hours, second), price, price, 0, 0)


def _advance(pair: _Pair, lane: _Lane, dice: tuple[int, ...], ts: datetime) -> tuple[_Lane, Tick]:
    """One hour of one pair: its candle, what both venues say at the close, and where that leaves it."""
    phase, opening = _REGIMES[lane.regime].phases[lane.phase], lane.price
    swing = phase.drift_bp * _NORMAL + phase.sigma_bp * (sum(dice[:4]) - 2 * _SPAN)
    close = _moved(opening, swing * pair.wild_pct, _NORMAL * 1_000_000)
    close += (lane.anchor - opening) * phase.pull_pct // 100
    close += phase.home_bp * (pair.home - opening) * opening // (max(pair.home, opening) * 10_000)
    close = min(max(close, pair.home // 50), pair.home * 50)
    reach_bp = phase.sigma_bp * pair.wild_pct // 100
    high = _moved(max(opening, close), _between(0, reach_bp, dice[4]), 10_000)
    low = _moved(min(opening, close), -_between(0, reach_bp, dice[5]), 10_000)
    bustle_pct = 60 + 10_000 * (high - low) // opening  # a range of 1 % adds a usual hour
    volume = pair.volume * bustle_pct * _between(60, 140, dice[6]) // 10_000
    prices = (_price(pair, opening), _price(pair, high), _price(pair, low), _price(pair, close))
    candle = Candle(ts, *prices, Decimal(volume))

    pool = _price(pair, _moved(close, _between(-4, 4, dice[7]), 10_000))
    depth = pair.depth_usdt * phase.depth_pct * _between(75, 125, dice[8]) // 10_000
    seen, age, silent = _look(lane, phase, close, dice)
    exchange = Observation("exchange", _price(pair, seen), ts - timedelta(seconds=age))
    tick = Tick(candle, Observation("pool", pool, ts, Decimal(depth)), exchange)
    return _Lane(close, *_continued(lane, close, dice), seen, age, silent), tick


def _look(lane: _Lane, phase: _Phase, close: int, dice: tuple[int, ...]) -> tuple[int, int, int]:
    """What the exchange shows at the close (price, age in seconds, hours of silence to come): where the price was a
    moment ago on its way from open to close, with noise; or, while it is silent, what it last saw."""
    if lane.silent_hours:
        return lane.seen, lane.seen_age_seconds + _HOUR_SECONDS, lane.silent_hours - 1
    age = _between(1, phase.lag_seconds, dice[9])
    then = _moved(close, (lane.price - close) * age, _HOUR_SECONDS * close)
    silent = dice[11] * 10_000 < phase.silence_bp * _SPAN
    return _moved(then, _between(-8, 8, dice[10]), 10_000), age, _between(2, 6, dice[12]) if silent else 0


def _continued(lane: _Lane, close: int, dice: tuple[int, ...]) -> tuple[str, int, int, int]:
    """The next hour's regime, its phase, the hours left of that, and the anchor."""
    if lane.hours_left > 1:
        return lane.regime, lane.phase, lane.hours_left - 1, lane.anchor
    regime, phase, anchor = lane.regime, lane.phase + 1, lane.anchor
    if phase == len(_REGIMES[regime].phases):
        heirs = [name for name, weight in _REGIMES[regime].then.items() for _ in range(weight)]
        regime, phase, anchor = heirs[_between(0, len(heirs) - 1, dice[13])], 0, close
    return regime, phase, _between(*_REGIMES[regime].phases[phase].hours, dice[14]), anchor


def _dice(seed: int, pair: str, step: int) -> tuple[int, ...]:
    """Sixteen uniform words below `_SPAN`: the same for the same cause, whatever was drawn before."""
    cause = f"{GENERATOR}|{seed}|{pair}|{step}"
    return _WORDS.unpack(blake2b(cause.encode(), digest_size=_WORDS.size).digest())


def _between(low: int, high: int, word: int) -> int:
    """A whole number from `low` to `high`, both inclusive."""
    return low + word * (high - low + 1) // _SPAN


def _moved(price: int, numerator: int, denominator: int) -> int:
    """`price` and that fraction of it, to the nearest tick."""
    return price + (2 * price * numerator + denominator) // (2 * denominator)


def _price(pair: _Pair, ticks: int) -> Decimal:
    return booked(ticks * pair.tick)
