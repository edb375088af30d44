"""The command line as a person has it: help, init, run, journal, tail, and what is said to mistakes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
import yaml

from actors.journal.store import FILE_NAME, LogReader
from protocol.codec import to_plain
from protocol.settings import AgentConfig, MachineSettings
from server.settings import load, split
from server.template import TEMPLATE
from tests.server.clients import PATIENCE, Ended, at_the_end, change, clean_environment, forestay, frames_in
from tests.server.markets import STRATEGY, busy_flags, end_of, walk, write_candles
from tests.world.daemon import FORESTAY, DaemonProcess
from tests.world.running import Running

MISTAKE, FAILED = 2, 1
BARS = 200


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a mistake is told in, a hint on the usage aside."""
    assert done.returncode == MISTAKE, done.stderr
    assert done.stdout == ""
    hints = ("Usage: ", "Try ")
    (told,) = [line for line in done.stderr.splitlines() if line and not line.startswith(hints)]
    return told


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a replay that has ended: `data` has its log. For tests that only read."""
    folder = tmp_path_factory.mktemp("finished")
    flags = busy_flags(folder, BARS)
    done = forestay("run", "--port", "0", "--data-dir", "data", "--exit-at-end", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def entries_in(folder: Path) -> list[dict[str, Any]]:
    events = [json.loads(frame) for frame in frames_in(folder / "data")]
    return [event for event in events if event["event"] == "journal_entry"]


# --- help

OPTIONS = {
    "": [
        "init", "journal", "run", "tail", "funnel", "why", "backtest", "strategies", "--version", "FORESTAY_PORT",
        "FORESTAY_DATA_DIR", "FORESTAY_SECTION__KEY",
    ],
    "init": ["--path", "--force", "--json"],
    "run": [
        "--config", "--data-dir", "--host", "--port", "--market", "--replay", "PAIR=CSV", "--reference", "--series",
        "--seed", "--speed", "max", "--exit-at-end", "8000", "127.0.0.1",
    ],
    "tail": ["--since", "--json", "--url", "--config"],
    "journal": ["--type", "--tag", "--json", "--limit", "--config", "--data-dir", "verify"],
    "journal verify": ["--json", "--config", "--data-dir"],
    "strategies": ["--json"],
    "funnel": ["--pair", "--from", "--to", "--json", "--config", "--data-dir"],
    "why": ["PAIR", "--at", "--json", "--config", "--data-dir"],
}  # fmt: skip


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(tmp_path: Path, command: str) -> None:
    done = forestay(*command.split(), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [option for option in OPTIONS[command] if option not in done.stdout] == []


# --- init


def test_init_writes_a_file_that_run_takes(start_daemon: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    done = forestay("init", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert "forestay.toml" in done.stdout
    daemon = start_daemon("--seed", "3")
    daemon.ready()
    assert daemon.get("/agents/seed").json()["id"] == "seed"


def test_init_overwrites_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "forestay.toml"
    path.write_text("# mine", encoding="utf-8")
    told = complaint(forestay("init", cwd=tmp_path))
    assert told == "forestay: forestay.toml: is there already; --force overwrites it"
    assert path.read_text(encoding="utf-8") == "# mine"
    assert forestay("init", "--force", cwd=tmp_path).returncode == 0
    assert path.read_text(encoding="utf-8") == TEMPLATE


def test_init_writes_where_it_is_told_to_or_says_why_not(tmp_path: Path) -> None:
    done = forestay("init", "--path", "other.toml", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"path": "other.toml"})
    assert (tmp_path / "other.toml").read_text(encoding="utf-8") == TEMPLATE
    assert "nowhere/x.toml: cannot be written" in complaint(forestay("init", "--path", "nowhere/x.toml", cwd=tmp_path))


COMMENTED = re.compile(r'# (\[\w+\]$|"?[\w/]+"? = .*)')
OF_THE_AGENT = {"watchlist", "snapshot_minutes"}  # in no table, so they stand before the first one
MACHINE_PART, AGENT_PART = re.split(r"# --- The agent.*\n", TEMPLATE)


def uncommented(text: str) -> dict[str, Any]:
    lines = (COMMENTED.sub(r"\1", line) for line in text.splitlines())
    return tomllib.loads("\n".join(lines), parse_float=Decimal)


def test_what_init_writes_are_the_defaults() -> None:
    written = split(tomllib.loads(TEMPLATE))
    assert written.machine == MachineSettings()
    assert written.agent == {}, "a change made later through the API would contradict the file"


def test_what_init_writes_in_comments_are_the_defaults() -> None:
    shown = uncommented(AGENT_PART) | {key: uncommented(MACHINE_PART)[key] for key in OF_THE_AGENT}
    defaults = to_plain(AgentConfig(("ETH/USDT",)))
    assert shown["strategy"].pop("spec") == "strategy.yaml"
    assert defaults["strategy"].pop("spec")
    assert shown == defaults  # every key, and as it is


def test_what_init_writes_names_every_key_of_the_machine() -> None:
    shown, defaults = uncommented(MACHINE_PART), to_plain(MachineSettings())
    assert set(shown) == set(defaults) | OF_THE_AGENT
    for section in ("server", "market", "chain"):
        assert set(shown[section]) == set(defaults[section])


OPTIONAL = ("# [", '# "', "# spec", "# token", "# reference_factory", "# guard")
TEMPLATE_LINES = [
    number
    for number, line in enumerate(TEMPLATE.splitlines())
    if COMMENTED.match(line)
    and not line.startswith(("# [", '# "', "# spec", "# token", "# reference_factory", "# guard"))
]


@pytest.mark.parametrize(
    "number", TEMPLATE_LINES, ids=[TEMPLATE.splitlines()[n].split(" = ")[0] for n in TEMPLATE_LINES]
)
def test_a_comment_that_init_writes_may_be_made_a_setting_where_it_stands(tmp_path: Path, number: int) -> None:
    """With the table that it stands under, where that is a comment too."""
    lines = TEMPLATE.splitlines()
    table = max((n for n in range(number) if re.match(r"(# )?\[[\w.]+\]", lines[n])), default=number)
    blank_between = "" in lines[table:number]
    for chosen in {number} if blank_between else {number, table}:
        lines[chosen] = COMMENTED.sub(r"\1", lines[chosen])
    path = tmp_path / "forestay.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    name = COMMENTED.sub(r"\1", lines[number]).split(" = ")[0]
    settings = load(path, {}, {})
    machine = to_plain(settings.machine)
    assert name in {**machine["market"], **machine["chain"], **settings.agent, **_inner(settings.agent)}


def _inner(agent: dict[str, Any]) -> dict[str, Any]:
    return {key: value for section in agent.values() if isinstance(section, dict) for key, value in section.items()}


# --- mistakes


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all kinds of files that are not what they should be. Nothing is to be added to it."""
    folder = tmp_path_factory.mktemp("desk")
    files = {
        "bad.toml": b"[server",
        "unknown.toml": b"[server]\nprot = 1",
        "latin.toml": b"# caf\xe9",
        "oddspec.toml": b"[strategy]\nspec = 'odd.yaml'",
        "odd.yaml": b"a: b: c",
        "margin.toml": b"[strategy]\nspec = 'margin.yaml'",
        "margin.yaml": STRATEGY.replace("spot", "margin").encode(),
        "words.csv": b"these are,no candles\n1,2\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder.toml").mkdir()
    write_candles(folder / "eth.csv", walk(1, 30))
    return folder


