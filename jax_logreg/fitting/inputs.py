"""Checks of the data at the entrance: every refusal names the argument, the value and the
remedy. Shapes are always checked, values where they are known.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.fitting.values import (
    SMALL,
    are_concrete,
    as_floats,
    as_numpy_if_small,
    eager_if_concrete,
    in_dtype,
    is_concrete,
    is_ready,
    is_share,
    is_sparse,
    not_negative,
    require,
)
from jax_logreg.objective.dense_features import Features
from jax_logreg.objective.identifiability import class_shares
from jax_logreg.objective.sparse_features import SparseFeatures, sparse_features


def check_features(X: Any) -> Features:
    """X as a finite float table (n, p) with n, p ≥ 1, dense or sparse."""
    if isinstance(X, SparseFeatures):
        return X
    if is_sparse(X):
        return _check_sparse(X)
    X = as_floats("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"X must have shape (n, p), but its shape is {X.shape}. A single feature is "
            "X.reshape(-1, 1)."
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty: its shape is {X.shape}. Give at least one row and column.")
    return X


def _check_sparse(X: Any) -> SparseFeatures:
    """The entries of a sparse X as finite floats, in the layout that multiplies fast."""
    if not (hasattr(X, "tocsr") or hasattr(X, "tree_flatten")):
        raise ValueError(
            f"X is sparse, of a kind unknown here ({type(X).__name__}): give a SciPy matrix, "
            "or X.toarray()."
        )
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"X must have shape (n, p), n and p ≥ 1, but its shape is {X.shape}.")
    if not are_concrete(X):
        raise ValueError(
            "a sparse X must be known: inside jit pass what sparse_features(X) returned."
        )
    X = X.tocsr() if hasattr(X, "tocsr") else X
    values = X.data if is_ready(X.data) else as_floats("X.data", X.data)
    return sparse_features(X, values.dtype)


def check_labels_of(X: Features, y: Any, num_classes: int | None) -> jax.Array:
    """The labels of X in its dtype; many that are given as whole numbers 0 and 1 in one byte
    each, for every pass reads them."""
    rows = X.shape[0]
    is_array = type(y) is np.ndarray or isinstance(y, jax.Array)
    if num_classes is None and rows > SMALL and is_array and y.shape == (rows,):
        with eager_if_concrete(y):
            if _is_bits(y):
                return jnp.asarray(y.astype(np.int8))
    return in_dtype(check_labels(y, rows, num_classes), X.dtype)


def _is_bits(y: np.ndarray | jax.Array) -> bool:
    """Whether they are known to be whole numbers, all 0 or 1."""
    return y.dtype.kind in "biu" and is_concrete(y) and bool(y.min() >= 0) and bool(y.max() <= 1)


def check_labels(y: Any, rows: int, num_classes: int | None) -> jax.Array:
    """y as (n,) in [0, 1] for the sigmoid model, or as (n, K) for softmax."""
    y = as_floats("y", y)
    if y.ndim not in (1, 2) or y.shape[0] != rows:
        raise ValueError(
            f"y must have shape ({rows},) or ({rows}, K) to match X, but its shape is {y.shape}."
        )
    if y.ndim == 2:
        return _check_label_rows(y, num_classes)
    if num_classes is None and is_concrete(y):
        num_classes = _count_classes(y)
    if num_classes is None:
        return require(
            y,
            is_share,
            lambda index: (
                f"y must lie in [0, 1] for the sigmoid model, but y[{index[0]}] is "
                f"{float(y[index])}. Map labels -1 and 1 to 0 and 1, or give whole numbers "
                "0, 1, … K-1 for softmax."
            ),
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, but it is {num_classes}.")
    return _one_hot(y, num_classes)


def _count_classes(y: jax.Array) -> int | None:
    """K where labels beyond 1 call for softmax, else None."""
    with eager_if_concrete(y):
        largest = float(as_numpy_if_small(y).max())
    if largest <= 1:
        return None
    if largest >= y.size:
        raise ValueError(
            f"y holds {largest:g}, but {y.size} rows cannot show that many classes. Labels "
            "are whole numbers that count from 0."
        )
    return int(largest) + 1


def _one_hot(y: jax.Array, num_classes: int) -> jax.Array:
    y = require(
        y,
        _class_numbers,
        lambda index: (
            f"y must hold whole numbers 0 … {num_classes - 1} for {num_classes} "
            f"classes, but y[{index[0]}] is {float(y[index])}. Recode the labels, or give "
            "label probabilities as an array (n, K)."
        ),
        num_classes,
    )
    with eager_if_concrete(y):
        hot = jax.nn.one_hot(y.astype(int), num_classes, dtype=y.dtype)
        return jnp.where(jnp.isnan(y)[:, None], jnp.nan, hot)


def _check_label_rows(y: jax.Array, num_classes: int | None) -> jax.Array:
    K = y.shape[1]
    if K < 2 or num_classes not in (None, K):
        wanted = "at least 2" if num_classes is None else str(num_classes)
        raise ValueError(
            f"y must have {wanted} columns, one a class, but its shape is {y.shape}. Labels "
            "of one column are y.ravel()."
        )
    tolerance = 100 * K * float(jnp.finfo(y.dtype).eps)
    return require(
        y,
        _rows_of_probabilities,
        lambda index: (
            f"rows of y must be probabilities that sum to one, but y[{index[0]}] "
            f"is {np.asarray(y[index[0]]).tolist()}. Divide each row by its sum."
        ),
        tolerance,
    )


def check_weight(sample_weight: Any, X: Features) -> jax.Array | None:
    """Weights as (n,), none negative, with a positive sum."""
    if sample_weight is None:
        return None
    weight = as_floats("sample_weight", sample_weight)
    if weight.shape != X.shape[:1]:
        raise ValueError(
            f"sample_weight must have shape ({X.shape[0]},), but its shape is {weight.shape}."
        )
    weight = require(
        weight,
        not_negative,
        lambda index: (
            f"sample_weight must not be negative, but sample_weight[{index[0]}] is "
            f"{float(weight[index])}. Use zero to leave a row out."
        ),
    )
    with eager_if_concrete(weight):
        weight = weight.astype(X.dtype)
        if is_concrete(weight) and float(as_numpy_if_small(weight).max()) == 0:
            raise ValueError("sample_weight sums to zero: give some row a positive weight.")
    return weight


def check_classes(y: jax.Array, weight: jax.Array | None) -> None:
    """Refuse labels that never show one of the classes; their intercept runs away."""
    if not is_concrete(y) or (weight is not None and not is_concrete(weight)):
        return
    with eager_if_concrete(y, weight):
        few: Any = as_numpy_if_small(y)
        each: Any = 1.0 if weight is None else as_numpy_if_small(weight)
        mass = np.asarray((_class_shares if few is y else class_shares)(few, each))
        absent = int(np.argmin(mass))
        if not mass[absent] > 0:
            raise ValueError(
                f"y shows no row of class {absent} (with positive weight), so its intercept "
                "has no finite value. Labels count from 0: give rows of every class, or "
                "fewer classes."
            )


_class_shares = jax.jit(class_shares)


def check_offset(offset: Any, X: Features, y: jax.Array) -> jax.Array | None:
    """The offset in the shape of the logits."""
    if offset is None:
        return None
    offset = as_floats("offset", offset)
    if offset.shape != y.shape:
        raise ValueError(
            f"offset must have the shape of the logits, {y.shape}, but its shape is {offset.shape}."
        )
    return offset.astype(X.dtype)


def _class_numbers(y: Any, num_classes: int) -> Any:
    return (y >= 0) & (y < num_classes) & (y == y.round())


def _rows_of_probabilities(y: Any, tolerance: float) -> Any:
    return (y >= 0) & (abs(y.sum(axis=1, keepdims=True) - 1) <= tolerance)
