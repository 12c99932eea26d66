"""Equal accuracy: every contestant at the loosest of its tolerances that reaches the target.

Accuracy is the relative suboptimality (F − F*) / F*, with F evaluated in NumPy float64 at
the coefficients that a contestant returned, and F* the lowest F of any answer seen, a
tight run of ours polished by Newton's method in NumPy among them.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.answers import Answer, Fit
from benchmarks.contestants import Contestant
from benchmarks.problems import Problem
from benchmarks.reference import Reference

TOLERANCES = [10.0**-k for k in range(1, 13)]
_TIGHTEST = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-6}
# No method is stopped by a count of steps unless it would outlast our patience.
MOST_STEPS = 100_000
# A fit is stopped after about this many times the patience: the forecast is a rough one,
# and nobody shall lose by it who would have arrived.
_ALLOWANCE = 3
# A turn of a short fit is the median of as many calls as fit into this many seconds: threads
# that the one before left spinning spoil none but the first, and so does an idle moment, after
# which Linux lets a program's threads share a core for some ten milliseconds.
_TURN = 0.25
_MOST_CALLS = 50

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Rules:
    """What all contestants must keep to.

    Attributes:
        target: the relative suboptimality that all must reach.
        repeats: interleaved pairs a contestant.
        patience: seconds to spend on finding a tolerance, and again on timing. A fit that
            was begun is finished, unless it takes some times as long by itself.
    """

    target: float
    repeats: int
    patience: float


@dataclass(frozen=True)
class Calibration:
    """The loosest tolerance that reached the target, or the best that was seen.

    Attributes:
        tol: the tolerance.
        values: F at the answer, () or one a resample.
        suboptimality: of the answer.
        reached: whether that is within the target.
        settled: whether no looser power of ten is left to try.
        seconds: the fit took here.
    """

    tol: float
    values: np.ndarray
    suboptimality: float
    reached: bool
    settled: bool
    seconds: float


@dataclass
class Entrant:
    """A contestant on its way through the race."""

    contestant: Contestant
    fit: Fit
    first_seconds: float
    max_steps: int
    calibration: Calibration | None = None


def warm_up(problem: Problem, contestant: Contestant, patience: float) -> Entrant:
    """The first call, and how many steps the patience allows for; ours take what they need."""
    fit = contestant.prepare(problem)
    if contestant.ours:
        return Entrant(contestant, fit, _clock(fit, TOLERANCES[0], MOST_STEPS), MOST_STEPS)
    first = _clock(fit, TOLERANCES[-1], 1)
    return Entrant(contestant, fit, first, _affordable(fit, first, patience))


def _affordable(fit: Fit, first: float, patience: float) -> int:
    """Steps within some times the patience, by the time that 8, 64, 512 … take."""
    # A library may load much of itself in its very first call.
    one = _clock(fit, TOLERANCES[-1], 1) if first < max(patience, 10) else first
    if one > patience:
        return max(1, int(_ALLOWANCE * patience / one))
    steps, seconds = 1, one
    while steps == 1 or (seconds < patience / 32 and steps < MOST_STEPS):
        steps *= 8
        seconds = _clock(fit, TOLERANCES[-1], steps)
    step = max((seconds - one) / (steps - 1), 1e-9)
    return int(np.clip(_ALLOWANCE * patience / step, 8, MOST_STEPS))


def references_for(
    problem: Problem, entrants: list[Entrant], target: float
) -> dict[bool, Reference]:
    """The minimum, and that of the problem whose intercept is penalised if someone needs it."""
    start = _tight_answer(problem, entrants)
    references = {}
    for penalised in {False, *(e.contestant.penalises_intercept for e in entrants)}:
        references[penalised] = Reference(problem, penalise_intercept=penalised)
        references[penalised].settle(start, target / 100)
    return references


def _tight_answer(problem: Problem, entrants: list[Entrant]) -> Answer | None:
    """Our own, where one of ours takes part."""
    tol = _TIGHTEST[np.dtype(problem.X.dtype)]
    ours = (entrant for entrant in entrants if entrant.contestant.ours)
    return next((entrant.fit(tol, entrant.max_steps) for entrant in ours), None)


def calibrate(entrant: Entrant, reference: Reference, rules: Rules) -> Calibration:
    """Halve the range of tolerances until the loosest that does is known, or patience ends."""
    low, high = 0, len(TOLERANCES)
    best: Calibration | None = None
    began = time.perf_counter()
    while low < high and (best is None or time.perf_counter() - began < rules.patience):
        middle = (low + high - 1) // 2
        found = _try(entrant, TOLERANCES[middle], reference, rules.target)
        if best is None or _better(found, best):
            best = found
        if found.reached:
            high = middle
        else:
            low = middle + 1
    assert best is not None
    return replace(best, settled=low == high)


def _try(entrant: Entrant, tol: float, reference: Reference, target: float) -> Calibration:
    start = time.perf_counter()
    answer = entrant.fit(tol, entrant.max_steps)
    seconds = time.perf_counter() - start
    values = reference.see(answer)
    reached = reference.suboptimality(values)
    return Calibration(tol, values, reached, reached <= target, True, seconds)


def _better(found: Calibration, best: Calibration) -> bool:
    """Loosest among those that reach the target, nearest to it among the others."""
    if found.reached and best.reached:
        return found.tol > best.tol
    return found.suboptimality < best.suboptimality


def judge_again(entrants: list[Entrant], references: dict[bool, Reference], target: float) -> None:
    """By the minimum as it stands now: a later answer may have lowered it."""
    for entrant in entrants:
        if entrant.calibration is not None:
            reference = references[entrant.contestant.penalises_intercept]
            reached = reference.suboptimality(entrant.calibration.values)
            entrant.calibration = replace(
                entrant.calibration, suboptimality=reached, reached=reached <= target
            )


def turn(fit: Fit, tol: float, max_steps: int = MOST_STEPS) -> float:
    """Seconds of one fit: the median where several fit into a quarter of a second."""
    seconds: list[float] = []
    began = time.perf_counter()
    while not seconds or (time.perf_counter() - began < _TURN and len(seconds) < _MOST_CALLS):
        seconds.append(_clock(fit, tol, max_steps))
    return statistics.median(seconds)


def _clock(fit: Fit, tol: float, max_steps: int) -> float:
    start = time.perf_counter()
    fit(tol, max_steps)
    return time.perf_counter() - start
