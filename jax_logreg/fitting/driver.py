"""The one loop that runs every solver; ``verdict`` judges when it stops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Curved, Oracle
from jax_logreg.fitting.certificate import DOUBTED, RUNNING, glance, gradient_norm, judge
from jax_logreg.fitting.result import FitResult, History, Status
from jax_logreg.solvers.base import Solver, State, unless


class Run(NamedTuple):
    """A training in progress: everything needed to go on, or to stop and judge it.

    Attributes:
        state: the solver's.
        num_steps: taken so far.
        status: ``RUNNING``, or the reason to stop; negative while that is not verified.
        history: the curve so far, NaN ahead.
        curved: the curvature at a verified point along the next step, for the closing look;
            None where that has no use for it.
        looked: what a first closing look made of it, in the same program; None where there
            was none.
    """

    state: State
    num_steps: jax.Array
    status: jax.Array
    history: History
    curved: Curved | None = None
    looked: FitResult | None = None


def refuse_unmet_needs(oracle: Oracle, solver: Solver, num_parameters: int) -> None:
    """Check before the loop that the oracle answers what the solver asks.

    Raises:
        ValueError: naming the solver, what is missing, and the remedy.
    """
    for name, reason in oracle.lacks(solver.needs, num_parameters).items():
        raise ValueError(
            f"solver {type(solver).__name__} needs '{name}': {reason}. {oracle.remedy}"
        )


def start(
    oracle: Oracle,
    solver: Solver,
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int,
    *,
    curved: bool = False,
) -> Run:
    """The run before its first step, glanced at: a start at the answer takes none."""
    state = jax.tree.map(_settle_dtype, solver.init(oracle, oracle.centre(theta)))
    blank = jnp.full(max_steps + 1, jnp.nan, theta.dtype)
    steps = jnp.zeros((), jnp.int32)
    nothing = jnp.full_like(theta, jnp.nan)
    along = Curved(nothing, nothing, nothing[0]) if curved else None
    status = glance(oracle, state, tol)
    if curved:  # what is to be known there is found where a point is verified
        status = jnp.where(status == int(Status.CONVERGED), DOUBTED, status).astype(status.dtype)
    run = Run(state, steps, status, History(blank, blank), along)
    return run._replace(history=_record(run))


def advance(oracle: Oracle, solver: Solver, run: Run, tol: jax.Array, until: jax.Array) -> Run:
    """Step until the run is over or ``until`` steps have been taken in all."""

    def unfinished(run: Run) -> jax.Array:
        return (run.status < 0) & (run.num_steps < until)

    def runs(run: Run) -> jax.Array:
        return (run.status == RUNNING) & (run.num_steps < until)

    def leg(run: Run) -> Run:
        return _verify(oracle, solver, jax.lax.while_loop(runs, step, run), tol)

    def step(run: Run) -> Run:
        state = solver.step(oracle, run.state)
        status = glance(oracle, state, tol)
        run = run._replace(state=state, num_steps=run.num_steps + 1, status=status)
        return run._replace(history=_record(run))

    return jax.lax.while_loop(unfinished, leg, run)


def _verify(oracle: Oracle, solver: Solver, run: Run, tol: jax.Array) -> Run:
    """The run with its point made anew from θ alone, where it was not, and judged again.

    Steps along a line renew the logits by adding to them, and classes may have drifted off
    their centre: by round-off, but what is returned is computed from θ.
    """
    here, curved = run.state.point, run.curved
    theta = oracle.centre(here.theta)
    is_kept = here.fresh & jnp.all(theta == here.theta)
    if curved is None:
        point = unless(is_kept, here, lambda: oracle.at(theta))
    else:
        # A step from where the drift is: all that is asked of it is to be nearly Newton's.
        step = -solver.divide_by_hessian(oracle, run.state, here.gradient)
        point, curved = unless(is_kept, (here, curved), lambda: oracle.at_and_curved(theta, step))
        curved = unless(~is_kept, curved, lambda: oracle.curved(here, step))
    state = run.state._replace(point=point)
    run = run._replace(state=state, status=judge(oracle, state, tol), curved=curved)
    return run._replace(history=_record(run))


def _record(run: Run) -> History:
    history, point = run.history, run.state.point
    return History(
        history.objective.at[run.num_steps].set(point.value),
        history.gradient_norm.at[run.num_steps].set(gradient_norm(point)),
    )


def _settle_dtype(leaf: jax.Array) -> jax.Array:
    """A leaf whose dtype no later step can promote: a second program would be compiled."""
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)
