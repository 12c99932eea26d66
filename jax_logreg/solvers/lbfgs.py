r"""L-BFGS with a preconditioner: one forward and one backward product a step.

Sources: Nocedal & Wright, *Numerical Optimization*, section 7.2, started from
:math:`M^{-1}` in place of a multiple of the identity; Byrd, Nocedal & Schnabel (1994), Math.
Program. 63, for the recursion as products of matrices. The line search nearly finds the
minimum along the line: for a generalised linear model a trial costs O(n), so the passes over X
are what is worth saving.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.linear_algebra import Preconditioner, times
from jax_logreg.derivatives.oracle import Oracle, Point, cast
from jax_logreg.solvers.base import (
    NewtonType,
    PreconditionedSolver,
    Proposal,
    State,
    check_count,
)
from jax_logreg.solvers.line_search import full_step_or_search, line_search_step
from jax_logreg.solvers.newton import count_idle

# The slope at which a search ends, as a fraction of the first.
_SLOPE_FRACTION = 0.2
_MAX_TRIALS = 25
# Round-off of an entry of the gradient, in units of the last digit of its terms.
_ROUNDING_UNITS = 4


class Pairs(NamedTuple):
    r"""The last steps and the changes of the gradient over them, in a ring.

    Attributes:
        steps: S, (memory, P); pair j is in row j mod memory.
        changes: Y, of the same shape.
        curvatures: D, step · change of every pair, (memory,).
        inverse: :math:`L^{-1}`, (memory, memory), where :math:`L_{ij} = s_i \cdot y_j` for a pair j
            no older than i, and 0 for others: triangular, if the pairs are in order of age.
        scale: of the preconditioner, so that it fits the newest pair.
        num_added: how many were added since the history was last dropped.
    """

    steps: jax.Array
    changes: jax.Array
    curvatures: jax.Array
    inverse: jax.Array
    scale: jax.Array
    num_added: jax.Array


class Memory(NamedTuple):
    """The pairs, the preconditioner, and consecutive steps without progress."""

    pairs: Pairs
    preconditioner: Preconditioner
    idle: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LBFGS(PreconditionedSolver, NewtonType):
    """L-BFGS with a preconditioner.

    Attributes:
        preconditioner: "diagonal", "gram", "hessian" or "none"; see
            ``PreconditionedSolver``.
        sample: rows that the preconditioner is computed from; 0 takes all.
        memory: how many steps are remembered.
        float32_steps: in float64, first take up to so many steps on a float32 copy of the
            data, as long as its gradient is above round-off: at half the cost, with half the
            memory of X more. Their pairs are kept, and float64 goes on from there.
        search: whether to search along the line. Without it the full step is taken, or a shorter
            one where that is too long: the program is half as large, and certifies itself.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=LBFGS("gram")).converged)
    True
    """

    memory: int = field(default=20, metadata={"static": True})
    float32_steps: int = field(default=0, metadata={"static": True})
    search: bool = field(default=True, repr=False, metadata={"static": True})

    default_max_steps = 1_000

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        super().__post_init__()
        check_count("memory", self.memory, least=1)
        check_count("float32_steps", self.float32_steps, least=0)
        if self.float32_steps and not self.search:
            raise ValueError(
                "search must be True with float32_steps: only the loop that searches has a phase "
                f"in float32, but float32_steps is {self.float32_steps}."
            )

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        return super().requires | ({"float32"} if self.float32_steps else set())

    @property
    def is_regular(self) -> bool:  # type: ignore[override]
        return not self.search

    def prepare(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, Memory]:
        theta, preconditioner = self.precondition(oracle, theta)
        pairs = _empty_pairs(self.memory, theta)
        return theta, Memory(pairs, preconditioner, jnp.zeros((), jnp.int32))

    def propose(self, oracle: Oracle, memory: Memory, before: Point, after: Point) -> Proposal:
        moved = jnp.isfinite(before.value)
        memory = memory._replace(pairs=_remember(memory, before, after, moved))
        direction = -inverse_hessian(memory, after.gradient)
        return Proposal(direction, memory, jnp.asarray(True))

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        theta, memory = self.prepare(oracle, theta)
        if self.float32_steps and theta.dtype != jnp.float32:
            theta, memory = self._float32_phase(oracle, theta, memory)
        return State(oracle.evaluate(theta), jnp.asarray(False), memory)

    def _float32_phase(
        self, oracle: Oracle, theta: jax.Array, memory: Memory
    ) -> tuple[jax.Array, Memory]:
        """The end of a run in float32, and its pairs; the start if that is not finite."""
        narrow, start = oracle.as_float32(), cast((theta, memory), jnp.float32)
        state = State(narrow.evaluate(start[0]), jnp.asarray(False), start[1])
        end = self.run_until(narrow, state, _above_float32_rounding, self.float32_steps)
        result = cast((end.point.theta, end.memory), theta.dtype)
        numbers = jax.tree.leaves((end.point.value, result))
        is_finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in numbers]))
        theta, memory = jax.tree.map(
            lambda a, b: jnp.where(is_finite, a, b), result, (theta, memory)
        )
        return theta, memory._replace(idle=jnp.zeros_like(memory.idle))

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        direction = -inverse_hessian(memory, point.gradient)
        # Preconditioned by a Hessian, a full step is nearly always accepted.
        search = full_step_or_search if self.preconditioner == "hessian" else line_search_step
        moved, found = search(
            oracle, point, direction,
            curvature=_SLOPE_FRACTION, overshoot=_SLOPE_FRACTION, max_trials=_MAX_TRIALS,
        )  # fmt: skip
        idle = count_idle(memory.idle, found, point, moved)
        # If the search fails, drop the history and retry.
        has_no_history = memory.pairs.num_added == 0
        pairs = _remember(memory, point, moved, found.found)
        stalled = (~found.found & has_no_history) | (idle >= self.max_idle_steps)
        return State(moved, stalled, Memory(pairs, memory.preconditioner, idle))

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return inverse_hessian(state.memory, vector)


def _above_float32_rounding(state: State) -> jax.Array:
    r"""Whether the gradient is above its round-off.

    An entry is a mean of :math:`r_i x_{ij}`, so that its rounding is some units of
    :math:`\sqrt{\sum_i w_i x_{ij}^2}`, and that is twice the root of the bound on its
    curvature: in the norm of M⁻¹ every entry counts alike, whatever its units.
    """
    gradient = state.point.gradient
    size = jnp.vdot(gradient, state.memory.preconditioner.solve(gradient))
    return size > gradient.size * (_ROUNDING_UNITS * jnp.finfo(gradient.dtype).eps) ** 2


def inverse_hessian(memory: Memory, vector: jax.Array) -> jax.Array:
    r"""An estimate of H⁻¹ · vector.

    With S, Y, D and L of :class:`Pairs` and :math:`q = v - Y^\top a`:

    .. math::
        a = L^{-1}Sv, \qquad r = \gamma M^{-1}q, \qquad
        H^{-1}v \approx r + S^\top L^{-\top}(Da - Yr),

    which is the two-loop recursion, each loop written as the triangular system that it solves.
    Rows that hold no pair add nothing: those of :math:`L^{-1}` and D are zero.
    """
    pairs = memory.pairs
    first = times(pairs.inverse, times(pairs.steps, vector))
    rest = vector - times(first, pairs.changes)
    solved = pairs.scale * memory.preconditioner.solve(rest)
    right = pairs.curvatures * first - times(pairs.changes, solved)
    return solved + times(times(right, pairs.inverse), pairs.steps)


def _empty_pairs(count: int, theta: jax.Array) -> Pairs:
    table, row = jnp.zeros((count, theta.size), theta.dtype), jnp.zeros(count, theta.dtype)
    one, none = jnp.ones((), theta.dtype), jnp.zeros((), jnp.int32)
    return Pairs(table, table, row, jnp.zeros((count, count), theta.dtype), one, none)


def _remember(memory: Memory, before: Point, after: Point, found: jax.Array) -> Pairs:
    """The pairs with the newest one added; none at all if no step was found."""
    pairs = memory.pairs
    step, change = after.theta - before.theta, after.gradient - before.gradient
    curvature = jnp.vdot(step, change)
    eps = jnp.finfo(step.dtype).eps
    curved = found & (curvature > eps * jnp.linalg.norm(step) * jnp.linalg.norm(change))
    fit = curvature / jnp.vdot(change, memory.preconditioner.solve(change))
    i = pairs.num_added % len(pairs.steps)

    def put(table: jax.Array, row: jax.Array) -> jax.Array:
        # Write one row, not the table: writing that takes as long as many passes over sparse X.
        return table.at[i].set(jnp.where(curved, row, table[i]))

    curvatures = put(pairs.curvatures, curvature)
    inverse = _with_newest(pairs.inverse, i, times(pairs.steps, change), curvature)
    return Pairs(
        put(pairs.steps, step),
        put(pairs.changes, change),
        jnp.where(found, curvatures, 0),
        jnp.where(found, jnp.where(curved, inverse, pairs.inverse), 0),
        jnp.where(curved & jnp.isfinite(fit), fit, pairs.scale),
        jnp.where(found, pairs.num_added + curved, 0),
    )


def _with_newest(
    inverse: jax.Array, i: jax.Array, products: jax.Array, curvature: jax.Array
) -> jax.Array:
    r"""The inverse of L once its oldest pair, in row i, has given way to the newest.

    A triangular matrix without its last row and column has an inverse without them, and

    .. math::
        \begin{pmatrix} L & c \\ 0 & d \end{pmatrix}^{-1} =
        \begin{pmatrix} L^{-1} & -L^{-1}c/d \\ 0 & 1/d \end{pmatrix}.

    Args:
        inverse: as it was, (memory, memory).
        i: the row.
        products: of all steps with the new change, c, (memory,).
        curvature: of the new pair, d.
    """
    is_new = jnp.arange(len(inverse)) == i
    kept = jnp.where(is_new[:, None] | is_new, 0, inverse)
    column = jnp.where(is_new, 1, -times(kept, products)) / curvature
    return jnp.where(is_new, column[:, None], kept)
