"""The whole story on a real EVM, by the public surface alone: paper, its record, live, a breach, a lock, live again,
and the kill switch. At the end the wallet holds what the ledger says, to the wei."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import httpx
import pytest

from protocol.signing import GuardStatus, ReadGuard
from tests.guard.houses import WALLET, command
from tests.live.stage import Stage, wire
from tests.world.described import check_event

CALM: Final = (2010, 1990, 2010, 1990)
BUY_AND_SELL: Final = (2010, 1990, 1900, 1850, 2000, 2050)  # falls below its average, and rises above it


def steps(stage: Stage, *prices: int) -> None:
    for price in prices:
        stage.step(price)


def live_trades(stage: Stage) -> list[dict[str, Any]]:
    return [trade for trade in stage.events("trade") if trade["phase"] == "live"]


def settle(stage: Stage) -> None:
    """Blocks come until no order is on its way."""
    stage.until(lambda: not (live := stage.agent()["live"])["orders"] and live["flattening"] is None, mining=True)


def test_paper_to_live_and_back_and_live_again_until_the_kill_switch(stage: Stage) -> None:
    stage.set()
    begun_with = stage.market.balances(WALLET)

    # Paper has to earn it.
    refused = stage.post("promote", {"confirm": "go live"})
    assert (refused.status_code, refused.json()["code"]) == (409, "NOT_ELIGIBLE")
    assert {check["name"] for check in refused.json()["checks"] if not check["ok"]} == {"record"}
    steps(stage, *CALM, *BUY_AND_SELL)
    stage.until(lambda: [trade for trade in stage.events("trade") if trade["pnl"] is not None])
    while stage.agent()["status"] == "PAPER":  # a window of a day, in candles that lead to nothing
        steps(stage, *CALM * 4)
    assert stage.agent()["status"] == "ELIGIBLE"

    # A person lets it go live; it buys, and sells what it bought, for real.
    promoted = stage.post("promote", {"confirm": "go live"})
    assert promoted.status_code == 200, promoted.text
    steps(stage, 2010, 1990, 1900)
    settle(stage)
    steps(stage, 1850, 2000)
    settle(stage)
    bought, sold = live_trades(stage)
    assert (bought["side"], sold["side"]) == ("buy", "sell")
    assert sold["pnl"] > 0
    hashes = [trade["tx_hash"] for trade in (bought, sold)]
    assert all(stage.market.chain.receipt(hash) is not None for hash in hashes)
    first, again = stage.events("promotion")
    assert (first["tx_hash"], again["tx_hash"], again["journal_ref"]) == (None, hashes[0], first["journal_ref"])

    # It holds again when the market falls by more than a day may lose.
    steps(stage, 2010, 1990, 1900)
    settle(stage)
    steps(stage, 1500)
    stage.until(lambda: stage.agent()["status"] == "DEMOTED")
    settle(stage)
    (demotion,) = stage.events("demotion")
    midnight = stage.at.replace(hour=0, minute=0)
    assert (demotion["rule"], demotion["breach"]) == ("daily_drawdown", "daily")
    assert demotion["locked_until"] > wire(midnight)
    assert live_trades(stage)[-1]["side"] == "sell"
    assert stage.market.balance(WALLET, "ETH") == 0
    assert not [it for it in stage.daemon.get("/agents/current/positions").json() if it["phase"] == "live"]
    locked = stage.post("promote", {"confirm": "go live", "force": True})
    assert (locked.status_code, locked.json()["code"]) == (409, "PROMOTION_LOCKED")

    # The lock ends with the day, and promotes nothing.
    while stage.agent()["status"] == "DEMOTED":
        steps(stage, 1510, 1500, 1490)
    assert wire(stage.at) >= demotion["locked_until"]
    assert stage.agent()["status"] in ("PAPER", "ELIGIBLE")
    promoted = stage.post("promote", {"confirm": "go live", "force": True})
    assert promoted.status_code == 200, promoted.text

    # Somebody kills it, past the daemon: nothing signs any more, and both know.
    killed = command(
        "kill", "--confirm", "revoke signing", "--socket", stage.guard.socket, cwd=stage.folder, password=None
    )
    assert killed.returncode == 0, killed.stderr
    stage.until(lambda: stage.agent()["status"] != "LIVE")
    assert [entry["tags"] for entry in stage.journal("KILL")] == [["signer"]]
    status = stage.guard.ask(ReadGuard())
    assert isinstance(status, GuardStatus)
    assert status.killed
    refused = stage.post("promote", {"confirm": "go live", "force": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "SIGNER_REVOKED")
    nonce = stage.market.chain.nonce(WALLET)
    steps(stage, 1510, 1490, 1400, 1300)
    assert stage.market.chain.nonce(WALLET) == nonce

    # What the wallet has is what the ledger says.
    usdt, eth, gas = begun_with["USDT"], 0, 0
    sides = {row["order"]["ref"]: row["order"]["side"] for row in stage.facts("intended")}
    for row in stage.facts("mined"):
        gas += int(row["gas_units"])
        if row["leg"] == "swap":
            out, back = int(row["spent"]), int(row["received"])
            buying = sides[row["order_ref"]] == "buy"
            usdt, eth = (usdt - out, eth + back) if buying else (usdt + back, eth - out)
    now = stage.market.balances(WALLET)
    assert (now["USDT"], now["ETH"], now["BNB"]) == (usdt, eth, begun_with["BNB"] - gas)
    assert eth == 0
    assert stage.market.allowance(WALLET, "USDT", stage.market.pancake.router) == 0

    # The figures are those of the trades, and what was paid in or taken out is no return.
    for path in (
        "",
        "/positions",
        "/trades",
        "/risk/objectives",
        "/preflight?force=true",
        "/config/versions?phase=live",
    ):
        stage.read(path)
    performance, trades = stage.read("/performance?phase=live"), live_trades(stage)
    assert performance["executions"] == len(trades)
    assert performance["fees"] == pytest.approx(sum(trade["fees"] for trade in trades))
    assert performance["return"] == pytest.approx(sum(trade["pnl"] or 0 for trade in trades) / 1000, abs=0.01)
    seen = stage.read("/health")["guard"]
    assert (seen["reachable"], seen["killed"], seen["way"]) == (True, True, "local")
    assert (seen["per_trade_cap"], seen["spent_today"]) == (status.per_trade_cap, status.spent_today)
    metrics = httpx.get(f"{stage.daemon.listening()}/metrics").text
    assert "forestay_guard_killed 1\n" in metrics
    assert f"forestay_guard_spent_today_usdt {float(status.spent_today):.15g}\n" in metrics

    # Every message came in its order, causes before their echoes.
    events = stage.events()
    for event in events:
        check_event(event)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    changes = [event for event in events if event["event"] == "status_change"]
    first_three = [(change["from"], change["to"]) for change in changes[:3]]
    assert first_three == [("PAPER", "ELIGIBLE"), ("ELIGIBLE", "LIVE"), ("LIVE", "DEMOTED")]
    assert all(one["to"] == two["from"] for one, two in pairwise(changes))
    place = events.index(demotion)
    assert events[place + 1] == next(change for change in changes if change["to"] == "DEMOTED")
    assert events[place + 1]["ts"] == demotion["ts"]
