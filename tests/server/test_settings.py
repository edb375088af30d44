"""Where settings come from, which of them wins, and what is said to a mistake."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from protocol.codec import to_plain
from protocol.errors import InvalidSetting, UserError
from protocol.settings import (
    AgentConfig,
    MachineSettings,
    PairQuotes,
    PaperConfig,
    QuotesConfig,
    RiskConfig,
    StrategyConfig,
)
from protocol.strategy import default_spec
from server.settings import Offer, Settings, agent_config, differences, load, patched
from tests.server.markets import PAIRS, STRATEGY

OFFER: Final = Offer(PAIRS)
CONFIG: Final = AgentConfig(PAIRS)
SPEC: Final[dict[str, Any]] = to_plain(default_spec())

# A key, and what it has in the file, the environment and the flags.
LAYERED: list[tuple[str, str, str, Any, Any, Any, Any]] = [
    ("server.port", "[server]\nport = 1001", "FORESTAY_PORT", "1002", {"server": {"port": 1003}}, 1001, 1003),
    ("server.port", "[server]\nport = 1001", "FORESTAY_SERVER__PORT", "1002", {"server": {"port": 1003}}, 1001, 1003),
    ("server.host", "[server]\nhost = '::1'", "FORESTAY_HOST", "localhost", {"server": {"host": "a.b"}}, "::1", "a.b"),
    ("market.seed", "[market]\nseed = 1", "FORESTAY_MARKET__SEED", "2", {"market": {"seed": 3}}, 1, 3),
    ("market.speed", "[market]\nspeed = 1.5", "FORESTAY_MARKET__SPEED", "max", {"market": {"speed": 3.0}}, 1.5, 3.0),
    ("agent", "agent = 'a'", "FORESTAY_AGENT", "b", {"agent": "c"}, "a", "c"),
]
IN_ENVIRONMENT = {"server.port": 1002, "server.host": "localhost", "market.seed": 2, "market.speed": None, "agent": "b"}


def read(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    path = tmp_path / "forestay.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {}, flags)


def told(settings: Settings, key: str) -> Any:
    value: Any = settings.machine
    for name in key.split("."):
        value = getattr(value, name)
    return value


def mistakes(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None, **flags: Any) -> list[str]:
    try:
        settings = read(tmp_path, text, environ, **flags)
        agent_config(settings.agent, OFFER)
    except InvalidSetting as refused:
        return refused.problems
    return []


# One more condition than STRATEGY has.
TWO_ENTRIES: Final = STRATEGY.replace(
    "window: 24}]}", "window: 24}, {indicator: rsi, op: crosses_above, value: 30, window: 14}]}", 1
)


# --- which one wins


@pytest.mark.parametrize(
    ("key", "text", "name", "value", "flags", "in_file", "in_flags"), LAYERED, ids=[row[2] for row in LAYERED]
)
def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, key: str, text: str, name: str, value: str, flags: dict[str, Any], in_file: Any, in_flags: Any
) -> None:
    assert told(read(tmp_path, text), key) == in_file
    assert told(read(tmp_path, text, {name: value}), key) == IN_ENVIRONMENT[key]
    assert told(read(tmp_path, "", {name: value}), key) == IN_ENVIRONMENT[key]
    assert told(read(tmp_path, text, {name: value}, **flags), key) == in_flags


def test_layers_merge_key_by_key(tmp_path: Path) -> None:
    text = "[server]\nhost = 'localhost'\nport = 1\n[risk]\ncooldown_hours = 1\nmax_drawdown_pct = 30\n"
    environ = {"FORESTAY_SERVER__PORT": "2", "FORESTAY_RISK__COOLDOWN_HOURS": "3", "FORESTAY_MARKET__SEED": "4"}
    settings = read(tmp_path, text, environ, market={"speed": 5.0})
    server, market = settings.machine.server, settings.machine.market
    assert (server.host, server.port, market.seed, market.speed) == ("localhost", 2, 4, 5.0)
    assert settings.agent == {"risk": {"cooldown_hours": 3, "max_drawdown_pct": 30}}


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings == Settings(MachineSettings(), {})
    assert agent_config({}, OFFER) == AgentConfig(PAIRS)


def test_without_a_file_the_one_of_the_working_directory_is_read_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}, {}).machine == MachineSettings()
    (tmp_path / "forestay.toml").write_text("agent = 'other'", encoding="utf-8")
    assert load(None, {}, {}).machine.agent == "other"


# --- the environment


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("FORESTAY_DATA_DIR", "/srv/forestay", "data_dir", "/srv/forestay"),
        ("FORESTAY_SERVER__TOKEN", "abcdefgh-ijklmnop", "server.token", "abcdefgh-ijklmnop"),
        ("FORESTAY_SERVER__ALLOWED_HOSTS", '["a:1", "b"]', "server.allowed_hosts", ("a:1", "b")),
        ("FORESTAY_MARKET__KIND", "demo", "market.kind", "demo"),
        ("FORESTAY_MARKET__REPLAY", '{"ETH/USDT" = "x.csv"}', "market.replay", {"ETH/USDT": "x.csv"}),
        ("FORESTAY_MARKET__SPEED", "0.5", "market.speed", 0.5),
        # Text stays text, also where it looks like a number or a truth value.
        ("FORESTAY_DATA_DIR", "2026", "data_dir", "2026"),
        ("FORESTAY_DATA_DIR", "true", "data_dir", "true"),
        ("FORESTAY_DATA_DIR", "2026-01-02", "data_dir", "2026-01-02"),
        ("FORESTAY_SERVER__TOKEN", "1234567890123456", "server.token", "1234567890123456"),
    ],
)
def test_a_variable_is_read_as_what_its_key_takes(tmp_path: Path, name: str, text: str, key: str, value: Any) -> None:
    assert told(read(tmp_path, "", {name: text}), key) == value


def test_agent_keys_may_come_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "FORESTAY_WATCHLIST": '["LTC/USDT"]',
        "FORESTAY_RISK__PRESET": "aggressive",
        "FORESTAY_SNAPSHOT_MINUTES": "5",
    }
    config = agent_config(read(tmp_path, "", environ).agent, OFFER)
    assert (config.watchlist, config.risk.preset, config.snapshot_minutes) == (("LTC/USDT",), "aggressive", 5)


def test_other_peoples_variables_are_left_alone(tmp_path: Path) -> None:
    environ = {"PATH": "/bin", "FORESTAYS": "x", "PORT": "1", "FORESTAY_TEST_DATA": "/data"}
    assert read(tmp_path, "", environ).machine == MachineSettings()


@pytest.mark.parametrize("name", ["FORESTAY_BOGUS", "FORESTAY_PORTS", "FORESTAY_A__B__C", "FORESTAY_"])
def test_a_variable_for_no_key_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    (problem,) = mistakes(tmp_path, "", {name: "1"})
    assert problem.startswith(f"{name} = '1': unknown key")
    assert "FORESTAY_SECTION__KEY" in problem


# --- mistakes

MISTAKES: list[tuple[str, str, str]] = [
    ("bogus = 1", "bogus = 1", "unknown key; valid keys are agent, chain, data_dir"),
    ("[bogus]\nx = 1", "bogus = {'x': 1}", "unknown key"),
    ("[server]\nprot = 1", "server.prot = 1", "unknown key; valid keys are host, port"),
    ("[market]\nsped = 1", "market.sped = 1", "unknown key; valid keys are kind, speed"),
    ("[risk]\nmax_dd = 1", "risk.max_dd = 1", "unknown key; valid keys are preset"),
    ("[risk]\nmax_market_age_hours = 0", "risk.max_market_age_hours = 0", "must be from 0.01 to 8760"),
    ("[strategy]\nfoo = 1", "strategy.foo = 1", "unknown key; valid keys are spec"),
    ("server = 1", "server = 1", "must be a table of keys"),
    ("[agent]\nx = 1", "agent = {'x': 1}", "must be text"),
    ("data_dir = 1", "data_dir = 1", "must be text"),
    ("agent = 'Seed'", "agent = 'Seed'", "small letter"),
    ("agent = 'current'", "agent = 'current'", "not current"),
    ("[server]\nport = 65536", "server.port = 65536", "must be from 0 to 65535"),
    ("[server]\nport = '8000'", "server.port = '8000'", "must be a number"),
    ("[server]\nport = true", "server.port = True", "must be a number"),
    ("[server]\nport = 80.5", "server.port = 80.5", "must be a whole number"),
    ("[server]\ntoken = 'short'", "server.token: ", "must be 16 to 128 letters, digits, - or _"),
    ("[server]\nallowed_hosts = 'a'", "server.allowed_hosts = 'a'", "must be a list of texts"),
    ("[server]\nallowed_hosts = [1]", "server.allowed_hosts = [1]", "must be a list of texts"),
    ("[market]\nkind = 'live'", "market.kind = 'live'", "must be one of demo, replay, chain"),
    ("[market]\nkind = 'replay'", "market.replay", "at least one PAIR = CSV"),
    ("[market]\nspeed = 0", "market.speed = 0", 'must be "max" or from 0.001 to 100000'),
    ("[market]\nspeed = nan", "market.speed = nan", "must be a number of ordinary size"),
    ("[market]\nspeed = 'fast'", "market.speed = 'fast'", "must be a number"),
    ("[market]\nseed = -1", "market.seed = -1", "must be a whole number below 4294967296"),
    ("[market.replay]\n'ETH/USDT' = 1", "market.replay", "must be text"),
    ("[risk]\npreset = 'wild'", "risk.preset = 'wild'", "must be one of conservative, balanced, aggressive, off"),
    ("[risk]\nmax_drawdown_pct = nan", "risk.max_drawdown_pct = ", "must be a number of ordinary size"),
    ("[risk]\ncooldown_hours = inf", "risk.cooldown_hours = inf", "must be a number of ordinary size"),
    ("[risk]\nmax_drawdown_pct = 8", "risk.daily_drawdown_pct = 8", "must be below max_drawdown_pct (8)"),
    ("[paper]\nimpact = 'some'", "paper.impact = 'some'", "must be one of pool, none"),
    ("[paper]\nfill_at = 'close'", "paper.fill_at = 'close'", "must be one of quote, next_open"),
    ("[quotes]\nmin_depth_usdt = -1", "quotes.min_depth_usdt = -1", "must be from 0 to 1e+12"),
    (
        "[quotes.pairs.'ETH/USDT']\nmax_age_seconds = 0",
        "quotes.pairs[ETH/USDT].max_age_seconds = 0",
        "must be from 1 to 604800",
    ),
    ("[quotes.pairs.'ETH/USDT']\nmax_age = 1", "quotes.pairs[ETH/USDT].max_age = 1", "unknown key; valid keys are "),
    ("[quotes.pairs.ETH]\nmax_age_seconds = 1", "quotes.pairs = ", "must be limits by pair, such as ETH/USDT"),
    ("[market.series]\nfng = 1", "market.series[fng] = 1", "must be text"),
    ("[paper]\nfee_bps = -1", "paper.fee_bps = -1", "must be from 0 to 1000"),
    ("watchlist = []", "watchlist = ", "at least one"),
    ("watchlist = ['DOGE/USDT']", "watchlist = ['DOGE/USDT']", "this market has ETH/USDT, LTC/USDT"),
    ("snapshot_minutes = 0", "snapshot_minutes = 0", "must be from 1 to 1440"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "valid"), MISTAKES, ids=[text for text, _, _ in MISTAKES])
def test_a_mistake_is_told_with_its_key_the_value_and_what_would_be_valid(
    tmp_path: Path, text: str, key: str, valid: str
) -> None:
    (problem,) = mistakes(tmp_path, text)
    assert problem.startswith(key)
    assert valid in problem


def test_several_mistakes_are_told_together(tmp_path: Path) -> None:
    problems = mistakes(tmp_path, "[server]\nport = 'x'\nprot = 1\n[market]\nseed = 'y'")
    assert sorted(problem.split(" = ")[0] for problem in problems) == ["market.seed", "server.port", "server.prot"]


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    for text in ("[server]\ntoken = 'my-secret'", "[server]\ntoken = ['my-secret']"):
        assert "my-secret" not in " ".join(mistakes(tmp_path, text))
    assert "sixteen-characters" not in repr(read(tmp_path, "[server]\ntoken = 'sixteen-characters'"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[server", "is not valid TOML"), (b"a = 1\na = 2", "is not valid TOML"), (b"\xff\xfe", "cannot be read")],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as refused:
        load(path, {}, {})
    assert str(refused.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.toml: there is no such file; `forestay init` writes one"):
        load(tmp_path / "absent.toml", {}, {})


# --- paths


def test_paths_in_a_file_are_meant_from_where_the_file_is(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "data_dir = 'log'\n[market]\nkind = 'replay'\n"
        "[market.replay]\n'ETH/USDT' = 'eth.csv'\n'LTC/USDT' = '/abs/ltc.csv'\n"
        "[market.reference]\n'ETH/USDT' = '../other.csv'\n[market.series]\nfng = 'fng.csv'\n",
    )
    market = settings.machine.market
    assert settings.machine.data_dir == str(tmp_path / "log")
    assert market.replay == {"ETH/USDT": str(tmp_path / "eth.csv"), "LTC/USDT": "/abs/ltc.csv"}
    assert market.reference == {"ETH/USDT": str(tmp_path / "../other.csv")}
    assert market.series == {"fng": str(tmp_path / "fng.csv")}


def test_paths_of_flags_and_variables_are_meant_from_the_working_directory(tmp_path: Path) -> None:
    settings = read(tmp_path, "data_dir = 'log'", {"FORESTAY_DATA_DIR": "here"})
    assert settings.machine.data_dir == "here"
    assert read(tmp_path, "data_dir = 'log'", data_dir="there").machine.data_dir == "there"


def test_a_strategy_comes_from_a_yaml_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STRATEGY, encoding="utf-8")
    config = agent_config(read(tmp_path, "[strategy]\nspec = 'mine.yaml'").agent, OFFER)
    assert config.strategy.spec.name == "often"
    assert config.strategy.spec.params.max_concurrent == 1
    by_name = read(tmp_path, "", {"FORESTAY_STRATEGY__SPEC": str(tmp_path / "mine.yaml")})
    assert agent_config(by_name.agent, OFFER) == config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("market_mode: margin\nname: x\nbogus: 1", "strategy.spec.market_mode = 'margin': only spot is traded"),
        ("name: x", "strategy.spec.market_mode = None: only spot is traded"),
        ("- a\n- b", "strategy.spec = ['a', 'b']: must be a table of keys"),
        ("", "strategy.spec = None: must be a table of keys"),
        (
            STRATEGY.replace("window: 24", "window: 1", 1),
            "strategy.spec.signals.entry.all_of[0].window = 1: must be from 2",
        ),
        (STRATEGY.replace('"<="', '"=="', 1), "strategy.spec.signals.entry.all_of[0].op = '=='"),
        (
            TWO_ENTRIES.replace("crosses_above", "foo"),
            "strategy.spec.signals.entry.all_of[1].op = 'foo': must be one of <,",
        ),
        (
            TWO_ENTRIES.replace("window: 14", "window: 14, fast: 14"),
            "strategy.spec.signals.entry.all_of[1].fast = 14: rsi takes window and no fast",
        ),
        (
            TWO_ENTRIES.replace(", window: 14", ""),
            "strategy.spec.signals.entry.all_of[1].window: is missing: rsi needs window",
        ),
        (
            TWO_ENTRIES.replace("value: 30", "value: 300"),
            "strategy.spec.signals.entry.all_of[1].value = 300.0: rsi is from 0",
        ),
        (
            STRATEGY.replace('op: ">=", value: 0.022', 'op: "!", value: 0.022'),
            "strategy.spec.regime_filter.stand_aside_when[0].op = '!'",
        ),
        (
            STRATEGY.replace("max_concurrent: 1", "stop_loss_pct: 0"),
            "strategy.spec.params.stop_loss_pct = 0: must be from",
        ),
        (
            STRATEGY.replace("-0.015", "'-0.015'"),
            "strategy.spec.signals.entry.all_of[0].value = '-0.015': must be a number",
        ),
        (STRATEGY.replace("-0.015", ".nan"), "strategy.spec.signals.entry.all_of[0].value = "),
        (STRATEGY.replace("-0.015", "-.inf"), "strategy.spec.signals.entry.all_of[0].value = "),
        (STRATEGY + "stop_loss: 5\n", "strategy.spec.stop_loss = 5: unknown key; valid keys are market_mode, name"),
        (STRATEGY.replace("name: often", ""), "strategy.spec"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused_by_its_path(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    (problem,) = mistakes(tmp_path, "[strategy]\nspec = 'mine.yaml'")
    assert problem.startswith(words)


@pytest.mark.parametrize(
    "content", [None, "{", "a: b: c", "!!python/object/apply:os.getpid []", "a: !!bool b", "a: 2026-02-30"]
)
def test_a_strategy_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be read|is not valid YAML") as refused:
        read(tmp_path, "[strategy]\nspec = 'mine.yaml'")
    assert str(refused.value).startswith(str(tmp_path / "mine.yaml"))


# --- what a market has to offer


def series_spec(name: str) -> dict[str, Any]:
    """A document that looks at an outside series, beside the default's conditions."""
    index = {"indicator": "series", "op": "<", "value": 20, "name": name}
    return {"strategy": {"spec": {**SPEC, "regime_filter": {"stand_aside_when": [index]}}}}


