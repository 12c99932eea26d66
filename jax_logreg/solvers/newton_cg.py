r"""Newton's method without a Hessian: its system is solved by conjugate gradients.

Source: Nocedal & Wright, *Numerical Optimization*, section 7.1 (inexact Newton).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jax_logreg.derivatives.linear_algebra import Preconditioner
from jax_logreg.derivatives.oracle import Oracle, Point, cast
from jax_logreg.solvers.base import PreconditionedSolver, State
from jax_logreg.solvers.newton import CGState, Product, conjugate_gradients, newton_step

# The system is solved to the square root of how far the gradient has come down, between these
# shares of it: loosely in the beginning, and never to digits that the next step makes anew.
_LOOSEST, _TIGHTEST = 0.1, 0.03
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
        preconditioner: "diagonal" (of the Hessian at every point), or "gram", "hessian" and
            "none" as in ``PreconditionedSolver``.
        sample: rows that "gram" or "hessian" is computed from; 0 takes all.
        float32: in float64, solve each system on a float32 copy of the data: a direction needs
            two digits, at half the cost, with half the memory of X more.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=NewtonCG("gram")).converged)
    True
    """

    float32: bool = field(default=False, metadata={"static": True})

    default_max_steps = 200
    scale_invariant = True

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return super().requires | {"hvp"} | ({"float32"} if self.float32 else set())

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        if self.preconditioner == "diagonal":
            point = oracle.evaluate(theta)
            preconditioner = self._diagonal(oracle, point)
        else:
            theta, preconditioner = self.precondition(oracle, theta)
            point = oracle.evaluate(theta)
        first = _norm(preconditioner.solve, point.gradient)
        memory = Memory(preconditioner, first, jnp.zeros((), jnp.int32))
        return State(point, jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        share = jnp.sqrt(_norm(memory.preconditioner.solve, point.gradient) / memory.first)
        tol = jnp.clip(share, _TIGHTEST, _LOOSEST)
        direction = self._direction(oracle, point, memory.preconditioner, tol)
        moved = newton_step(oracle, state._replace(memory=memory.idle), direction)
        memory = memory._replace(idle=moved.memory)
        if self.preconditioner == "diagonal":
            memory = memory._replace(preconditioner=self._diagonal(oracle, moved.point))
        return moved._replace(memory=memory)

    def _narrow(self, oracle: Oracle, point: Point) -> tuple[Oracle, Point]:
        """What the systems are made of."""
        return (oracle.as_float32(), cast(point, jnp.float32)) if self.float32 else (oracle, point)

    def _diagonal(self, oracle: Oracle, point: Point) -> Preconditioner:
        oracle, point = self._narrow(oracle, point)
        return oracle.preconditioner("diagonal", point)

    def _direction(
        self, oracle: Oracle, point: Point, preconditioner: Preconditioner, tol: jax.Array
    ) -> jax.Array:
        """Newton's direction, (P,). The gradient is made of unit size: float32 has no squares of
        small numbers."""
        size = jnp.max(jnp.abs(point.gradient))
        right = -point.gradient / jnp.where(size > 0, size, 1)
        oracle, narrow = self._narrow(oracle, point)
        right, preconditioner, tol = cast((right, preconditioner, tol), narrow.theta.dtype)
        apply = oracle.hessian_operator(narrow)
        step = conjugate_gradients(lambda v: apply(v).product, right, preconditioner.solve, tol)
        return size * step.astype(size.dtype)

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return state.memory.preconditioner.solve(vector)


def _norm(solve: Product, gradient: jax.Array) -> jax.Array:
    """Of the gradient, in the metric of M⁻¹."""
    return jnp.sqrt(jnp.vdot(gradient, solve(gradient)))


def direction_residual(oracle: Oracle, dtype: DTypeLike) -> jax.Array:
    """The relative residual of a direction that certifies the end of a fit, in a dtype."""
    strict, loose = jnp.asarray([DIRECTION_RESIDUAL, _LOOSE_RESIDUAL], dtype)
    return jnp.where(oracle.problem.minimum_may_not_exist(), strict, loose)


def direction_by_products(
    oracle: Oracle,
    point: Point,
    solve: Product,
    residual: jax.Array,
    start: CGState | None = None,
) -> jax.Array:
    """Newton's direction at a point, (P,), for a certificate.

    Args:
        oracle: the function, which must offer "hvp".
        point: where.
        solve: v ↦ M⁻¹v, the preconditioner.
        residual: as from :func:`direction_residual`.
        start: from :func:`~jax_logreg.solvers.newton.cg_init`, where −M⁻¹g is known.
    """
    apply = oracle.hessian_operator(point)
    return conjugate_gradients(lambda v: apply(v).product, -point.gradient, solve, residual, start)
