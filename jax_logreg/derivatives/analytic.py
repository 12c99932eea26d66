r"""The derivatives of the sigmoid and softmax objective, written by hand: these train.

``autodiff.py`` has the same functions with the same signatures, taken by JAX from the plain
formulas, and a registry of pairs (``audit/proof.py``) holds each against its namesake. The
chain that both texts follow is

.. math::
    \frac{\partial \ell}{\partial w} = \frac{\partial \ell}{\partial \hat y}\,
    \frac{\partial \hat y}{\partial z}\,\frac{\partial z}{\partial w},

and it collapses to the residual :math:`\mu - y` times the row of X. With Z = X and the
intercept's column of ones, every derivative of the data is then one of

.. math::
    Z^\top \tilde W r, \qquad Z^\top \tilde W D (Z v), \qquad Z^\top \tilde W D Z,

with :math:`\tilde W = W/\sum w`, r the residuals and D the curvature of every row. The penalty
adds its gradient and a diagonal.

In a row everything comes from one exponential: with few columns each more would cost as much
as the products with X.
"""

from collections.abc import Callable
from math import ceil, log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jax_logreg.derivatives.oracle import HessianProduct, Line, Point, Trial
from jax_logreg.derivatives.row_blocks import BlockResult, map_row_blocks
from jax_logreg.objective.identifiability import max_logit_change
from jax_logreg.objective.objective import Objective

# --- one row: loss, residual, curvature -----------------------------------------------


class LossAndResidual(NamedTuple):
    """Loss, (n,), and residual μ − y, of the shape of the logits."""

    loss: jax.Array
    residual: jax.Array


def loss_and_residual(eta: jax.Array, y: jax.Array) -> LossAndResidual:
    r"""Cross-entropy and its slope in the logits, :math:`\partial\ell/\partial\eta = \mu - y`.

    Args:
        eta: logits, (n,) for the sigmoid, (n, K) for softmax.
        y: labels of the same shape.

    >>> rows = loss_and_residual(jnp.zeros(1), jnp.ones(1))
    >>> rows.loss.round(4).tolist(), rows.residual.tolist()
    ([0.693...], [-0.5])
    """
    rows = _binary(eta, y) if eta.ndim == 1 else _categorical(eta, y)
    return LossAndResidual(*materialize(rows))


def _binary(eta: jax.Array, y: jax.Array) -> LossAndResidual:
    r"""With :math:`a = e^{-|\eta|}` and q the distance of the label from the side, 0 or 1, that
    η is on: the loss is log(1+a) + q|η|, and the residual :math:`\pm(q - (1-q)a)/(1+a)`.

    Nothing cancels in a row that is almost certain, as softplus(η) − yη and μ − y would. Every
    step depends on η: XLA stores a vector of what does not, such as 1 − y.
    """
    size, above = jnp.abs(eta), eta >= 0
    a, q = jnp.exp(-size), jnp.abs(above - y)
    slope = (q - (1 - q) * a) / (1 + a)
    return LossAndResidual(log1p_of_fraction(a) + q * size, jnp.where(above, slope, -slope))


def log1p_of_fraction(a: jax.Array) -> jax.Array:
    r"""log(1 + a) for a in [0, 1], any shape, to two units in the last place.

    By the series of :math:`2\,\mathrm{artanh}\frac{a}{2+a}`, whose terms shrink by 9 or more:
    XLA has no float64 logarithm that runs on a vector unit of the CPU, and the logarithm is
    most of a row's cost.

    >>> log1p_of_fraction(jnp.array([0.0, 1.0])).round(4).tolist()
    [0.0, 0.693...]
    """
    terms = ceil(-log(float(jnp.finfo(a.dtype).eps), 9))
    s = a / (2 + a)
    total = jnp.full_like(a, 1 / (2 * terms - 1))
    for k in range(terms - 1, 0, -1):
        total = total * s**2 + 1 / (2 * k - 1)
    return 2 * s * total


