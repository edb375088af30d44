"""What `server.why` has found, for people: the answer in a sentence, and all of it as a short text."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import click

from protocol.money import pct, price, usdt


def verdict(facts: dict[str, Any]) -> str:
    """The answer in one sentence."""
    asked = "entry" if facts["side"] == "buy" else "exit"
    outcome, status = facts["outcome"], facts["status"]["state"]
    if facts["passed_over"]:
        return "Nothing was decided on this candle: the round was passed over."
    if outcome is not None:
        return _verdict_on(outcome, f"{asked} signal".capitalize())
    if status == "waiting":
        return "Nothing was asked: an order waits for the next open."
    if status == "flat" and not facts["watched"]:
        return f"No signal: {facts['pair']} is not on the watchlist, so it is not entered."
    lines, exits = facts["conditions"]["of"], facts["exits"]
    held, cold = sum(line["held"] for line in lines), sum(line["value"] is None for line in lines)
    takes = "all" if facts["conditions"]["join"] == "all" else "one"
    several = f"{held} of {len(lines)} conditions held, it takes {takes}"
    found = several if len(lines) > 1 else "its condition did not hold"
    no_value = f" ({cold} had no value)" if cold else ""
    return f"No {asked} signal: {found}{no_value}{', and no other exit did' if exits else ''}."


_SAID_BY: Final = {
    "regime": "the strategy stands aside in this regime", "fees": "it promised too little for its cost",
    "quote": "its price was not believed", "risk": "a risk rule vetoed it", "fill": "the executor refused it",
}  # fmt: skip


def _verdict_on(outcome: dict[str, Any], signal: str) -> str:
    match outcome["what"]:
        case "filled":
            return f"{signal}, and a trade."
        case "placed" if outcome["then"] is None:
            return f"{signal}, and an order that waits for the next open."
        case "placed":
            then = "it was filled" if outcome["then"]["what"] == "filled" else "there the executor refused it"
            return f"{signal}, and an order for the next open: {then}."
    return f"{signal}, but no trade: {_SAID_BY[outcome['gate']]} ({outcome['code']})."


def told(facts: dict[str, Any]) -> str:
    """All of it as a short text."""
    lines = [
        click.style(f"{facts['pair']} at {_when(facts['at'])}, close {price(facts['close'])}", bold=True)
        + f" (config version {facts['config_version']}, strategy {facts['strategy']})",
        _status_told(facts["status"]),
        click.style(facts["verdict"], bold=True),
    ]
    if facts["passed_over"]:
        lines.append(facts["passed_over"])
    if facts["fill"]:
        lines.append("At this candle's open: " + _outcome_told(facts["fill"]))
    if facts["outcome"]:
        lines.append(_outcome_told(facts["outcome"]))
    if no := facts["live_no"]:
        lines.append("The live book did not follow: " + (no["text"] or f"{no['code']}, as it was told before."))
    conditions, buying = facts["conditions"], facts["side"] == "buy"
    join = "all of" if conditions["join"] == "all" else "any of"
    lines += ["", f"To {'buy' if buying else 'sell'}, {join}:", *(_condition_told(line) for line in conditions["of"])]
    if facts["exits"]:
        lines += ["or:", *(_exit_told(line) for line in facts["exits"])]
    if facts["regime"] and facts["regime"]["of"]:
        lines += ["Stand aside, any of:", *(_condition_told(line, good=False) for line in facts["regime"]["of"])]
    if facts["fees"]:
        lines += ["Fees:", _fees_told(facts["fees"])]
    lines += [f"Quote for {usdt(facts['quote']['size'])}:", _quote_told(facts["quote"])]
    if facts["risk"]:
        lines += [f"Risk rules for {usdt(facts['risk']['size'])}:", *(_check_told(c) for c in facts["risk"]["checks"])]
    else:
        lines.append("Risk rules let every exit pass.")
    if not facts["outcome"]:
        lines += ["", _last_told(facts["last_signal"])]
    return "\n".join(lines)


def _when(at: str) -> str:
    """`2024-03-05 12:00`, and smaller units where there are any."""
    return at[:-1].removesuffix(".000").removesuffix(":00").replace("T", " ")


def _status_told(status: dict[str, Any]) -> str:
    match status["state"]:
        case "flat":
            return "It was flat."
        case "held":
            return f"It was held since {_when(status['since'])}, bought at {price(status['entry_price'])}."
    return f"A {status['side']} of {usdt(status['size'])} waited since {_when(status['since'])}."


def _outcome_told(outcome: dict[str, Any]) -> str:
    if outcome["what"] == "placed":
        then = f" {_when(outcome['then']['at'])}: {_outcome_told(outcome['then'])}" if outcome["then"] else ""
        return f"Placed a {outcome['side']} of {usdt(outcome['size'])} because {outcome['reason']}.{then}"
    entry, repeat = outcome["entry"], outcome.get("repeat")
    text = f"{entry['text']} ({entry['id']})" if entry else f"{outcome['side']}: {outcome.get('code', 'filled')}"
    if repeat is None:
        return text
    times = f"number {repeat['number']} of {repeat['times']} alike"
    return f"{times}; the first was told, at {_when(repeat['first_at'])}: {text}"


def _last_told(last: dict[str, Any] | None) -> str:
    if last is None:
        return "It never had a signal before."
    return f"Its last signal was to {last['side']}, at {_when(last['at'])}: {_outcome_told(last['outcome'])}"


def _yes(answer: bool, *, good: bool = True) -> str:
    return click.style("yes" if answer else "no", fg="green" if answer is good else "red")


def _passes(answer: bool) -> str:
    return click.style("passes" if answer else "no", fg="green" if answer else "red")


def _condition_told(line: dict[str, Any], *, good: bool = True) -> str:
    value, wanted = line["value"], f"wanted {line['op']} {line['wanted']:g}"
    if value is None and line["needs"] is None:
        return f"  {line['condition']} has no value, or none that is young enough, {wanted}: {_yes(False, good=good)}"
    if value is None:
        warm = f"is not warm yet, needs {line['needs']:,} candles and has seen {line['seen']:,}"
        return f"  {line['condition']} {warm}, {wanted}: {_yes(False, good=good)}"
    before = line.get("before", value)
    after = "" if "before" not in line else " after none" if before is None else f" after {before:.4g}"
    return f"  {line['condition']} is {value:.4g}{after}, {wanted}: {_yes(line['held'], good=good)}"


def _exit_told(line: dict[str, Any]) -> str:
    hours = line["condition"] == "max_hold_hours"
    value, wanted = (f"{n:.2f} h" if hours else pct(n) for n in (line["value"], line["wanted"]))
    what = "held for" if hours else "the close is, from the entry,"
    return f"  {line['condition']}: {what} {value}, wanted {line['op']} {wanted}: {_yes(line['held'])}"


def _fees_told(fees: dict[str, Any]) -> str:
    if fees["cost"] is None:
        return f"  {fees['reason']}: {_passes(False)}"
    edge = pct(fees["edge"])
    if fees["seen"] is not None:
        edge += f" (not warm yet, needs {fees['needs']:,} candles and has seen {fees['seen']:,})"
    cost = f"{fees['multiple']:g} x the round trip's {pct(fees['cost'])}"
    return f"  the expected edge is {edge}, wanted >= {pct(fees['wanted'])}, {cost}: {_passes(fees['passes'])}"


def _quote_told(quote: dict[str, Any]) -> str:
    if not quote["accepted"]:
        return f"  {quote['reason']}: {_passes(False)}"
    apart = "not checked against a second source"
    if quote["divergence_checked"]:
        apart = f"{pct(quote['divergence'])} from {quote['reference_venue']}"
    how = f"impact {pct(quote['impact'])}, {quote['age_seconds']:g} s old, {apart}"
    return f"  {quote['venue']} {price(quote['price'])}, {how}: {_passes(True)}"


def _hours(amount: Decimal) -> str:
    return f"{amount:.1f} h"


_UNITS: Final[dict[str, Callable[[Decimal], str]]] = {
    "max_drawdown": pct, "daily_drawdown": pct, "per_pair_exposure": pct, "insufficient_funds": usdt,
    "stale_market": _hours,
}  # fmt: skip


def _check_told(check: dict[str, Any]) -> str:
    if check["reason"]:
        return f"  {check['rule']}: {check['reason']}: {_passes(False)}"
    unit = _UNITS.get(check["rule"], "{:g}".format)
    return f"  {check['rule']} is {unit(check['measured'])}, limit {unit(check['limit'])}: {_passes(True)}"
