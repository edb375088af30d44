"""Equal inputs give equal bytes, whatever the machine's moods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.resilience import evidence
from tests.resilience.candles import real_stretch
from tests.world.daemon import DaemonProcess

HOURS = 4_000
MOODS = (
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati"},
    {"PYTHONHASHSEED": "31337", "TZ": "America/St_Johns"},
)


def test_a_replay_writes_the_same_log_under_any_hash_seed_and_time_zone(
    start_daemon: Callable[..., DaemonProcess], real_data: Path, tmp_path: Path
) -> None:
    files = real_stretch(real_data, tmp_path, HOURS)
    flags = (*files.flags, "--speed", "max", "--exit-at-end")
    runs = [start_daemon(*flags, data_dir=tmp_path / mood["PYTHONHASHSEED"], env=mood) for mood in MOODS]
    assert [run.wait() for run in runs] == [0, 0], [run.errors for run in runs]
    first, second = (evidence.logged(run.data_dir) for run in runs)
    assert first == second
    assert len(first) > 3 * HOURS
    assert {"EXECUTED", "SKIPPED", "RISK_VETO", "RISK_BREACH", "STOPPED"} <= set(evidence.entry_types(first))
    said = [evidence.verify(run.data_dir) for run in runs]
    assert said[0] == said[1]
    assert f"{len(first)} rows" in said[0]
