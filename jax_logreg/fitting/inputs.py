"""Checks at the entrance: every refusal names the argument, the value and the remedy.

Shapes are always checked. Values are checked where they are known: inside ``jit`` or
``vmap`` they are not, and a NaN there ends in ``Status.NOT_FINITE``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_logreg.derivatives.analytic import AnalyticOracle
from jax_logreg.derivatives.autodiff import AutodiffOracle
from jax_logreg.objective.penalties import L2
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.optax_adapter import Optax

ORACLES: dict[str, type[AnalyticOracle] | type[AutodiffOracle]] = {
    "analytic": AnalyticOracle,
    "autodiff": AutodiffOracle,
}
SOLVERS: dict[str, Solver] = {
    "newton": Newton(),
    "gradient_descent": GradientDescent(),
    "lbfgs": Optax(optax.lbfgs()),
}


def is_known(x: Any) -> bool:
    """Whether the values of x can be looked at, not only its shape."""
    return not isinstance(x, jax.core.Tracer)


def as_floats(name: str, x: Any) -> jax.Array:
    """x as a floating array of at least 32 bits; NumPy float64 follows the x64 setting."""
    if not isinstance(x, jax.Array):
        x = np.asarray(x)
        if x.dtype.kind not in "buif":
            raise ValueError(
                f"{name} must hold numbers, but its dtype is {x.dtype}. Encode text as "
                "numbers first (labels as 0, 1, … K-1)."
            )
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be real, but its dtype is {x.dtype}.")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def require_finite(name: str, x: jax.Array) -> None:
    """Refuse NaN and infinity, naming the first."""
    if is_known(x) and not bool(jnp.all(jnp.isfinite(x))):
        values = np.asarray(x)
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        place = ", ".join(str(i) for i in where)
        raise ValueError(
            f"{name} must be finite, but {name}[{place}] is {values[where]}. Drop or "
            "impute the row."
        )


def check_features(X: Any) -> jax.Array:
    """X as a finite float array (n, p) with n, p ≥ 1."""
    X = as_floats("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"X must have shape (n, p), but its shape is {X.shape}. A single feature is "
            "X.reshape(-1, 1)."
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty: its shape is {X.shape}. Give at least one row and column.")
    require_finite("X", X)
    return X


def check_labels(y: Any, X: jax.Array, num_classes: int | None) -> jax.Array:
    """y as (n,) in [0, 1] for the sigmoid model, or as (n, K) for softmax."""
    y = as_floats("y", y)
    if y.ndim not in (1, 2) or y.shape[0] != X.shape[0]:
        raise ValueError(
            f"y must have shape ({X.shape[0]},) or ({X.shape[0]}, K) to match X, but its "
            f"shape is {y.shape}."
        )
    require_finite("y", y)
    if y.ndim == 2:
        return _check_label_rows(y, num_classes)
    if num_classes is None and is_known(y) and float(jnp.max(y)) > 1:
        num_classes = int(jnp.max(y)) + 1
    if num_classes is None:
        return _check_binary(y)
    return _one_hot(y, num_classes)


def _check_binary(y: jax.Array) -> jax.Array:
    if is_known(y) and bool(jnp.any((y < 0) | (y > 1))):
        raise ValueError(
            f"y must lie in [0, 1] for the sigmoid model, but its smallest value is "
            f"{float(jnp.min(y))}. Map labels -1 and 1 to 0 and 1, or give whole "
            "numbers 0, 1, … K-1 for softmax."
        )
    return y


def _one_hot(y: jax.Array, num_classes: int) -> jax.Array:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but it is {num_classes}.")
    if is_known(y):
        bad = (y < 0) | (y >= num_classes) | (y != jnp.round(y))
        if bool(jnp.any(bad)):
            row = int(jnp.argmax(bad))
            raise ValueError(
                f"y must hold whole numbers 0 … {num_classes - 1} for {num_classes} "
                f"classes, but y[{row}] is {float(y[row])}. Recode the labels, or give "
                "label probabilities as an array (n, K)."
            )
    return jax.nn.one_hot(y.astype(int), num_classes, dtype=y.dtype)


def _check_label_rows(y: jax.Array, num_classes: int | None) -> jax.Array:
    K = y.shape[1]
    if K < 2 or num_classes not in (None, K):
        wanted = "at least 2" if num_classes is None else str(num_classes)
        raise ValueError(f"y must have {wanted} columns, one a class, but its shape is {y.shape}.")
    if is_known(y):
        tolerance = 100 * K * jnp.finfo(y.dtype).eps
        bad = jnp.any(y < 0, axis=1) | (jnp.abs(jnp.sum(y, axis=1) - 1) > tolerance)
        if bool(jnp.any(bad)):
            row = int(jnp.argmax(bad))
            raise ValueError(
                f"rows of y must be probabilities that sum to one, but y[{row}] is "
                f"{np.asarray(y[row]).tolist()}. Divide each row by its sum."
            )
    return y


def check_weight(sample_weight: Any, X: jax.Array) -> jax.Array | None:
    """Weights as (n,), none negative, with a positive sum."""
    if sample_weight is None:
        return None
    weight = as_floats("sample_weight", sample_weight).astype(X.dtype)
    if weight.shape != X.shape[:1]:
        raise ValueError(
            f"sample_weight must have shape ({X.shape[0]},), but its shape is {weight.shape}."
        )
    require_finite("sample_weight", weight)
    if is_known(weight):
        if bool(jnp.any(weight < 0)):
            row = int(jnp.argmin(weight))
            raise ValueError(
                f"sample_weight must not be negative, but sample_weight[{row}] is "
                f"{float(weight[row])}. Use zero to leave a row out."
            )
        if float(jnp.sum(weight)) == 0:
            raise ValueError("sample_weight sums to zero: give some row a positive weight.")
    return weight


def check_classes(y: jax.Array, weight: jax.Array | None) -> None:
    """Refuse labels that never show one of the classes."""
    if not is_known(y) or (weight is not None and not is_known(weight)):
        return
    columns = jnp.stack([1 - y, y], axis=1) if y.ndim == 1 else y
    mass = jnp.max(columns if weight is None else columns * weight[:, None], axis=0)
    if not bool(jnp.all(mass > 0)):
        absent = int(jnp.argmin(mass))
        raise ValueError(
            f"y shows no row of class {absent} (with positive weight), so its "
            "coefficients have no finite value. Give rows of every class, or fewer classes."
        )


def check_offset(offset: Any, X: jax.Array, y: jax.Array) -> jax.Array | None:
    """The offset in the shape of the logits."""
    if offset is None:
        return None
    offset = as_floats("offset", offset).astype(X.dtype)
    if offset.shape != y.shape:
        raise ValueError(
            f"offset must have the shape of the logits, {y.shape}, but its shape is {offset.shape}."
        )
    require_finite("offset", offset)
    return offset


def check_penalty(penalty: Any, X: jax.Array) -> L2:
    """The penalty, its numbers in the dtype of X."""
    if penalty is None:
        return L2(jnp.zeros((), X.dtype))
    if not isinstance(penalty, L2):
        raise ValueError(f"penalty must be None or L2(strength), but it is {penalty!r}.")
    strength = _nonnegative("penalty strength", penalty.strength, X)
    if strength.ndim:
        raise ValueError(
            f"penalty strength must be a scalar, but its shape is {strength.shape}. Use "
            "jax.vmap over strengths, or factor for one a feature."
        )
    factor = penalty.factor
    if factor is not None:
        factor = _nonnegative("penalty factor", factor, X)
        if factor.shape != X.shape[1:]:
            raise ValueError(
                f"penalty factor must have shape ({X.shape[1]},), one a feature, but its "
                f"shape is {factor.shape}."
            )
    return L2(strength, factor)


def _nonnegative(name: str, x: Any, X: jax.Array) -> jax.Array:
    x = as_floats(name, x).astype(X.dtype)
    require_finite(name, x)
    if is_known(x) and bool(jnp.any(x < 0)):
        raise ValueError(f"{name} must not be negative, but it is {np.asarray(x).tolist()}.")
    return x


def check_solver(solver: Any) -> Solver:
    """A solver from its name, from an Optax transformation, or as it is."""
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]
    if isinstance(solver, Solver):
        return solver
    if isinstance(solver, optax.GradientTransformation):
        return Optax(solver)
    raise ValueError(
        f"solver must be one of {', '.join(map(repr, SOLVERS))}, a solver object such as "
        f"GradientDescent(step_size=0.1), or an Optax transformation; it is {solver!r}."
    )


def check_derivatives(derivatives: Any) -> type[AnalyticOracle] | type[AutodiffOracle]:
    """The oracle's class from its name."""
    if derivatives not in ORACLES:
        raise ValueError(f"derivatives must be 'analytic' or 'autodiff', not {derivatives!r}.")
    return ORACLES[derivatives]


