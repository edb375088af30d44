"""Backtests through the daemon: queued, followed, cancelled, kept; and the same figures as the command's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from server.backtesting.queue import WAITING
from tests.server.markets import walk, write_candles
from tests.world.daemon import FORESTAY, DaemonProcess

ETH: Final = "ETH/USDT"
LONG: Final = {"spec": "mean-reversion-v1", "days": 3650}  # 87,600 rounds of three pairs: long enough to look at


@pytest.fixture
def replaying(tmp_path: Path, start_daemon: Callable[..., DaemonProcess]) -> tuple[DaemonProcess, Path]:
    """A daemon with 2,000 candles of its own, its replay at a walking pace."""
    candles = write_candles(tmp_path / "eth.csv", walk(4, 2_000))
    daemon = start_daemon("--replay", f"{ETH}={candles}", "--speed", "1")
    daemon.ready()
    return daemon, candles


@pytest.fixture
def demo(start_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    daemon = start_daemon("--seed", "3", "--speed", "1")
    daemon.ready()
    return daemon


def post(daemon: DaemonProcess, document: Any) -> httpx.Response:
    return httpx.post(f"{daemon.base}/backtests", json=document, timeout=60)


def ended(daemon: DaemonProcess, id: str, *, until: tuple[str, ...] = ("done", "failed", "cancelled")) -> Any:
    """The backtest once it is in one of these states. Its progress never goes back."""
    progress = 0.0
    while True:
        found = daemon.get(f"/backtests/{id}").json()
        assert found["progress"] >= progress
        progress = found["progress"]
        if found["state"] in until:
            return found


def test_a_backtest_through_the_daemon_is_the_commands(replaying: tuple[DaemonProcess, Path]) -> None:
    daemon, candles = replaying
    response = post(daemon, {"spec": "bollinger-reversion-v1", "out_of_sample": 0.3})
    assert response.status_code == 202, response.text
    ticket = response.json()
    assert response.headers["location"] == f"/backtests/{ticket['id']}"
    assert ticket["name"] == "bollinger-reversion-v1"
    found = ended(daemon, ticket["id"])
    assert (found["state"], found["progress"], found["error"]) == ("done", 1, None)
    done = subprocess.run(
        [FORESTAY, "backtest", "bollinger-reversion-v1", "--data", f"{ETH}={candles}", "--out-of-sample", "30%",
         "--json", "--html", "report.html"],
        capture_output=True, check=True, cwd=candles.parent,
    )  # fmt: skip
    assert without_times(found["result"]) == without_times(json.loads(done.stdout))
    assert set(found["result"]) == {"metrics", "gate", "trades", "in_sample", "out_of_sample"}
    report = daemon.get(f"/backtests/{ticket['id']}/report")
    assert report.headers["content-disposition"].startswith("attachment")
    assert pages_words(report.text) == pages_words((candles.parent / "report.html").read_text())


def pages_words(page: str) -> list[str]:
    """Its lines, but for what tells how long it took."""
    return [line for line in page.splitlines() if "Deciding took" not in line and "Candles per second" not in line]


def without_times(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: without_times(value) for key, value in result.items() if key not in ("run_s", "candles_per_s")}
    return [without_times(item) for item in result] if isinstance(result, list) else result


def test_results_outlive_the_daemon(
    replaying: tuple[DaemonProcess, Path], start_daemon: Callable[..., DaemonProcess]
) -> None:
    daemon, candles = replaying
    ids = [post(daemon, {"to": to}).json()["id"] for to in ("2024-03-20T00:00:00Z", "2024-03-25T00:00:00Z")]
    before = [ended(daemon, id) for id in ids]
    daemon.kill()
    again = start_daemon("--replay", f"{ETH}={candles}", "--speed", "1", data_dir=daemon.data_dir)
    again.ready()
    assert [again.get(f"/backtests/{id}").json() for id in ids] == before
    assert {row["id"] for row in again.get("/backtests").json()} == set(ids)


def test_a_demo_market_has_as_many_days_as_are_asked_for(demo: DaemonProcess) -> None:
    found = ended(demo, post(demo, {"days": 20, "pairs": ["ETH/USDT"]}).json()["id"])
    assert found["state"] == "done", found["error"]
    assert found["result"]["metrics"]["days"] == pytest.approx(20, abs=0.1)


def test_a_running_backtest_tells_its_progress_and_can_be_cancelled(demo: DaemonProcess) -> None:
    first, second = (post(demo, LONG).json()["id"] for _ in range(2))
    assert demo.get(f"/backtests/{second}").json()["state"] == "queued"
    assert demo.get(f"/backtests/{second}/report").status_code == 404
    while (running := ended(demo, first, until=("running", "done")))["progress"] == 0:
        assert running["state"] == "running"
    assert running["seconds_left"] > 0
    assert running["reached"] is not None
    assert httpx.delete(f"{demo.base}/backtests/{first}", headers=JSON, timeout=60).status_code == 200
    assert ended(demo, first)["state"] == "cancelled"
    assert ended(demo, second, until=("running",))["state"] == "running"
    assert httpx.delete(f"{demo.base}/backtests/{second}", headers=JSON, timeout=60).status_code == 200
    assert ended(demo, second)["state"] == "cancelled"
    again = httpx.delete(f"{demo.base}/backtests/{second}", headers=JSON, timeout=60)
    assert (again.status_code, again.json()["code"]) == (409, "BACKTEST_ENDED")


JSON: Final = {"content-type": "application/json"}


def test_only_so_many_may_wait(demo: DaemonProcess) -> None:
    ids = [post(demo, LONG).json()["id"]]
    ended(demo, ids[0], until=("running",))
    ids += [post(demo, LONG).json()["id"] for _ in range(WAITING)]
    refused = post(demo, LONG)
    assert (refused.status_code, refused.json()["code"]) == (429, "QUEUE_FULL")
    for id in reversed(ids):
        httpx.delete(f"{demo.base}/backtests/{id}", headers=JSON, timeout=60)
    assert {row["state"] for row in demo.get("/backtests").json()} <= {"cancelled", "running"}


def test_a_worker_that_dies_is_told(demo: DaemonProcess) -> None:
    id = post(demo, LONG).json()["id"]
    ended(demo, id, until=("running",))
    (worker,) = children(demo.pid)
    os.kill(worker, signal.SIGKILL)
    found = ended(demo, id)
    assert found["state"] == "failed"
    assert "-9" in found["error"]
    assert demo.get("/readyz").status_code == 200


def test_no_worker_outlives_the_daemon(demo: DaemonProcess) -> None:
    ended(demo, post(demo, LONG).json()["id"], until=("running",))
    (worker,) = children(demo.pid)
    demo.terminate()
    assert not Path(f"/proc/{worker}/cmdline").exists()


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"spec": "no-such"}, "no-such"),
        ({"spec": {"market_mode": "futures"}}, "market_mode"),
        ({"spec": {"market_mode": "spot", "name": "x", "signals": {}}}, "spec.signals.entry: is missing"),
        ({"spec": 7}, "spec = 7"),
        ({"pairs": ["DOGE/USDT"]}, "ETH/USDT"),
        ({"pairs": []}, "pairs"),
        ({"pairs": [ETH, ETH]}, "each of them once"),
        ({"pairs": [[ETH], {}]}, "pairs"),
        ({"from": "yesterday"}, "from"),
        ({"from": 5}, "from = 5"),
        ({"from": "2024-04-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"}, "before"),
        ({"out_of_sample": 1}, "out_of_sample"),
        ({"out_of_sample": "0.3"}, "out_of_sample"),
        ({"days": 7}, "days"),
        ({"config": {"risk": {"max_drawdown_pct": 500}}}, "risk.max_drawdown_pct"),
        ({"config": 3}, "config"),
        ({"speed": 1}, "speed"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    document: Any, words: str, replaying: tuple[DaemonProcess, Path]
) -> None:
    response = post(replaying[0], document)
    assert response.status_code == 422, response.text
    assert words in response.json()["detail"]
    assert replaying[0].get("/backtests").json() == []


@pytest.mark.parametrize(
    "document",
    [{"from": "9999-12-31"}, {"from": "9999-01-01", "days": 1}, {"to": "9999-12-31"}, {"to": "2020-01-01"},
     {"from": "2026-02-01", "to": "2026-03-01", "days": 1}, {"days": 3651}],
)  # fmt: skip
def test_a_run_over_what_is_made_up_has_an_end(document: Any, demo: DaemonProcess) -> None:
    response = post(demo, document)
    assert response.status_code == 422, response.text
    assert response.json()["detail"].split()[0].rstrip(":") in document


def test_a_run_may_leave_out_pairs_that_have_limits_of_their_own(demo: DaemonProcess) -> None:
    own = {"quotes": {"pairs": {ETH: {"max_age_seconds": 3600}}}}
    assert httpx.patch(f"{demo.base}/agents/current/config", json=own, timeout=60).status_code == 200
    ticket = post(demo, {"pairs": ["CAKE/USDT"], "days": 1, "out_of_sample": 0.01})
    assert ticket.status_code == 202, ticket.text
    assert ended(demo, ticket.json()["id"])["state"] == "done"


def test_rules_may_be_switched_off_here_and_only_here(replaying: tuple[DaemonProcess, Path]) -> None:
    daemon, _ = replaying
    off = {"risk": {"preset": "off"}, "strategy": {"fee_multiple": 0}}
    assert ended(daemon, post(daemon, {"config": off}).json()["id"])["state"] == "done"
    refused = httpx.patch(f"{daemon.base}/agents/current/config", json=off, timeout=60)
    assert refused.status_code == 422
    assert "only a backtest" in refused.json()["detail"]


def test_a_time_without_candles_fails_with_words(replaying: tuple[DaemonProcess, Path]) -> None:
    found = ended(replaying[0], post(replaying[0], {"from": "2031-01-01T00:00:00Z"}).json()["id"])
    assert found["state"] == "failed"
    assert "no candle" in found["error"]


def test_an_unknown_backtest_is_not_found(replaying: tuple[DaemonProcess, Path]) -> None:
    response = replaying[0].get("/backtests/bt_0")
    assert (response.status_code, response.json()["code"]) == (404, "BACKTEST_NOT_FOUND")