RUN_MISTAKES: list[tuple[list[str], list[str]]] = [
    (["--replay", "ETH/USDT=absent.csv"], ["absent.csv", "No such file"]),
    (["--replay", "ETH/USDT=words.csv"], ["words.csv: line 1"]),
    (["--replay", "eth.csv"], ["--replay", "'eth.csv' is not PAIR=CSV, such as ETH/USDT=eth.csv"]),
    (["--replay", "ETHUSDT=eth.csv"], ["ETHUSDT", "such as ETH/USDT"]),
    (["--replay", "ETH/USDT=eth.csv", "--replay", "ETH/USDT=eth.csv"], ["--replay", "given twice"]),
    (["--replay", "ETH/USDT=eth.csv", "--reference", "LTC/USDT=eth.csv"], ["market.reference", "LTC/USDT"]),
    (["--market", "replay"], ["market.replay", "PAIR = CSV"]),
    (["--market", "live"], ["--market", "'demo', 'replay'"]),
    (["--speed", "fast"], ["--speed", "'fast' is neither max nor a number"]),
    (["--speed", "nan"], ["market.speed = nan", "ordinary size"]),
    (["--port", "65536"], ["server.port = 65536", "0 to 65535"]),
    (["--port", "http"], ["--port", "'http'"]),
    (["--host", "256.1.1.1"], ["server.host"]),
    (["--config", "absent.toml"], ["absent.toml: there is no such file", "forestay init"]),
    (["--config", "folder.toml"], ["folder.toml: cannot be read"]),
    (["--config", "latin.toml"], ["latin.toml: cannot be read"]),
    (["--config", "bad.toml"], ["bad.toml: is not valid TOML"]),
    (["--config", "unknown.toml"], ["server.prot = 1: unknown key", "port"]),
    (["--config", "oddspec.toml"], ["odd.yaml"]),
    (["--config", "margin.toml"], ["strategy.spec.market_mode = 'margin': only spot is traded"]),
    (["--data-dir", "eth.csv"], ["data_dir = 'eth.csv'", "cannot be used"]),
    (["--bogus"], ["--bogus"]),
    (["extra"], ["extra"]),
]


