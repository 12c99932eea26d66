"""How a resampled fit is done a thousand times with scikit-learn: a loop, or joblib."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression

from benchmarks.answers import Answer, Fit
from benchmarks.problems import Problem
from benchmarks.rivals import inverse_strength, quiet


class _Task(NamedTuple):
    """What a worker process needs to fit some of the resamples."""

    X: np.ndarray
    y: np.ndarray
    counts: np.ndarray
    C: float
    solver: str
    tol: float
    max_steps: int


def loop(problem: Problem, solver: str) -> Fit:
    """One fit after the other."""

    def run(tol: float, max_steps: int) -> Answer:
        return _as_answer([_fit_all(_task(problem, solver, tol, max_steps))])

    return run


def parallel(problem: Problem, solver: str) -> Fit:
    """joblib's worker processes, one share of the resamples for each core."""
    workers = effective_n_jobs(-1)

    def run(tol: float, max_steps: int) -> Answer:
        task = _task(problem, solver, tol, max_steps)
        shares = np.array_split(task.counts, workers)
        jobs = (delayed(_fit_all)(task._replace(counts=share)) for share in shares)
        return _as_answer(Parallel(n_jobs=workers)(jobs))

    return run


def _task(problem: Problem, solver: str, tol: float, max_steps: int) -> _Task:
    assert problem.resamples is not None
    C = inverse_strength(problem)
    return _Task(problem.X, problem.y, problem.resamples, C, solver, tol, max_steps)


def _fit_all(task: _Task) -> np.ndarray:
    """Coefficients and intercept of each resample, (B, p + 1)."""
    return np.stack([_fit_one(task, counts) for counts in task.counts])


def _fit_one(task: _Task, counts: np.ndarray) -> np.ndarray:
    """L-BFGS is faster on repeated rows, Newton on weighted ones: each gets its own."""
    model = LogisticRegression(C=task.C, solver=task.solver, tol=task.tol, max_iter=task.max_steps)
    if task.solver == "lbfgs":
        rows = np.repeat(np.arange(len(counts)), counts.astype(int))
        quiet(lambda: model.fit(task.X[rows], task.y[rows]))
    else:
        quiet(lambda: model.fit(task.X, task.y, sample_weight=counts))
    return np.append(model.coef_[0], model.intercept_)


def _as_answer(tables: Iterable[np.ndarray]) -> Answer:
    theta = np.concatenate(list(tables))
    return Answer(theta[:, :-1], theta[:, -1])
