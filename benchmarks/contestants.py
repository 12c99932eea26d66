"""The contestants: our fit and other libraries, each called as its manual says.

All work on arrays in memory. To add a library: write a function (problem) -> Fit and name it
in ``CONTESTANTS``. The harness does the rest: warming up, finding the tolerance, interleaving,
checking the answer. A library that is not installed raises ImportError and is left out.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from joblib import Parallel, delayed, effective_n_jobs  # type: ignore[import-untyped]
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from benchmarks.machine import on_gpu
from benchmarks.problems import Problem
from jax_logreg import L2, fit, fit_many
from jax_logreg.interfaces.estimator import LogisticRegression as OurEstimator


class Answer(NamedTuple):
    """Coefficients as (p,) or (p, K) and intercepts to match, in NumPy.

    Of B resamples: (B, p) and (B,).
    """

    coef: np.ndarray
    intercept: np.ndarray


# (the method's own tolerance, the most steps it may take) ↦ the answer
Fit = Callable[[float, int], Answer]


@dataclass(frozen=True)
class Contestant:
    """A method and how its answers are to be read.

    Attributes:
        name: in full.
        short: 12 characters at most, for the summary.
        prepare: problem ↦ fit; what it does is not timed.
        kinds: of problems that it can do.
        ours: whether it is our own method.
        penalises_intercept: it solves that problem, and is judged by its minimum.
        quick: whether it takes part in a quick run.
        needs_gpu: whether it takes part only where JAX has one too.
        most_columns: above this number it would take minutes.
    """

    name: str
    short: str
    prepare: Callable[[Problem], Fit]
    kinds: frozenset[str]
    ours: bool = False
    penalises_intercept: bool = False
    quick: bool = False
    needs_gpu: bool = False
    most_columns: float = float("inf")


def jax_logreg(problem: Problem) -> Fit:
    """Ours, as a user who names no solver would call it; all resamples at once."""
    X, y, K = problem.on_device, jnp.asarray(problem.y), problem.num_classes
    # The strength as an array: a new number then needs no new program.
    penalty = L2(jnp.asarray(problem.strength, problem.X.dtype))
    weights = None if problem.resamples is None else jnp.asarray(problem.resamples)

    def run(tol: float, max_steps: int) -> Answer:
        if weights is None:
            result = fit(X, y, penalty=penalty, num_classes=K if K > 2 else None, tol=tol)
        else:
            result = fit_many(X, y, sample_weight=weights, penalty=penalty, tol=tol)
        jax.block_until_ready(result)
        return Answer(np.asarray(result.coef), np.asarray(result.intercept))

    return run


def jax_logreg_estimator(problem: Problem) -> Fit:
    """Ours behind scikit-learn's interface, of NumPy's arrays or SciPy's matrices."""
    C = _inverse_strength(problem)

    def run(tol: float, max_steps: int) -> Answer:
        return _answer(OurEstimator(C=C, tol=tol), problem)

    return run


def _inverse_strength(problem: Problem) -> float:
    """scikit-learn's C: it sums over the rows where we take the mean."""
    return 1 / (problem.strength * len(problem.y)) if problem.strength else float(np.inf)


def _quiet(solve: Callable[[], Any]) -> Any:
    """Without warnings about convergence: the harness judges the answer itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return solve()


def scikit_learn(problem: Problem, solver: str, **options: Any) -> Fit:
    """One solver of ``LogisticRegression``; liblinear penalises the intercept."""
    options |= {"C": _inverse_strength(problem), "solver": solver, "random_state": 0}

    def run(tol: float, max_steps: int) -> Answer:
        return _answer(LogisticRegression(tol=tol, max_iter=max_steps, **options), problem)

    return run


def _answer(model: Any, problem: Problem) -> Answer:
    """That of an estimator of scikit-learn's interface, fitted."""
    _quiet(lambda: model.fit(problem.X, problem.y))
    if problem.num_classes == 2:
        return Answer(model.coef_[0], model.intercept_[0])
    return Answer(model.coef_.T, model.intercept_)


def resampled_scikit_learn(problem: Problem, solver: str, *, in_parallel: bool) -> Fit:
    """One fit after the other; or joblib's processes, one share of the resamples a core."""
    X, y, counts = problem.X, problem.y, problem.resamples
    assert counts is not None
    workers = effective_n_jobs(-1)

    def run(tol: float, max_steps: int) -> Answer:
        options = {"C": _inverse_strength(problem), "tol": tol, "max_iter": max_steps}
        if in_parallel:
            shares = np.array_split(counts, workers)
            jobs = (delayed(_fit_resamples)(X, y, share, solver, options) for share in shares)
            theta = np.concatenate(Parallel(n_jobs=workers)(jobs))
        else:
            theta = _fit_resamples(X, y, counts, solver, options)
        return Answer(theta[:, :-1], theta[:, -1])

    return run


def _fit_resamples(
    X: np.ndarray, y: np.ndarray, counts: np.ndarray, solver: str, options: dict[str, Any]
) -> np.ndarray:
    """Coefficients and intercept of each resample, (B, p + 1).

    L-BFGS is faster on repeated rows, Newton on weighted ones: each gets its own.
    """
    model, found = LogisticRegression(solver=solver, **options), []
    for count in counts:
        if solver == "lbfgs":
            rows = np.repeat(np.arange(len(count)), count.astype(int))
            _quiet(partial(model.fit, X[rows], y[rows]))
        else:
            _quiet(partial(model.fit, X, y, sample_weight=count))
        found.append(np.append(model.coef_[0], model.intercept_))
    return np.stack(found)


