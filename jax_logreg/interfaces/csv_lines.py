"""The text of a CSV file, line by line and record by record, within bounds."""

import csv
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TextIO

from jax_logreg.interfaces.sources import plain

# Characters in a line, and in a record that runs over several.
LONGEST_LINE = 2**24
# The csv module's own bound on a cell.
_LONGEST_CELL = csv.field_size_limit()

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Record(NamedTuple):
    """One record: the line it begins in, from 1, and its cells."""

    line: int
    cells: list[str]


class Lines:
    """The lines of an open file, each one checked.

    Attributes:
        name: of the file.
        number: of the line that was read last, from 1.
    """

    def __init__(self, path: Path, stream: TextIO) -> None:
        self.name = plain(str(path))
        self.number = 0
        self._stream = stream
        self._size = max(1, path.stat().st_size)

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return min(1.0, self._stream.buffer.tell() / self._size)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LONGEST_LINE:
            raise self.error(f"has more than {LONGEST_LINE} characters. Is it a CSV file?")
        if "\0" in line:
            raise self.error("holds a NUL byte. Save the table as UTF-8 text.")
        if not line.isascii():
            self._check_utf_8(line)
        return line

    def error(self, what: str) -> ValueError:
        """An error that names this line."""
        return ValueError(f"line {self.number} of {self.name} {what}")

    def _check_utf_8(self, line: str) -> None:
        """Bytes that are no UTF-8 were let through as lone surrogates."""
        try:
            line.encode()
        except UnicodeEncodeError as error:
            byte = ord(line[error.start]) & 0xFF
            raise self.error(
                f"is not UTF-8: it holds the byte 0x{byte:02x}. Save the table as UTF-8."
            ) from error


def open_text(path: Path) -> TextIO:
    """A file opened as UTF-8, with or without a byte order mark, its line ends kept.

    Raises:
        ValueError: for UTF-16.
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(2) in _UTF_16:
            raise ValueError(f"{plain(str(path))} is UTF-16. Save the table as UTF-8.")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def blocks(lines: Lines, num_lines: int) -> Iterator[list[str]]:
    """Lines by the block, at most so many; fewer where they are long."""
    while block := _block(lines, num_lines):
        yield block


def _block(lines: Lines, num_lines: int) -> list[str]:
    block, size = [], 0
    for line in islice(lines, num_lines):
        block.append(line)
        size += len(line)
        if size > LONGEST_LINE:
            break
    return block


def records(lines: Lines, block: list[str], delimiter: str) -> list[Record]:
    """The records that begin in a block of lines that was just read.

    The last may run on beyond it: then more lines are read. Blank lines are none.

    Raises:
        ValueError: naming the line where quotes go wrong.
    """
    first = lines.number - len(block) + 1
    taken = pending = 0

    def feed() -> Iterator[str]:
        nonlocal taken, pending
        for line in chain(block, lines):
            taken += 1
            pending += len(line)
            if pending > LONGEST_LINE:
                raise lines.error(f"ends a record of more than {LONGEST_LINE} characters.")
            yield line

    found: list[Record] = []
    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    begin = first
    try:
        while taken < len(block):
            cells = next(reader, None)
            if cells:
                found.append(Record(begin, cells))
            begin, pending = first + taken, 0
    except csv.Error as error:
        raise ValueError(
            f"line {begin} of {lines.name} is no CSV: {plain(str(error))}. Close every quote, "
            f"double a quote inside a cell, and keep cells under {_LONGEST_CELL} characters."
        ) from error
    return found
