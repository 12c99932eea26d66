"""A jaxpr evaluated with NumPy, one step after another.

An audit asks many small questions a few times each: compiling a program takes a hundred times as
long as running it this way. A step that has no counterpart here is left to JAX, by itself.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from jax_logreg.audit.numpy_steps import SEVERAL, STEPS
from jax_logreg.audit.steps import needed_steps, variables

# What a step costs beside its numbers, in numbers; and how many terms of a product cost as much
# as one number that is computed otherwise.
_STEP, _TERMS = 1000, 4
# Plans that are kept, those used last.
_MAX_PLANS = 1024
_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"}
_CALLS |= {"custom_jvp_call", "custom_vjp_call", "scan"}

# Where a number is kept, and its dtype; of the dtypes that NumPy lacks, None.
_Slot = tuple[int, Any]


class _PlannedStep(NamedTuple):
    """A step, and the slots of its inputs, of its outputs, and of what is needed no more."""

    run: Callable[[list[Any]], Sequence[Any]]
    inputs: list[int]
    outputs: list[tuple[int, _Slot]]
    done: list[int]


class _Plan(NamedTuple):
    """The steps that matter for the outputs of a jaxpr, with a slot for every variable."""

    slots: list[Any]
    given: list[_Slot]
    steps: list[_PlannedStep]
    outputs: list[int]


def evaluate(closed: Any, arguments: Sequence[Any]) -> list[Any]:
    """The values of a closed jaxpr, as NumPy arrays but for JAX's random keys."""
    plan = _make_plan(closed.jaxpr)
    slots = plan.slots.copy()
    for (slot, dtype), x in zip(plan.given, [*closed.consts, *arguments], strict=True):
        slots[slot] = _as_numpy(x, dtype)
    with np.errstate(all="ignore"):
        for run, inputs, outputs, done in plan.steps:
            found = run([slots[i] for i in inputs])
            for place, (slot, dtype) in outputs:
                slots[slot] = _as_numpy(found[place], dtype)
            for i in done:
                slots[i] = None
    return [slots[i] for i in plan.outputs]


@functools.lru_cache(_MAX_PLANS)
def _make_plan(jaxpr: Any) -> _Plan:
    eqns = needed_steps(jaxpr)
    slots: list[Any] = []
    numbers: dict[Any, int] = {}

    def slot_of(v: Any) -> int:
        if isinstance(v, core.Literal):
            slots.append(_as_numpy(v.val, _dtype(v.aval)))
            return len(slots) - 1
        if v not in numbers:
            slots.append(None)
            numbers[v] = len(slots) - 1
        return numbers[v]

    given = [(slot_of(v), _dtype(v.aval)) for v in (*jaxpr.constvars, *jaxpr.invars)]
    last_use = _last_uses(jaxpr, eqns)
    steps = []
    for i, eqn in enumerate(eqns):
        inputs = [slot_of(v) for v in eqn.invars]
        kept = [(k, v) for k, v in enumerate(eqn.outvars) if v in last_use]
        outputs = [(k, (slot_of(v), _dtype(v.aval))) for k, v in kept]
        done = {numbers[v] for v in variables(eqn.invars) if last_use[v] == i}
        steps.append(_PlannedStep(_runner(eqn), inputs, outputs, list(done)))
    return _Plan(slots, given, steps, [slot_of(v) for v in jaxpr.outvars])


def _last_uses(jaxpr: Any, eqns: Sequence[Any]) -> dict[Any, int]:
    """After which step each variable is needed no more; those that never are, are left out."""
    uses = {v: i for i, eqn in enumerate(eqns) for v in variables(eqn.invars)}
    return uses | dict.fromkeys(variables(jaxpr.outvars), len(eqns))


def known_integers(closed: Any) -> dict[Any, Any]:
    """Whole numbers and truth values, such as places in an array, that depend on nothing else."""
    jaxpr, known = closed.jaxpr, dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    steps = []
    for eqn in jaxpr.eqns:
        of_known = all(v in known for v in variables(eqn.invars))
        if of_known and all(np.dtype(v.aval.dtype).kind in "iub" for v in eqn.outvars):
            steps.append(eqn)
            known.update(dict.fromkeys(eqn.outvars))
    outvars = [v for eqn in steps for v in eqn.outvars]
    part = jaxpr.replace(invars=[], eqns=steps, outvars=outvars)
    return dict(zip(outvars, evaluate(core.ClosedJaxpr(part, closed.consts), []), strict=True))


