"""Tables: classification problems from files, and a file's rows as features for a model.

A reader opens a file as named columns; here these become X, y and an
:class:`~jax_logreg.interfaces.encoding.Encoding`, in bounded memory. To read another format,
write one function ``(path, request) -> Source`` (its contract is in ``table_source.py``) and
register it under its suffixes in READERS in ``table_files.py``. Missing values, categories,
classes, patterns, folders, limits and errors are the same for every format.
"""

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from jax_logreg.interfaces.array_formats import read_svmlight, svmlight_columns
from jax_logreg.interfaces.encoding import (
    MISSING,
    MOST_CLASSES,
    Categories,
    Column,
    Encoding,
    are_numbers,
    class_order,
    in_order,
    missing_words,
    number_text,
    refuse_disguised,
)
from jax_logreg.interfaces.files import comma_list, printable, quoted
from jax_logreg.interfaces.table_files import SVMLIGHT, Chunk, TableFiles, find_table
from jax_logreg.interfaces.table_options import (
    EMBEDDED,
    MAX_BYTES,
    MAX_CATEGORIES,
    MISSING_POLICIES,
)
from jax_logreg.interfaces.table_source import (
    ReadProgress,
    Request,
    Source,
    batch_rows,
    check_columns,
    check_size,
    csv_records,
)

# Longer labels and categories are taken for a mistake.
_LONGEST_TEXT = 1000


def _no_progress(fraction_read: float) -> None:
    """Nothing is reported."""


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


class Features(NamedTuple):
    """The rows of a file as features for a model.

    Attributes:
        unused: columns of the file that the model does not know, in the file's order.
        chunks: arrays of float64, (some rows, p).
    """

    unused: list[str]
    chunks: Iterator[np.ndarray]


def load_embedded(name: str) -> Table:
    """A data set that ships with the package; it needs no other library.

    Args:
        name: "breast-cancer" (569 rows, two classes) or "iris" (150 rows, three classes).

    Returns:
        The table: X (n, p), y (n,), the names of features and classes.

    Raises:
        ValueError: for another name.

    >>> table = load_embedded("iris")
    >>> table.X.shape, table.class_names
    ((150, 4), ['setosa', 'versicolor', 'virginica'])
    """
    if name not in EMBEDDED:
        raise ValueError(f"data must be one of {', '.join(EMBEDDED)}, not {name!r}.")
    file, target = EMBEDDED[name]
    with as_file(files("jax_logreg") / "data" / file) as path:
        (_, header), *records = csv_records(path, file, ",")
    cells = dict(zip(header, zip(*(row for _, row in records), strict=True), strict=True))
    classes, y = np.unique(cells.pop(target), return_inverse=True)
    X = np.column_stack([np.array(column, float) for column in cells.values()])
    return Table(name, X, y, [*cells], classes.tolist(), Encoding.of_numbers([*cells]))


