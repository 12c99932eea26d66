"""The weight of every row of the estimator: its own, times that of its class."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from jax_logreg.fitting.validation import refuse_masked


def row_weights(
    sample_weight: Any, codes: np.ndarray, class_weight: Any, classes: np.ndarray
) -> np.ndarray:
    """The weight of every row, (n,), times that of its class.

    Raises:
        ValueError: for a weight, or a class without any.
    """
    weight = np.ones(len(codes)) if sample_weight is None else _checked(sample_weight, len(codes))
    return weight * _class_weights(class_weight, classes, codes, weight)[codes]


def _checked(sample_weight: Any, rows: int) -> np.ndarray:
    """Weights as (n,) in float64; one number is that of every row."""
    refuse_masked("sample_weight", sample_weight)
    if np.asarray(sample_weight).dtype.kind == "c":
        raise ValueError("sample_weight is complex: give real numbers, one a row.")
    try:
        weight = np.asarray(sample_weight, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold one number a row: {error}.") from None
    weight = np.broadcast_to(weight, (rows,)) if weight.ndim == 0 else weight
    if weight.shape != (rows,):
        raise ValueError(
            f"sample_weight must have shape ({rows},), but its shape is {weight.shape}."
        )
    legal = np.isfinite(weight) & (weight >= 0)
    if not np.all(legal):
        row = int(np.argmin(legal))
        raise ValueError(
            f"sample_weight must be finite and not negative, but sample_weight[{row}] is "
            f"{weight[row]}. Use zero to leave a row out."
        )
    if not np.any(weight > 0):
        raise ValueError("sample_weight sums to zero: give some row a positive weight.")
    return weight


def _class_weights(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """One weight a class, (K,)."""
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        mass = np.bincount(codes, weight, len(classes))
        return np.divide(weight.sum() / len(classes), mass, out=np.zeros(len(mass)), where=mass > 0)
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "class_weight must be None, 'balanced' or a dict from label to weight, but it is "
            f"{class_weight!r}."
        )
    unknown = set(class_weight) - set(classes.tolist())
    unnamed = [label for label in classes.tolist() if label not in class_weight]
    if unknown and unnamed:
        raise ValueError(
            f"The classes, {unnamed}, are not in class_weight, and no row of y has its labels "
            f"{sorted(unknown, key=str)}. Give the labels as they stand in y."
        )
    chosen = [class_weight.get(label, 1.0) for label in classes.tolist()]
    if not all(isinstance(w, Real) and 0 <= float(w) < np.inf for w in chosen):
        raise ValueError(
            f"class_weight must hold numbers of at least 0, but it is {class_weight!r}."
        )
    return np.array(chosen, float)


def check_mass(codes: np.ndarray, weight: np.ndarray, classes: np.ndarray) -> None:
    """Refuse a class whose rows all weigh nothing; its intercept would run away."""
    heaviest = np.zeros(len(classes))
    np.maximum.at(heaviest, codes, weight)
    if not np.all(heaviest > 0):
        label = classes.tolist()[int(np.argmin(heaviest))]
        raise ValueError(
            f"sample_weight and class_weight leave no row of class {label!r}, so that its "
            "intercept has no finite value. Leave its rows out, or give some of them weight."
        )
