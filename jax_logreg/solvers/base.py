"""The contract of a solver: what it needs, how it starts, and one step.

A solver is a frozen dataclass registered as a pytree: its numbers are leaves, so a
new step size does not recompile and ``jax.vmap`` runs over settings. The loop, the
stopping rule and the result belong to ``fitting``.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.oracle import Oracle, Point

T = TypeVar("T")


class State(NamedTuple):
    """What is carried from step to step.

    Attributes:
        point: the current iterate with its value and gradient, always of the whole
            objective: the loop stops on nothing less.
        stalled: True when the method can make no further progress from here.
        memory: whatever else the method remembers, any pytree.
    """

    point: Point
    stalled: jax.Array
    memory: Any = ()


def steeper_than(left: ArrayLike) -> Callable[[State], jax.Array]:
    """Whether some entry of the gradient is larger."""
    return lambda state: jnp.max(jnp.abs(state.point.gradient)) > left


class Solver:
    """A method of minimisation, told by the questions it puts to an oracle.

    Attributes:
        needs: what the oracle must offer; the loop refuses to start without it.
        default_max_steps: the limit when the caller names none.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})
    default_max_steps: ClassVar[int] = 1000

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        """The state at the starting parameters."""
        raise NotImplementedError

    def step(self, oracle: Oracle, state: State) -> State:
        """The next state; traced once, run many times."""
        raise NotImplementedError

    def run_roughly(
        self, oracle: Oracle, state: State, is_open: Callable[[State], jax.Array], steps: int
    ) -> State:
        """Where some steps lead; fewer where the question is no longer open before."""

        def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
            state, taken = carry
            return is_open(state) & (taken < steps) & ~state.stalled

        def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            return self.step(oracle, carry[0]), carry[1] + 1

        start = state, jnp.zeros((), jnp.int32)
        return jax.lax.while_loop(unfinished, step, start)[0]

    def divide_by_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        """What is known here of H⁻¹ · vector, positive definite: by default the diagonal."""
        if "preconditioner" not in oracle.offers:
            return vector
        return oracle.preconditioner("diagonal").solve(vector)


def unless(done: ArrayLike, value: T, make: Callable[[], T]) -> T:
    """``value`` where that is done with, else what ``make`` makes, of the same types.

    As a loop of one turn at most: XLA copies whatever comes out of a ``cond``, and what
    comes here may be as long as the data.

    >>> [unless(done, 1.0, lambda: 2.0).item() for done in (True, False)]
    [1.0, 2.0]
    """

    def settle(leaf: ArrayLike, like: ArrayLike) -> jax.Array:
        return jnp.asarray(leaf, jnp.asarray(like).dtype)

    def turn(_: tuple[T, jax.Array]) -> tuple[T, jax.Array]:
        return jax.tree.map(settle, make(), value), jnp.asarray(True)

    start = jax.tree.map(settle, value, value), jnp.asarray(done)
    return jax.lax.while_loop(lambda made: ~made[1], turn, start)[0]
