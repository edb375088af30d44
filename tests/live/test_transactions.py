"""The two transactions there are, byte for byte as a library encodes them."""

from __future__ import annotations

from decimal import Decimal

from attrs import evolve as changed
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from actors.executor.live import OpenOrder
from actors.twak_signer.transactions import APPROVE, GAS, SWAP, address_of, intent_of, read, replacement, transaction
from protocol.money import Units
from protocol.settings import ChainSettings, TokenSettings
from tests.live.lives import OPENED, folded, intended

uints = st.integers(0, 2**256 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
KEY = "0x" + "11" * 32


def _order(spend: int = 1, deadline: int = 1, tokens: tuple[str, str] = ("USDT", "ETH")) -> OpenOrder:
    wish = changed(intended(folded(*OPENED)), spend=Units(spend), deadline=deadline)
    return OpenOrder(changed(wish, from_token=tokens[0], to_token=tokens[1]))


def _settings(usdt: str, eth: str, router: str) -> ChainSettings:
    return ChainSettings(router=router, usdt=TokenSettings(usdt), tokens={"ETH": TokenSettings(eth)}, references={})


def test_selectors_are_of_the_signatures() -> None:
    swap = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
    assert keccak(text="approve(address,uint256)")[:4].hex() == APPROVE
    assert keccak(text=swap)[:4].hex() == SWAP


@given(uints, addresses, addresses, addresses, addresses)
def test_an_approval_is_of_the_token_that_is_given_to_the_router_and_of_no_more_than_is_spent(
    spend: int, usdt: str, eth: str, router: str, wallet: str
) -> None:
    tx = transaction(_order(spend), "approval", _settings(usdt, eth, router), wallet, 5, 3, 10**9)
    data = bytes.fromhex(APPROVE) + encode(["address", "uint256"], [router, spend])
    assert (tx.to, tx.data, tx.value) == (usdt, "0x" + data.hex(), 0)
    assert (tx.nonce, tx.gas, tx.gas_price, tx.chain_id) == (3, GAS["approval"], 10**9, 56)


@given(uints, uints, uints, addresses, addresses, addresses, addresses, st.booleans())
def test_a_swap_is_of_the_router_along_one_pool_to_the_own_wallet(
    spend: int, least: int, deadline: int, usdt: str, eth: str, router: str, wallet: str, selling: bool
) -> None:
    order, path = _order(spend, deadline), [usdt, eth]
    if selling:
        order, path = _order(spend, deadline, ("ETH", "USDT")), [eth, usdt]
    tx = transaction(order, "swap", _settings(usdt, eth, router), wallet, least, 4, 10**9)
    words = ["uint256", "uint256", "address[]", "address", "uint256"]
    data = bytes.fromhex(SWAP) + encode(words, [spend, least, path, wallet, deadline])
    assert (tx.to, tx.data, tx.value, tx.gas) == (router, "0x" + data.hex(), 0, GAS["swap"])


@given(addresses.map(str.upper).map(lambda text: "0x" + text[2:]))
def test_addresses_may_be_written_in_any_letters(eth: str) -> None:
    small, large = (_settings(address, address, address) for address in (eth.lower(), eth))
    one, other = (transaction(_order(), "swap", chosen, eth, 1, 0, 1) for chosen in (small, large))
    assert one.data == other.data


def test_the_two_legs_are_two_things_to_the_guard() -> None:
    order = _order()
    assert intent_of(order, "swap") == order.ref
    assert intent_of(order, "approval") != order.ref
    assert address_of(ChainSettings(), "USDT") == ChainSettings().usdt.address


@given(uints, st.integers(0, 2**64), st.integers(1, 10**12), st.sampled_from([56, 97, 31337]))
def test_what_was_signed_is_read_back_and_replaced_by_the_same_but_for_its_price(
    spend: int, nonce: int, gas_price: int, chain_id: int
) -> None:
    """By the signature of a library."""
    chosen = changed(_settings(*("0x" + digit * 40 for digit in "123")), chain_id=chain_id)
    tx = transaction(_order(spend), "swap", chosen, "0x" + "44" * 20, 7, nonce, gas_price)
    fields = {"nonce": tx.nonce, "gasPrice": tx.gas_price, "gas": tx.gas, "to": tx.to, "value": tx.value,
              "data": tx.data, "chainId": tx.chain_id}  # fmt: skip
    raw = Account.sign_transaction(fields, KEY).raw_transaction
    assert read("0x" + raw.hex(), chain_id) == tx
    dearer = replacement("0x" + raw.hex(), chain_id, Decimal("1.125"))
    assert changed(dearer, gas_price=gas_price) == tx
    assert 10 * dearer.gas_price >= 11 * gas_price
