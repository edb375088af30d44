"""What a run leaves behind: its log, read from the file itself, and what `forestay journal verify` says of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from tests.world import daemon

SECONDS = 60.0
LIFE_OF_THE_PROCESS = {"STARTED", "STOPPED", "ACTOR_RESTARTED"}


class Logged(NamedTuple):
    """A row as it stands in the log."""

    row: int
    seq: int | None
    kind: str
    body: str
    hash: bytes


def logged(data_dir: Path) -> list[Logged]:
    """All rows, oldest first."""
    db = apsw.Connection(str(data_dir / "log.sqlite3"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [Logged(*row) for row in db.execute("SELECT row, seq, kind, body, hash FROM log ORDER BY row")]
    finally:
        db.close()


def logged_so_far(data_dir: Path) -> list[Logged]:
    """The same, where the daemon may have died before there was a log."""
    try:
        return logged(data_dir)
    except (apsw.CantOpenError, apsw.SQLError):  # no file, or no table in it
        return []


def forget_checkpoints(data_dir: Path) -> int:
    """Delete every checkpoint, which is a cache; how many there were."""
    db = apsw.Connection(str(data_dir / "log.sqlite3"))
    try:
        db.execute("DELETE FROM checkpoint")
        return db.changes()
    finally:
        db.close()


def frames(rows: list[Logged]) -> list[str]:
    """The events, as they are sent."""
    return [row.body for row in rows if row.seq is not None]


def entry_types(rows: list[Logged]) -> list[str]:
    """The types of the journal's entries, oldest first."""
    return [json.loads(row.body)["type"] for row in rows if row.kind == "journal_entry"]


def essence(rows: list[Logged]) -> list[tuple[str, dict[str, Any]]]:
    """What the run was about: kinds and bodies, without places in the log and without the life of its processes."""
    kept = []
    for row in rows:
        body = json.loads(row.body)
        body.pop("seq", None)
        if row.kind != "journal_entry" or body["type"] not in LIFE_OF_THE_PROCESS:
            kept.append((row.kind, body))
    return kept


def verify(data_dir: Path) -> str:
    """`forestay journal verify`, which must find the log whole; what it said."""
    found = subprocess.run(
        [str(daemon.FORESTAY), "journal", "verify", "--data-dir", str(data_dir)],
        cwd=data_dir.parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("FORESTAY_")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout
