"""The minimum against which every answer is held, and how far an answer is above it."""

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from benchmarks.answers import Answer
from benchmarks.problems import Problem
from benchmarks.slopes import Slopes, forward, penalty_curvature, row_losses

_NEWTON_STEPS = 100
_HALVINGS = 30


class Reference:
    """F by our own NumPy, and the lowest F of any answer seen so far.

    Of B resamples everything has B entries, and the worst fit counts.
    """

    def __init__(self, problem: Problem, *, penalise_intercept: bool = False) -> None:
        self._problem, self._penalise_intercept = problem, penalise_intercept
        self.minimum: np.ndarray = np.asarray(np.inf)

    def see(self, answer: Answer) -> np.ndarray:
        """F at an answer; the minimum follows if it is lower."""
        with np.errstate(invalid="ignore", over="ignore"):
            values = self._values(answer)
        # A contestant that diverged says nothing about the minimum.
        self.minimum = np.fmin(self.minimum, values)
        return values

    def _values(self, answer: Answer) -> np.ndarray:
        problem = self._problem
        if problem.resamples is not None:
            return _resampled_values(problem, problem.resamples, answer)
        theta = _join(answer)
        curvature = penalty_curvature(problem, theta, self._penalise_intercept)
        return np.asarray(Slopes(problem, theta, curvature).value)

    def suboptimality(self, values: np.ndarray) -> float:
        """(F − F*) / F*, the largest; infinite where F is not finite."""
        excess = values / self.minimum - 1
        return float(np.max(np.where(np.isfinite(excess), excess, np.inf)))

    def settle(self, start: Answer | None, accuracy: float) -> Answer | None:
        """Lower the minimum by Newton's method from an answer, until nothing is left to gain.

        Args:
            start: zeros if absent.
            accuracy: the relative gain below which to stop.
        """
        if start is not None:
            self.see(start)
        if self._problem.resamples is not None:
            return start  # the lowest of many answers, entry by entry, has to do
        answer = polish(self._problem, start, accuracy, penalise_intercept=self._penalise_intercept)
        self.see(answer)
        return answer


def polish(
    problem: Problem, start: Answer | None, accuracy: float, *, penalise_intercept: bool = False
) -> Answer:
    """Newton's method by conjugate gradients in NumPy, from an answer or from zero."""
    theta = _zeros(problem) if start is None else _join(start)
    curvature = penalty_curvature(problem, theta, penalise_intercept)
    here = Slopes(problem, theta, curvature)
    for _ in range(_NEWTON_STEPS):
        gradient = here.gradient()
        diagonal = np.maximum(here.diagonal(), np.finfo(float).tiny)
        # Twice the gain, were the Hessian this diagonal: tiny, and there is none to speak of.
        if np.sum(gradient**2 / diagonal) <= 1e-3 * accuracy * here.value:
            break
        step = _newton_step(here, gradient, diagonal)
        expected = -np.sum(gradient * step) / 2
        there = _descend(problem, here, theta, step, curvature)
        if there is None:
            break
        theta, here = there
        if expected <= 1e-2 * accuracy * here.value:
            break
    return Answer(theta[:-1], theta[-1])


def _newton_step(here: Slopes, gradient: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """−H⁻¹g to a few digits; the diagonal takes the scales of the columns out."""
    size, shape = gradient.size, gradient.shape
    hessian = LinearOperator(
        (size, size), matvec=lambda v: here.hvp(v.reshape(shape)).ravel(), dtype=float
    )
    scales = LinearOperator((size, size), matvec=lambda v: v / diagonal.ravel(), dtype=float)
    step, _ = cg(hessian, -gradient.ravel(), rtol=1e-3, maxiter=500, M=scales)
    return step.reshape(shape)


def _descend(
    problem: Problem,
    here: Slopes,
    theta: np.ndarray,
    step: np.ndarray,
    curvature: np.ndarray,
) -> tuple[np.ndarray, Slopes] | None:
    """The first point along the step, halved as needed, that lies lower; None if none does."""
    for halving in range(_HALVINGS):
        trial = theta + step / 2**halving
        there = Slopes(problem, trial, curvature)
        if there.value < here.value:
            return trial, there
    return None


def _join(answer: Answer) -> np.ndarray:
    return np.concatenate([answer.coef, np.asarray(answer.intercept)[None]]).astype(float)


def _zeros(problem: Problem) -> np.ndarray:
    K, p = problem.num_classes, problem.X.shape[1]
    return np.zeros((p + 1, K) if K > 2 else p + 1)


def _resampled_values(problem: Problem, counts: np.ndarray, answer: Answer) -> np.ndarray:
    """F of each resample, (B,); they carry no penalty."""
    assert problem.strength == 0
    eta = forward(problem.X, answer.coef.T) + answer.intercept
    losses = row_losses(eta, problem.y, problem.num_classes)
    return np.einsum("bn,nb->b", counts, losses) / counts.sum(axis=1)
