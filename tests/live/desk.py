"""Live orders from their intent to their end, with the product's own pure rules and its Pursuit, over a simulated chain
and guard: what the Executor and the Strategist do with them, without the mailboxes between."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Final, TypeVar

import trio
from attrs import define, field

from actors.chain.bars import Pool
from actors.executor import live as lives
from actors.executor.live import NATIVE, Live, OpenOrder
from actors.executor.order_life import Sighting, learn
from actors.executor.swaps import intend
from actors.quote_verifier.verify import verify
from actors.twak_signer.pursuit import Pursuit
from protocol.errors import Outage
from protocol.events import GivenUp, Intended, LiveOpened, Row, StatusChange, Submitted, Trade
from protocol.market import Candle, Observation, Tick
from protocol.money import ZERO, Units, booked
from protocol.orders import Order, Quote, Side, named
from protocol.settings import AgentConfig, ChainSettings, LiveConfig
from protocol.signing import Anchor
from tests.world import chain as chains
from tests.world.chain import GENESIS, SimChain, Tx
from tests.world.guard import SimGuard

R = TypeVar("R")
DECIMALS: Final = {"USDT": 18, "ETH": 18, "CAKE": 18}
LOOK_SECONDS: Final = 8.0  # as long as the TwakSigner lets a look take
PAUSE_SECONDS: Final = 0.5
ADDRESSES: Final = {"USDT": chains.USDT, "ETH": chains.ETH, "CAKE": chains.CAKE}
MARKETS: Final = {
    "ETH/USDT": Pool("ETH/USDT", chains.ETH_POOL, 18, 18, True),
    "CAKE/USDT": Pool("CAKE/USDT", chains.CAKE_POOL, 18, 18, False),
}


@define(eq=False)
class Desk:
    """`rows` is the log. `lost` is the chance that what was seen is lost, with all that is in memory, before the log
    has it."""

    chain: SimChain
    guard: SimGuard
    random: Random
    settings: ChainSettings = field(factory=chains.settings)
    config: AgentConfig = field(factory=lambda: AgentConfig(tuple(MARKETS), live=LiveConfig()))
    lost: float = 0.0
    live: Live = field(factory=Live)
    rows: list[Row] = field(factory=list)
    outages: list[Outage] = field(factory=list)
    pursuit: Pursuit = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()
        held = {
            token: Units(self.chain.accounts.tokens[ADDRESSES[token]].get(self.guard.wallet, 0)) for token in DECIMALS
        }
        held[NATIVE] = Units(self.chain.accounts.coins[self.guard.wallet])
        cash = held["USDT"].amount(18)
        self.take(LiveOpened(GENESIS, cash, cash, ZERO, held), StatusChange(GENESIS, "PAPER", "LIVE", "by hand"))
        self.chain.took = self.mined

    @classmethod
    def at(cls, seed: int = 0, **given: object) -> Desk:
        """A chain that makes blocks only when it is told to, and a guard in a good mood."""
        random = Random(seed)
        chain = SimChain(random)
        return cls(chain, SimGuard(chain, random), random, **given)  # type: ignore[arg-type]

    def restart(self) -> None:
        """What is in memory is lost."""
        self.pursuit = Pursuit(self.chain, self.guard, self.settings)

    def take(self, *rows: Row) -> None:
        for row in rows:
            self.live = lives.evolve(self.live, row)
            self.rows.append(row)

    # --- the log's promises, checked as they could be broken

    @property
    def hashes(self) -> set[str]:
        """What the log knows of."""
        return {row.hash for row in self.rows if isinstance(row, Submitted)}

    def mined(self, tx: Tx) -> None:
        """Called when a transaction comes into a block: whatever the guard signed, the log knows by now."""
        ours = {one.hash for granted in self.guard.granted.values() for _, one in granted}
        assert tx.hash not in ours or tx.hash in self.hashes, f"{tx.hash} is mined, and the log does not know it"

    def swaps(self) -> Counter[str]:
        """How many swaps of each intent are on the chain and were not reverted."""
        intents = {one.hash: intent for intent, granted in self.guard.granted.items() for _, one in granted}
        return Counter(
            intents[tx.hash] for tx, receipt in self.chain.mined() if receipt.succeeded and tx.hash in intents
        )

    def ends(self) -> Counter[str]:
        return Counter(row.order_ref for row in self.rows if isinstance(row, GivenUp | Trade))

    def agrees(self) -> None:
        """The wallet's balances are the ledger's, to the wei."""
        accounts = self.chain.accounts
        found = {token: accounts.tokens[address].get(self.guard.wallet, 0) for token, address in ADDRESSES.items()}
        assert {**found, NATIVE: accounts.coins[self.guard.wallet]} == {
            **dict.fromkeys(found, 0), **self.live.units
        }, "the ledger is the wallet"  # fmt: skip

    # --- what is done

    def quote(self, side: Side, size: str | Decimal = "100", pair: str = "ETH/USDT") -> tuple[Order, Quote]:
        """A believed price for this much, off the chain as it is."""
        at, reserves = self.chain.blocks[-1].block.at, self.chain.accounts.reserves(MARKETS[pair].address)
        price, held = MARKETS[pair].price(reserves), self.live.book.positions.get(pair)
        assert price is not None
        qty = held.qty if held is not None and side == "sell" else None
        usdt = booked(Decimal(size) if qty is None else qty * price)
        ref = named("ord", at, pair, side, str(len(self.rows)))
        order = Order(ref, pair, side, usdt, qty, "it looked good", "live")
        pool = Observation("pool", price, at, booked(MARKETS[pair].depth(reserves)))
        found = verify(order, Tick(Candle(at, price, price, price, price, ZERO), pool, None), self.config, at)
        assert isinstance(found, Quote), found
        return order, found

    def intend(self, side: Side = "buy", size: str | Decimal = "100", pair: str = "ETH/USDT") -> str:
        at, (order, quote) = self.chain.blocks[-1].block.at, self.quote(side, size, pair)
        purpose = "entry" if side == "buy" else "flatten"
        found = intend(order, quote, self.live, self.config, DECIMALS, purpose, at, at)  # type: ignore[arg-type]
        assert isinstance(found, Intended), found
        self.take(found)
        return order.ref

    @property
    def order(self) -> OpenOrder:
        """The oldest open one."""
        return next(iter(self.live.orders.values()))

    async def look(self) -> Sighting | Outage | None:
        """One look, as the TwakSigner has it done."""
        anchor = Anchor("log", len(self.rows), "0" * 64)
        with trio.move_on_after(LOOK_SECONDS):
            return await self.pursuit.look(self.order, anchor, self.live.frozen)
        return Outage("chain", "no answer in time")

    async def step(self) -> tuple[Row, ...]:
        """One look, and what the log is told of it."""
        seen = await self.look()
        if self.random.random() < self.lost:
            self.restart()
            return ()
        if isinstance(seen, Outage):
            self.outages.append(seen)
            return ()
        return () if seen is None else self.learn(seen)

    def learn(self, seen: Sighting) -> tuple[Row, ...]:
        rows = learn(self.live, seen, self.config, DECIMALS, GENESIS)
        self.take(*rows)
        return rows

    async def until_ended(self, *, mining: bool = True, steps: int = 60) -> None:
        """Look until nothing is open; a block passes between two looks."""
        for _ in range(steps):
            if not self.live.orders:
                return
            await self.step()
            if mining:
                self.chain.mine()
            await trio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"{self.live.orders} are still open; outages: {self.outages[-3:]}")

    def last(self, kind: type[R]) -> R:
        return next(row for row in reversed(self.rows) if isinstance(row, kind))