def refused(given: dict[str, Any], offer: Offer = OFFER, **how: Any) -> list[str]:
    with pytest.raises(InvalidSetting) as caught:
        agent_config(given, offer, **how)
    return caught.value.problems


def refused_patch(patch: dict[str, Any], offer: Offer = OFFER, config: AgentConfig | None = None) -> list[str]:
    with pytest.raises(InvalidSetting) as caught:
        patched(config or CONFIG, patch, offer)
    return caught.value.problems


@pytest.mark.parametrize(
    ("series", "has"),
    [
        ((), "no series: give it a CSV file under [market.series]"),
        (("funding", "vix"), "funding, vix"),
    ],
)
def test_a_series_that_the_market_does_not_have_is_refused_by_its_path(series: tuple[str, ...], has: str) -> None:
    line = f"strategy.spec.regime_filter.stand_aside_when[0].name = 'fng': this market has {has}"
    offer = Offer(PAIRS, series)
    assert refused(series_spec("fng"), offer) == [line]
    assert refused(series_spec("fng"), offer, backtest=True) == [line]
    assert refused_patch(series_spec("fng"), offer) == [line]


def test_a_series_that_the_market_has_is_taken() -> None:
    offer = Offer(PAIRS, ("fng",))
    config = agent_config(series_spec("fng"), offer)
    assert config.strategy.spec.conditions[-1].key == "series(fng,48)"
    assert patched(CONFIG, series_spec("fng"), offer) == config


