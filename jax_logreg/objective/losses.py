r"""Cross-entropy of one row, from logits and from probabilities; the log-likelihood.

The forms from logits are the ones that train: exact for any finite logit. The
forms from probabilities are the texts' own, kept for checking each chain-rule step.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike

from jax_logreg.objective.dense_features import as_array
from jax_logreg.programs.jax_settings import own_settings


@own_settings()
def cross_entropy(eta: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""Loss of every row of either model, by the shape of the logits.

    For a sigmoid :math:`-[y\log\sigma(\eta) + (1-y)\log(1-\sigma(\eta))]`, for a softmax
    :math:`-\sum_k y_k \log \mathrm{softmax}(\eta)_k`.

    Args:
        eta: logits, (n,) or (n, K).
        y: labels in [0, 1], (n,), fractions are legal; or label probabilities, (n, K), rows
            that sum to one (one-hot, or soft).

    Returns:
        Losses in nats, (n,).

    Raises:
        ValueError: for another shape of y, which might broadcast and mean something else.

    >>> cross_entropy([0.0, -1e4], [1.0, 0.0]).round(4).tolist()
    [0.693..., 0.0]
    >>> cross_entropy([[0.0, 0.0]], [[1.0, 0.0]]).round(4).tolist()
    [0.693...]
    """
    eta, y = as_array(eta, "eta"), as_array(y, "y")
    if eta.shape != y.shape:
        raise ValueError(
            f"y must have the shape of the logits, {eta.shape}, but its shape is {y.shape}. Class "
            "numbers are jax.nn.one_hot(y, K)."
        )
    return _binary_cross_entropy(eta, y) if eta.ndim < 2 else _categorical_cross_entropy(eta, y)


def _binary_cross_entropy(eta: jax.Array, y: jax.Array) -> jax.Array:
    r"""By :math:`y\,s(-\eta) + (1-y)\,s(\eta)` with softplus :math:`s(\eta)=\log(1+e^\eta)`.

    The shorter :math:`s(\eta) - y\eta` loses every digit of a small loss to cancellation.
    """
    return y * jax.nn.softplus(-eta) + (1 - y) * jax.nn.softplus(eta)


def _categorical_cross_entropy(eta: jax.Array, Y: jax.Array) -> jax.Array:
    """By differences to the largest logit, whose own term takes no part.

    Neither the loss nor its derivative cancels in a row that is almost certain.
    """
    largest = jnp.argmax(eta, axis=-1, keepdims=True)
    others = jnp.arange(eta.shape[-1]) != largest
    below = jnp.where(others, eta - jnp.take_along_axis(eta, largest, axis=-1), 0)
    log_total = jnp.log1p(jnp.sum(jnp.where(others, jnp.exp(below), 0), axis=-1, keepdims=True))
    return jnp.sum(Y * (log_total - below), axis=-1)


def cross_entropy_of_probability(mu: ArrayLike, y: ArrayLike) -> jax.Array:
    r"""The texts' form: :math:`-[y\log\hat y+(1-y)\log(1-\hat y)]`, or −Σₖ Yₖ log ŷₖ.

    Args:
        mu: predictions ŷ, (n,) or (n, K).
        y: labels of the same shape.

    Returns:
        Losses, (n,): infinite where the prediction is certain and wrong.

    >>> cross_entropy_of_probability([0.5], [1.0]).round(4).tolist()
    [0.693...]
    """
    mu, y = as_array(mu, "mu"), as_array(y, "y")
    if mu.ndim == 1:
        return -(xlogy(y, mu) + xlog1py(1 - y, -mu))
    return -jnp.sum(xlogy(y, mu), axis=-1)


@own_settings()
def log_likelihood(
    eta: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, mean: bool = False
) -> jax.Array:
    r"""Log-likelihood of the data, :math:`-\sum_i w_i \ell(y_i, \eta_i)`.

    Args:
        eta: logits, (n,) or (n, K).
        y: labels of the same shape.
        sample_weight: w, (n,); ones if absent.
        mean: divide by Σw. The sum is what statistics tables print; the mean, with
            its sign changed, is what training minimises.

    Returns:
        A scalar in nats.

    >>> log_likelihood([0.0, 0.0], [1.0, 0.0], mean=True).round(4).item()
    -0.693...
    """
    loss = cross_entropy(eta, y)
    weight = (
        jnp.ones_like(loss) if sample_weight is None else as_array(sample_weight, "sample_weight")
    )
    total = -jnp.sum(weight * loss)
    return total / jnp.sum(weight) if mean else total
