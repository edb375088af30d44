"""The life of a live order, and how it is known again after anything: a table over what the log says and what was seen.

    intended ──> approving ──> approved ──> swapping ──> a trade
       │  └───────────────────────┴────────────^  │
       │                                           └──> given up (reverted, usurped)
       ├──> given up (refused, lapsed, moved, frozen: nothing was signed)
       └──> handed ──> swapping, or given up (only the kit or the chain can say; if neither can, a person)

The log comes first: the intent is durable before it is signed, the signature before it is sent. What was seen is no
state: it is told to the log, or seen again. So a restart asks `TwakSigner` about every open order, and a sighting that
the log knows already, or that fits it no more, changes nothing.

Nothing is given up but on proof. A refusal comes before the signature; a reverted swap is in a block; a deadline that
has passed forbids a swap that was not signed; a nonce that another transaction has used forbids all of ours. Of
what a kit did there may be no proof: then everything stands still until a person has looked.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from attrs import evolve as changed
from attrs import frozen

from actors.executor.live import NATIVE, Live, OpenOrder
from actors.executor.swaps import Decimals, executed_live, traded
from protocol.events import (
    Frozen,
    GivenUp,
    HandedOver,
    JournalEntry,
    Leg,
    Mined,
    Row,
    Submitted,
    TwakBlock,
)
from protocol.money import Units, booked, usdt
from protocol.orders import OrderState, entry_ref, named
from protocol.settings import AgentConfig


@frozen
class Signature:
    """The guard has signed this leg; nothing is sent yet. A second one has the first one's nonce."""

    ref: str
    leg: Leg
    nonce: int
    hash: str
    raw: str
    gas_price: int


@frozen
class Denied:
    """The guard, or an empty purse, forbids the leg. Nothing of it is signed."""

    ref: str
    rule: str
    reason: str
    measured: str = ""
    limit: str = ""


@frozen
class Included:
    """One of the leg's transactions is in a block, as deep as was asked for."""

    ref: str
    leg: Leg
    hash: str
    block: int
    succeeded: bool
    spent: int
    received: int
    gas_units: int
    gas: Decimal  # USDT


@frozen
class Usurped:
    """The nonce is used, as deep as was asked for, by a transaction that is none of ours. `coins` is what the wallet
    has of the chain's coin since."""

    ref: str
    nonce: int
    coins: Units | None = None


@frozen
class Lapsed:
    """The chain's clock is past the deadline, and the swap is not signed."""

    ref: str
    now: int


@frozen
class Moved:
    """The swap would bring less than was promised, and is not signed."""

    ref: str
    quoted: int


@frozen
class Withheld:
    """All is frozen, and nothing of the leg is signed."""

    ref: str
    reason: str


@frozen
class Ready:
    """What a kit will find: the wallet's next nonce, its balances of both tokens and of the chain's coin, and the
    newest block."""

    ref: str
    nonce: int
    units: dict[str, Units]
    block: int | None = None


@frozen
class KitSent:
    """The kit has sent the swap, or the chain shows that it did."""

    ref: str
    nonce: int
    hash: str


@frozen
class KitDidNot:
    """The kit has swapped nothing, by its own word or by what the chain shows long after. `coins` is what the wallet
    has of the chain's coin, where something else that the kit sent has paid with it."""

    ref: str
    reason: str
    coins: Units | None = None


@frozen
class Unexplained:
    """Neither the kit nor the chain says, long after, what became of it: the wallet has used all nonces below `used`,
    `swaps` of those transactions swapped, and it holds `units` of both tokens and of the chain's coin."""

    ref: str
    used: int
    swaps: int
    units: dict[str, Units]


Sighting = (
    Signature | Denied | Included | Usurped | Lapsed | Moved | Withheld | Ready | KitSent | KitDidNot | Unexplained
)

# In which states of an order what can be learned. Anything else is known already, or of a leg that is over.
LEARNED: Final[dict[type[Any], frozenset[OrderState]]] = {
    Signature: frozenset({"intended", "approving", "approved", "swapping"}),
    Denied: frozenset({"intended", "approved"}),
    Included: frozenset({"approving", "swapping"}),
    Usurped: frozenset({"approving", "swapping", "handed"}),
    Lapsed: frozenset({"intended", "approved"}),
    Moved: frozenset({"intended", "approved"}),
    Withheld: frozenset({"intended", "approved"}),
    Ready: frozenset({"intended"}),
    KitSent: frozenset({"handed"}),
    KitDidNot: frozenset({"handed", "swapping"}),
    Unexplained: frozenset({"handed", "swapping"}),
}
OF_A_KIT: Final = (KitSent, KitDidNot, Unexplained)


