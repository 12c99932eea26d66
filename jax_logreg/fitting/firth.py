"""Fits with Firth's penalty: Fisher's information, and what L-BFGS learns beyond it, from the
lowest of several rough descents.

Where rows lie far out Firth's function can have many minima: each such row is either certain,
or holds the coefficients near zero for the weight that it then has in the determinant. Newton's
steps towards maximum likelihood let go of them one after the other.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.fitting import collinearity
from jax_logreg.fitting.auto_solver import Stage
from jax_logreg.fitting.jit_options import Compiled, are_concrete, is_concrete
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.fitting.train import Progress, result_of, train
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.solvers.base import Solver, State
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton

# L-BFGS over the information: Fisher's scoring alone stalls where its rate is poor.
_METHOD = LBFGS("hessian")
# Newton steps towards maximum likelihood; on separated data so many stay finite.
_TOWARDS_LIKELIHOOD = 8
# Further starts where a descent is a matter of milliseconds, in multiply-adds of a Hessian.
_MIXTURES = 55
_SMALL = 3e5
# A rough descent ends where a step would gain so many nats, or after so many.
_ROUGH_GAIN = 1e-8
_ROUGH_STEPS = 100
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
    """The lowest of the minima that are reached from zero and from the way to maximum
    likelihood; from a given start it is the minimum of that start.

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
    theta = _lowest_end(oracle) if start is None else start
    aim = tol * _BEYOND_TOL if solver is None else tol
    run, last = train(oracle, [Stage(solver or _METHOD)], theta, aim, max_steps, progress)
    result = result_of(oracle, last, run, tol)
    if solver is not None or not is_concrete(result.status) or result.status != Status.STALLED:
        return result
    # Down where the determinant's round-off hides what a step gains, and the information is too
    # far from the curvature: whole steps by the curvature itself.
    oracle, theta = replace(oracle, exact=True), run.state.point.theta
    run, last = train(oracle, [Stage(Newton(search=False))], theta, tol, max_steps, progress)
    finished = result_of(oracle, last, run, tol)
    return replace(finished, num_steps=result.num_steps + finished.num_steps)


def _refuse_dependent_columns(objective: Objective) -> None:
    """Their information has no determinant; inside jit, where nothing can be looked at, the fit
    ends NOT_FINITE."""
    if not are_concrete(objective):
        return
    if sets := collinearity.collinear_columns(objective):
        raise ValueError(
            f"penalty=Firth() needs linearly independent columns of X, but "
            f"{collinearity.describe_set(sets[0], objective.X.shape[1])}. Leave out column "
            f"{collinearity.column_to_drop(sets[0], objective.X.shape[1])}."
        )


@Compiled
def _lowest_end(oracle: FirthOracle) -> jax.Array:
    """Where the lowest of the rough descents ends, (P,)."""

    def can_gain(state: State) -> jax.Array:
        slope = state.point.gradient
        gain = jnp.vdot(slope, _METHOD.divide_by_hessian(oracle, state, slope))
        return gain * oracle.total > _ROUGH_GAIN

    def descend(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        begin = _METHOD.init(oracle, theta)
        end = _METHOD.run_roughly(oracle, begin, can_gain, _ROUGH_STEPS).point
        return end.theta, jnp.where(jnp.isfinite(end.value), end.value, jnp.inf)

    starts = jax.vmap(oracle.centre)(_starts(oracle.objective))
    ends, values = jax.lax.map(descend, starts)
    return ends[jnp.argmin(values)]


def _starts(objective: Objective) -> jax.Array:
    """Zero, where each Newton step towards maximum likelihood leads, and for small data points
    with each coordinate from one of those: (count, P)."""
    oracle, solver = AnalyticOracle(objective), Newton(singular=False)

    def step(state: State, _: None) -> tuple[State, jax.Array]:
        return solver.step(oracle, state), state.point.theta

    P = objective.num_parameters
    begin = solver.init(oracle, jnp.zeros(P, objective.X.dtype))
    path = jax.lax.scan(step, begin, length=_TOWARDS_LIKELIHOOD + 1)[1]
    if objective.X.shape[0] * P**2 > _SMALL:
        return path
    which = jax.random.randint(jax.random.key(0), (_MIXTURES, P), 0, len(path))
    return jnp.concatenate([path, path[which, jnp.arange(P)]])
