"""One seed's world: the daemon's parts put together as the daemon does it, over a simulated disk, market, door and
clock, through as many lives as its faults make of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw
import trio
from attrs import Factory, define, field, frozen

from actors.agent import Agent
from actors.broadcaster.board import Board
from actors.floors import House
from actors.journal.store import DISK_ERRORS, MAKER, Damaged, LogStore
from actors.messages import Note, ReadBook, ReadCursor, ReadHealth, TellNotes
from actors.strategist.actor import Founding
from actors.tower import HEARTBEAT_SECONDS, STUCK_SECONDS, Ask, Desk, Died, MailboxFull, Meltdown, TooLate, UpwardAsk
from protocol.settings import MarketSettings, ServerSettings
from server import bulkhead
from server.backtesting.queue import Backtests
from server.door.app import Door, make_app
from server.door.gate import Gate
from server.settings import Offer
from tests.simulation.clients import Follower, Manners, NoAnswer, request
from tests.simulation.disk import SimDisk, SimReader, rows
from tests.simulation.judge import Judge
from tests.simulation.market import SimMarket
from tests.simulation.plan import Plan
from tests.simulation.reaper import Haunted, Reaper, haunt
from tests.simulation.wires import PORT, Connection, Listener

LOG: Final = Path("/sim/log.sqlite3")
STOP_SECONDS: Final = 1.5  # as the daemon's
INIT_SECONDS: Final = 0.2  # until the init system starts what has ended
AUDIT_SECONDS: Final = 2.0
LIMIT_SECONDS: Final = 4_000.0  # a world that has not come to rest by then never does
SELF_KILLING: Final = {"mailbox flood", "disk hangs"}  # what kills actors without the reaper
OFTEN: Final = {"actor dies": 5, "power cut in a write": 2, "killed in a write": 1}
MANY: Final = 20  # violations: enough to know
SEQ: Final = re.compile(rb'"seq":(\d+)')
NOWHERE: Final = Path("/nonexistent/forestay-simulation")
DISK_TROUBLES: Final = {
    "disk full": "full", "disk broken": "broken", "fsync fails": "sync fails", "disk read-only": "read-only",
    "disk gone": "gone",
}  # fmt: skip


@frozen
class Violation:
    """Which statement does not hold, and how that shows."""

    statement: str
    text: str


class Gone(Exception):
    """The process that wants something of the world does not exist any more."""


@define(eq=False)
class Life:
    """One process, from boot to whatever ends it."""

    number: int
    board: Board = Factory(Board)
    over: trio.Event = Factory(trio.Event)
    stopping: trio.Event = Factory(trio.Event)
    dead: bool = False  # it ended without a word
    ended: bool = False  # the market has
    melted: bool = False
    stopped: bool = False  # in good order, and all of it is on the disk
    kills: Counter[str] = Factory(Counter)  # by floor, as injected
    killed_at: list[float] = Factory(list)
    hung_at: float | None = None
    closed: bool = False  # the door is
    agent: Agent = field(init=False)
    known: Haunted = field(init=False)
    listener: Listener = field(init=False)


@define(eq=False, slots=False)
class World:
    """`run` lives it to its end; `violations` is what came of it."""

    plan: Plan
    disturbed: bool = True
    violations: list[Violation] = Factory(list)
    marks: Counter[str] = Factory(Counter)  # rare states, how often
    faults: Counter[str] = Factory(Counter)  # by kind, as injected
    lives: int = 0
    log: list[Any] = Factory(list)  # the rows on the disk, as far as they were read
    seconds: float = 0.0  # of the world's own time
    quarantined: bool = False

    def __attrs_post_init__(self) -> None:
        seed = self.plan.seed
        self.random = Random(f"world {seed}")
        self.calm = not self.disturbed
        market_random = Random(f"market {seed}")
        set_back = "clock set back" in self.plan.faults
        self.market = SimMarket(market_random, self.plan.rounds, self.plan.pairs, set_back=set_back, marks=self.marks)
        self.market.trouble = lambda: self.market_trouble
        self.market.gate = self._changed_by
        self.market_trouble: str | None = None
        self.latency = 0.0
        self.disk = SimDisk(Random(f"disk {seed}"))
        self.disk.checkpoint_pages = self.plan.checkpoint_pages
        self.judge = Judge()
        self.reaper = Reaper(self.marks)
        self.reaper.on_step = self._stepped
        self.reaper.may_kill = lambda _: self._may_kill()
        self.reaper.killed = self._killed
        self.life: Life | None = None
        self._until_power_cut: int | None = None  # steps
        self._power_cut: Callable[[], None] = lambda: None
        self._cut_at_first_byte = False
        self._until_write: int | None = None
        self._in_a_write: Callable[[], None] = lambda: None
        self.disk.before = self._about_to
        self._hang: str | None = None
        self._deaths_in_round: Counter[int] = Counter()
        self._at_gate = -1  # the round that the market was asked for last
        self._acknowledged = 1  # config versions that a 200 was given for
        self._durable_seq = 0
        self._followers = [self._follower(number) for number in range(self.plan.followers)]

    # --- the course of the world

    async def run(self) -> None:
        trio.lowlevel.add_instrument(self.reaper)
        try:
            async with trio.open_nursery() as nursery:
                for follower in self._followers:
                    nursery.start_soon(follower.run)
                nursery.start_soon(self._owner)
                nursery.start_soon(self._auditor)
                nursery.start_soon(self._visitor)
                if self.disturbed:
                    nursery.start_soon(self._mischief)
                with trio.move_on_after(LIMIT_SECONDS) as limit:
                    while not await self._life():
                        await trio.sleep(INIT_SECONDS)
                if limit.cancelled_caught:
                    self.complain("rest", f"not at rest after {LIMIT_SECONDS:.0f} s: {self._standing()}")
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self.reaper)
        self.seconds = trio.current_time()
        self._audit()
        self._closing_checks()

    def complain(self, statement: str, text: str) -> None:
        if len(self.violations) < MANY:
            self.violations.append(Violation(statement, text))

    async def _life(self) -> bool:
        """One process; whether the world is done with it."""
        self.lives += 1
        life = Life(self.lives)
        try:
            self._boot(life)
        except DISK_ERRORS:
            self.marks["boot refused by the disk"] += 1
            await trio.sleep(1.0)
            return False
        except Damaged as error:
            self.complain("4", f"a log that nobody damaged is damaged: {error}")
            return True
        self.life = life
        await self._try_upward_asks(life)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._agent, life)
            nursery.start_soon(self._door, life)
            nursery.start_soon(self._until_rest, life)
            nursery.start_soon(self._ask_on, life)
            await life.over.wait()
            if not life.dead:
                await self._wind_down(life)
            at_rest = life.ended and life.stopped and not life.dead
            self._die(self.disk.process_death)
            nursery.cancel_scope.cancel()
        self.life = None
        return at_rest

    async def _until_rest(self, life: Life) -> None:
        """Once the market has ended and every client has heard of it, the daemon is asked to stop."""
        while not life.ended or any(follower.seq < life.board.seq for follower in self._followers):
            await trio.sleep(0.5)
        life.over.set()

    def _boot(self, life: Life) -> None:
        """As `server.boot` opens the log. Raises DISK_ERRORS, Damaged."""
        store = LogStore(LOG, log_id="log_simulated", vfs=self.disk.name)
        try:
            checkpoint = store.latest_checkpoint(MAKER)
            store.verify(checkpoint.row if checkpoint else 0)
            if checkpoint:
                self.marks["checkpoint restored"] += 1
        finally:
            store.close()
        life.listener = Listener(partial(self._first_byte, life))
        life.agent = self._agent_on(life, self.disk)
        life.known = Haunted(self._read_again)
        haunt(life.agent.tower, self.reaper, self._hangs, life.known)

    def _agent_on(self, life: Life, disk: SimDisk) -> Agent:
        note = Note("STARTED", ("simulated",), "Started.", {})
        founding = Founding("seed", self.market.pinned, self.market.begins, self.plan.config, [note])
        blocking = partial(self._blocking, life)
        return Agent(
            House(
                log=LOG,
                log_id="log_simulated",
                founding=founding,
                market=self.market,
                speed=self.plan.speed,
                board=life.board,
                market_ended=partial(self._market_ended, life),
                blocking=blocking,
                reader=SimReader(LOG, disk),
                reading=blocking,
                vfs=disk.name,
            )
        )

    async def _agent(self, life: Life) -> None:
        try:
            await life.agent.run()
        except Meltdown:
            self.marks["meltdown"] += not life.dead
            life.melted = True
            recent = sum(at > trio.current_time() - 60 for at in life.killed_at)
            if recent <= 5 and not life.dead and not self.plan.faults & SELF_KILLING:
                self.complain("36", f"a meltdown after {recent} deaths within a minute")
        except Gone:  # before it had said its last words
            pass
        except Damaged as error:
            if not life.dead:
                self.complain("4", f"a log that nobody damaged is damaged: {error}")
        life.over.set()

    async def _door(self, life: Life) -> None:
        blocking = partial(self._blocking, life)
        door = Door(
            agent="seed",
            log_id="log_simulated",
            market=self.market.pinned,
            offer=Offer.of(self.market),
            board=life.board,
            reader=SimReader(LOG, self.disk),
            reading=blocking,
            tower=life.agent.tower,
            stopping=life.stopping,
            clock=lambda ago: f"{trio.current_time() - ago:.3f}",
            backtests=Backtests(NOWHERE, lambda: ""),
            market_settings=MarketSettings(),
        )
        gate = Gate(make_app(door), ServerSettings(), PORT)  # type: ignore[arg-type]
        await bulkhead.serve(gate, [life.listener], stop=life.stopping)  # type: ignore[arg-type, list-item]
        life.closed = True

    async def _wind_down(self, life: Life) -> None:
        """As the daemon does it."""
        with trio.move_on_after(STOP_SECONDS):
            while not life.melted:
                try:
                    if await life.agent.stop() is None:
                        life.stopped = True
                        if self.calm:
                            self._told_of_restarts(life)
                except (Died, TooLate, MailboxFull):
                    continue
                break
        life.stopping.set()
        life.board.close()
        with trio.move_on_after(2 * bulkhead.GRACE_SECONDS):
            while not life.closed and not life.dead:
                await trio.sleep(0.1)

    def _market_ended(self, life: Life) -> None:
        if life is self.life and not life.dead:
            self.calm = True
            life.ended = True

    # --- what a process asks of the machine

    async def _blocking(self, life: Life, call: Callable[[], Any], /) -> Any:
        """A blocking call: it takes what the disk takes, and is waited for whatever happens."""
        with trio.CancelScope(shield=True):
            await trio.sleep(self.latency * self.random.random())
        if life.dead:
            raise Gone
        answer = call()
        await trio.lowlevel.checkpoint()
        return answer

    # --- what goes wrong

    async def _mischief(self) -> None:
        """Faults of the plan's kinds, until its budget is spent or the market ends."""
        kinds = sorted(self.plan.faults - {"clock set back", "client leaves", "client stalls", "client babbles"})
        # There are so many places to die at, and so many writes to tear.
        kinds += [kind for kind in kinds for _ in range(OFTEN.get(kind, 0))]
        for _ in range(self.plan.budget if kinds else 0):
            await trio.sleep(self.random.expovariate(1 / self.plan.pause))
            if self.calm:
                return
            await self._strike(self.random.choice(kinds))

    async def _strike(self, kind: str) -> None:
        random, life = self.random, self.life
        match kind:
            case "actor dies":
                floors = [None, *(floor.name for floor in life.agent.tower._floors)] if life else [None]
                self.reaper.doom(random.randrange(1, 300), random.choice(floors))
            case "poisoned round" | "meltdown":
                for _ in range(4 if kind == "poisoned round" else 8):
                    self.reaper.doom(random.randrange(1, 30), "Strategist" if kind == "poisoned round" else None)
                    await trio.sleep(random.random())
            case "actor hangs":
                self._hang = random.choice(("QuoteVerifier", "RiskEngine", "Executor", "Strategist", "Journal"))
            case "mailbox flood":
                self._flood()
            case "process killed" | "power cut":
                self._until_power_cut = random.randrange(1, 2000)
                self._power_cut = self.disk.power_cut if kind == "power cut" else self.disk.process_death
            case "power cut in a write" | "killed in a write":
                self._until_write = random.randrange(1, 60)
                self._in_a_write = self.disk.power_cut if kind == "power cut in a write" else self.disk.process_death
            case "power cut at a first byte":
                self._cut_at_first_byte = True
            case "orderly stop":
                if life is not None:
                    life.over.set()
            case "disk slow" | "disk hangs":
                self.latency = 0.2 if kind == "disk slow" else 40.0
                await trio.sleep(random.expovariate(1 / 5))
                self.latency = 0.0
            case "bit flips":
                for _ in range(5):
                    self._flip_a_bit()
            case "row rewritten":
                await self._rewrite_a_row()
            case "checkpoint forgotten" | "checkpoint garbled":
                self._spoil_checkpoints(kind)
            case "market outage" | "market hangs":
                self.market_trouble = kind
                await trio.sleep(random.expovariate(1 / 20))
                self.market_trouble = None
            case _:
                self.disk.trouble = DISK_TROUBLES[kind]
                await trio.sleep(random.expovariate(1 / 4))
                self.disk.trouble = None
        self.faults[kind] += 1

    def _die(self, how: Callable[[], None]) -> None:
        """The process is gone at this very step; so is the power, where `how` says so."""
        life = self.life
        if life is None or life.dead:
            return
        self._check_falls(life)
        life.dead = True
        life.listener.cut()
        how()
        self.reaper.spare()
        self._durable_seq = self._seq_on_disk()
        for follower in self._followers:
            if follower.seq > self._durable_seq:
                self.complain("10", f"a client had seq {follower.seq}, the disk keeps {self._durable_seq}")
        life.over.set()

    def _stepped(self) -> None:
        if self._until_power_cut is not None:
            self._until_power_cut -= 1
            if self._until_power_cut <= 0:
                self._until_power_cut = None
                self._die(self._power_cut)

    def _about_to(self, operation: str, _: str) -> None:
        """Ahead of each operation on the disk."""
        if self._until_write is None or operation not in ("write", "sync", "truncate"):
            return
        self._until_write -= 1
        if self._until_write <= 0 and self.life is not None and not self.life.dead:
            self._until_write = None
            self.marks[f"death before a {operation}"] += 1
            self._die(self._in_a_write)
            raise apsw.IOError("the process is gone")

    def _first_byte(self, life: Life, data: bytes) -> None:
        """The first byte of a write is about to reach a client: all of it must be on the disk."""
        shown = max(map(int, SEQ.findall(data)), default=0)
        if life.dead or shown <= self._durable_seq or not (self._cut_at_first_byte or self.plan.audited):
            return
        self._durable_seq = self._seq_on_disk()
        if shown > self._durable_seq:
            self.complain("10", f"a client is shown seq {shown}, only {self._durable_seq} is on the disk")
        if self._cut_at_first_byte:
            self._cut_at_first_byte = False
            self.marks["power cut at a first byte"] += 1
            self._die(self.disk.power_cut)

    def _seq_on_disk(self) -> int:
        """The last seq that no power cut can take."""
        with closing(self.disk.durable()) as least:
            found = rows(least, LOG, max(len(self.log) - 1, 0))
        return max((row[1] or 0 for row in found), default=0) or self._last_seq()

    def _last_seq(self) -> int:
        return next((row[1] for row in reversed(self.log) if row[1] is not None), 0)

    def _may_kill(self) -> bool:
        """A round that has killed three times is passed over, and so would be another run than the undisturbed one."""
        if self.calm or self.life is None or self.life.dead:
            return False
        self._deaths_in_round[self.life.board.row] += 1
        return self.plan.deadly or self._deaths_in_round[self.life.board.row] < 2

    def _hangs(self, floor: str) -> bool:
        if self._hang != floor or self.calm or not self._may_kill():
            return False
        self._hang = None
        self.marks["stuck actor"] += 1
        if self.life is not None:
            self.life.hung_at = trio.current_time()
            self._killed(floor)
        return True

    def _killed(self, floor: str) -> None:
        if self.life is not None:
            self.life.kills[floor] += 1
            self.life.killed_at.append(trio.current_time())

    def _flood(self) -> None:
        """More than the Strategist's mailbox holds, from somebody who does not care."""
        if self.life is None or self.life.dead:
            return
        address = self.life.agent.tower.outside().address("Strategist")
        try:
            for _ in range(1000):
                address.tell(TellNotes())
        except MailboxFull:
            self.marks["mailbox full"] += 1
        else:
            self.complain("38", "a mailbox took 1,000 messages, or dropped some of them without a word")

    def _read_again(self, floor: str, message: Any) -> None:
        self.complain("35", f"the {floor} reads the same {type(message).__name__} a second time")

    def _spoil_checkpoints(self, kind: str) -> None:
        """With the process dead, what is only a cache is lost or garbled."""
        self._die(self.disk.process_death)
        try:
            db = apsw.Connection(str(LOG), vfs=self.disk.name)
            change = "DELETE FROM checkpoint" if kind == "checkpoint forgotten" else "UPDATE checkpoint SET body = '{}'"
            db.execute(change)
            self.marks[kind] += db.changes() > 0
            db.close()
        except apsw.Error:
            pass

    def _flip_a_bit(self) -> None:
        """On a copy of the disk, with nobody running: what is read from then on is what was written, or it is told."""
        damaged = self.disk.copy(Random(f"copy {self.plan.seed} {trio.current_time()}"))
        files = [name for name in (str(LOG), f"{LOG}-wal") if name in damaged.files and damaged.files[name].cache]
        with closing(damaged):
            if not files or not self.log:
                return
            damaged.flip(self.random.choice(files), self.random)
            try:
                with closing(LogStore(LOG, log_id="log_simulated", vfs=damaged.name)) as store:
                    store.verify()
                found = rows(damaged, LOG)
            except (Damaged, apsw.Error):
                self.marks["damage found"] += 1
                return
        known = [row[6] for row in self.log[: len(found)]]
        if [row[6] for row in found[: len(known)]] != known or any(
            one[:6] != two[:6] for one, two in zip(found, self.log, strict=False)
        ):
            self.complain("4", "a bit turned over, other rows are read, and nothing is told")
        self.marks["damage without effect"] += 1

    async def _rewrite_a_row(self) -> None:
        """On a copy of the disk: an agent that finds the damage ends at once, and writes nothing."""
        damaged = self.disk.copy(Random(f"copy {self.plan.seed} {trio.current_time()}"))
        with closing(damaged):
            if not rows(damaged, LOG):
                return
            with closing(apsw.Connection(str(LOG), vfs=damaged.name)) as db:
                db.execute("UPDATE log SET body = body || ' ' WHERE row = (SELECT max(row) FROM log)")
            found, life = rows(damaged, LOG), Life(0)
            life.agent = self._agent_on(life, damaged)
            end = "runs on"
            with trio.move_on_after(20.0):
                try:
                    await life.agent.run()
                except Damaged:
                    end = "quarantine"
                except Meltdown:
                    end = "meltdown"
            self.marks[end] += end == "quarantine"
            if end != "quarantine" or rows(damaged, LOG) != found:
                self.complain("4", f"a row was rewritten; the agent's end is {end}")

    # --- those outside

    def _connect(self) -> Connection:
        if self.life is None or not hasattr(self.life, "listener"):
            raise ConnectionRefusedError
        return self.life.listener.connect()

    def _follower(self, number: int) -> Follower:
        faults = self.plan.faults if self.disturbed else frozenset[str]()
        manners = Manners(
            leaves=0.01 if "client leaves" in faults else 0.0,
            stalls=0.01 if "client stalls" in faults else 0.0,
            babbles=0.01 if "client babbles" in faults else 0.0,
        )
        random = Random(f"client {self.plan.seed} {number}")
        return Follower(self._connect, random, manners, self.complain, self.marks)

    async def _owner(self) -> None:
        """Makes the plan's changes, each until it is known to be in force."""
        for number, (index, patch) in enumerate(self.plan.changes):
            while self._acknowledged < number + 2:
                await trio.sleep(0.5)
                if not self._is_settled(index):
                    continue
                try:
                    status, answer, _ = await request(self._connect, "PATCH", "/agents/current/config", patch)
                    if status == 200:
                        self._acknowledged = number + 2
                    elif status not in (409, 503):
                        self.complain("47", f"PATCH {patch} was answered {status}: {answer}")
                        return
                except (NoAnswer, OSError):
                    pass
                if self.life is not None and self.life.board.risk.version >= number + 2:
                    self._acknowledged = max(self._acknowledged, number + 2)

    def _is_settled(self, index: int) -> bool:
        """Is the round before this one on the disk? A change that overtakes a round which is decided again would make
        another run of it, and rightly so."""
        if self._at_gate != index:
            return False
        self._audit()
        last = next((row[5] for row in reversed(self.log) if row[3] == "round"), None)
        return (json.loads(last)["cursor"] if last else 0) == index

    async def _changed_by(self, index: int) -> None:
        """The market holds a round back until every change before it is in force."""
        due = sum(at <= index for at, _ in self.plan.changes) + 1
        self._at_gate = index
        while self.life is None or self.life.board.risk.version < due:
            await trio.sleep(0.5)

    async def _visitor(self) -> None:
        """Reads over REST now and then: never a 500, never more than is on the disk."""
        random = Random(f"visitor {self.plan.seed}")
        while True:
            await trio.sleep(random.expovariate(1 / 5))
            path = random.choice(
                ("/agents", "/agents/current", "/agents/current/events?limit=20", "/agents/current/positions",
                 "/agents/current/evaluation", "/agents/current/risk/objectives", "/agents/current/trades?limit=3",
                 "/agents/current/config", "/agents/seed/journal?limit=5", "/readyz", "/nothing")
            )  # fmt: skip
            try:
                status, answer, headers = await request(self._connect, "GET", path)
            except (NoAnswer, OSError):
                continue
            if status not in (200, 404, 503) or (status == 404) != (path == "/nothing"):
                self.complain("47", f"GET {path} was answered {status}: {answer}")
            if status == 503 and "retry-after" not in {name.lower() for name in headers}:
                self.complain("47", f"GET {path}: a 503 without Retry-After")

    # --- what must hold

    async def _auditor(self) -> None:
        while True:
            await trio.sleep(AUDIT_SECONDS)
            self._audit()
            self._check_stuck()

    def _audit(self) -> None:
        """Everything on the disk that was not read yet; what was read must still be there."""
        known = len(self.log)
        found = rows(self.disk, LOG, max(known - 1, 0))
        if known and (not found or found[0][6] != self.log[-1][6]):
            self.complain("2", f"row {known} was on the disk and is gone or another one")
            return
        fresh = found[1:] if known else found
        self.log += fresh
        self.judge.read(fresh)
        versions = sum(row[3] == "config" for row in self.log)
        if self._acknowledged > versions and self.calm:
            self.complain("2", f"config version {self._acknowledged} was acknowledged, the log has {versions}")

    async def _ask_on(self, life: Life) -> None:
        """Whoever asks is answered or told; what an actor has read does not just vanish with it."""
        random, desk = Random(f"asker {self.plan.seed} {life.number}"), life.agent.tower.outside()
        asks: tuple[tuple[str, Callable[[], Ask[Any]]], ...] = (
            ("Executor", ReadBook), ("Strategist", ReadCursor), ("Journal", ReadHealth), ("Strategist", TellNotes),
        )  # fmt: skip
        while not life.dead:
            await trio.sleep(random.expovariate(1 / 2))
            floor, kind = random.choice(asks)
            message = kind()
            try:
                await desk.address(floor).ask(message)
            except (Died, MailboxFull):
                pass
            except TooLate:
                read, tower = life.known.has_read(floor, message), life.agent.tower
                idle = tower.whole and tower.silence() < 2 * HEARTBEAT_SECONDS and life.board.outage is None
                if not life.dead and (read or idle):
                    done = "was read" if read else "was never read"
                    self.complain("35", f"a {kind.__name__} to the {floor} {done}, and nobody hears of it again")

    async def _try_upward_asks(self, life: Life) -> None:
        """An older floor cannot ask a younger one, nor itself: it is refused before anything is sent."""
        names = [floor.name for floor in life.agent.tower._floors]
        older = self.random.randrange(len(names))
        younger = self.random.randrange(older, len(names))
        address = Desk(life.agent.tower, older).address(names[younger])
        with trio.move_on_after(1.0):
            try:
                await address.ask(ReadBook())
            except UpwardAsk:
                return
        self.complain("37", f"{names[older]} could ask {names[younger]}")

    def _check_falls(self, life: Life) -> None:
        """Nobody fell but those that were killed: not the older, and the younger not on their own account."""
        if self.plan.faults & SELF_KILLING:
            return
        fell = life.agent.tower.restarts
        if extra := {name: count for name, count in fell.items() if count > life.kills[name]}:
            self.complain("36", f"in life {life.number} fell {extra}, killed were {dict(life.kills)}")

    def _check_stuck(self) -> None:
        """A stuck actor is seen at once, and ended."""
        life, now = self.life, trio.current_time()
        if life is None or life.hung_at is None or life.dead:
            return
        age, tower = now - life.hung_at, life.agent.tower
        if sum(tower.restarts.values()) > 0 or life.melted:
            life.hung_at = None
        elif age > STUCK_SECONDS + 4 * HEARTBEAT_SECONDS:
            self.complain("40", f"an actor is stuck for {age:.0f} s and nobody ends it")
            life.hung_at = None
        elif age > 3 * HEARTBEAT_SECONDS and tower.silence() < HEARTBEAT_SECONDS:
            self.complain("40", f"stuck for {age:.0f} s, and the oldest heartbeat is {tower.silence():.1f} s old")

    def _told_of_restarts(self, life: Life) -> None:
        """Called at an orderly end, when all is on the disk: each restart of this life has its entry."""
        self._audit()
        told = 0
        for row in reversed(self.log):
            if row[4] == "STARTED":
                break
            told += row[4] == "ACTOR_RESTARTED"
        fell = sum(life.agent.tower.restarts.values())
        if told != fell:
            self.complain("restarts", f"{fell} actors were restarted, the journal tells of {told}")

    def _closing_checks(self) -> None:
        self.violations += [Violation(v.statement, f"row {v.row}: {v.text}") for v in self.judge.violations]
        self.marks += self.judge.marks
        for name, count in self.disk.marks.items():
            self.marks[f"disk: {name}"] += count
        frames = [row[5] for row in self.log if row[1] is not None]
        for number, follower in enumerate(self._followers):
            if follower.frames != frames[: follower.seq]:
                self.complain("11", f"client {number} has other frames than the log")
            if follower.seq < len(frames) - 1 and not self.violations:
                self.complain("15", f"client {number} has {follower.seq} of {len(frames)} frames at the end")

    def _standing(self) -> str:
        life = self.life
        if life is None:
            return "no life"
        tower = life.agent.tower
        return f"life {life.number}, row {life.board.row}, whole {tower.whole}, outage {life.board.outage}"

    @property
    def essence(self) -> list[tuple[str, dict[str, Any]]]:
        """What the run was about: without places in the log, and without the life of its processes."""
        kept = []
        for _, _, _, kind, entry_type, body, _ in self.log:
            plain = json.loads(body)
            plain.pop("seq", None)
            if entry_type not in ("STARTED", "STOPPED", "ACTOR_RESTARTED"):
                kept.append((kind, plain))
        return kept
