"""Sources: an open file as named columns, the contract of every reader.

A *reader* is a function ``(path, request) -> Source``. Libraries parse; whatever they raise
becomes one ValueError that names the file, and nothing is ever unpickled.
"""

import bz2
import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from jax_logreg.interfaces.files import printable, quoted

# The largest table, as float64 in memory, unless an argument says otherwise.
MAX_BYTES = 2**32
MOST_COLUMNS = 1_000_000
# Characters of a line of text.
LONGEST_LINE = 2**24

# Called with the fraction of a file that has been read, from 0 to 1.
ReadProgress = Callable[[float], None]

NUMBER, TEXT = "number", "text"


class Request(NamedTuple):
    """What a reader may have to know besides the path.

    Attributes:
        delimiter: of a CSV file; None to find it out by its header.
        needed: columns that the header must have.
        names: of the columns of a matrix without names; None for x0, x1, …
        max_bytes: bound on what is unpacked at a time.
    """

    delimiter: str | None = None
    needed: tuple[str, ...] = ()
    names: list[str] | None = None
    max_bytes: int = MAX_BYTES


class Batch(NamedTuple):
    """Some consecutive rows of a file.

    Attributes:
        num_rows: how many.
        numeric: the columns asked for as numbers: NumPy or Arrow arrays, or one matrix.
        categorical: the columns asked for as categories.
        fraction_read: of the file that has been read by now, from 0 to 1.
    """

    num_rows: int
    numeric: list[Any] | np.ndarray
    categorical: list[Any]
    fraction_read: float


def batch_rows(num_columns: int) -> int:
    """About how many rows a batch has: 8 MiB of float64, and up to 128 MiB if it is wide.

    Each column of a batch costs some microseconds, which 256 rows are worth.
    """
    return max(1, 2**20 // num_columns, min(256, 2**24 // num_columns))


def row_numbers(rows: Sequence[int]) -> dict[int, str]:
    """Where rows are in a file that has no lines: index from 0 ↦ "row 1", …"""
    return {row: f"row {row + 1}" for row in rows}


class Source(NamedTuple):
    """An open file of rows and named columns.

    Attributes:
        name: of the file, as errors call it.
        columns: names, all different.
        read: batches of the columns of these names, (numeric, categorical).
        kinds: of the columns, NUMBER, TEXT, or a type that is neither, as errors call it;
            None where all cells are text that may stand for numbers.
        locate: indices of rows, from 0 ↦ where they are, as errors call it.
        labels: the column of classes, if the format has one.
        is_unnamed: whether the columns have no names but their numbers.
        num_bytes: of the file that are in memory as long as it is open.
    """

    name: str
    columns: list[str]
    read: Callable[[list[str], list[str]], Iterator[Batch]]
    kinds: dict[str, str] | None = None
    locate: Callable[[Sequence[int]], dict[int, str]] = row_numbers
    labels: str | None = None
    is_unnamed: bool = False
    num_bytes: int = 0


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


def check_columns(name: str, columns: list[str]) -> None:
    """Refuse a header that does not name every column.

    Raises:
        ValueError: for a name that is empty or occurs twice.
    """
    if "" in columns:
        raise ValueError(
            f"column {columns.index('') + 1} of {name} has no name in the header. Give it one "
            "(pandas and R write a nameless column of row numbers unless asked not to)."
        )
    if len(set(columns)) < len(columns):
        twice = next(column for column, times in Counter(columns).items() if times > 1)
        raise ValueError(f"{name} has two columns named {quoted(twice)}. Rename one.")
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"{name} has {len(columns)} columns, more than {MOST_COLUMNS}.")


@contextmanager
def translated_errors(name: str, kind: str) -> Iterator[None]:
    """Whatever a library raises becomes an error that names the file."""
    try:
        yield
    except Exception as error:  # of many kinds, some from deep within C++
        reason = printable(" ".join(str(error).split())[:200])
        raise ValueError(f"{name} is no {kind} that can be read: {reason}") from error


def require_pyarrow(name: str) -> Any:
    """The module pyarrow.

    Args:
        name: of the file that needs it.

    Raises:
        ValueError: naming the extra to install.
    """
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"{name} needs pyarrow: pip install 'jax-logreg[tables]'.") from error
    return pyarrow


@contextmanager
def open_decompressed(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """The bytes of a file, decompressed by its suffix, and the fraction of it that was read."""
    size = max(1, path.stat().st_size)
    with path.open("rb") as file:
        suffix, stream = path.suffix.lower(), cast(IO[bytes], file)
        if suffix == ".gz":
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file))
        elif suffix == ".bz2":
            stream = bz2.BZ2File(file)
        elif suffix == ".zst":
            stream = require_pyarrow(printable(str(path))).CompressedInputStream(file, "zstd")
        with stream:
            yield stream, lambda: min(1.0, file.tell() / size)


def text_blocks(
    path: Path, end_of_rows: Callable[[bytes], int], size: int
) -> Iterator[tuple[bytes, float]]:
    """The bytes of a file of text, decompressed, in blocks of whole rows.

    Args:
        path: the file.
        end_of_rows: how many of some bytes are whole rows.
        size: of a block, about, in bytes, and the bound on a row.

    Yields:
        Some rows, and the fraction of the file that has been read.

    Raises:
        ValueError: for a row without an end, or of too many bytes.
        OSError: if the file cannot be read.
    """
    name, rest = printable(str(path)), b""
    with open_decompressed(path) as (stream, fraction_read):
        more = b"\n"
        while more:
            with translated_errors(name, "file"):
                more = stream.read(size)
            block = rest + (more or b"\n")
            end = end_of_rows(block)
            block, rest = block[:end], block[end:]
            if len(rest) > size or (rest and not more):
                raise ValueError(f"{name} holds a row of more than {len(rest) - 1} bytes.")
            if block:
                yield block, fraction_read()


def end_of_lines(block: bytes) -> int:
    """How many bytes are whole lines."""
    return 1 + max(block.rfind(b"\n"), block.rfind(b"\r"))
