"""Batches of fits of one shape: resamples, folds, strengths, label sets."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.fitting import loop, validation
from jax_logreg.fitting.certificate import CertificateMethod, make_tolerance
from jax_logreg.fitting.column_scaling import ColumnScaling, ScaledPenalty
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.padding import Dataset, scaling_of
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.fitting.validation import NONNEGATIVE, Rule
from jax_logreg.objective.dense_features import is_on_one_device
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.compiled import Compiled, are_concrete
from jax_logreg.programs.jax_settings import in_auto_axes, own_settings
from jax_logreg.solvers.base import gradient_above
from jax_logreg.solvers.newton import Newton

# Fits that share a loop; a fit that is done waits for the slowest of its block.
BLOCK_SIZE = 32
# Full Newton steps from a near start first. If they leave many fits open, with a line search.
_METHODS = Newton(singular=False, search=False), Newton(singular=False)
_MANY = 1 / 8
# Bounds on the gradient that are tried in turn.
_SHARES_OF_TOL = 1.0, 1e-3, 1e-6
# Steps towards the answer of the average problem, and a gradient that is near enough.
_POOLED_STEPS = 8
_POOLED_TOL = 1e-3
_NO_NEWTON = (
    "fit_many runs Newton's method, which needs a smooth penalty: use jax.vmap over fit, or "
    "L2(strength)."
)


class BatchArgs(NamedTuple):
    """The arguments that may differ from fit to fit.

    Beside them goes the same tree of booleans, ``varies``: True for what has an axis of fits.
    """

    X: Any
    y: Any
    penalty: Any
    sample_weight: Any
    offset: Any


@validation.refuse_foreign_words
@own_settings()
@validation.eager
@in_auto_axes
def fit_many(
    X: ArrayLike,
    y: ArrayLike,
    *,
    penalty: Penalty | None = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
    tol: ArrayLike | None = None,
    max_steps: int = 100,
) -> FitResult:
    """Fit B problems of one shape, each with its own status.

    Each argument is either shared by all fits or has a leading axis of length B. The answers
    are those of ``fit``: Newton's method runs over blocks of fits, from the answer of their
    average problem if they share X, and the few fits that it leaves open (separated, singular,
    not converged) are done one by one.

    Args:
        X: (n, p), or (B, n, p).
        y: as in ``fit``, (n,) or (n, K); or (B, n), or (B, n, K). A table with n columns is
            (B, n), so that n classes of n rows need (B, n, n).
        penalty: ``L2(strength)``, or another smooth one, with numbers () or (B,).
        sample_weight: (n,) or (B, n): bootstrap counts, folds as zeros and ones.
        offset: of the shape of the logits, or (B, …).
        fit_intercept: whether to fit an unpenalised intercept.
        num_classes: K where y holds class numbers and softmax is wanted.
        tol: bound on the largest absolute entry of each ∇F.
        max_steps: for each fit.

    Returns:
        One result whose arrays have a leading axis of length B, ``status`` too.

    Raises:
        ValueError: for bad input, for fits that lack a class, and where it is differentiated,
            before anything is computed.

    >>> X, y = jnp.arange(6.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 1])
    >>> counts = jnp.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 1, 2, 0]])
    >>> fit_many(X, y, sample_weight=counts).status.tolist()
    [0, 0]
    """
    data = X, y, penalty, sample_weight, offset, tol
    validation.refuse_traced("fit_many", *data, remedy="call it outside, or use jax.vmap over fit")
    validation.warn_of_half_precision(X)
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    max_steps = validation.check_count("max_steps", max_steps)
    args, varies, size = _check(X, y, penalty, sample_weight, offset, num_classes)
    if fit_intercept:
        _check_classes(args, varies)
    args, varies, units = _in_units(args, varies, fit_intercept)
    tol = validation.check_tol(tol, args.X.dtype)
    options: dict[str, Any] = {"fit_intercept": fit_intercept, "max_steps": max_steps}
    many = _fit_together(args, tol, varies, size, options)
    for i in np.flatnonzero(np.asarray(many.status) != Status.CONVERGED):
        one = _fit_single(_get_fit(args, varies, int(i)), tol, **options)
        many = _set_fit(many, int(i), one)
    if units is not None:
        many = _restore(many, units)
    return replace(many, feature_names=validation.column_names(X))


def _fit_together(
    args: BatchArgs, tol: Any, varies: BatchArgs, size: int, options: dict[str, Any]
) -> FitResult:
    """All fits by the first method that leaves few of them open.

    Where many are within tol and yet too far from the minimum, beside their standard errors, the
    bound becomes tighter.
    """
    for method in _METHODS:
        for share in _SHARES_OF_TOL:
            many = _fit_regular(method, args, tol * share, varies=varies, size=size, **options)
            is_open = np.asarray(many.status) != Status.CONVERGED
            is_short = is_open & (np.asarray(many.gradient_norm) <= tol * share)
            if np.mean(is_open) <= _MANY:
                return many
            if np.mean(is_short) <= _MANY:
                break
    return many


def _in_units(
    args: BatchArgs, varies: BatchArgs, fit_intercept: bool
) -> tuple[BatchArgs, BatchArgs, ColumnScaling | None]:
    """The problems in units that keep the digits of X, and those if there are other than its own,
    (p,) or (B, p).

    A row that has weight zero, of a shared X in every fit, becomes one of zeros: its entries may
    be of any size.
    """
    X, weight = args.X, args.sample_weight
    if not is_on_one_device(X) or not are_concrete(args):
        return args, varies, None
    if weight is not None:
        weight = np.asarray(weight)
        weight = weight if varies.X else weight.reshape(-1, len(X)).max(axis=0)
        if not weight.all():
            X = jnp.where(weight[..., None] > 0, X, 0)
    largest = jax.tree.map(lambda x, many: jnp.max(x) if many else x, args.penalty, varies.penalty)
    units = scaling_of(Dataset(X, None, weight, None), largest, fit_intercept)
    if units.is_identity:
        return args._replace(X=X), varies, None
    scale, nothing = jnp.asarray(units.scale, X.dtype), np.zeros(X.shape[-1])
    X = ColumnScaling(units.centre[..., None, :], units.scale[..., None, :]).transform(X)
    args = args._replace(X=X, penalty=ScaledPenalty(args.penalty, scale, nothing))
    scaled = ScaledPenalty(varies.penalty, varies.X, False)
    return args, varies._replace(penalty=scaled), units


def _restore(many: FitResult, units: ColumnScaling) -> FitResult:
    """The results in the caller's units."""
    axis = 0 if units.scale.ndim == 2 else None
    restore = jax.vmap(
        lambda c, s, *pair: ColumnScaling(c, s).to_original(*pair), (axis, axis, 0, 0)
    )
    pair = restore(units.centre, units.scale, many.coef, many.intercept)
    coef, intercept = (x.astype(many.coef.dtype) for x in pair)
    return replace(many, coef=coef, intercept=intercept)


