"""What REST answers, held against the contract and against the log itself, on a running daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.journal.chain import Head, seal
from protocol.codec import read_document
from protocol.errors import Outage
from protocol.schema import indicators_document, strategy_schema
from protocol.times import EPOCH
from server.door.app import make_app
from server.door.bodies import KillBody
from server.door.desk import Door
from tests.server.clients import JSON, PATIENCE, Answer, Ended, ask, at_the_end, change, client_of, frames_in
from tests.server.doors import ROWS, SNAPSHOT_ROW, show
from tests.server.markets import BARS, PAIRS, busy_flags, end_of
from tests.world.daemon import DaemonProcess

Check = Callable[[Any], bool]
Shape = dict[str, Check]


def text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def instant(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value) is not None


def table(value: Any) -> bool:
    return isinstance(value, dict)


def counts(value: Any) -> bool:
    return isinstance(value, dict) and all(text(name) and count(number) for name, number in value.items())


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def pair(value: Any) -> bool:
    return value in PAIRS


def one_of(*values: Any) -> Check:
    return lambda value: value in values


def nullable(check: Check) -> Check:
    return lambda value: value is None or check(value)


def list_of(shape: Shape) -> Check:
    return lambda value: (
        isinstance(value, list) and value != [] and not [m for item in value for m in misses(item, shape)]
    )


def misses(value: dict[str, Any], shape: Shape) -> list[str]:
    """The fields that are not there, or are not what they should be."""
    return [
        f"{name} = {value.get(name, 'missing')!r}"
        for name, check in shape.items()
        if name not in value or not check(value[name])
    ]


STATUS = one_of("PAPER", "ELIGIBLE", "LIVE", "DEMOTED")
PHASE = one_of("paper", "live")
SIDE = one_of("buy", "sell")
OBJECTIVE: Shape = {"rule": text, "current": number, "limit": number, "met": flag, "headroom_pct": nullable(number)}
AGENT: Shape = {
    "id": one_of("seed"),
    "name": text,
    "status": STATUS,
    "phase": PHASE,
    "market_mode": one_of("spot"),
    "last_heartbeat": instant,
    "log_id": text,
}
SNAPSHOT: Shape = {
    "ts": instant, "seq": count, "equity": number, "phase": PHASE, "dd_from_peak": number, "daily_dd_used": number,
}  # fmt: skip
TRADE: Shape = {
    "event": one_of("trade"), "ts": instant, "seq": count, "pair": pair, "side": SIDE, "size": number, "price": number,
    "pnl": nullable(number), "fees": number, "phase": PHASE, "journal_ref": text, "qty": number,
}  # fmt: skip
ENTRY: Shape = {
    "event": one_of("journal_entry"), "ts": instant, "seq": count, "id": lambda v: text(v) and v.startswith("jrn_"),
    "type": one_of("EXECUTED", "SKIPPED", "RISK_VETO", "RISK_BREACH", "STATUS_CHANGE", "STARTED"), "tags": texts,
    "text": text, "data": table,
}  # fmt: skip
BLOCK: Shape = {
    "ts": instant, "seq": count, "layer": one_of("policy"),
    "rule": one_of("max_concurrent", "daily_drawdown", "max_drawdown", "streak_limit"), "reason": text,
    "order_ref": text, "pair": pair, "side": one_of("buy"), "size": number,
}  # fmt: skip
POSITION: Shape = {
    "pair": pair, "phase": PHASE, "qty": number, "price": number, "value": number, "opened_at": instant,
    "entry_price": number, "cost": number, "unrealized_pnl": number,
}  # fmt: skip
EVENT: Shape = {"event": text, "ts": instant, "seq": count}
VERSION: Shape = {"version": count, "ts": instant, "config": table}
EVALUATION: Shape = {
    "state": one_of("EVALUATING", "WINDOW_EXTENDED", "ELIGIBLE", "FAILED"), "eligible": flag,
    "window_days_elapsed": number, "eval_window_days": one_of(3), "trade_floor": one_of(4), "closed_trades": count,
    "objectives": list_of({"rule": text, "current": number, "limit": number, "met": flag}),
}  # fmt: skip
EXITS: Shape = {
    "signals": count, "quotes_accepted": count, "waiting": count, "filled": count, "by_code": counts,
    "unfilled": counts,
}  # fmt: skip
WAY: Shape = {
    **EXITS, "after_regime": count, "after_fees": count, "risk_passed": count,
    "exits": lambda value: table(value) and not misses(value, EXITS),
}  # fmt: skip
FUNNEL: Shape = {
    **WAY, "from": nullable(instant), "to": nullable(instant),
    "pairs": lambda value: set(value) == set(PAIRS) and list_of(WAY)(list(value.values())),
}  # fmt: skip
CHECK: Shape = {
    "rule": text, "measured": number, "limit": number, "passes": flag, "headroom_pct": nullable(number),
    "reason": nullable(text), "until": nullable(instant),
}  # fmt: skip
CHECKED: Shape = {
    "passes": flag, "rule": nullable(text), "reason": nullable(text), "at": instant, "checks": list_of(CHECK),
}  # fmt: skip
CONFIG: Shape = {
    "watchlist": texts, "strategy": table, "quotes": table, "risk": table, "evaluation": table, "paper": table,
}  # fmt: skip

LISTS: dict[str, Shape] = {
    "/equity?limit=5000": SNAPSHOT,
    "/trades": TRADE,
    "/journal": ENTRY,
    "/risk/blocks": BLOCK,
    "/risk/objectives": OBJECTIVE,
    "/positions": POSITION,
    "/events?limit=5000": EVENT,
    "/config/versions": VERSION,
}
DOCUMENTS: dict[str, Shape] = {"": AGENT, "/evaluation": EVALUATION, "/config": CONFIG, "/funnel": FUNNEL}
PAGED = {"/equity": "snapshot", "/trades": "trade", "/journal": "journal_entry", "/risk/blocks": "risk_veto"}
# A list, its page size, and the filters that must survive paging.
PAGES = [
    "/equity?limit=100",
    "/equity?limit=7&interval=1d",
    "/equity?limit=25&from=2024-03-05T00:00:00Z&to=2024-03-09T00:00:00%2B02:00",
    "/trades?limit=7&phase=paper",
    "/journal?limit=20",
    "/journal?limit=3&type=SKIPPED&tag=ETH/USDT",
    "/journal?limit=5&q=Lost+",
    "/risk/blocks?limit=9",
    "/events?limit=250",
]


# --- shapes


@pytest.mark.parametrize("path", LISTS)
def test_every_item_of_a_list_has_the_fields_of_the_contract(busy: Ended, path: str) -> None:
    answer = busy.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json(), "nothing was looked at"
    assert [miss for item in answer.json() for miss in misses(item, LISTS[path])] == []


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_document_has_the_fields_of_the_contract(busy: Ended, path: str) -> None:
    assert misses(busy.get(path).json(), DOCUMENTS[path]) == []


def test_the_list_of_agents_holds_the_one_agent(busy: Ended) -> None:
    (agent,) = busy.client.get("/agents").json()
    assert misses(agent, AGENT) == []
    assert agent["seq"] == busy.head


def test_only_closing_trades_carry_an_outcome(busy: Ended) -> None:
    for trade in busy.get("/trades").json():
        closing = trade["side"] == "sell"
        assert (trade["pnl"] is not None) == closing
        assert ("hold_s" in trade) == ("return" in trade) == closing
        assert not closing or (count(trade["hold_s"]) and number(trade["return"]))


def test_the_objectives_are_the_limits_of_the_policy_and_the_criteria_of_the_evaluation(busy: Ended) -> None:
    limits = {objective["rule"]: objective for objective in busy.get("/risk/objectives").json()}
    assert {rule: limits[rule]["limit"] for rule in limits} == {
        "daily_drawdown": 0.03, "max_drawdown": 0.12, "streak_limit": 2, "max_concurrent": 1, "per_pair_exposure": 1,
    }  # fmt: skip
    for rule, objective in limits.items():
        current, limit, headroom = objective["current"], objective["limit"], objective["headroom_pct"]
        if rule in ("streak_limit", "max_concurrent"):
            assert headroom is None
        else:
            assert headroom == pytest.approx(100 * (limit - current) / limit, abs=1e-5)
    (position,) = busy.get("/positions").json()
    assert limits["max_concurrent"]["current"] == 1
    share = position["value"] / busy.get("").json()["equity"]
    assert limits["per_pair_exposure"]["current"] == pytest.approx(share, abs=1e-8)
    evaluation = busy.get("/evaluation").json()
    assert {o["rule"] for o in evaluation["objectives"]} == {"expectancy", "trade_floor", "max_drawdown"}
    assert evaluation["eligible"] == (evaluation["state"] == "ELIGIBLE")


def test_the_open_position_is_the_one_that_the_trades_leave_open(busy: Ended) -> None:
    (position,) = busy.get("/positions").json()
    last = busy.of("trade")[-1]
    assert last["side"] == "buy"
    assert (position["pair"], position["qty"], position["opened_at"]) == (last["pair"], last["qty"], last["ts"])
    assert position["entry_price"] == last["price"]
    assert position["cost"] == pytest.approx(last["size"] + last["fees"], abs=1e-7)
    assert position["value"] == pytest.approx(position["qty"] * position["price"], abs=1e-6)
    assert position["unrealized_pnl"] == pytest.approx(position["value"] - position["cost"], abs=1e-7)
    assert busy.get("").json()["equity"] == pytest.approx(cash_of(busy) + position["value"], abs=1e-6)


def cash_of(ended: Ended) -> float:
    """What the trades have left of 1,000 USDT."""
    cash = 1000.0
    for trade in ended.of("trade"):
        cash += (trade["size"] if trade["side"] == "sell" else -trade["size"]) - trade["fees"]
    return cash


def test_lists_are_what_the_log_holds(busy: Ended) -> None:
    assert busy.get("/events?limit=5000").json() == busy.events
    assert busy.get("/equity?limit=5000").json() == busy.of("snapshot")
    assert busy.get("/trades?limit=5000").json() == busy.of("trade")
    assert busy.get("/journal?limit=5000").json() == busy.of("journal_entry")[::-1]
    names = ("ts", "seq", "rule", "reason", "order_ref", "pair", "side", "size")
    vetoes = [{"layer": "policy"} | {name: veto[name] for name in names} for veto in busy.of("risk_veto")]
    assert busy.get("/risk/blocks?limit=5000").json() == vetoes


def test_events_page_by_since(busy: Ended) -> None:
    found: list[Any] = []
    while page := busy.get(f"/events?since={len(found)}&limit=400").json():
        assert len(page) <= 400
        found += page
    assert found == busy.events
    assert len(busy.get("/events").json()) == 500


def test_current_is_the_agent(busy: Ended) -> None:
    for path in [*LISTS, "/evaluation", "/config", "/watchlist", "/funnel"]:
        by_name = busy.client.get(f"/agents/seed{path}")
        assert by_name.status_code == 200, path
        assert by_name.content == busy.get(path).content, path
    assert busy.client.get("/agents/seed").json()["id"] == busy.get("").json()["id"] == "seed"


@pytest.mark.parametrize("path", [*LISTS, "/watchlist", "/config", "/evaluation", "/funnel", ""])
def test_every_answer_names_the_log_and_the_position_it_reflects(busy: Ended, path: str) -> None:
    headers = busy.get(path).headers
    assert headers["x-last-seq"] == str(busy.head)
    assert headers["x-log-id"] == busy.get("").json()["log_id"]


def test_no_list_claims_a_position_that_the_log_has_not_reached(busy: Ended) -> None:
    answer = busy.get(f"/events?since={busy.head + 1000}")
    assert answer.json() == []
    assert int(answer.headers["x-last-seq"]) <= busy.head


def test_a_running_daemon_is_alive_and_ready(busy: Ended) -> None:
    for path, status in {"/healthz": "ok", "/readyz": "ready"}.items():
        answer = busy.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status})


# --- paging


def pages(base: str, path: str) -> Iterator[httpx.Response]:
    """A list's pages, as their Link headers lead."""
    target: str | None = f"/agents/current{path}"
    with client_of(base) as client:
        while target is not None:
            answer = client.get(target)
            assert answer.status_code == 200
            yield answer
            target = answer.links.get("next", {}).get("url")


