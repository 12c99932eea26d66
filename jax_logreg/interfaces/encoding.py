"""Encoding: how the columns of a file become features, as plain data that a model can keep.

A column of a file is NumPy's or Arrow's; it becomes numbers (:func:`as_numbers`) or categories
(:func:`as_categories`), and an :class:`Encoding` makes the columns of X of them.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.interfaces.files import quoted

# A target of more classes than this is refused; from the smaller number on, classes that are
# numbers must be whole, and each needs so many rows on average.
MOST_CLASSES = 1000
_MANY_NUMBERS, _ROWS_A_NUMBER = 20, 10

# Cells that stand for a missing value, in capitals or not.
MISSING = ("", "na", "n/a", "nan", "null", "?")

# What a number is: no underscores, no digits of other scripts, no hexadecimal.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITY = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)

_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_WEEKDAY = r"((mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_DAY = "|".join(
    (
        r"\d{4}[-/.]\d\d?[-/.]\d\d?",
        r"\d\d?[-/.]\d\d?[-/.](\d\d){1,2}",
        rf"\d\d?[- ]{_MONTH}[- ]\d+",
        rf"{_MONTH} \d\d?,? \d{{4}}",
    )
)
_TIME = r"\d\d?:\d\d(:\d\d)?(\.\d+)?( ?[ap]m)?"
_AMOUNT = r"(\d+|\d{1,3}([,.' ]\d{3})+)([.,]\d+)?"
_NO_THOUSANDS = "Write numbers without thousands separators"
# What looks like a number or a date but is not read as one, and what to do.
_DISGUISES = {
    r"[+-]?\d{1,3}(,\d{3})+": "If its comma is a decimal comma, --decimal , reads it; if it "
    "separates thousands, write the number without.",
    r"[+-]?\d*,\d+(e[+-]?\d+)?": "It has a decimal comma: --decimal , reads it.",
    r"[+-]?\d{1,3}(\.\d{3})+,\d+": f"{_NO_THOUSANDS}; --decimal , reads the decimal comma.",
    r"[+-]?\d{1,3}(([,' \xa0\u202f]\d{3})+([.,]\d+)?|(\.\d{3}){2,})": f"{_NO_THOUSANDS}.",
    rf"[$€£¥]\s*[+-]?{_AMOUNT}|[+-]?{_AMOUNT}\s*[%‰€$£¥]|−{_AMOUNT}": "Write numbers without "
    "signs such as % and $, and minus as -.",
    rf"{_WEEKDAY}({_DAY})([T ].*)?|{_TIME}": "Give a date or a time as a number, such as the days "
    "since a fixed date, or leave the column out.",
}


def disguise(cell: str) -> str | None:
    """What to do about text that looks like a number or a date; None for other text.

    >>> disguise("66644,57")
    'It has a decimal comma: --decimal , reads it.'
    >>> disguise("1.5"), disguise("red")
    (None, None)
    """
    return next(
        (
            remedy
            for pattern, remedy in _DISGUISES.items()
            if re.fullmatch(pattern, cell, re.ASCII | re.IGNORECASE)
        ),
        None,
    )


def refuse_disguised(where: str, texts: Sequence[str], more: str = "") -> None:
    """Refuse categories that are all numbers or dates, not all of them written as such.

    Args:
        where: as errors call the column.
        texts: the categories.
        more: ends the refusal.

    Raises:
        ValueError: naming the first, and what to do.
    """
    others = [text for text in texts if not _NUMBER.fullmatch(text)]
    remedies = [disguise(text) for text in others]
    if others and None not in remedies:
        raise ValueError(
            f"{where} holds {quoted(others[0])}, which is no category. {remedies[0]}{more}"
        )


def are_numbers(texts: Sequence[str]) -> bool:
    """Whether all texts are numbers."""
    return all(map(_NUMBER.fullmatch, texts))


def missing_words(na: Sequence[str] | str | None) -> tuple[str, ...]:
    """The cells that stand for a missing value, the empty one always among them.

    Args:
        na: the others; None for the usual ones.

    Raises:
        ValueError: for something that is no text.

    >>> missing_words(None), missing_words("-99"), missing_words([])
    (('', 'na', 'n/a', 'nan', 'null', '?'), ('', '-99'), ('',))
    """
    if na is None:
        return MISSING
    words = [na] if isinstance(na, str) else na
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"na must be text, such as '-99', or a list of texts, not {na!r}.")
    return tuple(dict.fromkeys(["", *(word.strip().lower() for word in words)]))


def _missing_numbers(missing: tuple[str, ...]) -> list[float]:
    return [float(word) for word in missing if _NUMBER.fullmatch(word)]


class BadCellError(ValueError):
    """A cell that is no finite number.

    Attributes:
        index: of the cell in its column, from 0.
        cell: what it holds.
    """

    def __init__(self, index: int, cell: str) -> None:
        super().__init__(cell)
        self.index, self.cell = index, cell

    def remedy(self, column: str) -> str:
        """What to do."""
        found = disguise(self.cell)
        if found is not None:
            return found
        remedy = "Correct it, or leave the row or the column out."
        if _NUMBER.fullmatch(self.cell) or _INFINITY.fullmatch(self.cell):
            return remedy
        return f"{remedy} --categorical {quoted(column)} would one-hot encode it."


class Categories(NamedTuple):
    """A column of categories.

    Attributes:
        codes: index into values of every row, −1 where it is missing, (m,).
        values: what the codes stand for.
    """

    codes: np.ndarray
    values: list[str]


def as_numbers(column: Any, missing: tuple[str, ...] = MISSING) -> np.ndarray:
    """A column as float64, NaN where a value is missing.

    Args:
        column: NumPy's numbers, of any shape, or Arrow's; Arrow's text is parsed.
        missing: cells that stand for a missing value, in small letters; of numbers too.

    Returns:
        The numbers; infinite where a cell is, or is too large.

    Raises:
        BadCellError: for the first cell that is no number.

    >>> as_numbers(np.array([1, 2]))
    array([1., 2.])
    """
    if isinstance(column, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.asarray(column, float)
    else:
        numbers = _arrow_numbers(column, missing)
    unknown = _missing_numbers(missing)
    return np.where(np.isin(numbers, unknown), np.nan, numbers) if unknown else numbers


def _arrow_numbers(column: Any, missing: tuple[str, ...]) -> np.ndarray:
    column = column.dictionary_decode() if hasattr(column, "dictionary") else column
    is_text = "string" in str(column.type)
    try:
        numbers = column.cast("double", safe=False).to_numpy(zero_copy_only=False)
        if not is_text or np.sum(np.isnan(numbers)) == column.null_count:
            return numbers
    except ValueError:  # Arrow parses text only where nothing surrounds it
        pass
    cells = enumerate(column.to_pylist())
    return np.array([_number(index, cell, missing) for index, cell in cells])


def _number(index: int, cell: str | None, missing: tuple[str, ...]) -> float:
    cell = (cell or "").strip()
    if cell.lower() in missing:
        return math.nan
    if not (_NUMBER.fullmatch(cell) or _INFINITY.fullmatch(cell)):
        raise BadCellError(index, cell)
    return float(cell)


def as_categories(column: Any, missing: tuple[str, ...] = MISSING) -> Categories:
    """A column as categories, whose integers stay exact beyond 2⁵³.

    Args:
        column: text, numbers or booleans of NumPy or Arrow.
        missing: cells that stand for a missing value, in small letters; of numbers too.

    Raises:
        BadCellError: for an infinity.
        UnicodeError: for text that is none.

    >>> as_categories(np.array([" b", "a", "NA"]))
    Categories(codes=array([ 0,  2, -1]), values=['b', '', 'a'])
    """
    if isinstance(column, np.ndarray):
        column = column.astype(int) if column.dtype.kind == "b" else column
        distinct, codes = np.unique(column, return_inverse=True)
        values = distinct.tolist()
    else:
        column = column if hasattr(column, "dictionary") else column.dictionary_encode()
        indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(int)
        # A dictionary may be far larger than the batch that refers to it.
        used, codes = np.unique(indices, return_inverse=True)
        values = [None if code < 0 else column.dictionary[code].as_py() for code in used.tolist()]
    for code, value in enumerate(values):
        if isinstance(value, float) and math.isinf(value):
            raise BadCellError(int(np.argmax(codes == code)), str(value))
    texts = [_category(value, missing) for value in values]
    present = np.array([text is not None for text in texts], bool)
    return Categories(np.where(present[codes], codes, -1), [text or "" for text in texts])


def _category(value: Any, missing: tuple[str, ...]) -> str | None:
    """The text of a value, None if it is missing."""
    if value is None or value != value:
        return None
    text = str(value).strip() if isinstance(value, str | bool) else number_text(value)
    is_number = _NUMBER.fullmatch(text)
    if text.lower() in missing or (is_number and float(text) in _missing_numbers(missing)):
        return None
    return text


def number_text(value: float | Decimal) -> str:
    """A number as a class or category: without a point where it is whole.

    >>> number_text(2.0), number_text(0.5), number_text(2**53 + 1), number_text(Decimal("2.50"))
    ('2', '0.5', '9007199254740993', '2.5')
    """
    is_rounded = isinstance(value, float) and abs(value) >= 2**53
    if value == int(value) and not is_rounded:
        return str(int(value))
    # Not normalize, which keeps 28 digits.
    return f"{value:f}".rstrip("0") if isinstance(value, Decimal) else repr(value)


def in_order(texts: list[str]) -> list[str]:
    """Classes or categories in order: by size if all are numbers, else by code point.

    >>> in_order(["10", "9"]), in_order(["b", "10", "9"])
    (['9', '10'], ['10', '9', 'b'])
    """
    numbers = _all_numbers(texts)
    return sorted(texts) if numbers is None else sorted(texts, key=numbers.__getitem__)


def class_order(target: str, labels: list[str], num_rows: int) -> list[str]:
    """The classes in order.

    Args:
        target: as errors call it.
        labels: the different ones.
        num_rows: number of rows that have them.

    Raises:
        ValueError: for a single class, one number written in two ways, or what looks
            continuous.
    """
    if len(labels) < 2:
        raise ValueError(
            f"{target} holds one class only, {quoted(labels[0])}: give rows of two or more."
        )
    classes, numbers = in_order(labels), _all_numbers(labels)
    if len(classes) > _MANY_NUMBERS:
        refuse_disguised(target, classes)
    if numbers is None:
        return classes
    for one, other in itertools.pairwise(classes):
        if numbers[one] == numbers[other]:
            raise ValueError(
                f"{target} holds {quoted(one)} and {quoted(other)}, one number written in "
                "two ways. Write it in one."
            )
    is_whole = all(number == int(number) for number in numbers.values())
    is_repeated = num_rows >= _ROWS_A_NUMBER * len(classes) and len(classes) <= MOST_CLASSES
    if len(classes) > _MANY_NUMBERS and not (is_whole and is_repeated):
        raise ValueError(
            f"{target} holds {len(classes)} different values in {num_rows} rows, all numbers, and "
            "looks continuous. Cut it into classes; if these are the classes, name them with text."
        )
    return classes


def _all_numbers(texts: list[str]) -> dict[str, Decimal] | None:
    """The texts as exact numbers, None if one of them is no finite number."""
    try:
        numbers = {text: Decimal(text) for text in texts}
    except InvalidOperation:
        return None
    return numbers if all(number.is_finite() for number in numbers.values()) else None


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

    Attributes:
        columns: of the file.
        missing: cells that stand for a missing value, in small letters.

    >>> encoding = Encoding((Column("age", fill=40.5), Column("sex", ("f", "m"))))
    >>> encoding.feature_names
    ['age', 'sex=m']
    >>> Encoding.from_dict(encoding.as_dict()) == encoding
    True
    """

    columns: tuple[Column, ...]
    missing: tuple[str, ...] = MISSING

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
        usual = self.missing == MISSING
        columns = [asdict(column) for column in self.columns]
        return {"columns": columns} | ({} if usual else {"missing": list(self.missing)})

    @classmethod
    def from_dict(cls, document: Any) -> "Encoding":
        """The encoding that :meth:`as_dict` wrote.

        Raises:
            ValueError: if the document is not of that form.
        """
        try:
            columns = tuple(_column(**entry) for entry in document["columns"])
            if len({column.name for column in columns}) < len(columns):
                raise ValueError("a name occurs twice")
            missing = MISSING if "missing" not in document else missing_words(document["missing"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"this is no encoding of columns: {error}.") from error
        return cls(columns, missing)

    def expand(self, numbers: np.ndarray, codes: Sequence[np.ndarray]) -> np.ndarray:
        """Features from the columns of numbers and of categories.

        Args:
            numbers: of the numeric columns, in order, (n, number of them); NaN is missing.
            codes: of every categorical column, in order, its category numbers, (n,).

        Returns:
            X, (n, p), with the fills in place of what is missing.

        >>> encoding = Encoding((Column("sex", ("f", "m")), Column("age", fill=40.5)))
        >>> encoding.expand(np.array([[30.0], [np.nan]]), [np.array([0, 1])])
        array([[ 0. , 30. ],
               [ 1. , 40.5]])
        """
        numeric, categorical = iter(numbers.T), iter(codes)
        X, end = np.empty((len(numbers), len(self.feature_names))), 0
        for column in self.columns:
            begin, end = end, end + len(column.feature_names)
            if column.categories is None:
                values = next(numeric)
                is_filled = column.fill is not None
                X[:, begin] = (
                    np.where(np.isnan(values), column.fill, values) if is_filled else values
                )
            else:
                X[:, begin:end] = next(categorical)[:, None] == np.arange(1, end - begin + 1)
        return X


def _column(name: str, categories: list[str] | None, fill: float | None) -> Column:
    texts = [name, *(categories or [])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{texts} are not all strings")
    if categories is not None and (not categories or len(set(categories)) < len(categories)):
        raise ValueError(f"the categories of {name!r} are none, or not all different")
    if fill is not None and not (isinstance(fill, int | float) and np.isfinite(fill)):
        raise ValueError(f"the fill of {name!r} is {fill!r}")
    return Column(
        name,
        None if categories is None else tuple(categories),
        None if fill is None else float(fill),
    )
