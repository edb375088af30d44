"""A person's mistake in a document is told with its path, the value and what would be valid."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from protocol.codec import from_json, read_document, to_plain
from protocol.errors import InvalidSetting
from protocol.settings import (
    PRESETS,
    AgentConfig,
    EvaluationConfig,
    MachineSettings,
    PairQuotes,
    PaperConfig,
    QuotesConfig,
    RiskConfig,
    StrategyConfig,
)
from protocol.strategy import StrategyParams, StrategySpec, default_spec

ETH = {"watchlist": ["ETH/USDT"]}
SPEC: dict[str, Any] = to_plain(default_spec())
RSI = {"indicator": "rsi", "op": "<=", "value": 25, "window": 14}
PAIR_LIST = "must be a list of different pairs like ETH/USDT, at least one"
NAMES = "must be a small letter, then small letters, digits or -, 32 at most, and not current"
RISK_KEYS = (
    "preset, max_drawdown_pct, daily_drawdown_pct, max_consecutive_losses, cooldown_hours, per_pair_exposure_pct, "
    "max_market_age_hours"
)
INDICATORS = "price_vs_sma, rsi, ema_cross, bollinger, atr, momentum, volatility, volume_z, breakout, series"


def agent(**parts: Any) -> dict[str, Any]:
    return {**ETH, **parts}


def spec(**parts: Any) -> dict[str, Any]:
    return {**SPEC, **parts}


def entering(*conditions: Any) -> dict[str, Any]:
    return spec(signals={**SPEC["signals"], "entry": {"all_of": list(conditions)}})


AGENT: list[tuple[dict[str, Any], str]] = [
    ({}, "watchlist: is missing"),
    ({"watchlist": []}, f"watchlist = (): {PAIR_LIST}"),
    ({"watchlist": "ETH/USDT"}, "watchlist = 'ETH/USDT': must be a list of texts"),
    ({"watchlist": ["ETH/USDT", "ETH/USDT"]}, f"watchlist = ('ETH/USDT', 'ETH/USDT'): {PAIR_LIST}"),
    ({"watchlist": ["ETH/EUR"]}, f"watchlist = ('ETH/EUR',): {PAIR_LIST}"),
    (
        agent(nope=1),
        "nope = 1: unknown key; valid keys are watchlist, strategy, quotes, risk, evaluation, paper, live, "
        "snapshot_minutes",
    ),
    (agent(risk=5), "risk = 5: must be a table of keys"),
    (agent(risk={"x": 1}), f"risk.x = 1: unknown key; valid keys are {RISK_KEYS}"),
    (agent(risk={"preset": "wild"}), "risk.preset = 'wild': must be one of conservative, balanced, aggressive, off"),
    (agent(risk={"max_drawdown_pct": "15"}), "risk.max_drawdown_pct = '15': must be a number"),
    (agent(risk={"max_drawdown_pct": True}), "risk.max_drawdown_pct = True: must be a number"),
    (agent(risk={"max_drawdown_pct": None}), "risk.max_drawdown_pct = None: must be a number"),
    (agent(risk={"max_drawdown_pct": 100}), "risk.max_drawdown_pct = 100: must be from 0.1 to 99"),
    (agent(risk={"max_drawdown_pct": float("inf")}), "risk.max_drawdown_pct = inf: must be a number of ordinary size"),
    (
        agent(risk={"max_drawdown_pct": Decimal("3." + "1" * 50)}),
        f"risk.max_drawdown_pct = 3.{'1' * 50}: must be a number of ordinary size",
    ),
    (
        agent(risk={"max_drawdown_pct": Decimal("0e999999999")}),
        "risk.max_drawdown_pct = 0E+999999999: must be a number of ordinary size",
    ),
    (agent(risk={"max_drawdown_pct": float("nan")}), "risk.max_drawdown_pct = nan: must be a number of ordinary size"),
    (
        agent(risk={"daily_drawdown_pct": 20}),
        "risk.daily_drawdown_pct = 20: must be below max_drawdown_pct (20), or it could never fire first",
    ),
    (agent(risk={"max_consecutive_losses": 2.5}), "risk.max_consecutive_losses = 2.5: must be a whole number"),
    (agent(risk={"max_consecutive_losses": 0}), "risk.max_consecutive_losses = 0: must be from 1 to 1000"),
    (
        agent(risk={"max_consecutive_losses": float("inf")}),
        "risk.max_consecutive_losses = inf: must be a number of ordinary size",
    ),
    (agent(evaluation={"trade_floor": 0}), "evaluation.trade_floor = 0: must be from 1 to 100000"),
    (agent(evaluation={"eval_window_days": 3651}), "evaluation.eval_window_days = 3651: must be from 1 to 3650"),
    (agent(paper={"initial_usdt": 0.5}), "paper.initial_usdt = 0.5: must be from 1 to 1e+09"),
    (agent(paper={"fee_bps": -1}), "paper.fee_bps = -1: must be from 0 to 1000"),
    (agent(quotes={"max_age_seconds": 0}), "quotes.max_age_seconds = 0: must be from 1 to 604800"),
    (agent(quotes={"max_divergence_pct": 0}), "quotes.max_divergence_pct = 0: must be from 0.01 to 50"),
    (
        agent(quotes={"min_depth_usdt": -1}),
        "quotes.min_depth_usdt = -1: must be from 0 to 1e+12",
    ),
    (
        agent(quotes={"pairs": {"ETH/USDT": {"max_age_seconds": 0}}}),
        "quotes.pairs[ETH/USDT].max_age_seconds = 0: must be from 1 to 604800",
    ),
    (
        agent(quotes={"pairs": {"ETH/USDT": {"max_age": 60}}}),
        "quotes.pairs[ETH/USDT].max_age = 60: unknown key; valid keys are "
        "max_divergence_pct, max_age_seconds, max_impact_pct, min_depth_usdt",
    ),
    (agent(quotes={"pairs": {"ETH/USDT": 5}}), "quotes.pairs[ETH/USDT] = 5: must be a table of keys"),
    (agent(quotes={"pairs": 5}), "quotes.pairs = 5: must be a table of keys"),
    (agent(paper={"impact": "some"}), "paper.impact = 'some': must be one of pool, none"),
    (agent(paper={"impact": None}), "paper.impact = None: must be one of pool, none"),
    (agent(paper={"fill_at": "close"}), "paper.fill_at = 'close': must be one of quote, next_open"),
    (agent(live={"slippage_pct": 0}), "live.slippage_pct = 0: must be from 0.01 to 50"),
    (agent(live={"deadline_seconds": 9}), "live.deadline_seconds = 9: must be from 10 to 86400"),
    (agent(snapshot_minutes=0), "snapshot_minutes = 0: must be from 1 to 1440"),
    (agent(strategy={"fee_multiple": 101}), "strategy.fee_multiple = 101: must be from 0 to 100"),
    (agent(strategy={"spec": spec(name=5)}), "strategy.spec.name = 5: must be text"),
]
STRATEGY: list[tuple[dict[str, Any], str]] = [
    (spec(signals={"entry": SPEC["signals"]["entry"]}), "signals.exit: is missing"),
    (entering(), "signals.entry: give conditions under exactly one of all_of, any_of"),
    (entering(5), "signals.entry.all_of[0] = 5: must be a table of keys"),
    (
        spec(signals={**SPEC["signals"], "entry": {"all_of": [RSI], "any_of": [RSI]}}),
        "signals.entry: give conditions under exactly one of all_of, any_of",
    ),
    (
        entering(RSI, {**RSI, "op": "="}),
        "signals.entry.all_of[1].op = '=': must be one of <, <=, >, >=, crosses_above, crosses_below",
    ),
    (
        entering({**RSI, "indicator": "macd"}),
        f"signals.entry.all_of[0].indicator = 'macd': must be one of {INDICATORS}",
    ),
    (entering({**RSI, "window": 1}), "signals.entry.all_of[0].window = 1: must be from 2 to 10000"),
    (entering({**RSI, "value": "25"}), "signals.entry.all_of[0].value = '25': must be a number"),
    (
        entering({"indicator": "rsi", "op": "<", "value": 1}),
        "signals.entry.all_of[0].window: is missing: rsi needs window (candles looked at)",
    ),
    (
        entering({**RSI, "window": None}),
        "signals.entry.all_of[0].window: is missing: rsi needs window (candles looked at)",
    ),
    (entering({**RSI, "window": 14.5}), "signals.entry.all_of[0].window = 14.5: must be a whole number"),
    (entering({**RSI, "fast": 3}), "signals.entry.all_of[0].fast = 3: rsi takes window and no fast"),
    (
        entering({**RSI, "value": 101}),
        "signals.entry.all_of[0].value = 101.0: rsi is from 0 to 100, so this could never decide anything",
    ),
    (
        entering({**RSI, "indicator": "atr", "value": -0.1}),
        "signals.entry.all_of[0].value = -0.1: atr is from 0, so this could never decide anything",
    ),
    (
        entering({"indicator": "ema_cross", "op": "<", "value": 0, "fast": 26, "slow": 26}),
        "signals.entry.all_of[0].fast = 26: must be below slow (26)",
    ),
    (
        entering({"indicator": "ema_cross", "op": "<", "value": 0, "fast": 12}),
        "signals.entry.all_of[0].slow: is missing: ema_cross needs slow (candles of the slow average)",
    ),
    (
        entering({**RSI, "indicator": "bollinger", "width": 0.05}),
        "signals.entry.all_of[0].width = 0.05: must be from 0.1 to 10",
    ),
    (
        entering({"indicator": "series", "op": "<", "value": 1}),
        "signals.entry.all_of[0].name: is missing: series needs name (the series' name among [market.series])",
    ),
    (
        entering({"indicator": "series", "op": "<", "value": 1, "name": ""}),
        "signals.entry.all_of[0].name = '': must be a name of 1 to 40 characters",
    ),
    (
        entering({"indicator": "series", "op": "<", "value": 1, "name": "fng", "max_age_hours": 0}),
        "signals.entry.all_of[0].max_age_hours = 0: must be from 1 to 8760",
    ),
    (
        spec(regime_filter={"stand_aside_when": [RSI, {**RSI, "op": "<>"}]}),
        "regime_filter.stand_aside_when[1].op = '<>': must be one of <, <=, >, >=, crosses_above, crosses_below",
    ),
    (spec(name=" "), "name = ' ': must be 1 to 2000 characters of text"),
    (spec(about=5), "about = 5: must be text"),
    (spec(params={"max_concurrent": 0}), "params.max_concurrent = 0: must be from 1 to 100"),
    (spec(params={"stop_loss_pct": 0}), "params.stop_loss_pct = 0: must be from 0.01 to 99.99"),
    (spec(params={"stop_loss_pct": 100}), "params.stop_loss_pct = 100: must be from 0.01 to 99.99"),
    (spec(params={"take_profit_pct": "5"}), "params.take_profit_pct = '5': must be a number"),
    (spec(params={"max_hold_hours": 87_601}), "params.max_hold_hours = 87601: must be from 0.01 to 87600"),
    (spec(params={"position_size_pct": 101}), "params.position_size_pct = 101: must be from 0.1 to 100"),
    (spec(regime_filter={"when": []}), "regime_filter.when = []: unknown key; valid keys are stand_aside_when"),
]
MACHINE: list[tuple[dict[str, Any], str]] = [
    ({"server": {"port": 65536}}, "server.port = 65536: must be from 0 to 65535"),
    ({"server": {"port": "80"}}, "server.port = '80': must be a number"),
    ({"server": {"host": 5}}, "server.host = 5: must be text"),
    ({"server": {"token": "short"}}, "server.token: must be 16 to 128 letters, digits, - or _"),
    ({"server": {"allowed_hosts": [""]}}, "server.allowed_hosts = ('',): must be a list of host[:port]"),
    ({"market": {"kind": "live"}}, "market.kind = 'live': must be one of demo, replay, chain"),
    ({"market": {"kind": "replay"}}, "market.replay = {}: a replay needs at least one PAIR = CSV file"),
    ({"market": {"speed": 0}}, 'market.speed = 0.0: must be "max" or from 0.001 to 100000'),
    ({"market": {"speed": float("nan")}}, "market.speed = nan: must be a number of ordinary size"),
    ({"market": {"seed": 2**32}}, "market.seed = 4294967296: must be a whole number below 4294967296"),
    ({"agent": "current"}, f"agent = 'current': {NAMES}"),
    ({"agent": "Seed"}, f"agent = 'Seed': {NAMES}"),
]
TABLE = [
    *((AgentConfig, document, line) for document, line in AGENT),
    *((StrategySpec, document, line) for document, line in STRATEGY),
    *((MachineSettings, document, line) for document, line in MACHINE),
]


@pytest.mark.parametrize(("kind", "document", "line"), TABLE, ids=[line for _, _, line in TABLE])
def test_an_impossible_value_is_refused_with_its_path_the_value_and_what_would_be_valid(
    kind: type, document: dict[str, Any], line: str
) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, kind)
    assert (caught.value.problems, caught.value.code) == ([line], "VALIDATION_ERROR")
    assert str(caught.value) == line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), from_json("1e400")])
def test_a_condition_is_compared_with_a_number_that_can_be_written_down(value: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"signals\.entry\.all_of\[0\]\.value = "):
        read_document(entering({**RSI, "value": value}), StrategySpec)


@pytest.mark.parametrize(
    ("kind", "document", "path"),
    [
        (StrategySpec, spec(signals={**SPEC["signals"], "entry": {"all_of": 5}}), "signals.entry.all_of = 5: must be"),
        (MachineSettings, {"market": {"replay": 5}}, "market.replay = 5: must be"),
    ],
)
def test_one_thing_where_many_should_be_is_told_what_must_be_there(
    kind: type, document: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, kind)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize("document", [[], 5, None, "text"])
def test_what_is_no_table_is_said_to_be_none(document: object) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, AgentConfig)
    assert caught.value.problems == [f"document = {document!r}: must be a table of keys"]
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, AgentConfig, at="agent")
    assert caught.value.problems == [f"agent = {document!r}: must be a table of keys"]


def test_every_problem_has_its_own_line() -> None:
    bad = {"watchlist": "x", "risk": {"max_drawdown_pct": "a", "y": 1}, "paper": {"gas_usdt": []}}
    with pytest.raises(InvalidSetting) as caught:
        read_document(bad, AgentConfig)
    assert sorted(caught.value.problems) == [
        "paper.gas_usdt = []: must be a number",
        "risk.max_drawdown_pct = 'a': must be a number",
        f"risk.y = 1: unknown key; valid keys are {RISK_KEYS}",
        "watchlist = 'x': must be a list of texts",
    ]


def test_keys_that_are_no_text_are_unknown_keys_like_any_other() -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_document(agent(risk={"x": 1, 2: 2}), AgentConfig)
    assert len(caught.value.problems) == 2


MODES = [
    (StrategySpec, {"market_mode": "perp"}, "market_mode = 'perp': only spot is traded"),
    (StrategySpec, {}, "market_mode = None: only spot is traded"),
    (StrategySpec, {**SPEC, "market_mode": None, "name": 5, "zzz": 1}, "market_mode = None: only spot is traded"),
    (
        AgentConfig,
        {"watchlist": 5, "nope": 1, "strategy": {"zzz": 1, "spec": {"market_mode": "margin", "name": 5}}},
        "strategy.spec.market_mode = 'margin': only spot is traded",
    ),
]


@pytest.mark.parametrize(("kind", "document", "line"), MODES)
def test_another_market_mode_is_refused_before_anything_else(kind: type, document: dict[str, Any], line: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, kind)
    assert (caught.value.code, caught.value.problems) == ("MARKET_MODE_MISMATCH", [line])


def test_the_least_document_is_a_whole_config() -> None:
    assert read_document(ETH, AgentConfig) == AgentConfig(("ETH/USDT",))
    assert read_document({}, MachineSettings) == MachineSettings()
    assert read_document(SPEC, StrategySpec) == default_spec()


def test_a_parameter_that_is_not_given_has_its_default() -> None:
    read = read_document(
        entering(
            {"indicator": "bollinger", "op": "<", "value": 0, "window": 20},
            {"indicator": "series", "op": "<", "value": 20, "name": "fng"},
        ),
        StrategySpec,
    )
    assert [condition.key for condition in read.signals.entry.all_of] == ["bollinger(20,2)", "series(fng,48)"]
    assert read == read_document(to_plain(read), StrategySpec)


def test_conditions_share_an_indicator_exactly_where_all_its_parameters_are_the_same() -> None:
    def keys(**parts: Any) -> str:
        return read_document(entering({**RSI, **parts}), StrategySpec).conditions[0].key

    assert keys() == keys(op=">", value=70) == "rsi(14)"
    assert keys(window=15) == "rsi(15)"
    wide = {"indicator": "bollinger", "value": 0}
    assert keys(**wide, width=2) == keys(**wide, width=2.0) == "bollinger(14,2)"
    assert keys(**wide, width=2.5) == "bollinger(14,2.5)"


def test_every_condition_is_found_at_its_path_in_the_documents_order() -> None:
    located = list(default_spec().located())
    assert [path for path, _ in located] == [
        "signals.entry.all_of[0]",
        "signals.entry.all_of[1]",
        "signals.exit.any_of[0]",
        "signals.exit.any_of[1]",
        "regime_filter.stand_aside_when[0]",
    ]
    assert tuple(condition for _, condition in located) == default_spec().conditions


def test_the_limits_of_a_pair_win_where_it_has_some_and_everybodys_hold_elsewhere() -> None:
    limits = QuotesConfig(
        max_age_seconds=100,
        min_depth_usdt=Decimal(5),
        pairs={"ETH/USDT": PairQuotes(max_age_seconds=7, min_depth_usdt=Decimal(0)), "LTC/USDT": PairQuotes()},
    )
    own = limits.of("ETH/USDT")
    assert (own.max_age_seconds, own.min_depth_usdt, own.max_impact_pct) == (7, Decimal(0), limits.max_impact_pct)
    for other in ("LTC/USDT", "BTC/USDT"):
        assert (limits.of(other).max_age_seconds, limits.of(other).min_depth_usdt) == (100, Decimal(5))


def test_numbers_from_a_file_are_exact_decimals() -> None:
    read = read_document(agent(paper={"fee_bps": 0.1, "gas_usdt": 2}, risk={"max_drawdown_pct": 15.5}), AgentConfig)
    assert read.paper == PaperConfig(fee_bps=Decimal("0.1"), gas_usdt=Decimal(2))
    assert read.risk == RiskConfig(max_drawdown_pct=Decimal("15.5"))


LIMITS: list[tuple[type, str, Any, Any]] = [
    (RiskConfig, "daily_drawdown_pct", "0.1", None),
    (RiskConfig, "max_drawdown_pct", None, "99"),
    (RiskConfig, "max_consecutive_losses", 1, 1000),
    (RiskConfig, "cooldown_hours", 1, 8760),
    (RiskConfig, "per_pair_exposure_pct", "0.1", "100"),
    (EvaluationConfig, "eval_window_days", 1, 3650),
    (EvaluationConfig, "trade_floor", 1, 100_000),
    (PaperConfig, "initial_usdt", "1", "1000000000"),
    (PaperConfig, "fee_bps", "0", "1000"),
    (PaperConfig, "slippage_bps", "0", "1000"),
    (PaperConfig, "gas_usdt", "0", "1000"),
    (QuotesConfig, "max_divergence_pct", "0.01", "50"),
    (QuotesConfig, "max_impact_pct", "0.01", "50"),
    (QuotesConfig, "max_age_seconds", 1, 604_800),
    (QuotesConfig, "min_depth_usdt", "0", "1000000000000"),
    (PairQuotes, "max_divergence_pct", "0.01", "50"),
    (PairQuotes, "max_impact_pct", "0.01", "50"),
    (PairQuotes, "max_age_seconds", 1, 604_800),
    (PairQuotes, "min_depth_usdt", "0", "1000000000000"),
    (RiskConfig, "max_market_age_hours", "0.01", "8760"),
    (StrategyConfig, "fee_multiple", "0", "100"),
    (StrategyParams, "stop_loss_pct", "0.01", "99.99"),
    (StrategyParams, "take_profit_pct", "0.01", "100000"),
    (StrategyParams, "max_hold_hours", "0.01", "87600"),
]
ENDS = [
    (kind, key, end, beyond)
    for kind, key, low, high in LIMITS
    for end, beyond in ((low, -1), (high, 1))
    if end is not None
]


@pytest.mark.parametrize(("kind", "key", "end", "beyond"), ENDS)
def test_a_setting_may_reach_its_limit_and_not_pass_it(kind: type, key: str, end: Any, beyond: int) -> None:
    """The limits are included: the sentence that refuses what lies beyond says so."""
    passed = end + beyond if isinstance(end, int) else Decimal(end) + beyond * Decimal("0.001")
    with pytest.raises(ValueError, match=key):
        kind(**{key: passed})
    reached = end if isinstance(end, int) else Decimal(end)
    assert getattr(kind(**{key: reached}), key) == reached


PRESET_TABLE = {
    "max_drawdown_pct": (15, 20, 25),
    "daily_drawdown_pct": (5, 8, 12),
    "eval_window_days": (14, 7, 5),
    "trade_floor": (15, 10, 8),
    "max_consecutive_losses": (3, 4, 5),
}


@pytest.mark.parametrize(("column", "name"), list(enumerate(("conservative", "balanced", "aggressive"))))
def test_a_preset_is_its_column_of_the_table(column: int, name: str) -> None:
    preset = PRESETS[name]
    assert {**preset["risk"], **preset["evaluation"]} == {key: row[column] for key, row in PRESET_TABLE.items()}
    assert set(PRESETS) == {"conservative", "balanced", "aggressive"}  # and "off", which has no limits to name
    RiskConfig(**preset["risk"])
    EvaluationConfig(**preset["evaluation"])


def test_balanced_is_the_default() -> None:
    assert RiskConfig() == RiskConfig("balanced", **PRESETS["balanced"]["risk"])
    assert EvaluationConfig() == EvaluationConfig(**PRESETS["balanced"]["evaluation"])


def test_the_other_defaults_are_the_documented_ones() -> None:
    assert PaperConfig().initial_usdt == 1000
    assert (PaperConfig().impact, PaperConfig().fill_at) == ("pool", "quote")
    assert RiskConfig().cooldown_hours == 6
    assert AgentConfig(("ETH/USDT",)).snapshot_minutes in range(15, 31)
    assert MachineSettings().agent == "seed"
    assert (MachineSettings().server.host, MachineSettings().server.port) == ("127.0.0.1", 8000)


def test_a_token_is_not_shown() -> None:
    read = read_document({"server": {"token": "0123456789abcdef"}}, MachineSettings)
    assert read.server.token == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(read)
