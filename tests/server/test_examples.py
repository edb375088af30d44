"""The examples of docs/examples, as they stand there, against a real daemon."""

from __future__ import annotations

import csv
import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.conftest import ROOT
from tests.server.clients import PATIENCE, Ended, clean_environment, frames_in
from tests.server.markets import busy_flags
from tests.world.daemon import DaemonProcess
from tests.world.running import Running

EXAMPLES = ROOT / "docs" / "examples"
SECRET = "123:only-the-chat-knows-this"
WORTH_IT = {"EXECUTED", "RISK_BREACH", "PROMOTION", "DEMOTION", "KILL", "FAILED"}


@pytest.fixture
def start_example() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(name: str, *args: str, **env: str) -> Running:
        command = [sys.executable, str(EXAMPLES / name), *args]
        started.append(Running(command, ROOT, clean_environment(PYTHONPATH=str(ROOT), **env)))
        return started[-1]

    yield start
    for example in started:
        example.close()


def test_the_switch_statement_tells_each_kind_in_its_own_words(
    busy: Ended, start_example: Callable[..., Running]
) -> None:
    kinds = [
        event for event in busy.events if event["event"] in ("trade", "snapshot", "status_change", "journal_entry")
    ]
    lines = start_example("switch_events.py", busy.base).take(len(kinds))
    for line, event in zip(lines, kinds, strict=True):
        assert line.startswith(event["ts"][:16].replace("T", " "))
        match event["event"]:
            case "trade":
                assert ("bought" in line) == (event["pnl"] is None)
                assert event["pair"] in line
            case "snapshot":
                assert line.endswith(f"{event['equity']:.2f} USDT")
            case "status_change":
                assert line.endswith(f"from {event['from']} to {event['to']}")
            case _:
                assert line.endswith(event["text"])


def test_equity_as_csv_is_what_rest_answers(busy: Ended, start_example: Callable[..., Running]) -> None:
    points = busy.get("/equity?interval=1h&limit=5000").json()
    assert len(points) > 500
    printed = start_example("equity_csv.py", busy.base).take(len(points) + 1)
    rows = list(csv.DictReader(io.StringIO("\n".join(printed))))
    assert [row["time"] for row in rows] == [point["ts"] for point in points]
    for name in ("equity", "dd_from_peak", "daily_dd_used"):
        assert [float(row[name]) for row in rows] == [point[name] for point in points]


def test_a_poller_has_what_the_stream_tells_through_a_kill(
    start_daemon: Callable[..., DaemonProcess], start_example: Callable[..., Running], tmp_path: Path
) -> None:
    flags = busy_flags(tmp_path, 120, speed="20")
    daemon = start_daemon(*flags)
    base = daemon.ready()
    poller = start_example("poll_events.py", base)
    lines = poller.take(20)
    daemon.kill()
    frames = frames_in(tmp_path / "data")
    start_daemon(*flags, "--port", str(httpx.URL(base).port)).ready()
    lines += poller.take(len(frames) + 20 - len(lines))
    assert lines == frames_in(tmp_path / "data")[: len(lines)]


class Chat:
    """Stands for Telegram: takes messages, but refuses the first one once."""

    def __init__(self) -> None:
        self.texts: Queue[str] = Queue()
        self.paths: list[str] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.paths.append(self.path)
                if len(chat.paths) > 1:
                    chat.texts.put(parse_qs(urlsplit(self.path).query)["text"][0])
                self.send_response(200 if len(chat.paths) > 1 else 429)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()
    yield made
    made.close()


def test_a_notifier_tells_what_matters_once_and_its_secret_to_the_chat_alone(
    busy: Ended, start_example: Callable[..., Running], chat: Chat, tmp_path: Path
) -> None:
    state, since = tmp_path / "state", busy.head - 60
    state.write_text(f"{busy.get('').json()['log_id']} {since}")
    wanted = [
        event
        for event in map(json.loads, busy.frames[since:])
        if event["event"] == "journal_entry" and event["type"] in WORTH_IT
    ]
    assert wanted
    template = f"{chat.base}/bot{{token}}/sendMessage?chat_id=42&text={{text}}"
    notifier = start_example("notify.py", str(state), busy.base, NOTIFY_URL=template, NOTIFY_TOKEN=SECRET)
    texts = [chat.texts.get(timeout=PATIENCE) for _ in wanted]
    assert [text.partition(": ")[2] for text in texts] == [entry["text"] for entry in wanted]
    assert all(path.startswith(f"/bot{SECRET}/sendMessage?chat_id=42&text=") for path in chat.paths)
    while int(state.read_text().split()[1]) < wanted[-1]["seq"]:
        assert notifier.process.poll() is None
    assert notifier.end(signal.SIGKILL)[1] == "not taken: HTTP 429\n"
    assert chat.texts.empty()
