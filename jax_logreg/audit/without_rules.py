"""A function without its ``custom_jvp`` and ``custom_vjp`` rules: its body, as autodiff sees it.

JAX keeps the body of such a function in the jaxpr of its caller, beside the rule. So the
rules can be taken out wherever they are: in a layer of a network, or inside a loop.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend import core

from jax_logreg.audit.steps import is_variable, take_step, walk
from jax_logreg.audit.traced import is_described_by_text

_RULES = {"custom_jvp_call", "custom_vjp_call"}


def without_rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays that does the same, and that JAX differentiates step by step.

    JAX's own rules, such as that of ``jax.nn.relu``, stay.

    >>> @jax.custom_jvp
    ... def square(x):
    ...     return x**2
    >>> @square.defjvp
    ... def wrong(x, t):
    ...     return x[0] ** 2, 3 * x[0] * t[0]
    >>> float(jax.grad(square)(1.0)), float(jax.grad(without_rules(square))(1.0))
    (3.0, 2.0)
    """

    def body(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        found = _evaluate(closed, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return body


def has_rules(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function of arrays uses a rule that is not JAX's own."""
    return _is_changed(jax.make_jaxpr(function)(*args).jaxpr)


def _evaluate(closed: Any, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr without rules."""
    jaxpr = closed.jaxpr
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *inputs], strict=True))
    for _, eqn, inputs in walk(jaxpr, known):
        if _is_rule(eqn):
            found = _evaluate(eqn.params["call_jaxpr"], inputs)
        else:
            found = take_step(jaxpr, _step_without_rules(eqn), inputs)
        known.update(zip(eqn.outvars, found, strict=True))
    return [known[v] if is_variable(v) else v.val for v in jaxpr.outvars]


def _step_without_rules(eqn: Any) -> Any:
    """A loop, a branch or a jitted function whose inner jaxprs have none either."""
    if not any(map(_is_changed, _inner(eqn))):
        return eqn
    return eqn.replace(params={key: _stripped(value) for key, value in eqn.params.items()})


def _stripped(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_stripped, value))
    if isinstance(value, core.Jaxpr):  # of jax.checkpoint
        return _stripped(core.ClosedJaxpr(value, [])).jaxpr
    if not isinstance(value, core.ClosedJaxpr):
        return value
    return jax.make_jaxpr(lambda *inputs: _evaluate(value, inputs))(*value.in_avals)


def _inner(eqn: Any) -> Iterator[Any]:
    """The jaxprs inside a step."""
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.Jaxpr | core.ClosedJaxpr):
                yield getattr(one, "jaxpr", one)


def _is_changed(jaxpr: Any) -> bool:
    return any(_is_rule(eqn) or any(map(_is_changed, _inner(eqn))) for eqn in jaxpr.eqns)


def _is_rule(eqn: Any) -> bool:
    return eqn.primitive.name in _RULES and not is_described_by_text(eqn)
