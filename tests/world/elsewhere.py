"""Servers at a daemon's address that are no daemon, or have none behind them."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final

from attrs import field, frozen

CERTIFICATE: Final = Path(__file__).parent / "nobody.pem"
TLS_HELLO: Final = b"\x16"


@frozen
class Elsewhere:
    """`asked` has the target of each request that it could read."""

    base: str
    asked: list[str] = field(factory=list)


def page(status: int, body: str, kind: str = "application/json", *headers: str) -> bytes:
    """An answer of HTTP. In its body, `{shown}` is what the request had for authorization."""
    return "\r\n".join([f"HTTP/1.1 {status} So", f"Content-Type: {kind}", *headers, "", body]).encode()


# What coming back cannot cure, and what it can.
INCURABLE: Final = {
    "a web page": page(200, "<html>Welcome!</html>", "text/html"),
    "a page that is not there": page(404, "<html>Where?</html>", "text/html"),
    "a way to a login": page(302, "", "text/html", "Location: /login"),
    "an alert of TLS": bytes([21, 3, 1, 0, 2, 2, 70]),
}
CURABLE: Final = {
    "nothing": b"",
    "half an answer": page(200, "{", "application/json", "Content-Length: 50"),
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "a proxy that finds no daemon": page(502, "<html>Bad gateway</html>", "text/html"),
    "a daemon that is starting": page(503, '{"code": "STARTING", "detail": "in a moment"}', "application/problem+json"),
}


@contextmanager
def elsewhere(*answers: bytes, tls: bool = False) -> Iterator[Elsewhere]:
    """A server that answers the first connection with the first of these, and so on, any more with the last, and closes
    each; with `tls` by a certificate that nobody trusts."""
    left, context = list(answers), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # a client that has heard enough
                peer = context.wrap_socket(self.request, server_side=True) if tls else self.request
                head = b""
                while b"\r\n\r\n" not in head and not head.startswith(TLS_HELLO) and (some := peer.recv(4096)):
                    head += some
                if target := re.match(rb"\w+ (\S+) HTTP", head):
                    found.asked.append(target[1].decode())
                shown = re.search(rb"(?i)^authorization: (.*)\r$", head, re.MULTILINE)
                answer = left.pop(0) if len(left) > 1 else left[0]
                peer.sendall(_whole(answer.replace(b"{shown}", shown[1] if shown else b"nothing")))
                peer.close()

    class Server(ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        found = Elsewhere(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        try:
            yield found
        finally:
            server.shutdown()
            serving.join()


def _whole(answer: bytes) -> bytes:
    """With its length, where it is HTTP and does not say another one."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end or b"Content-Length" in head:
        return answer
    return head + f"\r\nContent-Length: {len(body)}".encode() + end + body
