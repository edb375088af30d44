"""The chain's face and the chain market against a real EVM and the real contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account

from actors.chain import logs
from actors.chain.bars import Pool, significant
from actors.chain.founding import found
from actors.chain.port import (
    Accepted,
    AlreadyKnown,
    Denied,
    NonceTooLow,
    Rejected,
    Sighting,
    Token,
    Unclear,
    Underpriced,
)
from actors.chain.rpc import RpcChain
from actors.market_feed.chain import ChainMarket
from protocol.errors import Outage
from protocol.market import NotYet, Round
from protocol.settings import ChainSettings, TokenSettings
from protocol.times import from_wire
from tests.chain.test_market import ask, round_of
from tests.evm.anvil import CHAIN_ID
from tests.evm.exchange import amount_out
from tests.evm.market import Market
from tests.evm.paths import Step, along_story, go

WALLET = Account.from_key("0x" + "11" * 32)
GWEI = 10**9
BEGINS = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
ETH = "ETH/USDT"


def settings(market: Market, **given: Any) -> ChainSettings:
    tokens = {name: TokenSettings(token.address, token.decimals) for name, token in market.tokens.items()}
    usdt, wbnb = tokens.pop("USDT"), tokens.pop("WBNB")
    feeds = {pair: feed for pair, feed in market.feeds.items() if pair != "WBNB/USDT"}
    return ChainSettings(
        **{
            "rpc": (market.chain.url,), "chain_id": CHAIN_ID, "router": market.pancake.router,
            "factory": market.pancake.factory, "usdt": usdt, "wbnb": wbnb, "tokens": {**tokens, "BNB": wbnb},
            "references": {**feeds, "BNB/USDT": market.feeds["WBNB/USDT"]}, "confirmations": 2, **given,
        }
    )  # fmt: skip


@asynccontextmanager
async def reading(chosen: ChainSettings) -> AsyncIterator[RpcChain]:
    it = RpcChain(chosen.rpc, chosen.chain_id, 20.0)
    try:
        yield it
    finally:
        await it.aclose()


def signed(market: Market, to: str, data: str, **given: Any) -> tuple[bytes, str]:
    """A legacy transaction of the wallet's: its bytes and its hash."""
    wanted = {
        "chainId": CHAIN_ID, "nonce": market.chain.nonce(WALLET.address), "to": to, "value": 0, "data": data,
        "gas": 300_000, "gasPrice": 5 * GWEI, **given,
    }  # fmt: skip
    made = WALLET.sign_transaction(wanted)
    return bytes(made.raw_transaction), "0x" + bytes(made.hash).hex()


def funded(market: Market) -> Market:
    market.fund(WALLET.address, {"BNB": Decimal(1), "USDT": Decimal(1000)})
    return market


# --- what is read


async def test_the_market_is_looked_up_by_what_the_contracts_say_of_themselves(market: Market) -> None:
    chosen = settings(market)
    async with reading(chosen) as it:
        said = await found(it, chosen)
        assert {pair: pool["pool"] for pair, pool in said["pools"].items()} == {
            pair.replace("WBNB", "BNB"): pool.lower() for pair, pool in market.pancake.pools.items()
        }
        assert said["pools"]["DOGE/USDT"]["decimals"] == 8
        for pair in ("BNB/USDT", "CAKE/USDT", "DOGE/USDT", ETH):
            pool = Pool.of(pair, said["pools"][pair], 18)
            held = await it.reserves(pool.address)
            assert pool.price(held) == significant(market.pancake.price(pair.replace("BNB", "WBNB")))
        other = settings(market, references={}, reference_factory=market.uniswap.factory)
        second = await found(it, other)
        assert second["references"][ETH]["pool"] == market.uniswap.pools[ETH].lower()


async def test_quotes_balances_and_allowances_are_exact_to_the_base_unit(market: Market) -> None:
    funded(market)
    async with reading(settings(market)) as it:
        path = (market.tokens["USDT"].address, market.tokens["ETH"].address)
        held = market.pancake.reserves(ETH)
        spend = 10**21 + 1
        quoted = await it.amounts_out(market.pancake.router, spend, path)
        assert quoted == [spend, amount_out(spend, held.quote, held.base, market.pancake.fee)]
        assert await it.balance(WALLET.address, path[0]) == 1000 * 10**18
        assert await it.balance(WALLET.address) == 10**18
        assert await it.allowance(path[0], WALLET.address, market.pancake.router) == 0
        assert await it.token(market.tokens["DOGE"].address) == Token("DOGE", 8)
        with pytest.raises(Denied, match="INSUFFICIENT_INPUT_AMOUNT"):
            await it.amounts_out(market.pancake.router, 0, path)
        assert await it.gas_price() > 0


