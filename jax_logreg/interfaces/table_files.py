"""The files of a table: one, a folder or a pattern, opened by the reader of their format.

READERS is the table of formats.
"""

import glob
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.interfaces.array_formats import read_ipc, read_npy, read_npz, read_parquet
from jax_logreg.interfaces.encoding import (
    MISSING,
    BadCellError,
    Categories,
    are_numbers,
    as_categories,
    as_numbers,
)
from jax_logreg.interfaces.files import comma_list, printable, quoted, regular_file
from jax_logreg.interfaces.table_source import (
    COMPRESSED,
    NUMBER,
    TEXT,
    Batch,
    Request,
    Source,
    check_columns,
    is_compressed,
    read_csv,
    shares,
)

READERS: dict[str, Callable[[Path, Request], Source]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_ipc,
    ".feather": read_ipc,
    ".ipc": read_ipc,
    ".npy": read_npy,
    ".npz": read_npz,
}
SVMLIGHT = (".svmlight", ".libsvm", ".svm")
# A decimal comma for a point, and the reverse.
_EXCHANGED = str.maketrans(",.", ".,")


class Chunk(NamedTuple):
    """Some rows of a table.

    Attributes:
        numbers: the columns asked for as numbers, float64, NaN where missing, (m, k).
        categories: the columns asked for as categories.
        source: the file that they are in.
        first_row: their first in it, from 0.
        fraction_read: of the table that has been read by now, from 0 to 1.
    """

    numbers: np.ndarray
    categories: list[Categories]
    source: Source
    first_row: int
    fraction_read: float

    def locate(self, rows: np.ndarray) -> str:
        """Where the first row is for which this is True, as errors call it."""
        row = self.first_row + int(np.argmax(rows))
        return self.source.locate([row])[row]


def table_files(path: str | Path) -> list[Path]:
    """The files that a path, a folder or a pattern stands for; links are followed.

    Raises:
        ValueError: for a pipe or a device, or a folder without tables.
        OSError: if there is no such file.
    """
    try:
        return _files_at(path)
    except FileNotFoundError:
        found = sorted(glob.glob(str(path)))
        if not found:
            raise
    return [file for name in found for file in _files_at(name)]


def _files_at(path: str | Path) -> list[Path]:
    """The tables of a folder, or the one file."""
    if not os.path.isdir(path):
        return [regular_file(path)]
    tables = [file for file in sorted(Path(path).iterdir()) if _is_table(file)]
    if not tables:
        raise ValueError(f"{printable(str(path))} is a folder without a table in it.")
    return tables


def format_of(path: Path) -> str | None:
    """The suffix that tells the format of a file, None if it is no known one.

    >>> format_of(Path("a.csv.gz")), format_of(Path("a.PARQUET")), format_of(Path("a.xlsx"))
    ('.csv', '.parquet', None)
    """
    *others, last = ["", *(suffix.lower() for suffix in path.suffixes)]
    if last in COMPRESSED:
        is_text = others[-1] in SVMLIGHT or READERS.get(others[-1]) is read_csv
        return others[-1] if is_text else None
    return last if last in READERS or last in SVMLIGHT else None


def _is_table(file: Path) -> bool:
    """Files that other programs put beside the tables begin with a dot or an underscore."""
    return not file.name.startswith((".", "_")) and file.is_file() and format_of(file) is not None


