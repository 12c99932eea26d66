"""Validation of the estimator's tables, labels and weights, on top of scikit-learn's own.

Refused here, by row, column and remedy, is what NumPy would silently misread: masks are
dropped, dates become nanoseconds, and numbers beside text become text.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import _array_api, assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


from jax_logreg.fitting.validation import (
    as_numpy,
    check_weight,
    refuse_dates,
    refuse_masked,
    refuse_no_array,
)
from jax_logreg.programs.jax_settings import in_float64


def check_table(estimator: Any, X: Any, *target: Any, reset: bool) -> Any:
    """X, or X and y, as arrays of finite floats and of labels.

    Args:
        estimator: its ``n_features_in_`` and ``feature_names_in_`` are set or compared.
        X: (n, p), an array, a frame or a sparse matrix.
        target: y, or nothing.
        reset: whether X is the table of a fit.

    Raises:
        ValueError: naming the row, the column and the remedy.
    """
    if not sparse.issparse(X):
        refuse_no_array("X", X)
    refuse_masked("X", X)
    refuse_dates("X", X)
    labels = [_check_labels(y) for y in target]
    X = to_numpy("X", X)
    try:
        valid = validate_data(
            estimator, X, *labels, reset=reset, accept_sparse="csr",
            dtype=[np.float64, np.float32], ensure_all_finite=False,
        )  # fmt: skip
    except ValueError:
        _refuse_text(X)
        raise
    _check_finite(valid[0] if target else valid, getattr(estimator, "feature_names_in_", None))
    return valid


@contextmanager
def fit_task(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Iterator[None]:
    """Report a fit to scikit-learn's callbacks, as one task: the steps are one program."""
    if not hasattr(estimator, "_skl_callbacks"):
        yield
        return
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
    with callback_management_context(estimator):
        task = estimator._init_callback_context()
        task.call_on_fit_task_begin(**data)
        yield
        task.call_on_fit_task_end(**data, reconstruction_attributes={})


def to_numpy(name: str, x: Any) -> Any:
    """An array of another library in NumPy; lists, frames and sparse matrices as they are."""
    if not hasattr(x, "__array__") or hasattr(x, "columns") or np.ma.isMaskedArray(x):
        return x
    if not hasattr(x, "__dlpack__"):
        return as_numpy(name, x)
    # Where scikit-learn dispatches, from another device too.
    xp = _array_api.get_namespace(x)[0]
    return as_numpy(name, x, lambda x: _array_api._convert_to_numpy(x, xp))


def to_namespace(array: np.ndarray, X: Any) -> Any:
    """The array in the library and on the device of X, where scikit-learn dispatches."""
    xp, dispatches, device = _array_api.get_namespace_and_device(X)
    if not dispatches or isinstance(X, np.ndarray):
        return array
    with in_float64():  # JAX's arrays keep their dtype
        return xp.asarray(array, device=device)


def check_namespace(X: Any, estimator: Any, method: str) -> None:
    """Refuse X of another library than ``coef_``, as scikit-learn does where it dispatches."""
    if hasattr(_array_api, "check_same_namespace"):  # since 1.9
        _array_api.check_same_namespace(X, estimator, attribute="coef_", method=method)


