"""The schema takes exactly the documents that are read, and a document that is not says where and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest
from attrs import NOTHING, fields
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from protocol.codec import from_json, read_document, to_json, to_plain
from protocol.errors import InvalidSetting
from protocol.schema import indicators_document, strategy_schema
from protocol.strategy import (
    INDICATORS,
    AnyOrAll,
    Condition,
    IndicatorName,
    Operator,
    Parameter,
    RegimeFilter,
    Signals,
    StrategyParams,
    StrategySpec,
    default_spec,
)

SCHEMA = strategy_schema()
VALIDATORS: dict[type, Draft202012Validator] = {
    StrategySpec: Draft202012Validator(SCHEMA),
    **{
        kind: Draft202012Validator({"$ref": f"#/$defs/{kind.__name__}", "$defs": SCHEMA["$defs"]})
        for kind in (Condition, StrategyParams)
    },
}
SPEC: dict[str, Any] = json.loads(to_json(to_plain(default_spec())))
RSI = {"indicator": "rsi", "op": "<=", "value": 25, "window": 14}
PARAMS = {a.name: 5 for a in fields(StrategyParams)}
EMA = {"indicator": "ema_cross", "op": ">", "value": 0, "fast": 5, "slow": 9}
CROSSED = "must be below slow ("
Path = tuple[str | int, ...]


def problems(document: Any, kind: type = StrategySpec) -> list[str]:
    """What reading says against it; the same for floats and for a JSON body's exact Decimals."""
    said: list[list[str]] = []
    for form in (document, from_json(to_json(document))):
        try:
            read_document(form, kind)
            said.append([])
        except InvalidSetting as error:
            said.append(error.problems)
    assert bool(said[0]) == bool(said[1])
    return said[0]


def accepts(document: Any, kind: type = StrategySpec) -> bool:
    """Does the schema, reading what JSON makes of it?"""
    return VALIDATORS[kind].is_valid(json.loads(to_json(document)))


def agree(document: Any, kind: type = StrategySpec) -> bool:
    """Is it read? The schema must say the same, but for a fast average that is not below the slow one."""
    said = problems(document, kind)
    if accepts(document, kind):
        assert all(CROSSED in line for line in said), document
    else:
        assert said, document
    return not said


# --- the schema itself


