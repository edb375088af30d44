"""What the guard remembers: the records of its ledger, and the fold over them. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Final, get_args

from attrs import Factory, define, frozen

from protocol.signing import Anchor, Signed, Transaction, Verdict, Way
from protocol.times import from_wire

_STEP: Final = timedelta(milliseconds=1)  # what a time on the wire tells apart

# --- records


@frozen
class Opened:
    """The ledger's first record: the address of the key in the keystore beside it."""

    kind: ClassVar[str] = "opened"
    address: str


@frozen
class Started:
    """The guard was started, with these limits."""

    kind: ClassVar[str] = "started"
    version: str
    way: Way
    wallet: str
    chain_id: int
    router: str
    per_trade_cap: Decimal
    daily_cap: Decimal


@frozen
class TailCut:
    """The last line was torn, so that it cannot have let a signature out; `text` (hex) was cut off."""

    kind: ClassVar[str] = "cut"
    text: str


@frozen
class Granted:
    """A signature that may leave. `spend` (USDT base units) and `fees` (wei) count on `day`; for a replacement they are
    what it adds."""

    kind: ClassVar[str] = "granted"
    intent: str
    tx: Transaction
    signed: Signed
    spend: int
    fees: int
    day: str
    anchor: Anchor


@frozen
class Attempted:
    """The kit is about to be run. `spend` is of `from_token`, `usdt` of it counts on `day`; `balance` is what the
    wallet had of `from_token`."""

    kind: ClassVar[str] = "attempted"
    intent: str
    from_token: str
    to_token: str
    spend: int
    min_received: int
    usdt: int
    balance: int
    day: str
    anchor: Anchor


@frozen
class Ended:
    """What the kit's run for `intent` came to."""

    kind: ClassVar[str] = "ended"
    intent: str
    verdict: Verdict | None  # never None; so typed for the one hook that reads it


@frozen
class Killed:
    """The kill switch. `since` is what the kill is known by ever after, whatever the clock and this record's own place
    say; in older ledgers it is the record's time."""

    kind: ClassVar[str] = "killed"
    reason: str
    since: str = ""


@frozen
class Lifted:
    """A person had the guard sign again."""

    kind: ClassVar[str] = "lifted"


Record = Opened | Started | TailCut | Granted | Attempted | Ended | Killed | Lifted
RECORDS: Final = {kind.kind: kind for kind in get_args(Record)}


# --- what follows from them


@define
class Attempt:
    """One run of the kit; without a verdict nobody knows what it did."""

    attempted: Attempted
    verdict: Verdict | None = None


@frozen
class Kill:
    """Since when nothing is signed, and why."""

    at: datetime
    reason: str


@define
class Books:
    """All records folded. `day` is the latest that something was spent on; `spent` and `fees` are of that day."""

    address: str = ""
    wallet: str = ""
    chain_id: int | None = None
    day: str = ""
    spent: int = 0
    fees: int = 0
    signed_nonce: int | None = None
    granted: dict[str, list[Granted]] = Factory(dict)
    attempts: dict[str, Attempt] = Factory(dict)
    anchors: dict[str, Anchor] = Factory(dict)
    anchor: Anchor | None = None
    kill: Kill | None = None
    last_kill: Kill | None = None  # also after it was lifted

    def apply(self, record: Record, at: datetime) -> None:
        """Fold one more record in. Raises ValueError where it cannot follow what is there."""
        if not self.address and not isinstance(record, Opened):
            raise ValueError("it does not begin with whose wallet it is of")
        match record:
            case Opened():
                if self.address:
                    raise ValueError("it is opened twice")
                self.address = record.address
            case Started():
                self.wallet, self.chain_id = record.wallet, record.chain_id
            case Granted():
                self._spend(record.day, record.spend, record.fees)
                self._see(record.anchor)
                self.granted.setdefault(record.intent, []).append(record)
                self.signed_nonce = max(record.tx.nonce, -1 if self.signed_nonce is None else self.signed_nonce)
            case Attempted():
                self._spend(record.day, record.usdt, 0)
                self._see(record.anchor)
                self.attempts[record.intent] = Attempt(record)
            case Ended():
                self.attempts[record.intent].verdict = record.verdict
            case Killed():
                since = from_wire(record.since) if record.since else at
                self.kill = self.last_kill = self.kill or Kill(since, record.reason)
            case Lifted():
                self.kill = None
            case TailCut():
                pass

    def kill_at(self, now: datetime, reason: str) -> Kill:
        """The kill that is on, or one that begins now. No two have the same time, though the clock was set back."""
        if self.kill is not None:
            return self.kill
        return Kill(now if self.last_kill is None else max(now, self.last_kill.at + _STEP), reason)

    def day_at(self, *witnesses: datetime) -> str:
        """The UTC day to spend on: it begins when every witness has reached it, and never ends before a later one has
        begun."""
        return max(self.day, min(witnesses).date().isoformat())

    def spent_on(self, day: str) -> int:
        """USDT base units."""
        return self.spent if day == self.day else 0

    def fees_on(self, day: str) -> int:
        """Wei."""
        return self.fees if day == self.day else 0

    def _spend(self, day: str, spend: int, fees: int) -> None:
        if day < self.day:
            raise ValueError(f"its day goes back from {self.day} to {day}")
        date.fromisoformat(day)
        self.spent, self.fees = self.spent_on(day) + spend, self.fees_on(day) + fees
        self.day = day

    def _see(self, anchor: Anchor) -> None:
        self.anchors[anchor.log_id] = self.anchor = anchor
