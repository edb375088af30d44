"""What shows only where messages pass: each is read once, what was flushed is on the disk, and an outage stops deciding
until the disk takes something again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from actors.messages import Append, Committed, ConductRound, Flush, OutageChanged, Settle
from actors.turn import Turn
from protocol.errors import Refusal

if TYPE_CHECKING:
    from tests.simulation.process import Life
    from tests.simulation.world import World

REFUSING: Final = {"full", "broken", "read-only"}  # the troubles of a disk in which no commit is whole


@frozen(eq=False)
class Shown:
    """An outage as the Journal told of it: in which of its incarnations, how far the disk was then, and why."""

    incarnation: int
    row: int
    trouble: tuple[int, str | None]
    failed: bool  # a write did, and not only its patience


class Witness:
    """Sees every message of a life as it is sent, read and done with."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life = world, life
        self._read: dict[tuple[str, int], Any] = {}
        self._incarnation = 0  # of the Journal
        self._turn, self._drafted = Turn(), 0
        self._accepted = 0  # rows that have their places
        self._ends = set[int]()  # the last rows of turns
        self._flushing = 0  # of them, when a flush was begun
        self._shown: Shown | None = None
        self._shown_at_first: Shown | None = None  # when the round was begun
        self.crowded = False  # a mailbox was full: not everything is told any more

    def refused(self, floor: str, message: Any) -> None:
        self.crowded = True
        self._world.mischief.refused(floor, message)

    def has_read(self, floor: str, message: Any) -> bool:
        return (floor, id(message)) in self._read

    @property
    def at_risk(self) -> bool:
        """Is there a turn that the Journal has accepted and the disk does not have?"""
        return self._accepted > self._world.row_on_disk()

    def opened(self, floor: str) -> None:
        if floor == "Journal":
            self._incarnation += 1
            self._shown = None

    def restored(self, floor: str) -> None:
        if floor == "Journal":
            self._accepted = self._world.row_on_disk()

    def sending(self, floor: str, message: Any) -> None:
        self._world.mischief.sending(floor, message)

    def sent(self, floor: str, message: Any) -> None:
        self._world.mischief.sent(floor, message)
        match message:
            case Committed():
                if message.rows[-1].row not in self._ends:
                    self._world.complain("3", f"row {message.rows[-1].row} is told as written, and its turn goes on")
                for row in message.rows:
                    self._world.mischief.smells(row.kind, row.type)
            case OutageChanged("disk", None):
                self._check_end_of_outage()
                self._shown = None
            case OutageChanged("disk", outage) if self._shown is None and outage is not None:
                failed = "cannot be written" in outage.reason
                self._shown = Shown(self._incarnation, self._world.row_on_disk(), self._world.mischief.trouble, failed)

    def read(self, floor: str, message: Any) -> None:
        if self.has_read(floor, message):
            self._world.complain("35", f"the {floor} reads the same {type(message).__name__} a second time")
        self._read[floor, id(message)] = message  # kept, so that no other message has its id
        match message:
            case Flush():
                self._flushing = self._accepted
            case Settle():
                drafted = self._drafted if message.turn is self._turn else 0
                self._ends.add(self._accepted + drafted + len(message.rows))
            case ConductRound():
                self._shown_at_first = self._shown

    def done(self, floor: str, message: Any, answer: Any) -> None:
        del self._read[floor, id(message)]
        match message:
            case Append() | Settle() if answer is None:
                if message.turn is not self._turn:
                    self._turn, self._drafted = message.turn, 0
                self._drafted += len(message.rows)
                if isinstance(message, Settle):
                    self._accepted, self._drafted = self._accepted + self._drafted, 0
            case Flush() if answer is None and (kept := self._world.row_on_disk()) < self._flushing:
                self._world.complain("2", f"row {self._flushing} was accepted and flushed, the disk keeps {kept}")
            case ConductRound() if isinstance(answer, Refusal):
                self._world.marks["round out of order"] += 1
            case ConductRound() if answer is None and self._shown is not None and not self.crowded:
                if self._shown is self._shown_at_first:
                    self._world.complain("6", "a round was decided while the disk was known to take nothing")

    def _check_end_of_outage(self) -> None:
        shown, trouble = self._shown, self._world.mischief.trouble
        if shown is None or self.crowded or not shown.failed or shown.incarnation != self._incarnation:
            return
        if trouble == shown.trouble and trouble[1] in REFUSING and self._world.row_on_disk() == shown.row:
            self._world.complain("6", f"the disk is {trouble[1]} and nothing was written, but the outage is over")
