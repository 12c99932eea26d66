"""Convergence certificates: what the point is worth at which a fit ended.

"Converged" means that at the point that is returned the gradient is within tol, that the Newton
step that remains is small beside the standard errors, and that a minimum exists there. On
separated data the gradient vanishes too, on the way to
infinity. What tells the two apart is the Newton step d, Hd = −g, by an exact criterion:

    if d changes no logit by as much as 1, the minimum is finite.

For then the shifted probabilities μ + D(Xd), which balance the data exactly because
Zᵀ W (μ + D(Xd) − y) = g + Hd = 0, still lie strictly between 0 and 1: they solve the
dual problem in its interior, which rules out every direction of recession.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.derivatives.oracle import Oracle, Point
from jax_logreg.fitting.result import MAX_LOGIT_CHANGE, RUNNING, Status
from jax_logreg.programs.compiled import are_concrete
from jax_logreg.solvers.base import Solver, State, compute_unless, cond, switch, while_loop
from jax_logreg.solvers.newton import (
    Direction,
    cg_init,
    cg_run,
    cg_step,
    newton_direction,
    newton_step,
)
from jax_logreg.solvers.newton_cg import (
    DIRECTION_RESIDUAL,
    direction_by_products,
    direction_residual,
)

# A cheap test says that the run may be over: verify the point, which can cost a product with X.
UNVERIFIED = -2

# Products that the first attempt may spend: in vain where there is no minimum.
_FIRST_CG_STEPS = 25
# On separated data each Newton step gains one unit of logit and removes a factor e of what
# is not recession; the digits of float64 are used up after this many.
_PATH_STEPS = 40
# From the point itself, and from zero logits.
_PATH_STARTS = 2


class CertificateMethod(Enum):
    """How the Newton direction at the end is computed.

    ``CHOLESKY`` and ``CONTINUED_CG`` are the cheap ones; where they do not certify convergence,
    the fit is open and one of the others decides. ``BY_PENALTY`` chooses inside the program:
    ``CG`` where the penalty guarantees a minimum, ``EIGENVALUES`` elsewhere.
    """

    CHOLESKY = "from a Hessian that is not singular"
    CONTINUED_CG = "by conjugate gradients from the product that the verification made"
    EIGENVALUES = "from any Hessian, by its eigenvalues, following Newton's path if need be"
    CG = "by conjugate gradients"
    BY_PENALTY = "by conjugate gradients or eigenvalues"


class Tolerance(NamedTuple):
    """What a converged fit has reached.

    Attributes:
        gradient: bound on the largest absolute entry of ∇F.
        decrement: bound on √(gᵀH⁻¹g), the Newton step that remains: no change of units moves it.
        total_weight: Σw, which turns a decrement into standard errors.
    """

    gradient: Any
    decrement: Any
    total_weight: Any


# The Newton step that may remain, in standard errors, under the default bound on the gradient;
# under another bound the same share of it, down to the smallest. Half of what is promised: by
# Hessian products the step is an estimate.
_REMAINING_STEP, _SMALLEST_STEP = 5e-4, 5e-7
# A decrement below so many units of round-off cannot be told from none.
_DECREMENT_ROUND_OFF = 32


def make_tolerance(tol: Any, default: Any, total_weight: Any) -> Tolerance:
    """The bounds that ``fit`` holds an answer to.

    Args:
        tol: bound on the gradient.
        default: the one of this dtype.
        total_weight: Σw.
    """
    xp = np if are_concrete((tol, total_weight)) else jnp
    dtype = default.dtype
    share = xp.maximum(_REMAINING_STEP * (tol / default), _SMALLEST_STEP)
    least = _DECREMENT_ROUND_OFF * np.finfo(dtype).eps
    decrement = xp.maximum(share / xp.sqrt(total_weight), least)
    return Tolerance(tol, xp.asarray(decrement, dtype), xp.asarray(total_weight, dtype))


class Certificate(NamedTuple):
    """The end of a fit, certified at the point that is returned.

    Attributes:
        status: a ``Status``.
        newton_decrement: √(gᵀH⁻¹g).
        rank: of the Hessian; −1 where it was not computed.
        is_short: whether the gradient was within its bound and the Newton step that remains was
            not: a smaller gradient would help.
    """

    status: jax.Array
    newton_decrement: jax.Array
    rank: jax.Array
    is_short: jax.Array


class _Evidence(NamedTuple):
    """What the Newton direction at a point shows.

    Attributes:
        direction: the Newton direction.
        exists: whether it changes every logit by less than the criterion allows.
        separated: whether a direction of recession was found.
    """

    direction: Direction
    exists: jax.Array
    separated: jax.Array


# --- during the loop ----------------------------------------------------------------------


def gradient_norm(point: Point) -> jax.Array:
    """The number that ``tol`` is compared with: the largest absolute entry of ∇F."""
    return jnp.max(jnp.abs(point.gradient))


def cheap_status(oracle: Oracle, state: State, tol: Any) -> jax.Array:
    """After a step: ``RUNNING``, or ``UNVERIFIED`` where the run may be over."""
    suspected = state.point.value < oracle.problem.separable_value()
    is_running = _status_of_point(state, tol, suspected) == RUNNING
    return jnp.where(is_running, RUNNING, UNVERIFIED).astype(jnp.int8)


def verified_status(oracle: Oracle, state: State, tol: jax.Array) -> jax.Array:
    """At a point computed from θ alone: ``RUNNING``, or the reason to stop."""
    point = state.point
    return _status_of_point(state, tol, oracle.problem.proves_separation(point.theta, point.value))


def _status_of_point(state: State, tol: jax.Array, separated: jax.Array) -> jax.Array:
    point = state.point
    is_finite = jnp.isfinite(point.value) & jnp.all(jnp.isfinite(point.gradient))
    status = jnp.where(state.stalled, int(Status.STALLED), RUNNING)
    status = jnp.where(gradient_norm(point) <= tol, int(Status.CONVERGED), status)
    status = jnp.where(separated, int(Status.SEPARATED), status)
    return jnp.where(is_finite, status, int(Status.NOT_FINITE)).astype(jnp.int8)


# --- at the end ---------------------------------------------------------------------------


def certify(
    oracle: Oracle,
    solver: Solver,
    state: State,
    status: jax.Array,
    tol: Tolerance,
    method: CertificateMethod,
) -> Certificate:
    """The certificate of the point where a loop ended.

    Args:
        oracle: the function.
        solver: what ran; its estimate of the inverse Hessian preconditions.
        state: where it ended; its point carries a Hessian product for ``CONTINUED_CG``.
        status: the loop's, ``RUNNING`` at the step limit.
        tol: the bounds.
        method: how to compute the Newton direction.
    """
    point = state.point
    by: dict[CertificateMethod, Callable[[], _Evidence]] = {
        CertificateMethod.CHOLESKY: partial(_by_cholesky, oracle, point),
        CertificateMethod.CONTINUED_CG: partial(
            _by_continued_cg, oracle, solver, state, tol.gradient
        ),
        CertificateMethod.EIGENVALUES: partial(
            _by_newton_path, oracle, point, status == int(Status.SEPARATED)
        ),
        CertificateMethod.CG: partial(_by_cg, oracle, solver, state),
        CertificateMethod.BY_PENALTY: lambda: cond(
            oracle.problem.minimum_may_not_exist(),
            by[CertificateMethod.EIGENVALUES],
            by[CertificateMethod.CG],
        ),
    }
    evidence = by[method]()
    decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, evidence.direction.step)))
    within = gradient_norm(point) <= tol.gradient
    is_short = within & (decrement > tol.decrement)  # False where there is no direction
    may_improve = (status == int(Status.CONVERGED)) & ~evidence.separated
    if method in (CertificateMethod.CHOLESKY, CertificateMethod.CONTINUED_CG):
        may_improve &= evidence.exists  # else another method decides first
    return Certificate(
        _final_status(point, status, within & ~is_short, evidence),
        decrement,
        evidence.direction.rank,
        is_short & may_improve,
    )


def tighter(tol: Tolerance, norm: jax.Array, decrement: jax.Array) -> Tolerance:
    """The bounds with a gradient, smaller than its norm now, that leaves so small a step."""
    ratio = jnp.clip(0.5 * tol.decrement / decrement, 1e-6, 0.5)
    return tol._replace(gradient=(norm * ratio).astype(norm.dtype))


def _final_status(
    point: Point, stopped: jax.Array, converged: jax.Array, evidence: _Evidence
) -> jax.Array:
    rank = evidence.direction.rank
    is_singular = (rank >= 0) & (rank < point.theta.size)
    solved = jnp.where(is_singular, int(Status.NOT_UNIQUE), int(Status.CONVERGED))
    solved = jnp.where(evidence.exists, solved, int(Status.LOOSE))
    unsolved = jnp.where(stopped == int(Status.CONVERGED), int(Status.STALLED), stopped)
    unsolved = jnp.where(unsolved < 0, int(Status.MAX_STEPS), unsolved)  # still running
    status = jnp.where(converged, solved, unsolved)
    separated = evidence.separated | (stopped == int(Status.SEPARATED))
    status = jnp.where(separated, int(Status.SEPARATED), status)
    is_lost = ~jnp.isfinite(point.value) | (stopped == int(Status.NOT_FINITE))
    return jnp.where(is_lost, int(Status.NOT_FINITE), status).astype(jnp.int8)


def _is_small(oracle: Oracle, step: jax.Array, point: Point) -> jax.Array:
    """Whether a step changes every logit by less than the criterion allows; NaN does not."""
    return oracle.problem.is_negligible(step, point.theta, MAX_LOGIT_CHANGE)


# --- by Hessian products --------------------------------------------------------------------


def _by_cg(oracle: Oracle, solver: Solver, state: State) -> _Evidence:
    """From Hessian-vector products alone: an approximate direction; the rank only where a
    penalty settles it."""
    point, no = state.point, jnp.asarray(False)
    if "hvp" not in oracle.capabilities:
        estimate = -solver.apply_inverse_hessian(oracle, state, point.gradient)
        return _Evidence(_direction(oracle, estimate), jnp.asarray(True), no)

    solve = partial(solver.apply_inverse_hessian, oracle, state)
    residual = direction_residual(oracle, point.gradient.dtype)
    step = direction_by_products(oracle, point, solve, residual)
    exists, problem = _is_small(oracle, step, point), oracle.problem
    separated = cond(
        problem.minimum_may_not_exist() & ~exists,
        lambda: problem.is_recession_direction(step, exact=True),
        lambda: no,
    )
    return _Evidence(_direction(oracle, step), exists, separated)


def _by_continued_cg(oracle: Oracle, solver: Solver, state: State, tol: jax.Array) -> _Evidence:
    """The same from the product with −M⁻¹g on, which is known and often enough; no more are
    spent where the gradient is not within tol."""
    point, known = state.point, state.point.hvp
    assert known is not None  # the loop kept it
    has_arrived = gradient_norm(point) <= tol
    solve = partial(solver.apply_inverse_hessian, oracle, state)
    start = cg_init(-point.gradient, known.vector)
    residual = direction_residual(oracle, point.gradient.dtype)
    target = jnp.where(has_arrived, residual**2, jnp.inf) * start.norm_squared
    apply = oracle.hessian_operator(point)
    end = cg_run(apply, cg_step(start, known, solve), solve, target, _FIRST_CG_STEPS)
    found = has_arrived & (end.norm_squared <= target) & jnp.isfinite(end.max_logit_change)
    # The sum of the steps' maxima bounds the maximum of their sum (triangle inequality).
    is_small = end.max_logit_change <= MAX_LOGIT_CHANGE
    exists = compute_unless(
        ~found | is_small, found & is_small, lambda: _is_small(oracle, end.solution, point)
    )
    return _Evidence(_direction(oracle, end.solution), exists, jnp.asarray(False))


def _direction(oracle: Oracle, step: jax.Array) -> Direction:
    rank = jnp.where(oracle.problem.is_strictly_convex(), step.size, -1)
    return Direction(step, rank, jnp.zeros_like(step))


# --- by a Hessian ---------------------------------------------------------------------------


def _by_cholesky(oracle: Oracle, point: Point) -> _Evidence:
    """The exact direction of a Hessian that is not singular."""
    direction = newton_direction(oracle, point, singular=False)
    exists = (direction.rank >= 0) & _is_small(oracle, direction.step, point)
    return _Evidence(direction, exists, jnp.asarray(False))


class _Path(NamedTuple):
    """Newton's path, followed for what its directions show.

    Attributes:
        state: where it is.
        first: the direction where it began.
        exists: whether some direction proved that a minimum exists.
        separated: whether some direction proved that none does.
        recedes: whether some direction was one of recession to its precision.
        steps: taken from this start.
        start: the number of this start.
        is_open: whether to go on.
    """

    state: State
    first: Direction
    exists: jax.Array
    separated: jax.Array
    recedes: jax.Array
    steps: jax.Array
    start: jax.Array
    is_open: jax.Array


def _by_newton_path(oracle: Oracle, point: Point, is_known: jax.Array) -> _Evidence:
    """The exact direction; where it does not decide, Newton's path is followed, unless the point
    itself is known to prove separation.

    That a minimum exists can be proved anywhere, and so can complete separation. Rows that stay
    where they are, as under quasi-complete separation, do so to the precision of a direction
    only: then no direction up to the end of the path must prove a minimum.

    The path begins at the point itself, and then at zero logits, for far out the digits of the loss
    are used up. There at once if the Hessian has lost rank though no columns are dependent:
    probabilities of 0 and 1, or columns parallel to the last digits, hide from the direction the
    very logits in question.
    """
    can_recede = oracle.problem.minimum_may_not_exist() & jnp.all(jnp.isfinite(point.gradient))
    can_recede &= ~is_known
    no, zero, nothing = jnp.asarray(False), jnp.asarray(0), jnp.zeros_like(point.theta)
    start = State(point, no, jnp.zeros((), jnp.int32))
    end = while_loop(
        lambda path: path.is_open,
        lambda path: _follow(oracle, path, can_recede),
        _Path(start, Direction(nothing, zero, nothing), no, no, no, zero, zero, ~no),
    )
    return _Evidence(end.first, end.exists, end.separated | (end.recedes & ~end.exists))


def _follow(oracle: Oracle, path: _Path, can_recede: jax.Array) -> _Path:
    """One Newton direction, and whether and from where to go on."""
    problem, point, no = oracle.problem, path.state.point, jnp.asarray(False)
    is_first = (path.start == 0) & (path.steps == 0)
    direction = newton_direction(oracle, point, sharpen_null=True)
    lost_rank = direction.rank < point.theta.size
    hidden = cond(lost_rank, lambda: ~problem.is_in_null_space(direction.null), lambda: no)
    exists = cond(
        ~hidden & _is_small(oracle, direction.step, point),
        lambda: _solves(oracle, direction.step, point, ~path.recedes),
        lambda: no,
    )
    separated, recedes = cond(
        can_recede & ~hidden & ~exists,
        lambda: (
            problem.is_recession_direction(direction.step, exact=True)
            | problem.proves_separation(point.theta, point.value),
            problem.is_recession_direction(direction.step),
        ),
        lambda: (no, no),
    )
    recedes = path.recedes | recedes  # at the end of a path round-off hides it again
    is_over = hidden | path.state.stalled | (path.steps >= _PATH_STEPS)
    is_last = recedes | (path.start == _PATH_STARTS - 1)
    is_open = can_recede & ~separated & ~exists & ~(is_over & is_last)
    return _Path(
        _next_state(oracle, path.state, direction.step, is_open, is_over),
        jax.tree.map(lambda a, b: jnp.where(is_first, a, b), direction, path.first),
        path.exists | exists,
        separated,
        recedes,
        jnp.where(is_over, 0, path.steps + 1),
        path.start + is_over,
        is_open,
    )


def _solves(oracle: Oracle, step: jax.Array, point: Point, trusts_zero: jax.Array) -> jax.Array:
    """Whether Hd = −g for a step d, on which the criterion rests: where a Hessian explains nothing
    of the gradient, what is taken in place of Newton's step is any small step downhill. A gradient
    of round-off counts as zero if that is to be trusted."""
    if "hvp" not in oracle.capabilities:
        return jnp.asarray(True)
    norm, gradient = jnp.linalg.norm, point.gradient
    residual = oracle.hessian_operator(point)(step).product + gradient
    at_round_off = norm(gradient) <= _DECREMENT_ROUND_OFF * jnp.finfo(gradient.dtype).eps
    return (norm(residual) <= DIRECTION_RESIDUAL * norm(gradient)) | (at_round_off & trusts_zero)


def _next_state(
    oracle: Oracle, state: State, direction: jax.Array, is_open: jax.Array, is_over: jax.Array
) -> State:
    """A Newton step on; from zero logits where a start is used up; here where all are."""

    def restart() -> State:
        zero = oracle.evaluate(jnp.zeros_like(state.point.theta))
        return State(zero, jnp.asarray(False), jnp.zeros_like(state.memory))

    def step() -> State:
        return newton_step(oracle, state, direction)

    return switch(is_open * (1 + is_over), [lambda: state, step, restart])
