"""The step sweep: autodiff of a value against central differences over a range of steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.audit.differences import central_differences
from jax_logreg.audit.reference import BatchedFunction

# Relative steps of the sweep, large to small; its random directions; and the number of
# coordinates up to which each is tried by itself.
STEPS = 10.0 ** -np.arange(0.5, 11.1, 0.75)
_DIRECTIONS = 6
_MAX_COORDINATES = 256


class StepSweep(NamedTuple):
    """Error of central differences of the value against a slope, over a range of steps.

    Attributes:
        steps: relative to the scale of the point.
        errors: largest over the directions, relative.
        best_step: the step of the least error.
        best_error: that error.
        slope: of log error against log step where truncation dominates; 2 is right for a
            smooth function, about 0 means that the reference is wrong. NaN if too few.
        coordinates: how many coordinates were tried one by one at the best step.
        worst_coordinate: largest relative difference among these, and its index.
        complex_error: the same by the complex step; NaN where the value does not allow it, None
            if it was not tried.

    >>> from jax_logreg.audit.check import check_derivatives
    >>> report = check_derivatives(lambda t: t**3, gradient=lambda t: 3 * t**2, at=1.0)
    >>> round(report.sweep.slope, 1), report.sweep.best_error < 1e-6
    (2.0, True)
    """

    steps: np.ndarray
    errors: np.ndarray
    best_step: float
    best_error: float
    slope: float
    coordinates: int
    worst_coordinate: tuple[float, int]
    complex_error: float | None


def sweep_steps(
    values: BatchedFunction,
    value: Callable[[Any], Any] | None,
    theta: np.ndarray,
    scale: np.ndarray,
    slope: np.ndarray,
    seed: int,
) -> StepSweep:
    """Compare a gradient with central differences of the value, and with the complex step.

    Args:
        values: the function at the rows of an array.
        value: the function at one point, for the complex step; None to leave it out.
        theta: the point.
        scale: of every coordinate; a step is relative to it.
        slope: the gradient, (P,).
        seed: of the directions.
    """
    rng = np.random.default_rng(seed)
    directions = scale * rng.normal(size=(_DIRECTIONS, theta.size)) / np.sqrt(theta.size)
    expected = directions @ slope
    size = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    found = np.stack([central_differences(values, theta, directions * h) / h for h in STEPS])
    errors = np.max(np.abs(found - expected), axis=1) / size
    errors = np.where(np.isfinite(errors), errors, np.inf)
    best = int(np.argmin(errors))
    step = float(STEPS[best])
    coordinates, worst = 0, (float("nan"), -1)
    if theta.size <= _MAX_COORDINATES:
        along = central_differences(values, theta, np.diag(scale * step)) / step
        off = np.abs(along - slope * scale)
        off /= float(np.max(np.abs(slope * scale), initial=0.0)) or 1.0
        coordinates, worst = theta.size, (float(np.max(off)), int(np.argmax(off)))
    return StepSweep(
        STEPS, errors, step, float(errors[best]), _truncation_slope(errors, best),
        coordinates, worst,
        None if value is None else _complex_step_error(value, theta, directions, expected, size),
    )  # fmt: skip


def _truncation_slope(errors: np.ndarray, best: int) -> float:
    """Fitted to the steps above the best one, where round-off does not count yet."""
    steps, errors = np.log10(STEPS[:best]), errors[:best]
    kept = np.isfinite(errors) & (errors > 0)
    kept &= errors < 0.1
    if kept.sum() < 3:
        return float("nan")
    return float(np.polyfit(steps[kept], np.log10(errors[kept]), 1)[0])


def _complex_step_error(
    value: Callable[[Any], Any],
    theta: np.ndarray,
    directions: np.ndarray,
    expected: np.ndarray,
    size: float,
) -> float:
    """Im F(θ + i h d) / h: exact to round-off where F is analytic and takes complex θ."""
    h = 1e-40
    try:
        real = complex(value(theta.astype(complex)))
        found = [complex(value(theta + 1j * h * d)).imag / h for d in directions]
    except Exception:  # a function of real numbers only
        return float("nan")
    error = float(np.max(np.abs(np.asarray(found) - expected))) / size
    # abs, max and comparisons take complex numbers but are not analytic.
    return error if error < 1e-6 and np.isfinite(real) else float("nan")
