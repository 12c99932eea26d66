"""The outcome of a row, kept as JSON so that rows run on different days make one report."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Floor
from benchmarks.memory import Memory
from benchmarks.problems import ROWS
from benchmarks.race import Timing

PATH = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Growth:
    """How our time grows with the number of rows or of columns.

    Attributes:
        axis: what was grown, "n" or "p".
        sizes: rows or columns.
        seconds: the median of our warm fits.
        exponent: the slope of log seconds against log size, by least squares.
    """

    axis: str
    sizes: list[int]
    seconds: list[float]
    exponent: float


@dataclass(frozen=True)
class Outcome:
    """All that was measured in one row.

    Attributes:
        row: its name.
        shape: n, p, K.
        fits: how many at once.
        strength: of the penalty.
        dtype: of the data.
        target: the relative suboptimality asked for.
        platform: where JAX computed, "cpu" or "gpu".
        machine: the machine and the versions, in words.
        busy_cores: that other programs kept busy just before; None if unknown.
        timings: ours first.
        floor, memory, growth: None where they were not measured.
        stages: where the seconds of a fresh process went, by contestant.
    """

    row: str
    shape: tuple[int, int, int]
    fits: int
    strength: float
    dtype: str
    target: float
    platform: str
    machine: str
    busy_cores: float | None
    timings: list[Timing]
    floor: Floor | None = None
    memory: Memory | None = None
    growth: Growth | None = None
    stages: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def ours(self) -> Timing | None:
        """Our first contestant, if it was accurate enough."""
        first = next(iter(self.timings), None)
        return first if first and first.ours and first.reached else None

    @property
    def best_rival(self) -> Timing | None:
        """The fastest that was accurate enough, by the pairs with ours if there are any."""
        rivals = [t for t in self.timings if t.reached and not t.ours]
        return min(rivals, key=lambda t: (t.ratio or 0, t.seconds or 0), default=None)

    @property
    def ratio(self) -> float | None:
        """Our time over that of the best rival."""
        best = self.best_rival
        return 1 / best.ratio if best and best.ratio else None

    @property
    def floors(self) -> float | None:
        """Our time over the floor."""
        seconds = self.ours.seconds if self.ours else None
        return seconds / self.floor.seconds if seconds and self.floor else None

    def misses(self) -> list[str]:
        """Each goal of the row that is not met, with the numbers."""
        if self.row not in ROWS or not any(timing.ours for timing in self.timings):
            return []
        row = ROWS[self.row]
        if self.ours is None:
            return ["ours did not reach the accuracy"]
        missed = []
        if self.ratio is not None and self.ratio > row.ratio_goal:
            missed.append(f"{self.ratio:.3g} of the best rival's time, goal {row.ratio_goal:g}")
        if row.floor_goal and self.floors is not None and self.floors > row.floor_goal:
            missed.append(f"{self.floors:.3g} times the floor, goal {row.floor_goal:g}")
        return missed


def save(outcome: Outcome, path: Path = PATH) -> None:
    """Put one row beside those kept so far, in place of its last outcome."""
    kept = _read(path)
    kept[f"{outcome.row} {outcome.dtype} {outcome.platform}"] = asdict(outcome)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path = PATH) -> list[Outcome]:
    """All that was kept, in the order of the table."""
    parts: dict[str, Any] = {"floor": Floor, "memory": Memory, "growth": Growth}
    outcomes, order = [], list(ROWS)
    for entry in _read(path).values():
        entry |= {name: make(**entry[name]) for name, make in parts.items() if entry[name]}
        timings = [Timing(**timing) for timing in entry["timings"]]
        outcomes.append(Outcome(**entry | {"timings": timings}))
    return sorted(outcomes, key=lambda o: (o.platform, o.dtype != "float64", order.index(o.row)))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
