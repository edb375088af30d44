"""The paper book: every cent of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.simulation.arbiter.chain import millis

UNIT = 10**8
MINUTE = 60_000


def units(amount: Any) -> int:
    """USDT or a quantity as whole numbers of 1e-8; exact, or it is no amount of the ledger's."""
    scaled = Decimal(amount).scaleb(8)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more than 8 places")
    return int(scaled)


def halved(numerator: int, denominator: int) -> int:
    """The quotient to the nearest whole number, a tie to the even one."""
    if numerator < 0:
        return -halved(-numerator, denominator)
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


class Ledger:
    """34: equity is cash and marked positions, and every cent between two marks is explained. Snapshots are taken when
    they are due, and say what the book says."""

    def __init__(self, complain: Callable[[str, str], None], marks: Counter[str]) -> None:
        self._complain = complain
        self._marks = marks
        self.paper: dict[str, Any] = {}
        self.minutes = 0
        self.cash = self.equity = self.peak = 0
        self.held: dict[str, dict[str, int]] = {}
        self.placed: dict[str, dict[str, Any]] = {}
        self.prices: dict[str, int] = {}
        self._marked_at: int | None = None
        self._snapshot_at: int | None = None
        self._snapped = False  # in this round

    @property
    def entering(self) -> list[dict[str, Any]]:
        return [order for order in self.placed.values() if order["side"] == "buy"]

    @property
    def free(self) -> int:
        return self.cash - sum(units(order["size_usdt"]) for order in self.entering)

    def read(self, ts: int, kind: str, body: dict[str, Any]) -> None:
        match kind:
            case "config":
                self._adopt(body)
            case "placed":
                self._place(ts, body)
            case "decided" if body["pair"] in self.placed:
                self._marks["waiting order refused"] += 1
                del self.placed[body["pair"]]
            case "trade" if body["phase"] == "paper":
                self._trade(ts, body)
            case "mark" if body["phase"] == "paper":
                self._mark(ts, body)
            case "round":
                self._round(ts, body)

    def _adopt(self, body: dict[str, Any]) -> None:
        self.paper, self.minutes = body["config"]["paper"], body["config"]["snapshot_minutes"]
        if body["version"] == 1:
            self.cash = self.equity = self.peak = units(self.paper["initial_usdt"])

    def _place(self, ts: int, body: dict[str, Any]) -> None:
        order = body["order"]
        if order["pair"] in self.placed:
            self._complain("29", f"a second order waits for {order['pair']}")
        if order["side"] == "buy" and units(order["size_usdt"]) > self.free:
            self._complain("34", f"an order of {order['size_usdt']} waits, {self.free} units are free")
        self.placed[order["pair"]] = {**order, "at": ts}

    def _trade(self, ts: int, body: dict[str, Any]) -> None:
        pair, buys = body["pair"], body["side"] == "buy"
        size, fees, qty = units(body["size"]), units(body["fees"]), units(body["qty"])
        price = units(body["price"])
        waiting = self.placed.pop(pair, None)
        if waiting is not None:
            self._marks["waiting order filled"] += 1
            if waiting["ref"] != body["order_ref"]:
                self._complain("29", f"{body['order_ref']} was traded while {waiting['ref']} waited")
        if (self.paper["fill_at"] == "next_open") != (waiting is not None) and waiting is None:
            self._complain("34", "filled at once, though fills wait for the next open")
        if size != halved(qty * price, UNIT):
            self._complain("34", f"size {size} is not {qty} x {price}")
        bps, gas = Decimal(self.paper["fee_bps"]), units(self.paper["gas_usdt"])
        if fees != halved(size * int(bps * 1000), 10_000_000) + gas:
            self._complain("34", f"fees {fees} are not {bps} bps of {size} and gas of {gas}")
        filled = millis(body["filled_at"]) if "filled_at" in body else ts
        if buys:
            self._buy(pair, size, fees, qty, filled, price)
        else:
            self._sell(body, pair, size, fees, qty, filled)
        if self.cash < 0:
            self._complain("34", f"cash is {self.cash} units")

    def _buy(self, pair: str, size: int, fees: int, qty: int, filled: int, price: int) -> None:
        if pair in self.held or qty <= 0:
            self._complain("34", f"bought {qty} units of {pair}, holding {self.held.get(pair)}")
        self.cash -= size + fees
        self.held[pair] = {"qty": qty, "cost": size + fees, "at": filled}
        self.prices.setdefault(pair, price)

    def _sell(self, body: dict[str, Any], pair: str, size: int, fees: int, qty: int, filled: int) -> None:
        position = self.held.pop(pair, None)
        if position is None or position["qty"] != qty:
            self._complain("34", f"sold {qty} units of {pair}, holding {position}")
            return
        self.cash += size - fees
        gained = size - fees - position["cost"]
        told = units(body["pnl"]), units(body["return"]), body["hold_s"]
        right = gained, halved(gained * UNIT, position["cost"]), (filled - position["at"]) // 1000
        if told != right:
            self._complain("34", f"pnl, return and hold are told as {told}, they are {right}")

    def _mark(self, ts: int, body: dict[str, Any]) -> None:
        self.prices |= {pair: units(price) for pair, price in body["prices"].items()}
        worth = sum(halved(held["qty"] * self.prices[pair], UNIT) for pair, held in self.held.items())
        self.equity = self.cash + worth
        if units(body["equity"]) != self.equity:
            self._complain("34", f"marked at {body['equity']}, cash and positions are {self.equity} units")
        self.peak = max(self.peak, self.equity)
        if self._marked_at is not None and ts // 86_400_000 > self._marked_at // 86_400_000:
            self._marks["midnight with an open position"] += bool(self.held)
            self._marks["midnight with an open intent"] += bool(self.placed)
        self._marked_at = ts

    def snapshot(self, ts: int, body: dict[str, Any], used: Decimal | None) -> None:
        """`used` is the part of the day's budget, as the limits have it."""
        fallen = halved((self.peak - self.equity) * UNIT, self.peak) if self.peak else 0
        told = units(body["equity"]), units(body["dd_from_peak"]), units(body["daily_dd_used"])
        right = self.equity, fallen, told[2] if used is None else halved(int(used.scaleb(20)), 10**12)
        if told != right:
            self._complain("34", f"a snapshot tells {told}, the book says {right}")
        if self._snapshot_at is not None and ts < self._snapshot_at + self.minutes * MINUTE:
            self._complain("snapshots", f"taken {(ts - self._snapshot_at) // MINUTE} minutes after the one before")
        self._snapshot_at, self._snapped = ts, True

    def _round(self, ts: int, body: dict[str, Any]) -> None:
        due = self._snapshot_at is None or ts >= self._snapshot_at + self.minutes * MINUTE
        if due and self._marked_at == ts and not self._snapped and body["ticks"]:
            self._complain("snapshots", "one was due in this round")
        self._snapped = False
