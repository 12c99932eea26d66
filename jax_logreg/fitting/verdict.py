"""The one place that judges: when to stop, and what the point that was reached is worth.

"Converged" means that the gradient is within tol at the point that is returned, and
that the point is a minimum: on separated data the gradient vanishes too, on the way to
infinity.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle, Point
from jax_logreg.fitting.result import Status
from jax_logreg.solvers.base import State
from jax_logreg.solvers.newton import (
    Direction,
    newton_direction,
    newton_direction_by_cg,
    newton_move,
)

RUNNING = -1

# Above this many parameters the closing check uses Hessian-vector products.
_DENSE_LIMIT = 500
# At a minimum a Newton step moves no logit this far; on separated data each step does.
_RESTLESS_LOGIT = 0.1
# Newton gains one unit of logit a step on separated data, so this many steps make the
# probabilities of the rows that are not separated stand out from those that are.
_PROBE_STEPS = 30
_RECESSION_RTOL = 1e-4


class Verdict(NamedTuple):
    """The end of a training, judged at the point that is returned."""

    point: Point
    status: jax.Array
    newton_decrement: jax.Array
    rank: jax.Array


def gradient_norm(point: Point) -> jax.Array:
    """The number that ``tol`` is compared with: the largest absolute entry of ∇F."""
    return jnp.max(jnp.abs(point.gradient))


def judge(oracle: Oracle, state: State, tol: jax.Array) -> jax.Array:
    """After a step: ``RUNNING``, or why to stop here."""
    point = state.point
    finite = jnp.isfinite(point.value) & jnp.all(jnp.isfinite(point.gradient))
    status = jnp.where(state.stalled, int(Status.STALLED), RUNNING)
    status = jnp.where(gradient_norm(point) <= tol, int(Status.CONVERGED), status)
    status = jnp.where(oracle.separates(point), int(Status.SEPARATED), status)
    return jnp.where(finite, status, int(Status.NOT_FINITE)).astype(jnp.int8)


def conclude(oracle: Oracle, point: Point, stopped: jax.Array, tol: jax.Array) -> Verdict:
    """After the last step: look once more, with the curvature the loop did not pay for.

    Args:
        oracle: the problem.
        point: where the loop ended.
        stopped: the loop's status, ``RUNNING`` at the step limit.
        tol: bound on the gradient norm.
    """
    theta = oracle.centre(point.theta)
    if theta is not point.theta:
        point = oracle.at(theta)
    probe = _probe(oracle, point)
    decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, probe.direction.step)))
    rank = probe.direction.rank
    small = gradient_norm(point) <= tol
    unsolved = jnp.where(stopped == int(Status.CONVERGED), int(Status.STALLED), stopped)
    unsolved = jnp.where(unsolved == RUNNING, int(Status.MAX_STEPS), unsolved)
    deficient = (rank >= 0) & (rank < point.theta.size)
    solved = jnp.where(deficient, int(Status.NOT_UNIQUE), int(Status.CONVERGED))
    status = jnp.where(small, solved, unsolved)
    separated = (stopped == int(Status.SEPARATED)) | probe.recedes
    separated |= _has_lost_curvature(oracle, rank, deficient)
    status = jnp.where(separated, int(Status.SEPARATED), status)
    return Verdict(point, status.astype(jnp.int8), decrement, rank)


class _Probe(NamedTuple):
    point: Point
    direction: Direction  # at the first point, not at the last
    recedes: jax.Array
    restless: jax.Array
    steps: jax.Array


def _probe(oracle: Oracle, point: Point) -> _Probe:
    """The Newton direction at a point; where it moves the logits far, follow it a while.

    A first-order method can stop on separated data with a small gradient, or with no
    steps left. Newton's steps from there come down to the direction of recession alone.
    """
    if not ("hessian" in oracle.offers and point.theta.size <= _DENSE_LIMIT):
        direction = _direction_by_products(oracle, point)
        recedes = oracle.recedes(direction.step, _RECESSION_RTOL, _RESTLESS_LOGIT)
        return _Probe(point, direction, recedes, jnp.asarray(False), jnp.asarray(0))

    can_recede = oracle.can_recede()

    def look(probe: _Probe) -> _Probe:
        direction = newton_direction(oracle, probe.point)
        recedes = oracle.recedes(direction.step, _RECESSION_RTOL, _RESTLESS_LOGIT)
        recedes |= oracle.separates(probe.point)
        restless = can_recede & ~recedes & oracle.moves(direction.step, _RESTLESS_LOGIT)
        moved = jax.lax.cond(
            restless,
            lambda: newton_move(oracle, probe.point, direction.step).point,
            lambda: probe.point,
        )
        first = jax.tree.map(
            lambda new, old: jnp.where(probe.steps == 0, new, old), direction, probe.direction
        )
        return _Probe(moved, first, recedes, restless, probe.steps + 1)

    blank = Direction(jnp.zeros_like(point.theta), jnp.asarray(-1))
    begin = _Probe(point, blank, jnp.asarray(False), jnp.asarray(True), jnp.asarray(0))
    return jax.lax.while_loop(
        lambda probe: probe.restless & (probe.steps < _PROBE_STEPS), look, begin
    )


def _direction_by_products(oracle: Oracle, point: Point) -> Direction:
    if "hvp" in oracle.offers:
        return newton_direction_by_cg(oracle, point)
    return Direction(jnp.full_like(point.theta, jnp.nan), jnp.asarray(-1))


def _has_lost_curvature(oracle: Oracle, rank: jax.Array, deficient: jax.Array) -> jax.Array:
    """Whether the Hessian is singular here though it is not at even odds.

    Then no column depends on others: probabilities have gone to 0 and 1.
    """
    reference = oracle.at_even_odds()
    if reference is None:
        return jnp.asarray(False)
    return jax.lax.cond(
        deficient & oracle.can_recede(),
        lambda: newton_direction(oracle, reference).rank > rank,
        lambda: jnp.asarray(False),
    )
