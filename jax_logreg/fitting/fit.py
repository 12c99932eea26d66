"""The entry: data in, verified answer out."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.nonsmooth import KinkedOracle
from jax_logreg.derivatives.row_blocks import goes_by_blocks
from jax_logreg.fitting import validation
from jax_logreg.fitting.auto_solver import Stage, choose
from jax_logreg.fitting.firth import fit_firth
from jax_logreg.fitting.jit_options import are_concrete
from jax_logreg.fitting.padding import Dataset, pad_rows
from jax_logreg.fitting.result import FitResult
from jax_logreg.fitting.train import Progress, result_of, train
from jax_logreg.objective.objective import Objective, shares
from jax_logreg.objective.penalties import L2, ElasticNet, Firth
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.solvers.base import Solver

if TYPE_CHECKING:
    import optax


def fit(
    X: ArrayLike | SparseFeatures,
    y: ArrayLike,
    *,
    penalty: L2 | ElasticNet | Firth | None = None,
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
) -> FitResult:
    r"""Fit sigmoid or softmax regression by minimising the mean cross-entropy.

    .. math::
        F(\beta, b) = \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, \eta_i) + P(\beta),
        \qquad \eta = X\beta + b + \text{offset}.

    The training is one compiled program on the device that holds X, in the dtype of X. It works
    inside ``jax.jit`` and under ``jax.vmap`` over data, weights, strengths and starts; values
    cannot be checked there, and an illegal one ends as ``Status.NOT_FINITE``.

    **Choosing tol.** It bounds the largest entry of the gradient of a *mean* loss, so it does not
    depend on n, but on the units of X: a column in units a thousand times smaller has a gradient
    a thousand times larger. The defaults suit columns of about unit size. At the answer F is
    about ``newton_decrement**2 / 2`` above its minimum, and a coefficient is off by about tol
    over the curvature in its direction: lower tol to 1e-10 in float64 to reproduce ten digits;
    float32 rarely gets below 1e-6. ``Status.LOOSE`` says that tol is too loose for the units.

    **What "auto" chooses.** Newton's method where a Hessian is cheap (n·P² up to about 10⁸ for P
    parameters). Else L-BFGS, preconditioned by the Hessian of a sample of rows if there are many
    more rows than parameters, and by a bound on the curvature if not. Proximal Newton for a
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
            under an L1 penalty, in nats per unit of coefficient; 1e-8 in float64 and 1e-5 in
            float32 if absent.
        max_steps: the solver's own default if absent.
        progress: called about twice a second with (steps, loss, gradient norm).

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
    firth = isinstance(penalty, Firth)
    X = validation.check_features(X)
    y = validation.check_labels(y, X.shape[0], num_classes, X.dtype)
    checked = validation.check_penalty(None if firth else penalty, X)
    method = validation.check_solver(solver)
    make_oracle: Callable[[Objective], ModelOracle] = validation.check_derivatives(derivatives)
    weight = validation.check_weight(sample_weight, X)
    offset = validation.check_offset(offset, X, y)
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    if fit_intercept and not firth:
        validation.check_classes(y, weight)
    start = validation.check_init(init, X, y, fit_intercept)
    tol = validation.check_tol(tol, X.dtype)
    if max_steps is not None:
        max_steps = validation.check_count("max_steps", max_steps)
    data = Dataset(X, y, weight, offset)
    if method is None or "rows" not in method.needs:  # a minibatch draws from the rows given
        data = pad_rows(data)
    smooth = checked if isinstance(checked, L2) else checked.smooth()
    weight_shares = shares(data.X, data.weight)
    F = Objective(data.X, data.y, weight_shares, data.offset, smooth, fit_intercept)
    theta = None if start is None else F.join(*start)
    if firth:
        total = jnp.asarray(X.shape[0], X.dtype) if weight is None else jnp.sum(weight)
        by_hand = make_oracle is AnalyticOracle
        return fit_firth(F, total, by_hand, theta, method, tol, max_steps, progress)
    if make_oracle is AnalyticOracle and goes_by_blocks(F):
        make_oracle = partial(AnalyticOracle, by_blocks=True)
    oracle = make_oracle(F) if isinstance(checked, L2) else KinkedOracle(make_oracle(F), checked)
    begin: Any = np.zeros(F.num_parameters, X.dtype) if theta is None else theta
    known = are_concrete(oracle, begin, tol)
    kinked = isinstance(oracle, KinkedOracle)
    stages = (
        [Stage(method)] if method else choose(F, warm=init is not None, known=known, kinked=kinked)
    )
    run, method = train(oracle, stages, begin, tol, max_steps, progress)
    return result_of(oracle, method, run, tol)
