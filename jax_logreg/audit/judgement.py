"""Judgement: disagreements with the reference that are no mistake of the formula.

A value may be flattened far out by its own guard; and a derivative may be a numerical one.
"""

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from jax_logreg.audit.compare_entries import DerivativeComparison, PointComparison
from jax_logreg.audit.differences import STEP
from jax_logreg.audit.findings import WARNING, Finding
from jax_logreg.audit.match import EXPLAINED, Diagnosis
from jax_logreg.audit.reference import AuditPoints, BatchedFunction
from jax_logreg.audit.user_calls import UserFunction

# A slope along the ray that is below this part of the one by hand is no slope.
_NO_SLOPE = 1e-3
# And the slope of the few rows whose logits do not grow along the ray.
_FEW_ROWS = 2e-2
# So many moderate points must be right for the others to be forgiven.
_LEAST_RIGHT = 2
# Step of differences at the last extreme point, in units of the ray: over it single rows are few.
_LONG_STEP = 100.0
# A numerical derivative: errors up to this part of the largest entry where there is evidence, or
# without it. Numbers are rough if a change of θ of this size moves them by this part of the error.
_NUMERICAL, _WITHOUT_EVIDENCE = 1e-2, 1e-5
_TINY_STEP, _ROUGH = 1e-10, 0.05
# Steps that people take; up to so many parameters they are tried; and agreement with what they
# give, relative to the error that is to be explained.
_USUAL_STEPS = (*(10.0 ** -np.arange(2, 11)), 2.0**-26)
_MOST_STEPPED, _SAME_DIFFERENCES = 200, 1e-2
# Diagnoses that say where, not what.
_PLACES = {"unknown", "block", "coordinate", "large-logits"}


def is_guarded(values: BatchedFunction, points: AuditPoints, slopes: np.ndarray) -> bool:
    """Whether far out a value has no slope but that of an L2 penalty.

    So it is with ``log(h + 1e-15)`` and with clipped logits or probabilities. A value that is
    made to grow slower, as Huber's loss is, keeps its slope.

    Args:
        values: at the rows of an array.
        points: of the audit.
        slopes: along the ray, nearer than the last extreme point.
    """
    there = points.extreme[-1]
    outside = [there, there + (there - points.moderate[0])]
    one, two = _slopes(values, outside, points.ray, _LONG_STEP)
    return bool(abs(two - 2 * one) <= _FEW_ROWS * (np.abs(slopes).max() + abs(one)))


def _slopes(
    values: BatchedFunction, points: list[np.ndarray], ray: np.ndarray, step: float
) -> np.ndarray:
    """Slopes of a function, or of the first of its numbers, along the ray at several points."""
    centres, steps = np.stack(points), step * ray
    found = values(np.concatenate([centres + steps, centres - steps]))
    return np.subtract(*found.reshape(2, len(points), -1)[:, :, 0]) / (2 * step)


def forgive_flat_value(
    found: DerivativeComparison, points: AuditPoints, values: BatchedFunction
) -> None:
    """Warn instead where entries differ only because the value has gone flat by its own guard."""
    wrong = [point for point in found.moderate + found.extreme if point.wrong.any()]
    num_right = sum(not point.wrong.any() for point in found.moderate)
    if not wrong or num_right < _LEAST_RIGHT or not points.extreme:
        return
    nearer = [points.moderate[0], *points.extreme[:-1]]
    slopes = _slopes(values, nearer, points.ray, STEP)
    if is_guarded(values, points, slopes) and _are_flatter(wrong, found.extreme):
        for point in wrong:
            point.wrong[...] = False
        found.findings.append(flat_value(found.name))


def flat_value(name: str) -> Finding:
    """The warning."""
    text = f"far out the value is flatter than its {name} says, as a logarithm with + 1e-15 or a clipped logit is: there its own guard is off, not the {name}."  # noqa: E501
    return Finding("flat-value", WARNING, name, text)


def _are_flatter(wrong: list[PointComparison], extreme: list[PointComparison]) -> bool:
    """Whether outward the value grows less than by hand at every one of the points."""
    if not extreme:
        return False
    growth = np.sign(_along(extreme[-1].hand, extreme[-1].theta))
    return all(
        bool(np.all(is_flatter(_along(p.expected, p.theta), _along(p.hand, p.theta), growth)))
        for p in wrong
    )


