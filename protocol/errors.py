"""The kinds of "no". A Refusal is a value; a UserError is a person's mistake, told in one line; the rest is a bug."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Factory, frozen


@frozen
class Refusal:
    """A rule said no. `rule` names it, `reason` is a sentence with the numbers, `data` has them."""

    rule: str
    reason: str
    data: dict[str, Any] = Factory(dict)


Outside = Literal["disk", "market", "chain", "guard"]


@frozen
class Outage:
    """Something outside does not work right now. A state to show and to come out of, no death."""

    what: Outside
    reason: str


class UserError(Exception):
    """A mistake in what a person gave us. Its text is the whole message: what, where, and what would be valid."""


class InvalidSetting(UserError):
    """A key that does not exist or a value that cannot be. `problems` is one line each, key first."""

    def __init__(self, problems: list[str], *, code: str = "VALIDATION_ERROR") -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.code = code
