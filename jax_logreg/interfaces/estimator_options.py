"""Options of the estimator: scikit-learn's parameters, validated and translated for ``fit``;
and what its diagnostics say of a fit, in the names of those parameters.
"""

import math
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import jax
import numpy as np

from jax_logreg.fitting import validation
from jax_logreg.fitting.result import FIT_TERMS, FitResult, Status
from jax_logreg.objective.penalties import L2, ElasticNet, Penalty

_SMOOTH = ("l2", "none")
# scikit-learn's solvers: the closest method here, and the penalties that scikit-learn accepts
# with it. All reach the same minimum; "auto" is taken if the penalty has an L1 part.
_SOLVERS = {
    "lbfgs": ("lbfgs", _SMOOTH),
    "newton-cg": ("newton_cg", _SMOOTH),
    "newton-cholesky": ("newton", _SMOOTH),
    "liblinear": ("newton_cg", ("l1", "l2")),
    "sag": ("lbfgs", _SMOOTH),
    "saga": ("auto", ("l1", "l2", "elasticnet", "none")),
}
# Beyond this strength the penalty is all that counts.
_MAX_STRENGTH = 1e200
TERMS = FIT_TERMS | {
    "max_steps": "max_iter",
    "float64": "dtype='float64'",
    "solver": "solver='auto'",
    "ridge": "give a finite C",
    "finite": "give a finite C or penalty=jax_logreg.Firth()",
}


@dataclass(frozen=True)
class Options:
    """What determines a fit apart from the data: the estimator's parameters, resolved.

    ``penalty`` is the one that was given as an object, or None for that of C and l1_ratio;
    without a penalty C is infinite. ``solver`` is one that ``fit`` takes, and where ``tol``,
    ``max_steps`` or ``device`` is None, the default applies.
    """

    penalty: Penalty | None
    C: float
    l1_ratio: float
    solver: Any
    tol: float | None
    max_steps: int | None
    fit_intercept: bool
    derivatives: str
    dtype: np.dtype
    device: Any
    verbose: bool
    warm_start: bool

    def penalty_on_mean(self, weight: np.ndarray) -> Penalty:
        """The penalty beside the mean loss: C counts it beside the sum, so it is 1 / (C · Σw)."""
        if self.penalty is not None or math.isinf(self.C):
            return L2(0.0) if self.penalty is None else self.penalty
        largest = float(np.max(weight))  # factored out, so that no sum of weights overflows
        strength = min(1 / self.C / largest / float(np.sum(weight / largest)), _MAX_STRENGTH)
        return ElasticNet(strength, self.l1_ratio) if self.l1_ratio > 0 else L2(strength)

    def on_device(self) -> AbstractContextManager[Any]:
        """A context in which arrays are created on the device."""
        return nullcontext() if self.device is None else jax.default_device(self.device)


def check_options(given: Mapping[str, Any]) -> Options:
    """The parameters of an estimator, validated.

    Args:
        given: name ↦ value, as ``get_params`` returns them.

    Raises:
        ValueError: naming the parameter, its value and the remedy.
    """
    flags = {
        name: validation.check_flag(name, given[name])
        for name in ("fit_intercept", "dual", "warm_start")
    }
    C, l1_ratio, penalty = _penalty(given)
    validation.check_derivatives(given["derivatives"])
    _check_ignored(given)
    verbose, tol, steps = given["verbose"], given["tol"], given["max_iter"]
    count = isinstance(verbose, int | np.integer | np.bool_) and int(verbose) >= 0
    _require(count, "verbose", verbose, "0 or a positive whole number")
    return Options(
        penalty=given["penalty"] if isinstance(given["penalty"], Penalty) else None,
        C=C,
        l1_ratio=l1_ratio,
        solver=_solver(given["solver"], penalty, flags["dual"]),
        tol=None if tol is None else max(_number("tol", tol), np.finfo(float).tiny),
        max_steps=None if steps is None else validation.check_count("max_iter", steps),
        fit_intercept=flags["fit_intercept"],
        derivatives=given["derivatives"],
        dtype=_dtype(given["dtype"]),
        device=_device(given["device"]),
        verbose=bool(verbose),
        warm_start=flags["warm_start"],
    )


def _require(legal: bool, name: str, value: Any, wanted: str) -> None:
    if not legal:
        raise ValueError(f"{name} must be {wanted}, but it is {value!r}.")


def _number(name: str, value: Any, *, positive: bool = False) -> float:
    """A number ≥ 0, or > 0."""
    legal = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    legal = legal and (value > 0 or (value == 0 and not positive))
    _require(legal, name, value, f"a number {'greater than 0' if positive else 'of at least 0'}")
    return float(value)


