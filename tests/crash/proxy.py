"""An endpoint between a program and its node that loses, delays, doubles and garbles answers, as a seed draws it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from time import sleep
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import Factory, define, field

# What may become of a request. All but the first three reach the node.
FAULTS: Final = ("refused", "unavailable", "cut", "lost", "broken", "error", "garbage", "twice", "late", "stale")
PAGE: Final = b"<html><body>502 Bad Gateway</body></html>"


class _Gone(Exception):
    """The connection ends here, without a word more."""


@define
class Proxy:
    """Use it as a context. `faulty` says how many of a hundred requests meet a fault, of sending and of all others."""

    node: str
    seed: str
    faulty: tuple[int, int] = (60, 8)
    met: Counter[str] = Factory(Counter)
    url: str = ""
    honest: bool = False
    _random: Random = field(init=False)
    _lock: Any = Factory(threading.Lock)
    _before: dict[str, bytes] = Factory(dict)  # the answers that the node gave, by what was asked
    _server: ThreadingHTTPServer = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)

    def __enter__(self) -> Proxy:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["content-length"]))
                try:
                    status, body, length = proxy.answered(asked)
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(length))
                    self.end_headers()
                    self.wfile.write(body)
                    if len(body) < length:
                        raise _Gone
                except (_Gone, ConnectionError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answered(self, asked: bytes) -> tuple[int, bytes, int]:
        """Status, body, and how long it says that the body is."""
        fault, wait = self._drawn(asked)
        match fault:
            case "refused":
                return 403, PAGE, len(PAGE)
            case "unavailable":
                return 503, PAGE, len(PAGE)
            case "cut":
                raise _Gone
        key, answer = _key(asked), self._of_node(asked)
        if fault == "twice":
            answer = self._of_node(asked)
        with self._lock:
            before, self._before[key] = self._before.get(key, answer), answer
        match fault:
            case "lost":
                raise _Gone
            case "broken":
                return 200, answer[: len(answer) // 2], len(answer)
            case "error":
                return 502, PAGE, len(PAGE)
            case "garbage":
                return 200, PAGE, len(PAGE)
            case "late":
                sleep(wait)
            case "stale":
                answer = _for(asked, before)
        return 200, answer, len(answer)

    def _drawn(self, asked: bytes) -> tuple[str, float]:
        with self._lock:
            rate = self.faulty[0 if b"eth_sendRawTransaction" in asked else 1]
            draw, fault, wait = self._random.random(), self._random.choice(FAULTS), 0.5 * self._random.random()
            if self.honest or 100 * draw >= rate:
                return "", 0.0
            self.met[fault] += 1
            return fault, wait

    def _of_node(self, asked: bytes) -> bytes:
        """One connection for one question: the node never knows of the trouble."""
        node = urlsplit(self.node)
        connection = HTTPConnection(str(node.hostname), node.port)
        try:
            connection.request("POST", "/", asked, {"content-type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()


def _key(asked: bytes) -> str:
    """What was asked, without the numbers of the questions."""
    questions = json.loads(asked)
    listed = questions if isinstance(questions, list) else [questions]
    return json.dumps([(one["method"], one["params"]) for one in listed])


def _for(asked: bytes, answer: bytes) -> bytes:
    """An earlier answer, with this question's number. Of a batch, whose numbers are always the same, all of it."""
    question, earlier = json.loads(asked), json.loads(answer)
    if isinstance(question, dict) and isinstance(earlier, dict):
        earlier["id"] = question["id"]
    return json.dumps(earlier).encode()