def read_table(
    path: str | Path,
    target: str | int | None = None,
    *,
    missing: str = "refuse",
    na: Sequence[str] | str | None = None,
    categorical: Sequence[str] | str = (),
    max_categories: int = MAX_CATEGORIES,
    drop: Sequence[str] | str = (),
    delimiter: str | None = None,
    decimal: str = ".",
    max_bytes: int = MAX_BYTES,
    progress: ReadProgress = _no_progress,
) -> Table:
    r"""A classification problem from a file, whose format its suffix tells.

    ====================== ==================================================================
    .csv .tsv .txt         UTF-8 with a header; also .csv.gz, .csv.bz2, .csv.zst; by pyarrow
    .parquet               columns of numbers and text; by pyarrow
    .arrow .feather .ipc   Arrow's file or stream of such columns; by pyarrow
    .npy                   a matrix of numbers, its columns called x0, x1, …
    .npz                   arrays X (n, p), y (n,) and perhaps feature_names (p,)
    .svmlight .libsvm .svm "label index:value …", kept sparse; columns x1, x2, …; by
                           scikit-learn; also .svm.gz, …
    ====================== ==================================================================

    A folder of such files, or a pattern such as ``"data/2024-*.csv"``, is one table: the files
    in order of their names, with the same columns in any order. A target of numbers that looks
    continuous, because they hardly repeat, is refused.

    Args:
        path: a file, a folder, or a pattern with ``*``, ``?`` or ``[…]``.
        target: the column of classes. For .npy also its index, from 0, or from the end with
            a minus; not for .npz, whose y it is, nor for svmlight, where it stands first.
        missing: "refuse", with a count per column; "drop", to leave such rows out; "mean",
            to fill numbers with the mean of their column.
        na: what stands for a missing value, such as "-99", besides an empty cell; by default
            NA, N/A, NaN, null and ?; in capitals or not, a number however it is written.
        categorical: columns that are one-hot encoded, their first category in sorted order
            being the reference; "auto" for all columns that are not numbers. Those of numbers
            or dates in disguise, such as "1,5", are refused then.
        max_categories: how many a column that "auto" chose may have.
        drop: columns that are left out; "" is the one without a name.
        delimiter: of a CSV file; if None, the first of comma, semicolon, tab and bar by
            which its header holds the target.
        decimal: the mark of decimals in a CSV file, "." or ",".
        max_bytes: bound on X in memory, 4 GiB by default.
        progress: called with the fraction of the file that has been read, from 0 to 1.

    Returns:
        The table: X (n, p), y (n,), the names of features and classes, the encoding.

    Raises:
        ValueError: naming the file, the row, the column, and what to do; or the extra to
            install, where a library is missing.
        OSError: if the file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "trial.csv")
    ...     _ = path.write_text("dose,site,outcome\n1,a,no\n2,b,yes\n,a,no\n")
    ...     table = read_table(path, "outcome", missing="drop", categorical="auto")
    >>> table.feature_names, table.X.tolist(), table.y.tolist(), table.num_dropped
    (['dose', 'site=b'], [[1.0, 0.0], [2.0, 1.0]], [0, 1], 1)
    """
    if missing not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(MISSING_POLICIES)}, not {missing!r}.")
    categorical, drop = _names("categorical", categorical), _names("drop", drop)
    _check_numbers(max_bytes=max_bytes, max_categories=max_categories)
    words = missing_words(na)
    name, paths, suffix = find_table(path, delimiter, decimal)
    if suffix in SVMLIGHT:
        if target is not None or categorical or drop or na is not None:
            raise ValueError(
                f"{name} is svmlight: its labels stand first and its columns are numbers. Leave "
                "target, categorical, drop and na away."
            )
        table = _svmlight_table(name, paths, max_bytes, progress)
    else:
        needed = (target,) if isinstance(target, str) else ()
        request = Request(delimiter, needed, None, max_bytes, words, decimal)
        files = TableFiles.open(name, paths, suffix, request, lambda column: column not in drop)
        chosen = _target(files, target)

        def check(num_rows: int, fraction_read: float) -> None:
            num_features = len({*files.columns} - {chosen, *drop})
            if missing != "drop":  # then rows that are read may be left out
                size = 8 * num_features * num_rows
                check_size(files.name, size, max_bytes, fraction_read, files.slack)

        if files.num_rows is not None:
            check(files.num_rows, 1.0)
        plan = _Plan.of(files, chosen, categorical, drop, max_categories, check)
        table = _assemble(files, plan, missing, max_bytes, progress)
    return table._replace(name=printable(Path(path).name))


def _names(option: str, names: Sequence[str] | str) -> list[str]:
    """Names of columns as a list."""
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"{option} must be names of columns, such as ['age'], not {names!r}.")
    return list(listed)


def _check_numbers(**limits: float) -> None:
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
            raise ValueError(f"{name} must be a positive number, but it is {limit!r}.")


