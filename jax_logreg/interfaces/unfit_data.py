"""Tables and labels that cannot be used, or would be read as something else than was meant:
refused by name, with the place and the remedy.

NumPy by itself drops masks, turns dates into nanoseconds, and spells numbers beside text as
text.
"""

from typing import Any

import numpy as np

from jax_logreg.fitting.validation import refuse_masked


def check_table(X: Any) -> None:
    """Refuse a table whose entries are no real numbers.

    Raises:
        ValueError: naming the column, the row and the remedy.
    """
    refuse_masked("X", X)
    if hasattr(X, "dtypes") and hasattr(X, "columns"):  # a frame, of pandas or polars
        for column, dtype in zip(X.columns, X.dtypes, strict=True):
            what = f"column {column!r} of X"
            _check_type(str(dtype), what)
            if str(dtype).lower().startswith(("object", "str", "categor", "enum", "large_str")):
                _check_cells(np.asarray(X[column], dtype=object)[:, None], what)
    else:
        array = X if hasattr(X, "dtype") else _as_array(X)
        _check_type(str(array.dtype), "X")
        if array.dtype.kind in "OUS":
            _check_cells(np.asarray(X, dtype=object), "X")


def _as_array(X: Any) -> np.ndarray:
    """Lists as an array; none of what is no rectangle, which is refused elsewhere."""
    try:
        return np.asarray(X)
    except ValueError:
        return np.empty(0)


def _check_type(dtype: str, what: str) -> None:
    kind = dtype.lower()
    if kind.startswith(("datetime", "timedelta", "duration", "date", "period", "time")):
        raise ValueError(
            f"{what} holds {dtype}: dates and spans are no numbers. Give the days since some "
            "day, or parts of the date, as columns."
        )
    if kind.startswith("complex"):
        raise ValueError(
            f"Complex data not supported: {what} holds {dtype}. Give real and imaginary parts "
            "as columns of their own."
        )


def _check_cells(cells: np.ndarray, what: str) -> None:
    """Refuse text that spells no number."""
    if cells.ndim != 2:
        return  # of another shape, which is refused elsewhere
    for index, cell in np.ndenumerate(cells):
        if isinstance(cell, str) and not _is_number(cell):
            place = f"row {index[0]}"
            if cells.shape[1] > 1:
                place += f", column {index[1]}"
            raise ValueError(
                f"{what} must hold numbers, but in {place} there is {cell!r}. Encode text as "
                "numbers, by OneHotEncoder or OrdinalEncoder."
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_finite(X: Any, names: Any) -> None:
    """Refuse NaN and infinity in a table of floats, dense or CSR.

    Args:
        X: (n, p).
        names: of its columns, or None.

    Raises:
        ValueError: naming the first place.
    """
    values = X.data if hasattr(X, "tocoo") else X
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values, dtype=float)):
            return  # one read; an overflow of the sum is told apart below
    bad = ~np.isfinite(values)
    if not np.any(bad):
        return
    if hasattr(X, "tocoo"):
        entries = X.tocoo()
        first = int(np.argmax(bad))
        row, column, value = int(entries.row[first]), int(entries.col[first]), values[first]
    else:
        row, column = (int(i) for i in np.argwhere(bad)[0])
        value = X[row, column]
    kind = "NaN" if np.isnan(value) else "infinity"
    raise ValueError(
        f"Input X contains {kind}. The first of {int(bad.sum())} such entries is in row {row}, "
        f"column {column if names is None else repr(names[column])}. Drop such rows, or fill them, "
        "by SimpleImputer for one."
    )


def check_target(y: Any) -> Any:
    """Labels as NumPy's, objects of one type in that type.

    Raises:
        ValueError: naming the row and the value.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: give one label a row.")
    refuse_masked("y", y)
    if hasattr(y, "toarray"):
        raise ValueError("y is sparse: give the labels as a dense array (n,).")
    if hasattr(y, "dtypes") and hasattr(y, "columns"):  # a frame of one column
        return y
    labels = np.asarray(y)
    if labels.dtype.kind in "mM":
        raise ValueError(
            f"y holds {labels.dtype}: a class needs a name. Give text, such as y.astype(str)."
        )
    if labels.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y holds {labels.dtype}. Give class names.")
    if labels.dtype.kind == "O":
        labels = _one_type(labels)
    elif not isinstance(y, np.ndarray) and labels.dtype.kind in "US":
        _one_type(np.asarray(y, dtype=object))  # NumPy has spelt numbers as text
    if labels.dtype.kind == "f" and not np.all(np.isfinite(labels)):
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
            f"{classes.tolist()[0]!r}. Give rows of another class."
        )
    if isinstance(solver, str) and solver == "liblinear" and len(classes) > 2:
        raise ValueError(
            "The 'liblinear' solver does not support multiclass classification, and y has "
            f"{len(classes)} classes. Use solver='auto'."
        )


def _one_type(labels: np.ndarray) -> np.ndarray:
    """Objects as an array of their own type; text stays as it is."""
    flat = labels.ravel().tolist()
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
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and value != value
