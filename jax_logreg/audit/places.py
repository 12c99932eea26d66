"""Places in θ: what a set of its entries is called, in the user's words and as code."""

from typing import NamedTuple

import numpy as np

from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.user_names import UserNames

# Entries are named one by one up to so many.
_MAX_NAMED = 4


class Block(NamedTuple):
    """A part of θ.

    Attributes:
        name: in words.
        path: behind the name of θ in code.
        mask: its entries, (P,).
        layout: of the part alone.
    """

    name: str
    path: str
    mask: np.ndarray
    layout: PytreeLayout


def as_slice(start: int, stop: int, size: int) -> str:
    """A slice as code: ``1:`` or ``:3``."""
    return f"{start or ''}:{'' if stop == size else stop}"


def run_of(layout: PytreeLayout, run: slice) -> Block:
    """Entries of a flat θ that follow one another."""
    mask = np.zeros(layout.size, bool)
    mask[run] = True
    part = layout.alone((run.stop - run.start,))
    if run.stop - run.start == 1:
        return Block(layout.name(run.start), f"[{run.start}]", mask, part)
    first, last = layout.name(run.start), layout.name(run.stop - 1)
    span = as_slice(run.start, run.stop, layout.size)
    return Block(f"θ[{span}]" if "θ" in first else f"{first} to {last}", f"[{span}]", mask, part)


def block_of_array(layout: PytreeLayout, leaf: int, wrong: np.ndarray) -> Block:
    """An array of θ; of it what has one index along one axis, if all that is wrong has."""
    part, shape = layout.slices[leaf], layout.shapes[leaf]
    path = UserNames(layout=layout).paths()[leaf]
    mask = np.zeros(layout.size, bool)
    mask[part] = True
    index = _single_index(wrong[part].reshape(shape))
    if index is None:
        name = layout.labels[leaf] or "θ"
        return Block(name, path, mask, layout.alone(shape, layout.axes[leaf]))
    axis, i = index
    inside = np.zeros(shape, bool)
    inside[(slice(None),) * axis + (i,)] = True
    mask[part] = inside.ravel()
    path = f"{path}[{':, ' * axis}{i}]"
    return Block(
        _name_of_index(layout, leaf, axis, i), path, mask, layout.alone((int(mask.sum()),))
    )


def block_of(layout: PytreeLayout, mask: np.ndarray) -> Block:
    """Any entries of θ: arrays by their names, a run as a slice, others one by one."""
    places, whole = np.flatnonzero(mask), whole_arrays(layout, mask)
    whole = [leaf for leaf in whole if layout.labels[leaf]]
    named = " and ".join(layout.labels[leaf] for leaf in whole)
    is_whole = sum(_size(layout, leaf) for leaf in whole) == len(places)
    if is_whole and len(whole) == 1:
        shape, axes = layout.shapes[whole[0]], layout.axes[whole[0]]
        return Block(named, "", mask, layout.alone(shape, axes))
    if not whole and len(places) == places[-1] + 1 - places[0]:
        return run_of(layout, slice(int(places[0]), int(places[-1]) + 1))
    if not is_whole:
        shown = [layout.name(int(i)) for i in places[:_MAX_NAMED]]
        few = len(places) <= _MAX_NAMED
        named = " and ".join(shown) if few else f"{len(places)} entries ({', '.join(shown)}, …)"
    return Block(named, "", mask, layout.alone((len(places),)))


def whole_arrays(layout: PytreeLayout, mask: np.ndarray) -> list[int]:
    """The arrays of θ all of whose entries are in a mask."""
    return [leaf for leaf, part in enumerate(layout.slices) if mask[part].all()]


def _size(layout: PytreeLayout, leaf: int) -> int:
    return layout.slices[leaf].stop - layout.slices[leaf].start


def describe_block(layout: PytreeLayout, wrong: np.ndarray) -> str | None:
    """One array of several, or one index along one axis of an array; None for all else."""
    touched = [i for i, part in enumerate(layout.slices) if wrong[part].any()]
    if len(touched) != 1:
        return None
    (leaf,) = touched
    index = _single_index(wrong[layout.slices[leaf]].reshape(layout.shapes[leaf]))
    if index is not None:
        return _name_of_index(layout, leaf, *index)
    return (layout.labels[leaf] or "θ") if len(layout.shapes) > 1 else None


def describe_blocks_of_matrix(layout: PytreeLayout, wrong: np.ndarray) -> str | None:
    """Of a Hessian, the block of one array with another; None for all else."""
    hit = {
        (a, b)
        for a, rows in enumerate(layout.slices)
        for b, columns in enumerate(layout.slices)
        if wrong[rows, columns].any()
    }
    if len(layout.shapes) < 2 or len({tuple(sorted(pair)) for pair in hit}) != 1:
        return None
    a, b = (layout.labels[i] or "θ" for i in min(hit))
    return f"the block of {a} with {b}"


def _single_index(mask: np.ndarray) -> tuple[int, int] | None:
    """The axis along which a table has True at one index only, and that index."""
    for axis in range(mask.ndim if mask.ndim > 1 else 0):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if len(hit) == 1:
            return axis, int(hit[0])
    return None


def _name_of_index(layout: PytreeLayout, leaf: int, axis: int, i: int) -> str:
    names, rest = layout.axes[leaf][axis], len(layout.shapes[leaf]) - axis - 1
    index = str(i) if names is None else str(names[i])
    return f"{layout.labels[leaf] or 'θ'}[{':, ' * axis}{index}{', :' * rest}]"
