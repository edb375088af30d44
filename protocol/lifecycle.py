"""The agent's lifecycle as a table.

Paper trading never stops; the status says what its record has earned. A missing key is a move that cannot be made. The
moves into and out of LIVE wait for the signing guard and are not in the table yet.
"""

from __future__ import annotations

from typing import Final, Literal

from protocol.events import Phase, Status

Trigger = Literal["criteria_met", "criterion_lost", "config_changed"]

MOVES: Final[dict[tuple[Status, Trigger], Status]] = {
    ("PAPER", "criteria_met"): "ELIGIBLE",
    ("ELIGIBLE", "criterion_lost"): "PAPER",
    ("ELIGIBLE", "config_changed"): "PAPER",
}


def move(status: Status, trigger: Trigger) -> Status | None:
    """Where `trigger` leads from `status`; None where it changes nothing.

    >>> move("PAPER", "criteria_met"), move("PAPER", "criterion_lost")
    ('ELIGIBLE', None)
    """
    return MOVES.get((status, trigger))


def phase_of(status: Status) -> Phase:
    """Which book an agent in this status trades with: live exactly while LIVE."""
    return "live" if status == "LIVE" else "paper"
