"""What the live book says it holds, and the wallet has not: found, and written off where a person says so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from actors.executor.live import Live
from actors.executor.swaps import base_of
from protocol.errors import Refusal
from protocol.events import WrittenOff
from protocol.money import Units, booked, booked_down


def lacking(live: Live, wallet: Mapping[str, Units]) -> tuple[str, ...]:
    """The pairs of which the wallet holds less than the live book."""
    return tuple(
        pair
        for pair in sorted(live.book.positions)
        if wallet.get(token := base_of(pair), Units(0)) < live.units.get(token, Units(0))
    )


def written_off(
    live: Live, wallet: Mapping[str, tuple[Units, Decimal]], at: datetime
) -> tuple[WrittenOff, ...] | Refusal:
    """The live book becomes the wallet's truth: of each pair only what the wallet has stays in it, and what is gone is
    lost at its last close. `wallet` has, by token, base units and the same in whole tokens; of what was not looked at
    nothing is lost. A Refusal while the wallet may change by our own doing, or where nothing is gone."""
    if live.orders:
        return Refusal(
            "ORDERS_OPEN", "a live order is on its way: what the wallet holds is not known before it has ended"
        )
    if live.trading and live.frozen is None:
        return Refusal("STILL_LIVE", "it trades while the wallet is looked at: demote it first, then write off")
    rows, equity = list[WrittenOff](), live.book.equity
    for pair in lacking(live, live.units | {token: units for token, (units, _) in wallet.items()}):
        held, (units, amount) = live.book.positions[pair], wallet[base_of(pair)]
        left = min(held.qty, booked_down(amount))
        units = units if left else Units(0)  # dust is not worth a position
        loss = booked(live.book.worth(pair) - booked(left * live.book.marks[pair].price))
        equity = booked(equity - loss)
        rows.append(WrittenOff(at, pair, base_of(pair), booked(held.qty - left), left, units, loss, equity))
    return tuple(rows) or Refusal("NOTHING_LOST", "the wallet holds what the live book says")
