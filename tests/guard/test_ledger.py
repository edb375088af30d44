"""The guard's memory on the disk: what it has acknowledged is there, and what is not what was written stops it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UserError
from protocol.signing import NotSent, Sent, Signed, Unknown
from server.guard.books import Attempted, Ended, Granted, Killed, Lifted, Record, Started, TailCut
from server.guard.ledger import Damaged, Ledger, Unwritable, only_guard, read, seal, unseal
from tests.guard.chain import CAKE, E18, USDT, Chain
from tests.guard.houses import SECONDS, WALLET, anchor, entry, environment, transaction
from tests.world.small_disk import SmallDisk

AT = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
TX = transaction(entry(Chain()))
GRANTED = Granted("order_1", TX, Signed("0xab", "0xcd"), 10 * E18, 200_000 * 10**9, "2027-01-15", anchor(1))
RECORDS: list[Record] = [
    Started("1", "local", WALLET, 56, USDT, Decimal("1.5"), Decimal(3)),
    GRANTED,
    Killed('a line\nend, an é and a "quote"'),
    Killed("again", "2027-01-15T08:00:00.000Z"),
    Lifted(),
    TailCut("ff"),
    Attempted("order_2", USDT, CAKE, E18, 1, E18, 2**255, "2027-01-15", anchor(2)),
    Ended("order_2", Unknown("nobody knows", "0x" + "1" * 64)),
    Ended("order_2", NotSent("NO_ROUTES")),
    Ended("order_2", Sent("0x" + "2" * 64)),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.jsonl"
    Ledger.create(made, WALLET, AT)
    return made


def filled(path: Path, records: list[Record] = RECORDS) -> bytes:
    """The ledger's bytes, with all these records in it."""
    ledger = Ledger(path)
    for record in records:
        ledger.append(record, AT)
    ledger.close()
    return path.read_bytes()


def test_what_was_appended_is_there_when_it_is_opened_again(path: Path) -> None:
    before = Ledger(path)
    for record in RECORDS:
        before.append(record, AT)
    before.close()
    after = Ledger(path)
    assert after.books == before.books
    assert after.head == before.head
    assert after.books.spent_on("2027-01-15") == 11 * E18
    assert after.books.signed_nonce == 0
    assert read(path) == after.books
    after.close()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_every_record_is_read_as_it_was_written(record: Record) -> None:
    line, digest = seal(bytes(32), 3, AT, record)
    assert line.count(b"\n") == 1
    assert unseal(bytes(32), 3, line[:-1]) == (AT, record, digest)


def test_time_in_the_ledger_never_runs_backwards(path: Path) -> None:
    ledger = Ledger(path)
    ledger.append(Killed("x"), AT + timedelta(hours=1))
    ledger.append(Lifted(), AT)
    ledger.append(Killed("y"), AT)
    assert ledger.books.kill is not None
    assert ledger.books.kill.at == AT + timedelta(hours=1)
    ledger.close()


def test_a_torn_last_line_is_cut_with_a_record_wherever_it_was_torn(path: Path) -> None:
    whole = filled(path, [GRANTED])
    line, _ = seal(bytes.fromhex(unsealed_head(path)), 3, AT, Killed("x"))
    for length in {1, 2, *range(3, len(line), 11), len(line) - 1}:
        path.write_bytes(whole + line[:length])
        ledger = Ledger(path)
        assert ledger.books.kill is None
        assert ledger.books.spent == 10 * E18
        assert ledger.head[0] == 3
        ledger.close()
        kept = path.read_bytes()
        assert kept.startswith(whole)
        assert line[:length].hex().encode()[:400] in kept[len(whole) :]
        assert b'"kind":"cut"' in kept[len(whole) :]
        Ledger(path).close()


def unsealed_head(path: Path) -> str:
    ledger = Ledger(path)
    ledger.close()
    return ledger.head[1]


def test_zeros_that_a_power_cut_left_behind_the_end_are_a_torn_line(path: Path) -> None:
    whole = filled(path, [GRANTED])
    path.write_bytes(whole + bytes(4096))
    ledger = Ledger(path)
    assert ledger.books.spent == 10 * E18
    ledger.close()
    assert bytes(2) not in path.read_bytes()


