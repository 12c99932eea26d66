"""What every reader of a file shares: a table in chunks, its limits, its words."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

# Cells that stand for a missing value, in any case of letters.
MISSING = ("", "na", "n/a", "nan", "null", "?")

# What a number is: no underscores, no digits of other scripts, no hexadecimal.
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

# The largest table, as float64 in memory, unless an argument says otherwise.
MAX_BYTES = 2**32

MOST_COLUMNS = 1_000_000

# Cells in a chunk, about.
CHUNK_CELLS = 2**18

_LONGEST_SHOWN = 40
_MOST_NAMES = 20

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


# Called with the share of a file that has been read, from 0 to 1.
ReadProgress = Callable[[float], None]


class Texts(NamedTuple):
    """A column of text.

    Attributes:
        codes: index into values of every row, −1 where it is missing, (m,).
        values: what the codes stand for.
    """

    codes: np.ndarray
    values: list[str]


class Chunk(NamedTuple):
    """Some rows of a table.

    Attributes:
        numbers: the columns asked for as numbers, float64, NaN where missing, (m, k).
        texts: the columns asked for as text.
        places: where each row is in the file, by the source's unit, from 1.
        share: of the file that has been read by now, from 0 to 1.
    """

    numbers: np.ndarray
    texts: list[Texts]
    places: Sequence[int]
    share: float


class Source(Protocol):
    """A file of rows and named columns.

    Attributes:
        name: of the file, as errors call it.
        unit: what places count: "line" or "row".
        columns: names, all different.
        num_rows: as the file claims; None where only reading it tells.
    """

    name: str
    unit: str
    columns: list[str]
    num_rows: int | None

    def text_columns(self, names: list[str]) -> list[str]:
        """Those of the named columns that hold something other than numbers."""

    def chunks(self, numeric: list[str], text: list[str]) -> Iterator[Chunk]:
        """All rows, in order; a cell of a numeric column that is no finite number is refused."""


def regular_file(path: str | Path) -> Path:
    """The path of a file that can be read to its end; a link is followed.

    Raises:
        ValueError: for a directory, a pipe or a device.
        OSError: if there is no such file.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the path
        raise ValueError(f"{str(path)!r} is no path of a file: {error}.") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{plain(str(path))} is {kind}, not a file. Name a regular file.")
    return Path(path)


def plain(text: str) -> str:
    r"""Text for an error message: as it is if it is printable, else with escapes.

    >>> plain("age"), plain("a\nb")
    ('age', "'a\\nb'")
    """
    return text if text.isprintable() else repr(text)


def shown(cell: str) -> str:
    """A cell in quotes, its end cut off where it is long.

    >>> shown("abc"), shown("x" * 100)
    ("'abc'", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'")
    """
    return repr(cell if len(cell) <= _LONGEST_SHOWN else f"{cell[:_LONGEST_SHOWN]}…")


def listed(names: Sequence[str]) -> str:
    """The first names of a list, separated by commas.

    >>> listed(["a", "b"])
    'a, b'
    """
    more = len(names) - _MOST_NAMES
    first = ", ".join(plain(name[: 2 * _LONGEST_SHOWN]) for name in names[:_MOST_NAMES])
    return f"{first}, … ({more} more)" if more > 0 else first


def check_columns(name: str, columns: list[str]) -> None:
    """Refuse a header that does not name every column.

    Raises:
        ValueError: for a name that is empty or occurs twice.
    """
    if "" in columns:
        raise ValueError(
            f"column {columns.index('') + 1} of {name} has no name in the header. Give it one "
            "(a column of row numbers is left out by whoever writes the file)."
        )
    if len(set(columns)) < len(columns):
        twice = next(name for name, times in Counter(columns).items() if times > 1)
        raise ValueError(f"{name} has two columns named {shown(twice)}. Rename one.")
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"{name} has {len(columns)} columns, more than {MOST_COLUMNS}.")


def check_present(source: Source, names: Sequence[str], what: str) -> None:
    """Refuse names that are no columns.

    Args:
        source: the file.
        names: asked for.
        what: what they are, for the message.

    Raises:
        ValueError: naming the first, and the columns that there are.
    """
    columns = set(source.columns)
    for name in names:
        if name not in columns:
            raise ValueError(
                f"{what} {shown(name)} is not a column of {source.name}. "
                f"Its columns: {listed(source.columns)}."
            )


def check_size(name: str, num_bytes: int, max_bytes: int) -> None:
    """Refuse a table that is too large for memory.

    Raises:
        ValueError: naming both sizes and the argument.
    """
    if num_bytes > max_bytes:
        raise ValueError(
            f"{name} takes {num_bytes / 2**30:.3g} GiB in memory, more than the limit of "
            f"{max_bytes / 2**30:.3g} GiB. If that is meant, raise max_bytes (--max-gib)."
        )


def number_text(value: float) -> str:
    """A number as a class or category: without a point where it is whole.

    >>> number_text(2.0), number_text(0.5)
    ('2', '0.5')
    """
    value = float(value)
    whole = value.is_integer() and abs(value) < 2**53
    return str(int(value)) if whole else repr(value)


def number_texts(values: np.ndarray) -> Texts:
    """A column of numbers as texts, NaN as missing."""
    missing = np.isnan(values)
    distinct, codes = np.unique(np.where(missing, 0.0, values), return_inverse=True)
    return Texts(np.where(missing, -1, codes), [number_text(value) for value in distinct])


def not_finite(source: Source, place: int, column: str, value: str) -> ValueError:
    """The error for a number that is none: an infinity, or too large for float64."""
    return ValueError(
        f"{source.unit} {place}, column {shown(column)} of {source.name} holds {shown(value)}, "
        "which is not a finite number. Correct it, or drop the row."
    )


def not_numbers(source: Source, column: str, why: str) -> ValueError:
    """The error for a column of text where numbers are wanted."""
    return ValueError(
        f"column {shown(column)} of {source.name} {why}, not numbers. Convert it, leave it out "
        f"with --drop {shown(column)}, or one-hot encode it with --categorical {shown(column)}."
    )
