"""A stand-in for the Trust Wallet Agent Kit: an executable that speaks its documented JSON and misbehaves as told. It
notes each run in `runs`, and what it "sends" in `sent`."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

from tests.guard.houses import WALLET

HASH = "0x" + "ab" * 32
SCRIPT = """#!{python}
import json, os, signal, subprocess, sys, time
from pathlib import Path

home = Path({home!r})
plan = json.loads((home / "plan").read_text())
with open(home / "runs", "a") as runs:
    runs.write(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}) + "\\n")

def send():
    with open(home / "sent", "a") as sent:
        sent.write(json.dumps(sys.argv[1:]) + "\\n")

if sys.argv[1] == "wallet":
    print(json.dumps({{"address": plan.get("wallet", {wallet!r}), "chain": "bsc"}}))
    sys.exit()
step = plan["quote" if "--quote-only" in sys.argv else "swap"]
if step.get("sends"):
    send()
print(step.get("before", ""), end="", flush=True)
if "says" in step:
    print(json.dumps(step["says"]), flush=True)
print("x" * step.get("noise", 0), flush=True)
print("TWAK secret on stderr", file=sys.stderr, flush=True)
if step.get("child"):
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdout=subprocess.DEVNULL)
    (home / "child").write_text(str(child.pid))
(home / "reached").write_text(str(os.getpid()))
if step.get("hangs"):
    signal.pause()
if step.get("dies"):
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(step.get("code", 0))
"""


class StandIn:
    """The executable, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.path = folder / "twak"
        self.path.write_text(SCRIPT.format(python=sys.executable, home=str(folder), wallet=WALLET))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.plan()

    def plan(self, *, quote: dict[str, Any] | None = None, swap: dict[str, Any] | None = None, **more: Any) -> None:
        """How it behaves from now on."""
        honest_quote = {
            "says": {"input": "10 USDT", "output": "4.98 CAKE", "minReceived": "4.98 CAKE", "provider": "x"}
        }
        honest_swap = {"sends": True, "says": {"hash": HASH, "output": "4.98 CAKE", "fromChain": "bsc"}}
        plan = {"quote": quote or honest_quote, "swap": swap or honest_swap} | more
        (self.folder / "plan").write_text(json.dumps(plan))

    def runs(self) -> list[dict[str, Any]]:
        return self._lines("runs")

    def sent(self) -> int:
        return len(self._lines("sent"))

    def swaps(self) -> list[list[str]]:
        """The command lines of the runs that were to swap."""
        argvs = [run["argv"] for run in self.runs()]
        return [argv for argv in argvs if argv[0] == "swap" and "--quote-only" not in argv]

    @property
    def reached(self) -> Path:
        """There once a run has come to where it hangs, dies or ends."""
        return self.folder / "reached"

    def _lines(self, name: str) -> list[Any]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
