"""The `forestay` command: parses, calls, renders. Exit codes: 0 done, 1 a check failed, 2 a mistake in what was
asked (told in one line), 70 the daemon gave itself up so that it is started anew."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from protocol.errors import UserError
from server.guard.command import guard, kill
from server.settings import FILE_NAME, Document, Settings, load, reached_at

if TYPE_CHECKING:
    from server.steer import Steering

EXIT_FAILED, EXIT_MISTAKE = 1, 2


class _Group(click.Group):
    """The one place where a UserError becomes one clear line, whichever command raised it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"forestay: {error}", err=True)
            ctx.exit(EXIT_MISTAKE)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forestay", prog_name="forestay")
def main() -> None:
    """Runs one crypto trading agent on paper, and makes it earn the right to trade real money.

    Settings come from forestay.toml, then the environment (FORESTAY_PORT, FORESTAY_DATA_DIR, FORESTAY_SECTION__KEY),
    then the flags.
    """


main.add_command(guard)
main.add_command(kill)


def _pair_file(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    files = {}
    for value in values:
        pair, equals, path = value.partition("=")
        if not equals or not path:
            raise click.BadParameter(f"{value!r} is not PAIR=CSV, such as ETH/USDT=eth.csv", param=param)
        if pair in files:
            raise click.BadParameter(f"{pair} is given twice", param=param)
        files[pair] = path
    return files


def _speed(_: click.Context, param: click.Parameter, value: str | None) -> float | str | None:
    if value is None or value == "max":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither max nor a number of rounds per second", param=param) from None


_config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help=f"Settings file [default: ./{FILE_NAME}]."
)
_url_option = click.option("--url", help="The daemon's address [default: from the settings].")
_data_dir_option = click.option("--data-dir", metavar="DIR", help="Where the log is kept [default: forestay-data].")


def _settled(config: Path | None, flags: Document) -> Settings:
    return load(config, os.environ, flags)


@main.command()
@click.option("--path", type=click.Path(path_type=Path), default=Path(FILE_NAME), show_default=True)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def init(path: Path, force: bool) -> None:
    """Write a commented settings file."""
    from server.template import TEMPLATE

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise UserError(f"{path}: is there already; --force overwrites it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {path}. `forestay run` reads it.")


@main.command()
@_config_option
@_data_dir_option
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on, 0 for any free one [default: 8000].")
@click.option(
    "--market", type=click.Choice(["demo", "replay", "chain"]), help="Where prices come from [default: demo]."
)
@click.option("--replay", multiple=True, callback=_pair_file, metavar="PAIR=CSV", help="Candles to replay; repeatable.")
@click.option(
    "--reference", multiple=True, callback=_pair_file, metavar="PAIR=CSV", help="An independent price; repeatable."
)
@click.option("--series", multiple=True, callback=_pair_file, metavar="NAME=CSV", help="An outside series; repeatable.")
@click.option("--seed", type=int, help="The demo market's seed [default: drawn once, then kept].")
@click.option("--speed", callback=_speed, metavar="N|max", help="Rounds per second [default: 8].")
@click.option("--exit-at-end", is_flag=True, help="Stop when the replay is over.")
@click.option("-v", "--verbose", is_flag=True, help="More of the daemon's own log on standard error.")
def run(
    config: Path | None,
    data_dir: str | None,
    host: str | None,
    port: int | None,
    market: str | None,
    replay: dict[str, str],
    reference: dict[str, str],
    series: dict[str, str],
    seed: int | None,
    speed: float | str | None,
    exit_at_end: bool,
    verbose: bool,
) -> None:
    """Run the daemon; print the journal as it grows. Ctrl-C stops it in good order."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    kind = market or ("replay" if replay else None)
    flags = _given(
        data_dir=data_dir,
        server=_given(host=host, port=port),
        market=_given(kind=kind, replay=replay, reference=reference, series=series, seed=seed, speed=speed),
    )
    settings = _settled(config, flags)
    from server import daemon

    sys.exit(daemon.run(settings, exit_at_end=exit_at_end))


def _given(**values: Any) -> Document:
    return {key: value for key, value in values.items() if value not in (None, {})}


@main.command()
@click.argument("spec")
@click.option(
    "--data", required=True, multiple=True, callback=_pair_file, metavar="PAIR=CSV", help="Candles; repeatable."
)
@click.option(
    "--reference", multiple=True, callback=_pair_file, metavar="PAIR=CSV", help="An independent price; repeatable."
)
@click.option("--series", multiple=True, callback=_pair_file, metavar="NAME=CSV", help="An outside series; repeatable.")
@click.option("--from", "begin", metavar="TIME", help="Decide from here on; earlier candles warm the indicators up.")
@click.option("--to", "end", metavar="TIME", help="Decide up to here, exclusive.")
@click.option("--out-of-sample", metavar="30%", help="Run this last part of the time by itself, too.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with charts.")
@click.option(
    "--events", type=click.Path(path_type=Path), metavar="FILE", help="Write the stream's messages, one a line."
)
@click.option("--json", "as_json", is_flag=True, help="The figures and the trades as JSON.")
@_config_option
def backtest(config: Path | None, **given: Any) -> None:
    """Run SPEC, a strategy file or a ready strategy's name, over candles: the daemon's own decisions, fast.

    [risk], [paper], [quotes] and [evaluation] are the settings'; here, and only here, `risk.preset = "off"` and
    `strategy.fee_multiple = 0` switch the risk rules and the fee filter off.
    """
    from server.backtesting.command import Asked
    from server.backtesting.command import backtest as run_backtest

    run_backtest(Asked(**given), _settled(config, {}))


@main.command()
@click.argument("name", required=False)
def strategies(name: str | None) -> None:
    """List the ready strategies, or print the one called NAME."""
    from server.strategies import names, text

    click.echo(text(name).rstrip() if name else "\n".join(names()))


@main.command()
@_config_option
@click.option("--since", type=click.IntRange(0), help="Replay everything after this seq first.")
@click.option("--json", "as_json", is_flag=True, help="Every message of the stream, as it is.")
@_url_option
def tail(config: Path | None, since: int | None, as_json: bool, url: str | None) -> None:
    """Follow a running daemon's stream, through its restarts."""
    from server.tail import follow_stream

    sys.exit(follow_stream(*_reached(config, url), since, as_json))


