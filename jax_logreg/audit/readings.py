"""Arrays in another form than the one due: every order in which their numbers may be meant.

Each order is found on arrays of indices, so that it is known for all later answers.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

# What is tried of the orders of axes, and of pieces.
_MAX_AXES, _MAX_PIECES = 4, 4
Shape = tuple[int, ...]
Arrays = Sequence[np.ndarray]


class Reading(NamedTuple):
    """A way to read arrays as the numbers due.

    Attributes:
        text: how, such as "transposed"; "" for a mere change of shape.
        read: the flat numbers of the arrays, in the order due.
    """

    text: str
    read: Callable[[Arrays], np.ndarray]


def readings(
    shapes: Sequence[Shape], rows: Shape, leaves: Sequence[Shape], labels: Sequence[str]
) -> Iterator[Reading]:
    """Ways to read arrays, the likeliest first, each order once.

    Args:
        shapes: of the arrays.
        rows: leading axes of every array due.
        leaves: the other axes of each.
        labels: names of the leaves.
    """
    count = _size(rows)
    if sum(map(_size, shapes)) != count * sum(map(_size, leaves)):
        yield from _reductions(shapes, count * sum(map(_size, leaves)))
        return
    ends = np.cumsum([0, *map(_size, shapes)])
    indices = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    pieces = [i.reshape(shape) for i, shape in zip(indices, shapes, strict=True)]
    seen: set[bytes] = set()
    for text, arranged in _arrangements(pieces, rows, leaves, labels):
        order = np.concatenate([a.reshape(count, -1) for a in arranged], axis=1).ravel()
        if order.tobytes() not in seen:
            seen.add(order.tobytes())
            yield Reading(text, _in_order(order))


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=int))


def _in_order(order: np.ndarray) -> Callable[[Arrays], np.ndarray]:
    return lambda arrays: np.concatenate([a.ravel() for a in arrays])[order]


def _reductions(shapes: Sequence[Shape], entries: int) -> Iterator[Reading]:
    """An array with an axis too many, such as one of rows, that should have been summed."""
    if len(shapes) != 1 or not entries:
        return
    for axis, length in enumerate(shapes[0]):
        if _size(shapes[0]) == entries * length and length > 1:
            yield Reading(f"summed over axis {axis}", _reduced(np.sum, axis))
            yield Reading(f"averaged over axis {axis}", _reduced(np.mean, axis))


def _reduced(function: Callable[..., np.ndarray], axis: int) -> Callable[[Arrays], np.ndarray]:
    return lambda arrays: function(arrays[0], axis=axis).ravel()


def _arrangements(
    pieces: list[np.ndarray], rows: Shape, leaves: Sequence[Shape], labels: Sequence[str]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    numbers = [f"item {i + 1}" for i in range(len(pieces))]
    if len(pieces) == len(leaves):
        due = [(*rows, *leaf) for leaf in leaves]
        for order in _orders([p.size for p in pieces], list(map(_size, due))):
            told = _in_words(order, numbers)
            ways = [dict(_one_array(pieces[i], d)) for i, d in zip(order, due, strict=True)]
            for how in dict.fromkeys(key for way in ways for key in way):
                arranged = [way.get(how, next(iter(way.values()))) for way in ways]
                yield ", ".join(filter(None, [told, how])), arranged
        return
    size = sum(map(_size, leaves))
    for order in itertools.permutations(range(min(len(pieces), _MAX_PIECES))):
        told = _in_words(order, numbers)
        chosen = [pieces[i] for i in order] + pieces[len(order) :]
        joined = pieces[0] if len(pieces) == 1 else np.concatenate([p.ravel() for p in chosen])
        for how, table in _one_array(joined, (_size(rows), size)):
            for split, arranged in _split_by_leaves(table, rows, leaves, labels):
                yield ", ".join(filter(None, [told, how, split])), arranged


def _orders(found: list[int], due: list[int]) -> Iterator[tuple[int, ...]]:
    """Orders of pieces in which their sizes are those due."""
    everyone = tuple(range(len(found)))
    if found == due:
        yield everyone
    if len(found) <= _MAX_PIECES:
        for order in itertools.permutations(everyone):
            if order != everyone and [found[i] for i in order] == due:
                yield order


def _in_words(order: Sequence[int], names: Sequence[str]) -> str:
    if list(order) == sorted(order):
        return ""
    return f"in the order {', '.join(names[i] for i in order)}"


def _split_by_leaves(
    table: np.ndarray, rows: Shape, leaves: Sequence[Shape], labels: Sequence[str]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The columns of a table dealt out to the leaves, in every order of these."""
    for order in itertools.permutations(range(len(leaves))):
        if len(leaves) > _MAX_PIECES and list(order) != sorted(order):
            return
        ends = np.cumsum([0, *(_size(leaves[i]) for i in order)])
        parts = [table[:, a:b] for a, b in itertools.pairwise(ends)]
        told = _in_words(order, labels)
        back = [parts[order.index(i)] for i in range(len(leaves))]
        yield told, back
        turned = [
            np.swapaxes(p.reshape(len(p), *leaf[::-1]), 1, 2) if len(leaf) == 2 else p
            for p, leaf in zip(back, leaves, strict=True)
        ]
        yield ", ".join(filter(None, [told, "in Fortran order"])), turned


def _one_array(a: np.ndarray, due: Shape) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to make an array of the shape due, each with its name."""
    core, wanted = a.squeeze(), tuple(n for n in due if n != 1)
    few = core.ndim <= _MAX_AXES
    orders = list(itertools.permutations(range(core.ndim))) if few else [tuple(range(core.ndim))]
    for order in sorted(orders, key=lambda o: (list(o) != sorted(o), o[::-1] != tuple(sorted(o)))):
        if core.transpose(order).shape == wanted:
            yield _axes_in_words(order), core.transpose(order).reshape(due)
    yield "", a.reshape(due)
    yield "in Fortran order", a.ravel(order="F").reshape(due)
    for order in itertools.permutations(range(len(wanted))) if len(wanted) <= _MAX_AXES else ():
        turned = core.reshape([wanted[i] for i in order]).transpose(np.argsort(order))
        name = "in Fortran order" if order == tuple(range(len(wanted)))[::-1] else (
            f"as shape {tuple(wanted[i] for i in order)}, with the axes in the order {order}"
        )  # fmt: skip
        yield name, turned.reshape(due)
    for order in orders:
        yield _axes_in_words(order), core.transpose(order).reshape(due)


def _axes_in_words(order: Sequence[int]) -> str:
    if list(order) == sorted(order):
        return ""
    return "transposed" if len(order) == 2 else f"with its axes in the order {tuple(order)}"
