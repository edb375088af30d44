"""`forestay preflight`, `promote`, `demote` and `reapprove`: a person's acts, asked of the running daemon."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from protocol.errors import UserError
from server.cli.options import asked, json_option, of_a_daemon
from server.cli.tables import say

if TYPE_CHECKING:
    from protocol.answers import Check

GO_LIVE: Final = "go live"
WRITE_OFF: Final = "write off"
_force_option = click.option("--force", is_flag=True, help="Also before the record has earned it.")
_reason_option = click.option("--reason", required=True, help="For the journal.")


@click.command()
@_force_option
@json_option
@of_a_daemon
def preflight(force: bool, as_json: bool, url: str | None, config: Path | None) -> None:
    """Look at everything that a promotion depends on, and change nothing. Exit 1 where something fails."""
    checks = asked(config, url, lambda client: client.preflight(force=force))
    _tell(checks, as_json)
    sys.exit(0 if all(check.ok for check in checks) else 1)


@click.command()
@_force_option
@click.option("--confirm", metavar="WORDS", help=f'"{GO_LIVE}", given here instead of at the prompt.')
@json_option
@of_a_daemon
def promote(force: bool, confirm: str | None, as_json: bool, url: str | None, config: Path | None) -> None:
    """Let the agent trade with real money. Shows the checks first, then asks for the words."""
    checks = asked(config, url, lambda client: client.preflight(force=force))
    if not as_json:
        _tell(checks, as_json)
    if failed := [check.name for check in checks if not check.ok]:
        raise UserError(f"the agent cannot be promoted now: see `forestay preflight` on {', '.join(failed)}")
    _confirmed(GO_LIVE, confirm, "From then on it trades with real money.", aside=as_json)
    done = asked(config, url, lambda client: client.promote(GO_LIVE, force=force))
    say(done, "The agent is LIVE.", as_json=as_json)


@click.command()
@_reason_option
@click.option("--write-off", is_flag=True, help="Also write off what the wallet does not hold.")
@click.option("--confirm", metavar="WORDS", help=f'"{WRITE_OFF}", given here instead of at the prompt.')
@json_option
@of_a_daemon
def demote(
    reason: str, write_off: bool, confirm: str | None, as_json: bool, url: str | None, config: Path | None
) -> None:
    """Take the agent back to paper, and sell what it holds.

    To write off, it shows what the wallet has, and asks for the words.
    """
    if write_off:
        if not as_json:
            checks = asked(config, url, lambda client: client.preflight())
            _tell([check for check in checks if check.name == "holdings"], as_json)
        _confirmed(WRITE_OFF, confirm, "The live book then loses what the wallet does not hold.", aside=as_json)
    words = WRITE_OFF if write_off else None
    done = asked(config, url, lambda client: client.demote(reason, confirm=words))
    selling = " What the live book holds is sold for USDT, once the guard signs that." if done.flattening else ""
    say(done, f"The agent is {done.status}.{selling}", as_json=as_json)


@click.command()
@click.argument("demotion")
@_reason_option
@json_option
@of_a_daemon
def reapprove(demotion: str, reason: str, as_json: bool, url: str | None, config: Path | None) -> None:
    """Lift the lock of the max-drawdown demotion whose journal entry is DEMOTION (jrn_...). Promotes nothing."""
    done = asked(config, url, lambda client: client.reapprove(demotion, reason))
    say(done, f"The lock of {demotion} is lifted. The agent is {done.status}.", as_json=as_json)


def _tell(checks: Sequence[Check], as_json: bool) -> None:
    from server.cli.tables import echo_json, show
    from server.cli.told import checks_table

    if as_json:
        echo_json(*checks)
    else:
        show(checks_table(checks), "There is nothing to check.")


def _confirmed(words: str, given: str | None, consequence: str, *, aside: bool) -> None:
    """Raises UserError where other words are given, or typed."""
    question = f'{consequence} Type "{words}"'
    said = given if given is not None else click.prompt(question, default="", show_default=False, err=aside)
    if said != words:
        raise UserError(f'not done: that needs the words "{words}"')
