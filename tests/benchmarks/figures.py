"""The figures: each function measures some of them, with the machine's raw limit for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from operator import ge, gt, le, lt
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any, Final

import apsw
from attrs import Factory, define, field, frozen

from actors.journal.store import FILE_NAME, MAKER, LogReader, LogStore
from tests.benchmarks.biglog import build
from tests.benchmarks.ground import Candles, Ground, fsyncs
from tests.benchmarks.page import Watcher, heard_at, scripts_kb, watcher
from tests.benchmarks.peers import PEERS, measured
from tests.benchmarks.processes import (
    Commits,
    Failed,
    Heard,
    at_rank,
    bare_python,
    daemon,
    forget,
    heard,
    helper,
    last_words,
    on_disk,
    resident_mb,
)
from tests.benchmarks.restarts import WAL_BYTES
from tests.evm.anvil import BINARY
from tests.world.minutes import write

IMPORTS: Final = "import trio, quart_trio, hypercorn.trio, apsw, msgspec, cattrs, click"
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {">=": ge, ">": gt, "<": lt, "<=": le}
NEWS_PAIRS: Final = 6
# An agent that trades all the time, at no cost and without ever losing much.
BUSY: Final = """
[strategy]
spec = "busy.yaml"
fee_multiple = 0.001
[risk]
max_consecutive_losses = 100
cooldown_hours = 1
[paper]
fee_bps = 0
slippage_bps = 0
gas_usdt = 0
impact = "none"
"""
BUSY_STRATEGY: Final = """
market_mode: spot
name: busy
signals:
  entry: {all_of: [{indicator: price_vs_sma, window: 2, op: "<=", value: 0}]}
  exit: {any_of: [{indicator: price_vs_sma, window: 2, op: ">=", value: 0}]}
