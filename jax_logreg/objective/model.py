r"""The sigmoid and the softmax model: from rows to logits to probabilities.

Binary problems have logits of shape (n,), problems with K classes (n, K); every
function here tells the model by that shape.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.objective.dense_features import Features, as_array, as_features
from jax_logreg.programs.jax_settings import own_settings


def as_inexact(x: ArrayLike, name: str = "the argument") -> jax.Array:
    """x as an array that can hold fractions: whole numbers become JAX's default float.

    >>> as_inexact([1, 2]).dtype.name
    'float32'
    """
    x = as_array(x, name)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))


@own_settings()
def logits(
    X: ArrayLike | Features,
    coef: ArrayLike,
    intercept: ArrayLike = 0.0,
    offset: ArrayLike = 0.0,
) -> jax.Array:
    r"""Linear predictor of every row: :math:`\eta = X\beta + b + \text{offset}`.

    Args:
        X: features, (n, p), an array or sparse features.
        coef: β, (p,) for the sigmoid model, (p, K) for softmax.
        intercept: b, () or (K,).
        offset: a known part of η, (n,) or (n, K).

    Returns:
        η, (n,) or (n, K), in log-odds. The notebook text writes it wᵀX, the
        article Z.

    >>> logits([[1.0, 2.0]], [0.5, -1.0], 0.25).tolist()
    [-1.25]
    """
    product = as_features(X).matvec(as_array(coef, "coef"))
    return product + as_array(intercept, "intercept") + as_array(offset, "offset")


@own_settings()
def sigmoid(z: ArrayLike) -> jax.Array:
    r"""Probability of log-odds z: :math:`\sigma(z) = 1/(1+e^{-z})`.

    Args:
        z: log-odds, any shape.

    Returns:
        Probabilities, of the shape of z.

    >>> sigmoid([0.0, 1e20, -1e20]).tolist()
    [0.5, 1.0, 0.0]
    """
    return jax.nn.sigmoid(as_inexact(z, "z"))


@own_settings()
def softmax(z: ArrayLike) -> jax.Array:
    r"""Probabilities of K logits: :math:`e^{z_k}/\sum_m e^{z_m}`, over the last axis.

    Args:
        z: logits, (..., K).

    Returns:
        Probabilities, (..., K), which sum to one.

    >>> softmax([0.0, 0.0, -1e20]).tolist()
    [0.5, 0.5, 0.0]
    """
    return jax.nn.softmax(as_inexact(z, "z"), axis=-1)


@own_settings()
def probability(eta: ArrayLike) -> jax.Array:
    r"""The prediction :math:`\mu` (ŷ in the texts): sigmoid or softmax of the logits.

    Args:
        eta: logits, (n,) or (n, K).

    Returns:
        Probabilities of class 1, (n,), or of every class, (n, K).

    >>> probability([[1.0, 1.0]]).tolist()
    [[0.5, 0.5]]
    """
    eta = as_inexact(eta, "eta")
    return sigmoid(eta) if eta.ndim == 1 else softmax(eta)


@own_settings()
def predict_class(eta: ArrayLike) -> jax.Array:
    """The likeliest class of every row: 1 where η > 0, or that of the largest logit.

    Args:
        eta: logits, (n,) or (n, K).

    Returns:
        Class numbers, (n,).

    >>> predict_class([-0.5, 2.0]).tolist(), predict_class([[1.0, 0.0]]).tolist()
    ([0, 1], [0])
    """
    eta = as_array(eta, "eta")
    return (eta > 0).astype(int) if eta.ndim == 1 else jnp.argmax(eta, axis=-1)


@own_settings()
def odds(p: ArrayLike) -> jax.Array:
    r"""Odds of a probability: :math:`p/(1-p)`.

    Args:
        p: probabilities in [0, 1), any shape.

    Returns:
        Odds, of the shape of p.

    >>> odds(0.75).item()
    3.0
    """
    p = as_array(p, "p")
    return p / (1 - p)


@own_settings()
def logit(p: ArrayLike) -> jax.Array:
    r"""Log-odds of a probability: :math:`\log(p/(1-p))`, the inverse of the sigmoid.

    Args:
        p: probabilities in [0, 1], any shape.

    Returns:
        Log-odds, of the shape of p; infinite for 0 and 1.

    >>> logit(0.5).item()
    0.0
    """
    p = as_array(p, "p")
    return jnp.log(p) - jnp.log1p(-p)
