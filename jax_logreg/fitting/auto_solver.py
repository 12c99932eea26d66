r"""``solver="auto"``: which solvers, from the shape of the problem alone.

The costs that decide, in units of one pass over X (a product forward and one backward):
a Hessian of P parameters costs about P/50 passes, its factorisation P/150 · P²/n more. So

1. where a Hessian costs less than a call, exact Newton: it takes the fewest steps. What
   singular Hessians need is compiled only if one turns up;
2. with 64 rows or more for each of at most 200 parameters, and in very large tables with up to
   500, the rows are far more than their Hessian needs: Newton on a sample of them, then BFGS on
   all rows from the inverse of that Hessian;
3. else L-BFGS with the diagonal of a bound on the curvature, which costs one pass. With up to
   3000 columns the whole matrix of that bound, for every class and every step, would take fewer
   steps and cost about p/32 passes. Which of the two is better depends on the data, so the
   diagonal first gets as many steps as the matrix costs, and loses at most those, except where
   passes are short: then full steps with the matrix of a sample are the smallest program;
4. of a large sparse table under a ridge penalty on every coefficient, Newton's method by conjugate
   gradients: the diagonal of the bound would take twice the products (in a row that is almost
   certain the bound is far off), and the pairs of L-BFGS, vectors of P as they are, longer than
   the products;
5. where columns outnumber rows and a ridge penalty acts on every coefficient, what the diagonal
   does not finish starts again from the kernel form, in the n dimensions that the rows span.

2, 3 and 5 take one pass a step, and in 3 and 5 float64 begins with steps in float32: then half of
the trial steps are left for float64. In 4 the products of conjugate gradients are in float32.
A penalty with an L1 part has one method, proximal Newton, with a growing working set of columns.
Inside ``jit`` and ``vmap`` no value can be read and one solver must finish the fit
alone: Newton up to 500 parameters, beyond that the matrix. Elsewhere Newton finishes a fit that
the others leave short, if the Hessian can be formed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.objective.kernel_form import kernel_form
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.programs.compiled import Compiled
from jax_logreg.solvers.base import Solver, gradient_above
from jax_logreg.solvers.bfgs import BFGS
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.newton_cg import NewtonCG
from jax_logreg.solvers.proximal_newton import ProximalNewton

if TYPE_CHECKING:
    from jax_logreg.derivatives.model_oracle import ModelOracle

# Multiply-adds of a Hessian that take no longer than a call of a compiled program.
_CHEAP_HESSIAN = 1e8
NEWTON_LIMIT = 500
_SAMPLE_LIMIT = 200
_ROWS_PER_PARAMETER = 64
GRAM_LIMIT = 3000
# The kernel form, n × n, is solved up to here, in at most so many steps.
_KERNEL_LIMIT = 5000
_KERNEL_STEPS = 100
# Parameters in the working set, where most coefficients are zero.
_WORKING_PARAMETERS = (256, 1024, 4096)
# Steps that are always worth trying before a matrix is computed, and columns whose matrix
# costs a pass.
_FEW_STEPS = 20
_COLUMNS_PER_PASS = 32
# Multiply-adds of a product with X in which float32 saves no time worth a larger program.
_SMALL_PASS = 2e6
# Multiply-adds of a product with few columns, for which the small program of a bound and of full
# steps is as fast as float32 and a search: for one class, and for four or more, which do more with
# what they read, so that float32 saves less.
_SHORT_PASS = 1e7, 5e7
_FEW_COLUMNS = 160, 320
# Rows of a sample for each column, whose bound is as good as that of all rows, or nearly.
_ROWS_PER_COLUMN = 32
# Multiply-adds of a product with X beside which the Hessians of a sample cost little.
_LONG_PASS = 1e8
# The limit of a solver that is followed by another.
_ENOUGH_STEPS = 200


class Stage(NamedTuple):
    """One solver of a fit.

    Attributes:
        solver: the method.
        steps: its limit; None for its own.
        prepare: (oracle, θ) ↦ a better start, or None.
    """

    solver: Solver
    steps: int | None = None
    prepare: Callable[[Any, jax.Array], jax.Array] | None = None


def choose_stages(objective: Objective, *, has_init: bool, concrete: bool) -> list[Stage]:
    """The solvers to run in turn until one arrives.

    Args:
        objective: the problem.
        has_init: whether a start was given, which a sample's answer would throw away.
        concrete: whether the arrays have values, as they do not inside ``jit``.
    """
    if objective.penalty.has_l1:
        return _nonsmooth(objective, concrete=concrete)
    if not concrete:
        return [Stage(_single_solver(objective))]
    stages = _few_passes(objective, has_init=has_init)
    return [*stages, *_last(objective)]


def has_cheap_hessian(num_rows: int, num_parameters: int) -> bool:
    """Whether a Hessian costs no more than a call."""
    return num_rows * num_parameters**2 <= _CHEAP_HESSIAN


def _single_solver(objective: Objective) -> Solver:
    """The one that can finish a fit alone."""
    if objective.num_parameters <= NEWTON_LIMIT and objective.X.has_gram:
        return Newton()
    return _gram_solver(objective) if _gram_pays(objective) else LBFGS("diagonal")


def _few_passes(objective: Objective, *, has_init: bool) -> list[Stage]:
    """The methods of few passes."""
    P, (n, p) = objective.num_parameters, objective.X.shape
    if isinstance(objective.X, SparseFeatures):
        return _sparse(objective, objective.X)
    if has_cheap_hessian(n, P):
        return [Stage(Newton(singular=False))]
    rows = _sample_rows(n, P)
    if rows and not has_init:
        return [Stage(BFGS(sample=max(rows, n // 32)), _ENOUGH_STEPS)]
    # A given start is near: float32 would have nothing to do. Nor where a pass takes less than a
    # millisecond: it would save a few of them, and take a second to compile.
    is_small = n * P <= _SMALL_PASS
    gram = _gram_solver(objective)
    if _gram_pays(objective) and _is_short(objective):
        # In float32 the last digits are found along a line.
        needs_search = objective.X.dtype == jnp.float32 or objective.X.hessian_limit < P
        last = [Stage(gram, _FEW_STEPS)] if needs_search else []
        short = replace(_gram_solver(objective, _ROWS_PER_COLUMN), search=False)
        return [Stage(short, _ENOUGH_STEPS), *last]
    is_narrow = has_init or is_small or objective.X.dtype == jnp.float32
    float32_steps = 0 if is_narrow else _ENOUGH_STEPS
    if not _gram_pays(objective):
        return [Stage(LBFGS("diagonal", float32_steps=float32_steps), _ENOUGH_STEPS)]
    trial_steps = max(_FEW_STEPS, p // _COLUMNS_PER_PASS)
    trial = LBFGS("diagonal", float32_steps=min(trial_steps, float32_steps))
    return [
        Stage(trial, trial_steps // 2 if float32_steps else trial_steps),
        Stage(replace(gram, float32_steps=float32_steps), _ENOUGH_STEPS),
    ]


def _sample_rows(n: int, P: int) -> int:
    """Rows enough for a Hessian that all rows need little more than; 0 where it does not pay."""
    if P <= _SAMPLE_LIMIT:
        return _ROWS_PER_PARAMETER * P if n >= _ROWS_PER_PARAMETER * P else 0
    # Ten Hessians of half as many cost as much as ten passes.
    return _ROWS_PER_PARAMETER * P // 2 if P <= NEWTON_LIMIT and n * P >= _LONG_PASS else 0


def _sparse(objective: Objective, X: SparseFeatures) -> list[Stage]:
    """Of a sparse table, whose Hessian is not formed."""
    method, float32 = LBFGS("diagonal"), X.dtype == jnp.float64
    num_outputs = objective.num_parameters // (X.shape[1] + objective.fit_intercept)
    # All in float32, the products of Newton's method are no cheaper than those of L-BFGS, but its
    # pairs are longer than X where a column has few entries.
    pays = float32 or X.num_entries <= method.memory * X.shape[1]
    if X.num_entries * num_outputs <= _SMALL_PASS or not pays or not _is_ridge(objective):
        return [Stage(method)]
    return [Stage(NewtonCG(float32=float32), _FEW_STEPS), Stage(method)]


def _is_ridge(objective: Objective) -> bool:
    """Whether a quadratic penalty acts on every coefficient."""
    penalty, X = objective.penalty, objective.X
    if not penalty.is_quadratic:
        return False
    return bool(jnp.min(penalty.curvature(jnp.zeros(X.shape[1], X.dtype))) > 0)


def _nonsmooth(objective: Objective, *, concrete: bool) -> list[Stage]:
    """The solvers of a penalty with an L1 part: over few columns at a time first, then over more.

    A step costs a Hessian of the working set, and most coefficients end at zero: passes over
    all of X only find those that do not.
    """
    if objective.num_parameters <= _WORKING_PARAMETERS[0]:
        return [Stage(ProximalNewton())]
    K = objective.class_shape[0] if objective.class_shape else 1
    sizes = [min(objective.X.shape[1], max(1, size // K)) for size in _WORKING_PARAMETERS]
    if not concrete:
        return [Stage(ProximalNewton(sizes[1]))]
    *first, last = sorted(set(sizes))
    return [
        *(Stage(ProximalNewton(size), _FEW_STEPS) for size in first),
        Stage(ProximalNewton(last)),
    ]


def _gram_pays(objective: Objective) -> bool:
    """Whether a matrix of the columns pays: of fewer columns than rows, and of not too many."""
    n, p = objective.X.shape
    return objective.X.has_gram and p <= GRAM_LIMIT and p < n


def _is_short(objective: Objective) -> bool:
    """Whether a pass takes so little that a small program is worth more than fast passes."""
    (n, p), P = objective.X.shape, objective.num_parameters
    several = bool(objective.class_shape) and objective.class_shape[0] >= 4
    return n * P <= _SHORT_PASS[several] and p <= _FEW_COLUMNS[several]


def _gram_solver(objective: Objective, rows_per_column: int = _ROWS_PER_PARAMETER) -> LBFGS:
    n, p = objective.X.shape
    rows = rows_per_column * p
    return LBFGS("gram", sample=rows if n >= 2 * rows else 0)


def _last(objective: Objective) -> list[Stage]:
    """What can finish a fit that the others leave short."""
    X, P = objective.X, objective.num_parameters
    if not X.has_gram:
        return []
    n, p = X.shape
    # A float32 Hessian has few digits for its smallest eigenvalues, which the products of conjugate
    # gradients still feel.
    closing = [Stage(NewtonCG())] if X.dtype == jnp.float32 else []
    if has_cheap_hessian(n, P):
        return [Stage(Newton()), *closing]
    if p > n and n <= _KERNEL_LIMIT and _is_ridge(objective):
        return [Stage(LBFGS("diagonal"), prepare=kernel_start)]
    return closing or [Stage(Newton())] if X.hessian_limit >= P else []


@Compiled
def kernel_start(oracle: "ModelOracle", theta: jax.Array) -> jax.Array:
    """The answer of Newton-CG in the span of the rows, (P,).

    For p > n and a ridge penalty on every coefficient: a Gram matrix of the rows is computed
    once, and each step then costs n² in place of n·p, however the columns are scaled and
    correlated.
    """
    kernel = kernel_form(oracle.objective)
    inner = replace(oracle, objective=kernel.objective, float32_copy=None)
    tol, solver = 1e3 * float(jnp.finfo(theta.dtype).eps), NewtonCG("gram")
    start = solver.init(inner, jnp.zeros(kernel.objective.num_parameters, theta.dtype))
    end = solver.run_until(inner, start, gradient_above(tol), _KERNEL_STEPS)
    return kernel.to_original(end.point.theta)