def glum(problem: Problem) -> Fit:
    """The ridge of glum's binomial family; it chooses the solver."""
    regressor = import_module("glum").GeneralizedLinearRegressor
    options = {"family": "binomial", "alpha": problem.strength, "l1_ratio": 0, "copy_X": False}

    def run(tol: float, max_steps: int) -> Answer:
        model = regressor(gradient_tol=tol, max_iter=max_steps, **options)
        _quiet(lambda: model.fit(problem.X, problem.y))
        return Answer(model.coef_, np.asarray(model.intercept_))

    return run


def statsmodels(problem: Problem, method: str) -> Fit:
    """GLM's ridge, the one penalised fit of statsmodels that leaves the intercept free.

    It hands ``opt_method`` to SciPy, which also takes a function: in this way it gets a
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
        result = _quiet(lambda: model.fit_regularized(L1_wt=0, alpha=strengths, opt_method=solve))
        return Answer(result.params[1:], result.params[0])

    return run


def pytorch(problem: Problem, device: str) -> Fit:
    """Full-batch ``torch.optim.LBFGS`` with its strong Wolfe line search.

    Only the bound on the gradient stops it: the one on the change would stop it short.
    """
    torch = import_module("torch")
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("PyTorch sees no CUDA device")
    X, y = torch.from_numpy(problem.X).to(device), torch.from_numpy(problem.y).to(device)
    binary, functional = problem.num_classes == 2, torch.nn.functional
    y = y.to(X.dtype) if binary else y
    loss_of = functional.binary_cross_entropy_with_logits if binary else functional.cross_entropy
    shape = (X.shape[1],) if binary else (X.shape[1], problem.num_classes)

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
            loss = loss_of(X @ coef + intercept, y) + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        return Answer(coef.detach().cpu().numpy(), intercept.detach().cpu().numpy())

    return run


_BINARY, _BOOTSTRAP = frozenset({"binary"}), frozenset({"bootstrap"})
_DENSE, _TWO_CLASSES = frozenset({"binary", "softmax"}), frozenset({"binary", "sparse"})
_ANY = _DENSE | _TWO_CLASSES | {"sparse softmax"}


def _sk(solver: str, **options: Any) -> Callable[[Problem], Fit]:
    return partial(scikit_learn, solver=solver, **options)


# fmt: off
CONTESTANTS = [
    Contestant("jax_logreg", "ours", jax_logreg, _ANY | _BOOTSTRAP, ours=True, quick=True),
    Contestant("jax_logreg estimator", "ours, sk", jax_logreg_estimator, _ANY, ours=True,
               quick=True),
    Contestant("scikit-learn lbfgs", "sk lbfgs", _sk("lbfgs"), _ANY, quick=True),
    # Its dense Hessian of 50 000 columns would take 20 GB: not on the sparse problem.
    Contestant("scikit-learn newton-cholesky", "sk newton-ch", _sk("newton-cholesky"), _DENSE,
               quick=True),
    Contestant("scikit-learn newton-cg", "sk newton-cg", _sk("newton-cg"), _ANY, quick=True),
    Contestant("scikit-learn sag", "sk sag", _sk("sag"), _ANY),
    Contestant("scikit-learn saga", "sk saga", _sk("saga"), _ANY),
    # liblinear cannot leave the intercept alone, so it is judged on the problem that it solves.
    Contestant("scikit-learn liblinear", "sk liblinear", _sk("liblinear", dual=False),
               _TWO_CLASSES, penalises_intercept=True, quick=True),
    Contestant("scikit-learn liblinear dual", "sk lib. dual", _sk("liblinear", dual=True),
               _TWO_CLASSES, penalises_intercept=True),
    Contestant("glum", "glum", glum, _BINARY, quick=True),
    # Each of its inner steps forms a new Hessian.
    Contestant("statsmodels newton-cg", "statsmodels", partial(statsmodels, method="newton-cg"),
               _BINARY, most_columns=200),
    Contestant("statsmodels l-bfgs-b", "statsmodels", partial(statsmodels, method="l-bfgs-b"),
               _BINARY),
    Contestant("PyTorch L-BFGS", "torch", partial(pytorch, device="cpu"), _DENSE, quick=True),
    Contestant("PyTorch L-BFGS cuda", "torch cuda", partial(pytorch, device="cuda"), _DENSE,
               quick=True, needs_gpu=True),
    *(
        Contestant(f"sklearn {label} {solver}", f"{label} {short}",
                   partial(resampled_scikit_learn, solver=solver, in_parallel=in_parallel),
                   _BOOTSTRAP, quick=True)
        for label, in_parallel in (("loop", False), ("joblib", True))
        for solver, short in (("newton-cholesky", "nchol"), ("lbfgs", "lbfgs"))
    ),
]
# fmt: on


def contestants_for(
    problem: Problem, only: list[str] | None = None, *, quick: bool = False
) -> list[Contestant]:
    """Those that can do the problem and whose name contains one of the words."""
    return [
        contestant
        for contestant in CONTESTANTS
        if problem.kind in contestant.kinds
        and problem.X.shape[1] <= contestant.most_columns
        and (contestant.quick or not quick)
        and (on_gpu() or not contestant.needs_gpu)
        and (not only or any(word in contestant.name for word in only))
    ]
