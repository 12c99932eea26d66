"""The rows of a file as they are collected: gaps counted, text numbered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jax_logreg.interfaces.sources import CHUNK_CELLS, Chunk, Source, Texts, listed, shown
from jax_logreg.interfaces.table import MOST_CLASSES

# Longer labels and categories are taken for a mistake.
_LONGEST_TEXT = 1000

_REMEDIES = {
    "refuse": "--missing drop leaves such rows out, --missing mean fills numbers with the "
    "mean of their column.",
    "mean": "A class or category has no mean: use --missing drop, or correct the file.",
}


class Plan(NamedTuple):
    """What the columns of a file are for.

    Attributes:
        target: the column of classes.
        features: the columns that X is made of, in the file's order.
        categorical: those of them that are one-hot encoded.
    """

    target: str
    features: list[str]
    categorical: list[str]

    @property
    def numeric(self) -> list[str]:
        """Those of the features that are numbers."""
        return [name for name in self.features if name not in set(self.categorical)]


class Coder:
    """Numbers the texts of a column in the order in which they appear."""

    def __init__(self, where: str, most: int) -> None:
        self._where, self._most = where, most
        self._code: dict[str, int] = {}

    def encode(self, texts: Texts, keep: np.ndarray) -> np.ndarray:
        """Codes of the kept rows, −1 where missing."""
        codes = texts.codes[keep]
        number = np.full(len(texts.values) + 1, -1)  # the last is the missing one's
        for used in np.unique(codes[codes >= 0]).tolist():
            number[used] = self._number(texts.values[used])
        return number[codes]

    def _number(self, text: str) -> int:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(
                f"{self._where} holds a text of {len(text)} characters, {shown(text)}. "
                f"Labels have at most {_LONGEST_TEXT}."
            )
        code = self._code.setdefault(text, len(self._code))
        if code >= self._most:
            raise ValueError(
                f"{self._where} holds more than {self._most} different values. "
                "Is it a measurement, or an identifier?"
            )
        return code

    @property
    def texts(self) -> list[str]:
        """The texts, by code."""
        return list(self._code)


@dataclass
class Gaps:
    """Missing values by column, and where the first of each is."""

    names: list[str]
    counts: np.ndarray = field(init=False)
    first: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.names), int)

    def add(self, gaps: np.ndarray, places: Sequence[int]) -> None:
        """Count those of a chunk, (m, number of columns)."""
        self.counts += gaps.sum(axis=0)
        for column in np.flatnonzero(gaps.any(axis=0)).tolist():
            self.first.setdefault(self.names[column], places[int(np.argmax(gaps[:, column]))])

    def refuse(self, source: Source, remedy: str) -> None:
        """Raise if there are any, with a count per column."""
        if not self.first:
            return
        counts = [
            f"{shown(name)} {count} (first in {source.unit} {self.first[name]})"
            for name, count in zip(self.names, self.counts.tolist(), strict=True)
            if count
        ]
        raise ValueError(
            f"{source.name} has missing values in {len(counts)} "
            f"column{'s' if len(counts) > 1 else ''}: {listed(counts)}. {remedy}"
        )


class Stack:
    """Rows appended to one array, enlarged in place where the system can: no second copy."""

    def __init__(self, width: int, dtype: type) -> None:
        self.width, self.num_rows = width, 0
        self._array: np.ndarray = np.empty((0, width), dtype)

    def append(self, rows: np.ndarray) -> None:
        """Add rows, (m, width)."""
        end = self.num_rows + len(rows)
        if end > len(self._array):
            self._array.resize((end + self.num_rows // 8, self.width), refcheck=False)
        self._array[self.num_rows : end] = rows
        self.num_rows = end

    @property
    def array(self) -> np.ndarray:
        """All rows so far; no more are appended once this was asked for."""
        return self._array[: self.num_rows]


class Rows:
    """The rows that are kept, and the texts behind their codes."""

    def __init__(self, source: Source, plan: Plan, missing: str) -> None:
        self._source, self._missing = source, missing
        self.target = f"target {shown(plan.target)} of {source.name}"
        places = [f"column {shown(name)} of {source.name}" for name in plan.categorical]
        self.coders = [Coder(where, MOST_CLASSES) for where in (self.target, *places)]
        refused = plan.numeric if missing == "refuse" else []
        self._gaps = Gaps([*refused, plan.target, *plan.categorical])
        self.numbers = Stack(len(plan.numeric), np.float64)
        self.codes = Stack(len(self.coders), np.int32)
        self.num_dropped = 0

    @property
    def num_rows(self) -> int:
        """How many are kept."""
        return self.numbers.num_rows

    def add(self, chunk: Chunk) -> None:
        """Take the rows of a chunk, or count what is missing."""
        gaps: np.ndarray = np.column_stack(
            [np.isnan(chunk.numbers), *(t.codes < 0 for t in chunk.texts)]
        )
        keep = np.ones(len(gaps), bool)
        if self._missing == "drop":
            keep = np.logical_not(np.any(gaps, axis=1))
        else:
            self._gaps.add(gaps[:, gaps.shape[1] - len(self._gaps.names) :], chunk.places)
        coded = zip(self.coders, chunk.texts, strict=True)
        codes = np.column_stack([coder.encode(texts, keep) for coder, texts in coded])
        self.num_dropped += int(np.sum(~keep))
        self.numbers.append(chunk.numbers[keep])
        self.codes.append(codes)

    def check(self) -> None:
        """Refuse gaps, and a table without rows."""
        self._gaps.refuse(self._source, _REMEDIES.get(self._missing, ""))
        if self.num_rows == 0 and self.num_dropped:
            raise ValueError(
                f"every row of {self._source.name} has a missing value. Leave out the columns "
                "that are mostly empty with --drop."
            )
        if self.num_rows == 0:
            raise ValueError(
                f"{self._source.name} holds no rows: it needs a header and at least one row."
            )

    def blocks(self) -> Iterator[slice]:
        """The kept rows by the block, for work that makes copies."""
        step = max(1, CHUNK_CELLS // (self.numbers.width + self.codes.width))
        return (slice(begin, begin + step) for begin in range(0, self.num_rows, step))
