r"""The objective: the function that training minimises, and the layout of its parameters.

.. math::
    F(\beta, b) = \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, \eta_i) + P(\beta),
    \qquad \eta = X\beta + b + \text{offset}.

Solvers see one flat vector θ: the coefficients row by row, then the intercept(s).
For softmax θ reshapes to (p + 1, K): entry j·K + k is feature j, class k, and the
last K entries are the intercepts. Without an intercept that last part is absent.

======================  ======  =======================================
word                    symbol  shape
======================  ======  =======================================
features                X       (n, p), dense or sparse
labels                  y, Y    (n,) in [0, 1]; (n, K) rows sum to one
sample_weight           w       (n,)
offset                          (n,) or (n, K)
coef                    β       (p,) or (p, K)
intercept               b       () or (K,)
logits                  η       (n,) or (n, K)
probability             μ, ŷ    (n,) or (n, K)
parameters              θ       (P,), P = (p + 1) or (p + 1)·K
======================  ======  =======================================
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.objective.dense_features import Features, as_array, as_features, total
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.model import as_inexact, logits
from jax_logreg.objective.penalties import L2, Penalty
from jax_logreg.programs.compiled import Compiled
from jax_logreg.programs.jax_settings import own_settings


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Objective:
    """The data and the penalty that define F; build it with :func:`make_objective`.

    Attributes:
        X: (n, p).
        y: (n,) or (n, K).
        row_weight: w / Σw, (n,); the one number 1/n where all rows weigh the same.
        offset: (n,), (n, K), or None for zero.
        penalty: P.
        fit_intercept: whether θ ends in an intercept.
    """

    X: Features
    y: jax.Array
    row_weight: jax.Array
    offset: jax.Array | None
    penalty: Penalty
    fit_intercept: bool = field(metadata={"static": True})

    @property
    def class_shape(self) -> tuple[int, ...]:
        """() for the sigmoid model, (K,) for softmax."""
        return self.y.shape[1:]

    @property
    def num_parameters(self) -> int:
        """P, the length of θ."""
        rows = self.X.shape[1] + self.fit_intercept
        return rows * (self.class_shape[0] if self.class_shape else 1)

    def row_weights(self) -> jax.Array:
        """w / Σw of every row, (n,)."""
        return jnp.broadcast_to(self.row_weight, self.y.shape[:1])

    def mean(self, rows: jax.Array) -> jax.Array:
        """Σᵢ wᵢ rowᵢ / Σᵢ wᵢ of one number a row, (n,)."""
        if self.row_weight.ndim == 0:  # after the sum: before it XLA would make a vector of them
            return self.row_weight * total(rows)
        return total(self.row_weight * rows)

    def split(self, theta: Any) -> tuple[Any, Any]:
        """θ as (coef, intercept); the intercept is zero where none is fitted."""
        return split_parameters(theta, self.class_shape, self.fit_intercept)

    def join(self, coef: Any, intercept: Any) -> Any:
        """The inverse of :meth:`split`."""
        parts = [coef.reshape(-1), intercept.reshape(-1)]
        xp = np if all(isinstance(part, np.ndarray) for part in parts) else jnp
        return xp.concatenate(parts if self.fit_intercept else parts[:1])

    def linear(self, theta: jax.Array) -> jax.Array:
        """Xβ + b, the part of η that is linear in θ: the one forward product."""
        return logits(self.X, *self.split(theta))

    def add_offset(self, linear: jax.Array) -> jax.Array:
        """η from its linear part."""
        return linear if self.offset is None else linear + self.offset

    def value_from_logits(self, eta: jax.Array, coef: jax.Array) -> jax.Array:
        """F where η is already known: no product with X."""
        return self.mean(cross_entropy(eta, self.y)) + self.penalty.value(coef)

    def penalty_terms(self, theta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Value, gradient (P,) and curvature (P,) of the penalty's smooth part at θ; zero at the
        intercept."""
        coef, intercept = self.split(theta)
        zero = jnp.zeros_like(intercept)
        slope, curvature = self.penalty.gradient(coef), self.penalty.curvature(coef)
        return self.penalty.smooth_value(coef), self.join(slope, zero), self.join(curvature, zero)

    def l1_weights(self, theta: jax.Array) -> jax.Array:
        """κ of the penalty in the layout of θ, (P,); zero at the intercept."""
        coef, intercept = self.split(theta)
        return self.join(self.penalty.l1_weights(coef), jnp.zeros_like(intercept))

    @own_settings()
    def value(self, theta: jax.Array) -> jax.Array:
        """F(θ), a scalar: mean nats a row, plus the penalty."""
        return self.value_from_logits(self.add_offset(self.linear(theta)), self.split(theta)[0])

    def take(self, rows: jax.Array, scale: jax.Array) -> "Objective":
        """F over the given rows, (m,), their weights times ``scale``, () or (m,)."""
        return replace(
            self,
            X=self.X.rows(rows),
            y=self.y[rows],
            row_weight=self.row_weights()[rows] * scale,
            offset=None if self.offset is None else self.offset[rows],
        )


