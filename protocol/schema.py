"""The strategy document for programs: its JSON Schema, and its indicators as a list.

Both are made from what the classes and the table of indicators know: fields, types, choices, defaults, ranges. Written
here are only words for people, examples, and the few bounds that are hidden in validators; tests hold all of it against
`codec.read_document`.
"""

from __future__ import annotations

import json
from typing import Any, Final, get_args

import msgspec

from protocol.strategy import INDICATORS, IndicatorInfo, IndicatorName, Operator, Parameter, StrategySpec

Schema = dict[str, Any]

_CROSSED: Final = "`fast` must be below `slow`, which a JSON Schema cannot say: Forestay checks it when it reads."
_NAME: Final[Schema] = {"minLength": 1, "maxLength": 40}  # of an outside series

# What is said about the classes and their keys, beyond what they say themselves.
_SAID: Final[dict[str, Schema]] = {
    "StrategySpec": {
        "title": "Forestay strategy",
        "description": "What to look at, when to enter, when to leave: the same on paper, live and in a backtest. "
        "One rule of it is not in this schema. " + _CROSSED,
    },
    "StrategySpec.market_mode": {"description": "Only spot is traded; it is checked before anything else."},
    "StrategySpec.name": {
        "description": "What the strategy is called.", "minLength": 1, "maxLength": 2000, "pattern": r"\S",
    },
    "StrategySpec.signals": {"description": "When to enter and when to leave."},
    "StrategySpec.regime_filter": {"description": "When not to enter, whatever the signals say."},
    "StrategySpec.params": {"description": "How much, how many, and the exits beside the signals."},
    "StrategySpec.about": {"description": "What it is for, for people. Nothing is decided by it."},
    "Signals": {"title": "Signals", "description": "Both are looked at once a candle, at its close."},
    "Signals.entry": {"description": "Buy when this holds, no position is open in the pair, and nothing objects."},
    "Signals.exit": {"description": "Sell the whole position when this holds."},
    "AnyOrAll": {
        "title": "Conditions, joined",
        "oneOf": [
            {"required": ["all_of"], "properties": {"all_of": {"minItems": 1}, "any_of": {"maxItems": 0}}},
            {"required": ["any_of"], "properties": {"any_of": {"minItems": 1}, "all_of": {"maxItems": 0}}},
        ],
    },
    "AnyOrAll.all_of": {"description": "It holds when every one of these does."},
    "AnyOrAll.any_of": {"description": "It holds when at least one of these does."},
    "RegimeFilter": {"title": "Regime filter"},
    "RegimeFilter.stand_aside_when": {"description": "While any of these holds, nothing is entered."},
    "StrategyParams": {
        "title": "Parameters",
        "description": "How much, how many, and three exits beside the signals, looked at once a candle, at its close.",
    },
    "StrategyParams.position_size_pct": {
        "description": "Percent of equity that goes into a new position.", "minimum": 0.1, "maximum": 100,
    },
    "StrategyParams.max_concurrent": {
        "description": "Positions that may be open at once, over all pairs.", "minimum": 1, "maximum": 100,
    },
    "StrategyParams.stop_loss_pct": {
        "description": "Sell when a candle closes this many percent or more below the entry's price. The fill may be "
        "worse than that. Left out or null: no stop-loss.",
        "minimum": 0.01, "maximum": 99.99,
    },
    "StrategyParams.take_profit_pct": {
        "description": "Sell when a candle closes this many percent or more above the entry's price. Left out or null: "
        "no take-profit.",
        "minimum": 0.01, "maximum": 100_000,
    },
    "StrategyParams.max_hold_hours": {
        "description": "Sell at the first close this many hours or more after the entry. Left out or null: no limit.",
        "minimum": 0.01, "maximum": 87_600,
    },
    "Condition": {
        "title": "Condition",
        "description": "An indicator, with its own parameters, compared with a value.",
    },
    "Condition.op": {
        "title": "Operator",
        "description": "A crossing needs two candles with a value: by the one before it was not beyond `value` yet.",
    },
}  # fmt: skip

# Sizes that can be counted with: what `codec` calls ordinary.
_NUMBER: Final[Schema] = {
    "title": "A number of ordinary size",
    "type": "number",
    "exclusiveMinimum": -(10**18),
    "exclusiveMaximum": 10**18,
    "anyOf": [{"const": 0}, {"minimum": 1e-17}, {"maximum": -1e-17}],
}

_EXAMPLES: Final[dict[IndicatorName, Schema]] = {
    "price_vs_sma": {"op": "<=", "value": -0.05, "window": 48},
    "rsi": {"op": "<=", "value": 30, "window": 14},
    "ema_cross": {"op": "crosses_above", "value": 0, "fast": 12, "slow": 26},
    "bollinger": {"op": "<", "value": 0, "window": 20, "width": 2},
    "atr": {"op": ">=", "value": 0.03, "window": 14},
    "momentum": {"op": ">", "value": 0.05, "window": 168},
    "volatility": {"op": ">=", "value": 0.04, "window": 24},
    "volume_z": {"op": ">=", "value": 2, "window": 48},
    "breakout": {"op": ">", "value": 1, "window": 48},
    "series": {"op": "<=", "value": 25, "name": "fear_and_greed", "max_age_hours": 48},
}


