"""Tables: with lines and colour on a terminal, columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import click
from attrs import frozen

Cell = str | tuple[str, str]  # a text, or a text and its style in rich's words


@frozen
class Column:
    name: str
    side: Literal["left", "right"] = "left"


@frozen
class Table:
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]


def columns(words: str) -> tuple[Column, ...]:
    """Names; those with a `>` before them stand to the right."""
    return tuple(Column(word.removeprefix(">"), "right" if word.startswith(">") else "left") for word in words.split())


def plain(table: Table) -> str:
    """Columns two spaces apart, the names of the columns first; no blank at a line's end.

    >>> print(plain(Table(columns("pair >size"), [("ETH/USDT", "1.50"), ("LTC/USDT", ("120.00", "red"))])))
    pair        size
    ETH/USDT    1.50
    LTC/USDT  120.00
    """
    lines = [[column.name for column in table.columns], *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.columns))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column.side == "right" else text.ljust(width)
            for text, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )


def on_terminal() -> bool:
    return sys.stdout.isatty()


def show(table: Table, empty: str) -> None:
    """Print it; `empty` says what it means that there is none."""
    if not table.rows:
        click.echo(empty)
    elif on_terminal():
        from rich.console import Console

        from server.cli.pictures import ruled

        Console(highlight=False).print(ruled(table))
    else:
        click.echo(plain(table))


def show_facts(lines: Sequence[tuple[str, Cell]]) -> None:
    """Print names and what there is to say to each."""
    if on_terminal():
        from rich.console import Console

        from server.cli.pictures import facts

        Console(highlight=False).print(facts(lines))
        return
    width = max(len(name) for name, _ in lines)
    click.echo("\n".join(f"{name.ljust(width)}  {_text(cell)}" for name, cell in lines))


def echo_json(*values: object) -> None:
    """Each on a line of its own, as the wire has it."""
    from protocol.codec import to_json, to_plain

    for value in values:
        click.echo(value if isinstance(value, str) else to_json(to_plain(value)).decode())


def say(answer: object, words: str, *, as_json: bool) -> None:
    """What came of it: as JSON, or in words."""
    echo_json(answer) if as_json else click.echo(words)


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]
