"""Timing at equal accuracy: every contestant at the loosest tolerance that reaches the target.

Accuracy is the relative suboptimality (F − F*) / F*, with F evaluated in NumPy float64 at the
coefficients that a contestant returned, and F* the lowest F of any answer seen, a tight run of
ours polished by Newton's method in NumPy among them. Then warm runs are timed in interleaved
pairs with ours.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

import numpy as np

from benchmarks.contestants import Contestant, Fit
from benchmarks.problems import Problem
from benchmarks.reference import Reference

TOLERANCES = [10.0**-k for k in range(1, 13)]
# Of our answer from which the minimum is polished.
_TIGHTEST = {np.dtype(np.float64): 1e-11, np.dtype(np.float32): 1e-6}
# No method is stopped by a count of steps unless it would outlast the patience.
_MAX_STEPS = 100_000
# A fit is stopped after about this many times the patience: the forecast is rough, and no
# contestant that would have arrived may lose by it.
_PATIENCE_FACTOR = 3
# A short fit is timed by the median of the calls that fit into this many seconds: threads that
# the call before left spinning spoil only the first, and so does an idle moment, after which
# Linux lets a program's threads share a core for some ten milliseconds.
_TIMING_SECONDS = 0.25
_MOST_CALLS = 50
# Seconds of rest before every timing: the threads of BLAS and OpenMP go on spinning for a while
# after a call, and take the cores of the next contestant.
_REST = 0.1

Log = Callable[[str], None]


@dataclass(frozen=True)
class Rules:
    """How a row is run, the same for all contestants.

    Attributes:
        target: the relative suboptimality that all must reach; zero for that of the dtype.
        repeats: interleaved pairs a contestant.
        patience: seconds to spend on finding a tolerance, and again on timing. A fit that
            has begun is finished, unless it takes some times as long by itself.
        dtype: of the data, unless the row has its own.
        quick: smaller, fewer contestants.
        scale: n times this.
        only: words of the contestants wanted; nothing but the race is run then.
    """

    target: float
    repeats: int
    patience: float
    dtype: str = "float64"
    quick: bool = False
    scale: float = 1.0
    only: list[str] | None = None


@dataclass
class Timing:
    """One contestant on one problem; the ratio is to our own run beside it.

    Attributes:
        contestant: its name.
        short: its name in the summary.
        ours: whether it is our own method.
        penalises_intercept: whether it was judged on the problem that it solves.
        tol: the tolerance it ran at; None where it gave no answer.
        suboptimality: what it reached; None where it gave no answer.
        reached: whether that is within the target.
        settled: whether the tolerance is known to be the loosest that reaches it.
        first_seconds: the very first call, with all that it compiles.
        seconds: the median of the warm ones.
        ratio: of its seconds to ours, the median over the pairs.
        spread: the smallest and the largest of these ratios.
        note: why there is no answer.
    """

    contestant: str
    short: str
    ours: bool
    penalises_intercept: bool = False
    tol: float | None = None
    suboptimality: float | None = None
    reached: bool = False
    settled: bool = True
    first_seconds: float | None = None
    seconds: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    def set_pairs(self, seconds: list[float], ours: list[float]) -> None:
        """Set the medians from runs in pairs with ours."""
        ratios = sorted(a / b for a, b in zip(seconds, ours, strict=True))
        self.seconds, self.ratio = statistics.median(seconds), statistics.median(ratios)
        self.spread = ratios[0], ratios[-1]


@dataclass
class Entrant:
    """A contestant that takes part: its prepared fit, and the result so far."""

    contestant: Contestant
    fit: Fit
    max_steps: int  # what the patience allows for; ours take what they need
    timing: Timing
    reference: Reference  # the minimum of the problem that it solves
    values: np.ndarray = field(default_factory=lambda: np.asarray(inf))  # F so far, () or (B,)


def race(problem: Problem, contestants: list[Contestant], rules: Rules, log: Log) -> list[Timing]:
    """Time every contestant in turn with the first.

    Args:
        problem: the data.
        contestants: ours first.
        rules: what they must keep to.
        log: called with what is going on.

    Returns:
        One timing a contestant; one that raised has its reason as a note.
    """
    if not contestants:
        return []
    timings, entrants = calibrate_all(problem, contestants, rules, log)
    ours = entrants[0] if entrants and entrants[0].contestant.ours else None
    if ours and not (ours.contestant is contestants[0] and ours.timing.reached):
        ours = None
    for entrant in entrants:
        if entrant.timing.reached:
            log(f"timing {entrant.contestant.name}")
            if ours:
                entrant.timing.set_pairs(*_interleaved(entrant, ours, rules))
            else:
                entrant.timing.seconds = _rest_and_time(entrant)
    return timings


def calibrate_all(
    problem: Problem, contestants: list[Contestant], rules: Rules, log: Log
) -> tuple[list[Timing], list[Entrant]]:
    """Find every contestant's tolerance: a timing for each, and those that take part."""
    timings = [Timing(c.name, c.short, c.ours) for c in contestants]
    references = {flag: Reference(problem, penalise_intercept=flag) for flag in (False, True)}
    entrants = []
    for contestant, timing in zip(contestants, timings, strict=True):
        log(f"warming up {contestant.name}")
        with _errors_noted(timing):
            fit, max_steps = _warm_up(problem, contestant, timing, rules.patience)
            reference = references[contestant.penalises_intercept]
            entrants.append(Entrant(contestant, fit, max_steps, timing, reference))
    log("finding the optimum")
    tol = _TIGHTEST[np.dtype(problem.X.dtype)]
    ours = (entrant for entrant in entrants if entrant.contestant.ours)
    start = next((entrant.fit(tol, entrant.max_steps) for entrant in ours), None)
    for flag in {entrant.contestant.penalises_intercept for entrant in entrants}:
        references[flag].minimise(start, rules.target / 100)
    for entrant in entrants:
        log(f"calibrating {entrant.contestant.name}")
        with _errors_noted(entrant.timing):
            _calibrate(entrant, rules)
    entrants = [entrant for entrant in entrants if entrant.timing.tol is not None]
    for entrant in entrants:
        _judge(entrant, rules.target)
    return timings, entrants


