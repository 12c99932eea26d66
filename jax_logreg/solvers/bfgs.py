r"""BFGS from the Hessian of a sample of rows: one forward and one backward product a step.

Where rows are many and parameters few, the inverse of a sample's Hessian is near that of all rows,
and a matrix is updated in no time: every pass over X gains about a digit.

Sources: Nocedal & Wright, *Numerical Optimization*, section 6.1, equation 6.17; Byrd, Chin, Neveitt
& Nocedal (2011), SIAM J. Optim. 21, for Hessians of samples.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives.linear_algebra import inner_products, times
from jax_logreg.derivatives.oracle import Oracle, Point
from jax_logreg.solvers.base import (
    NewtonType,
    Proposal,
    State,
    check_count,
    start_with_hessian,
)
from jax_logreg.solvers.line_search import full_step_or_search
from jax_logreg.solvers.newton import count_idle, has_full_rank


class Memory(NamedTuple):
    """What is known of the Hessian.

    Attributes:
        inverse: an estimate, (P, P).
        full_rank: whether its rank is known to be P, here and everywhere.
        idle: consecutive steps without progress.
    """

    inverse: Any
    full_rank: Any
    idle: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BFGS(NewtonType):
    """BFGS from the inverse of a Hessian.

    Attributes:
        sample: rows whose Hessian is inverted, and whose minimum is the start; 0 takes all.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=BFGS()).converged)
    True
    """

    sample: int = field(default=0, metadata={"static": True})

    default_max_steps = 200
    scale_invariant = True

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_count("sample", self.sample, least=0)

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"gradient", "hessian", "line"} | ({"rows"} if self.sample else set()))

    def blank_memory(self, theta: Any) -> Memory:
        inverse = np.zeros((theta.size, theta.size), theta.dtype)
        return Memory(inverse, np.zeros((), bool), np.zeros((), np.int32))

    def proves_full_rank(self, memory: Memory) -> ArrayLike:
        return memory.full_rank

    def prepare(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, Memory]:
        """Newton's answer to the sample, or the start itself, and the inverse Hessian there."""
        theta, hessian, M = start_with_hessian(oracle, theta, self.sample)
        inverse = M.to_matrix()
        # Rows that no combination of columns maps to zero are among all rows as well.
        full_rank = has_full_rank(hessian, inverse)
        return theta, Memory(inverse, full_rank, jnp.zeros((), jnp.int32))

    def propose(self, oracle: Oracle, memory: Memory, before: Point, after: Point) -> Proposal:
        inverse = _updated(memory.inverse, before, after)
        direction = -times(inverse, after.gradient)
        return Proposal(direction, memory._replace(inverse=inverse), jnp.asarray(True))

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        theta, memory = self.prepare(oracle, theta)
        return State(oracle.evaluate(theta), jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        direction = -times(memory.inverse, point.gradient)
        moved, found = full_step_or_search(oracle, point, direction, max_trials=25)
        idle = count_idle(memory.idle, found, point, moved)
        memory = memory._replace(inverse=_updated(memory.inverse, point, moved), idle=idle)
        return State(moved, ~found.found | (idle >= self.max_idle_steps), memory)

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return times(state.memory.inverse, vector)


def _updated(B: jax.Array, before: Point, after: Point) -> jax.Array:
    r"""The inverse that maps the change of the gradient, y, to the step s; B itself where the step
    found no curvature, or there was none.

    .. math::
        B + s a^\top + a s^\top, \qquad
        a = \frac{1}{2}\Bigl(1 + \frac{y^\top By}{s^\top y}\Bigr)\frac{s}{s^\top y}
            - \frac{By}{s^\top y}.
    """
    s, y = after.theta - before.theta, after.gradient - before.gradient
    By = times(B, y)
    (ss, sy, _), (_, yy, yBy), _ = inner_products(s, y, By)
    curved = sy > jnp.finfo(s.dtype).eps * jnp.sqrt(ss) * jnp.sqrt(yy)
    curved &= jnp.isfinite(before.value) & jnp.isfinite(yBy)
    a = jnp.where(curved, (0.5 * (1 + yBy / sy) * s - By) / sy, 0)
    return B + s[:, None] * a + a[:, None] * s
