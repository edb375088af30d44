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


def _only(words: str) -> Any:
    return matching(lambda text: text == words, f'must be "{words}"')


def _words(words: str) -> Any:
    return field(validator=_only(words))


_reason = field(
    validator=matching(lambda text: 0 < len(text.strip()) <= 500, "must say why, in 500 characters at most")
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
    confirm: str | None = field(default=None, validator=optional(_only(WRITE_OFF)))


@frozen
class ReapproveBody:
    """`demotion` is the id of the journal entry of that demotion; `reason` is journaled."""

    demotion: str
    reason: str = _reason


@frozen
class KillBody:
    """`confirm` is "revoke signing"; `reason` is journaled."""

    confirm: str = _words(REVOKE_WORDS)
    reason: str = "by the API"


@frozen
class WouldBe:
    """An order that somebody asks about. Nothing is done with it."""

    pair: str
    side: Side
    size: Decimal = field(validator=matching(lambda size: 0 < size <= 10**12, "must be above 0, at most 1e12"))
