r"""Identifiability: where F has no curvature, no minimum, or no unique one.

The loop asks a :class:`Problem` these questions, and a solver never does. For the logistic
objective they are the class shifts that softmax cannot see (the *gauge*), the directions along
which the loss falls forever (*recession*), and whether a penalty rules those out.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jax_logreg.objective.dense_features import precision
from jax_logreg.objective.objective import Objective

_LOG_2 = math.log(2)
_ROUND_OFF_UNITS = 100
_OWN_ROUND_OFF_UNITS = 8
# A Newton direction moves separated rows by about one logit: each step removes a factor e.
_LEAST_MOVE = 0.5
_EXACT_BOUND_LIMIT = 2000  # a larger Gram matrix costs more than the fit that it would serve


class Problem:
    """All that the loop may ask about a function beyond its derivatives.

    The answers here are those of any smooth function with a unique minimum.
    """

    def project_gauge(self, theta: jax.Array) -> jax.Array:
        """The representative of θ, (P,), among parameters that F cannot tell apart."""
        return theta

    def max_logit_change(self, direction: jax.Array) -> jax.Array:
        """The largest change of a logit over a step d, a scalar; zero where there are none."""
        return jnp.zeros((), direction.dtype)

    def is_negligible(self, direction: jax.Array, theta: jax.Array, bound: float) -> jax.Array:
        """Whether a step d from θ changes no logit by more than the bound, beyond the rounding of
        that logit itself; NaN does."""
        return self.max_logit_change(direction) <= bound

    def is_in_null_space(self, direction: jax.Array) -> jax.Array:
        """Whether a direction moves no logit at all, to the rounding of Xd."""
        return jnp.asarray(True)

    def is_recession_direction(self, direction: jax.Array, *, exact: bool = False) -> jax.Array:
        """Whether F falls forever along a Newton direction, to the precision of such a one; with
        ``exact``, to the rounding of Xd."""
        return jnp.asarray(False)

    def separable_value(self) -> jax.Array | float:
        """The value of F below which its point may prove the data separated."""
        return -jnp.inf

    def proves_separation(self, theta: jax.Array, value: jax.Array) -> jax.Array:
        """Whether θ, where F has this value, proves that F has no minimum."""
        return jnp.asarray(False)

    def minimum_may_not_exist(self) -> jax.Array:
        """Whether nothing in F itself rules out a direction of recession."""
        return jnp.asarray(False)

    def is_strictly_convex(self) -> jax.Array:
        """Whether F is known to have curvature in every direction."""
        return jnp.asarray(True)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogisticProblem(Problem):
    """The questions of the loop, answered for the logistic objective.

    Attributes:
        objective: F.
        watches_separation: whether the loop looks for separation at every step; in a batch all
            fits would pay for what one of them needs.
    """

    objective: Objective
    watches_separation: bool = field(default=True, metadata={"static": True})

    def project_gauge(self, theta: jax.Array) -> jax.Array:
        """θ with the same probabilities whose coefficients sum to zero over the classes.

        Adding one number to all K logits changes no probability, so unpenalised softmax
        has no unique answer; this is the one that the package returns. Where that would raise
        the penalty, coefficients stay as they are. The sigmoid model has no such freedom.
        """
        if not self.objective.class_shape:
            return theta
        table = theta.reshape((-1, *self.objective.class_shape))
        centred = (table - jnp.mean(table, axis=1, keepdims=True)).reshape(-1)
        return jnp.where(_gauge_mask(self.objective), centred, theta)

    def max_logit_change(self, direction: jax.Array) -> jax.Array:
        return max_logit_change(self.objective.linear(direction))

    def is_negligible(self, direction: jax.Array, theta: jax.Array, bound: float) -> jax.Array:
        change = logit_changes(self.objective.linear(direction))
        change = jnp.where(self.objective.row_weight > 0, change, 0)
        small = jnp.all(change <= bound)
        if not self.watches_separation:
            return small
        # |X| is a table of its own: it is made only where some logit is in question.
        return jax.lax.cond(
            small, lambda: small, lambda: jnp.all(change <= bound + self._rounding(theta))
        )

    def is_in_null_space(self, direction: jax.Array) -> jax.Array:
        """Whether Xd is zero to its own rounding, as for linearly dependent columns; rows of
        weight zero do not count.

        Columns that are parallel to all but a few digits do not pass: their Hessian is
        singular to its rounding, yet they distinguish rows.
        """
        F = self.objective
        coef, intercept = F.split(direction)
        z = F.linear(direction)
        if z.ndim == 2:
            z = z - jnp.mean(z, axis=1, keepdims=True)
        # Columns of zeros may be all that a direction has, beside round-off elsewhere.
        floor = float(jnp.finfo(z.dtype).eps) ** 0.5 * jnp.max(jnp.abs(coef))
        terms = F.X.absolute_matvec(jnp.maximum(jnp.abs(coef), floor)) + jnp.abs(intercept)
        noise = _ROUND_OFF_UNITS * F.X.shape[1] * jnp.finfo(z.dtype).eps
        counted = (F.row_weights() > 0).reshape(-1, *[1] * (z.ndim - 1))
        change, largest = (jnp.max(jnp.where(counted, jnp.abs(t), 0)) for t in (z, terms))
        return change <= noise * largest

    def is_recession_direction(self, direction: jax.Array, *, exact: bool = False) -> jax.Array:
        r"""Whether F falls forever along ``direction``, so that it has no minimum.

        The slope of row i's loss at the far end of z = Xd is :math:`\max(z,0) - yz`, for
        softmax :math:`\max_k z_k - \sum_k Y_k z_k`: never negative, and zero only where
        the direction agrees with the label. F recedes when it is zero in every row and
        the penalty does not act.

        Source: Albert & Anderson (1984), Biometrika 71, "On the existence of maximum
        likelihood estimates in logistic regression models".

        Args:
            direction: d, (P,).
            exact: whether no row may move to the wrong side at all, which then is a proof up to the
                rounding of Xd. Else d has the precision of a Newton direction, in which a row that
                has curvature stays to some digits of the logit by which the separated ones move,
                and to as many of what the largest entry of d could move it by: beside one far row
                d is so small that all others seem to stay.

        Returns:
            A boolean scalar.
        """
        F = self.objective
        z = F.linear(direction)
        if not F.class_shape:
            slope, spread = jnp.maximum(z, 0) - F.y * z, jnp.abs(z)
        else:
            top = jnp.max(z, axis=1)
            slope = top - jnp.sum(F.y * z, axis=1)
            spread = top - jnp.min(z, axis=1)
        rtol = 0.0 if exact else float(jnp.finfo(z.dtype).eps) ** (2 / 3)
        spread = jnp.max(jnp.where(F.row_weight > 0, spread, 0))
        allowed = 0.0 if exact else self._stays_within(direction, rtol) + self._rounding(direction)
        agrees = jnp.all(jnp.where(F.row_weight > 0, slope <= allowed, True))
        coef, _ = F.split(direction)
        growth = F.penalty.growth(coef)
        scale = rtol**2 * jnp.max(growth) * jnp.sum(direction**2)
        is_free = jnp.sum(growth * coef**2) <= scale
        moves = spread > (0.0 if exact else _LEAST_MOVE)
        return agrees & is_free & moves & jnp.isfinite(spread)

    def _rounding(self, theta: jax.Array) -> jax.Array:
        """The rounding of each row of Xθ, (n,), which is a share of its own terms."""
        terms = self._terms(jnp.abs(theta))
        return _OWN_ROUND_OFF_UNITS * float(jnp.finfo(terms.dtype).eps) * terms

    def _stays_within(self, direction: jax.Array, rtol: float) -> jax.Array:
        """How far a Newton direction may move each row that stays, (n,)."""
        largest = jnp.full_like(direction, jnp.max(jnp.abs(direction)))
        return rtol * jnp.minimum(self._terms(largest), 1)

    def _terms(self, theta: jax.Array) -> jax.Array:
        """The sum of the terms of each row of Xθ, (n,), the largest over the classes; θ ≥ 0."""
        coef, intercept = self.objective.split(theta)
        terms = self.objective.X.absolute_matvec(coef) + intercept
        return jnp.max(terms, axis=1) if terms.ndim == 2 else terms

    @property
    def _can_be_separated(self) -> bool:
        """Whether the question is asked at all. Jeffreys' prior rules separation out."""
        return self.watches_separation and not self.objective.penalty.is_jeffreys

    def separable_value(self) -> jax.Array | float:
        """The value of F below which a point has every row on its own side: a row on the wrong
        side costs at least log 2 times the smallest row weight."""
        if not self._can_be_separated:
            return -jnp.inf
        weight = self.objective.row_weight
        return _LOG_2 * jnp.min(jnp.where(weight > 0, weight, jnp.inf))

    def proves_separation(self, theta: jax.Array, value: jax.Array) -> jax.Array:
        """Whether θ, where F has this value, proves complete separation: only where the value
        allows it is a product spent to test whether θ itself is a direction of recession."""
        if not self._can_be_separated:
            return jnp.asarray(False)  # no branch to compile
        return jax.lax.cond(
            value < self.separable_value(),
            lambda: self.is_recession_direction(theta, exact=True),
            lambda: jnp.zeros_like(value, dtype=bool),  # like the other, also inside shard_map
        )

    def minimum_may_not_exist(self) -> jax.Array:
        """Whether the penalty leaves some coefficient free, or some class never occurs. Jeffreys'
        prior always has a minimum."""
        F = self.objective
        if F.penalty.is_jeffreys:
            return jnp.asarray(False)
        occurs = jnp.all(class_mass(F.y, F.row_weight) > 0) | (not F.fit_intercept)
        return ~(occurs & jnp.all(F.penalty.growth(_zero_coef(F)) > 0))

    def is_strictly_convex(self) -> jax.Array:
        """Whether a minimum exists, and the penalty has curvature in every coefficient."""
        penalty = self.objective.penalty
        curvature = penalty.largest_curvature(_zero_coef(self.objective))
        return ~self.minimum_may_not_exist() & (penalty.is_jeffreys | jnp.all(curvature > 0))


