"""JSON that every reader takes: numbers are finite or null. And a reader as strict."""

import json
import math
from typing import Any

import numpy as np


def as_json(document: Any) -> str:
    """One JSON object in a line.

    >>> as_json({"x": np.array([1.0, np.nan]), "n": np.int64(2), "π": (True, None)})
    '{"x": [1.0, null], "n": 2, "π": [true, null]}'
    """
    return json.dumps(_plain(document), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def strict_json(text: str | bytes) -> Any:
    """What a JSON text says, where it can mean one thing only.

    Args:
        text: JSON, UTF-8 if bytes.

    Raises:
        ValueError: for a key given twice, NaN, an infinity, nesting too deep to read, or
            no JSON.

    >>> strict_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' is there twice
    """
    try:
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond every float64")
    return value
