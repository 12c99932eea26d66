"""Validation of the arguments of ``fit``, in the order of its signature; shared helpers last.

Shapes are always checked, values where they are concrete. Inside ``jit`` and ``vmap`` they are
tracers: an illegal entry then becomes NaN, which ends in ``Status.NOT_FINITE``. Every refusal
names the argument, the entry, its value and the remedy.
"""

import datetime
import inspect
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial, wraps
from numbers import Number
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.objective.dense_features import is_on_one_cpu, to_device
from jax_logreg.objective.identifiability import class_mass
from jax_logreg.objective.penalties import L2, Penalty
from jax_logreg.objective.sparse_features import SparseFeatures, sparse_features
from jax_logreg.programs.compiled import Compiled, are_concrete, is_concrete, is_traced
from jax_logreg.programs.jax_settings import take_arrays
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.newton_cg import NewtonCG
from jax_logreg.solvers.optax_adapter import Optax, is_transformation
from jax_logreg.solvers.proximal_newton import ProximalNewton

# X as ``fit`` takes it, checked: a float array or sparse features.
Table = jax.Array | SparseFeatures

DERIVATIVES: dict[str, ModuleType] = {"analytic": analytic, "autodiff": autodiff}
SOLVERS: dict[str, Solver] = {
    "newton": Newton(),
    "newton_cg": NewtonCG(),
    "lbfgs": LBFGS(),
    "gradient_descent": GradientDescent(),
    "proximal_newton": ProximalNewton(),
}
# Types of dates and durations: how their names begin in NumPy, pandas, polars and Arrow, and as
# Python's objects.
_DATES = ("date", "duration", "period", "time")
_DATE_TYPES = (
    datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64
)  # fmt: skip
# What NumPy reads as an array, whatever the type.
_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__", "__buffer__")
# Arguments that hold no data: an entry cannot be dropped, and no text encoded.
_SETTINGS = ("penalty", "init")
# scikit-learn's words, in those of ``fit``.
_STRENGTH = "strength = 1 / (C * n) for its C, n rows or the sum of their weights"
_PENALTY_WORDS = {
    "l2": f"L2(strength), with {_STRENGTH}",
    "l1": f"ElasticNet(strength), with {_STRENGTH}",
    "elasticnet": f"ElasticNet(strength, l1_ratio), with {_STRENGTH}",
    "none": "None",
}
_WORDS = {
    "C": f"penalty=L2(strength), with {_STRENGTH}",
    "l1_ratio": "penalty=ElasticNet(strength, l1_ratio)",
    "max_iter": "max_steps",
    "class_weight": "sample_weight, one weight a row",
}
# Up to this number of entries NumPy is faster than dispatching a compiled check.
SMALL = 2**18


# Dtypes, without the name of their library, that a fit is too fine for.
_HALF_PRECISION = ("float16", "bfloat16", "float8")


class Rule(NamedTuple):
    """What entries must satisfy.

    Attributes:
        holds: (x, *args) ↦ booleans that broadcast to x, for NumPy and JAX arrays alike. One
            function for all calls, so that its check compiles once.
        words: what comes after "must" in a refusal.
    """

    holds: Callable[..., Any]
    words: str


FINITE = Rule(lambda x: x.__array_namespace__().isfinite(x), "be finite")
NONNEGATIVE = Rule(lambda x: x >= 0, "not be negative")
FRACTIONS = Rule(lambda x: (x >= 0) & (x <= 1), "lie in [0, 1]")
ZERO = Rule(lambda x: x == 0, "be zero")
CLASS_NUMBERS = Rule(
    lambda y, num_classes: (y >= 0) & (y < num_classes) & (y == y.round()),
    "hold whole numbers, one of 0, 1, … K-1 for K classes",
)
PROBABILITY_ROWS = Rule(
    lambda y, tolerance: (
        (y >= 0).all(axis=1, keepdims=True) & (abs(y.sum(axis=1, keepdims=True) - 1) <= tolerance)
    ),
    "hold rows of probabilities that sum to one",
)


Door = TypeVar("Door", bound=Callable[..., Any])


