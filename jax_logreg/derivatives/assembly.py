r"""Row terms put together into derivatives of the whole objective.

With Z = X and the intercept's column of ones, every derivative of the data is one of
:math:`Z^\top r`, :math:`Z^\top D (Z v)` and :math:`Z^\top D Z`; the penalty adds its diagonal.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jax_logreg.derivatives.rows import curvature, curve, keep, spread
from jax_logreg.objective.dense_features import gram, transposed_times
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures, dense


def backward(objective: Objective, residual: jax.Array) -> jax.Array:
    """ZᵀW̃r in the layout of θ, for residuals (n,) or (n, K)."""
    same = objective.row_weight.ndim == 0
    residual = keep(residual if same else weighted(objective, residual))
    Zr = objective.join(transposed_times(objective.X, residual), jnp.sum(residual, axis=0))
    return objective.row_weight * Zr if same else Zr


def weighted(objective: Objective, rows: jax.Array) -> jax.Array:
    """(w/Σw) · rows, for rows (n,) or (n, K)."""
    return objective.row_weight.reshape((-1,) + (1,) * (rows.ndim - 1)) * rows


def penalty_curvature(objective: Objective) -> jax.Array:
    """The diagonal of P's Hessian in the layout of θ, zero at the intercept."""
    coef, intercept = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    return objective.join(objective.penalty.curvature(coef), intercept)


def gradient_from_residual(
    objective: Objective, theta: jax.Array, residual: jax.Array
) -> jax.Array:
    """∇F where μ − y is already known: one backward product."""
    return backward(objective, residual) + penalty_curvature(objective) * theta


def hvp_from_curvature(objective: Objective, curvature: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector where σ′(η), or μ for softmax, is already known."""
    data = backward(objective, curve(curvature, objective.linear(vector)))
    return data + penalty_curvature(objective) * vector


def hessian_from_logits(objective: Objective, eta: jax.Array) -> jax.Array:
    """The Hessian where η is already known."""
    if isinstance(objective.X, SparseFeatures):
        return _hessian_by_columns(objective, curvature(eta))
    if eta.ndim == 1:
        data = bordered_gram(objective, weighted(objective, curvature(eta)))
    else:
        data = _softmax_hessian(objective, eta)
    return data + jnp.diag(penalty_curvature(objective))


def _hessian_by_columns(objective: Objective, curvature: jax.Array) -> jax.Array:
    """One product a column: sparse features are never spelt out."""
    basis = jnp.eye(objective.num_parameters, dtype=objective.X.dtype)
    return jax.lax.map(lambda v: hvp_from_curvature(objective, curvature, v), basis)


def bordered_gram(
    objective: Objective, weight: jax.Array, dtype: DTypeLike | None = None
) -> jax.Array:
    """Zᵀ diag(weight) Z, (q, q) with q = p + 1, or p without an intercept, of a dense X."""
    inner = gram(dense(objective.X), weight, dtype)
    if not objective.fit_intercept:
        return inner
    edge = transposed_times(objective.X, weight).astype(inner.dtype)
    corner = jnp.sum(weight).astype(inner.dtype)
    return jnp.block([[inner, edge[:, None]], [edge[None, :], corner]])


def _softmax_hessian(objective: Objective, eta: jax.Array) -> jax.Array:
    """Block (k, m) is Zᵀ diag(w̃ μ_k (δ_km − μ_m)) Z: only k ≤ m is computed, one
    block at a time, so that memory stays at one copy of X."""
    mu, rest = spread(eta)
    K = eta.shape[1]

    def block(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        k, m = pair
        return bordered_gram(
            objective, objective.row_weight * mu[:, k] * jnp.where(k == m, rest[:, k], -mu[:, m])
        )

    upper = jnp.triu_indices(K)
    blocks = jax.lax.map(block, upper)
    which = jnp.zeros((K, K), int).at[upper].set(jnp.arange(len(upper[0])))
    full = blocks[jnp.maximum(which, which.T)]
    return full.transpose(2, 0, 3, 1).reshape(objective.num_parameters, -1)
