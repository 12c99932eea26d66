r"""Preconditioners of the logistic objective: cheap bounds on its Hessian.

A preconditioner M is positive definite, and ``solve`` applies :math:`M^{-1}`. The nearer
M is to the Hessian, the fewer passes over X a fit takes; the answer is the same.

The bounds rest on Böhning (1992), Ann. Inst. Statist. Math. 44: at every θ

.. math::
    \nabla^2F \preceq c\,(I - \tfrac1K 11^\top) \otimes Z^\top \tilde W Z + \nabla^2P,
    \qquad c = \tfrac12 \text{ (softmax)}, \tfrac14 \text{ (sigmoid, without the classes)},

so that one inverse serves every class and every step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jax_logreg.derivatives.analytic import bordered_gram, curvature, weighted
from jax_logreg.derivatives.linear_algebra import (
    SWEEP_LIMIT,
    Dense,
    Diagonal,
    Preconditioner,
    invert,
)
from jax_logreg.derivatives.oracle import Point
from jax_logreg.derivatives.row_blocks import BlockResult, map_row_blocks
from jax_logreg.objective.identifiability import curvature_bound
from jax_logreg.objective.objective import Objective


def bound_gram(objective: Objective) -> Dense:
    """Böhning's bound as a matrix, (q, q): one inverse for all classes."""
    weight = _bound_constant(objective) * objective.row_weights()
    q = objective.X.shape[1] + objective.fit_intercept
    M = bordered_gram(objective, weight, inverse_dtype(q, objective.X.dtype))
    curvature = _penalty_curvature(objective).reshape(q, -1)[:, 0]
    return invert(M + jnp.diag(curvature.astype(M.dtype)))


def bound_diagonal(objective: Objective) -> Diagonal:
    """The diagonal of Böhning's bound, dense or sparse."""

    def of_rows(F: Objective, _: Any) -> BlockResult:
        weight = _bound_constant(F) * F.row_weights()
        return BlockResult(sums=(F.X.column_squares(weight), jnp.sum(weight)))

    squares, total = map_row_blocks(objective, (), of_rows).sums
    coef, intercept = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    squares = squares.reshape((-1,) + (1,) * (coef.ndim - 1))
    return _inverse(
        objective.join(coef + squares, intercept + total) + _penalty_curvature(objective)
    )


def hessian_diagonal(objective: Objective, point: Point) -> Diagonal:
    """The diagonal of the Hessian at a point, dense or sparse: as dear as a product with Xᵀ."""

    def of_rows(F: Objective, known: jax.Array) -> BlockResult:
        own = known * (1 - known) if known.ndim == 2 else known
        weight = weighted(F, own)
        return BlockResult(sums=F.join(F.X.column_squares(weight), jnp.sum(weight, axis=0)))

    of_data = map_row_blocks(objective, curvature(point.logits), of_rows).sums
    return _inverse(of_data + objective.penalty_terms(point.theta)[2])


def _inverse(diagonal: jax.Array) -> Diagonal:
    return Diagonal(1 / jnp.where(diagonal > 0, diagonal, 1))


def bound_scalar(objective: Objective) -> Diagonal:
    """L·I with L a bound on every eigenvalue: a step of 1/L always lowers F."""
    return Diagonal(1 / curvature_bound(objective))


def inverse_dtype(q: int, dtype: DTypeLike) -> DTypeLike:
    """float32 for a large inverse: it only preconditions, and costs a third."""
    return jnp.float32 if q >= SWEEP_LIMIT else dtype


def _bound_constant(objective: Objective) -> float:
    return 0.5 if objective.class_shape else 0.25


def _penalty_curvature(objective: Objective) -> jax.Array:
    """The largest curvature of the penalty in the layout of θ, zero at the intercept."""
    coef, intercept = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    return objective.join(objective.penalty.largest_curvature(coef), intercept)


_BOUNDS: dict[str, Callable[[Objective], Preconditioner]] = {
    "scalar": bound_scalar,
    "diagonal": bound_diagonal,
    "gram": bound_gram,
}


def preconditioner(objective: Objective, kind: str, point: Point | None = None) -> Preconditioner:
    """A bound of a kind, or with a point, for "diagonal", what the Hessian is there."""
    if point is not None and kind == "diagonal":
        return hessian_diagonal(objective, point)
    return _BOUNDS[kind](objective)
