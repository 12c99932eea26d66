r"""Proximal Newton, for objectives with an L1 part, on all columns or on the promising ones.

A step minimises :math:`s^\top d + \tfrac12 d^\top H d + \sum_j\kappa_j|\theta_j+d_j|`: the
smooth part by its second-order model, the L1 part as it is. Sources: Lee, Sun & Saunders
(2014), SIAM J. Optim. 24 (proximal Newton); Friedman, Hastie & Tibshirani (2010), J. Stat.
Softw. 33 (coordinate descent on the model).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.derivatives.linear_algebra import (
    jacobi_scaling,
    min_norm_subgradient,
    soft_threshold,
)
from jax_logreg.derivatives.oracle import Oracle, Point, SmoothPart
from jax_logreg.solvers.base import (
    Solver,
    State,
    check_count,
    cond,
    gradient_above,
    while_loop,
)
from jax_logreg.solvers.line_search import line_search_step
from jax_logreg.solvers.newton import MAX_IDLE_STEPS, count_idle

# Relative subgradient at which the model, and the problem over some columns, are left.
_MODEL_TOL = 0.1
_SUBSET_TOL = 0.1
_MAX_FACES = 100
_MAX_SWEEPS = 10
_MAX_SUBSET_STEPS = 20


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ProximalNewton(Solver):
    """Proximal Newton, for an L1 or elastic-net penalty.

    Attributes:
        columns: size of the working set; 0 takes all. The other coefficients, most of them
            zero, are fixed meanwhile.

    >>> from jax_logreg import ElasticNet, fit
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> fit(X, y, penalty=ElasticNet(10.0), solver=ProximalNewton()).coef.tolist()
    [0.0]
    """

    columns: int = field(default=0, metadata={"static": True})

    default_max_steps = 100
    scale_invariant = True

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_count("columns", self.columns, least=0)

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"columns", "preconditioner"} if self.columns else {"hessian", "line"})

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        idle = jnp.zeros((), jnp.int32)
        memory = oracle.preconditioner("diagonal") if self.columns else idle
        return State(oracle.evaluate(theta), jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        if self.columns:
            return self._step_on_columns(oracle, state)
        point = state.point
        slope, l1_weights = _smooth_part(point)
        H = oracle.smooth.hessian(point)
        target = minimise_model(Model(H, slope, point.theta, l1_weights))
        direction = target - point.theta
        decrease = jnp.vdot(slope, direction)
        decrease = decrease + jnp.sum(l1_weights * (jnp.abs(target) - jnp.abs(point.theta)))
        one = jnp.ones((), decrease.dtype)
        moved, found = line_search_step(
            oracle, point, direction, one, slope=decrease, curvature=1.0
        )
        idle = count_idle(state.memory, found, point, moved)
        return State(moved, ~found.found | (idle >= MAX_IDLE_STEPS), idle)

    def _step_on_columns(self, oracle: Oracle, state: State) -> State:
        """To near the minimum over a working set of columns."""
        gain = state.point.gradient * state.memory.solve(state.point.gradient)
        part = oracle.restrict_columns(state.point, gain, self.columns)
        whole = ProximalNewton()
        start = whole.init(part.oracle, part.theta)
        tol = _SUBSET_TOL * jnp.max(jnp.abs(start.point.gradient))
        end = whole.run_until(part.oracle, start, gradient_above(tol), _MAX_SUBSET_STEPS)
        moved = oracle.evaluate(part.to_original(end.point.theta))
        unchanged = jnp.all(moved.theta == state.point.theta)
        return State(moved, unchanged, state.memory)


def _smooth_part(point: Point) -> SmoothPart:
    """Slope and L1 weights; of a smooth function its gradient and zero."""
    if point.smooth is None:
        return SmoothPart(point.gradient, jnp.zeros_like(point.gradient))
    return point.smooth


class Model(NamedTuple):
    """The second-order model of the smooth part at θ, and the L1 weights."""

    H: jax.Array
    slope: jax.Array
    theta: jax.Array
    l1_weights: jax.Array

    def slope_at(self, z: jax.Array) -> jax.Array:
        return self.slope + self.H @ (z - self.theta)

    def residual(self, z: jax.Array, slope: jax.Array) -> jax.Array:
        """The largest entry of the minimum-norm subgradient, in units of its own curvature."""
        return jnp.max(
            jnp.abs(min_norm_subgradient(z, slope, self.l1_weights)) * jacobi_scaling(self.H)
        )


class _FaceState(NamedTuple):
    """A point of the model with its slope, and whether it is the minimum on its face."""

    z: jax.Array
    slope: jax.Array
    is_face_minimum: jax.Array
    rounds: jax.Array


def minimise_model(model: Model) -> jax.Array:
    """An approximate minimum of the model.

    Coordinate descent finds a face, whose exact minimum is one solve away; if the step leaves
    the face, it goes on from a smaller one.
    """
    tol = _MODEL_TOL * model.residual(model.theta, model.slope)

    def unfinished(now: _FaceState) -> jax.Array:
        is_open = model.residual(now.z, now.slope) > tol
        return (is_open & (now.rounds < _MAX_FACES)) | (now.rounds == 0)

    def step(now: _FaceState) -> _FaceState:
        z, slope = cond(
            now.is_face_minimum,
            lambda: _sweeps(model, now.z, now.slope),
            lambda: (now.z, now.slope),
        )
        z, is_minimum = _to_face_minimum(model, z, slope)
        return _FaceState(z, model.slope_at(z), is_minimum, now.rounds + 1)

    start = _FaceState(model.theta, model.slope, jnp.asarray(True), jnp.zeros((), jnp.int32))
    return while_loop(unfinished, step, start).z


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
        return _Descent(z, slope, changed & (now.sweeps < _MAX_SWEEPS), now.sweeps + 1)

    start = _Descent(z, slope, jnp.asarray(True), jnp.ones((), jnp.int32))
    end = while_loop(lambda now: now.open, again, start)
    return end.z, end.slope


def _sweep(model: Model, z: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Every coordinate to its minimum, one after the other, and the slope there."""

    def one(j: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        z, slope = carry
        curvature = jnp.where(model.H[j, j] > 0, model.H[j, j], 1)
        new = soft_threshold(curvature * z[j] - slope[j], model.l1_weights[j]) / curvature
        return z.at[j].set(new), slope + (new - z[j]) * model.H[j]

    return jax.lax.fori_loop(0, z.size, one, (z, slope))


def _to_face_minimum(model: Model, z: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A step towards the minimum on z's face, and whether that was reached.

    What would change its sign ends at zero: all of it if the model falls, else the first.
    """
    has_l1 = model.l1_weights > 0
    is_free = (z != 0) | ~has_l1
    gradient = jnp.where(is_free, slope + model.l1_weights * jnp.sign(z), 0)
    step = -_solve_on(is_free, model.H, gradient)
    crosses = has_l1 & is_free & (jnp.sign(z + step) != jnp.sign(z))
    share = jnp.where(crosses, -z / jnp.where(crosses, step, 1), 1)
    first = jnp.min(share)
    clipped = jnp.where(crosses, 0, z + step)
    to_first = jnp.where(crosses & (share <= first), 0, z + first * step)

    def change(end: jax.Array) -> jax.Array:
        step = end - z
        smooth = jnp.vdot(slope + 0.5 * (model.H @ step), step)
        return smooth + jnp.sum(model.l1_weights * (jnp.abs(end) - jnp.abs(z)))

    best = jnp.where(change(clipped) <= change(to_first), clipped, to_first)
    falls = change(best) < 0
    return jnp.where(falls, best, z), ~(falls & jnp.any(crosses))


def _solve_on(is_free: jax.Array, H: jax.Array, right: jax.Array) -> jax.Array:
    """H⁻¹ · right over the free coordinates, with a jitter where H is singular to round-off."""
    identity = jnp.eye(len(H), dtype=H.dtype)
    block = jnp.where(is_free[:, None] & is_free[None, :], H, identity)
    scale = jacobi_scaling(block)
    jitter = len(H) * jnp.finfo(H.dtype).eps
    unit = block * scale[:, None] * scale[None, :] + jitter * identity
    return scale * cho_solve((jnp.linalg.cholesky(unit), True), scale * right)
