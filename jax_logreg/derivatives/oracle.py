r"""The oracle: all that a solver may ask about a function, one pass over the data a question.

A solver never sees data. It asks for a :class:`Point`, for curvature at a point that it already
has, and for the function along a line. ``ModelOracle`` answers for the logistic objective,
``NonsmoothOracle`` for one with an L1 part, ``FirthOracle`` for Firth's, and ``FunctionOracle``
for any other smooth function.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike, DTypeLike

from jax_logreg.derivatives.linear_algebra import Preconditioner

if TYPE_CHECKING:  # solvers load this file and nothing of objective/
    from jax_logreg.objective.identifiability import Problem


class SmoothPart(NamedTuple):
    """What a point knows of F = S + Σ κⱼ|θⱼ|.

    Attributes:
        gradient: ∇S, (P,).
        l1_weights: κ, (P,).
    """

    gradient: jax.Array
    l1_weights: jax.Array


class HessianProduct(NamedTuple):
    """The Hessian at a point times one vector.

    Attributes:
        vector: v, (P,).
        product: Hv, (P,).
        max_logit_change: the largest change of a logit over v.
    """

    vector: jax.Array
    product: jax.Array
    max_logit_change: jax.Array


class Point(NamedTuple):
    """An iterate, and what was computed there.

    Attributes:
        theta: θ, (P,).
        value: F(θ), a scalar.
        gradient: ∇F(θ), (P,); the minimum-norm subgradient where F has an L1 part.
        logits: η, kept so that curvature needs no new product; (0,) where there are none, and None
            where they were not kept.
        smooth: the smooth part where F has an L1 part; None elsewhere.
        hvp: a Hessian-vector product there, if one was asked for.
        recomputed: whether all this was computed from θ alone, and not by adding to the logits
            of another point.
    """

    theta: jax.Array
    value: jax.Array
    gradient: jax.Array
    logits: Any
    smooth: SmoothPart | None = None
    hvp: HessianProduct | None = None
    recomputed: ArrayLike = np.True_


class Trial(NamedTuple):
    """One trial step along a line.

    Attributes:
        value: F there.
        slope: of F along the line.
        smooth_value: of the smooth part where F has an L1 part; None elsewhere.
    """

    value: jax.Array
    slope: jax.Array
    smooth_value: jax.Array | None = None


class Line(NamedTuple):
    """F along a direction d from a point.

    Attributes:
        at: t ↦ the trial at θ + t·d.
        point: t and its trial ↦ the point θ + t·d.
    """

    at: Callable[[jax.Array], Trial]
    point: Callable[[jax.Array, Trial], Point]


class ColumnSubset(NamedTuple):
    """The problem over some columns, the coefficients of the others fixed.

    Attributes:
        oracle: of that problem.
        theta: its starting parameters.
        to_original: its parameters ↦ those of the whole problem.
    """

    oracle: "Oracle"
    theta: jax.Array
    to_original: Callable[[jax.Array], jax.Array]


class Oracle:
    """The questions that a solver may ask; a subclass answers those in its ``capabilities``.

    Attributes:
        capabilities: of "gradient", "hessian", "hvp", "line", "preconditioner",
            "curvature_bound", "rows", "float32", "columns".
        remedy: what to do where a solver requires more.
        limits: capability ↦ why this one instance lacks it.
        num_rows: how many rows F is a mean over.
        smooth: the oracle of F without its L1 part; itself where there is none.
        problem: what the loop, and no solver, may ask about F.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    remedy: ClassVar[str] = "Use a solver that needs fewer, such as solver='gradient_descent'."

    @property
    def limits(self) -> dict[str, str]:
        """Nothing is lacking, unless a subclass knows better."""
        return {}

    @property
    def num_rows(self) -> int:
        """One, unless a subclass knows better."""
        return 1

    @property
    def smooth(self) -> "Oracle":
        """Itself, unless a subclass knows better."""
        return self

    @property
    def problem(self) -> "Problem":
        """See ``objective/identifiability.py``."""
        raise NotImplementedError

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        """Value and gradient at θ, and with a direction, the Hessian's product with it."""
        raise NotImplementedError

    def hessian(self, point: Point) -> jax.Array:
        """The Hessian at a point, (P, P), with curvature added along what F cannot tell apart,
        so that it can be inverted."""
        raise NotImplementedError

    def hessian_operator(self, point: Point) -> Callable[[jax.Array], HessianProduct]:
        """v ↦ Hessian times v at a point, without forming the Hessian."""
        raise NotImplementedError

    def line(self, point: Point, direction: jax.Array) -> Line:
        """F, its slope and its points at θ + t·d for any t."""
        raise NotImplementedError

    def preconditioner(self, kind: str, point: Point | None = None) -> Preconditioner:
        """An approximate inverse of the Hessian anywhere: "diagonal", "gram", or the safe step
        "scalar"; with a point "diagonal" is that of the Hessian there."""
        raise NotImplementedError

    def subset(self, rows: jax.Array, scale: jax.Array | None = None) -> "Oracle":
        """The oracle of some rows, (m,), their weights times ``scale``; by default scaled to sum
        to one."""
        raise NotImplementedError

    def as_float32(self) -> "Oracle":
        """The same function in float32."""
        raise NotImplementedError

    def restrict_columns(self, point: Point, gain: jax.Array, count: int) -> ColumnSubset:
        """The problem over the columns with most to gain, (P,), the others fixed."""
        raise NotImplementedError


def missing_capabilities(oracle: Oracle, requires: frozenset[str]) -> dict[str, str]:
    """Which of ``requires`` an oracle cannot answer, each with the reason."""
    missing = dict.fromkeys(sorted(requires - oracle.capabilities), "this oracle does not offer it")
    return missing | {k: v for k, v in sorted(oracle.limits.items()) if k in requires}


T = TypeVar("T")


def cast(tree: T, dtype: DTypeLike) -> T:
    """A pytree with its floating numbers in another precision.

    >>> cast({"x": jnp.ones(2), "n": jnp.arange(2)}, jnp.float16)["x"].dtype.name
    'float16'
    """

    def one(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)


@jax.custom_jvp
def value(oracle: Oracle, theta: jax.Array) -> jax.Array:
    """F(θ), differentiable: its derivative in θ is the oracle's gradient."""
    return oracle.evaluate(theta).value


def _value_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, Any]:
    (oracle, theta), (data_tangent, theta_tangent) = primals, tangents
    point = oracle.evaluate(theta)
    slope = jnp.zeros_like(point.value)
    if not isinstance(theta_tangent, SymbolicZero):
        slope = slope + jnp.vdot(point.gradient, theta_tangent)
    leaves = jax.tree.leaves(data_tangent, is_leaf=_is_zero)
    if not all(map(_is_zero, leaves)):  # the derivative in the data is left to JAX
        tangent = jax.tree.map(_instantiate, data_tangent, is_leaf=_is_zero)
        slope = slope + jax.jvp(lambda o: o.evaluate(theta).value, (oracle,), (tangent,))[1]
    return point.value, slope


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent: Any) -> jax.Array:
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent


value.defjvp(_value_jvp, symbolic_zeros=True)
