r"""Newton's method without a Hessian: its system is solved by conjugate gradients.

Source: Nocedal & Wright, *Numerical Optimization*, section 7.1 (inexact Newton) and
algorithm 5.3 (preconditioned conjugate gradients).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.linear_algebra import Preconditioner
from jax_logreg.derivatives.oracle import HessianProduct, Oracle, Point
from jax_logreg.solvers.base import PreconditionedSolver, State, while_loop
from jax_logreg.solvers.newton import Product, newton_step

# The system is solved to this share of the gradient at most, and to the square root of
# how far the gradient has come down: superlinear in the end, cheap in the beginning.
_LOOSEST = 0.3
_CG_STEPS = 250
# Relative residual of a direction that shows whether a minimum exists, and of one that only
# estimates how near it is, where a penalty guarantees it.
DIRECTION_RESIDUAL = 0.1
_LOOSE_RESIDUAL = 0.3


class Memory(NamedTuple):
    """The preconditioner, the first gradient's norm, and consecutive steps without progress."""

    preconditioner: Preconditioner
    first: jax.Array
    idle: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NewtonCG(PreconditionedSolver):
    """Newton's method by Hessian–vector products, preconditioned.

    Attributes:
        preconditioner: "diagonal", "gram", "hessian" or "none"; see
            ``PreconditionedSolver``.
        sample: rows that the preconditioner is computed from; 0 takes all.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=NewtonCG("gram")).converged)
    True
    """

    default_max_steps = 200
    scale_invariant = True

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return super().requires | {"hvp"}

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        theta, preconditioner = self.precondition(oracle, theta)
        point = oracle.evaluate(theta)
        first = _norm(preconditioner.solve, point.gradient)
        memory = Memory(preconditioner, first, jnp.zeros((), jnp.int32))
        return State(point, jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        solve, apply = memory.preconditioner.solve, oracle.hessian_operator(point)
        tol = jnp.minimum(jnp.sqrt(_norm(solve, point.gradient) / memory.first), _LOOSEST)
        direction = conjugate_gradients(
            lambda vector: apply(vector).product, -point.gradient, solve, tol
        )
        moved = newton_step(oracle, state._replace(memory=memory.idle), direction)
        return moved._replace(memory=memory._replace(idle=moved.memory))

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return state.memory.preconditioner.solve(vector)


def _norm(solve: Product, gradient: jax.Array) -> jax.Array:
    """Of the gradient, in the metric of M⁻¹."""
    return jnp.sqrt(jnp.vdot(gradient, solve(gradient)))


class CGState(NamedTuple):
    """The state of conjugate gradients.

    Attributes:
        solution: so far.
        residual: of the system.
        direction: the next.
        norm_squared: of the residual, in the metric of M⁻¹.
        max_logit_change: a bound on the largest change of a logit over the solution; infinite
            if a direction had no curvature.
        steps: taken so far.
    """

    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    norm_squared: jax.Array
    max_logit_change: jax.Array
    steps: jax.Array


def conjugate_gradients(
    product: Product, right: jax.Array, solve: Product, tol: jax.Array | float
) -> jax.Array:
    r"""An x with Hx nearly ``right``, H positive semi-definite.

    Unlike ``jax.scipy.sparse.linalg.cg`` it stops on the residual in the norm of
    :math:`M^{-1}`, which the units of the columns do not influence, and where H has no
    curvature along its direction.

    Args:
        product: v ↦ Hv.
        right: (P,).
        solve: v ↦ M⁻¹v, M positive definite.
        tol: residual at which to stop, relative to the right-hand side.

    >>> H = jnp.array([[2.0, 0.0], [0.0, 8.0]])
    >>> conjugate_gradients(lambda v: H @ v, jnp.ones(2), lambda v: v, 1e-6).tolist()
    [0.5, 0.125]
    """
    start = cg_init(right, solve(right))

    def apply(direction: jax.Array) -> HessianProduct:
        return HessianProduct(direction, product(direction), jnp.zeros_like(start.norm_squared))

    end = cg_run(apply, start, solve, tol**2 * start.norm_squared)
    # No curvature at the very first direction: it is still downhill.
    return jnp.where(jnp.any(end.solution != 0), end.solution, start.direction)


def direction_residual(oracle: Oracle) -> jax.Array:
    """The relative residual of a direction that certifies the end of a fit."""
    may_not_exist = oracle.problem.minimum_may_not_exist()
    return jnp.where(may_not_exist, DIRECTION_RESIDUAL, _LOOSE_RESIDUAL)


def direction_by_products(oracle: Oracle, point: Point, solve: Product) -> jax.Array:
    """Newton's direction at a point, (P,), for a certificate.

    Args:
        oracle: the function, which must offer "hvp".
        point: where.
        solve: v ↦ M⁻¹v, the preconditioner.
    """
    apply = oracle.hessian_operator(point)
    tol = direction_residual(oracle)
    return conjugate_gradients(lambda v: apply(v).product, -point.gradient, solve, tol)


def cg_init(right: jax.Array, direction: jax.Array) -> CGState:
    """Before the first step, along M⁻¹ · right."""
    size, steps = jnp.vdot(right, direction), jnp.zeros((), jnp.int32)
    return CGState(jnp.zeros_like(right), right, direction, size, jnp.zeros_like(size), steps)


def cg_step(now: CGState, hvp: HessianProduct, solve: Product) -> CGState:
    """After a step along the current direction, whose product is given."""
    direction, product = now.direction, hvp.product
    curvature = jnp.vdot(direction, product)
    is_flat = ~((curvature > 0) & (now.norm_squared > 0))
    curvature = jnp.where(is_flat, 1, curvature)
    share = jnp.where(is_flat, 0, now.norm_squared / curvature)
    residual = now.residual - share * product
    scaled = solve(residual)
    return CGState(
        now.solution + share * direction,
        residual,
        scaled - jnp.vdot(scaled, product) / curvature * direction,
        jnp.where(is_flat, 0, jnp.vdot(residual, scaled)),
        now.max_logit_change + jnp.where(is_flat, jnp.inf, share * hvp.max_logit_change),
        now.steps + 1,
    )


def cg_run(
    apply: Callable[[jax.Array], HessianProduct],
    start: CGState,
    solve: Product,
    tol_squared: jax.Array,
    max_steps: int = _CG_STEPS,
) -> CGState:
    """Steps until the residual's squared norm is ``tol_squared``, at most ``max_steps``."""

    def unfinished(now: CGState) -> jax.Array:
        return (now.norm_squared > tol_squared) & (now.steps < max_steps)

    def step(now: CGState) -> CGState:
        return cg_step(now, apply(now.direction), solve)

    return while_loop(unfinished, step, start)
