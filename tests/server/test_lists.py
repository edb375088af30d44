"""Trades as a table and as CSV, the journal searched: pages of any order and any filter are parts of one whole."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing, suppress
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest
import trio
from attrs import evolve
from quart.typing import TestHTTPConnectionProtocol as HTTPConnection
from werkzeug.datastructures import MultiDict

from actors.journal.store import FILE_NAME, LogReader
from protocol.codec import from_json
from server.door import history, lists
from server.door.app import make_app
from server.door.desk import Door
from server.door.lists import Asked, asked, read, turned
from server.door.tables import TRADE_COLUMNS, rows
from tests.server.clients import Ended
from tests.server.doors import ROWS, show
from tests.server.test_rest import pages


def in_order(trades: list[Any], column: str, order: str) -> list[Any]:
    """What lacks the field comes last; of equals the older comes first."""
    having = [it for it in trades if it.get(column) is not None]
    lacking = [it for it in trades if it.get(column) is None]
    return sorted(having, key=lambda it: it[column], reverse=order == "desc") + lacking


@pytest.mark.parametrize("column", TRADE_COLUMNS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_trades_come_in_the_order_of_any_column(busy: Ended, column: str, order: str) -> None:
    wanted = in_order(busy.of("trade"), column, order)
    if column == "ts" and order == "desc":
        wanted = busy.of("trade")[::-1]
    path = f"/trades?limit=7&sort={column}&order={order}"
    assert [trade for page in pages(busy.base, path) for trade in page.json()] == wanted


def test_trades_are_filtered(busy: Ended) -> None:
    trades = busy.of("trade")
    for name in ("pair", "side", "journal_ref", "order_ref"):
        for value in sorted({it[name] for it in trades})[:3]:
            wanted = [it for it in trades if it[name] == value]
            assert busy.get(f"/trades?{name}={quote(value)}").json() == wanted
    both = [it for it in trades if (it["pair"], it["side"]) == ("LTC/USDT", "sell")]
    found = busy.get("/trades?pair=LTC/USDT&side=sell&phase=paper&sort=pnl&order=desc").json()
    assert found == in_order(both, "pnl", "desc")
    assert busy.get("/trades?pair=DOGE/USDT").json() == []


@pytest.mark.parametrize(("name", "value"), [("sort", "beauty"), ("order", "up"), ("side", "short"), ("format", "xml")])
def test_what_a_table_cannot_be_is_told(busy: Ended, name: str, value: str) -> None:
    answer = busy.get(f"/trades?{name}={value}")
    assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (422, f"{name} = {value!r}")


def test_trades_are_had_as_csv_whole_and_with_every_number_as_it_is(
    busy: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_by_name = busy.get("/trades?format=csv&limit=3")
    by_header = busy.client.get("/agents/current/trades", headers={"Accept": "text/csv"})
    assert asked_by_name.content == by_header.content
    assert asked_by_name.headers["content-type"].startswith("text/csv")
    assert "attachment" in asked_by_name.headers["content-disposition"]
    assert busy.get("/trades").headers["content-type"] == "application/json"
    table = list(csv.DictReader(StringIO(asked_by_name.text, newline="")))
    trades = busy.of("trade")
    assert len(table) == len(trades)
    for line, trade in zip(table, trades, strict=True):
        assert set(line) == set(TRADE_COLUMNS)
        for name, text in line.items():
            value = trade.get(name)
            assert (text == "") if value is None else text == value if isinstance(value, str) else float(text) == value


@pytest.mark.parametrize("query", ["", "&sort=pnl&order=desc", "&side=sell&sort=hold_s", "&order=desc"])
async def test_a_csv_of_many_pages_is_the_same(
    busy: Ended, young: Door, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    show(young, *ROWS)
    young.board.ready.set()
    whole = busy.get(f"/trades?format=csv{query}").content
    with closing(LogReader(busy.daemon.data_dir / FILE_NAME)) as reader:
        client = make_app(evolve(young, reader=reader, searcher=reader)).test_client()
        for limit in (1, 4, len(busy.of("trade"))):
            monkeypatch.setattr(history, "MAX_LIMIT", limit)
            async with client.request(f"/agents/seed/trades?format=csv{query}") as connection:
                await connection.send_complete()
                assert await _all_of(connection) == whole


async def _all_of(connection: HTTPConnection) -> bytes:
    """What is sent, read as it comes: the test client itself holds ten parts at most until somebody reads."""
    sent = b""
    with suppress(trio.EndOfChannel):
        while True:
            sent += await connection.receive()
    return sent


def test_a_text_that_a_spreadsheet_would_calculate_is_a_text() -> None:
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1']
    for text in bad:
        frame = f'{{"a":{_json(text)},"b":-1.5}}'
        ((first, second),) = csv.reader(StringIO(rows([frame], ("a", "b")).decode(), newline=""))
        assert (first, second) == ("'" + text, "-1.5")


def _json(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\r", "\\r") + '"'


def test_the_journal_is_filtered_by_pair(busy: Ended) -> None:
    entries = busy.of("journal_entry")[::-1]
    for pair in ("ETH/USDT", "LTC/USDT"):
        wanted = [entry for entry in entries if pair in entry["tags"]]
        assert wanted
        assert busy.get(f"/journal?limit=5000&pair={pair}").json() == wanted
    wanted = [entry for entry in entries if "ETH/USDT" in entry["tags"] and entry["type"] == "EXECUTED"]
    assert busy.get("/journal?limit=5000&type=EXECUTED&pair=ETH/USDT&tag=ETH/USDT").json() == wanted


def test_an_entry_is_had_by_its_id(busy: Ended) -> None:
    for entry in busy.of("journal_entry")[:: len(busy.of("journal_entry")) // 9]:
        assert busy.get(f"/journal/{entry['id']}").json() == entry
        assert busy.get(f"/journal/{entry['id']}?from={entry['ts']}").json() == entry
    trade = busy.of("trade")[3]
    entry = busy.get(f"/journal/{trade['journal_ref']}?from={trade['ts']}").json()
    assert (entry["type"], entry["data"]["order_ref"]) == ("EXECUTED", trade["order_ref"])
    assert busy.get(f"/trades?journal_ref={entry['id']}").json() == [trade]
    assert busy.get(f"/journal/{trade['journal_ref']}?to={trade['ts']}").json()["code"] == "ENTRY_NOT_FOUND"
    # An id that is only told of by other entries is no entry's.
    assert busy.get(f"/journal/{trade['order_ref']}").json()["code"] == "ENTRY_NOT_FOUND"


@pytest.mark.parametrize("path", ["/journal?q=lost", "/trades?sort=pnl", "/performance", "/config/versions", "/funnel"])
async def test_what_is_searched_holds_up_no_other_read(young: Door, path: str) -> None:
    asked_for = trio.Event()

    async def searching(_: Any) -> Any:
        asked_for.set()
        await trio.sleep_forever()

    show(young, *ROWS)
    young.board.ready.set()
    client = make_app(evolve(young, searching=searching)).test_client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, f"/agents/seed{path}")
        await asked_for.wait()
        for other in ("", "/equity", "/journal", "/trades", "/events", "/journal?type=STARTED"):
            assert (await client.get(f"/agents/seed{other}")).status_code == 200
        nursery.cancel_scope.cancel()


# --- a search through more than is looked at for one page


@pytest.fixture(scope="module")
def log(busy: Ended) -> Iterator[LogReader]:
    with closing(LogReader(busy.daemon.data_dir / FILE_NAME)) as reader:
        yield reader


def walk(reader: LogReader, wanted: Asked) -> list[list[Any]]:
    found, cursor = list[list[Any]](), None
    while True:
        page = read(reader, turned(wanted, cursor) if cursor else wanted)
        found.append([from_json(frame) for frame in page.frames])
        if (cursor := page.cursor) is None:
            return found


@pytest.mark.parametrize("scanned", [1, 2, 7, 50, 1000])
@pytest.mark.parametrize("newest_first", [True, False])
def test_a_search_goes_on_where_a_page_of_it_ended_whatever_it_found(
    log: LogReader, monkeypatch: pytest.MonkeyPatch, scanned: int, newest_first: bool
) -> None:
    monkeypatch.setattr(lists, "SCANNED", scanned)
    everything = asked("journal_entry", MultiDict(), newest_first=newest_first)
    for limit in (1, 3, 500):
        for words in ("lost", "nowhere to be found", ""):
            for narrowed in (everything, everything.narrowed("type = ?", "EXECUTED", by_seq=True)):
                wanted = evolve(narrowed.filtered("instr(lower(body ->> '$.text'), lower(?))", words), limit=limit)
                (whole,) = [walk(log, evolve(narrowed, limit=5000))[0]]
                found = walk(log, wanted)
                assert [it for page in found for it in page] == [it for it in whole if words in it["text"].lower()]
                assert max(map(len, found)) <= limit
                if scanned < 10 and words != "":
                    assert [] in found
