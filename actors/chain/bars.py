"""From what pools tell to candles. Pure: events and times in, candles out, the same for the same blocks whenever they
are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve, frozen

from actors.chain.port import Answer, PoolEvent, Reserves, Swapped, Synced
from protocol.market import Candle, Observation
from protocol.money import ZERO, booked
from protocol.times import EPOCH

_MOST = Decimal(10) ** 15  # of a token or of USDT: there is no more, and the ledger's 8 places leave room for it
MIN_PRICE, MAX_PRICE = Decimal("1E-12"), Decimal("1E+12")  # as of candles in files
_DIGITS = 12  # of a price: more than any decision looks at, also where the price is tiny


@frozen
class Pool:
    """A constant-product pool of a token and USDT; `token_first` says in which order it keeps them."""

    pair: str
    address: str
    token_decimals: int
    usdt_decimals: int
    token_first: bool

    @classmethod
    def of(cls, pair: str, pinned: dict[str, Any], usdt_decimals: int) -> Pool:
        return cls(pair, pinned["pool"], pinned["decimals"], usdt_decimals, pinned["token_first"])

    def price(self, reserves: Reserves) -> Decimal | None:
        """The mid: USDT for one token. None where that is no price: the pool is empty, or as good as."""
        if not reserves.first or not reserves.second:
            return None
        price = self.depth(reserves) / self._token(reserves)
        return significant(price) if MIN_PRICE <= price <= MAX_PRICE else None

    def depth(self, reserves: Reserves) -> Decimal:
        """The USDT side."""
        return self._usdt(reserves.second if self.token_first else reserves.first)

    def volume(self, swap: Swapped) -> int:
        """What of the token changed hands, net, in base units."""
        if self.token_first:
            return abs(swap.first_in - swap.first_out)
        return abs(swap.second_in - swap.second_out)

    def tokens(self, units: int) -> Decimal:
        return Decimal(units).scaleb(-self.token_decimals)

    def _token(self, reserves: Reserves) -> Decimal:
        return self.tokens(reserves.first if self.token_first else reserves.second)

    def _usdt(self, units: int) -> Decimal:
        return Decimal(units).scaleb(-self.usdt_decimals)


@frozen
class Bar:
    """A candle of one pool under way: it opens where the one before closed. `volume` is in base units."""

    pool: Pool
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    reserves: Reserves  # as they stand
    volume: int = 0

    @classmethod
    def opened(cls, pool: Pool, reserves: Reserves) -> Bar | None:
        """None where the reserves make no price."""
        price = pool.price(reserves)
        return None if price is None else cls(pool, price, price, price, price, reserves)

    def after(self, events: Iterable[PoolEvent]) -> Bar:
        """The bar when these have happened, too; those of other pools are passed over."""
        high, low, close, reserves, volume = self.high, self.low, self.close, self.reserves, self.volume
        for event in events:
            if event.pool != self.pool.address:
                continue
            match event:
                case Swapped():
                    volume += self.pool.volume(event)
                case Synced() if (price := self.pool.price(event.reserves)) is not None:
                    close, reserves = price, event.reserves
                    high, low = max(high, price), min(low, price)
        return evolve(self, high=high, low=low, close=close, reserves=reserves, volume=volume)

    def candle(self, closes: datetime, seconds: int) -> Candle:
        volume = booked(min(_MOST, self.pool.tokens(self.volume)))
        return Candle(closes, self.open, self.high, self.low, self.close, volume, seconds)

    def next(self) -> Bar:
        return Bar(self.pool, self.close, self.close, self.close, self.close, self.reserves)

    def seen(self, at: datetime) -> Observation:
        """Where an order would be filled, as of the block whose time `at` is."""
        return Observation("pool", self.close, at, booked(min(_MOST, self.pool.depth(self.reserves))))


def fed(answer: Answer) -> Observation:
    """What a Chainlink feed says. It prices in USD: what sets USDT apart from that is part of the divergence."""
    price = significant(Decimal(answer.price).scaleb(-answer.decimals))
    return Observation("chainlink", price, answer.updated_at)


def significant(number: Decimal) -> Decimal:
    """12 significant digits, no exponent, no trailing zeros.

    >>> significant(Decimal(2) / 3), significant(Decimal("1E+3"))
    (Decimal('0.666666666667'), Decimal('1000'))
    """
    if not number:
        return ZERO
    places = max(0, _DIGITS - 1 - number.adjusted())
    return number.quantize(Decimal(1).scaleb(-places)).normalize() + ZERO


def floor(at: datetime, seconds: int) -> datetime:
    """The last candle's boundary up to `at`, on the grid that begins at every UTC midnight."""
    return at - (at - EPOCH) % timedelta(seconds=seconds)


def timely(closes: datetime, now: datetime, seconds: int) -> bool:
    """May a candle still be decided on? Within a tenth of its length after its close, a minute at least; later, it is
    only looked at: nobody would have got its price any more."""
    return now - closes <= timedelta(seconds=max(60, seconds // 10))
