"""How the columns of a file become features: plain data, so that a model can keep it."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Column:
    """A column of a file that features are made of.

    Attributes:
        name: in the file's header.
        categories: of a categorical column, sorted; the first is the reference and gets
            no feature. None for a column of numbers.
        fill: what stands for a missing number; None where a missing value is refused.
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None

    @property
    def feature_names(self) -> list[str]:
        """Names of the features made of this column.

        >>> Column("colour", ("blue", "green", "red")).feature_names
        ['colour=green', 'colour=red']
        """
        if self.categories is None:
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories[1:]]


@dataclass(frozen=True)
class Encoding:
    """The columns that X is made of, in its order.

    >>> encoding = Encoding((Column("age", fill=40.5), Column("sex", ("f", "m"))))
    >>> encoding.feature_names
    ['age', 'sex=m']
    >>> Encoding.from_dict(encoding.as_dict()) == encoding
    True
    """

    columns: tuple[Column, ...]

    @classmethod
    def of_numbers(cls, names: list[str]) -> "Encoding":
        """Columns of numbers, none of them ever missing."""
        return cls(tuple(Column(name) for name in names))

    @property
    def names(self) -> list[str]:
        """Of the file's columns."""
        return [column.name for column in self.columns]

    @property
    def numeric(self) -> list[Column]:
        """The columns of numbers."""
        return [column for column in self.columns if column.categories is None]

    @property
    def categorical(self) -> list[Column]:
        """The columns of categories."""
        return [column for column in self.columns if column.categories is not None]

    @property
    def feature_names(self) -> list[str]:
        """Of the columns of X."""
        return [name for column in self.columns for name in column.feature_names]

    def as_dict(self) -> dict[str, Any]:
        """Strings, numbers and None only, for JSON."""
        return {
            "columns": [
                {
                    "name": column.name,
                    "categories": None if column.categories is None else list(column.categories),
                    "fill": column.fill,
                }
                for column in self.columns
            ]
        }

    @classmethod
    def from_dict(cls, document: Any) -> "Encoding":
        """The encoding that :meth:`as_dict` wrote.

        Raises:
            ValueError: if the document is not of that form.
        """
        try:
            columns = tuple(_column(**entry) for entry in document["columns"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"this is no encoding of columns: {error}.") from error
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise ValueError("this is no encoding of columns: a name occurs twice.")
        return cls(columns)

    def expand(self, numbers: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Features from the columns of numbers and of categories.

        Args:
            numbers: of the numeric columns, in order, (n, number of them); NaN is missing.
            codes: category numbers of the categorical columns, (n, number of them).

        Returns:
            X, (n, p), with the fills in place of what is missing.

        >>> encoding = Encoding((Column("sex", ("f", "m")), Column("age", fill=40.5)))
        >>> encoding.expand(np.array([[30.0], [np.nan]]), np.array([[0], [1]]))
        array([[ 0. , 30. ],
               [ 1. , 40.5]])
        """
        parts, number, code = [], 0, 0
        for column in self.columns:
            if column.categories is None:
                parts.append(_filled(numbers[:, number], column.fill)[:, None])
                number += 1
            else:
                others = np.arange(1, len(column.categories))
                parts.append((codes[:, code, None] == others).astype(float))
                code += 1
        return np.concatenate(parts, axis=1)


def _filled(values: np.ndarray, fill: float | None) -> np.ndarray:
    return values if fill is None else np.where(np.isnan(values), fill, values)


def _column(name: str, categories: list[str] | None, fill: float | None) -> Column:
    texts = [name, *(categories or [])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"this is no encoding of columns: {texts} are not all strings.")
    if categories is not None and (not categories or len(set(categories)) < len(categories)):
        raise ValueError(f"this is no encoding of columns: the categories of {name!r}.")
    if fill is not None and not (isinstance(fill, int | float) and np.isfinite(fill)):
        raise ValueError(f"this is no encoding of columns: the fill of {name!r} is {fill!r}.")
    return Column(
        name,
        None if categories is None else tuple(categories),
        None if fill is None else float(fill),
    )
