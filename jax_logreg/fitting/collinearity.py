"""Columns that depend on one another: which they are."""

import numpy as np

from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import dense

# Below this share of the largest a column takes no part in a dependence; to be told by the
# others it must have a good part, for nearly dependent columns blur the rest.
_TAKES_PART = 1e-5
_GOOD_PART = 1e-2


def collinear_sets(Z: np.ndarray) -> list[list[int]]:
    """Sets of columns of Z that depend on one another: each without its last is independent.

    A column of zeros is a set of its own.

    >>> collinear_sets(np.array([[1.0, 0, 1, 2], [2, 0, 1, 4], [3, 0, 1, 6]]))
    [[1], [0, 3]]
    """
    size = np.max(np.abs(Z), axis=0, initial=0.0)  # first, so that no square overflows
    unit = Z / np.where(size > 0, size, 1)
    length = np.linalg.norm(unit, axis=0)
    unit = unit / np.where(length > 0, length, 1)
    _, sizes, rows = np.linalg.svd(np.linalg.qr(unit, mode="r"))
    floor = max(Z.shape) * np.finfo(float).eps * np.max(sizes, initial=0.0)
    return _read_off(rows[int(np.sum(sizes > floor)) :])


def collinear_columns(objective: Objective) -> list[list[int]]:
    """The same of the features and then the intercept, in rows of positive weight.

    The intercept leads its set, so that a constant column is the one to leave out.
    """
    X = np.asarray(dense(objective.X), float)[np.asarray(objective.row_weights()) > 0]
    if not objective.fit_intercept:
        return collinear_sets(X)
    p = X.shape[1]
    sets = collinear_sets(np.column_stack([np.ones(len(X)), X]))
    return [sorted((j - 1) % (p + 1) for j in some) for some in sets]


def _read_off(null: np.ndarray) -> list[list[int]]:
    """The sets of a null space, given by orthonormal rows: Gauss and Jordan's elimination from
    the last column on tells each dependent column by independent ones before it."""
    left = list(range(len(null)))
    for j in reversed(range(null.shape[1])):
        if not left or np.max(np.abs(null[left, j])) <= _GOOD_PART / len(null[0]):
            continue
        pivot = left[int(np.argmax(np.abs(null[left, j])))]
        row = null[pivot] / null[pivot, j]
        null = null - np.outer(null[:, j], row)
        null[pivot] = row
        left.remove(pivot)
    parts = np.abs(null) > _TAKES_PART * np.max(np.abs(null), axis=1, initial=0.0, keepdims=True)
    return sorted((np.flatnonzero(row).tolist() for row in parts), key=lambda some: some[-1])


def describe_set(some: list[int], num_features: int) -> str:
    """A set, told to someone who can count columns."""
    features = [j for j in some if j < num_features]
    listed = ", ".join(map(str, features))
    if len(some) == 1:
        return f"column {listed} is zero in every row that counts"
    if num_features in some:
        return (
            f"column {listed} and the intercept do"
            if len(features) == 1
            else (f"columns {listed} and the intercept do")
        )
    return f"columns {listed} do"


def column_to_drop(some: list[int], num_features: int) -> int:
    """The column of a set to leave out; never the intercept."""
    return max(j for j in some if j < num_features)
