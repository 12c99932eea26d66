"""The third witness: differences of the value over a sweep of steps, and the complex step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.program import Program, run

# Relative steps of the sweep, large to small.
STEPS = 10.0 ** -np.arange(0.5, 11.1, 0.75)
_DIRECTIONS = 6
_EVERY_COORDINATE = 256


class Sweep(NamedTuple):
    """How central differences approach a slope.

    Attributes:
        steps: relative to the scale of the point.
        errors: against the reference, largest over the directions, relative.
        best_step: where the error is least.
        best_error: there.
        slope: of log error against log step where truncation rules; 2 is right for a
            smooth function, about 0 says that the reference is wrong. NaN if too few.
        coordinates: how many coordinates were tried one by one at the best step.
        worst_coordinate: largest relative difference among these, and its index.
        complex_error: the same by the complex step; NaN where the value does not allow it.
    """

    steps: np.ndarray
    errors: np.ndarray
    best_step: float
    best_error: float
    slope: float
    coordinates: int
    worst_coordinate: tuple[float, int]
    complex_error: float


def sweep(
    many: Callable[[np.ndarray], np.ndarray],
    value: Callable[[Any], Any],
    theta: np.ndarray,
    scale: np.ndarray,
    slope: np.ndarray,
    seed: int,
) -> Sweep:
    """Hold a slope against differences of the value.

    Args:
        many: values at the rows of an array.
        value: at one point, for the complex step.
        theta: where.
        scale: of every coordinate; a step is relative to it.
        slope: the gradient to be tried, (P,).
        seed: of the directions.
    """
    rng = np.random.default_rng(seed)
    directions = scale * rng.normal(size=(_DIRECTIONS, theta.size)) / np.sqrt(theta.size)
    expected = directions @ slope
    size = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    found = np.stack([_central(many, theta, directions * h) / h for h in STEPS])
    errors = np.max(np.abs(found - expected), axis=1) / size
    errors = np.where(np.isfinite(errors), errors, np.inf)
    best = int(np.argmin(errors))
    count, worst = _coordinates(many, theta, scale, slope, float(STEPS[best]))
    return Sweep(
        STEPS, errors, float(STEPS[best]), float(errors[best]), _fitted_slope(errors, best),
        count, worst, _complex_step(value, theta, directions, expected, size),
    )  # fmt: skip


def _central(
    many: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, moves: np.ndarray
) -> np.ndarray:
    values = many(np.concatenate([theta + moves, theta - moves]))
    return (values[: len(moves)] - values[len(moves) :]) / 2


def _fitted_slope(errors: np.ndarray, best: int) -> float:
    """Of the steps above the best one: there round-off does not count yet."""
    steps, errors = np.log10(STEPS[:best]), errors[:best]
    kept = np.isfinite(errors) & (errors > 0)
    kept &= errors < 0.1
    if kept.sum() < 3:
        return float("nan")
    return float(np.polyfit(steps[kept], np.log10(errors[kept]), 1)[0])


def _coordinates(
    many: Callable[[np.ndarray], np.ndarray],
    theta: np.ndarray,
    scale: np.ndarray,
    slope: np.ndarray,
    step: float,
) -> tuple[int, tuple[float, int]]:
    if theta.size > _EVERY_COORDINATE:
        return 0, (float("nan"), -1)
    found = _central(many, theta, np.diag(scale * step)) / step
    difference = np.abs(found - slope * scale)
    difference /= float(np.max(np.abs(slope * scale), initial=0.0)) or 1.0
    worst = int(np.argmax(difference))
    return theta.size, (float(difference[worst]), worst)


def _complex_step(
    value: Callable[[Any], Any],
    theta: np.ndarray,
    directions: np.ndarray,
    expected: np.ndarray,
    size: float,
) -> float:
    """Im F(θ + i h d) / h: exact to round-off where F is analytic and takes complex θ."""
    h = 1e-40
    try:
        real = complex(value(jnp.asarray(theta, complex)))
        found = [complex(value(jnp.asarray(theta + 1j * h * d))).imag / h for d in directions]
    except Exception:  # no complex numbers in this function: that is an answer
        return float("nan")
    error = float(np.max(np.abs(np.asarray(found) - expected))) / size
    # abs, max and comparisons take complex numbers but are not analytic.
    return error if error < 1e-6 and np.isfinite(real) else float("nan")


def extrapolate(
    many: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives along directions by Richardson's extrapolation, and what each may be off.

    Args:
        many: values at the rows of an array: numbers or arrays.
        theta: where, (P,).
        directions: (d, P), of the length of a step over which the function changes.

    Returns:
        Two arrays (d, …): derivative and estimated error.
    """
    best = error = None
    previous: list[np.ndarray] = []
    for k in range(8):
        h = 0.2 * 0.4**k
        row = [_central(many, theta, directions * h) / h]
        for j, coarser in enumerate(previous):
            row.append(row[j] + (row[j] - coarser) / (0.4 ** (-2 * (j + 1)) - 1))
        if k:
            change = np.maximum(np.abs(row[k] - row[k - 1]), np.abs(row[k] - previous[k - 1]))
            change = np.where(np.isfinite(change), change, np.inf)
            better = np.full(change.shape, True) if error is None else change < error
            best = np.where(better, row[k], row[k] if best is None else best)
            error = np.where(better, change, change if error is None else error)
        previous = row
    assert best is not None
    assert error is not None
    return best, error


def batch(program: Program, rows: int) -> Callable[[np.ndarray], np.ndarray]:
    """A traced value over the rows of an array, so many at a time."""

    def many(points: np.ndarray) -> np.ndarray:
        missing = -len(points) % rows
        padded = np.concatenate([points, np.repeat(points[:1], missing, axis=0)])
        parts = padded.reshape(-1, rows, padded.shape[1])
        return np.concatenate([np.asarray(run(program, _at_rows, p)) for p in parts])[: len(points)]

    return many


def _at_rows(program: Program, points: jax.Array) -> jax.Array:
    values = jax.vmap(program)(points)
    single = int(np.prod(values.shape[1:], dtype=int)) == 1
    return values.reshape(len(points)) if single else values
