"""Traced functions: a user's function as a jaxpr whose data can be replaced.

JAX hoists every array that a function uses, captured or passed, into the constants of
its jaxpr. So the data of a function of which we know nothing else can still be perturbed,
to see how far round-off would carry.
"""

import functools
import inspect
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jax_logreg.audit.rolled import rolled
from jax_logreg.audit.steps import is_variable, needed_steps, variables
from jax_logreg.audit.stepwise import cost_per_step, evaluate, known_integers


@dataclass(frozen=True)
class TracedFunction:
    """A function of one vector: its jaxpr and the arrays that it uses.

    Attributes:
        closed: the jaxpr with its constants.
        identity: equal for functions that do the same to other data of the same shapes.
    """

    closed: Any = field(compare=False)
    identity: Hashable

    @property
    def constants(self) -> list[Any]:
        """Every array that the function uses beside its argument."""
        return list(self.closed.consts)

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        return core.jaxpr_as_fun(self.closed)(*arguments)[0]

    def outputs(self, variables: list[Any], theta: jax.Array) -> list[jax.Array]:
        """The numbers of some variables of its steps."""
        closed = core.ClosedJaxpr(self.closed.jaxpr.replace(outvars=variables), self.constants)
        return core.jaxpr_as_fun(closed)(theta)

    def known_at(self, theta: jax.Array) -> dict[Any, Any]:
        """What is known before the first step, by variable."""
        known = dict(zip(self.closed.jaxpr.constvars, self.constants, strict=True))
        return {**known, self.closed.jaxpr.invars[0]: theta}

    def with_constants(self, constants: Sequence[Any]) -> "TracedFunction":
        """The same function of other data."""
        return replace(self, closed=core.ClosedJaxpr(self.closed.jaxpr, list(constants)))

    @property
    def num_steps(self) -> int:
        """How many steps it takes."""
        return len(self.closed.jaxpr.eqns)

    @property
    def argument_size(self) -> int:
        """Length of θ."""
        return int(self.closed.jaxpr.invars[0].aval.size)

    @property
    def longest_axis(self) -> int:
        """The longest axis of all the data: a bound on the number of terms in a sum."""
        shapes = [np.shape(c) for c in self.constants]
        shapes += [v.aval.shape for v in self.closed.jaxpr.invars]
        return max((size for shape in shapes for size in shape), default=1)

    @property
    def has_float32_inside(self) -> bool:
        """Whether some step computes in less than float64, whatever its argument."""
        outs = [v.aval.dtype for eqn in self.closed.jaxpr.eqns for v in eqn.outvars]
        return any(jnp.issubdtype(d, jnp.floating) and jnp.finfo(d).bits < 64 for d in outs)

    def perturbed(self, rng: np.random.Generator, amount: float) -> "TracedFunction":
        """The same function with every datum changed by ± ``amount`` of itself."""
        return self.with_constants([_perturb(c, rng, amount) for c in self.constants])

    @property
    def max_eps(self) -> float:
        """The largest unit round-off among the data."""
        dtypes = [jnp.result_type(c) for c in self.constants]
        return max((float(jnp.finfo(d).eps) for d in dtypes if _is_float(d)), default=2.0**-52)


def trace(function: Callable[[jax.Array], Any], example: jax.Array) -> TracedFunction:
    """Trace a function of one vector, with jitted functions inlined.

    Nothing of the trace survives but copies. JAX remembers a captured NumPy array in the
    precision of the trace for as long as the trace lives, and a later use of the same
    array in the other precision would fail.

    Raises:
        Exception: whatever the function raises when it is traced.
    """
    closed = jax.make_jaxpr(lambda theta: function(theta))(example)
    if not any(eqn.primitive.name in _LOOPS for eqn in _all_equations(closed.jaxpr)):
        closed = _without_calls(closed)
    closed = rolled(_copied(closed), is_described_by_text, known_integers)
    # The text of a jaxpr says all that it does, unless it has custom rules or callbacks.
    plain = all(map(is_described_by_text, _all_equations(closed.jaxpr)))
    return TracedFunction(closed, str(closed.jaxpr) if plain else object())


_LOOPS, _CALLS = {"scan", "while", "cond"}, {"jit", "pjit"}


def _without_calls(closed: Any) -> Any:
    """A jaxpr with the steps of jitted functions in place of their calls."""
    jaxpr, constants = closed.jaxpr, dict[int, tuple[Any, Any]]()
    known = {v: v for v in (*jaxpr.constvars, *jaxpr.invars)}
    steps = list(_inlined(jaxpr, known, constants, None))
    jaxpr = jaxpr.replace(
        eqns=steps, outvars=[known[v] if is_variable(v) else v for v in jaxpr.outvars],
        constvars=[*jaxpr.constvars, *(v for v, _ in constants.values())],
    )  # fmt: skip
    return core.ClosedJaxpr(jaxpr, [*closed.consts, *(c for _, c in constants.values())])


