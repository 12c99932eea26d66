"""A model as JSON that a person can read and that gives back every bit."""

import json
from typing import Any

import numpy as np

from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.json_text import strict_json
from jax_logreg.interfaces.labels import labels_as_plain, labels_from_plain
from jax_logreg.interfaces.model import Model

_FORMAT = "jax_logreg model, JSON"
_FORMAT_VERSION = 1
_DTYPES = ("float32", "float64")
_ARRAYS = ("intercept", "coef", "center")


def to_json(model: Model) -> str:
    """A model as a readable JSON text; :func:`from_json` gives it back exactly.

    >>> print(to_json(Model([0.1], 2.0, feature_names=["age"])))  # doctest: +ELLIPSIS
    {
      "format": "jax_logreg model, JSON",
      "format_version": 1,
      ...
      "intercept": 2.0,
      "coef": {
        "age": 0.1
      },
      ...
    }
    """
    names = model.feature_names
    document = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "version": model.version,
        "classes": labels_as_plain(model.classes),
        "dtype": {name: getattr(model, name).dtype.name for name in _ARRAYS},
        "intercept": model.intercept.tolist(),
        "coef": dict(zip(names, model.coef.tolist(), strict=True)),
        "center": dict(zip(names, model.center.tolist(), strict=True)),
        "encoding": None if model.encoding is None else model.encoding.as_dict(),
        "training": model.training,
    }
    return json.dumps(document, indent=2, allow_nan=False)


_KEYS = (
    "format",
    "format_version",
    "version",
    "classes",
    "dtype",
    *_ARRAYS,
    "encoding",
    "training",
)


def from_json(text: str) -> Model:
    """The model that :func:`to_json` wrote.

    Args:
        text: the JSON.

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        document = strict_json(text)
    except ValueError as error:
        raise ValueError(f"this is no model in JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f"this is no model in JSON: its format is not {_FORMAT!r}.")
    if document.get("format_version") != _FORMAT_VERSION:
        raise ValueError(
            f"this model is of format {document.get('format_version')!r}, and format "
            f"{_FORMAT_VERSION} is the newest known here: upgrade jax_logreg."
        )
    if tuple(sorted(document)) != tuple(sorted(_KEYS)):
        raise ValueError(f"a model in JSON has the keys {', '.join(_KEYS)} and no others.")
    if list(document["center"]) != list(document["coef"]):
        raise ValueError("coef and center do not name the same features.")
    encoding = document["encoding"]
    arrays = {name: _array(document["dtype"], name, document[name]) for name in _ARRAYS}
    return Model(
        **arrays,
        classes=labels_from_plain(document["classes"]),
        feature_names=list(document["coef"]),
        encoding=None if encoding is None else Encoding.from_dict(encoding),
        training=document["training"],
        version=document["version"],
    )


def _array(dtypes: Any, name: str, value: Any) -> np.ndarray:
    """The numbers of one array, in the dtype that they were in."""
    dtype = dtypes.get(name) if isinstance(dtypes, dict) else None
    if dtype not in _DTYPES:
        raise ValueError(f"dtype of {name} must be one of {', '.join(_DTYPES)}, not {dtype!r}.")
    values = list(value.values()) if isinstance(value, dict) else value
    try:
        wide = np.array(values, np.float64)
        array = wide.astype(dtype)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{name} must hold numbers.") from error
    if not np.array_equal(array, wide):
        raise ValueError(f"{name} holds a number that is none of {dtype}.")
    return array
