"""Calldata is read in one way, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.decode import APPROVE, SWAP, Action, Approval, Swap, Unreadable, decode, encode

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
amounts = st.integers(0, 2**256 - 1)
swaps = st.builds(Swap, amounts, amounts, st.lists(addresses, max_size=5).map(tuple), addresses, amounts)
actions = st.one_of(swaps, st.builds(Approval, addresses, amounts))
SOME = Swap(10**18, 5, ("0x" + "11" * 20, "0x" + "22" * 20), "0x" + "33" * 20, 1_800_000_000)
WORDS = encode(SOME)[10:]


def word(number: int, text: str = WORDS) -> str:
    return text[64 * number : 64 * number + 64]


def with_word(number: int, new: str) -> str:
    return "0x" + SWAP.hex() + WORDS[: 64 * number] + new + WORDS[64 * number + 64 :]


@given(actions)
def test_what_is_written_is_read(action: Swap | Approval) -> None:
    assert decode(encode(action)) == action


@given(actions, st.binary(min_size=1, max_size=64))
def test_nothing_may_come_behind(action: Swap | Approval, more: bytes) -> None:
    assert isinstance(decode(encode(action) + more.hex()), Unreadable)


@given(actions, st.integers(4, 2000))
def test_nothing_may_be_missing(action: Swap | Approval, cut: int) -> None:
    data = encode(action)
    kept = data[: max(10, len(data) - 2 * (cut - 3))]
    assert kept == data or isinstance(decode(kept), Unreadable)


@given(st.sampled_from([SWAP, APPROVE]), st.binary(max_size=400))
def test_any_bytes_are_read_exactly_or_not_at_all(selector: bytes, body: bytes) -> None:
    data = "0x" + (selector + body).hex()
    action = decode(data)
    assert isinstance(action, Unreadable) or encode(action) == data


@given(swaps, st.data())
def test_any_flipped_bit_is_another_meaning_or_none(swap: Swap, data: st.DataObject) -> None:
    raw = bytearray(bytes.fromhex(encode(swap)[2:]))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    flipped = decode("0x" + raw.hex())
    assert flipped != swap
    assert isinstance(flipped, Unreadable) or encode(flipped) == "0x" + raw.hex()


DIRTY = {
    "a recipient with dirty padding": with_word(3, "01" + word(3)[2:]),
    "a hop with dirty padding": with_word(6, "ff" * 12 + word(6)[24:]),
    "a path elsewhere, with a gap before it": with_word(2, f"{0xC0:064x}").replace(
        word(5), "00" * 32 + word(5), 1
    ),
    "a path that points into the head": with_word(2, f"{0:064x}"),
    "a path that points beyond the end": with_word(2, f"{2**255:064x}"),
    "a path longer than the bytes": with_word(5, f"{2**64:064x}"),
    "no arguments": "0x" + SWAP.hex(),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRTY)
def test_what_a_contract_might_read_leniently_is_not_read(name: str) -> None:
    refused = decode(DIRTY[name])
    assert isinstance(refused, Unreadable), refused
    assert refused.rule == "calldata"


OTHER_CALLS = {
    "nothing": "0x",
    "three bytes": "0x38ed17",
    "transfer": "0xa9059cbb" + "00" * 64,
    "transferFrom": "0x23b872dd" + "00" * 96,
    "increaseAllowance": "0x39509351" + "00" * 64,
    "swapExactETHForTokens": "0x7ff36ab5" + WORDS,
    "swapTokensForExactTokens": "0x8803dbee" + WORDS,
    "the swap that takes fees on transfer": "0x5c11d795" + WORDS,
    "removeLiquidity": "0xbaa2abde" + WORDS,
    "permit": "0xd505accf" + WORDS,
    "multicall": "0xac9650d8" + WORDS,
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_every_other_call_is_refused_by_its_selector(name: str) -> None:
    refused: Action = decode(OTHER_CALLS[name])
    assert isinstance(refused, Unreadable)
    assert refused.rule == "selector"
    assert refused.measured == OTHER_CALLS[name][:10]
