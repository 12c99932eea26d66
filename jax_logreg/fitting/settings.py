"""Checks of everything but the data: penalty, solver, derivatives, start, limits."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.autodiff import AutodiffOracle
from jax_logreg.fitting.values import (
    as_floats,
    in_dtype,
    is_concrete,
    is_share,
    is_zero,
    not_negative,
    require,
)
from jax_logreg.objective.dense_features import Features
from jax_logreg.objective.penalties import L2, ElasticNet
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.newton_cg import NewtonCG
from jax_logreg.solvers.optax_adapter import Optax, is_transformation
from jax_logreg.solvers.proximal_newton import ProximalNewton

ORACLES: dict[str, type[AnalyticOracle] | type[AutodiffOracle]] = {
    "analytic": AnalyticOracle,
    "autodiff": AutodiffOracle,
}
SOLVERS: dict[str, Solver] = {
    "newton": Newton(),
    "newton_cg": NewtonCG(),
    "lbfgs": LBFGS(),
    "gradient_descent": GradientDescent(),
    "proximal_newton": ProximalNewton(),
}


def check_penalty(penalty: Any, X: Features) -> L2 | ElasticNet:
    """The penalty, its numbers in the dtype of X; a ridge where that is known to be all."""
    if penalty is None:
        return L2(jnp.zeros((), X.dtype))
    if isinstance(penalty, ElasticNet):
        return _check_elastic_net(penalty, X)
    if not isinstance(penalty, L2):
        raise ValueError(
            "penalty must be None, L2(strength), ElasticNet(strength, l1_ratio) or Firth(), but "
            f"it is {penalty!r}."
        )
    return _check_ridge(penalty, X)


def check_smooth_penalty(penalty: Any, X: Features, reason: str) -> L2:
    """The same where one with kinks is of no use, for a reason."""
    if isinstance(penalty, ElasticNet):
        raise ValueError(f"penalty is ElasticNet(...), but {reason}")
    checked = check_penalty(penalty, X)
    assert isinstance(checked, L2)
    return checked


def _check_ridge(penalty: L2 | ElasticNet, X: Features) -> L2:
    """Strength and factor."""
    strength = nonnegative("penalty strength", penalty.strength, X)
    if strength.ndim:
        raise ValueError(
            f"penalty strength must be a scalar, but its shape is {strength.shape}. Use "
            "jax.vmap over strengths, or factor for one a feature."
        )
    factor = penalty.factor
    if factor is not None:
        factor = nonnegative("penalty factor", factor, X)
        if factor.shape != X.shape[1:]:
            raise ValueError(
                f"penalty factor must have shape ({X.shape[1]},), one a feature, but its "
                f"shape is {factor.shape}."
            )
    return L2(strength, factor)


def _check_elastic_net(penalty: ElasticNet, X: Features) -> ElasticNet | L2:
    whole = _check_ridge(penalty, X)
    ratio = as_floats("penalty l1_ratio", penalty.l1_ratio)
    if ratio.ndim:
        raise ValueError(
            f"penalty l1_ratio must be a scalar, but its shape is {ratio.shape}. Use jax.vmap "
            "over ratios, or factor for one a feature."
        )
    ratio = require(
        ratio,
        is_share,
        lambda index: (
            f"penalty l1_ratio must lie in [0, 1], but it is {float(ratio)}. 1 is the lasso, 0 "
            "the ridge penalty."
        ),
    )
    if is_concrete(ratio) and float(ratio) == 0:
        return whole
    return ElasticNet(whole.strength, ratio.astype(X.dtype), whole.factor)


def nonnegative(name: str, x: Any, X: Features) -> jax.Array:
    """x in the dtype of X, if it has no negative entry."""
    x = as_floats(name, x)
    x = require(
        x,
        not_negative,
        lambda index: f"{name} must not be negative, but it is {np.asarray(x).tolist()}.",
    )
    return in_dtype(x, X.dtype)


def check_solver(solver: Any) -> Solver | None:
    """A solver from its name, from an Optax transformation, or as it is; None for auto."""
    if isinstance(solver, str) and solver == "auto":
        return None
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]
    if isinstance(solver, Solver):
        return solver
    if is_transformation(solver):
        return Optax(solver)
    raise ValueError(
        f"solver must be 'auto', {', '.join(map(repr, SOLVERS))}, a solver object such as "
        f"GradientDescent(step_size=0.1), or an Optax transformation; it is {solver!r}."
    )


def check_derivatives(derivatives: Any) -> type[AnalyticOracle] | type[AutodiffOracle]:
    """The oracle's class from its name."""
    if not isinstance(derivatives, str) or derivatives not in ORACLES:
        raise ValueError(f"derivatives must be 'analytic' or 'autodiff', not {derivatives!r}.")
    return ORACLES[derivatives]


def check_flag(name: str, value: Any) -> bool:
    """True or False, and nothing that Python would take for it."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, but it is {value!r}.")
    return bool(value)


def check_count(name: str, value: Any) -> int:
    """A whole number ≥ 0, of any whole type."""
    try:
        count = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"{name} must be a whole number ≥ 0, but it is {value!r}.")
    return count


def check_tol(tol: Any, dtype: Any) -> jax.Array:
    """A positive bound on the gradient norm, with the default of the dtype; inf is legal."""
    if tol is None:
        tol = 1e-8 if dtype == jnp.float64 else 1e-5
    known = is_concrete(tol)
    if known and not (isinstance(tol, int | float) or np.ndim(tol) == 0):
        raise ValueError(f"tol must be a scalar, but its shape is {np.shape(tol)}.")
    if known and (isinstance(tol, str) or not float(tol) > 0):
        raise ValueError(
            f"tol must be a positive number, but it is {tol!r}. It bounds the largest "
            "gradient entry."
        )
    bound: Any = np.asarray(tol, dtype) if known else jnp.asarray(tol, dtype)
    return bound


def check_init(
    init: Any, X: Features, y: jax.Array, fit_intercept: bool
) -> tuple[jax.Array, jax.Array] | None:
    """The starting (coef, intercept) from a pair or an earlier result; None for zeros."""
    coef_shape, intercept_shape = X.shape[1:] + y.shape[1:], y.shape[1:]
    if init is None:
        return None
    pair = (init.coef, init.intercept) if hasattr(init, "coef") else init
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError("init must be a pair (coef, intercept) or an earlier FitResult.")
    coef = _start("init coef", pair[0], coef_shape, X)
    intercept = _start("init intercept", pair[1], intercept_shape, X)
    if not fit_intercept:
        intercept = require(
            intercept,
            is_zero,
            lambda index: (
                "init intercept must be zero where fit_intercept=False. A fixed "
                "intercept is an offset."
            ),
        )
    return coef, intercept


def _start(name: str, part: Any, shape: tuple[int, ...], X: Features) -> jax.Array:
    part = as_floats(name, part)
    if part.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, but its shape is {part.shape}.")
    return part.astype(X.dtype)