def _set_fit(many: FitResult, i: int, one: FitResult) -> FitResult:
    """The results with that of fit i replaced."""
    leaves = zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True)
    return jax.tree.unflatten(jax.tree.structure(many), [a.at[i].set(b) for a, b in leaves])


@partial(Compiled, static_argnames=("varies", "size", "fit_intercept", "max_steps"))
def _fit_regular(
    method: Newton,
    args: BatchArgs,
    tol: jax.Array,
    *,
    varies: BatchArgs,
    size: int,
    fit_intercept: bool,
    max_steps: int,
) -> FitResult:
    """All fits, in blocks; singular and separated ones are left open."""

    def make_oracle(single: BatchArgs) -> ModelOracle:
        X, y, penalty, weight, offset = single
        objective = make_objective(
            X, y, penalty, sample_weight=weight, offset=offset, fit_intercept=fit_intercept
        )
        # In a batch every fit would pay at every step for the doubts of one.
        return ModelOracle(objective, watches_separation=False)

    begin = None if varies.X else _near_optimum(make_oracle(_average(args, varies)))

    def one(i: jax.Array) -> FitResult:
        single = _get_fit(args, varies, i)
        oracle, weight = make_oracle(single), single.sample_weight
        total = args.X.shape[-2] if weight is None else jnp.sum(weight)
        tolerance = make_tolerance(tol, validation.check_tol(None, tol.dtype), total)
        P = oracle.objective.num_parameters
        theta = jnp.zeros(P, args.X.dtype) if begin is None else begin
        run = loop.start(oracle, method, theta, tol, max_steps)
        # Not on to the certificate's own target: a loop around this one would copy X.
        run = loop.advance(oracle, method, run, tol, jnp.asarray(max_steps))
        return loop.finish(oracle, method, run, tolerance, CertificateMethod.CHOLESKY).result

    return jax.lax.map(one, jnp.arange(size), batch_size=min(BLOCK_SIZE, size))


def _get_fit(args: BatchArgs, varies: BatchArgs, i: Any) -> BatchArgs:
    """The arguments of fit i."""
    return jax.tree.map(lambda x, varies: x[i] if varies else x, args, varies)


def _average(args: BatchArgs, varies: BatchArgs) -> BatchArgs:
    """One problem in the middle of all: means over the fits, and the median strength."""

    def middle(x: jax.Array, varies: bool) -> jax.Array:
        if not varies:
            return x
        return jnp.median(x) if x.ndim == 1 else jnp.mean(x, axis=0)

    return jax.tree.map(middle, args, varies)


def _near_optimum(oracle: ModelOracle) -> jax.Array:
    """The point after some Newton steps; zero if they diverge."""
    method = Newton(singular=False)
    zero = jnp.zeros(oracle.objective.num_parameters, oracle.objective.X.dtype)
    begin = method.init(oracle, zero)
    end = method.run_until(oracle, begin, gradient_above(_POOLED_TOL), _POOLED_STEPS)
    return jnp.where(jnp.all(jnp.isfinite(end.point.gradient)), end.point.theta, zero)


