"""The chain over JSON-RPC, against endpoints that are honest, silent, broken, behind, or lie."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from actors.chain import logs
from actors.chain.port import (
    Accepted,
    AlreadyKnown,
    Answer,
    Denied,
    NonceTooLow,
    Rejected,
    Reserves,
    Sighting,
    Token,
    Unanswered,
    Unclear,
    Underpriced,
)
from actors.chain.rpc import LAG_BLOCKS, RpcChain
from tests.chain.endpoint import (
    DROP,
    HANG,
    HASH,
    KEY,
    WALLET,
    Endpoint,
    Error,
    Status,
    block,
    endpoints,
    hexed,
    log,
    receipt,
    topic,
)
from tests.chain.world import (
    CAKE,
    ETH,
    ETH_POOL,
    FACTORY,
    FEED,
    GENESIS,
    ROUTER,
    SECOND,
    UNIT,
    USDT,
    WBNB,
    World,
    address,
)

TIMEOUT = 0.5


@asynccontextmanager
async def chain(*worlds: World, timeout: float = 20.0) -> AsyncIterator[tuple[RpcChain, list[Endpoint]]]:
    async with endpoints(*worlds) as made:
        it = RpcChain([endpoint.url for endpoint in made], 56, timeout)
        try:
            yield it, made
        finally:
            await it.aclose()


def world() -> World:
    made = World()
    for number in range(60):
        made.mine(GENESIS + number * SECOND, (ETH_POOL, (number - 30) * UNIT))
    return made


def fork(of: World, depth: int) -> World:
    other = World(list(of.blocks), list(of.events), list(of.states), list(of.answers))
    other.reorganise(depth)
    return other


# --- one honest endpoint


async def test_blocks_reserves_events_and_feeds_are_read_exactly_and_by_the_block_s_hash() -> None:
    there = world()
    async with chain(there) as (it, (endpoint,)):
        assert await it.head() == there.head
        assert await it.block(5) == there.blocks[5]
        assert await it.block(10_000) is None
        assert await it.agreed(7) == there.blocks[7]
        assert await it.reserves(ETH_POOL, there.blocks[9]) == there.states[9][ETH_POOL]
        assert endpoint.asked[-1][1][1] == {"blockHash": there.blocks[9].hash, "requireCanonical": True}
        assert await it.reserves(ETH_POOL) == there.states[-1][ETH_POOL]
        assert await it.pool_events((ETH_POOL,), 3, 50) == there.logs({ETH_POOL}, 3, 50)
        assert await it.answer(FEED, there.blocks[9]) == Answer(10**8, 8, there.blocks[0].at)


async def test_what_a_live_order_needs_is_read_exactly_however_large_the_numbers() -> None:
    async with chain(world()) as (it, (endpoint,)):
        assert await it.amounts_out(ROUTER, 2 * UNIT + 1, (USDT, ETH)) == [2 * UNIT + 1, UNIT]
        assert await it.balance(WALLET) == 2**200 + 1
        assert await it.balance(WALLET, ETH) == 2**255 + 3
        assert await it.allowance(USDT, WALLET, ROUTER) == 2**256 - 1
        assert await it.transaction_count(WALLET, pending=False) == 5
        assert await it.transaction_count(WALLET, pending=True) == 7
        assert await it.gas_price() == 10**9
        assert await it.token(CAKE) == Token("CAKE", 18)
        assert await it.tokens_of(ETH_POOL) == (ETH, USDT)
        assert await it.pool(FACTORY, ETH, USDT) == ETH_POOL
        assert await it.pool(FACTORY, address(5), USDT) is None
        assert await it.wiring(ROUTER) == (FACTORY, WBNB)
        assert endpoint.methods().count("eth_chainId") == 1, "checked once, before the first use"


async def test_a_receipt_says_what_was_spent_and_got_to_the_wei() -> None:
    async with chain(world()) as (it, (endpoint,)):
        assert await it.receipt(HASH) is None
        endpoint.faults["eth_getTransactionReceipt"] = receipt()
        found = await it.receipt(HASH)
    assert found is not None
    assert (found.succeeded, found.block, found.gas_used * found.gas_price) == (True, 7, 159_000 * 10**9)
    assert logs.gained(found, USDT, WALLET.upper().replace("0X", "0x")) == -(100 * UNIT + 1)
    assert logs.gained(found, ETH, WALLET) == 2**100 + 1
    (swap,) = logs.swaps(found, ETH_POOL)
    assert (swap.second_in, swap.first_out) == (100 * UNIT + 1, 2**100 + 1)


async def test_transactions_by_which_tokens_left_a_wallet_are_named_once_each_and_none_that_was_not_asked_for() -> None:
    def left(hash: str, block: int, *, token: str = USDT, sender: str = WALLET) -> dict[str, Any]:
        transfer = log(token, [logs.TRANSFER, topic(sender), topic(ETH_POOL)], (5,), 0)
        return transfer | {"blockNumber": hex(block), "transactionHash": hash}

    other = "0x" + "ef" * 32
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_getLogs"] = [left(HASH, 7), left(HASH, 7), left(other, 9)]
        assert await it.outgoing(USDT, WALLET, 7, 9) == (HASH, other)
        ((asked,),) = [params for method, params in endpoint.asked if method == "eth_getLogs"]
        assert [address.lower() for address in asked["address"]] == [USDT]
        assert asked["topics"] == [logs.TRANSFER, topic(WALLET)]
        assert (asked["fromBlock"], asked["toBlock"]) == ("0x7", "0x9")
        for wrong in (left(HASH, 6), left(HASH, 7, token=ETH), left(HASH, 7, sender=ROUTER)):
            endpoint.faults["eth_getLogs"] = [wrong]
            with pytest.raises(Unanswered, match="a log that was not asked for"):
                await it.outgoing(USDT, WALLET, 7, 9)
        endpoint.faults["eth_getLogs"] = Error("the method eth_getLogs does not exist", -32601)
        with pytest.raises(Denied):
            await it.outgoing(USDT, WALLET, 7, 9)


async def test_a_reverted_transaction_has_a_receipt_that_says_so() -> None:
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_getTransactionReceipt"] = receipt(status="0x0", logs=[])
        found = await it.receipt(HASH)
    assert found is not None
    assert not found.succeeded
    assert found.gas_used == 159_000


async def test_a_transaction_is_known_in_the_pool_in_a_block_or_not_at_all() -> None:
    seen = {"hash": HASH, "from": WALLET, "nonce": "0x5", "gasPrice": "0x9", "blockNumber": None, "value": "0x0"}
    async with chain(world()) as (it, (endpoint,)):
        assert await it.transaction(HASH) is None
        endpoint.faults["eth_getTransactionByHash"] = seen
        assert await it.transaction(HASH) == Sighting(HASH, WALLET, 5, 9, None)
        endpoint.faults["eth_getTransactionByHash"] = seen | {"blockNumber": "0x8"}
        assert await it.transaction(HASH) == Sighting(HASH, WALLET, 5, 9, 8)


def test_the_events_topics_are_those_of_their_signatures() -> None:
    signatures = {
        logs.TRANSFER: "Transfer(address,address,uint256)",
        logs.SYNC: "Sync(uint112,uint112)",
        logs.SWAP: "Swap(address,uint256,uint256,uint256,uint256,address)",
    }
    for code, signature in signatures.items():
        assert code == "0x" + keccak(text=signature).hex()


# --- an error in answer


async def test_what_an_endpoint_answers_with_an_error_is_denied_and_says_why() -> None:
    there = world()
    async with chain(there) as (it, (endpoint,)):
        endpoint.pruned = True
        with pytest.raises(Denied, match=r"^1 \(127\.0\.0\.1\): missing trie node$"):
            await it.reserves(ETH_POOL, there.blocks[3])
        with pytest.raises(Denied, match="INSUFFICIENT_LIQUIDITY"):
            await it.amounts_out(ROUTER, 5000 * UNIT, (USDT, ETH))
        with pytest.raises(Denied, match="no contract at"):
            await it.reserves(address(5))
        assert it.aside == {}, "an answer is an answer"


async def test_where_one_endpoint_denies_another_one_is_asked() -> None:
    there = world()
    async with chain(there, there) as (it, (first, second)):
        first.pruned = True
        assert await it.reserves(ETH_POOL, there.blocks[3]) == there.states[3][ETH_POOL]
        assert second.methods() == ["eth_chainId", "eth_call"]


# --- no answer, or none that can be

NO_ANSWERS: dict[str, tuple[Any, str]] = {
    "it hangs": (HANG, "no answer within 0.5 s"),
    "it breaks off": (DROP, "it broke off in the middle of its answer"),
    "it is out of order": (Status(503), "HTTP 503"),
    "it wants payment": (Status(402), "HTTP 402"),
    "it sends a page": (b"<html>", "an answer that is no JSON"),
    "it sends nothing": (b"", "an answer that is no JSON"),
    "it nests": (b"[" * 100_000, "an answer that is no JSON"),
    "it sends a list": (b"[]", "an answer that is no JSON-RPC"),
    "it answers another question": (b'{"jsonrpc":"2.0","id":99999,"result":"0x1"}', "an answer to something else"),
    "it says nothing of it": (b'{"jsonrpc":"2.0","id":1}', "an answer that is no JSON-RPC"),
}
HEAD = block(World().head)
IMPOSSIBLE_BLOCKS: dict[str, Any] = {
    "text": "0x1",
    "a list": [],
    "without a hash": {key: value for key, value in HEAD.items() if key != "hash"},
    "with half a hash": HEAD | {"hash": "0xabcd"},
    "with a hash of letters": HEAD | {"hash": "x" * 66},
    "without a time": HEAD | {"timestamp": None},
    "of a time to come": HEAD | {"timestamp": hex(2**40)},
    "of a negative number": HEAD | {"number": "-0x1"},
    "of no number": HEAD | {"number": True},
}


@pytest.mark.parametrize("fault", NO_ANSWERS)
async def test_an_endpoint_that_does_not_answer_is_set_aside_and_the_next_one_is_asked(fault: str) -> None:
    there = world()
    how, words = NO_ANSWERS[fault]
    async with chain(there, there, timeout=TIMEOUT if how is HANG else 20.0) as (it, (first, _)):
        first.faults["eth_getBlockByNumber"] = how
        assert await it.block(5) == there.blocks[5]
        assert it.aside == {"1 (127.0.0.1)": words}
        asked = len(first.asked)
        assert await it.block(6) == there.blocks[6]
        assert len(first.asked) == asked, "it is left in peace for a while"


@pytest.mark.parametrize("fault", NO_ANSWERS)
async def test_a_lone_endpoint_that_does_not_answer_is_an_outage_and_is_believed_again_when_it_does(fault: str) -> None:
    there = world()
    how, words = NO_ANSWERS[fault]
    async with chain(there, timeout=TIMEOUT if how is HANG else 20.0) as (it, (endpoint,)):
        endpoint.faults["eth_getBlockByNumber"] = how
        with pytest.raises(Unanswered) as caught:
            await it.head()
        assert caught.value.reason == f"no endpoint answers: 1 (127.0.0.1): {words}"
        assert not isinstance(caught.value, Denied)
        del endpoint.faults["eth_getBlockByNumber"]
        assert await it.head() == there.head
        assert it.aside == {}


@pytest.mark.parametrize("fault", IMPOSSIBLE_BLOCKS)
async def test_a_block_that_cannot_be_is_no_answer(fault: str) -> None:
    there = world()
    async with chain(there, there) as (it, (first, _)):
        first.faults["eth_getBlockByNumber"] = IMPOSSIBLE_BLOCKS[fault]
        assert await it.block(5) == there.blocks[5]
        assert list(it.aside) == ["1 (127.0.0.1)"]


LOG = Endpoint(world()).log(world().events[2][0])


@pytest.mark.parametrize(
    "found",
    [
        [LOG, LOG],
        [LOG | {"address": USDT}],
        [LOG | {"blockNumber": "0x63"}],
        [LOG | {"removed": True}],
        [LOG | {"topics": [logs.TRANSFER]}],
        [LOG | {"topics": []}],
        [LOG | {"data": "0x00"}],
        [LOG | {"logIndex": None}],
        ["0x"],
        {"logs": []},
        None,
        "0x1234",
    ],
)
async def test_logs_that_were_not_asked_for_are_no_answer(found: Any) -> None:
    there = world()
    async with chain(there, there) as (it, (first, _)):
        first.faults["eth_getLogs"] = found
        assert await it.pool_events((ETH_POOL,), 2, 2) == there.logs({ETH_POOL}, 2, 2)
        assert list(it.aside) == ["1 (127.0.0.1)"]


@pytest.mark.parametrize(
    "found",
    [
        receipt(transactionHash="0x" + "00" * 32),
        receipt(status=None),
        receipt(status="0x2"),
        receipt(effectiveGasPrice=None),
        receipt(logs=None),
        {},
        [],
    ],
)
async def test_a_receipt_that_cannot_be_is_no_answer_and_never_no_receipt(found: Any) -> None:
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_getTransactionReceipt"] = found
        with pytest.raises(Unanswered):
            await it.receipt(HASH)


async def test_a_block_of_another_number_is_no_answer() -> None:
    there = world()
    async with chain(there, there) as (it, (first, _)):
        first.faults["eth_getBlockByNumber"] = block(there.blocks[7])
        assert await it.block(5) == there.blocks[5]
        assert it.aside == {"1 (127.0.0.1)": "block 7 for block 5"}


@pytest.mark.parametrize("amounts", [[7, 5], [5, 6, 7], [5], []])
async def test_a_quote_of_something_else_is_no_answer(amounts: list[int]) -> None:
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_call"] = hexed(("uint256[]",), (amounts,))
        with pytest.raises(Unanswered, match="a quote of"):
            await it.amounts_out(ROUTER, 5, (USDT, ETH))


async def test_no_contract_sends_us_to_an_address_of_its_own() -> None:
    async with chain(world(), world()) as (it, (first, second)):
        lookup = encode(
            ("address", "string[]", "bytes", "bytes4", "bytes"),
            (ETH_POOL, [f"{second.url}/{{data}}"], b"", b"1234", b""),
        )
        first.faults["eth_call"] = Error("execution reverted", 3, "0x556f1830" + lookup.hex())
        second.faults["eth_call"] = Error("execution reverted", 3)
        with pytest.raises(Denied):
            await it.reserves(ETH_POOL)
        assert second.methods() == ["eth_chainId", "eth_call"], "asked as the next endpoint, and nothing else"


@pytest.mark.parametrize("data", ["0x", "0x1234", "0x" + "f" * 191, 7, None, {}])
async def test_a_contract_s_answer_that_cannot_be_is_none(data: Any) -> None:
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_call"] = data
        with pytest.raises(Unanswered):
            await it.reserves(ETH_POOL)


async def test_a_question_that_cannot_be_is_a_bug_of_ours_and_no_outage() -> None:
    async with chain(world()) as (it, (endpoint,)):
        await it.head()
        with pytest.raises(ValueError, match="no address"):
            await it.balance("no address")
        assert it.aside == {}
        assert endpoint.methods() == ["eth_chainId", "eth_getBlockByNumber"]


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.chain import node

    monkeypatch.setattr(node, "MAX_ANSWER_BYTES", 2**20)
    async with chain(world()) as (it, (endpoint,)):
        endpoint.faults["eth_getLogs"] = b" " * (2**20 + 1)
        with pytest.raises(Unanswered, match="an answer of more than 1 MiB"):
            await it.pool_events((ETH_POOL,), 2, 2)


async def test_an_endpoint_of_another_chain_is_never_read_from() -> None:
    there = world()
    async with chain(there, there) as (it, (first, _)):
        first.chain_id = 97
        assert await it.head() == there.head
        assert await it.reserves(ETH_POOL) == there.states[-1][ETH_POOL]
        assert it.aside == {"1 (127.0.0.1)": "it is of chain 97, not of 56"}
        assert set(first.methods()) == {"eth_chainId"}


async def test_an_endpoint_is_asked_anew_which_chain_it_is_of_once_it_has_failed() -> None:
    async with chain(world()) as (it, (endpoint,)):
        await it.head()
        endpoint.faults["eth_getBlockByNumber"] = Status(503)
        with pytest.raises(Unanswered):
            await it.head()
        endpoint.faults.clear()
        endpoint.chain_id = 97
        with pytest.raises(Unanswered, match="it is of chain 97, not of 56"):
            await it.head()


async def test_nobody_listens_there() -> None:
    it = RpcChain(["http://127.0.0.1:1/", "http://127.0.0.1:99999/"], 56, 20.0)
    with pytest.raises(Unanswered) as caught:
        await it.head()
    refused = "the connection was refused"
    assert caught.value.reason == f"no endpoint answers: 1 (127.0.0.1): {refused}; 2 (127.0.0.1): {refused}"
    await it.aclose()


# --- several that do not say the same


async def test_of_three_the_one_with_another_block_is_set_aside_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = world()
    async with chain(fork(there, 9), there, there) as (it, (first, _, _)):
        number = there.head.number - 3
        assert await it.agreed(number) == there.blocks[number]
        ((name, words),) = it.aside.items()
        assert name == "1 (127.0.0.1)"
        assert words.startswith(f"its block {number} is 0x")
        assert f"endpoint 1 (127.0.0.1) is set aside: its block {number} is" in caplog.text
        asked = len(first.asked)
        assert await it.reserves(ETH_POOL, there.blocks[number]) == there.states[number][ETH_POOL]
        assert len(first.asked) == asked


async def test_of_two_that_disagree_nobody_is_believed() -> None:
    there = world()
    async with chain(fork(there, 9), there) as (it, _):
        assert await it.agreed(5) == there.blocks[5]
        with pytest.raises(Unanswered, match=r"^the endpoints disagree on block 57: 1 \(127\.0\.0\.1\) has 0x"):
            await it.agreed(57)
        assert it.aside == {}


async def test_the_head_is_what_most_have_and_one_that_runs_ahead_moves_nothing() -> None:
    there, ahead = world(), world()
    ahead.blocks = [*there.blocks]
    for _ in range(500):
        ahead.mine(ahead.head.at + SECOND)
    async with chain(ahead, there, there) as (it, (_, second, _)):
        assert await it.head() == there.head
        second.behind = 2
        assert await it.head() == there.head
        assert it.aside == {}


async def test_one_that_lags_behind_is_set_aside_until_it_has_caught_up() -> None:
    there = world()
    async with chain(there, there) as (it, (first, _)):
        first.behind = LAG_BLOCKS
        assert await it.head() == there.blocks[-1 - LAG_BLOCKS], "of two, the one that is behind is enough"
        first.behind = LAG_BLOCKS + 1
        assert await it.head() == there.head
        assert it.aside == {"1 (127.0.0.1)": f"it is {LAG_BLOCKS + 1} blocks behind"}


async def test_of_two_one_that_is_ahead_on_another_chain_is_not_believed_to_be_ahead() -> None:
    there = world()
    forged = fork(there, 20)
    for _ in range(100):
        forged.mine(forged.head.at + SECOND)
    async with chain(there, forged) as (it, _):
        with pytest.raises(Unanswered, match="the endpoints disagree on block 60"):
            await it.head()


async def test_an_endpoint_that_contradicts_itself_is_set_aside_by_whoever_noticed() -> None:
    there = world()
    async with chain(there, there) as (it, (first, second)):
        await it.block(5)
        it.doubt("its logs and its state differ")
        assert it.aside == {"1 (127.0.0.1)": "its logs and its state differ"}
        asked = len(first.asked)
        await it.block(5)
        assert (len(first.asked), second.methods()) == (asked, ["eth_chainId", "eth_getBlockByNumber"])


# --- sending

RAW = b"\x01\x02\x03" * 40
OURS = "0x" + keccak(RAW).hex()


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (None, Accepted(OURS)),
        (Error("already known"), AlreadyKnown(OURS)),
        (Error(f"known transaction: {OURS}"), AlreadyKnown(OURS)),
        (Error("transaction already imported"), AlreadyKnown(OURS)),
        (Error("nonce too low: next nonce 7, tx nonce 5"), NonceTooLow("nonce too low: next nonce 7, tx nonce 5")),
        (Error("replacement transaction underpriced"), Underpriced("replacement transaction underpriced")),
        (Error("transaction underpriced: gas tip cap 1"), Underpriced("transaction underpriced: gas tip cap 1")),
        (Error("insufficient funds for gas * price + value"), Rejected("insufficient funds for gas * price + value")),
        (Error("intrinsic gas too low"), Rejected("intrinsic gas too low")),
        (Error("internal error", -32603), Unclear("internal error")),
        (Error("limit exceeded", -32005), Unclear("limit exceeded")),
        (Error("txpool is full"), Unclear("txpool is full")),
        (Status(502), Unclear("HTTP 502")),
        (b"<html>", Unclear("an answer that is no JSON")),
        (DROP, Unclear("it broke off in the middle of its answer")),
        ("0x1234", Unclear("no hash")),
        (HASH, Unclear(f"it was taken as {HASH}, but is {OURS}")),
        (7, Unclear("no hash")),
    ],
)
async def test_what_came_of_sending_is_a_value_and_never_an_exception(told: Any, outcome: Any) -> None:
    there = world()
    async with chain(there, there) as (it, (first, second)):
        if told is not None:
            first.faults["eth_sendRawTransaction"] = told
        assert await it.send(RAW) == outcome
        assert [params for method, params in first.asked if method == "eth_sendRawTransaction"] == [["0x" + RAW.hex()]]
        assert second.asked == [], "sent once, to one"


async def test_a_send_that_gets_no_answer_in_time_is_unclear_and_not_sent_again() -> None:
    there = world()
    async with chain(there, there, timeout=TIMEOUT) as (it, (first, second)):
        first.faults["eth_sendRawTransaction"] = HANG
        assert await it.send(RAW) == Unclear("no answer within 0.5 s")
        assert first.methods().count("eth_sendRawTransaction") == 1
        assert "eth_sendRawTransaction" not in second.methods()
        assert await it.receipt(HASH) is None
        assert "eth_getTransactionReceipt" in second.methods(), "whoever looks then looks elsewhere"


async def test_nothing_is_sent_to_an_endpoint_of_another_chain() -> None:
    there = world()
    async with chain(there, there) as (it, (first, second)):
        first.chain_id = second.chain_id = 1
        outcome = await it.send(RAW)
        assert isinstance(outcome, Unclear)
        assert "it is of chain 1, not of 56" in outcome.reason
        assert {*first.methods(), *second.methods()} == {"eth_chainId"}
        second.chain_id = 56
        assert await it.send(RAW) == Accepted(OURS)
        assert "eth_sendRawTransaction" not in first.methods()


async def test_a_read_can_be_cancelled_at_once() -> None:
    async with chain(world()) as (it, (endpoint,)):
        await it.head()
        endpoint.faults["eth_call"] = HANG
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.reserves, ETH_POOL)
            while "eth_call" not in endpoint.methods():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        del endpoint.faults["eth_call"]
        assert await it.reserves(ETH_POOL) == Reserves(*it_state(endpoint))


def it_state(endpoint: Endpoint) -> tuple[int, int]:
    state = endpoint.world.states[-1][ETH_POOL]
    return state.first, state.second


# --- secrets, and the paper path


async def test_no_log_and_no_reason_shows_what_the_url_holds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    there = world()
    reasons = []
    async with chain(there) as (it, (endpoint,)):
        assert KEY in endpoint.url
        await it.head()
        for fault in (Error(f"project {KEY} has no credit; see {endpoint.url}"), Status(401), DROP, b"<html>"):
            endpoint.faults["eth_getBlockByNumber"] = fault
            with pytest.raises(Unanswered) as caught:
                await it.block(5)
            reasons.append(caught.value.reason)
        endpoint.faults["eth_sendRawTransaction"] = Error(f"bad token {KEY}2")
        reasons.append(repr(await it.send(RAW)))
        reasons += [repr(it.__dict__), repr(it.aside)]
    assert "project ... has no credit" in reasons[0]
    for text in (*reasons, caplog.text):
        assert KEY not in text
        assert RAW.hex() not in text


def test_the_port_and_the_market_are_there_without_web3() -> None:
    """And so is the daemon on paper, which never loads it."""
    program = (
        "import sys, trio\n"
        "import actors.chain.rpc, actors.chain.logs, actors.market_feed.chain, server.boot, server.daemon\n"
        "chain = actors.chain.rpc.RpcChain(['http://127.0.0.1:1'], 56, 1.0)\n"
        "loaded = {'web3', 'eth_abi', 'eth_account', 'aiohttp'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True).stderr == ""


def test_loading_web3_leaves_the_stack_as_deep_as_it_was() -> None:
    """One of its libraries allows 100,000 frames: a nested text would then end the process, not the answer."""
    program = (
        "import sys, trio\n"
        "from actors.chain.rpc import RpcChain\n"
        "before = sys.getrecursionlimit()\n"
        "trio.run(RpcChain(['http://127.0.0.1:1'], 56, 1.0).send, b'')\n"
        "assert 'web3' in sys.modules\n"
        "sys.exit(0 if sys.getrecursionlimit() == before else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0