def eager(door: Door) -> Door:
    """``door``, computed at once where all values are known, also while a program is traced: there
    its answer is a constant."""

    @wraps(door)
    def with_known_values(*args: Any, **kwargs: Any) -> Any:
        known = are_concrete(take_arrays((args, kwargs))[0])
        with jax.ensure_compile_time_eval() if known and is_traced() else nullcontext():
            return door(*args, **kwargs)

    return with_known_values  # type: ignore[return-value]


def refuse_traced(door: str, *data: Any, remedy: str = "call it outside") -> None:
    """Refuse data inside a program that JAX traces, by a door whose next step depends on them."""
    if not are_concrete(take_arrays(data)[0]):
        raise ValueError(
            f"{door} looks at the values of its data, which jax.jit, jax.vmap and jax.grad hide: "
            f"{remedy}."
        )


def warn_of_half_precision(X: Any) -> None:
    """Say that a table of fewer than 32 bits an entry is copied, and fitted in float32.

    Two digits (bfloat16) or three leave nothing of a Hessian.
    """
    dtype = str(getattr(X, "dtype", "")).rpartition(".")[2]
    if dtype.startswith(_HALF_PRECISION):
        warnings.warn(
            f"X is {dtype}: the fit computes in float32, on a copy of X in float32, and so is its "
            "answer. X.astype('float32') says the same without this warning.",
            stacklevel=_level_of_caller(),
        )


def _level_of_caller() -> int:
    """The level, for a warning by the function that asks, of the first frame outside."""
    level, frame = 1, inspect.currentframe()
    inside = ("jax_logreg", "contextlib")
    frame = frame and frame.f_back
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    return level


def check_features(X: Any) -> Table:
    """X as a finite float table (n, p) with n, p ≥ 1, dense or sparse."""
    if isinstance(X, SparseFeatures):
        return X
    if is_sparse(X):
        return _check_sparse(X)
    X = as_floats("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"X must have shape (n, p), but its shape is {X.shape}. A single feature is "
            "X.reshape(-1, 1)."
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty: its shape is {X.shape}. Give at least one row and column.")
    return X


def _check_sparse(X: Any) -> SparseFeatures:
    """The entries of a sparse X as finite floats, in the layout that multiplies fast."""
    if not (hasattr(X, "tocsr") or hasattr(X, "tree_flatten")):
        raise ValueError(
            f"X is sparse, of an unknown kind ({type(X).__name__}): give a SciPy matrix, or "
            "X.toarray()."
        )
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"X must have shape (n, p), n and p ≥ 1, but its shape is {X.shape}.")
    if not are_concrete(X):
        return _check_traced_values(X)
    X = X.tocsr() if hasattr(X, "tocsr") else X
    values = X.data if _is_finite_float_array(X.data) else as_floats("X.data", X.data)
    return sparse_features(X, values.dtype)


def _check_traced_values(X: Any) -> SparseFeatures:
    """The same of a matrix of JAX whose values are traced, as under ``jax.grad``."""
    X = X.to_bcoo() if hasattr(X, "to_bcoo") else X
    values = as_floats("X.data", X.data)
    return sparse_features(type(X)((values, X.indices), shape=X.shape))


def check_labels(y: Any, num_rows: int, num_classes: int | None, dtype: Any) -> jax.Array:
    """y as (n,) in [0, 1] for the sigmoid model, or as (n, K) for softmax, in a dtype.

    Many labels that were given as integers 0 and 1 are returned as int8, one byte a label:
    every pass over the data reads them.
    """
    if num_classes is not None:
        num_classes = check_count("num_classes", num_classes)
    is_array = type(y) is np.ndarray or isinstance(y, jax.Array)
    if is_array and y.shape == (num_rows,) and num_rows > SMALL and num_classes is None:
        with eager_if_concrete(y):
            if _is_binary(y):
                return jnp.asarray(y.astype(np.int8))
    y = as_floats("y", y)
    if y.ndim not in (1, 2) or y.shape[0] != num_rows:
        raise ValueError(
            f"y must have shape ({num_rows},) or ({num_rows}, K) to match X, but its shape is "
            f"{y.shape}."
        )
    counted = _count_classes(y) if y.ndim == 1 and num_classes is None and is_concrete(y) else None
    if y.ndim == 2:
        y = _check_label_rows(y, num_classes)
    elif counted is not None:
        y = _one_hot(y, counted)
        _check_all_shown(y)
    elif num_classes is None:
        hint = (
            " For the sigmoid model map labels -1 and 1 to 0 and 1; for softmax give whole numbers "
            "0, 1, … K-1."
        )
        y = check_entries("y", y, FRACTIONS, hint=hint)
    else:
        y = _one_hot(y, num_classes)
    return as_dtype(y, dtype)