def read_features(
    path: str | Path,
    encoding: Encoding,
    *,
    delimiter: str | None = None,
    decimal: str = ".",
    max_bytes: int = MAX_BYTES,
    progress: ReadProgress = _no_progress,
) -> Features:
    """The features of a file's rows for a model, chunk by chunk, in bounded memory.

    Columns are found by name, in any order, and others than the model's are not used. A
    .npy, and an .npz without feature_names, has the model's columns and no others, in
    their order.

    Args:
        path: whatever :func:`read_table` reads.
        encoding: of the table that the model was trained on.
        delimiter: as for :func:`read_table`.
        decimal: as for :func:`read_table`.
        max_bytes: bound on what is unpacked of a file at a time.
        progress: called with the fraction of the file that has been read, from 0 to 1.

    Returns:
        The columns that are not used, and an iterator over the chunks of X.

    Raises:
        ValueError: naming the file, the row, the column, and what to do: at once where
            the columns do not fit, else when the row is read.
        OSError: if the file cannot be read.
    """
    name, paths, suffix = find_table(path, delimiter, decimal)
    if suffix in SVMLIGHT:
        return Features([], _svmlight_features(name, paths, encoding, progress))
    names, known = encoding.names, set(encoding.names)
    request = Request(delimiter, (*names,), names, max_bytes, encoding.missing, decimal)
    files = TableFiles.open(name, paths, suffix, request, known.__contains__)
    there = set(files.columns)
    lacking = [name for name in names if name not in there]
    if lacking:
        raise ValueError(
            f"{files.name} lacks {len(lacking)} of the model's {len(names)} columns: "
            f"{comma_list(lacking)}. Its columns: {comma_list(files.columns)}."
        )
    unused = [name for name in files.columns if name not in known]
    return Features(unused, _encoded(files, encoding, progress))


def densified(table: Table, max_bytes: int) -> Table:
    """The table with a dense X.

    Raises:
        ValueError: if that would take more than max_bytes.
    """
    if isinstance(table.X, np.ndarray):
        return table
    check_size(f"{table.name}, made dense,", 8 * math.prod(table.X.shape), max_bytes)
    return table._replace(X=table.X.toarray())


# Training -----------------------------------------------------------------------------------


def _target(files: TableFiles, target: str | int | None) -> str:
    source = files.sources[0]
    if target is None:
        if source.labels is None:
            raise ValueError(f"{files.name} needs a target (--target NAME), the column of classes.")
        return source.labels
    if isinstance(target, str) and (not source.is_unnamed or target in files.columns):
        return target
    if not source.is_unnamed:
        raise ValueError(
            f"target must be the name of a column of {files.name}, but it is {target!r}. Its "
            f"columns: {comma_list(files.columns)}."
        )
    try:
        return files.columns[int(target) if isinstance(target, str) else operator.index(target)]
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"target must be the index of a column of {files.name}, from 0 to "
            f"{len(files.columns) - 1}, but it is {target!r}."
        ) from error


class _Plan(NamedTuple):
    """What the columns of a table are for.

    Attributes:
        target: the column of classes.
        features: the columns that X is made of, in the file's order.
        numeric: those of them that are numbers.
        categorical: those of them that are one-hot encoded.
        found: those of the categorical that nobody named, and what says where text is.
        max_categories: how many those may have.
    """

    target: str
    features: list[str]
    numeric: list[str]
    categorical: list[str]
    found: dict[str, Callable[[], str]]
    max_categories: int

    @classmethod
    def of(
        cls,
        files: TableFiles,
        target: str,
        categorical: list[str],
        drop: list[str],
        max_categories: int,
        check: Callable[[int, float], None],
    ) -> "_Plan":
        asked = [name for name in categorical if name != "auto"]
        uses = (("target", [target]), ("dropped column", drop), ("categorical column", asked))
        for what, names in uses:
            for name in names:
                if name not in files.columns:
                    raise ValueError(
                        f"{what} {quoted(name)} is not a column of {files.name}. "
                        f"Its columns: {comma_list(files.columns)}."
                    )
        for name, times in Counter(name for _, names in uses for name in set(names)).items():
            if times > 1:
                raise ValueError(
                    f"column {quoted(name)} of {files.name} is asked for in two ways: as the "
                    "target, as categorical, or to be dropped. Choose one."
                )
        left_out = {target, *drop}
        features = [name for name in files.columns if name not in left_out]
        if not features:
            raise ValueError(
                f"{files.name} has no column left besides the target {quoted(target)}."
            )
        others = [name for name in features if name not in asked]
        found = files.text_columns(others, check) if "auto" in categorical else {}
        numeric = [name for name in others if name not in found]
        chosen = [name for name in features if name not in numeric]
        return cls(target, features, numeric, chosen, found, max_categories)


