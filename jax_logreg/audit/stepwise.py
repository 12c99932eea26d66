"""A jaxpr evaluated with NumPy, one step after another.

An audit asks many small questions a few times each: compiling a program takes a hundred times as
long as running it this way. A step that has no counterpart here is left to JAX, by itself.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import jax
import numpy as np
from jax.extend import core

# What a step costs beside its numbers, in numbers; and how many terms of a product cost as much
# as one number that is computed otherwise.
_STEP, _TERMS = 1000, 4
# Products of this many terms NumPy's BLAS takes with one thread; several, where others compute as
# well, wait for one another, and take fifty times as long.
_BLOCK = 2**18

Step = Callable[..., Any]


def evaluate(closed: Any, arguments: Sequence[Any]) -> list[Any]:
    """The values of a closed jaxpr, as NumPy arrays but for JAX's random keys."""
    jaxpr = closed.jaxpr
    last_use = _last_uses(jaxpr)
    values: dict[Any, Any] = {}

    def read(v: Any) -> Any:
        return _as_numpy(v.val, v.aval) if isinstance(v, core.Literal) else values[v]

    def write(variables: Sequence[Any], found: Sequence[Any]) -> None:
        for v, value in zip(variables, found, strict=True):
            if v in last_use:
                values[v] = _as_numpy(value, v.aval)

    write([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *arguments])
    with np.errstate(all="ignore"):
        for i, eqn in enumerate(jaxpr.eqns):
            write(eqn.outvars, _take_step(eqn, [read(v) for v in eqn.invars]))
            for v in _variables(eqn.invars):
                if last_use[v] == i:
                    values.pop(v, None)
    return [read(v) for v in jaxpr.outvars]


def _last_uses(jaxpr: Any) -> dict[Any, int]:
    """After which step each variable is needed no more; those that never are, are left out."""
    uses = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in _variables(eqn.invars)}
    return uses | dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [v for v in atoms if not isinstance(v, core.Literal)]


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


def _as_numpy(value: Any, aval: Any) -> Any:
    is_key = jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended)
    return value if is_key else np.asarray(value, aval.dtype)


def _take_step(eqn: Any, inputs: list[Any]) -> Sequence[Any]:
    name, inner = eqn.primitive.name, _inner_jaxpr(eqn)
    if name == "scan":
        return _scan(inner, inputs, **eqn.params)
    if inner is not None:
        return evaluate(inner, inputs)
    # NumPy's own dtypes only: not bfloat16, not the keys of random numbers.
    if name in _STEPS and all(x.dtype.isbuiltin == 1 for x in inputs):
        with suppress(TypeError, ValueError):  # what NumPy refuses is left to JAX
            return [_STEPS[name](*inputs, **eqn.params)]
    found = eqn.primitive.bind(*inputs, **eqn.params)
    return list(found) if eqn.primitive.multiple_results else [found]


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


