"""Thousands of mutants of valid requests: what of them is signed does nothing that policy does not allow, and much of
them is signed. FORESTAY_LONG=1 runs ten thousand."""

from __future__ import annotations

import os
from pathlib import Path
from random import SystemRandom

import pytest

from tests.hostile import mutants
from tests.hostile.stand import Stand

LONG = os.environ.get("FORESTAY_LONG") == "1"
FRESH = SystemRandom().randrange(2**32)
RUNS = (
    {"seed 1": (1, 5_000), "a fresh seed": (FRESH, 5_000)}
    if LONG
    else {"seed 1": (1, 300), "a fresh seed": (FRESH, 300)}
)
LEAST_SIGNED = 5  # one of so many
EXPECTED = {"allowlist", "balance", "calldata", "deadline", "recipient", "router", "selector", "slippage"}


@pytest.mark.parametrize("name", RUNS)
async def test_no_mutant_that_is_signed_violates_policy(name: str, stand: Stand, folder: Path) -> None:
    seed, requests = RUNS[name]
    ran = await mutants.run(stand, folder, requests, seed)
    said = f"seed {seed}: {ran.asked} asked, {ran.signed} signed, {ran.executed} executed, {dict(ran.refused)}"
    assert ran.wrong == [], said
    assert ran.signed * LEAST_SIGNED >= ran.asked, said
    assert ran.succeeded * 2 >= ran.executed, said
    assert set(ran.refused) >= EXPECTED, said
    print(said)
