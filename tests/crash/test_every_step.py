"""Daemon or guard ends by SIGKILL between any two steps of a live order, and is started again: one swap, or none."""

from __future__ import annotations

import json
import os
from typing import Final

import pytest
from attrs import frozen

from protocol.events import Promotion
from tests.crash._doomed import DOOM
from tests.crash.scenes import Cast, Scenes, idle
from tests.crash.truth import told
from tests.guard.houses import WALLET

LONG: Final = os.environ.get("FORESTAY_LONG") == "1"
COMMITS: Final = ("before", "during", "after")
LEGS: Final = ("approval", "swap")


@frozen
class Point:
    """A step: whose, which place of it, of what."""

    host: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.host}-{self.place}-{self.what.replace(' ', '-')}"


ORDER: Final = (
    *(Point("daemon", place, "intended") for place in COMMITS),
    *(
        point
        for leg in LEGS
        for point in (
            Point("daemon", "unasked", leg),
            *(Point("guard", place, leg) for place in ("asked", "judging", "unwritten", "torn", "unsynced")),
            *(Point("guard", place, leg) for place in ("recorded", "answered")),
            Point("daemon", "unheard", leg),
            *(Point("daemon", place, f"submitted {leg}") for place in COMMITS),
            *(Point("daemon", place, leg) for place in ("unsent", "sent", "noticed")),
            *(Point("daemon", place, f"mined {leg}") for place in COMMITS),
        )
    ),
)
BREACH: Final = tuple(Point("daemon", place, "demotion") for place in COMMITS)
VICTIMS: Final = ("daemon", "guard")
# What is played: the moment it begins from, and the price that the next candle closes at.
STORIES: Final = {"buy": ("flat", 1900), "sell": ("holding", 2050), "breach": ("holding", 1500)}
POINTS: Final = {"buy": ORDER, "sell": ORDER, "breach": (*BREACH, *ORDER)}
ALL: Final = [
    (story, point, victim)
    for story, points in POINTS.items()
    for point in points
    for victim in VICTIMS
    if point.place != "torn" or victim == "guard"  # who goes on writes all of it
]


def some() -> list[tuple[str, Point, str]]:
    """Every place of every step once, by turns in each story, on each leg, and with each victim."""
    taken, places = [], set()
    for number in range(len(ALL)):
        story, point, victim = ALL[number * 59 % len(ALL)]  # a prime: it comes to all of them
        if (point.host, point.place, point.what == "demotion") not in places:
            places.add((point.host, point.place, point.what == "demotion"))
            taken.append((story, point, victim))
    return taken


@pytest.mark.parametrize(("story", "point", "victim"), ALL if LONG else some(), ids=str)
def test_one_swap_for_an_intent_whoever_dies_where(scenes: Scenes, story: str, point: Point, victim: str) -> None:
    moment, price = STORIES[story]
    with scenes[moment].again() as cast:
        begin(cast, point, victim)
        decided = cast.candle(price)
        cast.until(lambda agent: cast.deaths and decided(agent) and idle(agent))
        assert cast.deaths == [victim]
        if story == "breach":
            assert cast.stage.agent()["status"] == "DEMOTED"
        cast.end()
        truth = told(cast.stage)
    sides = {"buy": ["buy"], "sell": ["buy", "sell"], "breach": ["buy", "sell"]}[story]
    assert [trade.side for trade in truth.trades] == sides
    assert bool(cast.stage.market.balance(WALLET, "ETH")) == (story == "buy")
    assert len(truth.entries("DEMOTION")) == (story == "breach")
    assert len(truth.of(Promotion)) == 2


def begin(cast: Cast, point: Point, victim: str) -> None:
    """Start both; one of them has an hour to come."""
    doom = {DOOM: json.dumps([point.place, point.what, "" if victim == point.host else cast.pid_file(victim)])}
    cast.run_guard(doom if point.host == "guard" else None)
    cast.run_daemon(doom if point.host == "daemon" else None)
