"""Planted bugs: mistakes put into a copy of the product, never into the product, to see whether the simulator sees."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("protocol", "actors", "server", "tests")
# Of the statements that reliability has, those that can break in paper mode; 17 needs live orders.
STATEMENTS: Final = frozenset(map(str, (*range(1, 17), *range(18, 25), *range(35, 42))))


@frozen
class Bug:
    """A mistake as a textual replacement. `statement` is the number of what it breaks; `why` says how a person could
    have written it, and what it takes to see it. Where that is a real thread, socket, process or file, no simulated
    world has it, and `test` is the one that must fail. One in what trades `live` is looked for in live worlds."""

    name: str
    statement: str
    file: str
    old: str
    new: str
    why: str = ""
    test: str = ""
    live: bool = False


class Misplanted(Exception):
    """The bug does not fit the source: it has to be written anew for the code as it is now."""


def planted(bug: Bug, into: Path) -> None:
    """Copy the product and its tests to `into`, with this mistake in them. Run it with `into` first on `sys.path`.

    Raises Misplanted where `old` is not there exactly once, or what comes out does not compile.
    """
    made = mutated(bug)
    for room in COPIED:
        shutil.copytree(ROOT / room, into / room, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", into)  # what pytest goes by
    (into / bug.file).write_text(made)


def mutated(bug: Bug) -> str:
    """The file's source with the mistake in it."""
    source = (ROOT / bug.file).read_text()
    if (found := source.count(bug.old)) != 1:
        raise Misplanted(f"{bug.name}: {bug.file} has its place {found} times")
    made = source.replace(bug.old, bug.new)
    if made == source:
        raise Misplanted(f"{bug.name}: changes nothing")
    try:
        compile(made, bug.file, "exec")
    except SyntaxError as error:
        raise Misplanted(f"{bug.name}: {bug.file} does not compile: {error}") from None
    return made
