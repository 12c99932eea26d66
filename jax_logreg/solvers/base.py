r"""The contract of a solver: what it requires of an oracle, how it starts, and one step.

A solver is a frozen dataclass registered as a pytree: its numbers are leaves, so a
new step size does not recompile and ``jax.vmap`` runs over settings. The loop, the
stopping rule and the result belong to ``fitting``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.linear_algebra import Dense, Diagonal, Preconditioner, invert
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


class Solver:
    """A method of minimisation, in terms of the questions that it puts to an oracle.

    To add one, subclass it as a frozen dataclass, register that as a pytree with
    ``jax.tree_util.register_dataclass``, and write ``init`` and ``step``, which return a
    ``jax_logreg.solvers.base.State``; the guide to fitting has a whole one. A field is a number or
    an array; anything else is declared with ``field(metadata={"static": True})``.

    Attributes:
        requires: the capabilities that the oracle must have; the loop refuses to start without
            them.
        default_max_steps: the limit when the caller names none.
        scale_invariant: whether its steps are the same in other units of the features: ``fit`` then
            chooses units that keep digits.

    >>> from jax_logreg import Newton
    >>> sorted(Newton().requires)
    ['gradient', 'hessian', 'line']
    """

    requires: ClassVar[frozenset[str]] = frozenset({"gradient"})
    default_max_steps: ClassVar[int] = 1000
    scale_invariant: ClassVar[bool] = False

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        """The state at the starting parameters."""
        raise NotImplementedError(f"solver {type(self).__name__} defines no init(oracle, theta).")

    def step(self, oracle: Oracle, state: State) -> State:
        """The next state; traced once, run many times."""
        raise NotImplementedError(f"solver {type(self).__name__} defines no step(oracle, state).")

    def run_until(
        self, oracle: Oracle, state: State, is_open: Callable[[State], jax.Array], steps: int
    ) -> State:
        """The state after at most ``steps`` steps, stopping when ``is_open`` is False."""

        def unfinished(carry: tuple[State, jax.Array]) -> jax.Array:
            state, taken = carry
            return is_open(state) & (taken < steps) & ~state.stalled

        def step(carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            return self.step(oracle, carry[0]), carry[1] + 1

        start = state, jnp.zeros((), jnp.int32)
        return while_loop(unfinished, step, start)[0]

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        """The solver's estimate of H⁻¹ · vector, positive definite: by default the diagonal."""
        if "preconditioner" not in oracle.capabilities:
            return vector
        return oracle.preconditioner("diagonal").solve(vector)


class Proposal(NamedTuple):
    """What a method of Newton's type makes of a point.

    Attributes:
        direction: d = −Bg there, (P,), B the inverse Hessian or an estimate of it.
        memory: of the method, any pytree.
        sound: whether B can be trusted.
    """

    direction: jax.Array
    memory: Any
    sound: jax.Array


class NewtonType(Solver):
    """A method whose next direction at a minimum is Newton's, or nearly, and so certifies it.

    Attributes:
        is_exact: whether d is Newton's own direction.
        is_regular: whether the method is for functions whose Hessians have full rank, and stalls
            at others.
        max_idle_steps: steps in a row without progress after which it has stalled: near the
            optimum F no longer changes, and a quasi-Newton step may leave most of the gradient.
    """

    is_exact: ClassVar[bool] = False
    is_regular: ClassVar[bool] = True
    max_idle_steps: ClassVar[int] = 10

    def blank_memory(self, theta: Any) -> Any:
        """A memory of the shapes that it has at θ, (P,), in NumPy, where it is prepared by a
        program of its own; else None."""
        return None

    def proves_full_rank(self, memory: Any) -> ArrayLike:
        """Whether the Hessian is known to have full rank, here and everywhere."""
        return self.is_exact

    def prepare(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, Any]:
        """Where to start, and the memory there."""
        raise NotImplementedError(f"{type(self).__name__} defines no prepare(oracle, theta).")

    def propose(self, oracle: Oracle, memory: Any, before: Point, after: Point) -> Proposal:
        """The next direction, after a step from one point to another; at the start from none, a
        point where F is infinite."""
        raise NotImplementedError(f"{type(self).__name__} defines no propose.")


def gradient_above(bound: ArrayLike) -> Callable[[State], jax.Array]:
    """Whether some entry of the gradient is larger than a bound, as a test of a state."""
    return lambda state: jnp.max(jnp.abs(state.point.gradient)) > bound


