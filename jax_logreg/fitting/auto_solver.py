r"""``solver="auto"``: which method, from the shape of the problem alone.

The costs that decide, in units of one pass over X (a product forward and one backward):
a Hessian of P parameters is worth about P/50 passes, its factor P/150 · P²/n more. So

1. where a Hessian costs less than a call, exact Newton: it takes the fewest steps. What
   singular Hessians need is compiled only where one turns up;
2. with 64 rows or more for each of at most 200 parameters, the rows are far more than
   their Hessian needs: Newton on a sample of them, then steps on all rows divided by that
   Hessian;
3. else the diagonal of a bound on the curvature, which costs one pass. With up to 3000
   columns the whole matrix of that bound, for every class and every step, would take fewer
   steps and cost about p/32 passes. Which of the two is better depends on the data, so rent
   first and buy then: the diagonal gets as many steps as the matrix costs, and loses at most
   that;
4. where columns outnumber rows and a penalty holds every coefficient, what the diagonal does
   not bring home is carried over to the n dimensions that the rows span.

2 to 4 are L-BFGS, one pass a step, and in 3 and 4 float32 leads float64 as far as it sees:
then half of the rented steps are left for float64.
A penalty with kinks has one method, proximal Newton, for more and more columns at a time.
Inside ``jit`` and ``vmap`` nothing can be looked at and a method must see the fit through
alone: Newton up to 500 parameters, beyond that the matrix. Elsewhere a fit that all this
leaves short is finished by Newton, if the Hessian can be formed.
"""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp

from jax_logreg.derivatives.oracle import HESSIAN_LIMIT
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.proximal_newton import ProximalNewton
from jax_logreg.solvers.row_space import RowSpace

# Multiply-adds of a Hessian that take no longer than a call of a compiled program.
_CHEAP_HESSIAN = 1e8
NEWTON_LIMIT = 500
_SAMPLE_LIMIT = 200
_ROWS_A_PARAMETER = 64
_GRAM_LIMIT = 3000
# An n × n problem is solved densely up to here.
_ROW_LIMIT = 5000
# Parameters that are worked on at a time where most coefficients are zero.
_WORKING_PARAMETERS = (256, 1024, 4096)
# Steps that are always worth trying before something is prepared, and columns whose matrix
# costs a pass.
_FEW_STEPS = 20
_COLUMNS_A_PASS = 32
# What a solver gets at most where another one stands by.
_ENOUGH_STEPS = 200


class Stage(NamedTuple):
    """A solver, and how many steps it gets; None for its own limit."""

    solver: Solver
    steps: int | None = None


def choose(objective: Objective, *, warm: bool, known: bool, kinked: bool = False) -> list[Stage]:
    """The solvers to run in turn until one arrives.

    Args:
        objective: the problem.
        warm: whether a start was given, which a sample's answer would throw away.
        known: whether how a fit ends can be looked at, as it cannot inside ``jit``.
        kinked: whether the penalty has kinks.
    """
    if kinked:
        return _with_kinks(objective, known=known)
    if not known:
        return [Stage(_alone(objective))]
    stages = _first(objective, warm=warm)
    last = _last(objective)
    return stages if last is None else [*stages, Stage(last)]


def has_cheap_hessian(num_rows: int, num_parameters: int) -> bool:
    """Whether a Hessian costs no more than a call."""
    return num_rows * num_parameters**2 <= _CHEAP_HESSIAN


def _alone(objective: Objective) -> Solver:
    """The one that sees a fit through by itself."""
    sparse = isinstance(objective.X, SparseFeatures)
    if objective.num_parameters <= NEWTON_LIMIT and not sparse:
        return Newton()
    return _matrix(objective) if _has_matrix(objective) else LBFGS("diagonal")


def _first(objective: Objective, *, warm: bool) -> list[Stage]:
    """The methods of few passes."""
    P, (n, p) = objective.num_parameters, objective.X.shape
    if isinstance(objective.X, SparseFeatures):
        return [Stage(LBFGS("diagonal"))]
    if has_cheap_hessian(n, P):
        return [Stage(Newton(singular=False))]
    if n >= _ROWS_A_PARAMETER * P and P <= _SAMPLE_LIMIT and not warm:
        sampled = LBFGS("hessian", sample=max(_ROWS_A_PARAMETER * P, n // 16))
        return [Stage(sampled, _ENOUGH_STEPS)]
    # A given start is near: float32 would have nothing to do. In float32 it is no lead.
    lead = 0 if warm or objective.X.dtype == jnp.float32 else _ENOUGH_STEPS
    if not _has_matrix(objective):
        return [Stage(LBFGS("diagonal", lead=lead), _ENOUGH_STEPS)]
    rent = max(_FEW_STEPS, p // _COLUMNS_A_PASS)
    rented = Stage(LBFGS("diagonal", lead=min(rent, lead)), rent // 2 if lead else rent)
    return [rented, Stage(replace(_matrix(objective), lead=lead), _ENOUGH_STEPS)]


def _with_kinks(objective: Objective, *, known: bool) -> list[Stage]:
    """The solvers of a penalty with kinks: for few columns at a time first, then for more.

    What a step costs is a Hessian of the columns that are worked on, and most coefficients
    end at zero: passes over all of X only tell which do not.
    """
    if objective.num_parameters <= _WORKING_PARAMETERS[0]:
        return [Stage(ProximalNewton())]
    K = objective.class_shape[0] if objective.class_shape else 1
    sizes = [min(objective.X.shape[1], max(1, size // K)) for size in _WORKING_PARAMETERS]
    if not known:
        return [Stage(ProximalNewton(sizes[1]))]
    *first, last = sorted(set(sizes))
    return [
        *(Stage(ProximalNewton(size), _FEW_STEPS) for size in first),
        Stage(ProximalNewton(last)),
    ]


def _has_matrix(objective: Objective) -> bool:
    """Whether a matrix of the columns pays: one of fewer columns than rows, and of not too
    many."""
    n, p = objective.X.shape
    return not isinstance(objective.X, SparseFeatures) and p <= _GRAM_LIMIT and p < n


def _matrix(objective: Objective) -> LBFGS:
    n, p = objective.X.shape
    rows = _ROWS_A_PARAMETER * p
    return LBFGS("gram", sample=rows if n >= 2 * rows else 0)


def _last(objective: Objective) -> Solver | None:
    """What can finish a fit that the others leave short."""
    if isinstance(objective.X, SparseFeatures):
        return None
    n, p = objective.X.shape
    if has_cheap_hessian(n, objective.num_parameters):
        return Newton()
    penalty = objective.penalty.curvature(jnp.zeros(p, objective.X.dtype))
    if p > n and n <= _ROW_LIMIT and bool(jnp.min(penalty) > 0):
        return RowSpace()
    return Newton() if objective.num_parameters <= HESSIAN_LIMIT else None