def learn(live: Live, seen: Sighting, config: AgentConfig, decimals: Decimals, at: datetime) -> tuple[Row, ...]:
    """What the log is told of a sighting: nothing where it knows it, or it fits the order no more."""
    order = live.orders.get(seen.ref)
    if order is None or order.state not in LEARNED[type(seen)] or (isinstance(seen, OF_A_KIT) and not order.handed):
        return ()
    match seen:
        case Signature():
            return _signed(order, seen, decimals, at)
        case Denied():
            return _denied(order, seen, at)
        case Included():
            return _included(order, seen, live, config, decimals, at)
        case Usurped():
            return _usurped(order, seen, live, at)
        case Lapsed():
            when = datetime.fromtimestamp(seen.now, UTC)
            return _given_up(order, "lapsed", f"its deadline has passed unsigned: the chain has {when:%H:%M:%S}Z", at)
        case Moved():
            to = order.intended.to_token
            least, quoted = (Units(it).amount(decimals[to]) for it in (order.intended.min_received, seen.quoted))
            why = f"the router would give {quoted:.8f} {to} by now, the least is {least:.8f}"
            return _given_up(order, "moved", why, at)
        case Withheld():
            return _withheld(order, seen.reason, at)
        case Ready() if live.frozen is not None:  # since it was looked at
            return _withheld(order, live.frozen, at)
        case Ready():
            return (HandedOver(at, seen.ref, seen.nonce, seen.units, seen.block),)
        case KitSent():
            return _submitted(order, Submitted(at, seen.ref, "swap", seen.nonce, seen.hash, "", Units(0)), decimals)
        case KitDidNot():
            return _given_up(order, "not_sent", seen.reason + _unknown_gas(live, seen.coins), at, seen.coins)
        case Unexplained():
            return _unexplained(order, seen, decimals, at)


def _signed(order: OpenOrder, seen: Signature, decimals: Decimals, at: datetime) -> tuple[Row, ...]:
    """A leg begins, or is replaced under the same nonce."""
    if order.signed:
        latest = order.signed[-1]
        known = seen.hash in [one.hash for one in order.signed]
        if known or seen.leg != latest.leg or seen.nonce != latest.nonce:
            return ()
    elif order.state == "approved" and seen.leg != "swap":
        return ()
    row = Submitted(at, seen.ref, seen.leg, seen.nonce, seen.hash, seen.raw, Units(seen.gas_price))
    return _submitted(order, row, decimals)


def _submitted(order: OpenOrder, row: Submitted, decimals: Decimals) -> tuple[Row, ...]:
    intended, replaces = order.intended, bool(order.signed)
    spend = intended.spend.amount(decimals[intended.from_token]).normalize()
    least = intended.min_received.amount(decimals[intended.to_token]).normalize()
    what = f"{spend:f} {intended.from_token}"
    until = datetime.fromtimestamp(intended.deadline, UTC)
    if row.leg == "approval":
        doing = f"lets the router take {what}"
    else:
        doing = f"swaps {what} for at least {least:.8f} {intended.to_token}, until {until:%H:%M:%S}Z"
    verb = "Replaced with a better paid one" if replaces else "Submitted"
    text = f"{verb}: {row.hash} (nonce {row.nonce}) {doing}."
    data = {"order_ref": row.order_ref, "pair": intended.order.pair, "leg": row.leg, "nonce": row.nonce,
            "tx_hash": row.hash, "gas_price": row.gas_price, "replaces": replaces}  # fmt: skip
    ref = named("jrn", row.ts, row.order_ref, "submitted", row.hash)
    return (JournalEntry(row.ts, ref, "SUBMITTED", (row.leg, intended.order.pair), text, data), row)


def _denied(order: OpenOrder, seen: Denied, at: datetime) -> tuple[Row, ...]:
    """Physics said no to what policy had approved."""
    intended = order.intended.order
    ref = entry_ref(intended, order.intended.ts)
    text = (
        f"The signer blocked {intended.pair} {intended.side} of {usdt(intended.size_usdt)}: {seen.reason.rstrip('.')}."
    )
    data = {"rule": seen.rule, "order_ref": seen.ref, "pair": intended.pair, "side": intended.side,
            "size": intended.size_usdt, "measured": seen.measured, "limit": seen.limit}  # fmt: skip
    return (
        JournalEntry(at, ref, "TWAK_BLOCK", (seen.rule, intended.pair), text, data),
        TwakBlock(at, seen.rule, seen.reason, seen.ref, intended.pair, intended.side, intended.size_usdt, ref),
        GivenUp(at, seen.ref, intended.pair, seen.rule, ref, booked(order.gas)),
    )


