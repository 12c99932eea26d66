"""The estimator's parameters, checked, and scikit-learn's words translated into ours."""

import math
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_logreg.fitting import validation


class Equivalent(NamedTuple):
    """What stands for a solver of scikit-learn's.

    Attributes:
        solver: ours, by its name; "auto" where the penalty has kinks.
        penalties: what it takes there.
    """

    solver: str
    penalties: tuple[str, ...]


# Beyond this the penalty is all there is.
_STRONGEST = 1e200
_SMOOTH = ("l2", "none")
# All reach the same minimum; each is the nearest of kin. Where scikit-learn refuses a penalty
# for a solver, so is it refused here.
EQUIVALENTS = {
    "lbfgs": Equivalent("lbfgs", _SMOOTH),
    "newton-cg": Equivalent("newton_cg", _SMOOTH),
    "newton-cholesky": Equivalent("newton", _SMOOTH),
    "liblinear": Equivalent("newton_cg", ("l1", "l2")),
    "sag": Equivalent("lbfgs", _SMOOTH),
    "saga": Equivalent("auto", ("l1", "l2", "elasticnet", "none")),
}


@dataclass(frozen=True)
class Settings:
    """All that decides a fit but the data.

    Attributes:
        C: inverse strength; infinite without a penalty.
        l1_ratio: the share of L1 in the penalty.
        solver: as ``fit`` takes it.
        tol: bound on the gradient; None for the default of the dtype.
        max_steps: None for the solver's own.
        fit_intercept: whether there is one.
        derivatives: "analytic" or "autodiff".
        dtype: what to compute in.
        device: None for JAX's default.
        verbose: whether to print progress.
        warm_start: whether an earlier answer is the start.
    """

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

    def strength(self, weight: np.ndarray) -> float:
        """1 / (C · Σw), which multiplies the penalty beside the mean loss."""
        if math.isinf(self.C):
            return 0.0
        largest = float(np.max(weight))  # divided by in turn: no sum of weights overflows
        strength = 1 / self.C / largest / float(np.sum(weight / largest))
        return min(strength, _STRONGEST)

    def scope(self) -> AbstractContextManager[Any]:
        """Where a fit's arrays are made."""
        return nullcontext() if self.device is None else jax.default_device(self.device)


def check_settings(given: Mapping[str, Any]) -> Settings:
    """The parameters of an estimator, none of them illegal.

    Args:
        given: name ↦ value, as ``get_params`` returns them.

    Raises:
        ValueError: naming the parameter, its value and the remedy.
    """
    C = _real("C", given["C"], above=True)
    l1_ratio = _l1_ratio(given["l1_ratio"])
    flags = {
        name: validation.check_flag(name, given[name])
        for name in ("fit_intercept", "dual", "warm_start")
    }
    C, l1_ratio, kind = _penalty(given["penalty"], C, given["l1_ratio"], l1_ratio)
    _real("intercept_scaling", given["intercept_scaling"], above=True)
    solver = _solver(given["solver"], kind, flags["dual"])
    validation.check_derivatives(given["derivatives"])
    _check_n_jobs(given["n_jobs"])
    _check_random_state(given["random_state"])
    tol, steps = given["tol"], given["max_iter"]
    return Settings(
        C=C,
        l1_ratio=l1_ratio,
        solver=solver,
        tol=None if tol is None else max(_real("tol", tol), np.finfo(float).tiny),
        max_steps=None if steps is None else validation.check_count("max_iter", steps),
        fit_intercept=flags["fit_intercept"],
        derivatives=given["derivatives"],
        dtype=_dtype(given["dtype"]),
        device=_device(given["device"]),
        verbose=_verbose(given["verbose"]),
        warm_start=flags["warm_start"],
    )


def _real(name: str, value: Any, *, above: bool = False) -> float:
    """A number ≥ 0, or > 0."""
    legal = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not legal or not (value > 0 or (value == 0 and not above)):
        wanted = "greater than 0" if above else "of at least 0"
        raise ValueError(f"{name} must be a number {wanted}, but it is {value!r}.")
    return float(value)


def _l1_ratio(value: Any) -> float:
    if value is None:
        _deprecated("'l1_ratio=None' was deprecated by scikit-learn 1.8: use l1_ratio=0.")
        return 0.0
    if _real("l1_ratio", value) > 1:
        raise ValueError(f"l1_ratio must lie between 0 (L2) and 1 (L1), but it is {value!r}.")
    return float(value)


