"""Sources: an open file as named columns, the contract of every reader, and that of CSV.

A *reader* is a function ``(path, request) -> Source``. Libraries parse; whatever they raise
becomes one ValueError that names the file, and nothing is ever unpickled. CSV is parsed by
Arrow, and where it cannot, explained by Python's csv module.
"""

import bz2
import csv
import gzip
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from jax_logreg.interfaces.encoding import MISSING
from jax_logreg.interfaces.files import printable, quoted
from jax_logreg.interfaces.table_options import MAX_BYTES

COMPRESSED = (".gz", ".bz2", ".zst")
MOST_COLUMNS = 1_000_000
# Characters of a line of text.
LONGEST_LINE = 2**24

# Called with the fraction of a file that has been read, from 0 to 1.
ReadProgress = Callable[[float], None]

NUMBER, TEXT = "number", "text"

# Columns without a name, as they stand in files that pandas wrote.
_NAMELESS = re.compile(r"|__index_level_\d+__|Unnamed: \d+")


class Request(NamedTuple):
    """What a reader may have to know besides the path.

    Attributes:
        delimiter: of a CSV file; None to find it out by its header.
        needed: columns that the header must have.
        names: of the columns of a matrix without names; None for x0, x1, …
        max_bytes: bound on what is unpacked at a time.
        missing: cells of text that stand for a missing value, in small letters.
        decimal: the mark of decimals in a CSV file, a point or a comma.
    """

    delimiter: str | None = None
    needed: tuple[str, ...] = ()
    names: list[str] | None = None
    max_bytes: int = MAX_BYTES
    missing: tuple[str, ...] = MISSING
    decimal: str = "."


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
        num_rows: where that is known before they are read.
        has_decimal_comma: whether the numbers in text had a comma for a point; batches have them
            exchanged.
    """

    name: str
    columns: list[str]
    read: Callable[[list[str], list[str]], Iterator[Batch]]
    kinds: dict[str, str] | None = None
    locate: Callable[[Sequence[int]], dict[int, str]] = row_numbers
    labels: str | None = None
    is_unnamed: bool = False
    num_bytes: int = 0
    num_rows: int | None = None
    has_decimal_comma: bool = False


def check_size(
    name: str,
    num_bytes: int,
    max_bytes: int,
    fraction_read: float = 1.0,
    slack: float = 2.0,
) -> None:
    """Refuse a table that is too large for memory, as soon as that is plain.

    Args:
        name: of the table.
        num_bytes: of what has been read.
        max_bytes: the limit.
        fraction_read: of the file, by which the whole is estimated.
        slack: how many times too large the estimate may be.

    Raises:
        ValueError: naming both sizes and the argument.
    """
    whole = num_bytes / fraction_read if num_bytes else 0.0
    if num_bytes > max_bytes or whole > slack * max_bytes:
        about = "about " if fraction_read < 1 else ""
        raise ValueError(
            f"{name} takes {about}{whole / 2**30:.3g} GiB in memory, more than the limit of "
            f"{max_bytes / 2**30:.3g} GiB. If that is meant, raise max_bytes (--max-gib)."
        )


def check_columns(name: str, columns: list[str], is_used: Callable[[str], bool]) -> None:
    """Refuse a header that does not name every column that is used.

    Raises:
        ValueError: for a name that is empty, pandas' own, or occurs twice.
    """
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"{name} has {len(columns)} columns, more than {MOST_COLUMNS}.")
    used = [column for column in columns if is_used(column)]
    for column in filter(_NAMELESS.fullmatch, used):
        called = f", but pandas' {quoted(column)}" if column else " in the header"
        raise ValueError(
            f"column {columns.index(column) + 1} of {name} has no name{called}. pandas and R write "
            f"such a column of row numbers: --drop {quoted(column)} leaves it out. Else name it."
        )
    if len(set(used)) < len(used):
        twice = next(column for column, times in Counter(used).items() if times > 1)
        raise ValueError(f"{name} has two columns named {quoted(twice)}. Rename one.")


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
        import pyarrow.compute
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


def is_compressed(path: Path) -> bool:
    """Whether a file of text is compressed: then what was read of it may not be typical."""
    return path.suffix.lower() in COMPRESSED


def shares(paths: Sequence[Path]) -> list[tuple[Path, float, float]]:
    """Each file of a table, the share of the bytes that come before it, and its own."""
    sizes = [max(1, path.stat().st_size) for path in paths]
    part = [size / sum(sizes) for size in sizes]
    return [(path, sum(part[:index]), part[index]) for index, path in enumerate(paths)]


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


# CSV ----------------------------------------------------------------------------------------

# Tried in this order if none is given.
_DELIMITERS = (",", ";", "\t", "|")
# Longer words have too many spellings: those cells are compared one by one.
_LONGEST_NULL = 6


def _nulls(missing: tuple[str, ...]) -> list[str]:
    """Every spelling of a missing value, in capitals or not, since Arrow compares bytes."""
    return [
        "".join(letters)
        for word in missing
        if len(word) <= _LONGEST_NULL
        for letters in itertools.product(*(sorted({c.lower(), c.upper()}) for c in word))
    ]


def _end_of_records(delimiter: str) -> Callable[[bytes], int]:
    """How many bytes are whole records of CSV.

    Arrow would take '"a"b' for 'ab', and the rest of a file for a cell whose quote is never
    closed: here either is a record without an end.
    """
    mark = re.escape(delimiter.encode())
    cell = rb'(?:"(?:[^"]|"")*+"|[^"%b\r\n][^%b\r\n]*+|)' % (mark, mark)
    records = re.compile(rb"(?:(?:%b%b)*+%b[\r\n])*+" % (cell, mark, cell))

    def end(block: bytes) -> int:
        if b'"' not in block:
            return end_of_lines(block)
        match = records.match(block)
        return match.end() if match else 0

    return end


def read_csv(path: Path, request: Request) -> Source:
    """A CSV file in UTF-8 with a header, perhaps compressed.

    Arrow reads; where it cannot, Python's csv module, which is slow and strict, says in
    which line and why.
    """
    name = printable(str(path))
    pyarrow = require_pyarrow(name)
    delimiter, columns = _header(path, name, request)
    has_comma = request.decimal == ","
    place = {column: str(index) for index, column in enumerate(columns)}

    def fault(error: ValueError) -> ValueError:
        for line, cells in csv_records(path, name, delimiter):
            if len(cells) != len(columns):
                return ValueError(
                    f"line {line} of {name} has {len(cells)} cells, but the header has "
                    f"{len(columns)}. Quote cells that hold the delimiter."
                )
        return ValueError(f"{name} is no CSV that can be read: {printable(str(error))}")

    def parse(block: bytes, convert: Any) -> Any:
        if b"\0" in block:
            raise ValueError("it holds a NUL byte.")
        block.decode()  # Arrow looks only at the columns that are asked for
        options = pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=len(block) + 1,
            column_names=list(map(str, range(len(columns)))),
        )
        quotes = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in block)
        return pyarrow.csv.read_csv(io.BytesIO(block), options, quotes, convert)

    def read(numeric: list[str], categorical: list[str]) -> Iterator[Batch]:
        chosen = [place[column] for column in (*numeric, *categorical)]
        convert = pyarrow.csv.ConvertOptions(
            include_columns=chosen,
            column_types=dict.fromkeys(chosen, pyarrow.string()),
            null_values=_nulls(request.missing),
            strings_can_be_null=True,
        )
        header = 1
        size = 8 * len(columns) * batch_rows(len(columns))  # 8 bytes a cell
        blocks = text_blocks(path, _end_of_records(delimiter), size)
        try:
            for block, fraction_read in blocks:
                table = parse(block, convert)
                rows, header = table.slice(header), max(0, header - len(table))
                if len(rows):
                    cells = [column.combine_chunks() for column in rows.columns]
                    numbers, others = cells[: len(numeric)], cells[len(numeric) :]
                    numbers = [*map(_exchanged, numbers)] if has_comma else numbers
                    yield Batch(len(rows), numbers, others, fraction_read)
        except ValueError as error:
            raise fault(error) from error

    def locate(rows: Sequence[int]) -> dict[int, str]:
        asked = set(rows)
        records = csv_records(path, name, delimiter)
        found = itertools.islice(records, 1, max(rows) + 2)  # after the header
        return {row: f"line {line}" for row, (line, _) in enumerate(found) if row in asked}

    return Source(name, columns, read, locate=locate, has_decimal_comma=has_comma)


def _exchanged(column: Any) -> Any:
    """Text with a point for every comma, and the reverse."""
    compute = require_pyarrow("text").compute
    for old, new in (",", "\0"), (".", ","), ("\0", "."):  # no cell holds a NUL
        column = compute.replace_substring(column, old, new)
    return column


def _header(path: Path, name: str, request: Request) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns."""

    def names(delimiter: str) -> list[str]:
        for _, cells in csv_records(path, name, delimiter):
            return [cell.strip() for cell in cells]
        raise ValueError(f"{name} is empty: it needs a header and at least one row.")

    given = request.delimiter
    if given is not None:
        if (
            not isinstance(given, str)
            or len(given) != 1
            or not given.isascii()
            or given.isalnum()
            or given in '"\r\n.+-_\0'
        ):
            raise ValueError(
                f"delimiter must be one character such as ',', ';' or a tab, but it is {given!r}."
            )
        return given, names(given)
    for candidate in _DELIMITERS:
        try:
            columns = names(candidate)
        except ValueError:
            continue  # quotes that only another delimiter makes sense of
        if set(request.needed) <= set(columns):
            return candidate, columns
    return ",", names(",")


