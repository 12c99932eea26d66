"""Differences: derivatives from the user's own numbers, for a value that JAX cannot differentiate.

Two estimates are made of every first derivative. Differences extrapolated over steps from a
tenth of the scale down have ten digits where the function is smooth. One central difference over
a millionth of the scale has seven, but holds between jumps of the slope too, of which a ReLU
network has thousands; its error is known: the round-off of the function over the step, and the
disagreement of its two sides. Where the estimates contradict each other, the second is believed.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.reference import BatchedFunction, ReferenceValue, Vectors
from jax_logreg.audit.returned import DIAGONAL

# Steps of the extrapolation, relative to the scale, for first and for second derivatives (these
# lose round-off over the square of the step), and their ratio.
_RATIO = 5.0
_FIRST_STEPS = 0.1 / _RATIO ** np.arange(8)
_SECOND_STEPS = 0.05 / _RATIO ** np.arange(4)
_FINE_STEP = 1e-6
# A value with the digits of float32 allows so many of these steps.
_COARSE_LEVELS = 2
# No further step is tried below this error, relative to the largest entry.
_CONVERGED = 1e-11
# Extrapolated differences are trusted to this part of the largest entry, and to this
# multiple of their own estimate of their error.
_BEST_ACCURACY = 1e-9
_ERROR_MARGIN = 30.0
# The step of differences that are not extrapolated, relative to the scale.
STEP = 3e-5
# How far the scale may shrink.
_LEAST_SHRINKAGE = 1e-6
# Directions are remembered for so many numbers of parameters.
_MAX_SIZES = 16
# Round-off is measured over steps of this size; and is at least so many units.
_NOISE_STEP, _LEAST_UNITS = 1e-7, 4.0


class Estimate(NamedTuple):
    """A derivative and a bound on its error: arrays of one shape."""

    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class FiniteDifferences:
    """Derivatives by differences.

    Attributes:
        values: the function at the rows of an array.
        scale: of every coordinate of θ.
        gradients: at the rows of an array, for second derivatives; or None.
    """

    values: BatchedFunction
    scale: np.ndarray
    gradients: BatchedFunction | None
    name = "differences"

    def reference_values(self, kind: str, places: list[Vectors]) -> list[ReferenceValue]:
        """A derivative at several points, with the error that the differences may have."""
        found = [self.at(kind, *vectors) for vectors in places]
        # At a stationary point everything is zero: take the size from the other points.
        usual = np.median([_size(f.expected) for f in found])
        return [f._replace(error=f.error + _BEST_ACCURACY * usual) for f in found]

    def at(self, kind: str, *vectors: np.ndarray) -> ReferenceValue:
        """The same at one point."""
        found, error = self._estimate(kind, *vectors)
        error = error + _BEST_ACCURACY * _size(found)
        return ReferenceValue(vectors, found, np.zeros(found.shape), error)

    def num_calls(self, kind: str) -> int:
        """About how many values, or gradients, a derivative at one point takes."""
        size = len(self.scale)
        if kind in ("gradient", "jacobian", DIAGONAL) or (
            kind == "hessian" and self.gradients is not None
        ):
            return 12 * size
        return 12 * (size if kind == "hvp" else size * (size + 1) // 2)

    def _estimate(self, kind: str, theta: np.ndarray, *vector: np.ndarray) -> Estimate:
        directions = np.diag(self.scale)
        if kind == "gradient":
            return _divided(first_derivatives(self.values, theta, directions), self.scale)
        if kind == "jacobian":  # values of any shape, flattened
            found = first_derivatives(self.values, theta, directions)
            found = Estimate(*(x.reshape(len(theta), -1).T for x in found))
            return _divided(found, self.scale)
        if kind == DIAGONAL and self.gradients is None:
            found = second_derivatives(self.values, theta, directions, directions)
            return _divided(found, self.scale**2)
        if self.gradients is None:
            return self._second_derivatives(theta, *vector)
        if vector:
            found = first_derivatives(self.gradients, theta, vector[0][None])
            return Estimate(*(x[0] for x in found))
        found = _divided(first_derivatives(self.gradients, theta, directions), self.scale[:, None])
        return Estimate(*map(np.diagonal, found)) if kind == DIAGONAL else found

    def _second_derivatives(self, theta: np.ndarray, *vector: np.ndarray) -> Estimate:
        """Of the value alone: its Hessian, or the product with a vector."""
        size, directions = len(theta), np.diag(self.scale)
        if vector:
            along = np.broadcast_to(vector[0], directions.shape)
            return _divided(second_derivatives(self.values, theta, directions, along), self.scale)
        i, j = np.triu_indices(size)
        found = second_derivatives(self.values, theta, directions[i], directions[j])
        full = Estimate(np.zeros((size, size)), np.zeros((size, size)))
        for matrix, entries in zip(full, found, strict=True):
            matrix[i, j] = matrix[j, i] = entries
        return _divided(full, np.outer(self.scale, self.scale))


def _size(found: np.ndarray) -> float:
    return float(np.max(np.abs(found), initial=0.0, where=np.isfinite(found)))


def _divided(found: Estimate, scale: np.ndarray) -> Estimate:
    return Estimate(found.value / scale, found.error / scale)


def first_derivatives(
    values: BatchedFunction, theta: np.ndarray, directions: np.ndarray
) -> Estimate:
    """Derivatives along directions, also where the slope jumps near the point.

    Args:
        values: a function at the rows of an array: numbers or arrays.
        theta: the point, (P,).
        directions: (d, P), each as long as a step over which the function changes.

    Returns:
        Derivatives and bounds on their errors, (d, …) each.
    """

    def sample(step: float, active: np.ndarray) -> np.ndarray:
        return central_differences(values, theta, directions[active] * step) / step

    level = values(theta[None])[0]
    steps = _FIRST_STEPS[:_COARSE_LEVELS] if _is_coarse(level) else _FIRST_STEPS
    smooth = extrapolate(sample, steps, len(directions))
    if _is_coarse(level):
        smooth = smooth._replace(error=smooth.error + _granularity(level) / steps[-1])
    fine = _over_fine_steps(values, theta, directions)
    with np.errstate(invalid="ignore"):
        near = np.abs(smooth.value - fine.value) <= smooth.error + fine.error
    near |= ~np.isfinite(fine.value)
    return Estimate(*(np.where(near, a, b) for a, b in zip(smooth, fine, strict=True)))


def _over_fine_steps(
    values: BatchedFunction, theta: np.ndarray, directions: np.ndarray
) -> Estimate:
    """Central differences over a tiny step, within the disagreement of the two sides."""
    _, slope, jump = two_sides(values, theta, _FINE_STEP, directions)
    noise = round_off(values, theta, directions.sum(axis=0)) / _FINE_STEP
    return Estimate(slope, jump + noise)


def two_sides(
    values: BatchedFunction, theta: np.ndarray, step: float, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The function at a point, its central differences, and how far its two sides disagree."""
    centre, ahead, behind = _beside(values, theta, step * directions)
    forward, backward = (ahead - centre) / step, (centre - behind) / step
    return centre, (forward + backward) / 2, np.abs(forward - backward)