@pytest.mark.parametrize("path", PAGES)
def test_all_pages_together_are_one_big_page(busy: Ended, path: str) -> None:
    size = int(re.findall(r"limit=(\d+)", path)[0])
    found = [answer.json() for answer in pages(busy.base, path)]
    assert len(found) > 1
    assert all(isinstance(page, list) and 0 < len(page) <= size for page in found)
    assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
    whole = busy.get(re.sub(r"limit=\d+", "limit=5000", path))
    assert [item for page in found for item in page] == whole.json()
    assert "next" not in whole.links


def test_a_page_has_500_items_by_default_and_5000_at_most(busy: Ended) -> None:
    first = busy.get("/equity")
    assert len(first.json()) == 500 < BARS
    assert "next" in first.links
    assert len(busy.get("/equity?limit=5000").json()) == BARS
    assert busy.get("/equity?limit=5001").status_code == 422


def test_a_page_that_holds_the_last_item_names_no_next(busy: Ended) -> None:
    trades = len(busy.of("trade"))
    assert "next" not in busy.get(f"/trades?limit={trades}").links
    assert "next" in busy.get(f"/trades?limit={trades - 1}").links


def test_pages_keep_the_first_ones_position_while_the_log_grows(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = start_daemon(*busy_flags(tmp_path, speed="150"))
    base = daemon.ready()
    while daemon.get("/agents/current").json()["seq"] < 60:
        assert daemon.running
    found, positions = list[Any](), set[str]()
    for page in pages(base, "/equity?limit=5"):
        found += page.json()
        positions.add(page.headers["x-last-seq"])
        while daemon.get("/agents/current").json()["seq"] <= found[-1]["seq"] + 60:
            assert daemon.running
    (pinned,) = positions
    assert daemon.get("/agents/current").json()["seq"] > int(pinned)
    events = [json.loads(frame) for frame in frames_in(daemon.data_dir)[: int(pinned)]]
    assert found == [event for event in events if event["event"] == "snapshot"]


# --- filters


def tags_of(busy: Ended) -> set[str]:
    return {tag for entry in busy.of("journal_entry") for tag in entry["tags"]}


def test_the_journal_is_filtered_by_type_and_tag(busy: Ended) -> None:
    entries = busy.of("journal_entry")[::-1]
    types = {entry["type"] for entry in entries}
    assert types >= {"EXECUTED", "SKIPPED", "RISK_VETO", "RISK_BREACH", "STATUS_CHANGE", "STARTED"}
    for entry_type in (*types, "KILL"):
        wanted = [entry for entry in entries if entry["type"] == entry_type]
        assert busy.get(f"/journal?limit=5000&type={entry_type}").json() == wanted
    for entry_type in ("NONESUCH", "executed", "SKIPPED,KILL"):
        refused = busy.get(f"/journal?type={entry_type}")
        assert (refused.status_code, refused.json()["code"]) == (422, "VALIDATION_ERROR")
        assert refused.json()["detail"].startswith(f"type = '{entry_type}': must be one of EXECUTED, ")
    for tag in (*tags_of(busy), "nonesuch", "ETH"):
        wanted = [entry for entry in entries if tag in entry["tags"]]
        assert busy.get(f"/journal?limit=5000&tag={quote(tag)}").json() == wanted
    both = [entry for entry in entries if entry["type"] == "SKIPPED" and "repeats" in entry["tags"]]
    assert both
    assert busy.get("/journal?limit=5000&type=SKIPPED&tag=repeats").json() == both


@pytest.mark.parametrize("words", ["drawdown", "DRAWDOWN", "%", "_", "'", "2024-03-0", "no such words"])
def test_the_journal_is_searched_for_words_as_they_are(busy: Ended, words: str) -> None:
    wanted = [e for e in busy.of("journal_entry")[::-1] if words.lower() in e["text"].lower()]
    assert busy.get(f"/journal?limit=5000&q={quote(words)}").json() == wanted


def test_trades_are_filtered_by_phase(busy: Ended) -> None:
    trades = busy.of("trade")
    assert len(trades) > 20
    for phase, wanted in {"paper": trades, "all": trades, "live": []}.items():
        assert busy.get(f"/trades?limit=5000&phase={phase}").json() == wanted


@pytest.mark.parametrize("path", PAGED)
def test_from_is_inclusive_and_to_is_exclusive(busy: Ended, path: str) -> None:
    items = busy.of(PAGED[path])
    first, last = items[len(items) // 3]["ts"], items[2 * len(items) // 3]["ts"]
    found = busy.get(f"{path}?limit=5000&from={first}&to={last}").json()
    wanted = [item["seq"] for item in items if first <= item["ts"] < last]
    assert sorted(item["seq"] for item in found) == wanted
    assert wanted


def test_times_may_be_written_in_any_zone(busy: Ended) -> None:
    wanted = [item for item in busy.of("snapshot") if item["ts"] >= "2024-03-20T12:00:00.000Z"]
    for same in (
        "2024-03-20T12:00:00Z",
        "2024-03-20T12:00",
        "2024-03-20T14:00:00%2B02:00",
        "2024-03-20T14:00:00+02:00",
    ):
        assert busy.get(f"/equity?limit=5000&from={same}").json() == wanted, same


@pytest.mark.parametrize(("interval", "hours"), [("15m", 0.25), ("1h", 1), ("4h", 4), ("1d", 24)])
def test_an_interval_shows_the_last_snapshot_of_each_bucket(busy: Ended, interval: str, hours: float) -> None:
    last: dict[int, Any] = {}
    for item in busy.of("snapshot"):
        last[(datetime.fromisoformat(item["ts"]) - EPOCH) // timedelta(hours=hours)] = item
    assert busy.get(f"/equity?limit=5000&interval={interval}").json() == list(last.values())


# --- what cannot be answered

IMPOSSIBLE_QUERIES = [
    *(("/equity", "limit", value) for value in ("0", "5001", "-1", "1.5", "many", "", "٣", "9" * 30)),
    *(("/trades", "cursor", value) for value in ("abc", "17", "1.2.3", "-1.5", ".", "")),
    *(("/journal", "from", value) for value in ("yesterday", "1969-12-31T23:59:59Z", "0001-01-01T00:00%2B23:00", "")),
    *(("/risk/blocks", "to", value) for value in ("2024-13-01", "12", "9999-12-31T23:59:59-23:00")),
    *(("/equity", "interval", value) for value in ("2h", "1D", "")),
    *(("/trades", "phase", value) for value in ("both", "PAPER", "")),
    *(("/events", "since", value) for value in ("-1", "soon", "1e3", "")),
    *(("/events", "limit", value) for value in ("0", "5001")),
    *(("/funnel", "pair", value) for value in ("DOGE/USDT", "eth/usdt", "ETH", "")),
    *(("/funnel", "from", value) for value in ("yesterday", "")),
    *(("/funnel", "to", value) for value in ("1969-12-31T23:59:59Z", "2024-02-30")),
    *(("/preflight", "force", value) for value in ("yes", "TRUE", "")),
]


@pytest.mark.parametrize(("path", "name", "value"), IMPOSSIBLE_QUERIES)
def test_an_impossible_parameter_is_named(busy: Ended, path: str, name: str, value: str) -> None:
    answer = busy.get(f"{path}?{name}={value}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "VALIDATION_ERROR"
    assert answer.json()["detail"].startswith(f"{name} = ")


def test_a_problem_is_a_problem_document(busy: Ended) -> None:
    problem = busy.get("/equity?limit=0").json()
    assert misses(problem, {"type": text, "title": text, "status": count, "detail": text, "code": text}) == []
    assert problem["status"] == 422


@pytest.mark.parametrize("path", [*LISTS, *DOCUMENTS, "/watchlist"])
def test_an_unknown_agent_is_not_found(busy: Ended, path: str) -> None:
    answer = busy.client.get(f"/agents/nobody{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "AGENT_NOT_FOUND")
    assert "'nobody'" in answer.json()["detail"]
    assert "'seed'" in answer.json()["detail"]


STRANGE = [
    ("GET", "/nowhere", 404, "NOT_FOUND"),
    ("GET", "/agents/current/nowhere", 404, "NOT_FOUND"),
    ("GET", "/agents/current/equity/", 404, "NOT_FOUND"),
    ("GET", "/ws/agents/current", 404, "NOT_FOUND"),
    ("POST", "/nowhere", 404, "NOT_FOUND"),
    ("GET", "/agents//current", 404, "NOT_FOUND"),
    ("POST", "/agents/nobody/config", 405, "METHOD_NOT_ALLOWED"),
    ("DELETE", "/agents/current/config", 405, "METHOD_NOT_ALLOWED"),
    ("PUT", "/agents", 405, "METHOD_NOT_ALLOWED"),
    ("BREW", "/agents", 405, "METHOD_NOT_ALLOWED"),
    ("GET", "/agents/current/risk/check", 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/agents/current/funnel", 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/indicators", 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/agents/nobody/risk/check", 404, "AGENT_NOT_FOUND"),
    ("PATCH", "/agents/nobody/config", 404, "AGENT_NOT_FOUND"),
    ("PUT", "/agents/nobody/watchlist", 404, "AGENT_NOT_FOUND"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), STRANGE)
def test_an_unknown_path_or_method_is_a_problem(busy: Ended, method: str, path: str, status: int, code: str) -> None:
    answer = ask(busy.base, method, path, JSON if method != "GET" else {}, b"{}" if method != "GET" else b"")
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    ("path", "allowed"), [("promote", {"POST", "OPTIONS"}), ("config", {"GET", "HEAD", "PATCH", "OPTIONS"})]
)
def test_what_is_said_to_be_allowed_is_what_there_is(busy: Ended, path: str, allowed: set[str]) -> None:
    for method in ("OPTIONS", "PUT"):
        answer = ask(busy.base, method, f"/agents/current/{path}", JSON)
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("reason", "kept"), [("", "by the API"), ("  I saw smoke ", "I saw smoke"), ("x" * 600, "x" * 500)]
)
def test_a_kill_is_not_refused_for_its_words(reason: str, kept: str) -> None:
    assert read_document({"confirm": "revoke signing", "reason": reason}, KillBody).reason == kept


MALFORMED = [b"", b"{", b"{'a': 1}", b"NaN", b"\xff\xfe", b'{"a": 1} x', b'"\\ud800"', b'{"a": 01}']


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize(("method", "path"), [("PATCH", "/config"), ("PUT", "/watchlist"), ("POST", "/risk/check")])
def test_a_body_that_is_no_json_is_malformed(busy: Ended, method: str, path: str, body: bytes) -> None:
    answer = ask(busy.base, method, f"/agents/current{path}", JSON, body)
    assert (answer.status, answer.code) == (400, "MALFORMED_JSON")


# Each is JSON by its grammar, and too much for something on its way.
EXTREME = {
    "nested without end": b"[" * 100_000,
    "nested, and closed": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "nested as deep as is read": b'{"a":' * 900 + b"1" + b"}" * 900,
    "an exponent beyond all": b'{"snapshot_minutes": 1e999999999999999999999}',
    "an exponent far beyond": b'{"snapshot_minutes": 1e5000}',
    "digits without end": b'{"snapshot_minutes": 1' + b"0" * 5000 + b"}",
    "a tiny number": b'{"risk": {"max_drawdown_pct": 1e-400}}',
    "a key without end": b'{"' + b"k" * 100_000 + b'": 1}',
}


@pytest.mark.parametrize("body", EXTREME.values(), ids=EXTREME.keys())
def test_an_extreme_body_is_the_clients_mistake(changeable: Ended, body: bytes) -> None:
    answer = ask(changeable.base, "PATCH", "/agents/current/config", JSON, body)
    assert answer.status in (400, 422)
    assert answer.code is not None


def test_a_huge_exponent_does_not_hold_up_the_daemon(start_daemon: Callable[..., DaemonProcess]) -> None:
    base = start_daemon("--seed", "7").ready()
    with httpx.Client(base_url=base, headers=JSON, timeout=5) as client:
        for number in ("1e1000000", "-1e1000000", "1e-1000000"):
            answer = client.patch("/agents/current/config", content=f'{{"snapshot_minutes": {number}}}')
            assert answer.status_code == 422
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_a_body_of_another_type_is_refused(busy: Ended, kind: str | None) -> None:
    answer = ask(busy.base, "PATCH", "/agents/current/config", {"Content-Type": kind}, b"{}")
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_that_is_too_large_is_refused(busy: Ended) -> None:
    body = b" " * 300_000 + b"{}"
    for content in (body, iter([body[:200_000], body[200_000:]])):  # announced, and in chunks
        answer = httpx.patch(f"{busy.base}/agents/current/config", content=content, headers=JSON, timeout=PATIENCE)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


# --- the config


def config_of(ended: Ended) -> Any:
    return ended.get("/config").json()


def versions_of(ended: Ended) -> int:
    return len(ended.get("/config/versions").json())


def test_a_patch_merges_and_is_a_new_version_with_a_fresh_evaluation(changeable: Ended) -> None:
    before, versions = config_of(changeable), versions_of(changeable)
    answer = change(changeable.base, {"risk": {"cooldown_hours": 9}, "snapshot_minutes": 30})
    expected = before | {"risk": before["risk"] | {"cooldown_hours": 9}, "snapshot_minutes": 30}
    assert (answer.status, answer.json) == (200, expected)
    assert config_of(changeable) == expected
    history = changeable.get("/config/versions").json()
    assert [item["version"] for item in history] == list(range(1, versions + 2))
    assert history[-1]["config"] == expected
    assert history[-2]["config"] == before
    entry = changeable.get("/journal?type=CONFIG_CHANGE&limit=1").json()[0]
    assert entry["data"]["version"] == versions + 1
    assert "risk" in entry["text"]
    assert "snapshot_minutes" in entry["text"]
    evaluation = changeable.get("/evaluation").json()
    assert (evaluation["window_days_elapsed"], evaluation["closed_trades"]) == (0, 0)
    assert changeable.get("").json()["config_version"] == versions + 1


def test_a_patch_that_changes_nothing_makes_no_version(changeable: Ended) -> None:
    before, position = config_of(changeable), changeable.get("").json()["seq"]
    versions = versions_of(changeable)
    sames: list[Any] = [{}, before, {"risk": {}}, {"snapshot_minutes": before["snapshot_minutes"]}]
    for same in sames:
        answer = change(changeable.base, same)
        assert (answer.status, answer.json) == (200, before)
    assert versions_of(changeable) == versions
    assert changeable.get("").json()["seq"] == position


def test_null_removes_a_value_and_so_brings_back_its_default(changeable: Ended) -> None:
    change(changeable.base, {"quotes": {"max_age_seconds": 60}, "paper": {"fee_bps": 30}})
    answer = change(changeable.base, {"quotes": {"max_age_seconds": None}, "paper": None})
    assert answer.status == 200
    assert answer.json["quotes"]["max_age_seconds"] == 5400
    assert answer.json["paper"]["fee_bps"] == 25


def test_a_list_is_replaced_whole(changeable: Ended) -> None:
    conditions = [{"indicator": "rsi", "op": "<", "value": 20, "window": 10}]
    answer = change(changeable.base, {"strategy": {"spec": {"signals": {"entry": {"all_of": conditions}}}}})
    assert answer.json["strategy"]["spec"]["signals"]["entry"]["all_of"] == conditions
    assert answer.json["strategy"]["spec"]["name"] == "often"


# max_drawdown_pct, daily_drawdown_pct, max_consecutive_losses, eval_window_days, trade_floor
PRESETS = {"conservative": (15, 5, 3, 14, 15), "balanced": (20, 8, 4, 7, 10), "aggressive": (25, 12, 5, 5, 8)}


def limits_of(config: Any) -> tuple[Any, ...]:
    risk, evaluation = config["risk"], config["evaluation"]
    return (
        risk["max_drawdown_pct"], risk["daily_drawdown_pct"], risk["max_consecutive_losses"],
        evaluation["eval_window_days"], evaluation["trade_floor"],
    )  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_all_of_its_limits(changeable: Ended, preset: str) -> None:
    answer = change(changeable.base, {"risk": {"preset": preset}})
    assert answer.status == 200
    assert limits_of(answer.json) == PRESETS[preset]
    assert answer.json["risk"]["preset"] == preset
    assert limits_of(config_of(changeable)) == PRESETS[preset]


def test_a_limit_beside_a_preset_wins_over_it(changeable: Ended) -> None:
    answer = change(
        changeable.base, {"risk": {"preset": "aggressive", "daily_drawdown_pct": 4}, "evaluation": {"trade_floor": 99}}
    )
    assert limits_of(answer.json) == (25, 4, 5, 5, 99)


def spec_with(**changes: Any) -> Any:
    return {"strategy": {"spec": changes}}


def leaving_when(**condition: Any) -> Any:
    return spec_with(signals={"exit": {"any_of": [condition] if condition else []}})


IMPOSSIBLE: list[tuple[Any, str, str]] = [
    ({"bogus": 1}, "bogus = 1", "unknown key; valid keys are watchlist, strategy"),
    ({"risk": {"bogus": 1}}, "risk.bogus = 1", "unknown key; valid keys are preset"),
    ({"risk": 5}, "risk = 5", "must be a table of keys"),
    ({"risk": {"preset": "reckless"}}, "risk.preset = 'reckless'", "must be one of conservative, balanced, aggressive"),
    ({"risk": {"preset": ["balanced"]}}, "risk.preset = ['balanced']", "must be one of"),
    ({"risk": {"max_drawdown_pct": 0}}, "risk.max_drawdown_pct = 0", "must be from 0.1 to 99"),
    ({"risk": {"max_drawdown_pct": 100}}, "risk.max_drawdown_pct = 100", "must be from 0.1 to 99"),
    ({"risk": {"max_drawdown_pct": "15"}}, "risk.max_drawdown_pct = '15'", "must be a number"),
    ({"risk": {"max_drawdown_pct": True}}, "risk.max_drawdown_pct = True", "must be a number"),
    ({"risk": {"daily_drawdown_pct": 98.5}}, "risk.daily_drawdown_pct = 98.5", "must be below max_drawdown_pct"),
    ({"risk": {"max_consecutive_losses": 2.5}}, "risk.max_consecutive_losses = 2.5", "must be a whole number"),
    ({"risk": {"cooldown_hours": -1}}, "risk.cooldown_hours = -1", "must be from 1 to 8760"),
    ({"risk": {"per_pair_exposure_pct": 100.1}}, "risk.per_pair_exposure_pct = 100.1", "must be from 0.1 to 100"),
    ({"evaluation": {"eval_window_days": 0}}, "evaluation.eval_window_days = 0", "must be from 1 to 3650"),
    ({"evaluation": {"trade_floor": 0}}, "evaluation.trade_floor = 0", "must be from 1 to 100000"),
    ({"paper": {"initial_usdt": 0}}, "paper.initial_usdt = 0", "must be from 1 to"),
    ({"paper": {"fee_bps": 1001}}, "paper.fee_bps = 1001", "must be from 0 to 1000"),
    ({"quotes": {"max_impact_pct": 0}}, "quotes.max_impact_pct = 0", "must be from 0.01 to 50"),
    ({"quotes": {"max_age_seconds": 0}}, "quotes.max_age_seconds = 0", "must be from 1 to 604800"),
    ({"snapshot_minutes": 0}, "snapshot_minutes = 0", "must be from 1 to 1440"),
    ({"snapshot_minutes": 1441}, "snapshot_minutes = 1441", "must be from 1 to 1440"),
    ({"watchlist": None}, "watchlist", "is missing"),
    ({"watchlist": []}, "watchlist = ()", "at least one"),
    ({"watchlist": "ETH/USDT"}, "watchlist = 'ETH/USDT'", "must be a list of texts"),
    ({"watchlist": ["eth/usdt"]}, "watchlist = ('eth/usdt',)", "pairs like ETH/USDT"),
    ({"watchlist": ["ETH/USDT", "ETH/USDT"]}, "watchlist = ('ETH/USDT', 'ETH/USDT')", "different"),
    ({"watchlist": ["DOGE/USDT"]}, "watchlist = ['DOGE/USDT']", "this market has ETH/USDT, LTC/USDT"),
    ({"strategy": {"fee_multiple": -1}}, "strategy.fee_multiple = -1", "must be from 0 to 100"),
    ({"strategy": {"fee_multiple": 0}}, "strategy.fee_multiple = 0", "only a backtest may switch the fee filter off"),
    ({"risk": {"preset": "off"}}, 'risk.preset = "off"', "only a backtest may switch the risk rules off"),
    ({"risk": {"max_market_age_hours": 0.5}}, "risk.max_market_age_hours = 0.5", "candles are 1 h apart"),
    ({"paper": {"fill_at": "close"}}, "paper.fill_at = 'close'", "must be one of quote, next_open"),
    ({"paper": {"impact": None, "initial_usdt": 7}}, "paper.initial_usdt = 7", "the book began with 1000"),
    ({"quotes": {"pairs": {"DOGE/USDT": {}}}}, "quotes.pairs = ['DOGE/USDT']", "this market has ETH/USDT, LTC/USDT"),
    (
        {"quotes": {"pairs": {"ETH/USDT": {"max_age_seconds": 0}}}},
        "quotes.pairs[ETH/USDT].max_age_seconds = 0", "must be from 1 to",
    ),
    (spec_with(params={"stop_loss_pct": 100}), "strategy.spec.params.stop_loss_pct = 100", "from 0.01 to 99.99"),
    (spec_with(params={"max_concurrent": 0}), "strategy.spec.params.max_concurrent = 0", "must be from 1 to 100"),
    (spec_with(name=7), "strategy.spec.name = 7", "must be text"),
    (leaving_when(), "strategy.spec.signals.exit", "exactly one of all_of, any_of"),
    (
        leaving_when(indicator="magic", op="<", value=1, window=5),
        "strategy.spec.signals.exit.any_of[0].indicator = 'magic'", "must be one of price_vs_sma",
    ),
    (
        leaving_when(indicator="rsi", op="<", value=1, window=1),
        "strategy.spec.signals.exit.any_of[0].window = 1", "must be from 2 to 10000",
    ),
    (
        leaving_when(indicator="ema_cross", op=">", value=0, fast=9, slow=9),
        "strategy.spec.signals.exit.any_of[0].fast = 9", "must be below slow (9)",
    ),
    (
        leaving_when(indicator="series", op=">", value=0, name="fng"),
        "strategy.spec.signals.exit.any_of[0].name = 'fng'", "this market has no series",
    ),
    (
        spec_with(regime_filter={"stand_aside_when": [{"indicator": "rsi", "op": ">", "value": 101, "window": 3}]}),
        "strategy.spec.regime_filter.stand_aside_when[0].value = 101", "rsi is from 0 to 100",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "key", "valid"), IMPOSSIBLE, ids=[key for _, key, _ in IMPOSSIBLE])
def test_an_impossible_value_is_refused_with_its_key_the_value_and_what_would_be_valid(
    changeable: Ended, patch: Any, key: str, valid: str
) -> None:
    before, versions = config_of(changeable), versions_of(changeable)
    answer = change(changeable.base, patch)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert answer.json["errors"] == answer.json["detail"].split("\n")
    (told,) = answer.json["errors"]
    assert told.startswith(key)
    assert valid in told
    assert (config_of(changeable), versions_of(changeable)) == (before, versions)


# Everything that came after the first version of the config, and how each is undone.
NEW: list[tuple[Any, Any]] = [
    ({"quotes": {"min_depth_usdt": 5, "pairs": {"LTC/USDT": {"max_impact_pct": 3.5}}}}, {"quotes": None}),
    ({"risk": {"max_market_age_hours": 12.5}}, {"risk": {"max_market_age_hours": None}}),
    ({"paper": {"impact": "none", "fill_at": "next_open"}}, {"paper": None}),
    (
        spec_with(about="why", params={"stop_loss_pct": 4, "take_profit_pct": 9.5, "max_hold_hours": 48}),
        spec_with(about=None, params={"stop_loss_pct": None, "take_profit_pct": None, "max_hold_hours": None}),
    ),
    *(
        (leaving_when(**indicator["example"]), leaving_when(indicator="rsi", op=">", value=60, window=9))
        for indicator in indicators_document()
        if indicator["name"] != "series"
    ),
]


@pytest.mark.parametrize(("patch", "undone"), NEW, ids=lambda patch: json.dumps(patch)[:70])
def test_a_patch_takes_everything_that_a_settings_file_may_say(changeable: Ended, patch: Any, undone: Any) -> None:
    change(changeable.base, undone)
    before = config_of(changeable)
    answer = change(changeable.base, patch)
    assert (answer.status, answer.json) == (200, config_of(changeable))
    assert missing(patch, answer.json) == []
    assert change(changeable.base, undone).json == before


def missing(patch: Any, config: Any) -> list[Any]:
    """What the patch says and the config does not."""
    if not isinstance(patch, dict):
        return [] if patch == config or patch == (config or 0) else [(patch, config)]
    return [miss for key, value in patch.items() for miss in missing(value, config.get(key))]


def test_every_mistake_in_a_patch_is_told_at_once(changeable: Ended) -> None:
    answer = change(changeable.base, {"snapshot_minutes": "x", "risk": {"cooldown_hours": "y", "bogus": 2}})
    assert sorted(line.split(" = ")[0] for line in answer.json["errors"]) == [
        "risk.bogus", "risk.cooldown_hours", "snapshot_minutes",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["margin", "futures", "SPOT", None])
def test_another_market_mode_has_a_code_of_its_own(changeable: Ended, mode: str | None) -> None:
    answer = change(changeable.base, {"strategy": {"spec": {"market_mode": mode}}, "snapshot_minutes": 0})
    assert (answer.status, answer.code) == (422, "MARKET_MODE_MISMATCH")
    (told,) = answer.json["errors"]
    assert told == f"strategy.spec.market_mode = {mode!r}: only spot is traded"


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
def test_a_patch_is_an_object(changeable: Ended, body: Any) -> None:
    answer = change(changeable.base, body)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")


def test_patches_sent_at_once_are_all_kept(changeable: Ended) -> None:
    wanted = {"max_age_seconds": 4001, "max_divergence_pct": 2.5, "max_impact_pct": 1.5}
    answers: list[int] = []

    async def send(client: httpx.AsyncClient, key: str) -> None:
        answer = await client.patch("/agents/current/config", json={"quotes": {key: wanted[key]}})
        answers.append(answer.status_code)

    async def send_all() -> None:
        async with (
            httpx.AsyncClient(base_url=changeable.base, timeout=PATIENCE) as client,
            trio.open_nursery() as nursery,
        ):
            for key in wanted:
                nursery.start_soon(send, client, key)

    for _ in range(3):
        change(changeable.base, {"quotes": None})
        answers.clear()
        trio.run(send_all)
        assert answers == [200] * len(wanted)
        assert config_of(changeable)["quotes"] == {"min_depth_usdt": 10_000, "pairs": {}} | wanted


def test_the_watchlist_is_put_whole(changeable: Ended) -> None:
    versions = versions_of(changeable)
    answer = change(changeable.base, ["LTC/USDT"], "/agents/current/watchlist", "PUT")
    assert (answer.status, answer.json) == (200, ["LTC/USDT"])
    assert changeable.get("/watchlist").json() == config_of(changeable)["watchlist"] == ["LTC/USDT"]
    assert versions_of(changeable) == versions + 1
    answer = change(changeable.base, list(reversed(PAIRS)), "/agents/current/watchlist", "PUT")
    assert sorted(answer.json) == sorted(PAIRS)
    assert versions_of(changeable) == versions + 2


@pytest.mark.parametrize(
    "pairs", [[], ["DOGE/USDT"], ["ETH/USDT", "ETH/USDT"], [1], [["ETH/USDT"]], {}, "ETH/USDT", None]
)
def test_an_impossible_watchlist_is_refused(changeable: Ended, pairs: Any) -> None:
    before = changeable.get("/watchlist").json()
    answer = change(changeable.base, pairs, "/agents/current/watchlist", "PUT")
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    assert changeable.get("/watchlist").json() == before


def test_a_config_that_was_taken_is_still_there_after_a_restart(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    """Also where a number was sent that no float can hold: it is refused, and not kept as something else."""
    flags = busy_flags(tmp_path, 60)
    daemon = start_daemon(*flags)
    base = at_the_end(daemon, end_of(60)).base
    sent = '{"strategy": {"spec": {"regime_filter": {"stand_aside_when": [%s]}}}}'
    condition = '{"indicator": "rsi", "op": ">", "value": %s, "window": 9}'
    statuses = [
        ask(base, "PATCH", "/agents/current/config", JSON, (sent % (condition % value)).encode()).status
        for value in ("99.5", "1e400")
    ]
    before = daemon.get("/agents/current/config").json()
    assert daemon.terminate() == 0
    restarted = start_daemon(*flags)
    restarted.ready()
    assert restarted.get("/agents/current/config").json() == before
    assert statuses == [200, 422]


# --- would it pass?

BUY = {"pair": "LTC/USDT", "side": "buy", "size": 100}


def checked(ended: Ended, **given: Any) -> Answer:
    return change(ended.base, BUY | given, "/agents/current/risk/check", "POST")


def test_a_check_says_of_every_rule_how_far_it_is_from_its_limit(busy: Ended) -> None:
    answer = checked(busy).json
    assert misses(answer, CHECKED) == []
    assert answer["at"] == end_of()
    objectives = {objective["rule"]: objective for objective in busy.get("/risk/objectives").json()}
    (position,) = busy.get("/positions").json()
    breach = busy.get("/journal?type=RISK_BREACH&tag=daily").json()[0]
    assert breach["data"]["until"] > answer["at"], "the day is lost, and its lock keeps the numbers of that moment"
    equity, held = busy.get("").json()["equity"], position["pair"]
    worth = position["value"] if held == "LTC/USDT" else 0
    measured = {
        "max_drawdown": (objectives["max_drawdown"]["current"], 0.12),
        "daily_drawdown": (breach["data"]["measured"], 0.03),
        "streak_limit": (objectives["streak_limit"]["current"], 2),
        "stale_market": (1, 6),
        "max_concurrent": (1, 1),
        "per_pair_exposure": ((worth + 100) / equity, 1),
        "insufficient_funds": (100, cash_of(busy)),
    }
    assert [check["rule"] for check in answer["checks"]] == list(measured)
    for check in answer["checks"]:
        now, limit = measured[check["rule"]]
        assert (check["measured"], check["limit"]) == pytest.approx((now, limit), abs=1e-6), check["rule"]
        if check["rule"] in ("streak_limit", "max_concurrent"):
            assert check["headroom_pct"] is None
        else:
            headroom = 100 * (check["limit"] - check["measured"]) / check["limit"]
            assert check["headroom_pct"] == pytest.approx(headroom, abs=1e-5)
        assert check["passes"] == (check["reason"] is None)
    objects = {check["rule"]: check["reason"] for check in answer["checks"] if not check["passes"]}
    assert objects["max_concurrent"] == f"1 of at most 1 positions are open ({held})"
    assert (answer["passes"], answer["rule"]) == (False, next(iter(objects)))
    assert answer["reason"] == objects[answer["rule"]]


def test_a_check_of_a_sale_passes_always(busy: Ended) -> None:
    for pair in PAIRS:
        answer = checked(busy, pair=pair, side="sell", size=1e12).json
        assert answer == {"passes": True, "rule": None, "reason": None, "at": end_of(), "checks": []}


def test_a_check_changes_nothing(busy: Ended) -> None:
    frames, before = frames_in(busy.daemon.data_dir), busy.get("").json()
    sizes = (1, 99.5, 1e12, 0.00000001)
    answers = [checked(busy, size=size) for size in sizes]
    assert [answer.status for answer in answers] == [200] * len(sizes)
    assert {answer.headers["x-last-seq"] for answer in answers} == {str(busy.head)}
    assert frames_in(busy.daemon.data_dir) == frames
    assert busy.get("").json() | {"last_heartbeat": ""} == before | {"last_heartbeat": ""}


IMPOSSIBLE_CHECKS: list[tuple[Any, str, str]] = [
    ({"pair": "DOGE/USDT"}, "pair = 'DOGE/USDT'", "this market has ETH/USDT, LTC/USDT"),
    ({"pair": "ltc/usdt"}, "pair = 'ltc/usdt'", "this market has ETH/USDT, LTC/USDT"),
    ({"pair": 7}, "pair = 7", "must be text"),
    ({"pair": ["LTC/USDT"]}, "pair = ['LTC/USDT']", "must be text"),
    ({"side": "hold"}, "side = 'hold'", "must be one of buy, sell"),
    ({"side": "BUY"}, "side = 'BUY'", "must be one of buy, sell"),
    ({"side": None}, "side = None", "must be one of buy, sell"),
    ({"size": 0}, "size = 0", "must be above 0"),
    ({"size": -5}, "size = -5", "must be above 0"),
    ({"size": 1e13}, "size = 1", "at most 1e12"),
    ({"size": "100"}, "size = '100'", "must be a number"),
    ({"size": True}, "size = True", "must be a number"),
    ({"size": None}, "size = None", "must be a number"),
    ({"bogus": 1}, "bogus = 1", "unknown key; valid keys are pair, side, size"),
]


@pytest.mark.parametrize(("given", "key", "valid"), IMPOSSIBLE_CHECKS, ids=[key for _, key, _ in IMPOSSIBLE_CHECKS])
def test_an_impossible_check_is_refused_by_its_key(busy: Ended, given: Any, key: str, valid: str) -> None:
    answer = checked(busy, **given)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    (told,) = answer.json["errors"]
    assert told == answer.json["detail"]
    assert told.startswith(key)
    assert valid in told


def test_everything_that_a_check_needs_is_asked_for_at_once(busy: Ended) -> None:
    answer = change(busy.base, {}, "/agents/current/risk/check", "POST")
    assert sorted(answer.json["errors"]) == ["pair: is missing", "side: is missing", "size: is missing"]


def test_what_is_not_watched_would_not_be_entered_but_would_be_left(changeable: Ended) -> None:
    change(changeable.base, ["LTC/USDT"], "/agents/current/watchlist", "PUT")
    try:
        answer = checked(changeable, pair="ETH/USDT")
        assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
        assert answer.json["detail"] == "pair = 'ETH/USDT': not on the watchlist (LTC/USDT), so it is not entered"
        assert checked(changeable, pair="LTC/USDT").status == 200
        assert checked(changeable, pair="ETH/USDT", side="sell").json["passes"] is True
    finally:
        change(changeable.base, list(PAIRS), "/agents/current/watchlist", "PUT")


# --- what a strategy may be made of


def test_the_indicators_are_listed_with_parameters_operators_and_an_example(busy: Ended) -> None:
    answer = busy.client.get("/indicators")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == json.loads(json.dumps(indicators_document()))
    assert {"rsi", "ema_cross", "bollinger", "series"} <= {indicator["name"] for indicator in answer.json()}


def test_the_strategys_schema_is_served_as_a_schema(busy: Ended) -> None:
    answer = busy.client.get("/strategy.schema.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/schema+json")
    assert answer.json() == json.loads(json.dumps(strategy_schema()))
    jsonschema.validators.validator_for(answer.json()).check_schema(answer.json())
    jsonschema.validate(config_of(busy)["strategy"]["spec"], answer.json())


# --- before the log has been read, and while the board is behind it


@pytest.mark.parametrize("path", ["/readyz", *(f"/agents/seed{path}" for path in (*LISTS, *DOCUMENTS, "/watchlist"))])
async def test_while_the_log_is_read_every_answer_asks_for_patience(young: Door, path: str) -> None:
    answer = await make_app(young).test_client().get(path)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert (await answer.get_json(force=True))["code"] == "STARTING"


async def test_while_the_log_is_read_nothing_is_checked(young: Door) -> None:
    answer = await make_app(young).test_client().post("/agents/seed/risk/check", json=BUY)
    assert (answer.status_code, (await answer.get_json(force=True))["code"]) == (503, "STARTING")


async def test_a_full_disk_is_told_by_readyz_and_the_agent_while_reads_go_on(young: Door) -> None:
    show(young, *ROWS)
    young.board.ready.set()
    young.board.outages["disk"] = Outage("disk", "no space left on device")
    client = make_app(young).test_client()
    ready = await client.get("/readyz")
    assert (ready.status_code, (await ready.get_json(force=True))["code"]) == (503, "DISK_UNAVAILABLE")
    agent = await (await client.get("/agents/seed")).get_json()
    assert agent["outage"] == {"what": "disk", "reason": "no space left on device"}
    assert len(await (await client.get("/agents/seed/equity")).get_json()) == 2
    checked = await (await client.post("/agents/seed/risk/check", json=BUY)).get_json()
    assert (checked["passes"], misses(checked, CHECKED)) == (True, [])
    assert (await (await client.get("/agents/seed/funnel")).get_json())["signals"] == 0


async def test_the_position_of_a_list_is_one_that_the_stream_takes(young: Door) -> None:
    """Who reads a list and then opens the stream after it is let in, also while the board is behind the log."""
    show(young, *ROWS[:2])
    young.board.ready.set()
    client = make_app(young).test_client()
    position = (await client.get("/agents/seed/equity")).headers["X-Last-Seq"]
    assert position == "2"
    async with client.websocket(f"/ws/agents/seed?since={position}") as stream:
        await wait_all_tasks_blocked()
        show(young, ROWS[2], *seal([SNAPSHOT_ROW], Head(3, 2, 0, ROWS[2].hash))[0])
        assert (await stream.receive_json())["seq"] == 3
        young.board.close()


async def test_a_client_that_takes_nothing_does_not_hold_up_the_end(young: Door, autojump_clock: MockClock) -> None:
    """By the app itself, whatever server it stands behind."""
    show(young, *ROWS)
    young.board.ready.set()
    stuck, asked = trio.Event(), iter([{"type": "websocket.connect"}])

    async def receive() -> Any:
        if (message := next(asked, None)) is None:
            await trio.sleep_forever()
        return message

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            stuck.set()
            await trio.sleep_forever()

    scope = {
        "type": "websocket", "asgi": {"spec_version": "2.3"}, "http_version": "1.1", "scheme": "ws", "root_path": "",
        "path": "/ws/agents/seed", "raw_path": b"/ws/agents/seed", "query_string": b"since=0", "subprotocols": [],
        "headers": [(b"host", b"127.0.0.1:8000")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    app: Any = make_app(young)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app, scope, receive, send)
            await stuck.wait()
            young.stopping.set()
            young.board.close()


# --- whatever comes

SETTINGS = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
ESCAPED = st.binary(max_size=6).map(quote)
PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=12)
PIECES = st.lists(PLAIN | ESCAPED, max_size=4).map("".join)
NAMES = (
    st.sampled_from(["limit", "cursor", "from", "to", "interval", "type", "tag", "q", "phase", "since", "pair"])
    | PIECES
)
VALUES = (
    st.sampled_from(["5", "1.2", "2024-03-05", "1d", "paper", "EXECUTED", "9" * 18, "%00", "%ff", "%ED%A0%80"]) | PIECES
)
QUERIES = st.lists(st.tuples(NAMES, VALUES).map("=".join), max_size=4).map("&".join)
ROUTES = st.sampled_from([f"/agents/current{path.split('?')[0]}" for path in [*LISTS, *DOCUMENTS, "/watchlist"]])
PATHS = (
    ROUTES | PIECES.map("/{}".format) | PIECES.map("/agents/{}/config".format) | PIECES.map("/agents/current/{}".format)
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
KEYS = st.sampled_from(
    ["risk", "preset", "watchlist", "strategy", "spec", "signals", "entry", "all_of", "paper", "quotes", "pairs"]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
DOCS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def assert_in_order(answer: Answer) -> None:
    assert answer.status < 500
    if answer.status >= 400 and answer.body:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == answer.status


@SETTINGS
@given(method=METHODS, path=PATHS, query=QUERIES)
def test_no_address_makes_the_daemon_fail(busy: Ended, method: str, path: str, query: str) -> None:
    headers = {} if method in ("GET", "HEAD", "OPTIONS") else {"Content-Type": "application/json"}
    assert_in_order(ask(busy.base, method, f"{path}?{query}", headers))


@SETTINGS
@given(document=DOCS, put=st.booleans())
def test_no_document_makes_the_daemon_fail(changeable: Ended, document: Any, put: bool) -> None:
    path, method = ("/agents/current/watchlist", "PUT") if put else ("/agents/current/config", "PATCH")
    assert_in_order(change(changeable.base, document, path, method))


ORDERS = st.fixed_dictionaries(
    {}, optional={"pair": st.sampled_from(PAIRS) | DOCS, "side": st.sampled_from(["buy", "sell"]) | DOCS, "size": DOCS}
)


@SETTINGS
@given(document=ORDERS | DOCS)
def test_no_question_makes_the_daemon_fail(busy: Ended, document: Any) -> None:
    assert_in_order(change(busy.base, document, "/agents/current/risk/check", "POST"))


@SETTINGS
@given(body=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_no_bytes_make_the_daemon_fail(changeable: Ended, body: bytes) -> None:
    assert_in_order(ask(changeable.base, "PATCH", "/agents/current/config", JSON, body))