# --- facts of the objective that derivatives use --------------------------------------


def add_gauge_curvature(objective: Objective, hessian: jax.Array) -> jax.Array:
    """The Hessian with curvature added along the class shifts, (P, P).

    For a θ and a gradient that sum to zero over the classes the Newton step stays
    what it was; the matrix becomes invertible whenever X has full rank.

    Args:
        objective: F.
        hessian: (P, P).
    """
    if not objective.class_shape:
        return hessian
    (K,) = objective.class_shape
    size = jnp.mean(jnp.diag(hessian).reshape(-1, K), axis=1, keepdims=True)
    feature = jnp.arange(len(hessian)) // K
    each = jnp.broadcast_to(size / K, (len(size), K)).reshape(-1)
    added = jnp.where(feature[:, None] == feature, each, 0)
    free = _gauge_mask(objective)
    return hessian + jnp.where(free[:, None] & free[None, :], added, 0)


def _gauge_mask(objective: Objective) -> jax.Array:
    """Which parameters a class shift may move without raising the penalty, (P,)."""
    free = objective.penalty.allows_class_shift(_zero_coef(objective))
    return objective.join(free, jnp.ones(objective.class_shape, bool))


def _zero_coef(objective: Objective) -> jax.Array:
    return jnp.zeros((objective.X.shape[1], *objective.class_shape), objective.X.dtype)