@pytest.mark.parametrize(("args", "words"), RUN_MISTAKES, ids=[" ".join(args) for args, _ in RUN_MISTAKES])
def test_a_mistake_in_run_is_told_in_one_line(desk: Path, tmp_path: Path, args: list[str], words: list[str]) -> None:
    data_dir = [] if "--data-dir" in args else ["--data-dir", str(tmp_path / "data")]
    told = complaint(forestay("run", "--exit-at-end", *data_dir, *args, cwd=desk))
    assert [word for word in words if word not in told] == []


def test_a_mistake_in_the_environment_is_told_in_one_line(tmp_path: Path) -> None:
    told = complaint(forestay("run", cwd=tmp_path, FORESTAY_PROT="1"))
    assert told.startswith("forestay: FORESTAY_PROT = '1': unknown key")
    told = complaint(forestay("run", cwd=tmp_path, FORESTAY_SERVER__PORT="x"))
    assert told == "forestay: server.port = 'x': must be a number"
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = complaint(forestay("run", "--port", str(port), cwd=tmp_path))
    assert told.startswith(
        f"forestay: server.port = {port} on '127.0.0.1': cannot listen there: Address already in use"
    )


def test_a_second_daemon_on_a_data_dir_is_refused(busy: Ended, tmp_path: Path) -> None:
    told = complaint(forestay("run", "--port", "0", "--data-dir", str(busy.daemon.data_dir), cwd=tmp_path))
    assert "another forestay runs on it" in told
    assert str(busy.daemon.pid) in told


