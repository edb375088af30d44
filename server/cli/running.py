"""`forestay init`, `run`, `backtest` and `strategies`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from protocol.errors import UserError
from server.cli.options import config_option, data_dir_option, json_option, settled

if TYPE_CHECKING:
    from server.settings import Document


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


@click.command()
@click.option("--path", type=click.Path(path_type=Path), default=Path("forestay.toml"), show_default=True)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@json_option
def init(path: Path, force: bool, as_json: bool) -> None:
    """Write a commented settings file."""
    from server.cli.tables import say
    from server.template import TEMPLATE

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise UserError(f"{path}: is there already; --force overwrites it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    say({"path": str(path)}, f"Wrote {path}. `forestay run` reads it.", as_json=as_json)


@click.command()
@config_option
@data_dir_option
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
    settings = settled(config, flags)
    from server import daemon

    sys.exit(daemon.run(settings, exit_at_end=exit_at_end))


def _given(**values: Any) -> Document:
    return {key: value for key, value in values.items() if value not in (None, {})}


@click.command()
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
@config_option
def backtest(config: Path | None, **given: Any) -> None:
    """Run SPEC, a strategy file or a ready strategy's name, over candles: the daemon's own decisions, fast.

    [risk], [paper], [quotes] and [evaluation] are the settings'; here, and only here, `risk.preset = "off"` and
    `strategy.fee_multiple = 0` switch the risk rules and the fee filter off.
    """
    from server.backtesting.command import Asked
    from server.backtesting.command import backtest as run_backtest

    run_backtest(Asked(**given), settled(config, {}))


@click.command()
@click.argument("name", required=False)
@json_option
def strategies(name: str | None, as_json: bool) -> None:
    """List the ready strategies, or print the one called NAME."""
    from server.strategies import names, text

    if as_json:
        from protocol.answers import ReadyStrategy
        from server.cli.tables import echo_json

        echo_json(*(ReadyStrategy(it, text(it)) for it in ([name] if name else names())))
        return
    click.echo(text(name).rstrip() if name else "\n".join(names()))
