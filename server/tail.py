"""`forestay tail`: a client of the stream that comes back by itself."""

from __future__ import annotations

import json
import signal
import sys
from urllib.parse import urlsplit

import click
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, open_websocket_url

from protocol.errors import UserError
from server.notes import line

RETRY_SECONDS = 1.0


def follow_stream(base: str, token: str | None, since: int | None, as_json: bool) -> int:
    """Print the stream until interrupted; the exit code. Raises UserError where coming back cannot help."""
    parts = urlsplit(base)
    try:
        known = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise UserError(f"--url = {base!r}: must be like http://127.0.0.1:8000")
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    url = f"{scheme}://{parts.netloc}/ws/agents/current"
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    mistake = trio.run(_until_interrupted, url, token, since, as_json)
    if mistake is not None:
        raise mistake
    return 130


async def _until_interrupted(url: str, token: str | None, since: int | None, as_json: bool) -> UserError | None:
    """Follow until Ctrl-C, which is heard here: raised wherever it comes, it can be lost in a connection that closes. A
    mistake that no coming back can cure is the answer."""
    mistake: UserError | None = None
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                nonlocal mistake
                try:
                    await _follow(url, token, since, as_json)
                except UserError as error:
                    mistake = error
                    nursery.cancel_scope.cancel()

            nursery.start_soon(follow)
            async for _ in interrupts:
                nursery.cancel_scope.cancel()
                break
    return mistake


async def _follow(url: str, token: str | None, since: int | None, as_json: bool) -> None:
    protocols = ["forestay.v1", f"token.{token}"] if token else []
    told, log_id = False, None
    while True:
        address = url if since is None else f"{url}?since={since}"
        try:
            async with open_websocket_url(address, subprotocols=protocols) as stream:
                told = False
                headers = {name.decode().lower(): value.decode() for name, value in stream.handshake_headers}
                if log_id not in (None, headers.get("x-log-id")):
                    print("forestay: this is another log: starting over", file=sys.stderr)
                    log_id, since = headers.get("x-log-id"), 0
                    continue
                log_id = headers.get("x-log-id")
                since = int(headers.get("x-last-seq", 0)) if since is None else since
                while True:
                    frame = str(await stream.get_message())
                    since = json.loads(frame)["seq"]
                    shown = frame if as_json else line(frame)
                    if shown is not None:
                        click.echo(shown)
        except ConnectionClosed as closed:
            if closed.reason is not None and closed.reason.code in (4400, 4401, 4404):
                raise UserError(f"{address}: {closed.reason.reason or closed.reason.code}") from None
        except ConnectionRejected as rejected:
            raise UserError(f"{url}: refused with HTTP {rejected.status_code}") from None
        except (HandshakeError, OSError):
            pass
        if not told:
            print(f"forestay: no connection to {url}, trying again", file=sys.stderr)
            told = True
        await trio.sleep(RETRY_SECONDS)
