"""Calls of the user's functions: whatever they do becomes an array or a finding.

The functions take pytrees; the audit knows one flat vector θ, and a name for every entry.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ERROR, WARNING, NOTE = "error", "warning", "note"
DERIVATIVES = ("gradient", "jacobian", "hessian", "hvp")
# Parts of JAX's errors where a trace holds a captured array in the other precision.
_STALE_TRACE = ("RuntimeProgramInputMismatch", "same dtypes", "verifier errors")


class Finding(NamedTuple):
    """One remark of an audit.

    Attributes:
        kind: a word to test for, such as "shape" or "not-finite".
        severity: "error" (the derivative is wrong or unusable), "warning" or "note".
        where: "value", "gradient", "hessian", "hvp" or "jacobian".
        message: a sentence.

    >>> Finding("kink", NOTE, "gradient", "not compared there.").severity
    'note'
    """

    kind: str
    severity: str
    where: str
    message: str


class UnusableOutput(Exception):
    """A user's function returned no array that can be compared.

    Attributes:
        finding: why.
        arrays: what it returned, if that was arrays of the wrong shape.
    """

    def __init__(self, finding: Finding, arrays: list[np.ndarray] | None = None) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.arrays = arrays or []


@dataclass(frozen=True)
class PytreeLayout:
    """Where each leaf of a pytree lies in the flat vector θ.

    Attributes:
        treedef: the structure.
        shapes: of the leaves, in the tree's order.
        labels: the path of each leaf; "" for the one leaf of a bare array.
        axes: for every leaf, for every axis, the names of its indices, or None.
        flat_names: one name per entry of θ, in place of labels and axes; or None.
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    axes: tuple[tuple[Sequence[str] | None, ...], ...]
    flat_names: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """Length of θ."""
        return self.slices[-1].stop

    @property
    def slices(self) -> list[slice]:
        """The part of θ that each leaf occupies."""
        ends = np.cumsum([0, *(int(np.prod(shape, dtype=int)) for shape in self.shapes)])
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]

    def unravel(self, flat: Any) -> Any:
        """The pytree of a flat vector; its leaves are JAX or NumPy arrays, as ``flat`` is.

        ``jax.flatten_util.ravel_pytree`` gives back JAX arrays only; hand-written NumPy code
        must be called with NumPy arrays.
        """
        leaves = [
            flat[part].reshape(shape) for part, shape in zip(self.slices, self.shapes, strict=True)
        ]
        return jax.tree.unflatten(self.treedef, leaves)

    def name(self, index: int) -> str:
        """The name of entry ``index`` of θ, such as ``coef[worst_area, setosa]``."""
        if self.flat_names is not None:
            return self.flat_names[index]
        leaf = next(i for i, part in enumerate(self.slices) if index < part.stop)
        indices = np.unravel_index(index - self.slices[leaf].start, self.shapes[leaf])
        words = [
            str(i) if names is None else str(names[i])
            for i, names in zip(indices, self.axes[leaf], strict=True)
        ]
        label = self.labels[leaf] or "θ"
        return f"{label}[{', '.join(words)}]" if words else label


def make_layout(at: Any, names: Any = None) -> PytreeLayout:
    """The layout of a point.

    Args:
        at: a pytree of arrays.
        names: one name per entry of θ (a list of strings); or a pytree like ``at`` that
            has, in place of each array, a list with one item per axis: a list of names,
            or None. For a vector the list of names itself will do.

    Returns:
        The layout.

    Raises:
        ValueError: if the names do not fit the point.

    >>> make_layout({"coef": np.zeros((2, 3)), "b": np.zeros(3)}).name(4)
    'coef[0, 1]'
    >>> make_layout(np.zeros(2), names=["age", "dose"]).name(1)
    'dose'
    """
    paths, treedef = jax.tree_util.tree_flatten_with_path(at)
    shapes = tuple(np.shape(leaf) for _, leaf in paths)
    labels = tuple(jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths)
    layout = PytreeLayout(treedef, shapes, labels, tuple((None,) * len(shape) for shape in shapes))
    if names is None:
        return layout
    if _is_names(names):
        if len(names) != layout.size:
            raise ValueError(f"names must be {layout.size}, one an entry, but are {len(names)}.")
        return replace(layout, flat_names=tuple(map(str, names)))
    by_leaf = _names_by_leaf(names, labels)
    return replace(layout, axes=tuple(map(_axes, by_leaf, shapes, labels)))


def _is_names(names: Any) -> bool:
    if isinstance(names, np.ndarray):
        names = list(names)
    return isinstance(names, Sequence) and all(isinstance(name, str) for name in names)


def _names_by_leaf(names: Any, labels: Sequence[str]) -> list[Any]:
    if isinstance(names, Mapping):
        unknown = set(map(str, names)) - set(labels)
        if unknown:
            raise ValueError(f"names has {sorted(unknown)}, but the point has {list(labels)}.")
        named = {str(key): value for key, value in names.items()}
        return [named.get(label) for label in labels]
    return [names] if len(labels) == 1 else list(names)


def _axes(names: Any, shape: tuple[int, ...], label: str) -> tuple[Sequence[str] | None, ...]:
    if names is None:
        return (None,) * len(shape)
    if _is_names(names):
        names = [names]
    if len(names) != len(shape) or any(
        axis is not None and len(axis) != size for axis, size in zip(names, shape, strict=False)
    ):
        raise ValueError(f"names of {label or 'θ'} must be lists of lengths {shape}, or None.")
    return tuple(names)


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
