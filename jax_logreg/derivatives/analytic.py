r"""Every derivative of the sigmoid and softmax objective, written by hand.

``autodiff.py`` has the same functions with the same signatures; a test holds each
pair together. The chain that both texts follow is

.. math::
    \frac{\partial \ell}{\partial w} = \frac{\partial \ell}{\partial \hat y}\,
    \frac{\partial \hat y}{\partial z}\,\frac{\partial z}{\partial w},

and it collapses to the residual :math:`\mu - y` times the row of X.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jax_logreg.derivatives.oracle import Line, ModelOracle, Point
from jax_logreg.objective.model import PRECISION, probability, sigmoid, softmax
from jax_logreg.objective.objective import Objective

# --- one row: the steps of the chain rule ---------------------------------------


def sigmoid_derivative(z: jax.Array) -> jax.Array:
    r"""Slope of the sigmoid, :math:`\sigma'(z) = \sigma(z)(1-\sigma(z))`, any shape.

    Written :math:`\sigma(z)\sigma(-z)`: where σ(z) rounds to one, 1 − σ(z) would
    round to zero. Source: the notebook text, "Calculating the Derivative of σ(z)".

    >>> sigmoid_derivative(jnp.array([0.0])).tolist()
    [0.25]
    """
    return sigmoid(z) * sigmoid(-z)


def softmax_jacobian(z: jax.Array) -> jax.Array:
    r"""Jacobian of softmax, :math:`\partial\mu_k/\partial z_m = \mu_k(\delta_{km}-\mu_m)`.

    Args:
        z: logits, (..., K).

    Returns:
        (..., K, K): symmetric, rows that sum to zero.

    >>> softmax_jacobian(jnp.zeros(2)).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    mu = softmax(z)
    return mu[..., :, None] * (jnp.eye(z.shape[-1], dtype=mu.dtype) - mu[..., None, :])


def loss_wrt_prediction(prediction: jax.Array, y: jax.Array) -> jax.Array:
    r"""First link, :math:`\partial\ell/\partial\hat y`, of the shape of the prediction.

    :math:`-y/\hat y + (1-y)/(1-\hat y)` for predictions (n,); :math:`-Y/\hat Y` for
    (n, K). Source: the article, "Gradient descent".

    >>> loss_wrt_prediction(jnp.array([0.5]), jnp.array([1.0])).tolist()
    [-2.0]
    """
    if prediction.ndim == 1:
        return -y / prediction + (1 - y) / (1 - prediction)
    return -y / prediction


def prediction_wrt_logits(eta: jax.Array) -> jax.Array:
    """Second link, ∂ŷ/∂z: (n,) for the sigmoid, (n, K, K) for softmax.

    >>> prediction_wrt_logits(jnp.zeros(1)).tolist()
    [0.25]
    """
    return sigmoid_derivative(eta) if eta.ndim == 1 else softmax_jacobian(eta)


def logits_wrt_coef(X: jax.Array, coef: jax.Array) -> jax.Array:
    r"""Third link, :math:`\partial z_i/\partial w_j = x_{ij}`.

    Returns:
        (n, p) for coefficients (p,); for (p, K) the array (n, K, p, K) that is
        x_ij where the two classes agree and zero elsewhere.

    >>> logits_wrt_coef(jnp.array([[3.0]]), jnp.zeros(1)).tolist()
    [[3.0]]
    """
    if coef.ndim == 1:
        return X
    return jnp.einsum("ij,km->ikjm", X, jnp.eye(coef.shape[1], dtype=X.dtype))


def loss_wrt_logits(eta: jax.Array, y: jax.Array) -> jax.Array:
    r"""The first two links together, :math:`\partial\ell/\partial z = \mu - y`.

    The division by ŷ(1 − ŷ) cancels, which is why training never meets 0/0.

    >>> loss_wrt_logits(jnp.zeros(1), jnp.ones(1)).tolist()
    [-0.5]
    """
    return probability(eta) - y


# --- the whole objective --------------------------------------------------------


