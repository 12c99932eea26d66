"""Gauss–Newton: what if the second derivative of one step, and of all before it, were left out?

Along a direction each step has a first and a second derivative. Without the second derivative of
a residual the Hessian of a sum of squares is JᵀJ; without that of a linear predictor the
observed information is the expected one.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.match import Diagnosis, Mismatch, matches
from jax_logreg.audit.source_lines import expression_of, source_of
from jax_logreg.audit.steps import active_places, as_function, depending_steps, is_real, walk
from jax_logreg.audit.traced import TracedFunction, run_compiled

# Random directions at each point; and the steps of the largest value that is tried.
_DIRECTIONS = 6
_MAX_STEPS = 300


_GAUSS_NEWTON = "The curvature of an inner step is left out, as in the Gauss–Newton matrix JᵀJ, or in the expected information"  # noqa: E501
_OUTER = "The second derivative of a step is left out, and with it the outer product of the slopes inside it"  # noqa: E501


def without_curvature(mismatch: Mismatch, function: TracedFunction) -> Iterator[Diagnosis]:
    """A Hessian that lacks what a step of the value, by itself, is curved."""
    steps = _curved_steps(function)
    if not steps or len(function.closed.jaxpr.eqns) > _MAX_STEPS:
        return
    rng = np.random.default_rng(0)
    d = rng.normal(size=(len(mismatch.theta), _DIRECTIONS, mismatch.theta.shape[1]))

    def along(matrices: np.ndarray, vectors: np.ndarray = d) -> np.ndarray:
        return np.einsum("mki,mij,mkj->mk", vectors, matrices, vectors)

    lines = mismatch._replace(
        hand=along(mismatch.hand), expected=along(mismatch.expected),
        allowed=along(mismatch.allowed, np.abs(d)), wrong=np.ones(d.shape[:2], bool),
    )  # fmt: skip
    found = np.asarray([
        [run_compiled(function, _curvatures, theta, v) for v in vectors]
        for theta, vectors in zip(mismatch.theta, d, strict=True)
    ])  # fmt: skip
    for k, group in enumerate([*steps, *steps]):
        if matches(lines, found[:, :, k]) and np.any(found[:, :, k]):
            where = source_of(function.closed.jaxpr.eqns[group[0]])
            text = _GAUSS_NEWTON if k < len(steps) else _OUTER
            evidence = f"reproduced along {_DIRECTIONS} directions at every point"
            yield Diagnosis("gauss-newton", mismatch.name, f"{text}{where}.", evidence)
            return


def _curved_steps(function: TracedFunction) -> list[list[int]]:
    """The steps that depend on θ; those of one expression, as in a loop, together."""
    found: dict[Any, list[int]] = {}
    for place, eqn, _ in depending_steps(function.closed.jaxpr, is_real):
        found.setdefault((expression_of(eqn), eqn.primitive.name), []).append(place)
    return list(found.values())


def _curvatures(function: TracedFunction, theta: jax.Array, direction: jax.Array) -> jax.Array:
    """The second derivative of the value along a direction, (2 · steps,).

    First without that of each step and of all before it, then without that of each step alone.
    """
    jaxpr, steps = function.closed.jaxpr, _curved_steps(function)
    kept = 1 - jnp.eye(len(steps))
    before = jnp.concatenate([kept, jnp.ones_like(kept)])
    alone = jnp.concatenate([kept, kept])
    values = function.known_at(theta)
    slopes: dict[Any, Any] = {jaxpr.invars[0]: direction}
    curves: dict[Any, Any] = {jaxpr.invars[0]: jnp.zeros((2 * len(steps), *theta.shape))}
    column = {place: k for k, group in enumerate(steps) for place in group}
    last = max(p for p, eqn in enumerate(jaxpr.eqns) if jaxpr.outvars[0] in eqn.outvars)
    for place, eqn, inputs in walk(jaxpr.replace(eqns=jaxpr.eqns[: last + 1]), values):
        mine = active_places(eqn, slopes)
        if not mine or place not in column:
            continue
        step = as_function(jaxpr, eqn, inputs, mine)
        x = tuple(inputs[i] for i in mine)
        dx = tuple(slopes[eqn.invars[i]] for i in mine)

        def slope(*given: Any, step: Any = step, dx: Any = dx) -> Any:
            return jax.jvp(step, given, dx)[1]

        found, first = jax.jvp(step, x, dx)
        bend = jax.jvp(slope, x, dx)[1]
        ddx = tuple(curves[eqn.invars[i]] for i in mine)
        carried = jax.vmap(lambda *c, step=step, x=x: jax.jvp(step, x, c)[1])(*ddx)
        for v, value, s, b, c in zip(eqn.outvars, found, first, bend, carried, strict=True):
            k, shape = column[place], (-1, *(1,) * jnp.ndim(b))
            values[v], slopes[v] = value, s
            curves[v] = before[:, k].reshape(shape) * c + alone[:, k].reshape(shape) * b
    return curves[jaxpr.outvars[0]].reshape(2 * len(steps))
