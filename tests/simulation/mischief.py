"""What goes wrong in a world: faults of the plan's kinds, at moments that the seed draws."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

import apsw
import trio
from attrs import frozen

from actors.agent import Agent
from actors.journal.chain import Head
from actors.journal.store import MAKER, Checkpoint, Damaged, LogStore
from actors.messages import (
    Assess,
    Capture,
    CloseRound,
    Committed,
    ConductRound,
    Flush,
    OutageChanged,
    ReadBooks,
    ReadCursor,
    ReadHealth,
    SaveCheckpoint,
    Settle,
    TellNotes,
)
from actors.tower import MailboxFull, Meltdown
from protocol.events import EVENTS, FACTS
from tests.simulation.disk import Row, SimDisk, SimReader, rows
from tests.simulation.process import FLOORS, LOG, LOG_ID, Life
from tests.simulation.reaper import await_site, await_sites

if TYPE_CHECKING:
    from tests.simulation.world import World

SEQ: Final = re.compile(rb'"seq":(\d+)')
OFTEN: Final = {"actor dies": 5, "message kills": 1, "power cut in a write": 2, "killed in a write": 1}
# Where an actor may hang: at any message, or at one that somebody outside waits for.
HANGS: Final[tuple[tuple[str, type], ...]] = (
    ("QuoteVerifier", object), ("RiskEngine", object), ("Executor", object), ("Strategist", object),
    ("Journal", object), ("Broadcaster", object), ("Executor", ReadBooks), ("Strategist", ReadCursor),
    ("Strategist", TellNotes), ("Journal", ReadHealth),
)  # fmt: skip
# What may outlive the Journal that it was made for, in whose mailbox, and what keeps its reader busy meanwhile.
ORPHANS: Final[tuple[tuple[str, type, Callable[[], Any]], ...]] = (
    ("Journal", SaveCheckpoint, ReadHealth), ("Journal", Settle, ReadHealth), ("RiskEngine", Assess, Capture),
    ("Executor", CloseRound, ReadBooks), ("Strategist", ConductRound, ReadCursor),
)  # fmt: skip
DISK_TROUBLES: Final = {
    "disk full": "full", "disk broken": "broken", "fsync fails": "sync fails", "disk read-only": "read-only",
    "disk gone": "gone",
}  # fmt: skip
# What a strike only arms is counted when it happens.
ARMED: Final = {
    "actor dies", "message kills", "actor hangs", "meltdown", "poisoned round", "process killed", "power cut",
    "power cut in a write", "killed in a write", "power cut at a first byte", "mailbox flood",
}  # fmt: skip
ELSEWHERE: Final = {"clock set back", "client leaves", "client stalls", "client babbles", "owner hurries"}
SITES: Final = sorted(await_sites())
COMMIT_AWAITED: Final = await_site("journal/actor.py", "await self._progress.wait()")
HANGS_SECONDS: Final = 40.0  # a blocking call may take so long on a disk that hangs
KINDS: Final = tuple(row.kind for row in (*EVENTS, *FACTS))
MANY: Final = 1_000_000  # rows: all of them
AMBUSHES: Final = 12  # in a world, at most


@frozen
class Read:
    """All that the product goes by, of a log that it has verified."""

    log: list[Row]
    head: Head
    checkpoint: Checkpoint | None  # what states are thawed from
    folded: list[tuple[int, str]]  # and folded on by
    frames: list[tuple[int, str]]  # what clients are told

    @classmethod
    def of(cls, disk: SimDisk) -> Read:
        """Raises Damaged, apsw.Error."""
        with closing(LogStore(LOG, log_id=LOG_ID, vfs=disk.name)) as store:
            store.verify()
            head, checkpoint, folded = store.head, store.latest_checkpoint(MAKER), store.bodies(0, KINDS, MANY)
        with closing(SimReader(LOG, disk)) as reader:
            return cls(rows(disk, LOG), head, checkpoint, folded, reader.frames(0, MANY))

    def differs(self, written: Read) -> str:
        """What of it is not what was `written`; nothing where it is. A tail may be cut off, of which nothing in a log
        tells, and a checkpoint gone, which is only a cache."""
        log = written.log[: len(self.log)]
        seqs = [row[1] for row in log if row[1] is not None]
        one, two = self.checkpoint, written.checkpoint
        same = {
            "log": self.log == log,
            "head": (self.head.row, self.head.seq) == (len(log), len(seqs)),
            "checkpoint": None in (one, two) or one.row != two.row or one == two,  # type: ignore[union-attr]
            "state": self.folded == written.folded[: len(log)],
            "stream": self.frames == written.frames[: len(seqs)],
        }
        return ", ".join(what for what, is_same in same.items() if not is_same)


class Mischief:
    """Strikes a world. What comes at a step, at a write or at a first byte is armed here and counted down."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._until_end: int | None = None  # steps, until the process is gone at once
        self._end = "process killed"
        self._cut_at_first_byte = False
        self._until_write: int | None = None
        self._end_in_a_write = "killed in a write"
        self._hang: tuple[str, type] | None = None  # which floor, and of which kind of message
        self._accomplice: str | None = None  # the older floor that dies while it hangs
        self._lethal: str | None = None  # which floor dies of its next message
        self._fire: str | None = None  # what befalls the stop, once it is about to be told
        self._crowds = False  # the Broadcaster's mailbox is full when the next commit is told
        # How far it is jammed: it is to hang, its mailbox is full, the Journal could not tell it of a commit.
        self._jam: Literal["hangs", "full", "told"] | None = None
        self._orphan: tuple[str, type, Callable[[], Any]] | None = None  # which message is to outlive the Journal
        self._busy_with: Any = None  # the message that its reader is not done with
        self._end_at_commit = False  # the process is killed soon after the next one is told
        self._ambushes = 0
        self._stint = 0  # counts the troubles of the disk, and their ends
        self._poisoned: set[datetime] = set()
        self._deaths_in_round: Counter[int] = Counter()

    @property
    def trouble(self) -> tuple[int, str | None]:
        """The disk's, and which stint of it this is."""
        return self._stint, self.world.disk.trouble

    async def run(self) -> None:
        """Faults of the plan's kinds, until its budget is spent or the market ends."""
        kinds = sorted(self.world.plan.faults - ELSEWHERE)
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
                self._doom(random.choice((10, 300)))
            case "message kills":
                self._lethal = random.choice(FLOORS)
            case "poisoned round":
                ahead = [round.ts for round in self.world.market.rounds if round.ts > self.world.now]
                self._poisoned |= set(ahead[random.randrange(8) :][:1])
            case "meltdown":
                for _ in range(8):
                    self.world.reaper.doom(random.randrange(1, 30), None)
                    await trio.sleep(random.random())
            case "actor hangs":
                self._hang = random.choice(HANGS)
                older = FLOORS[: FLOORS.index(self._hang[0])]
                self._accomplice = random.choice([None, *older])
            case "mailbox flood":
                if random.random() < 0.5:
                    self._flood("Strategist", TellNotes)
                elif random.random() < 0.5:
                    self._crowds = True
                else:
                    self._hang, self._accomplice, self._jam = ("Broadcaster", Committed), None, "hangs"
            case "process killed" | "power cut":
                self._until_end, self._end = random.randrange(1, 2000), kind
            case "power cut in a write" | "killed in a write":
                self._until_write, self._end_in_a_write = random.randrange(1, 60), kind
            case "power cut at a first byte":
                self._cut_at_first_byte = True
            case "orderly stop" | "stop under fire":
                if life is not None:
                    life.over.set()
                if kind == "stop under fire":
                    self._fire = random.choice(("feed", "flood", "doom"))
                    if random.random() < 0.5:  # before that
                        self.world.reaper.doom(random.randrange(1, 40), random.choice(("Strategist", "Journal")))
            case "disk slow" | "disk hangs":
                self.world.latency = 0.2 if kind == "disk slow" else HANGS_SECONDS
                self.excuse(life)
                self._accompany()
                await trio.sleep(random.expovariate(1 / 5))
                self.world.latency = self.world.plan.latency
            case "disk slow to sync":
                self.world.sync_latency = random.choice((1.0, HANGS_SECONDS))
                if random.random() < 0.5:  # the Journal dies, and stays in the midst of a commit that somebody awaits
                    self.world.reaper.doom_at(COMMIT_AWAITED)
                await trio.sleep(random.expovariate(1 / 10))
                self.world.sync_latency = 0.0
            case "bit flips":
                for _ in range(12):
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
                self._stint += 1
                self.world.disk.trouble = DISK_TROUBLES[kind]
                if kind == "disk full" and random.random() < 0.5:  # a process begins that can read, and not say so
                    self._die("process killed")
                self._accompany()
                await trio.sleep(random.expovariate(1 / 4))
                self.world.disk.trouble = None
                self._stint += 1
        self.world.faults[kind] += kind not in ARMED

    def excuse(self, life: Life | None) -> None:
        """Actors may die of a disk that hangs, in a life that it hangs in, or that takes a second for a few rows."""
        plan = self.world.plan
        if life is not None and (self.world.latency == HANGS_SECONDS or plan.latency * 10 > plan.row_size):
            life.excused = True

    def _doom(self, within: int) -> None:
        """Somebody dies: whoever it is, one of a floor, or one who waits at a certain place."""
        random, steps = self.world.random, self.world.random.randrange(1, within)
        victims = [None, *FLOORS, "Journal", "Journal", "Executor", "Strategist"]  # who waits most
        if random.random() < 0.15:
            self._orphan = random.choice(ORPHANS)
        elif random.random() < 0.5:
            self.world.reaper.doom_at(random.choice(SITES))
        else:
            self.world.reaper.doom(steps, random.choice(victims))

    def _accompany(self) -> None:
        """Trouble seldom comes alone: somebody may die while it lasts."""
        if self.world.random.random() < 0.5:
            self.world.reaper.doom(self.world.random.randrange(1, 80), self.world.random.choice(FLOORS))

    def sending(self, floor: str, message: Any) -> None:
        """Ahead of each message: the Broadcaster's mailbox may be full just when the Journal tells of a commit, and so
        may the Strategist's at an end, or somebody dies, once the feed has halted and that is to be said."""
        life, orphan = self.world.life, self._orphan
        if self._crowds and floor == "Broadcaster" and isinstance(message, Committed):
            self._crowds = False
            self._flood("Broadcaster", self._same_outage)
        if life is not None and orphan and orphan[:2] == (floor, type(message)) and life.witness.at_risk:
            self._busy_with = orphan[2]()
            with suppress(MailboxFull):
                life.agent.tower.outside().address(floor).tell(self._busy_with)
        if isinstance(message, TellNotes) and floor == "Strategist" and life is not None and life.over.is_set():
            self._strike_the_farewell()

    def refused(self, floor: str, message: Any) -> None:
        """A mailbox is full."""
        if self._jam == "full" and floor == "Broadcaster" and isinstance(message, Committed):
            self._jam = "told"

    def sent(self, floor: str, message: Any) -> None:
        """The next message behind the one that its reader is busy with: now the Journal dies, with the turns that are
        not on the disk. Of a checkpoint it shows when somebody restores by it, as soon as it is written."""
        if self._busy_with is not None and self._orphan is not None and self._orphan[:2] == (floor, type(message)):
            if self.world.reaper.kill("Journal"):
                self.world.marks[f"{type(message).__name__} outlived the Journal"] += 1
                self._orphan, self._end_at_commit = None, isinstance(message, SaveCheckpoint)
            else:
                self._busy_with = None
        life = self.world.life
        if self._jam == "told" and floor == "Journal" and isinstance(message, Settle) and life is not None:
            # More is to be written, somebody waits for all of it, and the Broadcaster falls before it has read a word.
            self._jam = None
            with suppress(MailboxFull):
                life.agent.tower.outside().address("Journal").tell(Flush())
            self.world.reaper.doom(1, "Strategist")
        if isinstance(message, Committed) and self._end_at_commit:
            self._end_at_commit = False
            self._until_end, self._end = self.world.random.randrange(1, 30), "process killed"

    def _strike_the_farewell(self) -> None:
        fire, self._fire = self._fire, None
        match fire:
            case "flood":
                self._flood("Strategist", TellNotes)
            case "feed":
                self.world.marks["feed died between halt and farewell"] += self.world.reaper.kill("MarketFeed")
            case "doom":
                self.world.reaper.doom(self.world.random.randrange(1, 10), self.world.random.choice(FLOORS[:6]))

    def smells(self, kind: str, entry_type: str | None) -> None:
        """A row is announced: what lies in wait for its kind strikes within some steps."""
        random = self.world.random
        if self.world.calm or not self.world.plan.ambush & {kind, entry_type} or self._ambushes >= AMBUSHES:
            return
        if random.random() < 0.5:
            self._ambushes += 1
            if random.random() < 0.5:
                self._doom(80)
            else:
                self._until_end, self._end = random.randrange(1, 300), random.choice(("process killed", "power cut"))

    def stepped(self) -> None:
        if self._until_end is not None:
            self._until_end -= 1
            if self._until_end <= 0:
                self._until_end = None
                self._die(self._end)

    def _die(self, how: str) -> None:
        """The process is gone, with the power or without."""
        if self.world.life is not None and not self.world.life.dead:
            self.world.faults[how] += 1
            disk = self.world.disk
            self.world.die(disk.power_cut if how.startswith("power cut") else disk.process_death)

    def about_to(self, operation: str, _: str) -> None:
        """Ahead of each operation on the disk."""
        if self._until_write is None or operation not in ("write", "sync", "truncate"):
            return
        self._until_write -= 1
        if self._until_write <= 0 and self.world.life is not None and not self.world.life.dead:
            self._until_write = None
            self.world.marks[f"death before a {operation}"] += 1
            self._die(self._end_in_a_write)
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
            self._die("power cut at a first byte")

    def may_kill(self) -> bool:
        """A round that has killed three times is passed over, and so would be another run than the undisturbed one."""
        if self.world.calm or self.world.life is None or self.world.life.dead:
            return False
        self._deaths_in_round[self.world.life.board.row] += 1
        return self.world.plan.deadly or self._deaths_in_round[self.world.life.board.row] < 2

    def poisons(self, floor: str, message: Any) -> bool:
        """Does the floor die of this message? Of some rounds the Strategist does, each time that it is to decide it."""
        if self._lethal == floor and self.may_kill():
            self._lethal = None
            self.killed(floor, "message kills")
            return True
        if floor != "Strategist" or not isinstance(message, ConductRound) or message.round.ts not in self._poisoned:
            return False
        self.killed(floor, "poisoned round")
        return True

    def hangs(self, floor: str, message: Any) -> bool:
        """Is it never done with this message?"""
        if message is self._busy_with:
            return True
        if self._hang is None or self._hang[0] != floor or not isinstance(message, self._hang[1]):
            return False
        if self.world.calm or not self.may_kill():
            return False
        self._hang = None
        self.world.marks["stuck actor"] += 1
        self.killed(floor, "actor hangs")
        if self._jam == "hangs":
            self._jam = "full"
            self._flood("Broadcaster", self._same_outage)
        if self._accomplice is not None:
            self.world.reaper.doom(1, self._accomplice)
            self._deaths_in_round.clear()  # the two are one death
        elif self.world.life is not None:
            self.world.life.hung_at = trio.current_time()
        return True

    def killed(self, floor: str, by: str = "actor dies") -> None:
        self.world.faults[by] += 1
        if self.world.life is not None:
            self.world.life.kills[floor] += 1
            self.world.life.killed_at.append(trio.current_time())

    def _same_outage(self) -> OutageChanged:
        return OutageChanged("market", self.world.life.board.outages.get("market") if self.world.life else None)

    def _flood(self, floor: str, message: Callable[[], Any]) -> None:
        """More than a mailbox holds, from somebody who does not care. Whoever asks the Strategist dies of it; who tells
        the Broadcaster must not."""
        if self.world.life is None or self.world.life.dead:
            return
        self.world.faults["mailbox flood"] += 1
        self.world.life.excused |= floor == "Strategist"
        address = self.world.life.agent.tower.outside().address(floor)
        try:
            for _ in range(2000):
                address.tell(message())
        except MailboxFull:
            self.world.marks["mailbox full"] += 1
        else:
            self.world.complain("38", "a mailbox took 2,000 messages, or dropped some of them without a word")

    def _spoil_checkpoints(self, kind: str) -> None:
        """With the process dead, what is only a cache is lost or garbled."""
        self.world.die(self.world.disk.process_death)
        try:
            # As the product opens it: whoever goes on with a WAL of which a sync has failed loses the database.
            with closing(LogStore(LOG, log_id=LOG_ID, vfs=self.world.disk.name)) as store:
                garbled = kind == "checkpoint garbled"
                store._db.execute("UPDATE checkpoint SET body = '{}'" if garbled else "DELETE FROM checkpoint")
                self.world.marks[kind] += store._db.changes() > 0
        except apsw.Error:
            pass

    def _flip_a_bit(self) -> None:
        """On a copy of the disk, with nobody running: what is read from then on is what was written, or it is told."""
        damaged = self.world.disk.copy(Random(f"copy {self.world.plan.seed} {trio.current_time()}"))
        files = [name for name in (str(LOG), f"{LOG}-wal") if name in damaged.files and damaged.files[name].cache]
        with closing(damaged):
            if not files or not self.world.log:
                return
            with closing(damaged.copy(Random(0))) as whole:
                written = Read.of(whole)
            damaged.flip(self.world.random.choice(files), self.world.random)
            try:
                found = Read.of(damaged)
            except (Damaged, apsw.Error):
                self.world.marks["damage found"] += 1
                return
        if what := found.differs(written):
            self.world.complain("4", f"a bit turned over, another {what} is read, and nothing is told")
        self.world.marks["damage without effect"] += 1

    async def _end_of(self, agent: Agent) -> str:
        """What becomes of an agent on a damaged log: it must never come to stand."""
        async with trio.open_nursery() as nursery:

            async def until_it_stands() -> None:
                await agent.tower.standing.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_it_stands)
            try:
                await agent.run()
            except Damaged:
                return "quarantine"
            except Meltdown:
                return "meltdown"
            finally:
                nursery.cancel_scope.cancel()
        return "standing"

    async def _rewrite_a_row(self) -> None:
        """On a copy of the disk: an agent that finds the damage ends at once, and writes nothing."""
        damaged = self.world.disk.copy(Random(f"copy {self.world.plan.seed} {trio.current_time()}"))
        with closing(damaged):
            if not rows(damaged, LOG):
                return
            with closing(apsw.Connection(str(LOG), vfs=damaged.name)) as db:
                db.execute("DELETE FROM checkpoint")  # or what is older than it would be taken for verified
                db.execute("UPDATE log SET body = body || ' ' WHERE row = (SELECT max(row) FROM log)")
            found, life = rows(damaged, LOG), Life(0, 0)
            life.agent = self.world.process.agent_on(life, damaged, [])
            end = await self._end_of(life.agent)
            self.world.marks[end] += end == "quarantine"
            if end != "quarantine" or rows(damaged, LOG) != found:
                self.world.complain("4", f"a row was rewritten; the agent's end is {end}")
