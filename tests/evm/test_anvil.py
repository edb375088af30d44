"""What the chain of our tests does, and where it is softer than a real node.

Measured with anvil 1.7.1. What is tested here must not lean on these, in which a real node differs:

- a replacement needs one wei more than what it replaces, and a price of 0 is taken (a real pool wants 10 % more, and a
  minimum);
- a legacy transaction for another chain is given a hash and then forgotten (a real node refuses it);
- a block comes with each transaction and never by itself;
- transactions of blocks that a reorg replaced are gone (a real node puts them back into its pool), and the number of
  the last block stays what it was. A reorg of empty blocks changes nothing, not even a hash: whoever is to notice one
  needs a transaction in it.

As on a real node, and easily missed: the same bytes again are an error while they are pending ("already imported" here,
"already known" elsewhere) and "nonce too low" once a block holds them, and neither says that they are lost; what was
dropped or reorganised away is simply unknown, with no receipt, no transaction, and the nonce as before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from eth_account import Account
from eth_account.datastructures import SignedTransaction

from tests.evm import anvil as the_module
from tests.evm.anvil import CHAIN_ID, ROOM, Anvil, NotSetUp, RpcError, SnapshotLost, anvil, quantity
from tests.evm.fixtures import Deployed
from tests.evm.market import USDT, Market

GWEI = 10**9
KEY = Account.from_key(b"\x07" * 32)
SOMEBODY = "0x1111111111111111111111111111111111111111"
ANSWERS_ITS_SLOT_0 = bytes.fromhex("5f545f5260205ff3")


@pytest.fixture
def node() -> Iterator[Anvil]:
    """An empty chain, where the key has ten BNB."""
    with anvil() as chain:
        chain.set_balance(KEY.address, 10 * 10**18)
        yield chain


def signed(nonce: int, *, gas_price: int = GWEI, value: int = 1, chain_id: int = CHAIN_ID) -> SignedTransaction:
    """A legacy transaction of the key's: so many wei to somebody."""
    fields = {"nonce": nonce, "gasPrice": gas_price, "gas": 21_000, "to": SOMEBODY, "value": value, "chainId": chain_id}
    transaction: SignedTransaction = KEY.sign_transaction(fields)
    return transaction


def send(chain: Anvil, transaction: SignedTransaction) -> str:
    return chain.send_signed(bytes(transaction.raw_transaction))


def known(chain: Anvil, tx_hash: str) -> bool:
    """Whether the node knows the transaction, pending or in a block."""
    return chain.rpc("eth_getTransactionByHash", tx_hash) is not None


def slot_0(chain: Anvil, block: str = "latest") -> int:
    return quantity(chain.rpc("eth_call", {"to": SOMEBODY}, block))


# The process


def test_a_node_is_gone_when_its_block_ends_however_it_ends() -> None:
    with suppress(ZeroDivisionError), anvil() as chain:
        pid, url = chain.pid, chain.url
        assert os.path.exists(f"/proc/{pid}")
        raise ZeroDivisionError
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(httpx.ConnectError), httpx.Client() as client:
        client.post(url)


def test_a_missing_binary_is_told_in_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_module, "BINARY", Path("/nowhere/anvil"))
    with pytest.raises(NotSetUp, match=r"^no anvil at /nowhere/anvil: `make test` sets it up"), anvil():
        pass


def test_it_listens_on_the_loopback_alone_and_says_that_it_is_bnb_smart_chain(node: Anvil) -> None:
    assert node.url.startswith("http://127.0.0.1:")
    assert quantity(node.rpc("eth_chainId")) == 56
    assert node.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"] == "0x0"


def test_nodes_from_one_state_go_their_own_ways(market: Market, deployed: Deployed) -> None:
    with anvil(state=deployed.state) as chain:
        other = deployed.market.on(chain)
        assert other.pancake.reserves("ETH/USDT") == market.pancake.reserves("ETH/USDT")
        assert chain.block_number == market.chain.block_number
        other.pancake.swap([USDT, "ETH"], 10**18)
        assert other.pancake.reserves("ETH/USDT") != market.pancake.reserves("ETH/USDT")


