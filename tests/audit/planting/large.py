"""An audit of 10 000 parameters: its seconds and memory, in a process of its own.

``python -m tests.audit.planting.large`` prints both as JSON.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jax_logreg import check_derivatives
from tests.audit.planting.planted import RELATIVE, PlantedCase
from tests.audit.planting.recipe import SOFTMAX, Array, Recipe, make_data

_FEATURES, _CLASSES, _ROWS = 999, 10, 2000
_FEWER_ROWS = 400
_MODEL = SOFTMAX._replace(columns=_CLASSES)


class Cost(NamedTuple):
    """What one warm audit takes."""

    seconds: float
    first_seconds: float
    megabytes: float


def lone_coordinates(dtype: str, seeds: int) -> Iterator[PlantedCase]:
    """Gradients of 10 000 entries of which one is wrong.

    Args:
        dtype: "float64" or "float32".
        seeds: how many.
    """
    for seed in range(seeds):
        kwargs = _right(dtype, _FEWER_ROWS, seed)
        place = int(np.random.default_rng([seed, 5]).integers(kwargs["at"].size))
        kwargs["gradient"] = _wrong_at(place, 1 + RELATIVE[dtype], kwargs["gradient"])
        name = f"one of 10 000 coordinates {dtype}"
        accepted = frozenset({"coordinate"})
        yield PlantedCase(name, name, "gradient", kwargs, accepted, RELATIVE[dtype], True)


def measure() -> Cost:
    """Start another process and ask it what an audit costs."""
    command = [sys.executable, "-m", "tests.audit.planting.large"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout))


def _right(dtype: str, rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 9])
    data = make_data(_MODEL, rows, _FEATURES, dtype, rng)
    theta = rng.normal(size=(_FEATURES + 1) * _CLASSES) / np.sqrt(_FEATURES)
    recipe = Recipe(_MODEL.mean)
    return {"value": _MODEL.value, "gradient": lambda *given: recipe.gradient(*given),
            "at": theta.astype(dtype), "args": data, "seed": seed}  # fmt: skip


def _wrong_at(place: int, factor: float, right: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *given: right(*given).at[place].multiply(factor)


def _audit_twice() -> Cost:
    seconds = []
    for seed in range(2):
        kwargs = _right("float64", _ROWS, seed)
        start = time.perf_counter()
        report = check_derivatives(**kwargs)
        seconds.append(time.perf_counter() - start)
        assert report.ok, report
    return Cost(seconds[1], seconds[0], _peak_megabytes())


def _peak_megabytes() -> float:
    """Most memory that this process has held.

    Where Linux tells it in /proc, from there: getrusage also counts what the process
    that started this one held at that moment.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    unit = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    print(json.dumps(_audit_twice()._asdict()))
