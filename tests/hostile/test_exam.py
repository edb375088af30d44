"""The oracle can fail: it sees each mistake that is put into a copy of the guard, each by what it says of it. With
FORESTAY_LONG=1 all of them are tried, otherwise every fourth."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.hostile.exam import FLAWS, Flaw, examine

TRIED = FLAWS if os.environ.get("FORESTAY_LONG") == "1" else FLAWS[::4]


@pytest.mark.parametrize("flaw", TRIED, ids=lambda flaw: flaw.bug.name)
def test_it_sees_what_comes_of_a_mistake(flaw: Flaw) -> None:
    told = examine(flaw)
    assert [it for wrong in told.values() for it in wrong if flaw.seen in it], told


def test_no_mistake_is_there_twice() -> None:
    places = Counter((flaw.bug.file, flaw.bug.old, flaw.bug.new) for flaw in FLAWS)
    assert [place for place, count in places.items() if count > 1] == []
