"""The linear predictor inside a loss: where a jaxpr computes its logits η = Xθ + offset.

Found, it splits the loss in two: logits, affine in θ, and the loss of the logits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jax_logreg.audit.steps import depending_steps
from jax_logreg.audit.traced import TracedFunction, run_compiled, run_in_batches, trace

# Steps after which a linear predictor still is one: another term, another shape.
_PRESERVING = {
    "add", "add_any", "sub", "reshape", "transpose", "squeeze", "expand_dims",
    "broadcast_in_dim", "convert_element_type", "copy", "concatenate", "pad",
}  # fmt: skip
# Steps that are linear in their first input, as long as the others do not depend on θ.
_LINEAR = _PRESERVING | {
    "neg", "mul", "div", "slice", "dynamic_slice", "reduce_sum", "rev", "gather",
}  # fmt: skip
_PRODUCTS = {"dot_general", "reduce_sum"}
# Vectors that are carried back through the logits in one call.
_VJP_BATCH = 12


@dataclass(frozen=True)
class SplitLoss:
    """A loss in two pieces: the logits, affine in θ, and the loss of the logits.

    Attributes:
        function: the whole loss.
        equations: indices of the steps that compute the logits (several, if the product
            is written more than once).
    """

    function: TracedFunction
    equations: tuple[int, ...]

    @property
    def constants(self) -> list[Any]:
        """The data."""
        return self.function.constants

    def with_constants(self, constants: Sequence[Any]) -> "SplitLoss":
        """The same loss of other data."""
        return replace(self, function=self.function.with_constants(constants))

    @property
    def _variables(self) -> list[Any]:
        return [self.function.closed.jaxpr.eqns[i].outvars[0] for i in self.equations]

    def logits(self, theta: jax.Array) -> jax.Array:
        """η of parameters."""
        return self.function.outputs(self._variables[:1], theta)[0]

    def loss_of_logits(self, theta: jax.Array, eta: jax.Array) -> jax.Array:
        """The loss with η given; what depends on θ beside η is the penalty."""
        jaxpr, same = self.function.closed.jaxpr, self._variables
        opened = jaxpr.replace(
            invars=[*jaxpr.invars, *same],
            eqns=[e for i, e in enumerate(jaxpr.eqns) if i not in self.equations],
        )
        closed = core.ClosedJaxpr(opened, self.constants)
        return core.jaxpr_as_fun(closed)(theta, *[eta] * len(same))[0].reshape(())

    def loss_wrt_logits(self, theta: jax.Array, eta: jax.Array) -> jax.Array:
        """∂ loss / ∂η."""
        return jax.grad(self.loss_of_logits, argnums=1)(theta, eta)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the logits."""
        return tuple(self._variables[0].aval.shape)

    @property
    def num_steps(self) -> int:
        """Of the loss."""
        return self.function.num_steps

    @property
    def size(self) -> int:
        """Length of θ."""
        return self.function.argument_size

    def vjp_to_parameters(self, stack: np.ndarray) -> np.ndarray:
        """Xᵀ r for a stack of r shaped like the logits, (m, P)."""
        return run_in_batches(self, _vjp_rows, _VJP_BATCH, stack)


def _vjp_rows(split: SplitLoss, stack: jax.Array) -> jax.Array:
    vjp = jax.vjp(split.logits, jnp.zeros(split.size))[1]
    return jax.vmap(lambda r: vjp(r)[0])(stack)


def logits_at(split: SplitLoss, thetas: jax.Array) -> jax.Array:
    """η at every θ."""
    return jax.vmap(split.logits)(thetas)


def column_norms(
    vjp: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    root_weights: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Estimated norm of every column of X, (P,), by random projections.

    Args:
        vjp: Xᵀ r for a stack of r.
        shape: of one r.
        rng: of the projections.
        root_weights: square roots of the weights of the rows.
    """
    signs = rng.integers(0, 2, (_VJP_BATCH, *shape)) * 2.0 - 1
    return np.sqrt(np.mean(vjp(signs * root_weights) ** 2, axis=0))


def weighted_sum(function: TracedFunction, weights: np.ndarray, theta: jax.Array) -> TracedFunction:
    """The scalar function Σᵢ weightᵢ · valueᵢ of a function with several values."""
    return trace(lambda t: jnp.vdot(weights, jnp.ravel(function(t))), theta)


def split_at_logits(function: TracedFunction, theta: jax.Array) -> SplitLoss | None:
    """Find the linear predictor of a loss; None if it has none that can be seen."""
    equations = _ends_of_linear_chains(function.closed.jaxpr)
    if not equations:
        return None
    static = (("equations", equations),)
    values = run_compiled(function, _values_of_equations, theta, static=static)
    largest = max(values, key=lambda value: value.size)
    # The same product written twice is one linear predictor.
    same = [
        place
        for place, value in zip(equations, values, strict=True)
        if value.shape == largest.shape and np.array_equal(value, largest)
    ]
    return SplitLoss(function, tuple(same))


def _values_of_equations(
    function: TracedFunction, theta: jax.Array, equations: tuple[int, ...]
) -> list[jax.Array]:
    eqns = function.closed.jaxpr.eqns
    return function.outputs([eqns[i].outvars[0] for i in equations], theta)


def _ends_of_linear_chains(jaxpr: Any) -> tuple[int, ...]:
    """Steps that are affine in θ through a product, and are used by a step that is not."""
    affine = set(jaxpr.invars)  # in θ
    product: dict[Any, int] = {}  # variables that are affine through a product: their step
    ends: list[int] = []
    for place, eqn, operands in depending_steps(jaxpr, lambda eqn: True):
        mine = [eqn.invars[i] for i in operands]
        if all(v in affine for v in mine) and _is_affine(eqn, mine):
            affine.update(eqn.outvars)
            after_product = any(v in product for v in mine)
            preserves = eqn.primitive.name in _PRESERVING and after_product
            if preserves or (eqn.primitive.name in _PRODUCTS and not after_product):
                product[eqn.outvars[0]] = place
            if preserves:
                continue
        ends += [product[v] for v in mine if v in product and product[v] not in ends]
    results = [jaxpr.eqns[place].outvars[0].aval for place in ends]
    return tuple(p for p, aval in zip(ends, results, strict=True) if aval.ndim and aval.size > 1)


def _is_affine(eqn: Any, mine: list[Any]) -> bool:
    """Whether a step is affine in its inputs that depend on θ."""
    name = eqn.primitive.name
    if name in ("add", "add_any", "sub", "concatenate"):
        return True
    if name in ("mul", "dot_general"):
        return len(mine) == 1 and sum(v is mine[0] for v in eqn.invars) == 1
    if name == "div":
        return eqn.invars[0] is mine[0] and len(mine) == 1 and eqn.invars[1] is not mine[0]
    return name in _LINEAR and eqn.invars[0] is mine[0] and len(mine) == 1
