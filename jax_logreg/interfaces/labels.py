"""Class labels of any plain type, as an array and as JSON, without loss."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Letters of NumPy's dtypes: whole numbers, floats, truth values, text, bytes.
_DTYPE = re.compile(r"[<>|=]?([biufSU]\d{1,9})")
_KINDS = "biufSUOT"
_PLAIN = (str, bool, int, float, bytes)
# What a short text in a file may make NumPy allocate.
_MOST_BYTES = 2**26


def as_labels(values: Any) -> np.ndarray:
    """Class labels as an array (K,); an array keeps its dtype.

    Args:
        values: K different labels: text, whole numbers of any size, finite floats, truth
            values or bytes. A list that NumPy would convert (numbers beside text, say)
            becomes an array of objects.

    Raises:
        ValueError: naming the label.

    >>> as_labels(["no", "yes"]), as_labels([1, "other"])
    (array(['no', 'yes'], dtype='<U3'), array([1, 'other'], dtype=object))
    """
    labels = _from_list(values) if isinstance(values, list | tuple) else np.array(values)
    if labels.dtype == object and labels.ndim == 1:
        labels = _objects(labels.tolist())
    if labels.ndim != 1 or len(labels) < 2:
        raise ValueError(f"classes must be a list of two or more labels, not {values!r}.")
    if labels.dtype.kind not in _KINDS or labels.dtype.str[1:] in ("f12", "f16"):
        raise ValueError(
            f"classes of dtype {labels.dtype} cannot be kept: use text, whole numbers, "
            "float64, truth values or bytes."
        )
    if labels.nbytes > _MOST_BYTES:
        raise ValueError(f"classes take {labels.nbytes} bytes, more than {_MOST_BYTES}.")
    _check_each(labels.tolist())
    return labels


def _from_list(values: Sequence[Any]) -> np.ndarray:
    objects = _objects(values)
    if len(set(map(type, objects))) == 1 and isinstance(objects[0], _PLAIN):
        labels = np.array(objects.tolist())
        if repr(labels.tolist()) == repr(objects.tolist()):
            return labels
    return objects


def _objects(values: Sequence[Any]) -> np.ndarray:
    """An array of Python's own objects."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return np.fromiter(plain, object, count=len(plain))


def _check_each(labels: list[Any]) -> None:
    for label in labels:
        if not isinstance(label, _PLAIN):
            raise ValueError(
                f"class {label!r} is neither text, number, truth value nor bytes: name it so."
            )
        if isinstance(label, float) and not np.isfinite(label):
            raise ValueError(f"class {label!r} is not finite: drop its rows or name it in text.")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"class {twice!r} is there twice: every class needs a label of its own.")


def labels_as_plain(labels: np.ndarray) -> dict[str, Any]:
    """Labels as plain data that JSON can hold.

    >>> labels_as_plain(np.array([b"a", b"b"]))
    {'dtype': '|S1', 'values': [{'bytes': '61'}, {'bytes': '62'}]}
    """
    name = {"O": "object", "T": "text"}.get(labels.dtype.kind, labels.dtype.str)
    values = [{"bytes": x.hex()} if isinstance(x, bytes) else x for x in labels.tolist()]
    return {"dtype": name, "values": values}


def labels_from_plain(plain: Any) -> np.ndarray:
    """The array that :func:`labels_as_plain` took, to the bit.

    Raises:
        ValueError: for anything that it cannot have written.
    """
    match plain:
        case {"dtype": str(name), "values": [*values]} if len(plain) == 2:
            labels = [_label(value) for value in values]
            array = _filled(_dtype(name, len(labels)), labels)
        case _:
            raise ValueError("classes are not a dtype and values.")
    if repr(array.tolist()) != repr(labels):
        raise ValueError(f"classes do not fit their dtype {name}.")
    return as_labels(array)


def _label(value: Any) -> Any:
    match value:
        case {"bytes": str(digits)} if len(value) == 1:
            return bytes.fromhex(digits)
    return value


def _dtype(name: str, count: int) -> np.dtype:
    if name == "object":
        return np.dtype(object)
    if name == "text":
        return np.dtypes.StringDType()
    match = _DTYPE.fullmatch(name)
    if match is None or int(match[1][1:]) * count > _MOST_BYTES:
        raise ValueError(f"classes cannot have dtype {name!r}.")
    try:
        return np.dtype(name)
    except TypeError as error:
        raise ValueError(f"classes cannot have dtype {name!r}.") from error


def _filled(dtype: np.dtype, labels: list[Any]) -> np.ndarray:
    array = np.empty(len(labels), dtype)
    try:
        array[:] = labels
    except (TypeError, OverflowError) as error:
        raise ValueError(f"classes do not fit their dtype {dtype}.") from error
    return array


def label_text(label: Any) -> str:
    """A label as a person reads it: in a heading, in a CSV file.

    >>> label_text(b"yes"), label_text(np.int64(3)), label_text("no")
    ('yes', '3', 'no')
    """
    return label.decode("latin-1") if isinstance(label, bytes) else str(label)
