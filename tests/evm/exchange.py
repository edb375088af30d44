"""A constant-product exchange: a factory, its pools and its router, and the arithmetic that they do.

Of `x` that comes in, a pool with reserves `A` (of what comes in) and `B` trades the part `n/d` (9975/10000 on
PancakeSwap), at a constant product:

    out = x n B // (A d + x n)

To move the price, `B'/A'` after the swap, to `p` (in base units, less than now):

    (A + x)(A + x n/d) = A B / p,   so   n x² + (n + d) A x - d A (B/p - A) = 0,
    x = (√((d - n)² A² + 4 n d A B/p) - (n + d) A) / 2n

all of it in integers, so the price is missed by about one base unit in `A` and one in `B`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Final, NamedTuple

from attrs import frozen

from tests.evm.anvil import RICH, Anvil, Receipt, calldata
from tests.evm.contracts import Fee

NEVER: Final = 2**63  # a deadline that no block's time reaches
ENOUGH: Final = 400_000  # gas for a swap; the dearest one that was seen took 136,874
ALL: Final = 2**256 - 1  # an allowance without end


@frozen
class Token:
    symbol: str
    address: str
    decimals: int

    def units(self, amount: Decimal | int) -> int:
        """An amount in the token's base units; what is below one of them is cut off."""
        return int(Fraction(amount) * 10**self.decimals)

    def amount(self, units: int) -> Decimal:
        """Base units as an amount; exact for up to 28 digits."""
        return Decimal(units).scaleb(-self.decimals)


class Reserves(NamedTuple):
    """What a pool holds, in base units."""

    base: int
    quote: int


@frozen
class Exchange:
    """One factory with its router. Pairs are named `ETH/USDT`: base and quote."""

    chain: Anvil
    factory: str
    router: str
    fee: Fee
    tokens: Mapping[str, Token]
    pools: Mapping[str, str]  # each pair's pool

    def reserves(self, pair: str) -> Reserves:
        base, quote = self._tokens(pair)
        first, second, _ = self.chain.call(self.pools[pair], "getReserves()", returns="uint112,uint112,uint32")
        in_order = int(base.address, 16) < int(quote.address, 16)  # a pool sorts its tokens by address
        return Reserves(first, second) if in_order else Reserves(second, first)

    def price(self, pair: str) -> Decimal:
        """The pool's middle: what one of the base costs in the quote, before fee and impact."""
        base, quote = self._tokens(pair)
        held = self.reserves(pair)
        return quote.amount(held.quote) / base.amount(held.base)

    def quote(self, path: Sequence[str], amount_in: int) -> int:
        """What the router says comes out at the path's end, all in base units."""
        signature = "getAmountsOut(uint256,address[])"
        (amounts,) = self.chain.call(self.router, signature, amount_in, self._addresses(path), returns="uint256[]")
        return int(amounts[-1])

    def swap(
        self, path: Sequence[str], amount_in: int, *, wallet: str = RICH, min_out: int = 0, deadline: int = NEVER
    ) -> Receipt:
        """A swap by an account that the node signs for, and its block. Raises RpcError where it would revert."""
        data = self.swap_data(path, amount_in, wallet=wallet, min_out=min_out, deadline=deadline)
        return self.chain.mined(self.chain.send(wallet, self.router, data))

    def swap_data(
        self, path: Sequence[str], amount_in: int, *, wallet: str = RICH, min_out: int = 0, deadline: int = NEVER
    ) -> str:
        """The same swap as calldata for the router, for whoever signs it."""
        signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
        return calldata(signature, amount_in, min_out, self._addresses(path), wallet, deadline)

    def move_price(self, pair: str, to: Decimal) -> Receipt | None:
        """The trader swaps as much as brings the pool's price there, and waits for the block. None: it is there."""
        sent = self.send_price(pair, to)
        return None if sent is None else self.chain.mined(sent)

    def send_price(self, pair: str, to: Decimal) -> str | None:
        """`move_price` without waiting: the swap's hash. It counts on being the pool's next swap."""
        base, quote = self._tokens(pair)
        held = self.reserves(pair)
        aim = Fraction(to) * Fraction(10**quote.decimals, 10**base.decimals)
        if aim < Fraction(held.quote, held.base):
            path, amount = (base, quote), amount_to_move(held.base, held.quote, aim, self.fee)
        else:
            path, amount = (quote, base), amount_to_move(held.quote, held.base, 1 / aim, self.fee)
        if amount == 0:
            return None
        return self.chain.send(RICH, self.router, self.swap_data([token.symbol for token in path], amount), gas=ENOUGH)

    def add_liquidity(self, pair: str, base: Decimal, quote: Decimal) -> None:
        """The trader adds as much of these amounts as leaves the price where it is; to an empty pool, all."""
        signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
        sides = self._tokens(pair)
        units = (token.units(amount) for token, amount in zip(sides, (base, quote), strict=True))
        addresses = (token.address for token in sides)
        self.chain.do(RICH, self.router, signature, *addresses, *units, 0, 0, RICH, NEVER)

    def remove_liquidity(self, pair: str, part: Fraction) -> None:
        """The trader takes this part of what it has in the pool. The price stays."""
        pool = self.pools[pair]
        (mine,) = self.chain.call(pool, "balanceOf(address)", RICH, returns="uint256")
        self.chain.do(RICH, pool, "transfer(address,uint256)", pool, int(mine * part))
        self.chain.do(RICH, pool, "burn(address)", RICH)

    def _tokens(self, pair: str) -> tuple[Token, Token]:
        base, quote = pair.split("/")
        return self.tokens[base], self.tokens[quote]

    def _addresses(self, path: Sequence[str]) -> list[str]:
        return [self.tokens[symbol].address for symbol in path]


def amount_out(amount_in: int, reserve_in: int, reserve_out: int, fee: Fee) -> int:
    """What comes out of a pool, to the base unit.

    >>> amount_out(1000, 10**6, 10**6, Fee(9975, 10_000))
    996
    """
    traded = amount_in * fee.traded
    return traded * reserve_out // (reserve_in * fee.of + traded)


def amount_to_move(reserve_in: int, reserve_out: int, to: Fraction, fee: Fee) -> int:
    """How much must go in so that `reserve_out / reserve_in` falls to `to`; 0 where it is not above that.

    >>> amount_to_move(10**6, 4 * 10**6, Fraction(1), Fee(9975, 10_000))
    1001251
    """
    n, d = fee.traded, fee.of
    root = isqrt((d - n) ** 2 * reserve_in**2 + int(4 * n * d * reserve_in * reserve_out / to))
    return max(0, (root - (n + d) * reserve_in) // (2 * n))
