"""A classification problem read from a file, and the order of its classes."""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.sources import check_size, shown

# A target of more classes than this is refused, and one of numbers that hardly repeat.
MOST_CLASSES = 1000
_MOST_UNREPEATED = 100


class Table(NamedTuple):
    """A classification problem read from a file.

    Attributes:
        name: of the data set or file.
        X: features, float64, (n, p); a SciPy CSR array where the file is sparse.
        y: class numbers 0 … K−1, (n,).
        feature_names: p names.
        class_names: K names, sorted: for two classes the second is "1".
        encoding: how the features come from the file's columns.
        num_dropped: rows left out because a value was missing.
    """

    name: str
    X: np.ndarray | csr_array
    y: np.ndarray
    feature_names: list[str]
    class_names: list[str]
    encoding: Encoding
    num_dropped: int = 0


def densified(table: Table, max_bytes: int) -> Table:
    """The table with a dense X.

    Raises:
        ValueError: if that would take more than so many bytes.
    """
    if isinstance(table.X, np.ndarray):
        return table
    check_size(f"{table.name}, made dense,", 8 * math.prod(table.X.shape), max_bytes)
    return table._replace(X=table.X.toarray())


def ordered(texts: list[str]) -> list[str]:
    """Classes or categories in order: by size if all are numbers, else by code point.

    >>> ordered(["10", "9"]), ordered(["b", "10", "9"])
    (['9', '10'], ['10', '9', 'b'])
    """
    return sorted(texts, key=float) if _all_numbers(texts) else sorted(texts)


def class_order(target: str, labels: list[str], num_rows: int) -> list[str]:
    """The classes in order.

    Args:
        target: as errors call it.
        labels: the different ones.
        num_rows: that have them.

    Raises:
        ValueError: for a single class, one number written in two ways, or a measurement.
    """
    if len(labels) < 2:
        raise ValueError(
            f"{target} holds one class only, {shown(labels[0])}: give rows of two or more."
        )
    classes = ordered(labels)
    if _all_numbers(classes):
        for one, other in itertools.pairwise(classes):
            if float(one) == float(other):
                raise ValueError(
                    f"{target} holds {shown(one)} and {shown(other)}, one number written in "
                    "two ways. Write it in one."
                )
        if len(classes) > _MOST_UNREPEATED and 2 * len(classes) > num_rows:
            raise ValueError(
                f"{target} holds {len(classes)} different values in {num_rows} rows. "
                "Is it a measurement? Classes repeat."
            )
    return classes


def _all_numbers(texts: list[str]) -> bool:
    try:
        return all(math.isfinite(float(text)) for text in texts)
    except ValueError:
        return False
