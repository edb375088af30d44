"""One seed's world: lives of the daemon on one disk, until the market has ended and all is told; and what must hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from random import Random
from typing import Any, ClassVar, Final

import trio
from attrs import Factory, define, frozen

from actors.journal.store import DISK_ERRORS, Damaged
from actors.messages import Flush
from actors.tower import HEARTBEAT_SECONDS, STUCK_SECONDS, Died, MailboxFull, TooLate
from actors.twak_signer.actor import Armed
from protocol.times import from_wire
from tests.simulation.disk import Row, SimDisk, rows
from tests.simulation.judge import Judge
from tests.simulation.market import SimMarket
from tests.simulation.mischief import HANGS_SECONDS, Mischief
from tests.simulation.outsiders import Outsiders
from tests.simulation.plan import Plan
from tests.simulation.process import LOG, LOG_ID, Life, Process
from tests.simulation.reaper import Reaper
from tests.simulation.refold import forgotten
from tests.world.market import PAIRS

INIT_SECONDS: Final = 0.2  # until the init system starts what has ended
AUDIT_SECONDS: Final = 2.0
MANY: Final = 20  # violations: enough to know


@frozen
class Violation:
    """Which statement does not hold, and how that shows."""

    statement: str
    text: str


@define(eq=False, slots=False)
class World:
    """`run` lives it to its end; `violations` is what came of it."""

    limit_seconds: ClassVar[float] = 2_500.0  # a world that has not come to rest by then never does

    plan: Plan
    disturbed: bool = True
    hasty: bool = False  # it ends at its first violation
    violations: list[Violation] = Factory(list)
    marks: Counter[str] = Factory(Counter)  # rare states, how often
    faults: Counter[str] = Factory(Counter)  # by kind, as injected
    lives: int = 0
    log: list[Any] = Factory(list)  # the rows on the disk, as far as they were read

    def __attrs_post_init__(self) -> None:
        seed = self.plan.seed
        self.random = Random(f"world {seed}")
        self.calm = not self.disturbed  # nothing goes wrong any more
        self._everybody: trio.CancelScope | None = None
        self.life: Life | None = None
        self.durable_seq = 0  # as far as it was looked at
        self._durable, self._durable_at = list[Row](), (-1, -1, -1)
        self.latency = self.plan.latency if self.disturbed else 0.0  # at most, of a blocking call
        self.sync_latency = 0.0  # besides, of one in which something was synced
        self.disk = SimDisk(Random(f"disk {seed}"))
        self.disk.checkpoint_pages = self.plan.checkpoint_pages
        self.judge = Judge()
        self.reaper = Reaper(self.marks)
        self.process, self.mischief, self.outsiders = Process(self), self._mischief(), Outsiders(self)
        self.reaper.on_step = self.mischief.stepped
        self.reaper.may_kill = lambda _: self.mischief.may_kill()
        self.reaper.killed = self.mischief.killed
        self.disk.before = self.mischief.about_to
        self.market = self._market()
        self.market_trouble: str | None = None
        self.market.trouble = lambda: self.market_trouble
        self.market.gate = self.outsiders.changed_by

    # --- what a world of another kind has of its own

    def _mischief(self) -> Mischief:
        return Mischief(self)

    def _market(self) -> SimMarket:
        plan = self.plan
        return SimMarket(
            Random(f"market {plan.seed}"),
            plan.rounds,
            PAIRS[: plan.pairs],
            holes=plan.holes,
            set_back="clock set back" in plan.faults,
            marks=self.marks,
        )

    def armed(self, life: Life) -> Armed | None:
        """What this process trades with; None where nothing is ever signed."""
        return None

    def _begin_beside(self, nursery: trio.Nursery) -> None:
        """Begin whatever else goes on in it."""

    def _is_finished(self) -> bool:
        """Is nothing under way any more, now that the market has ended?"""
        return True

    def becalm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.calm = True

    # --- from its beginning to its end

    async def run(self) -> None:
        trio.lowlevel.add_instrument(self.reaper)
        try:
            async with trio.open_nursery() as nursery:
                self._everybody = nursery.cancel_scope
                for follower in self.outsiders.followers:
                    nursery.start_soon(follower.run)
                nursery.start_soon(self.outsiders.owner)
                nursery.start_soon(self._auditor)
                nursery.start_soon(self.outsiders.visitor)
                nursery.start_soon(self.outsiders.newcomer)
                if self.disturbed:
                    nursery.start_soon(self.mischief.run)
                self._begin_beside(nursery)
                with trio.move_on_after(self.limit_seconds) as limit:
                    while not await self._life():
                        await trio.sleep(INIT_SECONDS)
                if limit.cancelled_caught:
                    self.complain("rest", f"not at rest after {self.limit_seconds:.0f} s: {self._standing()}")
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self.reaper)
        self.audit()
        self._closing_checks()

    @property
    def now(self) -> datetime:
        """The log's time, as far as it was read."""
        return from_wire(json.loads(self.log[-1][5])["ts"]) if self.log else self.market.begins

    def complain(self, statement: str, text: str) -> None:
        if len(self.violations) < MANY:
            self.violations.append(Violation(statement, text))
        if self.hasty:
            self._end()

    def _end(self) -> None:
        if self._everybody is not None:
            with suppress(RuntimeError):  # its run is over, or broken
                self._everybody.cancel()

    def give_up(self, why: str) -> None:
        """Called from outside of it, in the midst of anything."""
        self.complain("simulator", why)
        self._end()

    async def _life(self) -> bool:
        """One process; whether the world is done with it."""
        self.lives += 1
        life = Life(self.lives, max(follower.seq for follower in self.outsiders.followers))
        try:
            self.process.boot(life)
        except DISK_ERRORS:
            self.marks["boot refused by the disk"] += 1
            await trio.sleep(1.0)
            return False
        except Damaged as error:
            self.complain("4", f"a log that nobody damaged is damaged: {error}")
            return True
        self.life = life
        self.mischief.excuse(life)
        await self.outsiders.try_upward_asks(life)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.process.run_agent, life)
            nursery.start_soon(self.process.run_door, life)
            nursery.start_soon(self._until_rest, life)
            nursery.start_soon(self.outsiders.ask_on, life)
            await life.over.wait()
            if not life.dead:
                await self.process.wind_down(life)
            at_rest = life.ended and life.stopped and not life.dead
            self.die(self.disk.process_death)
            nursery.cancel_scope.cancel()
        self.life = None
        return at_rest

    async def _until_rest(self, life: Life) -> None:
        """Once the market has ended and every client has heard of it, the daemon is asked to stop."""
        while not life.ended or await self._pending(life) or not self._is_finished():
            await trio.sleep(0.5)
        while any(follower.seq < life.board.seq for follower in self.outsiders.followers):
            await trio.sleep(0.5)
        with trio.move_on_after(2 * STUCK_SECONDS):  # the Broadcaster may have been too busy to hear of its end
            while life.board.outages.get("disk") is not None:
                await trio.sleep(0.5)
        if self.disk.trouble is None and (outage := life.board.outages.get("disk")) is not None:
            self.complain("6", f"all is on the disk, and still it is shown: {outage.reason}")
        life.over.set()

    async def _pending(self, life: Life) -> bool:
        """Is there anything that is not on the disk, or on the disk and not on the board?"""
        try:
            if await life.agent.tower.outside().address("Journal").ask(Flush()) is not None:
                return True
        except (Died, MailboxFull, TooLate):
            return True
        self.audit()
        return life.board.row < len(self.log)

    def die(self, how: Callable[[], None]) -> None:
        """The process is gone at this very step; so is the power, where `how` says so."""
        life = self.life
        if life is None or life.dead:
            return
        self._check_falls(life)
        life.dead = True
        life.listener.cut()
        how()
        self.reaper.spare()
        self.durable_seq = self.seq_on_disk()
        for follower in self.outsiders.followers:
            if follower.seq > self.durable_seq:
                self.complain("10", f"a client had seq {follower.seq}, the disk keeps {self.durable_seq}")
        life.over.set()

    def seq_on_disk(self) -> int:
        """The last seq that no power cut can take."""
        return max((row[1] or 0 for row in self._durable_tail()), default=0) or self._last_seq()

    def row_on_disk(self) -> int:
        """The last row that no power cut can take."""
        return max((row[0] for row in self._durable_tail()), default=len(self.log))

    def _durable_tail(self) -> list[Row]:
        """What a power cut must leave from the last row that was read on: the same while nothing is written."""
        disk, known = self.disk, max(len(self.log) - 1, 0)
        moment = (disk.epoch, disk.done.total() - disk.done["open"], known)
        if self._durable_at != moment:
            with closing(disk.durable()) as least:
                self._durable, self._durable_at = rows(least, LOG, known), moment
        return self._durable

    def _last_seq(self) -> int:
        return next((row[1] for row in reversed(self.log) if row[1] is not None), 0)

    async def _auditor(self) -> None:
        while True:
            await trio.sleep(AUDIT_SECONDS)
            self.audit()
            self._check_stuck()

    def audit(self) -> None:
        """Everything on the disk that was not read yet; what was read must still be there."""
        known = len(self.log)
        found = rows(self.disk, LOG, max(known - 1, 0))
        if known and (not found or found[0][6] != self.log[-1][6]):
            self.complain("2", f"row {known} was on the disk and is gone or another one")
            return
        fresh = found[1:] if known else found
        self.log += fresh
        self.judge.read(fresh)
        if self.hasty and self.judge.violations:
            self._end()
        versions = sum(row[3] == "config" for row in self.log)
        if self.outsiders.acknowledged > versions and self.calm:
            self.complain("2", f"config version {self.outsiders.acknowledged} was acknowledged, the log has {versions}")

    def _check_falls(self, life: Life) -> None:
        """Nobody fell but those that were killed: not the older, and the younger not on their own account."""
        if life.excused:
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
        elif age > STUCK_SECONDS + 4 * HEARTBEAT_SECONDS + self.longest_call:
            self.complain("40", f"an actor is stuck for {age:.0f} s and nobody ends it")
            life.hung_at = None
        elif age > 3 * HEARTBEAT_SECONDS and tower.silence() < HEARTBEAT_SECONDS:
            self.complain("40", f"stuck for {age:.0f} s, and the oldest heartbeat is {tower.silence():.1f} s old")

    @property
    def longest_call(self) -> float:
        """What a floor that is ended may be in the midst of has to be waited for."""
        slow = self.plan.faults & {"disk hangs", "disk slow to sync"}
        return HANGS_SECONDS if slow else self.plan.latency

    def told_of_restarts(self, life: Life) -> None:
        """Called at an orderly end, when all is on the disk: each restart of this life has its entry."""
        self.audit()
        told = 0
        for row in reversed(self.log):
            if row[4] == "STARTED":
                break
            told += row[4] == "ACTOR_RESTARTED"
        fell = sum(life.agent.tower.restarts.values())
        if told != fell:
            self.complain("restarts", f"{fell} actors were restarted, the journal tells of {told}")

    def check_refold(self) -> None:
        """A restart is a replay: with the last checkpoint or without it, it comes to the same."""
        life = Life(0, 0)
        with closing(self.disk.view()) as view:
            floors = self.process.agent_on(life, view, notes=[]).tower._floors
            for what in forgotten(view, LOG, LOG_ID, floors):
                self.complain("22", what)

    def _closing_checks(self) -> None:
        self.check_refold()
        self.violations += [Violation(v.statement, f"row {v.row}: {v.text}") for v in self.judge.violations]
        self.marks += self.judge.marks
        for name, count in self.disk.marks.items():
            self.marks[f"disk: {name}"] += count
        for text in self.disk.misused[:1]:
            self.complain("7", text)
        started = sum(row[4] == "STARTED" for row in self.log)
        if started > self.lives:
            self.complain("5", f"{self.lives} lives, and {started} of them have told that they started")
        frames = [row[5] for row in self.log if row[1] is not None]
        for number, follower in enumerate(self.outsiders.followers):
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
