"""Where settings come from: a TOML file, then the environment, then flags; later ones win, key by key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_type_hints

from attrs import fields, frozen, has

from actors.ports import Market
from protocol.codec import read_document, shown, to_plain
from protocol.errors import InvalidSetting, UserError
from protocol.settings import PRESETS, AgentConfig, MachineSettings
from server.plain_yaml import NotYaml, plain_yaml

FILE_NAME: Final = "forestay.toml"
PREFIX: Final = "FORESTAY_"
_FILES_BY_NAME: Final = (("market", "replay"), ("market", "reference"), ("market", "series"), ("chain", "history"))
_SHORT: Final = {"PORT": ("server", "port"), "HOST": ("server", "host")}
_MACHINE_KEYS: Final = frozenset(a.name for a in fields(MachineSettings))
_AGENT_KEYS: Final = frozenset(a.name for a in fields(AgentConfig))

Document = dict[str, Any]


@frozen
class Settings:
    """What was asked for. `agent` has only the agent's keys that somebody gave: the log knows the rest."""

    machine: MachineSettings
    agent: Document


def load(file: Path | None, environ: Mapping[str, str], flags: Document) -> Settings:
    """All settings, from `file` (or ./forestay.toml where there is one), the environment and `flags`.

    Raises UserError or InvalidSetting, which name the key, the value and what would be valid.
    """
    document: Document = {}
    path = file or Path(FILE_NAME)
    if file is not None or path.exists():
        document = _read_file(path)
    for layer in (_from_environment(environ), flags):
        document = _merged(document, layer)
    return split(document)


def reached_at(host: str) -> str:
    """How a client on this machine writes the host that the server listens on."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def split(document: Document) -> Settings:
    """A whole document as machine settings and agent keys. Raises InvalidSetting."""
    unknown = sorted(set(document) - _MACHINE_KEYS - _AGENT_KEYS)
    if unknown:
        valid = ", ".join(sorted(_MACHINE_KEYS | _AGENT_KEYS))
        said = f"unknown key; valid keys are {valid}"
        raise InvalidSetting([f"{key} = {shown(document[key])}: {said}" for key in unknown])
    machine = {key: value for key, value in document.items() if key in _MACHINE_KEYS}
    market = machine.get("market")
    if isinstance(market, dict) and market.get("speed") == "max":
        machine["market"] = {**market, "speed": None}
    agent = {key: value for key, value in document.items() if key in _AGENT_KEYS}
    return Settings(read_document(machine, MachineSettings), agent)


@frozen
class Offer:
    """What a market has for an agent: pairs, outside series by name, and the longest time between two candles."""

    pairs: tuple[str, ...]
    series: tuple[str, ...] = ()
    interval: timedelta = timedelta(hours=1)

    @classmethod
    def of(cls, market: Market) -> Offer:
        return cls(market.pairs, market.series, market.interval)


def agent_config(given: Document, offer: Offer, *, backtest: bool = False) -> AgentConfig:
    """The config that `given` keys, presets and defaults make; the watchlist defaults to the market's pairs. Some
    things only a `backtest` may have.

    Raises InvalidSetting.
    """
    config = _fitting(read_document(with_preset({"watchlist": list(offer.pairs), **given}), AgentConfig), offer)
    return config if backtest else _for_a_daemon(config)


def _for_a_daemon(config: AgentConfig) -> AgentConfig:
    """What only a backtest may do is refused."""
    problems = []
    if config.risk.off:
        problems.append('risk.preset = "off": only a backtest may switch the risk rules off')
    if config.strategy.fee_multiple == 0:
        problems.append("strategy.fee_multiple = 0: only a backtest may switch the fee filter off")
    if problems:
        raise InvalidSetting(problems)
    return config


def patched(config: AgentConfig, patch: Document, offer: Offer, *, backtest: bool = False) -> AgentConfig:
    """`config` changed by an RFC 7396 merge patch. A patch that names a preset takes all of its values, but for those
    it gives itself. Some things only a `backtest` may have. Raises InvalidSetting."""
    document = to_plain(config)
    risk = patch.get("risk")
    if isinstance(risk, dict) and "preset" in risk:
        for section, keys in PRESETS["balanced"].items():
            for key in keys:
                document[section].pop(key, None)
    made = _fitting(read_document(with_preset(_merged(document, patch)), AgentConfig), offer)
    if backtest:
        return made
    _for_a_daemon(made)
    if made.paper.initial_usdt != config.paper.initial_usdt:
        wanted, began = made.paper.initial_usdt, config.paper.initial_usdt
        raise InvalidSetting([f"paper.initial_usdt = {wanted}: the book began with {began}, for good"])
    return made


def with_preset(document: Document) -> Document:
    """The document with its preset's limits filled in where it gives none."""
    risk = document.get("risk", {})
    name = risk.get("preset", "balanced") if isinstance(risk, dict) else None
    limits = PRESETS.get(name, {}) if isinstance(name, str) else {}
    filled = dict(document)
    for section, values in limits.items():
        if isinstance(document.get(section, {}), dict):
            filled[section] = {**values, **document.get(section, {})}
    return filled