def _assemble(
    files: TableFiles, plan: _Plan, missing: str, max_bytes: int, progress: ReadProgress
) -> Table:
    rows = TrainingRows(files.name, plan, missing)
    for chunk in files.chunks(plan.numeric, [plan.target, *plan.categorical]):
        rows.add(chunk)
        progress(chunk.fraction_read)
        size = 8 * len(plan.features) * rows.num_rows
        check_size(files.name, size, max_bytes, chunk.fraction_read, files.slack)
    rows.check(files.missing)
    target, *others = (encoder.texts for encoder in rows.encoders)
    orders = [class_order(rows.target, target, rows.num_rows), *map(in_order, others)]
    fills = rows.means(plan.numeric) if missing == "mean" else [None] * len(plan.numeric)
    fill = dict(zip(plan.numeric, fills, strict=True))
    categories = dict(zip(plan.categorical, map(tuple, orders[1:]), strict=True))
    encoding = Encoding(
        tuple(Column(name, categories.get(name), fill.get(name)) for name in plan.features),
        files.missing,
    )
    names = encoding.feature_names
    check_columns(f"the encoded table of {files.name}", names, lambda name: True)
    check_size(files.name, 8 * len(names) * rows.num_rows, max_bytes)
    X, y = rows.assemble(encoding, orders)
    return Table(files.name, X, y, names, orders[0], encoding, rows.num_dropped)


def _svmlight_table(name: str, paths: list[Path], max_bytes: int, progress: ReadProgress) -> Table:
    X, labels, base = read_svmlight(name, paths, max_bytes, progress)
    distinct, y = np.unique(labels, return_inverse=True)
    texts = [number_text(label) for label in distinct.tolist()]
    classes = class_order(f"the first column of {name}", texts, len(y))
    names = [f"x{index + base}" for index in range(X.shape[1])]
    return Table(name, X, y, names, classes, Encoding.of_numbers(names))


class CategoryEncoder:
    """Numbers the categories of a column in the order in which they appear.

    Args:
        where: as errors call the column.
        most: how many categories it may have.
        remedy: for more of them.
        first_text: for a column that nobody called categorical, what says where its first text
            is: it may be one of numbers or dates in disguise.
    """

    def __init__(
        self, where: str, most: int, remedy: str, first_text: Callable[[], str] | None = None
    ) -> None:
        self._where, self._most, self._remedy = where, most, remedy
        self._first_text = first_text
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
        if code >= self._most:
            refuse_disguised(self._where, self.texts)
            what = f"{self._where} holds more than {self._most} different values"
            if self._first_text is not None and are_numbers(self.texts):
                raise ValueError(
                    f"{what}, numbers for the most part, but {self._first_text()}. Correct it, or "
                    "say that it is missing with --na."
                )
            raise ValueError(f"{what}. {self._remedy}")
        return code

    def check(self) -> None:
        """Refuse numbers and dates in disguise in a column that nobody called categorical."""
        if self._first_text is not None:
            more = " --categorical with its name would one-hot encode it all the same."
            refuse_disguised(self._where, self.texts, more)

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

    def refuse(self, table: str, numeric: Sequence[str], words: tuple[str, ...]) -> None:
        """Raise if there are any, with a count per column; those of numbers have a mean."""
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
        others = [name for name in self._first if name not in numeric]
        remedy = "--missing drop leaves such rows out"
        if len(others) < len(self._first):
            remedy += ", --missing mean fills numbers with the mean of their column"
        if others:
            remedy += ". A class or category has no mean"
        if words == MISSING:
            remedy += ". If a word such as NA is a value, --na '' leaves only empty cells missing"
        raise ValueError(
            f"{table} has missing values in {len(counts)} "
            f"column{'s' if len(counts) > 1 else ''}: {comma_list(counts)}. {remedy}."
        )


