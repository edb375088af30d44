"""What people may set: the machine's settings (file, environment, flags) and the agent's config (in the log)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, Literal

from attrs import Attribute, evolve, field, fields, frozen

from protocol.limits import NOTHING, Impossible, between, matching
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
    """How a live swap may end. It brings at least what the verified quote promises, and what is quoted when it is
    signed, each less `slippage_pct` (the guard has a limit of its own, which must be wider), and is void
    `deadline_seconds` after its quote."""

    slippage_pct: Decimal = field(default=Decimal("0.4"), validator=between(0.01, 50))
    deadline_seconds: int = field(default=150, validator=between(10, 86_400))


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

_ORIGIN = re.compile(r"https?://[^/?#@*\s]+")
_origins = matching(
    lambda origins: all(map(_ORIGIN.fullmatch, origins)), 'must be a list of origins such as "https://my.lan:8443"'
)


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
    allowed_origins: tuple[str, ...] = field(default=(), validator=_origins)


@frozen
class MarketSettings:
    """Where rounds come from. `speed` is in rounds per second, None for "max". Paths are of CSV files: candles and
    independent prices by pair, outside series by name."""

    kind: Literal["demo", "replay", "chain"] = "demo"
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


_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_SYMBOL: Final = re.compile(r"[A-Z0-9]{2,12}")
_URL: Final = re.compile(r"https?://([!-~]+@)?([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?([/?][!-~]*)?")
_address = matching(lambda text: bool(_ADDRESS.fullmatch(text)), "must be an address: 0x and 40 hex digits")
_address_or_none = matching(
    lambda text: text is None or bool(_ADDRESS.fullmatch(text)), "must be an address: 0x and 40 hex digits"
)


@frozen
class TokenSettings:
    """An ERC-20 token. Both are checked against the chain before the first use."""

    address: str = field(validator=_address)
    decimals: int = field(default=18, validator=between(0, 36))


def _by_symbol(_: object, attribute: Attribute[Any], tokens: dict[str, TokenSettings]) -> None:
    for symbol in tokens:
        if not _SYMBOL.fullmatch(symbol) or symbol == "USDT":
            raise Impossible(attribute.name, symbol, "must be tokens by symbol, such as ETH; USDT has its own key")
    if not tokens:
        raise Impossible(attribute.name, {}, "must have at least one token, such as ETH")


def _addresses_by_pair(_: object, attribute: Attribute[Any], found: dict[str, str]) -> None:
    for pair, address in found.items():
        if not PAIR.fullmatch(pair) or not _ADDRESS.fullmatch(address):
            raise Impossible(attribute.name, {pair: address}, "must be addresses by pair, such as ETH/USDT")


def _usual_tokens() -> dict[str, TokenSettings]:
    """Tokens of BNB Smart Chain that a feed of `_usual_feeds` prices, too. All have 18 decimals, which is checked."""
    return {
        "BNB": TokenSettings("0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c"),
        "CAKE": TokenSettings("0x0E09FaBB73Bd3Ade0a17ECC321fD13a19e81cE82"),
        "ETH": TokenSettings("0x2170Ed0880ac9A755fd29B2688956BD959F933F8"),
        "LINK": TokenSettings("0xF8A0BF9cF54Bb92F17374d9e9A321E6a111a51bD"),
    }


def _usual_feeds() -> dict[str, str]:
    return {
        "BNB/USDT": "0x0567F2323251f0Aab15c8dFb1967E4e8A7D42aeE",
        "CAKE/USDT": "0xB6064eD41d4f67e353768aA239cA86f4F73665a1",
        "ETH/USDT": "0x9ef1B8c0E4F7dc8bF5719Ea496883DC6401d5b2e",
        "LINK/USDT": "0xca236E327F629f9Fc2c30A4E95775EbF0B89fac8",
    }


@frozen
class ChainSettings:
    """The chain, and how it is read. `rpc` are the endpoints' URLs, the preferred one first: they can hold keys, so
    nothing ever shows them. Each of `tokens` is traded as TOKEN/USDT in its pool at `factory`.

    `guard` is the socket of the signing guard, None where nothing is ever signed. A transaction that is not in a block
    after `replace_seconds` is replaced by one that pays more for its gas.

    A block counts once it is `confirmations` deep. The independent price of a pair is the Chainlink feed under
    `references`, or its pool at `reference_factory`. `log_blocks` is how many blocks an endpoint is asked the logs of
    at once. `orphaned` are hashes of closing blocks that the chain has lost and whose loss a person accepts. `history`
    are CSV files of candles by pair, which warm the indicators up.
    """

    rpc: tuple[str, ...] = field(
        default=(),
        repr=False,
        validator=matching(
            lambda urls: len(urls) <= 8 and len(set(urls)) == len(urls) and all(map(_URL.fullmatch, urls)),
            "must be a list of different http or https URLs, 8 at most",
        ),
    )
    chain_id: int = field(default=56, validator=between(1, 2**53))
    router: str = field(default="0x10ED43C718714eb63d5aA57B78B54704E256024E", validator=_address)
    factory: str = field(default="0xcA143Ce32Fe78f1f7019d7d551a6402fC5350c73", validator=_address)
    usdt: TokenSettings = TokenSettings("0x55d398326f99059fF775485246999027B3197955")
    wbnb: TokenSettings = TokenSettings("0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c")
    tokens: dict[str, TokenSettings] = field(factory=_usual_tokens, validator=_by_symbol)
    references: dict[str, str] = field(factory=_usual_feeds, validator=_addresses_by_pair)
    reference_factory: str | None = field(default=None, validator=_address_or_none)
    history: dict[str, str] = field(factory=dict)
    candle_seconds: int = field(
        default=3600,
        validator=matching(lambda s: 10 <= s <= 86_400 and 86_400 % s == 0, "must divide a day, from 10 to 86400"),
    )
    confirmations: int = field(default=15, validator=between(0, 10_000))
    log_blocks: int = field(default=500, validator=between(1, 100_000))
    poll_seconds: float = field(default=3.0, validator=between(0.01, 60))
    timeout_seconds: float = field(default=5.0, validator=between(0.1, 10))
    guard: str | None = None
    replace_seconds: float = field(default=30.0, validator=between(1, 3600))
    orphaned: tuple[str, ...] = field(
        default=(),
        validator=matching(
            lambda hashes: all(re.fullmatch(r"0x[0-9a-f]{64}", text) for text in hashes),
            "must be a list of block hashes: 0x and 64 hex digits",
        ),
    )

    @property
    def pairs(self) -> tuple[str, ...]:
        """What can be traded, in name order."""
        return tuple(sorted(f"{symbol}/USDT" for symbol in self.tokens))


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
    chain: ChainSettings = ChainSettings()

    def __attrs_post_init__(self) -> None:
        if self.market.kind != "chain":
            return
        if not self.chain.rpc:
            valid = 'the chain market needs at least one URL; better in FORESTAY_CHAIN__RPC, as ["https://..."]'
            raise Impossible("chain.rpc", NOTHING, valid)
        for pair in self.chain.history:
            if pair not in self.chain.pairs:
                raise Impossible("chain.history", pair, f"must be of pairs out of {', '.join(self.chain.pairs)}")
