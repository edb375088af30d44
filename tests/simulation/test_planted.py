"""The planted bugs fit the code as it is. Whether they are caught is the simulator's own exam."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve

from tests.simulation.exam import BUGS
from tests.simulation.planted import COPIED, ROOT, STATEMENTS, Bug, Misplanted, mutated, planted


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_the_source_once_and_compiles(bug: Bug) -> None:
    assert mutated(bug) != (ROOT / bug.file).read_text()


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(bug.name for bug in BUGS).items() if count > 1] == []


def test_no_bug_is_planted_twice_under_two_names() -> None:
    results = Counter((bug.file, mutated(bug)) for bug in BUGS)
    assert [file for (file, _), count in results.items() if count > 1] == []


def test_every_statement_that_can_break_in_paper_has_a_bug() -> None:
    assert {bug.statement for bug in BUGS} >= STATEMENTS


def test_every_bug_says_what_it_takes_to_see_it() -> None:
    assert [bug.name for bug in BUGS if not bug.why] == []


def test_only_the_product_is_mutated_never_its_tests() -> None:
    assert {bug.file.split("/")[0] for bug in BUGS} <= set(COPIED) - {"tests"}


def test_a_copy_differs_from_the_product_in_one_file(tmp_path: Path) -> None:
    bug = BUGS[0]
    planted(bug, tmp_path)
    copied = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.py")}
    assert copied == {path.relative_to(ROOT) for room in COPIED for path in (ROOT / room).rglob("*.py")}
    assert {path for path in copied if (tmp_path / path).read_text() != (ROOT / path).read_text()} == {Path(bug.file)}


def test_a_bug_whose_place_is_gone_is_refused() -> None:
    with pytest.raises(Misplanted, match="0 times"):
        mutated(evolve(BUGS[0], old="no such line anywhere"))


def test_a_bug_whose_place_is_ambiguous_is_refused() -> None:
    with pytest.raises(Misplanted, match=r"has its place \d+ times"):
        mutated(evolve(BUGS[0], old="self"))


def test_a_bug_that_does_not_compile_is_refused() -> None:
    with pytest.raises(Misplanted, match="does not compile"):
        mutated(evolve(BUGS[0], new="this is no Python"))


def test_a_bug_that_changes_nothing_is_refused() -> None:
    with pytest.raises(Misplanted, match="changes nothing"):
        mutated(evolve(BUGS[0], new=BUGS[0].old))
