"""One live order in each of its states, made of rows as the log would have them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from actors.executor import live as lives
from actors.executor.live import NATIVE, Live
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
from actors.executor.swaps import intend
from protocol.events import (
    HandedOver,
    Intended,
    Leg,
    LiveOpened,
    Mined,
    Purpose,
    Row,
    StatusChange,
    Submitted,
    Trade,
)
from protocol.money import ZERO, Units, booked
from protocol.orders import Order, Quote, Side, named
from protocol.settings import AgentConfig

AT: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
CONFIG: Final = AgentConfig(("CAKE/USDT", "ETH/USDT"))
DECIMALS: Final = {"USDT": 18, "ETH": 18, "CAKE": 18}
GWEI: Final = 10**9
E18: Final = 10**18
GAS: Final = 60_000 * GWEI  # of one transaction, in wei
GAS_USDT: Final = Decimal("0.05")
OPENED: Final = (
    LiveOpened(AT, Decimal(1000), Decimal(1000), ZERO, {"USDT": Units(1000 * E18), NATIVE: Units(E18)}),
    StatusChange(AT, "ELIGIBLE", "LIVE", "a person promoted the agent"),
)


def folded(*rows: Row, live: Live | None = None) -> Live:
    live = live or Live()
    for row in rows:
        live = lives.evolve(live, row)
    return live


def quote_for(order: Order, price: Decimal, config: AgentConfig = CONFIG) -> Quote:
    cent = Decimal("0.01")
    return Quote(
        order.ref, AT, order.size_usdt, "pool", price, price, ZERO, ZERO, Decimal(10**6), 5400, cent, cent, Decimal(1)
    )


def intended(
    live: Live, side: Side = "buy", size: str = "100", *, pair: str = "ETH/USDT", price: str = "2000", cause: str = ""
) -> Intended:
    held = live.book.positions.get(pair)
    ref = named("ord", AT, pair, side, cause)
    qty = held.qty if held is not None and side == "sell" else None
    usdt = Decimal(size) if qty is None else booked(qty * Decimal(price))
    order = Order(ref, pair, side, usdt, qty, "it looked good", "live")
    purpose: Purpose = "entry" if side == "buy" else "exit"
    found = intend(order, quote_for(order, Decimal(price)), live, CONFIG, DECIMALS, purpose, AT, AT)
    assert isinstance(found, Intended), found
    return found


def submitted(ref: str, leg: Leg, nonce: int, hash: str, gas_price: int = GWEI) -> Submitted:
    return Submitted(AT, ref, leg, nonce, hash, "0x00", Units(gas_price))


def mined_approval(ref: str, hash: str) -> Mined:
    nothing = Units(0)
    return Mined(AT, ref, "approval", hash, 100, True, nothing, nothing, Units(GAS), GAS_USDT)


def in_state(state: str, side: Side = "buy") -> tuple[Live, str]:
    """A live side whose one order is in this state, and that order's ref. Its hashes are `0xa` and `0xb`."""
    live = folded(*OPENED)
    if side == "sell":
        live = folded(*bought(live), live=live)
    wish = intended(live, side)
    ref, before = wish.order.ref, 0
    approving = submitted(ref, "approval", before, "0xa")
    ways: dict[str, tuple[Row, ...]] = {
        "intended": (),
        "approving": (approving,),
        "approved": (approving, mined_approval(ref, "0xa")),
        "swapping": (approving, mined_approval(ref, "0xa"), submitted(ref, "swap", before + 1, "0xb")),
        "handed": (handed := HandedOver(AT, ref, before, {"ETH": Units(0), **live.units}, 90),),
        "sent by a kit": (handed, submitted(ref, "swap", before + 1, "0xb", 0)),
    }
    live = folded(wish, *ways[state], live=live)
    assert live.orders[ref].state == ("swapping" if state == "sent by a kit" else state)
    return live, ref


def bought(live: Live) -> tuple[Row, ...]:
    """A position of 0.05 ETH that was bought before."""
    wish = intended(live, cause="before")
    ref, zero = wish.order.ref, Decimal(0)
    mined = Mined(
        AT, ref, "swap", "0xbefore", 50, True, wish.spend, Units(5 * E18 // 100), Units(GAS), GAS_USDT
    )  # fmt: skip
    trade = Trade(
        AT, "ETH/USDT", "buy", Decimal("99.75"), Decimal(1995), None, Decimal("0.3"), "live", "jrn_before",
        Decimal("0.05"), ref, tx_hash="0xbefore",
    )  # fmt: skip
    assert zero == 0
    return (wish, submitted(ref, "swap", 9, "0xbefore"), mined, trade)


def sightings(ref: str, received: int) -> dict[str, Sighting]:
    """One of everything that can be seen of an order whose transactions are those of `in_state`."""

    def included(leg: Leg, hash: str, *, succeeded: bool) -> Included:
        spent, brought = (100 * E18, received) if succeeded and leg == "swap" else (0, 0)
        return Included(ref, leg, hash, 120, succeeded, spent, brought, GAS, GAS_USDT)

    return {
        "an approval is signed": Signature(ref, "approval", 0, "0xc", "0x00", 2 * GWEI),
        "the swap is signed": Signature(ref, "swap", 1, "0xd", "0x00", 2 * GWEI),
        "the known approval is signed": Signature(ref, "approval", 0, "0xa", "0x00", GWEI),
        "the known swap is signed": Signature(ref, "swap", 1, "0xb", "0x00", GWEI),
        "another nonce is signed": Signature(ref, "swap", 7, "0xe", "0x00", 2 * GWEI),
        "it is denied": Denied(ref, "daily_cap", "The day is over its cap.", "1100 USDT", "1000 USDT"),
        "the approval is mined": included("approval", "0xa", succeeded=True),
        "the approval reverted": included("approval", "0xa", succeeded=False),
        "the swap is mined": included("swap", "0xb", succeeded=True),
        "the swap reverted": included("swap", "0xb", succeeded=False),
        "something else is mined": included("swap", "0xf", succeeded=True),
        "its nonce is usurped": Usurped(ref, 1, Units(E18 - 7)),
        "it lapsed": Lapsed(ref, 1_800_000_000),
        "the price moved": Moved(ref, 7),
        "all is frozen": Withheld(ref, "somebody else signs with the key"),
        "a kit can have it": Ready(ref, 0, {"USDT": Units(5), "ETH": Units(0), NATIVE: Units(E18)}, 90),
        "the kit has sent it": KitSent(ref, 3, "0xkit"),
        "the kit has not": KitDidNot(ref, "it found no route"),
        "the kit has only approved": KitDidNot(ref, "one transaction, and none gave any USDT", Units(E18 - 7)),
        "nobody can say": Unexplained(ref, 2, 0, {"USDT": Units(5), "ETH": Units(0), NATIVE: Units(E18 - 7)}),
    }


def kinds(rows: tuple[Any, ...]) -> list[str]:
    return [row.type if row.kind == "journal_entry" else row.kind for row in rows]
