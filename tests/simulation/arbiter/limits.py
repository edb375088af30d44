"""Limits, locks, the evaluation and the status that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.simulation.arbiter.chain import millis
from tests.simulation.arbiter.ledger import Ledger, halved, units

DAY = 86_400_000
HOUR = 3_600_000
LOCKS = {"daily_drawdown": "daily", "max_drawdown": "failed", "streak_limit": "cooldown"}


class Limits:
    """19: locks end when they said, whatever the config became. 21: a breach is told in the round that it happens in. 22:
    nothing gets in that a limit keeps out. 13, 14: the status moves as the table has it, exactly when the record says."""

    def __init__(self, complain: Callable[[str, str], None], marks: Counter[str], ledger: Ledger) -> None:
        self._complain = complain
        self._marks = marks
        self._ledger = ledger
        self._risk: dict[str, Any] = {}
        self._evaluation: dict[str, Any] = {}
        self._params: dict[str, Any] = {}
        self._version = 0
        self._status = "PAPER"
        self._day = self._opening = self._risk_peak = self._streak = 0
        self._last = 0  # equity at the mark before
        self._until = {"daily": 0, "failed": 0, "cooldown": 0}  # each lock's end; 0 where there is none
        self._held_by: dict[str, tuple[int, int]] = {}  # what a lock says: measured and limit, in 1e-8
        self._run = {"at": 0, "trades": 0, "pnl": 0, "failed": False}
        self._marked_at: int | None = None
        self._due: set[str] = set()  # what this round must still tell
        self._adopted = False  # a config, and its run has not begun

    # --- ahead of the ledger: may this happen?

    def before(self, ts: int, kind: str, body: dict[str, Any]) -> None:
        if kind == "placed" and body["order"]["side"] == "buy":
            self._entry(ts, body["order"]["pair"])
        elif kind == "trade" and body["side"] == "buy" and body["pair"] not in self._ledger.placed:
            self._entry(ts, body["pair"])

    def _entry(self, ts: int, pair: str) -> None:
        for name, until in self._until.items():
            if ts < until:
                self._complain("22", f"an entry for {pair} passes while the {name} lock holds until {until}")
        open_now = {*self._ledger.held, *(order["pair"] for order in self._ledger.entering)}
        if len(open_now) >= self._params["max_concurrent"]:
            self._complain("22", f"an entry for {pair} passes with {len(open_now)} positions open")

    # --- behind it

    def after(self, ts: int, kind: str, body: dict[str, Any]) -> None:
        match kind:
            case "config":
                self._adopt(ts, body)
            case "trade" if body["pnl"] is not None and body["phase"] == "paper":
                self._closed(ts, units(body["pnl"]))
            case "mark" if body["phase"] == "paper":
                self._mark(ts)
            case "snapshot":
                self._ledger.snapshot(ts, body, self._daily_used())
            case "run_started":
                self._run_started(ts, body)
            case "run_failed":
                self._run_failed(ts, body)
            case "risk_veto":
                self._veto(ts, body)
            case "journal_entry":
                self._entry_told(ts, body)
            case "status_change":
                self._moved(body)
            case "round":
                self._round(ts, body)

    def _adopt(self, ts: int, body: dict[str, Any]) -> None:
        config = body["config"]
        if body["version"] != self._version + 1:
            self._complain("versions", f"version {body['version']} comes after {self._version}")
        if self._version and any(ts < until for until in self._until.values()):
            self._marks["config changed under a lock"] += 1
        self._version = body["version"]
        self._risk, self._evaluation = config["risk"], config["evaluation"]
        self._params = config["strategy"]["spec"]["params"]
        if self._version == 1:
            self._last = self._ledger.equity
        self._adopted = True

    def _closed(self, ts: int, gained: int) -> None:
        self._cool(ts)
        self._streak = 0 if gained > 0 else self._streak + 1
        if self._streak >= self._risk["max_consecutive_losses"]:
            self._lock("cooldown", max(ts + self._risk["cooldown_hours"] * HOUR, self._until["cooldown"]), 0, 0)
        self._run["trades"] += 1
        self._run["pnl"] += gained

    def _cool(self, ts: int) -> None:
        if 0 < self._until["cooldown"] <= ts:
            self._until["cooldown"] = self._streak = 0

    def _lock(self, name: str, until: int, measured: int, limit: int) -> None:
        self._marks["cooldown"] += name == "cooldown"
        self._until[name] = until
        self._held_by[name] = measured, limit

    def _mark(self, ts: int) -> None:
        equity = self._ledger.equity
        if ts // DAY != self._day or self._marked_at is None:
            self._day, self._until["daily"] = ts // DAY, 0
            self._opening = self._last
        self._last = equity
        self._risk_peak = max(self._risk_peak, equity)
        self._marked_at = ts
        self._cool(ts)
        if not self._until["cooldown"] and self._streak >= self._risk["max_consecutive_losses"]:
            self._lock("cooldown", ts + self._risk["cooldown_hours"] * HOUR, 0, 0)
        if not self._until["daily"] and self._reached(self._opening, self._risk["daily_drawdown_pct"]):
            self._breach("daily", ts, self._opening, "daily_drawdown_pct")
        if not self._run["failed"] and self._reached(self._risk_peak, self._risk["max_drawdown_pct"]):
            self._due.add("run_failed")
            self._breach("failed", ts, self._risk_peak, "max_drawdown_pct")
        elif self._run["failed"] and ts >= self._until["failed"]:
            self._due.add("run_started")

    def _reached(self, top: int, limit_pct: Any) -> bool:
        return (top - self._ledger.equity) * 100 >= Decimal(limit_pct) * top

    def _breach(self, name: str, ts: int, top: int, limit: str) -> None:
        measured = halved((top - self._ledger.equity) * 10**8, top)
        self._lock(name, (ts // DAY + 1) * DAY, measured, units(Decimal(self._risk[limit]) / 100))
        self._due.add(f"breach {name}")
        self._marks[f"breach {'max' if name == 'failed' else name}"] += 1
        self._marks["breach with an open intent"] += bool(self._ledger.placed)

    def _daily_used(self) -> Decimal:
        fallen = max(self._opening - self._ledger.equity, 0)
        return Decimal(fallen) / self._opening / (Decimal(self._risk["daily_drawdown_pct"]) / 100)

    def _run_started(self, ts: int, body: dict[str, Any]) -> None:
        expected = self._adopted or "run_started" in self._due
        if not expected or body["version"] != self._version or units(body["equity"]) != self._ledger.equity:
            self._complain("runs", f"a run of version {body['version']} starts at {body['equity']}, uncalled for")
        self._adopted = False
        self._due.discard("run_started")
        self._risk_peak = self._ledger.equity
        self._run = {"at": ts, "trades": 0, "pnl": 0, "failed": False}

    def _run_failed(self, ts: int, body: dict[str, Any]) -> None:
        told = millis(body["until"]), units(body["measured"]), units(body["limit"])
        if "run_failed" not in self._due or told != (self._until["failed"], *self._held_by["failed"]):
            self._complain("21", f"a run fails with {told}, the limits say {self._until, self._held_by.get('failed')}")
        self._due.discard("run_failed")
        self._run["failed"] = True

    def _entry_told(self, ts: int, body: dict[str, Any]) -> None:
        data = body["data"]
        match body["type"]:
            case "RISK_BREACH":
                name = "daily" if data["breach"] == "daily" else "failed"
                told = millis(data["until"]), units(data["measured"]), units(data["limit"])
                if f"breach {name}" not in self._due or told != (self._until[name], *self._held_by[name]):
                    self._complain("21", f"a {name} breach is told as {told}, the limits say {self._held_by.get(name)}")
                self._due.discard(f"breach {name}")
            case "RISK_VETO" if data["rule"] in LOCKS:
                name = LOCKS[data["rule"]]
                if millis(data["until"]) != self._until[name] or ts >= self._until[name]:
                    self._complain("19", f"vetoed until {data['until']}, the {name} lock ends at {self._until[name]}")
                if name != "cooldown" and (units(data["measured"]), units(data["limit"])) != self._held_by[name]:
                    self._complain("19", f"the {name} lock says {data['measured']} of {data['limit']}, it was "
                                         f"{self._held_by[name]}")  # fmt: skip
            case "STARTED" | "ACTOR_RESTARTED" if any(ts < until for until in self._until.values()):
                self._marks["lock over a restart"] += 1
            case "SKIPPED" if "round" in data and "market" in body["tags"]:
                self._marks["clock set back under a lock"] += any(ts < until for until in self._until.values())

    def _veto(self, ts: int, body: dict[str, Any]) -> None:
        if body["rule"] == "max_concurrent":
            open_now = {*self._ledger.held, *(order["pair"] for order in self._ledger.entering)}
            if len(open_now) < self._params["max_concurrent"]:
                self._complain("24", f"max_concurrent vetoes with {len(open_now)} positions open")
        elif body["rule"] == "insufficient_funds" and units(body["size"]) <= self._ledger.free:
            self._complain("24", f"{body['size']} is vetoed, {self._ledger.free} units are free")

    # --- the status

    def _earned(self) -> bool:
        run, want = self._run, self._evaluation
        if self._marked_at is None or run["failed"]:
            return False
        days = self._marked_at - run["at"] >= want["eval_window_days"] * DAY
        below = not self._reached(self._risk_peak, self._risk["max_drawdown_pct"])
        return bool(days and below and run["trades"] >= want["trade_floor"] and run["pnl"] > 0)

    def _moved(self, body: dict[str, Any]) -> None:
        if body["from"] != self._status:
            self._complain("13", f"the status moves from {body['from']}, it was {self._status}")
        if (body["from"], body["to"]) not in {("PAPER", "ELIGIBLE"), ("ELIGIBLE", "PAPER")}:
            self._complain("14", f"{body['from']} to {body['to']} is no move in paper")
        self._status = body["to"]
        self._marks["eligible" if body["to"] == "ELIGIBLE" else "eligibility lost"] += 1

    def _round(self, ts: int, body: dict[str, Any]) -> None:
        if self._due:
            self._complain("21", f"the round ends without {sorted(self._due)}")
            self._due.clear()
        if self._adopted:
            self._complain("runs", "a config was adopted and no run started")
        if body["ticks"] and self._marked_at != ts:
            self._complain("3", "a round without a mark")
        if (self._status == "ELIGIBLE") != self._earned() and self._marked_at == ts:
            self._complain("14", f"the status is {self._status}, earned is {self._earned()}: {self._run}")
