"""What the commands that ask a running daemon print: for people, for pipes, and for programs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from protocol.answers import Agent, Evaluation, GuardHealth, Limit, LiveSide, Market, OutageShown
from protocol.events import JournalEntry, Snapshot
from server.cli import COMMANDS, main
from server.cli.agent import lay
from server.cli.scene import LEVELS, Scene, hear, screen, sparkline
from server.cli.tables import Table, columns, fitted
from server.cli.told import Status, badge, bar, status_lines
from server.client import UnknownEvent
from tests.conftest import ROOT
from tests.server.clients import PATIENCE, Ended, clean_environment, forestay
from tests.server.markets import busy_flags
from tests.world.daemon import FORESTAY, DaemonProcess
from tests.world.elsewhere import elsewhere, page

AT = datetime(2026, 1, 10, 18, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:1"
HEAVY = {"trio", "cattrs", "httpx", "rich", "yaml", "quart", "web3"}


# --- help


def test_help_is_there_at_once_for_nothing_heavy_is_imported() -> None:
    asks = "import sys; from server.cli import main; main(['--help'], standalone_mode=False); "
    code = f"{asks} print({HEAVY} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_help_lists_is_there_and_has_its_own_help(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.help


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path.strip(), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from leaves(below, f"{path} {name}")


def test_every_command_but_the_two_that_are_processes_can_tell_its_result_as_json() -> None:
    told = {path: {name for it in command.params for name in it.opts} for path, command in leaves(main)}
    assert {path for path, options in told.items() if "--json" not in options} == {"run", "guard", "guard run"}


# --- piped, and as JSON


def asked(busy: Ended, *args: str, **env: str) -> str:
    done = forestay(*args, "--url", busy.base, cwd=busy.daemon.data_dir.parent, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_status_says_what_it_is_and_how_far_each_limit_is(busy: Ended) -> None:
    told = asked(busy, "status")
    agent = busy.get("").json()
    assert re.search(r"^status +PAPER: Forward testing$", told, re.MULTILINE)
    assert re.search(rf"^equity +{agent['equity']:,.2f} USDT \(paper\)$", told, re.MULTILINE)
    for limit in busy.get("/risk/objectives").json():
        (line,) = [line for line in told.splitlines() if line.startswith(f"{limit['rule']} ")]
        if limit["headroom_pct"] is not None:
            assert line.endswith(f"{limit['headroom_pct']:.1f} %")
    assert "\x1b" not in told
    as_json = json.loads(asked(busy, "status", "--json"))
    assert as_json["limits"] == busy.get("/risk/objectives").json()
    assert as_json["evaluation"] == busy.get("/evaluation").json()


def test_trades_are_a_line_each_and_as_json_the_wires_own(busy: Ended) -> None:
    trades = busy.of("trade")
    heads, *lines = asked(busy, "trades").splitlines()
    assert heads.split() == ["time", "phase", "pair", "side", "size", "price", "fees", "pnl", "return"]
    assert len(lines) == len(trades)
    for line, trade in zip(lines, trades, strict=True):
        assert line.startswith(trade["ts"][:16].replace("T", " ") + "Z  paper")
        assert trade["pair"] in line
        assert ("%" in line) == (trade["pnl"] is not None)
    frames = [frame for frame in busy.frames if json.loads(frame)["event"] == "trade"]
    assert asked(busy, "trades", "--json").splitlines() == frames
    assert asked(busy, "trades", "--json", "--limit", "2").splitlines() == frames[-2:]
    some = asked(busy, "trades", "--json", "--from", "2024-03-04", "--to", "2024-03-09T12:00Z").splitlines()
    assert some == [frame for frame in frames if "2024-03-04" <= json.loads(frame)["ts"] < "2024-03-09T12"]
    assert asked(busy, "trades", "--phase", "live") == "There are no trades.\n"


def test_of_many_trades_no_more_are_read_than_are_shown(busy: Ended, tmp_path: Path) -> None:
    newest = [frame for frame in busy.frames if json.loads(frame)["event"] == "trade"][-2:]
    more = '</agents/seed/trades?cursor=9.1>; rel="next"'
    answer = page(
        200, f"[{','.join(newest[::-1])}]", "application/json", "X-Last-Seq: 9", "X-Log-Id: l", f"Link: {more}"
    )
    with elsewhere(answer) as there:
        done = forestay("trades", "--limit", "2", "--json", "--url", there.base, cwd=tmp_path)
    assert done.stdout.splitlines() == newest
    assert there.asked == ["/agents/current/trades?phase=all&order=desc&limit=2"]


def test_ready_strategies_as_json_are_those_of_rest(busy: Ended, tmp_path: Path) -> None:
    ready = busy.client.get("/strategies").json()
    listed = forestay("strategies", cwd=tmp_path).stdout.split()
    as_json = forestay("strategies", "--json", cwd=tmp_path).stdout.splitlines()
    assert [it["name"] for it in ready] == listed
    assert [json.loads(line) for line in as_json] == ready
    assert json.loads(forestay("strategies", listed[0], "--json", cwd=tmp_path).stdout) == ready[0]


def test_positions_are_those_of_rest(busy: Ended) -> None:
    (held,) = busy.get("/positions").json()
    heads, line = asked(busy, "positions").splitlines()
    assert heads.split()[:3] == ["pair", "phase", "quantity"]
    assert line.split()[:2] == [held["pair"], held["phase"]]
    assert json.loads(asked(busy, "positions", "--json")) == held


@pytest.mark.parametrize(
    "args",
    [
        ["status"], ["trades"], ["positions"], ["config"], ["config", "versions"], ["config", "set", "a=1"],
        ["preflight"], ["promote"], ["demote", "--reason", "x"], ["reapprove", "jrn_1", "--reason", "x"],
        ["watch", "--json"],
    ],
)  # fmt: skip
def test_where_no_daemon_answers_one_line_says_so(tmp_path: Path, args: list[str]) -> None:
    done = forestay(*args, "--url", NOWHERE, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"forestay: {NOWHERE}: no daemon answers there: .*\n", done.stderr)


def test_a_wrong_token_is_refused_and_not_shown(start_daemon: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    daemon = start_daemon("--seed", "3", env={"FORESTAY_SERVER__TOKEN": "the-right-one-of-all"})
    for args in (["status"], ["tail"], ["watch", "--json"]):
        done = forestay(
            *args, "--url", daemon.listening(), cwd=tmp_path, FORESTAY_SERVER__TOKEN="another-one-than-that"
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("forestay: TOKEN_REQUIRED: ")
        assert "another-one" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_without_a_guard_a_promotion_is_refused_by_its_code(busy: Ended, tmp_path: Path) -> None:
    for args in (["preflight"], ["promote", "--confirm", "go live"], ["demote", "--reason", "x"]):
        done = forestay(*args, "--url", busy.base, cwd=tmp_path)
        as_json = forestay(*args, "--json", "--url", busy.base, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert (as_json.returncode, as_json.stdout, as_json.stderr) == (2, "", done.stderr)
        assert re.match(r"forestay: (SIGNING_NOT_SET_UP|NOT_LIVE): ", done.stderr)


def test_whoever_has_heard_enough_of_the_stream_is_not_told_of_it(busy: Ended, tmp_path: Path) -> None:
    tail = [str(FORESTAY), "tail", "--since", "0", "--json", "--url", busy.base]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" | head -n 1', "sh", *tail],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{busy.frames[0]}\n", "")


# --- config


def test_config_is_shown_changed_and_listed_by_version(changeable: Ended, tmp_path: Path) -> None:
    def said(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        words = [str(FORESTAY), "config", *args, "--url", changeable.base]
        return subprocess.run(
            words, cwd=tmp_path, env=clean_environment(), input=stdin, capture_output=True, text=True, timeout=PATIENCE
        )

    before = changeable.get("/config").json()
    assert json.loads(said("--json").stdout) == before
    assert f"risk.max_drawdown_pct = {before['risk']['max_drawdown_pct']}\n" in said().stdout
    done = said("set", "risk.max_consecutive_losses=5", 'watchlist=["ETH/USDT"]')
    assert done.stdout.splitlines() == [
        'watchlist = ["ETH/USDT"]',
        "risk.max_consecutive_losses = 5",
        "This is version 2.",
    ]
    assert changeable.get("/config").json()["watchlist"] == ["ETH/USDT"]
    assert said("set", "risk.max_consecutive_losses=5").stdout == "That is how it is already.\n"
    (tmp_path / "back.yaml").write_text("watchlist: [ETH/USDT, LTC/USDT]\nrisk: {max_consecutive_losses: 2}\n")
    assert json.loads(said("patch", "back.yaml", "--json").stdout) == before
    heads, *lines = said("versions").stdout.splitlines()
    assert heads.split() == ["version", "since", "trades", "return", "changed"]
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "risk.max_consecutive_losses = 5" in lines[1]
    assert [json.loads(line)["version"] for line in said("versions", "--json").stdout.splitlines()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["set", "risk.daily_drawdown_pct=99"], ["risk.daily_drawdown_pct = 99"]),
        (["set", "risk.foo=1", "risk.bar=x"], ["risk.foo = 1: unknown key", "risk.bar = 'x': unknown key"]),
        (["set", "risk"], ["'risk': must be like risk.daily_drawdown_pct=5"]),
        (["set", "a.b=1", "a.b=2"], ["a.b: is given twice"]),
        (["set", "a=1", "a.b=2"], ["a.b: a is given twice"]),
        (["patch", "list.json"], ["list.json: must be a table of keys"]),
        (["patch", "bad.json"], ["bad.json: is neither JSON nor YAML"]),
        (["patch", "absent.json"], ["absent.json"]),
    ],
)
def test_a_change_that_cannot_be_names_its_fields(
    changeable: Ended, tmp_path: Path, args: list[str], words: list[str]
) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bad.json").write_text("{a: b: c")
    version = changeable.get("").json()["config_version"]
    done = forestay("config", *args, "--url", changeable.base, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert [word for word in words if word not in done.stderr] == []
    assert changeable.get("").json()["config_version"] == version


def test_a_change_is_read_as_json_or_else_as_text() -> None:
    document: dict[str, Any] = {}
    for change in ("a.b=1", "a.c=0.5", 'd=["x"]', "e=plain text", "a.f=null", "g=a=b"):
        lay(document, change)
    assert document == {
        "a": {"b": 1, "c": Decimal("0.5"), "f": None},
        "d": ["x"],
        "e": "plain text",
        "g": "a=b",
    }


# --- on a terminal


class Terminal:
    """A command on a terminal of 24 lines. `shown` is all that it wrote."""

    def __init__(self, cwd: Path, *args: str, width: int = 80, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            [str(FORESTAY), *args],
            cwd=cwd,
            env=clean_environment(TERM="xterm-256color", **env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        self.shown = ""

    def until(self, *words: str) -> str:
        """Read until one screen has all these words; that screen."""
        while True:
            for drawn in reversed(self.shown.split("\x1b[H")[1:-1]):
                if all(word in drawn for word in words):
                    return ANSI.sub("", drawn)
            self._read()

    def end(self) -> int:
        while self.process.poll() is None:
            self._read(0.1)
        self._read(0)
        return self.process.wait()

    @property
    def as_it_was(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self, seconds: float = PATIENCE) -> None:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        assert ready or seconds < PATIENCE, f"nothing more after {self.shown[-2000:]!r}"
        if ready:
            self.shown += os.read(self._ours, 2**16).decode(errors="replace")


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*args: str, width: int = 80, **env: str) -> Terminal:
        started.append(Terminal(tmp_path, *args, width=width, **env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\d")
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_a_terminal_gets_colours_unless_it_wants_none(busy: Ended, on_terminal: Callable[..., Terminal]) -> None:
    for args in (["trades"], ["status"]):
        coloured = on_terminal(*args, "--url", busy.base)
        plain = on_terminal(*args, "--url", busy.base, NO_COLOR="1")
        assert (coloured.end(), plain.end()) == (0, 0)
        assert COLOUR.search(coloured.shown)
        assert not COLOUR.search(plain.shown)


@pytest.mark.parametrize("width", [60, 80])
def test_a_number_is_left_out_of_a_narrow_table_but_never_cut(
    busy: Ended, on_terminal: Callable[..., Terminal], width: int
) -> None:
    def shown(command: str) -> str:
        terminal = on_terminal(command, "--url", busy.base, width=width)
        assert terminal.end() == 0
        return ANSI.sub("", terminal.shown)

    for command in ("trades", "positions", "status"):
        assert "…" not in shown(command)
        assert max(map(len, shown(command).splitlines())) <= width
    told = shown("trades")
    assert "(too narrow for fees" in told
    gains = [f"{trade['pnl']:+,.2f}" for trade in busy.of("trade") if trade["pnl"] is not None]
    assert re.findall(r"[+-][\d,]+\.\d\d\b(?! %)", told) == gains


def test_the_journal_on_a_terminal_has_no_colours_where_none_are_wanted(
    busy: Ended, on_terminal: Callable[..., Terminal]
) -> None:
    args = ["journal", "--limit", "3", "--data-dir", str(busy.daemon.data_dir)]
    coloured, plain = on_terminal(*args), on_terminal(*args, NO_COLOR="1")
    assert (coloured.end(), plain.end()) == (0, 0)
    assert COLOUR.search(coloured.shown)
    assert "\x1b" not in plain.shown


@pytest.mark.parametrize("way", ["q", "ctrl-c", "terminated"])
def test_watch_shows_it_all_and_leaves_the_terminal_as_it_was(
    busy: Ended, on_terminal: Callable[..., Terminal], way: str
) -> None:
    watch = on_terminal("watch", "--url", busy.base)
    screen = watch.until("Forward testing", "heard", "LTC/USDT", "max_drawdown", "EXECUTED", "█")
    assert all(len(line) <= 80 for line in screen.splitlines())
    assert len(screen.splitlines()) <= 24
    if way == "q":
        watch.type(b"q")
    else:
        watch.process.send_signal(signal.SIGINT if way == "ctrl-c" else signal.SIGTERM)
    assert watch.end() == 0
    assert watch.shown.rstrip().endswith("\x1b[?1049l")
    assert "Traceback" not in watch.shown
    assert watch.as_it_was


def test_watch_says_when_the_daemon_is_gone_and_goes_on_when_it_is_back(
    start_daemon: Callable[..., DaemonProcess], on_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    flags = busy_flags(tmp_path, 120)
    daemon = start_daemon(*flags)
    base = daemon.ready()
    watch = on_terminal("watch", "--url", base)
    watch.until("heard", "PAPER")
    daemon.kill()
    watch.until("DISCONNECTED", "PAPER")
    start_daemon(*flags, "--port", base.rpartition(":")[2])
    watch.shown = ""
    watch.until("heard", "STARTED")
    watch.type(b"q")
    assert watch.end() == 0


def test_watch_as_json_tells_what_it_would_show(busy: Ended, tmp_path: Path) -> None:
    watch = subprocess.Popen(
        [str(FORESTAY), "watch", "--json", "--url", busy.base],
        cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        for line in watch.stdout:
            told = json.loads(line)
            if told["connected"] and told["entries"]:
                break
        newest = busy.of("journal_entry")[-1]
        assert told["entries"][0]["id"] == newest["id"]
        assert told["status"]["agent"]["id"] == "seed"
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
        assert watch.wait(PATIENCE) == 0
    finally:
        watch.kill()
        watch.wait()
        if watch.stdout is not None:
            watch.stdout.close()


# --- pure


def agent(**changes: Any) -> Agent:
    made = Agent(
        "seed", "seed", "PAPER", "paper", "spot", AT, "log_1", 7, Market("demo", ("ETH/USDT",), AT), 1,
        Decimal("1234.5"), LiveSide((), None, None), "running", None, {},
    )  # fmt: skip
    return evolve(made, **changes)


LIMITS = (
    Limit(7, "daily_drawdown", Decimal("0.02"), Decimal("0.08"), True, Decimal(75)),
    Limit(7, "streak_limit", Decimal(4), Decimal(4), False, None),
)
RUN = Evaluation("EVALUATING", False, Decimal("2.25"), 7, 10, 3, ())


def entry(number: int, **changes: Any) -> JournalEntry:
    made = JournalEntry(AT, f"jrn_{number}", "EXECUTED", (), f"The {number}th. " + "And so on. " * 20, {})
    return evolve(made, **changes)


def status(**changes: Any) -> Status:
    return Status("http://here", agent(**changes), RUN, LIMITS, ())


def demoted(until: datetime | None) -> JournalEntry:
    text = None if until is None else until.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return entry(1, type="DEMOTION", data={"rule": "daily_drawdown", "locked_until": text})


def test_the_badge_is_in_the_owners_words() -> None:
    assert badge(agent(), None) == "Forward testing"
    assert badge(agent(status="ELIGIBLE"), None) == "Ready for live — your call"
    assert badge(agent(status="LIVE"), None) == "Live on BSC"
    stopped = agent(status="DEMOTED")
    assert badge(stopped, demoted(AT + timedelta(hours=6))) == (
        "Paper-trading — live paused, daily_drawdown breached, 6 h left"
    )
    assert badge(stopped, demoted(None)) == (
        "Paper-trading — live paused, daily_drawdown breached, until you re-approve it"
    )


def test_what_is_wrong_is_in_the_status() -> None:
    assert [name for name, _ in status_lines(status())] == ["status", "equity", "market", "record", "holds", "daemon"]
    ill = status(
        outage=OutageShown("disk", "it is full"), state="degraded", restarts={"Executor": 2},
        live=LiveSide((), "daily_drawdown was breached", None),
    )  # fmt: skip
    told = dict(status_lines(ill))
    assert told["outage"] == ("disk: it is full", "red")
    assert told["restarts"] == ("Executor 2", "yellow")
    assert told["flattening"] == ("daily_drawdown was breached", "red")
    signing = GuardHealth(True, "local", False, None, None, None, None, None)
    killed = evolve(signing, killed=True, killed_at="2026-01-02T03:04:05.678Z")
    assert dict(status_lines(evolve(status(), guard=signing)))["guard"] == "signs (local)"
    for guard, words in ((killed, "killed at 2026-01-02"), (evolve(signing, reachable=False), "does not answer")):
        told = dict(status_lines(evolve(status(), guard=guard)))
        assert told["guard"][0].startswith(words)
        assert any(
            words in str(line) for line in screen(evolve(SCENE, status=evolve(status(), guard=guard)), 0, 100, 40)
        )


SCENE = Scene(
    status(),
    tuple(Snapshot(AT + timedelta(hours=n), Decimal(1000 + n), "paper", Decimal(0), Decimal(0)) for n in range(200)),
    tuple(entry(n) for n in range(100, 0, -1)),
    connected=True,
)  # fmt: skip


@given(st.integers(1, 200), st.integers(1, 60), st.one_of(st.none(), st.floats(0, 1e6)))
def test_a_screen_is_never_larger_than_its_terminal(width: int, height: int, age: float | None) -> None:
    for scene in (SCENE, Scene(), evolve(SCENE, connected=False)):
        lines = screen(scene, age, width, height)
        assert len(lines) <= height
        assert all(line.cell_len <= width for line in lines)


def test_a_screen_says_how_old_it_is_and_why() -> None:
    first = {age: screen(SCENE, age, 80, 24)[0].plain for age in (3.0, 300.0)}
    assert first[3.0].endswith("heard 3 s ago")
    assert first[300.0].endswith("heard 5 min ago")
    assert screen(evolve(SCENE, connected=False), 7.0, 80, 24)[0].plain.endswith("DISCONNECTED, 7 s ago")
    degraded = evolve(SCENE, status=status(state="degraded"))
    assert screen(degraded, 1.0, 80, 24)[0].plain.endswith("degraded, 1 s ago")
    assert screen(Scene(), None, 80, 24)[0].plain.endswith("DISCONNECTED, never heard")


def test_a_screen_has_the_newest_entries_first_as_many_as_fit() -> None:
    for height in (24, 40):
        lines = [line.plain for line in screen(SCENE, 1.0, 80, height)]
        shown = [int(found[1]) for line in lines if (found := re.search(r"The (\d+)th", line))]
        assert len(lines) == height
        assert shown == list(range(100, 100 - len(shown), -1))
        assert len(shown) > height - 18


def test_what_is_heard_is_added_once() -> None:
    later = evolve(SCENE.curve[-1], ts=SCENE.curve[-1].ts + timedelta(hours=1))
    assert hear(SCENE, later).curve[-2:] == (SCENE.curve[-1], later)
    assert hear(SCENE, SCENE.curve[-1]) == SCENE
    assert hear(SCENE, entry(101)).entries[:2] == (entry(101), entry(100))
    assert hear(SCENE, UnknownEvent("later", AT, {})) == SCENE


@given(st.lists(st.decimals(-1000, 1000, places=2), max_size=50), st.integers(0, 60))
def test_a_sparkline_fits_and_reaches_from_the_lowest_to_the_highest(values: list[Decimal], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    if width >= len(values) and len(set(values)) > 1:
        assert LEVELS[0] == line[values.index(min(values))]
        assert LEVELS[-1] == line[values.index(max(values))]


TEXT = st.text("abc 1", max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1), st.integers(1, 80))
def test_a_narrow_terminal_does_without_as_few_columns_as_it_can(rows: list[tuple[str, ...]], width: int) -> None:
    table = Table(columns("one >two three >four"), rows, spare=("two", "four"))
    shown, left_out = fitted(table, width)
    assert left_out == ["two", "four"][: len(left_out)]
    assert [it.name for it in shown.columns] == [it.name for it in table.columns if it.name not in left_out]
    kept = [n for n, column in enumerate(table.columns) if column.name not in left_out]
    assert list(shown.rows) == [tuple(row[n] for n in kept) for row in rows]

    def wide(it: Table) -> int:
        return (
            sum(max(len(it.columns[n].name), *(len(row[n]) for row in it.rows)) + 2 for n in range(len(it.columns))) - 2
        )

    assert wide(shown) <= width or len(left_out) == 2
    if left_out:
        assert wide(fitted(evolve(table, spare=tuple(left_out[:-1])), 1)[0]) > width


@given(st.decimals(0, 1, places=6), st.integers(1, 40))
def test_a_bar_is_full_when_all_is_used_and_empty_when_nothing_is(part: Decimal, cells: int) -> None:
    drawn = bar(part, cells)
    assert len(drawn) == cells
    assert (drawn == "█" * cells) == (part == 1)
    assert (drawn == "·" * cells) == (part == 0)
