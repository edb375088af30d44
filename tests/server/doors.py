"""A door without a daemon behind it: what is on its board is what a test puts there."""

from __future__ import annotations

from decimal import Decimal

from actors.journal.chain import Head, Sealed, seal
from actors.tower import FloorState
from protocol.events import ConfigAdopted, Snapshot
from protocol.money import ZERO
from protocol.settings import AgentConfig
from protocol.times import EPOCH
from server.door.desk import Door
from tests.server.markets import PAIRS

FLOORS = [FloorState(name, 1, 256, 0, 0.5) for name in ("Journal", "RiskEngine", "Executor")]
SNAPSHOT_ROW = Snapshot(EPOCH, Decimal(1000), "paper", ZERO, ZERO)
ROWS, _ = seal([ConfigAdopted(EPOCH, 1, AgentConfig(PAIRS)), SNAPSHOT_ROW, SNAPSHOT_ROW], Head())


def show(door: Door, *rows: Sealed) -> None:
    door.board.show((row.row, row.seq, row.body.decode(), row.value) for row in rows)
