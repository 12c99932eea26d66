"""Who is timed. A contestant turns a problem and a tolerance into a fit to be called.

To add a library: write a function (problem) -> ((tol) -> Run) and name it in
``CONTESTANTS``. The harness does the rest: warming up, finding the tolerance,
interleaving, checking the answer.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from benchmarks.problems import Problem
from jax_logreg import L2, fit

# A method that has not arrived after this many steps is told as falling short.
MAX_STEPS = 1_000


class Answer(NamedTuple):
    """Coefficients as (p,) or (p, K) and intercepts to match, in NumPy."""

    coef: np.ndarray
    intercept: np.ndarray


Fit = Callable[[float], Answer]


def jax_logreg(solver: Any, problem: Problem) -> Fit:
    """Our own ``fit`` in float64, from arrays in memory to NumPy coefficients."""
    X, y = jnp.asarray(problem.X), jnp.asarray(problem.y)
    penalty = L2(jnp.asarray(problem.strength))
    K = problem.num_classes if problem.num_classes > 2 else None

    def run(tol: float) -> Answer:
        result = fit(
            X, y, penalty=penalty, solver=solver, num_classes=K, tol=tol, max_steps=MAX_STEPS
        )
        jax.block_until_ready(result)
        return Answer(np.asarray(result.coef), np.asarray(result.intercept))

    return run


def scikit_learn(solver: str, problem: Problem) -> Fit:
    """One solver of ``LogisticRegression``; liblinear penalises the intercept."""
    X, y = problem.X, problem.y

    def run(tol: float) -> Answer:
        model = LogisticRegression(
            C=1 / (problem.strength * len(y)), solver=solver, tol=tol, max_iter=MAX_STEPS
        )
        with warnings.catch_warnings():
            # The harness judges the answer itself.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        if problem.num_classes == 2:
            return Answer(model.coef_[0], model.intercept_[0])
        return Answer(model.coef_.T, model.intercept_)

    return run


CONTESTANTS: dict[str, Callable[[Problem], Fit]] = {
    "jax_logreg newton": partial(jax_logreg, "newton"),
    "jax_logreg lbfgs (Optax)": partial(jax_logreg, "lbfgs"),
    **{
        f"scikit-learn {solver}": partial(scikit_learn, solver)
        for solver in ("lbfgs", "newton-cholesky", "newton-cg", "sag", "saga")
    },
    "scikit-learn liblinear (binary only)": partial(scikit_learn, "liblinear"),
}
