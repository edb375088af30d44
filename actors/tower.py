"""Addresses, mailboxes and supervision. No word of trading here.

A tower is one list of floors, oldest first. It says four things at once: the start order; the restart scope (a floor
that falls takes the younger ones with it, never an older one: nested nurseries); who may ask whom (only the younger
ask the older, so no cycle of waiting can be built); and, reversed, the order of shutdown.

A mailbox outlives the actor that reads it, so what is queued stays, in order. The message that an actor dies of is
settled as `Died` at once and never read again. Telling never blocks: a full mailbox raises in the sender.

An actor that neither answers nor dies is ended by the watch. As waiting goes only downward, the oldest silent floor
waits for nobody in the tower: it is the one that is stuck, whoever else is silent because of it.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar, cast

import outcome
import trio
from attrs import define, field, frozen

R = TypeVar("R")
log = logging.getLogger("forestay.tower")

HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = 2 * HEARTBEAT_SECONDS  # who answers pings has shown life by then
STUCK_SECONDS = 10.0
ASK_SECONDS = 30.0  # longer than a stuck floor is let be, so that it falls and not the ones that wait for it
BURST = 64


class Ask(Generic[R]):
    """A message that is answered by an R."""

    __slots__ = ()


class MailboxFull(Exception):
    """The addressee has more waiting than it may hold. Raised in the sender, at once."""


class Died(Exception):
    """The addressee died while it handled this message. The message will not be read again."""


class TooLate(Exception):
    """No answer within the ask's deadline. The message may still be handled."""


class UpwardAsk(Exception):
    """An older floor asked a younger one, or itself: a wait that could close a circle."""


class Meltdown(Exception):
    """More deaths within the window than restarting can be trusted to cure."""


class Stuck(Exception):
    """An actor handled one message for longer than STUCK_SECONDS."""


class Actor:
    """What stands on a floor. Subclasses are thin: observe, decide by a pure function, append, act."""

    async def restore(self) -> None:
        """Build the state from the log; runs to its end before the first message is read."""

    async def receive(self, message: Any) -> Any:
        """Handle one message; what is returned is the answer to an ask. An exception ends this incarnation."""
        raise NotImplementedError

    async def work(self) -> None:
        """What the actor does besides answering; may return. An exception ends this incarnation."""

    def close(self) -> None:
        """Let go of what this incarnation holds, however it ended. Must not wait."""


@define(eq=False)
class _Envelope:
    """A message on its way, and the one place its answer can come to. A tell has nobody waiting."""

    message: Any
    deadline: float
    _asker: trio.lowlevel.Task | None = field(default=None, init=False)
    _answer: outcome.Maybe[Any] | None = field(default=None, init=False)

    async def answer(self) -> Any:
        if self._answer is None:
            self._asker = trio.lowlevel.current_task()

            def abandon(_: Any) -> trio.lowlevel.Abort:
                self._asker = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abandon)
        return self._answer.unwrap()  # type: ignore[union-attr]

    def settle(self, answer: Any) -> None:
        """The first answer counts; later ones are dropped."""
        if self._answer is None:
            self._answer = answer
            if self._asker is not None:
                trio.lowlevel.reschedule(self._asker)
                self._asker = None


_PING = _Envelope(None, float("inf"))


@frozen(eq=False)
class Floor:
    """A place in the tower: `open` makes a new incarnation, each time with the same desk."""

    name: str
    open: Callable[[Desk], Actor]
    capacity: int = 256


@frozen
class FloorState:
    """How a floor is: messages that wait, restarts so far, and seconds since it showed life."""

    name: str
    mailbox: int
    capacity: int
    restarts: int
    silence: float


@frozen(eq=False)
class Address:
    """One addressee, as seen from one desk."""

    name: str
    _tower: Tower
    _floor: int
    _asker: int

    def tell(self, message: Any) -> None:
        """Queue a message for which no answer is wanted. Raises MailboxFull."""
        self._tower.post(self._floor, _Envelope(message, float("inf")))

    async def ask(self, message: Ask[R], *, within: float = ASK_SECONDS) -> R:
        """Queue a message and wait for its answer. Raises MailboxFull, Died, TooLate, UpwardAsk.

        A cancelled ask abandons the answer, not the message. Deadlines are seen at the next heartbeat.
        """
        if self._asker <= self._floor:
            raise UpwardAsk(f"floor {self._asker} may not ask {self.name} on floor {self._floor}")
        envelope = _Envelope(message, trio.current_time() + within)
        self._tower.post(self._floor, envelope)
        self._tower.asks[envelope] = None
        try:
            return cast(R, await envelope.answer())
        finally:
            del self._tower.asks[envelope]


