"""Tables and labels that would be read as something else than was meant: refused by name.

A masked array would lose its mask, dates would become nanoseconds, and labels of two types
cannot be sorted. Everything else about data is checked where it is used.
"""

from typing import Any

import numpy as np


def check_table(X: Any, name: str = "X") -> None:
    """Refuse a table whose entries are no numbers, though NumPy would make some of them.

    Raises:
        ValueError: naming the argument, the column where there are names, and the remedy.
    """
    _check_mask(X, name)
    types = getattr(X, "dtypes", None)
    if types is not None and hasattr(X, "columns"):  # a frame, of pandas or polars
        for column, dtype in zip(X.columns, types, strict=True):
            _check_type(str(dtype), f"column {column!r} of {name}")
    elif hasattr(X, "dtype"):
        _check_type(str(X.dtype), name)


def _check_mask(x: Any, name: str) -> None:
    if isinstance(x, np.ma.MaskedArray) and np.any(np.ma.getmaskarray(x)):
        first = tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(x))[0])
        place = ", ".join(map(str, first))
        raise ValueError(
            f"{name} is masked at [{place}], and what a mask hides is unknown: fill it "
            f"({name}.filled(value)), or drop such rows."
        )


def _check_type(dtype: str, what: str) -> None:
    if dtype.lower().startswith(("datetime", "timedelta", "duration", "date", "period", "time")):
        raise ValueError(
            f"{what} holds {dtype}: dates and spans are no numbers. Give the days since some "
            "day, or parts of the date, as columns."
        )


def check_target(y: Any) -> Any:
    """Labels as NumPy's, objects of one type in that type.

    Raises:
        ValueError: naming the row and the value.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: give one label a row.")
    _check_mask(y, "y")
    if hasattr(y, "toarray"):
        raise ValueError("y is sparse: give the labels as a dense array (n,).")
    if hasattr(y, "dtypes") and hasattr(y, "columns"):  # a frame of one column
        return y
    labels = np.asarray(y)
    if labels.dtype.kind in "mM":
        raise ValueError(
            f"y holds {labels.dtype}: a class needs a name. Give text, such as y.astype(str)."
        )
    if labels.dtype.kind == "O":
        labels = _one_type(labels)
    elif not isinstance(y, np.ndarray) and labels.dtype.kind in "US":
        _one_type(np.asarray(y, dtype=object))  # NumPy has spelt numbers as text
    if labels.dtype.kind in "fc" and not np.all(np.isfinite(labels)):
        row = int(np.argwhere(~np.isfinite(labels))[0][0])
        raise ValueError(
            f"Input y contains NaN or infinity: y[{row}] is {labels[row]}. Drop the rows without "
            "a label."
        )
    return labels


def check_classes(classes: np.ndarray, solver: Any) -> None:
    """Refuse one class alone, and more than two where scikit-learn's solver has no softmax."""
    if len(classes) < 2:
        raise ValueError(
            "y needs samples of at least 2 classes, but the data contains only one class: "
            f"{classes[0]!r}. Give rows of another class."
        )
    if isinstance(solver, str) and solver == "liblinear" and len(classes) > 2:
        raise ValueError(
            "The 'liblinear' solver does not support multiclass classification, and y has "
            f"{len(classes)} classes. Use solver='auto'."
        )


def _one_type(labels: np.ndarray) -> np.ndarray:
    """Objects as an array of their own type; text stays as it is."""
    flat = labels.ravel()
    missing = next((row for row, value in enumerate(flat) if _is_missing(value)), None)
    if missing is not None:
        raise ValueError(
            f"Input y contains NaN or None: y[{missing}] is {flat[missing]!r}. Drop the rows "
            "without a label."
        )
    text = [isinstance(value, str | bytes) for value in flat]
    if any(text) and not all(text):
        row = text.index(not text[0])
        raise ValueError(
            f"y mixes types: y[0] is {flat[0]!r} and y[{row}] is {flat[row]!r}. Labels must all "
            "be text or all be numbers; convert them with astype(str)."
        )
    if all(text) or not all(np.ndim(value) == 0 for value in flat):
        return labels
    return np.asarray(labels.tolist())


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA, which does not say whether it equals itself."""
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, float | np.floating | np.datetime64) and value != value
