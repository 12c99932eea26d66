"""Large new tables for JAX on the CPU, in memory that NumPy made.

A system hands new memory out page by page as it is touched. NumPy asks for large pages where
JAX's allocator does not, and a copy of X then takes half the time.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeGuard

import jax
import numpy as np

# JAX takes a NumPy table over as it is, where it begins on a multiple of so many bytes.
_ALIGNMENT = 64
_THREADS = 2


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A table to be filled and then given to ``jax.device_put``, which need not copy it.

    >>> empty((3, 5), np.float32).shape
    (3, 5)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def is_on_one_device(x: Any) -> TypeGuard[jax.Array]:
    """Whether x is an array whose values are known and lie together."""
    is_known = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    return is_known and len(x.devices()) == 1


def is_on_one_cpu(X: Any) -> TypeGuard[jax.Array]:
    """Whether X is a known table on one CPU."""
    return is_on_one_device(X) and next(iter(X.devices())).platform == "cpu"


def in_float32(X: jax.Array) -> jax.Array:
    """A float32 copy of a known table on one CPU.

    >>> in_float32(jax.numpy.ones((2, 2))).dtype.name
    'float32'
    """
    table = empty(X.shape, np.float32)

    def copy(to: np.ndarray, rows: np.ndarray) -> None:
        with np.errstate(over="ignore"):  # an infinite entry is told by the fit
            np.copyto(to, rows, casting="same_kind")

    with ThreadPoolExecutor(_THREADS) as pool:  # one does not use all of the memory's speed
        list(pool.map(copy, *(np.array_split(A, _THREADS) for A in (table, np.asarray(X)))))
    return jax.device_put(table, next(iter(X.devices())))
