r"""Newton's method for functions with kinks, on all columns or on the promising ones.

A step minimises :math:`s^\top d + \tfrac12 d^\top H d + \sum_j\kappa_j|\theta_j+d_j|`: the
smooth part by its second-order model, the kinks as they are. Sources: Lee, Sun & Saunders
(2014), SIAM J. Optim. 24 (proximal Newton); Friedman, Hastie & Tibshirani (2010), J. Stat.
Softw. 33 (coordinate descent on the model).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.derivatives.nonsmooth import least_subgradient, soft_threshold
from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.derivatives.preconditioners import unit_scale
from jax_logreg.solvers.base import Solver, State, steeper_than
from jax_logreg.solvers.line_search import move
from jax_logreg.solvers.newton import count_idle
from jax_logreg.solvers.preconditioned import check_count

_IDLE_MOVES = 3
# What may be left of the model's subgradient, and of that of some columns, as a share.
_MODEL_LEFT = 0.1
_PART_LEFT = 0.1
# At most: faces of a model, sweeps before one, and steps over some columns.
_ROUNDS = 100
_SWEEPS = 10
_PART_STEPS = 20


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ProximalNewton(Solver):
    """Proximal Newton, for an L1 or elastic-net penalty.

    Attributes:
        columns: how many are worked on at a time; 0 takes all. The others keep their
            coefficients meanwhile, most of which are zero.

    >>> from jax_logreg import ElasticNet, fit
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> fit(X, y, penalty=ElasticNet(10.0), solver=ProximalNewton()).coef.tolist()
    [0.0]
    """

    columns: int = field(default=0, metadata={"static": True})

    default_max_steps = 100

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_count("columns", self.columns, least=0)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"columns", "preconditioner"} if self.columns else {"hessian", "along"})

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        idle = jnp.zeros((), jnp.int32)
        memory = oracle.preconditioner("diagonal") if self.columns else idle
        return State(oracle.at(theta), jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        if self.columns:
            return self._step_on_columns(oracle, state)
        point, kinks = state.point, oracle.kinks(state.point.theta)
        slope = point.gradient if point.smooth_gradient is None else point.smooth_gradient
        H = oracle.pin(oracle.smooth_part().hessian(point))
        target = minimise_model(Model(H, slope, point.theta, kinks))
        direction = target - point.theta
        fall = jnp.vdot(slope, direction)
        fall = fall + jnp.sum(kinks * (jnp.abs(target) - jnp.abs(point.theta)))
        one = jnp.ones((), fall.dtype)
        moved, found = move(oracle, point, direction, one, slope=fall, curvature=1.0)
        idle = count_idle(state.memory, found, point, moved)
        return State(moved, ~found.found | (idle >= _IDLE_MOVES), idle)

    def _step_on_columns(self, oracle: Oracle, state: State) -> State:
        """To near the minimum over some columns."""
        gain = state.point.gradient * state.memory.solve(state.point.gradient)
        part = oracle.columns(state.point, gain, self.columns)
        whole = ProximalNewton()
        begin = whole.init(part.oracle, part.theta)
        left = _PART_LEFT * jnp.max(jnp.abs(begin.point.gradient))
        end = whole.run_roughly(part.oracle, begin, steeper_than(left), _PART_STEPS)
        moved = oracle.at(part.lift(end.point.theta))
        still = jnp.all(moved.theta == state.point.theta)
        return State(moved, still, state.memory)


class Model(NamedTuple):
    """The smooth part by its second-order model at θ, and the kinks beside it."""

    H: jax.Array
    slope: jax.Array
    theta: jax.Array
    kinks: jax.Array

    def slope_at(self, z: jax.Array) -> jax.Array:
        return self.slope + self.H @ (z - self.theta)

    def steepness(self, z: jax.Array, slope: jax.Array) -> jax.Array:
        """The largest entry of the shortest subgradient, in units of its own curvature."""
        return jnp.max(jnp.abs(least_subgradient(z, slope, self.kinks)) * unit_scale(self.H))


class _Try(NamedTuple):
    """A point of the model with its slope; ``settled``: the model is least on its face."""

    z: jax.Array
    slope: jax.Array
    settled: jax.Array
    rounds: jax.Array


def minimise_model(model: Model) -> jax.Array:
    """The minimum of the model, nearly.

    Coordinate descent finds a face, from which the way to its exact minimum is one solve; where
    that leads out of the face, on to a smaller one, and again.
    """
    open_from = _MODEL_LEFT * model.steepness(model.theta, model.slope)

    def unfinished(now: _Try) -> jax.Array:
        steep = model.steepness(now.z, now.slope) > open_from
        return (steep & (now.rounds < _ROUNDS)) | (now.rounds == 0)

    def step(now: _Try) -> _Try:
        z, slope = jax.lax.cond(
            now.settled, lambda: _sweeps(model, now.z, now.slope), lambda: (now.z, now.slope)
        )
        z, settled = _to_face_minimum(model, z, slope)
        return _Try(z, model.slope_at(z), settled, now.rounds + 1)

    start = _Try(model.theta, model.slope, jnp.asarray(True), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, step, start).z


class _Descent(NamedTuple):
    """Sweeps so far; ``open`` while the last one changed a sign."""

    z: jax.Array
    slope: jax.Array
    open: jax.Array
    sweeps: jax.Array


def _sweeps(model: Model, z: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinate descent until a sweep leaves all signs as they were."""

    def again(now: _Descent) -> _Descent:
        z, slope = _sweep(model, now.z, now.slope)
        changed = jnp.any(jnp.sign(z) != jnp.sign(now.z))
        return _Descent(z, slope, changed & (now.sweeps < _SWEEPS), now.sweeps + 1)

    start = _Descent(z, slope, jnp.asarray(True), jnp.ones((), jnp.int32))
    end = jax.lax.while_loop(lambda now: now.open, again, start)
    return end.z, end.slope


