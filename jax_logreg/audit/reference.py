r"""Reference derivatives at random points: autodiff or finite differences, and their accuracy.

At the optimum a gradient of the wrong sign is as small as the right one. So the points
lie away from it, on the scale on which the function changes: for a function of logits,
where these are a few units in every row, whatever the units of the columns.

The effect of round-off on an entry is measured, not assumed: every datum and every
parameter is changed by a relative amount ε of random sign, and the root mean square of
the change of the entry, over ε, is its *sensitivity* S. Any careful formula has an error
of some units of round-off times S, whatever the scale of the columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.linear_predictor import SplitLoss, column_norms
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.traced import TracedFunction, run_in_batches

# Entries of a batch that is computed in one call, and the number of points in one.
_MAX_BATCH_ENTRIES = 4_000_000
_BATCH_POINTS = 8
# Above this many entries the sensitivity is measured with fewer samples.
_MANY_ENTRIES = 100_000
# Distance of each moderate point from the centre, and of each extreme one, in scales of θ.
_DISTANCES = np.array([[0.6], [1.0], [0.1], [1.6]])
_EXTREMES = np.array([[6.0], [24.0], [1e4]])
# Standard deviation of a logit at distance 1: probabilities between about 0.05 and 0.95.
_LOGIT_DEVIATION = 1.5


class AuditPoints(NamedTuple):
    """Points at which a function is audited: flat vectors in float64.

    Attributes:
        moderate: the last one is the user's own point.
        extreme: far out along the direction of the first.
        scale: of every coordinate, (P,).
        ray: that direction, (P,), of length one in units of the scale's distances.
    """

    moderate: list[np.ndarray]
    extreme: list[np.ndarray]
    scale: np.ndarray
    ray: np.ndarray


def draw_points(
    at: np.ndarray,
    split: SplitLoss | None,
    is_usable: Callable[[np.ndarray], bool],
    seed: int,
    dtype: str,
    shrink: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> AuditPoints:
    """Draw points around ``at`` at which the function is finite.

    Args:
        at: the user's point, flat.
        split: the function, split at its logits, if it has any.
        is_usable: whether the function is finite at a point.
        seed: of the draw.
        dtype: points are rounded to it, so that both precisions see the same ones.
        shrink: (centre, scale) ↦ a smaller scale, on which the function changes.
    """
    rng = np.random.default_rng(seed)
    centre, scale = _centre_and_scale(at, split, rng)
    scale = scale if shrink is None else shrink(centre, scale)

    steps = scale * rng.normal(size=(len(_DISTANCES), at.size)) * _DISTANCES
    moderate = [_usable_point(centre, at, step, is_usable) for step in steps]
    direction = (_rounded(moderate[0], dtype) - centre) / _DISTANCES[0]
    extreme = centre + _EXTREMES * direction
    return AuditPoints(
        list(_rounded([*moderate, at], dtype)), list(_rounded(extreme, dtype)), scale, direction
    )


def _rounded(points: Any, dtype: str) -> np.ndarray:
    return np.asarray(points).astype(dtype).astype(np.float64)


def _usable_point(
    centre: np.ndarray, at: np.ndarray, step: np.ndarray, is_usable: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """centre + step, or a point ever nearer to the user's own until the function is finite."""
    if is_usable(centre + step):
        return centre + step
    for shrink in (1.0, 0.3, 0.1, 0.01, 1e-3):
        for sign in (1, -1):
            point = at + sign * shrink * step
            if is_usable(point):
                return point
    return at


