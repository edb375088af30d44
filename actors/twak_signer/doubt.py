"""What became of an order that a kit had, where nobody has named its hash: concluded from what the chain shows. Pure.

It is asked three things. Has the wallet's nonce moved, in blocks or in the pool? Which of its transactions since have
given the order's token and brought the other one? Has it as much of the token as before?
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from actors.executor.live import NATIVE
from actors.executor.order_life import KitDidNot, KitSent, Unexplained
from protocol.events import HandedOver, Intended
from protocol.money import Units

# Behind the deadline, by the chain's clock. The guard starts the kit before it, and ends it 600 s after that at most.
OVER_SECONDS: Final = 600  # the kit is done: what it has not sent by now, it does not send
DOUBT_SECONDS: Final = 1800  # what is not clear by now, a person must clear up


@frozen
class Traces:
    """What the chain shows. `used` nonces are in blocks, `waiting` ones in the pool, too. `swaps` are the wallet's
    transactions since the order was handed over that gave its token for the other one; `searched` says that these are
    all. `units` is what the wallet holds of both tokens and of the chain's coin. `late` is in seconds."""

    late: int
    used: int
    waiting: int
    swaps: tuple[KitSent, ...]
    searched: bool
    units: dict[str, Units]


def concluded(
    ref: str, intended: Intended, handed: HandedOver, seen: Traces
) -> KitSent | KitDidNot | Unexplained | None:
    """One swap is the order's. That there was none takes two witnesses that agree, the wallet's nonce or its
    transactions, and its balance. None while that may still change."""
    if seen.searched and len(seen.swaps) == 1:
        return seen.swaps[0]
    if seen.late <= OVER_SECONDS:
        return None
    token, other = intended.from_token, intended.to_token
    over = seen.used == seen.waiting and not seen.swaps and seen.units[token] >= handed.units[token]
    if over and seen.used == handed.nonce:
        return KitDidNot(ref, f"no transaction left the wallet within {seen.late} s after its deadline")
    if over and seen.used > handed.nonce and (seen.searched or seen.units[other] <= handed.units[other]):
        sent = f"{seen.used - handed.nonce} transactions of the wallet, and none of them gave any {token}"
        return KitDidNot(ref, sent, seen.units[NATIVE])
    return None if seen.late <= DOUBT_SECONDS else Unexplained(ref, seen.used, len(seen.swaps), seen.units)
