r"""Loss, residual and curvature of every row, all from one exponential.

The plain formulas take an exponential for each; with few columns that costs as much as
the products with X. Every function here equals its plain namesake in ``analytic.py``
and ``losses.py``, which a test holds it to.
"""

from math import ceil, log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Rows(NamedTuple):
    """Loss, (n,), and residual μ − y, of the shape of the logits."""

    loss: jax.Array
    residual: jax.Array


def loss_and_residual(eta: jax.Array, y: jax.Array) -> Rows:
    """Cross-entropy and its slope in the logits, for either model by the shape of η.

    >>> rows = loss_and_residual(jnp.zeros(1), jnp.ones(1))
    >>> rows.loss.round(4).tolist(), rows.residual.tolist()
    ([0.693...], [-0.5])
    """
    rows = _binary(eta, y) if eta.ndim == 1 else _categorical(eta, y)
    return Rows(*keep(rows))


def _binary(eta: jax.Array, y: jax.Array) -> Rows:
    r"""With :math:`a = e^{-|\eta|}` and q the label's distance from the side, 0 or 1, that η
    is on: the loss is log(1+a) + q|η|, and the residual :math:`\pm(q - (1-q)a)/(1+a)`.

    Nothing cancels in a row that is almost certain, as softplus(η) − yη and μ − y would, and
    every step depends on η: XLA keeps a vector of what does not, such as 1 − y.
    """
    size, above = jnp.abs(eta), eta >= 0
    a, q = jnp.exp(-size), jnp.abs(above - y)
    slope = (q - (1 - q) * a) / (1 + a)
    return Rows(log1p_of_fraction(a) + q * size, jnp.where(above, slope, -slope))


def log1p_of_fraction(a: jax.Array) -> jax.Array:
    r"""log(1 + a) for a in [0, 1], any shape, to two units in the last place.

    By the series of :math:`2\,\mathrm{artanh}\frac{a}{2+a}`, whose terms shrink by 9 or more:
    XLA has no float64 logarithm that runs on a vector unit of the CPU, and a row is little
    more than its logarithm.

    >>> log1p_of_fraction(jnp.array([0.0, 1.0])).round(4).tolist()
    [0.0, 0.693...]
    """
    terms = ceil(-log(float(jnp.finfo(a.dtype).eps), 9))
    s = a / (2 + a)
    total = jnp.full_like(a, 1 / (2 * terms - 1))
    for k in range(terms - 1, 0, -1):
        total = total * s**2 + 1 / (2 * k - 1)
    return 2 * s * total


def _categorical(eta: jax.Array, Y: jax.Array) -> Rows:
    shifted = eta - jnp.max(eta, axis=1, keepdims=True)
    a, largest, ties, small = _split(jnp.exp(shifted))
    total = ties + small
    loss = jnp.sum(Y * (jnp.log(total) - shifted), axis=1)
    # 1 − Y · total would cancel in a row that is almost certain.
    rest = jnp.where(largest, (1 - Y * ties) - Y * small, a - Y * total)
    return Rows(loss, rest / total)


class _Split(NamedTuple):
    """Exponentials of a row, (n, K), whose largest are 1: how many those are, (n, 1), and the
    sum of the others, (n, 1), which may be too small to be seen beside them."""

    a: jax.Array
    largest: jax.Array
    ties: jax.Array
    small: jax.Array


def _split(a: jax.Array) -> _Split:
    largest = a == 1
    small = jnp.sum(jnp.where(largest, 0, a), axis=1, keepdims=True)
    return _Split(a, largest, jnp.sum(largest, axis=1, keepdims=True), small)


def spread(eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The probabilities μ and 1 − μ, (n, K), each to the last digit.

    >>> spread(jnp.array([[40.0, 0.0]]))[1].tolist()
    [[4.24835...e-18, 1.0]]
    """
    a, largest, ties, small = _split(jnp.exp(eta - jnp.max(eta, axis=1, keepdims=True)))
    total = ties + small
    others = small + (ties - largest) - jnp.where(largest, 0, a)
    return keep((a / total, others / total))


def keep(rows: Any) -> Any:
    """The rows, computed once: XLA would repeat them inside every sum that reads them, on
    one core."""
    return jax.lax.optimization_barrier(rows)


def curvature(eta: jax.Array) -> jax.Array:
    r"""What curvature needs of the logits: σ′(η), (n,), or the probabilities μ, (n, K).

    >>> curvature(jnp.zeros(1)).tolist()
    [0.25]
    """
    if eta.ndim == 2:
        return keep(jax.nn.softmax(eta, axis=1))
    a = jnp.exp(-jnp.abs(eta))
    return keep(a / (1 + a) ** 2)


def curve(curvature: jax.Array, z: jax.Array) -> jax.Array:
    r"""The second derivative of the loss along z: σ′z, or :math:`\mu(z - \mu^\top z)`.

    >>> curve(jnp.array([0.25]), jnp.array([2.0])).tolist()
    [0.5]
    """
    if z.ndim == 1:
        return curvature * z
    return curvature * (z - jnp.sum(curvature * z, axis=1, keepdims=True))
