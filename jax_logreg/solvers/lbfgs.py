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

from jax_logreg.derivatives.linear_algebra import Preconditioner, inner_products, times
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
    r"""The last steps s and the changes y of the gradient over them, in a ring: pair j is number
    j mod memory.

    Attributes:
        vectors: S, and below it :math:`Z = YM^{-1}`, (2 · memory, P).
        inverse: :math:`L^{-1}`, (memory, memory), where :math:`L_{ij} = s_i \cdot y_j` for a pair j
            no older than i, and 0 for others: triangular, if the pairs are in order of age. The
            rows and columns that hold no pair are zero.
        curvatures: D, :math:`s_j \cdot y_j`, (memory,).
        products: :math:`G = YM^{-1}Y^\top`, (memory, memory).
        scale: γ of the preconditioner, so that it fits the newest pair.
        num_added: how many were added since the history was last dropped.
        middle: what they add to :math:`\gamma M^{-1}`, in terms of ``vectors``; see
            :func:`inverse_hessian`.
    """

    vectors: jax.Array
    inverse: jax.Array
    curvatures: jax.Array
    products: jax.Array
    scale: jax.Array
    num_added: jax.Array
    middle: jax.Array


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
        memory = _remember(memory, before, after, jnp.isfinite(before.value))
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
        memory = _remember(memory, point, moved, found.found)._replace(idle=idle)
        stalled = (~found.found & has_no_history) | (idle >= self.max_idle_steps)
        return State(moved, stalled, memory)

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
    r"""An estimate of H⁻¹ · vector, with S, Z, D, G, L and γ of :class:`Pairs`:

    .. math::
        \gamma M^{-1} + \begin{pmatrix} S \\ Z \end{pmatrix}^\top
        \begin{pmatrix} L^{-\top}(D + \gamma G)L^{-1} & -\gamma L^{-\top} \\
        -\gamma L^{-1} & 0 \end{pmatrix}
        \begin{pmatrix} S \\ Z \end{pmatrix}.

    Source: Byrd, Nocedal & Schnabel (1994), equation 2.6.
    """
    pairs = memory.pairs
    shares = times(pairs.middle, times(pairs.vectors, vector))
    return pairs.scale * memory.preconditioner.solve(vector) + times(shares, pairs.vectors)


def _empty_pairs(count: int, theta: jax.Array) -> Pairs:
    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros(shape, theta.dtype)

    square, one = zeros(count, count), jnp.ones((), theta.dtype)
    vectors, middle = zeros(2 * count, theta.size), zeros(2 * count, 2 * count)
    return Pairs(vectors, square, zeros(count), square, one, jnp.zeros((), jnp.int32), middle)


def _remember(memory: Memory, before: Point, after: Point, found: jax.Array) -> Memory:
    """The memory with the newest pair added, or without any if no step was found."""
    pairs, count = memory.pairs, len(memory.pairs.curvatures)
    i = (pairs.num_added % count).astype(jnp.uint32)  # JAX tests an index that may be negative
    is_new = jnp.arange(count) == i
    s, y = after.theta - before.theta, after.gradient - before.gradient
    # Write two rows, not the table: writing that takes as long as many passes over sparse X.
    put = jax.lax.dynamic_update_index_in_dim
    vectors = put(pairs.vectors, s, i, 0)
    vectors = put(vectors, memory.preconditioner.solve(y), count + i, 0)
    (ss, curvature), (_, yy) = inner_products(s, y)
    curved = found & (curvature > jnp.finfo(ss.dtype).eps * jnp.sqrt(ss) * jnp.sqrt(yy))
    with_steps, with_changes = jnp.split(times(vectors, y), 2)
    inverse = _with_newest(pairs.inverse, is_new, with_steps, jnp.where(curved, curvature, jnp.inf))
    inverse = jnp.where(found, inverse, 0)
    curvatures = jnp.where(is_new, curvature, pairs.curvatures)
    G = jnp.where(is_new[:, None], with_changes, pairs.products)
    G = jnp.where(is_new, with_changes[:, None], G)
    fit = curvature / jnp.sum(jnp.where(is_new, with_changes, 0))
    scale = jnp.where(curved & jnp.isfinite(fit), fit, pairs.scale)
    num_added = jnp.where(found, pairs.num_added + curved, 0)
    middle = _middle(inverse, curvatures, G, scale)
    return memory._replace(pairs=Pairs(vectors, inverse, curvatures, G, scale, num_added, middle))


def _middle(inverse: jax.Array, curvatures: jax.Array, G: jax.Array, scale: jax.Array) -> jax.Array:
    corner = times(inverse.T, times(scale * G + jnp.diag(curvatures), inverse))
    beside = -scale * inverse
    return jnp.block([[corner, beside.T], [beside, jnp.zeros_like(corner)]])


def _with_newest(
    inverse: jax.Array, is_new: jax.Array, products: jax.Array, curvature: jax.Array
) -> jax.Array:
    r"""The inverse of L once its oldest pair has given way to the newest.

    A triangular matrix without its first row and column has an inverse without them, and

    .. math::
        \begin{pmatrix} L & c \\ 0 & d \end{pmatrix}^{-1} =
        \begin{pmatrix} L^{-1} & -L^{-1}c/d \\ 0 & 1/d \end{pmatrix}.

    Args:
        inverse: as it was, (memory, memory).
        is_new: True in the row of the newest, (memory,).
        products: of all steps with the new change, c, (memory,).
        curvature: of the new pair, d; infinite where it is no pair.
    """
    kept = jnp.where(is_new[:, None] | is_new, 0, inverse)
    column = jnp.where(is_new, 1, -times(kept, products)) / curvature
    return jnp.where(is_new, column[:, None], kept)
