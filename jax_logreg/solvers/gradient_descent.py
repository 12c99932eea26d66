"""Gradient descent, the method that both texts end in."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.linear_algebra import Diagonal
from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.solvers.base import Solver, State
from jax_logreg.solvers.line_search import line_search_step

# A backtracking search begins at so many times the step that was accepted before: the step then
# follows the local curvature in both directions.
_GROWTH = 2.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientDescent(Solver):
    r"""Steps along the negative gradient, :math:`\theta \leftarrow \theta - t\,\nabla F(\theta)`.

    The article: "Gradient descent". Without a step size, t = 1/L with L a proved bound
    on the curvature: every step then lowers F, whatever the data.

    Attributes:
        step_size: a fixed t > 0, 1/L if absent; with ``backtracking`` the first trial, 1 if
            absent.
        backtracking: whether to halve each step until F falls enough. Source: Armijo (1966),
            Pacific J. Math. 16.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(4.0).reshape(-1, 1), jnp.array([0, 1, 0, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=GradientDescent(backtracking=True)).converged)
    True
    """

    step_size: ArrayLike | None = None
    backtracking: bool = field(default=False, metadata={"static": True})

    default_max_steps = 10_000

    def __post_init__(self) -> None:
        """Refuse a step that climbs; a traced one cannot be checked."""
        if isinstance(self.step_size, int | float) and not self.step_size > 0:
            raise ValueError(f"step_size must be positive, but it is {self.step_size}.")

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        if self.backtracking:
            return frozenset({"gradient", "line"})
        return frozenset({"gradient"} | ({"curvature_bound"} if self.step_size is None else set()))

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        if self.step_size is not None and jnp.ndim(self.step_size):
            raise ValueError(
                f"step_size must be a scalar, not of shape {jnp.shape(self.step_size)}."
            )
        point = oracle.evaluate(theta)
        if self.step_size is None and not self.backtracking:
            return State(point, jnp.asarray(False), oracle.preconditioner("scalar"))
        step = jnp.asarray(1.0 if self.step_size is None else self.step_size, theta.dtype)
        return State(point, jnp.asarray(False), step if self.backtracking else Diagonal(step))

    def step(self, oracle: Oracle, state: State) -> State:
        point = state.point
        if not self.backtracking:
            theta = point.theta - state.memory.solve(point.gradient)
            return State(oracle.evaluate(theta), jnp.all(theta == point.theta), state.memory)
        moved, found = line_search_step(oracle, point, -point.gradient, state.memory, curvature=1.0)
        next_step = (_GROWTH * found.step).astype(state.memory.dtype)
        return State(moved, ~found.found, next_step)
