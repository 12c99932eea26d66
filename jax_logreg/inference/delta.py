r"""The delta method: standard errors of functions of the parameters.

.. math::
    \operatorname{cov}\,g(\hat\gamma) \approx J \operatorname{cov}(\hat\gamma)\, J^\top,
    \qquad J = \partial g/\partial\gamma,

with J by autodiff, so that g may be any JAX function. Source: Cramér (1946), *Mathematical
Methods of Statistics*, section 28.4.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.special import expit, logsumexp, ndtr, ndtri

from jax_logreg.fitting.validation import as_floats, column_names
from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.inference import Inference, check_inference, check_level
from jax_logreg.inference.information import row_norms
from jax_logreg.objective.objective import split_parameters
from jax_logreg.programs.jax_settings import in_auto_axes, in_float64, own_settings

# Derivatives of predictions are made for so many at a time: 32 MB.
_BLOCK_ENTRIES = 2**22


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

    fit, layout = inference.fit, Layout.of(inference.fit)
    axes = [layout.split(axis) for axis in np.eye(fit.num_parameters)]
    at, along = layout.split(inference.estimate), tuple(map(np.array, zip(*axes, strict=True)))

    def slope(*direction: Any) -> jax.Array:
        return jax.jvp(lambda *at: jnp.asarray(g(*at)), point, direction)[1]

    with in_float64():
        point = jax.device_put(at)
        estimate = np.asarray(g(*point))
        if not np.issubdtype(estimate.dtype, np.floating):
            raise TypeError(f"g must return real numbers, but their dtype is {estimate.dtype}.")
        J = np.moveaxis(np.asarray(jax.vmap(slope)(*along)), 0, -1)
    J = J.reshape(estimate.size, -1)
    return propagate(inference, estimate, fit.to_scaled(J))


def propagate(inference: Inference, estimate: np.ndarray, J: np.ndarray) -> Derived:
    """Quantities with the errors that γ, whose columns are scaled, passes on to them.

    Args:
        inference: of γ.
        estimate: of any shape.
        J: their derivatives by γ, of that shape with a last axis (P,).
    """
    J = J.reshape(estimate.size, -1)
    root = J @ inference.scaled_root
    error = np.where(inference.information.estimable(J), row_norms(root), np.nan)
    return Derived(estimate, error.reshape(estimate.shape), root)


class Layout(NamedTuple):
    """What the entries of γ are.

    Attributes:
        reference: the class that contrasts are taken with; None for the sigmoid model.
        num_contrasts: c, 1 for the sigmoid model.
        has_intercept: whether the last c entries are intercepts.
    """

    reference: int | None
    num_contrasts: int
    has_intercept: bool

    @classmethod
    def of(cls, fit: FitContext) -> "Layout":
        """That of a fit's γ."""
        return cls(fit.reference, fit.num_contrasts, fit.objective.fit_intercept)

    def split(self, gamma: Any) -> tuple[Any, Any]:
        """γ as (coef, intercept)."""
        shape = () if self.reference is None else (self.num_contrasts,)
        return split_parameters(gamma, shape, self.has_intercept)

    def with_reference(self, contrasts: jax.Array) -> jax.Array:
        """Contrasts with a zero inserted for the reference class; unchanged for the sigmoid
        model."""
        if self.reference is None:
            return contrasts
        return jnp.insert(contrasts, self.reference, 0.0, axis=-1)


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
        X: (m, p); the columns of a data frame in the order of the fit.
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
    here, known_names = list(column_names(X) or ()), inference.features
    if here != known_names and sorted(here) == sorted(known_names):
        raise ValueError(
            f"X has the columns {here}, in another order than those of the fit: give "
            f"X[{known_names}]."
        )
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

    fit, offsets = inference.fit, None if known is None else np.asarray(known)
    scaled = np.asarray(rows)
    if not fit.scaling.is_identity:
        scaled = fit.scaling.transform(scaled)
    odds, error = np.empty((2, len(scaled), *classes))
    size = max(1, _BLOCK_ENTRIES // (fit.num_parameters * len(fit.selection)))
    for start in range(0, len(scaled), size):
        part = slice(start, start + size)
        eta, J = _log_odds(fit, scaled[part], None if offsets is None else offsets[part])
        found = propagate(inference, eta, J)
        odds[part], error[part] = eta, found.standard_error
    half = -ndtri((1 - level) / 2) * error
    return expit(odds), expit(np.stack([odds - half, odds + half], axis=-1))


def _log_odds(
    fit: FitContext, X: np.ndarray, offset: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The log-odds of each class against all others in some rows, (m,) or (m, K), and their
    derivatives by γ, with a last axis (P,).

    .. math::
        \psi_k = \eta_k - \log\sum_{l\ne k} e^{\eta_l}, \qquad
        \frac{\partial\psi_k}{\partial\eta_l} = \delta_{kl} - [l \ne k]\, \mu_l/(1 - \mu_k).
    """
    Z = np.column_stack([X, np.ones(len(X))]) if fit.objective.fit_intercept else X
    eta = Z @ fit.contrasts(fit.theta).reshape(fit.num_columns, -1) @ fit.selection.T
    if fit.reference is None:
        return eta[:, 0] if offset is None else eta[:, 0] + offset, Z
    eta = eta if offset is None else eta + offset
    own = np.eye(eta.shape[1])
    rivals = np.where(own, -np.inf, eta[:, None, :])
    total = logsumexp(rivals, axis=2)
    slope = (own - np.exp(rivals - total[:, :, None])) @ fit.selection
    return eta - total, np.einsum("mkc,mj->mkjc", slope, Z).reshape(*eta.shape, -1)
