r"""The oracle of a nonsmooth objective: a smooth part, and :math:`\sum_j \kappa_j|\theta_j|`.

It has no gradient where a coefficient is zero. The minimum-norm subgradient takes its place: it
is zero at a minimum and nowhere else, for F is convex.

On the *face* of a point, the set of all θ with the same signs, F is smooth. The Hessian of a
point is that of its face: a coefficient that is zero stays there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.linear_algebra import (
    Preconditioner,
    min_norm_subgradient,
    soft_threshold,
)
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import (
    ColumnSubset,
    HessianProduct,
    Line,
    Oracle,
    Point,
    SmoothPart,
    Trial,
)
from jax_logreg.objective.identifiability import LogisticProblem, add_gauge_curvature
from jax_logreg.objective.objective import Objective


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NonsmoothOracle(Oracle):
    """The logistic objective with a penalty that has an L1 part.

    Attributes:
        model: the oracle of the smooth part, by either kind of derivatives.
    """

    model: ModelOracle

    capabilities = frozenset({"hessian", "hvp", "line", "preconditioner", "columns"})
    remedy = "Use solver='auto' or 'proximal_newton', or penalty=L2(strength)."

    @property
    def limits(self) -> dict[str, str]:
        """Those of the smooth part, and what an L1 penalty rules out."""
        absent = self.model.capabilities - self.capabilities
        return self.model.limits | dict.fromkeys(
            sorted(absent), "an L1 penalty has no gradient at zero"
        )

    @property
    def objective(self) -> Objective:
        """F."""
        return self.model.objective

    @property
    def num_rows(self) -> int:
        """n."""
        return self.model.num_rows

    @property
    def smooth(self) -> ModelOracle:
        """The oracle of the smooth part."""
        return self.model

    @property
    def problem(self) -> LogisticProblem:
        """Gauge, separation, existence of a minimum, of the whole."""
        return self.model.problem

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        point = self._with_l1(self.model.evaluate(theta))
        if direction is None:
            return point
        return point._replace(hvp=self.hessian_operator(point)(direction))

    def _with_l1(self, point: Point) -> Point:
        """A point of the smooth part as one of the whole."""
        weights, slope = self.objective.l1_weights(point.theta), point.gradient
        return point._replace(
            value=point.value + jnp.sum(weights * jnp.abs(point.theta)),
            gradient=min_norm_subgradient(point.theta, slope, weights),
            smooth=SmoothPart(slope, weights),
        )

    def _is_free(self, point: Point) -> jax.Array:
        """Which coefficients may move on the point's face, (P,)."""
        return (point.theta != 0) | (self.objective.l1_weights(point.theta) == 0)

    def hessian(self, point: Point) -> jax.Array:
        F, free = self.objective, self._is_free(point)
        H = self.model.derivatives.hessian_at(F, point)
        own = jnp.diag(H)
        face = jnp.where(free[:, None] & free[None, :], H, 0)
        return add_gauge_curvature(
            F, face + jnp.diag(jnp.where(free, 0, jnp.where(own > 0, own, 1)))
        )

    def hessian_operator(self, point: Point) -> Callable[[jax.Array], HessianProduct]:
        free, smooth = self._is_free(point), self.model.hessian_operator(point)
        own = 1 / self.preconditioner("diagonal").solve(jnp.ones_like(point.theta))

        def apply(vector: jax.Array) -> HessianProduct:
            on_face = smooth(jnp.where(free, vector, 0))
            change = self.problem.max_logit_change(vector)
            return HessianProduct(vector, jnp.where(free, on_face.product, own * vector), change)

        return apply

    def line(self, point: Point, direction: jax.Array) -> Line:
        smooth, weights = self.model.line(point, direction), self.objective.l1_weights(direction)

        def at(t: jax.Array) -> Trial:
            theta, trial = point.theta + t * direction, smooth.at(t)
            slope = trial.slope + jnp.sum(weights * jnp.sign(theta) * direction)
            # Where a coefficient is zero the slopes on both sides differ: the least of them.
            jump = jnp.sum(jnp.where(theta == 0, weights * jnp.abs(direction), 0))
            value = trial.value + jnp.sum(weights * jnp.abs(theta))
            return Trial(value, soft_threshold(slope, jump), trial.value)

        def point_at(t: jax.Array, trial: Trial) -> Point:
            assert trial.smooth_value is not None  # at() made the trial
            return self._with_l1(smooth.point(t, Trial(trial.smooth_value, trial.slope)))

        return Line(at, point_at)

    def preconditioner(self, kind: str, point: Point | None = None) -> Preconditioner:
        return self.model.preconditioner(kind, point)

    def restrict_columns(self, point: Point, gain: jax.Array, count: int) -> ColumnSubset:
        F = self.objective
        coef, intercept = F.split(point.theta)
        which = self._promising(point, gain, count)
        penalty = F.penalty.for_columns(which)
        part = replace(F, X=F.X.columns(which), penalty=penalty, offset=None)
        theta = part.join(coef[which], intercept)
        part = replace(part, offset=point.logits - part.linear(theta))

        def to_original(theta: jax.Array) -> jax.Array:
            some, intercept = part.split(theta)
            return F.join(coef.at[which].set(some), intercept)

        oracle = NonsmoothOracle(replace(self.model, objective=part, float32_copy=None))
        return ColumnSubset(oracle, theta, to_original)

    def _promising(self, point: Point, gain: jax.Array, count: int) -> jax.Array:
        """The columns with most to gain; before them those free on the face, if there is room
        for all of them and one more."""

        def of_columns(theta: jax.Array) -> jax.Array:
            coef, _ = self.objective.split(theta)
            return jnp.max(coef.reshape(len(coef), -1), axis=1)

        free = of_columns(self._is_free(point).astype(gain.dtype)) > 0
        first = free & (jnp.sum(free) < count)
        return jax.lax.top_k(jnp.where(first, jnp.inf, of_columns(gain)), count)[1]
