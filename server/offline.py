"""Reading a data dir without its daemon, or beside it."""

from __future__ import annotations

from pathlib import Path

import apsw
import click

from actors.journal.store import FILE_NAME, HAS_TAG, Damaged, LogReader
from protocol.codec import to_json
from protocol.errors import UserError
from server.notes import line


def open_log(folder: Path) -> LogReader:
    """The log in `folder`. Raises UserError where there is none that can be read."""
    path = folder / FILE_NAME
    try:
        if not path.exists():
            where = f"there is no log ({FILE_NAME}) in it; --data-dir says where one is"
            raise UserError(f"data_dir = {str(folder)!r}: {where}")
        return LogReader(path)
    except (apsw.Error, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be opened: {error}") from None


def print_journal(folder: Path, entry_type: str | None, tag: str | None, as_json: bool, limit: int | None) -> None:
    """The entries that match, oldest first, one a line; with `limit` the newest of them. Raises UserError."""
    reader = open_log(folder)
    where, values = ["kind = 'journal_entry'"], []
    if entry_type is not None:
        where.append("type = ?")
        values.append(entry_type.upper())
    if tag is not None:
        where.append(HAS_TAG)
        values.append(tag)
    newest = "SELECT row, body FROM log WHERE " + " AND ".join(where) + " ORDER BY row DESC LIMIT ?"  # noqa: S608
    found = False
    try:
        for (body,) in reader.select(f"SELECT body FROM ({newest}) ORDER BY row", (*values, limit or -1)):  # noqa: S608
            found = True
            click.echo(body if as_json else line(body))
    except (apsw.Error, ValueError) as error:
        raise UserError(f"{folder / FILE_NAME}: cannot be read: {error}; try `forestay journal verify`") from None
    if not found and not as_json:
        click.echo("There are no such entries.")


def verify_log(folder: Path, *, as_json: bool) -> int:
    """Check the chain and say what was found; the exit code: 0 whole, 1 damaged. Raises UserError."""
    reader = open_log(folder)
    try:
        rows = reader.verify()
        head = reader.head()
    except Damaged as error:
        bad = {"ok": False, "seq": error.seq, "row": error.row, "reason": error.reason}
        words = f"BAD: first bad seq {error.seq} (row {error.row}): {error.reason}"
        click.echo(to_json(bad).decode() if as_json else words)
        return 1
    except apsw.Error as error:
        raise UserError(f"{folder / FILE_NAME}: is not a log: {error}") from None
    whole = {"ok": True, "rows": rows, "seq": head.seq, "head": head.hash.hex()}
    words = f"ok: {rows} rows, {head.seq} events, head {head.hash.hex()}"
    click.echo(to_json(whole).decode() if as_json else words)
    return 0
