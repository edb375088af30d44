"""Tables and lines for a terminal, in rich's classes. Imported only where there is a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from server.cli.tables import Cell, Table


def ruled(table: Table, *, title: str | None = None) -> RichTable:
    """A table with a line under its heads."""
    made = RichTable(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left", pad_edge=False, show_edge=False
    )
    for column in table.columns:
        made.add_column(column.head, justify=column.side, header_style="dim", no_wrap=not column.wraps)
    for row in table.rows:
        made.add_row(*map(text, row))
    return made


def facts(lines: Sequence[tuple[str, Cell]]) -> RichTable:
    """Names and what there is to say, without lines."""
    made = RichTable.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column()
    for name, cell in lines:
        made.add_row(name, text(cell))
    return made


def text(cell: Cell) -> Text:
    """Never markup: what comes from outside may have brackets in it."""
    return Text(cell) if isinstance(cell, str) else Text(cell[0], style=cell[1])