def compute_unless(done: ArrayLike, value: T, compute: Callable[[], T]) -> T:
    """``value`` if ``done``, else what ``compute`` returns, of the same types.

    As a loop of at most one turn: XLA copies whatever comes out of a ``cond``, and these
    arrays may be as long as the data.

    >>> [compute_unless(done, 1.0, lambda: 2.0).item() for done in (True, False)]
    [1.0, 2.0]
    """

    def as_array(leaf: ArrayLike, like: ArrayLike) -> jax.Array:
        return jnp.asarray(leaf, jnp.asarray(like).dtype)

    def turn(_: tuple[T, jax.Array]) -> tuple[T, jax.Array]:
        return jax.tree.map(as_array, compute(), value), jnp.asarray(True)

    start = jax.tree.map(as_array, value, value), jnp.asarray(done)
    return while_loop(lambda carry: ~carry[1], turn, start)[0]


def check_count(name: str, count: int, *, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if not isinstance(count, int) or count < least:
        raise ValueError(f"{name} must be a whole number ≥ {least}, but it is {count!r}.")


# --- loops and branches, inside jax.shard_map too ---------------------------------------
#
# There the type of an array names the mesh axes over which it varies, and what a loop carries,
# or branches return, must have one type: a zero to begin with varies over no axis, and the sum
# that grows from it over those of the data. So all that a loop carries is made to vary as any of
# it does, and all that a branch returns as what chose the branch. Elsewhere these are the
# functions of jax.lax.


def while_loop(go_on: Callable[[T], jax.Array], turn: Callable[[T], T], start: T) -> T:
    """``jax.lax.while_loop``."""
    axes = _axes(start)
    return jax.lax.while_loop(go_on, lambda carry: _vary(turn(carry), axes), _vary(start, axes))


def scan(
    turn: Callable[[T, Any], tuple[T, Any]], start: T, each: Any = None, length: int | None = None
) -> tuple[T, Any]:
    """``jax.lax.scan``."""
    axes = _axes((start, each))
    return jax.lax.scan(lambda x, one: _vary(turn(x, one), axes), _vary(start, axes), each, length)


def cond(which: jax.Array, if_true: Callable[[], T], if_false: Callable[[], T]) -> T:
    """``jax.lax.cond`` of functions without arguments."""
    axes = _axes(which)
    return jax.lax.cond(which, lambda: _vary(if_true(), axes), lambda: _vary(if_false(), axes))


def switch(which: jax.Array, branches: Sequence[Callable[[], T]]) -> T:
    """``jax.lax.switch`` of functions without arguments."""
    axes = _axes(which)
    return jax.lax.switch(which, [lambda f=branch: _vary(f(), axes) for branch in branches])


def vary_alike(tree: T) -> T:
    """A pytree whose leaves all vary over the axes of any of them.

    Parameters must vary as the data do before anything is differentiated: the gradient of a
    function of many devices' rows in parameters that all devices share is a sum over devices.
    """
    return _vary(tree, _axes(tree))


def _axes(tree: Any) -> frozenset[str]:
    """The mesh axes over which some leaf varies."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return frozenset()
    return frozenset().union(*map(_axes_of, jax.tree.leaves(tree)))


def _axes_of(leaf: Any) -> frozenset[str]:
    kind = jax.typeof(leaf)
    manual = getattr(kind, "manual_axis_type", None)  # vma in an older JAX
    return kind.vma if manual is None else manual.varying


def _vary(tree: T, axes: frozenset[str]) -> T:
    """The tree, each leaf varying over these axes too."""

    def one(leaf: Any) -> Any:
        missing = tuple(sorted(axes - _axes_of(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(one, tree) if axes else tree


# --- solvers with a preconditioner ------------------------------------------------------

_KINDS = ("none", "diagonal", "gram", "hessian")
_GOLDEN_RATIO = 2654435769  # its inverse, in units of 2⁻³²
# Newton's steps on a sample: few, since few of its digits matter, and if its rows are separated
# they lead no further than logits of a few units.
_SAMPLE_STEPS = 10
# Far below the difference between a sample's answer and that of all rows: a gradient, and a share
# of the P/m that twice F differs by there, for P parameters and m rows, whatever their units.
_SAMPLE_GRADIENT, _SAMPLE_GAIN = 1e-3, 1e-2


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PreconditionedSolver(Solver):
    """A solver with a preconditioner.

    Attributes:
        preconditioner: "gram" (Böhning's bound, one p × p matrix for all classes; dense
            X), "diagonal" (the diagonal of the bound; sparse X too), "hessian" (the one
            at the start; P × P), or "none".
        sample: compute the preconditioner from about so many rows; 0 takes all. With
            "hessian" the fit then begins at Newton's answer to those rows.
    """

    preconditioner: str = field(default="diagonal", metadata={"static": True})
    sample: int = field(default=0, metadata={"static": True})

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if self.preconditioner not in _KINDS:
            raise ValueError(
                f"preconditioner must be one of {_KINDS}, but it is {self.preconditioner!r}."
            )
        check_count("sample", self.sample, least=0)

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        requires = {"gradient", "line"}
        requires |= {"preconditioner"} if self.preconditioner != "none" else set()
        requires |= {"hessian"} if self.preconditioner == "hessian" else set()
        return frozenset(requires | ({"rows"} if self.sample else set()))

    @property
    def scale_invariant(self) -> bool:  # type: ignore[override]
        return self.preconditioner != "none"

    def precondition(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, Preconditioner]:
        """Where to start, and the preconditioner."""
        if self.preconditioner == "none":
            return theta, Diagonal(jnp.ones_like(theta))
        if self.preconditioner == "hessian":
            theta, _, inverse = start_with_hessian(oracle, theta, self.sample)
            return theta, inverse
        return theta, _sampled(oracle, self.sample).preconditioner(self.preconditioner)


def start_with_hessian(
    oracle: Oracle, theta: jax.Array, sample: int
) -> tuple[jax.Array, jax.Array, Dense]:
    """Where to start, (P,), the Hessian there, (P, P), and its inverse.

    Args:
        oracle: the function.
        theta: the start, (P,), which a sample's minimum replaces.
        sample: about how many rows; 0 takes all.
    """
    if sample:
        return minimise_sample(_sampled(oracle, sample), theta)
    hessian = oracle.hessian(oracle.evaluate(theta))
    return theta, hessian, invert(hessian)


def _sampled(oracle: Oracle, sample: int) -> Oracle:
    """The function of a sample of the rows; of all where there are no more."""
    n = oracle.num_rows
    return oracle.subset(stratified_rows(n, sample)) if 0 < sample < n else oracle


def stratified_rows(n: int, count: int) -> jax.Array:
    """Row numbers, (count,): one of each stretch, for an even stride could coincide with a pattern
    in the data.

    Which one follows the multiples of the golden ratio, which keep step with no pattern; random
    numbers of JAX would be half of the program.
    """
    stride, numbers = n // count, jnp.arange(count)
    shares = numbers.astype(jnp.uint32) * jnp.uint32(_GOLDEN_RATIO)  # of 2³²
    return numbers * stride + (shares >> 8).astype(numbers.dtype) % stride


class _Sampled(NamedTuple):
    """Newton's method on a sample: the point, the share t of a step, θ − tBg, and gᵀBg."""

    point: Point
    share: jax.Array
    trial: jax.Array
    gain: jax.Array
    hessian: jax.Array
    inverse: Dense
    num_trials: jax.Array


def minimise_sample(part: Oracle, theta: jax.Array) -> tuple[jax.Array, jax.Array, Dense]:
    """About the minimum over a sample, (P,), the Hessian there, (P, P), and its inverse.

    The last of Newton's steps costs a product of P × P. XLA must have finished with the sample
    before it reads all rows, so that both may use the same memory.
    """

    def attempt(at: _Sampled) -> _Sampled:
        there = part.evaluate(at.trial)
        better = there.value < at.point.value
        point = jax.tree.map(lambda a, b: jnp.where(better, a, b), there, at.point)
        share = jnp.where(better, 1, at.share / 4)
        hessian = part.hessian(point)
        inverse = invert(hessian)
        step = inverse.solve(point.gradient)
        trial, gain = point.theta - share * step, jnp.vdot(point.gradient, step)
        return _Sampled(point, share, trial, gain, hessian, inverse, at.num_trials + 1)

    def is_open(at: _Sampled) -> jax.Array:
        remains = jnp.max(jnp.abs(at.point.gradient)) > _SAMPLE_GRADIENT
        remains &= at.gain > _SAMPLE_GAIN * theta.size / part.num_rows
        return (at.num_trials < _SAMPLE_STEPS) & (remains | (at.num_trials == 0))

    point = _zeros(part.evaluate, theta)
    hessian = _zeros(part.hessian, point)
    point = point._replace(theta=theta, value=jnp.full_like(point.value, jnp.inf))
    one, none = jnp.ones((), theta.dtype), jnp.zeros((), jnp.int32)
    start = _Sampled(point, one, theta, one, hessian, _zeros(invert, hessian), none)
    end = while_loop(is_open, attempt, start)
    return end.trial, end.hessian, end.inverse


def _zeros(function: Callable[..., T], *args: Any) -> T:
    """What a function returns, with zeros in place of the values."""
    kinds = jax.eval_shape(function, *args)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), kinds)
