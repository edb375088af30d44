"""JSON Schemas of what goes over the wire, made from the classes that encode it: their fields, types and docstrings.

They say what is there, not that nothing else may be: fields are added over time, and clients ignore those they do not
know.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from attrs import fields, has

from protocol.codec import from_json, may_be_left_out, to_json, wire_name
from protocol.events import EVENTS
from protocol.schema import Schema, strategy_schema
from protocol.strategy import StrategySpec

REF: Final = "#/components/schemas/"
TIME: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "description": "An instant in UTC, to the millisecond.",
    "examples": ["2026-01-02T03:04:05.678Z"],
}
_SIMPLE: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    Decimal: {"type": "number"},
    datetime: {"$ref": REF + "Time"},
    Any: {},
}


def ref(kind: type) -> Schema:
    return {"$ref": REF + kind.__name__}


def schema_of(kind: Any, *, never_null: bool = False) -> Schema:
    """The schema of a field's type; classes are referred to by their name. `never_null`: it is left out instead."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (tuple, list):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    if origin in (Union, UnionType):
        return _either(
            [schema_of(one) for one in inner if one is not NoneType], nullable=NoneType in inner and not never_null
        )
    if has(kind):
        return ref(kind)
    raise TypeError(f"{kind!r} has no schema")


def _either(found: list[Schema], *, nullable: bool) -> Schema:
    if nullable and len(found) == 1 and set(found[0]) == {"type"}:
        return {"type": [found[0]["type"], "null"]}
    if not nullable and len(found) == 1:
        return found[0]
    return {"anyOf": [*found, {"type": "null"}] if nullable else found}


def components(kinds: Iterable[type]) -> dict[str, Schema]:
    """The schemas of these classes and of all that they refer to, by name. An event's is of its whole message."""
    found: dict[str, Schema] = {"Time": TIME}
    known: dict[str, type] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        if known.setdefault(kind.__name__, kind) is not kind:
            raise TypeError(f"{kind!r} and {known[kind.__name__]!r} have one name")
        if kind.__name__ in found:
            continue
        if kind is StrategySpec:
            found |= _strategy()
            continue
        found[kind.__name__] = _table(kind)
        waiting += [part for hint in _hints(kind).values() for part in _classes_in(hint)]
    return dict(sorted(found.items()))


def _table(kind: type) -> Schema:
    hints = _hints(kind)
    optional = {name for name in hints if may_be_left_out(kind, name)}
    properties = {wire_name(n): schema_of(hint, never_null=n in optional) for n, hint in hints.items()}
    required = [wire_name(name) for name in hints if name not in optional]
    if kind in EVENTS:
        event = {"event": {"const": kind.kind}, "ts": properties.pop("ts"), "seq": {"type": "integer", "minimum": 1}}
        properties, required = event | properties, [*event, *(name for name in required if name != "ts")]
    return {"type": "object", **said(kind), "properties": properties, "required": required}


def said(kind: type) -> Schema:
    """What its docstring says, in one paragraph a blank line."""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return {"description": text} if text else {}


def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {a.name: hints[a.name] for a in fields(kind)}


def _classes_in(hint: Any) -> list[type]:
    inner = [kind for part in get_args(hint) for kind in _classes_in(part)]
    return [*inner, hint] if has(hint) else inner


def _strategy() -> dict[str, Schema]:
    """The strategy document's own schema, with its parts among the others."""
    moved = from_json(to_json(strategy_schema()).replace(b'"#/$defs/', f'"{REF}'.encode()))
    parts: dict[str, Schema] = moved.pop("$defs")
    del moved["$schema"]
    return {StrategySpec.__name__: moved, **parts}