def _centre_and_scale(
    at: np.ndarray, split: SplitLoss | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    largest = float(np.max(np.abs(at), initial=0.0))
    scale = np.where(at != 0, 0.5 * np.abs(at), 0.5 * largest if largest else 1.0)
    if split is None:
        return at, scale
    shape = split.shape
    classes = max(min(shape[-2:]), 1) if len(shape) > 1 else 1
    # Root mean square of every column of X; below, how many coordinates change one logit.
    column = column_norms(split.vjp_to_parameters, shape, rng) / np.sqrt(np.prod(shape) / classes)
    known = (column > 0) & ~(column < 1e-14 * np.max(column, initial=0.0))
    per_logit = max(1.0, np.sum(known) / classes)
    per_column = _LOGIT_DEVIATION / np.where(known, column, 1) / np.sqrt(per_logit)
    return np.where(known, 0.0, at), np.where(known, per_column, scale)


def gradient(f: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """Gradient of a scalar function, (P,); forward mode for loops that reverse mode refuses."""

    def scalar(t: jax.Array) -> jax.Array:
        return f(t).reshape(())

    try:
        return jax.grad(scalar)(theta)
    except ValueError:
        return jax.jacfwd(scalar)(theta)


def directional_derivative(
    slope: Callable[[jax.Array], jax.Array], at: jax.Array, vector: jax.Array
) -> jax.Array:
    """Derivative of a gradient along a vector; in reverse mode for a ``custom_vjp``."""
    try:
        return jax.jvp(slope, (at,), (vector,))[1]
    except TypeError:
        return jax.grad(lambda x: jnp.vdot(slope(x), vector))(at)


def hvp(f: Callable[..., Any], theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times a vector, (P,)."""
    return directional_derivative(lambda t: gradient(f, t), theta, vector)


def hessian(f: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """Second derivatives, (P, P)."""
    return jax.vmap(lambda v: hvp(f, theta, v))(jnp.eye(theta.size, dtype=theta.dtype))


def hessian_diagonal(f: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """The second derivative along every coordinate, (P,)."""
    return jnp.diagonal(hessian(f, theta))


def jacobian(f: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """First derivatives of a function with M values, (M, P)."""

    def flat(t: jax.Array) -> jax.Array:
        return jnp.ravel(f(t))

    tall = jax.eval_shape(flat, theta).size >= theta.size
    try:
        return (jax.jacfwd if tall else jax.jacrev)(flat)(theta)
    except TypeError:  # a custom_vjp has reverse mode only
        return jax.jacrev(flat)(theta)


DERIVATIVE: dict[str, Callable[..., jax.Array]] = {
    **{f.__name__: f for f in (gradient, hvp, hessian, jacobian)},
    DIAGONAL: hessian_diagonal,
}

Vectors = tuple[np.ndarray, ...]
BatchedFunction = Callable[[np.ndarray], np.ndarray]


class ReferenceValue(NamedTuple):
    """A derivative at one point; all arrays of one shape.

    Attributes:
        vectors: its arguments, θ and for an hvp v.
        expected: the derivative.
        sensitivity: S of every entry; zero for finite differences.
        error: bound on the reference's own error.
    """

    vectors: Vectors
    expected: np.ndarray
    sensitivity: np.ndarray
    error: np.ndarray | float


@dataclass(frozen=True)
class Autodiff:
    """Derivatives of a traced function by JAX, in float64."""

    function: TracedFunction
    name = "autodiff"

    def __call__(self, kind: str, *vectors: np.ndarray) -> np.ndarray:
        """A derivative at flat vectors."""
        return self.at_rows(kind, *(v[None] for v in vectors))[0]

    def at_rows(self, kind: str, *stacks: np.ndarray) -> np.ndarray:
        """A derivative at every row of stacked vectors."""
        small = self._entries(kind) * _BATCH_POINTS <= _MAX_BATCH_ENTRIES
        static = (("kind", kind), ("vectorised", small))
        size = _BATCH_POINTS if small else len(stacks[0])
        return run_in_batches(self.function, _at_rows, size, *stacks, static=static)

    def reference_values(self, kind: str, places: list[Vectors]) -> list[ReferenceValue]:
        """A derivative at several points, each with its sensitivity."""
        stacks = tuple(np.stack(rows) for rows in zip(*places, strict=True))
        exact = self.at_rows(kind, *stacks)
        sensitivity = self._sensitivity(kind, stacks, exact)
        return [
            ReferenceValue(*values, 0.0) for values in zip(places, exact, sensitivity, strict=True)
        ]

    def _sensitivity(self, kind: str, stacks: Vectors, exact: np.ndarray) -> np.ndarray:
        """S of every entry: root mean square change per relative change of all data."""
        rng = np.random.default_rng(1)
        amount = max(2.0**-22, 2.0**7 * self.function.max_eps)
        samples = 8 if exact.size <= _MANY_ENTRIES else 4 if exact.size <= 10 * _MANY_ENTRIES else 2
        total = np.zeros(exact.shape)
        for _ in range(samples):
            near = [v * (1 + amount * (rng.integers(0, 2, v.shape) * 2.0 - 1)) for v in stacks]
            change = Autodiff(self.function.perturbed(rng, amount)).at_rows(kind, *near) - exact
            total += np.where(np.isfinite(change), change, 0.0) ** 2
        return np.sqrt(total / samples) / amount

    def _entries(self, kind: str) -> int:
        """Roughly how many numbers one derivative holds in memory."""
        data = sum(int(np.size(c)) for c in self.function.constants)
        theta = self.function.argument_size
        rows = theta if kind in ("hessian", DIAGONAL, "jacobian") else 1
        return data + rows * (theta + data // max(theta, 1))


def _at_rows(
    function: TracedFunction, *stacks: jax.Array, kind: str, vectorised: bool
) -> jax.Array:
    def one(row: tuple[jax.Array, ...]) -> jax.Array:
        return DERIVATIVE[kind](function, *row)

    return jax.vmap(one)(stacks) if vectorised else jax.lax.map(one, stacks)


def batched(function: TracedFunction) -> BatchedFunction:
    """A traced function at the rows of an array, as many at a time as memory allows."""
    heaviest = max([function.argument_size, *(np.size(c) for c in function.constants)])
    rows = max(1, min(64, _MAX_BATCH_ENTRIES // heaviest))
    return partial(run_in_batches, function, _values_at_rows, rows)


def _values_at_rows(function: TracedFunction, points: jax.Array) -> jax.Array:
    values = jax.vmap(function)(points)
    single = int(np.prod(values.shape[1:], dtype=int)) == 1
    return values.reshape(len(points)) if single else values


def round_off_units(longest_axis: int) -> float:
    """How many units of round-off, times S, a right formula may be off.

    Sums of n terms in any order err by up to about √n units; the rest is room for
    formulas that take a detour.

    >>> round_off_units(100)
    224.0
    """
    return 16.0 * (4.0 + float(np.sqrt(longest_axis)))
