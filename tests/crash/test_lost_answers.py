"""What daemon and guard hear of the chain is lost, late, doubled, stale or garbage: one swap for an intent all the
same, and a breach is sold out."""

from __future__ import annotations

import os
from random import Random
from typing import Final

import pytest

from tests.crash.proxy import Proxy
from tests.crash.scenes import Cast, Scenes, idle
from tests.crash.truth import told
from tests.guard.houses import WALLET

SEEDS: Final = range(30 if os.environ.get("FORESTAY_LONG") == "1" else 3)


def through(cast: Cast, daemons: Proxy, guards: Proxy) -> None:
    """Both have an endpoint of their own by now."""
    for name, proxy in (("forestay.toml", daemons), ("guard/guard.toml", guards)):
        path = cast.stage.folder / name
        path.write_text(path.read_text().replace(proxy.node, proxy.url).replace("replace_seconds = 3600", ""))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_lost_there_is_one_swap_for_an_intent(scenes: Scenes, seed: int) -> None:
    random = Random(seed)
    with scenes["flat"].again() as cast:
        node = cast.stage.market.chain.url
        with Proxy(node, f"daemon {seed}") as daemons, Proxy(node, f"guard {seed}", (0, 4)) as guards:
            through(cast, daemons, guards)
            guards.honest = True
            cast.run_guard()
            guards.honest = False
            cast.run_daemon()
            for price in (1900, 1500):
                decided = cast.candle(price)
                cast.until(decided)
                cast.until(idle)
                if random.random() < 0.5:
                    cast.stage.daemon.kill()
            cast.until(idle)
            status = cast.stage.agent()["status"]
        cast.end()
        truth = told(cast.stage)
    print(f"seed {seed}: {status}, {len(truth.transactions)} transactions; {dict(daemons.met)}, {dict(guards.met)}")
    bought = bool(truth.trades)
    assert (status == "DEMOTED") == bought
    assert cast.stage.market.balance(WALLET, "ETH") == 0
    assert daemons.met
