"""Calls of the user's functions: whatever they do becomes an array or a finding.

The functions take pytrees; the audit knows one flat vector θ.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.findings import ERROR, Finding, UnusableOutput
from jax_logreg.audit.layout import PytreeLayout

DERIVATIVES = ("gradient", "jacobian", "hessian", "hvp")
# Parts of JAX's errors where a trace holds a captured array in the other precision.
_STALE_TRACE = ("RuntimeProgramInputMismatch", "same dtypes", "verifier errors")


@dataclass(frozen=True)
class UserFunction:
    """One of the user's functions, as a map from flat vectors to a flat array.

    Attributes:
        name: "value" or one of DERIVATIVES.
        function: called as function(θ, *args), an hvp as function(θ, v, *args).
        layout: of θ.
        args: its other arguments.
        numpy: whether it is called with NumPy arrays.
        out_shape: shape of the value, () for a number.
    """

    name: str
    function: Callable[..., Any]
    layout: PytreeLayout
    args: tuple[Any, ...]
    numpy: bool
    out_shape: tuple[int, ...] = ()

    def __call__(self, *vectors: np.ndarray, dtype: str) -> np.ndarray:
        """The function at flat vectors, in the named precision.

        Returns:
            The value as it is; (P,) for gradient and hvp, (M, P) or (P, P).

        Raises:
            UnusableOutput: with the finding, whatever went wrong.
        """
        with jax.enable_x64(dtype == "float64"):
            raw = self._call(vectors, dtype)
            flat = self._flatten(raw)
        if not jnp.issubdtype(flat.dtype, jnp.floating):
            raise self._unusable("dtype", f"returns {flat.dtype} where {dtype} is expected.")
        if flat.dtype == np.longdouble:
            return flat.astype(np.float64)
        return flat.copy()  # the function may write its next answer into the same array

    def attempt(self, *vectors: np.ndarray, dtype: str) -> np.ndarray | None:
        """The same, or None if the function gives nothing to compare."""
        try:
            return self(*vectors, dtype=dtype)
        except UnusableOutput:
            return None

    def _call(self, vectors: tuple[np.ndarray, ...], dtype: str) -> Any:
        before = [np.array(v, dtype) for v in vectors]
        given = [
            self.layout.unravel(v.copy() if self.numpy else jnp.asarray(v.copy())) for v in before
        ]
        args = jax.tree.map(_as_readonly_numpy, self.args) if self.numpy else self.args
        try:
            raw = self._call_with_retry(given, args)
        except Exception as error:
            raise self._unusable("raises", f"raises {_first_line(error)}") from None
        for tree, flat in zip(given, before, strict=True):
            after = np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
            if not np.array_equal(after, flat, equal_nan=True):
                raise self._unusable("hidden-state", "changes the array that it is given.")
        return raw

    def _call_with_retry(self, given: list[Any], args: tuple[Any, ...]) -> Any:
        """The call, repeated once if a stale trace made it fail.

        A live jitted function that captured a NumPy array holds the array in the precision
        of its trace; in the other precision JAX fails.
        """

        def call() -> Any:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return jax.block_until_ready(self.function(*given, *args))

        try:
            return call()
        except (jax.errors.JaxRuntimeError, TypeError, ValueError) as error:
            if not any(sign in str(error) for sign in _STALE_TRACE):
                raise
        # Out here the error is gone, and with it the last reference to the trace.
        jax.clear_caches()
        return call()

    def _flatten(self, raw: Any) -> np.ndarray:
        if self.name == "value":
            if isinstance(raw, tuple | list | dict):
                raise self._unusable("shape", f"returns {_type_of(raw)} where an array is due.")
            return self._to_array(raw)
        if self.name in ("gradient", "hvp"):
            return self._join_leaves(raw, ())
        if self.name == "jacobian":
            return self._join_leaves(raw, self.out_shape).reshape(-1, self.layout.size)
        return self._flatten_hessian(raw)

    def _join_leaves(self, raw: Any, front: tuple[int, ...]) -> np.ndarray:
        """Leaves of shape front + (shape of the leaf of θ), concatenated."""
        size, shapes = self.layout.size, self.layout.shapes
        if _is_array(raw) and np.shape(raw) == (*front, size):
            return self._to_array(raw)
        expected = " and ".join(str((*front, *shape)) for shape in shapes)
        arrays = [self._to_array(leaf) for leaf in self._leaves(raw, front, expected)]
        found = " and ".join(str(a.shape) for a in arrays)
        if [a.shape for a in arrays] != [(*front, *shape) for shape in shapes]:
            text = f"has shape {found} where {expected} is expected."
            raise self._unusable("shape", text, arrays)
        return np.concatenate([a.reshape(*front, -1) for a in arrays], axis=-1)

    def _leaves(self, raw: Any, front: tuple[int, ...], expected: str) -> list[Any]:
        leaves, treedef = jax.tree.flatten(raw)
        shapes = self.layout.shapes
        if treedef == self.layout.treedef:
            return leaves
        numbers = all(isinstance(leaf, int | float | np.number) for leaf in leaves)
        if len(shapes) == 1 and isinstance(raw, list | tuple) and numbers:
            return [self._to_array(raw)]  # a plain list of numbers
        if len(shapes) > 1 and [np.shape(leaf) for leaf in leaves] == [
            (*front, *shape) for shape in shapes
        ]:
            return leaves  # another container, the same arrays in the same order
        if len(shapes) == 1 == len(leaves) and _is_array(leaves[0]) and not isinstance(raw, dict):
            return leaves
        text = f"returns {_type_of(raw)}, not the structure of the point ({expected})."
        raise self._unusable("shape", text)

    def _flatten_hessian(self, raw: Any) -> np.ndarray:
        size, shapes = self.layout.size, self.layout.shapes
        if _is_array(raw):
            nested = (*shapes[0], *shapes[0]) if len(shapes) == 1 else (size, size)
            if np.shape(raw) not in ((size, size), nested):
                text = f"has shape {np.shape(raw)} where {(size, size)} is expected."
                raise self._unusable("shape", text)
            return self._to_array(raw).reshape(size, size)
        try:
            rows = self.layout.treedef.flatten_up_to(raw)
        except (ValueError, TypeError):
            text = f"returns {_type_of(raw)}, not a ({size}, {size}) matrix or the nested structure of jax.hessian."  # noqa: E501
            raise self._unusable("shape", text) from None
        blocks = [
            self._join_leaves(row, shape).reshape(-1, size)
            for row, shape in zip(rows, shapes, strict=True)
        ]
        return np.concatenate(blocks)

    def _to_array(self, raw: Any) -> np.ndarray:
        try:
            return np.asarray(raw, dtype=None if hasattr(raw, "dtype") else float)
        except (TypeError, ValueError):
            raise self._unusable("shape", f"returns {_type_of(raw)}.") from None

    def _unusable(
        self, kind: str, message: str, arrays: list[np.ndarray] | None = None
    ) -> UnusableOutput:
        return UnusableOutput(Finding(kind, ERROR, self.name, f"{self.name} {message}"), arrays)


def _is_array(raw: Any) -> bool:
    return hasattr(raw, "shape") and hasattr(raw, "dtype")


def _as_readonly_numpy(leaf: Any) -> Any:
    """A NumPy array that cannot be written to: the data belong to the user."""
    if isinstance(leaf, jax.Array):
        return np.asarray(leaf)
    if not isinstance(leaf, np.ndarray):
        return leaf
    view = leaf.view()
    view.flags.writeable = False
    return view


def _type_of(raw: Any) -> str:
    return "nothing (None)" if raw is None else f"a {type(raw).__name__}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text[:160]}" if text else f"{type(error).__name__}."