def test_a_series_anywhere_in_the_document_is_looked_for() -> None:
    index = {"indicator": "series", "op": "<", "value": 20, "name": "fng"}
    signals = {"entry": {"all_of": [*SPEC["signals"]["entry"]["all_of"], index]}, "exit": {"any_of": [index]}}
    problems = refused({"strategy": {"spec": {**SPEC, "signals": signals}}})
    assert [problem.split(" = ")[0] for problem in problems] == [
        "strategy.spec.signals.entry.all_of[2].name",
        "strategy.spec.signals.exit.any_of[0].name",
    ]


@pytest.mark.parametrize("how", [{}, {"backtest": True}])
def test_a_market_age_below_the_markets_own_interval_would_let_no_entry_pass(how: dict[str, Any]) -> None:
    daily = Offer(PAIRS, interval=timedelta(days=1))
    line = "risk.max_market_age_hours = 6: this market's candles are 24 h apart, so no entry could pass"
    assert refused({}, daily, **how) == [line]
    assert refused_patch({"snapshot_minutes": 5}, daily) == [line]
    for hours in (24, 25):
        given = {"risk": {"max_market_age_hours": hours}}
        assert agent_config(given, daily, **how).risk.max_market_age_hours == hours
        assert patched(CONFIG, given, daily).risk.max_market_age_hours == hours
    (problem,) = refused({"risk": {"max_market_age_hours": 23.99}}, daily, **how)
    assert problem.startswith("risk.max_market_age_hours = 23.99: ")


