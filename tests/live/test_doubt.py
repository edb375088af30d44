"""What is concluded of a kit's order whose hash nobody has named, whatever the chain shows."""

from __future__ import annotations

from typing import Final

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from actors.executor.live import NATIVE
from actors.executor.order_life import KitDidNot, KitSent, Unexplained
from actors.twak_signer.doubt import DOUBT_SECONDS, OVER_SECONDS, Traces, concluded
from protocol.events import HandedOver
from protocol.money import Units
from tests.live.lives import AT, E18, OPENED, folded, intended

WISH: Final = intended(folded(*OPENED))
REF: Final = WISH.order.ref
HANDED: Final = HandedOver(AT, REF, 3, {"USDT": Units(1000 * E18), "ETH": Units(5), NATIVE: Units(E18)}, 90)
swaps = st.lists(st.builds(KitSent, st.just(REF), st.integers(3, 6), st.sampled_from(["0xa", "0xb"])), max_size=3)
traces = st.builds(
    Traces,
    late=st.sampled_from([-100, 0, OVER_SECONDS, OVER_SECONDS + 1, DOUBT_SECONDS, DOUBT_SECONDS + 1]),
    used=st.integers(2, 6),
    waiting=st.integers(2, 6),
    swaps=swaps.map(tuple),
    searched=st.booleans(),
    units=st.fixed_dictionaries(
        {
            "USDT": st.sampled_from([900 * E18, 1000 * E18, 1001 * E18]).map(Units),
            "ETH": st.sampled_from([0, 5, 6]).map(Units),
            NATIVE: st.just(Units(E18 - 7)),
        }
    ),
)


@given(traces)
def test_what_is_concluded_is_never_more_than_what_is_seen(seen: Traces) -> None:
    found = concluded(REF, WISH, HANDED, seen)
    match found:
        case KitSent():
            assert seen.swaps == (found,)
            assert seen.searched
        case KitDidNot():
            assert seen.late > OVER_SECONDS, "it may be at work still"
            assert seen.used == seen.waiting >= HANDED.nonce, "what waits may come"
            assert seen.units["USDT"] >= HANDED.units["USDT"], "what was to be spent is there"
            assert not seen.swaps
            assert (found.coins is None) == (seen.used == HANDED.nonce)
        case Unexplained():
            assert seen.late > DOUBT_SECONDS
            assert found.units == seen.units
        case None:
            assert seen.late <= DOUBT_SECONDS, "nobody waits for ever"


@given(traces)
def test_time_alone_takes_no_conclusion_back(seen: Traces) -> None:
    before = concluded(REF, WISH, HANDED, seen)
    after = concluded(REF, WISH, HANDED, evolve(seen, late=seen.late + 10_000))
    assert before is None or type(after) is type(before)
    assert after is not None
