"""Predictions of the estimator in NumPy: nothing compiles, and huge logits stay numbers."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, softmax

# The difference of two of these is finite.
_LARGEST = float(np.finfo(np.float64).max) / 4


def logits(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    """η = Xβᵀ + b, (n, K), for coefficients (K, p), dense or sparse; no entry is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        eta = X @ coef.T
        eta = (eta.toarray() if sparse.issparse(eta) else eta) + intercept
    lost = ~np.all(np.isfinite(eta), axis=1)
    if np.any(lost):
        eta = eta.astype(np.float64)
        eta[lost] = _without_overflow(X[lost], coef, intercept)
    return eta


def _without_overflow(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    """The same of rows in units of their largest entry."""
    X = (X.toarray() if sparse.issparse(X) else X).astype(np.float64)
    coef = coef.toarray() if sparse.issparse(coef) else coef
    size = np.max(np.abs(X), axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        eta = (X / size) @ coef.T.astype(np.float64) * size + intercept
    return np.clip(eta, -_LARGEST, _LARGEST)


def probabilities(eta: np.ndarray) -> np.ndarray:
    """(n, K) from logits (n,) or (n, K)."""
    return softmax(eta, axis=1) if eta.ndim == 2 else expit(np.column_stack([-eta, eta]))


def log_probabilities(eta: np.ndarray) -> np.ndarray:
    """(n, K) from logits (n,) or (n, K), finite also where the probability is round-off."""
    return log_softmax(eta, axis=1) if eta.ndim == 2 else log_expit(np.column_stack([-eta, eta]))