@given(st.data())
def test_any_flipped_bit_stops_the_guard(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("flip") / "ledger.jsonl"
    Ledger.create(path, WALLET, AT)
    raw = bytearray(filled(path))
    bit = data.draw(st.one_of(st.integers(0, 8 * len(raw) - 1), st.integers(8 * len(raw) - 8, 8 * len(raw) - 1)))
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    with pytest.raises(Damaged):
        Ledger(path)
    assert path.read_bytes() == raw


@given(st.data())
def test_a_line_that_is_missing_doubled_or_moved_stops_the_guard(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("moved") / "ledger.jsonl"
    Ledger.create(path, WALLET, AT)
    lines = filled(path).splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 2))
    how = data.draw(st.sampled_from(["missing", "doubled", "moved"]))
    changed = {
        "missing": lines[:number] + lines[number + 1 :],
        "doubled": lines[: number + 1] + lines[number:],
        "moved": [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]],
    }[how]
    path.write_bytes(b"".join(changed))
    with pytest.raises(Damaged, match=f"line {number + 1 + (how == 'doubled')} "):
        Ledger(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\n", b"not a ledger\n", b"\xff\xfe\n", b"null\n"])
def test_what_is_no_ledger_stops_the_guard(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Damaged):
        Ledger(path)


def test_a_missing_ledger_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not known"):
        Ledger(tmp_path / "ledger.jsonl")


def test_a_ledger_is_never_begun_over_another(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Ledger.create(path, "0x" + "9" * 40, AT)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_guard_at_a_time_has_the_folder(tmp_path: Path) -> None:
    with only_guard(tmp_path), pytest.raises(UserError, match="another guard"), only_guard(tmp_path):
        pass
    with only_guard(tmp_path):
        pass


# --- disks that do not do what they should


def test_a_failed_sync_is_the_end_of_this_ledger_until_it_is_opened_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(path)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(Unwritable):
            ledger.append(GRANTED, AT)
    with pytest.raises(Unwritable, match="start the guard again"):
        ledger.append(GRANTED, AT)
    assert ledger.books.spent == 0
    ledger.close()
    # It may have reached the disk or not: if it is there, it counts, though nothing left because of it.
    again = Ledger(path)
    assert again.books.spent == 10 * E18
    again.close()


def test_a_short_write_is_taken_back_and_the_ledger_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, real = Ledger(path), os.write
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:100]))
        with pytest.raises(Unwritable, match="No space"):
            ledger.append(GRANTED, AT)
    assert path.read_bytes() == before
    assert ledger.books.spent == 0
    ledger.append(GRANTED, AT)
    ledger.close()
    assert read(path).spent == 10 * E18


def test_the_newest_anchor_is_kept_of_each_log(path: Path) -> None:
    ledger = Ledger(path)
    ledger.append(GRANTED, AT)
    ledger.append(evolve(GRANTED, anchor=anchor(9, "log_2")), AT)
    assert ledger.books.anchors == {"log_1": anchor(1), "log_2": anchor(9, "log_2")}
    assert ledger.books.anchor == anchor(9, "log_2")
    ledger.close()


def test_a_kill_is_written_even_on_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 4096)
    try:
        done = subprocess.run(
            [*disk.command, sys.executable, "-c", KILL_ON_FULL_DISK, str(disk.path)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.stdout.split() == ["refused", "killed", "found"], done.stderr
    finally:
        disk.close()


KILL_ON_FULL_DISK = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from server.guard.books import Killed
from server.guard.ledger import Ledger, Unwritable, read

path, at = Path(sys.argv[1]) / "ledger.jsonl", datetime(2027, 1, 15, tzinfo=UTC)
Ledger.create(path, "0x" + "1" * 40, at)
ledger = Ledger(path)
with open(path.with_name("full"), "wb", buffering=0) as hog:
    try:
        while hog.write(bytes(4096)):
            pass
    except OSError:
        pass
try:
    while True:  # the last page of the ledger itself is filled
        ledger.append(Killed("x" * 400), at)
except Unwritable:
    print("refused")
ledger.append(Killed("at last"), at, at_any_cost=True)
print("killed")
assert "at last" in path.read_text()
assert read(path).kill is not None
print("found")
"""
