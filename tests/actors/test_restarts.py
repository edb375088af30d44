"""Whatever falls, whenever: the log ends as if nothing had happened. Boot, restart and checkpoint are one path."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
import trio
from attrs import evolve

from actors.broadcaster.actor import Broadcaster
from actors.executor.actor import Executor
from actors.journal.actor import Journal
from actors.journal.store import FILE_NAME, LogStore
from actors.messages import ChangeConfig, ConductRound
from actors.quote_verifier.actor import QuoteVerifier
from actors.risk_engine.actor import RiskEngine
from actors.strategist import actor as strategist
from actors.strategist.actor import Strategist
from actors.tower import Actor, Address
from protocol.codec import to_plain
from protocol.events import JournalEntry, Marked, RoundSettled, Trade
from protocol.market import Round
from protocol.settings import QuotesConfig
from tests.actors.logs import contents, decisions, restarts_told, run_whole, undisturbed, undisturbed_decisions
from tests.actors.seeded import run_seeded
from tests.world.house import Standing, house
from tests.world.market import PAIRS, Walk, eager_config

ROUNDS: Final = 40
SEED: Final = 25
FLOORS: Final = (
    "Journal", "QuoteVerifier", "RiskEngine", "TwakSigner", "Executor", "Strategist", "MarketFeed", "Broadcaster",
)  # fmt: skip


class Boom(Exception):
    """What a floor dies of here."""


def kill(monkeypatch: pytest.MonkeyPatch, kind: type[Actor], number: int, *, after: bool) -> Counter[str]:
    """An actor of this kind dies of its `number`-th message, before or after it has handled it."""
    original, count = kind.receive, Counter[str]()

    async def receive(self: Any, message: Any) -> Any:
        count["read"] += 1
        mine = count["read"] == number
        if mine and not after:
            raise Boom(message)
        answer = await original(self, message)
        if mine:
            raise Boom(message)
        return answer

    monkeypatch.setattr(kind, "receive", receive)
    return count


def run_and_count(seed: int, folder: Path, market: Walk) -> Counter[str]:
    """A whole run, as fast as it settles or at a pace, by the seed; how often each floor fell."""

    async def main() -> Counter[str]:
        async with house(folder, market, eager_config(market.pairs), speed=20 if seed % 2 else None) as standing:
            with trio.fail_after(600):
                await standing.settled()
            await trio.testing.wait_all_tasks_blocked()
            return standing.tower.restarts

    return run_seeded(seed, main)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 45])
@pytest.mark.parametrize("kind", [Journal, QuoteVerifier, RiskEngine, Executor, Strategist, Broadcaster])
def test_a_floor_that_dies_of_a_message_leaves_the_same_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Actor], number: int, after: bool
) -> None:
    count = kill(monkeypatch, kind, number, after=after)
    fell = run_and_count(number, tmp_path, Walk(SEED, ROUNDS))
    assert fell == ({kind.__name__: 1} if count["read"] >= number else {})
    assert restarts_told(tmp_path) == fell
    assert decisions(tmp_path) == undisturbed_decisions(SEED, ROUNDS)


def dies_after_ask(monkeypatch: pytest.MonkeyPatch, floor: int, number: int) -> None:
    """What stands on `floor` dies right after its `number`-th question was answered: in the midst of a turn."""
    original, count = Address.ask, Counter[int]()

    async def ask(self: Address, message: Any, **how: Any) -> Any:
        answer = await original(self, message, **how)
        count[self._asker] += 1
        if self._asker == floor and count[floor] == number:
            raise Boom(message)
        return answer

    monkeypatch.setattr(Address, "ask", ask)


@pytest.mark.parametrize(
    ("floor", "numbers"),
    [
        ("QuoteVerifier", (1, 2)),
        ("RiskEngine", (1, 2)),
        ("Executor", (2, 4, 9, 20)),
        # Its seventh settles STARTED: nothing can come between that and remembering it.
        ("Strategist", (*range(1, 7), *range(8, 106))),
        ("MarketFeed", (1, 2, 7, 21)),
    ],
)
def test_a_floor_that_dies_in_the_midst_of_a_turn_leaves_the_same_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floor: str, numbers: tuple[int, ...]
) -> None:
    differs, fallen = [], Counter[str]()
    expected = undisturbed_decisions(SEED, ROUNDS)
    for number in numbers:
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patched:
            dies_after_ask(patched, FLOORS.index(floor), number)
            fallen += run_and_count(number, folder, Walk(SEED, ROUNDS))
        if decisions(folder) != expected or restarts_told(folder) != {floor: 1}:
            differs.append(number)
    assert not differs, f"killed after its ask number {differs}, {floor} leaves another log"
    assert fallen == {floor: len(numbers)}


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
def test_a_journal_that_dies_in_a_commit_leaves_the_same_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """What was accepted and not yet committed is decided again, or said again."""
    original, differs = LogStore.append, []
    for number in (*range(1, 7), 20):
        folder, count = tmp_path / str(number), Counter[str]()
        folder.mkdir()

        def append(self: LogStore, *batch: Any, number: int = number, count: Counter[str] = count) -> None:
            count["done"] += 1
            if committed or count["done"] != number:
                original(self, *batch)
            if count["done"] == number:
                raise Boom

        monkeypatch.setattr(LogStore, "append", append)
        assert run_and_count(1, folder, Walk(SEED, ROUNDS)) == {"Journal": 1}
        if decisions(folder) != undisturbed_decisions(SEED, ROUNDS) or restarts_told(folder) != {"Journal": 1}:
            differs.append(number)
    assert not differs, f"killed in commit number {differs}, the Journal leaves another log"


@pytest.mark.parametrize("floor", FLOORS)
def test_a_message_that_nobody_takes_costs_its_reader_and_nothing_else(tmp_path: Path, floor: str) -> None:
    async def main() -> Counter[str]:
        async with house(tmp_path, Walk(SEED, ROUNDS), eager_config(), speed=10) as standing:
            for _ in range(3):
                await trio.sleep(0.95)
                standing.tower.outside().address(floor).tell("what nobody takes")
            await standing.settled()
            return standing.tower.restarts

    assert run_seeded(7, main) == {floor: 3} == restarts_told(tmp_path)
    assert decisions(tmp_path) == undisturbed_decisions(SEED, ROUNDS)


# --- a round that kills


class Poison(Walk):
    """A walk with one round that an actor dies of, again and again."""

    @property
    def deadly(self) -> Round:
        return self.rounds[17]


def poisoned(monkeypatch: pytest.MonkeyPatch, market: Poison, times: int) -> Counter[str]:
    original, count = Strategist.receive, Counter[str]()

    async def receive(self: Strategist, message: Any) -> Any:
        if isinstance(message, ConductRound) and message.round.ts == market.deadly.ts and count["died"] < times:
            count["died"] += 1
            raise Boom(message)
        return await original(self, message)

    monkeypatch.setattr(Strategist, "receive", receive)
    return count


@pytest.mark.parametrize("times", [1, 2])
def test_a_round_that_kills_less_than_three_times_is_decided_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    market = Poison(SEED, ROUNDS)
    poisoned(monkeypatch, market, times)
    assert run_and_count(1, tmp_path, market) == {"Strategist": times}
    assert decisions(tmp_path) == undisturbed_decisions(SEED, ROUNDS)


@pytest.fixture
def passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Poison, list[Any]]:
    """A run over a market with a round that always kills."""
    market = Poison(SEED, ROUNDS)
    count = poisoned(monkeypatch, market, 1000)
    assert run_and_count(1, tmp_path, market) == {"Strategist": 3}
    assert count["died"] == 3
    return market, list(decisions(tmp_path))


def test_a_round_that_has_killed_three_times_is_journaled_as_skipped_and_passed(
    passed: tuple[Poison, list[Any]],
) -> None:
    market, found = passed
    at = market.deadly.ts
    of_it = [row for row in found if row.ts == at]
    assert [type(row) for row in of_it] == [JournalEntry, RoundSettled]
    assert (of_it[0].type, of_it[0].tags) == ("SKIPPED", ("crash",))
    assert "3 times" in of_it[0].text
    assert [row for row in found if isinstance(row, JournalEntry) and "crash" in row.tags] == of_it[:1]
    assert [row.ts for row in found if isinstance(row, RoundSettled)] == [round.ts for round in market.rounds]
    marks = [row.ts for row in found if isinstance(row, Marked)]
    assert marks == [round.ts for round in market.rounds if round.ts != at]


def test_nothing_is_traded_in_a_skipped_round(passed: tuple[Poison, list[Any]]) -> None:
    market, found = passed
    assert [row for row in found if isinstance(row, Trade)]
    assert not [row for row in found if isinstance(row, Trade) and row.ts == market.deadly.ts]


# --- stopping and starting again


async def run_until(folder: Path, market: Walk, row: int) -> None:
    """Stopped, without a word, as soon as `row` is on the board."""
    async with house(folder, market, eager_config(market.pairs)) as standing:
        while standing.board.row < row:
            await standing.board.news()


@pytest.mark.parametrize("row", [1, 4, 5, 7, 20, 21, 22, 50, 80, 110])
def test_a_run_that_was_stopped_anywhere_and_started_again_decides_alike(tmp_path: Path, row: int) -> None:
    run_seeded(row, run_until, tmp_path, Walk(SEED, ROUNDS), row)
    run_seeded(row + 1, run_whole, tmp_path, Walk(SEED, ROUNDS))
    whole = tmp_path / "whole"
    whole.mkdir()
    run_seeded(0, run_whole, whole, Walk(SEED, ROUNDS))
    assert decisions(tmp_path) == decisions(whole)


def test_the_log_is_the_same_on_every_schedule(tmp_path: Path) -> None:
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run_seeded(seed, run_whole, folder, Walk(SEED, ROUNDS, PAIRS))
        assert contents(folder) == undisturbed(SEED, ROUNDS, 3)


# --- checkpoints


@pytest.mark.parametrize("every", [1, 7])
def test_checkpoints_leave_no_trace_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", every)
    run_seeded(1, run_whole, tmp_path, Walk(SEED, ROUNDS))
    assert contents(tmp_path) == undisturbed(SEED, ROUNDS)
    assert checkpoints(tmp_path)


def checkpoints(folder: Path) -> list[Any]:
    with closing(apsw.Connection(str(folder / FILE_NAME))) as db:
        return db.execute("SELECT row, hash, maker, body FROM checkpoint").fetchall()


def forget(folder: Path) -> None:
    with closing(apsw.Connection(str(folder / FILE_NAME))) as db:
        db.execute("DELETE FROM checkpoint")


async def change_quotes(standing: Standing, market: Walk) -> None:
    changed = evolve(eager_config(market.pairs), quotes=QuotesConfig(max_age_seconds=30))
    assert await standing.tower.outside().address("Strategist").ask(ChangeConfig(changed, "ages", 1)) == 2


async def first_life(folder: Path, seed: int, rounds: int) -> None:
    market = Walk(seed, ROUNDS)
    del market.rounds[rounds:]
    async with house(folder, market, eager_config(market.pairs)) as standing:
        await standing.settled()
        await change_quotes(standing, market)
        await standing.settled()


async def second_life(folder: Path, seed: int, look: Callable[[Standing], Any]) -> Any:
    market = Walk(seed, ROUNDS)
    async with house(folder, market, eager_config(market.pairs)) as standing:
        await standing.settled()
        return look(standing)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize(("every", "rounds"), [(1, 9), (4, 23), (13, 30)])
def test_a_restart_from_a_checkpoint_is_a_restart_from_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, rounds: int, seed: int
) -> None:
    """What every floor knows at the end of the second life is compared, and each row that it wrote."""
    from_checkpoint, from_first_row = tmp_path / "one", tmp_path / "two"
    from_checkpoint.mkdir()
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", every)
    run_seeded(1, first_life, from_checkpoint, seed, rounds)
    assert checkpoints(from_checkpoint)
    shutil.copytree(from_checkpoint, from_first_row)
    forget(from_first_row)

    def look(standing: Standing) -> Any:
        return to_plain(standing.board.risk), to_plain(standing.board.book), standing.board.seq

    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", 1)
    one, two = (run_seeded(2, second_life, folder, seed, look) for folder in (from_checkpoint, from_first_row))
    assert one == two
    assert contents(from_checkpoint) == contents(from_first_row)
    assert checkpoints(from_checkpoint) == checkpoints(from_first_row) != []
