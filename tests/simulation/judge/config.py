"""A version of the config, read for what can be checked. Fractions are exact: 15 % is 15/100."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tests.simulation.judge.report import DAY, HOUR, Plain

CENT = Fraction(1, 100)
BASIS_POINT = Fraction(1, 10_000)


@dataclass(frozen=True, slots=True)
class Config:
    """All limits as fractions, all times in milliseconds, all money in units."""

    version: int
    watchlist: frozenset[str]
    position_size: Fraction
    max_concurrent: int
    fee_multiple: Fraction
    quotes: Plain
    off: bool  # no limits: in a backtest only
    max_drawdown: Fraction
    daily_drawdown: Fraction
    max_losses: int
    cooldown: int
    exposure: Fraction
    max_age_hours: Fraction
    window: int
    trade_floor: int
    initial: int
    fee: Fraction
    slippage: Fraction
    gas: int
    impact: str
    fill_at: str
    snapshot_every: int

    @classmethod
    def of(cls, body: Plain) -> Config:
        """The `config` fact."""
        config = body["config"]
        strategy, risk, paper = config["strategy"], config["risk"], config["paper"]
        params = strategy["spec"]["params"]
        return cls(
            version=body["version"],
            watchlist=frozenset(config["watchlist"]),
            position_size=Fraction(params["position_size_pct"]) * CENT,
            max_concurrent=int(params["max_concurrent"]),
            fee_multiple=Fraction(strategy["fee_multiple"]),
            quotes=config["quotes"],
            off=risk["preset"] == "off",
            max_drawdown=Fraction(risk["max_drawdown_pct"]) * CENT,
            daily_drawdown=Fraction(risk["daily_drawdown_pct"]) * CENT,
            max_losses=int(risk["max_consecutive_losses"]),
            cooldown=int(risk["cooldown_hours"]) * HOUR,
            exposure=Fraction(risk["per_pair_exposure_pct"]) * CENT,
            max_age_hours=Fraction(risk["max_market_age_hours"]),
            window=int(config["evaluation"]["eval_window_days"]) * DAY,
            trade_floor=int(config["evaluation"]["trade_floor"]),
            initial=round(Fraction(paper["initial_usdt"]) * 10**8),
            fee=Fraction(paper["fee_bps"]) * BASIS_POINT,
            slippage=Fraction(paper["slippage_bps"]) * BASIS_POINT,
            gas=round(Fraction(paper["gas_usdt"]) * 10**8),
            impact=paper["impact"],
            fill_at=paper["fill_at"],
            snapshot_every=int(config["snapshot_minutes"]) * 60_000,
        )

    def quote_limit(self, pair: str, name: str) -> Fraction:
        """A limit on the quotes of this pair: its own, or everybody's."""
        own = self.quotes["pairs"].get(pair, {}).get(name)
        return Fraction(self.quotes[name] if own is None else own)
