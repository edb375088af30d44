"""What the daemon and the signing guard say to each other: one JSON object a line over a Unix socket, one answer to
each question, in order.

The daemon is not trusted by the guard: it says what it wants signed, and the guard decodes that for itself. Amounts are
integer base units (wei). Whole numbers are written as JSON texts, since many a JSON reader makes floats of numbers that
large; addresses and bytes are 0x hex. `kind` says which of these a line is.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar, Final, Literal, TypeVar, get_args

import cattrs
from attrs import field, frozen, has
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from protocol.codec import from_json, to_json
from protocol.limits import Impossible, matching

T = TypeVar("T")
Way = Literal["local", "twak"]  # the guard's own key, or the Trust Wallet Agent Kit
REVOKE_WORDS: Final = "revoke signing"
RESTORE_WORDS: Final = "restore signing"
LONGEST_LINE: Final = 16_384  # bytes; a longer one is not read to its end


def _shaped(pattern: str, valid: str) -> Any:
    return matching(lambda text: bool(re.fullmatch(pattern, text, re.ASCII)), valid)


_address = _shaped(r"0x[0-9a-fA-F]{40}", "must be an address, 0x and 40 hex digits")
_bytes = _shaped(r"0x([0-9a-fA-F]{2})*", "must be bytes, 0x and hex digits by twos")
_digest = _shaped(r"[0-9a-f]{64}", "must be 64 hex digits")
_name = _shaped(r"[\w.:/-]{1,128}", "must be 1 to 128 letters, digits, _ . : / or -")
_sentence = matching(lambda text: len(text) <= 500 and text.isprintable(), "must be a line of 500 letters at most")


@frozen
class Anchor:
    """How far the daemon's log reaches: its head's row and hash (hex). The guard keeps the furthest one it was shown,
    so that a log which was cut off or rewritten shows."""

    log_id: str = field(validator=_name)
    row: int
    hash: str = field(validator=_digest)


@frozen
class Transaction:
    """A legacy transaction, before its signature."""

    chain_id: int
    nonce: int
    to: str = field(validator=_address)
    value: int
    data: str = field(validator=_bytes)
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
    intent: str = field(validator=_name)
    tx: Transaction
    anchor: Anchor


@frozen
class SwapByTwak:
    """Have the kit swap `spend` base units of one token for another. It quotes, approves, signs and sends by itself.
    After `deadline`, in seconds of the chain's clock, it is not asked to any more."""

    kind: ClassVar[str] = "swap"
    intent: str = field(validator=_name)
    from_token: str = field(validator=_address)
    to_token: str = field(validator=_address)
    spend: int
    min_received: int
    deadline: int
    anchor: Anchor


@frozen
class Recall:
    """What became of this intent, as far as the guard knows?"""

    kind: ClassVar[str] = "recall"
    intent: str = field(validator=_name)


@frozen
class Revoke:
    """The kill switch: refuse everything from now on. Anybody who may connect may ask for it."""

    kind: ClassVar[str] = "kill"
    reason: str = field(validator=_sentence)


@frozen
class Restore:
    """Sign again after a kill. `confirm` is RESTORE_WORDS, `password` the keystore's: the daemon does not know it."""

    kind: ClassVar[str] = "restore"
    confirm: str
    password: str = field(repr=False)


Question = ReadGuard | SignTransaction | SwapByTwak | Recall | Revoke | Restore

# --- answers


@frozen
class GuardStatus:
    """`address` is the wallet's. Caps and what was `spent_today` are USDT, of the UTC day; `allowlist` are token
    addresses by symbol; `killed_at` and `killed_reason` are of the last kill, which holds while `killed`; `anchor` is
    the newest that the guard has recorded; `signed_nonce` the highest nonce that it has signed for, so that the next
    one is that plus 1 or the chain's own count, whichever is more."""

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
    signed_nonce: int | None = None


@frozen
class Signed:
    """The signed bytes and their hash. The guard has recorded them before it says so. After a kill `raw` is empty:
    what was signed is told, but not handed out again."""

    kind: ClassVar[str] = "signed"
    raw: str
    hash: str


@frozen
class Refused:
    """Policy says no: `rule` names it, `reason` is a sentence, `measured` and `limit` have its numbers."""

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
    """The kit may have sent the swap or not: only the chain can say. `hash` is one that it has named all the same."""

    kind: ClassVar[str] = "unknown"
    reason: str
    hash: str | None = None


