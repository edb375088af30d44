"""The daemon's descriptions of itself are true: all routes, all answers, all messages, and nothing more."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode_row, to_json
from protocol.events import Event
from server.door.app import make_app
from server.door.desk import Door
from server.door.documents import asyncapi, openapi
from server.door.routes import ROUTES
from tests.protocol.rows import events
from tests.server.clients import JSON, Ended
from tests.world.described import check, check_answer, check_event, rest, strict


def test_every_route_is_described_and_every_described_one_exists(young: Door) -> None:
    rules = [rule for rule in make_app(young).url_map.iter_rules() if not rule.websocket]
    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(route.method, route.path) for route in ROUTES}
    assert len(ROUTES) == len(served)


def test_the_descriptions_are_served_and_are_what_they_should_be(busy: Ended) -> None:
    for path, made in {"/openapi.json": openapi, "/asyncapi.json": asyncapi}.items():
        answer = busy.client.get(path)
        assert answer.json() == json.loads(to_json(made()))
        for schema in answer.json()["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)
    operations = [it for path in busy.client.get("/openapi.json").json()["paths"].values() for it in path.values()]
    names = [it["operationId"] for it in operations]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_whatever_is_referred_to_is_there() -> None:
    for document in (openapi(), asyncapi()):
        text = to_json(document).decode()
        for name in {part.split('"')[0] for part in text.split('"$ref":"#/')[1:]}:
            found: Any = document
            for key in name.split("/"):
                found = found[key]


def test_every_message_of_a_long_run_is_as_described(busy: Ended) -> None:
    for event in busy.events:
        check_event(event)
    assert {event["event"] for event in busy.events} >= {
        "snapshot", "trade", "journal_entry", "risk_veto", "status_change", "quote_rejected",
    }  # fmt: skip


@given(events, st.integers(1, 2**53))
def test_any_message_that_can_be_is_as_described(event: Event, seq: int) -> None:
    check_event(json.loads(encode_row(event, seq)))


READS = [
    "/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/indicators", "/strategy.schema.json",
    "/agents", "/backtests", "/strategies", "/", *(f"/agents/current{path}" for path in (
        "", "/health", "/positions", "/equity?limit=5000", "/equity?interval=4h", "/trades", "/trades?limit=3",
        "/trades?sort=pnl&order=desc&limit=5", "/trades?format=csv", "/journal?limit=5000", "/journal?q=lost&limit=2",
        "/risk/blocks", "/risk/blocks?order=desc&limit=3",
        "/risk/objectives", "/evaluation", "/performance", "/performance?phase=live",
        "/why", "/why?pair=ETH/USDT&at=2024-03-05",
        "/funnel", "/funnel?pair=ETH/USDT&from=2024-03-05", "/events?limit=5000", "/events?since=7&limit=7", "/config",
        "/config/versions", "/config/versions?phase=live", "/watchlist", "/preflight",
    )),
]  # fmt: skip
REFUSED = [
    "/agents/nobody", "/agents/current/equity?limit=0", "/agents/current/trades?sort=beauty", "/backtests/bt_none",
    "/agents/current/journal/jrn_none", "/agents/current/why?at=2001-01-01",
    "/agents/current/journal?type=NO", "/agents/current/performance?phase=both",
]  # fmt: skip


@pytest.mark.parametrize("path", READS)
def test_every_read_is_answered_as_described(busy: Ended, path: str) -> None:
    answer = busy.client.get(path)
    assert answer.status_code == (409 if path.endswith("/preflight") else 200)
    check_answer(answer)


def test_the_entry_of_a_trade_is_answered_as_described(busy: Ended) -> None:
    check_answer(busy.get(f"/journal/{busy.of('trade')[0]['journal_ref']}"))


@pytest.mark.parametrize("path", REFUSED)
def test_a_refusal_is_answered_as_described(busy: Ended, path: str) -> None:
    answer = busy.client.get(path)
    assert answer.status_code in (404, 422)
    check_answer(answer)


ORDER = {"pair": "LTC/USDT", "side": "buy", "size": 50}
SENT: list[tuple[str, str, Any, int]] = [
    ("POST", "/agents/current/risk/check", ORDER, 200),
    ("POST", "/agents/current/risk/check", {}, 422),
    ("PATCH", "/agents/current/config", {"risk": {"cooldown_hours": 7}}, 200),
    ("PATCH", "/agents/current/config", {"quotes": {"pairs": {"ETH/USDT": {"max_age_seconds": 70}}}}, 200),
    ("PATCH", "/agents/current/config", {"bogus": 1}, 422),
    ("PUT", "/agents/current/watchlist", ["ETH/USDT", "LTC/USDT"], 200),
    ("POST", "/agents/current/promote", {"confirm": "go live"}, 409),
    ("POST", "/agents/current/promote", {"confirm": "yes"}, 422),
    ("POST", "/agents/current/demote", {"reason": "enough"}, 409),
    ("POST", "/agents/current/reapprove", {"demotion": "jrn_x", "reason": "looked at"}, 409),
    ("POST", "/agents/current/kill-switch", {"confirm": "revoke signing"}, 409),
    ("POST", "/backtests", {"config": {"risk": {"preset": "off"}}, "out_of_sample": 0.3}, 202),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), SENT)
def test_what_is_sent_is_answered_as_described(
    changeable: Ended, method: str, path: str, body: Any, status: int
) -> None:
    answer = changeable.client.request(method, path, json=body, headers=JSON)
    assert answer.status_code == status, answer.text
    check_answer(answer)
    check_answer(changeable.get("/config/versions"))
    if status < 300:
        sent = operation(method, path)["requestBody"]["content"]["application/json"]["schema"]
        check(body, strict(sent), rest())


def operation(method: str, path: str) -> Any:
    return rest()["paths"][path.replace("current", "{id}")][method.lower()]


def test_a_backtest_is_answered_as_described_from_its_queue_to_its_result(changeable: Ended) -> None:
    queued = changeable.client.post("/backtests", json={}, headers=JSON)
    check_answer(queued)
    id = queued.json()["id"]
    while (answer := changeable.client.get(f"/backtests/{id}")).json()["state"] in ("queued", "running"):
        check_answer(answer)
    check_answer(answer)
    assert answer.json()["state"] == "done"
    check_answer(changeable.client.delete(f"/backtests/{id}", headers=JSON))


def test_a_field_that_is_not_described_would_be_found(busy: Ended) -> None:
    for event in ({**busy.events[0], "more": 1}, {key: value for key, value in busy.events[0].items() if key != "ts"}):
        with pytest.raises(jsonschema.ValidationError):
            check_event(event)
    with pytest.raises(jsonschema.ValidationError):
        check({**busy.get("").json(), "more": 1}, {"$ref": "#/components/schemas/Agent"}, rest())
