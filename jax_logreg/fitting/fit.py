"""The entry: data in, verified answer out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.nonsmooth import NonsmoothOracle
from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.fitting import validation
from jax_logreg.fitting.auto_solver import Stage, choose_stages
from jax_logreg.fitting.certificate import Tolerance, make_tolerance
from jax_logreg.fitting.column_scaling import ColumnScaling
from jax_logreg.fitting.firth import fit_firth
from jax_logreg.fitting.implicit import FitArgs, differentiable, tangent_of_fit
from jax_logreg.fitting.loop import Progress, solve_and_certify
from jax_logreg.fitting.padding import Dataset, make_design
from jax_logreg.fitting.recording import (
    Patience,
    Record,
    Watch,
    check_record,
    fit_recorded,
    record_of_fit,
)
from jax_logreg.fitting.result import FitResult
from jax_logreg.objective.dense_features import as_features, is_on_one_cpu
from jax_logreg.objective.objective import Objective, normalized_weights
from jax_logreg.objective.penalties import Penalty
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.programs.compiled import are_concrete
from jax_logreg.programs.jax_settings import in_auto_axes, own_settings
from jax_logreg.solvers.base import Solver, vary_alike

if TYPE_CHECKING:
    import optax

    from jax_logreg.fitting.row_loss import RowLoss


@validation.refuse_foreign_words
@own_settings()
@validation.eager
@in_auto_axes
def fit(
    X: ArrayLike | SparseFeatures,
    y: ArrayLike,
    *,
    penalty: Penalty | None = None,
    solver: "str | Solver | optax.GradientTransformation" = "auto",
    derivatives: str = "analytic",
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
    init: FitResult | tuple[ArrayLike, ArrayLike] | None = None,
    tol: ArrayLike | None = None,
    max_steps: int | None = None,
    progress: Progress | None = None,
    loss: "RowLoss | None" = None,
    record: "Callable[..., Any] | Record | None" = None,
    stop_when: "Callable[[Any], Any] | Patience | None" = None,
) -> FitResult:
    r"""Fit sigmoid or softmax regression by minimising the mean cross-entropy.

    .. math::
        F(\beta, b) = \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, \eta_i) + P(\beta),
        \qquad \eta = X\beta + b + \text{offset}.

    The training is one compiled program on the device that holds X, in the dtype of X (float32,
    with a warning, if that is float16 or bfloat16; JAX's default float for integers). It works
    inside ``jax.jit`` and under ``jax.vmap`` over data, weights, strengths and starts; values
    cannot be checked there, and an illegal one ends as ``Status.NOT_FINITE``.

    **Derivatives.** ``jax.grad``, ``jax.jvp`` and whatever is made of them go through a fit, twice
    too: with respect to X, y (as probabilities), sample_weight, offset and the numbers of the
    penalty, for coef, intercept and objective. They are those of the minimum
    (``fitting/implicit.py``), not of the solver's steps: from init, tol and the solver none comes
    through, for the minimum does not depend on them; and those of the numbers that describe the run
    are zero. Without ``Status.CONVERGED`` a derivative is NaN.

    **What CONVERGED promises.** The gradient is within tol, a minimum exists, and the Newton step
    that remains, :math:`\sqrt{\sum_i w_i\, g^\top H^{-1}g}`, is at most a thousandth: no contrast
    of the coefficients is further from the minimum than that share of its own standard error,
    whatever the units, the rarest class and the strength. A fit that has not reached it goes on.
    The result has the number as ``remaining_step``. It follows tol: a tenth of the default tol
    promises a tenth of it, down to a millionth, and not less than some round-off: in float32
    :math:`4\cdot10^{-6}\sqrt{\sum_i w_i}`.

    **Units.** A solver whose path does not depend on the units of the columns (Newton's methods,
    L-BFGS) works on columns that were centred and scaled by powers of two where they lie far from
    zero or from unit size; the penalty and the answer stay in the caller's units. Gradient descent
    and Optax keep the caller's units, and so does a fit inside ``jit`` or ``vmap`` to an X that is
    not known there: a sample that shows its units would be sorted in every program.

    **What "auto" chooses.** Newton's method where a Hessian is cheap (n·P² up to about 10⁸ for P
    parameters). Else BFGS from the Hessian of a sample of rows if there are many more rows than
    parameters, and L-BFGS preconditioned by a bound on the curvature if not. Proximal Newton for a
    penalty with an L1 part. Newton finishes what L-BFGS leaves open, if a Hessian fits into
    memory. Inside ``jit`` one method must do: Newton up to 500 parameters, L-BFGS beyond.

    Args:
        X: features, (n, p); also a sparse matrix of SciPy or JAX, which is never made dense.
        y: labels, which also choose the model: (n,) in [0, 1] for the sigmoid; whole numbers
            (n,) beyond 1, or probabilities (n, K), for softmax.
        penalty: ``L2(strength, factor)`` on the mean loss; ``ElasticNet(strength, l1_ratio,
            factor)``, with l1_ratio=1 for the lasso; ``Firth()`` for Firth's bias reduction;
            None for none.
        solver: "auto", "newton", "newton_cg", "lbfgs", "gradient_descent", "proximal_newton", a
            solver object, or any Optax transformation.
        derivatives: "analytic" (by hand) or "autodiff"; either works with every solver.
        sample_weight: w, (n,), ≥ 0.
        offset: a known part of the logits, (n,) or (n, K).
        fit_intercept: whether to fit an unpenalised intercept.
        num_classes: K where y is (n,) and softmax is wanted; needed inside ``jit``.
        init: (coef, intercept) or an earlier result to start from; zeros if absent.
        tol: bound on the largest absolute entry of ∇F, or of its minimum-norm subgradient
            under an L1 penalty, in nats per unit of coefficient, in the units of the solve; 1e-8
            in float64 and 1e-5 in float32 if absent.
        max_steps: the solver's own default if absent.
        progress: called about twice a second with (steps, loss, gradient norm).
        loss: a ``jax_logreg.fitting.row_loss.RowLoss`` in place of the cross-entropy, with a smooth
            penalty; its minimum is verified, and differentiated, as :func:`minimize` does.
        record: a function of (coef, intercept), in ``jax.numpy``, whose pytree of numbers is kept
            in ``history.record`` for every step, or a ``jax_logreg.fitting.recording.Record``, for
            every few steps, and with data. One solver then does the whole fit, as inside ``jit``.
        stop_when: a function of the newest record that says whether to stop, or a
            ``jax_logreg.fitting.recording.Patience``; the status is then ``STOPPED``.

    Returns:
        The answer with its status. A fit that fails does not raise: ask ``converged``, or call
        ``raise_if_failed()``.

    Raises:
        ValueError: for bad input, before anything is computed.

    See Also:
        fit_many: many fits of one shape at once.
        infer: standard errors, intervals and tests of a fit.
        Model: predictions and a file of a fit.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> result = fit(X, np.array([0, 1, 0, 1]))
    >>> bool(result.converged), result.coef.round(3).tolist()
    (True, [0.9...])

    Softmax with a ridge penalty:

    >>> from jax_logreg import L2
    >>> result = fit(X, np.array([0, 1, 2, 1]), penalty=L2(0.1)).raise_if_failed()
    >>> result.coef.shape, result.intercept.shape
    ((1, 3), (3,))
    """
    validation.warn_of_half_precision(X)
    names, table = validation.column_names(X), validation.check_features(X)
    y = validation.check_labels(y, table.shape[0], num_classes, table.dtype)
    penalty = validation.check_penalty(penalty, table)
    method = validation.check_solver(solver)
    module = validation.check_derivatives(derivatives)
    weight = validation.check_weight(sample_weight, table)
    offset = validation.check_offset(offset, table, y)
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    if fit_intercept and not penalty.is_jeffreys:
        validation.check_classes(y, weight)
    start = validation.check_init(init, table, y, fit_intercept)
    tolerance = make_tolerance(
        validation.check_tol(tol, table.dtype),
        validation.check_tol(None, table.dtype),
        table.shape[0] if weight is None else validation.total_weight(weight),
    )
    validation.check_progress(progress)
    given = table, y, weight, offset, penalty, start, tol, method
    if progress is not None and not are_concrete(given):
        raise ValueError(
            "progress works outside jit, vmap and jax.grad only: leave it out inside them."
        )
    if max_steps is not None:
        max_steps = validation.check_count("max_steps", max_steps)
    watch = _check_watch(record, stop_when, table, y)
    _check_extras(loss, watch, penalty, progress)
    args = FitArgs(Dataset(table, y, weight, offset), penalty, start, tolerance, method, watch)
    solve = partial(_solve, options=_Options(module, fit_intercept, max_steps, progress, loss))
    if loss is None:
        result = differentiable(solve, args, partial(tangent_of_fit, fit_intercept))
    else:
        result = solve(args)  # which is differentiable by itself
    if isinstance(table, jax.Array) and table is not X and are_concrete(result):
        # The memory of X may have been taken over, and its owner may change it after this.
        jax.block_until_ready(result)
    return replace(result, feature_names=names)


class _Options(NamedTuple):
    """What is part of the program of a fit, or of its caller."""

    derivatives: ModuleType
    fit_intercept: bool
    max_steps: int | None
    progress: Progress | None
    loss: "RowLoss | None" = None


def _check_watch(record: Any, stop_when: Any, X: Any, y: jax.Array) -> Watch | None:
    classes = y.shape[1:]
    shapes = (X.shape[1], *classes), classes
    return check_record(record, stop_when, *(jax.ShapeDtypeStruct(s, X.dtype) for s in shapes))


def _check_extras(loss: Any, watch: Any, penalty: Penalty, progress: Any) -> None:
    """Refuse what a fit of another loss, or with a record, does not do."""
    if loss is not None and not callable(getattr(loss, "slopes", None)):
        raise ValueError(
            "loss must be a jax_logreg.fitting.row_loss.RowLoss(value, slope, curvature) of one "
            f"row's (y, logits), but it is {loss!r}."
        )
    if loss is not None and (penalty.has_l1 or penalty.is_jeffreys):
        raise ValueError(
            f"penalty is {type(penalty).__name__}(...), but with loss= it must be smooth: L2."
        )
    if watch is not None and penalty.is_jeffreys:
        raise ValueError(
            "record is not kept under penalty=Firth(), which is fitted from several starts."
        )
    if progress is not None and not (loss is None and watch is None):
        raise ValueError("progress is not reported with loss= or record=: leave one of them out.")


def _solve(args: FitArgs, options: _Options) -> FitResult:
    """The result in the caller's units, from arguments that are validated."""
    (data, penalty, start, tolerance, method, watch), module = args, options.derivatives
    is_plain = options.loss is None and watch is None
    design = make_design(
        data,
        penalty,
        centre=options.fit_intercept,
        may_scale=method is None or method.scale_invariant,
        # A minibatch draws from the rows.
        may_pad=is_plain and (method is None or "rows" not in method.requires),
    )
    data, penalty = design.data, design.penalty
    # The hand-written derivatives of the sigmoid read a large table on one CPU by row blocks.
    by_blocks = module is analytic and data.y.ndim == 1 and is_on_one_cpu(data.X)
    features = as_features(data.X, by_blocks=by_blocks)
    row_weight = normalized_weights(features, data.weight)
    F = Objective(features, data.y, row_weight, data.offset, penalty, options.fit_intercept)
    theta: Any = np.zeros(F.num_parameters, features.dtype)
    if start is not None:
        theta = F.join(*design.start(*start))
    F, theta, tolerance = vary_alike((F, theta, tolerance))
    limits = options.max_steps, options.progress
    if not is_plain:
        result = _solve_specially(F, theta, args._replace(tol=tolerance), options, design.scaling)
    elif penalty.is_jeffreys:
        total = jnp.asarray(tolerance.total_weight)
        oracle = FirthOracle(F, total, module, log_volume=design.log_volume)
        begin = None if start is None else theta
        result = fit_firth(oracle, begin, method, tolerance, *limits)
    else:
        result = _fit(F, module, theta, start is not None, method, tolerance, *limits)
    return design.restore(result)


