"""The log: places without gaps, a chain that shows any change, batches that are whole, a cache that is only one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import apsw
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal.chain import Head, Sealed, link, seal
from actors.journal.store import FILE_NAME, MAKER, Checkpoint, Damaged, LogReader, LogStore
from protocol.codec import decode_row
from protocol.events import EVENTS, JournalEntry, Marked, Row, StatusChange
from protocol.times import to_millis
from tests.protocol.rows import FIRST, rows

SIZE: Final = 30


def some_rows(count: int = SIZE, *, every_ms: int = 700) -> list[Row]:
    """Entries, marks and status changes in turn, several at one instant."""
    made: list[Row] = []
    for number in range(count):
        at = FIRST + timedelta(milliseconds=every_ms * (number // 3))
        kinds: list[Row] = [
            JournalEntry(at, f"jrn_{number}", "SKIPPED", ("regime",), f"Entry {number}.", {"n": number}),
            Marked(at, Decimal(number), {"ETH/USDT": Decimal("1.5")}),
            StatusChange(at, "PAPER", "ELIGIBLE", f"move {number}"),
        ]
        made.append(kinds[number * 7 % 5 % 3])
    return made


SEALED: Final = seal(some_rows(), Head())[0]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of SEALED."""
    path = tmp_path_factory.mktemp("log") / FILE_NAME
    with closing(LogStore(path, log_id="log_1")) as store:
        store.append(SEALED)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    with closing(LogStore(tmp_path / FILE_NAME, log_id="log_1")) as made:
        yield made


def tampered(pristine: Path, *statements: tuple[str, tuple[Any, ...]]) -> Damaged | int:
    """What verify says of a copy of the log with these changes made to it."""
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(pristine, folder))
        with closing(apsw.Connection(str(path))) as db:
            for statement, values in statements:
                db.execute(statement, values)
                assert db.changes() == 1
        with closing(LogReader(path)) as reader:
            try:
                return reader.verify()
            except Damaged as damaged:
                return damaged


def bad_seq(row: int) -> int:
    """The seq to be named when `row` is bad: an event's own, for a fact the last good event's."""
    return max((s.seq for s in SEALED[:row] if s.seq is not None), default=0)


def names(found: Damaged | int, row: int, seqs: Iterable[int] = ()) -> bool:
    return isinstance(found, Damaged) and found.row == row and found.seq in (tuple(seqs) or (bad_seq(row),))


numbers = st.integers(1, SIZE)


def test_an_untouched_log_is_good(pristine: Path) -> None:
    assert tampered(pristine) == SIZE