@contextmanager
def _errors_noted(timing: Timing) -> Iterator[None]:
    """A contestant that cannot do the problem drops out with its reason; the others go on."""
    try:
        yield
    except Exception as error:
        timing.tol, timing.seconds = None, None
        timing.note = f"{type(error).__name__}: {error}"


def _warm_up(
    problem: Problem, contestant: Contestant, timing: Timing, patience: float
) -> tuple[Fit, int]:
    """The fit after its first call, and how many steps the patience allows for."""
    fit, max_steps = contestant.prepare(problem), _MAX_STEPS
    if contestant.ours:
        timing.first_seconds = _clock(fit, TOLERANCES[0], max_steps)
    else:
        timing.first_seconds = _clock(fit, TOLERANCES[-1], 1)
        max_steps = _affordable_steps(fit, timing.first_seconds, patience)
    return fit, max_steps


def _affordable_steps(fit: Fit, first: float, patience: float) -> int:
    """Steps within some times the patience, by the time that 8, 64, 512 … take."""
    # A library may load much of itself in its very first call.
    one = _clock(fit, TOLERANCES[-1], 1) if first < max(patience, 10) else first
    if one > patience:
        return max(1, int(_PATIENCE_FACTOR * patience / one))
    steps, seconds = 1, one
    while steps == 1 or (seconds < patience / 32 and steps < _MAX_STEPS):
        steps *= 8
        seconds = _clock(fit, TOLERANCES[-1], steps)
    step = max((seconds - one) / (steps - 1), 1e-9)
    return int(np.clip(_PATIENCE_FACTOR * patience / step, 8, _MAX_STEPS))


def _calibrate(entrant: Entrant, rules: Rules) -> None:
    """Halve the range of tolerances until the loosest that does is known, or patience ends."""
    low, high = 0, len(TOLERANCES)
    best = (False, -inf)
    timing, began = entrant.timing, time.perf_counter()
    while low < high and (timing.tol is None or time.perf_counter() - began < rules.patience):
        middle = (low + high - 1) // 2
        tol = TOLERANCES[middle]
        start = time.perf_counter()
        answer = entrant.fit(tol, entrant.max_steps)
        seconds = time.perf_counter() - start
        values = entrant.reference.evaluate(answer)
        gap = entrant.reference.suboptimality(values)
        reached = gap <= rules.target
        # The loosest of those that reach the target, else the nearest to it.
        rank = (True, tol) if reached else (False, -gap)
        if timing.tol is None or rank > best:
            best, entrant.values, timing.tol, timing.seconds = rank, values, tol, seconds
        if reached:
            high = middle
        else:
            low = middle + 1
    timing.settled = low == high


def _judge(entrant: Entrant, target: float) -> None:
    """By the minimum as it is in the end: a later answer may have lowered it."""
    timing, gap = entrant.timing, entrant.reference.suboptimality(entrant.values)
    timing.penalises_intercept = entrant.contestant.penalises_intercept
    timing.reached = gap <= target
    if gap < inf:
        timing.suboptimality = gap
    else:
        timing.note = "diverged"


def _interleaved(one: Entrant, other: Entrant, rules: Rules) -> tuple[list[float], list[float]]:
    """Seconds of the two in turn, the order changing; fewer pairs of a very slow one."""
    seconds: tuple[list[float], list[float]] = [], []
    while len(seconds[0]) < rules.repeats and sum(map(sum, seconds)) < rules.patience:
        for i in (0, 1) if len(seconds[0]) % 2 else (1, 0):
            seconds[i].append(_rest_and_time((one, other)[i]))
    return seconds


def _rest_and_time(entrant: Entrant) -> float:
    """Seconds of one warm fit, after a rest."""
    assert entrant.timing.tol is not None
    time.sleep(_REST)
    return time_fit(entrant.fit, entrant.timing.tol, entrant.max_steps)


def time_fit(fit: Fit, tol: float, max_steps: int = _MAX_STEPS) -> float:
    """Seconds of one fit: the median if several fit into a quarter of a second."""
    seconds: list[float] = []
    began = time.perf_counter()
    while not seconds or (
        time.perf_counter() - began < _TIMING_SECONDS and len(seconds) < _MOST_CALLS
    ):
        seconds.append(_clock(fit, tol, max_steps))
    return statistics.median(seconds)


def _clock(fit: Fit, tol: float, max_steps: int) -> float:
    start = time.perf_counter()
    fit(tol, max_steps)
    return time.perf_counter() - start
