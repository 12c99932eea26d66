"""The oracle of somebody's own function of a pytree, by hand-written derivatives or by autodiff.

A solver sees one vector; the caller's functions see the pytree that it was made from.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.derivatives.linear_algebra import jacobi_scaling, times
from jax_logreg.derivatives.oracle import HessianProduct, Line, Oracle, Point, Trial
from jax_logreg.objective.identifiability import Problem
from jax_logreg.programs.compiled import is_concrete


@dataclass(frozen=True)
class Layout:
    """Where the leaves of a pytree are in a vector.

    Attributes:
        structure: of the pytree.
        shapes: of its leaves.
        dtypes: of its leaves, floating.

    >>> layout = Layout.of({"b": jnp.zeros(()), "w": jnp.ones((2, 2))})
    >>> layout.flatten({"b": 5.0, "w": jnp.eye(2)}).tolist()
    [5.0, 1.0, 0.0, 0.0, 1.0]
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, tree: Any) -> "Layout":
        """The layout of a pytree of arrays."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(x.shape for x in leaves), tuple(x.dtype for x in leaves))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each leaf has."""
        return tuple(map(math.prod, self.shapes))

    @property
    def size(self) -> int:
        """P."""
        return sum(self.sizes)

    @property
    def dtype(self) -> Any:
        """Of the vector: at least float32, in which a Hessian can be factored."""
        return jnp.promote_types(jnp.result_type(*self.dtypes), jnp.float32)

    def flatten(self, tree: Any, name: str = "theta") -> jax.Array:
        """The vector of a pytree, (P,); such a vector is left as it is.

        Raises:
            ValueError: for another structure, or other shapes; it says whose.
        """
        dtype = self.dtype
        leaves, structure = jax.tree.flatten(tree)
        shapes = tuple(map(jnp.shape, leaves))
        if shapes == ((self.size,),):
            return jnp.asarray(leaves[0], dtype)
        if structure != self.structure or shapes != self.shapes:
            raise ValueError(
                f"{name} must have the structure and shapes of theta, "
                f"{self._described(self.structure, self.shapes)}, or be one vector of "
                f"{self.size}, but it is {self._described(structure, shapes)}."
            )
        return jnp.concatenate([jnp.ravel(jnp.asarray(x, dtype)) for x in leaves])

    def unflatten(self, vector: jax.Array) -> Any:
        """The pytree of a vector, (P,)."""
        ends = np.cumsum(self.sizes)
        leaves = [
            vector[end - size : end].reshape(shape).astype(dtype)
            for end, size, shape, dtype in zip(
                ends.tolist(), self.sizes, self.shapes, self.dtypes, strict=True
            )
        ]
        return jax.tree.unflatten(self.structure, leaves)

    def to_matrix(self, hessian: Any) -> jax.Array:
        """A Hessian as ``jax.hessian`` nests it, or one array of P² entries, as (P, P).

        Raises:
            ValueError: for any other.
        """
        leaves = jax.tree.leaves(hessian)
        shapes = tuple(map(jnp.shape, leaves))
        if len(leaves) == 1 and math.prod(shapes[0]) == self.size**2:
            return jnp.reshape(leaves[0], (self.size, self.size))
        pairs = [(a, b) for a in self.shapes for b in self.shapes]
        if shapes != tuple((*a, *b) for a, b in pairs):
            raise ValueError(
                f"hessian must return {(self.size, self.size)}, or what jax.hessian returns, but "
                f"its shapes are {list(shapes)}."
            )
        blocks = [
            jnp.reshape(leaf, (math.prod(a), math.prod(b)))
            for leaf, (a, b) in zip(leaves, pairs, strict=True)
        ]
        count = len(self.shapes)
        return jnp.block([blocks[i : i + count] for i in range(0, count**2, count)])

    @staticmethod
    def _described(structure: Any, shapes: Any) -> str:
        return str(jax.tree.unflatten(structure, shapes))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TreeOracle(Oracle):
    """The oracle of a smooth function of a pytree.

    What is not given by hand is taken by autodiff, of the hand-written gradient where there is
    one.

    Attributes:
        function: (θ, *args) ↦ scalar.
        layout: of θ.
        args: pytrees of arrays; traced, never compiled in as constants.
        by_gradient: (θ, *args) ↦ ∇F, as θ or flat, or None.
        by_hessian: (θ, *args) ↦ ∇²F, (P, P) or nested, or None.
        by_hvp: (θ, v, *args) ↦ ∇²F v, as θ or flat, or None.
        backward: whether the gradient is differentiated backward only, as a ``custom_vjp`` asks.

    >>> layout = Layout.of({"x": jnp.zeros(2)})
    >>> bowl = TreeOracle(lambda t, c: jnp.sum((t["x"] - c) ** 2), layout, (1.0,))
    >>> bowl.evaluate(jnp.zeros(2)).gradient.tolist()
    [-2.0, -2.0]
    """

    function: Callable[..., jax.Array] = field(metadata={"static": True})
    layout: Layout = field(metadata={"static": True})
    args: Any = ()
    by_gradient: Callable[..., Any] | None = field(default=None, metadata={"static": True})
    by_hessian: Callable[..., Any] | None = field(default=None, metadata={"static": True})
    by_hvp: Callable[..., Any] | None = field(default=None, metadata={"static": True})
    backward: bool = field(default=False, metadata={"static": True})

    capabilities = frozenset({"gradient", "hessian", "hvp", "line"})
    remedy = (
        "For a function of your own use Newton(), NewtonCG('none'), LBFGS('none'), BFGS(), "
        "GradientDescent(step_size) or GradientDescent(backtracking=True), or an Optax "
        "transformation."
    )

    @property
    def problem(self) -> Problem:
        return Problem()

    def value(self, theta: jax.Array) -> jax.Array:
        """F at θ, (P,)."""
        return jnp.asarray(self.function(self.layout.unflatten(theta), *self.args))

    def value_and_gradient(self, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """F and ∇F at θ, (P,)."""
        if self.by_gradient is None:
            return jax.value_and_grad(self.value)(theta)
        return self.value(theta), self.gradient(theta)

    def gradient(self, theta: jax.Array) -> jax.Array:
        """∇F at θ, (P,)."""
        if self.by_gradient is None:
            return jax.grad(self.value)(theta)
        slope = self.by_gradient(self.layout.unflatten(theta), *self.args)
        return self.layout.flatten(slope, "what gradient returns")

    def hvp(self, theta: jax.Array, vector: jax.Array) -> jax.Array:
        """∇²F v at θ, (P,)."""
        if self.by_hvp is None:
            if self.backward:  # H is symmetric
                return jax.vjp(self.gradient, theta)[1](vector)[0]
            return jax.jvp(self.gradient, (theta,), (vector,))[1]
        at, along = map(self.layout.unflatten, (theta, vector))
        return self.layout.flatten(self.by_hvp(at, along, *self.args), "what hvp returns")

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        value, slope = self.value_and_gradient(theta)
        point = Point(theta, value.astype(theta.dtype), slope, jnp.zeros(0, theta.dtype))
        if direction is None:
            return point
        return point._replace(hvp=self.hessian_operator(point)(direction))

    def hessian(self, point: Point) -> jax.Array:
        """The Hessian where it is positive definite; else with every eigenvalue by its size, so
        that a Newton step from there goes downhill.

        Source: Nocedal & Wright, *Numerical Optimization*, section 3.4.
        """
        H = self.exact_hessian(point.theta)
        scale = jacobi_scaling(H)
        scaled = H * scale[:, None] * scale

        def by_size() -> jax.Array:
            values, vectors = jnp.linalg.eigh(scaled)
            return times(vectors * jnp.abs(values), vectors.T) / scale[:, None] / scale

        is_positive = jnp.all(jnp.isfinite(jnp.linalg.cholesky(scaled)))
        return jax.lax.cond(is_positive, lambda: H, by_size)

    def exact_hessian(self, theta: jax.Array) -> jax.Array:
        """The Hessian as it is, (P, P)."""
        if self.by_hessian is not None:
            at = self.layout.unflatten(theta)
            return self.layout.to_matrix(self.by_hessian(at, *self.args)).astype(theta.dtype)
        return jax.vmap(lambda v: self.hvp(theta, v))(jnp.eye(len(theta), dtype=theta.dtype))

    def hessian_operator(self, point: Point) -> Callable[[jax.Array], HessianProduct]:
        def apply(vector: jax.Array) -> HessianProduct:
            none = jnp.zeros((), vector.dtype)
            return HessianProduct(vector, self.hvp(point.theta, vector), none)

        return apply

    def line(self, point: Point, direction: jax.Array) -> Line:
        def at(t: jax.Array) -> Trial:
            value, slope = self.value_and_gradient(point.theta + t * direction)
            return Trial(value.astype(direction.dtype), jnp.vdot(slope, direction))

        return Line(at, lambda t, _: self.evaluate(point.theta + t * direction))


def hoist(
    function: Callable[..., Any], examples: tuple[Any, ...], skip: int = 0
) -> tuple[Callable[..., Any], list[Any]]:
    """A function without the traced values that it closes over, and these, for its last arguments.

    A program cannot hold them, and no derivative reaches them there.

    Args:
        function: of arguments like the examples.
        examples: pytrees of arrays.
        skip: how many arguments come between the examples and the values.
    """
    from jax.extend import core  # takes as long to load as all of this package

    closed, out = jax.make_jaxpr(function, return_shape=True)(*examples)
    traced = [i for i, held in enumerate(closed.consts) if not is_concrete(held)]

    def lifted(*given: Any) -> Any:
        held = dict(zip(traced, given[len(examples) + skip :], strict=False))
        consts = [held.get(i, x) for i, x in enumerate(closed.consts)]
        run = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))
        leaves = jax.tree.leaves(given[: len(examples)])
        return jax.tree.unflatten(jax.tree.structure(out), run(*leaves))

    return lifted, [closed.consts[i] for i in traced]
