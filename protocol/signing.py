"""What the daemon and the signing guard say to each other: one JSON object a line over a Unix socket, one answer to
each
question, in order.

The daemon is not trusted by the guard: it says what it wants signed, and the guard decodes that for itself. Amounts are
integer base units (wei), written as JSON texts, since many a JSON reader makes floats of numbers that large; addresses
and bytes are 0x hex.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from attrs import frozen

Way = Literal["local", "twak"]  # the guard's own key, or the Trust Wallet Agent Kit


@frozen
class Anchor:
    """How far the daemon's log reaches: its head's row and hash (hex). The guard keeps the furthest one it was shown,
    so that a log which was cut off or rewritten shows."""

    log_id: str
    row: int
    hash: str


@frozen
class Transaction:
    """A legacy transaction, before its signature."""

    chain_id: int
    nonce: int
    to: str
    value: int
    data: str
    gas: int
    gas_price: int


# --- questions


@frozen
class ReadGuard:
    """How does the guard stand?"""

    kind: ClassVar[str] = "status"


@frozen
class SignTransaction:
    """Sign this for `intent`, a name for one thing that shall happen on the chain at most once. The same transaction
    for the same intent is answered by the same signature; with the gas price raised by at least 10 % and all else alike
    it is a replacement; anything else for an intent that was signed for is refused."""

    kind: ClassVar[str] = "sign"
    intent: str
    tx: Transaction
    anchor: Anchor


@frozen
class SwapByTwak:
    """Have the kit swap `spend` base units of one token for another. It quotes, approves, signs and sends by itself."""

    kind: ClassVar[str] = "swap"
    intent: str
    from_token: str
    to_token: str
    spend: int
    min_received: int
    anchor: Anchor


@frozen
class Recall:
    """What became of this intent, as far as the guard knows?"""

    kind: ClassVar[str] = "recall"
    intent: str


@frozen
class Revoke:
    """The kill switch: refuse everything from now on."""

    kind: ClassVar[str] = "kill"
    reason: str


@frozen
class Restore:
    """Sign again after a kill. `confirm` is RESTORE_WORDS, `password` the keystore's: the daemon does not know it."""

    kind: ClassVar[str] = "restore"
    confirm: str
    password: str


RESTORE_WORDS = "restore signing"
Question = ReadGuard | SignTransaction | SwapByTwak | Recall | Revoke | Restore

# --- answers


@frozen
class GuardStatus:
    """`address` is the wallet's. Caps and what was `spent_today` are USDT, of the UTC day; `allowlist` are token
    addresses by symbol; `anchor` is the furthest that the guard was shown."""

    kind: ClassVar[str] = "status"
    way: Way
    address: str
    chain_id: int
    router: str
    allowlist: dict[str, str]
    per_trade_cap: Decimal
    daily_cap: Decimal
    spent_today: Decimal
    killed: bool
    killed_at: str | None
    killed_reason: str | None
    anchor: Anchor | None
    version: str


@frozen
class Signed:
    """The signed bytes and their hash. The guard has recorded them before it says so."""

    kind: ClassVar[str] = "signed"
    raw: str
    hash: str


@frozen
class Refused:
    """Policy says no: `rule` names it, `reason` is a sentence with `measured` and `limit`."""

    kind: ClassVar[str] = "refused"
    rule: str
    reason: str
    measured: str = ""
    limit: str = ""


@frozen
class Sent:
    """The kit has sent the swap: this is its hash."""

    kind: ClassVar[str] = "sent"
    hash: str


@frozen
class NotSent:
    """The kit has certainly sent nothing."""

    kind: ClassVar[str] = "not_sent"
    reason: str


@frozen
class Unknown:
    """The kit may have sent the swap or not: only the chain can say."""

    kind: ClassVar[str] = "unknown"
    reason: str


@frozen
class Recalled:
    """All that was signed for the intent (hashes, oldest first), or what the kit's verdict was; both empty where the
    guard has never heard of it."""

    kind: ClassVar[str] = "recalled"
    signed: tuple[Signed, ...] = ()
    verdict: Sent | NotSent | Unknown | None = None


@frozen
class Revoked:
    """Nothing is signed any more, since `at`."""

    kind: ClassVar[str] = "killed"
    at: str


@frozen
class Restored:
    kind: ClassVar[str] = "restored"


@frozen
class Malformed:
    """The question could not be understood."""

    kind: ClassVar[str] = "malformed"
    reason: str


Answer = GuardStatus | Signed | Refused | Sent | NotSent | Unknown | Recalled | Revoked | Restored | Malformed