class TrainingRows:
    """The rows that are kept for training.

    Args:
        table: as errors call it.
        plan: what its columns are for.
        missing: what is done with missing values.
    """

    def __init__(self, table: str, plan: _Plan, missing: str) -> None:
        self._table, self._plan, self._missing = table, plan, missing
        self.target = f"target {quoted(plan.target)} of {table}"
        remedy = "Is it a measurement, or an identifier?"
        self.encoders = [CategoryEncoder(self.target, MOST_CLASSES, remedy)]
        for name in plan.categorical:
            is_found = name in plan.found
            most = plan.max_categories if is_found else MOST_CLASSES
            more = f" Leave it out with --drop {quoted(name)}, or raise --max-categories."
            self.encoders.append(
                CategoryEncoder(
                    f"column {quoted(name)} of {table}",
                    most,
                    remedy + more * is_found,
                    plan.found.get(name),
                )
            )
        self._num_filled = 0 if missing == "refuse" else len(plan.numeric)
        names = [*plan.numeric, plan.target, *plan.categorical]
        self._counts = MissingCounts(names[self._num_filled :])
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

    def check(self, words: tuple[str, ...]) -> None:
        """Refuse missing values, for which some words stand, and a table without rows."""
        for encoder in self.encoders:
            encoder.check()
        self._counts.refuse(self._table, self._plan.numeric, words)
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


# Prediction ---------------------------------------------------------------------------------


def _encoded(files: TableFiles, encoding: Encoding, progress: ReadProgress) -> Iterator[np.ndarray]:
    numeric = [column.name for column in encoding.numeric]
    categorical = [column.name for column in encoding.categorical]
    for chunk in files.chunks(numeric, categorical):
        for index, column in enumerate(encoding.numeric):
            if column.fill is None:
                _refuse_missing(chunk, np.isnan(chunk.numbers[:, index]), column.name)
        codes = [
            _known_codes(chunk, found, column)
            for found, column in zip(chunk.categories, encoding.categorical, strict=True)
        ]
        progress(chunk.fraction_read)
        yield encoding.expand(chunk.numbers, codes)


def _refuse_missing(chunk: Chunk, missing: np.ndarray, name: str) -> None:
    if missing.any():
        raise ValueError(
            f"{chunk.locate(missing)}, column {quoted(name)} of {chunk.source.name} is missing, "
            "and the model has nothing to fill it with. Fill it, or train with --missing mean."
        )


def _known_codes(chunk: Chunk, found: Categories, column: Column) -> np.ndarray:
    _refuse_missing(chunk, found.codes < 0, column.name)
    known = column.categories or ()
    code_of = {category: code for code, category in enumerate(known)}
    codes = np.array([code_of.get(text, -1) for text in found.values], int)[found.codes]
    if np.any(codes < 0):
        text = found.values[found.codes[np.argmax(codes < 0)]]
        raise ValueError(
            f"{chunk.locate(codes < 0)}, column {quoted(column.name)} of {chunk.source.name} holds "
            f"{quoted(text)}, a category that the model was not trained on. It knows "
            f"{comma_list(known)}."
        )
    return codes


def _svmlight_features(
    name: str, paths: list[Path], encoding: Encoding, progress: ReadProgress
) -> Iterator[np.ndarray]:
    names = encoding.names
    if encoding.categorical or not all(re.fullmatch(r"x\d{1,9}", column) for column in names):
        raise ValueError(
            f"{name} has features by number, x1, x2, …, but the model has "
            f"{quoted(names[0])} and others. Give it a file with a header."
        )
    rows = batch_rows(len(names))
    return (
        X[begin : begin + rows].toarray()
        for X in svmlight_columns(paths, [int(column[1:]) for column in names], progress)
        for begin in range(0, X.shape[0], rows)
    )
