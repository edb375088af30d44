"""Hostile requests, one kind a test: refused by the right rule, and nothing signed; the valid neighbour of each is
signed, executed, and does to the balances what policy allows and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.signing import Refused, Signed
from tests.hostile.kinds import KINDS
from tests.hostile.stand import Stand, answered, signatures


@pytest.mark.parametrize("name", KINDS)
async def test_it_is_refused_and_its_neighbour_does_what_it_may(name: str, stand: Stand, folder: Path) -> None:
    kind = KINDS[name]
    async with stand.guard(folder) as guard:
        refused = await answered(guard, kind.asked(stand))
        assert isinstance(refused, Refused), refused
        assert refused.rule == kind.rule, refused
        assert signatures(folder) == {}
        request = kind.asked_well(stand)
        signed = await answered(guard, request)
        assert isinstance(signed, Signed), signed
        assert signatures(folder) == {request.intent: [signed]}
    assert stand.oracle.judge(signed.raw) == []
    assert stand.oracle.settle(signed.raw).wrong == []
