"""Our own contestants: from arrays in memory to NumPy coefficients."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.answers import Answer, Fit
from benchmarks.problems import Problem
from jax_logreg import L2, fit, fit_many
from jax_logreg.fitting.result import FitResult


def jax_logreg(problem: Problem) -> Fit:
    """One ``fit``, as a user who names no solver would call it."""
    X, y = problem.on_device, jnp.asarray(problem.y)
    penalty = _penalty(problem)
    K = problem.num_classes if problem.num_classes > 2 else None

    def run(tol: float, max_steps: int) -> Answer:
        return _answer(fit(X, y, penalty=penalty, num_classes=K, tol=tol))

    return run


def jax_logreg_many(problem: Problem) -> Fit:
    """All resamples at once."""
    X, y = problem.on_device, jnp.asarray(problem.y)
    weights = jnp.asarray(problem.resamples)
    penalty = _penalty(problem)

    def run(tol: float, max_steps: int) -> Answer:
        return _answer(fit_many(X, y, sample_weight=weights, penalty=penalty, tol=tol))

    return run


def _penalty(problem: Problem) -> L2:
    """The strength as an array: a new number then needs no new program."""
    return L2(jnp.asarray(problem.strength, problem.X.dtype))


def _answer(result: FitResult) -> Answer:
    jax.block_until_ready(result)
    return Answer(np.asarray(result.coef), np.asarray(result.intercept))