def indicators_document() -> list[dict[str, Any]]:
    """Every indicator for people and programs, plain data. A bound that is None is none; a parameter whose bounds are
    None is a name."""
    return [
        {
            "name": name,
            "about": info.about,
            "unit": info.unit,
            "warm": info.warm,
            "low": info.low,
            "high": info.high,
            "parameters": [_parameter_document(parameter) for parameter in info.parameters],
            "operators": list(get_args(Operator)),
            "example": _example(name),
        }
        for name, info in INDICATORS.items()
    ]


def _parameter_document(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "about": parameter.about,
        "low": parameter.low,
        "high": parameter.high,
        "default": parameter.default,
        "whole": parameter.whole and parameter.low is not None,
        "required": parameter.default is None,
    }


def _example(name: IndicatorName) -> dict[str, Any]:
    return {"indicator": name, **_EXAMPLES[name]}


def strategy_schema() -> Schema:
    """The JSON Schema (2020-12) of the strategy document. It takes what `codec.read_document` takes, but for one thing:
    that ema_cross's `fast` must be below its `slow`."""
    _, classes = msgspec.json.schema_components((StrategySpec,), ref_template="#/$defs/{name}")
    condition = classes.pop("Condition")
    parts = {name: _table(name, made) for name, made in classes.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **parts.pop("StrategySpec"),
        "$defs": {**parts, "Condition": _condition(condition), "Operator": _operator(condition), "Number": _NUMBER},
    }


def _table(name: str, made: Schema) -> Schema:
    """msgspec's schema of a class, with no other keys allowed and with all that msgspec does not know."""
    keys = {key: {**_typed(value), **_SAID[f"{name}.{key}"]} for key, value in made["properties"].items()}
    return {**made, **_SAID[name], "properties": keys, "additionalProperties": False}


def _typed(value: Schema) -> Schema:
    """A key's type as documents have it: Decimals are numbers, and a table that is left out is one without keys."""
    kind, *null = value.get("anyOf", [value])
    typed = {key: part for key, part in kind.items() if key not in ("format", "default")}
    exact = kind.get("format") == "decimal"
    if exact:
        typed["type"] = "number"
    if null:
        typed["type"] = [typed["type"], "null"]
    if "default" in value:
        typed["default"] = {} if "$ref" in typed else _default(value["default"], exact)
    return typed


def _default(value: Any, exact: bool) -> Any:
    if exact and value is not None:
        return json.loads(value)
    return list(value) if isinstance(value, tuple) else value


def _condition(made: Schema) -> Schema:
    return {
        **_SAID["Condition"],
        "type": "object",
        "oneOf": [_branch(name, info, made) for name, info in INDICATORS.items()],
    }


def _operator(made: Schema) -> Schema:
    return {**_typed(made["properties"]["op"]), **_SAID["Condition.op"]}


def _branch(name: IndicatorName, info: IndicatorInfo, made: Schema) -> Schema:
    """The conditions on one indicator: the keys that all have, and its own parameters. Those of others may only be
    null, which counts as not given."""
    typed = {key: _typed(value) for key, value in made["properties"].items()}
    limits = {"minimum": info.low, "maximum": info.high}
    value = {"$ref": "#/$defs/Number", "description": f"What it is compared with; unit: {info.unit}."}
    own = {parameter.name: _parameter(parameter, typed[parameter.name]) for parameter in info.parameters}
    others = [key for key in typed if key not in own and key not in made["required"]]
    warm = f"Never holds before candle {info.warm}." if info.warm != "1" else "Never holds while there is no value."
    return {
        "title": name,
        "description": " ".join([info.about, warm, *([_CROSSED] if {"fast", "slow"} <= set(own) else [])]),
        "type": "object",
        "properties": {
            "indicator": {"const": name},
            "op": {"$ref": "#/$defs/Operator"},
            "value": {**value, **{key: bound for key, bound in limits.items() if bound is not None}},
            **own,
        },
        "patternProperties": {f"^({'|'.join(others)})$": {"type": "null"}},
        "additionalProperties": False,
        "required": [*made["required"], *(p.name for p in info.parameters if p.default is None)],
        "examples": [_example(name)],
    }


def _parameter(parameter: Parameter, typed: Schema) -> Schema:
    limits = _NAME if parameter.low is None else {"minimum": parameter.low, "maximum": parameter.high}
    made = {**typed, "description": parameter.about, **limits}
    if parameter.default is None:
        return {**{key: part for key, part in made.items() if key != "default"}, "type": typed["type"][0]}
    return {**made, "default": parameter.default}
