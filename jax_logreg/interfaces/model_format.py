"""The model file: JSON with a checksum.

A person can read it, and reading it runs nothing. Python writes a float with as many digits as
it takes to read the same number back. The key ``sha256`` holds the checksum of the rest of the
document, written compactly with its keys in the order of the file: a number, name or label
cannot change unnoticed, spaces and line ends may. Every version of the format computes it in
the same way, so a damaged file is never taken for a newer one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from jax_logreg.interfaces.files import regular_file, strict_json

_FORMAT, _VERSION = "jax_logreg model", 2
# What jax_logreg 0.1.0 wrote: the first bytes of its binary files, the format of its JSON.
_BINARY_OF_0_1_0, _JSON_OF_0_1_0 = b"\x89jax_logreg\r\n\x1a\n", "jax_logreg model, JSON"
_IS_OF_0_1_0 = (
    "the file was written by jax_logreg 0.1.0, and only that version reads it: fit and save the "
    "model again, or use that version."
)
# Largest array of labels of one width: one long label must not take its length for every class.
_MOST_LABEL_BYTES = 2**26


def sealed_json(document: dict[str, Any]) -> str:
    """A document as JSON text, with the format, its version and the checksum.

    >>> print(sealed_json({"a": 1}))  # doctest: +ELLIPSIS
    {
      "format": "jax_logreg model",
      "format_version": 2,
      "a": 1,
      "sha256": "..."
    }
    """
    whole = {"format": _FORMAT, "format_version": _VERSION, **document}
    return json.dumps({**whole, "sha256": _checksum(whole)}, indent=2, allow_nan=False)


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def read_text(path: str | Path) -> str:
    """The text of a model file.

    Raises:
        ValueError: for a file that starts as no model file does, or does not fit in memory.
        OSError: if it cannot be read.
    """
    try:
        with regular_file(path).open("rb") as stream:
            start = stream.read(len(_BINARY_OF_0_1_0))
            if start == _BINARY_OF_0_1_0:
                raise ValueError(_IS_OF_0_1_0)
            if not start.lstrip().startswith(b"{"):
                raise ValueError("this is not a model file, or its first bytes are damaged.")
            return (start + stream.read()).decode("utf-8")
    except MemoryError:
        raise ValueError("the file does not fit in memory.") from None


def verified_document(text: str) -> dict[str, Any]:
    """The document that :func:`sealed_json` was given.

    Raises:
        ValueError: if the text is not JSON, of another format, damaged or of another version.
    """
    document = _parsed(text)
    found = document.pop("format_version", None), document.pop("format", None)
    if found[0] != _VERSION:
        raise ValueError(
            f"the model is of format {found[0]!r}, and this version reads format {_VERSION}: "
            "upgrade jax_logreg (pip install -U jax-logreg)."
        )
    return document


def _parsed(text: str) -> dict[str, Any]:
    """A document whose format and checksum are right."""
    try:
        document = strict_json(text)
        found = document.get("format") if isinstance(document, dict) else None
        if found == _JSON_OF_0_1_0:
            raise ValueError(_IS_OF_0_1_0)
        if found != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        agrees = document.pop("sha256", None) == _checksum(document)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not a model: {error}.") from error
    if not agrees:
        raise ValueError(
            "the model is damaged: its checksum does not agree. Take another copy of the file."
        )
    return dict(document)


def floats_from_json(name: str, values: Any, dtypes: dict[str, Any]) -> np.ndarray:
    """Numbers of a document in the dtype that it names.

    Raises:
        ValueError: for another dtype, or anything but floats of that dtype.

    >>> floats_from_json("coef", [0.5, 2.0], {"coef": "float32"})
    array([0.5, 2. ], dtype=float32)
    """
    dtype = dtypes.get(name)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype of {name} must be float32 or float64, not {dtype!r}.")
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, np.float64).astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must hold numbers: {error}.") from error
    if repr(array.tolist()) != repr(values):
        raise ValueError(f"{name} holds something other than floats of {dtype}.")
    return array


def class_labels(values: Any) -> np.ndarray:
    """K different labels as a read-only array, of objects if they are of several types.

    Labels of one type take NumPy's dtype for a list of them: int64, float64, bool or text.
    Where that would change a label (a huge number, text with a NUL at its end), they stay
    objects.

    Raises:
        ValueError: naming the label.

    >>> class_labels(["no", "yes"]), class_labels([1, "other"])
    (array(['no', 'yes'], dtype='<U3'), array([1, 'other'], dtype=object))
    """
    given = list(values) if isinstance(values, list | tuple) else np.asarray(values)
    if (isinstance(given, np.ndarray) and given.ndim != 1) or len(given) < 2:
        raise ValueError(f"classes must be a list of two or more labels, not {values!r}.")
    labels = [_python_label(label) for label in given]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"class {twice!r} occurs twice: every class needs a label of its own.")
    array = np.fromiter(labels, object, count=len(labels))
    width = max(len(label) if isinstance(label, str) else 1 for label in labels)
    if len(set(map(type, labels))) == 1 and 4 * width * len(labels) <= _MOST_LABEL_BYTES:
        typed = np.array(labels)
        array = typed if repr(typed.tolist()) == repr(labels) else array
    array.setflags(write=False)
    return array


def _python_label(label: Any) -> Any:
    # NumPy's dates would become whole numbers.
    if isinstance(label, np.generic) and label.dtype.kind in "biufU":
        label = label.item()
    if type(label) not in (str, bool, int, float):
        raise ValueError(
            f"class {label!r} is neither text, a number nor a truth value: name it in text."
        )
    if isinstance(label, float) and not np.isfinite(label):
        raise ValueError(f"class {label!r} is not finite: drop its rows or name it in text.")
    return label