def find_table(
    path: str | Path, delimiter: str | None, decimal: str = "."
) -> tuple[str, list[Path], str]:
    """What errors call a table, its files, and the suffix of their format."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"path must name a file, but it is of type {type(path).__name__}. A table in memory "
            "needs no reader: give its columns of numbers to fit as X."
        )
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ',', but it is {decimal!r}.")
    name, paths = printable(str(path)), table_files(path)
    for file in paths:
        if format_of(file) is None:
            raise ValueError(
                f"{printable(str(file))} is of no known format. Its name must end in "
                f"{', '.join((*READERS, *SVMLIGHT))}; text may be compressed: .csv.gz, .bz2, .zst."
            )
    suffixes = [str(format_of(file)) for file in paths]
    if len({READERS.get(suffix) for suffix in suffixes}) > 1:
        raise ValueError(f"{name} has files of several formats. Name those of one: 'data/*.csv'.")
    for option, is_given in (("delimiter", delimiter is not None), ("decimal", decimal != ".")):
        if is_given and READERS.get(suffixes[0]) is not read_csv:
            raise ValueError(f"{option} is for CSV files, which {name} is not.")
    return name, paths, suffixes[0]


class TableFiles(NamedTuple):
    """A table in one file, or in several of the same columns.

    Attributes:
        name: as errors call it.
        columns: in the order of the first file.
        sources: the files, open.
        parts: their paths, the share of the bytes that come before each, and its own.
        missing: cells that stand for a missing value.
    """

    name: str
    columns: list[str]
    sources: list[Source]
    parts: list[tuple[Path, float, float]]
    missing: tuple[str, ...] = MISSING

    @property
    def slack(self) -> float:
        """How many times too large an estimate of the whole, by a part, may be."""
        return math.inf if any(is_compressed(path) for path, _, _ in self.parts) else 2.0

    @classmethod
    def open(
        cls,
        name: str,
        paths: list[Path],
        suffix: str,
        request: Request,
        is_used: Callable[[str], bool],
    ) -> "TableFiles":
        """Open the files that :func:`find_table` found.

        Args:
            name: as errors call the table.
            paths: the files.
            suffix: of their format.
            request: what a reader may have to know.
            is_used: whether a column of this name is used, and must be named once.

        Raises:
            ValueError: naming the file that cannot be used, or differs in its columns.
            OSError: if a file cannot be read.
        """
        sources: list[Source] = []
        for path in paths:
            sources.append(READERS[suffix](path, request))
            check_columns(sources[-1].name, sources[-1].columns, is_used)
            request = request._replace(max_bytes=request.max_bytes - sources[-1].num_bytes)
        columns = sources[0].columns
        for source in sources:
            other = set(columns) ^ set(source.columns)
            if other:
                raise ValueError(
                    f"{source.name} and {sources[0].name} differ in the columns "
                    f"{comma_list(sorted(other))}. Files of one table have the same."
                )
        return cls(name, columns, sources, shares(paths), request.missing)

    @property
    def num_rows(self) -> int | None:
        """Rows in all, where every file tells before it is read."""
        counts = [source.num_rows for source in self.sources]
        return None if None in counts else sum(count or 0 for count in counts)

    def chunks(self, numeric: list[str], categorical: list[str]) -> Iterator[Chunk]:
        """All rows, in order; a cell of a numeric column that is no finite number is refused."""
        for source, (_, before, share) in zip(self.sources, self.parts, strict=True):
            _check_kinds(source, numeric, categorical)
            first = 0
            for batch in source.read(numeric, categorical):
                words = _number_words(source, self.missing)
                numbers = _matrix(source, batch, numeric, first, words)
                columns = [
                    _converted(as_categories, source, column, name, first, self.missing)
                    for name, column in zip(categorical, batch.categorical, strict=True)
                ]
                fraction_read = before + share * batch.fraction_read
                yield Chunk(numbers, columns, source, first, fraction_read)
                first += batch.num_rows

    def text_columns(
        self, names: list[str], check: Callable[[int, float], None]
    ) -> dict[str, Callable[[], str]]:
        """Those of the columns that hold text, and what says where the first is.

        Args:
            names: of the columns.
            check: called with the rows, and the fraction of the table, that have been read.
        """
        text: dict[str, Callable[[], str]] = {}
        num_rows = 0
        for source, (_, before, share) in zip(self.sources, self.parts, strict=True):
            if source.kinds is not None:
                found = [name for name in names if source.kinds[name] == TEXT]
                text |= {name: partial(str, f"{source.name} holds text") for name in found}
                continue
            first = 0
            for batch in source.read(names, []):
                for name, column in zip(names, batch.numeric, strict=True):
                    if name not in text:
                        try:
                            as_numbers(column, _number_words(source, self.missing))
                        except BadCellError as fault:
                            text[name] = partial(_place, source, first, fault)
                first += batch.num_rows
                check(num_rows + first, before + share * batch.fraction_read)
            num_rows += first
        return text


def _place(source: Source, first: int, fault: BadCellError) -> str:
    row, cell = first + fault.index, _as_written(source, fault).cell
    return f"{source.locate([row])[row]} of {source.name} holds {quoted(cell)}"


def _as_written(source: Source, fault: BadCellError) -> BadCellError:
    if not source.has_decimal_comma:
        return fault
    return BadCellError(fault.index, fault.cell.translate(_EXCHANGED))


def _number_words(source: Source, missing: tuple[str, ...]) -> tuple[str, ...]:
    """What is missing, as it stands in a batch of numbers."""
    if not source.has_decimal_comma:
        return missing
    return tuple(word.translate(_EXCHANGED) for word in missing)


def _check_kinds(source: Source, numeric: list[str], categorical: list[str]) -> None:
    kinds = source.kinds or {}
    for names, allowed in ((numeric, (NUMBER,)), (categorical, (NUMBER, TEXT))):
        for name in names:
            kind = kinds.get(name, NUMBER)
            if kind not in allowed:
                advice = f"--categorical {quoted(name)} would one-hot encode it." * (kind == TEXT)
                raise ValueError(
                    f"column {quoted(name)} of {source.name} is of type {kind}, not numbers. "
                    "Convert it (a date to the days since a fixed one, a class to text), or leave "
                    f"it out with --drop {quoted(name)}. {advice}".rstrip()
                )


def _matrix(
    source: Source, batch: Batch, names: list[str], first: int, missing: tuple[str, ...]
) -> np.ndarray:
    """The numeric columns of a batch, whose rows begin at the first."""
    columns = batch.numeric
    if isinstance(columns, np.ndarray):
        numbers = as_numbers(columns, missing)
    else:
        numbers = np.empty((batch.num_rows, len(names)))
        for index, column in enumerate(columns):
            numbers[:, index] = _converted(as_numbers, source, column, names[index], first, missing)
    infinite = np.argwhere(np.isinf(numbers))
    if len(infinite):
        row, index = infinite[0].tolist()
        cell = columns[row, index] if isinstance(columns, np.ndarray) else columns[index][row]
        raise _refusal(source, names[index], first, BadCellError(row, str(cell)))
    return numbers


def _converted(
    convert: Callable[[Any, tuple[str, ...]], Any],
    source: Source,
    column: Any,
    name: str,
    first: int,
    missing: tuple[str, ...],
) -> Any:
    """A column of a batch, whose rows begin at the first; errors name the row and the column."""
    try:
        return convert(column, missing)
    except BadCellError as fault:
        raise _refusal(source, name, first, fault) from fault
    except UnicodeError as error:
        raise ValueError(
            f"column {quoted(name)} of {source.name} holds what is no text ({error}). The file is "
            "damaged: save it again."
        ) from error


def _refusal(source: Source, name: str, first: int, fault: BadCellError) -> ValueError:
    row, written = first + fault.index, _as_written(source, fault)
    remedy = written.remedy(name)
    if source.has_decimal_comma and are_numbers([written.cell]):
        remedy = "It has a point, where --decimal , expects a comma and no thousands separators."
    return ValueError(
        f"{source.locate([row])[row]}, column {quoted(name)} of {source.name} holds "
        f"{quoted(written.cell)}, which is not a finite number. {remedy}"
    )