def _categorical(eta: jax.Array, Y: jax.Array) -> LossAndResidual:
    shifted = eta - jnp.max(eta, axis=1, keepdims=True)
    a, is_largest, ties, small = _split_exponentials(jnp.exp(shifted))
    total = ties + small
    loss = jnp.sum(Y * (jnp.log(total) - shifted), axis=1)
    # 1 − Y · total would cancel in a row that is almost certain.
    scaled = jnp.where(is_largest, (1 - Y * ties) - Y * small, a - Y * total)
    return LossAndResidual(loss, scaled / total)


class _Exponentials(NamedTuple):
    """Exponentials of a row, (..., K), whose largest are 1: how many those are, and the sum of
    the others, which may be below the last digit of the total."""

    a: jax.Array
    is_largest: jax.Array
    ties: jax.Array
    small: jax.Array


def _split_exponentials(a: jax.Array) -> _Exponentials:
    is_largest = a == 1
    small = jnp.sum(jnp.where(is_largest, 0, a), axis=-1, keepdims=True)
    return _Exponentials(a, is_largest, jnp.sum(is_largest, axis=-1, keepdims=True), small)


def probabilities_and_complements(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The probabilities μ of softmax and 1 − μ, (..., K), each to the last digit.

    >>> probabilities_and_complements(jnp.array([[40.0, 0.0]]))[1].tolist()
    [[4.24835...e-18, 1.0]]
    """
    shifted = eta - jnp.max(eta, axis=-1, keepdims=True)
    a, is_largest, ties, small = _split_exponentials(jnp.exp(shifted))
    total = ties + small
    others = small + (ties - is_largest) - jnp.where(is_largest, 0, a)
    return materialize((a / total, others / total))


def materialize(rows: Any) -> Any:
    """The same arrays behind an optimization barrier: XLA would otherwise compute them again
    inside every sum that reads them, on one core."""
    return jax.lax.optimization_barrier(rows)


def curvature(eta: jax.Array) -> jax.Array:
    r"""What the second derivative needs of the logits: σ′(η), (n,), or the probabilities μ,
    (n, K).

    >>> curvature(jnp.zeros(1)).tolist()
    [0.25]
    """
    if eta.ndim == 2:
        return materialize(jax.nn.softmax(eta, axis=1))
    return materialize(sigmoid_derivative(eta))


def apply_curvature(curvature: jax.Array, z: jax.Array) -> jax.Array:
    r"""The second derivative of the loss along z: σ′z, or :math:`\mu(z - \mu^\top z)`.

    Args:
        curvature: as from :func:`curvature`.
        z: a change of the logits, of the same shape.

    >>> apply_curvature(jnp.array([0.25]), jnp.array([2.0])).tolist()
    [0.5]
    """
    if z.ndim == 1:
        return curvature * z
    return curvature * (z - jnp.sum(curvature * z, axis=1, keepdims=True))


# --- one row: the links of the chain rule ---------------------------------------------


def sigmoid_derivative(z: jax.Array) -> jax.Array:
    r"""Slope of the sigmoid, :math:`\sigma'(z) = \sigma(z)(1-\sigma(z))`, any shape.

    Computed as :math:`a/(1+a)^2` with :math:`a = e^{-|z|}`: where σ(z) rounds to one, 1 − σ(z)
    would round to zero. Source: the notebook text, "Calculating the Derivative of σ(z)".

    >>> sigmoid_derivative(jnp.array([0.0])).tolist()
    [0.25]
    """
    a = jnp.exp(-jnp.abs(z))
    return a / (1 + a) ** 2


def softmax_jacobian(z: jax.Array) -> jax.Array:
    r"""Jacobian of softmax, :math:`\partial\mu_k/\partial z_m = \mu_k(\delta_{km}-\mu_m)`.

    Args:
        z: logits, (..., K).

    Returns:
        (..., K, K): symmetric, rows that sum to zero.

    >>> softmax_jacobian(jnp.zeros(2)).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    mu, complement = probabilities_and_complements(z)
    is_diagonal = jnp.eye(z.shape[-1], dtype=bool)
    return mu[..., :, None] * jnp.where(is_diagonal, complement[..., None, :], -mu[..., None, :])


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
    return loss_and_residual(eta, y).residual


# --- the objective: value, gradient, Hessian --------------------------------------------


def evaluate(objective: Objective, theta: jax.Array, direction: jax.Array | None = None) -> Point:
    r"""F and its gradient, :math:`\nabla F = Z^\top\tilde W(\mu-y) + \nabla P(\beta)`.

    One forward and one backward product; with a direction the Hessian's product with it
    joins the same pass. Source: the last line of the notebook text, with the weights, offset and
    penalty that it leaves out.

    Args:
        objective: F.
        theta: θ, (P,).
        direction: v, (P,), or None.
    """

    def of_rows(F: Objective, _: Any) -> BlockResult:
        slope = _value_and_gradient_terms(F, theta)
        if direction is None:
            return BlockResult((slope.sums, ()), (), slope.rows)
        hvp = _hvp_terms(F, curvature(slope.rows), direction)
        return BlockResult((slope.sums, hvp.sums), hvp.maxima, slope.rows)

    (sums, product), change, eta = map_row_blocks(objective, (), of_rows)
    loss, slope = sums
    value, gradient, diagonal = objective.penalty_terms(theta)
    point = Point(theta, loss + value, slope + gradient, eta)
    if direction is None:
        return point
    return point._replace(hvp=HessianProduct(direction, product + diagonal * direction, change))


def _value_and_gradient_terms(F: Objective, theta: jax.Array) -> BlockResult:
    eta = F.add_offset(F.linear(theta))
    rows = loss_and_residual(eta, F.y)
    return BlockResult(sums=(F.mean(rows.loss), backward(F, rows.residual)), rows=eta)


def _hvp_terms(F: Objective, known: jax.Array, direction: jax.Array) -> BlockResult:
    z = materialize(F.linear(direction))
    return BlockResult(sums=backward(F, apply_curvature(known, z)), maxima=max_logit_change(z))


def hessian_operator(objective: Objective, point: Point) -> Callable[[jax.Array], HessianProduct]:
    r"""v ↦ :math:`Z^\top\tilde W D(Zv) + P''v`: one forward and one backward product each."""
    known = curvature(point.logits)
    diagonal = objective.penalty_terms(point.theta)[2]

    def apply(vector: jax.Array) -> HessianProduct:
        rows = map_row_blocks(objective, known, lambda F, known: _hvp_terms(F, known, vector))
        return HessianProduct(vector, rows.sums + diagonal * vector, rows.maxima)

    return apply


def hessian_at(objective: Objective, point: Point) -> jax.Array:
    r"""The Hessian at a point, (P, P): :math:`Z^\top\tilde W D Z + \mathrm{diag}(P'')`.

    D is σ′(η) for the sigmoid; for softmax every row has a K × K block, the Jacobian
    :math:`\mathrm{diag}(\mu)-\mu\mu^\top`. Labels do not enter: observed and
    expected information are the same for this model.
    """
    if not objective.X.has_gram:
        return _hessian_by_columns(objective, point)
    diagonal = objective.penalty_terms(point.theta)[2]
    return information(objective, point.logits) + jnp.diag(diagonal)


def information(objective: Objective, eta: jax.Array) -> jax.Array:
    r"""The part of the Hessian that the data give, :math:`Z^\top\tilde W D Z`, (P, P), for dense
    features."""
    if eta.ndim == 1:
        return bordered_gram(objective, weighted(objective, curvature(eta)))
    return _softmax_information(objective, eta)


def _hessian_by_columns(objective: Objective, point: Point) -> jax.Array:
    """One product a column: sparse features are never made dense."""
    apply = hessian_operator(objective, point)
    basis = jnp.eye(objective.num_parameters, dtype=objective.X.dtype)
    return jax.lax.map(lambda v: apply(v).product, basis)


def _softmax_information(objective: Objective, eta: jax.Array) -> jax.Array:
    """Block (k, m) is Zᵀ diag(w̃ μ_k (δ_km − μ_m)) Z: only k ≤ m is computed, one
    block at a time, so that memory stays at one copy of X."""
    mu, complement = probabilities_and_complements(eta)
    K = eta.shape[1]

    def block(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        k, m = pair
        jacobian = mu[:, k] * jnp.where(k == m, complement[:, k], -mu[:, m])
        return bordered_gram(objective, objective.row_weight * jacobian)

    upper = np.triu_indices(K)
    blocks = jax.lax.map(block, upper)
    which = np.zeros((K, K), int)
    which[upper] = np.arange(len(upper[0]))
    full = blocks[np.maximum(which, which.T)]
    return full.transpose(2, 0, 3, 1).reshape(objective.num_parameters, -1)


def line(objective: Objective, point: Point, direction: jax.Array) -> Line:
    r"""F along θ + t·d, and its slope: O(n) a trial, for Zd is computed once.

    A point on the line has its logits by addition, and its gradient by one backward product.
    """
    F = objective
    z = F.linear(direction)

    def at(t: jax.Array) -> Trial:
        rows = loss_and_residual(point.logits + t * z, F.y)
        value, gradient, _ = F.penalty_terms(point.theta + t * direction)
        along = rows.residual * z if z.ndim == 1 else jnp.sum(rows.residual * z, axis=1)
        slope = F.mean(along) + jnp.sum(gradient * direction)
        return Trial(F.mean(rows.loss) + value, slope)

    def point_at(t: jax.Array, trial: Trial) -> Point:
        theta, eta = point.theta + t * direction, materialize(point.logits + t * z)
        # Computed again: kept with the trial it would be one more vector of n in the loop.
        residual = loss_and_residual(eta, F.y).residual
        gradient = backward(F, residual) + F.penalty_terms(theta)[1]
        return Point(theta, trial.value, gradient, eta, recomputed=np.False_)

    return Line(at, point_at)


# --- the objective: the same, by name -----------------------------------------------------


def scores(objective: Objective, theta: jax.Array) -> jax.Array:
    r"""Score of every row, :math:`-\partial\ell_i/\partial\theta = (y_i-\mu_i)\,z_i`.

    The slope of the row's *log-likelihood*, unweighted and unpenalised, so that
    :math:`\nabla F = -\sum_i \tilde w_i s_i + \nabla P` with w̃ = w/Σw.

    Returns:
        (n, P), in the layout of θ.
    """
    residual = -loss_wrt_logits(objective.add_offset(objective.linear(theta)), objective.y)
    residual = residual.reshape(residual.shape[0], 1, -1)
    table = objective.X.to_array()[:, :, None] * residual
    if objective.fit_intercept:
        table = jnp.concatenate([table, residual], axis=1)
    return table.reshape(table.shape[0], -1)


def gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    """Gradient of F at θ, (P,); see :func:`evaluate`."""
    return evaluate(objective, theta).gradient


def hvp(objective: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector at θ, (P,); see :func:`hessian_operator`."""
    return hessian_operator(objective, evaluate(objective, theta))(vector).product


def hessian(objective: Objective, theta: jax.Array) -> jax.Array:
    """Hessian at θ, (P, P); see :func:`hessian_at`."""
    return hessian_at(objective, evaluate(objective, theta))


# --- products with Z ----------------------------------------------------------------------


def backward(objective: Objective, residual: jax.Array) -> jax.Array:
    """ZᵀW̃r in the layout of θ, (P,), for residuals (n,) or (n, K)."""
    is_uniform = objective.row_weight.ndim == 0
    residual = materialize(residual if is_uniform else weighted(objective, residual))
    Zr = objective.join(objective.X.rmatvec(residual), jnp.sum(residual, axis=0))
    return objective.row_weight * Zr if is_uniform else Zr


def weighted(objective: Objective, rows: jax.Array) -> jax.Array:
    """(w/Σw) · rows, for rows (n,) or (n, K)."""
    return objective.row_weight.reshape((-1,) + (1,) * (rows.ndim - 1)) * rows


def bordered_gram(
    objective: Objective, weight: jax.Array, dtype: DTypeLike | None = None
) -> jax.Array:
    """Zᵀ diag(weight) Z, (q, q) with q = p + 1, or p without an intercept, of a dense X."""
    inner = objective.X.gram(weight, dtype)
    if not objective.fit_intercept:
        return inner
    edge = objective.X.rmatvec(weight).astype(inner.dtype)
    corner = jnp.sum(weight).astype(inner.dtype)
    return jnp.block([[inner, edge[:, None]], [edge[None, :], corner]])
