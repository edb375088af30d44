"""Performance, versions' records, health and metrics: each counted once more, in another way."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import evolve

from actors.journal.chain import seal
from actors.journal.store import DISK_ERRORS, FILE_NAME, LogStore
from protocol.errors import Outage
from protocol.events import JournalEntry
from protocol.times import EPOCH, from_wire
from server.door.app import make_app
from server.door.desk import Door
from server.door.health import escaped
from tests.server.clients import Ended, change, following, stream_url
from tests.server.doors import ROWS, show

Trade = dict[str, Any]


def at(trade: Trade) -> datetime:
    return from_wire(trade["ts"])


def expected(busy: Ended, begins: datetime | None, ends: datetime | None) -> dict[str, Any]:
    """Out of the trades and entries, as a person would count them."""
    trades = busy.of("trade")
    mids = {e["id"]: e["data"]["quote"]["mid"] for e in busy.of("journal_entry") if e["type"] == "EXECUTED"}
    chosen = [it for it in trades if (begins is None or at(it) >= begins) and (ends is None or at(it) < ends)]
    pnls = [it["pnl"] for it in chosen if it["pnl"] is not None]
    wins, losses = [it for it in pnls if it > 0], [it for it in pnls if it < 0]
    lost = sum(
        (it["price"] - mids[it["journal_ref"]]) * it["qty"] * (1 if it["side"] == "buy" else -1) for it in chosen
    )
    return {
        "trades": len(pnls),
        "executions": len(chosen),
        "win_rate": mean([it > 0 for it in pnls]),
        "average_win": mean(wins),
        "average_loss": mean(losses),
        "expectancy": mean(pnls),
        "fees": sum(it["fees"] for it in chosen),
        "slippage": lost,
        "slippage_bps": 10_000 * lost / sum(it["size"] for it in chosen) if chosen else None,
    }


def mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values else None


def held_hours(trades: list[Trade], begins: datetime, ends: datetime) -> float:
    """Hour by hour, how many positions are open."""
    hours, total, hour = 0, 0, begins
    while hour < ends:
        open_now = {it["pair"] for it in trades if it["side"] == "buy" and at(it) <= hour}
        for pair in open_now:
            last = [it for it in trades if it["pair"] == pair and at(it) <= hour][-1]
            hours += last["side"] == "buy"
        total, hour = total + 1, hour + timedelta(hours=1)
    return hours / total


WINDOWS = [
    (None, None), ("2024-03-05T00:00:00.000Z", None), (None, "2024-03-20T12:00:00.000Z"),
    ("2024-03-08T06:00:00.000Z", "2024-03-16T18:00:00.000Z"), ("2024-03-08T06:00:00.000Z", "2024-03-08T07:00:00.000Z"),
    ("2030-01-01T00:00:00.000Z", None), (None, "2000-01-01T00:00:00.000Z"),
]  # fmt: skip


@pytest.mark.parametrize(("begin", "end"), WINDOWS)
def test_performance_is_what_the_trades_and_the_equity_say(busy: Ended, begin: str | None, end: str | None) -> None:
    query = "&".join(f"{name}={value}" for name, value in {"from": begin, "to": end}.items() if value)
    found = busy.get(f"/performance?{query}").json()
    begins, ends = from_wire(begin) if begin else None, from_wire(end) if end else None
    for name, value in expected(busy, begins, ends).items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=2e-8, rel=1e-6)), name
    curve = busy.of("snapshot")
    before = [it["equity"] for it in curve if begins is not None and from_wire(it["ts"]) < begins]
    within = [
        it for it in curve if (begins is None or from_wire(it["ts"]) >= begins) and (end is None or it["ts"] < end)
    ]
    if not within and not before:
        assert (found["initial"], found["final"], found["return"], found["exposure"]) == (None, None, None, None)
        return
    assert found["initial"] == (before[-1] if before else 1000)
    assert found["final"] == (within[-1]["equity"] if within else before[-1])
    assert found["return"] == pytest.approx(found["final"] / found["initial"] - 1, abs=1e-8)
    if within and len(within) > 1:
        first = begins or from_wire(curve[0]["ts"]) - timedelta(hours=1)
        assert found["exposure"] == pytest.approx(
            held_hours(busy.of("trade"), first, from_wire(within[-1]["ts"])), abs=1e-9
        )


def test_asked_again_it_says_the_same(busy: Ended) -> None:
    assert busy.get("/performance").content == busy.get("/performance?phase=paper").content


def test_a_book_that_was_never_open_has_no_figures(busy: Ended) -> None:
    found = busy.get("/performance?phase=live").json()
    assert {name for name, value in found.items() if value} == {"seq", "phase"}


def test_every_version_has_its_own_record(changeable: Ended) -> None:
    before = changeable.get("/config/versions").json()
    change(changeable.base, {"snapshot_minutes": before[-1]["config"]["snapshot_minutes"] % 1440 + 1})
    *old, last, new = changeable.get("/config/versions").json()
    assert old == before[:-1]
    assert (last["record"]["to"], new["record"]["to"]) == (new["ts"], None)
    assert new["record"]["executions"] == 0
    assert new["record"]["return"] == 0
    assert new["record"]["initial"] == new["record"]["final"] == changeable.get("").json()["equity"]
    versions = [*old, last, new]
    assert sum(it["record"]["executions"] for it in versions) == len(changeable.of("trade"))
    whole = changeable.get("/performance").json()
    assert versions[0]["record"]["initial"] == whole["initial"]
    assert sum(it["record"]["fees"] for it in versions) == pytest.approx(whole["fees"])
    assert {it["record"] for it in changeable.get("/config/versions?phase=live").json()} == {None}


# --- health and metrics

SAMPLE = re.compile(r'(forestay_\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
FLOORS = [
    "Journal", "QuoteVerifier", "RiskEngine", "TwakSigner", "Executor", "Strategist", "MarketFeed", "Broadcaster",
]  # fmt: skip


def metrics_of(client: httpx.Client) -> dict[str, float]:
    """By name and labels, as they stand."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    found, kinds = dict[str, float](), dict[str, str]()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kinds[name] = line.split(" ")
        elif not line.startswith("# HELP "):
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1] in kinds
            assert (kinds[sample[1]] == "counter") == sample[1].endswith("_total")
            key = line.rsplit(" ", 1)[0]
            assert key not in found
            found[key] = float(sample[3])
    return found


