"""Values to bytes and back, once, at the border: attrs classes by cattrs, JSON by msgspec.

Decimals are JSON numbers, exact both ways; instants are `times.to_wire`. A frame's bytes are made once, stored, and
sent as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast, get_args, get_origin

import attrs
import cattrs
import msgspec
from attrs import fields, has
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from protocol.answers import ANSWERS
from protocol.errors import InvalidSetting
from protocol.events import EVENTS, FACTS, Row
from protocol.limits import NOTHING, Impossible
from protocol.money import Units
from protocol.settings import PairQuotes
from protocol.strategy import Condition, StrategyParams, StrategySpec
from protocol.times import from_wire, to_wire

T = TypeVar("T")
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)
# The decoder recurses on C's stack and minds Python's limit only. py_ecc, which comes with eth_account and web3, lifts
# that to 100,000: then 30 kB of brackets end the process.
_DEEPEST = 5_000
_MOST_DIGITS = 40  # of a number that people write: it is kept, and told, as it was written
SECRETS = frozenset({"server.token", "chain.rpc", "rpc"})  # their values are never shown
_CONTAINERS: tuple[Any, ...] = (tuple, dict)
_SPARSE: tuple[type[Any], ...] = (Condition, StrategyParams, StrategySpec, PairQuotes)  # None there says "not given"
# Left out where it has its default: (row, field), or a field of any.
_OMITTED = frozenset({"hold_s", "return_", "filled_at", "tx_hash", "before", "errors", "checks", ("decided", "phase")})


def to_json(value: object) -> bytes:
    """JSON of plain data (dicts, lists, Decimals, ...)."""
    return _encoder.encode(value)


def from_json(data: bytes | str) -> Any:
    """Plain data; numbers with a point are Decimals. Raises ValueError."""
    if sys.getrecursionlimit() > _DEEPEST:
        sys.setrecursionlimit(_DEEPEST)
    try:
        return _decoder.decode(data)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except ArithmeticError:
        raise ValueError("it has a number that is out of range") from None


def wire_name(name: str) -> str:
    """The field as it stands in JSON; Python keeps some words for itself.

    >>> wire_name("return_"), wire_name("equity")
    ('return', 'equity')
    """
    return name.removesuffix("_")


def may_be_left_out(kind: type, name: str) -> bool:
    """Is the field of that class not written where it has its default?"""
    default = getattr(fields(kind), name).default
    if kind in _SPARSE:
        return default is None
    if default is attrs.NOTHING:
        return False
    return name in _OMITTED or (getattr(kind, "kind", None), name) in _OMITTED


def _number(kind: type, *, strict: bool) -> Any:
    """A structure hook that takes numbers only: cattrs alone would read "1" and True as 1. What people write must
    also be finite and of a size that can be counted with."""

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise Impossible("", value, "must be a number")
        if strict and not _is_ordinary(value):
            raise Impossible("", value, "must be a number of ordinary size")
        if kind is int and value != int(value):
            raise Impossible("", value, "must be a whole number")
        if kind is Decimal:
            return value if isinstance(value, Decimal) else Decimal(str(value))
        return kind(value)

    return structure


def _is_ordinary(number: float | Decimal) -> bool:
    if isinstance(number, int):
        return abs(number) < 10**18
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    return exact.is_finite() and abs(exact.adjusted()) < 18 and len(exact.as_tuple().digits) <= _MOST_DIGITS


def _exactly(kind: type, words: str) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise Impossible("", value, f"must be {words}")
        return value

    return structure


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind) or isinstance(value, bool):
        raise Impossible("", value, "must be one of " + ", ".join(map(str, get_args(kind))))
    return value


def _table(kind: type, converter: cattrs.Converter) -> Any:
    """Structures a class from a table of keys; a strategy for another market mode is refused before all else."""
    structure: Callable[[Any, Any], Any] = make_dict_structure_fn(kind, converter)

    def checked(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Impossible("", value, "must be a table of keys")
        if kind is StrategySpec and value.get("market_mode") != "spot":
            mode = value.get("market_mode")
            raise Impossible("market_mode", mode, "only spot is traded", code="MARKET_MODE_MISMATCH")
        return structure(value, kind)

    return checked


def _container(kind: Any, converter: cattrs.Converter) -> Any:
    """Structures a list or a table of like things."""
    inner = get_args(kind)[0]
    if get_origin(kind) is dict:
        structure: Callable[[Any, Any], Any] = mapping_structure_factory(kind, converter)
        return _checked(lambda value: isinstance(value, Mapping), "a table of keys", structure, kind)
    structure = list_structure_factory(cast(Any, list).__class_getitem__(inner), converter)
    if inner is str:
        return _checked(_is_list_of_text, "a list of texts", structure, kind)
    return _checked(lambda value: isinstance(value, list | tuple), "a list", structure, kind)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _checked(fits: Callable[[Any], bool], words: str, structure: Callable[[Any, Any], Any], kind: Any) -> Any:
    def check_and_structure(value: Any, _: Any) -> Any:
        if not fits(value):
            raise Impossible("", value, f"must be {words}")
        made = structure(value, kind)
        return tuple(made) if isinstance(made, list) else made

    return check_and_structure


def _make_converter(*, strict: bool) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=strict, detailed_validation=strict)
    converter.register_structure_hook(datetime, lambda text, _: from_wire(text))
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    converter.register_unstructure_hook(datetime, to_wire)  # after date, which it is a kind of
    converter.register_unstructure_hook(Decimal, lambda number: number)
    converter.register_unstructure_hook(Units, str)
    converter.register_structure_hook(Units, lambda text, _: Units(text))
    for kind in (int, float, Decimal):
        converter.register_structure_hook(kind, _number(kind, strict=strict))
    if strict:
        converter.register_structure_hook_factory(has, lambda kind: _table(kind, converter))
        converter.register_structure_hook_factory(
            lambda kind: get_origin(kind) in _CONTAINERS, lambda kind: _container(kind, converter)
        )
    converter.register_structure_hook(str, _exactly(str, "text"))
    converter.register_structure_hook(bool, _exactly(bool, "true or false"))
    converter.register_structure_hook_func(lambda kind: str(kind).startswith("typing.Literal"), _literal)
    for part in _SPARSE:
        nones = {a.name: override(omit_if_default=True) for a in fields(part) if may_be_left_out(part, a.name)}
        converter.register_unstructure_hook(part, make_dict_unstructure_fn(part, converter, **nones))  # type: ignore[arg-type]
    for made in (*EVENTS, *FACTS, *ANSWERS):
        renames = {
            a.name: override(rename=wire_name(a.name), omit_if_default=may_be_left_out(made, a.name))
            for a in fields(made)
        }
        converter.register_unstructure_hook(made, make_dict_unstructure_fn(made, converter, **renames))  # type: ignore[arg-type]
        converter.register_structure_hook(made, make_dict_structure_fn(made, converter, **renames))  # type: ignore[arg-type]
    return converter


_log = _make_converter(strict=False)
_documents = _make_converter(strict=True)


def to_plain(value: object) -> Any:
    """Any of our values as plain data: dicts, lists, text, Decimals."""
    return _log.unstructure(value)


def encoded(value: object) -> bytes:
    """Any of our values as JSON."""
    return _encoder.encode(_log.unstructure(value))


def from_plain(data: Any, kind: type[T]) -> T:
    """The inverse of `to_plain`, for what we wrote ourselves: unknown keys are passed over."""
    return _log.structure(data, kind)


def encode_row(row: Row, seq: int | None) -> bytes:
    """A row as JSON; an event, with its `seq`, is the very frame that clients get."""
    body = _log.unstructure(row)
    if seq is None:
        return _encoder.encode({"fact": row.kind, **body})
    return _encoder.encode({"event": row.kind, "ts": body.pop("ts"), "seq": seq, **body})


_KINDS: dict[str, type[Row]] = {row.kind: row for row in (*EVENTS, *FACTS)}


def decode_row(body: bytes | str) -> Row:
    """The inverse of `encode_row`."""
    data = _decoder.decode(body)
    return _log.structure(data, _KINDS[data.get("event") or data["fact"]])


def read_document(data: Any, kind: type[T], *, at: str = "") -> T:
    """A person's document as a value of ours. Raises InvalidSetting, one line a problem, each with its path, the
    value and what would be valid; a document for another market mode is told that and nothing else."""
    if not isinstance(data, Mapping):
        raise InvalidSetting([f"{at or 'document'} = {data!r}: must be a table of keys"])
    try:
        return _documents.structure(data, kind)
    except (ClassValidationError, IterableValidationError, Impossible) as error:
        problems = sorted(_problems(error, data, at), key=lambda problem: problem[0] == "VALIDATION_ERROR")
        first_code = problems[0][0]
        raise InvalidSetting([text for code, text in problems if code == first_code], code=first_code) from None


def _problems(error: Exception, data: Any, path: str) -> list[tuple[str, str]]:
    """(code, line) for every leaf of cattrs' error tree."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        found = []
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            key: Any = note.name if isinstance(note, AttributeValidationNote) else note.index
            name = key if isinstance(note, AttributeValidationNote) else f"[{key}]"
            found += _problems(inner, _part(data, key), _join(path, name))
        for inner in without:
            found += _problems(inner, data, path)
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        valid = ", ".join(a.name for a in fields(error.cl) if a.init) if has(error.cl) else ""
        said = f"unknown key; valid keys are {valid}"
        return [
            ("VALIDATION_ERROR", f"{_join(path, str(key))} = {shown(_part(data, key))}: {said}")
            for key in sorted(error.extra_fields, key=str)
        ]
    if isinstance(error, Impossible):
        where = _join(path, error.key)
        value = f" = {shown(error.value)}" if error.value is not NOTHING and where not in SECRETS else ""
        return [(error.code, f"{where}{value}: {error.valid}")]
    if isinstance(error, KeyError):
        return [("VALIDATION_ERROR", f"{path}: is missing")]
    return [("VALIDATION_ERROR", f"{path} = {shown(data)}: {error}")]


def shown(value: object) -> str:
    """A value for a complaint about it. A URL can hold a key, and could stand under any misspelt name: it is not."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    if "://" in text:
        return "(a URL)"
    return text if len(text) <= 200 else text[:200] + "..."


def _join(path: str, name: str) -> str:
    return path + name if name.startswith("[") or not path else f"{path}.{name}" if name else path


def _part(data: Any, key: Any) -> Any:
    """What `data` holds under `key`; None where there is nothing."""
    try:
        return data[key]
    except (KeyError, IndexError, TypeError):
        return None
