r"""The uncertainty of anything that is computed from the parameters: the delta method.

.. math::
    \operatorname{cov}\,g(\hat\gamma) \approx J \operatorname{cov}(\hat\gamma)\, J^\top,
    \qquad J = \partial g/\partial\gamma,

with J by autodiff, so that g is any JAX function. Source: Cramér (1946), *Mathematical
Methods of Statistics*, section 28.4.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.special import ndtr, ndtri

from jax_logreg.fitting.validation import as_floats
from jax_logreg.inference.inference import Inference, check_level
from jax_logreg.objective.model import probability
from jax_logreg.objective.sparse_features import dense


@dataclass(frozen=True)
class Derived:
    """Quantities computed from the parameters, with their uncertainty.

    Attributes:
        estimate: of any shape.
        standard_error: of the same shape; NaN where the data do not tell the quantity.
        covariance_root: C with CCᵀ the covariance of the flattened quantities.
    """

    estimate: np.ndarray
    standard_error: np.ndarray
    covariance_root: np.ndarray = field(repr=False)

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided, of the hypothesis that the quantity is zero."""
        return 2 * ndtr(-np.abs(self.estimate / self.standard_error))

    def confidence_interval(self, level: float = 0.95) -> np.ndarray:
        """estimate ∓ quantile · standard error, with a last axis (low, high)."""
        check_level(level)
        half = -ndtri((1 - level) / 2) * self.standard_error
        return np.stack([self.estimate - half, self.estimate + half], axis=-1)


def delta(inference: Inference, g: Callable[..., Any]) -> Derived:
    """The uncertainty of a function of the coefficients.

    Args:
        inference: what ``infer`` returned.
        g: (coef, intercept) ↦ an array, in JAX: coef (p,) and intercept (); for softmax the
            contrasts, (p, K − 1) and (K − 1,), in the order of the classes without the
            reference. The intercept is zero where none was fitted.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(4.0).reshape(-1, 1), np.array([0.0, 1.0, 0.0, 1.0])
    >>> half = delta(lr.infer(lr.fit(X, y), X, y), lambda coef, b: -b / coef[0])
    >>> half.estimate.round(6).item(), half.standard_error.round(3).item()
    (1.5, 1.2...)
    """

    def of_parameters(gamma: jax.Array) -> jax.Array:
        return jnp.asarray(g(*_split(inference, gamma)))

    with jax.enable_x64(True):
        gamma = jnp.asarray(inference.estimate)
        estimate = np.asarray(of_parameters(gamma))
        J = np.asarray(jax.jacfwd(of_parameters)(gamma)).reshape(estimate.size, -1)
    root = J @ inference.covariance_root
    told = inference.information.estimable(J)
    error = np.where(told, np.sqrt(np.sum(root**2, axis=1)), np.nan)
    return Derived(estimate, error.reshape(estimate.shape), root)


def predict_interval(
    inference: Inference, X: ArrayLike, *, offset: ArrayLike | None = None, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted probabilities and their confidence intervals, all within [0, 1].

    The interval is Wald's in the log-odds of each class against all others.

    Args:
        inference: what ``infer`` returned.
        X: (m, p).
        offset: (m,) or (m, K).
        level: of confidence.

    Returns:
        Probabilities (m,) of class 1, or (m, K), and intervals with a last axis (low, high).
    """
    check_level(level)
    classes = () if inference.fit.reference is None else (inference.fit.num_contrasts + 1,)
    with jax.enable_x64(True):
        rows = _check_rows(inference, X)
        known = None if offset is None else as_floats("offset", offset)
    if known is not None and known.shape != (len(rows), *classes):
        raise ValueError(
            f"offset must have shape {(len(rows), *classes)}, but its shape is {known.shape}."
        )

    def log_odds(coef: jax.Array, intercept: jax.Array) -> jax.Array:
        eta = _logits(inference, rows, coef, intercept, known)
        if eta.ndim == 1:
            return eta
        # log μ_k − log(1 − μ_k), from the logits of the other classes
        others = jnp.where(jnp.eye(eta.shape[1], dtype=bool), -jnp.inf, eta[:, None, :])
        return eta - jax.nn.logsumexp(others, axis=2)

    odds = delta(inference, log_odds)
    ends = odds.confidence_interval(level)
    with jax.enable_x64(True):
        return np.asarray(jax.nn.sigmoid(odds.estimate)), np.asarray(jax.nn.sigmoid(ends))


def marginal_effects(inference: Inference, *, at_mean: bool = False) -> Derived:
    r"""How much a unit more of a feature changes the probabilities.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i\, \frac{\partial \mu_{ik}}{\partial x_{ij}}

    Args:
        inference: what ``infer`` returned.
        at_mean: at the mean row, in place of the mean over the rows.

    Returns:
        (p,) for class 1 of the sigmoid model, (p, K) for softmax.
    """
    F, weight = inference.fit.objective, inference.fit.weight / inference.fit.num_observations

    def effects(coef: jax.Array, intercept: jax.Array) -> jax.Array:
        X, offset, share = dense(F.X), F.offset, jnp.asarray(weight)
        if at_mean:
            X, share = share[None] @ X, jnp.ones(1)
            offset = None if offset is None else jnp.tensordot(weight, offset, 1)[None]
        mu = probability(_logits(inference, X, coef, intercept, offset))
        if mu.ndim == 1:
            return share @ (mu * (1 - mu)) * coef
        full = _with_reference(inference, coef)
        return full * (share @ mu) - jnp.einsum("n,nk,nm,jm->jk", share, mu, mu, full)

    return delta(inference, effects)


def _split(inference: Inference, gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """γ as (coef, intercept)."""
    fit = inference.fit
    shape = () if fit.reference is None else (fit.num_contrasts,)
    table = gamma.reshape(-1, *shape)
    if fit.objective.fit_intercept:
        return table[:-1], table[-1]
    return table, jnp.zeros(shape, gamma.dtype)


def _with_reference(inference: Inference, contrasts: jax.Array) -> jax.Array:
    """Coefficients or intercepts of all classes, the reference's zero."""
    at = inference.fit.reference
    return jnp.insert(contrasts, at, 0.0, axis=-1)  # type: ignore[arg-type]


def _logits(
    inference: Inference,
    X: jax.Array,
    coef: jax.Array,
    intercept: jax.Array,
    offset: jax.Array | None,
) -> jax.Array:
    eta = X @ coef + intercept
    eta = eta if inference.fit.reference is None else _with_reference(inference, eta)
    return eta if offset is None else eta + offset


def _check_rows(inference: Inference, X: ArrayLike) -> jax.Array:
    rows = as_floats("X", X)
    p = inference.fit.objective.X.shape[1]
    if rows.ndim != 2 or rows.shape[1] != p:
        raise ValueError(f"X must have shape (m, {p}), but its shape is {rows.shape}.")
    return rows
