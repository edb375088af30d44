"""What is done for an open order now, and what is seen of it: every call that a live order makes to the outside.

Nothing here remembers anything that matters. What to do follows from the order as the log has it; whatever is lost on
the way (an answer, this process) is found again, since the guard records a signature before it gives it away, and the
chain keeps what was mined.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import trio
from attrs import define, field, frozen

from actors.chain.logs import gained
from actors.chain.port import Block, Chain, Receipt, Unanswered
from actors.chain.port import Denied as NotGiven
from actors.executor.live import NATIVE, USDT, OpenOrder
from actors.executor.order_life import (
    Denied,
    Included,
    KitDidNot,
    KitSent,
    Lapsed,
    Moved,
    Ready,
    Sighting,
    Signature,
    Unexplained,
    Usurped,
    Withheld,
)
from actors.twak_signer.doubt import DOUBT_SECONDS, OVER_SECONDS, Traces, concluded
from actors.twak_signer.guard import ANSWER_SECONDS, Guard
from actors.twak_signer.transactions import GAS, address_of, intent_of, read, replacement, transaction
from protocol.errors import Outage
from protocol.events import HandedOver, Leg, Submitted
from protocol.money import Units, booked
from protocol.settings import ChainSettings
from protocol.signing import (
    Anchor,
    Answer,
    GuardStatus,
    NotSent,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Sent,
    Signed,
    SignTransaction,
    SwapByTwak,
    Transaction,
    Unknown,
    Verdict,
)
from protocol.times import EPOCH

BIDDING: Final = Decimal("1.125")  # a replacement pays so much more; pools ask for 10 % at least
OVER_MARKET: Final = Decimal("1.1")  # of the going gas price, for the first one
KIT_SECONDS: Final = 300.0  # that a kit is waited for
# The guard's noes that are none to the order; it is looked at again until its deadline. What guard and we have seen of
# the chain may differ for a while (`rpc`, `nonce`), it may be at work on another swap, and where it has signed by now
# what nobody heard of any more, that is recalled next time (`intent`, `replacement`).
PASSING: Final = frozenset({"rpc", "nonce", "in_flight", "intent", "replacement"})
# A request whose answer was lost, to us or to a process before us, may still be at work in a guard that answers again,
# for as long at most: before that, what it has not recorded proves nothing.
QUIET_SECONDS: Final = 60.0


class Unavailable(Exception):
    """The guard gives no answer that helps."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(outage.reason)
        self.outage = outage


@frozen
class _Wait:
    """Since when, by the machine's clock and by the chain's height, something is so."""

    since: float
    block: int


@define
class _Trail:
    """The transactions by which a token left the wallet, in blocks before `next`: so far is searched."""

    next: int
    hashes: dict[str, None] = field(factory=dict)


