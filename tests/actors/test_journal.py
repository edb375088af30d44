"""What the Journal promises when the disk fails: decisions stop, reads go on, nothing is lost, it goes on by itself."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from attrs import evolve

from actors.journal.actor import Journal
from actors.journal.chain import Head, seal
from actors.journal.store import DISK_ERRORS, FILE_NAME, MAKER, Checkpoint, LogReader, LogStore
from actors.messages import ChangeConfig, Flush, Note, ReadCheckpoint, ReadHealth, ReadIncarnation, Settle, TellNotes
from actors.ports import in_threads
from actors.strategist import actor as strategist
from actors.tower import STUCK_SECONDS, Actor, Floor, Tower
from actors.turn import Turn
from protocol.errors import Outage
from protocol.events import EVENTS, FACTS, LIVE_FACTS
from protocol.settings import QuotesConfig
from tests.actors.logs import contents, decisions, undisturbed, undisturbed_decisions
from tests.actors.seeded import run_seeded
from tests.actors.test_chain_and_store import some_rows
from tests.world.disk import TROUBLES, Disk, Operation, disk
from tests.world.house import house, in_line
from tests.world.market import Walk, eager_config, eager_spec

ROUNDS: Final = 40
SEED: Final = 25
SPEED: Final = 5  # so that there is a commit a round


def fail_at(disk: Disk, number: int, trouble: str) -> None:
    """From the disk's `number`-th write on. As on a real one, what was begun may be half done."""
    left = number

    def before(operation: Operation) -> None:
        nonlocal left
        left -= operation == "write"
        if left == 0:
            left = -1
            disk.fail(trouble)

    disk.before = before


async def until_ill(tower: Tower) -> None:
    with trio.fail_after(60):
        while await tower.outside().address("Journal").ask(ReadHealth()) is None:
            await trio.sleep(0.01)


async def until_well(tower: Tower) -> None:
    with trio.fail_after(60):
        while await tower.outside().address("Journal").ask(ReadHealth()) is not None:
            await trio.sleep(0.01)


@pytest.mark.parametrize("number", [60, 101, 222])
@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "gone"])
def test_a_disk_that_fails_is_a_state_and_the_log_ends_as_if_it_had_not(
    tmp_path: Path, trouble: str, number: int
) -> None:
    async def main() -> None:
        market = Walk(SEED, ROUNDS)
        with disk() as failing:
            async with house(tmp_path, market, eager_config(), speed=SPEED, vfs=failing.name) as standing:
                fail_at(failing, number, trouble)
                await until_ill(standing.tower)
                await trio.sleep(2)
                assert standing.board.outage is not None
                assert standing.board.outage.what == "disk"
                shown, asked, row = standing.board.row, market.asked, standing.reader.head().row
                await trio.sleep(60)
                assert (standing.board.row, market.asked, standing.reader.head().row) == (shown, asked, row)
                assert len(standing.reader.rows(0, 10_000)) == row >= shown
                health = await standing.tower.outside().address("Journal").ask(ReadHealth())
                assert isinstance(health, Outage)
                failing.recover()
                with trio.fail_after(60):
                    await standing.settled()
                assert standing.board.outage is None
                assert not standing.tower.restarts

    run_seeded(number, main)
    assert contents(tmp_path) == undisturbed(SEED, ROUNDS)


def test_a_disk_that_fails_again_and_again_costs_nothing_but_time(tmp_path: Path) -> None:
    async def main() -> None:
        with disk() as failing:
            async with house(tmp_path, Walk(SEED, ROUNDS), eager_config(), speed=SPEED, vfs=failing.name) as standing:
                for number, trouble in enumerate((*TROUBLES, *TROUBLES)):
                    fail_at(failing, 20 + number, trouble)
                    await trio.sleep(number + 0.3)
                    failing.recover()
                    await trio.sleep(0.7)
                failing.before = lambda _: None
                failing.recover()
                with trio.fail_after(60):
                    await standing.settled()
                assert not standing.tower.restarts

    run_seeded(1, main)
    assert contents(tmp_path) == undisturbed(SEED, ROUNDS)