def _is_binary(y: np.ndarray | jax.Array) -> bool:
    """Whether y holds concrete integers, all of them 0 or 1."""
    return y.dtype.kind in "biu" and is_concrete(y) and bool(y.min() >= 0) and bool(y.max() <= 1)


def _count_classes(y: jax.Array) -> int | None:
    """K where labels beyond 1 call for softmax, else None."""
    with eager_if_concrete(y):
        largest = float(as_numpy_if_small(y).max())
    if largest <= 1:
        return None
    if largest >= y.size:
        raise ValueError(
            f"y holds {largest:g}, but {y.size} rows cannot show that many classes. Labels "
            "are whole numbers that count from 0."
        )
    return int(largest) + 1


def _one_hot(y: jax.Array, num_classes: int) -> jax.Array:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but it is {num_classes}.")
    hint = f" K is {num_classes}. Recode the labels, or give label probabilities as (n, K)."
    y = check_entries("y", y, CLASS_NUMBERS, num_classes, hint=hint)
    if not is_concrete(y):
        y = _without_derivative(y)
    with eager_if_concrete(y):
        if is_concrete(y) and is_on_one_cpu(y):  # JAX would compile six operations for every size
            table = np.asarray(y)[:, None] == np.arange(num_classes)
            return jax.device_put(table.astype(y.dtype))
        one_hot = jax.nn.one_hot(y.astype(int), num_classes, dtype=y.dtype)
        return jnp.where(jnp.isnan(y)[:, None], jnp.nan, one_hot)


@jax.custom_jvp
def _without_derivative(y: jax.Array) -> jax.Array:
    """y, which must not depend on what is differentiated."""
    return y


def _refuse_derivative(primals: Any, tangents: Any) -> Any:
    if isinstance(tangents[0], SymbolicZero):
        return primals[0], tangents[0]
    raise TypeError(
        "y holds class numbers, in which a fit has no derivative: give probabilities, (n, K), "
        "such as jax.nn.one_hot(y, K)."
    )


_without_derivative.defjvp(_refuse_derivative, symbolic_zeros=True)


def _check_all_shown(y: jax.Array) -> None:
    """Refuse class numbers that skip a class: they count from 1, or are names and no numbers."""
    shown = class_masses(y, None) > 0
    first, absent = int(np.argmax(shown)), int(np.argmin(shown))
    if shown[absent]:
        return
    remedy = (
        f"Subtract {first}."
        if shown[first:].all()
        else "Recode them: np.unique(y, return_inverse=True)[1]."
    )
    raise ValueError(f"y shows no row of class {absent}, and labels count from 0. {remedy}")


def _check_label_rows(y: jax.Array, num_classes: int | None) -> jax.Array:
    """Label probabilities, (n, K)."""
    K = y.shape[1]
    if K < 2 or num_classes not in (None, K):
        wanted = "at least 2" if num_classes is None else str(num_classes)
        raise ValueError(
            f"y must have {wanted} columns, one a class, but its shape is {y.shape}. Labels "
            "of one column are y.ravel()."
        )
    tolerance = 100 * K * float(jnp.finfo(y.dtype).eps)
    return check_entries("y", y, PROBABILITY_ROWS, tolerance, hint=" Divide each row by its sum.")


def refuse_foreign_words(door: Door) -> Door:
    """``door`` with scikit-learn's parameters refused in its own."""

    @wraps(door)
    def explained(*args: Any, **kwargs: Any) -> Any:
        if foreign := [name for name in kwargs if name in _WORDS]:
            name = foreign[0]
            raise TypeError(
                f"{door.__name__}() got an unexpected keyword argument {name!r}. Give "
                f"{_WORDS[name]}, or use jax_logreg.LogisticRegression."
            )
        return door(*args, **kwargs)

    return cast(Door, explained)


