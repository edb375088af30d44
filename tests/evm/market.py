"""The whole market on a chain: tokens, two exchanges with pools, price feeds, and wallets with money in them.

The first exchange is PancakeSwap V2 with its fee of 0.25 %. The second one is Uniswap V2 with 0.3 %, and pools of its
own: a second opinion on each price. `RICH` is the scripted trader: it has all tokens and owns all liquidity.

`deploy` takes the better part of a second; `market.on(chain)` is the same market on another node that began from this
one's state, since nothing of it lives here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from tests.evm import contracts
from tests.evm.anvil import RICH, Anvil
from tests.evm.contracts import Fee
from tests.evm.exchange import ALL, Exchange, Token

USDT: Final = "USDT"
BNB: Final = "BNB"  # no token: what gas is paid in. As a token it is WBNB.
WBNB: Final = "WBNB"
BNB_DECIMALS: Final = 18
# On BNB Smart Chain all but DOGE have 18 decimals, too.
DECIMALS: Final = {USDT: 18, "ETH": 18, "CAKE": 18, "BTCB": 18, "DOGE": 8}
PRICES: Final = {
    "WBNB/USDT": Decimal(600),
    "ETH/USDT": Decimal(3500),
    "CAKE/USDT": Decimal(2),
    "BTCB/USDT": Decimal(60_000),
    "DOGE/USDT": Decimal("0.125"),
}
DEPTH_USDT: Final = Decimal(5_000_000)  # on each side of each pool
HOARD: Final = 10**40  # base units of each token that the trader starts with
HOARD_WEI: Final = 10**28


@frozen
class Market:
    chain: Anvil
    tokens: Mapping[str, Token]
    pancake: Exchange
    uniswap: Exchange
    feeds: Mapping[str, str]  # each pair's price feed

    def on(self, chain: Anvil) -> Market:
        """The same market on another node."""
        pancake, uniswap = (evolve(exchange, chain=chain) for exchange in (self.pancake, self.uniswap))
        return evolve(self, chain=chain, pancake=pancake, uniswap=uniswap)

    def fund(self, wallet: str, amounts: Mapping[str, Decimal | int]) -> None:
        """Give a wallet amounts on top of what it has; of BNB, it then has this much."""
        for symbol, amount in amounts.items():
            if symbol == BNB:
                self.chain.set_balance(wallet, int(amount * 10**BNB_DECIMALS))
            else:
                token = self.tokens[symbol]
                self.chain.do(RICH, token.address, "transfer(address,uint256)", wallet, token.units(amount))

    def balances(self, wallet: str) -> dict[str, int]:
        """What a wallet has, in base units: each token, and BNB."""
        return {symbol: self.balance(wallet, symbol) for symbol in (BNB, *self.tokens)}

    def balance(self, wallet: str, symbol: str) -> int:
        if symbol == BNB:
            return self.chain.balance(wallet)
        (units,) = self.chain.call(self.tokens[symbol].address, "balanceOf(address)", wallet, returns="uint256")
        return int(units)

    def allowance(self, wallet: str, symbol: str, spender: str) -> int:
        address, signature = self.tokens[symbol].address, "allowance(address,address)"
        (units,) = self.chain.call(address, signature, wallet, spender, returns="uint256")
        return int(units)

    def set_reference(self, pair: str, price: Decimal, *, at: int | None = None) -> None:
        """What the pair's feed answers from now on, and since when: since the last block, if nothing is said."""
        feed, time = self.feeds[pair], self.chain.timestamp if at is None else at
        self.chain.set_storage(feed, contracts.PRICE_SLOT, int(price * 10**contracts.FEED_DECIMALS))
        self.chain.set_storage(feed, contracts.TIME_SLOT, time)


def deploy(chain: Anvil, prices: Mapping[str, Decimal] = PRICES, depth_usdt: Decimal = DEPTH_USDT) -> Market:
    """A market with these prices, alike at both exchanges and the feeds, on an empty chain."""
    chain.set_balance(RICH, 3 * HOARD_WEI)
    tokens = {symbol: _token(chain, symbol, decimals) for symbol, decimals in DECIMALS.items()}
    tokens[WBNB] = Token(WBNB, chain.deploy(contracts.creation_code(contracts.WRAPPED)), BNB_DECIMALS)
    for slot, text in enumerate((b"Wrapped BNB", WBNB.encode())):  # it calls itself WETH: the short texts of a contract
        chain.set_storage(tokens[WBNB].address, slot, int.from_bytes(text.ljust(31, b"\0") + bytes([2 * len(text)])))
    chain.do(RICH, tokens[WBNB].address, "deposit()", value=HOARD_WEI)
    pancake = _exchange(chain, tokens, prices, contracts.PANCAKE_FACTORY, contracts.PANCAKE_PAIR, contracts.PANCAKE_FEE)
    uniswap = _exchange(chain, tokens, prices, contracts.UNISWAP_FACTORY, contracts.UNISWAP_PAIR, contracts.UNISWAP_FEE)
    for exchange in (pancake, uniswap):
        for pair, price in prices.items():
            exchange.add_liquidity(pair, depth_usdt / price, depth_usdt)
    market = Market(chain, tokens, pancake, uniswap, {pair: _feed(chain, n) for n, pair in enumerate(prices)})
    for pair, price in prices.items():
        market.set_reference(pair, price)
    return market


def _token(chain: Anvil, symbol: str, decimals: int) -> Token:
    """A token, all of which the trader has."""
    address = chain.deploy(contracts.token(symbol, symbol, decimals))
    chain.do(RICH, address, "mint(address,uint256)", RICH, HOARD)
    return Token(symbol, address, decimals)


def _exchange(
    chain: Anvil, tokens: Mapping[str, Token], pairs: Iterable[str], factory_artifact: str, artifact: str, fee: Fee
) -> Exchange:
    """A factory with an empty pool for each pair, and a router that may spend all that the trader has."""
    factory = chain.deploy(contracts.creation_code(factory_artifact) + encode(["address"], [RICH]))
    router = chain.deploy(contracts.router(factory, tokens[WBNB].address, artifact, fee))
    for token in tokens.values():
        chain.do(RICH, token.address, "approve(address,uint256)", router, ALL)
    pools = {}
    for pair in pairs:
        sides = [tokens[symbol].address for symbol in pair.split("/")]
        chain.do(RICH, factory, "createPair(address,address)", *sides)
        (pool,) = chain.call(factory, "getPair(address,address)", *sides, returns="address")
        pools[pair] = to_checksum_address(pool)
    return Exchange(chain, factory, router, fee, tokens, pools)


def _feed(chain: Anvil, number: int) -> str:
    """A price feed by decree, at an address of our choice."""
    address = to_checksum_address(f"0x{0xFEED:036x}{number:04x}")
    chain.set_code(address, contracts.FEED)
    return address
