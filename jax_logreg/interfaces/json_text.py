"""JSON that every reader takes: numbers are finite or null."""

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
