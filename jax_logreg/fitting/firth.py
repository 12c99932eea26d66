"""Fits with Firth's penalty: L-BFGS over Fisher's information, from the best of several starts.

Where rows lie far out Firth's function can have many minima: each such row is either certain,
or keeps the coefficients near zero by the weight that it then has in the determinant. Newton
steps towards maximum likelihood release them one after the other.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import missing_capabilities
from jax_logreg.fitting import collinearity
from jax_logreg.fitting.auto_solver import Stage
from jax_logreg.fitting.certificate import Tolerance
from jax_logreg.fitting.loop import Progress, solve_and_certify
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.objective.objective import Objective
from jax_logreg.programs.compiled import Compiled, are_concrete, is_concrete
from jax_logreg.solvers.base import Solver, State, scan
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton import Newton

# L-BFGS over the information: Fisher scoring alone stalls where its rate is poor.
_SOLVER = LBFGS("hessian")
# Where the path to maximum likelihood is left, in Newton steps: each of the first releases rows far
# out, a farther one takes a step for each factor e, and on separated data the path has no end.
_LIKELIHOOD_STEPS = (*range(9), 16, 32)
# Further starts where a descent is a matter of milliseconds, in multiply-adds of a Hessian.
_MIXED_STARTS = 55
_MAX_COST = 3e5
# An approximate descent ends where a step would gain so many nats, or after so many steps.
_MIN_GAIN = 1e-8
_MAX_STEPS = 100
# The default solver goes on to this fraction of tol: it is near by then, and a step or two
# more give the digits that Newton's last step gives elsewhere.
_TOL_FACTOR = 1e-3


def fit_firth(
    oracle: FirthOracle,
    start: jax.Array | None,
    solver: Solver | None,
    tol: Tolerance,
    max_steps: int | None,
    progress: Progress | None,
) -> FitResult:
    """The lowest of the minima that are reached from zero and from the path to maximum
    likelihood; from a given start, the minimum that it leads to.

    Args:
        oracle: Firth's function.
        start: θ, (P,), or None.
        solver: the caller's, or None for the default.
        tol: what the certificate holds the end to.
        max_steps: see ``fit``.
        progress: see ``fit``.

    Raises:
        ValueError: for a sparse X, whose information is never formed, for linearly dependent
            columns, and for a solver that requires more than Firth's function offers.
    """
    _check_design(oracle.objective)
    if solver is not None and missing_capabilities(oracle, solver.requires):
        raise ValueError(
            "penalty=Firth() is fitted by solver='auto', 'lbfgs', 'newton' or gradient descent "
            f"with a step size, but solver is {type(solver).__name__}."
        )
    theta = _best_start(oracle) if start is None else start
    target = tol.gradient * _TOL_FACTOR if solver is None else None
    stages = [Stage(solver or _SOLVER)]
    result, theta = solve_and_certify(oracle, stages, theta, tol, max_steps, progress, target)
    if solver is not None or not is_concrete(result.status) or result.status != Status.STALLED:
        return result
    # At depths where the determinant's round-off hides what a step gains, and the information is
    # too far from the curvature: full steps by the curvature itself.
    exact, stages = replace(oracle, exact=True), [Stage(Newton(search=False))]
    finished, _ = solve_and_certify(exact, stages, theta, tol, max_steps, progress)
    return replace(finished, num_steps=result.num_steps + finished.num_steps)


def _check_design(objective: Objective) -> None:
    """Refuse what has no determinant; inside jit, where no value can be read, the fit ends
    NOT_FINITE."""
    if not objective.X.has_gram:
        raise ValueError("penalty=Firth() needs a dense X: give X.toarray(), or fewer columns.")
    if not are_concrete(objective):
        return
    if sets := collinearity.collinear_columns(
        objective.X.to_array(), objective.row_weights(), objective.fit_intercept
    ):
        p, dependent = objective.X.shape[1], sets[0]
        if len(dependent) == 1 and objective.fit_intercept:
            dependent = [*dependent, p]  # a constant column was centred, and is zero here
        raise ValueError(
            f"penalty=Firth() needs linearly independent columns of X, but "
            f"{collinearity.describe_set(dependent, p)}. Leave out column "
            f"{collinearity.column_to_drop(dependent, p)}."
        )


@Compiled
def _best_start(oracle: FirthOracle) -> jax.Array:
    """The end of the approximate descent that gets lowest, (P,)."""

    def can_gain(state: State) -> jax.Array:
        slope = state.point.gradient
        gain = jnp.vdot(slope, _SOLVER.apply_inverse_hessian(oracle, state, slope))
        return gain * oracle.total > _MIN_GAIN

    def descend(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = _SOLVER.init(oracle, theta)
        end = _SOLVER.run_until(oracle, start, can_gain, _MAX_STEPS).point
        return end.theta, jnp.where(jnp.isfinite(end.value), end.value, jnp.inf)

    starts = jax.vmap(oracle.problem.project_gauge)(_starts(oracle.objective))
    ends, values = jax.lax.map(descend, starts)
    return ends[jnp.argmin(values)]


def _starts(objective: Objective) -> jax.Array:
    """Zero, where each Newton step towards maximum likelihood leads, and for small data points
    with each coordinate from one of those: (count, P)."""
    oracle, solver = ModelOracle(objective), Newton(singular=False)

    def step(state: State, _: None) -> tuple[State, jax.Array]:
        return solver.step(oracle, state), state.point.theta

    P = objective.num_parameters
    start = solver.init(oracle, jnp.zeros(P, objective.X.dtype))
    path = scan(step, start, length=_LIKELIHOOD_STEPS[-1] + 1)[1][jnp.array(_LIKELIHOOD_STEPS)]
    if objective.X.shape[0] * P**2 > _MAX_COST:
        return path
    which = jax.random.randint(jax.random.key(0), (_MIXED_STARTS, P), 0, len(path))
    return jnp.concatenate([path, path[which, jnp.arange(P)]])
