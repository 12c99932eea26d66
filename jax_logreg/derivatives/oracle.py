r"""All that a solver may ask about a function, at one pass over the data a question.

A solver never sees data: it asks an oracle for a :class:`Point`, for curvature at a
point it already has, and for the function along a line. The oracles of the logistic
objective are ``AnalyticOracle`` and ``AutodiffOracle``; any other smooth function has
``FunctionOracle``.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jax_logreg.derivatives.preconditioners import Preconditioner

# A Hessian beyond this size is 800 MB in float64.
HESSIAN_LIMIT = 10_000


class Point(NamedTuple):
    """A place that was visited, and what was computed there.

    Attributes:
        theta: θ, (P,).
        value: F(θ), a scalar.
        gradient: ∇F(θ), (P,).
        logits: η, kept so that curvature needs no new product; () where unknown.
        smooth_gradient: that of the smooth part, (P,), where F has kinks; None elsewhere.
            The gradient above is then the shortest subgradient.
        fresh: whether all this was made from θ alone, and not by adding to the logits of
            another point.
    """

    theta: jax.Array
    value: jax.Array
    gradient: jax.Array
    logits: jax.Array
    smooth_gradient: jax.Array | None = None
    fresh: ArrayLike = np.True_


class Trial(NamedTuple):
    """One step along a line that was looked at.

    Attributes:
        value: F there.
        slope: along the line.
        smooth_value: that of the smooth part where F has kinks; None elsewhere.
    """

    value: jax.Array
    slope: jax.Array
    smooth_value: jax.Array | None = None


class Line(NamedTuple):
    """F along a direction d from a point.

    Attributes:
        at: t ↦ the trial of θ + t·d.
        point: t and its trial ↦ the point θ + t·d.
    """

    at: Callable[[jax.Array], Trial]
    point: Callable[[jax.Array, Trial], Point]


class Curved(NamedTuple):
    """The curvature at a point along a direction.

    Attributes:
        direction: v, (P,).
        product: Hessian times v, (P,).
        reach: how far v moves a logit at most.
    """

    direction: jax.Array
    product: jax.Array
    reach: jax.Array


T = TypeVar("T")


def cast(tree: T, dtype: DTypeLike) -> T:
    """A pytree with its floating numbers in another precision.

    >>> cast({"x": jnp.ones(2), "n": jnp.arange(2)}, jnp.float16)["x"].dtype.name
    'float16'
    """

    def one(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)


class Oracle:
    """The questions a solver may ask. A subclass lists in ``offers`` those it answers.

    ``remedy`` is what to do where a solver asks for more.
    """

    offers: ClassVar[frozenset[str]] = frozenset()
    remedy: ClassVar[str] = "Use a solver that asks for the gradient alone, such as solver='lbfgs'."

    def lacks(self, needs: frozenset[str], num_parameters: int) -> dict[str, str]:
        """Which of ``needs`` this oracle cannot answer, each with the reason."""
        missing = dict.fromkeys(sorted(needs - self.offers), "this oracle does not offer it")
        if "hessian" in needs & self.offers and num_parameters > HESSIAN_LIMIT:
            missing["hessian"] = (
                f"{num_parameters} parameters are more than a dense Hessian "
                f"is formed for ({HESSIAN_LIMIT})"
            )
        return missing

    def at(self, theta: jax.Array) -> Point:
        """Value and gradient at θ."""
        raise NotImplementedError

    def value(self, theta: jax.Array) -> jax.Array:
        """F(θ) alone; differentiating it gives this oracle's gradient."""
        raise NotImplementedError

    def hessian(self, point: Point) -> jax.Array:
        """The Hessian at a point, (P, P)."""
        raise NotImplementedError

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        """v ↦ Hessian times v at a point, (P,), without forming the Hessian."""
        raise NotImplementedError

    def hvp(self, point: Point, vector: jax.Array) -> jax.Array:
        """Hessian times vector at a point, (P,)."""
        return self.products_at(point)(vector)

    def curved(self, point: Point, direction: jax.Array) -> Curved:
        """The curvature at a point along one direction."""
        return Curved(direction, self.hvp(point, direction), self.reach(direction))

    def at_and_curved(self, theta: jax.Array, direction: jax.Array) -> tuple[Point, Curved]:
        """The point at θ, and the curvature there along a direction."""
        point = self.at(theta)
        return point, self.curved(point, direction)

    def kinks(self, theta: jax.Array) -> jax.Array:
        """κ of F = smooth part + Σ κⱼ|θⱼ|, of the shape of θ; zero where F is smooth itself."""
        return jnp.zeros_like(theta)

    def smooth_part(self) -> "Oracle":
        """The oracle of F without its kinks."""
        return self

    def columns(self, point: Point, gain: jax.Array, count: int) -> Any:
        """The problem of the columns with most to gain, the others kept as they are."""
        raise NotImplementedError

    def along(self, point: Point, direction: jax.Array) -> Line:
        """F, its slope and its points at θ + t·d for any t."""
        raise NotImplementedError

    def preconditioner(self, kind: str) -> Preconditioner:
        """A stand-in for the Hessian anywhere, "gram" or "diagonal"."""
        raise NotImplementedError

    def inverted_hessian(self, point: Point) -> Preconditioner:
        """The Hessian at a point, ready to divide by."""
        raise NotImplementedError

    def row_space(self) -> tuple["Oracle", Callable[[jax.Array], jax.Array]]:
        """The problem over the span of its rows, and the way back to θ."""
        raise NotImplementedError

    def num_parameters(self) -> int:
        """P, the length of θ."""
        raise NotImplementedError

    def rounded(self) -> "Oracle":
        """The same function in float32."""
        raise NotImplementedError

    def sample(self, count: int) -> "Oracle":
        """The oracle of about ``count`` rows drawn evenly."""
        raise NotImplementedError

    def curvature_bound(self) -> jax.Array:
        """An upper bound on the Hessian's eigenvalues at every θ."""
        raise NotImplementedError

    def num_rows(self) -> int:
        """How many rows F is a mean over."""
        raise NotImplementedError

    def minibatch(self, rows: jax.Array, scale: jax.Array) -> "Oracle":
        """The oracle of some of the rows, their weights multiplied by ``scale``."""
        raise NotImplementedError

    def centre(self, theta: jax.Array) -> jax.Array:
        """The representative of θ among parameters that F cannot tell apart."""
        return theta

    def pin(self, hessian: jax.Array) -> jax.Array:
        """The Hessian with curvature added along what F cannot tell apart."""
        return hessian

    def may_separate(self, point: Point) -> jax.Array:
        """Whether F is so low at a point that it may prove that F has no minimum."""
        return jnp.asarray(False)

    def separates(self, point: Point) -> jax.Array:
        """Whether a point proves that F has no minimum."""
        return jnp.asarray(False)

    def recedes(self, direction: jax.Array) -> jax.Array:
        """Whether F falls for ever along a direction, to the precision of Newton steps."""
        return jnp.asarray(False)

    def can_recede(self) -> jax.Array:
        """Whether nothing in F itself rules a direction of recession out."""
        return jnp.asarray(False)

    def is_curved(self) -> jax.Array:
        """Whether F is known to have curvature in every direction."""
        return ~self.can_recede()

    def reach(self, direction: jax.Array) -> jax.Array:
        """How far a step along a direction moves a logit at most; zero where there is none."""
        return jnp.zeros((), direction.dtype)

    def ignores(self, direction: jax.Array) -> jax.Array:
        """Whether a direction moves no logit at all, to the rounding of Xd."""
        return jnp.asarray(True)

    def at_even_odds(self, point: Point) -> Point:
        """A point whose probabilities are not saturated; the same one where there are none."""
        return point