def check_init(init: Any, X: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The starting (coef, intercept): zeros, a pair, or an earlier result."""
    coef_shape, intercept_shape = X.shape[1:] + y.shape[1:], y.shape[1:]
    if init is None:
        return jnp.zeros(coef_shape, X.dtype), jnp.zeros(intercept_shape, X.dtype)
    pair = (init.coef, init.intercept) if hasattr(init, "coef") else tuple(init)
    if len(pair) != 2:
        raise ValueError("init must be a pair (coef, intercept) or an earlier FitResult.")
    start = tuple(
        as_floats(f"init {name}", part).astype(X.dtype)
        for name, part in zip(("coef", "intercept"), pair, strict=True)
    )
    for name, part, shape in zip(
        ("coef", "intercept"), start, (coef_shape, intercept_shape), strict=True
    ):
        if part.shape != shape:
            raise ValueError(f"init {name} must have shape {shape}, but its shape is {part.shape}.")
        require_finite(f"init {name}", part)
    return start[0], start[1]


def check_limits(tol: Any, max_steps: Any, solver: Solver, dtype: Any) -> tuple[Any, int]:
    """tol > 0 and max_steps ≥ 0, with the defaults of the dtype and the solver."""
    if tol is None:
        tol = 1e-8 if dtype == jnp.float64 else 1e-5
    if is_known(tol) and not float(tol) > 0:
        raise ValueError(
            f"tol must be positive, but it is {tol}. It bounds the largest gradient entry."
        )
    if max_steps is None:
        max_steps = solver.default_max_steps
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 0:
        raise ValueError(f"max_steps must be a whole number ≥ 0, but it is {max_steps!r}.")
    return tol, max_steps
