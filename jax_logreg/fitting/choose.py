r"""``solver="auto"``: which method, from the shape of the problem alone.

The costs that decide, in units of one pass over X (a product forward and one backward):
a Hessian of P parameters is worth about P/50 passes, its factor P/150 · P²/n more. So

1. where a Hessian costs less than a call, exact Newton: it takes the fewest steps. What
   singular Hessians need is compiled only where one turns up;
2. with 64 rows or more for each of at most 200 parameters, the rows are far more than
   their Hessian needs: Newton on a sample of them, then steps on all rows divided by that
   Hessian;
3. with up to 3000 columns, one matrix of the columns that bounds the curvature of every
   class and every step;
4. else, and for sparse features, its diagonal; where columns outnumber rows and a penalty
   holds every coefficient, a fit that this does not bring home is carried over to the n
   dimensions that the rows span.

2 to 4 are L-BFGS, one pass a step. Inside ``jit`` and ``vmap`` nothing can be looked at and
a method must see the fit through alone: Newton up to 500 parameters. Elsewhere a fit that
the first method leaves short is finished by Newton, if the Hessian can be formed.
"""

import jax.numpy as jnp

from jax_logreg.derivatives.oracle import HESSIAN_LIMIT
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse import SparseFeatures
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.row_space import RowSpace

# Multiply-adds of a Hessian that take no longer than a call of a compiled program.
_CHEAP_HESSIAN = 1e8
NEWTON_LIMIT = 500
_SAMPLE_LIMIT = 200
_ROWS_A_PARAMETER = 64
_GRAM_LIMIT = 3000
# An n × n problem is solved densely up to here.
_ROW_LIMIT = 5000


def choose(objective: Objective, *, warm: bool, known: bool) -> list[Solver]:
    """The solvers to run in turn until one arrives.

    Args:
        objective: the problem.
        warm: whether a start was given, which a sample's answer would throw away.
        known: whether how a fit ends can be looked at, as it cannot inside ``jit``.
    """
    first = _first(objective, warm=warm, known=known)
    if not known:
        return [first]
    second = _second(objective)
    return [first] if second is None else [first, second]


def has_cheap_hessian(num_rows: int, num_parameters: int) -> bool:
    """Whether a Hessian costs no more than a call."""
    return num_rows * num_parameters**2 <= _CHEAP_HESSIAN


def _first(objective: Objective, *, warm: bool, known: bool) -> Solver:
    P, (n, p) = objective.num_parameters, objective.X.shape
    if isinstance(objective.X, SparseFeatures):
        return LBFGS("diagonal")
    if has_cheap_hessian(n, P) and known:
        return Newton(singular=False)
    if P <= NEWTON_LIMIT and not known:
        return Newton()
    if n >= _ROWS_A_PARAMETER * P and P <= _SAMPLE_LIMIT and not warm:
        return LBFGS("hessian", sample=max(_ROWS_A_PARAMETER * P, n // 16))
    if p <= _GRAM_LIMIT and p < n:
        rows = _ROWS_A_PARAMETER * p
        return LBFGS("gram", sample=rows if n >= 2 * rows else 0)
    return LBFGS("diagonal")


def _second(objective: Objective) -> Solver | None:
    """What can finish a fit that the first method leaves short."""
    if isinstance(objective.X, SparseFeatures):
        return None
    n, p = objective.X.shape
    if has_cheap_hessian(n, objective.num_parameters):
        return Newton()
    penalty = objective.penalty.curvature(jnp.zeros(p, objective.X.dtype))
    if p > n and n <= _ROW_LIMIT and bool(jnp.min(penalty) > 0):
        return RowSpace()
    return Newton() if objective.num_parameters <= HESSIAN_LIMIT else None
