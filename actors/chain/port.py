"""The port to the chain: what the market reads there, and what a live order needs.

All amounts are integer base units, all addresses and hashes 0x and small hex digits. Reads either answer or raise
`Unanswered`: a decision rests on several reads, and the first one that fails ends them all, in the one floor that
asked. Only `send` never raises it: where an exception could be taken for "not sent", the answer is a value, and what
nobody can know is `Unclear`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from attrs import frozen


class Unanswered(Exception):
    """An outage: no endpoint gives an answer that can be believed, now. `reason` is a sentence without any URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Denied(Unanswered):
    """The endpoints answer, but with an error: what was asked cannot be had of them, such as a state that they have
    pruned."""


@frozen
class Block:
    """`at` is its own time, whole seconds."""

    number: int
    hash: str
    at: datetime


@frozen
class Reserves:
    """What a pool holds of its two tokens, in its own order."""

    first: int
    second: int


@frozen
class Synced:
    """A pool's reserves changed to these: its Sync event."""

    pool: str
    block: int
    index: int  # among the block's logs
    reserves: Reserves


@frozen
class Swapped:
    """A swap in a pool, of its first and of its second token: its Swap event."""

    pool: str
    block: int
    index: int
    first_in: int
    second_in: int
    first_out: int
    second_out: int


PoolEvent = Synced | Swapped


@frozen
class Answer:
    """What a Chainlink feed says, in units of 10 ** -`decimals`."""

    price: int
    decimals: int
    updated_at: datetime


@frozen
class Token:
    """What an ERC-20 contract says of itself."""

    symbol: str
    decimals: int


@frozen
class Log:
    """An event in a receipt, undecoded: `actors.chain.logs` reads it."""

    address: str
    topics: tuple[str, ...]
    data: bytes
    index: int


@frozen
class Receipt:
    """What became of a transaction that is in a block. `succeeded` is False where it reverted; gas is paid in both
    cases: `gas_used` x `gas_price`."""

    hash: str
    block: int
    block_hash: str
    succeeded: bool
    gas_used: int
    gas_price: int
    logs: tuple[Log, ...]


@frozen
class Sighting:
    """A transaction that the endpoint knows; `block` is None while it waits in the pool."""

    hash: str
    sender: str
    nonce: int
    gas_price: int
    block: int | None


# --- what came of sending


@frozen
class Accepted:
    """The endpoint has taken it into its pool."""

    hash: str


@frozen
class AlreadyKnown:
    """The endpoint had it before: the same bytes were sent, and are on their way or in a block."""

    hash: str


@frozen
class NonceTooLow:
    """Its nonce is used up: by itself, which the endpoint then knows, or by another transaction."""

    reason: str


@frozen
class Underpriced:
    """Not taken: another transaction of this nonce waits, and this one pays too little more; or too little at all."""

    reason: str


@frozen
class Rejected:
    """Certainly not taken by this endpoint: its reason is one that it checks before anything else."""

    reason: str


@frozen
class Unclear:
    """It may have been taken or not: a time-out, a lost or unreadable answer, an error that proves nothing."""

    reason: str


Sending = Accepted | AlreadyKnown | NonceTooLow | Underpriced | Rejected | Unclear


class Chain(Protocol):
    """Where `at` is a block, the answer is of that very block, by its hash; None means as it is now."""

    async def head(self) -> Block:
        """The newest block that most endpoints have."""

    async def block(self, number: int, /) -> Block | None:
        """None where it is not there yet."""

    async def agreed(self, number: int, /) -> Block:
        """The block that most endpoints have at this number; those which have another one are set aside."""

    async def reserves(self, pool: str, at: Block | None = None, /) -> Reserves: ...

    async def pool_events(self, pools: tuple[str, ...], first: int, last: int, /) -> list[PoolEvent]:
        """All Sync and Swap events of these pools in the blocks from `first` to `last`, in their order."""

    async def outgoing(self, token: str, owner: str, first: int, last: int, /) -> tuple[str, ...]:
        """The hashes of the transactions in the blocks from `first` to `last` in which tokens left `owner`, by their
        Transfer events, in their order."""

    async def answer(self, feed: str, at: Block | None = None, /) -> Answer:
        """The latest answer of a Chainlink feed."""

    async def amounts_out(
        self, router: str, spend: int, path: tuple[str, ...], at: Block | None = None, /
    ) -> list[int]:
        """What the router quotes, for each step of the path. Denied where it would revert."""

    async def token(self, address: str, /) -> Token: ...

    async def tokens_of(self, pool: str, /) -> tuple[str, str]:
        """Which token is the pool's first, and which its second."""

    async def pool(self, factory: str, one: str, other: str, /) -> str | None:
        """The pool of two tokens; None where the factory has none."""

    async def wiring(self, router: str, /) -> tuple[str, str]:
        """The factory that a router swaps at, and the wrapped coin it knows."""

    async def balance(self, owner: str, token: str | None = None, at: Block | None = None, /) -> int:
        """Of a token, or (None) of the chain's own coin."""

    async def allowance(self, token: str, owner: str, spender: str, at: Block | None = None, /) -> int: ...

    async def transaction_count(self, owner: str, *, pending: bool) -> int:
        """How many are in blocks, and with `pending` in the pool, too: the next nonce."""

    async def gas_price(self) -> int: ...

    async def transaction(self, hash: str, /) -> Sighting | None:
        """None where the endpoint does not know it: no proof that nobody does."""

    async def receipt(self, hash: str, /) -> Receipt | None:
        """None while it is in no block that the endpoint has."""

    async def send(self, raw: bytes, /) -> Sending:
        """Hand a signed transaction to one endpoint, once. Raises nothing but what a cancellation raises; who is
        cancelled in it knows as little as `Unclear` says."""

    def doubt(self, reason: str) -> None:
        """What was read contradicts itself: set aside the endpoint that is read from."""
