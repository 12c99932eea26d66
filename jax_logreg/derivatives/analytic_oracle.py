"""The oracle of the hand-written derivatives: no product with X is made twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jax_logreg.derivatives.assembly import (
    backward,
    gradient_from_residual,
    hessian_from_logits,
    penalty_curvature,
)
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Curved, Line, Point, Trial
from jax_logreg.derivatives.preconditioners import Preconditioner, bound_diagonal
from jax_logreg.derivatives.row_blocks import Made, Part, pass_over
from jax_logreg.derivatives.rows import curvature, curve, keep, loss_and_residual
from jax_logreg.objective.identifiability import furthest
from jax_logreg.objective.objective import Objective


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnalyticOracle(ModelOracle):
    """The objective with the derivatives of ``analytic.py``.

    Attributes:
        by_blocks: whether a pass may go by row blocks, see ``pass_over``.
    """

    objective: Objective
    rough: Objective | None = None
    by_blocks: bool = field(default=False, metadata={"static": True})

    def at(self, theta: jax.Array) -> Point:
        return self._point(theta, self._pass(lambda F, _: _level(F, theta), ()))

    def _pass(self, part: Part, rows: Any) -> Made:
        return pass_over(self.objective, rows, part, by_blocks=self.by_blocks)

    def _point(self, theta: jax.Array, level: Made) -> Point:
        F, (loss, slope) = self.objective, level.sums
        value = loss + F.penalty.value(F.split(theta)[0])
        return Point(theta, value, slope + penalty_curvature(F) * theta, level.rows)

    def value(self, theta: jax.Array) -> jax.Array:
        return _value_with_hand_gradient(self.objective, theta)

    def hessian(self, point: Point) -> jax.Array:
        return hessian_from_logits(self.objective, point.logits)

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        known = curvature(point.logits)

        def times(vector: jax.Array) -> jax.Array:
            def part(F: Objective, known: jax.Array) -> Made:
                return Made(sums=backward(F, curve(known, F.linear(vector))))

            return self._pass(part, known).sums + penalty_curvature(self.objective) * vector

        return times

    def curved(self, point: Point, direction: jax.Array) -> Curved:
        bend = self._pass(lambda F, eta: _bend(F, eta, direction), point.logits)
        return self._curved(direction, bend)

    def _curved(self, direction: jax.Array, bend: Made) -> Curved:
        product = bend.sums + penalty_curvature(self.objective) * direction
        return Curved(direction, product, bend.most)

    def at_and_curved(self, theta: jax.Array, direction: jax.Array) -> tuple[Point, Curved]:
        def part(F: Objective, _: Any) -> Made:
            level = _level(F, theta)
            bend = _bend(F, level.rows, direction)
            return Made((level.sums, bend.sums), bend.most, level.rows)

        both = self._pass(part, ())
        level, bend = (both._replace(sums=sums) for sums in both.sums)
        return self._point(theta, level), self._curved(direction, bend)

    def preconditioner(self, kind: str) -> Preconditioner:
        if kind == "diagonal":
            return bound_diagonal(self.objective, by_blocks=self.by_blocks)
        return super().preconditioner(kind)

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


def _level(F: Objective, theta: jax.Array) -> Made:
    """Of some rows: their share of the loss and of its gradient, and their logits."""
    eta = F.add_offset(F.linear(theta))
    rows = loss_and_residual(eta, F.y)
    return Made(sums=(F.mean(rows.loss), backward(F, rows.residual)), rows=eta)


def _bend(F: Objective, eta: jax.Array, direction: jax.Array) -> Made:
    """Of some rows: their share of the Hessian times a direction, and how far that goes."""
    z = keep(F.linear(direction))
    return Made(sums=backward(F, curve(curvature(eta), z)), most=furthest(z))


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