def test_the_schema_is_one_and_can_be_sent() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(to_json(SCHEMA)) == json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert "$id" not in SCHEMA


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("type") == "object" and "oneOf" not in part.get("$defs", {}):
            yield part
        for inner in part.values():
            yield from _objects(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _objects(inner)


def test_every_part_has_a_title_and_words_and_takes_no_other_keys() -> None:
    for part in _objects(SCHEMA):
        assert part["title"]
        assert part["description"]
        if "properties" in part:
            assert part["additionalProperties"] is False
            said = {key: value for key, value in part["properties"].items() if key not in ("indicator", "op")}
            assert all("description" in value for value in said.values())


@pytest.mark.parametrize("kind", [StrategySpec, Signals, AnyOrAll, RegimeFilter, StrategyParams])
def test_every_class_has_its_keys_required_and_defaults(kind: Any) -> None:
    part = SCHEMA if kind is StrategySpec else SCHEMA["$defs"][kind.__name__]
    assert set(part["properties"]) == {a.name for a in fields(kind)}
    required = {a.name for a in fields(kind) if a.default is NOTHING}
    assert set(part["required"]) == required
    for attribute in fields(kind):
        default = part["properties"][attribute.name].get("default")
        if attribute.name not in required and "$ref" not in part["properties"][attribute.name]:
            assert default == json.loads(to_json(to_plain(attribute.default)))


def test_there_is_one_branch_an_indicator_with_its_parameters_and_bounds() -> None:
    branches = SCHEMA["$defs"]["Condition"]["oneOf"]
    assert [branch["title"] for branch in branches] == list(get_args(IndicatorName)) == list(INDICATORS)
    types = get_type_hints(Condition)
    for branch, info in zip(branches, INDICATORS.values(), strict=True):
        value = branch["properties"]["value"]
        assert (value.get("minimum"), value.get("maximum")) == (info.low, info.high)
        assert list(branch["properties"]) == ["indicator", "op", "value", *(p.name for p in info.parameters)]
        for parameter in info.parameters:
            told = branch["properties"][parameter.name]
            assert (told.get("minimum"), told.get("maximum")) == (parameter.low, parameter.high)
            assert told.get("default") == parameter.default
            assert (parameter.name in branch["required"]) == (parameter.default is None)
            whole = parameter.low is not None and parameter.whole
            assert whole == ("integer" in told["type"]) == (types[parameter.name] == int | None)
    assert SCHEMA["$defs"]["Operator"]["enum"] == list(get_args(Operator))


@pytest.mark.parametrize("where", [SCHEMA, SCHEMA["$defs"]["Condition"]["oneOf"][2]])
def test_what_the_schema_cannot_say_is_said_in_words(where: dict[str, Any]) -> None:
    assert "`fast` must be below `slow`, which a JSON Schema cannot say" in where["description"]
    crossed = entering({**EMA, "fast": 9})
    assert accepts(crossed)
    assert problems(crossed) == ["signals.entry.all_of[0].fast = 9: must be below slow (9)"]


# --- indicators for programs


def test_the_list_of_indicators_has_all_that_the_table_has() -> None:
    listed = indicators_document()
    assert [told["name"] for told in listed] == list(INDICATORS)
    for told, info in zip(listed, INDICATORS.values(), strict=True):
        assert [told[key] for key in ("about", "unit", "warm", "low", "high")] == [
            info.about, info.unit, info.warm, info.low, info.high,
        ]  # fmt: skip
        assert told["operators"] == list(get_args(Operator))
        for parameter, known in zip(told["parameters"], info.parameters, strict=True):
            assert set(parameter) == {"name", "about", "low", "high", "default", "whole", "required"}
            assert [parameter[key] for key in ("name", "about", "low", "high", "default")] == [
                known.name, known.about, known.low, known.high, known.default,
            ]  # fmt: skip
            assert parameter["required"] == (known.default is None)
    assert json.loads(to_json(listed)) == listed


@pytest.mark.parametrize("told", indicators_document(), ids=lambda told: told["name"])
def test_an_indicators_example_is_a_condition_with_all_its_parameters(told: dict[str, Any]) -> None:
    made = read_document(told["example"], Condition)
    assert made.indicator == told["name"]
    assert set(told["example"]) == {"indicator", "op", "value", *(p["name"] for p in told["parameters"])}
    assert agree(entering(told["example"]))


# --- what is taken, and what is not


def entering(*conditions: Any) -> dict[str, Any]:
    return {**SPEC, "signals": {**SPEC["signals"], "entry": {"all_of": list(conditions)}}}


def within(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.low is None or parameter.high is None:
        return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
    if parameter.whole:
        ends = st.sampled_from([int(parameter.low), int(parameter.high)])
        whole = ends | st.integers(int(parameter.low), int(parameter.high))
        return whole | whole.map(float)  # 14.0 is whole, too
    return st.floats(parameter.low, parameter.high)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(list(INDICATORS)))
    info = INDICATORS[name]
    values = st.floats(-10 if info.low is None else info.low, 10 if info.high is None else info.high)
    made = {
        "indicator": name,
        "op": draw(st.sampled_from(get_args(Operator))),
        "value": draw(values.map(lambda value: round(value, 9)) | st.just(0)),
    }
    for parameter in info.parameters:
        if parameter.default is None or draw(st.booleans()):
            made[parameter.name] = draw(within(parameter))
    if name == "ema_cross":
        made["fast"], made["slow"] = draw(st.integers(2, 9_999).flatmap(_averages))
    return made


def _averages(fast: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.just(fast), st.integers(fast + 1, 10_000))


def some(least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(conditions(), min_size=least, max_size=2)


joined: st.SearchStrategy[Any] = (
    st.fixed_dictionaries({"all_of": some(1)}, optional={"any_of": st.just([])})
    | st.fixed_dictionaries({"any_of": some(1)}, optional={"all_of": st.just([])})
)  # fmt: skip
percents = st.none() | st.floats(0.01, 99.99)
params = st.fixed_dictionaries(
    {},
    optional={
        "position_size_pct": st.floats(0.1, 100),
        "max_concurrent": st.integers(1, 100),
        "stop_loss_pct": percents,
        "take_profit_pct": percents | st.floats(100, 100_000),
        "max_hold_hours": percents | st.floats(100, 87_600),
    },
)
documents = st.fixed_dictionaries(
    {
        "market_mode": st.just("spot"),
        "name": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip),
        "signals": st.fixed_dictionaries({"entry": joined, "exit": joined}),
    },
    optional={
        "regime_filter": st.fixed_dictionaries({}, optional={"stand_aside_when": some(0)}),
        "params": params,
        "about": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    },
)


@given(documents)
def test_what_is_valid_is_taken_by_both(document: dict[str, Any]) -> None:
    assert agree(document)


KEYS = sorted(
    {
        a.name
        for kind in (StrategySpec, Signals, AnyOrAll, RegimeFilter, StrategyParams, Condition)
        for a in fields(kind)
    }
)
EDGES = [0, 1, 2, -1, 3, 100, 101, 10_000, 10_001, 8760, 8761, 10**18, 10**18 - 1, -(10**18), 2**60]
FRACTIONS = [
    0.0,
    -0.0,
    0.1,
    0.09,
    0.01,
    99.99,
    99.991,
    10.1,
    2.5,
    1e17,
    1e18,
    1e-17,
    9e-18,
    -1e-17,
    1e-18,
    1e-300,
    14.0,
]
WORDS = ["", " ", "\n", "spot", "perp", "5", "rsi", "series", "<", "crosses_above", "x" * 40, "x" * 41, "é" * 2001]
TABLES: list[Any] = [[], {}, [1], [None], [[]], {"x": 1}, [RSI], RSI, {"all_of": [RSI]}]
JUNK: list[Any] = [None, True, False, *EDGES, *FRACTIONS, *WORDS, *TABLES]
junk: st.SearchStrategy[Any] = st.sampled_from(JUNK) | st.floats(-1e19, 1e19)


def places(part: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all there is in a document."""
    yield path
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from places(inner, (*path, key))


def found(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document after one mistake, or two."""
    document = deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([path for path in places(document) if path]))
        above, key = found(document, path[:-1]), path[-1]
        what = draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if what == "replace":
            above[key] = deepcopy(draw(junk))
        elif what == "drop":
            above.pop(key)
        elif isinstance(above, dict):
            added = draw(junk | conditions() | st.lists(conditions(), max_size=1))
            above[draw(st.sampled_from([*KEYS, "x", ""]))] = deepcopy(added)  # a second mistake may be made in it
        else:
            above.append(deepcopy(draw(junk | conditions())))
    return document


@settings(max_examples=400)
@given(mutated())
def test_the_schema_takes_what_is_read_and_nothing_else(document: Any) -> None:
    event("read" if agree(document) else "refused")


@given(conditions(), st.sampled_from(list(INDICATORS)))
def test_the_parameters_of_one_indicator_are_not_anothers(condition: dict[str, Any], other: IndicatorName) -> None:
    agree(entering({**condition, "indicator": other}))


@given(junk)
@example([SPEC])
def test_what_is_no_table_is_no_document(document: Any) -> None:
    assert not agree(document)


@given(documents, st.sampled_from([None, "perp", "margin", 5, "SPOT", True]), mutated())
def test_another_market_mode_is_told_before_anything_else(good: Any, mode: Any, bad: Any) -> None:
    for document in (good, bad if isinstance(bad, dict) else {}):
        with pytest.raises(InvalidSetting) as caught:
            read_document({**document, "market_mode": mode}, StrategySpec)
        assert caught.value.code == "MARKET_MODE_MISMATCH"
        assert caught.value.problems == [f"market_mode = {mode!r}: only spot is traded"]
        assert not accepts({**document, "market_mode": mode})


def one_mistake(document: dict[str, Any], kind: Any) -> Iterator[dict[str, Any]]:
    """The document without each of its keys, with everything under each of them, and with a foreign key."""
    for key in document:
        yield {name: value for name, value in document.items() if name != key}
    for key in (*(a.name for a in fields(kind)), "x"):
        yield from ({**document, key: value} for value in (JUNK if key in document else (None, 5, 0.5, "x", [])))


@pytest.mark.parametrize("told", indicators_document(), ids=lambda told: told["name"])
def test_whatever_stands_under_a_key_of_a_condition_both_say_the_same(told: dict[str, Any]) -> None:
    answers = {agree(document, Condition) for document in one_mistake(told["example"], Condition)}
    assert answers == {True, False}


@pytest.mark.parametrize(("document", "kind"), [(PARAMS, StrategyParams), ({**SPEC, "about": "x"}, StrategySpec)])
def test_whatever_stands_under_a_key_both_say_the_same(document: dict[str, Any], kind: type) -> None:
    assert {agree(made, kind) for made in one_mistake(document, kind)} == {True, False}


def bounds() -> Iterator[tuple[type, dict[str, Any], str, Any, Any]]:
    """(kind, the rest of the document, key, an end of its range by the schema, what lies just beyond)."""
    tables: list[tuple[type, dict[str, Any], dict[str, Any]]] = [
        (StrategyParams, {}, SCHEMA["$defs"]["StrategyParams"]["properties"]),
        *((Condition, part["examples"][0], part["properties"]) for part in SCHEMA["$defs"]["Condition"]["oneOf"]),
    ]
    for kind, document, properties in tables:
        for key, told in properties.items():
            rest = {name: value for name, value in document.items() if name != key}
            step = Decimal(1) if "integer" in told.get("type", ()) else Decimal("0.00001")
            for end, beyond in ((told.get("minimum"), -step), (told.get("maximum"), step)):
                if end is not None:
                    yield kind, rest, key, end, float(Decimal(str(end)) + beyond)


@pytest.mark.parametrize(("kind", "rest", "key", "end", "beyond"), list(bounds()))
def test_a_bound_may_be_reached_and_not_passed(
    kind: type, rest: dict[str, Any], key: str, end: Any, beyond: float
) -> None:
    """The schema's bounds are those of validators and checks, which it cannot look into."""
    assert accepts({**rest, key: end}, kind)
    assert agree({**rest, key: end}, kind) or CROSSED in problems({**rest, key: end}, kind)[0]
    assert not agree({**rest, key: beyond}, kind)


def test_every_parameter_has_its_bounds() -> None:
    assert {key for kind, _, key, _, _ in bounds() if kind is StrategyParams} == {
        a.name for a in fields(StrategyParams)
    }


@pytest.mark.parametrize(("length", "taken"), [(1, True), (40, True), (41, False), (2000, False)])
def test_a_series_name_has_40_characters_at_most(length: int, taken: bool) -> None:
    assert agree({"indicator": "series", "op": "<", "value": 1, "name": "é" * length}, Condition) == taken


@pytest.mark.parametrize(("length", "taken"), [(1, True), (2000, True), (2001, False)])
def test_a_strategys_name_has_2000_characters_at_most(length: int, taken: bool) -> None:
    assert agree({**SPEC, "name": "é" * length}) == taken


WINDOW = "candles looked at"
MISTAKES: list[tuple[dict[str, Any], str]] = [
    (entering(RSI, {**RSI, "op": "foo"}), "all_of[1].op = 'foo': must be one of " + ", ".join(get_args(Operator))),
    (entering({**RSI, "op": None}), "all_of[0].op = None: must be one of " + ", ".join(get_args(Operator))),
    (
        entering({**RSI, "indicator": "macd"}),
        "all_of[0].indicator = 'macd': must be one of " + ", ".join(INDICATORS),
    ),
    (entering({"op": "<", "value": 1, "window": 14}), "all_of[0].indicator: is missing"),
    (
        entering({"indicator": "rsi", "op": "<", "value": 1}),
        f"all_of[0].window: is missing: rsi needs window ({WINDOW})",
    ),
    (entering({**RSI, "fast": 12}), "all_of[0].fast = 12: rsi takes window and no fast"),
    (
        entering({**RSI, "windows": 12}),
        "all_of[0].windows = 12: unknown key; valid keys are indicator, op, value, window",
    ),
    (entering({**RSI, "window": 1}), "all_of[0].window = 1: must be from 2 to 10000"),
    (entering({**RSI, "window": 10_001}), "all_of[0].window = 10001: must be from 2 to 10000"),
    (entering({**RSI, "window": 14.5}), "all_of[0].window = 14.5: must be a whole number"),
    (entering({**RSI, "window": "14"}), "all_of[0].window = '14': must be a number"),
    (entering({**RSI, "value": True}), "all_of[0].value = True: must be a number"),
    (entering({**RSI, "value": 1e-18}), "all_of[0].value = 1e-18: must be a number of ordinary size"),
    (
        entering({**RSI, "value": 101}),
        "all_of[0].value = 101.0: rsi is from 0 to 100, so this could never decide anything",
    ),
    (
        entering({**EMA, "value": -1.5}),
        "all_of[0].value = -1.5: ema_cross is from -1, so this could never decide anything",
    ),
    (
        entering({"indicator": "series", "op": "<", "value": 25, "name": ""}),
        "all_of[0].name = '': must be a name of 1 to 40 characters",
    ),
    (
        entering({"indicator": "bollinger", "op": "<", "value": 0, "window": 20, "width": 11}),
        "all_of[0].width = 11.0: must be from 0.1 to 10",
    ),
    (entering("rsi < 25"), "all_of[0] = 'rsi < 25': must be a table of keys"),
]
ELSEWHERE: list[tuple[dict[str, Any], str]] = [
    (entering(), "signals.entry: give conditions under exactly one of all_of, any_of"),
    (
        {**SPEC, "signals": {**SPEC["signals"], "exit": {"all_of": [RSI], "any_of": [RSI]}}},
        "signals.exit: give conditions under exactly one of all_of, any_of",
    ),
    ({**SPEC, "signals": {"entry": SPEC["signals"]["entry"]}}, "signals.exit: is missing"),
    ({**SPEC, "name": " "}, "name = ' ': must be 1 to 2000 characters of text"),
    ({**SPEC, "about": 5}, "about = 5: must be text"),
    ({**SPEC, "stop_loss_pct": 5}, "stop_loss_pct = 5: unknown key; valid keys are market_mode, name, signals"),
    ({**SPEC, "params": {"stop_loss_pct": 100}}, "params.stop_loss_pct = 100: must be from 0.01 to 99.99"),
    ({**SPEC, "params": {"max_concurrent": 1.5}}, "params.max_concurrent = 1.5: must be a whole number"),
    (
        {**SPEC, "regime_filter": {"stand_aside_when": [RSI, {**RSI, "window": 1}]}},
        "regime_filter.stand_aside_when[1].window = 1: must be from 2 to 10000",
    ),
    ({**SPEC, "regime_filter": {"stand_aside_when": RSI}}, "regime_filter.stand_aside_when = "),
]
TABLE = [*((document, f"signals.entry.{line}") for document, line in MISTAKES), *ELSEWHERE]


@pytest.mark.parametrize(("document", "line"), TABLE, ids=[line for _, line in TABLE])
def test_a_mistake_is_told_with_its_path_the_value_and_what_would_be_valid(document: Any, line: str) -> None:
    (said,) = problems(document)
    assert said.startswith(line)
    assert not accepts(document)


def test_every_mistake_has_its_own_line() -> None:
    said = problems({**entering({**RSI, "op": "="}, {**RSI, "window": 1}), "name": 5, "x": 1})
    assert sorted(line.split(" = ")[0] for line in said) == [
        "name", "signals.entry.all_of[0].op", "signals.entry.all_of[1].window", "x",
    ]  # fmt: skip