@pytest.mark.parametrize("killed", ["Journal", "Strategist", "Broadcaster"])
@pytest.mark.parametrize("trouble", ["full", "gone"])
def test_a_floor_that_dies_while_the_disk_fails_comes_back_with_it(tmp_path: Path, trouble: str, killed: str) -> None:
    async def main() -> None:
        with disk() as failing:
            async with house(tmp_path, Walk(SEED, ROUNDS), eager_config(), speed=SPEED, vfs=failing.name) as standing:
                fail_at(failing, 101, trouble)
                await until_ill(standing.tower)
                standing.tower.outside().address(killed).tell("what nobody takes")
                await trio.sleep(20)
                failing.recover()
                with trio.fail_after(60):
                    await standing.settled()
                await trio.testing.wait_all_tasks_blocked()
                assert standing.board.outage is None
                assert standing.tower.restarts == {killed: 1}

    run_seeded(2, main)
    assert decisions(tmp_path) == undisturbed_decisions(SEED, ROUNDS)


def test_a_log_that_cannot_be_opened_at_a_restart_is_opened_as_soon_as_it_can(tmp_path: Path) -> None:
    async def main() -> None:
        with disk() as failing:
            async with house(tmp_path, Walk(SEED, ROUNDS), eager_config(), speed=10, vfs=failing.name) as standing:
                await trio.sleep(1)
                failing.fail("gone")
                standing.tower.outside().address("Journal").tell("what nobody takes")
                await trio.sleep(5)
                failing.recover()
                with trio.fail_after(60):
                    await standing.settled()
                await trio.testing.wait_all_tasks_blocked()
                assert standing.board.outage is None

    run_seeded(3, main)
    assert decisions(tmp_path) == undisturbed_decisions(SEED, ROUNDS)


def test_what_is_shown_is_on_the_disk_already(tmp_path: Path) -> None:
    """Looked at from a second connection at each news, and by what the disk did last: a sync."""
    rows = len(undisturbed(SEED, ROUNDS))

    async def main() -> int:
        operations: list[Operation] = ["sync"]
        looked = 0
        with disk() as watched, closing(LogStore(tmp_path / FILE_NAME, log_id="log_test")):
            async with house(tmp_path, Walk(SEED, ROUNDS), eager_config(), speed=SPEED, vfs=watched.name) as standing:
                second = LogReader(tmp_path / FILE_NAME)
                watched.before = operations.append
                with closing(second):
                    while standing.board.row < rows:
                        await standing.board.news()
                        looked += 1
                        assert second.head().row >= standing.board.row
                        shown = standing.board.frames_after(0, 10_000)
                        assert shown == [frame for _, frame in second.frames(0, standing.board.seq)]
                        assert operations[-1] == "sync"
        return looked

    assert run_seeded(4, main) > 10


@pytest.mark.parametrize("trouble", ["full", "broken", "sync fails"])
def test_a_batch_is_there_whole_or_not_at_all(tmp_path: Path, trouble: str) -> None:
    """Whichever write of the batch the disk fails at. What was there before stays, and what is tried again goes in."""
    batch, _ = seal(some_rows(200), Head())
    outcomes = set()
    for number in range(1, 60, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        with disk() as failing, closing(LogStore(folder / FILE_NAME, log_id="log_1", vfs=failing.name)) as store:
            store.append(batch[:50])
            fail_at(failing, number, trouble)
            try:
                store.append(batch[50:], Checkpoint(100, {}), "maker")
                outcomes.add("written")
            except DISK_ERRORS:
                outcomes.add("failed")
            failing.before = lambda _: None
            failing.recover()
        with closing(LogStore(folder / FILE_NAME, log_id="log_1")) as again:
            assert again.verify() in (50, 200)
            again.append(batch[again.head.row :])
            assert again.verify() == 200
    assert outcomes == {"written", "failed"}


class _Quiet(Actor):
    async def receive(self, message: Any) -> None:
        """Hears of it and does nothing."""


async def test_a_floor_can_be_restored_while_a_commit_is_on_its_way_to_the_disk(tmp_path: Path) -> None:
    """In real threads: the writer's connection is one thread's at a time."""
    begun, go_on = threading.Event(), threading.Event()
    with disk() as slow:
        LogStore(tmp_path / FILE_NAME, log_id="log_1", vfs=slow.name).close()

        def before(operation: Operation) -> None:
            if operation == "sync":
                begun.set()
                go_on.wait(1)

        def journal(desk: Any) -> Journal:
            return Journal(tmp_path / FILE_NAME, "log_1", in_threads(1), desk.address("Broadcaster"), vfs=slow.name)

        tower = Tower([Floor("Journal", journal), Floor("Broadcaster", lambda _: _Quiet())])
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tower.run)
                await tower.standing.wait()
                slow.before = before
                address = tower.outside().address("Journal")
                turn = Turn(await address.ask(ReadIncarnation()))
                await address.ask(Settle(turn, tuple(some_rows(5))))
                await trio.to_thread.run_sync(begun.wait)
                async with trio.open_nursery() as asking:
                    asking.start_soon(address.ask, ReadCheckpoint())
                    await trio.testing.wait_all_tasks_blocked()
                    go_on.set()
                assert not tower.restarts
                nursery.cancel_scope.cancel()


