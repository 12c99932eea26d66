"""Gradient descent, the method both texts end in."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.solvers.base import Solver, State
from jax_logreg.solvers.line_search import move


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientDescent(Solver):
    r"""Steps along the negative gradient, :math:`\theta \leftarrow \theta - t\,\nabla F(\theta)`.

    The article: "Gradient descent". Without a step size, t = 1/L with L a proved bound
    on the curvature: every step then lowers F, whatever the data.

    Attributes:
        step_size: a fixed t > 0; 1/L if absent.
    """

    step_size: ArrayLike | None = None

    default_max_steps = 10_000

    def __post_init__(self) -> None:
        """Refuse a step that climbs; a traced one cannot be looked at."""
        if isinstance(self.step_size, int | float) and not self.step_size > 0:
            raise ValueError(f"step_size must be positive, but it is {self.step_size}.")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        safe = {"curvature_bound"} if self.step_size is None else set()
        return frozenset({"gradient"} | safe)

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        step = 1 / oracle.curvature_bound() if self.step_size is None else self.step_size
        return State(oracle.at(theta), jnp.asarray(False), jnp.asarray(step, theta.dtype))

    def step(self, oracle: Oracle, state: State) -> State:
        point, step = state.point, state.memory
        theta = point.theta - step * point.gradient
        return State(oracle.at(theta), jnp.all(theta == point.theta), step)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BacktrackingGradientDescent(Solver):
    """Gradient descent that tries a step and halves it until F falls enough.

    Each search begins at ``growth`` times the step that was accepted before, so the
    step follows the local curvature in both directions. Source: Armijo (1966), Pacific
    J. Math. 16.

    Attributes:
        first_step: the very first trial.
        growth: ≥ 1.
        max_trials: halvings a step at most.
    """

    first_step: ArrayLike = 1.0
    growth: ArrayLike = 2.0
    max_trials: int = field(default=60, metadata={"static": True})

    needs = frozenset({"gradient", "along"})
    default_max_steps = 10_000

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        first = jnp.asarray(self.first_step, theta.dtype)
        return State(oracle.at(theta), jnp.asarray(False), first)

    def step(self, oracle: Oracle, state: State) -> State:
        point, first_step = state.point, state.memory
        moved, found = move(
            oracle, point, -point.gradient, first_step, curvature=1.0, max_trials=self.max_trials
        )
        following = (self.growth * found.step).astype(first_step.dtype)
        return State(moved, ~found.found, following)
