r"""The oracle of a function with kinks: a smooth part, and :math:`\sum_j \kappa_j|\theta_j|`.

It has no gradient where a coefficient is zero. What takes its place is the shortest of all
subgradients, which is zero at a minimum and nowhere else, for F is convex.

A *face* is the set of all θ with the same signs; on it F is smooth. The Hessian of a point
is that of its face: a coefficient that is zero stays there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial
from jax_logreg.derivatives.preconditioners import Preconditioner
from jax_logreg.objective.dense_features import take_columns
from jax_logreg.objective.identifiability import (
    centre_classes,
    is_bounded_by_design,
    may_separate,
    separates,
)
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.penalties import L2, ElasticNet


def soft_threshold(x: jax.Array, width: jax.Array) -> jax.Array:
    r"""The proximal map of ``width`` · |·|: :math:`\arg\min_z \tfrac12(z-x)^2 + \text{width}|z|`.

    >>> soft_threshold(jnp.array([3.0, -3.0]), jnp.array(1.0)).tolist()
    [2.0, -2.0]
    """
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - width, 0)


def least_subgradient(theta: jax.Array, slope: jax.Array, kinks: jax.Array) -> jax.Array:
    r"""The shortest subgradient of a smooth part with this slope plus :math:`\sum\kappa|\theta|`.

    >>> least_subgradient(jnp.array([0.0, 2.0]), jnp.array([3.0, -3.0]), jnp.ones(2)).tolist()
    [2.0, -2.0]
    """
    beside = slope + kinks * jnp.sign(theta)
    return jnp.where(theta == 0, soft_threshold(slope, kinks), beside)


class Part(NamedTuple):
    """The problem of some columns, the others kept as they are.

    Attributes:
        oracle: of that problem.
        theta: where it begins.
        lift: its parameters ↦ those of the whole.
    """

    oracle: "KinkedOracle"
    theta: jax.Array
    lift: Callable[[jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KinkedOracle(Oracle):
    """The logistic objective with an elastic net.

    Attributes:
        smooth: the oracle of the loss with the ridge part, whichever its derivatives are.
        penalty: the whole.
    """

    smooth: ModelOracle
    penalty: ElasticNet

    offers = frozenset({"hessian", "hvp", "along", "preconditioner", "columns"})
    remedy = "Use solver='auto' or 'proximal_newton', or penalty=L2(strength)."

    def lacks(self, needs: frozenset[str], num_parameters: int) -> dict[str, str]:
        missing = self.smooth.lacks(needs & self.smooth.offers, num_parameters)
        no_gradient = "an L1 penalty has kinks, and no such thing there"
        return missing | dict.fromkeys(sorted(needs - self.offers), no_gradient)

    @property
    def objective(self) -> Objective:
        """The smooth part."""
        return self.smooth.objective

    def kinks(self, theta: jax.Array) -> jax.Array:
        coef, intercept = self.objective.split(theta)
        return self.objective.join(self.penalty.kinks(coef), jnp.zeros_like(intercept))

    def smooth_part(self) -> Oracle:
        return self.smooth

    def at(self, theta: jax.Array) -> Point:
        return self._with_kinks(self.smooth.at(theta))

    def _with_kinks(self, point: Point) -> Point:
        """A point of the smooth part as one of the whole."""
        kinks, slope = self.kinks(point.theta), point.gradient
        return point._replace(
            value=point.value + jnp.sum(kinks * jnp.abs(point.theta)),
            gradient=least_subgradient(point.theta, slope, kinks),
            smooth_gradient=slope,
        )

    def value(self, theta: jax.Array) -> jax.Array:
        return self.smooth.value(theta) + jnp.sum(self.kinks(theta) * jnp.abs(theta))

    def _moves(self, point: Point) -> jax.Array:
        """Which coefficients may move on the point's face, (P,)."""
        return (point.theta != 0) | (self.kinks(point.theta) == 0)

    def hessian(self, point: Point) -> jax.Array:
        H, moves = self.smooth.hessian(point), self._moves(point)
        own = jnp.diag(H)
        return _keep_block(H, moves) + jnp.diag(jnp.where(moves, 0, jnp.where(own > 0, own, 1)))

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        moves, product = self._moves(point), self.smooth.products_at(point)
        own = 1 / self.preconditioner("diagonal").solve(jnp.ones_like(point.theta))
        return lambda v: jnp.where(moves, product(jnp.where(moves, v, 0)), own * v)

    def along(self, point: Point, direction: jax.Array) -> Line:
        line, kinks = self.smooth.along(point, direction), self.kinks(direction)

        def at(t: jax.Array) -> Trial:
            theta, trial = point.theta + t * direction, line.at(t)
            slope = trial.slope + jnp.sum(kinks * jnp.sign(theta) * direction)
            # Where a coefficient is zero the slopes on both sides differ: the least of them.
            jump = jnp.sum(jnp.where(theta == 0, kinks * jnp.abs(direction), 0))
            value = trial.value + jnp.sum(kinks * jnp.abs(theta))
            return Trial(value, soft_threshold(slope, jump), trial.value)

        def there(t: jax.Array, trial: Trial) -> Point:
            assert trial.smooth_value is not None  # at() made the trial
            return self._with_kinks(line.point(t, Trial(trial.smooth_value, trial.slope)))

        return Line(at, there)

    def preconditioner(self, kind: str) -> Preconditioner:
        return self.smooth.preconditioner(kind)

    def columns(self, point: Point, gain: jax.Array, count: int) -> Part:
        """The problem of so many columns at a point, those with most to gain, (P,), first."""
        F, penalty = self.objective, self.penalty
        coef, intercept = F.split(point.theta)
        which = self._promising(point, gain, count)
        factor = None if penalty.factor is None else jnp.asarray(penalty.factor)[which]
        penalty = replace(penalty, factor=factor)
        part = replace(F, X=take_columns(F.X, which), penalty=penalty.smooth(), offset=None)
        theta = part.join(coef[which], intercept)
        part = replace(part, offset=point.logits - part.linear(theta))

        def lift(theta: jax.Array) -> jax.Array:
            some, intercept = part.split(theta)
            return F.join(coef.at[which].set(some), intercept)

        return Part(KinkedOracle(type(self.smooth)(part), penalty), theta, lift)  # type: ignore[call-arg]

    def _promising(self, point: Point, gain: jax.Array, count: int) -> jax.Array:
        """The columns with most to gain; before them those that move on the face, if
        all find room and one more."""

        def of_columns(theta: jax.Array) -> jax.Array:
            coef, _ = self.objective.split(theta)
            return jnp.max(coef.reshape(len(coef), -1), axis=1)

        moves = of_columns(self._moves(point).astype(gain.dtype)) > 0
        first = moves & (jnp.sum(moves) < count)
        return jax.lax.top_k(jnp.where(first, jnp.inf, of_columns(gain)), count)[1]

    def num_rows(self) -> int:
        return self.smooth.num_rows()

    def num_parameters(self) -> int:
        return self.smooth.num_parameters()

    def centre(self, theta: jax.Array) -> jax.Array:
        return jnp.where(self.kinks(theta) == 0, centre_classes(self.objective, theta), theta)

    def pin(self, hessian: jax.Array) -> jax.Array:
        free = self.kinks(hessian[0]) == 0
        return hessian + _keep_block(self.smooth.pin(hessian) - hessian, free)

    def _held(self) -> Objective:
        """With a ridge penalty that holds the same coefficients."""
        return replace(self.objective, penalty=L2(self.penalty.strength, self.penalty.factor))

    def may_separate(self, point: Point) -> jax.Array:
        return may_separate(self._held(), point.value)

    def separates(self, point: Point) -> jax.Array:
        return separates(self._held(), point.theta, point.value)

    def recedes(self, direction: jax.Array) -> jax.Array:
        return type(self.smooth)(self._held()).recedes(direction)  # type: ignore[call-arg]

    def can_recede(self) -> jax.Array:
        return ~is_bounded_by_design(self._held())

    def is_curved(self) -> jax.Array:
        return self.smooth.is_curved()

    def reach(self, direction: jax.Array) -> jax.Array:
        return self.smooth.reach(direction)

    def ignores(self, direction: jax.Array) -> jax.Array:
        return self.smooth.ignores(direction)

    def at_even_odds(self, point: Point) -> Point:
        return self.at(jnp.zeros_like(point.theta))


def _keep_block(matrix: jax.Array, keep: jax.Array) -> jax.Array:
    return jnp.where(keep[:, None] & keep[None, :], matrix, 0)
