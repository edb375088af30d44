"""What the acts and the risk check are asked with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import optional

from protocol.limits import matching
from protocol.orders import Side
from protocol.signing import REVOKE_WORDS

GO_LIVE: Final = "go live"
WRITE_OFF: Final = "write off"
MAX_REASON: Final = 500
BY_THE_API: Final = "by the API"
SCHEMA: Final = "schema"  # what the API's description says of a field beside its type


def _only(words: str) -> Any:
    return matching(lambda text: text == words, f'must be "{words}"')


def _words(words: str) -> Any:
    return field(validator=_only(words), metadata={SCHEMA: {"const": words}})


def _shortened(reason: str) -> str:
    return reason.strip()[:MAX_REASON] or BY_THE_API


_reason = field(
    validator=matching(
        lambda text: len(text.strip()) > 0 and len(text) <= MAX_REASON,
        f"must say why, in {MAX_REASON} characters at most",
    ),
    metadata={SCHEMA: {"pattern": r"\S", "maxLength": MAX_REASON}},
)


@frozen
class PromoteBody:
    """`confirm` is "go live". By `force` also out of PAPER."""

    confirm: str = _words(GO_LIVE)
    force: bool = False


@frozen
class DemoteBody:
    """`reason` is journaled. `confirm` with "write off" also writes off what the wallet does not hold."""

    reason: str = _reason
    confirm: str | None = field(
        default=None, validator=optional(_only(WRITE_OFF)), metadata={SCHEMA: {"enum": [WRITE_OFF, None]}}
    )


@frozen
class ReapproveBody:
    """`demotion` is the id of the journal entry of that demotion; `reason` is journaled."""

    demotion: str
    reason: str = _reason


@frozen
class KillBody:
    """`confirm` is "revoke signing"; `reason` is journaled, its first 500 characters, since a kill is not refused for
    its words."""

    confirm: str = _words(REVOKE_WORDS)
    reason: str = field(default=BY_THE_API, converter=_shortened)


@frozen
class WouldBe:
    """An order that somebody asks about. Nothing is done with it."""

    pair: str
    side: Side
    size: Decimal = field(
        validator=matching(lambda size: 0 < size <= 10**12, "must be above 0, at most 1e12"),
        metadata={SCHEMA: {"exclusiveMinimum": 0, "maximum": 10**12}},
    )
