r"""Where F has no curvature, and how much it can have at most.

Three facts about F that solvers and the stopping rule lean on: the class shifts
that softmax cannot see, the directions along which the loss falls for ever, and the
largest curvature anywhere.
"""

import jax
import jax.numpy as jnp

from jax_logreg.objective.dense_features import Features, column_squares, precision, times
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures, dense

_ROUND_OFF_UNITS = 100
_EXACT_BOUND_LIMIT = 2000  # a larger Gram matrix costs more than the fit it would serve


def centre_classes(objective: Objective, theta: jax.Array) -> jax.Array:
    """θ with the same probabilities whose coefficients sum to zero over the classes.

    Adding one number to all K logits changes no probability, so unpenalised softmax
    has no unique answer; this is the one that the package returns. The L2 penalty
    only falls. The sigmoid model has no such freedom: θ comes back as it is.
    """
    if not objective.class_shape:
        return theta
    table = theta.reshape((-1, *objective.class_shape))
    return (table - jnp.mean(table, axis=1, keepdims=True)).reshape(-1)


def pin_class_shifts(objective: Objective, hessian: jax.Array) -> jax.Array:
    """The Hessian, given curvature along the class shifts as well, (P, P).

    For a θ and a gradient that sum to zero over the classes the Newton step stays
    what it was; the matrix becomes invertible whenever X has full rank.
    """
    if not objective.class_shape:
        return hessian
    (K,) = objective.class_shape
    size = jnp.mean(jnp.diag(hessian).reshape(-1, K), axis=1)
    pin = jnp.kron(jnp.diag(size), jnp.full((K, K), 1 / K, hessian.dtype))
    return hessian + pin


def ignores(objective: Objective, direction: jax.Array) -> jax.Array:
    """Whether Xd is zero to its own rounding, as for columns that depend on one another;
    rows of weight zero do not count.

    Columns that are parallel to all but a few digits do not pass: their Hessian is
    singular to its rounding, and yet they tell rows apart.
    """
    coef, intercept = objective.split(direction)
    z = objective.linear(direction)
    if z.ndim == 2:
        z = z - jnp.mean(z, axis=1, keepdims=True)
    terms = _absolute_times(objective.X, jnp.abs(coef)) + jnp.abs(intercept)
    noise = _ROUND_OFF_UNITS * objective.X.shape[1] * jnp.finfo(z.dtype).eps
    counted = (objective.row_weights() > 0).reshape(-1, *[1] * (z.ndim - 1))
    furthest, largest = (jnp.max(jnp.where(counted, jnp.abs(t), 0)) for t in (z, terms))
    return furthest <= noise * largest


def _absolute_times(X: Features, beta: jax.Array) -> jax.Array:
    """|X|β."""
    return X.times(beta, jnp.abs) if isinstance(X, SparseFeatures) else times(jnp.abs(X), beta)


def furthest(z: jax.Array) -> jax.Array:
    """The largest change of a logit, or of a difference of two logits of a row."""
    if z.ndim == 2:
        z = jnp.max(z, axis=1) - jnp.min(z, axis=1)
    return jnp.max(jnp.abs(z))


def recedes(objective: Objective, direction: jax.Array, rtol: float = 0.0) -> jax.Array:
    r"""Whether F falls for ever along ``direction``, so that it has no minimum.

    The slope of row i's loss at the far end of z = Xd is :math:`\max(z,0) - yz`, for
    softmax :math:`\max_k z_k - \sum_k Y_k z_k`: never negative, and zero only where
    the direction agrees with the label. F recedes when it is zero in every row and
    the penalty does not act.

    Source: Albert & Anderson (1984), Biometrika 71, "On the existence of maximum
    likelihood estimates in logistic regression models".

    Args:
        objective: the problem.
        direction: d, (P,).
        rtol: what counts as zero: a slope up to rtol · max|z|, a penalised coefficient
            up to rtol · ‖d‖. With 0 a True is a proof, up to the rounding of Xd.

    Returns:
        A boolean scalar.
    """
    z = objective.linear(direction)
    if not objective.class_shape:
        slope, spread = jnp.maximum(z, 0) - objective.y * z, jnp.abs(z)
    else:
        top = jnp.max(z, axis=1)
        slope = top - jnp.sum(objective.y * z, axis=1)
        spread = top - jnp.min(z, axis=1)
    counted = objective.row_weight > 0
    spread = jnp.max(jnp.where(counted, spread, 0))
    agrees = jnp.all(jnp.where(counted, slope <= rtol * spread, True))
    coef, _ = objective.split(direction)
    curvature = objective.penalty.curvature(coef)
    scale = rtol**2 * jnp.max(curvature) * jnp.sum(direction**2)
    free = jnp.sum(curvature * coef**2) <= scale
    return agrees & free & (spread > 0) & jnp.isfinite(spread)


