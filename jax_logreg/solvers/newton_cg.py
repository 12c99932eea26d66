r"""Newton's method without a Hessian: its system is solved by conjugate gradients.

Source: Nocedal & Wright, *Numerical Optimization*, section 7.1 (inexact Newton) and
algorithm 5.3 (preconditioned conjugate gradients).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Curved, Oracle
from jax_logreg.derivatives.preconditioners import Preconditioner
from jax_logreg.solvers.base import State
from jax_logreg.solvers.newton import Product, newton_move
from jax_logreg.solvers.preconditioned import Preconditioned

# The system is solved to this share of the gradient at most, and to the square root of
# how far the gradient has come down: superlinear in the end, cheap in the beginning.
_LOOSEST = 0.3
_CG_STEPS = 250


class Memory(NamedTuple):
    """The preconditioner, the first gradient's size, and moves in a row for nothing."""

    preconditioner: Preconditioner
    first: jax.Array
    idle: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NewtonCG(Preconditioned):
    """Newton's method by Hessian–vector products, preconditioned.

    Attributes:
        preconditioner: "diagonal", "gram", "hessian" or "none"; see ``Preconditioned``.
        sample: rows that the preconditioner is made from; 0 takes all.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=NewtonCG("gram")).converged)
    True
    """

    default_max_steps = 200

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return super().needs | {"hvp"}

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        theta, preconditioner = self.begin(oracle, theta)
        point = oracle.at(theta)
        first = _size(preconditioner.solve, point.gradient)
        memory = Memory(preconditioner, first, jnp.zeros((), jnp.int32))
        return State(point, jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        divide = memory.preconditioner.solve
        left = jnp.sqrt(_size(divide, point.gradient) / memory.first)
        direction = conjugate_gradients(
            oracle.products_at(point), -point.gradient, divide, jnp.minimum(left, _LOOSEST)
        )
        moved = newton_move(oracle, state._replace(memory=memory.idle), direction)
        return moved._replace(memory=memory._replace(idle=moved.memory))

    def divide_by_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return state.memory.preconditioner.solve(vector)


def _size(divide: Product, gradient: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.vdot(gradient, divide(gradient)))


class Progress(NamedTuple):
    """Where conjugate gradients are.

    Attributes:
        solution: so far.
        residual: what is left of the right-hand side.
        direction: the next.
        size: of the residual, squared, in the norm of M⁻¹.
        reach: how far the solution moves a logit at most; infinite where a direction had no
            curvature.
        steps: taken so far.
    """

    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    size: jax.Array
    reach: jax.Array
    steps: jax.Array


def conjugate_gradients(
    product: Product, right: jax.Array, divide: Product, tol: jax.Array | float
) -> jax.Array:
    r"""An x with Hx nearly ``right``, H positive semi-definite.

    Unlike ``jax.scipy.sparse.linalg.cg`` it stops on the residual in the norm of
    :math:`M^{-1}`, in which the units of the columns do not count, and where H has no
    curvature along its direction.

    Args:
        product: v ↦ Hv.
        right: (P,).
        divide: v ↦ M⁻¹v, M positive definite.
        tol: what may be left of the residual, as a share.

    >>> H = jnp.array([[2.0, 0.0], [0.0, 8.0]])
    >>> conjugate_gradients(lambda v: H @ v, jnp.ones(2), lambda v: v, 1e-6).tolist()
    [0.5, 0.125]
    """
    start = begin(right, divide(right))

    def curve(direction: jax.Array) -> Curved:
        return Curved(direction, product(direction), jnp.zeros_like(start.reach))

    end = follow(curve, start, divide, tol**2 * start.size)
    # No curvature at the very first direction: it is still downhill.
    return jnp.where(jnp.any(end.solution != 0), end.solution, start.direction)


def begin(right: jax.Array, direction: jax.Array) -> Progress:
    """Before the first step, along M⁻¹ · right."""
    size, steps = jnp.vdot(right, direction), jnp.zeros((), jnp.int32)
    return Progress(jnp.zeros_like(right), right, direction, size, jnp.zeros_like(size), steps)


def after(now: Progress, curved: Curved, divide: Product) -> Progress:
    """After a step along the next direction, whose product is given."""
    direction, product = now.direction, curved.product
    curvature = jnp.vdot(direction, product)
    flat = ~((curvature > 0) & (now.size > 0))
    curvature = jnp.where(flat, 1, curvature)
    share = jnp.where(flat, 0, now.size / curvature)
    residual = now.residual - share * product
    scaled = divide(residual)
    return Progress(
        now.solution + share * direction,
        residual,
        scaled - jnp.vdot(scaled, product) / curvature * direction,
        jnp.where(flat, 0, jnp.vdot(residual, scaled)),
        now.reach + jnp.where(flat, jnp.inf, share * curved.reach),
        now.steps + 1,
    )


def follow(
    curve: Callable[[jax.Array], Curved],
    begun: Progress,
    divide: Product,
    least: jax.Array,
    steps: int = _CG_STEPS,
) -> Progress:
    """On until the residual's size is ``least`` or so many steps have been taken."""

    def unfinished(now: Progress) -> jax.Array:
        return (now.size > least) & (now.steps < steps)

    def step(now: Progress) -> Progress:
        return after(now, curve(now.direction), divide)

    return jax.lax.while_loop(unfinished, step, begun)
