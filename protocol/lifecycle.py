"""The agent's lifecycle as a table.

Paper trading never stops; the status says what its record has earned, and whether a person let it trade for real. A
missing key is a move that cannot be made. Going live is always a person's act.
"""

from __future__ import annotations

from typing import Final, Literal

from protocol.events import Status
from protocol.orders import Phase

Trigger = Literal[
    "criteria_met",  # all three criteria of the evaluation hold
    "criterion_lost",
    "config_changed",
    "promoted",  # by a person
    "promoted_by_force",  # by a person, before the record is there
    "breached",  # the live book reached a drawdown limit
    "demoted",  # by a person
    "killed",  # by the kill switch
    "lock_lifted",  # a demotion's lock is over, and a criterion is missing
    "lock_lifted_with_criteria_met",
]

MOVES: Final[dict[tuple[Status, Trigger], Status]] = {
    ("PAPER", "criteria_met"): "ELIGIBLE",
    ("ELIGIBLE", "criterion_lost"): "PAPER",
    ("ELIGIBLE", "config_changed"): "PAPER",
    ("ELIGIBLE", "promoted"): "LIVE",
    ("ELIGIBLE", "promoted_by_force"): "LIVE",
    ("PAPER", "promoted_by_force"): "LIVE",
    ("LIVE", "breached"): "DEMOTED",
    ("LIVE", "demoted"): "PAPER",
    ("LIVE", "killed"): "PAPER",
    ("DEMOTED", "lock_lifted"): "PAPER",
    ("DEMOTED", "lock_lifted_with_criteria_met"): "ELIGIBLE",
}


def move(status: Status, trigger: Trigger) -> Status | None:
    """Where `trigger` leads from `status`; None where it changes nothing.

    >>> move("PAPER", "criteria_met"), move("PAPER", "promoted")
    ('ELIGIBLE', None)
    """
    return MOVES.get((status, trigger))


def phase_of(status: Status) -> Phase:
    """Which book an agent in this status trades with: live exactly while LIVE."""
    return "live" if status == "LIVE" else "paper"