class _Busy(_Quiet):
    """Not done with its first message until it is let go."""

    def __init__(self, let_go: trio.Event, heard: list[int]) -> None:
        self._let_go = let_go
        self._heard = heard

    async def receive(self, message: Any) -> None:
        await self._let_go.wait()
        self._heard += [row.row for row in getattr(message, "rows", ())]


def test_no_commit_waits_for_a_broadcaster_that_has_no_room(tmp_path: Path) -> None:
    """It may not stand before that commit is done: then the two would wait for each other."""

    async def main() -> None:
        let_go, heard = trio.Event(), list[int]()

        def journal(desk: Any) -> Journal:
            return Journal(tmp_path / FILE_NAME, "log_1", in_line, desk.address("Broadcaster"))

        tower = Tower([Floor("Journal", journal), Floor("Broadcaster", lambda _: _Busy(let_go, heard), capacity=1)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tower.run)
            await tower.standing.wait()
            address = tower.outside().address("Journal")
            turn, rows = Turn(await address.ask(ReadIncarnation())), some_rows(8)
            with trio.fail_after(STUCK_SECONDS / 2):
                for row in rows:
                    await address.ask(Settle(turn, (row,)))
                    assert await address.ask(Flush()) is None
            let_go.set()
            with trio.fail_after(STUCK_SECONDS):
                while heard[-1:] != [len(rows)]:
                    await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert not tower.restarts

    run_seeded(1, main)


async def test_a_blocking_call_is_waited_for_whatever_happens() -> None:
    """Or the next incarnation would write beside it."""
    go_on, done = threading.Event(), list[bool]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_threads(1), lambda: done.append(go_on.wait(5)))
        await trio.testing.wait_all_tasks_blocked()
        threading.Timer(0.2, go_on.set).start()
        nursery.cancel_scope.cancel()
    assert done == [True]


# --- turns that the disk refuses


def test_a_config_that_could_not_be_settled_is_in_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", 1)
    config = eager_config(fee_multiple=100)  # no order gets as far as a quote

    async def main() -> None:
        with disk() as failing:
            async with house(tmp_path, Walk(SEED, 20), config, speed=1, vfs=failing.name) as standing:
                failing.fail("full")
                desk = standing.tower.outside()
                standing.founding.life.append(Note("STARTED", (), "A row that cannot be written.", {}))
                await desk.address("Strategist").ask(TellNotes())
                await trio.sleep(3)
                changed = evolve(config, quotes=QuotesConfig(max_age_seconds=1))
                answer = await desk.address("Strategist").ask(ChangeConfig(changed, "ages", 1))
                assert isinstance(answer, Outage)
                failing.recover()
                await standing.settled()
                checkpoint = standing.reader.latest_checkpoint(MAKER)
                assert checkpoint is not None
                assert checkpoint.states["QuoteVerifier"]["quotes"]["max_age_seconds"] == config.quotes.max_age_seconds
                assert not standing.tower.restarts

    run_seeded(5, main)


@pytest.mark.parametrize("wait", [3.1, 3.4])
def test_a_new_strategy_right_after_an_outage_ends_no_actor(tmp_path: Path, wait: float) -> None:
    config = eager_config()
    spec = evolve(eager_spec(), name="another")

    async def main() -> None:
        with disk() as failing:
            async with house(tmp_path, Walk(SEED, 20), config, speed=1, vfs=failing.name) as standing:
                failing.fail("full")
                await trio.sleep(wait)
                failing.recover()
                await until_well(standing.tower)
                changed = evolve(config, strategy=evolve(config.strategy, spec=spec))
                assert await standing.tower.outside().address("Strategist").ask(ChangeConfig(changed, "spec", 1)) == 2
                await standing.settled()
                assert not standing.tower.restarts

    run_seeded(6, main)


def test_the_market_of_these_tests_reaches_every_kind_of_row() -> None:
    kinds = {row[3] for seed, rounds in ((SEED, ROUNDS), (18, 60)) for row in undisturbed(seed, rounds)}
    live_only = {"twak_block", "promotion", "demotion", "lock_lifted", *(row.kind for row in LIVE_FACTS)}
    waiting = {"placed"}  # with fill_at = "next_open": tests/backtesting has those
    assert kinds == {row.kind for row in (*EVENTS, *FACTS)} - live_only - waiting
