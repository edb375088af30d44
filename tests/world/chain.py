"""A chain in memory that lives on trio's clock: blocks, a pool of waiting transactions, accounts, tokens, and pools of
constant product behind a router. Nothing in it runs by itself: whoever asks has first happen what is due by then, so it
costs nothing while nobody looks.

`SimChain` is the port as one endpoint shows it, in whatever `Weather`; what a test does to the chain (`mine`, `drop`,
`reorganise`, `usurp`, `trade`) happens at once. All chance comes from the Random that it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Final

import rlp
import trio
from attrs import define, field, frozen
from eth_utils.crypto import keccak

from actors.chain.logs import SWAP, SYNC, TRANSFER, pool_event
from actors.chain.port import (
    Accepted,
    AlreadyKnown,
    Answer,
    Block,
    Chain,
    Denied,
    Log,
    NonceTooLow,
    PoolEvent,
    Receipt,
    Rejected,
    Reserves,
    Sending,
    Sighting,
    Token,
    Unanswered,
    Unclear,
    Underpriced,
)
from protocol.settings import ChainSettings, TokenSettings
from protocol.signing import Signed, Transaction
from protocol.times import EPOCH

UNIT: Final = 10**18
GENESIS: Final = datetime(2026, 1, 1, tzinfo=UTC)
APPROVE, SWAP_EXACTLY = bytes.fromhex("095ea7b3"), bytes.fromhex("38ed1739")
USED: Final = {"approval": 46_000, "swap": 159_000, "reverted": 61_000, "transfer": 21_000}  # gas


def address(number: int) -> str:
    return f"0x{number:040x}"


USDT, WBNB, ETH, CAKE = (address(0xA000 + number) for number in range(4))
ROUTER, FACTORY, WALLET, TRADER = (address(0xB000 + number) for number in range(4))
ETH_POOL, CAKE_POOL, BNB_POOL = (address(0xC000 + number) for number in range(3))
TOKENS: Final = {USDT: "USDT", WBNB: "BNB", ETH: "ETH", CAKE: "CAKE"}
POOLS: Final = {ETH_POOL: (ETH, USDT), CAKE_POOL: (USDT, CAKE), BNB_POOL: (WBNB, USDT)}


def settings(**given: object) -> ChainSettings:
    """This chain, as its owner would set it up."""
    return ChainSettings(
        **{
            "rpc": ("http://127.0.0.1:1",), "router": ROUTER, "factory": FACTORY, "usdt": TokenSettings(USDT),
            "wbnb": TokenSettings(WBNB), "tokens": {"ETH": TokenSettings(ETH), "CAKE": TokenSettings(CAKE)},
            "references": {}, "confirmations": 3, "replace_seconds": 30.0, **given,
        }  # type: ignore[arg-type]
    )  # fmt: skip


def out_of(spend: int, reserve_in: int, reserve_out: int) -> int:
    """What a pool of PancakeSwap V2 gives."""
    return spend * 9975 * reserve_out // (reserve_in * 10_000 + spend * 9975)


# --- transactions


@frozen
class Tx:
    """A signed legacy transaction, as the chain reads it."""

    hash: str
    sender: str
    nonce: int
    gas_price: int
    gas: int
    to: str
    value: int
    data: bytes
    chain_id: int


def signed(tx: Transaction, wallet: str) -> Signed:
    """Bytes that only this chain takes for a signature of `wallet`: they name it."""
    body = [
        tx.nonce, tx.gas_price, tx.gas, bytes.fromhex(tx.to[2:]), tx.value, bytes.fromhex(tx.data[2:]),
        2 * tx.chain_id + 35, int(wallet, 16), 1,
    ]  # fmt: skip
    raw: bytes = rlp.encode(body)
    return Signed("0x" + raw.hex(), "0x" + keccak(raw).hex())


def read(raw: bytes) -> Tx:
    nonce, price, gas, to, value, data, v, r, _ = rlp.decode(raw)
    nonce, price, gas, value, v, r = (int.from_bytes(word) for word in (nonce, price, gas, value, v, r))
    return Tx("0x" + keccak(raw).hex(), address(r), nonce, price, gas, "0x" + to.hex(), value, data, (v - 35) // 2)


# --- state


class Reverts(Exception):
    """The transaction is in a block, and has moved nothing but gas."""


@define
class Accounts:
    """All that a block leaves behind."""

    nonces: dict[str, int] = field(factory=dict)
    coins: dict[str, int] = field(factory=dict)
    tokens: dict[str, dict[str, int]] = field(factory=lambda: {token: {} for token in TOKENS})
    allowed: dict[tuple[str, str, str], int] = field(factory=dict)  # token, owner, spender

    def copy(self) -> Accounts:
        tokens = {token: dict(held) for token, held in self.tokens.items()}
        return Accounts(dict(self.nonces), dict(self.coins), tokens, dict(self.allowed))

    def move(self, token: str, sender: str, to: str, amount: int) -> Log:
        held = self.tokens[token]
        if held.get(sender, 0) < amount:
            raise Reverts
        held[sender] -= amount
        held[to] = held.get(to, 0) + amount
        return Log(token, (TRANSFER, _topic(sender), _topic(to)), amount.to_bytes(32), 0)

    def reserves(self, pool: str) -> Reserves:
        first, second = POOLS[pool]
        return Reserves(self.tokens[first].get(pool, 0), self.tokens[second].get(pool, 0))

    def out(self, spend: int, path: tuple[str, ...]) -> list[int]:
        amounts = [spend]
        for first, second in pairwise(path):
            pool = pool_of(first, second)
            if pool is None or amounts[-1] <= 0:
                raise Reverts
            held = self.tokens
            amounts.append(out_of(amounts[-1], held[first].get(pool, 0), held[second].get(pool, 0)))
        return amounts

    def swap(self, spend: int, least: int, path: tuple[str, ...], payer: str, to: str) -> list[Log]:
        """As the router does it, through one pool."""
        first, second = path
        pool, out = pool_of(first, second), self.out(spend, path)[-1]
        if pool is None or out < least or self.allowed.get((first, payer, ROUTER), 0) < spend:
            raise Reverts
        self.allowed[first, payer, ROUTER] -= spend
        moved = [self.move(first, payer, pool, spend), self.move(second, pool, to, out)]
        left, in_order = self.reserves(pool), POOLS[pool][0] == first
        amounts = (spend, 0, 0, out) if in_order else (0, spend, out, 0)
        sync = Log(pool, (SYNC,), _words(left.first, left.second), 0)
        return [*moved, sync, Log(pool, (SWAP, _topic(ROUTER), _topic(to)), _words(*amounts), 0)]


def pool_of(one: str, other: str) -> str | None:
    return next((pool for pool, tokens in POOLS.items() if set(tokens) == {one, other}), None)


def _topic(text: str) -> str:
    return "0x" + text.removeprefix("0x").rjust(64, "0")


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32) for number in numbers)


def executed(accounts: Accounts, tx: Tx, block: Block) -> Receipt:
    """Run it on these accounts, which it changes."""
    accounts.nonces[tx.sender] = tx.nonce + 1
    trial = accounts.copy()
    try:
        kind, logs = _run(trial, tx, int((block.at - EPOCH).total_seconds()))
    except Reverts:
        kind, logs = "reverted", []
    else:
        for name in ("tokens", "allowed", "coins"):
            setattr(accounts, name, getattr(trial, name))
    used = USED[kind]
    accounts.coins[tx.sender] = accounts.coins.get(tx.sender, 0) - used * tx.gas_price
    placed = tuple(Log(log.address, log.topics, log.data, index) for index, log in enumerate(logs))
    return Receipt(tx.hash, block.number, block.hash, kind != "reverted", used, tx.gas_price, placed)


def _run(accounts: Accounts, tx: Tx, now: int) -> tuple[str, list[Log]]:
    words = [tx.data[at : at + 32] for at in range(4, len(tx.data), 32)]
    if tx.to in TOKENS and tx.data[:4] == APPROVE:
        spender, amount = "0x" + words[0][-20:].hex(), int.from_bytes(words[1])
        accounts.allowed[tx.to, tx.sender, spender] = amount
        return "approval", []
    if tx.to == ROUTER and tx.data[:4] == SWAP_EXACTLY:
        spend, least, _, to, deadline, hops, *path = words
        if int.from_bytes(hops) != len(path) or int.from_bytes(deadline) < now:
            raise Reverts
        tokens = tuple("0x" + word[-20:].hex() for word in path)
        receiver = "0x" + to[-20:].hex()
        return "swap", accounts.swap(int.from_bytes(spend), int.from_bytes(least), tokens, tx.sender, receiver)
    accounts.coins[tx.sender] = accounts.coins.get(tx.sender, 0) - tx.value
    accounts.coins[tx.to] = accounts.coins.get(tx.to, 0) + tx.value
    return "transfer", []


@frozen(eq=False)
class Mined:
    """A block, what it holds, and what it left behind."""

    block: Block
    accounts: Accounts
    txs: tuple[Tx, ...] = ()
    receipts: tuple[Receipt, ...] = ()


# --- the port


@frozen
class Weather:
    """How the chain, and the way to it, behave: each a chance. Of a question: `outage` nobody answers it, `slow` it
    takes some seconds, `stale` it is answered by an endpoint that is some blocks behind, `disagree` there is no block
    that most endpoints have. Of a sending: `unclear` no answer comes back, whether it was taken or not. Of a block:
    `skips` it takes no waiting transaction, `drops` one is forgotten, `overtakes` it takes one that was replaced,
    `reorganises` the newest blocks are replaced, whose transactions wait again or are `lost`."""

    outage: float = 0.0
    slow: float = 0.0
    stale: float = 0.0
    disagree: float = 0.0
    unclear: float = 0.0
    skips: float = 0.0
    drops: float = 0.0
    overtakes: float = 0.0
    reorganises: float = 0.0
    lost: float = 0.0
    deepest: int = 2  # of a reorganisation, and how far behind an endpoint is


CALM: Final = Weather()


class SimChain(Chain):
    """Makes a block every `block_seconds` of trio's time; None: only when a test mines one. `opened` is called with the
    accounts of each new block and its time, before it takes a transaction, and `took` with each that it takes. `marks`
    counts what is rare."""

    def __init__(
        self,
        random: Random,
        *,
        weather: Weather = CALM,
        block_seconds: float | None = None,
        chain_id: int = 56,
        begins: datetime = GENESIS,
    ) -> None:
        self.weather = weather
        self.opened: Callable[[Accounts, datetime], None] = lambda accounts, at: None
        self.took: Callable[[Tx], None] = lambda tx: None
        self.marks: Counter[str] = Counter()
        self.waiting: dict[str, Tx] = {}  # by hash
        self.outbid: dict[str, Tx] = {}  # replaced, but some miner may have it still
        self.holding = False  # no waiting transaction comes into a block
        self.silent = False
        self.logs_denied = False
        self.price = 10**9  # of gas
        self.doubts: list[str] = []
        self._random = random
        self._seconds = block_seconds
        self._chain_id = chain_id
        self._clock = begins
        self._began: float | None = None  # when that was, by trio's clock
        self._salt = 0
        self.blocks = [Mined(Block(0, _hash_of("genesis"), begins), _endowed())]

    # --- what happens to it

    @property
    def accounts(self) -> Accounts:
        """As the newest block left them; a test may change them."""
        return self.blocks[-1].accounts

    def mine(self, count: int = 1, *, seconds: float = 3.0) -> None:
        """So many blocks, with what waits."""
        for _ in range(count):
            self._add(self.blocks[-1].block.at + timedelta(seconds=seconds), self._chosen())

    def leap(self, at: datetime) -> None:
        """The clock goes ahead to this time, unless it is as late as that: with one block, that takes what waits."""
        self._catch_up()
        if at > max(self.now, self.blocks[-1].block.at):
            self._clock, self._began = at, trio.current_time()
            self._add(at, self._chosen())

    @property
    def now(self) -> datetime:
        """By its own clock, which its blocks follow."""
        since = 0.0 if self._began is None else trio.current_time() - self._began
        return self._clock + timedelta(seconds=since)

    def drop(self, hash: str) -> None:
        """The pool forgets it."""
        self.waiting.pop(hash, None)

    def reorganise(self, depth: int, *, again: bool = True) -> None:
        """The newest blocks are replaced by empty ones; what they held waits `again`, or is lost."""
        gone = [mined for mined in self.blocks[-depth:] if mined.block.number > 0]
        self.marks["reorganised with a transaction of ours"] += any(tx.sender == WALLET for m in gone for tx in m.txs)
        del self.blocks[len(self.blocks) - len(gone) :]
        self._salt += 1
        if again:
            self.waiting |= {tx.hash: tx for mined in gone for tx in mined.txs}
        for mined in gone:
            self._add(mined.block.at, ())

    def usurp(self, sender: str = WALLET, *, gas_price: int = 10**12, value: int = 1) -> str:
        """Somebody else signs with the wallet's key, for its next nonce; the next block takes that."""
        nonce = self.accounts.nonces.get(sender, 0)
        foreign = read(
            bytes.fromhex(
                signed(Transaction(self._chain_id, nonce, TRADER, value, "0x", 21_000, gas_price), sender).raw[2:]
            )
        )
        self._add(self.blocks[-1].block.at + timedelta(seconds=3), (foreign,))
        return foreign.hash

    def trade(self, pool: str, token: str, amount: int) -> None:
        """A trader moves the price, in the newest block."""
        other = next(one for one in POOLS[pool] if one != token)
        accounts = self.accounts
        accounts.tokens[token][TRADER] = accounts.tokens[token].get(TRADER, 0) + amount
        accounts.allowed[token, TRADER, ROUTER] = amount
        accounts.swap(amount, 0, (token, other), TRADER, TRADER)

    def mined(self, sender: str = WALLET) -> list[tuple[Tx, Receipt]]:
        """Its transactions that are in blocks, in their order."""
        return [
            (tx, receipt)
            for mined in self.blocks
            for tx, receipt in zip(mined.txs, mined.receipts, strict=True)
            if tx.sender == sender
        ]

    def take(self, raw: bytes) -> Sending:
        """What the endpoint makes of these bytes."""
        tx = read(raw)
        if tx.chain_id != self._chain_id:
            return Rejected("invalid chain id for signer")
        if tx.hash in self.waiting:
            return AlreadyKnown(tx.hash)
        if tx.nonce < self.accounts.nonces.get(tx.sender, 0):
            return NonceTooLow("nonce too low")
        if tx.gas * tx.gas_price + tx.value > self.accounts.coins.get(tx.sender, 0):
            return Rejected("insufficient funds for gas * price + value")
        rivals = [other for other in self.waiting.values() if (other.sender, other.nonce) == (tx.sender, tx.nonce)]
        if any(10 * tx.gas_price < 11 * rival.gas_price for rival in rivals):
            return Underpriced("replacement transaction underpriced")
        for rival in rivals:
            self.outbid[rival.hash] = self.waiting.pop(rival.hash)
        self.waiting[tx.hash] = tx
        return Accepted(tx.hash)

    def _chosen(self) -> tuple[Tx, ...]:
        """Of what waits, what a block takes: by price, each sender's in the order of their nonces."""
        if self.holding:
            return ()
        nonces, taken = dict(self.accounts.nonces), list[Tx]()
        pool = sorted(self.waiting.values(), key=lambda tx: (tx.nonce, -tx.gas_price, tx.hash))
        if self.outbid and self._random.random() < self.weather.overtakes:
            pool = [*self.outbid.values(), *pool]
        for tx in pool:
            if tx.nonce == nonces.get(tx.sender, 0):
                nonces[tx.sender] = tx.nonce + 1
                taken.append(tx)
        return tuple(taken)

    def _add(self, at: datetime, txs: Iterable[Tx]) -> None:
        before = self.blocks[-1]
        number = before.block.number + 1
        block = Block(number, _hash_of(f"{before.block.hash} {number} {at} {self._salt}"), at)
        accounts, found, receipts = before.accounts.copy(), tuple(txs), list[Receipt]()
        self.opened(accounts, at)
        for tx in found:
            receipts.append(executed(accounts, tx, block))
        self.blocks.append(Mined(block, accounts, found, tuple(receipts)))
        nonces = accounts.nonces
        self.waiting = {h: tx for h, tx in self.waiting.items() if tx.nonce >= nonces.get(tx.sender, 0)}
        self.outbid = {h: tx for h, tx in self.outbid.items() if tx.nonce >= nonces.get(tx.sender, 0)}
        for tx in found:
            self.took(tx)

    def _catch_up(self) -> None:
        """Have happen what is due by now."""
        if self._began is None:
            self._began = trio.current_time()
        if self._seconds is None:
            return
        weather, random, now = self.weather, self._random, self.now
        while self.blocks[-1].block.at + timedelta(seconds=self._seconds) <= now:
            if self.waiting and random.random() < weather.drops:
                self.drop(random.choice(sorted(self.waiting)))
            if random.random() < weather.reorganises:
                self.reorganise(random.randint(1, weather.deepest), again=random.random() >= weather.lost)
            at = self.blocks[-1].block.at + timedelta(seconds=self._seconds)
            self._add(at, () if random.random() < weather.skips else self._chosen())

    # --- asking

    async def _asked(self) -> list[Mined]:
        """The blocks, as the endpoint has them that answers. Raises Unanswered."""
        await trio.lowlevel.checkpoint()
        random, weather = self._random, self.weather
        if random.random() < weather.slow:
            await trio.sleep(random.uniform(0.5, 6))
        self._catch_up()
        if self.silent or random.random() < weather.outage:
            raise Unanswered("no endpoint answers")
        behind = random.randint(1, weather.deepest) if random.random() < weather.stale else 0
        return self.blocks[: max(1, len(self.blocks) - behind)]

    async def _at(self, block: Block | None) -> Accounts:
        blocks = await self._asked()
        if block is None:
            return blocks[-1].accounts
        found = next((mined for mined in reversed(self.blocks) if mined.block.hash == block.hash), None)
        if found is None:
            raise Denied("header not found")
        return found.accounts

    async def head(self) -> Block:
        return (await self._asked())[-1].block

    async def block(self, number: int, /) -> Block | None:
        blocks = await self._asked()
        return blocks[number].block if number < len(blocks) else None

    async def agreed(self, number: int, /) -> Block:
        if (block := await self.block(number)) is None:
            raise Unanswered("the endpoints do not have it yet")
        if self.weather.disagree and self._random.random() < self.weather.disagree:
            raise Unanswered("the endpoints disagree")
        return block

    async def reserves(self, pool: str, at: Block | None = None, /) -> Reserves:
        return (await self._at(at)).reserves(pool)

    async def pool_events(self, pools: tuple[str, ...], first: int, last: int, /) -> list[PoolEvent]:
        blocks = await self._asked()
        logs = [
            (log, mined.block.number)
            for mined in blocks[first : last + 1]
            for receipt in mined.receipts
            for log in receipt.logs
            if log.address in pools
        ]
        return [event for log, number in logs if (event := pool_event(log, number)) is not None]

    async def outgoing(self, token: str, owner: str, first: int, last: int, /) -> tuple[str, ...]:
        blocks = await self._asked()
        if self.logs_denied:
            raise Denied("the method eth_getLogs is not available")
        return tuple(
            receipt.hash
            for mined in blocks[first : last + 1]
            for receipt in mined.receipts
            if any(log.address == token and log.topics[:2] == (TRANSFER, _topic(owner)) for log in receipt.logs)
        )

    async def answer(self, feed: str, at: Block | None = None, /) -> Answer:
        """A pool's address is its own feed: what it says is that pool's price."""
        held = (await self._at(at)).reserves(feed)
        usdt, token = (held.second, held.first) if POOLS[feed][1] == USDT else (held.first, held.second)
        return Answer(usdt * 10**8 // token, 8, at.at if at else self.blocks[-1].block.at)

    async def amounts_out(
        self, router: str, spend: int, path: tuple[str, ...], at: Block | None = None, /
    ) -> list[int]:
        try:
            return (await self._at(at)).out(spend, path)
        except Reverts:
            raise Denied("execution reverted") from None

    async def token(self, address: str, /) -> Token:
        await self._asked()
        return Token(TOKENS[address], 18)

    async def tokens_of(self, pool: str, /) -> tuple[str, str]:
        await self._asked()
        return POOLS[pool]

    async def pool(self, factory: str, one: str, other: str, /) -> str | None:
        await self._asked()
        return pool_of(one, other)

    async def wiring(self, router: str, /) -> tuple[str, str]:
        await self._asked()
        return FACTORY, WBNB

    async def balance(self, owner: str, token: str | None = None, at: Block | None = None, /) -> int:
        accounts = await self._at(at)
        return accounts.coins.get(owner, 0) if token is None else accounts.tokens[token].get(owner, 0)

    async def allowance(self, token: str, owner: str, spender: str, at: Block | None = None, /) -> int:
        return (await self._at(at)).allowed.get((token, owner, spender), 0)

    async def transaction_count(self, owner: str, *, pending: bool) -> int:
        count = (await self._asked())[-1].accounts.nonces.get(owner, 0)
        nonces = {tx.nonce for tx in self.waiting.values() if tx.sender == owner} if pending else set()
        while count in nonces:
            count += 1
        return count

    async def gas_price(self) -> int:
        await self._asked()
        return self.price

    async def transaction(self, hash: str, /) -> Sighting | None:
        blocks = await self._asked()
        for mined in reversed(blocks):
            for tx in mined.txs:
                if tx.hash == hash:
                    return Sighting(hash, tx.sender, tx.nonce, tx.gas_price, mined.block.number)
        tx = self.waiting.get(hash)  # type: ignore[assignment]
        return None if tx is None else Sighting(hash, tx.sender, tx.nonce, tx.gas_price, None)

    async def receipt(self, hash: str, /) -> Receipt | None:
        blocks = await self._asked()
        return next((one for mined in reversed(blocks) for one in mined.receipts if one.hash == hash), None)

    async def send(self, raw: bytes, /) -> Sending:
        try:
            await self._asked()
        except Unanswered as no:
            return Unclear(no.reason)
        if self._random.random() < self.weather.unclear:
            taken = self._random.random() < 0.5
            self.marks["unclear sending that was taken" if taken else "unclear sending that was not taken"] += 1
            if taken:
                self.take(raw)
            return Unclear("no answer came back")
        return self.take(raw)

    def doubt(self, reason: str) -> None:
        self.doubts.append(reason)


def _hash_of(text: str) -> str:
    return "0x" + keccak(text=text).hex()


def _endowed() -> Accounts:
    """A wallet with 1,000 USDT and 1 BNB; ETH at 2,000, CAKE at 2, BNB at 600, each pool with two millions of USDT."""
    accounts = Accounts(coins={WALLET: UNIT, TRADER: 1000 * UNIT})
    accounts.tokens[USDT] = {WALLET: 1000 * UNIT, **dict.fromkeys(POOLS, 2_000_000 * UNIT)}
    accounts.tokens[ETH][ETH_POOL] = 1000 * UNIT
    accounts.tokens[CAKE][CAKE_POOL] = 1_000_000 * UNIT
    accounts.tokens[WBNB][BNB_POOL] = 2_000_000 * UNIT // 600
    return accounts
