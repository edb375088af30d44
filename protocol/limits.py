"""Validators that say what would be valid."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from attrs import Attribute

NOTHING: Final = object()  # there is no value to show


class Impossible(ValueError):
    """A value that cannot be. `valid` says what could; `key` is empty where the whole object is meant, `value` is
    NOTHING where none was given."""

    def __init__(self, key: str, value: object, valid: str, *, code: str = "VALIDATION_ERROR") -> None:
        super().__init__(f"{key} = {value!r}: {valid}" if key else valid)
        self.key = key
        self.value = value
        self.valid = valid
        self.code = code


Validator = Callable[[Any, "Attribute[Any]", Any], None]


def between(low: float, high: float, *, optional: bool = False) -> Validator:
    """A number from `low` to `high`, both included; with `optional` also None."""

    lowest, highest = Decimal(str(low)), Decimal(str(high))  # the numbers that are meant, not their floats

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not (optional and value is None) and not lowest <= Decimal(str(value)) <= highest:
            raise Impossible(attribute.name, value, f"must be from {low:g} to {high:g}")

    return check


def matching(predicate: Callable[[Any], bool], valid: str) -> Validator:
    """Anything for which `predicate` holds; `valid` says it in words."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not predicate(value):
            raise Impossible(attribute.name, value, valid)

    return check