def logit_changes(z: jax.Array) -> jax.Array:
    """|z|, or the largest difference of two logits of each row, (n,)."""
    return jnp.abs(z) if z.ndim == 1 else jnp.max(z, axis=1) - jnp.min(z, axis=1)


def max_logit_change(z: jax.Array) -> jax.Array:
    """The largest of them, a scalar."""
    return jnp.max(logit_changes(z))


def class_mass(y: jax.Array, weight: jax.Array) -> jax.Array:
    """The largest weighted label of every class, (2,) or (K,): zero where one never occurs.

    Args:
        y: (n,) or (n, K), of NumPy or JAX.
        weight: () or (n,).
    """
    xp = y.__array_namespace__()  # few labels are examined by NumPy
    if y.ndim == 1 and jnp.ndim(weight) == 0:  # after the maximum: no vector of n is made
        return xp.stack([1 - xp.min(y), xp.max(y)]) * weight
    if y.ndim == 1:
        return xp.stack([xp.max((1 - y) * weight), xp.max(y * weight)])
    return xp.max(y * xp.broadcast_to(weight, y.shape[:1])[:, None], axis=0)


def curvature_bound(objective: Objective) -> jax.Array:
    r"""L with :math:`\nabla^2F(\theta) \preceq L\,I` everywhere, a scalar: 1/L is a safe step.

    :math:`L = c\,\lambda_{\max}(Z^\top W Z) + \max_j P''_j`, with Z the
    features and the intercept's ones, c = ¼ for the sigmoid and ½ for softmax
    (Böhning 1992, Ann. Inst. Statist. Math. 44). Sparse features, and thousands of rows
    and columns, take the trace in place of the eigenvalue: larger, hence still safe.
    """
    X, weight = objective.X, objective.row_weights()
    largest = jnp.sum(X.column_squares(weight)) + objective.fit_intercept
    if X.has_gram and min(X.shape) <= _EXACT_BOUND_LIMIT:
        largest = jnp.linalg.eigvalsh(_weighted_gram(objective))[-1]
        largest = largest * (1 + 10 * min(X.shape) * jnp.finfo(X.dtype).eps)
    factor = 0.5 if objective.class_shape else 0.25
    return factor * largest + jnp.max(objective.penalty.largest_curvature(_zero_coef(objective)))


def _weighted_gram(objective: Objective) -> jax.Array:
    """ZᵀWZ or √W ZZᵀ √W, whichever is smaller: they share their largest eigenvalue."""
    root = jnp.sqrt(objective.row_weights())[:, None]
    Z = objective.X.to_array() * root
    if objective.fit_intercept:
        Z = jnp.concatenate([Z, root], axis=1)
    axis = 0 if Z.shape[0] > Z.shape[1] else 1
    return jnp.tensordot(Z, Z, axes=(axis, axis), precision=precision())
