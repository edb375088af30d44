"""Bugs planted by somebody who knows the checkers: what the simulator is for. `bugs_blind` has those by somebody else."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted import Bug

BUGS: Final[tuple[Bug, ...]] = ()
