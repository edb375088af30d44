"""A chain in memory: blocks with their times, pools whose reserves trades move, feeds. `Sim` shows it as the port does,
`tests.chain.endpoint` over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import trio
from attrs import define, field

from actors.chain.bars import floor
from actors.chain.port import (
    Answer,
    Block,
    Chain,
    Denied,
    PoolEvent,
    Receipt,
    Reserves,
    Sending,
    Sighting,
    Swapped,
    Synced,
    Token,
    Unanswered,
)
from protocol.settings import ChainSettings, TokenSettings
from protocol.times import to_wire

GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
UNIT = 10**18


def address(number: int) -> str:
    """As good as any: with digits and letters."""
    return "0x" + blake2b(str(number).encode(), digest_size=20).hexdigest()


USDT, WBNB, CAKE, ETH = (address(0xA000 + number) for number in range(4))
ROUTER, FACTORY, OTHER_FACTORY = address(0xB001), address(0xB002), address(0xB003)
ETH_POOL, CAKE_POOL, OTHER_POOL, FEED = (address(0xC000 + number) for number in range(4))
POOLS = {ETH_POOL: (ETH, USDT), CAKE_POOL: (USDT, CAKE), OTHER_POOL: (ETH, USDT)}
TOKENS = {USDT: "USDT", WBNB: "WBNB", CAKE: "CAKE", ETH: "ETH"}


def settings(**given: Any) -> ChainSettings:
    """Two pairs, ETH as its pool's first token and CAKE as its second; a feed of ETH."""
    return ChainSettings(
        **{
            "rpc": ("http://127.0.0.1:1",), "router": ROUTER, "factory": FACTORY, "usdt": TokenSettings(USDT),
            "wbnb": TokenSettings(WBNB), "tokens": {"ETH": TokenSettings(ETH), "CAKE": TokenSettings(CAKE)},
            "references": {"ETH/USDT": FEED}, "confirmations": 3, "log_blocks": 7, **given,
        }
    )  # fmt: skip


def pinned(chosen: ChainSettings, begins: datetime = GENESIS) -> dict[str, Any]:
    """As `founding.found` looks it up."""
    return {
        "kind": "chain", "chain_id": 56, "candle_seconds": chosen.candle_seconds, "factory": FACTORY,
        "usdt": {"token": USDT, "decimals": 18}, "begins": to_wire(floor(begins, chosen.candle_seconds)),
        "pools": {
            "CAKE/USDT": {"pool": CAKE_POOL, "token": CAKE, "decimals": 18, "token_first": False},
            "ETH/USDT": {"pool": ETH_POOL, "token": ETH, "decimals": 18, "token_first": True},
        },
        "references": {"ETH/USDT": {"feed": FEED}},
    }  # fmt: skip


@define
class World:
    """The blocks, oldest first. Who changes it mines a block."""

    blocks: list[Block] = field(factory=list)
    events: list[tuple[PoolEvent, ...]] = field(factory=list)
    states: list[dict[str, Reserves]] = field(factory=list)
    answers: list[Answer] = field(factory=list)
    salt: int = 0

    def __attrs_post_init__(self) -> None:
        if not self.blocks:
            self._add(GENESIS - HOUR, (), dict.fromkeys(POOLS, Reserves(1000 * UNIT, 1000 * UNIT)), 1 * 10**8)

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def mine(self, at: datetime, *trades: tuple[str, int], feed: int | None = None) -> Block:
        """A block in which each trade puts in so much of the pool's first (or, negative, its second) token."""
        state, events = dict(self.states[-1]), list[PoolEvent]()
        for pool, amount in trades:
            before = state[pool]
            into, out_of = (before.first, before.second) if amount > 0 else (before.second, before.first)
            gives = abs(amount) * out_of // (into + abs(amount))
            ins, outs = ((amount, 0), (0, gives)) if amount > 0 else ((0, -amount), (gives, 0))
            state[pool] = Reserves(before.first + ins[0] - outs[0], before.second + ins[1] - outs[1])
            number, index = len(self.blocks), len(events)
            events.append(Synced(pool, number, index, state[pool]))
            events.append(Swapped(pool, number, index + 1, *ins, *outs))
        assert at >= self.head.at, "time goes on"
        return self._add(at, tuple(events), state, feed or self.answers[-1].price)

    def mine_until(self, at: datetime, every: timedelta = 60 * SECOND) -> None:
        """Empty blocks, the last one at `at`."""
        while self.head.at + every < at:
            self.mine(self.head.at + every)
        self.mine(at)

    def reorganise(self, depth: int) -> None:
        """The newest blocks are replaced by others of the same times, in which nobody trades."""
        times = [block.at for block in self.blocks[-depth:]]
        self.forget(depth)
        for at in times:
            self.mine(at)

    def forget(self, depth: int) -> None:
        """The newest blocks are no more; what is mined upon the others from now on is none of them."""
        for kept in (self.blocks, self.events, self.states, self.answers):
            del kept[-depth:]
        self.salt += 1

    def at_hash(self, hash: str) -> int | None:
        return next((block.number for block in self.blocks if block.hash == hash), None)

    def logs(self, pools: set[str], first: int, last: int) -> list[PoolEvent]:
        return [event for number in range(first, last + 1) for event in self.events[number] if event.pool in pools]

    def _add(self, at: datetime, events: tuple[PoolEvent, ...], state: dict[str, Reserves], price: int) -> Block:
        number = len(self.blocks)
        parent = self.blocks[-1].hash if self.blocks else ""
        said = f"{parent}|{number}|{at}|{self.salt}"
        block = Block(number, "0x" + blake2b(said.encode(), digest_size=32).hexdigest(), at)
        known = self.answers[-1] if self.answers else None
        self.blocks.append(block)
        self.events.append(events)
        self.states.append(state)
        self.answers.append(known if known is not None and known.price == price else Answer(price, 8, at))
        return block