def cost_per_step(jaxpr: Any) -> float:
    """Roughly how many numbers each step computes; a program takes time to compile by its steps."""
    return _cost(jaxpr) / max(1, _num_steps(jaxpr))


def _num_steps(jaxpr: Any) -> int:
    inner = (_inner_jaxpr(eqn) for eqn in jaxpr.eqns)
    return len(jaxpr.eqns) + sum(_num_steps(j.jaxpr) for j in inner if j is not None)


def _cost(jaxpr: Any) -> float:
    return float(sum(map(_cost_of_step, jaxpr.eqns)))


def _cost_of_step(eqn: Any) -> float:
    size = sum(int(np.prod(v.aval.shape)) for v in eqn.outvars if hasattr(v.aval, "shape"))
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        size *= 1 + np.prod([shape[i] for i in contracted]) / _TERMS
    inner = _inner_jaxpr(eqn)
    times = eqn.params.get("length", 1)
    return _STEP + size + (0 if inner is None else times * _cost(inner.jaxpr))


def _inner_jaxpr(eqn: Any) -> Any:
    """The closed jaxpr that a call or a loop runs, or None."""
    if eqn.primitive.name not in _CALLS:
        return None
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return core.ClosedJaxpr(inner, []) if isinstance(inner, core.Jaxpr) else inner


def _dtype(aval: Any) -> Any:
    return None if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended) else aval.dtype


def _as_numpy(value: Any, dtype: Any) -> Any:
    return value if dtype is None else np.asarray(value, dtype)


def _runner(eqn: Any) -> Callable[[list[Any]], Sequence[Any]]:
    """What takes a step, from its inputs to its outputs."""
    name, inner, params = eqn.primitive.name, _inner_jaxpr(eqn), eqn.params
    if name == "scan":
        return lambda inputs: _scan(inner, inputs, **params)
    if inner is not None:
        return functools.partial(evaluate, inner)
    if name == "cond":
        return lambda inputs: evaluate(params["branches"][int(inputs[0])], inputs[1:])
    if name == "custom_linear_solve":
        return lambda inputs: _solve(inputs, **params)

    def by_jax(inputs: list[Any]) -> Sequence[Any]:
        found = eqn.primitive.bind(*inputs, **params)
        return found if eqn.primitive.multiple_results else [found]

    # NumPy's own dtypes only: not bfloat16, not the keys of random numbers.
    if name not in STEPS or any(getattr(v.aval.dtype, "isbuiltin", 0) != 1 for v in eqn.invars):
        return by_jax
    step, is_single = STEPS[name], name not in SEVERAL

    def by_numpy(inputs: list[Any]) -> Sequence[Any]:
        try:
            found = step(*inputs, **params)
        except (TypeError, ValueError):  # what NumPy refuses is left to JAX
            return by_jax(inputs)
        return [found] if is_single else found

    return by_numpy


def _solve(inputs: list[Any], const_lengths: Any, jaxprs: Any) -> list[Any]:
    """The solution of a linear system, by the program that was given for it."""
    lengths = [length or 0 for length in const_lengths]
    first = sum(lengths[:2])
    given = inputs[first : first + lengths[2]] + inputs[sum(lengths) :]
    return evaluate(jaxprs.solve, given)


def _scan(inner: Any, inputs: list[Any], **params: Any) -> list[Any]:
    length, first = params["length"], params["num_consts"]
    rows_from = first + params["num_carry"]
    consts, carry, rows = inputs[:first], inputs[first:rows_from], inputs[rows_from:]
    order = reversed(range(length)) if params["reverse"] else range(length)
    avals = inner.out_avals[len(carry) :]
    stacks = [np.empty((length, *aval.shape), aval.dtype) for aval in avals]
    for i in order:
        found = evaluate(inner, [*consts, *carry, *(row[i] for row in rows)])
        carry = found[: len(carry)]
        for stack, value in zip(stacks, found[len(carry) :], strict=True):
            stack[i] = value
    return [*carry, *stacks]
