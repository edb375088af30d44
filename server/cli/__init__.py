"""The `forestay` command: parses, calls, renders. Exit codes: 0 done, 1 a check failed, 2 a mistake in what was
asked (told in one line), 70 the daemon gave itself up so that it is started anew.

A command's module is imported when it is called: help, and commands that need little, are there at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from protocol.errors import UserError

EXIT_FAILED, EXIT_MISTAKE = 1, 2

# Where a command is, and what it does: what its own docstring says first.
COMMANDS: Final = {
    "backtest": ("server.cli.running", "Run SPEC over candles: the daemon's own decisions, fast."),
    "config": ("server.cli.agent", "Show the agent's config, or change it."),
    "demote": ("server.cli.steering", "Take the agent back to paper, and sell what it holds."),
    "funnel": ("server.cli.reading", "Signals, but no trades? Count at which gate they ended."),
    "guard": ("server.guard.command", "The signing guard: holds the key, and trusts nobody."),
    "init": ("server.cli.running", "Write a commented settings file."),
    "journal": ("server.cli.reading", "Read the journal out of the data dir, oldest first."),
    "kill": ("server.guard.command", "The kill switch: the guard signs nothing from now on."),
    "positions": ("server.cli.agent", "What the agent holds, at the last price."),
    "preflight": ("server.cli.steering", "Look at everything that a promotion depends on."),
    "promote": ("server.cli.steering", "Let the agent trade with real money."),
    "reapprove": ("server.cli.steering", "Lift the lock of a max-drawdown demotion."),
    "run": ("server.cli.running", "Run the daemon; print the journal as it grows."),
    "status": ("server.cli.agent", "How it is, what it does, and how far each limit is."),
    "strategies": ("server.cli.running", "List the ready strategies, or print one."),
    "tail": ("server.cli.following", "Follow a running daemon's stream, through its restarts."),
    "trades": ("server.cli.agent", "Every execution, oldest first."),
    "watch": ("server.cli.agent", "All of it live, on a full screen."),
    "why": ("server.cli.reading", "Why is there no trade of PAIR?"),
}


class _Commands(click.Group):
    """Imports a command when it is asked for. The one place where a UserError becomes one clear line, whichever command
    raised it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever read what we print has heard enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except UserError as error:
            click.echo(f"forestay: {error}", err=True)
            ctx.exit(EXIT_MISTAKE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forestay", prog_name="forestay")
def main() -> None:
    """Runs one crypto trading agent on paper, and makes it earn the right to trade real money.

    Settings come from forestay.toml, then the environment (FORESTAY_PORT, FORESTAY_DATA_DIR, FORESTAY_SECTION__KEY),
    then the flags.
    """