def test_a_rule_that_is_off_needs_no_market_age() -> None:
    daily = Offer(PAIRS, interval=timedelta(days=1))
    assert agent_config({"risk": {"preset": "off"}}, daily, backtest=True).risk.off


def test_what_the_market_does_not_have_is_told_together() -> None:
    given = {**series_spec("fng"), "watchlist": ["DOGE/USDT"], "risk": {"max_market_age_hours": 0.5}}
    assert [problem.split(" = ")[0] for problem in refused(given)] == [
        "watchlist",
        "strategy.spec.regime_filter.stand_aside_when[0].name",
        "risk.max_market_age_hours",
    ]


# --- what only a backtest may do

ONLY_IN_A_BACKTEST: list[tuple[dict[str, Any], list[str]]] = [
    ({"strategy": {"fee_multiple": 0}}, ["strategy.fee_multiple = 0: only a backtest may switch the fee filter off"]),
    ({"strategy": {"fee_multiple": 0.0}}, ["strategy.fee_multiple = 0: only a backtest may switch the fee filter off"]),
    ({"risk": {"preset": "off"}}, ['risk.preset = "off": only a backtest may switch the risk rules off']),
    (
        {"risk": {"preset": "off"}, "strategy": {"fee_multiple": 0}},
        [
            'risk.preset = "off": only a backtest may switch the risk rules off',
            "strategy.fee_multiple = 0: only a backtest may switch the fee filter off",
        ],
    ),
]


