"""One process of ``benchmarks.first``: ``python -m benchmarks.first_child METHOD TABLES``.

It prints the seconds of the work, by the clock and by the processors, and the answer. The clock
starts after the method's imports; nothing else of that library has run.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

Tables = list[tuple[np.ndarray, np.ndarray]]
Work = Callable[[Tables], list[np.ndarray]]


def fits() -> Work:
    """Each table by our ``fit``, with the penalty that C = 1 is in scikit-learn."""
    import jax

    from jax_logreg import L2, fit

    def work(tables: Tables) -> list[np.ndarray]:
        with jax.enable_x64(True):
            results = [
                fit(X, y, penalty=L2(1 / len(y)), num_classes=y.max() + 1 if y.max() > 1 else None)
                for X, y in tables
            ]
            return [np.asarray(result.coef).T for result in results]

    return work


def estimators(library: str) -> Work:
    """Each table by a library's ``LogisticRegression``, its options left alone."""
    model = import_module(library).LogisticRegression
    return lambda tables: [model().fit(X, y).coef_ for X, y in tables]


def search(library: str, jobs: int) -> Work:
    """Ten strengths in five folds by such an estimator; several jobs are processes."""
    from sklearn.model_selection import GridSearchCV

    model = import_module(library).LogisticRegression()

    def work(tables: Tables) -> list[np.ndarray]:
        grid = GridSearchCV(model, {"C": np.logspace(-2, 2, 10)}, cv=5, n_jobs=jobs)
        return [grid.fit(X, y).cv_results_["mean_test_score"] for X, y in tables]

    return work


def inferences() -> Work:
    """Fit, standard errors and printed table, by our functions."""
    import jax

    from jax_logreg import fit, infer

    def work(tables: Tables) -> list[np.ndarray]:
        with jax.enable_x64(True):
            inferred = [infer(fit(X, y), X, y) for X, y in tables]
            assert all(one.summary() for one in inferred)
            return [one.standard_error[:-1] for one in inferred]

    return work


def statsmodels() -> Work:
    """The same by statsmodels."""
    from statsmodels.api import Logit, add_constant

    def work(tables: Tables) -> list[np.ndarray]:
        fitted = [Logit(y, add_constant(X)).fit(disp=False) for X, y in tables]
        assert all(str(one.summary()) for one in fitted)
        return [one.bse[1:] for one in fitted]

    return work


_OURS, _SKLEARN = "jax_logreg", "sklearn.linear_model"
# Method ↦ what imports its library and gives its work.
METHODS: dict[str, Callable[[], Work]] = {
    "fit": fits,
    "estimator": partial(estimators, _OURS),
    "scikit-learn": partial(estimators, _SKLEARN),
    "estimator, 1 job": partial(search, _OURS, 1),
    "scikit-learn, 1 job": partial(search, _SKLEARN, 1),
    "estimator, 2 jobs": partial(search, _OURS, 2),
    "scikit-learn, 2 jobs": partial(search, _SKLEARN, 2),
    "fit and infer": inferences,
    "statsmodels": statsmodels,
}


def run(method: str, path: str) -> dict[str, Any]:
    """The seconds of a method on the tables of a file, and its answer."""
    work = METHODS[method]()
    arrays = list(np.load(path).values())
    tables = list(zip(arrays[::2], arrays[1::2], strict=True))
    began, before = time.perf_counter(), _processor_seconds()
    answer = work(tables)
    wall = time.perf_counter() - began
    # The system counts what joblib's workers took when they have ended.
    if loky := sys.modules.get("joblib.externals.loky"):
        loky.get_reusable_executor().shutdown(wait=True)
    cpu = _processor_seconds() - before
    return {"wall": wall, "cpu": cpu, "answer": np.concatenate([*map(np.ravel, answer)]).tolist()}


def _processor_seconds() -> float:
    """Of this process, all its threads, and the children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
