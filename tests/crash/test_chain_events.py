"""What a chain does to a transaction that was signed: forgets it, takes its block back, lets it wait, reverts it, or
gives its nonce to somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from protocol.codec import decode_row
from protocol.events import Frozen, GivenUp, Mined, Submitted
from tests.crash.scenes import Cast, Scenes, idle
from tests.crash.truth import told, transactions
from tests.evm.anvil import CHAIN_ID, RICH, quantity
from tests.evm.exchange import ENOUGH
from tests.evm.market import Market
from tests.guard.houses import KEY, WALLET
from tests.resilience import evidence

GWEI = 10**9


@pytest.fixture
def live(scenes: Scenes) -> Iterator[Cast]:
    """The agent is live and holds nothing. Who it is that replaces, and how soon, is in its settings."""
    with scenes["flat"].again() as cast:
        settings = cast.stage.folder / "forestay.toml"
        settings.write_text(settings.read_text().replace("replace_seconds = 3600", "replace_seconds = 1"))
        yield cast


def swap(agent: dict[str, Any]) -> str:
    """The hash of the last swap that was signed and is on its way; empty where there is none."""
    return next((one["tx_hashes"][-1] for one in agent["live"]["orders"] if one["state"] == "swapping"), "")


def pending(cast: Cast) -> list[dict[str, Any]]:
    """What of the wallet's waits in the node's pool."""
    waiting = cast.stage.market.chain.rpc("txpool_content")["pending"]
    return [tx for sender, all_ in waiting.items() if sender.lower() == WALLET for tx in all_.values()]


def until_pending(cast: Cast) -> dict[str, Any]:
    """Play until the swap of a purchase waits in the pool, and no block comes by itself any more; that swap."""
    allow(cast.stage.market)
    cast.run()
    decided = cast.candle(1900)
    cast.stage.market.chain.mine_by_itself(False)
    cast.until(lambda agent: decided(agent) and swap(agent) and pending(cast), mining=False)
    (one,) = pending(cast)
    return one


def allow(market: Market) -> None:
    """The router may take all of the wallet's USDT, by decree: so a purchase is one transaction."""
    token, router = market.tokens["USDT"].address, market.pancake.router
    for number in range(20):  # which variable of the contract it is
        inner = keccak(encode(["address", "uint256"], [WALLET, number]))
        slot = quantity("0x" + keccak(encode(["address", "bytes32"], [router, inner])).hex())
        market.chain.set_storage(token, slot, 10**24)
        if market.allowance(WALLET, "USDT", router) == 10**24:
            return
        market.chain.set_storage(token, slot, 0)
    raise AssertionError("the token keeps its allowances elsewhere")


def ends_idle(cast: Cast) -> dict[str, Any]:
    cast.stage.market.chain.mine_by_itself(True)
    cast.until(idle)
    agent = cast.stage.agent()
    cast.end()
    return agent


def test_one_that_was_dropped_is_sent_again(live: Cast) -> None:
    tx = until_pending(live)
    live.stage.market.chain.drop(tx["hash"])
    live.until(lambda _: pending(live), mining=False)
    ends_idle(live)
    truth = told(live.stage)
    assert [trade.side for trade in truth.trades] == ["buy"]


def test_one_that_waits_for_long_is_replaced_by_a_dearer_one(live: Cast) -> None:
    tx = until_pending(live)
    live.until(lambda _: [it for it in pending(live) if it["hash"] != tx["hash"]], mining=False)
    ends_idle(live)
    truth = told(live.stage)
    first, *others = [row for row in truth.of(Submitted) if row.leg == "swap"]
    assert first.hash == tx["hash"]
    assert all(one.nonce == first.nonce for one in others)
    for before, after in zip([first, *others], others, strict=False):
        assert after.gas_price * 10 >= before.gas_price * 11
    assert truth.trades[0].tx_hash in [one.hash for one in others]


@pytest.mark.parametrize("depth", [1, 2])
def test_one_whose_block_is_taken_back_is_sent_again_and_counts_once(live: Cast, depth: int) -> None:
    chain = live.stage.market.chain
    tx = until_pending(live)
    chain.mine(depth)
    live.until(lambda agent: swap(agent) and chain.receipt(tx["hash"]), mining=False)
    chain.reorg(depth)
    assert chain.receipt(tx["hash"]) is None
    live.until(lambda _: pending(live), mining=False)
    ends_idle(live)
    truth = told(live.stage)
    assert [trade.side for trade in truth.trades] == ["buy"]
    (mined,) = [row for row in truth.of(Mined) if row.leg == "swap"]
    assert mined.block == quantity(truth.transactions[-1]["blockNumber"])


def test_one_that_is_reverted_costs_its_gas_and_nothing_else(live: Cast) -> None:
    """Somebody moves the price in the same block, before it."""
    before = live.stage.market.balances(WALLET)
    until_pending(live)
    market, path = live.stage.market, ("USDT", "ETH")
    data = market.pancake.swap_data(path, market.tokens["USDT"].units(Decimal(200_000)))
    order = {"from": RICH, "to": market.pancake.router, "data": data, "gas": hex(ENOUGH), "gasPrice": hex(50 * GWEI)}
    market.chain.rpc("eth_sendTransaction", order)
    agent = ends_idle(live)
    assert (agent["status"], agent["live"]["frozen"]) == ("LIVE", None)
    truth = told(live.stage)
    assert truth.trades == []
    (mined,) = [row for row in truth.of(Mined) if row.leg == "swap"]
    assert (mined.success, mined.spent, mined.received) == (False, 0, 0)
    assert mined.gas > 0
    assert [entry.tags[0] for entry in truth.entries("FAILED")] == ["reverted"]
    after = market.balances(WALLET)
    assert (after["USDT"], after["ETH"]) == (before["USDT"], 0)
    assert truth.live.book.positions == {}
    assert truth.live.book.cash == 1000 - mined.gas


def test_one_whose_nonce_somebody_else_uses_freezes_live_and_calls_a_person(live: Cast) -> None:
    chain, tx = live.stage.market.chain, until_pending(live)
    foreign = {
        "chainId": CHAIN_ID, "nonce": quantity(tx["nonce"]), "to": RICH, "value": 1, "data": "0x", "gas": 21_000,
        "gasPrice": 100 * GWEI,
    }  # fmt: skip
    hash = chain.send_signed(bytes(Account.sign_transaction(foreign, KEY).raw_transaction))
    chain.mine_by_itself(True)
    chain.mined(hash)
    live.until(idle)
    agent = live.stage.agent()
    assert agent["status"] == "LIVE"
    assert "somebody else signs with its key" in agent["live"]["frozen"]
    assert [entry["tags"][0] for entry in live.stage.journal("FAILED")] == ["usurped"]
    nonce = chain.nonce(WALLET)
    for price in (2050, 2000, 1800, 1700):  # it would sell, and buy again
        live.step(price)
    live.end()
    assert chain.nonce(WALLET) == nonce
    rows = told_rows(live)
    assert len([row for row in rows if isinstance(row, Frozen)]) == 1
    assert [row.code for row in rows if isinstance(row, GivenUp)] == ["usurped"]
    known = {row.hash for row in rows if isinstance(row, Submitted)}
    assert [tx["hash"] for tx in transactions(live.stage) if tx["hash"] not in known] == [hash]


def told_rows(cast: Cast) -> list[Any]:
    return [decode_row(row.body) for row in evidence.logged(cast.stage.folder / "data")]