class Sim(Chain):
    """The world as an honest endpoint shows it, which may be silent, have pruned old states, or keep logs to itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.silent = False
        self.state_blocks = 10**9  # from the head, that it has the state of
        self.logs_denied = False
        self.lost_logs = 0  # of the next answer's, from its end
        self.doubts: list[str] = []
        self.asked = 0
        self.patience = 10**9  # so many questions, and whoever asks is cancelled
        self.scope = trio.CancelScope()

    async def _ask(self) -> None:
        self.asked += 1
        self.patience -= 1
        if self.patience < 0:
            self.scope.cancel()
        await trio.lowlevel.checkpoint()
        if self.silent:
            raise Unanswered("no endpoint answers")

    async def _state(self, at: Block | None) -> int:
        await self._ask()
        number = self.world.head.number if at is None else self.world.at_hash(at.hash)
        if number is None or self.world.head.number - number > self.state_blocks:
            raise Denied("missing trie node")
        return number

    async def head(self) -> Block:
        await self._ask()
        return self.world.head

    async def block(self, number: int, /) -> Block | None:
        await self._ask()
        return self.world.blocks[number] if number < len(self.world.blocks) else None

    async def agreed(self, number: int, /) -> Block:
        found = await self.block(number)
        assert found is not None
        return found

    async def reserves(self, pool: str, at: Block | None = None, /) -> Reserves:
        return self.world.states[await self._state(at)][pool]

    async def pool_events(self, pools: tuple[str, ...], first: int, last: int, /) -> list[PoolEvent]:
        await self._ask()
        if self.logs_denied:
            raise Denied("block range is too old")
        assert last < len(self.world.blocks)
        found = self.world.logs(set(pools), first, last)
        kept, self.lost_logs = len(found) - self.lost_logs, 0
        return found[:kept]

    async def outgoing(self, token: str, owner: str, first: int, last: int, /) -> tuple[str, ...]:
        raise NotImplementedError

    async def answer(self, feed: str, at: Block | None = None, /) -> Answer:
        return self.world.answers[await self._state(at)]

    def doubt(self, reason: str) -> None:
        self.doubts.append(reason)

    # --- what the market does not ask

    async def amounts_out(
        self, router: str, spend: int, path: tuple[str, ...], at: Block | None = None, /
    ) -> list[int]:
        raise NotImplementedError

    async def token(self, address: str, /) -> Token:
        raise NotImplementedError

    async def tokens_of(self, pool: str, /) -> tuple[str, str]:
        raise NotImplementedError

    async def pool(self, factory: str, one: str, other: str, /) -> str | None:
        raise NotImplementedError

    async def wiring(self, router: str, /) -> tuple[str, str]:
        raise NotImplementedError

    async def balance(self, owner: str, token: str | None = None, at: Block | None = None, /) -> int:
        raise NotImplementedError

    async def allowance(self, token: str, owner: str, spender: str, at: Block | None = None, /) -> int:
        raise NotImplementedError

    async def transaction_count(self, owner: str, *, pending: bool) -> int:
        raise NotImplementedError

    async def gas_price(self) -> int:
        raise NotImplementedError

    async def transaction(self, hash: str, /) -> Sighting | None:
        raise NotImplementedError

    async def receipt(self, hash: str, /) -> Receipt | None:
        raise NotImplementedError

    async def send(self, raw: bytes, /) -> Sending:
        raise NotImplementedError
