"""The oracle of any smooth function of a vector."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial


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

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        return lambda v: jax.jvp(jax.grad(self.value), (point.theta,), (v,))[1]

    def along(self, point: Point, direction: jax.Array) -> Line:
        along = jax.value_and_grad(lambda t: self.value(point.theta + t * direction))
        return Line(lambda t: Trial(*along(t)), lambda t, _: self.at(point.theta + t * direction))
