"""`forestay journal`, `funnel` and `why`: out of the data dir, also while the daemon runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from server.cli.options import config_option, data_dir_option, folder_of, json_option


@click.group(invoke_without_command=True)
@click.option("--type", "entry_type", help="Only entries of this type, such as EXECUTED.")
@click.option("--tag", help="Only entries with this tag, such as quote or ETH/USDT.")
@json_option
@click.option("--limit", type=click.IntRange(1), help="Only the newest N.")
@config_option
@data_dir_option
@click.pass_context
def journal(
    ctx: click.Context,
    entry_type: str | None,
    tag: str | None,
    as_json: bool,
    limit: int | None,
    config: Path | None,
    data_dir: str | None,
) -> None:
    """Read the journal out of the data dir, oldest first; also while the daemon runs."""
    if ctx.invoked_subcommand is not None:
        return
    from server.offline import print_journal

    print_journal(folder_of(config, data_dir), entry_type, tag, as_json, limit)


@journal.command()
@json_option
@config_option
@data_dir_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool, config: Path | None, data_dir: str | None) -> None:
    """Check the whole log's hash chain; name the first bad seq."""
    from server.offline import verify_log

    parent = ctx.parent.params if ctx.parent else {}
    folder = folder_of(config or parent.get("config"), data_dir or parent.get("data_dir"))
    sys.exit(verify_log(folder, as_json=as_json or bool(parent.get("as_json"))))


@click.command()
@click.option("--pair", help="Only this pair [default: all, and each by itself].")
@click.option("--from", "begin", metavar="TIME", help="Outcomes from here on, inclusive.")
@click.option("--to", "end", metavar="TIME", help="Outcomes up to here, exclusive.")
@click.option("--json", "as_json", is_flag=True, help="As GET /agents/{id}/funnel answers.")
@config_option
@data_dir_option
def funnel(
    pair: str | None, begin: str | None, end: str | None, as_json: bool, config: Path | None, data_dir: str | None
) -> None:
    """Signals, but no trades? Count at which gate they ended, out of the data dir; also while the daemon runs."""
    from server.funnel import print_funnel

    print_funnel(folder_of(config, data_dir), pair, begin, end, as_json)


@click.command()
@click.argument("pair", required=False)
@click.option("--at", metavar="TIME", help="The last one at or before this time [default: the newest].")
@click.option("--json", "as_json", is_flag=True, help="The same facts as JSON.")
@config_option
@data_dir_option
def why(pair: str | None, at: str | None, as_json: bool, config: Path | None, data_dir: str | None) -> None:
    """Why did the last signal not trade, or why is there no trade of PAIR? Show one round as it was decided: what the
    strategy saw, what every gate said, and what came of it; out of the data dir, also while the daemon runs."""
    from server.why import print_why

    print_why(folder_of(config, data_dir), pair, at, as_json)
