"""Calling a user's functions: whatever they do becomes an array or a finding."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.findings import ERROR, Finding, Unusable
from jax_logreg.audit.layout import Layout

# How JAX's errors read where an array is remembered in the other precision.
_PINNED = ("RuntimeProgramInputMismatch", "same dtypes", "verifier errors")
DERIVATIVES = ("gradient", "jacobian", "hessian", "hvp")


@dataclass(frozen=True)
class Caller:
    """One of the user's functions, as a map from flat vectors to a flat array.

    Attributes:
        name: "value" or one of DERIVATIVES.
        function: called as function(θ, *args), hvp as function(θ, v, *args).
        layout: of θ.
        args: whatever else it takes.
        numpy: whether it is given NumPy arrays.
        out_shape: shape of the value, () where it is a number.
    """

    name: str
    function: Callable[..., Any]
    layout: Layout
    args: tuple[Any, ...]
    numpy: bool
    out_shape: tuple[int, ...] = ()

    def __call__(self, *vectors: np.ndarray, dtype: str) -> np.ndarray:
        """The function at flat vectors, in the named precision.

        Returns:
            () or (M,) for the value, (P,) for gradient and hvp, (M, P) or (P, P).

        Raises:
            Unusable: with the finding, whatever went wrong.
        """
        with jax.enable_x64(dtype == "float64"):
            raw = self._ask(vectors, dtype)
            flat = self._flatten(raw)
        self._check_dtype(flat, dtype)
        if flat.dtype == np.longdouble:
            return flat.astype(np.float64)
        return flat.copy()  # the function may write its next answer into the same array

    def _ask(self, vectors: tuple[np.ndarray, ...], dtype: str) -> Any:
        given = [self.layout.unravel(self._array(v, dtype)) for v in vectors]
        before = [np.array(v, dtype) for v in vectors]
        args = jax.tree.map(_as_numpy, self.args) if self.numpy else self.args
        try:
            raw = self._patiently(given, args)
        except Exception as error:
            raise self._unusable("raises", f"raises {_in_short(error)}") from None
        for tree, flat in zip(given, before, strict=True):
            after = np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
            if not np.array_equal(after, flat, equal_nan=True):
                raise self._unusable("hidden-state", "changes the array that it is given.")
        return raw

    def _patiently(self, given: list[Any], args: tuple[Any, ...]) -> Any:
        """The call; a second one where JAX may have tripped over its own memory.

        A jitted function that lives and captured a NumPy array pins the array to the
        precision that it was traced in; in the other precision JAX then fails.
        """

        def call() -> Any:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return jax.block_until_ready(self.function(*given, *args))

        try:
            return call()
        except (jax.errors.JaxRuntimeError, TypeError, ValueError) as error:
            if not any(sign in str(error) for sign in _PINNED):
                raise
        # Out here the error is gone, and with it the last hold on the trace.
        jax.clear_caches()
        return call()

    def _array(self, vector: np.ndarray, dtype: str) -> Any:
        copy = np.array(vector, dtype)
        return copy if self.numpy else jnp.asarray(copy)

    def _flatten(self, raw: Any) -> np.ndarray:
        if self.name == "value":
            if isinstance(raw, tuple | list | dict):
                raise self._unusable("shape", f"returns {_kind(raw)} where an array is meant.")
            return np.asarray(_array_of(raw, self))
        if self.name in ("gradient", "hvp"):
            return self._join(raw, ())
        if self.name == "jacobian":
            return self._join(raw, self.out_shape).reshape(-1, self.layout.size)
        return self._hessian(raw)

    def _join(self, raw: Any, front: tuple[int, ...]) -> np.ndarray:
        """Leaves of shape front + (shape of the leaf of θ), side by side."""
        size, shapes = self.layout.size, self.layout.shapes
        if _is_array(raw) and np.shape(raw) == (*front, size):
            return np.asarray(_array_of(raw, self))
        expected = " and ".join(str((*front, *shape)) for shape in shapes)
        leaves = self._leaves(raw, front, expected)
        arrays = [np.asarray(_array_of(leaf, self)) for leaf in leaves]
        found = " and ".join(str(a.shape) for a in arrays)
        if [a.shape for a in arrays] != [(*front, *shape) for shape in shapes]:
            raise self._unusable("shape", f"has shape {found} where {expected} is meant.", arrays)
        return np.concatenate([a.reshape(*front, -1) for a in arrays], axis=-1)

    def _leaves(self, raw: Any, front: tuple[int, ...], expected: str) -> list[Any]:
        leaves, treedef = jax.tree.flatten(raw)
        shapes = self.layout.shapes
        if treedef == self.layout.treedef:
            return leaves
        numbers = all(isinstance(leaf, int | float | np.number) for leaf in leaves)
        if len(shapes) == 1 and isinstance(raw, list | tuple) and numbers:
            return [_array_of(raw, self)]  # a plain list of numbers
        if len(shapes) > 1 and [np.shape(leaf) for leaf in leaves] == [
            (*front, *shape) for shape in shapes
        ]:
            return leaves  # another container, the same arrays in the same order
        if len(shapes) == 1 == len(leaves) and _is_array(leaves[0]) and not isinstance(raw, dict):
            return leaves
        raise self._unusable(
            "shape", f"returns {_kind(raw)}, not the structure of the point ({expected})."
        )

    def _hessian(self, raw: Any) -> np.ndarray:
        size, shapes = self.layout.size, self.layout.shapes
        if _is_array(raw) and np.shape(raw) == (size, size):
            return np.asarray(_array_of(raw, self))
        if _is_array(raw) and len(shapes) == 1 and np.shape(raw) == (*shapes[0], *shapes[0]):
            return np.asarray(_array_of(raw, self)).reshape(size, size)
        if _is_array(raw):
            raise self._unusable(
                "shape", f"has shape {np.shape(raw)} where {(size, size)} is meant."
            )
        try:
            rows = self.layout.treedef.flatten_up_to(raw)
        except (ValueError, TypeError):
            raise self._unusable(
                "shape", f"returns {_kind(raw)}: a ({size}, {size}) matrix, or the nested "
                "structure of jax.hessian, is meant."
            ) from None  # fmt: skip
        blocks = [
            self._join(row, shape).reshape(-1, size)
            for row, shape in zip(rows, shapes, strict=True)
        ]
        return np.concatenate(blocks)

    def _check_dtype(self, flat: np.ndarray, dtype: str) -> None:
        if not jnp.issubdtype(flat.dtype, jnp.floating):
            raise self._unusable("dtype", f"returns {flat.dtype} where {dtype} is meant.")

    def _unusable(
        self, kind: str, message: str, arrays: list[np.ndarray] | None = None
    ) -> Unusable:
        return Unusable(Finding(kind, ERROR, self.name, f"{self.name} {message}"), arrays)


def _array_of(raw: Any, caller: Caller) -> Any:
    try:
        return np.asarray(raw, dtype=None if hasattr(raw, "dtype") else float)
    except (TypeError, ValueError):
        finding = Finding("shape", ERROR, caller.name, f"{caller.name} returns {_kind(raw)}.")
        raise Unusable(finding) from None


def _is_array(raw: Any) -> bool:
    return hasattr(raw, "shape") and hasattr(raw, "dtype")


def _as_numpy(leaf: Any) -> Any:
    """As NumPy arrays that cannot be written into: they are the user's own."""
    if isinstance(leaf, jax.Array):
        return np.asarray(leaf)
    if not isinstance(leaf, np.ndarray):
        return leaf
    view = leaf.view()
    view.flags.writeable = False
    return view


def _kind(raw: Any) -> str:
    return "nothing (None)" if raw is None else f"a {type(raw).__name__}"


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text[:160]}" if text else f"{type(error).__name__}."
