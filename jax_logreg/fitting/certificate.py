"""The one place that judges: when to stop, and what the point that was reached is worth.

"Converged" means that the gradient is within tol at the point that is returned, and
that a minimum exists there. On separated data the gradient vanishes too, on the way to
infinity. What tells the two apart is the Newton step d, Hd = −g, by an exact criterion:

    if d moves no logit by as much as 1, the minimum is finite.

For then the shifted probabilities μ + D(Xd), which balance the data exactly because
Zᵀ W (μ + D(Xd) − y) = g + Hd = 0, still lie strictly between 0 and 1: they solve the
dual problem in its interior, which rules every direction of recession out.
"""

from enum import Enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Curved, Oracle, Point
from jax_logreg.fitting.looks import (
    Look,
    look_at_regular,
    look_further,
    look_with_hessian,
    look_with_products,
)
from jax_logreg.fitting.result import Status
from jax_logreg.solvers.base import Solver, State

RUNNING = -1
# So low a loss that the data may be separated: a product with X tells.
DOUBTED = -2


class Verdict(NamedTuple):
    """The end of a training, judged at the point that is returned."""

    point: Point
    status: jax.Array
    newton_decrement: jax.Array
    rank: jax.Array


def gradient_norm(point: Point) -> jax.Array:
    """The number that ``tol`` is compared with: the largest absolute entry of ∇F."""
    return jnp.max(jnp.abs(point.gradient))


def glance(oracle: Oracle, state: State, tol: jax.Array) -> jax.Array:
    """After a step: ``RUNNING``, or why to look closer here."""
    doubted = oracle.may_separate(state.point)
    return _judge(state, tol, doubted, DOUBTED)


def judge(oracle: Oracle, state: State, tol: jax.Array) -> jax.Array:
    """At a verified point: ``RUNNING``, or why to stop here."""
    return _judge(state, tol, oracle.separates(state.point), int(Status.SEPARATED))


def _judge(state: State, tol: jax.Array, apart: jax.Array, name: int) -> jax.Array:
    point = state.point
    finite = jnp.isfinite(point.value) & jnp.all(jnp.isfinite(point.gradient))
    status = jnp.where(state.stalled, int(Status.STALLED), RUNNING)
    status = jnp.where(gradient_norm(point) <= tol, int(Status.CONVERGED), status)
    status = jnp.where(apart, name, status)
    return jnp.where(finite, status, int(Status.NOT_FINITE)).astype(jnp.int8)


class Way(Enum):
    """How the end is looked at: a Hessian tells most, products with it cost least.

    ``EITHER`` takes products where a penalty on every coefficient already proves that one
    minimum exists, and the Hessian elsewhere. ``FIRST`` takes products where one
    is known already, else a Hessian that is not singular, and leaves a fit open (``LOOSE``)
    where that does not settle the question.
    """

    HESSIAN = "hessian"
    PRODUCTS = "products"
    EITHER = "either"
    FIRST = "first"


def conclude(
    oracle: Oracle,
    solver: Solver,
    state: State,
    stopped: jax.Array,
    tol: jax.Array,
    *,
    how: Way,
    curved: Curved | None = None,
) -> Verdict:
    """After the last step: look once more, with the curvature the loop did not pay for.

    Args:
        oracle: the problem.
        solver: what ran; it may know about curvature.
        state: where it ended.
        stopped: the loop's status, ``RUNNING`` at the step limit.
        tol: bound on the gradient norm.
        how: the way of looking.
        curved: the curvature along one direction there, if it is known, for a first look.
    """
    point = state.point

    def by_products() -> Look:
        return look_with_products(oracle, solver, state)

    def by_hessian() -> Look:
        return look_with_hessian(oracle, point)

    def first() -> Look:
        if curved is None:
            return look_at_regular(oracle, point)
        return look_further(oracle, solver, state, curved, gradient_norm(point) <= tol)

    def either() -> Look:
        return jax.lax.cond(oracle.can_recede(), by_hessian, by_products)

    ways = {
        Way.HESSIAN: by_hessian, Way.PRODUCTS: by_products, Way.EITHER: either, Way.FIRST: first
    }  # fmt: skip
    look = ways[how]()
    decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, look.direction.step)))
    status = _status(point, stopped, tol, look)
    return Verdict(point, status.astype(jnp.int8), decrement, look.direction.rank)


def _status(point: Point, stopped: jax.Array, tol: jax.Array, look: Look) -> jax.Array:
    rank = look.direction.rank
    deficient = (rank >= 0) & (rank < point.theta.size)
    solved = jnp.where(deficient, int(Status.NOT_UNIQUE), int(Status.CONVERGED))
    solved = jnp.where(look.settled, solved, int(Status.LOOSE))
    unsolved = jnp.where(stopped == int(Status.CONVERGED), int(Status.STALLED), stopped)
    unsolved = jnp.where(unsolved < 0, int(Status.MAX_STEPS), unsolved)  # still running
    status = jnp.where(gradient_norm(point) <= tol, solved, unsolved)
    separated = look.separated | (stopped == int(Status.SEPARATED))
    status = jnp.where(separated, int(Status.SEPARATED), status)
    lost = ~jnp.isfinite(point.value) | (stopped == int(Status.NOT_FINITE))
    return jnp.where(lost, int(Status.NOT_FINITE), status)