def check_penalty(penalty: Any, X: Table) -> Penalty:
    """The penalty, its numbers in their domains and in the dtype of X."""
    if penalty is None:
        return L2(np.zeros((), X.dtype))
    if not isinstance(penalty, Penalty) or isinstance(penalty, type):
        meant = _PENALTY_WORDS.get(penalty) if isinstance(penalty, str) else None
        hint = f" scikit-learn's {penalty!r} is {meant}." if meant else ""
        raise ValueError(
            "penalty must be None, L2(strength), ElasticNet(strength, l1_ratio), Firth() or "
            f"another Penalty, but it is {penalty!r}.{hint}"
        )
    for name, domain in penalty.domains.items():
        if getattr(penalty, name) is None and not domain.endswith("per feature"):
            raise ValueError(f"penalty {name} must be a number, but it is None.")
    checked = {
        name: check_penalty_number(
            name,
            getattr(penalty, name),
            domain,
            X.shape[1:] if domain.endswith("per feature") else (),
            X.dtype,
        )
        for name, domain in penalty.domains.items()
        if getattr(penalty, name) is not None
    }
    return replace(penalty, **checked).simplified() if checked else penalty  # type: ignore[type-var]


def check_penalty_number(
    name: str, x: Any, domain: str, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """A number of a penalty, in its domain."""
    rule = FRACTIONS if domain == "fraction" else NONNEGATIVE
    return check_array(f"penalty {name}", x, shape, dtype, rule)


def check_smooth_penalty(penalty: Any, X: Table, reason: str) -> Penalty:
    """The same where an L1 part, or Jeffreys' prior, is not supported, for a reason."""
    checked = check_penalty(penalty, X)
    if checked.has_l1 or checked.is_jeffreys:
        raise ValueError(f"penalty is {type(penalty).__name__}(...), but {reason}")
    return checked


def check_solver(solver: Any) -> Solver | None:
    """A solver from its name, from an Optax transformation, or as it is; None for "auto"."""
    if isinstance(solver, str) and solver == "auto":
        return None
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]
    if isinstance(solver, Solver):
        _check_leaves(solver)
        return solver
    if is_transformation(solver):
        return Optax(solver)
    hint = " Call it." if callable(solver) else ""
    if isinstance(solver, str) and (ours := solver.replace("-", "_")) in SOLVERS:
        hint = f" Write {ours!r}."
    raise ValueError(
        f"solver must be 'auto', {', '.join(map(repr, SOLVERS))}, a solver object such as "
        f"GradientDescent(step_size=0.1), or an Optax transformation; it is {solver!r}.{hint}"
    )


def _check_leaves(solver: Solver) -> None:
    """Refuse a solver that JAX could not pass to a compiled program."""
    kind = type(solver).__name__
    for path, leaf in jax.tree_util.tree_leaves_with_path(solver):
        if leaf is solver:
            raise ValueError(
                f"solver {kind} is no registered pytree: make it a frozen dataclass and decorate "
                "that with @jax.tree_util.register_dataclass, see jax_logreg.Solver."
            )
        if not isinstance(leaf, Number | np.ndarray | np.generic | jax.Array):
            raise ValueError(
                f"solver {kind}{jax.tree_util.keystr(path)} must be a number or an array, but it "
                f"is {leaf!r}. Any other field needs field(metadata={{'static': True}})."
            )


def check_progress(progress: Any) -> None:
    """Refuse a progress report that cannot be called."""
    if progress is not None and not callable(progress):
        raise ValueError(
            f"progress must be a function of (steps, loss, gradient norm), but it is {progress!r}. "
            "Give progress=print."
        )


def check_derivatives(derivatives: Any) -> ModuleType:
    """The module of derivatives from its name."""
    if not isinstance(derivatives, str) or derivatives not in DERIVATIVES:
        raise ValueError(f"derivatives must be 'analytic' or 'autodiff', not {derivatives!r}.")
    return DERIVATIVES[derivatives]


