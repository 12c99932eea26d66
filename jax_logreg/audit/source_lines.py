"""Lines of the user's code that the steps of a jaxpr come from."""

import functools
import linecache
import os
import types
from typing import Any

import jax
import numpy as np

# So much of a line of the user's code is shown.
_MAX_LINE = 100
_NOT_THE_USERS = tuple(os.path.dirname(str(file)) for file in (jax.__file__, np.__file__, __file__))


def source_of(eqn: Any) -> str:
    """Where the user's code has a step: its line."""
    file, number = line_of(eqn)
    line = linecache.getline(file, number).strip() if file else ""
    line = line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"
    return f", in `{line}`" if line else f", in line {number}" if file else ""


def line_of(eqn: Any) -> tuple[str, int]:
    """File and line of the user's code that a step comes from; ("", 0) if it is not known."""
    return expression_of(eqn)[:2]


def expression_of(eqn: Any) -> tuple[str, int, Any]:
    """File, line and position in it of the user's expression that a step comes from."""
    traceback = getattr(eqn.source_info, "traceback", None)
    if traceback is not None:
        for frame, code, at in zip(traceback.frames, *traceback.raw_frames(), strict=True):
            if not frame.file_name.startswith((*_NOT_THE_USERS, "<")):
                return frame.file_name, frame.line_num, _positions(code)[at // 2]
    return "", 0, None


@functools.lru_cache(256)
def _positions(code: types.CodeType) -> list[Any]:
    return list(code.co_positions())
