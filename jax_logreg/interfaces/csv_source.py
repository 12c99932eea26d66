"""CSV as a source of columns: read in blocks of lines, a fault named by line and column."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jax_logreg.interfaces.csv_cells import BadCellError, parse_numbers, parse_plain, parse_texts
from jax_logreg.interfaces.csv_lines import Lines, Record, blocks, open_text, records
from jax_logreg.interfaces.sources import CHUNK_CELLS, Chunk, Texts, check_columns, plain, shown

# Tried in this order where none is given.
_DELIMITERS = (",", ";", "\t", "|")


class CsvSource:
    """A CSV file with a header: see :class:`Source`.

    Args:
        path: the file, UTF-8.
        delimiter: one character; if None, the first of comma, semicolon, tab and bar by
            which the header has the needed columns.
        needed: names of columns that the file must have.

    Raises:
        ValueError: if the header cannot be used.
        OSError: if the file cannot be read.
    """

    unit = "line"
    num_rows: int | None = None

    def __init__(self, path: Path, delimiter: str | None, needed: Sequence[str]) -> None:
        self.name = plain(str(path))
        self._path = path
        self._delimiter, self.columns = self._header(delimiter, needed)
        check_columns(self.name, self.columns)
        self._place = {name: index for index, name in enumerate(self.columns)}

    def text_columns(self, names: list[str]) -> list[str]:
        """See :class:`Source`."""
        numeric, text = list(names), set()
        for lines, block in self._blocks():
            if self._parse_plain(block, numeric, []) is not None:
                continue
            cells = self._columns(self._records(lines, block))
            for name in numeric:
                try:
                    parse_numbers(cells[self._place[name]])
                except BadCellError as fault:
                    if fault.is_text:
                        text.add(name)
            numeric = [name for name in numeric if name not in text]
        return [name for name in names if name in text]

    def chunks(self, numeric: list[str], text: list[str]) -> Iterator[Chunk]:
        """See :class:`Source`."""
        for lines, block in self._blocks():
            last, parsed = lines.number, self._parse_plain(block, numeric, text)
            if parsed is not None:
                yield Chunk(*parsed, range(last - len(block) + 1, last + 1), lines.share)
                continue
            found = self._records(lines, block)
            if found:
                yield self._careful(found, numeric, text, lines.share)

    def _header(self, delimiter: str | None, needed: Sequence[str]) -> tuple[str, list[str]]:
        if delimiter is not None:
            return _checked_delimiter(delimiter), self._names(delimiter)
        for candidate in _DELIMITERS:
            try:
                names = self._names(candidate)
            except ValueError:
                continue  # quotes that only another delimiter makes sense of
            if set(needed) <= set(names):
                return candidate, names
        return ",", self._names(",")

    def _names(self, delimiter: str) -> list[str]:
        with open_text(self._path) as stream:
            lines = Lines(self._path, stream)
            header = _first_record(lines, delimiter)
        if header is None:
            raise ValueError(f"{self.name} is empty: it needs a header and at least one row.")
        return [cell.strip() for cell in header.cells]

    def _blocks(self) -> Iterator[tuple[Lines, list[str]]]:
        """Blocks of lines after the header."""
        with open_text(self._path) as stream:
            lines = Lines(self._path, stream)
            _first_record(lines, self._delimiter)
            for block in blocks(lines, max(1, CHUNK_CELLS // len(self.columns))):
                yield lines, block

    def _parse_plain(
        self, block: list[str], numeric: list[str], text: list[str]
    ) -> tuple[np.ndarray, list[Texts]] | None:
        places = [self._place[name] for name in numeric], [self._place[name] for name in text]
        return parse_plain(block, self._delimiter, len(self.columns), *places)

    def _records(self, lines: Lines, block: list[str]) -> list[Record]:
        found = records(lines, block, self._delimiter)
        for line, cells in found:
            if len(cells) != len(self.columns):
                raise ValueError(
                    f"line {line} of {self.name} has {len(cells)} cells, but the header has "
                    f"{len(self.columns)}. Quote cells that hold the delimiter."
                )
        return found

    def _columns(self, found: list[Record]) -> list[tuple[str, ...]]:
        if not found:
            return [()] * len(self.columns)
        return list(zip(*(record.cells for record in found), strict=True))

    def _careful(
        self, found: list[Record], numeric: list[str], text: list[str], share: float
    ) -> Chunk:
        columns = self._columns(found)
        numbers = np.empty((len(found), len(numeric)))
        for index, name in enumerate(numeric):
            try:
                numbers[:, index] = parse_numbers(columns[self._place[name]])
            except BadCellError as fault:
                raise self._error(found[fault.index], name, fault) from fault
        texts = [parse_texts(columns[self._place[name]]) for name in text]
        return Chunk(numbers, texts, [record.line for record in found], share)

    def _error(self, record: Record, column: str, fault: BadCellError) -> ValueError:
        cell = record.cells[self._place[column]].strip()
        return ValueError(
            f"line {record.line}, column {shown(column)} of {self.name} holds {shown(cell)}, "
            f"which is not a finite number. {fault.remedy}"
            + (f" --categorical {shown(column)} would one-hot encode it." if fault.is_text else "")
        )


def _first_record(lines: Lines, delimiter: str) -> Record | None:
    for block in blocks(lines, 1):
        for record in records(lines, block, delimiter):
            return record
    return None


def _checked_delimiter(delimiter: str) -> str:
    usable = len(delimiter) == 1 and not delimiter.isalnum() and delimiter not in '"\r\n.+-_\0'
    if not usable:
        raise ValueError(
            f"delimiter must be one character such as ',', ';' or a tab, but it is {delimiter!r}."
        )
    return delimiter
