"""Looking at values: what is known, what is legal, what is a number.

Inside ``jit`` and ``vmap`` an illegal value becomes NaN, which ends in
``Status.NOT_FINITE``; elsewhere it is refused with its place.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(x: Any) -> bool:
    """Whether the values of x can be looked at, not only its shape."""
    return not isinstance(x, jax.core.Tracer)


def are_concrete(*trees: Any) -> bool:
    """Whether all values in these pytrees can be looked at."""
    return all(map(is_concrete, jax.tree.leaves(trees)))


def eager_if_concrete(*arrays: Any) -> AbstractContextManager[Any]:
    """Where all values are known, compute now, also when a program is being traced."""
    known = all(map(is_concrete, arrays))
    return jax.ensure_compile_time_eval() if known else nullcontext()


Legal = Callable[..., Any]

# NumPy looks at so many values before a compiled program has begun.
SMALL = 2**18


def require(x: jax.Array, legal: Legal, complaint: Callable[[Any], str], *args: Any) -> jax.Array:
    """x, if all its entries are legal; NaN for those that are not and cannot be told.

    Args:
        x: any shape.
        legal: (x, *args) ↦ booleans, for NumPy's arrays and JAX's; a function of a module,
            so that it compiles once.
        complaint: index of the first illegal entry ↦ the message.
        args: what ``legal`` needs besides.

    Raises:
        ValueError: with the complaint.
    """
    with eager_if_concrete(x):
        if not is_concrete(x):
            return jnp.where(legal(x, *args), x, jnp.nan)
        if not _all_are(legal, x, *args):
            first = np.argwhere(~np.asarray(legal(x, *args)))[0]
            raise ValueError(complaint(tuple(int(i) for i in first)))
    return x


def in_dtype(x: jax.Array, dtype: Any) -> jax.Array:
    """x in a dtype; JAX's own astype takes its time where nothing changes."""
    return x if x.dtype == dtype else x.astype(dtype)


def as_numpy_if_small(x: jax.Array) -> Any:
    """Few known values as NumPy's, which costs nothing; many as they are."""
    return np.asarray(x) if x.size <= SMALL and x.is_fully_addressable else x


def _all_are(legal: Legal, x: jax.Array, *args: Any) -> bool:
    few = as_numpy_if_small(x)
    if few is not x:
        return bool(np.all(legal(few, *args)))
    return bool(_all(legal, x, *args))


@partial(jax.jit, static_argnums=0)
def _all(legal: Legal, x: jax.Array, *args: Any) -> jax.Array:
    """Whether all of x is legal, in one pass that keeps nothing of the size of x."""
    return jnp.all(legal(x, *args))


def _sum_is_finite(x: Any) -> bool:
    """Where it is, so is every entry; where it is not, the sum may only have overflowed."""
    few = as_numpy_if_small(x) if isinstance(x, jax.Array) else x
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(few.sum() if isinstance(few, np.ndarray) else _sum(few)))


_sum = jax.jit(jnp.sum)


def is_finite(x: Any) -> Any:
    """x is neither infinite nor NaN."""
    return x.__array_namespace__().isfinite(x)


def not_negative(x: Any) -> Any:
    """x ≥ 0."""
    return x >= 0


def is_share(x: Any) -> Any:
    """0 ≤ x ≤ 1."""
    return (x >= 0) & (x <= 1)


def is_zero(x: Any) -> Any:
    """x = 0."""
    return x == 0


def as_floats(name: str, x: Any) -> jax.Array:
    """x as finite floating numbers of at least 32 bits, in JAX's default float if whole.

    NumPy's float64 follows the x64 setting, as everywhere in JAX.
    """
    with eager_if_concrete(x):
        if not isinstance(x, jax.Array):
            x = _numpy_floats(name, x)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ValueError(f"{name} must be real, but its dtype is {x.dtype}.")
        with np.errstate(over="ignore"):  # what overflows is told below
            array = x if isinstance(x, jax.Array) else jnp.asarray(x)
        whole = not jnp.issubdtype(array.dtype, jnp.floating)
        wanted = jnp.result_type(float) if whole else jnp.promote_types(array.dtype, jnp.float32)
        array = in_dtype(array, wanted)
        if is_concrete(array) and _sum_is_finite(array):
            return array  # one read, at a third of the cost of a look at each entry
    return require(array, is_finite, lambda index: _not_finite(name, x, index))


def is_ready(x: Any) -> bool:
    """Whether ``as_floats`` would leave NumPy's numbers as they are; they stay where they are."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray) or x.dtype.kind != "f":
        return False
    kept = x.dtype == jnp.promote_types(jax.dtypes.canonicalize_dtype(x.dtype), jnp.float32)
    return bool(kept) and _sum_is_finite(x)


def refuse_masked(name: str, x: Any) -> None:
    """Refuse a masked array that hides something: NumPy would drop the mask."""
    if isinstance(x, np.ma.MaskedArray) and np.any(np.ma.getmaskarray(x)):
        place = ", ".join(map(str, np.argwhere(np.ma.getmaskarray(x))[0]))
        raise ValueError(
            f"{name}[{place}] is masked, and what a mask hides is unknown: fill it "
            f"({name}.filled(value)), or drop the row."
        )


def _numpy_floats(name: str, x: Any) -> np.ndarray:
    """Numbers in NumPy, from lists, frames and whatever else NumPy reads."""
    if is_sparse(x):
        raise ValueError(f"{name} is sparse; X alone may be. Give {name} as a dense array.")
    refuse_masked(name, x)
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is no rectangular table of numbers: {error}.") from None
    if x.dtype.kind == "O":
        x = _object_floats(name, x)
    # NumPy knows bfloat16 and its like by JAX only.
    if x.dtype.kind not in "buifc" and not jnp.issubdtype(x.dtype, jnp.floating):
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


def is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix of SciPy's or JAX's."""
    return hasattr(x, "toarray") or hasattr(x, "todense")
