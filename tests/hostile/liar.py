"""An endpoint that lies: it asks the real chain and twists what it says, or says something of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Answers = list[dict[str, Any]]
Twist = Callable[[Answers, list[Any]], bytes]


def every(change: Callable[[dict[str, Any]], Any]) -> Twist:
    """Each answer changed."""
    return lambda answers, _: json.dumps([change(answer) for answer in answers]).encode()


def only(method: str, result: Callable[[str], Any]) -> Twist:
    """What is answered to one method, or to a call whose selector it is."""

    def twist(answers: Answers, asked: list[Any]) -> bytes:
        said = {answer["id"]: answer for answer in answers}
        for one in asked:
            data = one["params"][0].get("data", "") if one["method"] == "eth_call" else ""
            if (one["method"] == method or data.startswith(method)) and "result" in said[one["id"]]:
                said[one["id"]]["result"] = result(said[one["id"]]["result"])
        return json.dumps(list(said.values())).encode()

    return twist


def raw(text: bytes) -> Twist:
    return lambda _, __: text


@contextmanager
def lying(url: str, twist: Twist, *, honest: int = 0) -> Iterator[str]:
    """Its address, while it is up. The first `honest` answers are true."""
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            nonlocal asked
            asked += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            said = client.post(url, content=body, headers={"content-type": "application/json"}).content
            if asked > honest:
                said = twist(json.loads(said), json.loads(body))
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a guard that hangs up is no news
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    with httpx.Client(trust_env=False, verify=False, timeout=60) as client:
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
