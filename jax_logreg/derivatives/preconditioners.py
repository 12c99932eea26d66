r"""Cheap stand-ins for the Hessian, which every iterative solver divides by.

A preconditioner M is positive definite, and ``solve`` applies :math:`M^{-1}`. The nearer
M is to the Hessian, the fewer passes over X a fit takes; the answer is the same.

The bounds rest on Böhning (1992), Ann. Inst. Statist. Math. 44: at every θ

.. math::
    \nabla^2F \preceq c\,(I - \tfrac1K 11^\top) \otimes Z^\top \tilde W Z + \nabla^2P,
    \qquad c = \tfrac12 \text{ (softmax)}, \tfrac14 \text{ (sigmoid, without the classes)},

so that one inverse serves every class and every step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.typing import DTypeLike

from jax_logreg.derivatives.assembly import bordered_gram, penalty_curvature
from jax_logreg.derivatives.row_blocks import Made, pass_over
from jax_logreg.objective.dense_features import column_squares, precision
from jax_logreg.objective.objective import Objective

# From this size on an inverse is worth halving the digits for.
_ROUGH_FROM = 256


class Preconditioner:
    """Something that can be divided by."""

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,)."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonal(Preconditioner):
    """A diagonal M: ``inverse`` is that of its entries, (P,)."""

    inverse: jax.Array

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,)."""
        return self.inverse * vector


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense(Preconditioner):
    """A dense M, the same for every class.

    Kept inverted: a product a step is faster than two triangular solves.

    Attributes:
        inverse: of SMS, (q, q), perhaps in float32.
        scale: the diagonal of S, (q,): it gives SMS a unit diagonal.
    """

    inverse: jax.Array
    scale: jax.Array

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,), one block a class."""
        table = vector.reshape(len(self.scale), -1) * self.scale[:, None]
        solved = jnp.matmul(self.inverse, table.astype(self.inverse.dtype), precision=precision())
        return (solved.astype(vector.dtype) * self.scale[:, None]).reshape(-1)


def unit_scale(M: jax.Array) -> jax.Array:
    """The diagonal of S for which SMS has a unit diagonal, (q,): then the units of a column
    decide nothing about rank."""
    diagonal = jnp.abs(jnp.diag(M))
    return jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)


def invert(M: jax.Array) -> Dense:
    """A positive definite M, (q, q), inverted; what is singular to round-off is lifted."""
    scale = unit_scale(M)
    identity = jnp.eye(len(scale), dtype=M.dtype)
    lift = len(scale) * jnp.finfo(M.dtype).eps
    lifted = M * scale[:, None] * scale[None, :] + lift * identity
    if len(scale) < _ROUGH_FROM:
        inverse = _swept(lifted)
    else:
        inverse = cho_solve((jnp.linalg.cholesky(lifted), True), identity)
    # Worse than singular: its diagonal alone is still a scaling.
    sound = jnp.all(jnp.isfinite(inverse))
    return Dense(jnp.where(sound, inverse, identity), scale)


def _swept(M: jax.Array) -> jax.Array:
    """The inverse of a small positive definite matrix by the sweep operator.

    LAPACK's threads go on spinning after a call, and take XLA's cores for tens of
    milliseconds: as long as a fit to a hundred thousand rows.

    Source: Beaton (1964), "The use of special matrix operators in statistical calculus".
    """
    index = jnp.arange(len(M))

    def sweep(k: jax.Array, A: jax.Array) -> jax.Array:
        row, here = A[k] / A[k, k], index == k
        swept = A - A[:, k][:, None] * row
        swept = jnp.where(here[:, None], row, swept)
        column = jnp.where(here, -1, A[:, k]) / A[k, k]
        return jnp.where(here[None, :], column[:, None], swept)

    return -jax.lax.fori_loop(0, len(M), sweep, M)


def bound_gram(objective: Objective) -> Dense:
    """Böhning's bound, one inverse for all classes."""
    weight = _bound_constant(objective) * objective.row_weights()
    q = objective.X.shape[1] + objective.fit_intercept
    M = bordered_gram(objective, weight, rough_dtype(q, objective.X.dtype))
    curvature = penalty_curvature(objective).reshape(q, -1)[:, 0]
    return invert(M + jnp.diag(curvature.astype(M.dtype)))


def bound_diagonal(objective: Objective, *, by_blocks: bool = False) -> Diagonal:
    """The diagonal of Böhning's bound, dense or sparse."""

    def part(F: Objective, _: Any) -> Made:
        weight = _bound_constant(F) * F.row_weights()
        return Made(sums=(column_squares(F.X, weight), jnp.sum(weight)))

    squares, total = pass_over(objective, (), part, by_blocks=by_blocks).sums
    coef, intercept = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    squares = squares.reshape((-1,) + (1,) * (coef.ndim - 1))
    diagonal = objective.join(coef + squares, intercept + total) + penalty_curvature(objective)
    return Diagonal(1 / jnp.where(diagonal > 0, diagonal, 1))


def rough_dtype(q: int, dtype: DTypeLike) -> DTypeLike:
    """float32 for a large inverse: it only steers, and costs a third."""
    return jnp.float32 if q >= _ROUGH_FROM else dtype


def _bound_constant(objective: Objective) -> float:
    return 0.5 if objective.class_shape else 0.25


PRECONDITIONERS: dict[str, Callable[[Objective], Preconditioner]] = {
    "diagonal": bound_diagonal,
    "gram": bound_gram,
}