@pytest.mark.parametrize(("given", "lines"), ONLY_IN_A_BACKTEST, ids=[str(given) for given, _ in ONLY_IN_A_BACKTEST])
def test_what_only_a_backtest_may_do_is_refused_to_a_daemon_by_its_key(given: dict[str, Any], lines: list[str]) -> None:
    assert refused(given) == lines
    assert refused_patch(given) == lines
    config = agent_config(given, OFFER, backtest=True)
    assert config.risk.off == ("risk" in given)
    assert (config.strategy.fee_multiple == 0) == ("strategy" in given)
    assert patched(CONFIG, given, OFFER, backtest=True) == config


def test_a_daemon_may_have_the_least_fee_filter_there_is() -> None:
    assert agent_config({"strategy": {"fee_multiple": 0.01}}, OFFER).strategy.fee_multiple == Decimal("0.01")


# --- limits per pair

PER_PAIR: Final = AgentConfig(
    PAIRS,
    quotes=QuotesConfig(
        max_age_seconds=900, pairs={"ETH/USDT": PairQuotes(max_age_seconds=60, max_impact_pct=Decimal("0.5"))}
    ),
)


def test_limits_of_one_pair_come_from_the_file(tmp_path: Path) -> None:
    text = "[quotes]\nmax_age_seconds = 900\n[quotes.pairs.'ETH/USDT']\nmax_age_seconds = 60\nmax_impact_pct = 0.5\n"
    assert agent_config(read(tmp_path, text).agent, OFFER) == PER_PAIR