def _solve_specially(
    F: Objective, theta: Any, args: FitArgs, options: _Options, scaling: ColumnScaling
) -> FitResult:
    """A fit of another loss, or with a record: by one solver, in one program."""
    solver = args.solver or choose_stages(F, has_init=True, concrete=False)[0].solver
    limit = solver.default_max_steps if options.max_steps is None else options.max_steps
    running: Any = solver
    if args.watch is not None:
        running = record_of_fit(args.watch, F, scaling, solver, limit)
    if options.loss is not None:
        by_hand = options.derivatives is analytic
        loss = options.loss if by_hand else replace(options.loss, slope=None, curvature=None)
        return loss.fit(F, theta, solver, running, args.tol, limit)
    return fit_recorded(_oracle(F, options.derivatives), running, theta, args.tol)


def _oracle(F: Objective, derivatives: ModuleType) -> Oracle:
    model = ModelOracle(F, derivatives)
    return NonsmoothOracle(model) if F.penalty.has_l1 else model


def _fit(
    F: Objective,
    derivatives: ModuleType,
    theta: jax.Array,
    has_init: bool,
    solver: Solver | None,
    tol: Tolerance,
    max_steps: int | None,
    progress: Progress | None,
) -> FitResult:
    """Choose the solvers, solve, and certify."""
    oracle = _oracle(F, derivatives)
    if solver is not None:
        stages = [Stage(solver)]
    else:
        concrete = are_concrete(oracle, theta, tol)
        stages = choose_stages(F, has_init=has_init, concrete=concrete)
    return solve_and_certify(oracle, stages, theta, tol, max_steps, progress)[0]