@frozen(eq=False)
class Desk:
    """A floor's view of the tower: the addresses it writes to."""

    _tower: Tower
    _floor: int

    def address(self, name: str) -> Address:
        return Address(name, self._tower, self._tower.index(name), self._floor)


class Tower:
    """Runs the floors until cancelled. Raises Meltdown once more than `deaths_allowed` fell within `window` seconds,
    and a death's cause itself where it is one of `incurable`, which no restart cures.

    `on_fall(name, cause)` is told of each death before the floor is opened again; it must not block.
    """

    def __init__(
        self,
        floors: Sequence[Floor],
        *,
        on_fall: Callable[[str, BaseException], None] = lambda _, __: None,
        incurable: tuple[type[Exception], ...] = (),
        deaths_allowed: int = 5,
        window: float = 60.0,
    ) -> None:
        self._floors = tuple(floors)
        self._boxes = [trio.open_memory_channel[_Envelope](floor.capacity) for floor in floors]
        self._beats = [0.0] * len(self._floors)
        # Of the floors that read messages: the scope of what they do, and that of the younger ones.
        self._reading: list[tuple[trio.CancelScope, trio.CancelScope] | None] = [None] * len(self._floors)
        self._stuck: set[int] = set()  # whom the watch has ended
        self._deaths: deque[float] = deque()
        self._on_fall = on_fall
        self._incurable = incurable
        self._ends: tuple[type[Exception], ...] = (Meltdown, *incurable)
        self._at_hand = [_PING] * len(self._floors)  # the message read last, and by then settled or being handled
        self._deaths_allowed = deaths_allowed
        self._window = window
        self._read = 0
        self.asks: dict[_Envelope, None] = {}  # in the order of asking: a set would end them in any
        self.restarts: Counter[str] = Counter()
        self.standing = trio.Event()  # every floor has stood restored once
        self.whole = False  # every floor stands restored now

    def index(self, name: str) -> int:
        return next(i for i, floor in enumerate(self._floors) if floor.name == name)

    def outside(self) -> Desk:
        """The desk of what stands beside the tower and may ask every floor."""
        return Desk(self, len(self._floors))

    def post(self, floor: int, envelope: _Envelope) -> None:
        try:
            self._boxes[floor][0].send_nowait(envelope)
        except trio.WouldBlock:
            raise MailboxFull(f"{self._floors[floor].name} holds {self._floors[floor].capacity}") from None

    def silence(self) -> float:
        """Seconds since the floor that has been silent longest showed life."""
        return trio.current_time() - min(self._beats)

    def floors(self) -> list[FloorState]:
        """How each floor is, oldest first."""
        now = trio.current_time()
        return [
            FloorState(
                floor.name,
                outbox.statistics().current_buffer_used,
                floor.capacity,
                self.restarts[floor.name],
                now - beat,
            )
            for floor, (outbox, _), beat in zip(self._floors, self._boxes, self._beats, strict=True)
        ]

    async def run(self) -> None:
        end: BaseException | None = None
        self._beats = [trio.current_time()] * len(self._floors)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._stand, 0)
        except* self._ends as group:
            end = _leaf(group)
        if end is not None:
            raise end

    async def _stand(self, index: int) -> None:
        """Keep this floor and all younger ones standing."""
        if index == len(self._floors):
            self.whole = True
            self.standing.set()
            await trio.sleep_forever()
        while True:
            fallen: list[BaseException] = []
            async with trio.open_nursery() as nursery:
                restored = trio.Event()
                own = trio.CancelScope(shield=True)  # a floor outlives the younger ones, also when all are cancelled
                nursery.start_soon(self._live, index, own, restored, fallen, nursery.cancel_scope)
                try:
                    await restored.wait()
                    await self._stand(index + 1)
                finally:
                    own.cancel()
            self._fell(self._floors[index].name, fallen.pop())

    async def _live(
        self,
        index: int,
        own: trio.CancelScope,
        restored: trio.Event,
        fallen: list[BaseException],
        younger: trio.CancelScope,
    ) -> None:
        """One incarnation to its end; if that is a death, the younger floors fall with it."""
        try:
            with own:
                await self._incarnate(index, restored, younger)
            if index in self._stuck:
                kind = type(self._at_hand[index].message).__name__
                raise Stuck(f"{self._floors[index].name} was not done with a {kind} in {STUCK_SECONDS:.0f} s")
        except* Exception as causes:
            fallen.append(causes)
            younger.cancel()  # also where it never came to read

    async def _incarnate(self, index: int, restored: trio.Event, younger: trio.CancelScope) -> None:
        floor = self._floors[index]
        self._beats[index] = trio.current_time()
        self._stuck.discard(index)
        actor = floor.open(Desk(self, index))
        try:
            async with trio.open_nursery() as nursery:
                await actor.restore()
                nursery.start_soon(self._mortal, index, younger, actor.work)
                restored.set()
                self._reading[index] = nursery.cancel_scope, younger
                await self._mortal(index, younger, partial(self._read_on, index, actor))
        finally:
            self._reading[index] = None
            actor.close()

    async def _mortal(self, index: int, younger: trio.CancelScope, part: Callable[[], Awaitable[None]]) -> None:
        """A part of an incarnation. Its end is known at once, as another part may be in the midst of what has to be
        waited for."""
        try:
            await part()
        except Exception:
            self._end(index, younger)
            raise
        except BaseException:  # an older floor has fallen, or all are stopped
            self._settle_at_hand(index)
            raise

    def _end(self, index: int, younger: trio.CancelScope) -> None:
        """The younger floors fall first: one that waits for the last message's answer must not die of it."""
        younger.cancel()
        self._settle_at_hand(index)

    def _settle_at_hand(self, index: int) -> None:
        self._at_hand[index].settle(outcome.Error(Died(self._floors[index].name)))

    async def _read_on(self, index: int, actor: Actor) -> None:
        """Message after message, until one of them kills or the watch ends it."""
        inbox = self._boxes[index][1]
        while True:
            envelope = await self._next(inbox)
            self._beats[index] = trio.current_time()
            if envelope is _PING:
                continue
            self._at_hand[index] = envelope
            envelope.settle(outcome.Value(await actor.receive(envelope.message)))

    async def _next(self, inbox: trio.MemoryReceiveChannel[_Envelope]) -> _Envelope:
        """The next message. A burst is read without yielding between its messages, but for every BURST-th."""
        self._read += 1
        if self._read % BURST:
            with suppress(trio.WouldBlock):
                return inbox.receive_nowait()
        return await inbox.receive()

    def _fell(self, name: str, group: BaseException) -> None:
        cause = _leaf(group)
        self.whole = False
        log.error("%s died of %s and is restarted", name, type(cause).__name__, exc_info=cause)
        self.restarts[name] += 1
        if isinstance(cause, self._incurable):
            raise cause
        now = trio.current_time()
        self._deaths.append(now)
        while self._deaths[0] < now - self._window:
            self._deaths.popleft()
        if len(self._deaths) > self._deaths_allowed:
            raise Meltdown(f"{len(self._deaths)} deaths within {self._window:.0f} s, the last of {name}") from cause
        self._on_fall(name, cause)

    async def _keep_time(self) -> None:
        """Ping every floor, so that a silent one is seen, end the oldest one that is stuck, and the asks whose deadline
        has passed."""
        while True:
            asleep = trio.current_time()
            await trio.sleep(HEARTBEAT_SECONDS)
            if (late := trio.current_time() - asleep - HEARTBEAT_SECONDS) > HEARTBEAT_SECONDS:
                self._excuse(late)
            for outbox, _ in self._boxes:
                if not outbox.statistics().current_buffer_used:  # what waits there shows life as well as a ping
                    outbox.send_nowait(_PING)
            now = trio.current_time()
            for index, (reading, beat) in enumerate(zip(self._reading, self._beats, strict=True)):
                if reading is None or now - beat <= SILENT_SECONDS:
                    continue
                if now - beat > STUCK_SECONDS:
                    doings, younger = reading
                    self._stuck.add(index)
                    self._end(index, younger)
                    doings.cancel()
                break  # whoever is silent above the oldest silent one may only wait for it, also where it was so first
            for envelope in [e for e in self.asks if e.deadline <= now]:
                envelope.settle(outcome.Error(TooLate(f"no answer to {type(envelope.message).__name__}")))

    def _excuse(self, late: float) -> None:
        """The whole process stood still (suspended, swapped out): nobody could show life, so nobody was silent."""
        self._beats = [beat + late for beat in self._beats]
        for envelope in self.asks:
            envelope.deadline += late


def _leaf(error: BaseException) -> BaseException:
    """The first exception that is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
