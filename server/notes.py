"""The journal for people: one line an entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

_COLOURS = {
    "EXECUTED": "green",
    "SKIPPED": "bright_black",
    "RISK_VETO": "yellow",
    "RISK_BREACH": "red",
    "STATUS_CHANGE": "magenta",
    "CONFIG_CHANGE": "magenta",
    "ACTOR_RESTARTED": "red",
}


def line(frame: str) -> str | None:
    """A frame of the stream as a line, in colour; None for what is not a journal entry."""
    if '"journal_entry"' not in frame:
        return None
    event: Mapping[str, Any] = json.loads(frame)
    if event.get("event") != "journal_entry":
        return None
    when = event["ts"][:16].replace("T", " ")
    kind = click.style(f"{event['type']:<15}", fg=_COLOURS.get(event["type"], "cyan"))
    return f"{click.style(when, dim=True)}  {kind} {event['text']}"
