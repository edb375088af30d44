"""The ready strategies are what they say, and the document that explains strategies leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve, fields
from jsonschema import Draft202012Validator

from protocol.codec import read_document, to_json
from protocol.errors import InvalidSetting, UserError
from protocol.schema import strategy_schema
from protocol.strategy import INDICATORS, StrategyParams, StrategySpec, default_spec
from server import strategies

DOC = Path(__file__).parent.parent.parent / "docs" / "strategy.md"
NAMES = strategies.names()


def document(name: str) -> Any:
    return yaml.safe_load(strategies.text(name))


def test_there_are_some_in_the_order_of_their_names() -> None:
    assert len(NAMES) >= 5
    assert list(NAMES) == sorted(NAMES)
    assert default_spec().name in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_strategy_of_its_files_name_and_says_what_it_is_for(name: str) -> None:
    spec = read_document(document(name), StrategySpec)
    assert spec.name == name
    assert spec.about
    assert "do not expect" in spec.about.lower()
    assert strategies.text(name).startswith("market_mode: spot\n")
    assert next(iter(document(name))) == "market_mode"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_valid_by_the_schema(name: str) -> None:
    Draft202012Validator(strategy_schema()).validate(json.loads(to_json(document(name))))


@pytest.mark.parametrize("name", NAMES)
def test_there_is_room_for_all_the_positions_each_may_open(name: str) -> None:
    """Whole equity in all, or fees would leave too little for the last one."""
    params = read_document(document(name), StrategySpec).params
    assert params.position_size_pct * params.max_concurrent < 100


def test_the_default_is_among_them() -> None:
    ready = read_document(document(default_spec().name), StrategySpec)
    assert evolve(ready, about=None) == default_spec()


def test_together_they_show_every_indicator_of_note_and_every_exit() -> None:
    specs = [read_document(document(name), StrategySpec) for name in NAMES]
    assert {c.indicator for spec in specs for c in spec.conditions} == set(INDICATORS)
    assert any(spec.params.stop_loss_pct for spec in specs)
    assert any(spec.params.max_hold_hours for spec in specs)


@pytest.mark.parametrize("name", ["", "nope", "../default", "__init__", "mean-reversion-v1.yaml"])
def test_an_unknown_name_is_told_the_valid_ones(name: str) -> None:
    with pytest.raises(UserError) as caught:
        strategies.text(name)
    assert str(caught.value) == f"{name}: there is no ready strategy of this name; there are {', '.join(NAMES)}"


@pytest.mark.parametrize("name", INDICATORS)
def test_the_document_lists_every_indicator_with_its_parameters(name: Any) -> None:
    info = INDICATORS[name]
    (row,) = (line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}`"))
    told = [cell.strip() for cell in row.strip("|").split("|")]
    named = [part.split("`")[1] for part in told[1].split(", ")]
    assert named == [parameter.name for parameter in info.parameters]
    for parameter in info.parameters:
        if parameter.default is not None:
            assert f"`{parameter.name}` ({parameter.default:g})" in told[1]
    assert told[3] == info.warm


def test_the_document_names_every_key_and_every_ready_strategy() -> None:
    text = DOC.read_text(encoding="utf-8")
    for name in (*NAMES, *(a.name for kind in (StrategySpec, StrategyParams) for a in fields(kind))):
        assert f"`{name}`" in text


def test_the_example_in_the_document_is_a_strategy_and_the_mistakes_are_told_like_that() -> None:
    text = DOC.read_text(encoding="utf-8")
    (example,) = (block.split("```")[0] for block in text.split("```yaml\n")[1:])
    document = yaml.safe_load(example)
    read_document(document, StrategySpec)
    document["signals"]["entry"]["all_of"][1]["op"] = "foo"
    rsi = {"indicator": "rsi", "op": ">=", "value": 60}
    document["signals"]["exit"] = {"any_of": [rsi, {**rsi, "window": 14, "fast": 12}]}
    document["params"]["stop_loss_pct"] = 100
    with pytest.raises(InvalidSetting) as caught:
        read_document(document, StrategySpec)
    assert "".join(f"    {line}\n" for line in caught.value.problems) in text
