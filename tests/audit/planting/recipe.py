"""Hand-written derivatives of two logistic losses, in pieces that can be swapped for wrong ones.

θ is a flat vector: the table (p + 1, C) row by row, a row a feature, the intercepts last.
The sigmoid model is the case C = 1; the pieces below serve both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
STRENGTH = 0.3


def sigmoid_value(theta: Array, X: Array, y: Array, w: Array, offset: Array) -> Array:
    """Weighted cross-entropy and an L2 penalty on all but the intercept."""
    eta = X @ theta[:-1] + theta[-1] + offset
    return jnp.sum(w * (jnp.logaddexp(0, eta) - y * eta)) + STRENGTH / 2 * jnp.sum(theta[:-1] ** 2)


def softmax_value(theta: Array, X: Array, y: Array, w: Array, offset: Array) -> Array:
    """The same of several classes; y is one-hot, (n, K)."""
    table = theta.reshape(-1, y.shape[1])
    eta = X @ table[:-1] + table[-1] + offset
    losses = jax.nn.logsumexp(eta, axis=1) - jnp.sum(y * eta, axis=1)
    return jnp.sum(w * losses) + STRENGTH / 2 * jnp.sum(table[:-1] ** 2)


class Model(NamedTuple):
    """One loss.

    Attributes:
        name: "sigmoid" or "softmax".
        value: the loss.
        mean: η ↦ μ, both (n, C).
        columns: C, of the table of parameters.
    """

    name: str
    value: Callable[..., Array]
    mean: Callable[[Array], Array]
    columns: int


# As many classes as features, so that a transposed table has the right shape.
ROWS, FEATURES = 40, 4
SIGMOID = Model("sigmoid", sigmoid_value, jax.nn.sigmoid, 1)
SOFTMAX = Model("softmax", softmax_value, jax.nn.softmax, FEATURES)
MODELS = {"sigmoid": SIGMOID, "softmax": SOFTMAX}


def make_data(
    model: Model, rows: int, features: int, dtype: str, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """X, y, weights and offset, none of them trivial."""
    X = rng.normal(size=(rows, features)) * rng.uniform(0.5, 2, features) + 0.3
    eta = X @ rng.normal(size=(features, model.columns)) / np.sqrt(features)
    if model.columns == 1:
        shape: tuple[int, ...] = (rows,)
        y = (eta[:, 0] + rng.logistic(size=rows) > 0) * 1.0
    else:
        shape = (rows, model.columns)
        y = np.eye(model.columns)[np.argmax(eta + rng.gumbel(size=shape), axis=1)]
    arrays = (X, y, rng.uniform(0.3, 2.5, rows), 0.7 * rng.normal(size=shape))
    return tuple(array.astype(dtype) for array in arrays)


def _same(array: Array) -> Array:
    return array


def observed_information(mu: Array, y: Array) -> Array:
    """diag(μ) − μμᵀ of every row, (n, C, C); μ(1 − μ) where C = 1."""
    return mu[:, :, None] * jnp.eye(mu.shape[1]) - mu[:, :, None] * mu[:, None, :]


def ridge(table: Array) -> Array:
    """What the penalty gives, linear in the table."""
    return STRENGTH * table.at[-1].set(0)


@dataclass(frozen=True)
class Recipe:
    """The pieces of the derivatives; the defaults are right.

    Attributes:
        mean: η ↦ μ.
        labels, weights, offset: what is made of y, w and the offset.
        logits: (X with ones, table) ↦ η without the offset.
        residual: (μ, y) ↦ slope of every row, (n, C).
        curvature: (μ, y) ↦ (n, C, C).
        rows: what is made of the weighted rows of either.
        factor: n, w ↦ a factor on the data term.
        penalty: table ↦ table.
        vector: (θ, v) ↦ the vector that the Hessian is multiplied with.
    """

    mean: Callable[[Array], Array]
    labels: Callable[[Array], Array] = _same
    weights: Callable[[Array], Array] = _same
    offset: Callable[[Array], Array] = _same
    logits: Callable[[Array, Array], Array] = jnp.matmul
    residual: Callable[[Array, Array], Array] = jnp.subtract
    curvature: Callable[[Array, Array], Array] = observed_information
    rows: Callable[[Array], Array] = _same
    factor: Callable[[Array], Array | float] = lambda w: 1.0
    penalty: Callable[[Array], Array] = ridge
    vector: Callable[[Array, Array], Array] = lambda theta, v: v

    def gradient(self, theta: Array, X: Array, y: Array, w: Array, offset: Array) -> Array:
        """Slope of the loss, (P,)."""
        X1, table, mu, y = self._prepare(theta, X, y, offset)
        slope = self.rows(self.weights(w)[:, None] * self.residual(mu, y))
        return (self.factor(w) * (X1.T @ slope) + self.penalty(table)).ravel()

    def hessian(self, theta: Array, X: Array, y: Array, w: Array, offset: Array) -> Array:
        """Second derivatives, (P, P)."""
        X1, table, mu, y = self._prepare(theta, X, y, offset)
        curved = self.rows(self.weights(w)[:, None, None] * self.curvature(mu, y))
        data = jnp.einsum("ij,ikl,im->jkml", X1, curved, X1).reshape(theta.size, theta.size)
        return self.factor(w) * data + jnp.diag(self.penalty(jnp.ones_like(table)).ravel())

    def hvp(self, theta: Array, v: Array, X: Array, y: Array, w: Array, offset: Array) -> Array:
        """The Hessian times v, (P,)."""
        X1, table, mu, y = self._prepare(theta, X, y, offset)
        vectors = self.vector(theta, v).reshape(table.shape)
        curved = self.rows(self.weights(w)[:, None, None] * self.curvature(mu, y))
        slope = jnp.einsum("ikl,il->ik", curved, X1 @ vectors)
        return (self.factor(w) * (X1.T @ slope) + self.penalty(vectors)).ravel()

    def _prepare(self, theta: Array, X: Array, y: Array, offset: Array) -> tuple[Array, ...]:
        X1 = jnp.column_stack([X, jnp.ones_like(X[:, 0])])
        table = theta.reshape(X1.shape[1], -1)
        y, offset = (a.reshape(X.shape[0], -1) for a in (y, offset))
        mu = self.mean(self.logits(X1, table) + self.offset(offset))
        return X1, table, mu, self.labels(y)
