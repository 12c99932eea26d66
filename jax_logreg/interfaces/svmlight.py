"""svmlight, also called libsvm: lines of "label index:value …", parsed by scikit-learn.

It stands apart from the other formats: its rows are sparse, and only all of them together
tell how many columns there are.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack

from jax_logreg.interfaces.files import printable, quoted
from jax_logreg.interfaces.table_source import (
    MOST_COLUMNS,
    ReadProgress,
    check_size,
    end_of_lines,
    text_blocks,
)

# Bytes that are parsed at a time, and the bound on a line.
_BLOCK_BYTES = 2**23
# Of one entry in memory: value and column, and both again while blocks are joined.
_ENTRY_BYTES = 32


def read_svmlight(
    name: str, paths: list[Path], max_bytes: int, progress: ReadProgress
) -> tuple[csr_array, np.ndarray, int]:
    """The rows of some files, for training.

    Args:
        name: of the table, as errors call it.
        paths: the files, perhaps compressed.
        max_bytes: bound on the entries in memory.
        progress: called with the fraction that has been read.

    Returns:
        X, (n, p); labels, (n,); and what indices count from: 0 where an index 0 occurs, else 1.

    Raises:
        ValueError: naming the line, or that scikit-learn is missing.
        OSError: if a file cannot be read.
    """
    parts, labels, num_entries = [], [], 0
    for X, y, fraction_read in _blocks(paths):
        parts.append(X)
        labels.append(y)
        num_entries += X.nnz
        check_size(name, _ENTRY_BYTES * num_entries, max_bytes)
        progress(fraction_read)
    if not sum(map(len, labels)):
        raise ValueError(f"{name} holds no rows.")
    if not num_entries:
        raise ValueError(f"{name} holds labels only: no line has an index:value.")
    width = max(part.shape[1] for part in parts)
    for part in parts:
        part.resize((part.shape[0], width))
    X = csr_array(vstack(parts, "csr"))
    base = min(1, int(X.indices.min()))
    X = csr_array((X.data, X.indices - base, X.indptr), (X.shape[0], width - base))
    return X, np.concatenate(labels), base


def svmlight_columns(
    paths: list[Path], indices: list[int], progress: ReadProgress
) -> Iterator[csr_array]:
    """Some columns of the rows of some files, block by block; the labels are ignored.

    Args:
        paths: the files, perhaps compressed.
        indices: of the columns, as the files count them.
        progress: called with the fraction that has been read.

    Raises:
        ValueError: naming the line, also where an index is none of these.
        OSError: if a file cannot be read.
    """

    def check(X: csr_array) -> None:
        unknown = np.setdiff1d(X.indices, indices)
        if len(unknown):
            raise ValueError(f"the index {unknown[0]} is no feature of the model.")

    for X, _, fraction_read in _blocks(paths, check):
        X.resize((X.shape[0], max(indices) + 1))
        progress(fraction_read)
        yield X[:, indices]


def _blocks(
    paths: list[Path], check: Callable[[csr_array], None] = lambda X: None
) -> Iterator[tuple[csr_array, np.ndarray, float]]:
    """Rows, their labels, and the fraction of the files that has been read."""
    for done, path in enumerate(paths):
        line, name = 1, printable(str(path))
        parse = _parser(name, check)
        for text, fraction_read in text_blocks(path, end_of_lines, _BLOCK_BYTES):
            try:
                X, labels = parse(text)
            except Exception as error:  # of many kinds; none of them says where
                raise _fault(parse, text, line, name) from error
            line += text.count(b"\n")
            yield X, labels, (done + fraction_read) / len(paths)


def _parser(name: str, check: Callable[[csr_array], None]) -> Callable[[bytes], Any]:
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise ValueError(
            f"{name} needs scikit-learn: pip install 'jax-logreg[sklearn]'."
        ) from error

    def parse(text: bytes) -> tuple[csr_array, np.ndarray]:
        text = b"\n".join(line.split(b"#", 1)[0] for line in text.split(b"\n"))
        if b"_" in text:  # which Python takes in a number
            raise ValueError("it holds '_', which is no part of a number.")
        X, labels = load_svmlight_file(io.BytesIO(text), zero_based=True)
        if not (np.all(np.isfinite(X.data)) and np.all(np.isfinite(labels))):
            raise ValueError("it holds a value that is not a finite number.")
        if X.shape[1] > MOST_COLUMNS + 1:
            raise ValueError(f"it has an index beyond the {MOST_COLUMNS} that are supported.")
        check(X)
        return csr_array(X), labels

    return parse


def _fault(parse: Callable[[bytes], Any], text: bytes, first: int, name: str) -> ValueError:
    """What is wrong with the first line that cannot be parsed by itself."""
    for number, line in enumerate(text.split(b"\n"), first):
        try:
            parse(line)
        except Exception as error:
            reason = printable(" ".join(str(error).split())[:200])
            shown = quoted(line.decode(errors="replace").strip())
            return ValueError(f"line {number} of {name}, {shown}, is not svmlight: {reason}")
    return ValueError(f"{name} is no svmlight file that can be read.")
