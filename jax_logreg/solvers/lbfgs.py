r"""L-BFGS over a preconditioner: one forward and one backward product a step.

Sources: Nocedal & Wright, *Numerical Optimization*, section 7.2, started from
:math:`M^{-1}` in place of a multiple of the identity; Byrd, Nocedal & Schnabel (1994), Math.
Program. 63, for the recursion as products of matrices. The line search nearly finds the
lowest point of the line: along a line of a generalised linear model a trial costs O(n), so the
passes over X are what is worth saving.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jax_logreg.derivatives.oracle import Oracle, Point, cast
from jax_logreg.derivatives.preconditioners import Preconditioner
from jax_logreg.solvers.base import State
from jax_logreg.solvers.line_search import leap, move
from jax_logreg.solvers.newton import count_idle
from jax_logreg.solvers.preconditioned import Preconditioned, check_count

# Near the optimum F is level, and a quasi-Newton step may leave most of the gradient.
_IDLE_MOVES = 10
# How far a search may end from the lowest point of the line, in shares of the first slope.
_SLOPE_LEFT = 0.2
_TRIALS = 25
# Round-off of an entry of the gradient, in units of the last digit of its terms.
_ROUNDING_UNITS = 4

_times = partial(jnp.matmul, precision="highest")


class Pairs(NamedTuple):
    """The last steps and the changes of the gradient over them, in a ring.

    Attributes:
        steps: (memory, P).
        changes: (memory, P).
        products: step · change of every step with its own change and with all after it,
            (memory, memory).
        scale: of the preconditioner, so that it fits the newest pair.
        met: how many there were since the last were forgotten; pair j is in place
            j mod memory.
    """

    steps: jax.Array
    changes: jax.Array
    products: jax.Array
    scale: jax.Array
    met: jax.Array

    def by_age(self) -> tuple[jax.Array, jax.Array]:
        """Where each pair is, the newest first, and which of these places are filled."""
        ages = jnp.arange(len(self.steps))
        return (self.met - 1 - ages) % len(self.steps), ages < self.met


class Memory(NamedTuple):
    """What L-BFGS carries: its pairs, the preconditioner, and moves in a row for nothing."""

    pairs: Pairs
    preconditioner: Preconditioner
    idle: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LBFGS(Preconditioned):
    """L-BFGS with a preconditioner.

    Attributes:
        preconditioner: "diagonal", "gram", "hessian" or "none"; see ``Preconditioned``.
        sample: rows that the preconditioner is made from; 0 takes all.
        memory: how many steps are remembered.
        lead: in float64, take so many steps at most on a copy of the data in float32
            first, as far as that can see: at half the cost, and half the memory of X more.
            Their pairs are kept, and float64 goes on from there.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(8.0).reshape(-1, 1), jnp.array([0, 0, 1, 0, 1, 0, 1, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=LBFGS("gram")).converged)
    True
    """

    memory: int = field(default=20, metadata={"static": True})
    lead: int = field(default=0, metadata={"static": True})

    default_max_steps = 1_000

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        super().__post_init__()
        check_count("memory", self.memory, least=1)
        check_count("lead", self.lead, least=0)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return super().needs | ({"rounded"} if self.lead else set())

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        theta, preconditioner = self.begin(oracle, theta)
        memory = Memory(_no_pairs(self.memory, theta), preconditioner, jnp.zeros((), jnp.int32))
        if self.lead and theta.dtype != jnp.float32:
            theta, memory = self._lead(oracle, theta, memory)
        return State(oracle.at(theta), jnp.asarray(False), memory)

    def _lead(self, oracle: Oracle, theta: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Where float32 leads, and the pairs from there; the start where it does not suffice."""
        rough, narrow = oracle.rounded(), cast((theta, memory), jnp.float32)
        start = State(rough.at(narrow[0]), jnp.asarray(False), narrow[1])
        end = self.run_roughly(rough, start, _visible_in_float32, self.lead)
        led = cast((end.point.theta, end.memory), theta.dtype)
        numbers = jax.tree.leaves((end.point.value, led))
        sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in numbers]))
        theta, memory = jax.tree.map(lambda a, b: jnp.where(sound, a, b), led, (theta, memory))
        return theta, memory._replace(idle=jnp.zeros_like(memory.idle))

    def step(self, oracle: Oracle, state: State) -> State:
        point, memory = state.point, state.memory
        direction = -inverse_hessian(memory, point.gradient)
        # Divided by a Hessian a whole step is nearly always good; a stand-in knows less.
        go = leap if self.preconditioner == "hessian" else move
        moved, found = go(
            oracle, point, direction,
            curvature=_SLOPE_LEFT, overshoot=_SLOPE_LEFT, max_trials=_TRIALS,
        )  # fmt: skip
        idle = count_idle(memory.idle, found, point, moved)
        # A search that fails with old pairs may succeed without them.
        fresh = memory.pairs.met == 0
        pairs = _remember(memory, point, moved, found.found)
        stalled = (~found.found & fresh) | (idle >= _IDLE_MOVES)
        return State(moved, stalled, Memory(pairs, memory.preconditioner, idle))

    def divide_by_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        return inverse_hessian(state.memory, vector)