def check_weight(sample_weight: Any, X: Table) -> jax.Array | None:
    """Weights (n,), none negative, with a positive sum."""
    if sample_weight is None:
        return None
    hint = " Use zero to leave a row out."
    weight = check_array("sample_weight", sample_weight, X.shape[:1], X.dtype, NONNEGATIVE, hint)
    with eager_if_concrete(weight):
        if is_concrete(weight) and float(as_numpy_if_small(weight).max()) == 0:
            raise ValueError("sample_weight sums to zero: give some row a positive weight.")
    return weight


def total_weight(weight: jax.Array) -> Any:
    """Σw, in the dtype of the weights, whose largest number stands for an overflow."""
    with eager_if_concrete(weight):
        small = as_numpy_if_small(weight) if is_concrete(weight) else weight
        with np.errstate(over="ignore"):
            total = small.sum() if isinstance(small, np.ndarray) else _sum(small)
    xp = np if isinstance(total, np.generic) else jnp
    return xp.minimum(total, jnp.finfo(weight.dtype).max)


def check_classes(y: jax.Array, weight: jax.Array | None, axes: Any = None) -> None:
    """Refuse labels that never show one of the classes: its intercept would diverge.

    Args:
        y: labels, and with ``axes`` those of many fits.
        weight: of the rows.
        axes: of the fits in y and in weight, as ``jax.vmap`` takes them; None for one fit.
    """
    if not are_concrete((y, weight)):
        return
    absent = np.argwhere(~(class_masses(y, weight, axes) > 0))
    if len(absent):
        which, remedy = "", "give rows of every class, or fewer classes"
        if axes is not None:
            fits = np.unique(absent[:, 0]).tolist()
            listed = ", ".join(map(str, fits[:10])) + (", …" if len(fits) > 10 else "")
            which, remedy = f" of fit {fits[0]}", f"leave out such fits, {len(fits)} here: {listed}"
        raise ValueError(
            f"y{which} shows no row of class {absent[0, -1]} (with positive weight), so its "
            f"intercept has no finite value, whatever L2. Labels count from 0: {remedy}."
        )


def class_masses(y: jax.Array, weight: jax.Array | None, axes: Any = None) -> np.ndarray:
    """The largest weighted label of every class, (2,) or (K,), after an axis of fits if any."""
    with eager_if_concrete(y, weight):
        labels = as_numpy_if_small(y)
        weights: Any = 1.0 if weight is None else as_numpy_if_small(weight)
        if axes is not None:
            return np.asarray(_class_masses_of_fits(labels, weights, axes))
        return np.asarray((_class_mass if labels is y else class_mass)(labels, weights))


_class_mass = Compiled(class_mass)


@partial(Compiled, static_argnames="axes")
def _class_masses_of_fits(y: jax.Array, weight: Any, axes: Any) -> jax.Array:
    return jax.vmap(class_mass, axes)(y, weight)


def check_offset(offset: Any, X: Table, y: jax.Array) -> jax.Array | None:
    """The offset, in the shape of the logits."""
    return None if offset is None else check_array("offset", offset, y.shape, X.dtype)


