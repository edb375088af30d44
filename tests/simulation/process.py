"""One process of a world: the daemon's parts put together as `server.boot` and `server.daemon` do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import Factory, define, field

from actors.agent import Agent
from actors.broadcaster.board import Board
from actors.floors import House
from actors.journal.store import MAKER, Damaged, LogStore
from actors.messages import Note
from actors.strategist.actor import Founding
from actors.tower import HEARTBEAT_SECONDS, STUCK_SECONDS, Died, MailboxFull, Meltdown, TooLate
from actors.twak_signer.actor import Armed
from protocol.settings import MarketSettings, ServerSettings
from protocol.times import EPOCH
from server import bulkhead
from server.backtesting.queue import Backtests
from server.door.app import make_app
from server.door.desk import Door
from server.door.gate import Gate
from server.settings import Offer
from tests.simulation.disk import SimDisk, SimReader
from tests.simulation.reaper import Spell, haunt
from tests.simulation.wires import PORT, Listener
from tests.simulation.witness import Witness

if TYPE_CHECKING:
    from tests.simulation.world import World

LOG: Final = Path("/sim/log.sqlite3")
LOG_ID: Final = "log_simulated"
FLOORS: Final = (
    "Journal", "QuoteVerifier", "RiskEngine", "TwakSigner", "Executor", "Strategist", "MarketFeed", "Broadcaster",
)  # fmt: skip
STOP_SECONDS: Final = 1.5  # as the daemon's, and so is the next
STOP_PAUSE_SECONDS: Final = 0.05
NOWHERE: Final = Path("/nonexistent/forestay-simulation")


class Gone(Exception):
    """The process that wants something of the world does not exist any more."""


@define(eq=False)
class Life:
    """One process, from boot to whatever ends it."""

    number: int
    told: int  # the newest seq that any client had been told before this process
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
    excused: bool = False  # something happened of which actors may die on their own
    armed: Armed | None = None
    agent: Agent = field(init=False)
    witness: Witness = field(init=False)
    listener: Listener = field(init=False)


class Process:
    """Boots and runs lives in a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def boot(self, life: Life) -> None:
        """As `server.boot` opens the log. Raises DISK_ERRORS, Damaged."""
        store = LogStore(LOG, log_id=LOG_ID, vfs=self.world.disk.name)
        try:
            checkpoint = store.latest_checkpoint(MAKER)
            store.verify(checkpoint.row if checkpoint else 0)
            if checkpoint:
                self.world.marks["checkpoint restored"] += 1
        finally:
            store.close()
        life.listener = Listener(partial(self.world.mischief.first_byte, life))
        life.armed = self.world.armed(life)
        life.agent = self.agent_on(life, self.world.disk, [Note("STARTED", ("simulated",), "Started.", {})])
        assert tuple(floor.name for floor in life.agent.tower._floors) == FLOORS, "the faults aim at these"
        life.witness = Witness(self.world, life)
        spell = Spell(self.world.mischief.hangs, self.world.mischief.poisons)
        haunt(life.agent.tower, self.world.reaper, spell, life.witness)

    def agent_on(self, life: Life, disk: SimDisk, notes: list[Note]) -> Agent:
        """An agent of this world, on that disk. It has `notes` to tell of its own life."""
        market = self.world.market
        founding = Founding("seed", market.pinned, market.begins, self.world.plan.config, notes)
        blocking = partial(self._blocking, life)
        return Agent(
            House(
                log=LOG,
                log_id=LOG_ID,
                founding=founding,
                market=self.world.market,
                speed=self.world.plan.speed,
                board=life.board,
                market_ended=partial(self._market_ended, life),
                blocking=blocking,
                reader=SimReader(LOG, disk),
                reading=blocking,
                vfs=disk.name,
                armed=life.armed,
            )
        )

    async def run_agent(self, life: Life) -> None:
        try:
            await life.agent.run()
        except Meltdown:
            self.world.marks["meltdown"] += not life.dead
            life.melted = True
            # One that hangs dies only then, and one in the midst of a call that cannot be given up after that.
            window = 60 + STUCK_SECONDS + 2 * HEARTBEAT_SECONDS + self.world.longest_call
            last = max(life.killed_at, default=0.0)
            recent = sum(at >= last - window for at in life.killed_at)
            if recent <= 5 and not life.dead and not life.excused:
                self.world.complain("36", f"a meltdown after {recent} deaths within a minute")
        except Gone:  # before it had said its last words
            pass
        except Damaged as error:
            if not life.dead:
                self.world.complain("4", f"a log that nobody damaged is damaged: {error}")
        life.over.set()

    async def run_door(self, life: Life) -> None:
        blocking = partial(self._blocking, life)
        door = Door(
            agent="seed",
            log_id=LOG_ID,
            market=self.world.market.pinned,
            offer=Offer.of(self.world.market),
            board=life.board,
            reader=SimReader(LOG, self.world.disk),
            reading=blocking,
            tower=life.agent.tower,
            stopping=life.stopping,
            clock=lambda ago: EPOCH + timedelta(seconds=trio.current_time() - ago),
            backtests=Backtests(NOWHERE, lambda: ""),
            armed=life.armed,
            market_settings=MarketSettings(),
        )
        gate = Gate(make_app(door), ServerSettings(), PORT)  # type: ignore[arg-type]
        await bulkhead.serve(gate, [life.listener], stop=life.stopping)  # type: ignore[arg-type, list-item]
        life.closed = True

    async def wind_down(self, life: Life) -> None:
        """As the daemon does it."""
        with trio.move_on_after(STOP_SECONDS):
            while not life.melted:
                try:
                    if await life.agent.stop() is None:
                        life.stopped = True
                        if self.world.calm:
                            self.world.told_of_restarts(life)
                except (Died, TooLate, MailboxFull):
                    await trio.sleep(STOP_PAUSE_SECONDS)
                    continue
                break
        life.stopping.set()
        life.board.close()
        with trio.move_on_after(2 * bulkhead.GRACE_SECONDS):
            while not life.closed and not life.dead:
                await trio.sleep(0.1)

    def _market_ended(self, life: Life) -> None:
        if life is self.world.life and not life.dead:
            self.world.becalm()
            life.ended = True

    async def _blocking(self, life: Life, call: Callable[[], Any], /) -> Any:
        """A blocking call: it takes what the disk takes, and is waited for whatever happens. A slow sync has
        been done by the time it is told."""
        with trio.CancelScope(shield=True):
            await trio.sleep(self.world.latency * self.world.random.random())
        if life.dead:
            raise Gone
        synced = self.world.disk.done["sync"]
        answer = call()
        with trio.CancelScope(shield=True):
            if self.world.disk.done["sync"] > synced:
                await trio.sleep(self.world.sync_latency * self.world.random.random())
        if life.dead:
            raise Gone
        await trio.lowlevel.checkpoint()
        return answer