async def test_a_read_at_a_block_is_of_that_block_and_of_a_lost_one_there_is_none(market: Market) -> None:
    async with reading(settings(market)) as it:
        pool = market.pancake.pools[ETH].lower()
        before, held = await it.head(), await it.reserves(pool)
        market.pancake.move_price(ETH, Decimal(4000))
        after = await it.head()
        assert await it.reserves(pool, before) == held
        assert await it.reserves(pool, after) == await it.reserves(pool) != held
        market.chain.reorg(1)
        with pytest.raises(Denied):
            await it.reserves(pool, after)
        assert (await it.head()).hash != after.hash


# --- what is sent


async def test_a_swap_s_receipt_says_to_the_base_unit_what_it_spent_and_got(market: Market) -> None:
    funded(market)
    usdt, eth = market.tokens["USDT"], market.tokens["ETH"]
    async with reading(settings(market)) as it:
        data = "0x095ea7b3" + market.pancake.router[2:].lower().rjust(64, "0") + f"{10**21:064x}"
        raw, approval = signed(market, usdt.address, data)
        assert await it.send(raw) == Accepted(approval)
        market.chain.mined(approval)
        raw, hash = signed(
            market, market.pancake.router, market.pancake.swap_data(("USDT", "ETH"), 10**20, wallet=WALLET.address)
        )
        quoted = await it.amounts_out(market.pancake.router, 10**20, (usdt.address, eth.address))
        assert await it.send(raw) == Accepted(hash)
        market.chain.mined(hash)
        receipt = await it.receipt(hash)
        assert receipt is not None
        assert receipt.succeeded
        assert -logs.gained(receipt, usdt.address, WALLET.address) == 10**20
        assert logs.gained(receipt, eth.address, WALLET.address) == quoted[1]
        assert quoted[1] == await it.balance(WALLET.address, eth.address)
        (swap,) = logs.swaps(receipt, market.pancake.pools[ETH])
        assert sorted((swap.first_in, swap.second_in, swap.first_out, swap.second_out)) == [
            0,
            0,
            *sorted((quoted[1], 10**20)),
        ]
        spent = receipt.gas_used * receipt.gas_price
        approved = await it.receipt(approval)
        assert approved is not None
        assert await it.balance(WALLET.address) == 10**18 - spent - approved.gas_used * approved.gas_price
        assert (await it.block(receipt.block)) == await it.agreed(receipt.block)
        assert await it.transaction(hash) == Sighting(hash, WALLET.address.lower(), 1, 5 * GWEI, receipt.block)
        assert await it.receipt("0x" + "00" * 32) is None
        assert await it.transaction("0x" + "00" * 32) is None


async def test_a_revert_is_a_receipt_that_says_so_and_its_gas_is_paid(market: Market) -> None:
    funded(market)
    async with reading(settings(market)) as it:
        raw, hash = signed(
            market, market.pancake.router, market.pancake.swap_data(("USDT", "ETH"), 10**20, wallet=WALLET.address)
        )
        assert await it.send(raw) == Accepted(hash), "there is no allowance, but that shows in the block only"
        while (receipt := await it.receipt(hash)) is None:
            pass
        assert not receipt.succeeded
        assert receipt.logs == ()
        assert await it.balance(WALLET.address) == 10**18 - receipt.gas_used * receipt.gas_price


async def test_what_the_node_says_to_a_second_send_is_told_apart(market: Market) -> None:
    funded(market)
    to = market.tokens["USDT"].address
    async with reading(settings(market)) as it:
        with market.chain.mining_paused():
            raw, hash = signed(market, to, "0x")
            assert await it.send(raw) == Accepted(hash)
            assert await it.send(raw) == AlreadyKnown(hash)
            assert await it.transaction(hash) == Sighting(hash, WALLET.address.lower(), 0, 5 * GWEI, None)
            assert await it.transaction_count(WALLET.address, pending=False) == 0
            assert await it.transaction_count(WALLET.address, pending=True) == 1
            cheaper, _ = signed(market, to, "0x01", gasPrice=4 * GWEI)
            assert isinstance(await it.send(cheaper), Underpriced)
            dearer, replacement = signed(market, to, "0x01", gasPrice=6 * GWEI)
            assert await it.send(dearer) == Accepted(replacement)
            assert await it.transaction(hash) is None
            market.chain.mine()
        market.chain.receipt(replacement)
        outcome = await it.send(raw)
        assert isinstance(outcome, NonceTooLow)
        poor, _ = signed(market, to, "0x", nonce=1, value=10**19)
        assert isinstance(await it.send(poor), Rejected)
        assert isinstance(await it.send(b"\x01\x02"), Unclear)


