"""A stage on which the guard has no key of its own: it runs a kit, the stand-in of `_twak.py`, as a program."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any, Final

from attrs import define

from server.guard import ledger
from server.guard.books import Books
from tests.guard.houses import KEY, ROOT, WALLET, GuardProcess
from tests.live._twak import MODES
from tests.live.stage import STRATEGY, Stage

SECRETS: Final = {"TWAK_ACCESS_ID": "access-1", "TWAK_HMAC_SECRET": "hmac-2", "TWAK_WALLET_PASSWORD": "wallet-3"}
LAUNCH: Final = "from tests.live._twak import main; main()"


@define
class KitStage(Stage):
    """`kit` says how the next swaps go."""

    execute_seconds: float = 240.0
    position_pct: int = 50

    @property
    def home(self) -> Path:
        return self.folder / "kit"

    def kit(self, mode: str) -> None:
        assert mode in MODES
        plan = {
            "rpc": self.market.chain.url, "router": self.market.pancake.router, "wallet": WALLET, "key": KEY,
            "secrets": SECRETS, "mode": mode,
        }  # fmt: skip
        (self.home / "kit.json").write_text(json.dumps(plan))

    def guard_toml(self, **limits: object) -> str:
        self.home.mkdir()
        program = self.home / "twak"
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{LAUNCH}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.kit("honest")
        twak = f'[twak]\ncommand = ["{program}"]\naddress = "{WALLET}"\nhome = "{self.home}"\n'
        return f'way = "twak"\n{Stage.guard_toml(self, **limits)}{twak}execute_seconds = {self.execute_seconds}\n'

    def strategy(self) -> str:
        return STRATEGY.replace("position_size_pct: 50", f"position_size_pct: {self.position_pct}")

    def run_guard(self) -> None:
        self.guard = GuardProcess(self.folder / "guard", SECRETS).listening()

    # --- what the kit itself knows

    def runs(self) -> list[list[str]]:
        """The command lines by which it was to swap."""
        return [words for words in self._noted("runs") if words[0] == "swap" and "--quote-only" not in words]

    def swaps(self) -> list[str]:
        """The hashes of the swaps that it has sent, whether they were mined or not."""
        router = self.market.pancake.router.lower()
        return [sent["hash"] for sent in self._noted("sent") if sent["to"].lower() == router]

    def books(self) -> Books:
        """What the guard remembers."""
        return ledger.read(self.folder / "guard" / ledger.FILE_NAME)

    def _noted(self, name: str) -> list[Any]:
        path = self.home / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
