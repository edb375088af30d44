"""The TwakSigner: the way to the signing guard and to the chain. It decides nothing and remembers nothing that matters;
where no guard is set up nothing is armed, and it says so to whoever asks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import trio
from attrs import field, frozen

from actors.chain.bars import Pool, fed
from actors.chain.port import Block, Chain, Denied, Unanswered
from actors.executor.live import USDT, OpenOrder
from actors.executor.order_life import Sighting
from actors.executor.swaps import base_of
from actors.messages import (
    GuardSeen,
    Inspect,
    LookAfter,
    Observe,
    Observed,
    OutageChanged,
    ReadAnchor,
    RevokeSigning,
    SigningChanged,
)
from actors.tower import Actor, Address, MailboxFull
from actors.twak_signer.guard import Guard
from actors.twak_signer.inspection import Inspection
from actors.twak_signer.pursuit import Pursuit, Unavailable
from actors.twak_signer.transactions import address_of
from protocol.errors import Outage, Refusal
from protocol.market import Candle, Observation, Tick
from protocol.money import Units, booked
from protocol.settings import ChainSettings
from protocol.signing import Anchor, GuardStatus, Revoke, Revoked

log = logging.getLogger("forestay.signer")
T = TypeVar("T")
RPC_SECONDS: Final = 8.0  # for one look; less than a stuck floor is let be
WATCH_SECONDS: Final = 3.0
TRIAL_USDT: Final = Decimal(10)  # what a quote is asked for
NOT_ARMED: Final = Refusal("not_armed", "signing is not armed: no guard and no chain are set up")


@frozen(eq=False)
class Armed:
    """What live orders go by. `pools` are the market's own, by pair; `feeds` the independent prices beside them."""

    chain: Chain
    guard: Guard
    settings: ChainSettings
    pools: dict[str, Pool]
    feeds: dict[str, str | Pool]
    pursuit: Pursuit = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "pursuit", Pursuit(self.chain, self.guard, self.settings))

    @property
    def decimals(self) -> dict[str, int]:
        """Of every token that is traded."""
        tokens = {symbol: token.decimals for symbol, token in self.settings.tokens.items()}
        return {USDT: self.settings.usdt.decimals, **tokens}


class TwakSigner(Actor):
    def __init__(self, armed: Armed | None, *, journal: Address, strategist: Address, broadcaster: Address) -> None:
        self._armed = armed
        self._journal = journal
        self._strategist = strategist
        self._broadcaster = broadcaster
        self._kits: dict[str, Sighting | Outage | None] = {}  # what became of orders that a kit was asked about
        self._revoked = 0  # so often: a look at the guard that began before is of no use any more
        self._to_kit, self._for_kit = trio.open_memory_channel[tuple[OpenOrder, Anchor]](16)

    async def receive(self, message: Any) -> Any:
        armed = self._armed
        match message:
            case LookAfter() | Observe() | Inspect() if armed is None:
                return Outage("guard", NOT_ARMED.reason)
            case RevokeSigning() if armed is None:
                return NOT_ARMED
            case LookAfter() if message.order.state == "handed":
                return self._ask_kit(message.order, message.anchor)
            case LookAfter():
                assert armed is not None
                return await _in_time(lambda: armed.pursuit.look(message.order, message.anchor, message.frozen))
            case Observe():
                assert armed is not None
                return await _in_time(lambda: _observed(armed, message.pairs))
            case Inspect():
                assert armed is not None
                anchor = await self._journal.ask(ReadAnchor())
                return await _in_time(lambda: _inspected(armed, message.pairs, anchor))
            case RevokeSigning():
                assert armed is not None
                answer = await armed.guard.ask(Revoke(message.reason))
                self._revoked += 1
                if isinstance(answer, Revoked | Outage):
                    return answer
                return Outage("guard", f"the signing guard says {answer}")
            case _:
                raise TypeError(f"the TwakSigner does not take {message!r}")

    def _ask_kit(self, order: OpenOrder, anchor: Anchor) -> Sighting | Outage | None:
        """A kit takes minutes: it is asked beside the mailbox, once at a time."""
        if order.ref not in self._kits:
            self._kits[order.ref] = None
            try:
                self._to_kit.send_nowait((order, anchor))
            except trio.WouldBlock:
                del self._kits[order.ref]
            return None
        found = self._kits[order.ref]
        if found is not None:
            del self._kits[order.ref]
        return found

    async def work(self) -> None:
        if self._armed is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_guard, self._armed)
            async for order, anchor in self._for_kit:
                found = await self._armed.pursuit.look(order, anchor)
                if found is None:
                    self._kits.pop(order.ref, None)
                else:
                    self._kits[order.ref] = found

    async def _watch_guard(self, armed: Armed) -> None:
        """A guard may be killed, restored, started or stopped by a person, past this process."""
        while True:
            revoked = self._revoked
            try:
                status: GuardStatus | None = await armed.pursuit.status()
                outage = None
            except Unavailable as no:
                status, outage = None, no.outage
            if revoked != self._revoked:
                continue  # it may be of before the kill, and would tell of a guard that was restored
            try:
                self._broadcaster.tell(OutageChanged("guard", outage))
                if status is not None:  # again and again: what is new in it, the log knows
                    self._broadcaster.tell(GuardSeen(status))
                    self._strategist.tell(SigningChanged(status.killed_at, status.killed_reason or "", status.killed))
            except MailboxFull:
                log.warning("a floor is too busy to hear of the guard")
            await trio.sleep(WATCH_SECONDS)