params: {position_size_pct: 1, max_concurrent: 2}
"""
OVER: Final = 1001  # the close code of a daemon that stops


@frozen
class Target:
    sign: str
    value: float

    def met(self, value: float) -> bool:
        return _COMPARE[self.sign](value, self.value)

    def __str__(self) -> str:
        return f"{self.sign} {self.value:,g}"


@frozen
class Figure:
    """What was measured: its median counts, or of a worst case its worst."""

    name: str
    unit: str
    values: list[float]
    target: Target | None = None
    raw: dict[str, float] = Factory(dict)
    note: str = ""
    worst: bool = False

    @property
    def value(self) -> float:
        return max(self.values) if self.worst else median(self.values)

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value)


@frozen
class Scale:
    """How much of everything. `hours` ends a round before a checkpoint is due: so opening has the most to read."""

    hours: int = 8_999
    repeats: int = 3
    big_log_events: int = 1_000_000
    catch_up_events: int = 60_000
    crowd: int = 100
    crowd_hours: int = 2_000
    crowd_burst: int = 300
    burst: int = 1_000
    bursts: int = 5
    raw_seconds: float = 1.0
    idle_seconds: float = 3.0
    minutes: int = 500_000
    restart_log_events: int = 100_000
    deaths: int = 40
    messages: int = 20_000
    rounds: int = 9
    signatures: int = 300
    kills: int = 100
    quotes: int = 1_000
    looks: int = 10
    news: int = 100
    scrolled_pages: int = 50


QUICK: Final = Scale(
    hours=2_999, repeats=1, big_log_events=20_000, catch_up_events=5_000, crowd=20, crowd_hours=400, crowd_burst=50,
    burst=200, bursts=2, raw_seconds=0.2, idle_seconds=0.5, minutes=20_000,
    restart_log_events=20_000, deaths=2, messages=1_000, rounds=1,
    signatures=20, kills=5, quotes=20, looks=2, news=20, scrolled_pages=3,
)  # fmt: skip


@frozen
class Replay:
    bars_per_second: float
    folder: Path
    heard: list[Heard]
    lags: list[float]


def replay(ground: Ground, candles: Candles, clients: int = 0, config: Sequence[str] = ()) -> Replay:
    """Replay at full speed through a real daemon, from its readiness (and its clients') to the market's end."""
    folder = ground.fresh("replay")
    with daemon(folder, [*config, *candles.flags, "--speed", "max", "--exit-at-end"]) as (process, port, _):
        with helper("watch", folder / FILE_NAME, candles.end) as watch, helper("wire", port, clients, "-") as wire:
            watch.ready()
            wire.ready()
            begin = monotonic()
            commits = Commits(watch.result())
            streams = heard(wire.result())
        if process.wait():
            raise Failed(f"the daemon failed: {last_words(process)}")
    bars = _bars(folder / FILE_NAME, commits.row_at(begin))
    if commits.end <= begin or not bars:
        raise Failed("the market ended before the measurement began: give it more hours")
    lags = [lag for stream in streams for lag in stream.lags(commits, commits.seqs)]
    return Replay(bars / (commits.end - begin), folder, streams, lags)


def _bars(log: Path, after: int) -> int:
    """The candles in the rounds after this row."""
    query = "SELECT count(*) FROM log, json_each(body, '$.ticks') WHERE kind = 'round' AND row > ?"
    return int(apsw.Connection(str(log), flags=apsw.SQLITE_OPEN_READONLY).execute(query, (after,)).get)


@define
class Bench:
    """Measures; a long log is built once, when it is first asked for."""

    ground: Ground
    scale: Scale
    progress: Callable[[str], None]
    _big: dict[tuple[int, bool], tuple[Path, list[str], int]] = field(factory=dict, init=False)

    # --- the pipeline

    def replays(self) -> Iterator[Figure]:
        """Replay, alone and beside a live client, in turns so that both meet the same machine."""
        two, one = self.ground.hours(self.scale.hours, 2), self.ground.hours(self.scale.hours, 1)
        alone, beside, single, rates = list[Replay](), list[Replay](), list[Replay](), list[float]()
        for _ in range(self.scale.repeats):
            rates.append(fsyncs(self.ground.folder, self.scale.raw_seconds))
            alone.append(replay(self.ground, two))
            beside.append(replay(self.ground, two, clients=1))
            single.append(replay(self.ground, one))
        speed, speed_beside = _speeds(alone), _speeds(beside)
        raw = {"fsyncs/s": median(rates)}
        source = f"{self.scale.hours:,} hours of {two.source}"
        yield Figure("replay, 2 pairs", "bars/s", speed, Target(">=", 3000), raw, source)
        yield Figure("replay, 1 pair", "bars/s", _speeds(single), Target(">=", 3000), raw, source)
        kept = [100 * b / a for a, b in zip(speed, speed_beside, strict=True)]
        yield Figure("speed kept beside a live client", "%", kept, Target(">=", 60), {"bars/s alone": median(speed)})
        cut = sum(stream.closed != OVER for run in beside for stream in run.heard)
        note = f"p99 {max(at_rank(run.lags, 0.99) for run in beside):.3f} s" + f", {cut} cut off" * bool(cut)
        lags = [max(run.lags) for run in beside]
        yield Figure("lag of the live client, worst", "s", lags, Target("<=", 1), {}, note, worst=True)

    # --- the stream

    # --- backtests

    def backtests(self) -> Iterator[Figure]:
        """Ours beside two others', in turns on the same candles; nothing counts unless all make the same trades."""
        folder, count = self.ground.fresh("minutes"), self.scale.minutes
        write(folder, count)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
        for number in range(self.scale.repeats):
            for name in PEERS:
                if name != "backtrader" or number == 0:  # once is enough of ten times slower
                    self.progress(f"measuring backtest: {name}")
                    runs[name].append(measured(name, folder))
        trades = {name: found[0]["trades"] for name, found in runs.items()}
        if any(found != trades["forestay"] for found in trades.values()):
            raise Failed("the backtesters do not agree on the trades: no figure of theirs can be compared")
        speed = {name: [count / run["run_s"] for run in found] for name, found in runs.items()}
        raw = {f"{name} bars/s": median(values) for name, values in speed.items() if name != "forestay"}
        note = f"{count:,} minutes, the same {len(trades['forestay']):,} trades"
        yield Figure("backtest, deciding", "bars/s", speed["forestay"], Target(">=", 100_000), raw, note)
        ahead = [100 * ours / median(speed["backtesting.py"]) for ours in speed["forestay"]]
        yield Figure("backtest, of backtesting.py's speed", "%", ahead, Target(">=", 100), {}, note)
        whole = [count / run["all_s"] for run in runs["forestay"]]
        theirs = {f"{name} bars/s": count / runs[name][0]["all_s"] for name in PEERS if name != "forestay"}
        yield Figure(
            "backtest, start to end", "bars/s", whole, None, theirs, "reading the file and the result included"
        )
        memory = [run["rss_mb"] for run in runs["forestay"]]
        others = {f"{name} MB": runs[name][0]["rss_mb"] for name in PEERS if name != "forestay"}
        yield Figure("backtest, peak memory", "MB", memory, Target("<", 200), others, note)

    def catching_up(self) -> Iterator[Figure]:
        folder, flags, events = self._big_log(self.scale.big_log_events)
        number = min(self.scale.catch_up_events, events)
        rates = []
        with daemon(folder, flags) as (_, port, _):
            for _ in range(self.scale.repeats):
                rates.append(self._taken(port, number))
        raw = {
            "SQLite events/s": self._read_plainly(folder / FILE_NAME, number),
            "bare trio, a send a frame": self._bare(folder / FILE_NAME, number, 1, together=1),
            "500 frames a send": self._bare(folder / FILE_NAME, number, 1, together=500),
        }
        yield Figure("catching up from the log", "events/s", rates, Target(">=", 8000), raw, f"{number:,} events")

    def crowds(self) -> Iterator[Figure]:
        """Many clients, on a live replay and in bursts on an otherwise idle daemon."""
        number, hours = self.scale.crowd, self.ground.hours(self.scale.crowd_hours, 2)
        rates, log = list[float](), Path()
        for _ in range(self.scale.repeats):
            rate, log = self._crowd(hours)
            rates.append(rate)
        raw = {
            "bare trio, a send a frame": self._bare(log, self.scale.crowd_hours, number, together=1),
            "500 frames a send": self._bare(log, self.scale.crowd_hours, number, together=500),
        }
        target = Target(">=", 15_000)
        yield Figure(f"{number} clients on a live replay", "deliveries/s", rates, target, raw, "since=0, to its end")
        found = list(self._bursts(number, self.scale.crowd_burst, speed=0.25))
        rates = [number * events / (max(stream.until(last) for stream in streams) - committed)
                 for events, last, committed, streams, _ in found]  # fmt: skip
        yield Figure(
            f"{number} clients, bursts", "deliveries/s", rates, target, raw, f"{self.scale.crowd_burst} events"
        )

    def bursts(self) -> Iterator[Figure]:
        lags = [at_rank(late, 0.99) for *_, late in self._bursts(1, self.scale.burst, speed=1)]
        note = f"p99 of each of {len(lags)} commits of {self.scale.burst:,} events"
        yield Figure("burst, commit to receipt, p99", "s", lags, Target("<", 0.5), {}, note)

    def _taken(self, port: int, number: int) -> float:
        """Events a second that one client gets of the log's first ones."""
        with helper("wire", port, 1, 0, number) as wire:
            wire.ready()
            [stream] = heard(wire.result())
        return number / (stream.until(number) - stream.opened)

    def _read_plainly(self, log: Path, number: int) -> float:
        reader, begin, seq = LogReader(log), monotonic(), 0
        while seq < number:
            seq = reader.frames(seq, 500)[-1][0]
        reader.close()
        return number / (monotonic() - begin)

    def _bare(self, log: Path, number: int, clients: int, together: int) -> float:
        """Deliveries a second by a server that does nothing else."""
        with (
            helper("bare", log, number, clients, together) as server,
            helper("wire", server.ready(), clients, 0, number) as wire,
        ):
            wire.ready()
            streams = heard(wire.result())
        begin = min(stream.stamps[0][0] for stream in streams)
        return clients * number / (max(stream.until(number) for stream in streams) - begin)

    def _crowd(self, candles: Candles) -> tuple[float, Path]:
        """Deliveries a second to all clients, from the first receipt to the last; and the log."""
        folder, number = self.ground.fresh("crowd"), self.scale.crowd
        with (
            daemon(folder, [*candles.flags, "--speed", "max"]) as (_, port, _),
            helper("watch", folder / FILE_NAME, candles.end) as watch,
            helper("wire", port, number, 0) as wire,
        ):
            watch.ready()
            wire.ready()
            last = Commits(watch.result()).stamps[-1][3]
            wire.tell(last)
            streams = heard(wire.result())
        if cut := sum(stream.closed != 0 for stream in streams):
            raise Failed(f"{cut} of {number} clients were cut off")
        begin = min(stream.stamps[0][0] for stream in streams)
        rate = number * last / (max(stream.until(last) for stream in streams) - begin)
        return rate, folder / FILE_NAME

    def _bursts(
        self, clients: int, size: int, speed: float
    ) -> Iterator[tuple[int, int, float, list[Heard], list[float]]]:
        """For each round of `size` entries that was witnessed: its events, the last one's seq, the last moment before
        its commit, the clients, and how late each event came to each of them."""
        candles = self.ground.gaps(size, self.scale.bursts)
        folder = self.ground.fresh("bursts")
        with (
            daemon(folder, [*candles.flags, "--speed", str(speed)]) as (_, port, _),
            helper("watch", folder / FILE_NAME, candles.end) as watch,
            helper("wire", port, clients, "-") as wire,
        ):
            watch.ready()
            wire.ready()
            commits = Commits(watch.result())
            wire.tell(commits.stamps[-1][3])
            streams = heard(wire.result())
        for before, after in zip(commits.stamps, commits.stamps[1:], strict=False):
            events, last = after[3] - before[3], after[3]
            if events >= size:
                seqs = range(before[3] + 1, last + 1)
                lags = [lag for stream in streams for lag in stream.lags(commits, seqs)]
                yield events, last, after[0], streams, lags

    # --- the tower

    def restarting(self) -> Iterator[Figure]:
        """Every floor's deaths; the slowest floor's count. Each run begins on the log as it was: a death adds to it."""
        folder, flags, events = self._big_log(self.scale.restart_log_events)
        found: dict[str, list[float]] = {}
        for _ in range(self.scale.repeats):
            own = self.ground.fresh("restarts")
            shutil.copytree(folder, own, dirs_exist_ok=True)
            on_disk(own / FILE_NAME)
            with helper("restarts", own, self.scale.deaths, *(flag for flag in flags if "=" in flag)) as run:
                run.ready()
                for name, seconds in run.result().items():
                    found.setdefault(name, []).extend(1000 * one for one in seconds)
            shutil.rmtree(own)
        deaths, rows = sum(map(len, found.values())), _rows_after_checkpoint(folder)
        note = f"{deaths:,} deaths, {events:,} events, {rows:,} rows after the checkpoint"
        late = {name: at_rank(values, 0.99) for name, values in found.items()}
        yield Figure("restarting an actor, p99", "ms", [*late.values()], Target("<", 50), late, note, worst=True)
        usual = {name: median(values) for name, values in found.items()}
        raw = {"a WAL's length and its fsync": 1000 / fsyncs(self.ground.folder, self.scale.raw_seconds, WAL_BYTES)}
        yield Figure("restarting an actor, p50", "ms", [*usual.values()], None, {**usual, **raw}, worst=True)

    def mailboxes(self) -> Iterator[Figure]:
        """Ours beside the fastest way over a bare channel, and beside pykka."""
        with helper("mailbox", self.scale.messages, self.scale.rounds) as run:
            rates: dict[str, list[float]] = run.result()
        for ours, bare, others in (
            ("tell", "send_nowait, receive", ("send, receive", "pykka tell")),
            ("ask", "reply by an event", ("reply by a channel", "pykka ask")),
        ):
            shares = [100 * own / its for own, its in zip(rates[ours], rates[bare], strict=True)]
            raw = {f"{way}/s": median(rates[way]) for way in (ours, bare, *others)}
            yield Figure(f"{ours}, of a bare channel's rate", "%", shares, Target(">=", 50), raw, f"bare: {bare}")

    # --- live

    def signing(self) -> Iterator[Figure]:
        """A guard's signature, as a whole and what of it is its own work."""
        runs = self._live("signing", self.scale.signatures)
        raw = {"fsync ms": 1000 / fsyncs(self.ground.folder, self.scale.raw_seconds)}
        late = {part: _late(runs, part) for part in ("grant", "look", "whole")}
        usual = {part: median(_late(runs, part, 0.5)) for part in late}
        note = f"p50 {usual['grant']:.2f}; {self.scale.signatures} signatures a run"
        yield Figure("guard: check, sign, synced ledger, p99", "ms", late["grant"], Target("<", 10), raw, note)
        look = {"its look at the chain, p99": median(late["look"]), "p50": usual["look"]}
        note = f"p50 {usual['whole']:.2f}; its own quote and the way there and back included"
        yield Figure("guard: asked over its socket, p99", "ms", late["whole"], None, look, note)

    def killing(self) -> Iterator[Figure]:
        """The guard is asked past a daemon that stands still."""
        runs = self._live("killing", self.scale.kills)
        all_of = {way: [1000 * one for run in runs for one in run[way]] for way in ("socket", "command")}
        raw = {"`forestay kill`, the command and its Python": median(all_of["command"])}
        note = f"p50 {median(all_of['socket']):.2f}; {len(all_of['socket'])} kills, the daemon stopped dead"
        yield Figure("kill to refusal, worst", "ms", all_of["socket"], Target("<", 100), raw, note, worst=True)

    def quoting(self) -> Iterator[Figure]:
        runs = self._live("quoting", self.scale.quotes)
        note = f"p50 {median(_late(runs, 'quote', 0.5)):.2f}; pool, feed and head of a local node, and the judgement"
        target = Target("<", 20)
        yield Figure("verified quote over local RPC, p99", "ms", _late(runs, "quote"), target, {}, note)

    def _live(self, what: str, count: int) -> list[dict[str, list[float]]]:
        """Each run with a chain of its own."""
        if not BINARY.exists():
            raise Failed(f"there is no anvil at {BINARY}; `make bench` sets it up")
        runs = []
        for _ in range(self.scale.repeats):
            with helper("live", what, self.ground.fresh("live"), count) as run:
                run.ready()
                runs.append(run.result())
        return runs

    # --- the dashboard

    def pages(self) -> Iterator[Figure]:
        """The page of a daemon with a long log, and how late its news stands on it."""
        whole, own = scripts_kb()
        yield Figure("dashboard, scripts compressed", "kB", [whole], Target("<", 300), {"our own, kB": own})
        folder, flags, events = self._big_log(self.scale.big_log_events, busy=True)
        trades, entries = _count(folder, "trade"), _count(folder, "journal_entry")
        with watcher() as person:
            with daemon(folder, flags) as (process, _, _):
                base = process.ready()
                looks = [person.first_look(base) for _ in range(self.scale.looks)]
                usual = {
                    f"{name}, ms": median(one[name] for one in looks)
                    for name in ("anything", "figures", "entries", "chart")
                }
                equity = [look["equity"] for look in looks]
                note = f"{events:,} events, nothing cached; from the navigation until status and equity are painted"
                yield Figure("dashboard, first meaningful paint", "ms", equity, Target("<", 500), usual, note)
                found = [person.trades(base) for _ in range(self.scale.repeats)]
                raw = {"sorted by PnL, ms": median(one["sorted"] for one in found)}
                yield Figure("trades opened", "ms", [one["opened"] for one in found], None, raw, f"{trades:,} trades")
                read = person.long_list(base, self.scale.scrolled_pages)
                raw = {"rows held": read["held"]}
                note = f"{read['entries']:,.0f} of {entries:,} entries read on end"
                yield Figure("journal, slowest frame", "ms", [read["worst"]], None, raw, note)
            for screen in ("overview", "journal"):
                late = [1000 * at for _ in range(self.scale.repeats) for at in self._news(person, screen)]
                raw = {"p50": median(late), "worst": max(late)}
                note = f"{len(late):,} entries, {NEWS_PAIRS} at once four times a second"
                p95 = at_rank(late, 0.95)
                yield Figure(f"event to pixel, {screen}, p95", "ms", [p95], Target("<", 150), raw, note)

    def _news(self, person: Watcher, screen: str) -> list[float]:
        """Seconds from commit to paint of each entry, at most."""
        candles = self.ground.gaps(NEWS_PAIRS, self.scale.news)
        folder = self.ground.fresh("news")
        with (
            daemon(folder, [*candles.flags, "--speed", "8"]) as (process, _, _),
            helper("watch", folder / FILE_NAME, candles.end) as watch,
            person.news(process.ready(), screen) as page,
        ):
            watch.ready()
            commits = Commits(watch.result())
            last = commits.stamps[-1][3]
            page.wait_for_function(f"() => window.shown.length && window.shown.at(-1)[0] >= {last - NEWS_PAIRS - 2}")
            shown = heard_at(page)
        return [at - commits.last_without(seq) for seq, at in shown.items() if seq in commits.seqs]

    # --- the process

    def starting(self) -> Iterator[Figure]:
        folder, flags, _ = self._big_log(self.scale.big_log_events)
        spawn = [bare_python(IMPORTS) for _ in range(self.scale.repeats)]
        raw = {"Python and its imports": median(seconds for seconds, _ in spawn)}
        empty = [self._ready(self.ground.fresh("empty"), ["--speed", "1"]) for _ in range(self.scale.repeats)]
        yield Figure("start to /readyz, empty", "s", empty, Target("<", 1.5), raw)
        big = [self._ready(folder, flags) for _ in range(self.scale.repeats)]
        yield Figure("start to /readyz, long log", "s", big, Target("<", 1.5), raw)

    def idling(self) -> Iterator[Figure]:
        sizes = []
        for _ in range(self.scale.repeats):
            with daemon(self.ground.fresh("idle"), ["--market", "demo", "--speed", "0.01"]) as (process, _, _):
                sleep(self.scale.idle_seconds)
                sizes.append(resident_mb(process.pid))
        raw = {"Python and its imports": bare_python(IMPORTS)[1]}
        yield Figure("idle, resident", "MB", sizes, Target("<", 110), raw)

    def opening(self) -> Iterator[Figure]:
        """Spawn to ready on the long log, none of it in memory at first."""
        folder, flags, events = self._big_log(self.scale.big_log_events)
        seconds = []
        for _ in range(self.scale.repeats):
            forget(folder / FILE_NAME)
            seconds.append(self._ready(folder, flags))
        begin = monotonic()
        store = LogStore(folder / FILE_NAME, log_id="")
        checkpoint = store.latest_checkpoint(MAKER)
        rows = store.head.row - (checkpoint.row if checkpoint else 0)
        store.verify(checkpoint.row if checkpoint else 0)
        raw = {"open and verify only": monotonic() - begin}
        note = f"{store.head.row:,} rows, {rows:,} after the checkpoint, from the disk"
        store.close()
        yield Figure(f"opening {events:,} events", "s", seconds, Target("<", 3), raw, note)

    def _ready(self, folder: Path, flags: list[str]) -> float:
        with daemon(folder, flags) as (_, _, seconds):
            return seconds

    def _big_log(self, events: int, *, busy: bool = False) -> tuple[Path, list[str], int]:
        """A data dir with a log of at least so many events, the flags of its market, and its events."""
        key = events, busy
        if key not in self._big:
            self.progress(f"building a log of {events:,} events")
            hours, config = self.ground.hours(self.scale.hours, 2), list[str]()
            if busy:
                (settings := self.ground.fresh("busy") / "forestay.toml").write_text(BUSY, encoding="utf-8")
                (settings.parent / "busy.yaml").write_text(BUSY_STRATEGY, encoding="utf-8")
                config = ["--config", str(settings)]
            flags = [*config, *hours.flags, "--speed", "max"]
            source, folder = replay(self.ground, hours, config=config).folder, self.ground.fresh("big")
            _, head = build(source, folder, events)
            self._big[key] = folder, flags, head.seq
        return self._big[key]


def _rows_after_checkpoint(folder: Path) -> int:
    """The rows after the newest checkpoint."""
    reader = LogReader(folder / FILE_NAME)
    checkpoint = reader.latest_checkpoint(MAKER)
    rows = reader.head().row - (checkpoint.row if checkpoint else 0)
    reader.close()
    return rows


def _count(folder: Path, kind: str) -> int:
    db = apsw.Connection(str(folder / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
    return int(db.execute("SELECT count(*) FROM log WHERE kind = ?", (kind,)).get)


def _late(runs: list[dict[str, list[float]]], part: str, rank: float = 0.99) -> list[float]:
    """Of each run, in ms."""
    return [1000 * at_rank(run[part], rank) for run in runs]


def _speeds(runs: list[Replay]) -> list[float]:
    return [run.bars_per_second for run in runs]


Measure = Callable[[Bench], Iterator[Figure]]
MEASURES: Final[dict[str, Measure]] = {
    "replay": Bench.replays,
    "backtest": Bench.backtests,
    "catch-up": Bench.catching_up,
    "crowd": Bench.crowds,
    "burst": Bench.bursts,
    "restart": Bench.restarting,
    "mailbox": Bench.mailboxes,
    "sign": Bench.signing,
    "kill": Bench.killing,
    "quote": Bench.quoting,
    "page": Bench.pages,
    "start": Bench.starting,
    "idle": Bench.idling,
    "open": Bench.opening,
}


def as_plain(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "value": figure.value,
        "values": figure.values,
        "target": None if figure.target is None else str(figure.target),
        "met": figure.met,
        "raw": figure.raw,
        "note": figure.note,
    }