def scores(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Score of every row, :math:`-\partial\ell_i/\partial\theta = (y_i-\mu_i)\,z_i`.

    The slope of the row's *log-likelihood*, unweighted and unpenalised, so that
    :math:`\nabla F = -\sum_i \tilde w_i s_i + \nabla P` with w̃ = w/Σw.

    Returns:
        (n, P), in the layout of θ.
    """
    residual = -loss_wrt_logits(objective.add_offset(objective.linear(theta)), objective.y)
    residual = residual.reshape(residual.shape[0], 1, -1)
    table = objective.X[:, :, None] * residual
    if objective.fit_intercept:
        table = jnp.concatenate([table, residual], axis=1)
    return table.reshape(table.shape[0], -1)


def gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Gradient, :math:`\nabla F = Z^\top\tilde W(\mu-y) + \text{strength}\,f\,\beta`, (P,).

    Z is X with the intercept's column of ones. Source: the last line of the
    notebook text, with the weights, offset and penalty that it leaves out.
    """
    eta = objective.add_offset(objective.linear(theta))
    return _gradient_from_logits(objective, theta, eta)


def hvp(objective: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector at θ, (P,): one forward and one backward product."""
    eta = objective.add_offset(objective.linear(theta))
    return _hvp_from_logits(objective, eta, vector)


def hessian(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Hessian, (P, P): :math:`Z^\top\tilde W D Z + \mathrm{diag}(\text{strength}\,f)`.

    D is σ′(η) for the sigmoid; for softmax every row has a K × K block, the Jacobian
    :math:`\mathrm{diag}(\mu)-\mu\mu^\top`. Labels do not enter: observed and
    expected information are the same for this model.
    """
    return _hessian_from_logits(objective, objective.add_offset(objective.linear(theta)))


def _backward(objective: Objective, residual: jax.Array) -> jax.Array:
    """Zᵀr in the layout of θ. Contracting r with X, not Xᵀ with r, is 3 to 9 times
    faster in XLA on the CPU for the same number."""
    coef = jnp.tensordot(residual, objective.X, axes=(0, 0), precision=PRECISION).T
    return objective.join(coef, jnp.sum(residual, axis=0))


def _row_weight(objective: Objective) -> jax.Array:
    """w/Σw with trailing axes for the classes: (n,) or (n, 1)."""
    return objective.row_weight.reshape((-1,) + (1,) * len(objective.class_shape))


def _penalty_curvature(objective: Objective) -> jax.Array:
    """The diagonal of P's Hessian in the layout of θ, zero at the intercept."""
    coef, intercept = objective.split(jnp.zeros(objective.num_parameters, objective.X.dtype))
    return objective.join(objective.penalty.curvature(coef), intercept)


def _gradient_from_logits(objective: Objective, theta: jax.Array, eta: jax.Array) -> jax.Array:
    residual = _row_weight(objective) * loss_wrt_logits(eta, objective.y)
    return _backward(objective, residual) + _penalty_curvature(objective) * theta


def _hvp_from_logits(objective: Objective, eta: jax.Array, vector: jax.Array) -> jax.Array:
    z = objective.linear(vector)
    if eta.ndim == 1:
        curved = sigmoid_derivative(eta) * z
    else:
        mu = softmax(eta)
        curved = mu * (z - jnp.sum(mu * z, axis=1, keepdims=True))
    backward = _backward(objective, _row_weight(objective) * curved)
    return backward + _penalty_curvature(objective) * vector


def _hessian_from_logits(objective: Objective, eta: jax.Array) -> jax.Array:
    if eta.ndim == 1:
        data = _weighted_gram(objective, objective.row_weight * sigmoid_derivative(eta))
    else:
        data = _softmax_hessian(objective, eta)
    return data + jnp.diag(_penalty_curvature(objective))


def _weighted_gram(objective: Objective, weight: jax.Array) -> jax.Array:
    """Zᵀ diag(weight) Z, (q, q) with q = p + 1, or p without an intercept."""
    XD = objective.X * weight[:, None]
    gram = jnp.tensordot(XD, objective.X, axes=(0, 0), precision=PRECISION)
    if not objective.fit_intercept:
        return gram
    edge = jnp.sum(XD, axis=0)
    return jnp.block([[gram, edge[:, None]], [edge[None, :], jnp.sum(weight)]])


def _softmax_hessian(objective: Objective, eta: jax.Array) -> jax.Array:
    """Block (k, m) is Zᵀ diag(w̃ μ_k (δ_km − μ_m)) Z: only k ≤ m is computed, one
    block at a time, so that memory stays at one copy of X."""
    mu = softmax(eta)
    K = eta.shape[1]

    def block(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        k, m = pair
        return _weighted_gram(objective, objective.row_weight * mu[:, k] * ((k == m) - mu[:, m]))

    upper = jnp.triu_indices(K)
    blocks = jax.lax.map(block, upper)
    which = jnp.zeros((K, K), int).at[upper].set(jnp.arange(len(upper[0])))
    full = blocks[jnp.maximum(which, which.T)]
    return full.transpose(2, 0, 3, 1).reshape(objective.num_parameters, -1)


# --- the oracle -----------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AnalyticOracle(ModelOracle):
    """The objective with the derivatives above; no product Xβ is made twice."""

    objective: Objective

    def at(self, theta: jax.Array) -> Point:
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        value = F.value_from_logits(eta, F.split(theta)[0])
        return Point(theta, value, _gradient_from_logits(F, theta, eta), eta)

    def value(self, theta: jax.Array) -> jax.Array:
        return _value_with_hand_gradient(self.objective, theta)

    def hessian(self, point: Point) -> jax.Array:
        return _hessian_from_logits(self.objective, point.logits)

    def hvp(self, point: Point, vector: jax.Array) -> jax.Array:
        return _hvp_from_logits(self.objective, point.logits, vector)

    def along(self, point: Point, direction: jax.Array) -> Line:
        F = self.objective
        z = F.linear(direction)
        penalty = _penalty_curvature(F)

        def line(t: jax.Array) -> tuple[jax.Array, jax.Array]:
            eta, theta = point.logits + t * z, point.theta + t * direction
            residual = _row_weight(F) * loss_wrt_logits(eta, F.y)
            slope = jnp.sum(residual * z) + jnp.sum(penalty * theta * direction)
            return F.value_from_logits(eta, F.split(theta)[0]), slope

        return line


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
