r"""All that a solver may ask about a function, at one pass over the data a question.

A solver never sees data: it asks an oracle for a :class:`Point`, for curvature at a
point it already has, and for the function along a line. The oracles of the logistic
objective are ``analytic.AnalyticOracle`` and ``autodiff.AutodiffOracle``; any other
smooth function has :class:`FunctionOracle`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.objective.geometry import (
    centre_classes,
    curvature_bound,
    ignores,
    is_bounded_by_design,
    pin_class_shifts,
    recedes,
    separates,
)
from jax_logreg.objective.objective import Objective

# A Hessian beyond this size is 800 MB in float64.
HESSIAN_LIMIT = 10_000


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


# t ↦ (F(θ + t·d), its slope in t)
Line = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


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

    def hvp(self, point: Point, vector: jax.Array) -> jax.Array:
        """Hessian times vector at a point, (P,), without forming the Hessian."""
        raise NotImplementedError

    def along(self, point: Point, direction: jax.Array) -> Line:
        """F and its slope at θ + t·d for any t."""
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

    def moves(self, direction: jax.Array, reach: float) -> jax.Array:
        """Whether a step along a direction moves some logit by more than ``reach``."""
        return jnp.asarray(False)

    def ignores(self, direction: jax.Array) -> jax.Array:
        """Whether a direction moves no logit at all, to the rounding of Xd."""
        return jnp.asarray(True)

    def at_even_odds(self, point: Point) -> Point:
        """A point whose probabilities are not saturated; the same one where there are none."""
        return point


class ModelOracle(Oracle):
    """What both oracles of the logistic objective share: facts that need no derivative."""

    offers = frozenset({"gradient", "hessian", "hvp", "along", "curvature_bound", "rows"})
    objective: Objective

    def num_rows(self) -> int:
        return self.objective.X.shape[0]

    def minibatch(self, rows: jax.Array, scale: jax.Array) -> "ModelOracle":
        return type(self)(self.objective.take(rows, scale))  # type: ignore[call-arg]

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

    def moves(self, direction: jax.Array, reach: float) -> jax.Array:
        z = self.objective.linear(direction)
        if z.ndim == 2:
            z = jnp.max(z, axis=1) - jnp.min(z, axis=1)
        # NaN moves: what cannot be computed settles nothing.
        return ~(jnp.max(jnp.abs(z)) <= reach)

    def ignores(self, direction: jax.Array) -> jax.Array:
        return ignores(self.objective, direction)

    def at_even_odds(self, point: Point) -> Point:
        return self.at(jnp.zeros_like(point.theta))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FunctionOracle(Oracle):
    """The oracle of any smooth function of a vector, by autodiff.

    Attributes:
        function: (θ, *args) ↦ scalar.
        args: arrays that the function needs; traced, never folded into the program.

    >>> bowl = FunctionOracle(lambda t, c: jnp.sum((t - c) ** 2), (jnp.ones(2),))
    >>> bowl.at(jnp.zeros(2)).gradient.tolist()
    [-2.0, -2.0]
    """

    function: Callable[..., jax.Array] = field(metadata={"static": True})
    args: Any = ()

    offers = frozenset({"gradient", "hessian", "hvp", "along"})

    def at(self, theta: jax.Array) -> Point:
        return Point(theta, *jax.value_and_grad(self.value)(theta), jnp.zeros(0, theta.dtype))

    def value(self, theta: jax.Array) -> jax.Array:
        return self.function(theta, *self.args)

    def hessian(self, point: Point) -> jax.Array:
        return jax.hessian(self.value)(point.theta)

    def hvp(self, point: Point, vector: jax.Array) -> jax.Array:
        return jax.jvp(jax.grad(self.value), (point.theta,), (vector,))[1]

    def along(self, point: Point, direction: jax.Array) -> Line:
        return jax.value_and_grad(lambda t: self.value(point.theta + t * direction))
