"""Other people's libraries, each called as its manual says, on arrays in memory.

A library that is not installed raises ImportError here and is left out of the race.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from benchmarks.answers import Answer, Fit
from benchmarks.problems import Problem


def inverse_strength(problem: Problem) -> float:
    """scikit-learn's C: it sums over the rows where we take the mean."""
    return 1 / (problem.strength * len(problem.y)) if problem.strength else float(np.inf)


def quiet(solve: Callable[[], Any]) -> Any:
    """Without warnings about convergence: the harness judges the answer itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return solve()


def scikit_learn(problem: Problem, solver: str, **options: Any) -> Fit:
    """One solver of ``LogisticRegression``; liblinear penalises the intercept."""

    def run(tol: float, max_steps: int) -> Answer:
        model = LogisticRegression(
            C=inverse_strength(problem),
            solver=solver,
            tol=tol,
            max_iter=max_steps,
            random_state=0,
            **options,
        )
        quiet(lambda: model.fit(problem.X, problem.y))
        if problem.num_classes == 2:
            return Answer(model.coef_[0], model.intercept_[0])
        return Answer(model.coef_.T, model.intercept_)

    return run


def glum(problem: Problem) -> Fit:
    """The ridge of glum's binomial family; it chooses the solver."""
    regressor = import_module("glum").GeneralizedLinearRegressor

    def run(tol: float, max_steps: int) -> Answer:
        model = regressor(
            family="binomial",
            alpha=problem.strength,
            l1_ratio=0,
            gradient_tol=tol,
            max_iter=max_steps,
            copy_X=False,
        )
        quiet(lambda: model.fit(problem.X, problem.y))
        return Answer(model.coef_, np.asarray(model.intercept_))

    return run


def statsmodels(problem: Problem, method: str) -> Fit:
    """GLM's ridge, the one penalised fit of statsmodels that leaves the intercept free.

    It hands ``opt_method`` to SciPy, which also takes a function: by that way it gets a
    tolerance and a step limit, for which it has no arguments.
    """
    api = import_module("statsmodels.api")
    design = api.add_constant(problem.X, has_constant="add")
    strengths = np.r_[0.0, np.full(problem.X.shape[1], problem.strength)]

    def run(tol: float, max_steps: int) -> Answer:
        def solve(value: Any, start: np.ndarray, jac: Any = None, **_: Any) -> Any:
            options = {"maxiter": max_steps}
            return minimize(value, start, jac=jac, method=method, tol=tol, options=options)

        model = api.GLM(problem.y, design, family=api.families.Binomial())
        result = quiet(lambda: model.fit_regularized(L1_wt=0, alpha=strengths, opt_method=solve))
        return Answer(result.params[1:], result.params[0])

    return run


def pytorch(problem: Problem, device: str) -> Fit:
    """Full-batch ``torch.optim.LBFGS`` with its strong Wolfe line search.

    Only the bound on the gradient stops it: the one on the change would stop it short.
    """
    torch = import_module("torch")
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("PyTorch sees no CUDA device")
    X = torch.from_numpy(problem.X).to(device)
    K = problem.num_classes
    y = torch.from_numpy(problem.y).to(device)
    y = y if K > 2 else y.to(X.dtype)
    cross_entropy = _cross_entropy(torch, K)
    shape = (X.shape[1], K) if K > 2 else (X.shape[1],)

    def run(tol: float, max_steps: int) -> Answer:
        coef = torch.zeros(shape, dtype=X.dtype, device=device, requires_grad=True)
        intercept = torch.zeros(shape[1:], dtype=X.dtype, device=device, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [coef, intercept],
            max_iter=max_steps,
            max_eval=100 * max_steps,
            tolerance_grad=tol,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimizer.zero_grad()
            penalty = problem.strength / 2 * (coef * coef).sum()
            loss = cross_entropy(X @ coef + intercept, y) + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        return Answer(coef.detach().cpu().numpy(), intercept.detach().cpu().numpy())

    return run


def _cross_entropy(torch: Any, K: int) -> Any:
    functional = torch.nn.functional
    return functional.cross_entropy if K > 2 else functional.binary_cross_entropy_with_logits