async def test_asynchronous_code_needs_its_address_only(market: Market) -> None:
    async with httpx.AsyncClient() as client:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        answer = (await client.post(market.chain.url, json=asked)).json()
    assert quantity(answer["result"]) == market.chain.block_number


# Blocks and time


def test_each_transaction_gets_a_block_one_second_after_the_last_one(node: Anvil) -> None:
    number, time = node.block_number, node.timestamp
    for nonce in range(3):
        node.mined(send(node, signed(nonce)))
    assert (node.block_number, node.timestamp) == (number + 3, time + 3)


def test_a_block_is_of_the_time_that_was_asked_for_and_never_of_an_earlier_one(node: Anvil) -> None:
    node.mine(at=1_700_000_000)
    assert node.timestamp == 1_700_000_000
    node.mine()
    assert node.timestamp == 1_700_000_001
    with pytest.raises(RpcError, match="lower than previous block"):
        node.next_block_at(1_600_000_000)


def test_a_pause_gathers_transactions_for_one_block(node: Anvil) -> None:
    with node.mining_paused():
        hashes = [send(node, signed(nonce)) for nonce in range(3)]
        assert [node.receipt(tx_hash) for tx_hash in hashes] == [None] * 3
        assert (node.nonce(KEY.address), node.nonce(KEY.address, "pending")) == (0, 3)
        node.mine()
    assert len({node.mined(tx_hash)["blockNumber"] for tx_hash in hashes}) == 1


def test_after_a_pause_what_was_pending_is_mined_by_itself(node: Anvil) -> None:
    with node.mining_paused():
        tx_hash = send(node, signed(0))
    assert node.mined(tx_hash)["status"] == "0x1"


def test_revert_brings_back_blocks_balances_and_time_but_not_the_pool(node: Anvil) -> None:
    before = (node.block_number, node.timestamp, node.balance(KEY.address))
    snapshot = node.snapshot()
    node.mined(send(node, signed(0)))
    node.mine(at=1_700_000_000)
    with node.mining_paused():
        pending = send(node, signed(1))
        node.revert(snapshot)
        assert (node.block_number, node.timestamp, node.balance(KEY.address)) == before
        assert known(node, pending)
    with pytest.raises(SnapshotLost):
        node.revert(snapshot)


def test_a_reorg_replaces_blocks_and_their_transactions_do_not_come_back_by_themselves(node: Anvil) -> None:
    transaction = signed(0)
    tx_hash = send(node, transaction)
    mined = node.mined(tx_hash)
    node.mine(2)
    number = node.block_number
    node.reorg(3)
    assert node.block_number == number
    assert (node.receipt(tx_hash), known(node, tx_hash), node.nonce(KEY.address)) == (None, False, 0)
    assert node.rpc("eth_getBlockByHash", mined["blockHash"], False) is None
    assert node.balance(SOMEBODY) == 0
    node.mine()
    assert node.receipt(tx_hash) is None
    assert send(node, transaction) == tx_hash
    again = node.mined(tx_hash)
    assert quantity(again["blockNumber"]) == number + 2
    assert node.balance(SOMEBODY) == 1


def test_a_reorg_of_empty_blocks_changes_nothing(node: Anvil) -> None:
    node.mine(3)
    head = node.rpc("eth_getBlockByNumber", "latest", False)
    node.reorg(3)
    assert node.rpc("eth_getBlockByNumber", "latest", False) == head


def test_a_reorg_below_a_snapshot_loses_it(node: Anvil) -> None:
    node.mined(send(node, signed(0)))
    snapshot = node.snapshot()
    node.reorg(1)
    with pytest.raises(SnapshotLost):
        node.revert(snapshot)


def test_a_loaded_chain_has_room_for_a_reorg_and_no_past_before_that(market: Market) -> None:
    chain, reserves = market.chain, market.pancake.reserves("ETH/USDT")
    market.pancake.swap([USDT, "ETH"], 10**18)
    chain.reorg(ROOM + 1)
    assert market.pancake.reserves("ETH/USDT") == reserves
    with pytest.raises(RpcError, match="data unavailable"):
        chain.reorg(ROOM + 2)