def csv_records(path: Path, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file by Python's csv module: (line, from 1, and cells).

    Blank lines are none.

    Raises:
        ValueError: naming the line where quotes go wrong, a row is too long, or a byte is
            NUL or not UTF-8.
    """
    with open_decompressed(path) as (stream, _):
        # Bytes that are no UTF-8 become lone surrogates, to be refused with their line.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(_bounded_lines(text, name), delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise ValueError(
                    f"line {line} of {name} is no CSV: {printable(str(error))}. Close every quote, "
                    f"double a quote inside a cell, and keep cells under {csv.field_size_limit()} "
                    "characters."
                ) from error
            if cells is None:
                return
            together = "".join(cells)
            if "\0" in together:
                raise ValueError(
                    f"line {line} of {name} holds a NUL byte. Save the table as UTF-8 text."
                )
            try:
                together.encode()
            except UnicodeEncodeError as error:
                byte = ord(together[error.start]) & 0xFF
                raise ValueError(
                    f"line {line} of {name} is not UTF-8: it holds the byte 0x{byte:02x}. Save the "
                    "table as UTF-8."
                ) from error
            if cells:
                yield line, cells
            line = reader.line_num + 1


def _bounded_lines(text: IO[str], name: str) -> Iterator[str]:
    for number in itertools.count(1):
        with translated_errors(name, "file"):
            line = text.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise ValueError(f"line {number} of {name} has more than {LONGEST_LINE} characters.")
        if not line:
            return
        yield line