def _inlined(
    jaxpr: Any, known: dict[Any, Any], constants: dict[int, tuple[Any, Any]], caller: Any
) -> Iterator[Any]:
    """Steps in the variables of the outermost program.

    Args:
        jaxpr: of the whole, or of a jitted function.
        known: what its variables are in the outermost program; gets those of its steps.
        constants: gets the arrays of jitted functions, with a variable for each.
        caller: source of the call, if it is one of JAX's own functions, which the user did not
            write; None for the user's code.
    """
    for eqn in jaxpr.eqns:
        given = [known[v] if is_variable(v) else v for v in eqn.invars]
        source = caller or eqn.source_info
        if eqn.primitive.name in _CALLS:
            inner = eqn.params["jaxpr"]
            own = [constants.setdefault(id(c), (core.Var(v.aval), c))[0]
                   for v, c in zip(inner.jaxpr.constvars, inner.consts, strict=True)]  # fmt: skip
            inside = dict(
                zip([*inner.jaxpr.constvars, *inner.jaxpr.invars], own + given, strict=True)
            )
            is_of_jax = os.path.dirname(jax.__file__) in str(inner.jaxpr.debug_info.func_src_info)
            yield from _inlined(inner.jaxpr, inside, constants, source if is_of_jax else caller)
            answers = [inside[v] if is_variable(v) else v for v in inner.jaxpr.outvars]
            known.update(zip(eqn.outvars, answers, strict=True))
        else:
            # A function may be called twice: its variables are others each time.
            outvars = [core.Var(v.aval) for v in eqn.outvars]
            known.update(zip(eqn.outvars, outvars, strict=True))
            yield eqn.replace(invars=given, outvars=outvars, source_info=source)


def _copied(closed: Any) -> Any:
    """The steps that matter, and copies of the arrays that they use."""
    steps = needed_steps(closed.jaxpr)  # a value may compute its gradient, and drop it
    used = {v for eqn in steps for v in variables(eqn.invars)}
    used.update(variables(closed.jaxpr.outvars))
    kept = [(v, c) for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True) if v in used]
    copies = [c if isinstance(c, jax.Array) else np.array(c) for _, c in kept]
    jaxpr = closed.jaxpr.replace(eqns=steps, constvars=[v for v, _ in kept])
    return core.ClosedJaxpr(jaxpr, copies)


def _all_equations(jaxpr: Any) -> Iterator[Any]:
    """Every step, those inside jitted functions and rules too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            if isinstance(value, core.ClosedJaxpr):
                yield from _all_equations(value.jaxpr)


def is_described_by_text(eqn: Any) -> bool:
    """False for a user's custom rule; JAX's own are known by their source file."""
    if "custom" not in eqn.primitive.name and "callback" not in eqn.primitive.name:
        return True
    # The rule of defjvps is of JAX's file for every caller: the body's file must be as well.
    body = getattr(eqn.params.get("call_jaxpr"), "jaxpr", None)
    parts = [getattr(part, "debug_info", None) for part in (eqn.params.get("jvp_jaxpr_fun"), body)]
    sources = [str(getattr(part, "func_src_info", "")) for part in parts]
    return all(os.path.dirname(jax.__file__) in source for source in sources)


def without_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function inside ``jax.jit``, which would keep its traces."""
    return getattr(function, "__wrapped__") if _is_jitted(function) else function  # noqa: B009


def keeps_traces(function: Callable[..., Any]) -> bool:
    """Whether a function calls jitted functions of the user's own.

    These keep the traces of an audit, and with them the user's NumPy arrays in its
    precision: the user's next call in another precision would fail.
    """
    try:
        captured = inspect.getclosurevars(without_jit(function))
    except (TypeError, ValueError):  # a builtin or a callable object
        return False
    used = [*captured.nonlocals.values(), *captured.globals.values()]
    return any(_is_jitted(f) and not str(f.__module__).startswith("jax") for f in used)


def _is_jitted(function: Any) -> bool:
    return callable(function) and hasattr(function, "lower") and hasattr(function, "__wrapped__")


# How often a function is called by steps: for more calls it pays to compile its steps.
_MAX_CALLS = 20


