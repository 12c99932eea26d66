"""svmlight, also called libsvm: lines of "label index:value …", kept sparse."""

import math
import re
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from jax_logreg.interfaces.csv_lines import Lines, open_text
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.sources import (
    CHUNK_CELLS,
    MOST_COLUMNS,
    NUMBER,
    ReadProgress,
    check_size,
    number_text,
    plain,
    shown,
)
from jax_logreg.interfaces.table import MOST_CLASSES, Table, class_order

_INDEX = re.compile(r"\d{1,18}", re.ASCII)
# An entry in memory: its value and its column, and both again while SciPy takes them over.
_ENTRY_BYTES = 32
_TOLD_EVERY = 4096


class _Row(NamedTuple):
    label: float
    indices: list[int]
    values: list[float]


def read_svmlight(path: Path, max_bytes: int, progress: ReadProgress) -> Table:
    """A sparse table for training; features are named by index as x1, x2, …

    Indices count from 1, or from 0 where an index 0 occurs. They ascend in every line.
    Comments after # and qid:… are skipped.

    Args:
        path: the file.
        max_bytes: bound on its entries in memory.
        progress: called every few thousand lines.

    Raises:
        ValueError: naming the line.
        OSError: if it cannot be read.
    """
    name = plain(str(path))
    labels, indices, values, ends = array("d"), array("q"), array("d"), array("q", [0])
    for _, row in _rows(path, progress):
        labels.append(row.label)
        indices.extend(row.indices)
        values.extend(row.values)
        ends.append(len(values))
        check_size(name, _ENTRY_BYTES * len(values), max_bytes)
    if not labels:
        raise ValueError(f"{name} holds no rows.")
    if not indices:
        raise ValueError(f"{name} holds labels only: no line has an index:value.")
    columns = np.array(indices)
    base = min(1, int(columns.min()))
    shape = len(labels), int(columns.max()) + 1 - base
    X = csr_array((np.array(values), columns - base, np.array(ends)), shape)
    names = [f"x{index + base}" for index in range(shape[1])]
    return Table(name, X, *_labels(name, np.array(labels), names), Encoding.of_numbers(names))


def _labels(
    name: str, labels: np.ndarray, names: list[str]
) -> tuple[np.ndarray, list[str], list[str]]:
    distinct, codes = np.unique(labels, return_inverse=True)
    if len(distinct) > MOST_CLASSES:
        raise ValueError(
            f"the labels of {name} take {len(distinct)} different values. Are they measurements?"
        )
    texts = [number_text(label) for label in distinct]
    return codes, names, class_order(f"the first column of {name}", texts, len(labels))


def svmlight_features(
    path: Path, encoding: Encoding, progress: ReadProgress
) -> Iterator[np.ndarray]:
    """Features of the file's rows, dense, chunk by chunk; the labels are ignored.

    Args:
        path: the file.
        encoding: of the training table, its columns x1, x2, … or x0, x1, …
        progress: called every few thousand lines.

    Raises:
        ValueError: naming the line, also where an index is none of the model's features.
        OSError: if it cannot be read.
    """
    place = {name: index for index, name in enumerate(encoding.names)}
    if encoding.categorical or not all(re.fullmatch(r"x\d+", column) for column in place):
        raise ValueError(
            f"{plain(str(path))} has features by number, x1, x2, …, but the model has "
            f"{shown(next(iter(place)))} and others. Give it a file with a header."
        )
    num_rows = max(1, CHUNK_CELLS // len(place))
    return _dense_chunks(path, place, num_rows, progress)


def _dense_chunks(
    path: Path, place: Mapping[str, int], num_rows: int, progress: ReadProgress
) -> Iterator[np.ndarray]:
    chunk, filled = np.zeros((num_rows, len(place))), 0
    for lines, row in _rows(path, progress):
        for index, value in zip(row.indices, row.values, strict=True):
            if f"x{index}" not in place:
                raise lines.error(f"has the index {index}, which is no feature of the model.")
            chunk[filled, place[f"x{index}"]] = value
        filled += 1
        if filled == num_rows:
            yield chunk
            chunk, filled = np.zeros_like(chunk), 0
    if filled:
        yield chunk[:filled]


def _rows(path: Path, progress: ReadProgress) -> Iterator[tuple[Lines, _Row]]:
    with open_text(path) as stream:
        lines = Lines(path, stream)
        for line in lines:
            if lines.number % _TOLD_EVERY == 0:
                progress(lines.share)
            words = line.split("#", 1)[0].split()
            if words:
                yield lines, _row(lines, words)


def _row(lines: Lines, words: list[str]) -> _Row:
    label = _value(lines, words[0], "the label")
    entries = words[2:] if len(words) > 1 and words[1].startswith("qid:") else words[1:]
    indices: list[int] = []
    values: list[float] = []
    last = -1
    for entry in entries:
        index, colon, value = entry.partition(":")
        if not colon or not _INDEX.fullmatch(index):
            raise lines.error(f"holds {shown(entry)}, which is not index:value.")
        number = int(index)
        if number <= last:
            raise lines.error(f"has index {number} after {last}. Indices ascend, each once.")
        if number > MOST_COLUMNS:
            raise lines.error(f"has index {number}, beyond the {MOST_COLUMNS} that are supported.")
        last = number
        indices.append(number)
        values.append(_value(lines, value, f"index {number}"))
    return _Row(label, indices, values)


def _value(lines: Lines, text: str, what: str) -> float:
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise lines.error(f"holds {shown(text)} for {what}, which is not a finite number.")
    return value
