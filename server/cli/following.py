"""`forestay tail`: the stream, as it comes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.cli.options import client_of, of_a_daemon, until_interrupted

if TYPE_CHECKING:
    from server.client import Client


@click.command()
@click.option("--since", type=click.IntRange(0), help="Replay everything after this seq first.")
@click.option("--json", "as_json", is_flag=True, help="Every message of the stream, as it is.")
@of_a_daemon
def tail(since: int | None, as_json: bool, url: str | None, config: Path | None) -> None:
    """Follow a running daemon's stream, through its restarts."""
    client = client_of(config, url)
    if until_interrupted(lambda: _follow(client, since, as_json)):
        sys.exit(130)


async def _follow(client: Client, since: int | None, as_json: bool) -> None:
    from server.client import AnotherLog
    from server.notes import line

    lost = False

    def notice(connected: bool) -> None:
        nonlocal lost
        if connected is lost:
            words = "connected again" if connected else f"no connection to {client.base}, trying again"
            click.echo(f"forestay: {words}", err=True)
        lost = not connected

    log_id: str | None = None
    while True:
        try:
            async with client.stream(since, log_id=log_id, notice=notice) as events:
                async for _ in events:
                    shown = events.raw if as_json else line(events.raw)
                    if shown is not None:
                        click.echo(shown)
        except AnotherLog as other:
            click.echo("forestay: this is another log: starting over", err=True)
            since, log_id = 0, other.found