def _penalty(given: Mapping[str, Any]) -> tuple[float, float, str]:
    """C, l1_ratio and the penalty's name. The deprecated ``penalty`` overrules the other two."""
    penalty, ratio = given["penalty"], given["l1_ratio"]
    C = _number("C", given["C"], positive=True)
    if ratio is None:
        _warn("'l1_ratio=None' was deprecated by scikit-learn 1.8: use l1_ratio=0.")
    l1_ratio = 0.0 if ratio is None else _number("l1_ratio", ratio)
    if l1_ratio > 1:
        raise ValueError(f"l1_ratio must lie between 0 (L2) and 1 (L1), but it is {ratio!r}.")
    if isinstance(penalty, str) and penalty == "deprecated":
        name = {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")
        return C, l1_ratio, "none" if math.isinf(C) else name
    if isinstance(penalty, Penalty):
        return C, l1_ratio, "elasticnet" if penalty.has_l1 else "l2"
    if penalty not in ("l1", "l2", "elasticnet", None):
        raise ValueError(
            "penalty must be left out, for C and l1_ratio to decide, or be a penalty of "
            f"jax_logreg, such as jax_logreg.Firth(), but it is {penalty!r}."
        )
    _warn(
        "'penalty' was deprecated by scikit-learn 1.8: leave it out. For 'l2' that is all, for "
        "'l1' give l1_ratio=1, for 'elasticnet' l1_ratio, and for None C=np.inf."
    )
    if penalty == "elasticnet":
        if ratio is None:
            raise ValueError("penalty='elasticnet' needs an l1_ratio between 0 and 1.")
        return C, l1_ratio, penalty
    implied = float(penalty == "l1")
    if C != 1 if penalty is None else ratio != implied:
        _warn(
            f"penalty={penalty!r} overrides C={C:g} and l1_ratio={ratio}: leave penalty out.",
            UserWarning,
        )
    return (math.inf, 0.0, "none") if penalty is None else (C, implied, penalty)


def _solver(solver: Any, penalty: str, dual: bool) -> Any:
    """A solver as ``fit`` takes it; refused with a penalty that scikit-learn refuses for it."""
    equivalent, penalties = _SOLVERS.get(solver if isinstance(solver, str) else "", ("", ()))
    if not equivalent:
        if dual:
            raise ValueError("dual=True needs solver='liblinear', and gives the same answer.")
        validation.check_solver(solver)
        return solver
    if penalty not in penalties:
        if solver != "liblinear":
            complaint = f"Solver {solver} supports only 'l2' or None penalties, got {penalty}"
        elif penalty == "elasticnet":
            complaint = "Only 'saga' solver supports elasticnet penalty, got solver=liblinear"
        else:
            complaint = "penalty=None is not supported for the liblinear solver"
        raise ValueError(f"{complaint}. Use solver='auto'.")
    if dual and (solver, penalty) != ("liblinear", "l2"):
        raise ValueError(
            f"Solver {solver} supports only dual=False, got dual=True. Leave dual out: the "
            "answer is the same."
        )
    return equivalent if penalty in _SMOOTH else "auto"


def _check_ignored(given: Mapping[str, Any]) -> None:
    """Parameters that are accepted for scikit-learn's sake and change nothing."""
    _number("intercept_scaling", given["intercept_scaling"], positive=True)
    n_jobs, seed = given["n_jobs"], given["random_state"]
    _require(
        n_jobs is None or isinstance(n_jobs, Integral), "n_jobs", n_jobs, "None or a whole number"
    )
    _require(
        seed is None or isinstance(seed, Integral | np.random.RandomState),
        "random_state", seed, "None, a whole number or a RandomState",
    )  # fmt: skip
    if n_jobs is not None:
        _warn(
            f"'n_jobs' has no effect, here and since scikit-learn 1.8 (it is {n_jobs}): leave it "
            "out."
        )


def _dtype(dtype: Any) -> np.dtype:
    try:
        legal = dtype is not None and np.dtype(dtype).name in ("float32", "float64")
    except TypeError:
        legal = False
    _require(legal, "dtype", dtype, "'float64' or 'float32'")
    return np.dtype(dtype)


def _device(device: Any) -> Any:
    """A JAX device from its platform and number, such as "gpu:1"."""
    if device is None or isinstance(device, jax.Device):
        return device
    platform, _, number = str(device).partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError):
        available = ", ".join(f"{d.platform}:{d.id}" for d in jax.devices())
        raise ValueError(
            f"device must be None, a jax.Device, or a platform such as 'cpu' or 'gpu:0', but it is "
            f"{device!r}. The default platform has {available}."
        ) from None


def device_name(device: Any) -> Any:
    """The text that stands for a ``jax.Device``; anything else as it is."""
    if not isinstance(device, jax.Device):
        return device
    return f"{device.platform}:{jax.devices(device.platform).index(device)}"


def _warn(message: str, category: type[Warning] = FutureWarning) -> None:
    warnings.warn(message, category, stacklevel=5)


@dataclass(frozen=True)
class Diagnostics:
    """How a fit ended, in numbers.

    Attributes:
        status: why it ended.
        message: the status in words, with what to try next.
        num_steps: steps taken.
        objective: mean nats a row plus the penalty.
        gradient_norm: the largest entry of the gradient.
        newton_decrement: half its square estimates how far the objective is above its minimum.
        rank: of the Hessian; −1 if that was too large to factor.
        solver: the one that finished.
    """

    status: Status
    message: str = field(repr=False)
    num_steps: int
    objective: float
    gradient_norm: float
    newton_decrement: float
    rank: int
    solver: str

    def warning(self, solver: Any) -> str:
        """The text of the warning after a fit that did not converge.

        Args:
            solver: the estimator's parameter.
        """
        if self.status in (Status.NOT_UNIQUE, Status.SEPARATED):
            return self.message
        name = solver if isinstance(solver, str) else type(solver).__name__
        # The opening by which scikit-learn's users filter its warnings.
        return f"{name} failed to converge after {self.num_steps} iteration(s): {self.message}"


def diagnostics_of(result: FitResult) -> Diagnostics:
    """The numbers of a result, as Python's own."""
    status, steps, norm = result.status, int(result.num_steps), result.gradient_norm
    meaning = status.explain(TERMS)
    return Diagnostics(
        status=status,
        message=f"{status.name} after {steps} steps, gradient norm {norm:.1e}. {meaning}",
        num_steps=steps,
        objective=float(result.objective),
        gradient_norm=float(norm),
        newton_decrement=float(result.newton_decrement),
        rank=int(result.rank),
        solver=result.solver,
    )
