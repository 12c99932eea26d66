"""The public entry: data in, verified answer out."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.oracle import ModelOracle
from jax_logreg.fitting import driver, inputs, settings, verdict
from jax_logreg.fitting.result import FitResult
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import L2
from jax_logreg.solvers.base import Solver

# A progress report is due about this often, in seconds.
_REPORT_EVERY = 0.5

# (steps taken, loss, gradient norm), called between runs of the compiled loop
Progress = Callable[[int, float, float], None]


def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    penalty: L2 | None = None,
    solver: Any = "newton",
    derivatives: str = "analytic",
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
    init: Any = None,
    tol: ArrayLike | None = None,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> FitResult:
    r"""Fit sigmoid or softmax regression by minimising the mean cross-entropy.

    .. math::
        F(\beta, b) = \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, \eta_i) + P(\beta),
        \qquad \eta = X\beta + b + \text{offset}.

    The whole training is one compiled program on the device that holds X, in the
    dtype of X. It works inside ``jax.jit`` and under ``jax.vmap`` over data, weights,
    strengths and starts; values are then not checked, and ``status`` tells.

    Args:
        X: features, (n, p).
        y: labels, and thereby the model: (n,) in [0, 1] for the sigmoid; whole
            numbers (n,) beyond 1, or probabilities (n, K), for softmax.
        penalty: ``L2(strength, factor)`` on the mean loss; None for none.
        solver: "newton", "lbfgs", "gradient_descent", a solver object, or any Optax
            transformation.
        derivatives: "analytic" (by hand) or "autodiff"; either drives every solver.
        sample_weight: w, (n,), ≥ 0.
        offset: a known part of the logits, (n,) or (n, K).
        fit_intercept: whether to fit an unpenalised intercept.
        num_classes: K where y is (n,) and softmax is wanted; needed inside ``jit``.
        init: (coef, intercept) or an earlier result; zeros if absent.
        tol: bound on the largest absolute entry of ∇F, in nats per unit of
            coefficient; 1e-8 in float64 and 1e-5 in float32 if absent.
        max_steps: the solver's own default if absent.
        progress: called about twice a second with (steps, loss, gradient norm).

    Returns:
        The answer with its status. It never raises for a fit that failed: ask
        ``converged``, or call ``raise_if_failed()``.

    Raises:
        ValueError: for bad input, before anything is computed.

    >>> X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    >>> result = fit(X, jnp.array([0.0, 1.0, 0.0, 1.0]))
    >>> bool(result.converged), result.coef.round(3).tolist()
    (True, [0.9...])
    """
    fit_intercept = settings.check_flag("fit_intercept", fit_intercept)
    if num_classes is not None:
        num_classes = settings.check_count("num_classes", num_classes)
    X = inputs.check_features(X)
    y = inputs.check_labels(y, X, num_classes).astype(X.dtype)
    weight = inputs.check_weight(sample_weight, X)
    if fit_intercept:
        inputs.check_classes(y, weight)
    offset = inputs.check_offset(offset, X, y)
    penalty = settings.check_penalty(penalty, X)
    solver = settings.check_solver(solver)
    make_oracle = settings.check_derivatives(derivatives)
    coef, intercept = settings.check_init(init, X, y, fit_intercept)
    tol = settings.check_tol(tol, X.dtype)
    steps = solver.default_max_steps if max_steps is None else max_steps
    steps = settings.check_count("max_steps", steps)
    oracle = make_oracle(
        make_objective(
            X, y, penalty, sample_weight=weight, offset=offset, fit_intercept=fit_intercept
        )
    )
    theta = oracle.objective.join(coef, intercept)
    driver.refuse_unmet_needs(oracle, solver, theta.size)
    run = _train(oracle, solver, theta, tol, steps, progress)
    dense = theta.size <= verdict.DENSE_LIMIT or "hessian" in solver.needs
    end = _conclude(oracle, run.state.point, run.status, tol, dense=dense)
    coef, intercept = oracle.objective.split(end.point.theta)
    return FitResult(
        coef=coef,
        intercept=intercept,
        status=end.status,
        num_steps=run.num_steps,
        objective=end.point.value,
        gradient_norm=verdict.gradient_norm(end.point),
        newton_decrement=end.newton_decrement,
        rank=end.rank,
        history=run.history,
    )


# Compiled apart from the loop: it is the same program for every solver.
_conclude = jax.jit(verdict.conclude, static_argnames="dense")
_start = jax.jit(driver.start, static_argnames="max_steps")
_advance = jax.jit(driver.advance)


@partial(jax.jit, static_argnames="max_steps")
def _run(
    oracle: ModelOracle, solver: Solver, theta: jax.Array, tol: jax.Array, max_steps: int
) -> driver.Run:
    run = driver.start(oracle, solver, theta, tol, max_steps)
    return driver.advance(oracle, solver, run, tol, jnp.asarray(max_steps))


def _train(
    oracle: ModelOracle,
    solver: Solver,
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int,
    progress: Progress | None,
) -> driver.Run:
    """The whole loop at once, or left now and then for a report."""
    if progress is None:
        return _run(oracle, solver, theta, tol, max_steps)
    if not all(map(inputs.is_known, jax.tree.leaves((oracle, solver, theta, tol)))):
        raise ValueError("progress works outside jit and vmap only: leave it out inside them.")
    run = _start(oracle, solver, theta, tol, max_steps)
    stride = 1
    while True:
        began = time.perf_counter()
        until = min(int(run.num_steps) + stride, max_steps)
        run = jax.block_until_ready(_advance(oracle, solver, run, tol, jnp.asarray(until)))
        point = run.state.point
        progress(int(run.num_steps), float(point.value), float(verdict.gradient_norm(point)))
        if int(run.status) != verdict.RUNNING or int(run.num_steps) >= max_steps:
            return run
        if time.perf_counter() - began < _REPORT_EVERY:
            stride *= 2