@define(eq=False)
class Pursuit:
    """Follows orders through `chain` and `guard`."""

    chain: Chain
    guard: Guard
    settings: ChainSettings
    _status: GuardStatus | None = None
    _waits: dict[str, _Wait] = field(factory=dict)  # by what is waited for
    _began: float | None = None
    _unheard: dict[str, float] = field(factory=dict)  # when the guard was last asked of an order, and not heard
    _trails: dict[str, _Trail] = field(factory=dict)  # of orders that a kit has

    async def look(self, order: OpenOrder, anchor: Anchor, frozen: str | None = None) -> Sighting | Outage | None:
        """One step for this order, and what came of it; None where there is nothing new. `frozen` says why nothing is
        begun."""
        self._began = trio.current_time() if self._began is None else self._began
        try:
            match order.state:
                case "intended" | "approved":
                    return await self._begin(order, anchor, frozen)
                case "approving" | "swapping":
                    return await self._follow(order, anchor)
                case "handed":
                    return await self._ask_kit(order, anchor)
        except Unanswered as no:
            return Outage("chain", no.reason)
        except Unavailable as no:
            return no.outage

    async def status(self) -> GuardStatus:
        """How the guard stands. Raises Unavailable."""
        answer = await self.guard.ask(ReadGuard())
        if not isinstance(answer, GuardStatus):
            raise Unavailable(_outage(answer))
        self._status = answer
        return answer

    async def _known(self) -> GuardStatus:
        """The guard's status, of any time: what is asked of it here never changes while it runs."""
        return self._status or await self.status()

    # --- nothing of the next leg is signed, as far as the log knows

    async def _begin(self, order: OpenOrder, anchor: Anchor, frozen: str | None) -> Sighting | Outage | None:
        status, quiet = await self._known(), self._quiet(order)
        legs: tuple[Leg, ...] = ("swap",) if order.state == "approved" else ("swap", "approval")
        for leg in legs:
            if (found := await self._recalled(order, leg)) is not None:  # its answer was lost, or we were
                return found
        if frozen is not None and not (await self.status()).killed:  # a guard that is revoked says no by itself
            return Withheld(order.ref, frozen) if quiet else None
        head, wallet = await self.chain.head(), status.address
        if (now := _seconds(head)) >= order.intended.deadline:
            return Lapsed(order.ref, now) if quiet else None
        nonce = await self.chain.transaction_count(wallet, pending=False)
        if status.way == "twak":
            return Ready(order.ref, nonce, await self._units(order, wallet), head.number)
        token = address_of(self.settings, order.intended.from_token)
        allowed = await self.chain.allowance(token, wallet, self.settings.router)
        leg = "swap" if allowed >= order.intended.spend else "approval"
        if leg == "approval" and order.state == "approved":
            return None  # it is seen by and by, or the order lapses
        price = int(await self.chain.gas_price() * OVER_MARKET)
        if (purse := await self.chain.balance(wallet)) < (gas := GAS[leg] * price):
            if not quiet:
                return None
            reason = f"the wallet has {Units(purse).amount(18):.6f} BNB, gas may take {Units(gas).amount(18):.6f}"
            return Denied(order.ref, "gas_funds", reason, str(purse), str(gas))
        least = 0
        if leg == "swap":
            path = (token, address_of(self.settings, order.intended.to_token))
            *_, quoted = await self.chain.amounts_out(self.settings.router, order.intended.spend, path)
            if quoted < order.intended.min_received:
                return Moved(order.ref, quoted) if quiet else None
            least = max(order.intended.min_received, int(quoted * (1 - order.intended.slippage)))
        return await self._sign(order, leg, transaction(order, leg, self.settings, wallet, least, nonce, price), anchor)

    def _quiet(self, order: OpenOrder) -> bool:
        """Is nothing at work in the guard any more that was asked for this order?"""
        assert self._began is not None, "somebody looks"
        return trio.current_time() - self._unheard.get(order.ref, self._began) > QUIET_SECONDS

    async def _ask(self, order: OpenOrder, question: SignTransaction | SwapByTwak, within: float) -> Answer | Outage:
        """Something that the guard does for an order, whose answer may be lost to us in any way."""
        before = self._unheard.get(order.ref)
        self._unheard[order.ref] = trio.current_time()
        answer = await self.guard.ask(question, within=within)
        if isinstance(answer, Outage):
            self._unheard[order.ref] = trio.current_time()
        elif before is None:
            del self._unheard[order.ref]
        else:
            self._unheard[order.ref] = before
        return answer

    async def _recalled(self, order: OpenOrder, leg: Leg) -> Signature | None:
        """What the guard has signed of the leg, and the log does not know yet. What nobody was told of before a kill
        waits until a person restores the guard: it holds a nonce that no other order can pass."""
        answer = await self._recall(order, leg)
        if not answer.signed or answer.signed[-1].hash in [one.hash for one in order.signed]:
            return None
        if (found := await self._signature(order, leg, answer.signed[-1])) is None:
            words = f"it has signed {answer.signed[-1].hash}, and after a kill it hands that out no more"
            raise Unavailable(Outage("guard", words))
        return found

    async def _recall(self, order: OpenOrder, leg: Leg) -> Recalled:
        answer = await self.guard.ask(Recall(intent_of(order, leg)))
        if isinstance(answer, Recalled):
            return answer
        self._unheard[order.ref] = trio.current_time()  # what it was asked before, it has not come to either
        raise Unavailable(_outage(answer))

    async def _signature(self, order: OpenOrder, leg: Leg, signed: Signed) -> Signature | None:
        if signed.raw:
            tx = read(signed.raw, self.settings.chain_id)
            return Signature(order.ref, leg, tx.nonce, signed.hash, signed.raw, tx.gas_price)
        seen = await self.chain.transaction(signed.hash)  # after a kill its bytes are told no more
        return None if seen is None else Signature(order.ref, leg, seen.nonce, signed.hash, "", seen.gas_price)

    async def _sign(self, order: OpenOrder, leg: Leg, tx: Transaction, anchor: Anchor) -> Sighting | Outage | None:
        answer = await self._ask(order, SignTransaction(intent_of(order, leg), tx, anchor), ANSWER_SECONDS)
        match answer:
            case Signed():
                return await self._signature(order, leg, answer)
            case Refused() if answer.rule in PASSING:
                return Outage("guard", f"the signing guard says not now ({answer.rule}): {answer.reason}")
            case Refused():
                if (found := await self._recalled(order, leg)) is not None:  # by a request before this one
                    return found
                return Denied(order.ref, answer.rule, answer.reason, answer.measured, answer.limit)
            case _:
                return _outage(answer)

    # --- signed: sent, and sent again, until it is in a block that is deep enough

    async def _follow(self, order: OpenOrder, anchor: Anchor) -> Sighting | Outage | None:
        status, latest = await self._known(), order.signed[-1]
        head = await self.chain.head()
        if (receipt := await self._receipt(order)) is not None:
            self._waits.pop(f"used {latest.hash}", None)
            self._waits.pop(f"nothing {order.ref}", None)
            return await self._included(order, latest.leg, receipt, head, status.address)
        used = await self.chain.transaction_count(status.address, pending=False) > latest.nonce
        if used:
            deep = self._waits.setdefault(f"used {latest.hash}", _Wait(trio.current_time(), head.number))
            if head.number - deep.block <= self.settings.confirmations or await self._receipt(order) is not None:
                return None
            return Usurped(order.ref, latest.nonce, Units(await self.chain.balance(status.address)))
        self._waits.pop(f"used {latest.hash}", None)
        if order.handed is not None:
            return await self._vanished(order, latest, head, status.address)
        raw = latest.raw or await self._raw(order, latest)
        if raw and await self.chain.transaction(latest.hash) is None:
            await self.chain.send(bytes.fromhex(raw.removeprefix("0x")))  # what came of it is seen next time
        sent = self._waits.setdefault(latest.hash, _Wait(trio.current_time(), head.number))
        if raw and trio.current_time() - sent.since >= self.settings.replace_seconds:
            self._waits[latest.hash] = _Wait(trio.current_time(), head.number)  # not again at once
            if (newest := await self._recalled(order, latest.leg)) is not None:  # its answer was lost
                return newest
            dearer = replacement(raw, self.settings.chain_id, BIDDING)
            found = await self._sign(order, latest.leg, dearer, anchor)
            return found if isinstance(found, Signature) else None  # without it, the first one is still good
        return None

    async def _raw(self, order: OpenOrder, latest: Submitted) -> str:
        """The bytes of what the log knows by its hash only, since a kill was on when it was found: once a person has
        restored the guard, it hands them out again."""
        answer = await self._recall(order, latest.leg)
        return next((one.raw for one in answer.signed if one.hash == latest.hash), "")

    async def _receipt(self, order: OpenOrder) -> Receipt | None:
        """Of the one of its leg's transactions that is in a block."""
        for one in reversed(order.signed):
            if (receipt := await self.chain.receipt(one.hash)) is not None:
                return receipt
        return None

    async def _included(
        self, order: OpenOrder, leg: Leg, receipt: Receipt, head: Block, wallet: str
    ) -> Sighting | None:
        """Once it is so deep that no reorganisation is expected to take it back."""
        if head.number - receipt.block < self.settings.confirmations:
            return None
        block = await self.chain.agreed(receipt.block)
        if block.hash != receipt.block_hash:
            return None
        intended, spent, received = order.intended, 0, 0
        if leg == "swap":
            spent = -gained(receipt, address_of(self.settings, intended.from_token), wallet)
            received = gained(receipt, address_of(self.settings, intended.to_token), wallet)
        wei = receipt.gas_used * receipt.gas_price
        if order.handed is not None:
            wei += await self._gas_of_approvals(order.handed, order.signed[-1].nonce, wei, receipt, block, wallet)
        gas = await self._worth_of_gas(wei)
        return Included(
            order.ref, leg, receipt.hash, receipt.block, receipt.succeeded, spent, received, wei, gas
        )  # fmt: skip

    async def _worth_of_gas(self, wei: int) -> Decimal:
        """In USDT, at the router's price now."""
        if wei == 0:
            return Decimal(0)
        path = (self.settings.wbnb.address, self.settings.usdt.address)
        *_, units = await self.chain.amounts_out(self.settings.router, wei, path)
        return booked(Units(units).amount(self.settings.usdt.decimals))

    # --- handed to a kit

    async def _ask_kit(self, order: OpenOrder, anchor: Anchor) -> Sighting | Outage | None:
        """What the kit says counts where it says something; what became of it, the chain says in any case."""
        said = await self._said(order, anchor)
        hash = said.hash if isinstance(said, Sent | Unknown) else None
        if hash is not None and (seen := await self.chain.transaction(hash)) is not None:
            return KitSent(order.ref, seen.nonce, hash)
        if isinstance(said, NotSent):
            return KitDidNot(order.ref, said.reason)
        found = await self._doubted(order)
        return said if found is None and isinstance(said, Outage) else found

    async def _said(self, order: OpenOrder, anchor: Anchor) -> Verdict | Outage:
        """The guard runs the kit once for an intent, and answers from its ledger from then on: also where it refuses
        everything by now. A refusal says that nothing was sent, unless it was asked before and not heard."""
        intended, quiet = order.intended, self._quiet(order)
        try:
            if (known := await self._recall(order, "swap")).verdict is not None:
                return known.verdict
        except Unavailable as silent:
            return silent.outage
        spends, brings = (address_of(self.settings, it) for it in (intended.from_token, intended.to_token))
        question = SwapByTwak(
            order.ref, spends, brings, intended.spend, intended.min_received, intended.deadline, anchor
        )
        match await self._ask(order, question, KIT_SECONDS):
            case Sent() | NotSent() | Unknown() as verdict:
                return verdict
            case Refused() as no if quiet and no.rule not in PASSING:
                return NotSent(f"the guard refused it ({no.rule}): {no.reason}")
            case other:
                return _outage(other)

    async def _doubted(self, order: OpenOrder) -> Sighting | None:
        """What the chain says, where nobody has named a hash."""
        handed, intended = order.handed, order.intended
        assert handed is not None, "that is what makes it such an order"
        wallet, head = (await self._known()).address, await self.chain.head()
        late = _seconds(head) - intended.deadline
        used, waiting = await self._nonces(wallet)
        if used == waiting == handed.nonce and late <= OVER_SECONDS:
            return None  # most looks are of this kind
        if (found := await self._swaps(order, handed, head, wallet)) is None:
            return None
        traces = Traces(late, used, waiting, *found, await self._units(order, wallet))
        return self._lasting(order, head, concluded(order.ref, intended, handed, traces))

    def _lasting(
        self, order: OpenOrder, head: Block, found: KitSent | KitDidNot | Unexplained | None
    ) -> KitSent | KitDidNot | Unexplained | None:
        """That there is nothing must be seen for as many blocks as a receipt is waited for: endpoints may be behind,
        and what is mined between two questions of one look has left the pool, and is in no block yet."""
        if not isinstance(found, KitDidNot | Unexplained):
            self._waits.pop(f"nothing {order.ref}", None)
            return found
        since = self._waits.setdefault(f"nothing {order.ref}", _Wait(trio.current_time(), head.number))
        return found if head.number - since.block > self.settings.confirmations else None

    async def _swaps(
        self, order: OpenOrder, handed: HandedOver, head: Block, wallet: str
    ) -> tuple[tuple[KitSent, ...], bool] | None:
        """The wallet's own transactions since then that gave the order's token for the other one, and whether these
        are all; None while there are blocks to be searched, or an endpoint may give by and by what it does not give
        now. So many blocks at a look as an endpoint gives the logs of; the newest ones again and again."""
        gives, brings = (address_of(self.settings, it) for it in (order.intended.from_token, order.intended.to_token))
        if handed.block is None:
            return (), False
        trail = self._trails.setdefault(order.ref, _Trail(handed.block))
        last = min(head.number, trail.next + max(self.settings.log_blocks - 1, self.settings.confirmations))
        if head.number < trail.next:
            return None  # an endpoint that is behind
        found, tried = list[KitSent](), self._waits.setdefault(f"searched {order.ref}", _Wait(trio.current_time(), 0))
        tired = trio.current_time() - tried.since > OVER_SECONDS
        try:
            trail.hashes |= dict.fromkeys(await self.chain.outgoing(gives, wallet, trail.next, last))
        except NotGiven:  # many have no logs to give
            return ((), False) if tired else None
        trail.next = max(trail.next, min(last + 1, head.number - self.settings.confirmations))
        if last < head.number:
            return None
        for hash in trail.hashes:
            seen, receipt = await self.chain.transaction(hash), await self.chain.receipt(hash)
            if seen is None or receipt is None:
                return ((), False) if tired else None
            ours = seen.sender == wallet.lower() and seen.nonce >= handed.nonce
            if ours and gained(receipt, gives, wallet) < 0 < gained(receipt, brings, wallet):
                found.append(KitSent(order.ref, seen.nonce, hash))
        return tuple(found), True

    async def _vanished(self, order: OpenOrder, latest: Submitted, head: Block, wallet: str) -> Sighting | None:
        """A kit's swap is not ours to send again: one that nobody knows any more counts as not sent, and one that waits
        for ever is a person's matter."""
        late = _seconds(head) - order.intended.deadline
        if late <= OVER_SECONDS:
            return None
        units = await self._units(order, wallet)
        used, waiting = await self._nonces(wallet)
        if used > latest.nonce:
            return None  # since it was asked for its receipt
        if used == waiting == latest.nonce and await self.chain.transaction(latest.hash) is None:
            reason = f"{latest.hash} is in no block and in no pool {late} s after its deadline"
            return self._lasting(order, head, KitDidNot(order.ref, reason, units[NATIVE]))
        return self._lasting(order, head, None if late <= DOUBT_SECONDS else Unexplained(order.ref, used, 0, units))

    async def _gas_of_approvals(
        self, handed: HandedOver, nonce: int, wei: int, receipt: Receipt, block: Block, wallet: str
    ) -> int:
        """What the kit's transactions before the swap have cost: nobody names them, but the wallet has less. Coins that
        somebody has moved meanwhile are none of that."""
        most = (nonce - handed.nonce) * GAS["approval"] * 2 * receipt.gas_price
        if not most or NATIVE not in handed.units:
            return 0
        less = handed.units[NATIVE] - await self.chain.balance(wallet, None, block) - wei
        return less if 0 <= less <= most else 0

    async def _nonces(self, wallet: str) -> tuple[int, int]:
        """How many of the wallet's nonces are used in blocks, and how many with the pool's."""
        used = await self.chain.transaction_count(wallet, pending=False)
        return used, await self.chain.transaction_count(wallet, pending=True)

    async def _units(self, order: OpenOrder, wallet: str) -> dict[str, Units]:
        """What the wallet holds of the order's tokens, and of the chain's coin."""
        found = {NATIVE: Units(await self.chain.balance(wallet))}
        for token in (order.intended.from_token, order.intended.to_token):
            found[token] = Units(await self._balance(token, wallet))
        return found

    async def _balance(self, token: str, wallet: str) -> int:
        return await self.chain.balance(wallet, address_of(self.settings, token))

    # --- the wallet, for whoever promotes

    async def waiting(self) -> int:
        """How many of its transactions are in no block yet. Raises Unanswered, Unavailable."""
        used, waiting = await self._nonces((await self._known()).address)
        return max(0, waiting - used)

    async def holdings(self, tokens: Iterable[str]) -> dict[str, Units]:
        """What the wallet holds of USDT, of the chain's coin and of `tokens`, now. Raises Unanswered, Unavailable."""
        wallet = (await self._known()).address
        found = {NATIVE: Units(await self.chain.balance(wallet)), USDT: Units(await self._balance(USDT, wallet))}
        return found | {token: Units(await self._balance(token, wallet)) for token in tokens}


def _seconds(block: Block) -> int:
    return int((block.at - EPOCH).total_seconds())


def _outage(answer: object) -> Outage:
    """An answer that is none."""
    return answer if isinstance(answer, Outage) else Outage("guard", f"the signing guard says {answer}")
