"""The simulated disk: the real SQLite on it, and the product's log through power cuts, failed syncs and a full disk.

Each of the long tests is also run against a log that does not keep the promise, and must say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Final

import apsw
import pytest

from actors.journal import store as store_module
from actors.journal.chain import Head, Sealed, seal
from actors.journal.store import DISK_ERRORS, Damaged, LogStore
from tests.actors.test_chain_and_store import some_rows
from tests.simulation.disk import SECTOR, SimDisk, SimReader, rows

LOG: Final = Path("/sim/log.sqlite3")
PLAIN: Final = "/sim/plain"
SEALED: Final = seal(some_rows(400), Head())[0]
SEEDS: Final = range(150)


class Loss(Exception):
    """The log is not what it promised to be."""


@pytest.fixture
def disk() -> Iterator[SimDisk]:
    with closing(SimDisk(Random(1))) as made:
        yield made


def log_on(disk: SimDisk) -> LogStore:
    return LogStore(LOG, log_id="log_1", vfs=disk.name)


def batch_after(row: int, random: Random) -> list[Sealed]:
    return SEALED[row : row + random.randint(1, 9)]


def hold(disk: SimDisk, before: Callable[[str, str], None]) -> None:
    disk.before = before


def let_go(disk: SimDisk) -> None:
    disk.before = lambda _, __: None


def end_at(disk: SimDisk, number: int, how: Callable[[], None]) -> None:
    """`how` happens ahead of the disk's `number`-th write, sync, truncation, deletion or opening."""
    left = number

    def before(operation: str, name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            how()
            raise apsw.IOError("the power is gone")

    hold(disk, before)


def checked(disk: SimDisk, acknowledged: int, ends: set[int]) -> LogStore:
    """The log, opened again. Raises Loss unless it holds all that was acknowledged, and only whole batches."""
    let_go(disk)
    disk.trouble = None
    try:
        found = rows(disk, LOG)
        store = log_on(disk)
        if store.verify() != store.head.row or store._db.pragma("integrity_check") != "ok":
            raise Loss("it is damaged")
    except (Damaged, apsw.CorruptError, apsw.NotADBError) as error:
        raise Loss(str(error)) from error
    row = store.head.row
    if row < acknowledged:
        raise Loss(f"row {acknowledged} was acknowledged, the log ends with {row}")
    if row not in ends:
        raise Loss(f"row {row} is no batch's last")
    if [found[6] for found in rows(disk, LOG)] != [sealed.hash for sealed in SEALED[:row]]:
        raise Loss("it holds other rows than were appended")
    if len(found) not in ends:
        raise Loss(f"a reader that came before the log was opened again saw {len(found)} rows")
    return store


def lived_through(seed: int, deaths: tuple[str, ...], spoil: Callable[[LogStore], None] = lambda _: None) -> SimDisk:
    """Appends and ends by one of these `deaths` at random operations, again and again. Raises Loss."""
    random = Random(seed)
    disk = SimDisk(Random(seed))
    disk.checkpoint_pages = random.choice((5, 30, 1000))
    acknowledged, ends = 0, {0}
    for _ in range(4):
        death = disk.power_cut if random.choice(deaths) == "power cut" else disk.process_death
        end_at(disk, random.choice((random.randint(1, 40), random.randint(1, 200))), death)
        with suppress(apsw.Error):  # nobody is left to be told of it
            with closing(log_on(disk)) as store:
                spoil(store)
                acknowledged = store.head.row
                for _ in range(random.randint(1, 20)):
                    batch = batch_after(acknowledged, random)
                    ends.add(batch[-1].row)
                    store.append(batch)
                    acknowledged = batch[-1].row
            death()
        checked(disk, acknowledged, ends).close()
    disk.close()
    return disk


def outlived(seed: int, last: str) -> Counter[str]:
    """Syncs fail at random. The log is reopened as the Journal does it, and what is found in it counts as committed;
    at last the power goes. With `last` "killed", each failed sync is the end of its process, too. Raises Loss."""
    random = Random(seed)
    disk = SimDisk(Random(seed))
    disk.checkpoint_pages = random.choice((5, 30, 1000))
    store, acknowledged, ends = log_on(disk), 0, {0}
    for _ in range(random.randint(1, 10)):
        batch = batch_after(acknowledged, random)
        ends.add(batch[-1].row)
        if random.random() < 0.4:
            disk.fail_next("sync", after=random.randrange(4))
        elif random.random() < 0.4:
            disk.trouble = "sync fails"
        try:
            store.append(batch)
            acknowledged = batch[-1].row
        except DISK_ERRORS:
            if last == "killed":
                disk.process_death()
            store.close()
            disk.trouble = None
            store = reopened(disk)
            acknowledged = store.head.row
    disk.power_cut()
    checked(disk, acknowledged, ends).close()
    disk.close()
    return disk.marks


def reopened(disk: SimDisk) -> LogStore:
    while True:
        with suppress(*DISK_ERRORS):
            return log_on(disk)


def losses(run: Callable[[int], object], seeds: range = SEEDS) -> int:
    """Of how many seeds' runs the log lost something."""
    lost = 0
    for seed in seeds:
        try:
            run(seed)
        except Loss:
            lost += 1
    return lost


# --- the log on it


def test_the_products_log_runs_on_it_in_a_wal_and_nothing_reaches_the_real_disk(disk: SimDisk) -> None:
    with closing(log_on(disk)) as store:
        store.append(SEALED[:5])
        assert store._db.pragma("journal_mode") == "wal"
        assert store._db.pragma("synchronous") >= 2
        assert disk.files.keys() == {str(LOG), f"{LOG}-wal"}
    assert disk.files.keys() == {str(LOG)}  # closed in order, the WAL is written back and gone
    assert not LOG.parent.exists()
    assert [row[:2] for row in rows(disk, LOG, 3)] == [(s.row, s.seq) for s in SEALED[3:5]]


def test_what_was_acknowledged_outlives_every_power_cut_and_a_batch_is_there_whole_or_not_at_all() -> None:
    marks: Counter[str] = Counter()
    for seed in SEEDS:
        marks += lived_through(seed, ("power cut", "power cut", "killed")).marks
    for mark in ("torn", "lost", "survived", "garbage", "deletion undone", "file lost", "file kept"):
        assert marks[mark] >= 5, (mark, marks)


@pytest.mark.parametrize("level", ["off", "normal"])
def test_a_log_that_syncs_less_is_seen_to_lose_what_it_acknowledged(level: str) -> None:
    assert losses(lambda seed: lived_through(seed, ("power cut",), syncing(level))) > 10


def test_a_log_that_syncs_less_loses_nothing_by_a_kill() -> None:
    assert losses(lambda seed: lived_through(seed, ("killed",), syncing("normal"))) == 0


def syncing(level: str) -> Callable[[LogStore], None]:
    def spoil(store: LogStore) -> None:
        store._db.pragma("synchronous", level)

    return spoil


def test_a_log_that_appends_row_by_row_is_seen_to_hold_half_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LogStore.append

    def one_by_one(self: LogStore, batch: list[Sealed]) -> None:
        for sealed in batch:
            whole(self, [sealed])

    monkeypatch.setattr(LogStore, "append", one_by_one)
    assert losses(lambda seed: lived_through(seed, ("killed",))) > 10


@pytest.mark.parametrize("last", ["kept alive", "killed"])
def test_what_is_found_after_a_failed_sync_is_still_there_after_a_power_cut(last: str) -> None:
    marks: Counter[str] = Counter()
    for seed in SEEDS:
        marks += outlived(seed, last)
    assert marks["failed sync"] > 100


@pytest.mark.parametrize("last", ["kept alive", "killed"])
def test_a_log_that_believes_what_a_failed_sync_left_is_seen_to_lose_it(
    monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr(store_module, "_write_again", lambda *_: None)
    assert losses(lambda seed: outlived(seed, last)) > 10


def test_to_write_the_wal_back_at_opening_is_seen_to_be_no_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite syncs the WAL before, and that sync passes over what an earlier one has failed to write: the power may
    take a WAL of which half is in the database by then."""
    opened = LogStore.__init__

    def and_checkpointed(self: LogStore, path: Path, *, log_id: str, vfs: str | None = None) -> None:
        opened(self, path, log_id=log_id, vfs=vfs)
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    monkeypatch.setattr(store_module, "_write_again", lambda *_: None)
    monkeypatch.setattr(LogStore, "__init__", and_checkpointed)
    assert losses(lambda seed: outlived(seed, "killed")) > 5


@pytest.mark.parametrize("before", ["nothing", "a log", "a killed process"])
def test_whatever_fails_while_the_log_is_opened_is_told_as_an_error_of_the_disk(before: str) -> None:
    with closing(SimDisk(Random(1))) as origin:
        if before != "nothing":
            store = log_on(origin)
            store.append(SEALED[:50])
            origin.process_death() if before == "a killed process" else store.close()
        for number in range(1, 200):
            with closing(origin.copy(Random(1))) as disk:
                end_at(disk, number, lambda: None)
                try:
                    store = log_on(disk)
                    let_go(disk)
                    store.close()
                    break
                except DISK_ERRORS:
                    checked(disk, len(rows(origin, LOG)), {0, 50}).close()
        assert number > 3


def test_one_flipped_bit_in_the_rows_is_found(disk: SimDisk) -> None:
    with closing(log_on(disk)) as store:
        store.append(SEALED)
    random, found = Random(5), 0
    for _ in range(60):
        with closing(disk.copy(Random(0))) as other:
            other.flip(LOG, random)
            try:
                with closing(log_on(other)) as store:
                    assert store.verify() == len(SEALED)
                    assert [row[6] for row in rows(other, LOG)] == [s.hash for s in SEALED]
            except (Damaged, apsw.Error):
                found += 1
    assert found > 20  # the other bits are of indexes and of free space


# --- troubles


def test_a_full_disk_takes_half_of_what_would_make_a_file_longer_and_nothing_is_lost_by_it(disk: SimDisk) -> None:
    store = log_on(disk)
    store.append(SEALED[:5])
    size = len(disk.files[f"{LOG}-wal"].cache)
    disk.trouble = "full"
    with pytest.raises(apsw.FullError):
        store.append(SEALED[5:200])
    assert len(disk.files[f"{LOG}-wal"].cache) == size + 12  # half of a frame's header
    assert [row[0] for row in rows(disk, LOG)] == [1, 2, 3, 4, 5]
    store.close()
    disk.trouble = None
    with closing(log_on(disk)) as again:
        assert again.head.row == 5
        again.append(SEALED[5:200])
        assert again.verify() == 200


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("broken", apsw.IOError),
        ("sync fails", apsw.IOError),
        ("read-only", apsw.ReadOnlyError),
        ("gone", apsw.IOError),
    ],
)
def test_each_trouble_refuses_an_append_and_passes(disk: SimDisk, trouble: str, error: type[apsw.Error]) -> None:
    store = log_on(disk)
    store.append(SEALED[:5])
    reader = SimReader(LOG, disk)
    disk.trouble = trouble
    with pytest.raises(error):
        store.append(SEALED[5:10])
    if trouble == "gone":
        with pytest.raises(apsw.CantOpenError):
            reader.head()
    else:
        assert reader.head().row == 5
    assert len(rows(disk, LOG)) == 5  # those who judge see it in any case
    store.close()
    disk.trouble = None
    with closing(log_on(disk)) as again:
        again.append(SEALED[again.head.row : 20])
        assert reader.head().row == again.verify() == 20


@pytest.mark.parametrize("operation", ["open", "read", "write", "sync"])
def test_a_single_failure_is_one_and_comes_when_it_is_due(disk: SimDisk, operation: str) -> None:
    with closing(apsw.Connection(PLAIN, vfs=disk.name)) as db:
        db.execute("CREATE TABLE t (x)")
        disk.fail_next(operation, after=2)
        failed = 0
        for _ in range(5):
            try:
                db.execute("INSERT INTO t VALUES (1)")
                with closing(apsw.Connection("/sim/other", vfs=disk.name)) as other:
                    other.execute("CREATE TABLE IF NOT EXISTS t (x)")
            except (apsw.IOError, apsw.CantOpenError):
                failed += 1
        assert failed == 1
        assert db.execute("SELECT count(*) FROM t").get in (4, 5)


# --- failed syncs


def plain_log(disk: SimDisk) -> apsw.Connection:
    db = apsw.Connection(PLAIN, vfs=disk.name)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
    return db


def amount(db: apsw.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM t").get)


def test_a_failed_sync_is_told_once_and_never_made_good(disk: SimDisk) -> None:
    """The commit failed, yet it is found when the log is opened again, and a later commit succeeds on top of it. The
    one that was never written takes the other with it."""
    db = plain_log(disk)
    disk.fail_next("sync")
    with pytest.raises(apsw.IOError):
        db.execute("INSERT INTO t VALUES (1)")
    disk.process_death()
    db = plain_log(disk)
    assert amount(db) == 1  # it can be read
    db.execute("INSERT INTO t VALUES (2)")
    assert amount(db) == 2  # and this was acknowledged
    with closing(disk.durable()) as left, closing(plain_log(left)) as found:
        assert amount(found) == 0


def test_a_failed_sync_does_no_harm_where_the_same_handle_writes_its_frames_again(disk: SimDisk) -> None:
    with closing(plain_log(disk)) as db:
        disk.fail_next("sync")
        with pytest.raises(apsw.IOError):
            db.execute("INSERT INTO t VALUES (1)")
        db.execute("INSERT INTO t VALUES (2)")
        with closing(disk.durable()) as left, closing(plain_log(left)) as found:
            assert found.execute("SELECT x FROM t").fetchall() == [(2,)]


def test_a_power_cut_keeps_or_loses_what_a_failed_sync_was_for() -> None:
    found = set()
    for seed in range(30):
        with closing(SimDisk(Random(seed))) as disk:
            file = disk.open("/sim/bytes", apsw.SQLITE_OPEN_CREATE)
            file.xWrite(bytes(SECTOR), 0)
            file.xSync(0)
            disk.fail_next("sync")
            file.xWrite(b"\1" * SECTOR, 0)
            with pytest.raises(apsw.IOError):
                file.xSync(0)
            file.xSync(0)  # which succeeds, and writes nothing
            assert file.xRead(1, 0) == b"\1"
            disk.power_cut()
            found.add(disk.files["/sim/bytes"].cache[0])
    assert found == {0, 1}


# --- what a power cut leaves


def test_a_power_cut_loses_keeps_and_tears_at_sectors_and_touches_no_other_byte() -> None:
    old, new = b"o" * 5000, b"n" * 3000
    kinds: Counter[str] = Counter()
    for seed in range(300):
        with closing(SimDisk(Random(seed))) as disk:
            file = disk.open("/sim/bytes", apsw.SQLITE_OPEN_CREATE)
            file.xWrite(old, 0)
            file.xSync(0)
            file.xWrite(new, 700)
            disk.power_cut()
            left = bytes(disk.files["/sim/bytes"].cache)
            assert len(left) == len(old)
            assert left[:700] == old[:700]
            assert left[3700:] == old[3700:]
            parts = [left[max(700, at) : min(3700, at + SECTOR)] for at in range(SECTOR, 3700, SECTOR)]
            assert disk.marks["garbage"] == sum(len(set(part)) > 1 for part in parts)
            kinds["old" if left == old else "new" if left[700:3700] == new else "torn"] += 1
    assert min(kinds[kind] for kind in ("old", "new", "torn")) > 30


def test_later_writes_may_reach_the_platter_where_earlier_ones_do_not() -> None:
    found = set()
    for seed in range(100):
        with closing(SimDisk(Random(seed))) as disk:
            file = disk.open("/sim/bytes", apsw.SQLITE_OPEN_CREATE)
            file.xWrite(b"..", 0)
            file.xSync(0)
            file.xWrite(b"1", 0)
            file.xWrite(b"2", 1)
            disk.power_cut()
            found.add(bytes(disk.files["/sim/bytes"].cache))
    assert found >= {b"..", b"1.", b".2", b"12"}


def test_a_deletion_may_be_undone_until_the_directory_is_synced() -> None:
    found = set()
    for seed in range(30):
        with closing(SimDisk(Random(seed))) as disk:
            for name in ("/sim/loose", "/sim/safe"):
                disk.open(name, apsw.SQLITE_OPEN_CREATE).xSync(0)
            disk.delete("/sim/safe", False)
            disk.open("/sim/a-wal", apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_WAL).xSync(0)
            disk.delete("/sim/loose", False)
            disk.power_cut()
            assert "/sim/safe" not in disk.files
            found.add("/sim/loose" in disk.files)
    assert found == {True, False}


def test_a_killed_process_loses_nothing_that_it_wrote(disk: SimDisk) -> None:
    file = disk.open("/sim/bytes", apsw.SQLITE_OPEN_CREATE)
    file.xWrite(b"unsynced", 0)
    disk.process_death()
    assert bytes(disk.files["/sim/bytes"].cache) == b"unsynced"
    assert disk.durable().files == {}


@pytest.mark.parametrize("death", ["power_cut", "process_death"])
def test_the_handles_of_a_dead_process_are_dead_for_ever_and_its_connections_close_in_silence(
    disk: SimDisk, death: str
) -> None:
    store, reader = log_on(disk), SimReader(LOG, disk)
    store.append(SEALED[:5])
    assert reader.head().row == 5
    getattr(disk, death)()
    before = disk.done.copy()
    with pytest.raises(apsw.IOError):
        store.append(SEALED[5:10])
    with pytest.raises(apsw.IOError):
        reader.head()
    store.close()
    reader.close()
    assert disk.done == before
    with closing(log_on(disk)) as again:
        assert again.head.row == 5


def test_the_power_may_go_ahead_of_any_operation(disk: SimDisk) -> None:
    store = log_on(disk)
    end_at(disk, 3, disk.power_cut)
    with pytest.raises(apsw.IOError):
        store.append(SEALED[:5])
    store.close()
    checked(disk, 0, {0, 5}).close()


def test_a_connection_that_was_left_open_is_dead_once_there_is_another(disk: SimDisk) -> None:
    forgotten = log_on(disk)
    forgotten.append(SEALED[:5])
    with closing(log_on(disk)) as store:
        assert disk.marks["handle taken over"] == 2  # the database's and the WAL's
        store.append(SEALED[5:10])
        with pytest.raises(apsw.IOError):
            forgotten.append(SEALED[5:10])
        forgotten.close()
        assert store.verify() == 10


# --- readers, and other disks made from it


def test_a_reader_sees_what_is_committed_and_nothing_that_a_commit_is_still_writing(disk: SimDisk) -> None:
    disk.checkpoint_pages = 8
    store, reader = log_on(disk), SimReader(LOG, disk)
    seen: Counter[str] = Counter()
    committed = 0

    def before(operation: str, name: str) -> None:
        if operation == "sync" and name.endswith("-wal") and disk.files[name].unsynced:
            assert reader.head().row == len(rows(disk, LOG)) == committed
            seen["in a commit"] += 1
        elif operation == "write" and name == str(LOG):
            assert reader.head().row == len(rows(disk, LOG))
            seen["in a checkpoint"] += 1

    hold(disk, before)
    for end in range(4, 200, 4):
        store.append(SEALED[committed:end])
        committed = end
        assert reader.head().row == committed
        assert reader.rows(committed - 1, 9)[0][0] == committed
    assert seen["in a commit"] >= 49
    assert seen["in a checkpoint"] > 10
    store.close()
    assert reader.verify() == committed


def test_a_reader_does_not_see_a_commit_whose_sync_failed_until_somebody_recovers_it(disk: SimDisk) -> None:
    store, reader = log_on(disk), SimReader(LOG, disk)
    store.append(SEALED[:5])
    disk.fail_next("sync")
    with pytest.raises(apsw.IOError):
        store.append(SEALED[5:10])
    assert reader.head().row == len(rows(disk, LOG)) == 5
    with closing(log_on(disk)) as again:
        assert reader.head().row == len(rows(disk, LOG)) == again.head.row == 10


def test_a_reader_sees_what_a_killed_process_wrote_once_it_is_recovered_even_by_who_does_not_make_it_durable(
    disk: SimDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = log_on(disk)
    store.append(SEALED[:5])

    def kill(operation: str, name: str) -> None:
        if operation == "sync":
            disk.process_death()

    hold(disk, kill)
    with pytest.raises(apsw.IOError):
        store.append(SEALED[5:10])
    let_go(disk)
    assert len(rows(disk, LOG)) == 5
    disk.trouble = "sync fails"
    with pytest.raises(apsw.IOError):
        log_on(disk)
    disk.trouble = None
    assert len(rows(disk, LOG)) == 5
    monkeypatch.setattr(store_module, "_write_again", lambda *_: None)
    with closing(log_on(disk)) as believer:
        assert len(rows(disk, LOG)) == believer.head.row == 10
        assert len(rows(disk.durable(), LOG)) == 5


def test_a_reader_reads_nothing_anew_while_nothing_changes(disk: SimDisk) -> None:
    with closing(log_on(disk)) as store:
        store.append(SEALED[:5])
        reader = SimReader(LOG, disk)
        reader.head()
        connection = reader._open
        assert reader.head().row == 5
        assert reader._open is connection
        store.append(SEALED[5:10])
        assert reader.head().row == 10
        assert reader._open is not connection


def test_the_durable_disk_holds_what_is_synced_and_nothing_else(disk: SimDisk) -> None:
    with closing(log_on(disk)) as store:
        store.append(SEALED[:5])
        found = []

        def before(operation: str, name: str) -> None:
            if operation == "sync":
                found.append((len(rows(disk.durable(), LOG)), len(rows(disk.view(), LOG))))

        hold(disk, before)
        store.append(SEALED[5:10])
        assert found == [(5, 5)]
        let_go(disk)
        assert [row[6] for row in rows(disk.durable(), LOG)] == [s.hash for s in SEALED[:10]]


def test_where_there_is_no_log_there_are_no_rows(disk: SimDisk) -> None:
    assert rows(disk, LOG) == []
    with pytest.raises(DISK_ERRORS):
        SimReader(LOG, disk).head()
    apsw.Connection(str(LOG), vfs=disk.name).execute("CREATE TABLE t (x)")
    assert rows(disk, LOG) == []


def fingerprint(disk: SimDisk) -> dict[str, bytes]:
    return {name: bytes(file.cache) for name, file in sorted(disk.files.items())}


def test_the_same_seed_gives_the_same_disk_byte_for_byte() -> None:
    def run(seed: int) -> tuple[object, ...]:
        disk = lived_through(seed, ("power cut", "killed"))
        return fingerprint(disk), disk.marks, disk.done

    runs = [run(seed) for seed in range(20)]
    assert runs == [run(seed) for seed in range(20)]
    assert len({str(run[1]) for run in runs}) > 15


def test_a_copy_goes_its_own_way_and_the_same_way_for_the_same_random(disk: SimDisk) -> None:
    store = log_on(disk)
    store.append(SEALED[:5])
    end_at(disk, 4, disk.process_death)
    with pytest.raises(apsw.IOError):
        store.append(SEALED[5:60])
    before = fingerprint(disk)
    left = []
    for seed in (1, 1, 2, 3, 4):
        with closing(disk.copy(Random(seed))) as copy:
            assert fingerprint(copy) == before
            copy.power_cut()
            left.append(fingerprint(copy))
    assert left[0] == left[1]
    assert len({str(one) for one in left}) > 1
    assert fingerprint(disk) == before


def test_a_closed_disk_leaves_sqlite_as_it_was() -> None:
    before = apsw.vfs_names(), list(apsw.connection_hooks)
    with closing(SimDisk(Random(1))) as disk:
        log_on(disk).append(SEALED[:5])
        assert rows(disk, LOG)
        assert disk.name in apsw.vfs_names()
    assert (apsw.vfs_names(), list(apsw.connection_hooks)) == before
