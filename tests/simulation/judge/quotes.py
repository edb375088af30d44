"""What a quote must say and cost: the market's two prices held against the limits, and the fill that follows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from tests.simulation.judge.config import CENT, Config
from tests.simulation.judge.money import UNITS
from tests.simulation.judge.report import Plain, millis

EXIT_TOLERANCE = 5  # exits are let through at so many times the limits
CODES = {"stale": "QUOTE_STALE", "divergence": "QUOTE_DIVERGENCE", "liquidity": "INSUFFICIENT_LIQUIDITY"}


class Rejected(NamedTuple):
    """Why a quote is not believed, with the numbers."""

    reason: str
    measured: Fraction
    limit: Fraction


class Quoted(NamedTuple):
    """A quote that is believed. Named as in the `placed` fact."""

    venue: str
    price: Fraction
    mid: Fraction
    impact_fraction: Fraction
    age_seconds: Fraction
    depth_usdt: Fraction
    max_age_seconds: Fraction
    max_impact_fraction: Fraction
    max_divergence_fraction: Fraction
    min_depth_usdt: Fraction
    reference_venue: str | None
    reference_price: Fraction | None
    reference_age_seconds: Fraction | None
    divergence_fraction: Fraction | None

    def differs(self, other: Plain) -> list[str]:
        """What a quote in the log says otherwise."""
        return [name for name, value in self._asdict().items() if other[name] != value]


def booked(value: Fraction) -> Fraction:
    """To 8 places, half-even."""
    return Fraction(round(value * UNITS), UNITS)


def look(config: Config, pair: str, side: str, size: int, tick: Plain, ts: int) -> Quoted | Rejected:
    """The verdict on this tick for an order of `size` units: ages first, then divergence, depth, impact."""
    wider = EXIT_TOLERANCE if side == "sell" else 1
    pool, reference = tick["executable"], tick["reference"]
    max_age = config.quote_limit(pair, "max_age_seconds") * wider
    max_divergence = config.quote_limit(pair, "max_divergence_pct") * CENT * wider
    max_impact = config.quote_limit(pair, "max_impact_pct") * CENT * wider
    has_depth = config.impact == "pool"
    min_depth = booked(config.quote_limit(pair, "min_depth_usdt") / wider) if has_depth else Fraction(0)
    ages = [Fraction(ts - millis(seen["observed_at"]), 1000) for seen in (pool, reference) if seen]
    for age in ages:
        if not 0 <= age <= max_age:
            return Rejected("stale", age, max_age)
    mid, divergence = Fraction(pool["price"]), None
    if reference:
        divergence = booked(abs(mid / Fraction(reference["price"]) - 1))
        if divergence > max_divergence:
            return Rejected("divergence", divergence, max_divergence)
    depth, impact = Fraction(pool["depth_usdt"] or 0), Fraction(0)
    if has_depth:
        if depth < min_depth or depth <= 0:
            return Rejected("liquidity", depth, min_depth)
        impact = booked(Fraction(size, UNITS) / depth)
        if impact > max_impact:
            return Rejected("liquidity", impact, max_impact)
    return Quoted(
        pool["venue"], moved(mid, impact, side), mid, impact, ages[0], depth, max_age, max_impact, max_divergence,
        min_depth, reference["venue"] if reference else None, Fraction(reference["price"]) if reference else None,
        ages[1] if reference else None, divergence,
    )  # fmt: skip


def moved(mid: Fraction, impact: Fraction, side: str) -> Fraction:
    """The price after the order's own impact on a constant-product pool."""
    return booked(mid * (1 + impact) if side == "buy" else mid / (1 + impact))


def filled(quoted: Fraction, config: Config, side: str) -> Fraction:
    """The price of the fill: slippage is always against us."""
    return booked(quoted * (1 + config.slippage if side == "buy" else 1 - config.slippage))


def too_old(quote: Plain, verified_at: int, at: int) -> tuple[Fraction, Fraction] | None:
    """A waiting order's quote at the opening that would fill it: its age and the limit, where it is older."""
    ages = [quote["age_seconds"], quote["reference_age_seconds"] or 0]
    age = max(map(Fraction, ages)) + Fraction(at - verified_at, 1000)
    limit = Fraction(quote["max_age_seconds"])
    return (age, limit) if age > limit else None


def evidence(quote: Plain) -> dict[str, Any]:
    """A quote as the entry of its execution tells it, renamed to the names of the `placed` fact."""
    limits = quote["limits"]
    return {
        **{name: quote[name] for name in ("venue", "price", "mid", "age_seconds", "depth_usdt", "reference_venue",
                                          "reference_price", "reference_age_seconds")},
        "impact_fraction": quote["impact"],
        "divergence_fraction": quote["divergence"],
        "max_divergence_fraction": limits["divergence"],
        "max_age_seconds": limits["age_seconds"],
        "max_impact_fraction": limits["impact"],
        "min_depth_usdt": limits["depth_usdt"],
    }  # fmt: skip
