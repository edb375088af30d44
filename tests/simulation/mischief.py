"""What goes wrong in a world: faults of the plan's kinds, at moments that the seed draws."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final

import apsw
import trio

from actors.journal.store import Damaged, LogStore
from actors.messages import ConductRound, ReadBook, ReadCursor, ReadHealth, TellNotes
from actors.tower import MailboxFull, Meltdown
from tests.simulation.disk import rows
from tests.simulation.process import LOG, Life

if TYPE_CHECKING:
    from tests.simulation.world import World

SEQ: Final = re.compile(rb'"seq":(\d+)')
OFTEN: Final = {"actor dies": 5, "power cut in a write": 2, "killed in a write": 1}
# Where an actor may hang: at any message, or at one that somebody outside waits for.
HANGS: Final[tuple[tuple[str, type], ...]] = (
    ("QuoteVerifier", object), ("RiskEngine", object), ("Executor", object), ("Strategist", object),
    ("Journal", object), ("Executor", ReadBook), ("Strategist", ReadCursor), ("Journal", ReadHealth),
)  # fmt: skip
DISK_TROUBLES: Final = {
    "disk full": "full", "disk broken": "broken", "fsync fails": "sync fails", "disk read-only": "read-only",
    "disk gone": "gone",
}  # fmt: skip


class Mischief:
    """Strikes a world. What comes at a step, at a write or at a first byte is armed here and counted down."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._until_power_cut: int | None = None  # steps
        self._power_cut: Callable[[], None] = lambda: None
        self._cut_at_first_byte = False
        self._until_write: int | None = None
        self._in_a_write: Callable[[], None] = lambda: None
        self._hang: tuple[str, type] | None = None  # which floor, and of which kind of message
        self._poisoned: set[datetime] = set()
        self._deaths_in_round: Counter[int] = Counter()

    async def run(self) -> None:
        """Faults of the plan's kinds, until its budget is spent or the market ends."""
        kinds = sorted(self.world.plan.faults - {"clock set back", "client leaves", "client stalls", "client babbles"})
        # There are so many places to die at, and so many writes to tear.
        kinds += [kind for kind in kinds for _ in range(OFTEN.get(kind, 0))]
        for _ in range(self.world.plan.budget if kinds else 0):
            await trio.sleep(self.world.random.expovariate(1 / self.world.plan.pause))
            if self.world.calm:
                return
            await self._strike(self.world.random.choice(kinds))

    async def _strike(self, kind: str) -> None:
        random, life = self.world.random, self.world.life
        match kind:
            case "actor dies":
                floors = [floor.name for floor in life.agent.tower._floors] if life else []
                victims = [None, *floors, "Journal", "Journal", "Executor", "Strategist"]  # who waits most
                self.world.reaper.doom(random.randrange(1, random.choice((10, 300))), random.choice(victims))
            case "poisoned round":
                ahead = [round.ts for round in self.world.market.rounds if round.ts > self.world.now]
                self._poisoned |= set(ahead[random.randrange(8) :][:1])
            case "meltdown":
                for _ in range(8):
                    self.world.reaper.doom(random.randrange(1, 30), None)
                    await trio.sleep(random.random())
            case "actor hangs":
                self._hang = random.choice(HANGS)
            case "mailbox flood":
                self._flood()
            case "process killed" | "power cut":
                self._until_power_cut = random.randrange(1, 2000)
                self._power_cut = self.world.disk.power_cut if kind == "power cut" else self.world.disk.process_death
            case "power cut in a write" | "killed in a write":
                self._until_write = random.randrange(1, 60)
                self._in_a_write = (
                    self.world.disk.power_cut if kind == "power cut in a write" else self.world.disk.process_death
                )
            case "power cut at a first byte":
                self._cut_at_first_byte = True
            case "orderly stop" | "stop under fire":
                if life is not None:
                    life.over.set()
                if kind == "stop under fire":
                    self.world.reaper.doom(
                        random.randrange(1, 40), random.choice(("Strategist", "Journal", "MarketFeed"))
                    )
            case "disk slow" | "disk hangs":
                self.world.latency = 0.2 if kind == "disk slow" else 40.0
                await trio.sleep(random.expovariate(1 / 5))
                self.world.latency = self.world.plan.latency
            case "bit flips":
                for _ in range(5):
                    self._flip_a_bit()
            case "row rewritten":
                await self._rewrite_a_row()
            case "checkpoint forgotten" | "checkpoint garbled":
                self._spoil_checkpoints(kind)
            case "market outage" | "market hangs":
                self.world.market_trouble = kind
                await trio.sleep(random.expovariate(1 / 20))
                self.world.market_trouble = None
            case _:
                self.world.disk.trouble = DISK_TROUBLES[kind]
                await trio.sleep(random.expovariate(1 / 4))
                self.world.disk.trouble = None
        self.world.faults[kind] += 1

    def stepped(self) -> None:
        if self._until_power_cut is not None:
            self._until_power_cut -= 1
            if self._until_power_cut <= 0:
                self._until_power_cut = None
                self.world.die(self._power_cut)

    def about_to(self, operation: str, _: str) -> None:
        """Ahead of each operation on the disk."""
        if self._until_write is None or operation not in ("write", "sync", "truncate"):
            return
        self._until_write -= 1
        if self._until_write <= 0 and self.world.life is not None and not self.world.life.dead:
            self._until_write = None
            self.world.marks[f"death before a {operation}"] += 1
            self.world.die(self._in_a_write)
            raise apsw.IOError("the process is gone")

    def first_byte(self, life: Life, data: bytes) -> None:
        """The first byte of a write is about to reach a client: all of it must be on the disk."""
        shown = max(map(int, SEQ.findall(data)), default=0)
        if life.dead or shown <= self.world.durable_seq or not (self._cut_at_first_byte or self.world.plan.audited):
            return
        self.world.durable_seq = self.world.seq_on_disk()
        if shown > self.world.durable_seq:
            self.world.complain("10", f"a client is shown seq {shown}, only {self.world.durable_seq} is on the disk")
        if self._cut_at_first_byte:
            self._cut_at_first_byte = False
            self.world.marks["power cut at a first byte"] += 1
            self.world.die(self.world.disk.power_cut)

    def may_kill(self) -> bool:
        """A round that has killed three times is passed over, and so would be another run than the undisturbed one."""
        if self.world.calm or self.world.life is None or self.world.life.dead:
            return False
        self._deaths_in_round[self.world.life.board.row] += 1
        return self.world.plan.deadly or self._deaths_in_round[self.world.life.board.row] < 2

    def poisons(self, floor: str, message: Any) -> bool:
        """Does the Strategist die of this round, each time that it is asked to decide it?"""
        if floor != "Strategist" or not isinstance(message, ConductRound) or message.round.ts not in self._poisoned:
            return False
        self.killed(floor)
        return True

    def hangs(self, floor: str, message: Any) -> bool:
        """Is it never done with this message?"""
        if self._hang is None or self._hang[0] != floor or not isinstance(message, self._hang[1]):
            return False
        if self.world.calm or not self.may_kill():
            return False
        self._hang = None
        self.world.marks["stuck actor"] += 1
        if self.world.life is not None:
            self.world.life.hung_at = trio.current_time()
            self.killed(floor)
        return True

    def killed(self, floor: str) -> None:
        if self.world.life is not None:
            self.world.life.kills[floor] += 1
            self.world.life.killed_at.append(trio.current_time())

    def _flood(self) -> None:
        """More than the Strategist's mailbox holds, from somebody who does not care."""
        if self.world.life is None or self.world.life.dead:
            return
        address = self.world.life.agent.tower.outside().address("Strategist")
        try:
            for _ in range(1000):
                address.tell(TellNotes())
        except MailboxFull:
            self.world.marks["mailbox full"] += 1
        else:
            self.world.complain("38", "a mailbox took 1,000 messages, or dropped some of them without a word")

    def read_again(self, floor: str, message: Any) -> None:
        self.world.complain("35", f"the {floor} reads the same {type(message).__name__} a second time")

    def _spoil_checkpoints(self, kind: str) -> None:
        """With the process dead, what is only a cache is lost or garbled."""
        self.world.die(self.world.disk.process_death)
        try:
            db = apsw.Connection(str(LOG), vfs=self.world.disk.name)
            change = "DELETE FROM checkpoint" if kind == "checkpoint forgotten" else "UPDATE checkpoint SET body = '{}'"
            db.execute(change)
            self.world.marks[kind] += db.changes() > 0
            db.close()
        except apsw.Error:
            pass

    def _flip_a_bit(self) -> None:
        """On a copy of the disk, with nobody running: what is read from then on is what was written, or it is told."""
        damaged = self.world.disk.copy(Random(f"copy {self.world.plan.seed} {trio.current_time()}"))
        files = [name for name in (str(LOG), f"{LOG}-wal") if name in damaged.files and damaged.files[name].cache]
        with closing(damaged):
            if not files or not self.world.log:
                return
            damaged.flip(self.world.random.choice(files), self.world.random)
            try:
                with closing(LogStore(LOG, log_id="log_simulated", vfs=damaged.name)) as store:
                    store.verify()
                found = rows(damaged, LOG)
            except (Damaged, apsw.Error):
                self.world.marks["damage found"] += 1
                return
        known = [row[6] for row in self.world.log[: len(found)]]
        if [row[6] for row in found[: len(known)]] != known or any(
            one[:6] != two[:6] for one, two in zip(found, self.world.log, strict=False)
        ):
            self.world.complain("4", "a bit turned over, other rows are read, and nothing is told")
        self.world.marks["damage without effect"] += 1

    async def _rewrite_a_row(self) -> None:
        """On a copy of the disk: an agent that finds the damage ends at once, and writes nothing."""
        damaged = self.world.disk.copy(Random(f"copy {self.world.plan.seed} {trio.current_time()}"))
        with closing(damaged):
            if not rows(damaged, LOG):
                return
            with closing(apsw.Connection(str(LOG), vfs=damaged.name)) as db:
                db.execute("UPDATE log SET body = body || ' ' WHERE row = (SELECT max(row) FROM log)")
            found, life = rows(damaged, LOG), Life(0)
            life.agent = self.world.process.agent_on(life, damaged)
            end = "runs on"
            with trio.move_on_after(1000.0):  # the disk may hang
                try:
                    await life.agent.run()
                except Damaged:
                    end = "quarantine"
                except Meltdown:
                    end = "meltdown"
            self.world.marks[end] += end == "quarantine"
            if end != "quarantine" or rows(damaged, LOG) != found:
                self.world.complain("4", f"a row was rewritten; the agent's end is {end}")
