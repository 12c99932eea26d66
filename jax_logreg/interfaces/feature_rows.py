"""Rows to predict, from CSV or Parquet, some at a time: memory does not grow with the file."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_logreg.interfaces import parquet
from jax_logreg.interfaces.encoding import Column, Encoding

# Cells held at once: text in Python takes about 100 bytes a cell.
_CELLS = 2**18


class Rows(NamedTuple):
    """A file's rows as features.

    Attributes:
        unused: columns of the file that the model does not know, in the file's order.
        chunks: X (m, p), some rows at a time.
    """

    unused: list[str]
    chunks: Iterator[np.ndarray]


def read_features(path: str | Path, encoding: Encoding) -> Rows:
    """The features of a file's rows; its columns may stand in any order.

    Args:
        path: Parquet where it ends in .parquet, CSV in UTF-8 with a header otherwise.
        encoding: which columns there must be, and how they become features.

    Raises:
        ValueError: naming the columns that are missing; while the chunks are taken, the
            row, the column and what is wrong there.
        OSError: if the file cannot be read.
    """
    size = max(1, _CELLS // max(1, len(encoding.columns)))
    source = _parquet_cells if Path(path).suffix.lower() == ".parquet" else _csv_cells
    header, cells = source(Path(path), encoding.names, size)
    return Rows(
        unused=[name for name in header if name not in set(encoding.names)],
        chunks=_features(Path(path).name, cells, encoding),
    )


def _check_header(name: str, header: list[str], wanted: list[str]) -> None:
    missing = [column for column in wanted if column not in set(header)]
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of the model's {len(wanted)} columns: "
            f"{', '.join(missing)}. Its columns: {', '.join(header)}."
        )
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise ValueError(f"{name} has two columns named {twice!r}. Rename one.")


def _parquet_cells(
    path: Path, wanted: list[str], size: int
) -> tuple[list[str], Iterator[dict[str, np.ndarray]]]:
    header = parquet.column_names(path)
    _check_header(path.name, header, wanted)
    return header, parquet.read_columns(path, wanted, size)


def _csv_cells(
    path: Path, wanted: list[str], size: int
) -> tuple[list[str], Iterator[dict[str, np.ndarray]]]:
    lines = _csv_lines(path)
    header = [cell.strip() for cell in next(lines, [])]
    _check_header(path.name, header, wanted)
    return header, _csv_columns(path.name, lines, header, wanted, size)


def _csv_lines(path: Path) -> Iterator[list[str]]:
    """Lines of cells, blank ones left out."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        try:
            yield from (line for line in reader if line)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path.name}, after line {reader.line_num}: {error}.") from error


def _csv_columns(
    name: str, lines: Iterator[list[str]], header: list[str], wanted: list[str], size: int
) -> Iterator[dict[str, np.ndarray]]:
    places = [header.index(column) for column in wanted]
    done = 0
    while rows := list(islice(lines, size)):
        for number, row in enumerate(rows, start=done + 1):
            if len(row) != len(header):
                raise ValueError(
                    f"row {number} of {name} has {len(row)} cells, "
                    f"but the header has {len(header)}."
                )
        done += len(rows)
        # Objects, not fixed-width text: one long cell must not widen all the others.
        yield {
            column: np.array([row[place].strip() for row in rows], object)
            for column, place in zip(wanted, places, strict=True)
        } or {"": np.empty(len(rows), object)}


def _features(
    name: str, chunks: Iterator[dict[str, np.ndarray]], encoding: Encoding
) -> Iterator[np.ndarray]:
    done = 0
    for cells in chunks:
        rows = len(next(iter(cells.values())))
        numbers = [_numbers(name, done, c, cells[c.name]) for c in encoding.numeric]
        codes = [_codes(name, done, c, cells[c.name]) for c in encoding.categorical]
        yield (
            encoding.expand(
                np.stack(numbers, axis=1) if numbers else np.empty((rows, 0)),
                np.stack(codes, axis=1) if codes else np.empty((rows, 0), int),
            )
            if encoding.columns
            else np.empty((rows, 0))
        )
        done += rows


def _numbers(name: str, done: int, column: Column, cells: np.ndarray) -> np.ndarray:
    """A column of numbers; NaN where one is missing and the encoding has a fill."""
    missing = np.array([cell is None or cell == "" for cell in cells], bool)
    values = np.full(len(cells), np.nan)
    try:
        values[~missing] = cells[~missing].astype(float)
    except (ValueError, TypeError):
        values[~missing] = [_number(cell) for cell in cells[~missing]]
    bad = ~np.isfinite(values) if column.fill is None else ~(np.isfinite(values) | missing)
    if np.any(bad):
        row = int(np.argmax(bad))
        raise ValueError(
            f"row {done + row + 1}, column {column.name!r} of {name} "
            + ("is empty." if missing[row] else f"holds {_shown(cells[row])}, no finite number.")
        )
    return values


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return float("nan")


def _codes(name: str, done: int, column: Column, cells: np.ndarray) -> np.ndarray:
    """Category numbers of a column of categories."""
    known = {category: number for number, category in enumerate(column.categories or ())}
    codes = np.array([known.get("" if cell is None else str(cell), -1) for cell in cells], int)
    if np.any(codes < 0):
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"row {done + row + 1}, column {column.name!r} of {name} holds {_shown(cells[row])}, "
            f"which is none of the categories that the model knows: {', '.join(known)}."
        )
    return codes


def _shown(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:60]}…"