Verdict = Sent | NotSent | Unknown


@frozen
class Recalled:
    """All that was signed for the intent, oldest first, or what the kit's verdict was; both empty where the guard has
    recorded nothing of it."""

    kind: ClassVar[str] = "recalled"
    signed: tuple[Signed, ...] = ()
    verdict: Verdict | None = None


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


@frozen
class Broken:
    """The guard itself has a bug, or cannot write what it must. Nothing was signed."""

    kind: ClassVar[str] = "broken"
    reason: str


Answer = GuardStatus | Signed | Refused | Sent | NotSent | Unknown | Recalled | Revoked | Restored | Malformed | Broken


# --- lines

_Message = Question | Answer
_QUESTIONS: Final[dict[str, Any]] = {kind.kind: kind for kind in get_args(Question)}
_ANSWERS: Final[dict[str, Any]] = {kind.kind: kind for kind in get_args(Answer)}


def to_line(message: _Message) -> bytes:
    """A question or an answer as it is sent, its line end included."""
    return to_json(_tagged(message)) + b"\n"


def read_question(line: bytes) -> Question:
    """The inverse of `to_line`, for the guard: nothing lenient, no value repeated. Raises ValueError."""
    question: Question = _read(line, _QUESTIONS)
    return question


def read_answer(line: bytes) -> Answer:
    """The inverse of `to_line`, for who has asked. Raises ValueError."""
    answer: Answer = _read(line, _ANSWERS)
    return answer


def pack(value: object) -> Any:
    """Any value of these as plain data, whole numbers as texts: the guard's ledger is written so, too."""
    return _converter.unstructure(value)


def unpack(data: Any, kind: type[T]) -> T:
    """The inverse of `pack`. Raises ValueError, whose text repeats no value."""
    try:
        return _converter.structure(data, kind)
    except Impossible as error:
        raise ValueError(f"{error.key}: {error.valid}" if error.key else error.valid) from None
    except KeyError as error:
        raise ValueError(f"{error.args[0]}: is missing") from None
    except ForbiddenExtraKeysError as error:
        raise ValueError(f"{min(error.extra_fields)}: unknown key") from None


def _read(line: bytes, kinds: dict[str, Any]) -> Any:
    data = from_json(line)
    if not isinstance(data, dict):
        raise ValueError("must be a JSON object")
    kind = data.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"kind: must be one of {', '.join(kinds)}")
    return unpack(data, kinds[kind])


def _tagged(message: Any) -> dict[str, Any]:
    return {"kind": message.kind, **pack(message)}


def _whole(value: Any, _: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,77}", value) or int(value) >= 2**256:
        raise Impossible("", value, "whole numbers must be texts of decimal digits, below 2**256")
    return int(value)


def _exactly(kind: type, words: str) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise Impossible("", value, f"there must be {words}")
        return value

    return structure


def _number(value: Any, _: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Impossible("", value, "there must be a number")
    return Decimal(value)


def _table(kind: Any, converter: cattrs.Converter) -> Any:
    structure = make_dict_structure_fn(kind, converter)

    def checked(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise Impossible("", value, "there must be an object")
        return structure(value, kind)

    return checked


def _list(value: Any, _: Any) -> tuple[Signed, ...]:
    if not isinstance(value, list):
        raise Impossible("", value, "there must be a list")
    return tuple(_converter.structure(one, Signed) for one in value)


def _texts(value: Any, _: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise Impossible("", value, "there must be an object of texts")
    return value


def _verdict(value: Any, _: Any) -> Verdict | None:
    return None if value is None else _read(to_json(value), {one.kind: one for one in get_args(Verdict)})


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    converter.register_unstructure_hook(int, str)
    converter.register_unstructure_hook(bool, lambda value: value)
    converter.register_unstructure_hook(Decimal, lambda value: value)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(Decimal, _number)
    converter.register_structure_hook(str, _exactly(str, "text"))
    converter.register_structure_hook(bool, _exactly(bool, "true or false"))
    converter.register_structure_hook_factory(has, lambda kind: _table(kind, converter))
    converter.register_structure_hook_func(lambda kind: kind == tuple[Signed, ...], _list)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, str], _texts)
    converter.register_structure_hook(Verdict | None, _verdict)
    converter.register_unstructure_hook(Verdict | None, lambda value: None if value is None else _tagged(value))
    return converter


_converter = _make_converter()
