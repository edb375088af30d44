"""What goes wrong in a live world besides: the chain, the way to it, the guard and the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from protocol.signing import Refused, SignTransaction
from tests.simulation.live.plan import FAULTS, MOODS, STORMS
from tests.simulation.mischief import Mischief

if TYPE_CHECKING:
    from tests.simulation.live.world import LiveWorld

STORM_SECONDS: Final = 15.0  # on average
# So long that something is replaced, a kit is run, or something is to be signed.
LASTING: Final = {"mined late", "overtaken", "kit fails", "guard dies"}


class LiveMischief(Mischief):
    world: LiveWorld

    async def _strike(self, kind: str) -> None:
        if kind not in FAULTS:
            await super()._strike(kind)
            return
        chain, guard, random = self.world.chain, self.world.guard, self.world.random
        self.world.faults[kind] += 1
        lasts = random.expovariate(1 / (STORM_SECONDS if kind not in LASTING else 3 * STORM_SECONDS))
        if random.random() < 0.4:  # seldom alone: somebody may die while it lasts
            self._doom(80)
        match kind:
            case "nonce usurped":
                await self._lie_in_wait()  # whose nonce it is
                if not self.world.calm:
                    self.world.usurp()
                return
            case "chain stands still":
                chain.holding = True
            case "guard down":
                guard.back_at = trio.current_time() + lasts
            case "guard refuses":
                guard.refusing = _refused
            case "gas dearer":
                chain.price = random.choice((10**8, 10**9, 5 * 10**9, 10**12))
            case "kit fails":
                guard.kit_does = random.choice(("sends and is lost", "sends and is lost", "sends nothing", "is lost"))
                guard.kit_seconds = random.choice((0.0, 5.0, 60.0))
            case _ if kind in STORMS:
                if kind == "overtaken":
                    await self._lie_in_wait()  # which is to be replaced
                if self.world.calm:
                    return
                chain.weather = STORMS[kind]
            case _:
                guard.mood = MOODS[kind]
        await trio.sleep(lasts)
        self.world.lull()

    async def _lie_in_wait(self) -> None:
        """For a while: until one of our transactions waits for its block."""
        with trio.move_on_after(4 * STORM_SECONDS):
            while not self.world.chain.waiting and not self.world.calm:
                await trio.sleep(0.5)


def _refused(question: SignTransaction) -> Refused:
    return Refused("per_trade_cap", "the swap is above the cap", "1001", "1000")
