"""Into LIVE and out of it: what was paid in or taken out between two promotions, the first trade of each, ids of acts
that come at one log time, and what a promotion looks at before."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from attrs import evolve as changed
from hypothesis import given
from hypothesis import strategies as st

from actors.executor.live import NATIVE, Live
from actors.risk_engine.moves import Act, Demote, Killed, Promote, Reapprove, Restored, acted, demote_on_breach, proven
from actors.risk_engine.state import Gauge, RiskState, drawdown, evolve
from actors.twak_signer.inspection import Inspection, equity_of, opening_units, preflight
from protocol.answers import Check
from protocol.codec import decode_row, encode_row, from_json
from protocol.errors import Refusal
from protocol.events import (
    EVENTS,
    ConfigAdopted,
    Demotion,
    GivenUp,
    JournalEntry,
    LiveOpened,
    Marked,
    Promotion,
    Row,
    RunStarted,
    StatusChange,
    Trade,
)
from protocol.money import ZERO, Units, booked
from protocol.settings import ChainSettings
from protocol.signing import Anchor, GuardStatus
from tests.live.lives import AT, CONFIG, DECIMALS, E18, OPENED, bought, folded, in_state, intended

PLACE: Final = Decimal("1e-8")
money = st.decimals(Decimal("0.01"), 10**6, places=8)


class Risk:
    """A risk engine by itself, at one log time unless a mark moves it."""

    def __init__(self) -> None:
        self.state, self.at, self.rows = RiskState(), AT, list[Row]()
        self.tell(ConfigAdopted(AT, 1, CONFIG), RunStarted(AT, 1, CONFIG.paper.initial_usdt))

    def tell(self, *rows: Row) -> tuple[Row, ...]:
        self.rows += rows
        for row in rows:
            self.state = evolve(self.state, row)
        return rows

    def act(self, act: Act, *, flat: bool = True) -> tuple[Row, ...]:
        found = acted(self.state, act, self.at, flat=flat)
        assert not isinstance(found, Refusal), found
        return self.tell(*found)

    def promote(self, cash: Any, before: Any = 0) -> tuple[Row, ...]:
        amount = Decimal(cash)
        return self.act(
            Promote(amount, booked(amount), Decimal(before), {"USDT": Units.of(amount, 18)}, "", force=True)
        )

    def mark(self, equity: Any, hours: float = 1) -> tuple[Row, ...]:
        self.at += timedelta(hours=hours)
        self.tell(Marked(self.at, Decimal(equity), {}, "live"))
        return self.tell(*demote_on_breach(self.state, self.at))

    def trade(self, hash: str = "0x1", pnl: Any = None) -> tuple[Row, ...]:
        result = None if pnl is None else Decimal(pnl)
        one = Decimal(1)
        row = Trade(self.at, "ETH/USDT", "sell", one, one, result, one, "live", "jrn", one, "ord", 60, one, None, hash)
        self.tell(row)
        return self.tell(*proven(self.state, row))

    @property
    def live(self) -> Gauge:
        assert self.state.live is not None
        return self.state.live


# --- what is paid in or taken out


@given(first=money, lost=st.decimals(0, Decimal("0.07"), places=4), moved=money)
def test_what_is_paid_in_or_taken_out_between_promotions_is_no_gain_and_no_loss(
    first: Decimal, lost: Decimal, moved: Decimal
) -> None:
    """However much: the book has fallen by the same fraction as before, and the next mark of it breaches nothing."""
    risk = Risk()
    risk.promote(first)
    equity = booked(first * (1 - lost))
    assert not risk.mark(equity)
    before = risk.live
    risk.act(Demote("to pay in"))
    risk.promote(moved, before=equity)
    after = risk.live
    assert after.equity == moved
    off = 3 * PLACE / min(first, moved)  # three roundings
    for was, now in (
        (before.drawdown, after.drawdown), (before.dd_from_peak, after.dd_from_peak),
        (before.daily_drawdown, after.daily_drawdown),
    ):  # fmt: skip
        assert abs(was - now) <= off
    assert (after.daily_breach, after.streak, after.cooldown) == (before.daily_breach, before.streak, before.cooldown)
    if abs(lost - Decimal("0.07")) > off:
        assert not risk.mark(moved, hours=0.1)


def test_what_selling_out_has_lost_after_the_last_mark_is_lost() -> None:
    """Nothing marks the live book once it is flat and not live: its own trades say what it is worth."""
    risk = Risk()
    risk.promote(500)
    risk.mark(460)
    assert risk.state.status == "DEMOTED"
    risk.tell(*_lifted(risk))
    risk.promote(880, before=440)
    assert risk.live.drawdown == drawdown(Decimal(500), Decimal(440)) == Decimal("0.12")
    assert (risk.live.peak, risk.live.equity) == (Decimal(1000), Decimal(880))


def test_what_selling_out_has_gained_is_gained() -> None:
    risk = Risk()
    risk.promote(500)
    risk.mark(480)
    risk.act(Demote("enough"))
    risk.promote(520, before=520)
    assert (risk.live.peak, risk.live.drawdown) == (Decimal(520), ZERO)


def test_a_book_that_nothing_was_left_of_has_fallen_all_the_way_until_a_person_re_approves() -> None:
    """What is paid in is a new beginning only by an act that says so."""
    risk = Risk()
    risk.promote(500)
    risk.trade(pnl=-1)
    risk.act(Demote("enough"))
    risk.promote(300, before=0)
    assert (risk.live.equity, risk.live.drawdown, risk.live.streak) == (Decimal(300), Decimal("0.9999"), 1)
    rows = risk.mark(300)
    (demotion,) = [row for row in rows if isinstance(row, Demotion)]
    risk.act(Reapprove(demotion.journal_ref, "it is new money"))
    assert risk.live.drawdown == ZERO


def test_a_promotion_on_the_day_of_a_loss_does_not_open_the_day_anew() -> None:
    risk = Risk()
    risk.promote(500)
    risk.mark(465)
    risk.act(Demote("to think"))
    risk.promote(465, before=465)
    assert risk.live.daily_drawdown == Decimal("0.07")
    assert [row.rule for row in risk.mark(459) if hasattr(row, "breach") and hasattr(row, "rule")] == ["daily_drawdown"]


def test_the_cash_of_an_opening_is_what_the_ledger_can_book_of_it() -> None:
    risk = Risk()
    units = {"USDT": Units(123_456_789_987_654_321_999)}
    act = Promote(units["USDT"].amount(18), equity_of(units, Live(), DECIMALS), ZERO, units, "", force=True)
    opened = next(row for row in risk.act(act) if isinstance(row, LiveOpened))
    assert opened.cash == opened.equity == Decimal("123.45678998")
    assert opened.units == units


def _lifted(risk: Risk) -> tuple[Row, ...]:
    from actors.risk_engine.rules import lifted_rows

    return lifted_rows(risk.state, "its time has passed", risk.at)


# --- the first trade


def test_a_promotion_is_told_once_more_with_its_first_trade_s_hash_and_no_more() -> None:
    risk = Risk()
    (promotion,) = [row for row in risk.promote(500) if isinstance(row, Promotion)]
    assert promotion.tx_hash is None
    told = [row for hash in ("0x1", "0x2", "0x3") for row in risk.trade(hash)]
    assert told == [Promotion(AT, "0x1", promotion.journal_ref)]


@pytest.mark.parametrize(
    "out", [Demote("enough"), Killed("2026-05-01T12:00:00.000Z", "by hand")], ids=["demoted", "killed"]
)
def test_what_trades_after_the_way_out_is_no_first_trade_of_a_promotion(out: Act) -> None:
    risk = Risk()
    risk.promote(500)
    risk.act(out)
    assert risk.trade() == ()
    risk.promote(500, before=500)
    assert len(risk.trade("0x2")) == 1


def test_what_sells_out_after_a_breach_is_no_first_trade_of_a_promotion() -> None:
    risk = Risk()
    risk.promote(500)
    risk.mark(300)
    assert risk.state.status == "DEMOTED"
    assert risk.trade() == ()


def test_a_second_promotion_moves_no_status() -> None:
    risk = Risk()
    risk.promote(500)
    assert not [row for row in risk.trade() if isinstance(row, StatusChange)]
    assert risk.state.status == "LIVE"


# --- ids


@given(st.lists(st.sampled_from(["promote", "demote", "kill", "restore", "breach", "reapprove"]), max_size=25))
def test_no_two_entries_have_one_id_though_all_acts_come_at_one_log_time(acts: list[str]) -> None:
    risk, kills = Risk(), 0
    for name in acts:
        state = risk.state
        match name:
            case "promote" if state.status != "LIVE" and state.lock is None:
                risk.promote(500, before=500)
            case "demote" if state.status == "LIVE":
                risk.act(Demote("enough"))
            case "kill":
                kills += 1
                risk.act(Killed(f"kill {kills}", "by hand"))
            case "restore" if kills:
                risk.act(Restored(f"kill {kills}"))
            case "breach" if state.status == "LIVE":
                risk.mark(1)  # a mark is of a round, and moves the time
            case "reapprove" if state.lock is not None and state.lock.until is None:
                risk.act(Reapprove(state.lock.demotion, "it was the market"))
        if name == "restore":
            kills += 1  # the guard's clock goes on
    ids = [row.id for row in risk.rows if isinstance(row, JournalEntry)]
    assert len(set(ids)) == len(ids)


def test_promoted_demoted_killed_and_restored_again_and_again_at_one_log_time_every_entry_has_its_own_id() -> None:
    risk = Risk()
    for number in range(4):
        risk.promote(500, before=500)
        risk.act(Demote("enough"))
        risk.promote(500, before=500)
        risk.act(Killed(f"kill {number}", "by hand"))
        risk.act(Restored(f"kill {number}"))
    entries = [row for row in risk.rows if isinstance(row, JournalEntry)]
    assert len({row.id for row in entries}) == len(entries) == 4 * (2 + 1 + 2 + 2 + 1)
    assert {row.ts for row in entries} == {AT}


# --- as it is written


def test_a_promotion_s_entry_tells_the_wallet_s_units_as_texts() -> None:
    rows = Risk().promote("123.5")
    for row in rows:
        frame = from_json(encode_row(row, 1 if isinstance(row, EVENTS) else None))
        if isinstance(row, JournalEntry) and row.type == "PROMOTION":
            assert frame["data"]["units"] == {"USDT": "123500000000000000000"}
            assert (frame["data"]["cash"], frame["data"]["equity"]) == (Decimal("123.5"), Decimal("123.5"))
        if isinstance(row, LiveOpened):
            assert frame["units"] == {"USDT": "123500000000000000000"}
            read = decode_row(encode_row(row, None))
            assert read == row
            assert isinstance(read, LiveOpened)
            assert {type(amount) for amount in read.units.values()} == {Units}


def test_units_larger_than_any_number_of_json_go_to_the_log_and_back() -> None:
    most = Units(2**256 - 1)
    wish = changed(intended(folded(*OPENED)), spend=most, min_received=Units(0))
    assert decode_row(encode_row(wish, None)) == wish
    frame = from_json(encode_row(wish, None))
    assert (frame["spend"], frame["min_received"]) == (str(most), "0")


# --- before a promotion

GUARD: Final = GuardStatus(
    "local", "0x" + "01" * 20, 56, ChainSettings().router,
    {"USDT": ChainSettings().usdt.address, **{name: it.address for name, it in ChainSettings().tokens.items()}},
    Decimal(1000), Decimal(5000), ZERO, False, None, None, None, "1",
)  # fmt: skip
SEEN: Final = Inspection(
    GUARD, 10**9, True, True, {"USDT": Units(1000 * E18), NATIVE: Units(E18)},
    dict.fromkeys(CONFIG.watchlist, Decimal("0.006")), Anchor("log", 10, "0" * 64),
)  # fmt: skip


def _failing(seen: Inspection = SEEN, live: Live | None = None, risk: Risk | None = None) -> list[str]:
    state = (risk or Risk()).state
    checks = preflight(seen, state, live or Live(), ChainSettings(), DECIMALS, force=True)
    assert all(isinstance(check, Check) and check.detail for check in checks)
    assert len({check.name for check in checks}) == len(checks)
    return [check.name for check in checks if not check.ok]


def test_where_all_is_well_nothing_stands_in_the_way_of_a_promotion() -> None:
    assert _failing() == []


def _guard(**other: Any) -> Inspection:
    return changed(SEEN, guard=changed(GUARD, **other))


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (_guard(killed=True, killed_at="2026-05-01T12:00:00.000Z", killed_reason="by hand"), "guard"),
        (_guard(chain_id=97), "chain_id"),
        (_guard(router="0x" + "02" * 20), "router"),
        (changed(SEEN, router_fits=False), "router"),
        (_guard(allowlist={name: a for name, a in GUARD.allowlist.items() if name != "CAKE"}), "allowlist"),
        (_guard(allowlist=GUARD.allowlist | {"ETH": "0x" + "03" * 20}), "allowlist"),
        (_guard(anchor=Anchor("log", 11, "0" * 64)), "log"),
        (_guard(per_trade_cap=Decimal(899)), "per_trade_cap"),
        (_guard(daily_cap=Decimal(1000), spent_today=Decimal("100.01")), "daily_cap"),
        (changed(SEEN, units={"USDT": Units(0), NATIVE: Units(E18)}), "balance"),
        (changed(SEEN, units={"USDT": Units(E18), NATIVE: Units(10**9)}), "gas"),
        (changed(SEEN, round_trips={"CAKE/USDT": None, "ETH/USDT": Decimal("0.006")}), "quote CAKE/USDT"),
        (changed(SEEN, round_trips=dict.fromkeys(CONFIG.watchlist, Decimal("0.06"))), "quote ETH/USDT"),
        (changed(SEEN, waiting=1), "pending"),
    ],
)
def test_each_condition_of_a_promotion_fails_by_itself(seen: Inspection, name: str) -> None:
    assert name in _failing(seen)


def test_nobody_is_promoted_while_live_orders_are_open() -> None:
    """What of them is mined by then, and not deep enough to be known, would be counted twice."""
    live, _ = in_state("swapping")
    assert _failing(live=live) == ["orders"]


def test_nobody_is_promoted_while_everything_is_being_sold() -> None:
    live = folded(*bought(folded(*OPENED)), live=folded(*OPENED))
    selling = changed(live, flattening="by hand")
    assert "flattening" in _failing(live=selling)


def test_what_the_live_book_holds_must_be_in_the_wallet() -> None:
    live = folded(*bought(folded(*OPENED)), live=folded(*OPENED))
    assert _failing(live=live) == ["holdings"]
    whole = changed(SEEN, units=SEEN.units | {"ETH": live.units["ETH"]})
    assert _failing(whole, live) == []


def test_of_the_wallet_the_live_book_s_are_its_usdt_its_gas_and_what_was_bought() -> None:
    live = folded(*bought(folded(*OPENED)), live=folded(*OPENED))
    wallet = {"USDT": Units(5), NATIVE: Units(6), "ETH": Units(10**30), "CAKE": Units(7)}
    assert opening_units(wallet, live) == {"USDT": 5, NATIVE: 6, "ETH": live.units["ETH"]}


def test_a_live_book_that_was_marked_while_the_wallet_was_looked_at_opens_with_what_it_is_worth_by_then() -> None:
    live = folded(*bought(folded(*OPENED)), live=folded(*OPENED))
    seen = Promote(Decimal("5.123456789"), Decimal(7), Decimal(8), {"USDT": Units(5)}, "", force=True)
    position = live.book.positions["ETH/USDT"]
    later = folded(Marked(AT, ZERO, {"ETH/USDT": 2 * live.book.marks["ETH/USDT"].price}, "live"), live=live)
    act = seen.opening(later.book.equity, later.book.cash)
    worth = booked(position.qty * 2 * live.book.marks["ETH/USDT"].price)
    assert (act.before, act.equity) == (live.book.cash + worth, Decimal("5.12345678") + worth)
    assert changed(act, before=seen.before, equity=seen.equity) == seen


def test_gas_that_was_lost_is_no_withdrawal() -> None:
    """It is in what the book was worth by itself."""
    live, ref = in_state("intended")
    paid = folded(GivenUp(AT, ref, "ETH/USDT", "reverted", "jrn", Decimal("0.5")), live=live)
    assert paid.book.equity == live.book.equity - Decimal("0.5")
