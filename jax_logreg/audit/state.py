"""Does a function answer by its arguments alone? Memory and chance give themselves away."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from jax_logreg.audit.calls import Caller
from jax_logreg.audit.examine import Examination
from jax_logreg.audit.findings import ERROR, Finding, Unusable
from jax_logreg.audit.points import Points
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.subject import Subject

Answers = dict[str, np.ndarray]


def look_for_state(
    subject: Subject, callers: list[Caller], points: Points, examinations: list[Examination]
) -> Iterator[Finding]:
    """Ask the same again, with other questions between, and something very near.

    Args:
        subject: the value.
        callers: its derivatives.
        points: where they were audited.
        examinations: what they answered then.
    """
    everyone = [subject.caller, *callers]
    first, other = points.moderate[0], points.moderate[1]
    rounds = [_ask_all(everyone, theta) for theta in (first, first, other, first)]
    recorded = {e.name: e.places[0].low for e in examinations if e.places and e.name != "hvp"}
    for name, answer in rounds[0].items():
        again = [r[name] for r in (rounds[1], rounds[3]) if name in r]
        if subject.dtype == "float64" and name in recorded:
            again.append(recorded[name])
        if not all(_alike(answer, later) for later in again):
            text = f"{name} gives another answer when it is asked the same again: it keeps state, or draws random numbers."  # noqa: E501
            yield Finding("hidden-state", ERROR, name, text)
    right = {e.name for e in examinations if not (e.wrong or e.wrong_far_out)}
    answers = {name: answer for name, answer in rounds[0].items() if name in right}
    yield from _look_for_cache(subject, callers, first, answers)


def _ask_all(callers: list[Caller], theta: np.ndarray) -> Answers:
    answers = {}
    for caller in callers:
        with suppress(Unusable):
            answers[caller.name] = caller(theta, *_extra(caller.name, theta), dtype="float64")
    return answers


def _extra(name: str, theta: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.ones(theta.size),) if name == "hvp" else ()


def _look_for_cache(
    subject: Subject, callers: list[Caller], theta: np.ndarray, answers: Answers
) -> Iterator[Finding]:
    """A point very near must have an answer of its own."""
    if subject.program is None:
        return
    autodiff = Autodiff(subject.program)
    near = theta * (1 + 1e-5)
    moved = _ask_all(callers, near)
    for name in sorted(set(moved) & set(answers)):
        extra = _extra(name, theta)
        before, after = autodiff(name, theta, *extra), autodiff(name, near, *extra)
        size = np.abs(before) + subject.natural_size(name, theta, *extra)
        differs = np.abs(after - before) > 1e-8 * size
        if differs.any() and np.array_equal(moved[name], answers[name]):
            text = (
                f"{name} gives the very same answer at a point a hundred-thousandth away: a cache?"
            )
            yield Finding("hidden-state", ERROR, name, text)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two answers are the same but for round-off."""
    if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return False
    finite = np.isfinite(one)
    size = float(np.max(np.abs(one[finite]), initial=0.0))
    return bool(np.all(np.abs(one - other)[finite] <= 1e-5 * size))
