"""The cells of a CSV file as numbers and texts: fast where all is well, else one by one."""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from jax_logreg.interfaces.sources import MISSING, NUMBER, Texts

_INFINITY = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


class BadCellError(ValueError):
    """Cell number ``index`` of a column is no finite number.

    Attributes:
        index: of the cell, from 0.
        is_text: whether it is text, rather than an infinity or too large a number.
        remedy: what to do.
    """

    def __init__(self, index: int, cell: str) -> None:
        self.index = index
        self.is_text = not (NUMBER.fullmatch(cell) or _INFINITY.fullmatch(cell))
        if _DECIMAL_COMMA.fullmatch(cell):
            self.remedy = "Write decimals with a point."
        else:
            self.remedy = "Correct it, or leave the row or the column out."


def parse_plain(
    lines: list[str], delimiter: str, width: int, numeric: list[int], text: list[int]
) -> tuple[np.ndarray, list[Texts]] | None:
    r"""Lines without quotes, blanks or gaps, by NumPy's parser.

    Args:
        lines: as they are in the file.
        delimiter: one character.
        width: number of columns.
        numeric: indices of the columns wanted as numbers.
        text: indices of the columns wanted as text.

    Returns:
        The numbers and the texts; None where a line is not as simple as that, so that
        it must be looked at cell by cell.

    >>> parse_plain(["1,a,2\n", "3,b,4\n"], ",", 3, [0, 2], [1])
    (array([[1., 2.],
           [3., 4.]]), [Texts(codes=array([0, 1]), values=['a', 'b'])])
    """
    if any('"' in line or line.isspace() for line in lines):
        return None
    seen: dict[int, dict[str, int]] = {index: {} for index in text}
    parsed = set(numeric)
    converters: dict[int | str, Callable[[str], float]] = {
        index: _intern(seen[index]) if index in seen else _ignore
        for index in range(width)
        if index not in parsed
    }
    try:
        cells = np.loadtxt(
            lines, delimiter=delimiter, comments=None, converters=converters, ndmin=2
        )
    except ValueError:
        return None
    if cells.shape != (len(lines), width):
        return None
    numbers = cells[:, numeric]
    if not np.all(np.isfinite(numbers)):
        return None
    return numbers, [Texts(cells[:, index].astype(int), list(seen[index])) for index in text]


def _intern(seen: dict[str, int]) -> Callable[[str], float]:
    def code(cell: str) -> float:
        cell = cell.strip()
        return -1.0 if cell.lower() in MISSING else seen.setdefault(cell, len(seen))

    return code


def _ignore(cell: str) -> float:
    return 0.0


def parse_numbers(cells: Sequence[str]) -> np.ndarray:
    """A column of numbers, NaN where missing.

    Raises:
        BadCellError: for the first cell that is no finite number.

    >>> parse_numbers(["1", " 2.5e1 ", "NA"])
    array([ 1., 25., nan])
    """
    together = "".join(cells)
    if together.isascii() and "_" not in together:  # float takes more than a number
        try:
            values = np.fromiter(map(float, cells), float, len(cells))
        except ValueError:
            values = np.array([np.nan])
        if np.all(np.isfinite(values)):
            return values
    return np.array([_number(index, cell.strip()) for index, cell in enumerate(cells)])


def _number(index: int, cell: str) -> float:
    if cell.lower() in MISSING:
        return math.nan
    value = float(cell) if NUMBER.fullmatch(cell) else math.inf
    if math.isinf(value):
        raise BadCellError(index, cell)
    return value


def parse_texts(cells: Sequence[str]) -> Texts:
    """A column of text, −1 where missing.

    >>> parse_texts(["b", " a", "", "b"])
    Texts(codes=array([ 0,  1, -1,  0]), values=['b', 'a'])
    """
    seen: dict[str, int] = {}
    code = _intern(seen)
    codes = np.array([code(cell) for cell in cells], int)
    return Texts(codes, list(seen))