def test_limits_of_one_pair_come_from_the_environment_key_by_key(tmp_path: Path) -> None:
    text = "[quotes]\nmax_age_seconds = 900\n[quotes.pairs.'ETH/USDT']\nmax_age_seconds = 1\nmax_impact_pct = 0.5\n"
    environ = {"FORESTAY_QUOTES__PAIRS": '{"ETH/USDT" = {max_age_seconds = 60}}'}
    assert agent_config(read(tmp_path, text, environ).agent, OFFER) == PER_PAIR
    alone = agent_config(read(tmp_path, "", environ).agent, OFFER).quotes
    assert alone.pairs == {"ETH/USDT": PairQuotes(max_age_seconds=60)}


PAIR_PATCHES: list[tuple[Any, dict[str, PairQuotes]]] = [
    ({}, PER_PAIR.quotes.pairs),
    ({"ETH/USDT": {"max_age_seconds": 30}}, {"ETH/USDT": PairQuotes(None, 30, Decimal("0.5"))}),
    ({"ETH/USDT": {"max_age_seconds": None}}, {"ETH/USDT": PairQuotes(max_impact_pct=Decimal("0.5"))}),
    ({"ETH/USDT": {"min_depth_usdt": 0}}, {"ETH/USDT": PairQuotes(None, 60, Decimal("0.5"), Decimal(0))}),
    (
        {"LTC/USDT": {"max_divergence_pct": 2}},
        {**PER_PAIR.quotes.pairs, "LTC/USDT": PairQuotes(max_divergence_pct=Decimal(2))},
    ),
    ({"ETH/USDT": None}, {}),
    (None, {}),
]


@pytest.mark.parametrize(("patch", "expected"), PAIR_PATCHES, ids=[str(patch) for patch, _ in PAIR_PATCHES])
def test_a_patch_changes_the_limits_of_a_pair_and_null_removes_them(
    patch: Any, expected: dict[str, PairQuotes]
) -> None:
    made = patched(PER_PAIR, {"quotes": {"pairs": patch}}, OFFER)
    assert made == evolve(PER_PAIR, quotes=evolve(PER_PAIR.quotes, pairs=expected))


