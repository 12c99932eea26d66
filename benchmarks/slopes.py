"""The loss and its slopes in NumPy and SciPy, float64: what judges every contestant.

It shares no code with the package, and takes dense arrays and CSR alike. θ is a table
(p + 1,) or (p + 1, K), the intercept last.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, logsumexp, softmax

from benchmarks.problems import Problem

_BLOCK = 1 << 16


def row_losses(eta: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Cross-entropy of each row without cancellation; many fits side by side are (n, B)."""
    if num_classes == 2:
        sign = (2.0 * y - 1).reshape(-1, *[1] * (eta.ndim - 1))
        return np.logaddexp(0, -sign * eta)
    return logsumexp(eta - np.take_along_axis(eta, y[:, None], axis=1), axis=1)


def forward(X: Any, coef: np.ndarray) -> np.ndarray:
    """X times coef, in float64."""
    parts = [block @ np.asarray(coef, float) for _, block in _blocks(X)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def backward(X: Any, rows: np.ndarray) -> np.ndarray:
    """Xᵀ times one number, or one a class, for every row."""
    return sum(block.T @ rows[where] for where, block in _blocks(X))


def _backward_squares(X: Any, rows: np.ndarray) -> np.ndarray:
    """The same with the entries of X squared."""

    def squares(block: Any) -> Any:
        return block.multiply(block) if sparse.issparse(block) else block * block

    return sum(squares(block).T @ rows[where] for where, block in _blocks(X))


def _blocks(X: Any) -> Iterator[tuple[slice, Any]]:
    """Rows in float64: X itself, or a block at a time where it has to be converted."""
    if X.dtype == np.float64:
        yield slice(None), X
        return
    for start in range(0, X.shape[0], _BLOCK):
        where = slice(start, start + _BLOCK)
        yield where, X[where].astype(np.float64)


class Slopes:
    """F, its gradient and its Hessian–vector products at one θ."""

    def __init__(self, problem: Problem, theta: np.ndarray, curvature: np.ndarray) -> None:
        self._X, self._n = problem.X, len(problem.y)
        self._theta, self._penalty = theta, curvature
        eta = forward(problem.X, theta[:-1]) + theta[-1]
        self.value = _value(problem, eta, theta, curvature)
        if problem.num_classes == 2:
            self._probability = expit(eta)
            self._residual = self._probability - problem.y
        else:
            self._probability = softmax(eta, axis=1)
            self._residual = self._probability - np.eye(problem.num_classes)[problem.y]

    def gradient(self) -> np.ndarray:
        return self._pull_back(backward, self._residual) + self._penalty * self._theta

    def diagonal(self) -> np.ndarray:
        """Of the Hessian: its own scale for every coefficient."""
        spread = self._probability * (1 - self._probability)
        return self._pull_back(_backward_squares, spread) + self._penalty

    def hvp(self, direction: np.ndarray) -> np.ndarray:
        """The Hessian times a direction."""
        change = forward(self._X, direction[:-1]) + direction[-1]
        bent = self._probability * change
        if change.ndim == 1:
            bent -= self._probability * bent
        else:
            bent -= self._probability * bent.sum(axis=1, keepdims=True)
        return self._pull_back(backward, bent) + self._penalty * direction

    def _pull_back(self, pull: Callable[..., np.ndarray], rows: np.ndarray) -> np.ndarray:
        """The mean over the rows, the intercept's entry appended."""
        return np.concatenate([pull(self._X, rows), rows.sum(axis=0)[None]]) / self._n


def _value(problem: Problem, eta: np.ndarray, theta: np.ndarray, curvature: np.ndarray) -> float:
    losses = row_losses(eta, problem.y, problem.num_classes)
    return float(losses.mean() + np.sum(curvature * theta**2) / 2)


def penalty_curvature(problem: Problem, theta: np.ndarray, intercept: bool) -> np.ndarray:
    """The strength for every entry of θ; zero for the intercept unless it is penalised too."""
    curvature = np.full(theta.shape, problem.strength)
    if not intercept:
        curvature[-1] = 0
    return curvature
