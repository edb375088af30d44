"""Moments of the story, played once and kept: a chain, and the folders of daemon and guard. Each test begins from one
of them, as often as there are tests."""

from __future__ import annotations

import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import httpx
import pytest
from attrs import Factory, define

from tests.evm.anvil import anvil
from tests.evm.fixtures import Deployed
from tests.guard import houses
from tests.guard.houses import GuardProcess
from tests.live.stage import Stage, wire
from tests.world import daemon
from tests.world.daemon import DaemonProcess

ROOT: Final = Path(__file__).parents[2]
LAUNCH: Final = "from tests.crash._doomed import main; main()"
PATIENCE_SECONDS: Final = 180.0  # a bound against hanging, not a figure
HOLDS_AT: Final = 1900  # what the price fell to when it bought


@define
class Cast:
    """The stage, and who is to be started again when he dies."""

    stage: Stage
    deaths: list[str] = Factory(list)
    _daemons: list[DaemonProcess] = Factory(list)

    def start(self, *flags: str, data_dir: Path | None = None, env: dict[str, str] | None = None) -> DaemonProcess:
        assert data_dir is not None
        self._daemons.append(DaemonProcess(data_dir, flags, env or {}))
        return self._daemons[-1]

    def pid_file(self, who: str) -> str:
        return str(self.stage.folder / f"{who}.pid")

    def run_guard(self, env: dict[str, str] | None = None) -> None:
        self.stage.guard = GuardProcess(self.stage.folder / "guard", env or {}).listening()
        Path(self.pid_file("guard")).write_text(str(self.stage.guard.pid))

    def run_daemon(self, env: dict[str, str] | None = None) -> None:
        folder = self.stage.folder
        self.stage.daemon = self.start("--config", str(folder / "forestay.toml"), data_dir=folder / "data", env=env)
        Path(self.pid_file("daemon")).write_text(str(self.stage.daemon.pid))
        self.stage.daemon.ready()

    def run(self) -> None:
        self.run_guard()
        self.run_daemon()

    def see_to_them(self) -> None:
        """Start again whoever has died."""
        if self.stage.guard._process.poll() is not None:
            self.deaths.append("guard")
            self.stage.guard.stop()
            self.run_guard()
        if not self.stage.daemon.running:
            self.deaths.append("daemon")
            self.stage.daemon.kill()
            self.run_daemon()

    def until(self, holds: Callable[[dict[str, Any]], Any], *, mining: bool = True) -> None:
        """Whoever dies is started again, and blocks come while something is on its way, until the agent is so."""
        end, agent = monotonic() + PATIENCE_SECONDS, dict[str, Any]()
        while monotonic() < end:
            self.see_to_them()
            with suppress(httpx.TransportError):  # it has just died
                agent = self.stage.agent()
                if holds(agent):
                    return
                if mining and not idle(agent):
                    self.stage.bury(1)
            sleep(0.02)
        raise AssertionError(f"it never came to be: {agent}; {self.stage.daemon.errors[-5:]}")

    def candle(self, price: int) -> Callable[[dict[str, Any]], bool]:
        """One candle closes at this price; whether it is decided."""
        self.stage._candle(Decimal(price))
        closed = wire(self.stage.at)
        return lambda agent: (agent["market"]["time"] or "") >= closed

    def step(self, price: int) -> None:
        decided = self.candle(price)
        self.until(decided, mining=False)

    def end(self) -> None:
        """SIGKILL to all."""
        for one in self._daemons:
            one.kill()
        self._daemons.clear()
        if hasattr(self.stage, "guard"):
            self.stage.guard.stop(signal.SIGKILL)


def idle(agent: dict[str, Any]) -> bool:
    """No order is on its way, and nothing is being sold out."""
    live = agent["live"]
    return not live["orders"] and live["flattening"] is None


@define
class Scene:
    """A moment that can be had again and again."""

    stage: Stage
    _kept: Path
    _snapshot: str
    _at: Any

    @contextmanager
    def again(self) -> Iterator[Cast]:
        """Nobody runs yet."""
        self.stage.market.chain.rpc("anvil_dropAllTransactions")
        self.stage.market.chain.revert(self._snapshot)
        self._snapshot = self.stage.market.chain.snapshot()
        shutil.rmtree(self.stage.folder)
        shutil.copytree(self._kept, self.stage.folder)
        self.stage.at = self._at
        cast = Cast(self.stage)
        self.stage.start_daemon = cast.start
        try:
            yield cast
        finally:
            cast.end()


@define
class Scenes:
    """All of them, each made when it is first asked for."""

    _deployed: Deployed
    _folder: Path
    _made: dict[str, Scene] = Factory(dict)
    _open: ExitStack = Factory(ExitStack)

    def __getitem__(self, name: str) -> Scene:
        """`paper`: nobody has promoted it. `flat`: it is live. `holding`: and has bought."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Scene:
        chain = self._open.enter_context(anvil(state=self._deployed.state))
        folder = self._folder / name
        folder.mkdir()
        stage = Stage(self._deployed.market.on(chain), folder, lambda **_: None)  # type: ignore[arg-type]
        cast = Cast(stage)
        stage.start_daemon = cast.start
        try:
            stage.set()
            if name != "paper":
                promoted = stage.post("promote", {"confirm": "go live", "force": True})
                assert promoted.status_code == 200, promoted.text
            if name == "holding":
                cast.step(HOLDS_AT)
                cast.until(lambda agent: idle(agent) and stage.market.balance(houses.WALLET, "ETH"))
            assert stage.daemon.terminate() == 0
            assert stage.guard.stop() == 0
        finally:
            cast.end()
        kept = self._folder / f"{name}-kept"
        shutil.copytree(folder, kept)
        return Scene(stage, kept, chain.snapshot(), stage.at)

    def close(self) -> None:
        self._open.close()


def mortal(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Daemons and guards are started through the launcher that can doom them."""
    launcher = folder / "mortal-forestay"
    launcher.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{LAUNCH}\n")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    patch.setattr(daemon, "FORESTAY", launcher)
    patch.setattr(houses, "FORESTAY", [sys.executable, str(launcher)])
