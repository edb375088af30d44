"""The owner of a live world: promotes, demotes, re-approves and kills, through the real door; and has the guard at
hand, which the daemon has not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.simulation.clients import NoAnswer, request

if TYPE_CHECKING:
    from tests.simulation.live.world import LiveWorld

AGENT: Final = "/agents/current"
WHIM_SECONDS: Final = 250.0  # between two ends of LIVE, on average


class Owner:
    """`promotions` is how many a 200 was given for; `done` says that he wants nothing any more."""

    def __init__(self, world: LiveWorld) -> None:
        self.world = world
        self.random = Random(f"owner {world.plan.seed}")
        self.promotions = 0
        self.done = False

    async def run(self) -> None:
        while not self.world.calm:
            await trio.sleep(self.random.expovariate(1 / self.world.plan.restless))
            if (agent := await self._ask("GET", AGENT)) is not None:
                await self._see_to(agent)
        await self._settle()

    async def _see_to(self, agent: dict[str, Any]) -> None:
        guard, chance = self.world.guard, self.random.random()
        whim = chance * WHIM_SECONDS / self.world.plan.restless
        if guard.killed and not guard.is_down and chance < 0.5:
            guard.restore()
            self.world.marks["kill restored"] += 1
            return
        match agent["status"]:
            case "LIVE" if whim < 0.3:
                await self._kill()
            case "LIVE" if whim < 0.5 and not guard.is_down:
                guard.kill()
            case "LIVE" if whim < 1.0:
                await self._ask("POST", f"{AGENT}/demote", {"reason": "by whim"})
            case "DEMOTED" if chance < 0.6:
                await self._reapprove(foreign=chance < 0.05)
            case "PAPER" if self._strands(agent) and chance < 0.5:
                await self._ask("POST", f"{AGENT}/demote", {"reason": "what is stranded shall be sold"})
            case "PAPER" | "ELIGIBLE" | "DEMOTED":
                await self._promote(agent["status"])

    def _strands(self, agent: dict[str, Any]) -> bool:
        """Is something held that is not being sold, and can be?"""
        truth = self.world.truth
        return truth.holds and agent["live"]["flattening"] is None and not truth.short

    def _pay_in(self) -> None:
        """Nobody could say what a kit did, and he has compared the wallet with the book."""
        tokens = self.world.chain.accounts.tokens
        for address, missing in self.world.truth.short.items():
            tokens[address][self.world.guard.wallet] = tokens[address].get(self.world.guard.wallet, 0) + missing

    async def _promote(self, status: str) -> None:
        force = not (self.world.plan.patient and status == "PAPER" and self.random.random() < 0.9)
        if self.random.random() < 0.3:
            await self._ask("GET", f"{AGENT}/preflight?force={str(force).lower()}")
        if await self._ask("POST", f"{AGENT}/promote", {"confirm": "go live", "force": force}) is None:
            return
        self.promotions += 1
        self.world.audit()
        if self.world.truth.promotions < self.promotions:
            told = f"{self.promotions} promotions were acknowledged, the log has {self.world.truth.promotions}"
            self.world.complain("2", told)

    async def _reapprove(self, *, foreign: bool) -> None:
        """The newest demotion, if it is one that only a person's act lifts; or one that never was."""
        entries = await self._ask("GET", f"{AGENT}/journal?type=DEMOTION&limit=1")
        if entries and entries[0]["data"].get("breach") == "max":
            name = "jrn_of_nothing" if foreign else entries[0]["id"]
            answer = await self._ask("POST", f"{AGENT}/reapprove", {"demotion": name, "reason": "it was the weather"})
            if foreign and answer is not None:
                self.world.complain("20", "a lock was lifted by an act that names another demotion")

    async def _kill(self) -> None:
        """Once it is answered for, the guard is dead until he restores it himself."""
        words = {"confirm": "revoke signing", "reason": "by whim"}
        if await self._ask("POST", f"{AGENT}/kill-switch", words) is not None:
            self.world.marks["killed through the door"] += 1
            if not self.world.guard.killed:
                self.world.complain("43", "the kill switch was answered for, and the guard signs on")

    async def _settle(self) -> None:
        """Now that nothing goes wrong any more: the guard signs, what is stranded is sold, as often as not all is."""
        leaves = self.random.random() < 0.5
        while not self.done:
            await trio.sleep(2.0)
            if self.world.guard.killed:
                self.world.guard.restore()
            self._pay_in()
            if (agent := await self._ask("GET", AGENT)) is None:
                continue
            live, held = agent["live"], self.world.truth.holds
            if agent["status"] == "LIVE" and leaves:
                await self._ask("POST", f"{AGENT}/demote", {"reason": "it is over"})
            elif agent["status"] != "LIVE" and held and live["flattening"] is None and not live["orders"]:
                await self._ask("POST", f"{AGENT}/demote", {"reason": "what is stranded shall be sold"})
            else:
                self.done = not live["orders"] and live["flattening"] is None

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of a 200; None where it is another one, or is lost."""
        try:
            status, answer, _ = await request(self.world.outsiders.connect, method, path, body, within=40.0)
        except (NoAnswer, OSError):
            return None
        if status not in (200, 409, 503):
            self.world.complain("47", f"{method} {path} was answered {status}: {answer}")
        return answer if status == 200 else None
