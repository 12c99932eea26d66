"""The oracle of the hand-written derivatives: no product with X is made twice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jax_logreg.derivatives.assembly import (
    gradient_from_residual,
    hessian_from_logits,
    hvp_from_changes,
    hvp_from_curvature,
    penalty_curvature,
)
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Curved, Line, Point, Trial
from jax_logreg.derivatives.rows import curvature, keep, loss_and_residual
from jax_logreg.objective.geometry import furthest
from jax_logreg.objective.objective import Objective


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnalyticOracle(ModelOracle):
    """The objective with the derivatives of ``analytic.py``."""

    objective: Objective
    rough: Objective | None = None

    def at(self, theta: jax.Array) -> Point:
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        rows = loss_and_residual(eta, F.y)
        value = F.value_from_losses(rows.loss, F.split(theta)[0])
        return Point(theta, value, gradient_from_residual(F, theta, rows.residual), eta)

    def value(self, theta: jax.Array) -> jax.Array:
        return _value_with_hand_gradient(self.objective, theta)

    def hessian(self, point: Point) -> jax.Array:
        return hessian_from_logits(self.objective, point.logits)

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        known = curvature(point.logits)
        return lambda vector: hvp_from_curvature(self.objective, known, vector)

    def curved(self, point: Point, direction: jax.Array) -> Curved:
        z = keep(self.objective.linear(direction))
        product = hvp_from_changes(self.objective, curvature(point.logits), direction, z)
        return Curved(direction, product, furthest(z))

    def along(self, point: Point, direction: jax.Array) -> Line:
        F = self.objective
        z = F.linear(direction)
        penalty = penalty_curvature(F)

        def at(t: jax.Array) -> Trial:
            theta = point.theta + t * direction
            rows = loss_and_residual(point.logits + t * z, F.y)
            value = F.value_from_losses(rows.loss, F.split(theta)[0])
            along = rows.residual * z if z.ndim == 1 else jnp.sum(rows.residual * z, axis=1)
            slope = F.mean(along) + jnp.sum(penalty * theta * direction)
            return Trial(value, slope)

        def there(t: jax.Array, trial: Trial) -> Point:
            theta, eta = point.theta + t * direction, keep(point.logits + t * z)
            # Made anew: kept with the trial it would be one more vector of n through the loop.
            residual = loss_and_residual(eta, F.y).residual
            slope = gradient_from_residual(F, theta, residual)
            return Point(theta, trial.value, slope, eta, fresh=np.False_)

        return Line(at, there)


@jax.custom_jvp
def _value_with_hand_gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    """F(θ) whose derivative in θ, for whoever takes it, is the hand-written one."""
    return objective.value(theta)


def _value_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, Any]:
    (objective, theta), (data_tangent, theta_tangent) = primals, tangents
    point = AnalyticOracle(objective).at(theta)
    slope = jnp.zeros_like(point.value)
    if not isinstance(theta_tangent, SymbolicZero):
        slope = slope + jnp.vdot(point.gradient, theta_tangent)
    leaves = jax.tree.leaves(data_tangent, is_leaf=_is_zero)
    if not all(map(_is_zero, leaves)):
        # Someone differentiates in the data as well: no hand form is claimed for that.
        dense = jax.tree.map(_instantiate, data_tangent, is_leaf=_is_zero)
        slope = slope + jax.jvp(lambda F: F.value(theta), (objective,), (dense,))[1]
    return point.value, slope


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent: Any) -> jax.Array:
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent


_value_with_hand_gradient.defjvp(_value_jvp, symbolic_zeros=True)