def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def rerun(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return forestay("run", "--port", "0", "--data-dir", "data", "--exit-at-end", *flags, cwd=folder)


def test_a_config_that_differs_from_the_log_is_refused_by_what_differs(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    flags = busy_flags(folder, BARS)
    path = folder / "busy.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("trade_floor = 4", "trade_floor = 5"), encoding="utf-8")
    done = rerun(folder, *flags)
    assert done.returncode == MISTAKE
    assert done.stderr.startswith("forestay: evaluation.trade_floor = 5 in the settings, 4 in the log\n")
    assert "PATCH /agents/seed/config" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_candles_than_the_logs_are_refused(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    assert "market: this log began on files = " in complaint(rerun(folder, *busy_flags(folder, BARS + 1)))


def test_another_kind_of_market_than_the_logs_is_refused_by_its_kind(finished: Path, tmp_path: Path) -> None:
    told = complaint(rerun(copied(finished, tmp_path), "--market", "demo"))
    assert "market: this log began on" in told
    assert "replay" in told
    assert "demo" in told


NEW_SETTINGS = """\
watchlist = ["ETH/USDT"]

[strategy]
spec = "new.yaml"

[quotes]
min_depth_usdt = 5000
pairs = {"ETH/USDT" = {max_impact_pct = 2.5, max_age_seconds = 7200}}

[risk]
preset = "aggressive"
max_market_age_hours = 4.5

[paper]
impact = "none"
fill_at = "next_open"

[market.series]
fng = "fng.csv"
"""
NEW_STRATEGY = """\
market_mode: spot
name: new
about: Whatever there is.
signals:
  entry:
    any_of:
      - {indicator: ema_cross, op: crosses_above, value: 0, fast: 3, slow: 9}
      - {indicator: bollinger, op: "<", value: 0.1, window: 20, width: 1.5}
      - {indicator: series, op: "<=", value: 20, name: fng, max_age_hours: 30}
  exit:
    all_of:
      - {indicator: breakout, op: ">", value: 0.9, window: 12}
      - {indicator: volume_z, op: ">=", value: 0, window: 12}
      - {indicator: momentum, op: ">", value: 0.01, window: 6}
regime_filter: {stand_aside_when: [{indicator: atr, op: ">=", value: 0.2, window: 14}]}
params: {position_size_pct: 50, stop_loss_pct: 2, take_profit_pct: 4, max_hold_hours: 24}
"""


def test_run_takes_everything_that_a_settings_file_may_say(tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text(NEW_SETTINGS, encoding="utf-8")
    (tmp_path / "new.yaml").write_text(NEW_STRATEGY, encoding="utf-8")
    days = (f"2024-03-0{day}T00:00:00Z,{value}" for day, value in ((1, 15), (2, 60)))
    (tmp_path / "fng.csv").write_text("\n".join(["time,value", *days, ""]), encoding="utf-8")
    flags = ["--config", "new.toml", "--replay", f"ETH/USDT={write_candles(tmp_path / 'eth.csv', walk(1, 100))}"]
    done = rerun(tmp_path, "--speed", "max", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    reader = LogReader(tmp_path / "data" / FILE_NAME)
    (_, body), *others = reader.configs()
    reader.close()
    assert others == []
    config = json.loads(body)["config"]
    given, spec = tomllib.loads(NEW_SETTINGS), yaml.safe_load(NEW_STRATEGY)
    assert config["quotes"] == {"max_divergence_pct": 1, "max_age_seconds": 5400, "max_impact_pct": 1} | given["quotes"]
    assert (config["risk"]["max_market_age_hours"], config["risk"]["preset"]) == (4.5, "aggressive")
    assert (config["paper"]["impact"], config["paper"]["fill_at"]) == ("none", "next_open")
    assert config["strategy"]["spec"]["params"] == {"max_concurrent": 1} | spec["params"]
    entry = config["strategy"]["spec"]["signals"]["entry"]["any_of"]
    assert entry == spec["signals"]["entry"]["any_of"]
    assert "EXECUTED" in done.stdout


def test_the_environment_sets_what_is_new_too(tmp_path: Path) -> None:
    write_candles(tmp_path / "eth.csv", walk(1, 30))
    args = [
        "run",
        "--port",
        "0",
        "--data-dir",
        "data",
        "--exit-at-end",
        "--speed",
        "max",
        "--replay",
        "ETH/USDT=eth.csv",
    ]
    done = forestay(*args, cwd=tmp_path, FORESTAY_PAPER__FILL_AT="next_open", FORESTAY_RISK__MAX_MARKET_AGE_HOURS="2.5")
    assert (done.returncode, done.stderr) == (0, "")
    told = complaint(forestay(*args, cwd=tmp_path, FORESTAY_PAPER__FILL_AT="close"))
    assert told == "forestay: paper.fill_at = 'close': must be one of quote, next_open"


# --- journal


def test_the_journal_is_read_without_the_daemon(finished: Path) -> None:
    wanted = entries_in(finished)
    done = forestay("journal", "--data-dir", "data", "--json", cwd=finished)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == wanted
    plain = forestay("journal", "--data-dir", "data", cwd=finished).stdout.splitlines()
    assert len(plain) == len(wanted)
    for line, entry in zip(plain, wanted, strict=True):
        assert line.startswith(entry["ts"][:16].replace("T", " "))
        assert line.endswith(entry["text"])
        assert entry["type"] in line


def of_type(entry_type: str) -> Callable[[dict[str, Any]], bool]:
    return lambda entry: bool(entry["type"] == entry_type)


FILTERS: list[tuple[list[str], Callable[[dict[str, Any]], bool]]] = [
    (["--type", "EXECUTED"], of_type("EXECUTED")),
    (["--tag", "ETH/USDT"], lambda entry: "ETH/USDT" in entry["tags"]),
    (["--type", "EXECUTED", "--tag", "buy"], lambda entry: entry["type"] == "EXECUTED" and "buy" in entry["tags"]),
    (["--type", "NONESUCH"], of_type("NONESUCH")),
]


@pytest.mark.parametrize(("args", "wanted"), FILTERS, ids=[" ".join(args) for args, _ in FILTERS])
def test_the_journal_is_filtered(finished: Path, args: list[str], wanted: Callable[[dict[str, Any]], bool]) -> None:
    done = forestay("journal", "--data-dir", "data", "--json", *args, cwd=finished)
    entries = [entry for entry in entries_in(finished) if wanted(entry)]
    assert entries or "NONESUCH" in args
    assert [json.loads(line) for line in done.stdout.splitlines()] == entries


def test_a_limit_leaves_the_newest_of_what_matches(finished: Path) -> None:
    args = ["--type", "EXECUTED", "--limit", "2", "--json"]
    done = forestay("journal", "--data-dir", "data", *args, cwd=finished)
    entries = [entry for entry in entries_in(finished) if entry["type"] == "EXECUTED"]
    assert [json.loads(line) for line in done.stdout.splitlines()] == entries[-2:]


def test_a_type_is_found_in_small_letters_too_and_that_there_is_none_is_said(finished: Path) -> None:
    def said(*args: str) -> str:
        return forestay("journal", "--data-dir", "data", *args, cwd=finished).stdout

    assert said("--type", "executed") == said("--type", "EXECUTED") != ""
    assert said("--type", "nothing") == "There are no such entries.\n"
    assert said("--type", "nothing", "--json") == ""


def test_the_journal_is_read_beside_a_running_daemon(busy: Ended, tmp_path: Path) -> None:
    for more in ({}, {"FORESTAY_DATA_DIR": str(busy.daemon.data_dir)}):
        args = ["--data-dir", str(busy.daemon.data_dir)] if not more else []
        done = forestay("journal", "--json", *args, cwd=tmp_path, **more)
        assert [json.loads(line) for line in done.stdout.splitlines()] == busy.of("journal_entry")
    verified = forestay("journal", "--data-dir", str(busy.daemon.data_dir), "verify", cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert busy.daemon.running


def test_nothing_that_is_piped_has_colours(busy: Ended, finished: Path) -> None:
    printed = "".join(busy.daemon.lines) + forestay("journal", "--data-dir", "data", cwd=finished).stdout
    assert "EXECUTED" in printed
    assert "\x1b" not in printed


def test_a_running_daemon_prints_the_journal(busy: Ended) -> None:
    assert busy.daemon.lines[0].startswith("Forestay listens on http://127.0.0.1:")
    texts = [entry["text"] for entry in busy.of("journal_entry")]
    assert [line.rstrip("\n")[34:] for line in busy.daemon.lines[1:]] == texts[: len(busy.daemon.lines) - 1]


@pytest.mark.parametrize("command", [["journal"], ["journal", "verify"], ["funnel"], ["why", "ETH/USDT"]])
def test_where_there_is_no_log_the_journal_says_so(tmp_path: Path, command: list[str]) -> None:
    told = complaint(forestay(*command, "--data-dir", "nowhere", cwd=tmp_path))
    assert told == "forestay: data_dir = 'nowhere': there is no log (log.sqlite3) in it; --data-dir says where one is"
    assert list(tmp_path.iterdir()) == []


# --- journal verify


def test_verify_says_that_a_whole_log_is_whole(finished: Path) -> None:
    for args in (["journal", "verify", "--data-dir", "data"], ["journal", "--data-dir", "data", "verify"]):
        done = forestay(*args, cwd=finished)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(
            rf"ok: \d+ rows, {len(frames_in(finished / 'data'))} events, head [0-9a-f]{{64}}\n", done.stdout
        )
        as_json = forestay(*args, "--json", cwd=finished)
        assert as_json.returncode == 0
        found = json.loads(as_json.stdout)
        assert done.stdout == f"ok: {found['rows']} rows, {found['seq']} events, head {found['head']}\n"
        assert found["ok"] is True


def flip(folder: Path, seq: int, mask: int) -> None:
    """Flip bits of one byte within this event's row, in the file itself (and in pages of it that SQLite has left)."""
    path = folder / "data" / FILE_NAME
    log = apsw.Connection(str(path))
    log.pragma("wal_checkpoint", "truncate")
    body = str(log.execute("SELECT body FROM log WHERE seq = ?", (seq,)).get).encode()
    log.close()
    content = bytearray(path.read_bytes())
    places = [found.start() for found in re.finditer(re.escape(body), content)]
    assert places
    for place in places:
        content[place + len(body) // 2] ^= mask
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("seq", "mask"),
    [(1, 0x01), (57, 0x01), (-1, 0x01), (57, 0x80)],
    ids=["the first", "one within", "the last", "one that is then no text at all"],
)
def test_verify_names_the_first_bad_seq(finished: Path, tmp_path: Path, seq: int, mask: int) -> None:
    folder = copied(finished, tmp_path)
    head = len(frames_in(folder / "data"))
    bad = seq % (head + 1)
    flip(folder, bad, mask)
    done = forestay("journal", "verify", "--data-dir", "data", cwd=folder)
    assert done.stderr == ""
    assert done.returncode == FAILED
    assert re.match(rf"BAD: first bad seq {bad} \(row \d+\): ", done.stdout)
    as_json = forestay("journal", "--json", "verify", "--data-dir", "data", cwd=folder)
    found = json.loads(as_json.stdout)
    assert (as_json.returncode, found["ok"], found["seq"]) == (FAILED, False, bad)
    assert f"(row {found['row']}): {found['reason']}" in done.stdout


@pytest.mark.parametrize("mask", [0x01, 0x80], ids=["a bit of text", "a bit that makes it no text"])
def test_a_damaged_log_never_makes_a_traceback(finished: Path, tmp_path: Path, mask: int) -> None:
    """Of an entry in the middle, which the journal prints and a start reads."""
    folder = copied(finished, tmp_path)
    flags = busy_flags(folder, BARS)
    flip(folder, entries_in(folder)[5]["seq"], mask)
    asked = [["journal"], ["funnel"], ["why", "ETH/USDT"]]
    for done in (*(forestay(*args, "--data-dir", "data", cwd=folder) for args in asked), rerun(folder, *flags)):
        assert "Traceback" not in done.stderr


def not_sqlite(path: Path) -> None:
    path.write_text("This is no log. " * 500, encoding="utf-8")


def empty_file(path: Path) -> None:
    path.touch()


def other_database(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE notes (text)")
    other.close()


@pytest.mark.parametrize("make", [not_sqlite, empty_file, other_database])
@pytest.mark.parametrize("command", ["journal", "journal verify", "funnel", "why ETH/USDT"])
def test_what_is_no_log_is_told_in_one_line(tmp_path: Path, make: Callable[[Path], None], command: str) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / FILE_NAME)
    told = complaint(forestay(*command.split(), "--data-dir", "data", cwd=tmp_path))
    assert FILE_NAME in told


# --- funnel and why


def test_the_funnel_is_told_for_people_and_as_rest_has_it(busy: Ended, tmp_path: Path) -> None:
    data_dir = ["--data-dir", str(busy.daemon.data_dir)]
    for args, query in (
        ([], ""),
        (["--pair", "ETH/USDT"], "?pair=ETH/USDT"),
        (["--from", "2024-03-04", "--to", "2024-03-09T12:00:00+02:00"], "?from=2024-03-04&to=2024-03-09T10:00:00Z"),
    ):
        done = forestay("funnel", "--json", *args, *data_dir, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == busy.get(f"/funnel{query}").json()
    table = forestay("funnel", *data_dir, cwd=tmp_path).stdout
    found = busy.get("/funnel").json()
    heads, together, *_ = table.splitlines()
    names = ["signals", "after_regime", "after_fees", "quotes_accepted", "risk_passed", "waiting", "filled"]
    assert heads.split() == ["entries", *names]
    assert together.split() == ["all", *(f"{found[name]:,}" for name in names)]
    for code, times in found["by_code"].items():
        assert re.search(rf"^{code} +{times:,} +{found['exits']['by_code'].get(code, 0)}$", table, re.MULTILINE)
    assert busy.daemon.running


def test_why_is_told_for_people_and_as_json(busy: Ended, tmp_path: Path) -> None:
    veto = busy.of("risk_veto")[-1]
    args = ["why", veto["pair"], "--at", veto["ts"], "--data-dir", str(busy.daemon.data_dir)]
    facts = json.loads(forestay(*args, "--json", cwd=tmp_path).stdout)
    assert (facts["at"], facts["outcome"]["entry"]["id"]) == (veto["ts"], veto["journal_ref"])
    assert facts["verdict"] == f"Entry signal, but no trade: a risk rule vetoed it ({veto['rule']})."
    done = forestay(*args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{veto['pair']} at {veto['ts'][:16].replace('T', ' ')}, close ")
    assert facts["verdict"] in lines
    assert f"{facts['outcome']['entry']['text']} ({veto['journal_ref']})" in lines
    assert f"  {veto['rule']}: {veto['reason']}: no" in lines
    assert busy.daemon.running


ASKING_MISTAKES = [
    (["funnel", "--pair", "DOGE/USDT"], "forestay: pair = 'DOGE/USDT': this market has ETH/USDT, LTC/USDT"),
    (["funnel", "--from", "soon"], "forestay: from: 'soon' is not an ISO 8601 time such as 2026-01-02T03:04:05Z"),
    (["funnel", "--to", "2024-13-01"], "forestay: to: '2024-13-01' is not an ISO 8601 time"),
    (["why", "DOGE/USDT"], "forestay: pair = 'DOGE/USDT': this market has ETH/USDT, LTC/USDT"),
    (["why", "ETH/USDT", "--at", "noon"], "forestay: at: 'noon' is not an ISO 8601 time such as 2026-01-02T03:04:05Z"),
    (
        ["why", "ETH/USDT", "--at", "2024-03-01T00:59:59Z"],
        "forestay: at = 2024-03-01T00:59:59.000Z: the log's first candle of ETH/USDT closed at "
        "2024-03-01T01:00:00.000Z",
    ),
    (
        ["why", "--at", "2024-03-01T00:59:59Z"],
        "no signal was refused yet; `forestay why PAIR` says what a pair waits for",
    ),
]


@pytest.mark.parametrize(("args", "words"), ASKING_MISTAKES, ids=[" ".join(args) for args, _ in ASKING_MISTAKES])
def test_a_mistake_in_asking_is_told_in_one_line(finished: Path, args: list[str], words: str) -> None:
    assert words in complaint(forestay(*args, "--data-dir", "data", cwd=finished))


def test_only_a_terminal_has_colours(finished: Path) -> None:
    for command in (["why", "ETH/USDT"], ["journal", "--limit", "3"], ["funnel"]):
        args = [str(FORESTAY), *command, "--data-dir", "data"]
        ours, theirs = pty.openpty()
        try:
            subprocess.run(args, cwd=finished, env=clean_environment(), stdout=theirs, check=True, timeout=PATIENCE)
            shown = os.read(ours, 100_000).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert ("\x1b[" in shown) == (command != ["funnel"])
        assert "\x1b" not in forestay(*command, "--data-dir", "data", cwd=finished).stdout


# --- tail


@pytest.fixture
def start_tail(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*args: str) -> Running:
        started.append(Running([str(FORESTAY), "tail", *args], tmp_path, clean_environment()))
        return started[-1]

    yield start
    for tail in started:
        tail.close()


def test_tail_follows_the_log_through_a_restart(
    start_daemon: Callable[..., DaemonProcess], start_tail: Callable[..., Running], tmp_path: Path
) -> None:
    flags = busy_flags(tmp_path, BARS)
    daemon = start_daemon(*flags)
    base = at_the_end(daemon, end_of(BARS)).base
    tail = start_tail("--json", "--since", "0", "--url", base)
    printed = tail.take(len(frames_in(daemon.data_dir)))
    assert printed == frames_in(daemon.data_dir)
    assert daemon.terminate() == 0
    again = start_daemon(*flags, "--port", base.rsplit(":", 1)[1])
    again.ready()
    assert change(base, {"snapshot_minutes": 44}).status == 200
    log = frames_in(daemon.data_dir)
    printed += tail.take(len(log) - len(printed))
    assert printed == log
    types = [json.loads(frame).get("type") for frame in printed]
    life = ["STARTED", "STOPPED", "STARTED", "CONFIG_CHANGE"]
    assert [entry_type for entry_type in types if entry_type in life] == life
    code, errors = tail.end(signal.SIGINT)
    assert code == 130
    lost, back = errors.splitlines()
    assert (lost, back) == (f"forestay: no connection to {base}, trying again", "forestay: connected again")


def test_tail_prints_the_journal_for_people(busy: Ended, start_tail: Callable[..., Running]) -> None:
    entries = busy.of("journal_entry")
    printed = start_tail("--since", "0", "--url", busy.base).take(len(entries))
    for line, entry in zip(printed, entries, strict=True):
        assert line.endswith(entry["text"])
        assert "\x1b" not in line


def test_tail_finds_the_daemon_by_the_settings(busy: Ended, start_tail: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "forestay.toml").write_text(f"[server]\nport = {httpx.URL(busy.base).port}\n", encoding="utf-8")
    assert start_tail("--json", "--since", str(busy.head - 1)).take(1) == list(busy.frames[-1:])


TAIL_MISTAKES = [
    (["--since", "-1"], "--since"),
    (["--url", "nonsense"], "--url = 'nonsense'"),
    (["--url", "http://127.0.0.1:bogus"], "--url = 'http://127.0.0.1:bogus'"),
    (["--url", "http://127.0.0.1:PORT", "--since", "1000000"], "since must be a seq that the log has reached"),
    (["--url", "http://127.1:PORT"], "HOST_FORBIDDEN"),
    (["--config", "absent.toml"], "absent.toml"),
]


@pytest.mark.parametrize(("args", "words"), TAIL_MISTAKES, ids=[" ".join(args) for args, _ in TAIL_MISTAKES])
def test_a_mistake_in_tail_is_told_in_one_line(busy: Ended, tmp_path: Path, args: list[str], words: str) -> None:
    port = str(httpx.URL(busy.base).port)
    told = complaint(forestay("tail", *(arg.replace("PORT", port) for arg in args), cwd=tmp_path))
    assert words in told
