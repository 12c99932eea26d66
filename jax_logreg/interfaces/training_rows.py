"""Training rows: what a file's rows add up to, missing values counted and categories numbered."""

from pathlib import Path

import numpy as np

from jax_logreg.interfaces.encoding import MOST_CLASSES, Categories, Encoding
from jax_logreg.interfaces.files import comma_list, quoted
from jax_logreg.interfaces.table_files import Chunk
from jax_logreg.interfaces.table_source import Source

# Longer labels and categories are taken for a mistake.
_LONGEST_TEXT = 1000

_REMEDIES = {
    "refuse": "--missing drop leaves such rows out, --missing mean fills numbers with the "
    "mean of their column.",
    "mean": "A class or category has no mean: use --missing drop, or correct the file.",
}


class CategoryEncoder:
    """Numbers the categories of a column in the order in which they appear."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._code: dict[str, int] = {}

    def encode(self, categories: Categories, keep: np.ndarray) -> np.ndarray:
        """Codes of the kept rows, −1 where missing."""
        codes = categories.codes[keep]
        number = np.full(len(categories.values) + 1, -1)  # the last is the missing one's
        for used in np.unique(codes[codes >= 0]).tolist():
            number[used] = self._number(categories.values[used])
        return number[codes]

    def _number(self, text: str) -> int:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(
                f"{self._where} holds a text of {len(text)} characters, {quoted(text)}. "
                f"Labels have at most {_LONGEST_TEXT}."
            )
        code = self._code.setdefault(text, len(self._code))
        if code >= MOST_CLASSES:
            raise ValueError(
                f"{self._where} holds more than {MOST_CLASSES} different values. "
                "Is it a measurement, or an identifier?"
            )
        return code

    @property
    def texts(self) -> list[str]:
        """The categories, by code."""
        return list(self._code)


class MissingCounts:
    """Missing values by column, and where the first of each is."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._counts = np.zeros(len(names), int)
        self._first: dict[str, tuple[Source, int]] = {}

    def add(self, missing: np.ndarray, chunk: Chunk) -> None:
        """Count those of a chunk, (m, number of columns)."""
        self._counts += missing.sum(axis=0)
        for column in np.flatnonzero(missing.any(axis=0)).tolist():
            row = chunk.first_row + int(np.argmax(missing[:, column]))
            self._first.setdefault(self._names[column], (chunk.source, row))

    def refuse(self, table: str, remedy: str) -> None:
        """Raise if there are any, with a count per column."""
        if not self._first:
            return
        first: dict[str, str] = {}
        for source in {source.name: source for source, _ in self._first.values()}.values():
            rows = {name: row for name, (at, row) in self._first.items() if at.name == source.name}
            located = source.locate([*rows.values()])
            of_file = "" if source.name == table else f" of {Path(source.name).name}"
            first |= {name: f"{located[row]}{of_file}" for name, row in rows.items()}
        counts = [
            f"{quoted(name)} {count} (first in {first[name]})"
            for name, count in zip(self._names, self._counts.tolist(), strict=True)
            if count
        ]
        raise ValueError(
            f"{table} has missing values in {len(counts)} "
            f"column{'s' if len(counts) > 1 else ''}: {comma_list(counts)}. {remedy}"
        )


class TrainingRows:
    """The rows that are kept for training.

    Args:
        table: as errors call it.
        target: the column of classes.
        numeric: columns of numbers.
        categorical: columns of categories.
        missing: what is done with missing values.
    """

    def __init__(
        self, table: str, target: str, numeric: list[str], categorical: list[str], missing: str
    ) -> None:
        self._table, self._missing = table, missing
        self.target = f"target {quoted(target)} of {table}"
        columns = [self.target, *(f"column {quoted(name)} of {table}" for name in categorical)]
        self.encoders = [CategoryEncoder(column) for column in columns]
        self._num_filled = 0 if missing == "refuse" else len(numeric)
        self._counts = MissingCounts([*numeric, target, *categorical][self._num_filled :])
        self._numbers: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self.num_rows = self.num_dropped = 0

    def add(self, chunk: Chunk) -> None:
        """Take the rows of a chunk, or count what is missing."""
        missing: np.ndarray = np.column_stack(
            [np.isnan(chunk.numbers), *(column.codes < 0 for column in chunk.categories)]
        )
        keep = np.ones(len(missing), bool)
        if self._missing == "drop":
            keep = np.logical_not(np.any(missing, axis=1))
        else:
            self._counts.add(missing[:, self._num_filled :], chunk)
        encoded = zip(self.encoders, chunk.categories, strict=True)
        codes = [encoder.encode(column, keep) for encoder, column in encoded]
        self._codes.append(np.column_stack(codes).astype(np.int32))
        self._numbers.append(chunk.numbers[keep])
        self.num_rows += int(np.sum(keep))
        self.num_dropped += int(np.sum(~keep))

    def check(self) -> None:
        """Refuse missing values, and a table without rows."""
        self._counts.refuse(self._table, _REMEDIES.get(self._missing, ""))
        if self.num_rows == 0 and self.num_dropped:
            raise ValueError(
                f"every row of {self._table} has a missing value. Leave out the columns "
                "that are mostly empty with --drop."
            )
        if self.num_rows == 0:
            raise ValueError(
                f"{self._table} holds no rows: it needs a header and at least one row."
            )

    def means(self, numeric: list[str]) -> list[float]:
        """Means of the columns of numbers over what is there.

        Divided by powers of two, so that huge numbers do not overflow.

        Raises:
            ValueError: naming the columns that hold no number at all.
        """
        present, size, total = np.zeros((3, len(numeric)))
        for numbers in self._numbers:
            present += np.sum(~np.isnan(numbers), axis=0)
            size = np.fmax(size, np.fmax.reduce(np.abs(numbers), axis=0, initial=0.0))
        if not np.all(present):
            empty = [name for name, count in zip(numeric, present, strict=True) if count == 0]
            raise ValueError(
                f"{self._table} holds no value at all in the columns {comma_list(empty)}. "
                f"Leave them out: --drop {quoted(empty[0])}."
            )
        unit = np.ldexp(1.0, np.frexp(size)[1] - 1)
        for numbers in self._numbers:
            total += np.nansum(numbers / unit, axis=0)
        return (total / present * unit).tolist()

    def assemble(
        self, encoding: Encoding, orders: list[list[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """X and y, in place of the rows, which are given up: no second copy of X is in memory.

        Args:
            encoding: of the table.
            orders: of the classes, and of the categories of every categorical column.
        """
        X = np.empty((self.num_rows, len(encoding.feature_names)))
        y = np.empty(self.num_rows, int)
        ranks = [
            np.array([order.index(text) for text in encoder.texts])
            for encoder, order in zip(self.encoders, orders, strict=True)
        ]
        end = self.num_rows
        while self._numbers:
            numbers, codes = self._numbers.pop(), self._codes.pop()
            begin = end - len(numbers)
            ranked = [rank[column] for rank, column in zip(ranks, codes.T, strict=True)]
            X[begin:end] = encoding.expand(numbers, ranked[1:])
            y[begin:end] = ranked[0]
            end = begin
        return X, y
