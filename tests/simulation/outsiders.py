"""Those outside a world's daemon: clients, the owner, a visitor, and somebody who asks its actors."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.messages import Flush, ReadBooks, ReadCursor, ReadHealth, TellNotes
from actors.tower import HEARTBEAT_SECONDS, Ask, Desk, Died, MailboxFull, TooLate, UpwardAsk
from tests.simulation.clients import Follower, Manners, NoAnswer, Way, first_heard, request
from tests.simulation.process import Life
from tests.simulation.wires import Connection

if TYPE_CHECKING:
    from tests.simulation.world import World


class Outsiders:
    """They outlive the daemon's lives. `acknowledged` is how many versions of the config a 200 was given for; `leisure`
    says how much slower than usual those are who come now and then."""

    leisure = 1.0

    def __init__(self, world: World) -> None:
        self.world = world
        self.acknowledged = 1
        self.followers = [self._follower(number) for number in range(world.plan.followers)]
        self._at_gate = -1  # the round that the market was asked for last
        self._unsure = False  # whether a change that was asked for is made or not

    def connect(self) -> Connection:
        """Raises ConnectionRefusedError."""
        if self.world.life is None or not hasattr(self.world.life, "listener"):
            raise ConnectionRefusedError
        return self.world.life.listener.connect()

    def _follower(self, number: int) -> Follower:
        faults = self.world.plan.faults if self.world.disturbed else frozenset[str]()
        manners = Manners(
            leaves=0.01 if "client leaves" in faults else 0.0,
            stalls=0.03 if "client stalls" in faults else 0.0,
            babbles=0.01 if "client babbles" in faults else 0.0,
        )
        random = Random(f"client {self.world.plan.seed} {number}")
        sizes = self.world.plan.sizes
        way = Way(sizes["ROOM"] + 2 * sizes["MAX_UNSENT"], sizes["FRAMES"] + 4, sizes["KEPT_FRAMES"])
        return Follower(self.connect, random, manners, self.world.complain, self.world.marks, self._shown, way)

    def _shown(self) -> int:
        return self.world.life.board.seq if self.world.life is not None else 0

    async def owner(self) -> None:
        """Makes the plan's changes, each until it is known to be in force."""
        for number, (index, patch) in enumerate(self.world.plan.changes):
            self._unsure = False
            while self.acknowledged < number + 2:
                await trio.sleep(0.5)
                if self.world.life is not None and self.world.life.board.risk.version >= number + 2:
                    self.acknowledged = number + 2
                elif self._is_settled(index) or self._hurries():
                    await self._patch(number + 2, patch)

    async def _patch(self, version: int, patch: dict[str, Any]) -> None:
        try:
            status, answer, _ = await request(self.connect, "PATCH", "/agents/current/config", patch, within=30.0)
        except OSError:
            return
        except NoAnswer:
            self._unsure = True
            return
        if status == 200:
            self.acknowledged = version
        elif status == 409 and not self._unsure:
            self.world.complain("35", f"PATCH {patch} was refused though nobody else changes anything: {answer}")
        elif status not in (409, 503):
            self.world.complain("47", f"PATCH {patch} was answered {status}: {answer}")
        self._unsure |= status == 503 and answer["code"] in ("RESTARTING", "NOT_DURABLE")

    def _hurries(self) -> bool:
        """Does the owner want it now, when the disk takes nothing? It is refused and must leave nothing behind."""
        life = self.world.life
        if life is None or self.world.calm or "owner hurries" not in self.world.plan.faults:
            return False
        return life.board.outages.get("disk") is not None

    @property
    def hurried(self) -> bool:
        """Did a change come through ahead of its round, after all? Then the run is another one from there on."""
        cursor, came = 0, list[int]()
        for _, _, _, kind, _, body, _ in self.world.log:
            if kind == "round":
                cursor = json.loads(body)["cursor"]
            elif kind == "config":
                came.append(cursor)
        return any(at != index for at, (index, _) in zip(came[1:], self.world.plan.changes, strict=False))

    def _is_settled(self, index: int) -> bool:
        """Is the round before this one on the disk? A change that overtakes a round which is decided again would make
        another run of it, and rightly so."""
        if self._at_gate != index:
            return False
        self.world.audit()
        last = next((row[5] for row in reversed(self.world.log) if row[3] == "round"), None)
        return (json.loads(last)["cursor"] if last else 0) == index

    async def changed_by(self, index: int) -> None:
        """The market holds a round back until every change before it is in force."""
        due = sum(at <= index for at, _ in self.world.plan.changes) + 1
        self._at_gate = index
        while self.world.life is None or self.world.life.board.risk.version < due:
            await trio.sleep(0.5)

    async def visitor(self) -> None:
        """Reads over REST now and then: never a 500, never more than is on the disk."""
        random = Random(f"visitor {self.world.plan.seed}")
        while True:
            await trio.sleep(self.leisure * random.expovariate(1 / 5))
            path = random.choice(
                ("/agents", "/agents/current", "/agents/current/events?limit=20", "/agents/current/positions",
                 "/agents/current/evaluation", "/agents/current/risk/objectives", "/agents/current/trades?limit=3",
                 "/agents/current/config", "/agents/seed/journal?limit=5", "/readyz", "/nothing")
            )  # fmt: skip
            before = self.world.life.told if self.world.life else 0
            try:
                status, answer, headers = await request(self.connect, "GET", path)
            except (NoAnswer, OSError):
                continue
            if status not in (200, 404, 503) or (status == 404) != (path == "/nothing"):
                self.world.complain("47", f"GET {path} was answered {status}: {answer}")
            told = {name.lower(): value for name, value in headers.items()}
            if status == 503 and "retry-after" not in told:
                self.world.complain("47", f"GET {path}: a 503 without Retry-After")
            if status == 200 and (last := int(told.get("x-last-seq", before))) < before:
                self.world.complain("11", f"GET {path} knows seq {last}; {before} was told before this process began")

    async def newcomer(self) -> None:
        """Comes now and then, and hears nothing that others had heard before."""
        random = Random(f"newcomer {self.world.plan.seed}")
        while True:
            await trio.sleep(self.leisure * random.expovariate(1 / 2))
            known = max(follower.seq for follower in self.followers)
            try:
                seq = await first_heard(self.connect, 3.0)
            except OSError:
                continue
            if seq is not None and seq <= known:
                self.world.complain("11", f"a newcomer hears seq {seq} first, others had {known} before it came")

    async def ask_on(self, life: Life) -> None:
        """Whoever asks is answered or told; what an actor has read does not just vanish with it."""
        random, desk = Random(f"asker {self.world.plan.seed} {life.number}"), life.agent.tower.outside()
        asks: tuple[tuple[str, Callable[[], Ask[Any]]], ...] = (
            ("Executor", ReadBooks), ("Strategist", ReadCursor), ("Journal", ReadHealth), ("Strategist", TellNotes),
            ("Journal", Flush),
        )  # fmt: skip
        while not life.dead:
            await trio.sleep(self.leisure * random.expovariate(1 / 2))
            floor, kind = random.choice(asks)
            message = kind()
            try:
                await desk.address(floor).ask(message)
            except (Died, MailboxFull):
                pass
            except TooLate:
                read, tower = life.witness.has_read(floor, message), life.agent.tower
                idle = tower.whole and tower.silence() < 2 * HEARTBEAT_SECONDS and life.board.outage is None
                if not life.dead and (read or idle):
                    done = "was read" if read else "was never read"
                    self.world.complain("35", f"a {kind.__name__} to the {floor} {done}, and nobody hears of it again")

    async def try_upward_asks(self, life: Life) -> None:
        """An older floor cannot ask a younger one, nor itself: it is refused before anything is sent."""
        names = [floor.name for floor in life.agent.tower._floors]
        older = self.world.random.randrange(len(names))
        younger = self.world.random.randrange(older, len(names))
        address = Desk(life.agent.tower, older).address(names[younger])
        with trio.move_on_after(1.0):
            try:
                await address.ask(ReadBooks())
            except UpwardAsk:
                return
        self.world.complain("37", f"{names[older]} could ask {names[younger]}")
