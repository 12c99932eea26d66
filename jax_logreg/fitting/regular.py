"""The loop of a regular fit, whose steps are also the certificate of its end.

The certificate asks for the solution d of Hd = −g, and the next direction of a method of Newton's
type is one, or nearly: then one Hessian product shows it. So a step is one evaluation and one
direction, and little else is compiled. Wherever that is not enough, at a singular Hessian, on data
that may be separated, at round-off, the run ends early, and the general loop goes on from there.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle, Point, Trial
from jax_logreg.fitting.result import MAX_LOGIT_CHANGE, RUNNING, History, Status
from jax_logreg.solvers.base import NewtonType, State, cond, while_loop
from jax_logreg.solvers.line_search import Conditions, interpolate
from jax_logreg.solvers.newton import cg_init, count_idle_by_norms
from jax_logreg.solvers.newton_cg import direction_by_products, direction_residual

# How far below its bound a gradient may fall before a minimum has been found.
_FAR_WITHIN = 1e-2
# The share of a full step from which on the search takes large strides, and where it ends.
_FAR, _SHORTEST = 2.0**-6, 1e-30
_BACKTRACKING = Conditions(curvature=1.0)


class Iterate(NamedTuple):
    """An accepted point, and the trial that comes next.

    Attributes:
        point: computed from θ alone; without logits, of which a loop would hold two copies.
        norm: the largest absolute entry of its gradient.
        direction: d of the method there, (P,); without meaning where its matrix is not sound.
        slope: gᵀd.
        memory: of the method.
        length: t of the trial θ + t·d.
        status: ``RUNNING``, CONVERGED, or STALLED where another method must go on.
        decrement: √(gᵀH⁻¹g) there, by the method's estimate of H⁻¹.
        idle: steps in a row that changed F by no more than noise and did not halve the gradient.
        num_steps: taken; −1 before the first point.
        history: F and the norm after every step, the last repeated, (max_steps + 1,) each.
    """

    point: Point
    norm: jax.Array
    direction: jax.Array
    slope: jax.Array
    memory: Any
    length: jax.Array
    status: jax.Array
    decrement: jax.Array
    idle: jax.Array
    num_steps: jax.Array
    history: History


class _Goal(NamedTuple):
    """What does not change over a run, computed once.

    Attributes:
        tol: what the certificate holds the end to, a ``Tolerance``.
        residual: of Newton's direction there, relative.
        separable: the value of F below which the data may be separated.
    """

    tol: Any
    residual: jax.Array
    separable: jax.Array | float


def run_regular(
    oracle: Oracle, method: NewtonType, theta: jax.Array, memory: Any, tol: Any, max_steps: int
) -> Iterate:
    """The iterate at the end, which is certified where it is CONVERGED.

    Args:
        oracle: the function.
        method: what chooses directions.
        theta: the start, (P,).
        memory: of the method there.
        tol: what the certificate holds the end to, a ``Tolerance``.
        max_steps: accepted steps at most.
    """
    goal = _Goal(tol, direction_residual(oracle, theta.dtype), oracle.problem.separable_value())
    return while_loop(
        lambda at: (at.status == RUNNING) & (at.num_steps < max_steps),
        lambda at: _try(oracle, method, at, goal),
        _before_the_first(oracle, theta, memory, max_steps),
    )


def _before_the_first(oracle: Oracle, theta: jax.Array, memory: Any, max_steps: int) -> Iterate:
    """The iterate whose trial is the start itself: an infinite F accepts it."""
    infinite, none = jnp.asarray(jnp.inf, theta.dtype), jnp.zeros((), jnp.int32)
    zero, blank = jnp.zeros_like(theta), jnp.zeros(max_steps + 1, theta.dtype)
    return Iterate(
        point=Point(theta, infinite, zero, None),
        norm=infinite,
        direction=zero,
        slope=jnp.zeros((), theta.dtype),
        memory=memory,
        length=jnp.ones((), theta.dtype),
        status=jnp.asarray(RUNNING, jnp.int8),
        decrement=infinite,
        idle=none,
        num_steps=none - 1,
        history=History(blank, blank),
    )


def _try(oracle: Oracle, method: NewtonType, at: Iterate, goal: _Goal) -> Iterate:
    """The iterate after one trial: at θ + t·d, or where it was with a smaller t."""
    before, d = at.point, at.direction
    point = oracle.evaluate(oracle.problem.project_gauge(before.theta + at.length * d))
    trial = Trial(point.value, jnp.vdot(point.gradient, d))
    verdict = _BACKTRACKING.judge(trial, at.length, before.value, at.slope)

    def shorten() -> Iterate:
        ends = (jnp.zeros_like(at.slope), at.slope), (at.length, trial.slope)
        length = interpolate(*ends, is_far=at.length < _FAR)
        status = jnp.where(length > _SHORTEST, RUNNING, int(Status.STALLED))
        return at._replace(length=length, status=status.astype(jnp.int8))

    accepted = ~verdict.too_long | (at.num_steps < 0)
    accept = partial(_accept, oracle, method, at, point, verdict.within_noise, goal)
    return cond(accepted, accept, shorten)


def _accept(
    oracle: Oracle,
    method: NewtonType,
    at: Iterate,
    point: Point,
    within_noise: jax.Array,
    goal: _Goal,
) -> Iterate:
    """The iterate at a new point."""
    tol, proposal = goal.tol, method.propose(oracle, at.memory, at.point, point)
    direction, step = proposal.direction, at.num_steps + 1
    norm, slope = jnp.max(jnp.abs(point.gradient)), jnp.vdot(point.gradient, direction)
    within, estimate = norm <= tol.gradient, jnp.sqrt(jnp.abs(slope))
    if method.is_exact:
        evidence, no_further = _Evidence(estimate, _exists(oracle, direction)), within
    else:
        state = State(point, within, proposal.memory)
        solve = partial(method.apply_inverse_hessian, oracle, state)

        def certify() -> _Evidence:
            start = cg_init(-point.gradient, direction, -slope)
            newton = direction_by_products(oracle, point, solve, goal.residual, start)
            decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, newton)))
            return _Evidence(decrement, _exists(oracle, newton))

        evidence = cond(
            within & (estimate <= tol.decrement),
            certify,
            lambda: _Evidence(estimate, jnp.asarray(False)),
        )
        no_further = norm <= _FAR_WITHIN * tol.gradient
        no_further |= point.value < goal.separable
    # Within the bound and without a minimum nearby, the data may be separated.
    idle = count_idle_by_norms(at.idle, within_noise, at.norm, norm)
    is_lost = ~proposal.sound | (idle >= method.max_idle_steps) | (no_further & ~evidence.exists)
    has_arrived = within & evidence.exists & (evidence.decrement <= tol.decrement)
    status = jnp.where(has_arrived, int(Status.CONVERGED), RUNNING)
    status = jnp.where(is_lost | ~jnp.isfinite(evidence.decrement), int(Status.STALLED), status)
    return Iterate(
        point=point._replace(logits=None),
        norm=norm,
        direction=direction,
        slope=slope,
        memory=proposal.memory,
        length=jnp.ones_like(at.length),
        status=status.astype(jnp.int8),
        decrement=evidence.decrement,
        idle=idle,
        num_steps=step,
        history=History(*map(partial(_record, step), at.history, (point.value, norm))),
    )


def _record(step: jax.Array, curve: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where(jnp.arange(len(curve)) >= step, value, curve)


class _Evidence(NamedTuple):
    """What Newton's direction d shows: √(−gᵀd), and whether a minimum exists."""

    decrement: jax.Array
    exists: jax.Array


def _exists(oracle: Oracle, newton: jax.Array) -> jax.Array:
    return oracle.problem.max_logit_change(newton) <= MAX_LOGIT_CHANGE
