"""Transactions of a live order, before their signature: the two calls there are, written out by hand. Pure.

Selectors are the first four bytes of keccak-256 of the signatures in the comments; a test holds them and the words
after them against a library's encoder.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from attrs import evolve

from actors.executor.live import USDT, OpenOrder
from protocol.events import Leg
from protocol.settings import ChainSettings
from protocol.signing import Transaction

APPROVE: Final = "095ea7b3"  # approve(address,uint256)
SWAP: Final = "38ed1739"  # swapExactTokensForTokens(uint256,uint256,address[],address,uint256)
GAS: Final[dict[Leg, int]] = {"approval": 100_000, "swap": 400_000}  # limits; what is not used is not paid


def address_of(settings: ChainSettings, token: str) -> str:
    """The contract of a token that is traded."""
    return (settings.usdt if token == USDT else settings.tokens[token]).address


def intent_of(order: OpenOrder, leg: Leg) -> str:
    """What the guard knows the leg by: a thing that shall happen on the chain at most once."""
    return order.ref if leg == "swap" else f"{order.ref}.approval"


def transaction(
    order: OpenOrder, leg: Leg, settings: ChainSettings, wallet: str, least: int, nonce: int, gas_price: int
) -> Transaction:
    """The leg as the guard is to sign it; the swap is to bring `least`."""
    intended = order.intended
    spends, brings = address_of(settings, intended.from_token), address_of(settings, intended.to_token)
    if leg == "approval":
        to, data = spends, APPROVE + _address(settings.router) + _word(intended.spend)
    else:
        head = (
            _word(intended.spend), _word(least), _word(5 * 32), _address(wallet),
            _word(intended.deadline),
        )  # fmt: skip
        to, data = settings.router, SWAP + "".join((*head, _word(2), _address(spends), _address(brings)))
    return Transaction(settings.chain_id, nonce, to, 0, "0x" + data, GAS[leg], gas_price)


def read(raw: str, chain_id: int) -> Transaction:
    """The legacy transaction that these signed bytes are."""
    from rlp import decode  # not on the paper path

    nonce, gas_price, gas, to, value, data, *_ = decode(bytes.fromhex(raw.removeprefix("0x")))
    numbers = [int.from_bytes(it) for it in (nonce, value, gas, gas_price)]
    return Transaction(chain_id, numbers[0], "0x" + to.hex(), numbers[1], "0x" + data.hex(), *numbers[2:])


def replacement(raw: str, chain_id: int, bid: Decimal) -> Transaction:
    """The same, but that it pays `bid` times as much for its gas."""
    tx = read(raw, chain_id)
    return evolve(tx, gas_price=int(tx.gas_price * bid) + 1)


def _word(number: int) -> str:
    return f"{number:064x}"


def _address(text: str) -> str:
    return text.removeprefix("0x").lower().rjust(64, "0")
