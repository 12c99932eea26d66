"""Newton's method for a regular fit, where a step at a point is also the certificate of it.

At the last point the certificate asks for the direction d, Hd = −g, from a Hessian of full rank:
the direction of the next step. So a step is one evaluation, one factorisation and one product
with X, and nothing else is compiled. Wherever that is not enough, at a singular Hessian, on data
that may be separated, at round-off, the run ends early, and the general loop goes on from there.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle, Point, Trial
from jax_logreg.fitting.result import MAX_LOGIT_CHANGE, RUNNING, Status
from jax_logreg.solvers.base import cond, while_loop
from jax_logreg.solvers.line_search import Conditions, interpolate
from jax_logreg.solvers.newton import MAX_IDLE_STEPS, count_idle_by_norms, scaled_system

# The share of a full step from which on the search takes large strides, and where it ends.
_FAR, _SHORTEST = 2.0**-6, 1e-30
_BACKTRACKING = Conditions(curvature=1.0)


class Iterate(NamedTuple):
    """An accepted point, and the trial that comes next.

    Attributes:
        point: computed from θ alone.
        norm: the largest absolute entry of its gradient.
        direction: Newton's there, (P,); without meaning where the Hessian is not of full rank.
        length: t of the trial θ + t·d.
        status: ``RUNNING``, CONVERGED, or STALLED where another method must go on.
        decrement: √(gᵀH⁻¹g) there.
        idle: steps in a row that changed F by no more than noise and did not halve the gradient.
        num_steps: taken; −1 before the first point.
        curve: (max_steps + 1, 2), F and the norm after every step, zero beyond.
    """

    point: Point
    norm: jax.Array
    direction: jax.Array
    length: jax.Array
    status: jax.Array
    decrement: jax.Array
    idle: jax.Array
    num_steps: jax.Array
    curve: jax.Array


def regular_newton(oracle: Oracle, theta: jax.Array, tol: Any, max_steps: int) -> Iterate:
    """The iterate at the end: CONVERGED is certified, by a Hessian of full rank.

    Args:
        oracle: the function, which must offer "hessian".
        theta: the start, (P,).
        tol: what the certificate holds the end to, a ``Tolerance``.
        max_steps: accepted steps at most.
    """
    return while_loop(
        lambda at: (at.status == RUNNING) & (at.num_steps < max_steps),
        lambda at: _try(oracle, at, tol),
        _before_the_first(oracle, theta, max_steps),
    )


def _before_the_first(oracle: Oracle, theta: jax.Array, max_steps: int) -> Iterate:
    """The iterate whose trial is the start itself: an infinite F accepts it."""
    logits = jax.eval_shape(oracle.evaluate, theta).logits
    infinite, none = jnp.asarray(jnp.inf, theta.dtype), jnp.zeros((), jnp.int32)
    zero = jnp.zeros_like(theta)
    return Iterate(
        point=Point(theta, infinite, zero, jnp.zeros(logits.shape, theta.dtype)),
        norm=infinite,
        direction=zero,
        length=jnp.ones((), theta.dtype),
        status=jnp.asarray(RUNNING, jnp.int8),
        decrement=infinite,
        idle=none,
        num_steps=none - 1,
        curve=jnp.zeros((max_steps + 1, 2), theta.dtype),
    )


def _try(oracle: Oracle, at: Iterate, tol: Any) -> Iterate:
    """The iterate after one trial: at θ + t·d, or where it was with a smaller t."""
    before, d = at.point, at.direction
    point = oracle.evaluate(oracle.problem.project_gauge(before.theta + at.length * d))
    trial = Trial(point.value, jnp.vdot(point.gradient, d))
    slope = jnp.vdot(before.gradient, d)
    verdict = _BACKTRACKING.judge(trial, at.length, before.value, slope)

    def shorten() -> Iterate:
        ends = (jnp.zeros_like(slope), slope), (at.length, trial.slope)
        length = interpolate(*ends, is_far=at.length < _FAR)
        status = jnp.where(length > _SHORTEST, RUNNING, int(Status.STALLED))
        return at._replace(length=length, status=status.astype(jnp.int8))

    accepted = ~verdict.too_long | (at.num_steps < 0)
    return cond(accepted, lambda: _accept(oracle, at, point, verdict.within_noise, tol), shorten)


def _accept(
    oracle: Oracle, at: Iterate, point: Point, within_noise: jax.Array, tol: Any
) -> Iterate:
    """The iterate at a new point."""
    system = scaled_system(oracle.hessian(point), -point.gradient)
    norm = jnp.max(jnp.abs(point.gradient))
    direction = system.solve()
    decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, direction)))
    within = norm <= tol.gradient
    exists = oracle.problem.max_logit_change(direction) <= MAX_LOGIT_CHANGE
    idle = count_idle_by_norms(at.idle, within_noise, at.norm, norm)
    # Within the bound and without a minimum nearby, the data may be separated.
    is_lost = ~system.sound | (within & ~exists) | (idle >= MAX_IDLE_STEPS)
    solved = within & (decrement <= tol.decrement)
    status = jnp.where(solved, int(Status.CONVERGED), RUNNING)
    status = jnp.where(is_lost | ~jnp.isfinite(decrement), int(Status.STALLED), status)
    step = at.num_steps + 1
    return Iterate(
        point=point,
        norm=norm,
        direction=direction,
        length=jnp.ones_like(at.length),
        status=status.astype(jnp.int8),
        decrement=decrement,
        idle=idle,
        num_steps=step,
        curve=at.curve.at[step].set(jnp.stack([point.value, norm])),
    )
