"""What people may set: the machine's settings (file, environment, flags) and the agent's config (in the log)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, Literal

from attrs import Attribute, evolve, field, fields, frozen

from protocol.limits import Impossible, between, matching
from protocol.money import booked
from protocol.strategy import StrategySpec, default_spec

PAIR: Final = re.compile(r"[A-Z0-9]{2,12}/USDT")
PresetName = Literal["conservative", "balanced", "aggressive", "off"]

# Named limits, by section and key. A key that is given beside a preset wins over it.
PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    name: {
        "risk": {"max_drawdown_pct": peak, "daily_drawdown_pct": daily, "max_consecutive_losses": losses},
        "evaluation": {"eval_window_days": days, "trade_floor": floor},
    }
    for name, peak, daily, days, floor, losses in (
        ("conservative", Decimal(15), Decimal(5), 14, 15, 3),
        ("balanced", Decimal(20), Decimal(8), 7, 10, 4),
        ("aggressive", Decimal(25), Decimal(12), 5, 8, 5),
    )
}


@frozen
class StrategyConfig:
    """`spec` decides; an entry must promise at least `fee_multiple` times its round trip's cost. 0, in a backtest only,
    switches that off."""

    spec: StrategySpec = field(factory=default_spec)
    fee_multiple: Decimal = field(default=Decimal(3), validator=between(0, 100))


@frozen
class PairQuotes:
    """What one pair's quotes are held against, where it is another limit than everybody's."""

    max_divergence_pct: Decimal | None = field(default=None, validator=between(0.01, 50, optional=True))
    max_age_seconds: int | None = field(default=None, validator=between(1, 604_800, optional=True))
    max_impact_pct: Decimal | None = field(default=None, validator=between(0.01, 50, optional=True))
    min_depth_usdt: Decimal | None = field(default=None, validator=between(0, 10**12, optional=True))


def _by_pair(_: object, attribute: Attribute[Any], limits: dict[str, PairQuotes]) -> None:
    for pair in limits:
        if not PAIR.fullmatch(pair):
            raise Impossible(attribute.name, pair, "must be limits by pair, such as ETH/USDT")


@frozen
class QuotesConfig:
    """When a quote is believed. Ages are of data: the decision's time minus the time a price was seen. `pairs` has the
    limits that are other ones for some pair."""

    max_divergence_pct: Decimal = field(default=Decimal(1), validator=between(0.01, 50))
    max_age_seconds: int = field(default=5400, validator=between(1, 604_800))
    max_impact_pct: Decimal = field(default=Decimal(1), validator=between(0.01, 50))
    min_depth_usdt: Decimal = field(default=Decimal(10_000), validator=between(0, 10**12))
    pairs: dict[str, PairQuotes] = field(factory=dict, validator=_by_pair)

    def of(self, pair: str) -> QuotesConfig:
        """The limits that hold for `pair`."""
        own = self.pairs.get(pair)
        if own is None:
            return self
        given = {a.name: value for a in fields(PairQuotes) if (value := getattr(own, a.name)) is not None}
        return evolve(self, pairs={}, **given)


@frozen
class RiskConfig:
    """Limits in percent of equity. Reaching a limit is a breach. The preset `off`, in a backtest only, lets every entry
    pass that there is cash for."""

    preset: PresetName = "balanced"
    max_drawdown_pct: Decimal = field(default=Decimal(20), validator=between(0.1, 99))
    daily_drawdown_pct: Decimal = field(default=Decimal(8), validator=between(0.1, 99))
    max_consecutive_losses: int = field(default=4, validator=between(1, 1000))
    cooldown_hours: int = field(default=6, validator=between(1, 8760))
    per_pair_exposure_pct: Decimal = field(default=Decimal(100), validator=between(0.1, 100))
    max_market_age_hours: Decimal = field(default=Decimal(6), validator=between(0.01, 8760))

    @property
    def off(self) -> bool:
        return self.preset == "off"

    def __attrs_post_init__(self) -> None:
        if self.daily_drawdown_pct >= self.max_drawdown_pct:
            valid = f"must be below max_drawdown_pct ({self.max_drawdown_pct}), or it could never fire first"
            raise Impossible("daily_drawdown_pct", self.daily_drawdown_pct, valid)


@frozen
class EvaluationConfig:
    """How long, and over how many closed trades, an agent must prove itself at least."""

    eval_window_days: int = field(default=7, validator=between(1, 3650))
    trade_floor: int = field(default=10, validator=between(1, 100_000))


@frozen
class PaperConfig:
    """The paper book and how its fills are modelled. `fee_bps` is the pool's, `gas_usdt` is per swap. `impact` is the
    pool's own or none; `fill_at` the verified quote at the decision, or the open of the pair's next candle."""

    initial_usdt: Decimal = field(default=Decimal(1000), converter=booked, validator=between(1, 1_000_000_000))
    fee_bps: Decimal = field(default=Decimal(25), validator=between(0, 1000))
    slippage_bps: Decimal = field(default=Decimal(5), validator=between(0, 1000))
    gas_usdt: Decimal = field(default=Decimal("0.10"), converter=booked, validator=between(0, 1000))
    impact: Literal["pool", "none"] = "pool"
    fill_at: Literal["quote", "next_open"] = "quote"


@frozen
class LiveConfig:
    """How a live swap may end. It brings at least what the verified quote promises, the pool's fee taken off, less
    `slippage_pct` (for what is flattened `flatten_slippage_pct`), and is void `deadline_seconds` after its quote."""

    slippage_pct: Decimal = field(default=Decimal("0.5"), validator=between(0.01, 50))
    flatten_slippage_pct: Decimal = field(default=Decimal(3), validator=between(0.01, 50))
    deadline_seconds: int = field(default=300, validator=between(10, 86_400))

    def __attrs_post_init__(self) -> None:
        if self.flatten_slippage_pct < self.slippage_pct:
            valid = f"must be at least slippage_pct ({self.slippage_pct}): the way out is never the narrower one"
            raise Impossible("flatten_slippage_pct", self.flatten_slippage_pct, valid)


def _sorted(pairs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(pairs))


_pairs = matching(
    lambda pairs: bool(pairs) and len(set(pairs)) == len(pairs) and all(PAIR.fullmatch(p) for p in pairs),
    "must be a list of different pairs like ETH/USDT, at least one",
)


@frozen
class AgentConfig:
    """All that decides. It lives in the log, in versions; a file only gives the first."""

    watchlist: tuple[str, ...] = field(validator=_pairs, converter=_sorted)
    strategy: StrategyConfig = StrategyConfig()
    quotes: QuotesConfig = QuotesConfig()
    risk: RiskConfig = RiskConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    paper: PaperConfig = PaperConfig()
    live: LiveConfig = LiveConfig()
    snapshot_minutes: int = field(default=15, validator=between(1, 1440))


_port = between(0, 65535)
_hosts = matching(lambda hosts: all(":" in h or h for h in hosts), "must be a list of host[:port]")


@frozen
class ServerSettings:
    """Where the door listens. Port 0 takes any free one. A `token` is required beyond loopback."""

    host: str = "127.0.0.1"
    port: int = field(default=8000, validator=_port)
    token: str | None = field(
        default=None,
        repr=False,
        validator=matching(
            lambda token: token is None or bool(re.fullmatch(r"[A-Za-z0-9_-]{16,128}", token)),
            "must be 16 to 128 letters, digits, - or _",
        ),
    )
    allowed_hosts: tuple[str, ...] = field(default=(), validator=_hosts)
    allowed_origins: tuple[str, ...] = ()


@frozen
class MarketSettings:
    """Where rounds come from. `speed` is in rounds per second, None for "max". Paths are of CSV files: candles and
    independent prices by pair, outside series by name."""

    kind: Literal["demo", "replay"] = "demo"
    speed: float | None = field(
        default=8.0,
        validator=matching(lambda s: s is None or 0.001 <= s <= 100_000, 'must be "max" or from 0.001 to 100000'),
    )
    seed: int | None = field(
        default=None,
        validator=matching(lambda s: s is None or 0 <= s < 2**32, "must be a whole number below 4294967296"),
    )
    replay: dict[str, str] = field(factory=dict)
    reference: dict[str, str] = field(factory=dict)
    series: dict[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.kind == "replay" and not self.replay:
            raise Impossible("replay", {}, "a replay needs at least one PAIR = CSV file")


@frozen
class MachineSettings:
    """What belongs to the machine and not to the agent."""

    data_dir: str = "forestay-data"
    agent: str = field(
        default="seed",
        validator=matching(
            lambda name: bool(re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name)) and name != "current",
            "must be a small letter, then small letters, digits or -, 32 at most, and not current",
        ),
    )
    server: ServerSettings = ServerSettings()
    market: MarketSettings = MarketSettings()
