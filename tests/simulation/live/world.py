"""A live world: the same daemon in the same troubles, with a wallet on a chain and a guard before its key."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar, Final

import trio

from actors.twak_signer.actor import Armed
from tests.simulation.live.market import FEEDS, POOLS, LiveMarket
from tests.simulation.live.mischief import LiveMischief
from tests.simulation.live.owner import Owner
from tests.simulation.live.plan import LivePlan
from tests.simulation.live.truth import Truth
from tests.simulation.mischief import Mischief
from tests.simulation.process import Gone, Life
from tests.simulation.world import World
from tests.world.chain import CALM, SimChain
from tests.world.guard import Mood, SimGuard

QUIET_SECONDS: Final = 3600.0  # after so long nothing is open
DOUBT_SECONDS: Final = 2000.0  # nor of a kit's after so long, counted from the last deadline there may be
LEISURE: Final = 20.0
OF_PAPER: Final = frozenset({"round", "run_started", "run_failed", "placed"})


class Line:
    """One process's way to a port: it is gone with the process. Whoever listens in hears what some calls are given."""

    def __init__(self, port: Any, life: Life, **hears: Callable[[Any], None]) -> None:
        self._port, self._life, self._hears = port, life, hears

    def __getattr__(self, name: str) -> Any:
        call, hears = getattr(self._port, name), self._hears.get(name)

        async def asked(*given: Any, **named: Any) -> Any:
            self._check()
            if hears is not None:
                hears(*given)
            answer = await call(*given, **named)
            self._check()
            return answer

        return asked

    def _check(self) -> None:
        if self._life.dead:
            raise Gone


class LiveWorld(World):
    """Undisturbed, it only trades on paper: that must not depend on what happens to the live side."""

    limit_seconds: ClassVar[float] = 12_000.0

    plan: LivePlan

    def __attrs_post_init__(self) -> None:
        self.truth, self.owner = Truth(self), Owner(self)
        self.calm_since: float | None = None
        self._audited = (-1, -1)  # after how many deaths and writes
        super().__attrs_post_init__()
        self.outsiders.leisure = LEISURE
        self.lull()

    def _mischief(self) -> Mischief:
        return LiveMischief(self)

    def _market(self) -> LiveMarket:
        market = LiveMarket(self.plan, self.plan.pace if self.disturbed else 0.0, self.marks)
        self.chain: SimChain = market.chain
        self.chain.took = self.truth.took
        self.guard = SimGuard(self.chain, Random(f"guard {self.plan.seed}"), way=self.plan.way)
        return market

    def armed(self, life: Life) -> Armed | None:
        if not self.disturbed:
            return None
        chain, guard = Line(self.chain, life, send=self.truth.sending), Line(self.guard, life, ask=self.truth.asking)
        return Armed(chain, guard, self.plan.settings, POOLS, FEEDS)

    def _begin_beside(self, nursery: trio.Nursery) -> None:
        if self.disturbed:
            nursery.start_soon(self.owner.run)

    # --- weather

    def lull(self) -> None:
        """A storm is over; once all is calm, for good."""
        self.chain.weather = CALM if self.calm else self.plan.weather
        self.chain.holding, self.chain.price = False, 10**9
        self.guard.mood = Mood() if self.calm else self.plan.mood
        self.guard.refusing = lambda question: None
        self.guard.kit_does, self.guard.kit_seconds = "sends", 1.0

    def becalm(self) -> None:
        super().becalm()
        if self.calm_since is None:
            self.calm_since = trio.current_time()
        self.lull()
        self.guard.back_at = 0.0

    def usurp(self) -> None:
        """Somebody else has the key. What he does costs nothing, so that the wallet can be held against the log."""
        waiting = set(self.chain.waiting)
        hash = self.chain.usurp(gas_price=0, value=0)
        self.truth.foreign[hash] = self.chain.accounts.nonces[self.guard.wallet] - 1
        self.truth.displaced |= waiting - set(self.chain.waiting)

    # --- what comes of it

    def audit(self) -> None:
        moment, known = (self.disk.epoch, self.disk.done["write"]), len(self.log)
        if moment != self._audited:  # nothing else makes a row
            super().audit()
            self._audited = moment
        self.truth.read(self.log[known:])

    def die(self, how: Callable[[], None]) -> None:
        if self.life is not None and not self.life.dead:
            self.truth.dying()
        super().die(how)

    def _is_finished(self) -> bool:
        """Nothing is open, sold out or wanted any more: that must be so after an hour without any trouble."""
        if not self.disturbed:
            return True
        if self.owner.done and self.truth.is_quiet:
            if self.life is not None:
                self.truth.hold(self.life.board)
            return True
        if self.calm_since is None or trio.current_time() < self.calm_since + self._quiet_seconds:
            return False
        self.complain("29", f"after {self._quiet_seconds / 3600:.0f} quiet hours there is still {self.truth.standing}")
        return True

    @property
    def _quiet_seconds(self) -> float:
        waits = self.plan.config.live.deadline_seconds + DOUBT_SECONDS if self.plan.way == "twak" else 0.0
        return max(QUIET_SECONDS, waits)

    def _closing_checks(self) -> None:
        super()._closing_checks()
        if self.disturbed:
            self.truth.close()
        self.marks.update(self.chain.marks)
        self.marks.update(self.guard.marks)

    @property
    def essence(self) -> list[tuple[str, dict[str, Any]]]:
        """What paper decided."""
        kept = []
        for _, _, _, kind, _, body, _ in self.log:
            plain = json.loads(body)
            plain.pop("seq", None)
            if kind in OF_PAPER or (kind in ("mark", "trade", "decided") and plain.get("phase", "paper") == "paper"):
                kept.append((kind, plain))
        return kept
