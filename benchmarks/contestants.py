"""Who takes part.

To add a library: write a function (problem) -> Fit beside those of ``rivals`` and name it
here. The harness does the rest: warming up, finding the tolerance, interleaving,
checking the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import ours, rival_loops, rivals
from benchmarks.answers import Fit
from benchmarks.machine import on_gpu
from benchmarks.problems import Problem

_BINARY = frozenset({"binary"})
_DENSE = frozenset({"binary", "softmax"})
_ANY = frozenset({"binary", "softmax", "sparse"})
_TWO_CLASSES = frozenset({"binary", "sparse"})
_BOOTSTRAP = frozenset({"bootstrap"})


@dataclass(frozen=True)
class Contestant:
    """A method and how its answers are to be read.

    Attributes:
        name: in full.
        short: 12 characters at most, for the summary.
        prepare: problem ↦ fit; what it does is not timed.
        kinds: of problems that it can do.
        ours: it is no rival.
        penalises_intercept: it solves that problem, and is judged by its minimum.
        quick: whether it takes part in a quick run.
        needs_gpu: whether it takes part only where JAX has one too.
        most_columns: beyond which it would take minutes.
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


def _scikit_learn(solver: str, kinds: frozenset[str], *, quick: bool = False) -> Contestant:
    short = {"newton-cholesky": "newton-ch"}.get(solver, solver)
    prepare = partial(rivals.scikit_learn, solver=solver)
    return Contestant(f"scikit-learn {solver}", f"sk {short}", prepare, kinds, quick=quick)


def _liblinear(*, dual: bool) -> Contestant:
    """It cannot leave the intercept alone, so it is judged on the problem that it solves."""
    return Contestant(
        f"scikit-learn liblinear{' dual' if dual else ''}",
        "sk lib. dual" if dual else "sk liblinear",
        partial(rivals.scikit_learn, solver="liblinear", dual=dual),
        _TWO_CLASSES,
        penalises_intercept=True,
        quick=not dual,
    )


def _statsmodels(method: str) -> Contestant:
    prepare = partial(rivals.statsmodels, method=method)
    # Each of its inner steps makes a Hessian anew.
    most = 200 if method == "newton-cg" else float("inf")
    name = f"statsmodels {method}"
    return Contestant(name, "statsmodels", prepare, _BINARY, most_columns=most)


CONTESTANTS = [
    Contestant("jax_logreg", "ours", ours.jax_logreg, _ANY, ours=True, quick=True),
    Contestant("jax_logreg", "ours", ours.jax_logreg_many, _BOOTSTRAP, ours=True, quick=True),
    _scikit_learn("lbfgs", _ANY, quick=True),
    # Its dense Hessian of 50 000 columns would take 20 GB: not on the sparse problem.
    _scikit_learn("newton-cholesky", _DENSE, quick=True),
    _scikit_learn("newton-cg", _ANY, quick=True),
    _scikit_learn("sag", _ANY),
    _scikit_learn("saga", _ANY),
    _liblinear(dual=False),
    _liblinear(dual=True),
    Contestant("glum", "glum", rivals.glum, _BINARY, quick=True),
    _statsmodels("newton-cg"),
    _statsmodels("l-bfgs-b"),
    Contestant(
        "PyTorch L-BFGS", "torch", partial(rivals.pytorch, device="cpu"), _DENSE, quick=True
    ),
    Contestant(
        "PyTorch L-BFGS cuda",
        "torch cuda",
        partial(rivals.pytorch, device="cuda"),
        _DENSE,
        quick=True,
        needs_gpu=True,
    ),
    *[
        Contestant(
            f"sklearn {label} {solver}",
            f"{label} {short}",
            partial(run, solver=solver),
            _BOOTSTRAP,
            quick=True,
        )
        for label, run in (("loop", rival_loops.loop), ("joblib", rival_loops.parallel))
        for solver, short in (("newton-cholesky", "nchol"), ("lbfgs", "lbfgs"))
    ],
]


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