def _included(
    order: OpenOrder, seen: Included, live: Live, config: AgentConfig, decimals: Decimals, at: datetime
) -> tuple[Row, ...]:
    if seen.hash not in [one.hash for one in order.signed]:
        return ()
    mined = Mined(
        at, seen.ref, seen.leg, seen.hash, seen.block, seen.succeeded, Units(seen.spent), Units(seen.received),
        Units(seen.gas_units), seen.gas,
    )  # fmt: skip
    if not seen.succeeded:
        why = f"{seen.hash} ({seen.leg}) was reverted in block {seen.block}; gas of {usdt(seen.gas)} is lost"
        return (mined, *_given_up(changed(order, gas=order.gas + seen.gas), "reverted", why, at))
    pair = order.intended.order.pair
    text = f"Confirmed: {seen.hash} ({seen.leg}) is in block {seen.block} for {usdt(seen.gas)} of gas."
    data = {"order_ref": seen.ref, "pair": pair, "leg": seen.leg, "tx_hash": seen.hash, "block": seen.block,
            "gas": seen.gas}  # fmt: skip
    ref = named("jrn", at, seen.ref, "confirmed", seen.hash)
    confirmed = JournalEntry(at, ref, "CONFIRMED", (seen.leg, pair), text, data)
    if seen.leg == "approval":
        return (confirmed, mined)
    gas = booked(order.gas + seen.gas)
    trade = traded(order.intended, mined, gas, live, config, decimals)
    return (confirmed, mined, executed_live(trade, order.intended, mined, gas, config), trade)


def _withheld(order: OpenOrder, reason: str, at: datetime) -> tuple[Row, ...]:
    return _given_up(order, "frozen", f"no swap of it is signed, and all is frozen: {reason}", at)


def _usurped(order: OpenOrder, seen: Usurped, live: Live, at: datetime) -> tuple[Row, ...]:
    why = f"nonce {seen.nonce} of the wallet was used by a transaction that is none of ours"
    frozen = f"{why}: somebody else signs with its key. No live order is begun until a person has looked"
    given_up = _given_up(order, "usurped", frozen + _unknown_gas(live, seen.coins), at, seen.coins)
    return (*given_up, Frozen(at, frozen))


def _unexplained(order: OpenOrder, seen: Unexplained, decimals: Decimals, at: datetime) -> tuple[Row, ...]:
    """Whatever it did, the wallet may hold something else now than the book says."""
    intended, handed = order.intended, order.handed
    assert handed is not None, "only a kit leaves anything unexplained"

    def held(units: dict[str, Units]) -> str:
        both = (intended.from_token, intended.to_token)
        return " and ".join(f"{units[token].amount(decimals[token]).normalize():f} {token}" for token in both)

    frozen = f"nobody can say what the kit did with {order.ref}: a person must look at the wallet"
    why = (
        f"{frozen}. It has {held(seen.units)}, before it had {held(handed.units)}; {seen.used - handed.nonce} of its "
        f"transactions were mined since, and {seen.swaps} of them swapped these. Nothing is begun or sold until a "
        "person demotes the agent, or promotes it anew"
    )
    return (*_given_up(order, "unexplained", why, at, seen.units[NATIVE]), Frozen(at, frozen))


def _unknown_gas(live: Live, coins: Units | None) -> str:
    """Words on what was paid in coins that no transaction of the log accounts for."""
    if coins is None or (gone := live.units.get(NATIVE, Units(0)) - coins) <= 0:
        return ""
    return f". The wallet has {Units(gone).amount(18):.6f} BNB less than our own transactions account for"


def _given_up(order: OpenOrder, code: str, why: str, at: datetime, coins: Units | None = None) -> tuple[Row, ...]:
    intended = order.intended.order
    ref = entry_ref(intended, order.intended.ts)
    text = f"Gave up {intended.pair} {intended.side} of {usdt(intended.size_usdt)} ({code}): {why}."
    data = {"order_ref": order.ref, "pair": intended.pair, "side": intended.side, "size": intended.size_usdt,
            "code": code, "hashes": [one.hash for one in order.signed], "gas": booked(order.gas)}  # fmt: skip
    return (
        JournalEntry(at, ref, "FAILED", (code, intended.pair), text, data),
        GivenUp(at, order.ref, intended.pair, code, ref, booked(order.gas), coins),
    )
