"""One interleaving per seed: trio's scheduling drawn from a seed, its clock jumping wherever everybody waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import pytest
import trio
from trio._core import _run as scheduler
from trio.testing import MockClock

T = TypeVar("T")
SEEDS: Final = range(8)


def run_seeded(seed: int, main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """`trio.run(main, *args)` on the schedule that `seed` names. No thread, no socket: the clock jumps over them."""
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    try:
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]


def over_seeds(test: Callable[[], Awaitable[None]]) -> Callable[[int], None]:
    """Make an async test a plain one that is run on each of SEEDS."""

    def run(seed: int) -> None:
        run_seeded(seed, test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return pytest.mark.parametrize("seed", SEEDS)(run)