def differences(given: Document, config: AgentConfig) -> list[str]:
    """The keys of `given` that say something else than `config`, one line each. A strategy is one whole document: what
    it does not say any more is a difference, too."""
    return _differences(given, to_plain(config), to_plain(_lenient(given, config)), "")


def _differences(given: Document, has: Any, wants: Any, path: str) -> list[str]:
    lines = []
    if path.startswith("strategy.spec."):
        given = {**has, **wants}
    for key in given:
        where, value = f"{path}{key}", wants.get(key)
        if isinstance(value, dict) and isinstance(has.get(key), dict):
            lines += _differences(given[key], has[key], value, f"{where}.")
        elif has.get(key) != value:
            lines.append(f"{where} = {_shown(value)} in the settings, {_shown(has.get(key))} in the log")
    return lines


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _lenient(given: Document, config: AgentConfig) -> AgentConfig:
    """`given` laid over `config`, so that defaults never count as a difference."""
    document, strategy = _merged(to_plain(config), given), given.get("strategy")
    if isinstance(strategy, dict) and "spec" in strategy:
        document["strategy"]["spec"] = strategy["spec"]
    return read_document(document, AgentConfig)


def _fitting(config: AgentConfig, offer: Offer) -> AgentConfig:
    """What the market does not have cannot be decided on."""
    problems = []
    if missing := [pair for pair in config.watchlist if pair not in offer.pairs]:
        problems.append(f"watchlist = {missing!r}: this market has {', '.join(offer.pairs)}")
    if missing := [pair for pair in config.quotes.pairs if pair not in offer.pairs]:
        problems.append(f"quotes.pairs = {missing!r}: this market has {', '.join(offer.pairs)}")
    for path, condition in config.strategy.spec.located():
        if condition.name is not None and condition.name not in offer.series:
            has_series = ", ".join(offer.series) or "no series: give it a CSV file under [market.series]"
            problems.append(f"strategy.spec.{path}.name = {condition.name!r}: this market has {has_series}")
    limit, apart = config.risk.max_market_age_hours, offer.interval / timedelta(hours=1)
    if not config.risk.off and limit < apart:
        problems.append(
            f"risk.max_market_age_hours = {limit}: this market's candles are {apart:g} h apart, so no entry could pass"
        )
    if problems:
        raise InvalidSetting(problems)
    return config


def _read_file(path: Path) -> Document:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; `forestay init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from None
    return _anchored(document, path.parent)


def _anchored(document: Document, folder: Path) -> Document:
    """Paths in a file are meant from where the file is."""
    result = deepcopy(document)
    if isinstance(result.get("data_dir"), str):
        result["data_dir"] = str(folder / result["data_dir"])
    for section, key in _FILES_BY_NAME:
        table = result.get(section)
        files = table.get(key) if isinstance(table, dict) else None
        if isinstance(files, dict):
            files.update({pair: str(folder / name) for pair, name in files.items() if isinstance(name, str)})
    strategy = result.get("strategy")
    if isinstance(strategy, dict) and isinstance(strategy.get("spec"), str):
        strategy["spec"] = read_spec(folder / strategy["spec"])
    return result


def read_spec(path: Path) -> Any:
    """A strategy document out of a YAML file, unchecked. Raises UserError."""
    try:
        return plain_yaml(path.read_text(encoding="utf-8"))
    except NotYaml as error:
        where = f" line {error.line}:" if error.line else ""
        raise UserError(f"{path}:{where} {error.reason}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _from_environment(environ: Mapping[str, str]) -> Document:
    document: Document = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name.startswith(PREFIX + "TEST_"):
            continue
        rest = name.removeprefix(PREFIX)
        path = _SHORT.get(rest) or tuple(part.lower() for part in rest.split("__"))
        if len(path) > 2 or (len(path) == 1 and path[0] not in _MACHINE_KEYS | _AGENT_KEYS):
            valid = "write FORESTAY_PORT, FORESTAY_DATA_DIR or FORESTAY_SECTION__KEY"
            raise InvalidSetting([f"{name} = {shown(text)}: unknown key; {valid}"])
        value = read_spec(Path(text)) if path == ("strategy", "spec") else _value(text, path)
        document = _merged(document, {path[0]: {path[1]: value}} if len(path) == 2 else {path[0]: value})
    return document


def _is_text(path: tuple[str, ...]) -> bool:
    """Is this a key whose value is text, whatever it looks like?"""
    kind: Any = MachineSettings
    for name in path:
        kind = get_type_hints(kind).get(name) if has(kind) else None
    return kind in (str, str | None)


def _value(text: str, path: tuple[str, ...]) -> Any:
    """As TOML reads it (8, true, ["a"]); anything else, and whatever a key of text is set to, is text."""
    if _is_text(path):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(document: Document, patch: Document) -> Document:
    """RFC 7396: tables merge, null removes, anything else replaces."""
    result = dict(document)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result
