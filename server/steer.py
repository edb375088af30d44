"""`forestay preflight`, `promote`, `demote` and `reapprove`: a person's acts, asked of the running daemon."""

from __future__ import annotations

from typing import Any, Final

import click
import httpx

from protocol.errors import UserError
from server.door.bodies import GO_LIVE, WRITE_OFF

SECONDS: Final = 60.0


class Steering:
    """A running daemon, as a person's command line reaches it."""

    def __init__(self, base: str, token: str | None) -> None:
        self._base = base
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def preflight(self, *, force: bool) -> bool:
        """Print what a promotion depends on; whether all of it holds."""
        checks = self._answer("GET", f"preflight{'?force=true' if force else ''}")
        self._tell(checks)
        return all(check["ok"] for check in checks)

    def promote(self, confirm: str | None, *, force: bool) -> None:
        """Show the checks, ask for the words, promote. Raises UserError where the daemon refuses."""
        if not self.preflight(force=force):
            raise UserError("the agent cannot be promoted now: see the checks that failed")
        _confirmed(GO_LIVE, confirm, "From then on it trades with real money.")
        self._answer("POST", "promote", {"confirm": GO_LIVE, "force": force})
        click.echo("The agent is LIVE.")

    def demote(self, reason: str, confirm: str | None, *, write_off: bool) -> None:
        """To write off, show what the wallet has, and ask for the words. Raises UserError where the daemon refuses."""
        body = {"reason": reason}
        if write_off:
            self._tell([check for check in self._answer("GET", "preflight") if check["name"] == "holdings"])
            _confirmed(WRITE_OFF, confirm, "The live book then loses what the wallet does not hold.")
            body["confirm"] = WRITE_OFF
        answer = self._answer("POST", "demote", body)
        selling = " What it holds is being sold for USDT." if answer["flattening"] else ""
        click.echo(f"The agent is {answer['status']}.{selling}")

    def reapprove(self, demotion: str, reason: str) -> None:
        answer = self._answer("POST", "reapprove", {"demotion": demotion, "reason": reason})
        click.echo(f"The lock of {demotion} is lifted. The agent is {answer['status']}.")

    def _answer(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self._base}/agents/current/{path}"
        try:
            answer = httpx.request(method, url, json=body, headers=self._headers, timeout=SECONDS)
        except httpx.HTTPError as error:
            raise UserError(f"{self._base}: no daemon answers there: {error}") from None
        found = answer.json()
        if answer.status_code != 200:
            self._tell(found.get("checks", []))
            raise UserError(f"{found['code']}: {found['detail']}")
        return found

    def _tell(self, checks: list[dict[str, Any]]) -> None:
        for check in checks:
            click.echo(f"  {'ok' if check['ok'] else 'NO':<4}{check['name']:<18}{check['detail']}")


def _confirmed(words: str, given: str | None, consequence: str) -> None:
    """Raises UserError where other words are given, or typed."""
    said = given if given is not None else click.prompt(f'{consequence} Type "{words}"', default="", show_default=False)
    if said != words:
        raise UserError(f'not done: that needs the words "{words}"')
