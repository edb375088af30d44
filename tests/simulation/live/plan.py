"""What a seed does to a live world: besides what befalls the daemon, what befalls the chain, the way to it, the guard
and the kit, and how the owner is."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Final, Literal

from attrs import asdict, evolve, frozen

from protocol.settings import AgentConfig, ChainSettings, EvaluationConfig, LiveConfig, RiskConfig
from protocol.strategy import AnyOrAll, Condition, RegimeFilter, Signals
from tests.simulation import plan as paper
from tests.simulation.plan import Plan
from tests.world import chain as chains
from tests.world.chain import Weather
from tests.world.guard import Mood
from tests.world.market import eager_config

PAIRS: Final = ("CAKE/USDT", "ETH/USDT")
# What befalls the daemon: as in paper worlds, but for what is of the disk or of clients alone.
OF_THE_DAEMON: Final = tuple(
    name
    for name in paper.FAULTS
    if not name.startswith("client") and name not in {"bit flips", "row rewritten", "owner hurries"}
)
# What befalls the chain and the way to it, each for a while; the last ones at once.
STORMS: Final[dict[str, Weather]] = {
    "answers lost": Weather(outage=0.4, unclear=0.4),
    "nobody answers": Weather(outage=1.0),
    "answers slow": Weather(slow=0.6),
    "reads stale": Weather(stale=0.6),
    "endpoints disagree": Weather(disagree=0.7, outage=0.1),
    "sendings unclear": Weather(unclear=1.0),
    "dropped": Weather(drops=0.6, skips=0.5),
    "mined late": Weather(skips=0.92),
    "overtaken": Weather(skips=0.8, overtakes=1.0, unclear=0.3),
    "reorganised": Weather(reorganises=0.4, lost=0.4),
    "all at once": Weather(0.15, 0.1, 0.2, 0.1, 0.2, 0.5, 0.1, 0.5, 0.1, 0.3),
}  # fmt: skip
MOODS: Final[dict[str, Mood]] = {
    "guard deaf": Mood(deaf=0.7), "guard mute": Mood(mute=0.6), "guard slow": Mood(slow=0.7),
    "guard blind": Mood(blind=0.7), "guard dies": Mood(dies=0.6),
}  # fmt: skip
AT_ONCE: Final = ("nonce usurped", "guard down", "guard refuses", "chain stands still", "gas dearer", "kit fails")
FAULTS: Final = (*STORMS, *MOODS, *AT_ONCE)
# What a death may lie in wait for: rows of these kinds, as they are announced.
PREY: Final = (
    "intended", "submitted", "mined", "trade", "given_up", "handed_over", "flattening", "frozen", "live_opened",
    "promotion", "demotion", "status_change", "KILL", "lock_lifted",
)  # fmt: skip


@frozen(kw_only=True)
class LivePlan(Plan):
    """The market begins at `hour`. `pace` is how many seconds lie between two rounds at least, while the chain's clock
    goes on by an hour; `drift` how far pools wander from block to block."""

    hour: int
    pace: float
    drift: float
    way: Literal["local", "twak"]
    weather: Weather  # between two storms
    mood: Mood
    settings: ChainSettings
    patient: bool  # the owner promotes an agent on its record only
    restless: float  # seconds between two looks of the owner, on average


def draw(seed: int) -> LivePlan:
    random, base = Random(f"live plan {seed}"), paper.draw(seed)
    density = random.choice((0.02, 0.06, 0.15))
    faults = frozenset(name for name in OF_THE_DAEMON if random.random() < density * paper.SELDOM.get(name, 1.0))
    density = random.choice((0.1, 0.25, 0.5))
    faults |= frozenset(name for name in FAULTS if random.random() < density)
    way: Literal["local", "twak"] = "twak" if random.random() < 0.25 else "local"
    if way == "twak":
        faults |= {"kit fails"}
    if Random(f"usurped {seed}").random() < 0.2:
        faults |= {"nonce usurped"}
    if way == "local" and Random(f"overtaken {seed}").random() < 0.25:
        faults |= {"overtaken"}
    rough = random.random() < 0.3
    changed = {
        "rounds": random.choice((15, 22, 32)),
        "pairs": len(PAIRS),
        "holes": 0.05,
        "speed": None,
        "faults": faults or frozenset({"process killed"}),
        "pause": random.choice((4.0, 12.0, 30.0)),
        "budget": random.randint(8, 40),
        "config": _config(random, way),
        "changes": (),
        "followers": 1,
        "ambush": frozenset(kind for kind in PREY if random.random() < 0.12),
        "audited": False,
    }
    return LivePlan(
        **{**asdict(base, recurse=False), **changed},
        hour=random.randrange(24),
        pace=random.choice((12.0, 25.0, 40.0)),
        drift=random.choice((0.0, 0.0005, 0.002)),
        way=way,
        weather=Weather(0.02, 0.02, 0.05, 0.01, 0.05, 0.1, 0.02, 0.1, 0.02, 0.2) if rough else chains.CALM,
        mood=Mood(deaf=0.02, mute=0.05, slow=0.02, blind=0.02, dies=0.02) if rough else Mood(),
        settings=chains.settings(
            confirmations=random.choice((3, 3, 5)), replace_seconds=random.choice((6.0, 12.0, 30.0))
        ),
        patient=random.random() < 0.2,
        restless=random.choice((5.0, 15.0, 40.0)),
    )


def _config(random: Random, way: str) -> AgentConfig:
    """Quick to act, and soon eligible. An order whose swap a kit sent and the chain lost is open until its deadline."""
    config = eager_config(PAIRS)
    entry = AnyOrAll(all_of=(Condition("price_vs_sma", "<=", -0.002, 3),))
    leave = AnyOrAll(any_of=(Condition("price_vs_sma", ">=", random.choice((0.0, 0.01)), 3),))
    calm = RegimeFilter((Condition("volatility", ">=", 0.2, 4),))
    spec = evolve(config.strategy.spec, signals=Signals(entry, leave), regime_filter=calm)
    drawdown, daily = random.choice(((6, 3), (6, 5), (12, 8), (60, 40)))
    return evolve(
        config,
        strategy=evolve(config.strategy, spec=spec, fee_multiple=Decimal(0)),
        risk=RiskConfig(
            max_drawdown_pct=Decimal(drawdown), daily_drawdown_pct=Decimal(daily),
            max_consecutive_losses=random.choice((2, 900)), cooldown_hours=5,
        ),
        evaluation=EvaluationConfig(1, 1),
        live=LiveConfig(
            slippage_pct=random.choice((Decimal("0.4"), Decimal(2))),
            deadline_seconds=random.choice((60, 150, 150, 5_000, 80_000 if way == "local" else 5_000)),
        ),
    )  # fmt: skip
