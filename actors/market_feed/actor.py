"""The MarketFeed: brings the market's rounds to the Strategist, one at a time, at its pace."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import trio

from actors.messages import ConductRound, Flush, Halt, OutageChanged, ReadCursor, ReadHealth, SkipRound
from actors.ports import Market
from actors.tower import Actor, Address, MailboxFull
from protocol.errors import Outage
from protocol.market import NotYet, Round
from protocol.times import to_wire

log = logging.getLogger("forestay.market")
DEADLY: Final = 3
OUTAGE_SECONDS: Final = 0.5
MARKET_SECONDS: Final = 30.0  # for the market to answer in


class MarketFeed(Actor):
    """`attempts` counts how often a round was begun, `halted` is set once no further one shall be; both outlive this
    incarnation. A round that has killed DEADLY times is passed over. `speed` is in rounds per second, None for as fast
    as they settle. `ended` is called once the market has no further round."""

    def __init__(
        self,
        market: Market,
        speed: float | None,
        attempts: Counter[str],
        ended: Callable[[], None],
        halted: trio.Event,
        *,
        journal: Address,
        strategist: Address,
        broadcaster: Address,
    ) -> None:
        self._market = market
        self._step = 0.0 if speed is None else 1 / speed
        self._attempts = attempts
        self._ended = ended
        self._journal = journal
        self._strategist = strategist
        self._broadcaster = broadcaster
        self._outage: Outage | None = None
        self._halted = halted
        self._idle = trio.Event()
        self._asking = trio.CancelScope()

    async def receive(self, message: Any) -> Any:
        match message:
            case Halt():
                self._halted.set()
                self._asking.cancel()
                await self._idle.wait()
            case _:
                raise TypeError(f"the MarketFeed does not take {message!r}")

    async def work(self) -> None:
        cursor = await self._strategist.ask(ReadCursor())
        due = trio.current_time()
        while not self._halted.is_set():
            round = await self._next(cursor)
            if isinstance(round, Outage | NotYet):
                pause = round.seconds if isinstance(round, NotYet) else OUTAGE_SECONDS
                await self._pause_until(trio.current_time() + pause)
                continue
            if round is None:
                log.info("the market has no further round")
                self._ended()
                break
            key = to_wire(round.ts)
            self._attempts[key] += 1
            if self._attempts[key] > DEADLY:
                reason = f"it ended an actor {DEADLY} times"
                answer = await self._strategist.ask(SkipRound(round, cursor, reason))
                # The next round may be deadly, too: what is not on the disk by then would be tried again for ever.
                outage = await self._journal.ask(Flush())
                answer = answer or outage
            else:
                answer = await self._strategist.ask(ConductRound(round, cursor))
            if answer is None:
                cursor = round.cursor
                del self._attempts[key]
            else:
                self._attempts[key] -= 1  # not settled, but nobody died of it
                await self._outlast()
                cursor = await self._strategist.ask(ReadCursor())
            if self._step:
                due = max(due + self._step, trio.current_time())
                await self._pause_until(due)
        self._idle.set()

    async def _next(self, cursor: Any) -> Round | NotYet | Outage | None:
        """The market's answer; none in time is an outage, too. A halt waits for no market."""
        answer: Round | NotYet | Outage | None = Outage("market", f"no answer within {MARKET_SECONDS:.0f} s")
        with trio.move_on_after(MARKET_SECONDS) as self._asking:
            answer = await self._market.next_round(cursor)
        if not self._halted.is_set():
            self._show(answer if isinstance(answer, Outage) else None)
        return answer

    def _show(self, outage: Outage | None) -> None:
        if outage == self._outage:
            return
        log.warning("%s", outage.reason if outage else "the market answers again")
        try:
            self._broadcaster.tell(OutageChanged("market", outage))
        except MailboxFull:
            return  # it is shown with the next answer
        self._outage = outage

    async def _pause_until(self, due: float) -> None:
        with trio.move_on_at(due):
            await self._halted.wait()

    async def _outlast(self) -> None:
        """Nothing is decided while nothing can be written."""
        while not self._halted.is_set() and await self._journal.ask(ReadHealth()) is not None:
            await trio.sleep(OUTAGE_SECONDS)
