r"""All that a solver may ask about a function, at one pass over the data a question.

A solver never sees data: it asks an oracle for a :class:`Point`, for curvature at a
point it already has, and for the function along a line. The oracles of the logistic
objective are ``AnalyticOracle`` and ``AutodiffOracle``; any other smooth function has
``FunctionOracle``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jax_logreg.derivatives.preconditioners import (
    Preconditioner,
    bound_diagonal,
    bound_gram,
    invert,
)
from jax_logreg.objective.geometry import (
    centre_classes,
    curvature_bound,
    furthest,
    ignores,
    is_bounded_by_design,
    pin_class_shifts,
    recedes,
    separates,
)
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.row_space import carry_over
from jax_logreg.objective.sparse import SparseFeatures

# A Hessian beyond this size is 800 MB in float64.
HESSIAN_LIMIT = 10_000
# Of sparse features it is made column by column.
SPARSE_HESSIAN_LIMIT = 500

PRECONDITIONERS: dict[str, Callable[[Objective], Preconditioner]] = {
    "diagonal": bound_diagonal,
    "gram": bound_gram,
}


class Point(NamedTuple):
    """A place that was visited, and what was computed there.

    Attributes:
        theta: θ, (P,).
        value: F(θ), a scalar.
        gradient: ∇F(θ), (P,).
        logits: η, kept so that curvature needs no new product; () where unknown.
    """

    theta: jax.Array
    value: jax.Array
    gradient: jax.Array
    logits: jax.Array


class Trial(NamedTuple):
    """One step along a line that was looked at.

    Attributes:
        value: F there.
        slope: along the line.
        rows: what the point there can be made from; () where nothing is kept.
    """

    value: jax.Array
    slope: jax.Array
    rows: Any = ()


T = TypeVar("T")


def cast(tree: T, dtype: DTypeLike) -> T:
    """A pytree with its floating numbers in another precision."""

    def one(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)


_narrow = jax.jit(partial(cast, dtype=jnp.float32))


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


class Oracle:
    """The questions a solver may ask. A subclass lists in ``offers`` those it answers."""

    offers: ClassVar[frozenset[str]] = frozenset()

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

    def at_with_curvature(self, theta: jax.Array, direction: jax.Array) -> tuple[Point, Curved]:
        """The point θ and the curvature there along one direction."""
        point = self.at(theta)
        return point, Curved(direction, self.hvp(point, direction), self.reach(direction))

    def along(self, point: Point, direction: jax.Array) -> Line:
        """F, its slope and its points at θ + t·d for any t."""
        raise NotImplementedError

    def preconditioner(self, kind: str) -> Preconditioner:
        """A stand-in for the Hessian anywhere, of one of the kinds ``PRECONDITIONERS``."""
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

    def separates(self, point: Point) -> jax.Array:
        """Whether a point proves that F has no minimum."""
        return jnp.asarray(False)

    def recedes(self, direction: jax.Array) -> jax.Array:
        """Whether F falls for ever along a direction, to the precision of Newton steps."""
        return jnp.asarray(False)

    def can_recede(self) -> jax.Array:
        """Whether nothing in F itself rules a direction of recession out."""
        return jnp.asarray(False)

    def reach(self, direction: jax.Array) -> jax.Array:
        """How far a step along a direction moves a logit at most; zero where there is none."""
        return jnp.zeros((), direction.dtype)

    def ignores(self, direction: jax.Array) -> jax.Array:
        """Whether a direction moves no logit at all, to the rounding of Xd."""
        return jnp.asarray(True)

    def at_even_odds(self, point: Point) -> Point:
        """A point whose probabilities are not saturated; the same one where there are none."""
        return point


class ModelOracle(Oracle):
    """What both oracles of the logistic objective share: facts that need no derivative."""

    offers = frozenset(
        {
            "gradient", "hessian", "hvp", "along", "curvature_bound", "rows",
            "preconditioner", "row_space", "rounded",
        }
    )  # fmt: skip
    objective: Objective
    # Made by a program of its own: inside another XLA would convert X anew for every form
    # in which a product reads it.
    rough: Objective | None

    def lacks(self, needs: frozenset[str], num_parameters: int) -> dict[str, str]:
        missing = super().lacks(needs, num_parameters)
        if isinstance(self.objective.X, SparseFeatures):
            for name in {"rows", "row_space"} & needs:
                missing[name] = "rows cannot be taken out of sparse features"
            if "hessian" in needs and num_parameters > SPARSE_HESSIAN_LIMIT:
                missing["hessian"] = (
                    f"of sparse features it is formed up to {SPARSE_HESSIAN_LIMIT} "
                    f"parameters, and here are {num_parameters}"
                )
        return missing

    def num_rows(self) -> int:
        return self.objective.X.shape[0]

    def minibatch(self, rows: jax.Array, scale: jax.Array) -> "ModelOracle":
        return type(self)(self.objective.take(rows, scale))  # type: ignore[call-arg]

    def preconditioner(self, kind: str) -> Preconditioner:
        return PRECONDITIONERS[kind](self.objective)

    def inverted_hessian(self, point: Point) -> Preconditioner:
        return invert(self.pin(self.hessian(point)))

    def row_space(self) -> tuple["ModelOracle", Callable[[jax.Array], jax.Array]]:
        problem = carry_over(self.objective)
        return type(self)(problem.objective), problem.lift  # type: ignore[call-arg]

    def num_parameters(self) -> int:
        return self.objective.num_parameters

    def sample(self, count: int) -> "ModelOracle":
        n = self.num_rows()
        stride = n // count
        # One row of each stretch, at random: an even step could fall in with a pattern.
        jitter = jax.random.randint(jax.random.key(0), (count,), 0, stride)
        rows = jnp.arange(count) * stride + jitter
        total = jnp.sum(self.objective.row_weights()[rows])
        return self.minibatch(rows, 1 / jnp.where(total > 0, total, 1))

    def rounded(self) -> "ModelOracle":
        rough = _narrow(self.objective) if self.rough is None else self.rough
        return type(self)(rough)  # type: ignore[call-arg]

    def with_rounded(self) -> "ModelOracle":
        """The same oracle with its float32 copy at hand."""
        return type(self)(self.objective, _narrow(self.objective))  # type: ignore[call-arg]

    def curvature_bound(self) -> jax.Array:
        return curvature_bound(self.objective)

    def centre(self, theta: jax.Array) -> jax.Array:
        return centre_classes(self.objective, theta)

    def pin(self, hessian: jax.Array) -> jax.Array:
        return pin_class_shifts(self.objective, hessian)

    def separates(self, point: Point) -> jax.Array:
        return separates(self.objective, point.theta, point.value)

    def recedes(self, direction: jax.Array) -> jax.Array:
        # A Newton direction is exact to a few units of round-off in the rows that have
        # curvature; two thirds of the digits leave room for their number.
        rtol = float(jnp.finfo(self.objective.X.dtype).eps) ** (2 / 3)
        return recedes(self.objective, direction, rtol)

    def can_recede(self) -> jax.Array:
        return ~is_bounded_by_design(self.objective)

    def reach(self, direction: jax.Array) -> jax.Array:
        return furthest(self.objective.linear(direction))

    def ignores(self, direction: jax.Array) -> jax.Array:
        return ignores(self.objective, direction)

    def at_even_odds(self, point: Point) -> Point:
        return self.at(jnp.zeros_like(point.theta))
