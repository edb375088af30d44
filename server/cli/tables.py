"""Tables: with lines and colour on a terminal, columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Literal

import click
from attrs import evolve, frozen

LEAST_TEXT: Final = 16  # letters of a column that wraps
Cell = str | tuple[str, str]  # a text, or a text and its style in rich's words


@frozen
class Column:
    name: str
    side: Literal["left", "right"] = "left"
    wraps: bool = False

    @property
    def head(self) -> str:
        return self.name.replace("_", " ")


@frozen
class Table:
    """`spare` names the columns that a narrow terminal does without, the first one first."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    spare: tuple[str, ...] = ()


def columns(words: str) -> tuple[Column, ...]:
    """Names; those with a `>` before them stand to the right, those with a `~` may wrap."""
    return tuple(
        Column(word.lstrip(">~"), "right" if word.startswith(">") else "left", word.startswith("~"))
        for word in words.split()
    )


def fitted(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table with as few of its spare columns left out as fits into `width`, two spaces apart; and which."""
    kept = [(column, _width(column, [row[n] for row in table.rows])) for n, column in enumerate(table.columns)]
    left_out = list[str]()
    for name in table.spare:
        if sum(wide for _, wide in kept) + 2 * (len(kept) - 1) <= width:
            break
        left_out.append(name)
        kept = [it for it in kept if it[0].name != name]
    chosen = [n for n, column in enumerate(table.columns) if column.name not in left_out]
    rows = [tuple(row[n] for n in chosen) for row in table.rows]
    return evolve(table, columns=tuple(table.columns[n] for n in chosen), rows=rows), left_out


def _width(column: Column, cells: Sequence[Cell]) -> int:
    if column.wraps:
        return max(len(column.head), LEAST_TEXT)
    return max([len(column.head), *(len(_text(cell)) for cell in cells)])


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

        console = Console(highlight=False)
        shown, left_out = fitted(table, console.width)
        console.print(ruled(shown))
        if left_out:
            console.print(f"(too narrow for {', '.join(left_out)})", style="dim")
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
