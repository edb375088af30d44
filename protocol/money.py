"""Money and quantities are `Decimal`, booked to 8 places, half-even. Never a float."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext


class Units(int):
    """An amount of a token in its base units (wei): exact, and too large for what others make of a JSON number, so it
    is written as text."""

    __slots__ = ()

    @classmethod
    def of(cls, amount: Decimal, decimals: int) -> Units:
        """`amount` of a token that has so many decimals, rounded down.

        >>> Units.of(Decimal("1.5"), 18)
        1500000000000000000
        """
        with localcontext(prec=78):  # a uint256
            return cls(int(amount.scaleb(decimals).to_integral_value(ROUND_DOWN)))

    def amount(self, decimals: int) -> Decimal:
        """The same as a number of tokens, exactly.

        >>> Units(1500000).amount(6)
        Decimal('1.500000')
        """
        with localcontext(prec=78):
            return Decimal(self).scaleb(-decimals)


PLACES = Decimal("0.00000001")
ZERO = Decimal(0)
BPS = Decimal("0.0001")  # one basis point
PCT = Decimal("0.01")


def booked(amount: Decimal) -> Decimal:
    """`amount` as the ledger keeps it: 8 places, half-even, no trailing zeros, no positive exponent.

    >>> booked(Decimal("1E+3")), booked(Decimal("0.123456785")), booked(Decimal("2.50"))
    (Decimal('1000'), Decimal('0.12345678'), Decimal('2.5'))
    """
    # Adding a zero of exponent 0 writes 1E+3 out and leaves 2.5 alone.
    return amount.quantize(PLACES, ROUND_HALF_EVEN).normalize() + ZERO


def booked_down(amount: Decimal) -> Decimal:
    """As `booked`, but towards zero: for quantities, so that what was bought can be sold."""
    return amount.quantize(PLACES, ROUND_DOWN).normalize() + ZERO


def usdt(amount: Decimal) -> str:
    """For sentences: `1,234.56 USDT`; a leading minus where it is negative."""
    return f"{amount:,.2f} USDT"


def pct(fraction: Decimal | float) -> str:
    """For sentences: a fraction as percent.

    >>> pct(Decimal("0.0123"))
    '1.23 %'
    """
    return f"{fraction * 100:.2f} %"


def price(amount: Decimal) -> str:
    """For sentences: a price with six significant digits, no exponent."""
    return f"{amount:,.2f}" if amount >= 1000 else f"{Decimal(f'{amount:.6g}'):f}"