def _beside(
    values: BatchedFunction, theta: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A function at θ, and at θ + step and θ − step for the rows of steps."""
    found = values(np.concatenate([theta[None], theta + steps, theta - steps]))
    return found[0], found[1 : 1 + len(steps)], found[1 + len(steps) :]


def _eps(level: np.ndarray) -> float:
    """Unit round-off of a value, which may be float32 where θ is float64."""
    return float(np.finfo(level.dtype if level.dtype.kind == "f" else float).eps)


def _is_coarse(level: np.ndarray) -> bool:
    return _eps(level) > float(np.finfo(float).eps)


def _granularity(level: np.ndarray) -> np.ndarray:
    return _LEAST_UNITS * _eps(level) * np.abs(level.astype(float))


def round_off(values: BatchedFunction, theta: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The absolute error of a function by round-off, of the shape of its value.

    Fourth differences over steps so small that nothing but round-off is left.
    """
    row = values(theta + _NOISE_STEP * np.arange(7)[:, None] * direction)
    fourth = np.abs(np.diff(row, n=4, axis=0)).max(axis=0) / np.sqrt(70)
    least = _LEAST_UNITS * np.finfo(float).eps * np.abs(row).max(axis=0)
    return np.maximum(4 * np.nan_to_num(fourth), np.nan_to_num(least))


def second_derivatives(
    values: BatchedFunction, theta: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Estimate:
    """uᵀ ∇²F v for pairs of directions, (d, P) each, from four values a pair and step.

    Returns:
        Second derivatives and estimated errors, (d,) each.
    """

    def sample(step: float, active: np.ndarray) -> np.ndarray:
        u, v = step * first[active], step * second[active]
        return mixed_differences(values, theta, u, v) / step**2

    level = values(theta[None])[0]
    if not _is_coarse(level):
        return extrapolate(sample, _SECOND_STEPS, len(first))
    steps = _SECOND_STEPS[:_COARSE_LEVELS]
    found = extrapolate(sample, steps, len(first))
    return found._replace(error=found.error + _granularity(level) / steps[-1] ** 2)


def mixed_differences(
    values: BatchedFunction, theta: np.ndarray, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """uᵀ ∇²F v of the rows of u and v by central differences, (d,)."""
    found = values(np.concatenate([theta + s * u + t * v for s in (1, -1) for t in (1, -1)]))
    both, one, other, neither = found.reshape(4, len(u), *found.shape[1:])
    return (both - one - other + neither) / 4


def shrink_to_curvature(
    values: BatchedFunction, theta: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """A scale on which a function changes by about itself: √(F / (P |∂²F|)), or the one given.

    Without it a column of large numbers would carry every logit to where the loss is flat.
    """
    size = np.max(np.abs(values(theta[None])[0]), initial=0.0)
    along = scale * sign_directions(len(theta))
    if not size or np.max(_curvatures(values, theta, along)) <= size:
        return scale  # along all coordinates together it changes no more
    curvature = _curvatures(values, theta, np.diag(scale))
    limit = np.sqrt(size / np.maximum(len(theta) * curvature, 1e-300))
    return scale * np.clip(limit, _LEAST_SHRINKAGE, 1.0)


@functools.lru_cache(_MAX_SIZES)
def sign_directions(size: int) -> np.ndarray:
    """Two directions along which all coordinates change, by random signs, (2, P)."""
    return np.random.default_rng(0).choice([-1.0, 1.0], (2, size))


def _curvatures(values: BatchedFunction, theta: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """|Second derivatives| along directions, (d,): of several values the largest."""
    centre, ahead, behind = _beside(values, theta, STEP * directions)
    change = np.fmax(np.abs(ahead - 2 * centre + behind) - _granularity(centre), 0)  # 0 for NaN
    return change.reshape(len(directions), -1).max(axis=1) / STEP**2


def central_differences(
    values: BatchedFunction, theta: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Half the change of a function from θ − step to θ + step, for the rows of steps."""
    found = values(np.concatenate([theta + steps, theta - steps]))
    return (found[: len(steps)] - found[len(steps) :]) / 2


def extrapolate(
    sample: Callable[[float, np.ndarray], np.ndarray], steps: np.ndarray, count: int
) -> Estimate:
    """Richardson's extrapolation of differences whose error is a series in step².

    Args:
        sample: (step, mask) ↦ the differences that the mask chooses.
        steps: falling by _RATIO.
        count: of the differences.

    Returns:
        Limits, and estimated errors: what the best level changed.
    """
    active = np.ones(count, bool)
    previous = [sample(steps[0], active)]
    best, error = np.array(previous[0]), np.full(np.shape(previous[0]), np.inf)
    for step in steps[1:]:
        row = [sample(step, active)]
        for j, coarser in enumerate(previous):
            row.append(row[j] + (row[j] - coarser) / (_RATIO ** (2 * (j + 1)) - 1))
            _keep_better(best, error, active, row[j + 1], (row[j], coarser))
        size = max(_size(best), 1e-300)
        going = (error[active] > _CONVERGED * size).reshape(int(active.sum()), -1).any(axis=1)
        if not going.any():
            break
        previous = [level[going] for level in row]
        active[active] = going
    return Estimate(best, np.where(np.isfinite(error), _ERROR_MARGIN * error, np.inf))


def _keep_better(
    best: np.ndarray,
    error: np.ndarray,
    active: np.ndarray,
    found: np.ndarray,
    parents: tuple[np.ndarray, ...],
) -> None:
    """Take over the estimates of a level that changed less than all before."""
    with np.errstate(invalid="ignore"):
        change = np.maximum(*(np.abs(found - parent) for parent in parents))
    better = change < error[active]  # False for NaN
    best[active] = np.where(better, found, best[active])
    error[active] = np.where(better, change, error[active])
