"""Honest timing: warm runs in interleaved pairs, at equal accuracy (see ``calibration``)."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf

from benchmarks.calibration import (
    Entrant,
    Rules,
    Tell,
    calibrate,
    judge_again,
    references_for,
    turn,
    warm_up,
)
from benchmarks.contestants import Contestant
from benchmarks.problems import Problem

# Seconds before every fit that is timed: the threads of BLAS and OpenMP go on spinning for
# a while after a call, and take the cores of whoever comes next.
_REST = 0.1


@dataclass(frozen=True)
class Timing:
    """One contestant on one problem; the ratio is to our own run beside it.

    Attributes:
        contestant: its name.
        short: its name in the summary.
        ours: it is no rival.
        penalises_intercept: it was judged on the problem that it solves.
        tol: the tolerance it ran at; None where it gave no answer.
        suboptimality: what it reached; None where it gave no answer.
        reached: whether that is within the target.
        settled: whether the tolerance is known to be the loosest that does.
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


def race(problem: Problem, contestants: list[Contestant], rules: Rules, tell: Tell) -> list[Timing]:
    """Time every contestant in turn with the first.

    Args:
        problem: the data.
        contestants: ours first.
        rules: what they must keep to.
        tell: called with what is going on.
    """
    if not contestants:
        return []
    field = _Field([], [])
    for contestant in contestants:
        tell(f"warming up {contestant.name}")
        with field.dropping(contestant):
            field.entrants.append(warm_up(problem, contestant, rules.patience))
    tell("finding the optimum")
    references = references_for(problem, field.entrants, rules.target)
    for entrant in list(field.entrants):
        tell(f"calibrating {entrant.contestant.name}")
        reference = references[entrant.contestant.penalises_intercept]
        with field.dropping(entrant.contestant):
            entrant.calibration = calibrate(entrant, reference, rules)
    field.entrants = [entrant for entrant in field.entrants if entrant.calibration]
    judge_again(field.entrants, references, rules.target)
    timings = [*_time_all(field.entrants, contestants[0], rules, tell), *field.dropped]
    return sorted(
        timings, key=lambda timing: [c.name for c in contestants].index(timing.contestant)
    )


@dataclass
class _Field:
    """Who is still in the race, and who dropped out."""

    entrants: list[Entrant]
    dropped: list[Timing]

    @contextmanager
    def dropping(self, contestant: Contestant) -> Iterator[None]:
        """One that cannot do the problem is told with its reason, and the others go on."""
        try:
            yield
        except Exception as error:
            note = f"{type(error).__name__}: {error}"
            self.dropped.append(
                Timing(contestant.name, contestant.short, contestant.ours, note=note)
            )


def _time_all(entrants: list[Entrant], first: Contestant, rules: Rules, tell: Tell) -> list[Timing]:
    """All against the first, if that is ours and was accurate enough; else each by itself."""
    yardstick = next((e for e in entrants if e.contestant is first and first.ours), None)
    if yardstick and not _judged(yardstick).reached:
        yardstick = None
    timings = []
    for entrant in entrants:
        tell(f"timing {entrant.contestant.name}")
        timings.append(_time(entrant, yardstick, rules))
    return timings


def _time(entrant: Entrant, yardstick: Entrant | None, rules: Rules) -> Timing:
    """In pairs with the yardstick; one that fell short keeps the time it took to do so."""
    timing = _judged(entrant)
    if not timing.reached:
        return timing
    if yardstick is None:
        return replace(timing, seconds=_turn(entrant))
    pairs = _interleave(entrant, yardstick, rules)
    ratios = sorted(theirs / ours for theirs, ours in pairs)
    return replace(
        timing,
        seconds=statistics.median(theirs for theirs, _ in pairs),
        ratio=statistics.median(ratios),
        spread=(ratios[0], ratios[-1]),
    )


def _judged(entrant: Entrant) -> Timing:
    contestant, calibration = entrant.contestant, entrant.calibration
    assert calibration is not None
    finite = calibration.suboptimality < inf
    return Timing(
        contestant=contestant.name,
        short=contestant.short,
        ours=contestant.ours,
        penalises_intercept=contestant.penalises_intercept,
        tol=calibration.tol,
        suboptimality=calibration.suboptimality if finite else None,
        reached=calibration.reached,
        settled=calibration.settled,
        first_seconds=entrant.first_seconds,
        seconds=calibration.seconds,
        note="" if finite else "diverged",
    )


def _interleave(one: Entrant, other: Entrant, rules: Rules) -> list[tuple[float, float]]:
    """Seconds of the two in turn, the order changing; fewer pairs of what is very slow."""
    pairs: list[tuple[float, float]] = []
    while len(pairs) < rules.repeats and sum(map(sum, pairs)) < rules.patience:
        if len(pairs) % 2:
            first = _turn(one)
            pairs.append((first, _turn(other)))
        else:
            second = _turn(other)
            pairs.append((_turn(one), second))
    return pairs


def _turn(entrant: Entrant) -> float:
    """Seconds of one warm fit, after a rest."""
    assert entrant.calibration is not None
    time.sleep(_REST)
    return turn(entrant.fit, entrant.calibration.tol, entrant.max_steps)
