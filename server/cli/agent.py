"""`forestay status`, `trades`, `positions`, `config` and `watch`: what a running daemon says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from protocol.errors import UserError
from server.cli.options import asked, client_of, json_option, of_a_daemon, until_interrupted

if TYPE_CHECKING:
    from protocol.events import JournalEntry
    from server.cli.told import Status
    from server.client import Client


PAGE: Final = 5000  # the longest there is


@click.command()
@json_option
@of_a_daemon
def status(as_json: bool, url: str | None, config: Path | None) -> None:
    """How it is, what it does, and how far each limit is."""
    from server.cli import tables, told

    found = asked(config, url, status_of)
    if as_json:
        tables.echo_json(found)
        return
    lines, limits = told.status_lines(found), told.limits_table(found.limits, bars=tables.on_terminal())
    tables.show_facts(lines)
    click.echo()
    tables.show(limits, "There are no limits.")


async def status_of(client: Client) -> Status:
    from server.cli.told import Status

    agent = await client.agent()
    lock = await _lock_of(client) if agent.status == "DEMOTED" else None
    run, limits, positions = await client.evaluation(), await client.limits(), await client.positions()
    return Status(client.base, agent, run, limits, positions, lock, (await client.health()).guard)


async def _lock_of(client: Client) -> JournalEntry | None:
    """The entry of the last breach: what a person did since, as a write-off, locks nothing."""
    async for entry in client.journal(type="DEMOTION", limit=20):
        if "breach" in entry.data:
            return entry
    return None


@click.command()
@click.option("--phase", type=click.Choice(["paper", "live", "all"]), default="all", help="Of this book [all].")
@click.option("--from", "begin", metavar="TIME", help="From here on, inclusive.")
@click.option("--to", "end", metavar="TIME", help="Up to here, exclusive.")
@click.option("--limit", type=click.IntRange(1), help="Only the newest N.")
@json_option
@of_a_daemon
def trades(
    phase: Any,
    begin: str | None,
    end: str | None,
    limit: int | None,
    as_json: bool,
    url: str | None,
    config: Path | None,
) -> None:
    """Every execution, oldest first."""
    from server.cli import tables, told

    since, until = _instant("--from", begin), _instant("--to", end)

    async def read(client: Client) -> list[Any]:
        if limit is None:
            listing = client.trades(phase=phase, begin=since, end=until, limit=PAGE)
            if not as_json:
                return [trade async for trade in listing]
            async for _ in listing:  # each as it is read: there may be very many
                tables.echo_json(listing.raw)
            return []
        listing = client.trades(phase=phase, order="desc", begin=since, end=until, limit=min(limit, PAGE))
        newest = list[Any]()
        while len(newest) < limit and (trade := await anext(listing, None)) is not None:
            newest.append(listing.raw if as_json else trade)
        return newest[::-1]

    found = asked(config, url, read)
    if as_json:
        tables.echo_json(*found)
    else:
        tables.show(told.trades_table(found), "There are no trades.")


@click.command()
@json_option
@of_a_daemon
def positions(as_json: bool, url: str | None, config: Path | None) -> None:
    """What the agent holds, at the last price."""
    from server.cli import tables, told

    async def read(client: Client) -> tuple[Any, Any]:
        return await client.positions(), (await client.agent()).market.time

    found, now = asked(config, url, read)
    if as_json:
        tables.echo_json(*found)
    else:
        tables.show(told.positions_table(found, now), "It holds nothing.")


@click.group(invoke_without_command=True)
@json_option
@of_a_daemon
@click.pass_context
def config(ctx: click.Context, as_json: bool, url: str | None, config: Path | None) -> None:
    """Show the agent's config, or change it. Each change is a new version and begins a fresh evaluation."""
    ctx.obj = (as_json, url, config)
    if ctx.invoked_subcommand is None:
        _print_config(asked(config, url, lambda client: client.config()), as_json)


@config.command(name="set")
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
@of_a_daemon
@click.pass_context
def set_(ctx: click.Context, changes: tuple[str, ...], as_json: bool, url: str | None, config: Path | None) -> None:
    """Change keys: `config set risk.daily_drawdown_pct=5 'watchlist=["ETH/USDT"]'`. VALUE is JSON, or else text; null
    takes a key back to its default."""
    document: dict[str, Any] = {}
    for change in changes:
        lay(document, change)
    _patch(ctx, document, as_json, url, config)