def test_a_limit_that_was_removed_falls_back_to_everybodys() -> None:
    made = patched(PER_PAIR, {"quotes": {"pairs": {"ETH/USDT": {"max_age_seconds": None}}}}, OFFER)
    assert (made.quotes.of("ETH/USDT").max_age_seconds, made.quotes.of("ETH/USDT").max_impact_pct) == (
        900,
        Decimal("0.5"),
    )


def test_a_pairs_limits_are_told_among_the_differences() -> None:
    given = {"quotes": {"pairs": {"ETH/USDT": {"max_age_seconds": 30, "max_impact_pct": 0.5}}}}
    assert differences(given, PER_PAIR) == ["quotes.pairs.ETH/USDT.max_age_seconds = 30 in the settings, 60 in the log"]
    assert differences({"quotes": {"pairs": {"LTC/USDT": {"max_age_seconds": 1}}}}, PER_PAIR)


# --- presets, patches, differences

# max_drawdown_pct, daily_drawdown_pct, max_consecutive_losses, eval_window_days, trade_floor
PRESETS = {"conservative": (15, 5, 3, 14, 15), "balanced": (20, 8, 4, 7, 10), "aggressive": (25, 12, 5, 5, 8)}


def limits(config: AgentConfig) -> tuple[Any, ...]:
    risk, evaluation = config.risk, config.evaluation
    return (
        risk.max_drawdown_pct, risk.daily_drawdown_pct, risk.max_consecutive_losses,
        evaluation.eval_window_days, evaluation.trade_floor,
    )  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_its_limits_and_single_ones_win_over_it(preset: str) -> None:
    assert limits(agent_config({"risk": {"preset": preset}}, OFFER)) == PRESETS[preset]
    given = {"risk": {"preset": preset, "daily_drawdown_pct": 1}, "evaluation": {"trade_floor": 77}}
    peak, _, losses, days, _ = PRESETS[preset]
    assert limits(agent_config(given, OFFER)) == (peak, 1, losses, days, 77)
    assert limits(patched(CONFIG, given, OFFER)) == (peak, 1, losses, days, 77)


def test_the_defaults_are_the_balanced_preset() -> None:
    assert limits(AgentConfig(PAIRS)) == PRESETS["balanced"]


PATCHES: list[tuple[dict[str, Any], AgentConfig]] = [
    ({}, CONFIG),
    ({"snapshot_minutes": 5}, evolve(CONFIG, snapshot_minutes=5)),
    ({"snapshot_minutes": None}, CONFIG),
    ({"risk": None}, CONFIG),
    ({"risk": {}}, CONFIG),
    ({"watchlist": ["LTC/USDT"]}, evolve(CONFIG, watchlist=("LTC/USDT",))),
    ({"risk": {"cooldown_hours": 1}}, evolve(CONFIG, risk=RiskConfig(cooldown_hours=1))),
    ({"paper": {"fill_at": "next_open"}}, evolve(CONFIG, paper=PaperConfig(fill_at="next_open"))),
    ({"paper": {"impact": "none"}}, evolve(CONFIG, paper=PaperConfig(impact="none"))),
    ({"strategy": {"spec": {"params": {"stop_loss_pct": None}}}}, CONFIG),
    (
        {"strategy": {"spec": {"name": "new"}}},
        evolve(CONFIG, strategy=StrategyConfig(evolve(default_spec(), name="new"))),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "expected"), PATCHES, ids=[str(patch) for patch, _ in PATCHES])
def test_a_patch_changes_what_it_names_and_nothing_else(patch: dict[str, Any], expected: AgentConfig) -> None:
    assert patched(CONFIG, patch, OFFER) == expected


def test_a_patch_with_null_takes_an_exit_out_again() -> None:
    stopped = patched(CONFIG, {"strategy": {"spec": {"params": {"stop_loss_pct": 5, "max_hold_hours": 12}}}}, OFFER)
    params = stopped.strategy.spec.params
    assert (params.stop_loss_pct, params.take_profit_pct, params.max_hold_hours) == (Decimal(5), None, Decimal(12))
    without = {"strategy": {"spec": {"params": {"stop_loss_pct": None, "max_hold_hours": None}}}}
    assert patched(stopped, without, OFFER) == CONFIG


