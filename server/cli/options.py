"""What commands share: options, settings, and where a daemon is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from protocol.errors import UserError

if TYPE_CHECKING:
    from server.client import Client
    from server.settings import Document, Settings

T = TypeVar("T")
config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file [default: ./forestay.toml]."
)
data_dir_option = click.option("--data-dir", metavar="DIR", help="Where the log is kept [default: forestay-data].")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON; of a list, one object a line.")
_url_option = click.option("--url", help="The daemon's address [default: from the settings].")


def of_a_daemon(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks a running daemon."""
    return _url_option(config_option(command))


def settled(config: Path | None, flags: Document) -> Settings:
    from server.settings import load

    return load(config, os.environ, flags)


def folder_of(config: Path | None, data_dir: str | None) -> Path:
    return Path(settled(config, {"data_dir": data_dir} if data_dir else {}).machine.data_dir)


def client_of(config: Path | None, url: str | None, *, patience_seconds: float = 0.0) -> Client:
    """The daemon's client, not yet entered. Raises UserError."""
    from server.client import Client
    from server.settings import reached_at

    server = settled(config, {}).machine.server
    try:
        base = url or f"http://{reached_at(server.host)}:{server.port}"
        return Client(base, server.token, patience_seconds=patience_seconds)
    except ValueError as error:
        raise UserError(f"--url = {error}") from None


def asked(config: Path | None, url: str | None, ask: Callable[[Client], Awaitable[T]]) -> T:
    """What a running daemon answers. Raises UserError where it does not, or says no: a line for each mistake."""
    import trio

    from server.client import ClientError, Refused

    client = client_of(config, url)

    async def within() -> T:
        async with client:
            return await ask(client)

    try:
        return trio.run(within)
    except Refused as no:
        raise UserError("\n".join(no.errors) or str(no)) from None
    except ClientError as error:
        raise UserError(str(error)) from None


def first(errors: BaseExceptionGroup[Any]) -> Any:
    found = errors.exceptions[0]
    return first(found) if isinstance(found, BaseExceptionGroup) else found


def until_interrupted(follow: Callable[[], Awaitable[None]]) -> bool:
    """Follow until Ctrl-C, or until it returns, or nobody reads any more. Was it Ctrl-C? That is heard here: raised
    wherever it comes, it can be lost in a connection that closes. Raises UserError for what no coming back can cure."""
    import trio

    from server.client import ClientError

    mistake: BaseException | None = None
    interrupted = False

    async def within() -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as interrupts:
            async with trio.open_nursery() as nursery:

                async def followed() -> None:
                    nonlocal mistake
                    try:
                        await follow()
                    except* (ClientError, UserError) as errors:
                        mistake = first(errors)
                    except* BrokenPipeError:  # whoever read what we print has heard enough
                        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                    nursery.cancel_scope.cancel()

                nursery.start_soon(followed)
                async for _ in interrupts:
                    interrupted = True
                    nursery.cancel_scope.cancel()
                    break

    trio.run(within)
    if mistake is not None:
        raise UserError(str(mistake))
    return interrupted
