"""Everything that trades live, for real: a chain, the guard and the daemon as processes of their own, and a person who
uses nothing but the public surface."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
from attrs import define, field

from actors.journal.store import FILE_NAME, LogReader
from tests.evm.market import Market
from tests.evm.paths import Step, go
from tests.guard.houses import WALLET, GuardProcess, make_folder
from tests.world.daemon import SECONDS, DaemonProcess
from tests.world.described import check_answer

PAIR = "ETH/USDT"
CANDLE_SECONDS = 3600
CANDLE = timedelta(seconds=CANDLE_SECONDS)
CONFIRMATIONS = 2


def guard_settings(market: Market, url: str, **limits: object) -> str:
    """A guard.toml for this market: the guard has its own endpoint."""
    lines = "\n".join(f"{key} = {value}" for key, value in limits.items())
    tokens = "\n".join(
        f'[tokens.{name}]\naddress = "{market.tokens[name].address}"\ndecimals = {market.tokens[name].decimals}'
        for name in ("ETH", "CAKE")
    )
    return f"""
rpc = ["{url}"]
rpc_timeout_seconds = 5.0
router = "{market.pancake.router}"
factory = "{market.pancake.factory}"
[limits]
max_deadline_seconds = 3600
{lines}
[usdt]
address = "{market.tokens["USDT"].address}"
{tokens}
[hops.WBNB]
address = "{market.tokens["WBNB"].address}"
"""


def daemon_settings(market: Market, urls: list[str], guard: str, agent: str = "") -> str:
    """A forestay.toml for this market. The strategy buys what has fallen below its average, and sells it above."""
    tokens = "\n".join(
        f'[chain.tokens.{name}]\naddress = "{market.tokens[name].address}"\ndecimals = {market.tokens[name].decimals}'
        for name in ("ETH",)
    )
    return f"""
{agent}
[market]
kind = "chain"
speed = "max"
[chain]
rpc = {json.dumps(urls)}
router = "{market.pancake.router}"
factory = "{market.pancake.factory}"
candle_seconds = {CANDLE_SECONDS}
confirmations = {CONFIRMATIONS}
poll_seconds = 0.05
guard = "{guard}"
replace_seconds = 3600
[chain.usdt]
address = "{market.tokens["USDT"].address}"
[chain.wbnb]
address = "{market.tokens["WBNB"].address}"
{tokens}
[chain.references]
"{PAIR}" = "{market.feeds[PAIR]}"
[chain.history]
"{PAIR}" = "history.csv"
"""


AGENT = """
watchlist = ["ETH/USDT"]
snapshot_minutes = 10
[strategy]
fee_multiple = 0.01
spec = "strategy.yaml"
[quotes]
max_age_seconds = 1800
[risk]
max_drawdown_pct = 15
daily_drawdown_pct = 5
[evaluation]
eval_window_days = 1
trade_floor = 1
[live]
slippage_pct = 0.4
deadline_seconds = 3000
"""
STRATEGY = """
market_mode: spot
name: story
signals:
  entry: {all_of: [{indicator: price_vs_sma, op: "<=", value: -0.01, window: 3}]}
  exit: {any_of: [{indicator: price_vs_sma, op: ">=", value: 0.01, window: 3}]}