@config.command()
@click.argument("file", type=click.File("rb"))
@json_option
@of_a_daemon
@click.pass_context
def patch(ctx: click.Context, file: Any, as_json: bool, url: str | None, config: Path | None) -> None:
    """Change what FILE says (JSON or YAML, - for standard input): an RFC 7396 merge patch."""
    _patch(ctx, _document(file.name, file.read()), as_json, url, config)


@config.command()
@json_option
@of_a_daemon
@click.pass_context
def versions(ctx: click.Context, as_json: bool, url: str | None, config: Path | None) -> None:
    """Every version, and what it changed."""
    from server.cli import tables, told

    as_json, url, config = _inherited(ctx, as_json, url, config)
    found = asked(config, url, lambda client: client.config_versions())
    if as_json:
        tables.echo_json(*found)
    else:
        tables.show(told.versions_table(found), "There are no versions.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="What it would show, one JSON object a change.")
@of_a_daemon
def watch(as_json: bool, url: str | None, config: Path | None) -> None:
    """All of it live, on a full screen: equity, positions, limits, the newest entries. Ends with q or Ctrl-C."""
    from server.cli import watching

    client = client_of(config, url)
    if as_json:
        until_interrupted(lambda: watching.as_lines(client))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("watch needs a terminal; `forestay status` says it once, and --json a line at each change")
    until_interrupted(lambda: watching.on_screen(client))


def lay(document: dict[str, Any], change: str) -> None:
    """Lay KEY=VALUE, the key's parts joined by points, over a document. Raises UserError.

    >>> document = {}
    >>> lay(document, "risk.max_consecutive_losses=3"); lay(document, "risk.preset=balanced"); document
    {'risk': {'max_consecutive_losses': 3, 'preset': 'balanced'}}
    """
    from protocol.codec import from_json

    key, equals, text = change.partition("=")
    *above, last = key.split(".")
    if not equals or not all((*above, last)):
        raise UserError(f"{change!r}: must be like risk.daily_drawdown_pct=5")
    for part in above:
        document = document.setdefault(part, {})
        if not isinstance(document, dict):
            raise UserError(f"{key}: {part} is given twice")
    if last in document:
        raise UserError(f"{key}: is given twice")
    try:
        document[last] = from_json(text)
    except ValueError:
        document[last] = text


def _document(name: str, content: bytes) -> Mapping[str, Any]:
    """JSON is YAML, too, but YAML makes floats of its numbers."""
    from protocol.codec import from_json
    from server.plain_yaml import plain_yaml

    try:
        found = from_json(content)
    except ValueError:
        try:
            found = plain_yaml(content.decode())
        except ValueError:
            raise UserError(f"{name}: is neither JSON nor YAML") from None
    if not isinstance(found, dict):
        raise UserError(f"{name}: must be a table of keys")
    return found


def _patch(ctx: click.Context, change: Mapping[str, Any], as_json: bool, url: str | None, config: Path | None) -> None:
    from protocol.codec import to_plain
    from server.cli.told import differing

    as_json, url, config = _inherited(ctx, as_json, url, config)

    async def change_it(client: Client) -> tuple[Any, Any, int]:
        before = await client.config()
        return before, await client.patch_config(change), (await client.agent()).config_version

    before, after, version = asked(config, url, change_it)
    if as_json:
        _print_config(after, as_json)
        return
    lines = differing(to_plain(before), to_plain(after))
    click.echo("\n".join([*lines, f"This is version {version}."]) if lines else "That is how it is already.")


def _inherited(
    ctx: click.Context, as_json: bool, url: str | None, config: Path | None
) -> tuple[bool, str | None, Path | None]:
    """Options may stand before the subcommand, too."""
    above_json, above_url, above_config = ctx.obj
    return as_json or above_json, url or above_url, config or above_config


def _print_config(found: Any, as_json: bool) -> None:
    from protocol.codec import to_plain
    from server.cli import tables, told

    if as_json:
        tables.echo_json(found)
        return
    for key, value in told.config_lines(to_plain(found)):
        click.echo(f"{key} = {value}")


def _instant(name: str, text: str | None) -> Any:
    from protocol.times import parse_time

    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