@partial(Compiled, static_argnames=("fit_intercept", "max_steps"))
def _fit_single(
    single: BatchArgs, tol: jax.Array, *, fit_intercept: bool, max_steps: int
) -> FitResult:
    """One ``fit`` under jit, where an illegal value is a status and no exception."""
    X, y, penalty, weight, offset = single
    return fit(
        X, y, penalty=penalty, sample_weight=weight, offset=offset, tol=tol,
        solver=Newton(), fit_intercept=fit_intercept, max_steps=max_steps,
    )  # fmt: skip


def _check(
    X: Any, y: Any, penalty: Any, weight: Any, offset: Any, num_classes: Any
) -> tuple[BatchArgs, BatchArgs, int]:
    """The arguments in the dtype of X, which of them vary, and the number of fits."""
    X = validation.as_floats("X", X)
    if X.ndim not in (2, 3) or 0 in X.shape:
        raise ValueError(f"X must have shape (n, p) or (B, n, p), but its shape is {X.shape}.")
    n = X.shape[-2]
    y, y_varies = _check_labels(y, n, num_classes, X.dtype)
    penalty, penalty_varies = _check_penalty(penalty, X if X.ndim == 2 else X[0])
    weight, weight_varies = _check_rows("sample_weight", weight, (n,), X.dtype, NONNEGATIVE)
    logits_shape = y.shape[1:] if y_varies else y.shape
    offset, offset_varies = _check_rows("offset", offset, logits_shape, X.dtype)
    args = BatchArgs(X, y, penalty, weight, offset)
    varies = BatchArgs(X.ndim == 3, y_varies, penalty_varies, weight_varies, offset_varies)
    sizes = {
        name: jax.tree.leaves(x)[0].shape[0]
        for name, x, flags in zip(BatchArgs._fields, args, varies, strict=True)
        if any(jax.tree.leaves(flags))
    }
    if len(set(sizes.values())) != 1:
        raise ValueError(
            "some argument must have a leading axis, one entry a fit, and all such axes one "
            f"length; here they are {sizes or 'absent'}."
        )
    return args, varies, sizes.popitem()[1]


def _check_labels(y: Any, n: int, num_classes: int | None, dtype: Any) -> tuple[jax.Array, bool]:
    """Labels (n,), (n, K), (B, n) or (B, n, K), and whether they vary.

    A table with n columns is (B, n), whatever B: it means the same where B is n.
    """
    y = validation.as_floats("y", y)
    if y.ndim in (2, 3) and y.shape[1] == n:
        flat = y.reshape(-1, *y.shape[2:])
        flat = validation.check_labels(flat, len(flat), num_classes, dtype)
        return flat.reshape(-1, n, *flat.shape[1:]), True
    if y.ndim in (1, 2) and y.shape[0] == n:
        return validation.check_labels(y, n, num_classes, dtype), False
    raise ValueError(f"y must have {n} labels to match X, but its shape is {y.shape}.")


def _check_classes(args: BatchArgs, varies: BatchArgs) -> None:
    """Refuse a fit that lacks a class, whose intercept would diverge."""
    axes = tuple(0 if flag else None for flag in (varies.y, varies.sample_weight))
    one = axes == (None, None)
    validation.check_classes(args.y, args.sample_weight, None if one else axes)


def _check_penalty(penalty: Any, X: jax.Array) -> tuple[Any, Any]:
    """A smooth penalty whose scalars may be (B,), and which of its numbers vary."""
    scalars = {
        name: getattr(penalty, name)
        for name, domain in getattr(penalty, "domains", {}).items()
        if not domain.endswith("per feature") and np.ndim(getattr(penalty, name)) == 1
    }
    # 1 is in every domain, and takes no part of the penalty away.
    first = replace(penalty, **dict.fromkeys(scalars, 1.0)) if scalars else penalty
    shared: Any = validation.check_smooth_penalty(first, X, _NO_NEWTON)
    varies = jax.tree.map(lambda leaf: False, shared)
    numbers = {
        name: validation.check_penalty_number(name, x, penalty.domains[name], np.shape(x), X.dtype)
        for name, x in scalars.items()
    }
    return replace(shared, **numbers), replace(varies, **dict.fromkeys(scalars, True))


def _check_rows(
    name: str, x: Any, shape: tuple[int, ...], dtype: Any, rule: Rule | None = None
) -> tuple[jax.Array | None, bool | None]:
    """An array with one entry a row, of a shape or (B, *shape), and whether it varies."""
    if x is None:
        return None, None
    varies = np.ndim(x) == len(shape) + 1
    shape = (len(x), *shape) if varies else shape
    return validation.check_array(name, x, shape, dtype, rule), varies