def check_flag(name: str, value: Any) -> bool:
    """True or False, and nothing that Python would take for it."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, but it is {value!r}.")
    return bool(value)


def check_count(name: str, value: Any) -> int:
    """A whole number ≥ 0, of any integer type."""
    try:
        count = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"{name} must be a whole number ≥ 0, but it is {value!r}.")
    return count


def check_init(
    init: Any, X: Table, y: jax.Array, fit_intercept: bool
) -> tuple[jax.Array, jax.Array] | None:
    """The starting (coef, intercept) from a pair or an earlier result; None for zeros."""
    if init is None:
        return None
    pair = (init.coef, init.intercept) if hasattr(init, "coef") else init
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError("init must be a pair (coef, intercept) or an earlier FitResult.")
    coef = check_array("init coef", pair[0], X.shape[1:] + y.shape[1:], X.dtype)
    rule = None if fit_intercept else ZERO
    hint = "" if fit_intercept else " Without fit_intercept a fixed intercept is an offset."
    intercept = check_array("init intercept", pair[1], y.shape[1:], X.dtype, rule, hint)
    return coef, intercept


def check_tol(tol: Any, dtype: Any) -> jax.Array:
    """A positive bound on the gradient norm, with the default of the dtype; inf is legal."""
    if tol is None:
        tol = 1e-8 if dtype == jnp.float64 else 1e-5
    concrete = is_concrete(tol)
    if concrete and not (isinstance(tol, int | float) or np.ndim(tol) == 0):
        raise ValueError(f"tol must be a scalar, but its shape is {np.shape(tol)}.")
    if concrete and (np.asarray(tol).dtype.kind not in "biuf" or not float(tol) > 0):
        raise ValueError(
            f"tol must be a positive number, but it is {tol!r}. It bounds the largest "
            "gradient entry."
        )
    bound: Any = np.asarray(tol, dtype) if concrete else jnp.asarray(tol, dtype)
    return bound


def check_array(
    name: str,
    x: Any,
    shape: tuple[int, ...],
    dtype: Any,
    rule: Rule | None = None,
    hint: str = "",
) -> jax.Array:
    """x as finite floats of a shape and a dtype that obey a rule; the hint is its remedy."""
    x = as_floats(name, x)
    if x.shape != shape:
        wanted = f"have shape {shape}" if shape else "be a scalar"
        remedy = "" if shape else " Use jax.vmap for several."
        raise ValueError(f"{name} must {wanted}, but its shape is {x.shape}.{remedy}")
    if rule is not None:
        x = check_entries(name, x, rule, hint=hint)
    with eager_if_concrete(x):
        return as_dtype(x, dtype)


def check_entries(
    name: str, x: jax.Array, rule: Rule, *args: Any, hint: str = "", given: Any = None
) -> jax.Array:
    """x if all its entries obey a rule; in a traced program with NaN for those that do not.

    Args:
        name: of the argument.
        x: any shape.
        rule: what is asked.
        args: what the rule needs besides x.
        hint: the remedy, which ends the refusal.
        given: the argument before its conversion to x, whose value is reported; x if absent.

    Raises:
        ValueError: naming the first entry that breaks the rule.
    """
    with eager_if_concrete(x):
        if not is_concrete(x):
            return _check_traced(name, x, rule, args, hint)
        small = as_numpy_if_small(x)
        if _all(rule.holds, x, *args) if small is x else np.all(rule.holds(small, *args)):
            return x
        legal = np.asarray(rule.holds(x, *args))
    # A rule for rows has a last axis of length one: then the row is reported.
    first, axes = np.argwhere(~legal)[0], range(x.ndim)
    index = tuple(int(first[i]) for i in axes if legal.shape[i] == x.shape[i])
    value = np.asarray(x if given is None else given)[index].tolist()
    entry = _entry(name, index) if index else "it"
    raise ValueError(f"{name} must {rule.words}, but {entry} is {value}.{hint}")


def _check_traced(
    name: str, x: jax.Array, rule: Rule, args: tuple[Any, ...], hint: str
) -> jax.Array:
    """The same of a tracer. Under ``jax.grad`` it has a value, which is checked, and where it is
    legal the derivative is that of x."""

    @jax.custom_jvp
    def checked(x: jax.Array) -> jax.Array:
        if is_concrete(x):
            return check_entries(name, jnp.asarray(x), rule, *args, hint=hint)
        return jnp.where(rule.holds(x, *args), x, jnp.nan)

    checked.defjvps(lambda tangent, *_: tangent)
    return checked(x)


@partial(jax.jit, static_argnums=0)
def _all(holds: Callable[..., Any], x: jax.Array, *args: Any) -> jax.Array:
    """Whether all entries obey, in one pass that materializes nothing of the size of x."""
    return jnp.all(holds(x, *args))


def _entry(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]"


def eager_if_concrete(*arrays: Any) -> AbstractContextManager[Any]:
    """Where all arrays are concrete, compute now, also while a program is being traced."""
    concrete = all(map(is_concrete, arrays))
    return jax.ensure_compile_time_eval() if concrete else nullcontext()


def as_dtype(x: jax.Array, dtype: Any) -> jax.Array:
    """x in a dtype; JAX's own astype takes its time where nothing changes."""
    return x if x.dtype == dtype else x.astype(dtype)


