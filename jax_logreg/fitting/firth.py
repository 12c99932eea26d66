"""Fits with Firth's penalty: Fisher's information, and what L-BFGS learns beyond it, from more
than one start."""

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.firth_oracle import FirthOracle
from jax_logreg.fitting import dependence
from jax_logreg.fitting.choose import Stage
from jax_logreg.fitting.result import FitResult
from jax_logreg.fitting.train import Progress, result_of, train
from jax_logreg.fitting.values import is_known
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse import SparseFeatures
from jax_logreg.solvers.base import Solver, steeper_than
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton

# Newton steps towards maximum likelihood, whose neighbourhood is the second start: on
# separated data they stay finite.
_TOWARDS_LIKELIHOOD = 8
# How far below tol the default method goes on: it has come near by then, and a step or two
# more give the digits that Newton's last step gives elsewhere.
_BEYOND_TOL = 1e-3


def fit_firth(
    objective: Objective,
    total: jax.Array,
    by_hand: bool,
    start: jax.Array | None,
    solver: Solver | None,
    tol: jax.Array,
    max_steps: int | None,
    progress: Progress | None,
) -> FitResult:
    """The lower of the minima that are reached from zero and from near maximum likelihood.

    Firth's function can have two where a row lies far out; from a given start it is the
    minimum of that start.

    Raises:
        ValueError: for a sparse X, whose information is never spelt out, for columns that
            depend on one another, and for a solver that asks more than Firth's function can
            answer.
    """
    if isinstance(objective.X, SparseFeatures):
        raise ValueError("penalty=Firth() needs a dense X: give X.toarray(), or fewer columns.")
    _refuse_dependent_columns(objective)
    oracle = FirthOracle(objective, total, by_hand)
    if solver is not None and oracle.lacks(solver.needs, objective.num_parameters):
        raise ValueError(
            "penalty=Firth() is fitted by solver='auto', 'lbfgs', 'newton' or gradient descent "
            f"with a step size, but solver is {type(solver).__name__}."
        )
    zero = jnp.zeros(objective.num_parameters, objective.X.dtype)
    starts = [zero, _near_likelihood(objective, zero)] if start is None else [start]
    ends = []
    for theta in starts:
        # L-BFGS over the information: Fisher's scoring alone stalls where its rate is poor.
        method = LBFGS("hessian") if solver is None else solver
        aim = tol * _BEYOND_TOL if solver is None else tol
        run, last = train(oracle, [Stage(method)], theta, aim, max_steps, progress)
        ends.append(result_of(oracle, last, run, tol))
    return ends[0] if len(ends) == 1 else _better(*ends)


def _refuse_dependent_columns(objective: Objective) -> None:
    """Their information has no determinant; inside jit, where nothing can be looked at, the fit
    ends NOT_FINITE."""
    if not all(map(is_known, jax.tree.leaves(objective))):
        return
    if sets := dependence.of_design(objective):
        raise ValueError(
            f"penalty=Firth() needs columns of X that do not depend on one another, but "
            f"{dependence.in_words(sets[0], objective.X.shape[1])}. Leave out column "
            f"{dependence.last_feature(sets[0], objective.X.shape[1])}."
        )


@jax.jit
def _near_likelihood(objective: Objective, theta: jax.Array) -> jax.Array:
    oracle, solver = AnalyticOracle(objective), Newton(singular=False)
    begin = solver.init(oracle, theta)
    end = solver.run_roughly(oracle, begin, steeper_than(0.0), _TOWARDS_LIKELIHOOD)
    return end.point.theta


def _better(one: FitResult, other: FitResult) -> FitResult:
    """The one that converged; of two the lower, the first where they are level."""
    take = (other.status < one.status) | (
        (other.status == one.status) & (other.objective < one.objective)
    )
    return jax.tree.map(lambda a, b: jnp.where(take, b, a), one, other)
