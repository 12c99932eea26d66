"""Padding of the rows to a few sizes: compiling a program takes seconds, running it a moment.

Folds of 799 and 800 rows then share one program. The added rows have weight zero, so the answer
changes by the order of a sum.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_logreg.objective.dense_features import is_on_one_device

# Up to this number of entries of X a copy costs nothing beside a call.
_SMALL = 2**17
# Sizes of the smallest tables, as long as a Hessian has no more multiply-adds than this: some
# ten microseconds. Without them scikit-learn's checks of an estimator compile for 20 s longer.
_COARSE_SIZES, _FEW_MULTIPLY_ADDS = (64, 256), 2.5e5


class Dataset(NamedTuple):
    """Everything that has one entry a row."""

    X: Any
    y: Any
    weight: Any
    offset: Any


def padded_size(n: int, num_coefficients: int) -> int:
    """The number of rows that n are padded to: 64, 256, then 8 sizes between powers of two.

    >>> padded_size(7, 4), padded_size(150, 4), padded_size(150, 100), padded_size(569, 30)
    (64, 256, 160, 576)
    """
    for size in _COARSE_SIZES:
        if n <= size and size * num_coefficients**2 <= _FEW_MULTIPLY_ADDS:
            return size
    step = max(1, 2 ** (n.bit_length() - 4))
    return -(-n // step) * step


def pad_rows(data: Dataset) -> Dataset:
    """The data with rows of weight zero after them.

    Only where that costs nothing: small dense data on one device, with concrete values. For
    JAX's default device they stay NumPy arrays: a compiled program transfers them anyway.
    """
    X = data.X
    movable = isinstance(X, jax.Array) and all(map(is_on_one_device, jax.tree.leaves(data)))
    if not movable or X.size > _SMALL:
        return data
    extra = padded_size(X.shape[0], X.shape[1] * math.prod(data.y.shape[1:])) - X.shape[0]
    # Weights are an array even where no row is added: all tables of a size are one program.
    weight = np.ones(X.shape[0], X.dtype) if data.weight is None else data.weight
    padded = jax.tree.map(lambda part: _append_zeros(part, extra), data._replace(weight=weight))
    (device,) = X.devices()
    default = getattr(jax.config, "jax_default_device", None) or jax.devices()[0]
    return padded if device == default else Dataset(*jax.device_put(tuple(padded), device))


def _append_zeros(part: Any, extra: int) -> np.ndarray:
    part = np.asarray(part)
    return np.concatenate([part, np.zeros((extra, *part.shape[1:]), part.dtype)])
