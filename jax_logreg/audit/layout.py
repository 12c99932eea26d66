"""The user's parameters as one flat vector θ, with a name for every entry."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class PytreeLayout:
    """Where each leaf of a pytree lies in the flat vector θ.

    Attributes:
        treedef: the structure.
        shapes: of the leaves, in the tree's order.
        labels: the path of each leaf; "" for the one leaf of a bare array.
        axes: for every leaf, for every axis, the names of its indices, or None.
        flat_names: one name per entry of θ, in place of labels and axes; or None.
        static: leaves that are no parameters, such as functions: (position among all the
            leaves, path, leaf).
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    axes: tuple[tuple[Sequence[str] | None, ...], ...]
    flat_names: tuple[str, ...] | None = None
    static: tuple[tuple[int, str, Any], ...] = ()

    @cached_property
    def size(self) -> int:
        """Length of θ."""
        return self.slices[-1].stop

    @cached_property
    def is_plain(self) -> bool:
        """Whether θ is a bare array."""
        return self.labels == ("",) and jax.tree_util.treedef_is_leaf(self.treedef)

    @cached_property
    def slices(self) -> list[slice]:
        """The part of θ that each leaf occupies."""
        ends = itertools.accumulate(map(math.prod, self.shapes), initial=0)
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    @property
    def integers(self) -> list[tuple[str, int]]:
        """Whole numbers among the static leaves, with their paths."""
        return [(label, leaf) for _, label, leaf in self.static if type(leaf) is int]

    def alone(
        self, shape: tuple[int, ...], axes: tuple[Sequence[str] | None, ...] | None = None
    ) -> "PytreeLayout":
        """The layout of a part of θ by itself: an array of some shape, without a name."""
        return PytreeLayout(
            None, (shape,), ("",), ((None,) * len(shape) if axes is None else axes,)
        )

    def unravel(self, flat: Any) -> Any:
        """The pytree of a flat vector; its leaves are JAX or NumPy arrays, as ``flat`` is.

        ``jax.flatten_util.ravel_pytree`` gives back JAX arrays only; hand-written NumPy code
        must be called with NumPy arrays.
        """
        if self.is_plain:
            return flat.reshape(self.shapes[0])
        leaves = [
            flat[part].reshape(shape) for part, shape in zip(self.slices, self.shapes, strict=True)
        ]
        for position, _, leaf in self.static:
            leaves.insert(position, leaf)
        return jax.tree.unflatten(self.treedef, leaves)

    def keys(self) -> list[str]:
        """What stands behind a name of θ for each of its leaves, such as ``['b1']``."""
        tree = self.unravel(np.zeros(self.size))
        paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_none)
        static = {position for position, _, _ in self.static}
        return [jax.tree_util.keystr(p) for i, (p, _) in enumerate(paths) if i not in static]

    def parameters_of(self, tree: Any) -> list[Any] | None:
        """The leaves at the places of the parameters, of a tree like θ or of the same paths, each
        perhaps with the letter d or the word grad at its name.

        At the places of static leaves it may have anything, or nothing.
        """
        leaves, treedef = jax.tree.flatten(tree, is_leaf=_is_none)
        if treedef == self.treedef:
            static = {position for position, _, _ in self.static}
            return [leaf for i, leaf in enumerate(leaves) if i not in static]
        found = {_without_d(path, self.labels): leaf for path, leaf in leaves_by_path(tree).items()}
        known = {*self.labels, *(label for _, label, _ in self.static)}
        if not set(self.labels) <= set(found) <= known:
            return None
        return [found[label] for label in self.labels]

    def rows_of(self, tree: Any) -> list[Any] | None:
        """The parts of a nested Hessian that belong to each leaf of θ; None if it has none."""
        try:
            rows = self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError):
            same = isinstance(tree, list | tuple) and len(tree) == len(self.shapes)
            return list(tree) if same else None
        static = {position for position, _, _ in self.static}
        return [row for i, row in enumerate(rows) if i not in static]

    def name(self, index: int) -> str:
        """The name of entry ``index`` of θ, such as ``coef[worst_area, setosa]``."""
        if self.flat_names is not None:
            return self.flat_names[index]
        leaf = next(i for i, part in enumerate(self.slices) if index < part.stop)
        rest, words = index - self.slices[leaf].start, list[str]()
        for size, names in zip(self.shapes[leaf][::-1], self.axes[leaf][::-1], strict=True):
            rest, i = divmod(rest, size)
            words.append(str(i) if names is None else str(names[i]))
        label = self.labels[leaf] or "θ"
        return f"{label}[{', '.join(words[::-1])}]" if words else label


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
    leaves, treedef = jax.tree_util.tree_flatten_with_path(at, is_leaf=_is_none)
    has_arrays = any(_is_float_array(leaf) for _, leaf in leaves)
    named = [(_label(path), leaf, is_static(leaf, has_arrays)) for path, leaf in leaves]
    static = tuple((i, label, leaf) for i, (label, leaf, kept) in enumerate(named) if kept)
    shapes = tuple(np.shape(leaf) for _, leaf, kept in named if not kept)
    labels = tuple(label for label, _, kept in named if not kept)
    axes = tuple((None,) * len(shape) for shape in shapes)
    layout = PytreeLayout(treedef, shapes, labels, axes, static=static)
    if names is None:
        return layout
    if _is_names(names):
        if len(names) != layout.size:
            raise ValueError(f"names must be {layout.size}, one an entry, but are {len(names)}.")
        return replace(layout, flat_names=tuple(map(str, names)))
    by_leaf = _names_by_leaf(names, labels)
    return replace(layout, axes=tuple(map(_axes, by_leaf, shapes, labels)))


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _label(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def leaves_by_path(tree: Any) -> dict[str, Any]:
    """Every leaf of a tree, None too, under its path."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_none)
    return {_label(path): leaf for path, leaf in paths}


def _without_d(path: str, labels: Sequence[str]) -> str:
    """W of ``dW``, ``grad_W`` or ``W_grad``, if W is a label."""
    if path in labels:
        return path
    names = (path.removeprefix(p) for p in ("d", "d_", "g", "g_", "grad_"))
    return next((n for n in (*names, path.removesuffix("_grad")) if n in labels), path)


def _is_float_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def is_static(leaf: Any, has_arrays: bool) -> bool:
    """Whether a leaf of θ is kept as it is: functions, strings, None, truth values, PRNG keys.

    Beside arrays of parameters a Python integer is configuration, such as a number of layers.
    """
    if hasattr(leaf, "dtype"):
        return not jnp.issubdtype(leaf.dtype, jnp.number)
    if type(leaf) is int:
        return has_arrays
    return isinstance(leaf, bool) or not isinstance(leaf, int | float | complex)


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
