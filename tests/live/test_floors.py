"""What the Executor and the TwakSigner do beside their mailboxes: an order is looked after until what was seen of it is
learned, and the guard is watched. The real ones, in a tower whose other floors answer as a test says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import trio
from attrs import define, field

from actors.executor.actor import LEARNING_SECONDS, LONGEST_SECONDS, Dealing, Executor
from actors.executor.order_life import Lapsed, Sighting
from actors.messages import (
    Flush,
    Hear,
    Learned,
    LookAfter,
    Observe,
    ReadAnchor,
    ReadCheckpoint,
    ReadRows,
    RevokeSigning,
    Seen,
    SigningChanged,
)
from actors.tower import Actor, Desk, Floor, Tower
from actors.turn import Turn
from actors.twak_signer.actor import WATCH_SECONDS, Armed, TwakSigner
from protocol.errors import Outage
from protocol.events import ConfigAdopted, Flattening, Row
from protocol.signing import Anchor, Answer, Question, ReadGuard, Revoked
from tests.actors.seeded import over_seeds
from tests.live.lives import AT, CONFIG, DECIMALS, OPENED, bought, folded, intended
from tests.world import chain as chains
from tests.world.chain import SimChain
from tests.world.guard import ANSWER_SECONDS, SimGuard

BUY: Final = intended(folded(*OPENED))
LOG: Final[tuple[Row, ...]] = (ConfigAdopted(AT, 1, CONFIG), *OPENED, BUY)


class Answering(Actor):
    """A floor that answers as it is told to."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    async def receive(self, message: Any) -> Any:
        return self._answer(message)


@define
class Around:
    """What stands around the Executor. `looks` are the questions about orders, answered by `seen` in turn; prices there
    are none."""

    seen: list[Sighting]
    log: tuple[Row, ...] = LOG
    looks: list[LookAfter] = field(factory=list)
    told: list[Sighting] = field(factory=list)

    def journal(self, message: Any) -> Any:
        match message:
            case ReadRows():
                found = [row for row in self.log if row.kind in message.kinds]
                return (0, []) if message.after else (len(self.log), found)
            case ReadAnchor():
                return Anchor("log", len(self.log), "0" * 64)
            case ReadCheckpoint() | Flush():
                return None

    def signer(self, message: Any) -> Any:
        if isinstance(message, Observe):
            return Outage("chain", "no answer")
        assert isinstance(message, LookAfter)
        self.looks.append(message)
        return self.seen[min(len(self.looks), len(self.seen)) - 1]

    def strategist(self, message: Any) -> None:
        assert isinstance(message, Seen)
        self.told.append(message.seen)

    def around_the_executor(self) -> Tower:
        def executor(desk: Desk) -> Executor:
            signer, strategist, broadcaster = map(desk.address, ("TwakSigner", "Strategist", "Broadcaster"))
            dealing = Dealing(signer, signer, strategist, broadcaster, DECIMALS)
            return Executor(desk.address("Journal"), desk.address("TwakSigner"), dealing)

        return Tower(
            [
                Floor("Journal", lambda _: Answering(self.journal)),
                Floor("TwakSigner", lambda _: Answering(self.signer)),
                Floor("Executor", executor),
                Floor("Strategist", lambda _: Answering(self.strategist)),
                Floor("Broadcaster", lambda _: Answering(lambda _: None)),
            ]
        )


@over_seeds
async def test_a_late_word_of_what_was_learned_before_does_not_end_the_wait_for_what_was_seen_since() -> None:
    first, second = Lapsed(BUY.order.ref, 1), Lapsed(BUY.order.ref, 2)
    around = Around([first, second])
    tower = around.around_the_executor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tower.run)
        await tower.standing.wait()
        executor = tower.outside().address("Executor")
        await trio.sleep(LEARNING_SECONDS + 5)  # nobody says that the first one is learned
        assert around.told == [first, second]
        executor.tell(Learned(first))
        await trio.sleep(10)
        assert len(around.looks) == 2
        executor.tell(Learned(second))
        await trio.sleep(10)
        assert len(around.looks) == 3
        nursery.cancel_scope.cancel()


@over_seeds
async def test_an_order_is_looked_after_at_once_however_far_apart_the_tries_to_sell_are() -> None:
    holding = (*OPENED, *bought(folded(*OPENED)), Flattening(AT, "a limit was reached"))
    sale = intended(folded(*holding), "sell")
    around = Around([Lapsed(sale.order.ref, 1)], (ConfigAdopted(AT, 1, CONFIG), *holding))
    tower = around.around_the_executor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tower.run)
        await tower.standing.wait()
        await trio.sleep(2.2 * LONGEST_SECONDS)  # of tries that each have waited longer
        await tower.outside().address("Executor").ask(Hear(Turn(settled=True), (sale,)))
        await trio.sleep(10)
        assert [look.order.ref for look in around.looks] == [sale.order.ref]
        nursery.cancel_scope.cancel()


@define(eq=False)
class SlowToTell(SimGuard):
    """How it stands is said only once it may be."""

    may: trio.Event = field(factory=trio.Event)

    async def ask(self, question: Question, /, *, within: float = ANSWER_SECONDS) -> Answer | Outage:
        answer = await SimGuard.ask(self, question, within=within)
        if isinstance(question, ReadGuard):
            await self.may.wait()
        return answer


@over_seeds
async def test_how_the_guard_stood_before_a_kill_is_not_told_after_it() -> None:
    """It would be news of a guard that was restored."""
    random, told = Random(0), list[Any]()
    guard = SlowToTell(SimChain(random), random)
    armed = Armed(guard.chain, guard, chains.settings(), {}, {})

    def signer(desk: Desk) -> TwakSigner:
        journal, strategist, broadcaster = map(desk.address, ("Journal", "Strategist", "Broadcaster"))
        return TwakSigner(armed, journal=journal, strategist=strategist, broadcaster=broadcaster)

    tower = Tower(
        [
            Floor("Journal", lambda _: Answering(lambda _: None)),
            Floor("TwakSigner", signer),
            Floor("Strategist", lambda _: Answering(told.append)),
            Floor("Broadcaster", lambda _: Answering(lambda _: None)),
        ]
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tower.run)
        await tower.standing.wait()
        await trio.sleep(1)  # it is being asked how it stands
        revoked = await tower.outside().address("TwakSigner").ask(RevokeSigning("enough"))
        assert isinstance(revoked, Revoked)
        guard.may.set()
        await trio.sleep(2 * WATCH_SECONDS)
        assert told
        assert set(told) == {SigningChanged(revoked.at, "by hand", True)}
        nursery.cancel_scope.cancel()
