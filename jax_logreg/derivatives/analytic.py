r"""Every derivative of the sigmoid and softmax objective, written by hand.

``autodiff.py`` has the same functions with the same signatures; a test holds each
pair together. The chain that both texts follow is

.. math::
    \frac{\partial \ell}{\partial w} = \frac{\partial \ell}{\partial \hat y}\,
    \frac{\partial \hat y}{\partial z}\,\frac{\partial z}{\partial w},

and it collapses to the residual :math:`\mu - y` times the row of X.
"""

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.assembly import (
    gradient_from_residual,
    hessian_from_logits,
    hvp_from_curvature,
)
from jax_logreg.derivatives.rows import curvature
from jax_logreg.objective.model import probability, sigmoid, softmax
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import dense

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
    table = dense(objective.X)[:, :, None] * residual
    if objective.fit_intercept:
        table = jnp.concatenate([table, residual], axis=1)
    return table.reshape(table.shape[0], -1)


def gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Gradient, :math:`\nabla F = Z^\top\tilde W(\mu-y) + \text{strength}\,f\,\beta`, (P,).

    Z is X with the intercept's column of ones. Source: the last line of the
    notebook text, with the weights, offset and penalty that it leaves out.
    """
    eta = objective.add_offset(objective.linear(theta))
    return gradient_from_residual(objective, theta, loss_wrt_logits(eta, objective.y))


def hvp(objective: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector at θ, (P,): one forward and one backward product."""
    eta = objective.add_offset(objective.linear(theta))
    return hvp_from_curvature(objective, curvature(eta), vector)


def hessian(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Hessian, (P, P): :math:`Z^\top\tilde W D Z + \mathrm{diag}(\text{strength}\,f)`.

    D is σ′(η) for the sigmoid; for softmax every row has a K × K block, the Jacobian
    :math:`\mathrm{diag}(\mu)-\mu\mu^\top`. Labels do not enter: observed and
    expected information are the same for this model.
    """
    return hessian_from_logits(objective, objective.add_offset(objective.linear(theta)))