def is_bounded_by_design(objective: Objective) -> jax.Array:
    """Whether every coefficient is penalised and every class occurs: a minimum exists."""
    coef, _ = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    held = jnp.all(class_shares(objective.y, objective.row_weight) > 0)
    held = held if objective.fit_intercept else jnp.asarray(True)
    return held & jnp.all(objective.penalty.curvature(coef) > 0)


def class_shares(y: jax.Array, weight: jax.Array) -> jax.Array:
    """The largest weighted label of every class, (2,) or (K,): zero where one never occurs."""
    xp = y.__array_namespace__()  # a few labels are looked at by NumPy
    if y.ndim == 1 and jnp.ndim(weight) == 0:  # after the maximum: no vector of n is made
        return xp.stack([1 - xp.min(y), xp.max(y)]) * weight
    if y.ndim == 1:
        return xp.stack([xp.max((1 - y) * weight), xp.max(y * weight)])
    return xp.max(y * xp.broadcast_to(weight, y.shape[:1])[:, None], axis=0)


def may_separate(objective: Objective, value: jax.Array) -> jax.Array:
    """Whether a point where F has this value can have every row on its own side.

    A row on the wrong side costs at least log 2, so that a value below the lightest row's
    share of that has none.
    """
    lightest = jnp.min(jnp.where(objective.row_weight > 0, objective.row_weight, jnp.inf))
    return value < jnp.log(2.0) * lightest


def separates(objective: Objective, theta: jax.Array, value: jax.Array) -> jax.Array:
    """Whether θ, where F has this value, proves the data completely separated: only where it
    may is a product spent to see whether θ itself is a direction of recession."""
    doubted = may_separate(objective, value)
    return jax.lax.cond(doubted, lambda: recedes(objective, theta), lambda: jnp.asarray(False))


def curvature_bound(objective: Objective) -> jax.Array:
    r"""L with :math:`\nabla^2F(\theta) \preceq L\,I` everywhere: 1/L is a safe step.

    :math:`L = c\,\lambda_{\max}(Z^\top W Z) + \max_j \text{strength}\,f_j`, with Z the
    features and the intercept's ones, c = ¼ for the sigmoid and ½ for softmax
    (Böhning 1992, Ann. Inst. Statist. Math. 44). Sparse features, and thousands of rows
    and columns, take the trace in place of the eigenvalue: larger, hence still safe.
    """
    X, weight = objective.X, objective.row_weights()
    largest = jnp.sum(column_squares(X, weight)) + objective.fit_intercept
    if not isinstance(X, SparseFeatures) and min(X.shape) <= _EXACT_BOUND_LIMIT:
        largest = jnp.linalg.eigvalsh(_weighted_gram(objective))[-1]
        largest = largest * (1 + 10 * min(X.shape) * jnp.finfo(X.dtype).eps)
    coef, _ = objective.split(jnp.zeros(objective.num_parameters, X.dtype))
    factor = 0.5 if objective.class_shape else 0.25
    return factor * largest + jnp.max(objective.penalty.curvature(coef))


def _weighted_gram(objective: Objective) -> jax.Array:
    """ZᵀWZ or √W ZZᵀ √W, whichever is smaller: they share their largest eigenvalue."""
    root = jnp.sqrt(objective.row_weights())[:, None]
    Z = dense(objective.X) * root
    if objective.fit_intercept:
        Z = jnp.concatenate([Z, root], axis=1)
    axis = 0 if Z.shape[0] > Z.shape[1] else 1
    return jnp.tensordot(Z, Z, axes=(axis, axis), precision=precision())