def test_metrics_say_what_the_agent_and_its_health_say(busy: Ended) -> None:
    found, agent, health = metrics_of(busy.client), busy.get("").json(), busy.get("/health").json()
    assert found['forestay_state{state="running"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("forestay_state{")) == 1
    assert found[f'forestay_status{{status="{agent["status"]}"}}'] == 1
    assert found['forestay_equity_usdt{phase="paper"}'] == agent["equity"]
    last = busy.of("snapshot")[-1]
    assert found['forestay_drawdown_ratio{phase="paper"}'] == pytest.approx(last["dd_from_peak"], abs=1e-8)
    assert found['forestay_daily_drawdown_used_ratio{phase="paper"}'] == pytest.approx(last["daily_dd_used"], abs=1e-8)
    for limit in busy.get("/risk/objectives").json():
        labels = f'{{rule="{limit["rule"]}"}}'
        assert found[f"forestay_rule_current{labels}"] == limit["current"]
        assert found[f"forestay_rule_limit{labels}"] == limit["limit"]
        if limit["headroom_pct"] is None:
            assert f"forestay_rule_headroom_ratio{labels}" not in found
        else:
            assert found[f"forestay_rule_headroom_ratio{labels}"] == pytest.approx(
                limit["headroom_pct"] / 100, abs=1e-8
            )
    assert (found["forestay_log_seq"], found["forestay_log_row"]) == (busy.head, health["log"]["row"])
    assert found["forestay_log_bytes"] == health["log"]["bytes"] > 100_000
    for actor in health["actors"]:
        labels = f'{{actor="{actor["name"]}"}}'
        assert found[f"forestay_mailbox_capacity{labels}"] == actor["capacity"]
        assert found[f"forestay_actor_restarts_total{labels}"] == actor["restarts"] == 0
        assert 0 <= found[f"forestay_actor_silence_seconds{labels}"] < 10
        assert found[f"forestay_mailbox_messages{labels}"] <= actor["capacity"]
    assert [value for name, value in found.items() if name.startswith("forestay_outage{")] == [0, 0, 0, 0]
    assert not [name for name in found if "guard_" in name]


def test_health_has_every_floor_and_is_well(busy: Ended) -> None:
    health = busy.get("/health").json()
    assert [actor["name"] for actor in health["actors"]] == FLOORS
    assert [actor["last_error"] for actor in health["actors"]] == [None] * len(FLOORS)
    assert (health["state"], health["outages"], health["guard"]) == ("running", [], None)
    assert (health["log"]["seq"], health["log"]["behind"]) == (busy.head, 0)


async def test_health_and_metrics_know_who_listens_and_how_far_they_are(busy: Ended) -> None:
    async with following(stream_url(busy.base, 0), stream_url(busy.base)) as (first, second):
        await first.has(busy.head)
        clients = busy.get("/health").json()["clients"]
        assert len(clients) == 2
        assert all(client["seq"] + client["behind"] == busy.head for client in clients)
        assert metrics_of(busy.client)["forestay_stream_clients"] == 2
        assert second.frames == []
    while busy.get("/health").json()["clients"]:
        assert busy.daemon.running


RESTARTS = [
    ("RiskEngine", "ValueError", 1),
    ("Executor", "KeyError", 2),
    ("RiskEngine", "OSError", 3),
]


async def test_health_has_each_actors_last_death_as_it_was_journaled(young: Door, tmp_path: Path) -> None:
    entries = [
        JournalEntry(
            EPOCH, f"jrn_{number}", "ACTOR_RESTARTED", (actor,), f"{actor} died of {error}.",
            {"actor": actor, "error": error, "place": f"rules.py:{number}"},
        )
        for actor, error, number in RESTARTS
    ]  # fmt: skip
    store = LogStore(tmp_path / FILE_NAME, log_id="log_test")
    sealed, _ = seal(entries, store.head)
    store.append(sealed)
    store.close()
    show(young, *ROWS, *sealed)
    young.board.ready.set()
    health = await (await make_app(young).test_client().get("/agents/seed/health")).get_json()
    errors = {actor["name"]: actor["last_error"] for actor in health["actors"]}
    assert errors["RiskEngine"] == {
        "ts": "1970-01-01T00:00:00.000Z", "error": "OSError", "place": "rules.py:3", "journal_ref": "jrn_3",
    }  # fmt: skip
    assert errors["Executor"]["journal_ref"] == "jrn_2"
    assert errors["Journal"] is None
    assert health["state"] == "starting"


async def test_metrics_are_told_before_the_log_is_read_and_while_it_cannot_be(young: Door) -> None:
    async def failing(_: Any) -> Any:
        raise DISK_ERRORS[0]("no disk")

    young.board.outages["disk"] = Outage("disk", 'no "disk"')
    for door in (young, evolve(young, reading=failing)):
        text = await (await make_app(door).test_client().get("/metrics")).get_data(as_text=True)
        assert 'forestay_outage{what="disk"} 1\n' in text
        assert 'forestay_state{state="degraded"} 1\n' in text
        assert ("forestay_log_seq" in text) == (door is young)
        assert "forestay_equity" not in text


def test_a_labels_value_is_escaped() -> None:
    assert escaped('a "b" \\ c\nd') == r"a \"b\" \\ c\nd"
