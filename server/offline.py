"""Reading a data dir without its daemon, or beside it."""

from __future__ import annotations

from pathlib import Path

import apsw
import click

from actors.journal.store import FILE_NAME, HAS_TAG, Damaged, LogReader
from protocol.errors import UserError
from server.notes import line


def open_log(folder: Path) -> LogReader:
    """The log in `folder`. Raises UserError where there is none that can be read."""
    path = folder / FILE_NAME
    try:
        if not path.exists():
            raise UserError(f"data_dir = {str(folder)!r}: there is no log ({FILE_NAME}) in it")
        return LogReader(path)
    except (apsw.Error, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be opened: {error}") from None


def print_journal(folder: Path, entry_type: str | None, tag: str | None, as_json: bool, limit: int | None) -> None:
    """The entries that match, oldest first, one a line; with `limit` the newest of them. Raises UserError."""
    reader = open_log(folder)
    where, values = ["kind = 'journal_entry'"], []
    if entry_type is not None:
        where.append("type = ?")
        values.append(entry_type)
    if tag is not None:
        where.append(HAS_TAG)
        values.append(tag)
    newest = "SELECT row, body FROM log WHERE " + " AND ".join(where) + " ORDER BY row DESC LIMIT ?"  # noqa: S608
    try:
        for (body,) in reader.select(f"SELECT body FROM ({newest}) ORDER BY row", (*values, limit or -1)):  # noqa: S608
            click.echo(body if as_json else line(body))
    except (apsw.Error, ValueError) as error:
        raise UserError(f"{folder / FILE_NAME}: cannot be read: {error}; try `forestay journal verify`") from None


def verify_log(folder: Path) -> int:
    """Check the chain and say what was found; the exit code: 0 whole, 1 damaged. Raises UserError."""
    reader = open_log(folder)
    try:
        rows = reader.verify()
        head = reader.head()
    except Damaged as error:
        click.echo(f"BAD: first bad seq {error.seq} (row {error.row}): {error.reason}")
        return 1
    except apsw.Error as error:
        raise UserError(f"{folder / FILE_NAME}: is not a log: {error}") from None
    click.echo(f"ok: {rows} rows, {head.seq} events, head {head.hash.hex()}")
    return 0