def _refuse_text(X: Any) -> None:
    """Name the first cell of text that is not a number, if there is one."""
    cells = np.asarray(X, dtype=object)
    for (row, column), cell in np.ndenumerate(cells) if cells.ndim == 2 else ():
        if isinstance(cell, str) and not _is_number(cell):
            name = repr(X.columns[column]) if hasattr(X, "columns") else column
            raise ValueError(
                f"X must hold numbers, but row {row}, column {name} holds {cell!r}. Encode text "
                "as numbers, with OneHotEncoder or OrdinalEncoder."
            ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_finite(X: Any, names: Any) -> None:
    """Refuse NaN and infinity in an array or a CSR matrix, with the place of the first."""
    try:
        with np.errstate(invalid="ignore"):  # its sum may be that of two infinities
            assert_all_finite(X, input_name="X")
    except ValueError as error:
        entries = sparse.coo_array(X)
        bad = ~np.isfinite(entries.data)
        row, column = int(entries.row[np.argmax(bad)]), int(entries.col[np.argmax(bad)])
        raise ValueError(
            f"{error} The first of {int(bad.sum())} such entries is in row {row}, column "
            f"{column if names is None else repr(names[column])}. Drop such rows, or impute "
            "them, for example with SimpleImputer."
        ) from None


def _check_labels(y: Any) -> Any:
    """Labels as a NumPy array, objects of one type in that type.

    Raises:
        ValueError: naming the row and the value.
    """
    refuse_masked("y", y)
    if y is not None and not sparse.issparse(y):
        refuse_no_array("y", y)
    if y is None or sparse.issparse(y) or hasattr(y, "columns"):
        return y  # for scikit-learn to refuse, or to flatten with a warning
    refuse_dates("y", y, "a class needs a name. Give text, such as y.astype(str).")
    labels = np.asarray(to_numpy("y", y))
    # Text from anything but an array may be NumPy's conversion of numbers.
    objects = labels.dtype.kind == "O" or (labels.dtype.kind in "US" and y is not labels)
    if not objects and labels.dtype.kind != "f":
        return labels
    values = np.asarray(y, dtype=object).ravel().tolist() if objects else labels.ravel()
    missing = [_is_missing(value) for value in values] if objects else ~np.isfinite(values)
    if np.any(missing):
        row = int(np.argmax(missing))
        raise ValueError(
            f"Input y contains NaN, infinity or None: y[{row}] is {values[row]}. Drop the rows "
            "without a label."
        )
    text = [isinstance(value, str | bytes) for value in values] if objects else []
    if any(text) and not all(text):
        row = text.index(not text[0])
        raise ValueError(
            f"y mixes types: y[0] is {values[0]!r} and y[{row}] is {values[row]!r}. Labels must "
            "all be text or all be numbers; convert them with astype(str)."
        )
    if str(getattr(y, "dtype", "")) == "object" and not any(text):
        kind = np.asarray(values).dtype.name.rstrip("0123456789")
        raise ValueError(
            f"Unknown label type: y has the dtype object and holds numbers, such as {values[0]!r}, "
            f"which scikit-learn does not score. Give y.astype({kind})."
        )
    return np.asarray(labels.tolist()) if objects and not any(text) else labels


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT, or pandas' NA, which does not say whether it equals itself."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and value != value


def encode(y: np.ndarray, solver: Any) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, (K,), and the class number of every row, (n,).

    Raises:
        ValueError: for labels that are no classes, for a single class, and for more than two
            with scikit-learn's solver that has no softmax.
    """
    classes, codes = _unique_with_codes(y)
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
    return classes, codes


def _unique_with_codes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sorted classes, and the place of every row's; whole numbers that lie close together are
    counted, not sorted."""
    is_whole = y.dtype.kind in "iu" and y.ndim == 1 and y.size > 0
    if not is_whole:
        check_classification_targets(y)  # which sorts them, too
    if not is_whole or int(y.max()) - int(y.min()) >= y.size:
        return np.unique(y, return_inverse=True)
    wide = y.astype(np.int64) if y.dtype.itemsize < 8 else y
    codes = (wide - wide.min()).astype(np.intp)
    occurs = np.bincount(codes) > 0
    classes = np.array([int(y.min()) + place for place in np.flatnonzero(occurs).tolist()], y.dtype)
    return classes, codes if occurs.all() else (np.cumsum(occurs) - 1)[codes]


def row_weights(
    sample_weight: Any, codes: np.ndarray, class_weight: Any, classes: np.ndarray
) -> np.ndarray:
    """The weight of every row, (n,): its own, times that of its class.

    Raises:
        ValueError: for an illegal weight of a row or a class.
    """
    refuse_masked("sample_weight", sample_weight)
    given = 1.0 if sample_weight is None else to_numpy("sample_weight", sample_weight)
    refuse_no_array("sample_weight", given)
    given = np.asarray(given)
    given = np.broadcast_to(given, codes.shape) if given.ndim == 0 else given
    rows: Any = np.zeros((len(codes), 0))
    with in_float64():
        weight = np.asarray(check_weight(given, rows))
    weight = weight * _class_weights(class_weight, classes, codes, weight)[codes]
    if not np.any(weight > 0):
        raise ValueError("sample_weight and class_weight leave no row a positive weight.")
    return weight


def _class_weights(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """One weight a class, (K,).

    Not by scikit-learn's ``compute_class_weight``: that reads the label "1" as the number 1, and
    divides by zero for a class whose rows all have weight zero.
    """
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
    labels = classes.tolist()
    unknown, unnamed = set(class_weight) - set(labels), [c for c in labels if c not in class_weight]
    if unknown and unnamed:
        raise ValueError(
            f"The classes, {unnamed}, are not in class_weight, and no row of y has its labels "
            f"{sorted(unknown, key=str)}. Give the labels as they stand in y."
        )
    chosen = [class_weight.get(label, 1.0) for label in labels]
    if not all(isinstance(w, Real) and 0 <= float(w) < np.inf for w in chosen):
        raise ValueError(
            f"class_weight must hold numbers of at least 0, but it is {class_weight!r}."
        )
    return np.array(chosen, float)