def test_a_decree_holds_from_the_last_block_on_and_a_reorg_to_before_it_takes_it_back(node: Anvil) -> None:
    node.set_code(SOMEBODY, ANSWERS_ITS_SLOT_0)
    node.mine()
    node.set_storage(SOMEBODY, 0, 7)
    seven = node.block_number
    node.mine()
    node.set_storage(SOMEBODY, 0, 8)
    assert [slot_0(node, block) for block in (hex(seven - 1), hex(seven), "latest")] == [0, 7, 8]
    node.reorg(1)
    assert slot_0(node) == 7


# Transactions that do not simply arrive


def test_a_replacement_needs_one_wei_more_and_what_it_replaced_is_forgotten(node: Anvil) -> None:
    with node.mining_paused():
        first = send(node, signed(0))
        for gas_price in (GWEI - 1, GWEI):
            with pytest.raises(RpcError, match="replacement transaction underpriced"):
                send(node, signed(0, gas_price=gas_price, value=2))
        second = send(node, signed(0, gas_price=GWEI + 1, value=3))
        assert not known(node, first)
        node.mine()
    node.mined(second)
    assert (node.receipt(first), node.balance(SOMEBODY), node.nonce(KEY.address)) == (None, 3, 1)


def test_a_dropped_transaction_is_unknown_until_its_bytes_are_sent_again(node: Anvil) -> None:
    transaction = signed(0)
    with node.mining_paused():
        tx_hash = send(node, transaction)
        node.drop(tx_hash)
        node.mine()
    assert (node.receipt(tx_hash), known(node, tx_hash), node.nonce(KEY.address)) == (None, False, 0)
    assert send(node, transaction) == tx_hash
    assert node.mined(tx_hash)["status"] == "0x1"


def test_the_same_bytes_are_an_error_while_pending_and_another_one_when_mined(node: Anvil) -> None:
    transaction = signed(0)
    with node.mining_paused():
        tx_hash = send(node, transaction)
        with pytest.raises(RpcError, match="transaction already imported") as pending:
            send(node, transaction)
    node.mined(tx_hash)
    with pytest.raises(RpcError, match="nonce too low") as mined:
        send(node, transaction)
    assert pending.value.code == mined.value.code == -32003
    assert node.balance(SOMEBODY) == 1


def test_behind_a_gap_of_nonces_a_transaction_waits_and_cannot_be_dropped(node: Anvil) -> None:
    last = send(node, signed(1))
    node.drop(last)
    assert known(node, last)
    assert (node.nonce(KEY.address), node.nonce(KEY.address, "pending")) == (0, 0)
    node.mined(send(node, signed(0)))
    assert node.mined(last)["status"] == "0x1"


def test_a_price_of_nothing_is_taken(node: Anvil) -> None:
    assert node.mined(send(node, signed(0, gas_price=0)))["effectiveGasPrice"] == "0x0"


def test_a_legacy_transaction_for_another_chain_is_given_a_hash_and_forgotten(node: Anvil) -> None:
    tx_hash = send(node, signed(0, chain_id=1))
    node.mine()
    assert (node.receipt(tx_hash), known(node, tx_hash), node.nonce(KEY.address)) == (None, False, 0)


def test_a_typed_transaction_for_another_chain_is_refused(node: Anvil) -> None:
    fields = {"type": 2, "nonce": 0, "gas": 21_000, "to": SOMEBODY, "value": 1, "chainId": 1}
    with pytest.raises(RpcError, match="invalid chain id"):
        send(node, KEY.sign_transaction(fields | {"maxFeePerGas": GWEI, "maxPriorityFeePerGas": GWEI}))


def test_a_node_signs_for_an_account_only_while_it_is_impersonated(node: Anvil) -> None:
    with node.impersonating(KEY.address):
        node.mined(node.send(KEY.address, SOMEBODY, value=5))
    with pytest.raises(RpcError, match="No Signer available"):
        node.send(KEY.address, SOMEBODY, value=5)
    assert node.balance(SOMEBODY) == 5