async def _in_time(look: Callable[[], Awaitable[T | Outage]]) -> T | Outage:
    """What was seen, or an outage: a look never takes so long that this floor seems stuck."""
    with trio.move_on_after(RPC_SECONDS):
        try:
            return await look()
        except Unanswered as no:
            return Outage("chain", no.reason)
        except Unavailable as no:
            return no.outage
    return Outage("chain", f"no answer within {RPC_SECONDS:.0f} s")


async def _observed(armed: Armed, pairs: tuple[str, ...]) -> Observed:
    head = await armed.chain.head()
    prices = {pair: await _tick(armed, pair, head) for pair in pairs}
    return Observed(prices, head.at)


async def _tick(armed: Armed, pair: str, head: Block) -> Tick:
    """The pool and what stands beside it, as of `head`; the candle is this one price."""
    pool, feed = armed.pools[pair], armed.feeds.get(pair)
    reserves = await armed.chain.reserves(pool.address, head)
    if (price := pool.price(reserves)) is None:
        raise Unanswered(f"the pool of {pair} has no price that can be")
    reference: Observation | None = None
    if isinstance(feed, Pool):
        beside = feed.price(await armed.chain.reserves(feed.address, head))
        reference = None if beside is None else Observation("other pool", beside, head.at)
    elif feed is not None:
        reference = fed(await armed.chain.answer(feed, head))
    candle = Candle(head.at, price, price, price, price, Decimal(0))
    return Tick(candle, Observation("pool", price, head.at, booked(pool.depth(reserves))), reference)


async def _inspected(armed: Armed, pairs: tuple[str, ...], anchor: Anchor) -> Inspection:
    chain, settings = armed.chain, armed.settings
    guard, waiting = await armed.pursuit.status(), await armed.pursuit.waiting()
    return Inspection(
        guard,
        await chain.gas_price(),
        await _fits(chain, settings),
        await _has_price(chain, settings),
        await armed.pursuit.holdings([base_of(pair) for pair in pairs]),
        {pair: await _round_trip(armed, pair) for pair in pairs},
        anchor,
        waiting,
    )


async def _fits(chain: Chain, settings: ChainSettings) -> bool:
    """Is the router what the settings take it for?"""
    try:
        wired = await chain.wiring(settings.router)
    except Denied:
        return False
    return [it.lower() for it in wired] == [settings.factory.lower(), settings.wbnb.address.lower()]


async def _has_price(chain: Chain, settings: ChainSettings) -> bool:
    """Can gas be booked in USDT?"""
    try:
        await chain.amounts_out(settings.router, 10**15, (settings.wbnb.address, settings.usdt.address))
    except Denied:
        return False
    return True


async def _round_trip(armed: Armed, pair: str) -> Decimal | None:
    """The fraction that a small purchase and its sale would lose."""
    usdt, token = armed.settings.usdt.address, address_of(armed.settings, base_of(pair))
    spend = Units.of(TRIAL_USDT, armed.settings.usdt.decimals)
    try:
        *_, bought = await armed.chain.amounts_out(armed.settings.router, spend, (usdt, token))
        *_, back = await armed.chain.amounts_out(armed.settings.router, bought, (token, usdt))
    except Denied:
        return None
    return booked(1 - Decimal(back) / Decimal(spend))