def by_steps(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's function of JAX's arrays, whose steps NumPy takes in the first calls.

    Called as it is, each of its steps would be compiled. Every call runs the user's code. What
    cannot be traced, and what computes much, is called as it is.
    """
    left = _MAX_CALLS

    def call(theta: Any, *args: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0 and all(isinstance(x, jax.Array) for x in jax.tree.leaves(theta)):
            with suppress(Exception):
                whole = jax.make_jaxpr(lambda t: function(t, *args), return_shape=True)
                closed, shapes = whole(theta)
                if cost_per_step(closed.jaxpr) <= _MAX_COST:
                    found = evaluate(closed, jax.tree.leaves(theta))
                    return jax.tree.unflatten(jax.tree.structure(shapes), map(jnp.asarray, found))
            left = 0
        return function(theta, *args)

    return call


# Audits of so many different shapes, and JAX's caches are emptied.
_MAX_SHAPES = 32
_audited: set[Hashable] = set()


def has_many_shapes(function: TracedFunction | None) -> bool:
    """Whether functions of many different shapes were audited by now, with this one.

    Each step of a user's function that is called as it is compiles a program, and JAX keeps that
    for as long as the step's shape may come again: some 30 memory maps and 10 MB for every shape.
    """
    if function is not None:
        _audited.add((function.argument_size, *map(np.shape, function.constants)))
    if len(_audited) <= _MAX_SHAPES:
        return False
    _audited.clear()
    return True


# Programs that are kept, those used last: a compiled one takes memory maps, of which a process may
# have 65,530.
_MAX_PROGRAMS = 64
# Up to this cost of a step NumPy takes the steps of a program; a costlier program is compiled.
_MAX_COST = 1e5


class _Program(NamedTuple):
    """A function of constants and arrays: traced, and compiled if it computes much."""

    closed: Any
    structure: Any
    compiled: Callable[..., Any] | None

    def __call__(self, arrays: list[Any]) -> Any:
        found = evaluate(self.closed, arrays) if self.compiled is None else self.compiled(*arrays)
        return jax.tree.unflatten(self.structure, found)


def run_compiled(
    owner: Any,
    function: Callable[..., Any],
    *arrays: Any,
    static: tuple[tuple[str, Hashable], ...] = (),
) -> Any:
    """function(owner, *arrays), traced once for all owners that differ in their data only.

    It is compiled if it computes much; else NumPy takes its steps.

    Args:
        owner: has ``constants`` and ``with_constants``; equal to its like without constants.
        function: a module-level function of an owner and arrays.
        *arrays: NumPy or JAX.
        static: keyword arguments of the function, as pairs.
    """
    constants = owner.constants
    given = [*constants, *arrays]
    kinds = tuple(jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)) for x in given)
    bare = owner.with_constants([None] * len(constants))
    return _make_program(bare, function, static, kinds)(given)


@functools.lru_cache(_MAX_PROGRAMS)
def _make_program(
    bare: Any,
    function: Callable[..., Any],
    static: tuple[tuple[str, Hashable], ...],
    kinds: tuple[jax.ShapeDtypeStruct, ...],
) -> _Program:
    count = len(bare.constants)

    def whole(*given: Any) -> Any:
        return function(bare.with_constants(given[:count]), *given[count:], **dict(static))

    closed, shapes = jax.make_jaxpr(whole, return_shape=True)(*kinds)
    is_large = cost_per_step(closed.jaxpr) > _MAX_COST
    compiled = jax.jit(core.jaxpr_as_fun(closed)) if is_large else None
    return _Program(closed, jax.tree.structure(shapes), compiled)


def run_in_batches(
    owner: Any,
    function: Callable[..., Any],
    size: int,
    *stacks: np.ndarray,
    static: tuple[tuple[str, Hashable], ...] = (),
) -> np.ndarray:
    """function(owner, *stacks) over the rows of arrays, ``size`` at a time.

    The last batch is padded, so that one compiled program serves all.
    """
    count = len(stacks[0])
    padded = [np.concatenate([s, np.repeat(s[:1], -count % size, axis=0)]) for s in stacks]
    parts = [
        np.asarray(run_compiled(owner, function, *(s[i : i + size] for s in padded), static=static))
        for i in range(0, len(padded[0]), size)
    ]
    return np.concatenate(parts)[:count]


def _is_float(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating))


def _perturb(constant: Any, rng: np.random.Generator, amount: float) -> Any:
    if not _is_float(jnp.result_type(constant)):
        return constant
    sign = rng.integers(0, 2, np.shape(constant), dtype=np.int8) * 2.0 - 1
    return np.asarray(np.asarray(constant) * (1 + amount * sign), jnp.result_type(constant))
