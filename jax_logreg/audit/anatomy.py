"""Taking a loss apart at its logits: the linear predictor inside it, and the rest."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jax_logreg.audit.program import Program, run, trace

# Steps that keep a linear predictor one: a term more, another shape.
_KEEPING = {
    "add", "add_any", "sub", "reshape", "transpose", "squeeze", "expand_dims",
    "broadcast_in_dim", "convert_element_type", "copy", "concatenate", "pad",
}  # fmt: skip
# Steps that are linear in what they are given, as long as the rest does not depend on θ.
_LINEAR = _KEEPING | {"neg", "mul", "div", "slice", "dynamic_slice", "reduce_sum", "rev", "gather"}
_PRODUCTS = {"dot_general", "reduce_sum"}
_PULLED_AT_ONCE = 12


@dataclass(frozen=True)
class Cut:
    """A loss in two pieces: the logits, affine in θ, and the rest.

    Attributes:
        program: the loss.
        places: indices of the steps whose results are the logits (the same ones, where
            the product is written twice).
    """

    program: Program
    places: tuple[int, ...]

    @property
    def identity(self) -> Hashable:
        """See :class:`Program`."""
        return self.program.identity, self.places

    @property
    def constants(self) -> list[Any]:
        """The data."""
        return self.program.constants

    def with_constants(self, constants: Sequence[Any]) -> "Cut":
        """The same loss of other data."""
        return Cut(self.program.with_constants(constants), self.places)

    @property
    def _variables(self) -> list[Any]:
        return [self.program.closed.jaxpr.eqns[i].outvars[0] for i in self.places]

    def logits(self, theta: jax.Array) -> jax.Array:
        """η of parameters."""
        return _values(self.program, self._variables[:1], theta)[0]

    def rest(self, theta: jax.Array, eta: jax.Array) -> jax.Array:
        """The loss of logits; what depends on θ beside them is the penalty."""
        jaxpr, same = self.program.closed.jaxpr, self._variables
        opened = jaxpr.replace(
            invars=[*jaxpr.invars, *same],
            eqns=[e for i, e in enumerate(jaxpr.eqns) if i not in self.places],
        )
        closed = core.ClosedJaxpr(opened, self.constants)
        return core.jaxpr_as_fun(closed)(theta, *[eta] * len(same))[0].reshape(())

    def slope(self, theta: jax.Array, eta: jax.Array) -> jax.Array:
        """∂ loss / ∂η."""
        return jax.grad(self.rest, argnums=1)(theta, eta)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the logits."""
        return tuple(self._variables[0].aval.shape)

    @property
    def size(self) -> int:
        """Length of θ."""
        return int(self.program.closed.jaxpr.invars[0].aval.size)

    def pull(self, stack: np.ndarray) -> np.ndarray:
        """Xᵀ r for a stack of r shaped like the logits, (m, P)."""
        parts = []
        for i in range(0, len(stack), _PULLED_AT_ONCE):
            part = stack[i : i + _PULLED_AT_ONCE]
            missing = _PULLED_AT_ONCE - len(part)
            padded = np.concatenate([part, np.repeat(part[:1], missing, axis=0)])
            parts.append(np.asarray(run(self, _pulled, padded))[: len(part)])
        return np.concatenate(parts)


def column_norms(
    pull: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    root: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Norm of every column behind the logits, (P,), by random projections.

    Args:
        pull: Xᵀ r for a stack of r.
        shape: of one r.
        rng: of the projections.
        root: square roots of the weights of the rows.
    """
    signs = rng.integers(0, 2, (_PULLED_AT_ONCE, *shape)) * 2.0 - 1
    return np.sqrt(np.mean(pull(signs * root) ** 2, axis=0))


def _pulled(cut: Cut, stack: jax.Array) -> jax.Array:
    pull = jax.vjp(cut.logits, jnp.zeros(cut.size))[1]
    return jax.lax.map(lambda r: pull(r)[0], stack)


def _values(program: Program, variables: list[Any], theta: jax.Array) -> list[jax.Array]:
    jaxpr = program.closed.jaxpr.replace(outvars=variables)
    return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, program.constants))(theta)


def weighed(program: Program, weight: np.ndarray, theta: jax.Array) -> Program:
    """The number that the values of a program make when they are weighed and summed."""
    return trace(lambda t: jnp.vdot(weight, jnp.ravel(program(t))), theta)


def cut_at_logits(program: Program, theta: jax.Array) -> Cut | None:
    """Find the linear predictor of a loss, or None where there is none to be seen."""
    places = _ends_of_linear_chains(program.closed.jaxpr)
    if not places:
        return None
    values = run(program, _chain_values, theta, static=(("places", places),))
    largest = max(range(len(places)), key=lambda i: values[i].size)
    # The same product written twice is one linear predictor.
    same = [
        place
        for place, value in zip(places, values, strict=True)
        if value.shape == values[largest].shape and np.array_equal(value, values[largest])
    ]
    return Cut(program, tuple(same))


def _chain_values(program: Program, theta: jax.Array, places: tuple[int, ...]) -> list[jax.Array]:
    eqns = program.closed.jaxpr.eqns
    return _values(program, [eqns[i].outvars[0] for i in places], theta)


def _ends_of_linear_chains(jaxpr: Any) -> tuple[int, ...]:
    """Steps whose results are affine in θ through a product, and used by what is not."""
    touched = set(jaxpr.invars)  # depends on θ
    affine = set(jaxpr.invars)
    product: dict[Any, int] = {}  # affine, a product with data lies behind it: its step
    ends: list[int] = []
    for place, eqn in enumerate(jaxpr.eqns):
        inputs = [v for v in eqn.invars if not isinstance(v, core.Literal)]
        mine = [v for v in inputs if v in touched]
        if not mine:
            continue
        touched.update(eqn.outvars)
        if all(v in affine for v in mine) and _is_affine(eqn, mine):
            affine.update(eqn.outvars)
            behind = any(v in product for v in mine)
            keeps = eqn.primitive.name in _KEEPING and behind
            if keeps or (eqn.primitive.name in _PRODUCTS and not behind):
                product[eqn.outvars[0]] = place
            if keeps:
                continue
        ends += [product[v] for v in mine if v in product and product[v] not in ends]
    sizes = [jaxpr.eqns[place].outvars[0].aval for place in ends]
    return tuple(p for p, aval in zip(ends, sizes, strict=True) if aval.ndim and aval.size > 1)


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
