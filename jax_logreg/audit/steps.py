"""The steps of a jaxpr, one after another, and a step as a function of what goes in."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core


def walk(jaxpr: Any, known: dict[Any, Any]) -> Iterator[tuple[int, Any, list[Any]]]:
    """The place of every step, the step, and the numbers that go in.

    What comes out is known afterwards: who walks may take a step in a way of its own, and put
    what comes out into ``known``; else it is taken as it is.
    """
    for place, eqn in enumerate(jaxpr.eqns):
        inputs = inputs_of(eqn, known)
        yield place, eqn, inputs
        if any(v not in known for v in eqn.outvars):
            known.update(zip(eqn.outvars, take_step(jaxpr, eqn, inputs), strict=True))


def depending_steps(
    jaxpr: Any, passes: Callable[[Any], bool]
) -> Iterator[tuple[int, Any, list[int]]]:
    """The place of every step that depends on θ, the step, and which of its inputs do.

    Args:
        jaxpr: of a function of θ.
        passes: whether what comes out of a step depends on θ if what goes in does.
    """
    active = set(jaxpr.invars)
    for place, eqn in enumerate(jaxpr.eqns):
        mine = [i for i, v in enumerate(eqn.invars) if is_variable(v) and v in active]
        if mine and passes(eqn):
            active.update(eqn.outvars)
            yield place, eqn, mine


def is_real(eqn: Any) -> bool:
    """Whether real numbers come out of a step, which have a derivative."""
    return all(map(_is_real, eqn.outvars))


def inputs_of(eqn: Any, values: Mapping[Any, Any]) -> list[Any]:
    """What goes into a step."""
    return [values[v] if is_variable(v) else v.val for v in eqn.invars]


def active_places(eqn: Any, active: Container[Any]) -> list[int]:
    """Where a step takes a real number that depends on θ."""
    return [i for i, v in enumerate(eqn.invars) if is_variable(v) and v in active and _is_real(v)]


def is_variable(v: Any) -> bool:
    """Whether an input or output of a step is no literal."""
    return isinstance(v, core.Var)


def _is_real(v: Any) -> bool:
    return bool(jnp.issubdtype(v.aval.dtype, jnp.floating))


def take_step(jaxpr: Any, eqn: Any, inputs: Sequence[Any]) -> list[Any]:
    """What comes out of a step of a jaxpr."""
    given = {v: x for v, x in zip(eqn.invars, inputs, strict=True) if is_variable(v)}
    alone = jaxpr.replace(
        constvars=[], invars=list(given), outvars=list(eqn.outvars), eqns=[eqn],
        effects=eqn.effects,
    )  # fmt: skip
    return list(core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))(*given.values()))


def as_function(
    jaxpr: Any, eqn: Any, inputs: Sequence[Any], places: Sequence[int]
) -> Callable[..., list[Any]]:
    """A step as a function of some of its inputs, the others as they are."""

    def step(*given: Any) -> list[Any]:
        known = list(inputs)
        for i, x in zip(places, given, strict=True):
            known[i] = x
        return take_step(jaxpr, eqn, known)

    return step


def needed_steps(jaxpr: Any) -> list[Any]:
    """The steps of a jaxpr on which its outputs, or its effects, depend."""
    needed, found = set(variables(jaxpr.outvars)), []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            found.append(eqn)
            needed.update(variables(eqn.invars))
    return found[::-1]


def variables(atoms: Sequence[Any]) -> list[Any]:
    """What goes into a step and is not a literal."""
    return [v for v in atoms if is_variable(v)]
