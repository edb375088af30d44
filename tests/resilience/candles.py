"""Candle files for the runs: a stretch of real ones, or a seeded walk with dips and rallies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from attrs import frozen

HOUR = timedelta(hours=1)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@frozen
class Files:
    """Hourly candles by pair, and the close of the last of them as the wire writes it."""

    paths: dict[str, Path]
    end: str

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(part for pair, path in self.paths.items() for part in ("--replay", f"{pair}={path}"))


def real_stretch(data: Path, folder: Path, hours: int) -> Files:
    """The first hours of the real ETH and LTC files."""
    paths, last = {}, ""
    for pair, name in (("ETH/USDT", "eth-eur-1h.csv"), ("LTC/USDT", "ltc-eur-1h.csv")):
        lines = (data / name).read_text().splitlines()[: hours + 1]
        paths[pair] = folder / name
        paths[pair].write_text("\n".join(lines) + "\n")
        last = max(last, lines[-1].split(",")[0])
    return Files(paths, _wire(datetime.fromisoformat(last) + HOUR))


def made_up(folder: Path, hours: int, seed: int) -> Files:
    """Two pairs that dip, by a few percent within hours, and recover or do not."""
    paths = {}
    for pair, price in (("AAA/USDT", 100.0), ("BBB/USDT", 2500.0)):
        paths[pair] = folder / f"{pair[:3].lower()}-{seed}-{hours}.csv"
        paths[pair].write_text(_walk(Random(f"{seed} {pair}"), price, hours))
    return Files(paths, _wire(BEGIN + hours * HOUR))


def _walk(random: Random, price: float, hours: int) -> str:
    lines, drift, left, anchor = ["time,open,high,low,close,volume"], 0.0, 0, price
    for hour in range(hours):
        if left == 0:
            drift, left = random.choice(((0.0, 30), (-0.012, 10), (0.008, 12), (-0.009, 14)))
            if drift == 0.0:
                drift = 0.02 * (anchor / price - 1)  # calm stretches lead back, so that prices stay in sight
        left -= 1
        opened, price = price, price * (1 + drift + random.gauss(0, 0.004))
        high, low = max(opened, price) * 1.001, min(opened, price) * 0.999
        at = (BEGIN + hour * HOUR).isoformat()
        lines.append(f"{at},{opened:.4f},{high:.4f},{low:.4f},{price:.4f},{random.uniform(500, 1500):.3f}")
    return "\n".join(lines) + "\n"


def _wire(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
