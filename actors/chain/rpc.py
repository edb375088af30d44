"""The real face of the chain: several endpoints, of which the first healthy one is read from and all are compared.

An endpoint is *set aside* for a while when it does not answer, answers nonsense, is of another chain, lags behind, or
has another block than most at the same number. That is told once, with its number and host: never with its URL, which
can hold a key. Where endpoints disagree and none of two blocks has a majority, nobody is believed.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import trio
from attrs import define, field

from actors.chain.port import (
    Answer,
    Block,
    Denied,
    PoolEvent,
    Receipt,
    Reserves,
    Sending,
    Sighting,
    Token,
    Unanswered,
    Unclear,
)

if TYPE_CHECKING:
    from actors.chain.node import Node

T = TypeVar("T")
log = logging.getLogger("forestay.chain")

FRAMES: Final = 1000  # as Python itself has it
ASIDE_SECONDS: Final = 30.0
LAG_BLOCKS: Final = 40  # behind the others: some 20 s of BNB Smart Chain


@define(eq=False)
class _Endpoint:
    name: str
    url: str = field(repr=False)
    node: Node | None = None
    checked: bool = False  # it is of our chain
    aside: str | None = None  # why it was set aside, until it answers again
    until: float = 0.0
    told: str | None = None  # the last reason that was logged; one that comes and goes is told once


class RpcChain:
    """The `Chain` over JSON-RPC. Nothing is loaded or connected before the first question."""

    def __init__(self, urls: Sequence[str], chain_id: int, timeout_seconds: float) -> None:
        self._chain_id = chain_id
        self._timeout = timeout_seconds
        self._endpoints = [_Endpoint(_name(number, url), url) for number, url in enumerate(urls, 1)]
        self._read_from: _Endpoint | None = None
        self._loading = trio.Lock()

    @property
    def aside(self) -> dict[str, str]:
        """The endpoints that are set aside, and why."""
        return {endpoint.name: endpoint.aside for endpoint in self._endpoints if endpoint.aside is not None}

    async def aclose(self) -> None:
        """Close all connections. A later question opens new ones."""
        for endpoint in self._endpoints:
            node, endpoint.node, endpoint.checked = endpoint.node, None, False
            if node is not None:
                await node.aclose()

    # --- compared

    async def head(self) -> Block:
        """Asked of all. With three, a lone endpoint that runs ahead or lags behind moves nothing; of two, the one that
        lags is left, once the other is seen to be ahead on the same chain."""
        heads = await self._of_all(lambda node: node.head())
        ascending = sorted(heads.values(), key=lambda head: head.number)
        yardstick = ascending[len(ascending) // 2]
        for endpoint, head in heads.items():
            if (behind := yardstick.number - head.number) > LAG_BLOCKS:
                # One that has another chain altogether is no laggard: of two, who could say which is right?
                await self.agreed(head.number)
                self._set_aside(endpoint, f"it is {behind} blocks behind")
                del ascending[ascending.index(head)]
        return ascending[(len(ascending) - 1) // 2]

    async def agreed(self, number: int, /) -> Block:
        found = await self._of_all(lambda node: node.block(number))
        blocks = {endpoint: block for endpoint, block in found.items() if block is not None}
        for endpoint in found.keys() - blocks.keys():
            if blocks:
                self._set_aside(endpoint, f"it has no block {number}")
        votes = Counter(blocks.values())
        if not votes:
            raise Denied(f"there is no block {number}")
        block, most = votes.most_common(1)[0]
        if 2 * most <= votes.total():
            split = ", ".join(f"{endpoint.name} has {block.hash[:10]}" for endpoint, block in blocks.items())
            raise Unanswered(f"the endpoints disagree on block {number}: {split}")
        for endpoint, other in blocks.items():
            if other != block:
                self._set_aside(endpoint, f"its block {number} is {other.hash[:10]}, most have {block.hash[:10]}")
        return block

    def doubt(self, reason: str) -> None:
        if self._read_from is not None:
            self._set_aside(self._read_from, reason)

    # --- read from the first that answers

    async def block(self, number: int, /) -> Block | None:
        return await self._of_one(lambda node: node.block(number))

    async def reserves(self, pool: str, at: Block | None = None, /) -> Reserves:
        return await self._of_one(lambda node: node.reserves(pool, at))

    async def pool_events(self, pools: tuple[str, ...], first: int, last: int, /) -> list[PoolEvent]:
        return await self._of_one(lambda node: node.pool_events(pools, first, last))

    async def outgoing(self, token: str, owner: str, first: int, last: int, /) -> tuple[str, ...]:
        return await self._of_one(lambda node: node.outgoing(token, owner, first, last))

    async def answer(self, feed: str, at: Block | None = None, /) -> Answer:
        return await self._of_one(lambda node: node.answer(feed, at))

    async def amounts_out(
        self, router: str, spend: int, path: tuple[str, ...], at: Block | None = None, /
    ) -> list[int]:
        return await self._of_one(lambda node: node.amounts_out(router, spend, path, at))

    async def token(self, address: str, /) -> Token:
        return await self._of_one(lambda node: node.token(address))

    async def tokens_of(self, pool: str, /) -> tuple[str, str]:
        return await self._of_one(lambda node: node.tokens_of(pool))

    async def pool(self, factory: str, one: str, other: str, /) -> str | None:
        return await self._of_one(lambda node: node.pool(factory, one, other))

    async def wiring(self, router: str, /) -> tuple[str, str]:
        return await self._of_one(lambda node: node.wiring(router))

    async def balance(self, owner: str, token: str | None = None, at: Block | None = None, /) -> int:
        return await self._of_one(lambda node: node.balance(owner, token, at))

    async def allowance(self, token: str, owner: str, spender: str, at: Block | None = None, /) -> int:
        return await self._of_one(lambda node: node.allowance(token, owner, spender, at))

    async def transaction_count(self, owner: str, *, pending: bool) -> int:
        return await self._of_one(lambda node: node.transaction_count(owner, pending))

    async def gas_price(self) -> int:
        return await self._of_one(lambda node: node.gas_price())

    async def transaction(self, hash: str, /) -> Sighting | None:
        return await self._of_one(lambda node: node.transaction(hash))

    async def receipt(self, hash: str, /) -> Receipt | None:
        return await self._of_one(lambda node: node.receipt(hash))

    # --- written to one

    async def send(self, raw: bytes, /) -> Sending:
        """To the first endpoint that is known to be of our chain; where it does not answer, no other one is tried: the
        caller knows the hash, and looks."""
        for endpoint in self._usable() or self._endpoints:
            try:
                node = await self._checked(endpoint)
            except Unanswered as no:  # nothing was sent yet
                self._fails(endpoint, no)
                continue
            outcome = await node.send(raw)
            if isinstance(outcome, Unclear):
                self._set_aside(endpoint, outcome.reason)
            return outcome
        return Unclear(f"no endpoint takes it: {self._why()}")

    # --- asking

    async def _of_one(self, ask: Callable[[Node], Awaitable[T]]) -> T:
        """The first answer, in the order of preference. Raises Denied where all that answer answer with errors."""
        denied: Denied | None = None
        for endpoint in self._usable() or self._endpoints:
            try:
                answer = await ask(await self._checked(endpoint))
            except Denied as no:
                denied = denied or Denied(f"{endpoint.name}: {no.reason}")
            except Unanswered as no:
                self._fails(endpoint, no)
            else:
                self._answers(endpoint)
                self._read_from = endpoint
                return answer
        raise denied or Unanswered(f"no endpoint answers: {self._why()}")

    async def _of_all(self, ask: Callable[[Node], Awaitable[T]]) -> dict[_Endpoint, T]:
        """The answers of all that are not set aside, asked at once; one at least."""
        answers: dict[_Endpoint, T] = {}
        denied: list[Denied] = []

        async def one(endpoint: _Endpoint) -> None:
            try:
                answers[endpoint] = await ask(await self._checked(endpoint))
            except Denied as no:
                denied.append(Denied(f"{endpoint.name}: {no.reason}"))
            except Unanswered as no:
                self._fails(endpoint, no)
            else:
                self._answers(endpoint)

        asked = self._usable() or self._endpoints
        async with trio.open_nursery() as nursery:
            for endpoint in asked:
                nursery.start_soon(one, endpoint)
        if not answers:
            raise denied[0] if denied else Unanswered(f"no endpoint answers: {self._why()}")
        return {endpoint: answers[endpoint] for endpoint in asked if endpoint in answers}

    async def _checked(self, endpoint: _Endpoint) -> Node:
        """The endpoint, known to be of our chain."""
        if endpoint.node is None:
            async with self._loading:
                if endpoint.node is None:
                    endpoint.node = await trio.to_thread.run_sync(self._made, endpoint)
        node = endpoint.node
        assert node is not None, "it was just made"
        if not endpoint.checked:
            try:
                found = await node.chain_id()
            except Denied as no:
                raise Unanswered(f"it does not say which chain it is of: {no.reason}") from None
            if found != self._chain_id:
                raise Unanswered(f"it is of chain {found}, not of {self._chain_id}")
            endpoint.checked = True
        return node

    def _made(self, endpoint: _Endpoint) -> Node:
        """In a thread: web3 takes a second to load, and certificates a while."""
        module: Any = import_module("actors.chain.node")
        # A library of web3's allows 100,000 frames: then a deeply nested answer would overflow the stack, and end us.
        sys.setrecursionlimit(FRAMES)
        node: Node = module.Node(endpoint.url, self._timeout)
        return node

    def _usable(self) -> list[_Endpoint]:
        """Those not set aside, or no longer; where there is none, any may be tried."""
        now = trio.current_time()
        return [endpoint for endpoint in self._endpoints if now >= endpoint.until]

    def _fails(self, endpoint: _Endpoint, no: Unanswered) -> None:
        endpoint.checked = False  # who knows what answers there next
        self._set_aside(endpoint, no.reason)

    def _set_aside(self, endpoint: _Endpoint, reason: str) -> None:
        if endpoint.told != reason:
            log.warning("endpoint %s is set aside: %s", endpoint.name, reason)
        endpoint.aside = endpoint.told = reason
        endpoint.until = trio.current_time() + ASIDE_SECONDS

    def _answers(self, endpoint: _Endpoint) -> None:
        endpoint.aside = None
        if endpoint.told is not None and trio.current_time() >= endpoint.until:
            log.warning("endpoint %s answers again", endpoint.name)
            endpoint.told = None

    def _why(self) -> str:
        return "; ".join(f"{name}: {reason}" for name, reason in self.aside.items()) or "there is none"


def _name(number: int, url: str) -> str:
    """What may be shown of an endpoint: its number in the settings, and its host."""
    return f"{number} ({urlsplit(url).hostname or 'no host'})"
