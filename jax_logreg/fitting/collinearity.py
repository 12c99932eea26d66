"""Collinear columns: which columns of a design are linearly dependent."""

import numpy as np
from numpy.typing import ArrayLike

from jax_logreg.fitting.column_scaling import scale_by_largest

# A column belongs to a dependence if its coefficient is at least this share of the largest.
_MEMBER = 1e-5
# A pivot must have a larger share: nearly dependent columns blur the other coefficients.
_PIVOT = 1e-2


def collinear_sets(Z: np.ndarray) -> list[list[int]]:
    """Sets of linearly dependent columns of Z; each set without its last is independent.

    A column of zeros is a set of its own.

    >>> collinear_sets(np.array([[1.0, 0, 1, 2], [2, 0, 1, 4], [3, 0, 1, 6]]))
    [[1], [0, 3]]
    """
    unit, _ = scale_by_largest(Z)  # first, so that no square overflows
    length = np.linalg.norm(unit, axis=0)
    unit = unit / np.where(length > 0, length, 1)
    _, sizes, right = np.linalg.svd(np.linalg.qr(unit, mode="r"))
    floor = max(Z.shape) * np.finfo(float).eps * np.max(sizes, initial=0.0)
    return _sets_of_null_space(right[int(np.sum(sizes > floor)) :])


def collinear_columns(X: ArrayLike, weight: ArrayLike, fit_intercept: bool) -> list[list[int]]:
    """The same for the features and then the intercept, in rows of positive weight.

    The intercept comes first in its set, so that a constant column is the one to leave out.
    """
    X = np.asarray(X, float)[np.asarray(weight) > 0]
    if not fit_intercept:
        return collinear_sets(X)
    p = X.shape[1]
    sets = collinear_sets(np.column_stack([np.ones(len(X)), X]))
    return [sorted((j - 1) % (p + 1) for j in columns) for columns in sets]


def _sets_of_null_space(null: np.ndarray) -> list[list[int]]:
    """The sets from orthonormal rows of a null space.

    Gauss-Jordan elimination from the last column on expresses each dependent column by
    independent ones before it.
    """
    left = list(range(len(null)))
    for j in reversed(range(null.shape[1])):
        if not left or np.max(np.abs(null[left, j])) <= _PIVOT / len(null[0]):
            continue
        pivot = left[int(np.argmax(np.abs(null[left, j])))]
        row = null[pivot] / null[pivot, j]
        null = null - np.outer(null[:, j], row)
        null[pivot] = row
        left.remove(pivot)
    member = np.abs(null) > _MEMBER * np.max(np.abs(null), axis=1, initial=0.0, keepdims=True)
    return sorted((np.flatnonzero(row).tolist() for row in member), key=lambda columns: columns[-1])


def describe_set(columns: list[int], num_features: int) -> str:
    """A set in words: a clause that says how its columns depend on one another."""
    features = [j for j in columns if j < num_features]
    listed = ", ".join(map(str, features))
    if len(columns) == 1:
        return f"column {listed} is zero in every row of positive weight"
    noun = "column" if len(features) == 1 else "columns"
    intercept = " and the intercept" if num_features in columns else ""
    return f"{noun} {listed}{intercept} are linearly dependent"


def column_to_drop(columns: list[int], num_features: int) -> int:
    """The last feature of a set; never the intercept."""
    return max(j for j in columns if j < num_features)
