"""The user's parameters as one flat vector θ, with a name for every entry."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
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
