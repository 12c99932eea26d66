"""The looks at the point where a fit ended: its Newton direction, and what that says.

What a look is for, and the criterion, are told in ``verdict.py``.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Curved, Oracle, Point
from jax_logreg.solvers.base import Solver, State, unless
from jax_logreg.solvers.newton import Direction, newton_direction, newton_move
from jax_logreg.solvers.newton_cg import after, begin, conjugate_gradients, follow

# What a Newton direction by products leaves of the gradient; the criterion has room for it.
_CG_TOL = 0.1
# Where a minimum exists for certain, the direction only tells how near it is.
_ROUGH_CG_TOL = 0.3
# Products that a first look may spend: it is in vain where there is no minimum.
_FURTHER_STEPS = 25
# Half of the 1 that the criterion allows, for round-off in d.
_SETTLED_LOGIT = 0.5
# On separated data each Newton step gains one unit of logit and sheds a factor e of what
# is not recession; the digits of float64 are used up after this many.
_PROBE_STEPS = 40
# From where the fit ended, and from even odds.
_ATTEMPTS = 2


class Look(NamedTuple):
    """What the closing look at a point found.

    Attributes:
        direction: the Newton direction there.
        settled: whether it moves every logit by less than the criterion allows.
        separated: whether a direction of recession was found.
    """

    direction: Direction
    settled: jax.Array
    separated: jax.Array


def _settles(oracle: Oracle, step: jax.Array) -> jax.Array:
    """Whether a step moves every logit by less than the criterion allows; NaN does not."""
    return oracle.reach(step) <= _SETTLED_LOGIT


def look_with_products(oracle: Oracle, solver: Solver, state: State) -> Look:
    """From Hessian-vector products alone: an approximate direction; the rank only where a
    penalty settles it."""
    point, no = state.point, jnp.asarray(False)
    if "hvp" not in oracle.offers:
        nothing = Direction(jnp.full_like(point.theta, jnp.nan), jnp.asarray(-1), point.theta)
        return Look(nothing, jnp.asarray(True), no)

    divide = partial(solver.divide_by_hessian, oracle, state)
    product = oracle.products_at(point)
    step = conjugate_gradients(product, -point.gradient, divide, _leave(oracle))
    settled = _settles(oracle, step)
    separated = jax.lax.cond(
        oracle.can_recede() & ~settled, lambda: oracle.recedes(step), lambda: no
    )
    return Look(_direction(oracle, step), settled, separated)


def look_further(
    oracle: Oracle, solver: Solver, state: State, known: Curved, arrived: jax.Array
) -> Look:
    """The same from the product with −M⁻¹g on, which is known and often suffices: open where
    that and some more do not, and none is spent where the fit has not arrived."""
    divide = partial(solver.divide_by_hessian, oracle, state)
    start = begin(-state.point.gradient, known.direction)
    least = jnp.where(arrived, _leave(oracle) ** 2, jnp.inf) * start.size
    begun = after(start, known, divide)
    curve = partial(oracle.curved, state.point)
    end = follow(curve, begun, divide, least, _FURTHER_STEPS)
    found = arrived & (end.size <= least) & jnp.isfinite(end.reach)
    # What its parts reach together bounds what a direction does.
    told = ~found | (end.reach <= _SETTLED_LOGIT)
    reach = unless(told, end.reach, lambda: oracle.reach(end.solution))
    settled = found & (reach <= _SETTLED_LOGIT)
    return Look(_direction(oracle, end.solution), settled, jnp.asarray(False))


def _leave(oracle: Oracle) -> jax.Array:
    """What a direction may leave of the gradient."""
    return jnp.where(oracle.can_recede(), _CG_TOL, _ROUGH_CG_TOL)


def _direction(oracle: Oracle, step: jax.Array) -> Direction:
    rank = jnp.where(oracle.is_curved(), step.size, -1)
    return Direction(step, rank, jnp.zeros_like(step))


def look_at_regular(oracle: Oracle, point: Point) -> Look:
    """The exact direction of a Hessian that is not singular."""
    direction = newton_direction(oracle, point, singular=False)
    settled = (direction.rank >= 0) & _settles(oracle, direction.step)
    return Look(direction, settled, jnp.asarray(False))


class _Probe(NamedTuple):
    """Newton's method, followed for what its directions say.

    Attributes:
        state: where it is.
        first: the look at where it began.
        separated: whether a direction of recession was found.
        steps: taken in this attempt.
        attempt: which one this is.
        open: whether to go on.
    """

    state: State
    first: Look
    separated: jax.Array
    steps: jax.Array
    attempt: jax.Array
    open: jax.Array


def look_with_hessian(oracle: Oracle, point: Point) -> Look:
    """The exact direction; where it does not settle the question, Newton is followed.

    From the point itself, and then from even odds, for far out the digits of the loss are used
    up. At once from there where the Hessian has lost rank though no columns depend on others:
    probabilities of 0 and 1, or columns parallel to the last digits, make the direction blind
    to the very logits in doubt.
    """
    can_recede = oracle.can_recede() & jnp.all(jnp.isfinite(point.gradient))
    no, zero, nothing = jnp.asarray(False), jnp.asarray(0), jnp.zeros_like(point.theta)
    start = State(point, no, jnp.zeros((), jnp.int32))
    unseen = Look(Direction(nothing, zero, nothing), no, no)
    end = jax.lax.while_loop(
        lambda probe: probe.open,
        lambda probe: _probe(oracle, probe, can_recede),
        _Probe(start, unseen, no, zero, zero, ~no),
    )
    return end.first._replace(separated=end.separated)


def _probe(oracle: Oracle, probe: _Probe, can_recede: jax.Array) -> _Probe:
    """One direction of Newton's, and whether and whence to go on."""
    point, no = probe.state.point, jnp.asarray(False)
    begins = (probe.attempt == 0) & (probe.steps == 0)
    direction = newton_direction(oracle, point, sharpen=True)
    lost = begins & (direction.rank < point.theta.size)
    blind = jax.lax.cond(lost, lambda: ~oracle.ignores(direction.null), lambda: no)
    settled = ~blind & _settles(oracle, direction.step)
    asked = can_recede & ~blind & ~(begins & settled)
    separated = jax.lax.cond(
        asked, lambda: oracle.recedes(direction.step) | oracle.separates(point), lambda: no
    )
    over = blind | settled | probe.state.stalled | (probe.steps >= _PROBE_STEPS)
    is_last = (begins & settled) | (over & (probe.attempt == _ATTEMPTS - 1))
    is_open = can_recede & ~separated & ~is_last
    look = Look(direction, settled, no)
    return _Probe(
        _next_state(oracle, probe.state, direction.step, is_open, over),
        jax.tree.map(lambda a, b: jnp.where(begins, a, b), look, probe.first),
        separated,
        jnp.where(over, 0, probe.steps + 1),
        probe.attempt + over,
        is_open,
    )


def _next_state(
    oracle: Oracle, state: State, direction: jax.Array, is_open: jax.Array, over: jax.Array
) -> State:
    """A Newton step on; from even odds where an attempt is over; here where all are."""

    def restart() -> State:
        return State(oracle.at_even_odds(state.point), jnp.asarray(False), state.memory * 0)

    def move() -> State:
        return newton_move(oracle, state, direction)

    return jax.lax.switch(is_open * (1 + over), [lambda: state, move, restart])
