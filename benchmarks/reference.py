"""The judge of every answer: the objective F in NumPy and SciPy, float64, and its minimum.

It shares no code with the package, and takes dense arrays and CSR alike. θ is an array
(p + 1,) or (p + 1, K), the intercept last.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, logsumexp, softmax

from benchmarks.contestants import Answer
from benchmarks.problems import Problem

_BLOCK_ROWS = 1 << 16
_NEWTON_STEPS = 100
_HALVINGS = 30


class Derivatives:
    """F, its gradient and its Hessian–vector products at one θ."""

    def __init__(
        self, problem: Problem, theta: np.ndarray, *, penalise_intercept: bool = False
    ) -> None:
        self._X, self._n, self.theta = problem.X, len(problem.y), theta
        self._penalty = np.full(theta.shape, problem.strength)
        if not penalise_intercept:
            self._penalty[-1] = 0
        eta = _matvec(problem.X, theta[:-1]) + theta[-1]
        losses = _row_losses(eta, problem.y, problem.num_classes)
        self.value = float(losses.mean() + np.sum(self._penalty * theta**2) / 2)
        K = problem.num_classes
        self._probability = expit(eta) if K == 2 else softmax(eta, axis=1)
        self._residual = self._probability - (problem.y if K == 2 else np.eye(K)[problem.y])

    def gradient(self) -> np.ndarray:
        return self._mean(self._residual) + self._penalty * self.theta

    def diagonal(self) -> np.ndarray:
        """The diagonal of the Hessian."""
        variance = self._probability * (1 - self._probability)
        return self._mean(variance, squared=True) + self._penalty

    def hvp(self, direction: np.ndarray) -> np.ndarray:
        """The Hessian times a direction."""
        change = _matvec(self._X, direction[:-1]) + direction[-1]
        curved = self._probability * change
        total = curved if change.ndim == 1 else curved.sum(axis=1, keepdims=True)
        curved = curved - self._probability * total
        return self._mean(curved) + self._penalty * direction

    def _mean(self, rows: np.ndarray, *, squared: bool = False) -> np.ndarray:
        """Xᵀ rows / n, the intercept's entry appended; with the entries of X squared."""
        blocks = ((w, _squares(block) if squared else block) for w, block in _blocks(self._X))
        total = sum(block.T @ rows[where] for where, block in blocks)
        return np.concatenate([total, rows.sum(axis=0)[None]]) / self._n


def _row_losses(eta: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Cross-entropy of each row without cancellation; many fits side by side are (n, B)."""
    if num_classes == 2:
        sign = (2.0 * y - 1).reshape(-1, *[1] * (eta.ndim - 1))
        return np.logaddexp(0, -sign * eta)
    return logsumexp(eta - np.take_along_axis(eta, y[:, None], axis=1), axis=1)


def _matvec(X: Any, coef: np.ndarray) -> np.ndarray:
    parts = [block @ np.asarray(coef, float) for _, block in _blocks(X)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _squares(block: Any) -> Any:
    return block.power(2) if sparse.issparse(block) else block**2


def _blocks(X: Any) -> Iterator[tuple[slice, Any]]:
    """Rows in float64: X itself, or a block at a time where it has to be converted."""
    if X.dtype == np.float64:
        yield slice(None), X
        return
    for start in range(0, X.shape[0], _BLOCK_ROWS):
        where = slice(start, start + _BLOCK_ROWS)
        yield where, X[where].astype(np.float64)


class Reference:
    """The lowest F of any answer seen so far.

    Of B resamples everything has B entries, and the worst fit counts.
    """

    def __init__(self, problem: Problem, *, penalise_intercept: bool = False) -> None:
        self._problem, self._penalise_intercept = problem, penalise_intercept
        self.minimum: np.ndarray = np.asarray(np.inf)

    def evaluate(self, answer: Answer) -> np.ndarray:
        """F at an answer, () or (B,); the minimum is lowered if it is lower."""
        with np.errstate(invalid="ignore", over="ignore"):
            values = self._values(answer)
        # A contestant that diverged says nothing about the minimum.
        self.minimum = np.fmin(self.minimum, values)
        return values

    def _values(self, answer: Answer) -> np.ndarray:
        problem, counts = self._problem, self._problem.resamples
        if counts is None:
            theta, intercept = _as_theta(answer), self._penalise_intercept
            return np.asarray(Derivatives(problem, theta, penalise_intercept=intercept).value)
        assert problem.strength == 0
        eta = _matvec(problem.X, answer.coef.T) + answer.intercept
        losses = _row_losses(eta, problem.y, problem.num_classes)
        return np.einsum("bn,nb->b", counts, losses) / counts.sum(axis=1)

    def suboptimality(self, values: np.ndarray) -> float:
        """(F − F*) / F*, the largest; infinite where F is not finite."""
        excess = values / self.minimum - 1
        return float(np.max(np.where(np.isfinite(excess), excess, np.inf)))

    def minimise(self, start: Answer | None, accuracy: float) -> None:
        """Lower the minimum by Newton's method, until the relative gain is below an accuracy.

        Of resamples the lowest value among the answers, fit by fit, has to do.
        """
        if start is not None:
            self.evaluate(start)
        if self._problem.resamples is None:
            intercept = self._penalise_intercept
            self.evaluate(polish(self._problem, start, accuracy, penalise_intercept=intercept))


def polish(
    problem: Problem, start: Answer | None, accuracy: float, *, penalise_intercept: bool = False
) -> Answer:
    """Newton's method by conjugate gradients in NumPy, from an answer or from zero."""

    def at(theta: np.ndarray) -> Derivatives:
        return Derivatives(problem, theta, penalise_intercept=penalise_intercept)

    K, p = problem.num_classes, problem.X.shape[1]
    zeros = np.zeros((p + 1, K) if K > 2 else p + 1)
    here = at(zeros if start is None else _as_theta(start))
    for _ in range(_NEWTON_STEPS):
        gradient = here.gradient()
        diagonal = np.maximum(here.diagonal(), np.finfo(float).tiny)
        # Twice the gain if the Hessian were this diagonal: a tiny one is not worth a step.
        if np.sum(gradient**2 / diagonal) <= 1e-3 * accuracy * here.value:
            break
        step = _newton_step(here, gradient, diagonal)
        expected = -np.sum(gradient * step) / 2
        trials = (at(here.theta + step / 2**halving) for halving in range(_HALVINGS))
        lower = next((there for there in trials if there.value < here.value), None)
        if lower is None:
            break
        here = lower
        if expected <= 1e-2 * accuracy * here.value:
            break
    return Answer(here.theta[:-1], here.theta[-1])


def _newton_step(here: Derivatives, gradient: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """−H⁻¹g to a few digits; the diagonal takes the scales of the columns out."""
    size, shape = gradient.size, gradient.shape
    hessian = LinearOperator(
        (size, size), matvec=lambda v: here.hvp(v.reshape(shape)).ravel(), dtype=float
    )
    scales = LinearOperator((size, size), matvec=lambda v: v / diagonal.ravel(), dtype=float)
    step, _ = cg(hessian, -gradient.ravel(), rtol=1e-3, maxiter=500, M=scales)
    return step.reshape(shape)


def _as_theta(answer: Answer) -> np.ndarray:
    return np.concatenate([answer.coef, np.asarray(answer.intercept)[None]]).astype(float)
