"""Tables from files: the two data sets that ship, and anyone's CSV."""

import csv
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

# name: (file, target column)
EMBEDDED = {
    "breast-cancer": ("breast_cancer.csv", "diagnosis"),
    "iris": ("iris.csv", "species"),
}

# A target with more values than this is a measurement, not a class.
_MOST_CLASSES = 100


class Table(NamedTuple):
    """A classification problem read from a file.

    Attributes:
        name: of the data set or file.
        X: features, float64, (n, p).
        y: class numbers 0 … K−1, (n,).
        feature_names: p names.
        class_names: K names, sorted: for two classes the second is "1".
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    feature_names: list[str]
    class_names: list[str]


def load_embedded(name: str) -> Table:
    """A data set that ships with the package: "breast-cancer" or "iris".

    >>> table = load_embedded("iris")
    >>> table.X.shape, table.class_names
    ((150, 4), ['setosa', 'versicolor', 'virginica'])
    """
    if name not in EMBEDDED:
        raise ValueError(f"data must be one of {', '.join(EMBEDDED)}, not {name!r}.")
    file, target = EMBEDDED[name]
    with (files("jax_logreg") / "data" / file).open(encoding="utf-8") as stream:
        return _table(name, list(csv.reader(stream)), target)


def read_csv(path: str | Path, target: str) -> Table:
    """A table from a CSV file with a header, every column but the target a number.

    Args:
        path: the file, UTF-8.
        target: name of the column that holds the classes, text or numbers.

    Raises:
        ValueError: naming the row, the column and what is wrong there.
        OSError: if the file cannot be read.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        return _table(Path(path).name, [row for row in csv.reader(stream) if row], target)


def _table(name: str, lines: list[list[str]], target: str) -> Table:
    if len(lines) < 2:
        raise ValueError(f"{name} holds no rows: it needs a header and at least one row.")
    header, rows = [cell.strip() for cell in lines[0]], lines[1:]
    if target not in header:
        raise ValueError(
            f"target {target!r} is not a column of {name}. Its columns: {', '.join(header)}."
        )
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise ValueError(f"{name} has two columns named {twice!r}. Rename one.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(
                f"row {number} of {name} has {len(row)} cells, but the header has {len(header)}."
            )
    column = header.index(target)
    labels = [row[column].strip() for row in rows]
    features = [row[:column] + row[column + 1 :] for row in rows]
    names = header[:column] + header[column + 1 :]
    if not names:
        raise ValueError(f"{name} has no column besides the target {target!r}.")
    classes = _classes(name, target, labels)
    y = np.array([classes.index(label) for label in labels])
    return Table(name, _numbers(name, names, features), y, names, classes)


def _numbers(name: str, names: list[str], cells: list[list[str]]) -> np.ndarray:
    try:
        X = np.array(cells).astype(float)
    except ValueError:
        X = np.array([[_number(cell) for cell in row] for row in cells])
    if np.all(np.isfinite(X)):
        return X
    row, column = (int(i) for i in np.argwhere(~np.isfinite(X))[0])
    cell = cells[row][column].strip()
    raise ValueError(
        f"row {row + 1}, column {names[column]!r} of {name} "
        + (f"holds {cell!r}, which is not a finite number" if cell else "is empty")
        + ". Encode text as numbers; drop or impute rows with gaps."
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _classes(name: str, target: str, labels: list[str]) -> list[str]:
    if "" in labels:
        row = labels.index("") + 1
        raise ValueError(f"row {row}, column {target!r} of {name} is empty. Drop the row.")
    distinct = set(labels)
    if len(distinct) < 2:
        raise ValueError(
            f"target {target!r} holds one class only, {labels[0]!r}: give rows of two or more."
        )
    if len(distinct) > _MOST_CLASSES:
        raise ValueError(
            f"target {target!r} holds {len(distinct)} different values, more than the "
            f"{_MOST_CLASSES} classes that are supported. Is it a measurement?"
        )
    numeric = all(np.isfinite(_number(label)) for label in distinct)
    return sorted(distinct, key=float) if numeric else sorted(distinct)
