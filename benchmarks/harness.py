"""Honest timing: equal accuracy first, then warm runs in interleaved pairs.

Accuracy is the relative suboptimality (F − F*) / F*, with F evaluated by us in float64
at the coefficients that a contestant returned, and F* from Newton at a gradient of
1e-11. Each contestant runs at the loosest power of ten of its own tolerance that
reaches the target.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contestants import Answer, Fit
from benchmarks.problems import Problem
from jax_logreg import L2, fit, make_objective

TOLERANCES = [10.0**-k for k in range(1, 13)]


class Calibration(NamedTuple):
    """The loosest tolerance that reached the target, or the best that was seen."""

    tol: float
    suboptimality: float
    reached: bool
    first_seconds: float


class Reference:
    """The objective and its minimum, against which every answer is held."""

    def __init__(self, problem: Problem) -> None:
        labels = problem.y if problem.num_classes == 2 else np.eye(problem.num_classes)[problem.y]
        self._objective = make_objective(problem.X, labels, L2(problem.strength))
        self._value = jax.jit(self._objective.value)
        best = fit(problem.X, labels, penalty=L2(problem.strength), tol=1e-11)
        self.minimum = float(best.raise_if_failed().objective)

    def suboptimality(self, answer: Answer) -> float:
        """(F − F*) / F*; a negative value within round-off counts as zero."""
        theta = self._objective.join(jnp.asarray(answer.coef), jnp.asarray(answer.intercept))
        found = float(self._value(theta)) / self.minimum - 1
        if found < -1e-12:
            raise RuntimeError(f"the reference is no minimum: an answer lies {-found:.1e} below")
        return max(0.0, found)


def calibrate(run: Fit, reference: Reference, target: float, patience: float) -> Calibration:
    """Tighten the tolerance until the answer is good enough or patience runs out."""
    best: Calibration | None = None
    jax.clear_caches()  # so that the first call pays for every compilation of its own
    first_seconds = began = 0.0
    for tol in TOLERANCES:
        start = time.perf_counter()
        reached = reference.suboptimality(run(tol))
        if not first_seconds:
            first_seconds = time.perf_counter() - start
            began = time.perf_counter()  # compiling is not what patience is for
        if best is None or reached < best.suboptimality:
            best = Calibration(tol, reached, reached <= target, first_seconds)
        if reached <= target or time.perf_counter() - began > patience:
            break
    assert best is not None
    return best


@dataclass(frozen=True)
class Timing:
    """One contestant on one problem; the ratio is to our own run beside it."""

    contestant: str
    calibration: Calibration
    seconds: float
    ratio: float
    spread: tuple[float, float]


def _clock(run: Callable[[float], object], tol: float) -> float:
    start = time.perf_counter()
    run(tol)
    return time.perf_counter() - start


def _interleave(
    one: tuple[Fit, float], other: tuple[Fit, float], repeats: int, patience: float
) -> list[tuple[float, float]]:
    """Seconds of the two in turn, the order changing; fewer pairs of what is very slow."""
    for run, tol in (one, other):  # the calibration of others dropped what was compiled
        run(tol)
    pairs: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(pairs) < repeats and time.perf_counter() - began < patience:
        if len(pairs) % 2:
            first = _clock(*one)
            pairs.append((first, _clock(*other)))
        else:
            second = _clock(*other)
            pairs.append((_clock(*one), second))
    return pairs


def race(
    problem: Problem,
    contestants: dict[str, Fit],
    *,
    target: float,
    repeats: int,
    patience: float,
    tell: Callable[[str], None],
) -> list[Timing]:
    """Time every contestant against the first, in turn, ``repeats`` times each.

    Args:
        problem: the data.
        contestants: name ↦ fit; the first is the yardstick.
        target: the relative suboptimality that all must reach.
        repeats: interleaved pairs a contestant.
        patience: seconds to spend on finding a tolerance, and again on timing.
        tell: called with what is going on.
    """
    tell("finding the optimum")
    reference = Reference(problem)
    calibrations = {}
    for name, run in contestants.items():
        tell(f"calibrating {name}")
        calibrations[name] = calibrate(run, reference, target, patience)
    yardstick, *_ = contestants
    timings = []
    for name, run in contestants.items():
        tell(f"timing {name}")
        pairs = _interleave(
            (run, calibrations[name].tol),
            (contestants[yardstick], calibrations[yardstick].tol),
            repeats,
            patience,
        )
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        timings.append(
            Timing(
                contestant=name,
                calibration=calibrations[name],
                seconds=statistics.median(theirs for theirs, _ in pairs),
                ratio=statistics.median(ratios),
                spread=(ratios[0], ratios[-1]),
            )
        )
    return timings
