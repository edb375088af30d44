"""What the tower promises to those who stand in it, on several interleavings each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from attrs import Factory, define, frozen
from hypothesis import given
from hypothesis import strategies as st
from trio._core import _run as scheduler

from actors.tower import (
    HEARTBEAT_SECONDS,
    STUCK_SECONDS,
    Actor,
    Address,
    Ask,
    Desk,
    Died,
    Floor,
    MailboxFull,
    Meltdown,
    TooLate,
    Tower,
    UpwardAsk,
)
from actors.turn import Draft, Turn
from tests.actors.seeded import over_seeds, run_seeded

NAMES = ("cellar", "ground", "first", "attic")


class Boom(Exception):
    """What an actor dies of here."""


@frozen
class Say(Ask[Any]):
    """Answered by itself, after `takes` seconds; `boom` kills its reader instead."""

    what: Any
    takes: float = 0.0
    boom: bool = False


@define
class Diary:
    """What happened, in order; and what is to go wrong."""

    read: list[Any] = Factory(list)
    done: list[Any] = Factory(list)
    restored: list[str] = Factory(list)
    fell: list[str] = Factory(list)
    ended: list[str] = Factory(list)
    restore_dies: dict[str, int] = Factory(dict)  # how often yet, by floor
    work_dies_at: dict[str, list[float]] = Factory(dict)  # seconds after each restore, by floor


class Scribe(Actor):
    def __init__(self, name: str, diary: Diary) -> None:
        self.name, self.diary = name, diary

    async def restore(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.diary.restore_dies.get(self.name, 0):
            self.diary.restore_dies[self.name] -= 1
            raise Boom(self.name)
        self.diary.restored.append(self.name)

    async def receive(self, message: Say) -> Any:
        self.diary.read.append(message.what)
        await trio.lowlevel.checkpoint()
        if message.boom:
            raise Boom(message.what)
        await trio.sleep(message.takes)
        self.diary.done.append(message.what)
        return message.what

    async def work(self) -> None:
        try:
            if deaths := self.diary.work_dies_at.get(self.name):
                await trio.sleep(deaths.pop(0))
                raise Boom(self.name)
            await trio.sleep_forever()
        finally:
            self.diary.ended.append(self.name)


def tower_of(diary: Diary, names: tuple[str, ...] = NAMES, *, capacity: int = 256, **how: Any) -> Tower:
    def floor(name: str) -> Floor:
        return Floor(name, lambda _: Scribe(name, diary), capacity)

    return Tower([floor(name) for name in names], on_fall=lambda name, _: diary.fell.append(name), **how)


@asynccontextmanager
async def standing(tower: Tower) -> AsyncIterator[Desk]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tower.run)
        await tower.standing.wait()
        yield tower.outside()
        nursery.cancel_scope.cancel()


@over_seeds
async def test_a_mailbox_outlives_its_actor_and_keeps_the_order() -> None:
    diary = Diary()
    async with standing(tower_of(diary)) as desk:
        attic = desk.address("attic")
        for number in range(20):
            attic.tell(Say(number, boom=number in (3, 4, 11)))
        await attic.ask(Say("end"))
    assert diary.read == [*range(20), "end"]
    assert diary.done == [n for n in range(20) if n not in (3, 4, 11)] + ["end"]
    assert diary.restored.count("attic") == 4


@over_seeds
async def test_what_waits_above_a_falling_floor_stays_in_order() -> None:
    diary = Diary()
    async with standing(tower_of(diary)) as desk:
        ground, attic = desk.address("ground"), desk.address("attic")
        attic.tell(Say("in hand", takes=5))
        await trio.sleep(1)
        for number in range(10):
            attic.tell(Say(number))
        ground.tell(Say("boom", boom=True))
        await attic.ask(Say("end"))
    assert [what for what in diary.read if what != "boom"] == ["in hand", *range(10), "end"]
    assert diary.done == [*range(10), "end"]


@over_seeds
async def test_the_message_that_killed_is_settled_at_once_and_never_read_again() -> None:
    diary = Diary()
    async with standing(tower_of(diary)) as desk:
        before = trio.current_time()
        with pytest.raises(Died):
            await desk.address("first").ask(Say("boom", boom=True))
        assert trio.current_time() == before
        assert await desk.address("first").ask(Say("after")) == "after"
    assert diary.read == ["boom", "after"]


@over_seeds
async def test_who_asks_a_floor_that_falls_with_an_older_one_is_told_at_once() -> None:
    diary = Diary()
    told: list[float] = []

    async def ask_the_attic(desk: Desk) -> None:
        with pytest.raises(Died):
            await desk.address("attic").ask(Say("long", takes=20))
        told.append(trio.current_time())

    async with standing(tower_of(diary)) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(ask_the_attic, desk)
        await trio.sleep(2)
        desk.address("cellar").tell(Say("boom", boom=True))
        fell_at = trio.current_time()
    assert told == [fell_at]


@pytest.mark.parametrize("fallen", range(len(NAMES)))
def test_a_falling_floor_takes_the_younger_with_it_and_never_an_older_one(fallen: int) -> None:
    async def main() -> Diary:
        diary = Diary()
        async with standing(tower_of(diary)) as desk:
            desk.address(NAMES[fallen]).tell(Say("boom", boom=True))
            for name in NAMES:
                await desk.address(name).ask(Say(name))
        return diary

    for seed in range(4):
        diary = run_seeded(seed, main)
        assert diary.restored == [*NAMES, *NAMES[fallen:]]
        assert diary.fell == [NAMES[fallen]]


@over_seeds
async def test_no_floor_asks_itself_or_a_younger_one_and_everybody_tells_everybody() -> None:
    diary = Diary()
    tower = tower_of(diary)
    async with standing(tower) as outside:
        for asker in range(len(NAMES)):
            for asked, name in enumerate(NAMES):
                address = Desk(tower, asker).address(name)
                address.tell(Say(("tell", asker, asked)))
                if asked < asker:
                    assert await address.ask(Say((asker, asked))) == (asker, asked)
                else:
                    with pytest.raises(UpwardAsk):
                        await address.ask(Say((asker, asked)))
        for name in NAMES:
            await outside.address(name).ask(Say("end"))
    assert {what for what in diary.done if what[0] == "tell"} == {("tell", i, j) for i in range(4) for j in range(4)}
    assert not any(asker <= asked for what in diary.read if len(what) == 2 for asker, asked in [what])


@over_seeds
async def test_a_full_mailbox_raises_in_the_sender_at_once_and_loses_nothing() -> None:
    diary = Diary()
    async with standing(tower_of(diary, capacity=3)) as desk:
        attic = desk.address("attic")
        attic.tell(Say("in hand", takes=0.5))
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        for number in range(3):
            attic.tell(Say(number))
        with pytest.raises(MailboxFull):
            attic.tell(Say("too much"))
        with pytest.raises(MailboxFull):
            await attic.ask(Say("too much"))
        assert trio.current_time() == before
        await trio.sleep(1)
        assert await attic.ask(Say("end")) == "end"
    assert diary.done == ["in hand", 0, 1, 2, "end"]


@over_seeds
async def test_an_ask_past_its_deadline_is_too_late_and_its_message_is_still_handled() -> None:
    diary = Diary()
    async with standing(tower_of(diary)) as desk:
        began = trio.current_time()
        with pytest.raises(TooLate):
            await desk.address("attic").ask(Say("slow", takes=10), within=3)
        assert 3 <= trio.current_time() - began <= 3 + HEARTBEAT_SECONDS
        assert diary.done == []
        await desk.address("attic").ask(Say("end"))
    assert diary.done == ["slow", "end"]


@over_seeds
async def test_a_cancelled_ask_abandons_the_answer_and_not_the_message() -> None:
    diary = Diary()
    async with standing(tower_of(diary)) as desk:
        with trio.move_on_after(1) as scope:
            await desk.address("attic").ask(Say("slow", takes=3))
        assert scope.cancelled_caught
        with trio.move_on_after(0):
            await desk.address("attic").ask(Say("queued"))
        await desk.address("attic").ask(Say("end"))
    assert diary.done == ["slow", "queued", "end"]
    assert diary.fell == []


@over_seeds
async def test_background_work_that_dies_restarts_its_floor_and_what_it_was_reading_is_told() -> None:
    diary = Diary(work_dies_at={"first": [5.0]})
    async with standing(tower_of(diary)) as desk:
        with pytest.raises(Died):
            await desk.address("first").ask(Say("in hand", takes=8))
        assert trio.current_time() == pytest.approx(5.0)
        await trio.sleep(1)
        assert await desk.address("attic").ask(Say("end")) == "end"
    assert diary.fell == ["first"]
    assert diary.restored == [*NAMES, "first", "attic"]


@over_seeds
async def test_a_death_in_restore_is_a_death_like_any_other() -> None:
    diary = Diary(restore_dies={"ground": 2})
    tower = tower_of(diary)
    tower.outside().address("attic").tell(Say("early"))
    async with standing(tower) as desk:
        await desk.address("attic").ask(Say("end"))
    assert diary.fell == ["ground", "ground"]
    assert diary.restored == [*NAMES]
    assert diary.read == ["early", "end"]


@over_seeds
async def test_more_than_the_allowed_deaths_within_the_window_are_a_meltdown() -> None:
    diary = Diary(work_dies_at={"ground": [1.0] * 20})
    with pytest.raises(Meltdown, match="6 deaths within 60 s, the last of ground"):
        await tower_of(diary).run()
    assert len(diary.fell) == 5  # the sixth is not restarted, and nobody is told that it is


async def kill_each(tower: Tower) -> None:
    async with standing(tower) as desk:
        for name in NAMES:
            desk.address(name).tell(Say("boom", boom=True))
            await trio.sleep(1)


@over_seeds
async def test_deaths_of_all_floors_count_together() -> None:
    diary = Diary()
    tower = tower_of(diary, deaths_allowed=2)
    with pytest.raises(ExceptionGroup) as caught:
        await kill_each(tower)
    assert caught.group_contains(Meltdown)
    assert diary.fell == ["cellar", "ground"]


@over_seeds
async def test_a_floor_that_cannot_be_restored_melts_the_tower_down() -> None:
    diary = Diary(restore_dies={"attic": 100})
    with pytest.raises(Meltdown):
        await tower_of(diary).run()
    assert diary.restored == list(NAMES[:-1])


@over_seeds
async def test_deaths_that_are_spread_out_are_no_meltdown() -> None:
    diary = Diary(work_dies_at={"ground": [12.5] * 20})  # never more than 5 in any 60 s
    async with standing(tower_of(diary)):
        await trio.sleep(12.5 * 20 + 1)
    assert diary.fell == ["ground"] * 20


@over_seeds
async def test_each_death_is_told_once_before_the_floor_is_opened_again() -> None:
    diary = Diary()
    heard: list[tuple[str, str, int]] = []

    def on_fall(name: str, cause: BaseException) -> None:
        heard.append((name, type(cause).__name__, diary.restored.count(name)))

    tower = Tower([Floor("only", lambda _: Scribe("only", diary))], on_fall=on_fall)
    async with standing(tower) as desk:
        for _ in range(3):
            with pytest.raises(Died):
                await desk.address("only").ask(Say("boom", boom=True))
        await desk.address("only").ask(Say("end"))
    assert heard == [("only", "Boom", 1), ("only", "Boom", 2), ("only", "Boom", 3)]
    assert tower.restarts == {"only": 3}


@over_seeds
async def test_a_stuck_actor_is_seen_within_its_heartbeat() -> None:
    diary = Diary()
    tower = tower_of(diary)
    async with standing(tower) as desk:
        for _ in range(20):
            await trio.sleep(0.7)
            assert tower.silence() <= HEARTBEAT_SECONDS
        desk.address("first").tell(Say("stuck", takes=100))
        await trio.sleep(STUCK_SECONDS)
        assert STUCK_SECONDS - HEARTBEAT_SECONDS <= tower.silence() <= STUCK_SECONDS + HEARTBEAT_SECONDS


@over_seeds
async def test_a_stuck_actor_is_ended_and_its_message_settled_as_died() -> None:
    diary, causes = Diary(), list[str]()

    def on_fall(name: str, cause: BaseException) -> None:
        causes.append(f"{name}: {cause}")

    tower = Tower([Floor(name, lambda _, name=name: Scribe(name, diary)) for name in NAMES], on_fall=on_fall)  # type: ignore[misc]
    async with standing(tower) as desk:
        first, began = desk.address("first"), trio.current_time()
        with pytest.raises(Died):
            await first.ask(Say("stuck", takes=1e9))
        assert trio.current_time() - began <= STUCK_SECONDS + 2 * HEARTBEAT_SECONDS
        assert await first.ask(Say("after")) == "after"
    assert causes == ["first: first was not done with a Say in 10 s"]
    assert diary.restored.count("first") == diary.restored.count("attic") == 2
    assert diary.restored.count("ground") == 1


class Committing(Scribe):
    """Works at what cannot be given up."""

    async def work(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)


@over_seeds
async def test_the_younger_fall_at_once_whatever_the_dying_one_is_in_the_midst_of() -> None:
    diary, told = Diary(), list[float]()
    floors = [
        Floor("cellar", lambda _: Committing("cellar", diary)),
        Floor("attic", lambda _: Scribe("attic", diary)),
    ]

    async def ask_the_attic(desk: Desk) -> None:
        with pytest.raises(Died):
            await desk.address("attic").ask(Say("long", takes=5))
        told.append(trio.current_time())

    async with standing(Tower(floors, on_fall=lambda name, _: diary.fell.append(name))) as desk:
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_the_attic, desk)
            await trio.sleep(2)
            desk.address("cellar").tell(Say("boom", boom=True))
        assert await desk.address("attic").ask(Say("after"), within=200) == "after"
        assert trio.current_time() - begun >= 100
    assert told == [begun + 2]
    assert diary.fell == ["cellar"]


class Waiting(Actor):
    """Passes each message on to the floor below, and waits for it."""

    def __init__(self, below: Address) -> None:
        self.below = below

    async def receive(self, message: Say) -> Any:
        return await self.below.ask(message)


@over_seeds
async def test_of_several_silent_floors_the_oldest_is_the_stuck_one_and_one_restart_cures_all() -> None:
    diary, fell = Diary(), list[str]()
    floors = [
        Floor("cellar", lambda _: Scribe("cellar", diary)),
        Floor("ground", lambda _: Scribe("ground", diary)),
        Floor("first", lambda desk: Waiting(desk.address("ground"))),
        Floor("attic", lambda desk: Waiting(desk.address("first"))),
    ]
    async with standing(Tower(floors, on_fall=lambda name, _: fell.append(name))) as desk:
        with pytest.raises(Died):
            await desk.address("attic").ask(Say("stuck", takes=1e9))
        assert await desk.address("attic").ask(Say("after")) == "after"
    assert fell == ["ground"]
    assert diary.restored == ["cellar", "ground", "ground"]


class Slow(Waiting):
    """Takes its time before it asks."""

    async def receive(self, message: Say) -> Any:
        await trio.sleep(3)
        return await super().receive(message)


@over_seeds
async def test_who_only_waits_for_a_stuck_floor_is_not_ended_for_it_though_it_was_silent_first() -> None:
    diary, fell = Diary(), list[str]()
    floors = [
        Floor("ground", lambda _: Scribe("ground", diary)),
        Floor("first", lambda desk: Slow(desk.address("ground"))),
    ]
    async with standing(Tower(floors, on_fall=lambda name, _: fell.append(name))) as desk:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(Died):
                    await desk.address("first").ask(Say("waiting"))

            nursery.start_soon(wait)
            await trio.sleep(2)
            desk.address("ground").tell(Say("stuck", takes=1e9))
        assert await desk.address("first").ask(Say("after")) == "after"
    assert fell == ["ground"]


@over_seeds
async def test_restoring_may_take_as_long_as_the_log_is() -> None:
    class Slow(Scribe):
        async def restore(self) -> None:
            await trio.sleep(100 * STUCK_SECONDS)

    tower = Tower([Floor("only", lambda _: Slow("only", Diary()))])
    async with standing(tower):
        assert not tower.restarts


@over_seeds
async def test_what_no_restart_cures_ends_the_tower_at_once() -> None:
    diary = Diary(restore_dies={"ground": 1})
    with pytest.raises(Boom):
        await tower_of(diary, incurable=(Boom,)).run()
    assert diary.restored == ["cellar"]
    assert diary.ended == ["cellar"]


@over_seeds
async def test_an_incarnation_lets_go_of_what_it_holds_however_it_ends() -> None:
    held: list[int] = []

    class Holder(Scribe):
        async def restore(self) -> None:
            held.append(1)
            await super().restore()

        def close(self) -> None:
            held.pop()

    diary = Diary(restore_dies={"only": 1})
    async with standing(Tower([Floor("only", lambda _: Holder("only", diary))])) as desk:
        assert len(held) == 1
        for _ in range(2):
            with pytest.raises(Died):
                await desk.address("only").ask(Say("boom", boom=True))
        await desk.address("only").ask(Say("end"))
        assert len(held) == 1
    assert not held


@over_seeds
async def test_heartbeats_leave_room_for_messages_however_long_an_actor_is_busy() -> None:
    diary = Diary()
    async with standing(tower_of(diary, capacity=10)) as desk:
        attic = desk.address("attic")
        for number in range(10):
            attic.tell(Say(number, takes=0.9 * STUCK_SECONDS))
        await trio.sleep(0.5 * STUCK_SECONDS)
        attic.tell(Say("last"))
        await trio.sleep(10 * STUCK_SECONDS)
        await attic.ask(Say("end"))
    assert diary.done == [*range(10), "last", "end"]


@over_seeds
async def test_a_tower_is_shut_down_from_its_youngest_floor_to_its_oldest() -> None:
    diary = Diary()
    async with standing(tower_of(diary)):
        pass
    assert diary.ended == list(reversed(NAMES))


@over_seeds
async def test_whatever_falls_whenever_every_ask_ends_and_each_message_is_read_at_most_once() -> None:
    diary, random = Diary(), Random(trio.current_time())
    ends: list[str] = []

    async def client(desk: Desk, number: int) -> None:
        for turn in range(10):
            await trio.sleep(random.random())
            what = (number, turn)
            boom = random.random() < 0.1
            try:
                answer = await desk.address(random.choice(NAMES)).ask(Say(what, random.random(), boom))
                assert answer == what
                ends.append("answered")
            except Died:
                ends.append("died")

    async with standing(tower_of(diary, deaths_allowed=1000)) as desk, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(client, desk, number)
    assert len(ends) == 100
    assert {"answered", "died"} == set(ends)
    assert len(diary.read) == len(set(diary.read)) == 100
    assert len(diary.done) == ends.count("answered")


# --- turns


def test_a_dead_turn_between_settled_ones_leaves_nothing_behind() -> None:
    draft, first, dead, last = Draft(0), Turn(), Turn(), Turn()
    draft.begin(first)
    draft.now += 1
    first.settled = True
    draft.begin(dead)
    draft.now += 10
    draft.begin(last)
    assert draft.now == 1
    draft.now += 100
    draft.begin(last)  # a further message of the same turn changes nothing
    assert draft.now == 101
    last.settled = True
    draft.begin(Turn())
    assert draft.now == 101


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 9), max_size=3)), max_size=12))
def test_a_draft_is_what_the_settled_turns_made_of_it(turns: list[tuple[bool, list[int]]]) -> None:
    draft = Draft[tuple[int, ...]](())
    kept: tuple[int, ...] = ()
    for settled, values in turns:
        turn = Turn()
        draft.begin(turn)
        assert draft.now == kept
        for value in values:
            draft.begin(turn)
            draft.now = (*draft.now, value)
        turn.settled = settled
        kept = draft.now if settled else kept
    draft.begin(Turn())
    assert draft.now == kept


# --- the schedule that these tests stand on


def test_the_private_names_that_make_a_schedule_repeatable_still_exist() -> None:
    assert isinstance(scheduler._ALLOW_DETERMINISTIC_SCHEDULING, bool)
    assert callable(scheduler._r.seed)


def interleaving() -> Callable[[], Any]:
    async def main() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        async def step(number: int) -> None:
            for turn in range(5):
                seen.append((number, turn))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(step, number)
        return seen

    return main


def test_the_same_seed_gives_the_same_interleaving_and_another_seed_another() -> None:
    runs = {seed: [run_seeded(seed, interleaving()) for _ in range(5)] for seed in range(10)}
    assert all(first == other for first, *rest in runs.values() for other in rest)
    assert len({tuple(found[0]) for found in runs.values()}) == 10
