"""Rows padded up to a few sizes: compiling a program takes seconds, running it a moment.

Folds of 799 and 800 rows then share one program. The rows that are added weigh nothing, so
the answer changes by the order of a sum.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jax_logreg.objective.host_memory import is_on_one_device

# Entries of X up to which a copy costs nothing beside a call.
_SMALL = 2**17


class Rows(NamedTuple):
    """Everything that has one entry a row."""

    X: Any
    y: Any
    weight: Any
    offset: Any


def bucket(n: int) -> int:
    """The size that n rows are padded to: 8 sizes between powers of two.

    >>> bucket(569), bucket(800), bucket(7)
    (576, 832, 7)
    """
    step = max(1, 2 ** (n.bit_length() - 4))
    return -(-n // step) * step


def pad(rows: Rows) -> Rows:
    """The rows, with rows of weight zero after them up to the bucket's size.

    Only where that costs nothing: small dense data, on one device, with known values. For
    JAX's own device they are left to NumPy: a compiled program takes them from there at once.
    """
    X = rows.X
    movable = isinstance(X, jax.Array) and all(map(is_on_one_device, jax.tree.leaves(rows)))
    if not movable or X.shape[0] * X.shape[1] > _SMALL:
        return rows
    extra = bucket(X.shape[0]) - X.shape[0]
    # Weights are spelt out even where nothing is added: all of a bucket are one program.
    weight = np.ones(X.shape[0], X.dtype) if rows.weight is None else rows.weight
    filled = jax.tree.map(lambda part: _fill(part, extra), rows._replace(weight=weight))
    (device,) = X.devices()
    own = getattr(jax.config, "jax_default_device", None) or jax.devices()[0]
    return filled if device == own else Rows(*jax.device_put(tuple(filled), device))


def _fill(part: Any, extra: int) -> np.ndarray:
    """Zeros after the rows; of probabilities any row would do that sums to one."""
    part = np.asarray(part)
    return np.concatenate([part, np.zeros((extra, *part.shape[1:]), part.dtype)])