def _dot_general(a: np.ndarray, b: np.ndarray, dimension_numbers: Any, **_: Any) -> np.ndarray:
    (a_sum, b_sum), (a_batch, b_batch) = dimension_numbers
    a_free = [i for i in range(a.ndim) if i not in (*a_sum, *a_batch)]
    b_free = [i for i in range(b.ndim) if i not in (*b_sum, *b_batch)]
    batch, rows, terms = ([a.shape[i] for i in axes] for axes in (a_batch, a_free, a_sum))
    columns = [b.shape[i] for i in b_free]
    n, k, m = (int(np.prod(sizes)) for sizes in (rows, terms, columns))
    left = a.transpose([*a_batch, *a_free, *a_sum]).reshape(*batch, n, k)
    right = b.transpose([*b_batch, *b_sum, *b_free]).reshape(*batch, k, m)
    height = max(1, _BLOCK // max(1, k * m))
    blocks = [left[..., i : i + height, :] @ right for i in range(0, max(n, 1), height)]
    return np.concatenate(blocks, -2).reshape((*batch, *rows, *columns))


def _broadcast_in_dim(
    x: np.ndarray, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any
) -> np.ndarray:
    kept = [1] * len(shape)
    for size, axis in zip(x.shape, broadcast_dimensions, strict=True):
        kept[axis] = size
    return np.broadcast_to(x.reshape(kept), shape)


def _iota(*, shape: Sequence[int], dimension: int, **_: Any) -> np.ndarray:
    counted = np.arange(shape[dimension])
    return _broadcast_in_dim(counted, shape=shape, broadcast_dimensions=[dimension])


def _pad(x: np.ndarray, value: np.ndarray, padding_config: Any) -> np.ndarray:
    """Rows are put in between as well, and where the numbers are negative taken away."""
    shape, inside, kept = [], [], []
    for size, (low, high, between) in zip(x.shape, padding_config, strict=True):
        spread = size + max(size - 1, 0) * between
        shape.append(max(low, 0) + spread + max(high, 0))
        inside.append(slice(max(low, 0), max(low, 0) + spread, between + 1))
        kept.append(slice(max(-low, 0), shape[-1] - max(-high, 0)))
    padded = np.full(shape, value, x.dtype)
    padded[tuple(inside)] = x
    return padded[tuple(kept)]


def _slice(x: np.ndarray, *, start_indices: Any, limit_indices: Any, strides: Any) -> np.ndarray:
    strides = strides or [1] * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def _select_n(which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return np.choose(which.astype(int), cases) if len(cases) != 2 else np.where(which, *cases[::-1])


def _div(a: np.ndarray, b: np.ndarray) -> Any:
    """Of integers, towards zero."""
    return a / b if a.dtype.kind in "fc" else (a - np.fmod(a, b)) // b


def _complex(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    joined = np.empty(np.broadcast_shapes(a.shape, b.shape), np.result_type(a, np.complex64))
    joined.real, joined.imag = a, b
    return joined


def _convert(x: np.ndarray, new_dtype: Any, **_: Any) -> np.ndarray:
    real = x.real if np.dtype(new_dtype).kind != "c" else x
    return real.astype(new_dtype)


def _elementwise(ufunc: Any) -> Step:
    return lambda *x, **_: ufunc(*x)


def _reduce(ufunc: Any) -> Step:
    return lambda x, axes, **_: ufunc.reduce(x, axis=tuple(axes))


def _accumulate(ufunc: Any) -> Step:
    def step(x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
        if reverse:
            return np.flip(ufunc.accumulate(np.flip(x, axis), axis), axis)
        return ufunc.accumulate(x, axis)

    return step


_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"}
_CALLS |= {"custom_jvp_call", "custom_vjp_call", "scan"}
_UFUNCS = {
    "add_any": np.add, "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "max": np.maximum, "min": np.minimum, "rem": np.fmod, "pow": np.power, "abs": np.abs,
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p, "expm1": np.expm1,
    "sqrt": np.sqrt, "cbrt": np.cbrt, "square": np.square, "sign": np.sign, "floor": np.floor,
    "ceil": np.ceil, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "is_finite": np.isfinite, "real": np.real, "imag": np.imag,
    "conj": np.conj,
}  # fmt: skip
_REDUCTIONS = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip
_SCANS = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "logsumexp": np.logaddexp,
}  # fmt: skip
_STEPS: dict[str, Step] = {
    **{name: _elementwise(ufunc) for name, ufunc in _UFUNCS.items()},
    **{f"reduce_{name}": _reduce(ufunc) for name, ufunc in _REDUCTIONS.items()},
    **{f"cum{name}": _accumulate(ufunc) for name, ufunc in _SCANS.items()},
    **dict.fromkeys(("copy", "copy_p", "stop_gradient"), lambda x, **_: x),
    "stack": lambda *x, axis: np.stack(x, axis),
    "div": _div,
    "complex": _complex,
    "rsqrt": lambda x, **_: 1 / np.sqrt(x),
    "logistic": lambda x, **_: 1 / (1 + np.exp(-x)),
    "integer_pow": lambda x, y: np.power(x, y),
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "select_n": _select_n,
    "convert_element_type": _convert,
    "broadcast_in_dim": _broadcast_in_dim,
    "iota": _iota,
    "reshape": lambda x, new_sizes, **_: x.reshape(new_sizes),
    "squeeze": lambda x, dimensions: x.squeeze(dimensions),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "concatenate": lambda *x, dimension: np.concatenate(x, dimension),
    "pad": _pad,
    "rev": lambda x, dimensions: np.flip(x, dimensions),
    "slice": _slice,
    "dot_general": _dot_general,
}