def _reached(config: Path | None, url: str | None) -> tuple[str, str | None]:
    """Where the daemon listens, and its token."""
    server = _settled(config, {}).machine.server
    return url or f"http://{reached_at(server.host)}:{server.port}", server.token


def _steering(config: Path | None, url: str | None) -> Steering:
    from server.steer import Steering

    return Steering(*_reached(config, url))


_force_option = click.option("--force", is_flag=True, help="Also before the record has earned it.")


@main.command()
@_force_option
@_url_option
@_config_option
def preflight(force: bool, url: str | None, config: Path | None) -> None:
    """Look at everything that a promotion depends on, and change nothing. Exit 1 where something fails."""
    sys.exit(0 if _steering(config, url).preflight(force=force) else 1)


@main.command()
@_force_option
@click.option("--confirm", metavar="WORDS", help='"go live", given here instead of at the prompt.')
@_url_option
@_config_option
def promote(force: bool, confirm: str | None, url: str | None, config: Path | None) -> None:
    """Let the agent trade with real money."""
    _steering(config, url).promote(confirm, force=force)


@main.command()
@click.option("--reason", required=True, help="For the journal.")
@click.option("--write-off", is_flag=True, help="Also write off what the wallet does not hold.")
@click.option("--confirm", metavar="WORDS", help='"write off", given here instead of at the prompt.')
@_url_option
@_config_option
def demote(reason: str, write_off: bool, confirm: str | None, url: str | None, config: Path | None) -> None:
    """Take the agent back to paper, and sell what it holds."""
    _steering(config, url).demote(reason, confirm, write_off=write_off)


@main.command()
@click.argument("demotion")
@click.option("--reason", required=True, help="For the journal.")
@_url_option
@_config_option
def reapprove(demotion: str, reason: str, url: str | None, config: Path | None) -> None:
    """Lift the lock of the max-drawdown demotion whose journal entry is DEMOTION (jrn_...). Promotes nothing."""
    _steering(config, url).reapprove(demotion, reason)


@main.group(invoke_without_command=True)
@click.option("--type", "entry_type", help="Only entries of this type, such as EXECUTED.")
@click.option("--tag", help="Only entries with this tag, such as quote or ETH/USDT.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="Only the newest N.")
@_config_option
@_data_dir_option
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

    print_journal(_folder(config, data_dir), entry_type, tag, as_json, limit)


@journal.command()
@_config_option
@_data_dir_option
@click.pass_context
def verify(ctx: click.Context, config: Path | None, data_dir: str | None) -> None:
    """Check the whole log's hash chain; name the first bad seq."""
    from server.offline import verify_log

    parent = ctx.parent.params if ctx.parent else {}
    folder = _folder(config or parent.get("config"), data_dir or parent.get("data_dir"))
    sys.exit(verify_log(folder))


@main.command()
@click.option("--pair", help="Only this pair [default: all, and each by itself].")
@click.option("--from", "begin", metavar="TIME", help="Outcomes from here on, inclusive.")
@click.option("--to", "end", metavar="TIME", help="Outcomes up to here, exclusive.")
@click.option("--json", "as_json", is_flag=True, help="As GET /agents/{id}/funnel answers.")
@_config_option
@_data_dir_option
def funnel(
    pair: str | None, begin: str | None, end: str | None, as_json: bool, config: Path | None, data_dir: str | None
) -> None:
    """Signals, but no trades? Count at which gate they ended, out of the data dir; also while the daemon runs."""
    from server.funnel import print_funnel

    print_funnel(_folder(config, data_dir), pair, begin, end, as_json)


@main.command()
@click.argument("pair")
@click.option("--at", metavar="TIME", help="The last round at or before this time [default: the newest].")
@click.option("--json", "as_json", is_flag=True, help="The same facts as JSON.")
@_config_option
@_data_dir_option
def why(pair: str, at: str | None, as_json: bool, config: Path | None, data_dir: str | None) -> None:
    """Why is there no trade of PAIR? Show one round as it was decided: what the strategy saw, what every gate said,
    and what came of it; out of the data dir, also while the daemon runs."""
    from server.why import print_why

    print_why(_folder(config, data_dir), pair, at, as_json)


def _folder(config: Path | None, data_dir: str | None) -> Path:
    return Path(_settled(config, {"data_dir": data_dir} if data_dir else {}).machine.data_dir)