def split_parameters(theta: Any, class_shape: tuple[int, ...], fit_intercept: bool) -> Any:
    """(coef, intercept) of parameters of NumPy or JAX, in the layout of θ; an intercept of zero
    where none is fitted.

    >>> split_parameters(np.arange(3.0), (), True)
    (array([0., 1.]), np.float64(2.0))
    """
    table = theta.reshape((-1, *class_shape))
    if fit_intercept:
        return table[:-1], table[-1]
    return table, theta.__array_namespace__().zeros(class_shape, dtype=theta.dtype)


@own_settings()
def make_objective(
    X: ArrayLike | Features,
    y: ArrayLike,
    penalty: Penalty | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> Objective:
    """The objective of a data set, in the dtype of X.

    Args:
        X: (n, p), an array or features; whole numbers become floating.
        y: (n,) in [0, 1] for the sigmoid model, (n, K) for softmax. Nothing is checked
            or encoded here, that is for ``fit``: class numbers need ``jax.nn.one_hot``.
        penalty: none if absent.
        sample_weight: (n,), ≥ 0 with a positive sum; ones if absent.
        offset: (n,) or (n, K); zero if absent.
        fit_intercept: whether to add an unpenalised intercept.

    Returns:
        F, of which ``value`` is a function of the flat parameters.

    >>> F = make_objective([[1.0], [2.0]], [0.0, 1.0])
    >>> F.num_parameters, F.value(jnp.zeros(2)).round(4).item()
    (2, 0.693...)
    """
    features = as_features(X if isinstance(X, Features) else as_inexact(X, "X"))
    dtype = features.dtype
    weight = (
        None if sample_weight is None else as_array(sample_weight, "sample_weight").astype(dtype)
    )
    return Objective(
        X=features,
        y=as_array(y, "y").astype(dtype),
        row_weight=normalized_weights(features, weight),
        offset=None if offset is None else as_array(offset, "offset").astype(dtype),
        penalty=L2(0.0) if penalty is None else penalty,
        fit_intercept=fit_intercept,
    )


def normalized_weights(X: Features, weight: jax.Array | np.ndarray | None) -> Any:
    """w / Σw, (n,), a NumPy array if the weights are; the scalar 1/n of NumPy without weights."""
    if weight is None:
        return np.asarray(1 / X.shape[0], X.dtype)
    return _normalized(weight, np) if isinstance(weight, np.ndarray) else _normalized_by_jax(weight)


def _normalized(weight: Any, xp: Any, barrier: Any = lambda weight: weight) -> Any:
    # Neither the sum of huge weights may overflow nor the reciprocal of their size underflow.
    root = xp.sqrt(xp.max(weight))
    weight = barrier(weight / root) / root
    return weight / xp.sum(weight)


@Compiled
def _normalized_by_jax(weight: jax.Array) -> jax.Array:
    # XLA divides by multiplying, and would merge the two divisions.
    return _normalized(weight, jnp, jax.lax.optimization_barrier)
