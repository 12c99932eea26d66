"""Tables from files: the two data sets that ship, and anyone's, in any of the formats."""

from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_logreg.interfaces.assemble import (
    MISSING_POLICIES,
    assemble,
    encode_features,
    make_plan,
)
from jax_logreg.interfaces.csv_source import CsvSource
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.numpy_source import LABELS, open_npy, open_npz
from jax_logreg.interfaces.parquet import ParquetSource
from jax_logreg.interfaces.sources import MAX_BYTES, ReadProgress, Source, plain, regular_file
from jax_logreg.interfaces.svmlight import read_svmlight, svmlight_features
from jax_logreg.interfaces.table import Table

# name: (file, target column)
EMBEDDED = {
    "breast-cancer": ("breast_cancer.csv", "diagnosis"),
    "iris": ("iris.csv", "species"),
}

_CSV = (".csv", ".tsv", ".txt")
_SVMLIGHT = (".svmlight", ".libsvm", ".svm")
SUFFIXES = (*_CSV, ".parquet", ".npy", ".npz", *_SVMLIGHT)


def _silent(share: float) -> None:
    """No progress is told."""


class Features(NamedTuple):
    """The rows of a file as features for a model.

    Attributes:
        unused: columns of the file that the model does not know, in the file's order.
        chunks: arrays of float64, (some rows, p).
    """

    unused: list[str]
    chunks: Iterator[np.ndarray]


def load_embedded(name: str) -> Table:
    """A data set that ships with the package: "breast-cancer" or "iris".

    >>> table = load_embedded("iris")
    >>> table.X.shape, table.class_names
    ((150, 4), ['setosa', 'versicolor', 'virginica'])
    """
    if name not in EMBEDDED:
        raise ValueError(f"data must be one of {', '.join(EMBEDDED)}, not {name!r}.")
    file, target = EMBEDDED[name]
    with as_file(files("jax_logreg") / "data" / file) as path:
        return read_table(path, target)._replace(name=name)


def read_table(
    path: str | Path,
    target: str | None = None,
    *,
    missing: str = "refuse",
    categorical: Sequence[str] | str = (),
    drop: Sequence[str] = (),
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: ReadProgress = _silent,
) -> Table:
    """A classification problem from a file, whose format its suffix tells.

    ====================== ==================================================================
    .csv .tsv .txt         UTF-8 with a header; read in pieces
    .parquet               one file; needs pyarrow
    .npy                   a matrix of numbers, its columns called x0, x1, …
    .npz                   arrays X (n, p), y (n,) and perhaps feature_names (p,)
    .svmlight .libsvm .svm "label index:value …", kept sparse; columns x1, x2, …
    ====================== ==================================================================

    A link to a file is followed. Missing are empty cells, NA, N/A, NaN, null and ?, in
    capitals or not.

    Args:
        path: the file.
        target: the column of classes. For .npy also its index, from 0, or from the end with
            a minus; not for .npz, whose y it is, nor for svmlight, where it stands first.
        missing: "refuse", with a count per column; "drop", to leave such rows out; "mean",
            to fill numbers with the mean of their column.
        categorical: columns that are one-hot encoded, their first category in sorted order
            being the reference; "auto" for all columns that are not numbers.
        drop: columns that are left out.
        delimiter: of a CSV file; if None, the first of comma, semicolon, tab and bar by
            which its header holds the target.
        max_bytes: bound on X in memory, 4 GiB by default.
        progress: called with the share of the file that has been read, from 0 to 1.

    Raises:
        ValueError: naming the file, the row, the column, and what to do.
        OSError: if the file cannot be read.
    """
    if missing not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, not {missing!r}.")
    if isinstance(categorical, str) and categorical != "auto":
        categorical = [categorical]
    path, suffix = _file(path)
    if delimiter is not None and suffix not in _CSV:
        raise ValueError(f"delimiter is for CSV files, which {plain(str(path))} is not.")
    if suffix in _SVMLIGHT:
        if target is not None or categorical or drop:
            raise ValueError(
                f"{plain(str(path))} is svmlight: its labels stand first and its columns are "
                "numbers. Leave target, categorical and drop away."
            )
        return _named(read_svmlight(path, max_bytes, progress), path)
    if target is None and suffix != ".npz":
        raise ValueError(
            f"{plain(str(path))} needs a target (--target NAME), the column of classes."
        )
    source = _source(path, suffix, delimiter, () if target is None else (target,), None, max_bytes)
    target = _target(source, suffix, target)
    plan = make_plan(source, target, categorical, drop)
    return _named(assemble(source, plan, missing, max_bytes, progress), path)


def read_features(
    path: str | Path,
    encoding: Encoding,
    *,
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: ReadProgress = _silent,
) -> Features:
    """The features of a file's rows for a model, chunk by chunk, in bounded memory.

    Columns are found by name, in any order, and others than the model's are not used. A
    .npy, and an .npz without feature_names, has the model's columns and no others, in
    their order.

    Args:
        path: a file of any format that :func:`read_table` reads.
        encoding: of the table that the model was trained on.
        delimiter: as for :func:`read_table`.
        max_bytes: bound on what is unpacked of the file at a time.
        progress: called with the share of the file that has been read, from 0 to 1.

    Raises:
        ValueError: naming the file, the row, the column, and what to do: at once where
            the columns do not fit, else when the row is read.
        OSError: if the file cannot be read.
    """
    path, suffix = _file(path)
    if suffix in _SVMLIGHT:
        return Features([], svmlight_features(path, encoding, progress))
    source = _source(path, suffix, delimiter, encoding.names, encoding.names, max_bytes)
    known = set(encoding.names)
    unused = [name for name in source.columns if name not in known]
    return Features(unused, encode_features(source, encoding, progress))


def _named(table: Table, path: Path) -> Table:
    return table._replace(name=plain(path.name))


def _file(path: str | Path) -> tuple[Path, str]:
    path = regular_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{plain(str(path))} is of no known format. Its name must end in {', '.join(SUFFIXES)}."
        )
    return path, suffix


def _source(
    path: Path,
    suffix: str,
    delimiter: str | None,
    needed: Sequence[str],
    names: list[str] | None,
    max_bytes: int,
) -> Source:
    if suffix == ".parquet":
        return ParquetSource(path, max_bytes)
    if suffix == ".npy":
        return open_npy(path, names)
    if suffix == ".npz":
        return open_npz(path, names, max_bytes)
    return CsvSource(path, delimiter, needed)


def _target(source: Source, suffix: str, target: str | None) -> str:
    if target is None:
        return LABELS
    if suffix != ".npy" or target in source.columns:
        return target
    try:
        return source.columns[int(target)]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"target must be the index of a column of {source.name}, from 0 to "
            f"{len(source.columns) - 1}, but it is {target!r}."
        ) from error
