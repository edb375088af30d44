"""The Executor's own work beside its mailbox: it looks after one order at a time, and waits until what was seen is
learned. The real one, in a tower whose other floors answer as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, field

from actors.executor.actor import LEARNING_SECONDS, Dealing, Executor
from actors.executor.order_life import Lapsed, Sighting
from actors.messages import Flush, Learned, LookAfter, ReadAnchor, ReadCheckpoint, ReadRows, Seen
from actors.tower import Actor, Desk, Floor, Tower
from protocol.events import ConfigAdopted, Row
from protocol.signing import Anchor
from tests.actors.seeded import over_seeds
from tests.live.lives import AT, CONFIG, DECIMALS, OPENED, folded, intended

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
    """What stands around the Executor. `looks` are the questions about orders, answered by `seen` in turn."""

    seen: list[Sighting]
    looks: list[LookAfter] = field(factory=list)
    told: list[Sighting] = field(factory=list)

    def journal(self, message: Any) -> Any:
        match message:
            case ReadRows():
                return (0, []) if message.after else (len(LOG), [row for row in LOG if row.kind in message.kinds])
            case ReadAnchor():
                return Anchor("log", len(LOG), "0" * 64)
            case ReadCheckpoint() | Flush():
                return None

    def signer(self, message: Any) -> Any:
        assert isinstance(message, LookAfter)
        self.looks.append(message)
        return self.seen[min(len(self.looks), len(self.seen)) - 1]

    def strategist(self, message: Any) -> None:
        assert isinstance(message, Seen)
        self.told.append(message.seen)

    def tower(self) -> Tower:
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
    tower = around.tower()
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