params: {position_size_pct: 50, max_concurrent: 1}
"""


@define
class Stage:
    """A market on a chain, and who trades on it. `step` brings the next candle."""

    market: Market
    folder: Path
    start_daemon: Callable[..., DaemonProcess]
    at: datetime = field(init=False)
    guard: GuardProcess = field(init=False)
    daemon: DaemonProcess = field(init=False)

    def set(self, *, usdt: int = 1000, bnb: int = 1, **limits: object) -> None:
        """Fund the wallet, start guard and daemon."""
        chain = self.market.chain
        self.at = datetime.fromtimestamp(chain.timestamp // CANDLE_SECONDS * CANDLE_SECONDS, UTC) + CANDLE
        self.market.fund(WALLET, {"USDT": Decimal(usdt), "BNB": Decimal(bnb)})
        go(self.market, Step(self.at, {PAIR: Decimal(2000)}))  # the candles begin with a block of the one before
        self.bury()
        make_folder(self.folder / "guard", self.guard_toml(**{"per_trade_cap": 800, "daily_cap": 5000} | limits))
        (self.folder / "strategy.yaml").write_text(self.strategy())
        (self.folder / "history.csv").write_text(self._history())
        config = daemon_settings(self.market, [chain.url], str(self.folder / "guard" / "guard.sock"), AGENT)
        (self.folder / "forestay.toml").write_text(config)
        self.run_guard()
        self.run_daemon()
        while self.agent()["market"]["time"] is None:  # the first candle is the one after it has first looked
            self._candle(Decimal(2000))
            self._wait(lambda: self.agent()["market"]["time"] is not None, 2.0)

    def _history(self) -> str:
        """Candles from before, which warm the indicators: up and down around 2,000."""
        first = self.at - 200 * CANDLE
        rows = [
            f"{wire(first + number * CANDLE)},2000,2020,1980,{2010 if number % 2 else 1990},1" for number in range(200)
        ]
        return "\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n"

    def guard_toml(self, **limits: object) -> str:
        return guard_settings(self.market, self.market.chain.url, **limits)

    def strategy(self) -> str:
        return STRATEGY

    def run_guard(self) -> None:
        self.guard = GuardProcess(self.folder / "guard").listening()

    def run_daemon(self) -> None:
        self.daemon = self.start_daemon("--config", str(self.folder / "forestay.toml"), data_dir=self.folder / "data")
        self.daemon.ready()

    def step(self, price: Decimal | int | str) -> None:
        """One candle closes at this price, and the blocks that bury it follow; waits until it is decided."""
        self._candle(Decimal(price))
        closed = wire(self.at)
        self.until(lambda: (self.agent()["market"]["time"] or "") >= closed)

    def _candle(self, price: Decimal) -> None:
        self.at += CANDLE
        go(self.market, Step(self.at, {PAIR: price}))
        self.bury()

    def bury(self, blocks: int = CONFIRMATIONS + 1) -> None:
        """Blocks on top, a second apart."""
        self.market.chain.mine(blocks)

    # --- the public surface

    def agent(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.daemon.get("/agents/current").json()
        return answer

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        found = self.daemon.get("/agents/current/events?limit=5000").json()
        return [it for it in found if kind in (None, it["event"])]

    def journal(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.daemon.get(f"/agents/current/journal?type={kind}&limit=5000").json()
        return found

    def facts(self, kind: str, **like: object) -> list[dict[str, Any]]:
        """The log's rows of a kind that clients do not see, as the journal's reader gives them."""
        with closing(LogReader(self.folder / "data" / FILE_NAME)) as reader:
            found = [json.loads(body) for _, body in reader.bodies(0, (kind,), 100_000)]
        return [row for row in found if like.items() <= row.items()]

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        answer = httpx.post(f"{self.daemon.listening()}/agents/current/{path}", json=dict(body), timeout=SECONDS)
        check_answer(answer)
        return answer

    def read(self, path: str) -> Any:
        """An answer, as it is described."""
        answer = httpx.get(f"{self.daemon.listening()}/agents/current{path}", timeout=SECONDS)
        check_answer(answer)
        return answer.json()

    def until(self, holds: Callable[[], Any], *, mining: bool = False) -> None:
        """Wait for something to be so; with `mining`, blocks come meanwhile."""
        if not self._wait(holds, SECONDS, mining=mining):
            raise AssertionError(f"it never came to be: {self.agent()} {self.daemon.errors[-5:]}")

    def _wait(self, holds: Callable[[], Any], seconds: float, *, mining: bool = False) -> bool:
        """Looks at other processes, which tell nobody, again and again; the bound is against hanging."""
        end = monotonic() + seconds
        while not (found := holds()) and monotonic() < end:
            if mining:
                self.bury(1)
            sleep(0.02)
        return bool(found)


def wire(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
