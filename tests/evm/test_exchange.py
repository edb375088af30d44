"""Real contracts on a real EVM trade by the formulas that we count on, to the base unit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from eth_abi.abi import encode

from tests.evm import contracts
from tests.evm.anvil import RICH, Anvil, Reverted, RpcError
from tests.evm.exchange import NEVER, Exchange, amount_out
from tests.evm.market import BNB, DECIMALS, DEPTH_USDT, PRICES, USDT, WBNB, Market

WALLET = "0x00000000000000000000000000000000DeaDBeef"
NEARLY = Decimal("1E-9")  # of a price
SWAP_GAS = 400_000


@pytest.fixture(params=["pancake", "uniswap"])
def exchange(market: Market, request: pytest.FixtureRequest) -> Exchange:
    found = getattr(market, request.param)
    assert isinstance(found, Exchange)
    return found


def test_pancakes_router_quotes_a_quarter_of_a_percent_to_the_wei(market: Market) -> None:
    random = Random(1)
    for pair in PRICES:
        held, (base, quote) = market.pancake.reserves(pair), pair.split("/")
        for _ in range(10):
            sold = random.randrange(1, held.base)
            bought = sold * 9975 * held.quote // (held.base * 10_000 + sold * 9975)
            assert market.pancake.quote([base, quote], sold) == bought
            spent = random.randrange(1, held.quote)
            bought = spent * 9975 * held.base // (held.quote * 10_000 + spent * 9975)
            assert market.pancake.quote([quote, base], spent) == bought


def test_a_swap_brings_what_was_quoted(exchange: Exchange, market: Market) -> None:
    before, held = market.balances(RICH), exchange.reserves("ETH/USDT")
    spent = 12_345_678_901_234_567_890_123
    quoted = exchange.quote([USDT, "ETH"], spent)
    receipt = exchange.swap([USDT, "ETH"], spent, min_out=quoted)
    after = market.balances(RICH)
    assert quoted == amount_out(spent, held.quote, held.base, exchange.fee)
    assert exchange.reserves("ETH/USDT") == (held.base - quoted, held.quote + spent)
    fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    changed = {symbol: after[symbol] - before[symbol] for symbol in after if after[symbol] != before[symbol]}
    assert changed == {USDT: -spent, "ETH": quoted, BNB: -fee}


def test_a_swap_over_two_pools_is_two_swaps(exchange: Exchange, market: Market) -> None:
    dollars = exchange.quote(["DOGE", USDT], 10**13)
    assert exchange.quote(["DOGE", USDT, "CAKE"], 10**13) == exchange.quote([USDT, "CAKE"], dollars)
    before = market.balance(RICH, "CAKE")
    exchange.swap(["DOGE", USDT, "CAKE"], 10**13)
    assert market.balance(RICH, "CAKE") - before > 0


def test_less_than_the_least_wanted_reverts(exchange: Exchange) -> None:
    quoted = exchange.quote([USDT, "ETH"], 10**18)
    with pytest.raises(RpcError, match="INSUFFICIENT_OUTPUT_AMOUNT"):
        exchange.swap([USDT, "ETH"], 10**18, min_out=quoted + 1)


def test_a_deadline_is_met_in_its_second_and_missed_in_the_next(exchange: Exchange, chain: Anvil) -> None:
    now = chain.timestamp
    exchange.swap([USDT, "ETH"], 10**18, deadline=now + 1)
    with pytest.raises(RpcError, match="EXPIRED"):
        exchange.swap([USDT, "ETH"], 10**18, deadline=now)


def test_a_swap_that_reverts_in_its_block_costs_its_gas_only(exchange: Exchange, market: Market) -> None:
    before = market.balances(RICH)
    data = exchange.swap_data([USDT, "ETH"], 10**18, min_out=10**18)
    sent = market.chain.send(RICH, exchange.router, data, gas=SWAP_GAS)
    with pytest.raises(Reverted) as reverted:
        market.chain.mined(sent)
    receipt = reverted.value.receipt
    fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert fee > 0
    assert receipt["logs"] == []
    assert market.balances(RICH) == before | {BNB: before[BNB] - fee}


def test_without_an_allowance_nothing_is_spent(market: Market, chain: Anvil) -> None:
    market.fund(WALLET, {USDT: 5, BNB: 1})
    assert market.allowance(WALLET, USDT, market.pancake.router) == 0
    with chain.impersonating(WALLET), pytest.raises(RpcError, match="TRANSFER_FROM_FAILED"):
        market.pancake.swap([USDT, "ETH"], 10**18, wallet=WALLET)


def test_wallets_are_funded_in_base_units(market: Market) -> None:
    market.fund(WALLET, {USDT: 1000, "DOGE": Decimal("2.5"), WBNB: Decimal("0.1"), BNB: 3})
    funded = {USDT: 1000 * 10**18, "DOGE": 250_000_000, WBNB: 10**17, BNB: 3 * 10**18}
    assert market.balances(WALLET) == dict.fromkeys((*DECIMALS, WBNB, BNB), 0) | funded


def test_tokens_tell_their_symbol_and_decimals(market: Market, chain: Anvil) -> None:
    for symbol, decimals in DECIMALS.items():
        address = market.tokens[symbol].address
        assert chain.call(address, "symbol()", returns="string") == (symbol,)
        assert chain.call(address, "decimals()", returns="uint8") == (decimals,)


@pytest.mark.parametrize("pair", PRICES)
def test_a_price_goes_where_it_is_to_go(exchange: Exchange, pair: str) -> None:
    random = Random(pair)
    assert abs(exchange.price(pair) / PRICES[pair] - 1) < NEARLY
    for factor in ("1.01", "0.99", "1.0001", "5", "0.04", str(random.uniform(0.5, 2)), str(random.uniform(0.5, 2))):
        aim = exchange.price(pair) * Decimal(factor)
        exchange.move_price(pair, aim)
        assert abs(exchange.price(pair) / aim - 1) < NEARLY


def test_a_price_that_is_there_already_takes_no_swap(exchange: Exchange, chain: Anvil) -> None:
    exchange.move_price("ETH/USDT", Decimal(3456))
    block = chain.block_number
    assert exchange.move_price("ETH/USDT", exchange.price("ETH/USDT")) is None
    assert chain.block_number == block


def test_a_pool_is_made_shallow_and_deep_at_its_price(exchange: Exchange) -> None:
    held = exchange.reserves("CAKE/USDT")
    exchange.remove_liquidity("CAKE/USDT", Fraction(999, 1000))
    shallow = exchange.reserves("CAKE/USDT")
    assert abs(shallow.quote * 1000 - held.quote) < held.quote // 10**9
    exchange.add_liquidity("CAKE/USDT", DEPTH_USDT, DEPTH_USDT)
    deep = exchange.reserves("CAKE/USDT")
    assert deep.quote > held.quote
    assert abs(exchange.price("CAKE/USDT") / PRICES["CAKE/USDT"] - 1) < NEARLY


def test_the_second_exchange_has_prices_of_its_own(market: Market) -> None:
    market.uniswap.move_price("ETH/USDT", Decimal(3000))
    assert abs(market.pancake.price("ETH/USDT") / PRICES["ETH/USDT"] - 1) < NEARLY
    assert market.pancake.pools.keys() == market.uniswap.pools.keys()
    assert not set(market.pancake.pools.values()) & set(market.uniswap.pools.values())


def test_a_feed_answers_what_it_was_set_to(market: Market, chain: Anvil) -> None:
    feed, words = market.feeds["ETH/USDT"], "uint80,int256,uint256,uint256,uint80"
    market.set_reference("ETH/USDT", Decimal("3512.34567891"))
    time = chain.timestamp
    answer = (time, 351_234_567_891, time, time, time)
    assert chain.call(feed, "latestRoundData()", returns=words) == answer
    market.set_reference("ETH/USDT", Decimal(3000), at=1_700_000_000)
    assert chain.call(feed, "latestRoundData()", returns=words)[1:4] == (3000 * 10**8, 1_700_000_000, 1_700_000_000)
    assert chain.call(feed, "decimals()", returns="uint8") == (8,)
    with pytest.raises(RpcError, match="revert"):
        chain.call(feed, "latestAnswer()", returns="int256")


def test_a_router_with_the_hash_of_another_pair_finds_no_pool(market: Market, chain: Anvil) -> None:
    arguments = encode(["address", "address"], [market.pancake.factory, market.tokens[WBNB].address])
    unpatched = chain.deploy(contracts.creation_code(contracts.UNISWAP_ROUTER) + arguments)
    signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
    tokens = (market.tokens[symbol].address for symbol in ("ETH", USDT))
    with pytest.raises(RpcError, match="revert"):
        chain.do(RICH, unpatched, signature, *tokens, 10**18, 10**18, 0, 0, RICH, NEVER)


def test_a_fee_below_what_the_pair_asks_for_reverts(market: Market, chain: Anvil) -> None:
    generous = contracts.router(
        market.uniswap.factory, market.tokens[WBNB].address, contracts.UNISWAP_PAIR, contracts.PANCAKE_FEE
    )
    router = chain.deploy(generous)
    chain.do(RICH, market.tokens[USDT].address, "approve(address,uint256)", router, 10**18)
    data = market.uniswap.swap_data([USDT, "ETH"], 10**18)
    with pytest.raises(RpcError, match="UniswapV2: K"):
        chain.send(RICH, router, data)


@pytest.mark.parametrize(("old", "times"), [(b"ab", 1), (b"ab", 3), (b"xx", 1)])
def test_a_patch_that_is_not_found_as_often_as_expected_is_refused(old: bytes, times: int) -> None:
    with pytest.raises(contracts.WrongContract, match=rf"{times} times: found [02] times"):
        contracts.patched(b"ab-ab", old, b"cd", times=times)
