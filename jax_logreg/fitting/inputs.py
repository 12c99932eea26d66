"""Checks of the data at the entrance: every refusal names the argument, the value and the
remedy.

Shapes are always checked. Values can be looked at only where they are known: inside
``jit`` and ``vmap`` an illegal one becomes NaN, which ends in ``Status.NOT_FINITE``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_known(x: Any) -> bool:
    """Whether the values of x can be looked at, not only its shape."""
    return not isinstance(x, jax.core.Tracer)


def at_once(*arrays: Any) -> AbstractContextManager[Any]:
    """Where all values are known, compute now, also when a program is being traced."""
    known = all(map(is_known, arrays))
    return jax.ensure_compile_time_eval() if known else nullcontext()


def require(
    x: jax.Array, legal: Callable[[jax.Array], jax.Array], complaint: Callable[[Any], str]
) -> jax.Array:
    """x, if all its entries are legal; NaN for those that are not and cannot be told.

    Args:
        x: any shape.
        legal: x ↦ booleans of the shape of x.
        complaint: index of the first illegal entry ↦ the message.

    Raises:
        ValueError: with the complaint.
    """
    with at_once(x):
        good = legal(x)
        if not is_known(good):
            return jnp.where(good, x, jnp.nan)
        if not bool(jnp.all(good)):
            first = np.argwhere(~np.asarray(good))[0]
            raise ValueError(complaint(tuple(int(i) for i in first)))
    return x


def as_floats(name: str, x: Any) -> jax.Array:
    """x as finite floating numbers of at least 32 bits, in JAX's default float if whole.

    NumPy's float64 follows the x64 setting, as everywhere in JAX.
    """
    with at_once(x):
        if not isinstance(x, jax.Array):
            x = _numpy_floats(name, x)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real, but its dtype is {x.dtype}.")
        with np.errstate(over="ignore"):  # what overflows is told below
            array = jnp.asarray(x)
        whole = not jnp.issubdtype(array.dtype, jnp.floating)
        wanted = jnp.result_type(float) if whole else jnp.promote_types(array.dtype, jnp.float32)
        array = array.astype(wanted)
    return require(array, jnp.isfinite, lambda index: _not_finite(name, x, index))


def _numpy_floats(name: str, x: Any) -> np.ndarray:
    """Numbers in NumPy, from lists, frames and whatever else NumPy reads."""
    if hasattr(x, "toarray"):
        raise ValueError(f"{name} is sparse, and only dense arrays can be fitted: x.toarray().")
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is no rectangular table of numbers: {error}.") from None
    if x.dtype.kind == "O":
        x = _object_floats(name, x)
    if x.dtype.kind not in "buifc":
        raise ValueError(
            f"{name} must hold numbers, but its dtype is {x.dtype}. Encode text as "
            "numbers first (labels as 0, 1, … K-1)."
        )
    # Whole numbers too: NumPy's double holds more of them than JAX's default integer.
    return x.astype(float) if x.dtype.kind in "bui" or x.dtype == np.longdouble else x


def _object_floats(name: str, x: np.ndarray) -> np.ndarray:
    """Mixed columns as floats; the cell that is no number is named."""
    floats = np.empty(x.shape)
    for index, cell in np.ndenumerate(x):
        try:
            floats[index] = cell
        except (TypeError, ValueError):
            place = ", ".join(map(str, index))
            raise ValueError(
                f"{name} must hold numbers, but {name}[{place}] is {cell!r}. Encode text "
                "as numbers; drop or impute rows with gaps."
            ) from None
    return floats


def _not_finite(name: str, given: Any, index: tuple[int, ...]) -> str:
    value, place = np.asarray(given)[index], ", ".join(map(str, index))
    what = f"{name}[{place}]" if index else name
    if np.isfinite(value):
        return (
            f"{what} is {value}, which overflows JAX's default float32. Rescale it, or fit "
            "inside `with jax.enable_x64(True):`."
        )
    return f"{name} must be finite, but {what} is {value}. Drop or impute it."


def check_features(X: Any) -> jax.Array:
    """X as a finite float array (n, p) with n, p ≥ 1."""
    X = as_floats("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"X must have shape (n, p), but its shape is {X.shape}. A single feature is "
            "X.reshape(-1, 1)."
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty: its shape is {X.shape}. Give at least one row and column.")
    return X


def check_labels(y: Any, X: jax.Array, num_classes: int | None) -> jax.Array:
    """y as (n,) in [0, 1] for the sigmoid model, or as (n, K) for softmax."""
    y = as_floats("y", y)
    if y.ndim not in (1, 2) or y.shape[0] != X.shape[0]:
        raise ValueError(
            f"y must have shape ({X.shape[0]},) or ({X.shape[0]}, K) to match X, but its "
            f"shape is {y.shape}."
        )
    if y.ndim == 2:
        return _check_label_rows(y, num_classes)
    if num_classes is None and is_known(y):
        num_classes = _count_classes(y)
    if num_classes is None:
        return require(
            y,
            lambda y: (y >= 0) & (y <= 1),
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
    with at_once(y):
        largest = float(jnp.max(y))
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
        lambda y: (y >= 0) & (y < num_classes) & (y == jnp.round(y)),
        lambda index: (
            f"y must hold whole numbers 0 … {num_classes - 1} for {num_classes} "
            f"classes, but y[{index[0]}] is {float(y[index])}. Recode the labels, or give "
            "label probabilities as an array (n, K)."
        ),
    )
    with at_once(y):
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
        lambda y: (y >= 0) & (jnp.abs(jnp.sum(y, axis=1, keepdims=True) - 1) <= tolerance),
        lambda index: (
            f"rows of y must be probabilities that sum to one, but y[{index[0]}] "
            f"is {np.asarray(y[index[0]]).tolist()}. Divide each row by its sum."
        ),
    )


def check_weight(sample_weight: Any, X: jax.Array) -> jax.Array | None:
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
        lambda weight: weight >= 0,
        lambda index: (
            f"sample_weight must not be negative, but sample_weight[{index[0]}] is "
            f"{float(weight[index])}. Use zero to leave a row out."
        ),
    )
    with at_once(weight):
        weight = weight.astype(X.dtype)
        if is_known(weight) and float(jnp.max(weight)) == 0:
            raise ValueError("sample_weight sums to zero: give some row a positive weight.")
    return weight


def check_classes(y: jax.Array, weight: jax.Array | None) -> None:
    """Refuse labels that never show one of the classes; their intercept runs away."""
    if not is_known(y) or (weight is not None and not is_known(weight)):
        return
    with at_once(y, weight):
        columns = jnp.stack([1 - y, y], axis=1) if y.ndim == 1 else y
        mass = jnp.max(columns if weight is None else columns * weight[:, None], axis=0)
        absent = int(jnp.argmin(mass))
        if not float(mass[absent]) > 0:
            raise ValueError(
                f"y shows no row of class {absent} (with positive weight), so its intercept "
                "has no finite value. Labels count from 0: give rows of every class, or "
                "fewer classes."
            )


def check_offset(offset: Any, X: jax.Array, y: jax.Array) -> jax.Array | None:
    """The offset in the shape of the logits."""
    if offset is None:
        return None
    offset = as_floats("offset", offset)
    if offset.shape != y.shape:
        raise ValueError(
            f"offset must have the shape of the logits, {y.shape}, but its shape is {offset.shape}."
        )
    return offset.astype(X.dtype)