# --- rounds


async def story(market: Market, it: ChainMarket, steps: list[Step]) -> list[Round]:
    """The trader goes each step, the market hands out its round, and the next one follows."""
    rounds = list[Round]()
    for step in steps:
        go(market, step)
        for second in range(3):
            market.chain.mine(at=int((step.ts + second * SECOND).timestamp()))
        rounds.append(await round_of(it, rounds[-1].cursor if rounds else None))
    return rounds


async def began(market: Market, chain: RpcChain, chosen: ChainSettings) -> ChainMarket:
    """A market that has begun with the hour that begins at BEGINS."""
    for second in range(-1, 3):
        market.chain.mine(at=int((BEGINS + second * SECOND).timestamp()))
    it = ChainMarket(chain, chosen, await found(chain, chosen), {})
    assert it.begins == BEGINS
    assert await ask(it) == NotYet(3.0)
    return it


@pytest.mark.parametrize("second_source", [False, True], ids=["feed", "other pool"])
async def test_a_scripted_path_comes_back_as_candles_of_its_prices(market: Market, second_source: bool) -> None:
    other = {"references": {}, "reference_factory": market.uniswap.factory} if second_source else {}
    chosen = settings(market, **other)
    prices = [Decimal(price) for price in ("3500", "3650.5", "3400", "3400", "3999.99")]
    async with reading(chosen) as chain:
        it = await began(market, chain, chosen)
        rounds = await story(market, it, list(along_story(ETH, prices, first=BEGINS + HOUR)))
    opened = Decimal(3500)
    for number, (round, price) in enumerate(zip(rounds, prices, strict=True), 1):
        tick = round.ticks[ETH]
        assert round.ts == BEGINS + number * HOUR
        assert round.gaps == ()
        assert list(round.ticks) == ["BNB/USDT", "BTCB/USDT", "CAKE/USDT", "DOGE/USDT", ETH]
        assert abs(tick.candle.close / price - 1) < Decimal("1E-9")
        assert abs(tick.candle.open / opened - 1) < Decimal("1E-9")
        assert {tick.candle.high, tick.candle.low} == {tick.candle.open, tick.candle.close}
        assert (tick.candle.volume > 0) is (opened != price)
        assert tick.executable.price == tick.candle.close
        assert tick.executable.observed_at == round.ts - SECOND
        assert tick.reference is not None
        assert abs(tick.reference.price / price - 1) < Decimal("1E-9")
        assert tick.reference.observed_at == round.ts - SECOND
        assert from_wire(round.cursor["seen"]) == round.ts - SECOND
        opened = price


async def test_a_restart_and_a_shallow_reorganisation_change_nothing_and_a_deep_one_stops_all(market: Market) -> None:
    chosen = settings(market)
    steps = list(along_story(ETH, [Decimal(3600), Decimal(3300), Decimal(3000)], first=BEGINS + HOUR))
    async with reading(chosen) as chain:
        it = await began(market, chain, chosen)
        (first,) = await story(market, it, steps[:1])
        market.chain.reorg(2)
        pinned = it.pinned
        again = ChainMarket(chain, chosen, pinned, {})
        assert await ask(again, first.cursor) == NotYet(3.0)
        (second,) = [await after(market, again, steps[1], first)]
        assert second.gaps == ()
        assert abs(second.ticks[ETH].candle.close / 3300 - 1) < Decimal("1E-9")
        market.chain.reorg(4)
        go(market, steps[2])
        for second_of in range(3):
            market.chain.mine(at=int((steps[2].ts + second_of * SECOND).timestamp()))
        answer = await ask(ChainMarket(chain, chosen, pinned, {}), second.cursor)
        assert isinstance(answer, Outage)
        assert f'chain.orphaned = ["{second.cursor["hash"]}"]' in answer.reason


async def after(market: Market, it: ChainMarket, step: Step, round: Round) -> Round:
    go(market, step)
    for second in range(3):
        market.chain.mine(at=int((step.ts + second * SECOND).timestamp()))
    return await round_of(it, round.cursor)