def as_numpy_if_small(x: jax.Array) -> Any:
    """A few concrete values as a NumPy array, which costs nothing; many as they are."""
    return np.asarray(x) if x.size <= SMALL and x.is_fully_addressable else x


def as_floats(name: str, x: Any) -> jax.Array:
    """x as finite floats of at least 32 bits; integers become JAX's default float.

    NumPy's float64 follows the x64 setting, as everywhere in JAX.
    """
    with eager_if_concrete(x):
        floats = x if isinstance(x, jax.Array) else _numpy_floats(name, x)
        if jnp.issubdtype(floats.dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real, but its dtype is {floats.dtype}.")
        wanted = _float_dtype(floats.dtype)
        if isinstance(floats, jax.Array):
            array = as_dtype(floats, wanted)
        else:
            with np.errstate(over="ignore"):  # an overflow is reported below
                array = to_device(floats, wanted)
        if is_concrete(array) and _sum_is_finite(array):
            return array  # a sum takes a third of the time of a look at each entry
    if isinstance(floats, np.ndarray) and np.all(np.isfinite(floats)):
        rule = FINITE._replace(words="fit into JAX's default float32")
        hint = " Rescale it, or fit inside `with jax.enable_x64(True):`."
    else:
        hint = " Give a finite number." if name.startswith(_SETTINGS) else " Drop or impute it."
        rule = FINITE
    return check_entries(name, array, rule, hint=hint, given=floats)


def _float_dtype(dtype: Any) -> Any:
    """Of the floats that numbers of a dtype become."""
    if not jnp.issubdtype(dtype, jnp.floating):
        return jnp.result_type(float)
    known = jax.dtypes.canonicalize_dtype(dtype)
    return known if known.itemsize >= np.dtype(np.float32).itemsize else np.dtype(np.float32)


def _sum_is_finite(x: Any) -> bool:
    """If so, every entry is finite; if not, the sum may only have overflowed."""
    small = as_numpy_if_small(x) if isinstance(x, jax.Array) else x
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(small.sum() if isinstance(small, np.ndarray) else _sum(small)))


@Compiled
def _sum(x: jax.Array) -> jax.Array:
    return jnp.sum(x)


def _is_finite_float_array(x: Any) -> bool:
    """Whether ``as_floats`` would leave a NumPy array as it is, which then need not be copied."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray) or x.dtype.kind != "f":
        return False
    kept = x.dtype == _float_dtype(x.dtype)
    return bool(kept) and _sum_is_finite(x)


def refuse_masked(name: str, x: Any) -> None:
    """Refuse a masked array that hides something: NumPy would drop the mask."""
    if isinstance(x, np.ma.MaskedArray) and np.any(np.ma.getmaskarray(x)):
        index = tuple(np.argwhere(np.ma.getmaskarray(x))[0])
        raise ValueError(
            f"{_entry(name, index)} is masked, and a masked value is unknown: fill it "
            f"({name}.filled(value)), or drop the row."
        )


def refuse_dates(name: str, x: Any, remedy: str = "") -> None:
    """Refuse dates and durations, which NumPy would take for counts of days or nanoseconds.

    Args:
        name: of the argument.
        x: an array or a list; a series or a frame of pandas or polars; Arrow's array or table.
        remedy: ends the refusal.

    Raises:
        ValueError: naming the column or the entry, and what it holds.
    """
    remedy = remedy or (
        "dates and durations are not numbers. Give the days since a fixed date, or parts of the "
        "date."
    )
    x = x if hasattr(x, "__array__") else np.asarray(x)
    types = _types(name, x)
    for where, kind in types.items():
        if kind.lower().startswith(_DATES):
            raise ValueError(f"{where} holds {kind}: {remedy}")
    cells = np.asarray(x, object) if "object" in types.values() else np.array([])
    for index, cell in np.ndenumerate(cells):
        if isinstance(cell, _DATE_TYPES):
            raise ValueError(f"{_entry(name, index)} is {cell!r}: {remedy}")


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of the columns of a frame or of Arrow's table, if they are different texts."""
    if not hasattr(X, "__array__"):
        return None
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        names = tuple(X.columns)
    else:
        names = tuple(getattr(getattr(X, "schema", None), "names", ()))
    is_text = all(isinstance(name, str) for name in names)
    return names if names and is_text and len(set(names)) == len(names) else None


