"""Steps of a jaxpr in NumPy: by a primitive's name, a function of its inputs and parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

# Products of this many terms NumPy's BLAS takes with one thread; several, where others compute as
# well, wait for one another, and take fifty times as long.
_BLOCK = 2**18

Step = Callable[..., Any]


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


def _split(x: np.ndarray, sizes: Sequence[int], axis: int) -> list[np.ndarray]:
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _places(
    shape: Sequence[int],
    sizes: Sequence[int],
    starts: np.ndarray,
    axes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    mode: Any,
) -> tuple[np.ndarray, ...]:
    """Where windows of an array lie: an index of shape (*batch, *sizes) for every axis.

    Args:
        shape: of the array.
        sizes: of a window, one per axis.
        starts: (*batch, k), of the windows along k axes.
        axes: these axes; axes of the array that go with axes of the batch, and those.
        mode: what becomes of windows beyond the edges.

    Raises:
        ValueError: if windows are beyond the edges, and not moved inside.
    """
    moved, batched, batches = axes
    batch = starts.shape[:-1]
    found = []
    for axis, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        start = np.zeros(batch, np.int64)
        if axis in moved:
            start = starts[..., list(moved).index(axis)].astype(np.int64)
            inside = np.clip(start, 0, length - size)
            if "CLIP" not in str(mode) and not np.array_equal(start, inside):
                raise ValueError("beyond the edge")
            start = inside
        elif axis in batched:
            along = batches[list(batched).index(axis)]
            start = start + np.arange(batch[along]).reshape(
                [-1 if i == along else 1 for i in range(len(batch))]
            )
        window = np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(sizes))])
        found.append(start.reshape(*batch, *(1,) * len(sizes)) + window)
    return tuple(found)


def _gather(
    x: np.ndarray,
    starts: np.ndarray,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any,
    **_: Any,
) -> np.ndarray:
    d = dimension_numbers
    batch_axes = d.operand_batching_dims, d.start_indices_batching_dims
    places = _places(x.shape, slice_sizes, starts, (d.start_index_map, *batch_axes), mode)
    num_batch = starts.ndim - 1
    dropped = (*d.collapsed_slice_dims, *d.operand_batching_dims)
    found = x[places].squeeze(tuple(num_batch + axis for axis in dropped))
    return np.moveaxis(found, range(num_batch, found.ndim), d.offset_dims)


def _scatter(put: Callable[..., Any]) -> Step:
    def step(
        x: np.ndarray, starts: np.ndarray, updates: np.ndarray, *, dimension_numbers: Any,
        mode: Any, **_: Any,
    ) -> np.ndarray:  # fmt: skip
        d, num_batch = dimension_numbers, starts.ndim - 1
        flat = np.moveaxis(updates, d.update_window_dims, range(num_batch, updates.ndim))
        single = sorted((*d.inserted_window_dims, *d.operand_batching_dims))
        sizes = list(flat.shape[num_batch:])
        for axis in single:
            sizes.insert(axis, 1)
        axes = d.scatter_dims_to_operand_dims, d.operand_batching_dims
        places = _places(x.shape, sizes, starts, (*axes, d.scatter_indices_batching_dims), mode)
        found = x.copy()
        put(found, places, flat.reshape(*starts.shape[:-1], *sizes))
        return found

    return step


def _lu(a: np.ndarray) -> list[np.ndarray]:
    matrices = a.reshape(-1, *a.shape[-2:])
    pairs = [scipy.linalg.lu_factor(m, check_finite=False) for m in matrices]
    rows = a.shape[-2]
    orders = [np.arange(rows, dtype=np.int32) for _ in pairs]
    for order, (_, pivots) in zip(orders, pairs, strict=True):
        for i, pivot in enumerate(pivots):
            order[[i, pivot]] = order[[pivot, i]]
    found = (np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), np.array(orders))
    return [x.reshape(*a.shape[:-2], *x.shape[1:]) for x in found]


def _triangular_solve(
    a: np.ndarray, b: np.ndarray, *, left_side: bool, lower: bool, transpose_a: bool,
    conjugate_a: bool, unit_diagonal: bool,
) -> np.ndarray:  # fmt: skip
    a = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        eye = np.eye(a.shape[-1], dtype=bool)
        a = np.where(eye, np.ones((), a.dtype), a)
    a = a.conj() if conjugate_a else a
    a = a.swapaxes(-1, -2) if transpose_a == left_side else a
    if left_side:
        return np.linalg.solve(a, b)
    return np.linalg.solve(a, b.swapaxes(-1, -2)).swapaxes(-1, -2)


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
    "conj": np.conj, "lgamma": scipy.special.gammaln, "digamma": scipy.special.psi,
    "erf": scipy.special.erf, "erfc": scipy.special.erfc,
    "erf_inv": scipy.special.erfinv,
}  # fmt: skip
_REDUCTIONS = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip
_SCANS = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
    "logsumexp": np.logaddexp,
}  # fmt: skip
STEPS: dict[str, Step] = {
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
    "split": _split,
    "gather": _gather,
    "scatter": _scatter(lambda x, places, y: x.__setitem__(places, y)),
    "scatter-add": _scatter(np.add.at),
    "scatter-sub": _scatter(np.subtract.at),
    "scatter-mul": _scatter(np.multiply.at),
    "lu": _lu,
    "triangular_solve": _triangular_solve,
    "cholesky": lambda a, **_: np.linalg.cholesky(a),
}
# The steps that have several outputs.
SEVERAL = {"split", "lu"}
