"""CSV: parsed by Arrow, and where it cannot, explained by Python's csv module."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from jax_logreg.interfaces.encoding import MISSING
from jax_logreg.interfaces.files import printable
from jax_logreg.interfaces.table_source import (
    LONGEST_LINE,
    Batch,
    Request,
    Source,
    batch_rows,
    check_columns,
    end_of_lines,
    open_decompressed,
    require_pyarrow,
    text_blocks,
    translated_errors,
)

# Tried in this order if none is given.
_DELIMITERS = (",", ";", "\t", "|")
# Every spelling of a missing value, in capitals or not, since Arrow compares bytes.
_NULLS = [
    "".join(letters)
    for word in MISSING
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
    check_columns(name, columns)
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
            use_threads=False, block_size=len(block) + 1, column_names=list(place.values())
        )
        quotes = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in block)
        return pyarrow.csv.read_csv(io.BytesIO(block), options, quotes, convert)

    def read(numeric: list[str], categorical: list[str]) -> Iterator[Batch]:
        chosen = [place[column] for column in (*numeric, *categorical)]
        convert = pyarrow.csv.ConvertOptions(
            include_columns=chosen,
            column_types=dict.fromkeys(chosen, pyarrow.string()),
            null_values=_NULLS,
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
                    split = len(numeric)
                    yield Batch(len(rows), cells[:split], cells[split:], fraction_read)
        except ValueError as error:
            raise fault(error) from error

    def locate(rows: Sequence[int]) -> dict[int, str]:
        asked = set(rows)
        records = csv_records(path, name, delimiter)
        found = itertools.islice(records, 1, max(rows) + 2)  # after the header
        return {row: f"line {line}" for row, (line, _) in enumerate(found) if row in asked}

    return Source(name, columns, read, locate=locate)


def _header(path: Path, name: str, request: Request) -> tuple[str, list[str]]:
    """The delimiter and the names of the columns."""

    def names(delimiter: str) -> list[str]:
        for _, cells in csv_records(path, name, delimiter):
            return [cell.strip() for cell in cells]
        raise ValueError(f"{name} is empty: it needs a header and at least one row.")

    given = request.delimiter
    if given is not None:
        if len(given) != 1 or not given.isascii() or given.isalnum() or given in '"\r\n.+-_\0':
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