def _types(name: str, x: Any) -> dict[str, str]:
    """The types of the columns of a frame or of Arrow's table, or the one type of an array."""
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        columns, types = x.columns, x.dtypes
    elif hasattr(x, "schema") and hasattr(x.schema, "types"):
        columns, types = x.schema.names, x.schema.types
    else:
        return {name: str(x.dtype if hasattr(x, "dtype") else getattr(x, "type", ""))}
    return {f"column {c!r} of {name}": str(t) for c, t in zip(columns, types, strict=True)}


def refuse_no_array(name: str, x: Any) -> None:
    """Refuse what is neither an array nor a sequence, of which NumPy would make one object."""
    is_rows = hasattr(x, "__len__") and hasattr(x, "__getitem__")
    is_array = isinstance(x, Number | bytes) or any(hasattr(x, method) for method in _PROTOCOLS)
    if is_array or (is_rows and not isinstance(x, Mapping)):
        return
    remedy = "Give an array, a data frame or a list of rows."
    if isinstance(x, Mapping):
        remedy = f"Give its columns side by side: pandas.DataFrame({name})."
    elif isinstance(x, Iterator):
        remedy = f"Give list({name})."
    elif hasattr(x, "collect"):
        remedy = f"Give {name}.collect()."
    what = "None" if x is None else f"a {type(x).__name__}"
    raise ValueError(f"{name} must be an array, but it is {what}. {remedy}")


def as_numpy(name: str, x: Any, convert: Callable[[Any], Any] = np.asarray) -> np.ndarray:
    """x as a NumPy array in the byte order of this machine, which is the one that JAX takes."""
    refuse_no_array(name, x)
    try:
        array = convert(x)
    except ValueError as error:
        raise ValueError(f"{name} is no rectangular table of numbers: {error}.") from None
    except jax.errors.TracerArrayConversionError:
        raise ValueError(
            f"{name} is a {type(x).__name__} that holds values traced by jax.jit, jax.vmap or "
            "jax.grad: make it one array of JAX, as jnp.stack does."
        ) from None
    except (TypeError, RuntimeError) as error:  # of a library whose arrays NumPy does not read
        raise ValueError(
            f"{name} is a {type(x).__name__} that NumPy does not read: {error}. Give a dense NumPy "
            "array: tensor.detach().cpu().numpy(), and of bfloat16 tensor.float()."
        ) from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _numpy_floats(name: str, x: Any) -> np.ndarray:
    """Numbers in NumPy, from lists, frames and whatever else NumPy reads."""
    if is_sparse(x):
        raise ValueError(f"{name} is sparse; X alone may be. Give {name} as a dense array.")
    refuse_masked(name, x)
    x = x if hasattr(x, "__array__") else as_numpy(name, x)
    refuse_dates(name, x)
    x = as_numpy(name, x)
    if x.dtype.kind == "O":
        x = _object_floats(name, x)
    # NumPy knows bfloat16 and its like by JAX only.
    if x.dtype.kind not in "buifc" and not jnp.issubdtype(x.dtype, jnp.floating):
        if name.startswith(_SETTINGS):
            raise ValueError(f"{name} must be a number, but it is {x.tolist()!r}.")
        raise ValueError(
            f"{name} must hold numbers, but its dtype is {x.dtype}. Encode text as "
            "numbers first (labels as 0, 1, … K-1)."
        )
    return x.astype(float) if x.dtype == np.longdouble else x


def _object_floats(name: str, x: np.ndarray) -> np.ndarray:
    """Mixed columns as floats; a cell that is no number is named."""
    floats = np.empty(x.shape)
    for index, cell in np.ndenumerate(x):
        try:
            floats[index] = cell
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must hold numbers, but {_entry(name, index)} is {cell!r}. Encode text "
                "as numbers; drop or impute rows with gaps."
            ) from None
    return floats


def is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix of SciPy's or JAX's."""
    return hasattr(x, "toarray") or hasattr(x, "todense")