def _penalty(penalty: Any, C: float, given: Any, l1_ratio: float) -> tuple[float, float, str]:
    """C, l1_ratio and the penalty's name; ``penalty`` overrules the other two."""
    if isinstance(penalty, str) and penalty == "deprecated":
        return C, l1_ratio, "none" if math.isinf(C) else _kind(l1_ratio)
    if penalty not in ("l1", "l2", "elasticnet", None):
        raise ValueError(
            f"penalty must be 'l1', 'l2', 'elasticnet' or None, but it is {penalty!r}. Better "
            "leave it out, and use C and l1_ratio."
        )
    _deprecated(
        "'penalty' was deprecated by scikit-learn 1.8: leave it out. For 'l2' that is all, for "
        "'l1' give l1_ratio=1, for 'elasticnet' l1_ratio, and for None C=np.inf."
    )
    if penalty == "elasticnet":
        if given is None:
            raise ValueError("penalty='elasticnet' needs an l1_ratio between 0 and 1.")
        return C, l1_ratio, penalty
    if 0 < l1_ratio < 1:
        _warn(
            "l1_ratio parameter is only used when penalty is 'elasticnet'. Got "
            f"(penalty={penalty}): leave penalty out."
        )
    if penalty is None:
        if C != 1:
            _warn("Setting penalty=None will ignore the C that was given: use C=np.inf.")
        return math.inf, 0.0, "none"
    ratio = float(penalty == "l1")
    if given != ratio:
        _warn(f"Inconsistent values: penalty={penalty} with l1_ratio={given}: give l1_ratio alone.")
    return C, ratio, penalty


def _kind(l1_ratio: float) -> str:
    return {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")


def _solver(solver: Any, kind: str, dual: bool) -> Any:
    """A solver as ``fit`` takes it."""
    known = EQUIVALENTS.get(solver) if isinstance(solver, str) else None
    if known is None:
        if dual:
            raise ValueError("dual=True needs solver='liblinear', and gives the same answer.")
        validation.check_solver(solver)
        return solver
    if kind not in known.penalties:
        _refuse_penalty(solver, kind)
    if dual and (solver, kind) != ("liblinear", "l2"):
        raise ValueError(
            f"Solver {solver} supports only dual=False, got dual=True. Leave dual out: the "
            "answer is the same."
        )
    return known.solver if kind in _SMOOTH else "auto"


def _refuse_penalty(solver: str, kind: str) -> None:
    if solver != "liblinear":
        raise ValueError(
            f"Solver {solver} supports only 'l2' or None penalties, got {kind} penalty. Use "
            "solver='auto'."
        )
    if kind == "elasticnet":
        raise ValueError(
            "Only 'saga' solver supports elasticnet penalty, got solver=liblinear. Use "
            "solver='auto'."
        )
    raise ValueError("penalty=None is not supported for the liblinear solver. Use solver='auto'.")


def _check_n_jobs(n_jobs: Any) -> None:
    if n_jobs is None:
        return
    if not isinstance(n_jobs, Integral):
        raise ValueError(f"n_jobs must be None or a whole number, but it is {n_jobs!r}.")
    _deprecated(
        f"'n_jobs' has no effect, here and since scikit-learn 1.8 (it is {n_jobs}): leave it out."
    )


def _check_random_state(seed: Any) -> None:
    if not (seed is None or isinstance(seed, Integral | np.random.RandomState)):
        raise ValueError(
            f"random_state must be None, a whole number or a RandomState, but it is {seed!r}."
        )


def _dtype(dtype: Any) -> np.dtype:
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if dtype is None or kind not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f"dtype must be 'float64' or 'float32', but it is {dtype!r}.")
    return kind


def _device(device: Any) -> Any:
    """A device of JAX's from its platform and number, such as "gpu:1"."""
    if device is None or isinstance(device, jax.Device):
        return device
    platform, _, number = str(device).partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError):
        here = ", ".join(f"{d.platform}:{d.id}" for d in jax.devices())
        raise ValueError(
            f"device must be None, a jax.Device, or a platform such as 'cpu' or 'gpu:0', but it is "
            f"{device!r}. Of the default platform there are {here}."
        ) from None


def _verbose(verbose: Any) -> bool:
    if not isinstance(verbose, Integral | np.bool_) or verbose < 0:
        raise ValueError(f"verbose must be 0 or a positive whole number, but it is {verbose!r}.")
    return bool(verbose)


def _deprecated(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=5)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
