r"""The delta method: standard errors of functions of the parameters.

.. math::
    \operatorname{cov}\,g(\hat\gamma) \approx J \operatorname{cov}(\hat\gamma)\, J^\top,
    \qquad J = \partial g/\partial\gamma,

with J by autodiff, so that g may be any JAX function. Source: Cramér (1946), *Mathematical
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
from jax_logreg.inference.inference import Inference, check_inference, check_level
from jax_logreg.inference.information import row_norms
from jax_logreg.objective.jax_settings import in_auto_axes, in_float64, own_settings
from jax_logreg.objective.model import sigmoid


@dataclass(frozen=True)
class Derived:
    """Functions of the parameters with their standard errors, as :func:`delta` returns them.

    Attributes:
        estimate: of any shape.
        standard_error: of the same shape; NaN for quantities that are not estimable.
        covariance_root: C with CCᵀ the covariance of the flattened quantities.

    >>> Derived(np.array(1.0), np.array(0.5), np.array([[0.5]])).confidence_interval().round(2)
    array([0.02, 1.98])
    """

    estimate: np.ndarray
    standard_error: np.ndarray
    covariance_root: np.ndarray = field(repr=False)

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided p-values of the hypotheses that a quantity is zero."""
        return 2 * ndtr(-np.abs(self.estimate / self.standard_error))

    def confidence_interval(self, level: float = 0.95) -> np.ndarray:
        """Wald's intervals, estimate ∓ quantile · standard error, with a last axis (low, high)."""
        check_level(level)
        half = -ndtri((1 - level) / 2) * self.standard_error
        return np.stack([self.estimate - half, self.estimate + half], axis=-1)


@own_settings()
def delta(inference: Inference, g: Callable[..., Any]) -> Derived:
    """The standard errors of a function of the coefficients.

    Args:
        inference: what ``infer`` returned.
        g: (coef, intercept) ↦ an array, in JAX: coef (p,) and intercept (); for softmax the
            contrasts, (p, K − 1) and (K − 1,), in the order of the classes without the
            reference. The intercept is zero if none was fitted.

    Returns:
        The estimates and standard errors, of the shape that g returns.

    Raises:
        TypeError: where JAX cannot differentiate g.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(4.0).reshape(-1, 1), np.array([0.0, 1.0, 0.0, 1.0])
    >>> half = delta(lr.infer(lr.fit(X, y), X, y), lambda coef, b: -b / coef[0])
    >>> half.estimate.round(6).item(), half.standard_error.round(3).item()
    (1.5, 1.2...)
    """
    check_inference(inference)
    if not callable(g):
        raise ValueError(f"g must be a function of (coef, intercept), but it is {g!r}.")

    to_original = inference.fit.scaling.to_original
    return scaled_delta(inference, lambda coef, intercept: g(*to_original(coef, intercept)))


def scaled_delta(inference: Inference, g: Callable[..., Any]) -> Derived:
    """The same of a function of the coefficients of ``inference.fit``, whose columns are scaled."""
    fit = inference.fit

    def of_parameters(gamma: jax.Array) -> jax.Array:
        return jnp.asarray(g(*_split(inference, gamma)))

    with in_float64():
        gamma = jnp.asarray(fit.contrasts(fit.theta))
        estimate = np.asarray(of_parameters(gamma))
        J = np.asarray(jax.jacfwd(of_parameters)(gamma)).reshape(estimate.size, -1)
    root = J @ inference.scaled_root
    error = np.where(inference.information.estimable(J), row_norms(root), np.nan)
    return Derived(estimate, error.reshape(estimate.shape), root)


@own_settings()
@in_auto_axes
def predict_interval(
    inference: Inference, X: ArrayLike, *, offset: ArrayLike | None = None, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted probabilities and their confidence intervals.

    The intervals are Wald's for the log-odds of each class against all others, so that their
    ends lie within [0, 1].

    Args:
        inference: what ``infer`` returned.
        X: (m, p).
        offset: (m,) or (m, K).
        level: of confidence.

    Returns:
        Probabilities, (m,) of class 1, or (m, K), and intervals with a last axis (low, high).

    Raises:
        ValueError: for bad input.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> mean, ends = predict_interval(lr.infer(lr.fit(X, y), X, y), [[2.5]])
    >>> mean.round(2).tolist(), ends.round(2).tolist()
    ([0.5], [[0.14, 0.86]])
    """
    check_inference(inference)
    check_level(level)
    classes = () if inference.fit.reference is None else (inference.fit.num_contrasts + 1,)
    p = inference.fit.objective.X.shape[1]
    with in_float64():
        rows = as_floats("X", X)
        known = None if offset is None else as_floats("offset", offset)
    if rows.ndim != 2 or rows.shape[1] != p:
        raise ValueError(f"X must have shape (m, {p}), but its shape is {rows.shape}.")
    if known is not None and known.shape != (len(rows), *classes):
        raise ValueError(
            f"offset must have shape {(len(rows), *classes)}, but its shape is {known.shape}."
        )

    scaled = inference.fit.scaling.transform(np.asarray(rows))

    def log_odds(coef: jax.Array, intercept: jax.Array) -> jax.Array:
        eta = logits_of(inference, scaled, coef, intercept, known)
        if eta.ndim == 1:
            return eta
        # log μ_k − log(1 − μ_k): the second term is the log-sum-exp of the other classes' logits.
        others = np.array([np.delete(np.arange(eta.shape[1]), k) for k in range(eta.shape[1])])
        return eta - jax.nn.logsumexp(eta[:, others], axis=2)

    odds = scaled_delta(inference, log_odds)
    ends = odds.confidence_interval(level)
    with in_float64():
        return np.asarray(sigmoid(odds.estimate)), np.asarray(sigmoid(ends))


def _split(inference: Inference, gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """γ as (coef, intercept)."""
    fit = inference.fit
    shape = () if fit.reference is None else (fit.num_contrasts,)
    table = gamma.reshape(-1, *shape)
    if fit.objective.fit_intercept:
        return table[:-1], table[-1]
    return table, jnp.zeros(shape, gamma.dtype)


def with_reference(inference: Inference, contrasts: jax.Array) -> jax.Array:
    """Contrasts with a zero inserted for the reference class; unchanged for the sigmoid model."""
    reference = inference.fit.reference
    return contrasts if reference is None else jnp.insert(contrasts, reference, 0.0, axis=-1)


def logits_of(
    inference: Inference,
    X: jax.Array | np.ndarray,
    coef: jax.Array,
    intercept: jax.Array,
    offset: jax.Array | np.ndarray | None,
) -> jax.Array:
    """η of some rows, (m,) or (m, K), whose reference class has logit 0 before the offset."""
    eta = with_reference(inference, jnp.asarray(X) @ coef + intercept)
    return eta if offset is None else eta + offset