@given(st.lists(rows, max_size=12), st.integers(0, 12))
def test_seq_is_gap_free_however_rows_are_grouped(found: list[Row], cut: int) -> None:
    ordered = sorted(found, key=lambda row: to_millis(row.ts))
    first, head = seal(ordered[:cut], Head())
    second, end = seal(ordered[cut:], head)
    sealed = [*first, *second]
    assert sealed == seal(ordered, Head())[0]
    assert [s.row for s in sealed] == list(range(1, len(ordered) + 1))
    seqs = [s.seq for s in sealed if isinstance(s.value, EVENTS)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert all(s.seq is None for s in sealed if not isinstance(s.value, EVENTS))
    assert end == Head(len(sealed), len(seqs), sealed[-1].ts if sealed else 0, sealed[-1].hash if sealed else bytes(32))
    assert [decode_row(s.body) for s in sealed] == ordered


def test_each_hash_covers_the_one_before_the_place_and_the_body() -> None:
    previous = bytes(32)
    for s in SEALED:
        assert s.hash == link(previous, s.row, s.seq, s.body)
        previous = s.hash
    base = link(bytes(32), 1, 1, b"{}")
    others = [link(b"\1" * 32, 1, 1, b"{}"), link(bytes(32), 2, 1, b"{}"), link(bytes(32), 1, 2, b"{}")]
    assert len({base, *others, link(bytes(32), 1, 1, b"[]")}) == 5


def test_time_that_would_run_backwards_is_not_sealed() -> None:
    late, early = some_rows(6)[5], some_rows(1)[0]
    with pytest.raises(ValueError, match="time back"):
        seal([late, early], Head())
    _, head = seal([late], Head())
    with pytest.raises(ValueError, match="time back"):
        seal([early], head)
    assert len(seal([late, late], Head())[0]) == 2


# --- what verify finds


@settings(max_examples=60, deadline=None)
@given(row=numbers, where=st.floats(0, 0.999), bit=st.integers(0, 6))
def test_any_flipped_bit_of_a_body_is_found(pristine: Path, row: int, where: float, bit: int) -> None:
    body = bytearray(SEALED[row - 1].body)
    body[int(where * len(body))] ^= 1 << bit
    found = tampered(pristine, ("UPDATE log SET body = CAST(? AS TEXT) WHERE row = ?", (bytes(body), row)))
    assert names(found, row)


@pytest.mark.parametrize("row", [1, SIZE // 2, SIZE])
def test_a_bit_that_makes_a_body_no_text_at_all_is_found_like_any_other(pristine: Path, row: int) -> None:
    body = bytearray(SEALED[row - 1].body)
    body[5] ^= 0x80
    found = tampered(pristine, ("UPDATE log SET body = CAST(? AS TEXT) WHERE row = ?", (bytes(body), row)))
    assert names(found, row)


@settings(max_examples=30, deadline=None)
@given(row=numbers, byte=st.integers(0, 31), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_hash_is_found(pristine: Path, row: int, byte: int, bit: int) -> None:
    digest = bytearray(SEALED[row - 1].hash)
    digest[byte] ^= 1 << bit
    found = tampered(pristine, ("UPDATE log SET hash = ? WHERE row = ?", (bytes(digest), row)))
    assert names(found, row)


@settings(max_examples=30, deadline=None)
@given(row=st.integers(1, SIZE - 1))
def test_a_row_removed_from_within_is_found(pristine: Path, row: int) -> None:
    found = tampered(pristine, ("DELETE FROM log WHERE row = ?", (row,)))
    before = bad_seq(row - 1) if row > 1 else 0
    assert names(found, row, (before, before + 1))  # the row is gone: nobody can say whether it was an event


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(numbers, min_size=2, max_size=2, unique=True))
def test_swapped_rows_are_found_at_the_first_of_them(pristine: Path, rows: list[int]) -> None:
    one, two = rows
    move = "UPDATE log SET row = ? WHERE row = ?"
    found = tampered(pristine, (move, (-1, one)), (move, (one, two)), (move, (two, -1)))
    first, other = sorted(rows)
    before = bad_seq(first - 1) if first > 1 else 0
    assert names(found, first, (bad_seq(first), before + 1, SEALED[other - 1].seq or before))


@settings(max_examples=40, deadline=None)
@given(row=numbers, by=st.integers(-5000, 5000).filter(bool))
def test_a_changed_time_is_found(pristine: Path, row: int, by: int) -> None:
    assert names(tampered(pristine, ("UPDATE log SET ts = ts + ? WHERE row = ?", (by, row))), row)


@settings(max_examples=20, deadline=None)
@given(row=numbers, kind=st.sampled_from(["mark", "journal_entry", "status_change", "Mark", ""]))
def test_a_changed_kind_is_found(pristine: Path, row: int, kind: str) -> None:
    if kind == SEALED[row - 1].kind:
        kind = "another"
    assert names(tampered(pristine, ("UPDATE log SET kind = ? WHERE row = ?", (kind, row))), row)


@settings(max_examples=20, deadline=None)
@given(row=numbers, entry_type=st.sampled_from(["EXECUTED", "skipped", "", None]))
def test_a_changed_type_is_found(pristine: Path, row: int, entry_type: str | None) -> None:
    if entry_type == SEALED[row - 1].type:
        entry_type = "STOPPED"
    assert names(tampered(pristine, ("UPDATE log SET type = ? WHERE row = ?", (entry_type, row))), row)


@settings(max_examples=40, deadline=None)
@given(row=numbers, seq=st.sampled_from([None, 0, -1, SIZE + 1, 10**12]))
def test_a_changed_seq_is_found(pristine: Path, row: int, seq: int | None) -> None:
    if seq == SEALED[row - 1].seq:
        seq = SIZE + 2
    found = tampered(pristine, ("UPDATE log SET seq = ? WHERE row = ?", (seq, row)))
    before = bad_seq(row - 1) if row > 1 else 0
    assert names(found, row, (before, before + 1))


@settings(max_examples=20, deadline=None)
@given(row=st.integers(2, SIZE), after=st.integers(0, SIZE - 1))
def test_what_lies_after_a_trusted_row_is_verified_alone(pristine: Path, row: int, after: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(pristine, folder))
        with closing(LogStore(path, log_id="log_1")) as store, closing(apsw.Connection(str(path))) as db:
            assert store.verify(after) == SIZE
            db.execute("UPDATE log SET kind = 'x' WHERE row = ?", (row,))
            if row > after:
                with pytest.raises(Damaged) as caught:
                    store.verify(after)
                assert (caught.value.row, caught.value.seq) == (row, bad_seq(row))
            else:
                assert store.verify(after) == SIZE


@pytest.mark.parametrize("column", ["kind", "type", "body"])
def test_a_text_that_sqlite_takes_for_bytes_is_found_though_they_are_the_same(pristine: Path, column: str) -> None:
    """One bit, in the row's header: by then nothing compares as equal to it, and it is sent as what it is not."""
    row = next(s.row for s in SEALED if s.type is not None)
    loose = (
        ("PRAGMA writable_schema = ON", ()),
        ("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'log'", ()),
        ("PRAGMA writable_schema = RESET", ()),
    )
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(pristine, folder))
        with closing(apsw.Connection(str(path))) as db:
            for statement, values in loose:
                db.execute(statement, values)
        assert names(
            tampered(path, (f"UPDATE log SET {column} = CAST({column} AS BLOB) WHERE row = ?", (row,))),
            row,
        )


def test_a_page_that_sqlite_cannot_read_is_damage(pristine: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(pristine, tmp_path))
    raw = bytearray(path.read_bytes())
    for page in range(4096, len(raw), 4096):
        raw[page : page + 4096] = b"\xff" * len(raw[page : page + 4096])
    path.write_bytes(raw)
    with closing(LogReader(path)) as reader, pytest.raises(Damaged):
        reader.verify()


def test_a_name_that_is_no_text_is_damage(pristine: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(pristine, tmp_path))
    with closing(apsw.Connection(str(path))) as db:
        db.execute("UPDATE meta SET value = CAST(x'6c6f67f331' AS TEXT) WHERE key = 'log_id'")
    with pytest.raises(Damaged, match="name"):
        LogStore(path, log_id="log_2")


# --- appending


def contents(path: Path) -> list[Any]:
    with closing(LogReader(path)) as reader:
        return reader.select("SELECT * FROM log ORDER BY row")


def resealed(batch: list[Sealed], head: Head) -> list[Sealed]:
    return seal([s.value for s in batch], head)[0]


WRONG_HEADS = {
    "rows that are there already": SEALED[5:12],
    "a gap before the batch": SEALED[11:14],
    "a batch for another history": resealed(SEALED[10:13], evolve(seal(some_rows(10), Head())[1], hash=b"\1" * 32)),
    "a batch that skips a seq": resealed(
        SEALED[10:13], evolve(seal(some_rows(10), Head())[1], seq=seal(some_rows(10), Head())[1].seq + 1)
    ),
    "a repeat within the batch": [*SEALED[10:12], SEALED[11]],
}


@pytest.mark.parametrize("batch", WRONG_HEADS.values(), ids=WRONG_HEADS)
def test_a_batch_for_another_head_is_not_appended_and_leaves_nothing(
    store: LogStore, tmp_path: Path, batch: list[Sealed]
) -> None:
    store.append(SEALED[:10])
    before, head = contents(tmp_path / FILE_NAME), store.head
    with pytest.raises(Exception, match=r".") as caught:
        store.append(batch)
    assert not isinstance(caught.value, AssertionError)
    assert (contents(tmp_path / FILE_NAME), store.head) == (before, head)
    store.append(SEALED[10:])
    assert store.verify() == SIZE


def test_of_two_writers_the_one_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    path, late = tmp_path / FILE_NAME, seal(some_rows(3, every_ms=900), Head())[0]
    with (
        closing(LogStore(path, log_id="log_1")) as store,
        closing(LogStore(path, log_id="log_1")) as other,
        closing(LogReader(path)) as reader,
    ):
        store.append(SEALED[:5])
        with pytest.raises(apsw.ConstraintError):
            other.append(late)
        assert [body for _, _, _, body in reader.rows(0, 10)] == [s.body.decode() for s in SEALED[:5]]


@given(cuts=st.sets(st.integers(1, SIZE - 1), max_size=5))
@settings(max_examples=15, deadline=None)
def test_a_log_is_the_same_however_its_rows_were_grouped(pristine: Path, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), SIZE]
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME
        for low, high in pairwise(edges):
            with closing(LogStore(path, log_id="log_1")) as store:
                assert store.head.row == low
                store.append(SEALED[low:high])
        assert contents(path) == contents(pristine)


def test_a_log_keeps_its_name_and_its_head_when_it_is_opened_again(pristine: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(pristine, tmp_path))
    with closing(LogStore(path, log_id="another")) as store, closing(LogReader(path)) as reader:
        assert store.log_id == "log_1"
        assert store.head == reader.head() == seal(some_rows(), Head())[1]


def test_a_reader_of_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(apsw.CantOpenError):
        LogReader(tmp_path / FILE_NAME)


def test_readers_see_frames_and_rows_in_order_from_anywhere(pristine: Path) -> None:
    with closing(LogReader(pristine)) as reader:
        events = [s for s in SEALED if s.seq is not None]
        for after in range(SIZE + 1):
            assert reader.frames(after, 5) == [(s.seq, s.body.decode()) for s in events if (s.seq or 0) > after][:5]
            assert [row for row, *_ in reader.rows(after, 4)] == list(range(after + 1, SIZE + 1))[:4]
            assert reader.seq_at(after) == (bad_seq(after) if after else 0)
            marks = [(s.row, s.body.decode()) for s in SEALED if s.kind == "mark" and s.row > after]
            assert reader.bodies(after, ("mark", "nonsense"), 3) == marks[:3]


def test_what_is_folded_and_told_is_found_without_an_index(tmp_path: Path) -> None:
    """The chain says nothing of them: here they are as they were ten rows ago."""
    path = tmp_path / FILE_NAME
    with closing(LogStore(path, log_id="log_1")) as store:
        store.append(SEALED[:-10])
    before = path.read_bytes()
    with closing(LogStore(path, log_id="log_1")) as store:
        store.append(SEALED[-10:])
    with closing(LogReader(path)) as reader:
        roots = reader.select("SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'log'")
    raw = bytearray(path.read_bytes())
    for (page,) in roots:
        raw[(page - 1) * 4096 : page * 4096] = before[(page - 1) * 4096 : page * 4096]
    path.write_bytes(raw)
    with closing(LogStore(path, log_id="log_1")) as store, closing(LogReader(path)) as reader:
        assert reader.select("SELECT max(seq) FROM log")[0][0] < bad_seq(SIZE), (
            "the indexes are not what they should be"
        )
        assert store.verify() == SIZE
        assert store.head == reader.head() == seal(some_rows(), Head())[1]
        kinds = tuple({s.kind for s in SEALED})
        assert store.bodies(0, kinds, 100) == [(s.row, s.body.decode()) for s in SEALED]
        assert reader.frames(0, 100) == [(s.seq, s.body.decode()) for s in SEALED if s.seq is not None]


@settings(max_examples=60, deadline=None)
@given(ms=st.integers(-1500, SIZE * 300))
def test_the_first_row_at_a_time_is_what_a_scan_finds(pristine: Path, ms: int) -> None:
    at = to_millis(FIRST) + ms
    with closing(LogReader(pristine)) as reader:
        assert reader.first_row_at(at) == next((s.row for s in SEALED if s.ts >= at), SIZE + 1)


def test_the_first_row_of_an_empty_log_is_one_past_its_end(store: LogStore, tmp_path: Path) -> None:
    with closing(LogReader(tmp_path / FILE_NAME)) as reader:
        assert reader.first_row_at(0) == 1


# --- checkpoints


def test_the_newest_fitting_checkpoint_is_read_back_exactly(store: LogStore) -> None:
    states = {"Executor": {"cash": Decimal("0.10"), "deep": [None, True, "é"]}}
    store.append(SEALED[:10], Checkpoint(4, {"old": 1}), MAKER)
    store.append(SEALED[10:], Checkpoint(20, states), MAKER)
    assert store.latest_checkpoint(MAKER) == Checkpoint(20, states)


@pytest.mark.parametrize(
    "change",
    ["UPDATE checkpoint SET hash = zeroblob(32)", "UPDATE checkpoint SET maker = 'forestay-0'",
     "UPDATE checkpoint SET body = '{\"x\":3}'", "UPDATE checkpoint SET body = '{'",
     "UPDATE checkpoint SET row = 11", "UPDATE checkpoint SET row = 1000", "DELETE FROM checkpoint"],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_the_log_is_ignored(store: LogStore, tmp_path: Path, change: str) -> None:
    store.append(SEALED, Checkpoint(10, {"x": 1}), MAKER)
    assert store.latest_checkpoint(MAKER) == Checkpoint(10, {"x": 1})
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as db:
        db.execute(change)
    assert store.latest_checkpoint(MAKER) is None


def test_a_checkpoint_by_another_maker_is_ignored(store: LogStore) -> None:
    store.append(SEALED, Checkpoint(10, {"x": 1}), "forestay-0")
    assert store.latest_checkpoint(MAKER) is None


def test_an_older_checkpoint_that_fits_is_taken_where_the_newest_does_not(store: LogStore, tmp_path: Path) -> None:
    store.append(SEALED, Checkpoint(10, {"x": 1}), MAKER)
    with closing(apsw.Connection(str(tmp_path / FILE_NAME))) as db:
        db.execute("INSERT INTO checkpoint VALUES (20, zeroblob(32), ?, '{}')", (MAKER,))
    assert store.latest_checkpoint(MAKER) == Checkpoint(10, {"x": 1})
