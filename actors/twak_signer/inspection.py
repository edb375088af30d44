"""What a promotion depends on outside, and what is to be said of it: the preflight. The looking is the TwakSigner's,
the judgement is here, and pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import frozen

from actors.executor.live import NATIVE, USDT, Live
from actors.executor.losses import lacking
from actors.executor.swaps import Decimals, base_of
from actors.risk_engine.moves import promotable
from actors.risk_engine.state import RiskState
from actors.twak_signer.transactions import GAS, address_of
from protocol.answers import Check
from protocol.money import PCT, ZERO, Units, booked, booked_down, pct, usdt
from protocol.settings import ChainSettings
from protocol.signing import Anchor, GuardStatus

SWAPS: Final = 10  # that the wallet's gas must suffice for at least
ROUND_TRIP_PCT: Final = Decimal(5)  # what buying and selling again at once may cost at most
PROMISES: Final = {
    "local": "The guard holds the key, decodes every transaction and signs nothing that its policy forbids.",
    "twak": "The kit signs and sends by itself: the guard sees what it is asked for, not what it signs, and what it "
    "does can only be checked afterwards.",
}


@frozen
class Inspection:
    """What was seen. `round_trips` is, by pair, the fraction that buying and selling again would cost now, None where
    the router gives no quote. `router_fits` says that it trades at the factory and wraps the coin that it should,
    `gas_is_priced` that it has a price for that coin; `anchor` is the log's own, `waiting` how many of the wallet's
    transactions are in no block yet."""

    guard: GuardStatus
    gas_price: int
    router_fits: bool
    gas_is_priced: bool
    units: dict[str, Units]
    round_trips: dict[str, Decimal | None]
    anchor: Anchor
    waiting: int = 0


def preflight(
    seen: Inspection, risk: RiskState, live: Live, settings: ChainSettings, decimals: Decimals, *, force: bool
) -> tuple[Check, ...]:
    """All conditions, those that hold, too, so that a person sees what was looked at."""
    no = promotable(risk, force=force)
    words = "by force" if force else "the record has earned it"
    return (
        Check("record", no is None, words if no is None else no.reason),
        *_guard(seen, risk, settings),
        *_wallet(seen, risk, live, decimals),
        *(_round_trip(pair, seen.round_trips.get(pair)) for pair in risk.settings.watchlist),
        Check("orders", not live.orders, f"{len(live.orders)} live orders are open" if live.orders else "none is open"),
        Check("flattening", live.flattening is None, live.flattening or "nothing is being sold out"),
    )


def _guard(seen: Inspection, risk: RiskState, settings: ChainSettings) -> tuple[Check, ...]:
    guard = seen.guard
    killed = f"killed at {guard.killed_at} ({guard.killed_reason})" if guard.killed else f"signs, by way of {guard.way}"
    missing = [
        pair
        for pair in risk.settings.watchlist
        if not _same(guard.allowlist.get(base_of(pair)), address_of(settings, base_of(pair)))
    ]
    theirs, ours = guard.anchor, seen.anchor
    cut = theirs is not None and theirs.log_id == ours.log_id and theirs.row > ours.row
    router = f"{settings.router}, the guard's is {guard.router}"
    return (
        Check("guard", not guard.killed, killed),
        Check("chain_id", guard.chain_id == settings.chain_id, f"{settings.chain_id} and {guard.chain_id}"),
        Check("router", seen.router_fits and _same(guard.router, settings.router), router),
        Check(
            "allowlist",
            not missing,
            f"the guard does not allow {', '.join(missing)}" if missing else "covers the watchlist",
        ),
        Check(
            "log", not cut, f"the guard was shown row {theirs.row if theirs else 0}, the log ends with row {ours.row}"
        ),
    )  # fmt: skip


def _wallet(seen: Inspection, risk: RiskState, live: Live, decimals: Decimals) -> tuple[Check, ...]:
    cash = seen.units.get(USDT, Units(0)).amount(decimals[USDT])
    equity = equity_of(seen.units, live, decimals)
    size = equity * risk.settings.strategy.spec.params.position_size_pct * PCT
    gas, needed = seen.units.get(NATIVE, Units(0)), Units(SWAPS * (GAS["swap"] + GAS["approval"]) * seen.gas_price)
    lost = [_held(base_of(pair), seen.units, live, decimals) for pair in lacking(live, seen.units)]
    return (
        Check("balance", cash > 0 or bool(live.book.positions), f"the wallet holds {usdt(cash)}"),
        Check(
            "gas", gas >= needed, f"{gas.amount(18):.6f} BNB, {SWAPS} swaps may take {needed.amount(18):.6f}"
        ),
        Check(
            "gas price", seen.gas_is_priced, "the router prices gas" if seen.gas_is_priced else "no pool prices gas"
        ),
        Check(
            "per_trade_cap", size <= seen.guard.per_trade_cap,
            f"an entry would be {usdt(size)}, the guard allows {usdt(seen.guard.per_trade_cap)}",
        ),
        Check(
            "daily_cap", size <= seen.guard.daily_cap - seen.guard.spent_today,
            f"an entry would be {usdt(size)}, of {usdt(seen.guard.daily_cap)} a day {usdt(seen.guard.spent_today)} are "
            "spent",
        ),
        Check(
            "holdings", not lost, f"the wallet holds only {', '.join(lost)}: `forestay demote --write-off` writes off "
            "what is lost" if lost else "the wallet holds what the live book says",
        ),
        Check(
            "pending", not seen.waiting,
            f"{seen.waiting} of the wallet's transactions wait to be mined: what it will hold is not known yet"
            if seen.waiting else "nothing of the wallet's waits to be mined",
        ),
    )  # fmt: skip


def _held(token: str, wallet: Mapping[str, Units], live: Live, decimals: Decimals) -> str:
    has, should = (units.get(token, Units(0)).amount(decimals[token]) for units in (wallet, live.units))
    return f"{has.normalize():f} of the live book's {should.normalize():f} {token}"


def _round_trip(pair: str, cost: Decimal | None) -> Check:
    if cost is None:
        return Check(f"quote {pair}", False, "the router gives no quote")
    detail = f"buying and selling again costs {pct(cost)}, the limit is {ROUND_TRIP_PCT} %"
    return Check(f"quote {pair}", cost <= ROUND_TRIP_PCT * PCT, detail)


def equity_of(units: Mapping[str, Units], live: Live, decimals: Decimals) -> Decimal:
    """What the live book would open with: the wallet's USDT, and what the book still holds at its last marks."""
    cash = booked_down(units.get(USDT, Units(0)).amount(decimals[USDT]))
    return booked(cash + sum((live.book.worth(pair) for pair in live.book.positions), ZERO))


def opening_units(units: Mapping[str, Units], live: Live) -> dict[str, Units]:
    """What of the wallet is the live book's: its USDT and its gas, and of each token what the book has bought."""
    own = {token: held for token, held in live.units.items() if token not in (USDT, NATIVE)}
    return {USDT: units.get(USDT, Units(0)), NATIVE: units.get(NATIVE, Units(0)), **own}


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()
