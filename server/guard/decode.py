"""What a transaction's calldata does. Pure; one reading of the bytes, and no other.

A contract reads calldata leniently: trailing bytes, overlapping pointers and dirty padding are all taken. What is not
exactly the bytes that its meaning would be written as is therefore not understood, and what is not understood is not
signed.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode

SWAP: Final = bytes.fromhex("38ed1739")  # swapExactTokensForTokens(uint256,uint256,address[],address,uint256)
APPROVE: Final = bytes.fromhex("095ea7b3")  # approve(address,uint256)
_SWAP_TYPES: Final = ("uint256", "uint256", "address[]", "address", "uint256")
_APPROVE_TYPES: Final = ("address", "uint256")


@frozen
class Swap:
    """Give `spend` of the path's first token, get `min_out` of its last at least, to `to`, until `deadline`."""

    spend: int
    min_out: int
    path: tuple[str, ...]
    to: str
    deadline: int


@frozen
class Approval:
    """Let `spender` take `amount` of the token whose contract is called."""

    spender: str
    amount: int


@frozen
class Unreadable:
    """Neither of these; `rule` says which rule that breaks."""

    rule: str
    reason: str
    measured: str
    limit: str


Action = Swap | Approval | Unreadable


def decode(data: str) -> Action:
    """What `data` (0x hex) does. Addresses come out in small letters."""
    try:
        raw = bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        return Unreadable("calldata", "The calldata is no hex.", "not hex", "0x and hex digits by twos")
    selector, body = raw[:4], raw[4:]
    types = {SWAP: _SWAP_TYPES, APPROVE: _APPROVE_TYPES}.get(selector)
    if types is None:
        shown = "0x" + selector.hex()
        limit = "0x38ed1739 (swapExactTokensForTokens) or 0x095ea7b3 (approve)"
        return Unreadable("selector", f"The call {shown} is none that is signed for.", shown, limit)
    try:
        values = abi_decode(types, body)
        canonical = abi_encode(types, values) == body
    except Exception:  # the decoder's own errors and whatever else hostile bytes bring up in it
        canonical = False
    if not canonical:
        told = f"{len(body)} bytes that are not those its meaning is written as"
        return Unreadable("calldata", "The calldata is not written canonically.", told, "encode(decode(x)) == x")
    if selector == APPROVE:
        return Approval(spender=values[0], amount=values[1])
    spend, min_out, path, to, deadline = values
    return Swap(spend, min_out, tuple(path), to, deadline)


def encode(action: Swap | Approval) -> str:
    """The inverse of `decode`."""
    if isinstance(action, Approval):
        return "0x" + (APPROVE + abi_encode(_APPROVE_TYPES, (action.spender, action.amount))).hex()
    values = (action.spend, action.min_out, action.path, action.to, action.deadline)
    return "0x" + (SWAP + abi_encode(_SWAP_TYPES, values)).hex()