def test_a_patch_that_changes_what_the_book_began_with_is_refused() -> None:
    assert refused_patch({"paper": {"initial_usdt": 5000}}) == [
        "paper.initial_usdt = 5000: the book began with 1000, for good"
    ]
    assert patched(CONFIG, {"paper": {"initial_usdt": 5000}}, OFFER, backtest=True).paper.initial_usdt == 5000


def test_a_patch_without_a_preset_leaves_the_limits_as_they_are() -> None:
    aggressive = patched(CONFIG, {"risk": {"preset": "aggressive"}}, OFFER)
    assert limits(patched(aggressive, {"risk": {"max_drawdown_pct": 30}}, OFFER)) == (30, 12, 5, 5, 8)
    assert limits(patched(aggressive, {"snapshot_minutes": 5}, OFFER)) == PRESETS["aggressive"]


def test_a_patch_that_names_the_preset_in_force_takes_its_values_again() -> None:
    changed = patched(CONFIG, {"risk": {"max_drawdown_pct": 30}}, OFFER)
    assert limits(patched(changed, {"risk": {"preset": "balanced"}}, OFFER)) == PRESETS["balanced"]


def test_a_patch_does_not_change_what_it_is_laid_over() -> None:
    patch = {"risk": {"preset": "aggressive"}}
    patched(CONFIG, patch, OFFER)
    assert AgentConfig(PAIRS) == CONFIG
    assert patch == {"risk": {"preset": "aggressive"}}


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({}, []),
        ({"risk": {"max_drawdown_pct": 20}}, []),
        ({"risk": {"max_drawdown_pct": 20.0}}, []),
        ({"watchlist": ["LTC/USDT", "ETH/USDT"]}, []),
        ({"risk": {"preset": "balanced"}}, []),
        ({"snapshot_minutes": 5}, ["snapshot_minutes = 5 in the settings, 15 in the log"]),
        ({"paper": {"gas_usdt": 0.2}}, ["paper.gas_usdt = 0.2 in the settings, 0.1 in the log"]),
        (
            {"risk": {"cooldown_hours": 1, "max_drawdown_pct": 20}},
            ["risk.cooldown_hours = 1 in the settings, 6 in the log"],
        ),
        (
            {"watchlist": ["LTC/USDT"]},
            ["watchlist = ['LTC/USDT'] in the settings, ['ETH/USDT', 'LTC/USDT'] in the log"],
        ),
    ],
)
def test_differences_name_only_what_was_given_and_is_not_so(given: dict[str, Any], lines: list[str]) -> None:
    assert differences(given, CONFIG) == lines


def test_a_strategy_file_that_no_longer_says_something_differs_from_the_log() -> None:
    """It is one document, whole: an exit taken out of the file is not silently kept in force."""
    params = {"position_size_pct": 90, "max_concurrent": 1}
    stopped = agent_config({"strategy": {"spec": {**SPEC, "params": {**params, "stop_loss_pct": 5}}}}, OFFER)
    assert differences({"strategy": {"spec": SPEC}}, stopped) == [
        "strategy.spec.params.stop_loss_pct = None in the settings, 5 in the log"
    ]
    least = {key: value for key, value in SPEC.items() if key not in ("regime_filter", "params")}
    (line,) = differences({"strategy": {"spec": least}}, CONFIG)
    assert line.startswith("strategy.spec.regime_filter.stand_aside_when = [] in the settings, [{")
    assert differences({"strategy": {"spec": least}}, agent_config({"strategy": {"spec": least}}, OFFER)) == []


def test_a_strategy_file_whose_conditions_are_joined_another_way_differs_and_is_no_mistake() -> None:
    exit_ = {"all_of": SPEC["signals"]["exit"]["any_of"]}
    given = {"strategy": {"spec": {**SPEC, "signals": {**SPEC["signals"], "exit": exit_}}}}
    assert [line.split(" = ")[0] for line in differences(given, CONFIG)] == [
        "strategy.spec.signals.exit.all_of",
        "strategy.spec.signals.exit.any_of",
    ]


def test_another_preset_differs_from_the_log() -> None:
    assert differences({"risk": {"preset": "aggressive"}}, CONFIG)


def test_money_in_settings_is_exact(tmp_path: Path) -> None:
    config = agent_config(read(tmp_path, "[paper]\ngas_usdt = 0.1\nslippage_bps = 0.3").agent, OFFER)
    assert (config.paper.gas_usdt, config.paper.slippage_bps) == (Decimal("0.1"), Decimal("0.3"))