def _sweep(model: Model, z: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Every coordinate to its minimum, one after the other, and the slope there."""

    def one(j: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        z, slope = carry
        curvature = jnp.where(model.H[j, j] > 0, model.H[j, j], 1)
        new = soft_threshold(curvature * z[j] - slope[j], model.kinks[j]) / curvature
        return z.at[j].set(new), slope + (new - z[j]) * model.H[j]

    return jax.lax.fori_loop(0, z.size, one, (z, slope))


def _to_face_minimum(model: Model, z: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Towards where the model is least among z's signs, and whether that was reached.

    What would change its sign ends at zero: all of that if the model falls, else the first.
    """
    kinked = model.kinks > 0
    moves = (z != 0) | ~kinked
    gradient = jnp.where(moves, slope + model.kinks * jnp.sign(z), 0)
    step = -_solve_on(moves, model.H, gradient)
    crosses = kinked & moves & (jnp.sign(z + step) != jnp.sign(z))
    share = jnp.where(crosses, -z / jnp.where(crosses, step, 1), 1)
    first = jnp.min(share)
    clipped = jnp.where(crosses, 0, z + step)
    to_first = jnp.where(crosses & (share <= first), 0, z + first * step)

    def rise(end: jax.Array) -> jax.Array:
        way = end - z
        bent = jnp.vdot(slope + 0.5 * (model.H @ way), way)
        return bent + jnp.sum(model.kinks * (jnp.abs(end) - jnp.abs(z)))

    best = jnp.where(rise(clipped) <= rise(to_first), clipped, to_first)
    falls = rise(best) < 0
    return jnp.where(falls, best, z), ~(falls & jnp.any(crosses))


def _solve_on(moves: jax.Array, H: jax.Array, right: jax.Array) -> jax.Array:
    """H⁻¹ · right over the coordinates that move; what is singular to round-off is lifted."""
    identity = jnp.eye(len(H), dtype=H.dtype)
    block = jnp.where(moves[:, None] & moves[None, :], H, identity)
    scale = unit_scale(block)
    lift = len(H) * jnp.finfo(H.dtype).eps
    unit = block * scale[:, None] * scale[None, :] + lift * identity
    return scale * cho_solve((jnp.linalg.cholesky(unit), True), scale * right)