def is_flatter(expected: np.ndarray, hand: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """Whether slopes outward are smaller than by hand, in the direction in which it grows."""
    return growth * (hand - expected) >= -_NO_SLOPE * np.abs(hand)


def _along(derivative: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The product with θ, along which logits grow; of a Hessian from both sides."""
    found = np.asarray(derivative @ theta)
    return found @ theta if found.shape == theta.shape else found


def forgive_numerical(
    found: DerivativeComparison,
    function: UserFunction,
    others: list[Callable[..., Any]],
    differenced: BatchedFunction | None,
    diagnoses: list[Diagnosis],
) -> bool:
    """Warn instead where a derivative that nothing explains is a numerical one.

    Args:
        found: the comparison; its wrong entries are forgiven.
        function: the derivative.
        others: the user's other functions: numerical differentiation calls one of them.
        differenced: at the rows of an array, the function whose differences it may be.
        diagnoses: what explains the numbers, least complex first.
    """
    points = [point for point in found.moderate + found.extreme if point.wrong.any()]
    if not points or (diagnoses and diagnoses[0].complexity <= EXPLAINED):
        return False
    errors = _relative_errors(points)
    error = float(np.max(errors))
    if not np.median(errors) <= _NUMERICAL:
        return False
    # Where a derivative jumps, differences are far off, and still differences.
    worst = points[int(np.argmax(errors))]
    what = differenced and _which_differences(worst, differenced)
    if error > _NUMERICAL and not what:
        return False
    is_evident = (
        what
        or _calls_again(function, others, points[0])
        or all(_is_rough(function, point) for point in points)
    )
    is_named = any(diagnosis.kind not in _PLACES for diagnosis in diagnoses)
    if not is_evident and (is_named or error > _WITHOUT_EVIDENCE):
        return False
    for point in points:
        point.wrong[...] = False
    size = 10.0 ** np.ceil(np.log10(error))
    what = f"it is {what}" if what else "it looks like finite differences"
    text = f"{found.name} is approximate, to about {size:.0e}: {what}."
    found.findings.append(Finding("approximate", WARNING, found.name, text))
    return True


def _which_differences(point: PointComparison, differenced: BatchedFunction) -> str:
    """The finite differences that a derivative is, in words; "" if it is none that is tried."""
    size = point.theta.size
    if point.vector is not None or size > _MOST_STEPPED:
        return ""
    centre = differenced(point.theta[None])
    for step in _USUAL_STEPS:
        ahead, behind = (differenced(point.theta + s * np.eye(size)) for s in (step, -step))
        for name, found in (
            ("forward", (ahead - centre) / step), ("central", (ahead - behind) / (2 * step)),
            ("backward", (centre - behind) / step),
        ):  # fmt: skip
            off = np.abs(found.reshape(size, -1).T.reshape(point.hand.shape) - point.hand)
            if np.max(off) <= _SAME_DIFFERENCES * _error(point):
                return f"{name} differences with a step of {step:.3g}"
    return ""


def _relative_errors(points: list[PointComparison]) -> np.ndarray:
    """Of the largest entry at each point; at a stationary point, of a tenth of the usual one."""
    sizes = np.array([np.max(np.abs(point.expected), initial=0.0) for point in points])
    sizes = np.maximum(sizes, 0.1 * np.median(sizes))
    errors = np.array([_error(point) for point in points])
    return errors / np.where(sizes > 0, sizes, 1.0)


def _error(point: PointComparison) -> float:
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(point.hand - point.expected)[point.wrong]))


def _calls_again(
    function: UserFunction, others: list[Callable[..., Any]], point: PointComparison
) -> bool:
    """Whether one evaluation calls another of the user's functions for every coordinate."""
    codes = {code for code in map(_code_of, others) if code is not None}
    count = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code in codes

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function.attempt(*point.vectors, dtype="float64")
    finally:
        sys.setprofile(before)
    return count > max(1, point.theta.size if point.vector is None else 1)


def _code_of(function: Callable[..., Any]) -> CodeType | None:
    for inner in (function, getattr(function, "__func__", None), type(function).__call__):
        code = getattr(inner, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


def _is_rough(function: UserFunction, point: PointComparison) -> bool:
    """Whether the answer jumps between points that are nearly one."""
    rng, theta = np.random.default_rng(0), point.theta
    size = np.abs(theta) + (np.max(np.abs(theta)) or 1.0)
    changes = []
    for _ in range(3):
        near = theta + _TINY_STEP * size * rng.normal(size=theta.size)
        answer = function.attempt(near, *point.vectors[1:], dtype="float64")
        if answer is None:
            return False
        changes.append(np.abs(answer - point.hand)[point.wrong].max())
    return float(np.median(changes)) > _ROUGH * _error(point)