def _visible_in_float32(state: State) -> jax.Array:
    r"""Whether the gradient stands out of its rounding.

    An entry is a mean of :math:`r_i x_{ij}`, so that its rounding is some units of
    :math:`\sqrt{\sum_i w_i x_{ij}^2}`, and that is twice the root of the bound on its
    curvature: in the norm of M⁻¹ every entry counts alike, whatever its units.
    """
    gradient = state.point.gradient
    size = jnp.vdot(gradient, state.memory.preconditioner.solve(gradient))
    return size > gradient.size * (_ROUNDING_UNITS * jnp.finfo(gradient.dtype).eps) ** 2


def inverse_hessian(memory: Memory, vector: jax.Array) -> jax.Array:
    r"""An estimate of H⁻¹ · vector.

    With the pairs by age, the newest first, the steps in the rows of S, the changes in those of
    Y, L the lower triangle of :math:`SY^\top`, diagonal D included, and :math:`q = v - Y^\top a`:

    .. math::
        a = L^{-1}Sv, \qquad r = \gamma M^{-1}q, \qquad
        H^{-1}v \approx r + S^\top L^{-\top}(Da - Yr),

    which is the two-loop recursion, each loop written as the triangular system that it solves.
    """
    pairs = memory.pairs
    place, filled = pairs.by_age()
    triangle = jnp.tril(pairs.products[place][:, place])
    identity = jnp.eye(len(place), dtype=vector.dtype)
    triangle = jnp.where(filled[:, None] & filled, triangle, identity)

    def along(table: jax.Array, vector: jax.Array) -> jax.Array:
        return jnp.where(filled, _times(table, vector)[place], 0)

    def combine(shares: jax.Array, table: jax.Array) -> jax.Array:
        return _times(jnp.zeros_like(shares).at[place].set(shares), table)

    first = solve_triangular(triangle, along(pairs.steps, vector), lower=True)
    rest = vector - combine(first, pairs.changes)
    solved = pairs.scale * memory.preconditioner.solve(rest)
    right = jnp.diag(triangle) * first - along(pairs.changes, solved)
    return solved + combine(solve_triangular(triangle, right, lower=True, trans=1), pairs.steps)


def _no_pairs(count: int, theta: jax.Array) -> Pairs:
    table = jnp.zeros((count, theta.size), theta.dtype)
    one, none = jnp.ones((), theta.dtype), jnp.zeros((), jnp.int32)
    return Pairs(table, table, jnp.zeros((count, count), theta.dtype), one, none)


def _remember(memory: Memory, before: Point, after: Point, found: jax.Array) -> Pairs:
    """The pairs with the newest one added; none at all where no step was found."""
    pairs = memory.pairs
    step, change = after.theta - before.theta, after.gradient - before.gradient
    curvature = jnp.vdot(step, change)
    eps = jnp.finfo(step.dtype).eps
    curved = found & (curvature > eps * jnp.linalg.norm(step) * jnp.linalg.norm(change))
    fit = curvature / jnp.vdot(change, memory.preconditioner.solve(change))
    i = pairs.met % len(pairs.steps)

    def put(table: jax.Array, row: jax.Array) -> jax.Array:
        # One row is written, not the table: that is as long as many passes over sparse X.
        return table.at[i].set(jnp.where(curved, row, table[i]))

    steps = put(pairs.steps, step)
    column = jnp.where(curved, _times(steps, change), pairs.products[:, i])
    return Pairs(
        steps,
        put(pairs.changes, change),
        pairs.products.at[:, i].set(column),
        jnp.where(curved & jnp.isfinite(fit), fit, pairs.scale),
        jnp.where(found, pairs.met + curved, 0),
    )
