"""From the columns of a file to a table for training, or to features for a model."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from jax_logreg.interfaces.collect import Plan, Rows
from jax_logreg.interfaces.encoding import Column, Encoding
from jax_logreg.interfaces.sources import (
    Chunk,
    ReadProgress,
    Source,
    check_columns,
    check_present,
    check_size,
    listed,
    shown,
)
from jax_logreg.interfaces.table import Table, class_order, ordered

MISSING_POLICIES = ("refuse", "drop", "mean")


def make_plan(
    source: Source, target: str, categorical: Sequence[str] | str, drop: Sequence[str]
) -> Plan:
    """What the columns of a file are for.

    Args:
        source: the file.
        target: the column of classes.
        categorical: names of columns, or "auto" for all that are not numbers.
        drop: names of columns to leave out.

    Raises:
        ValueError: for a name that is no column, or has two uses.
    """
    check_present(source, [target], "target")
    check_present(source, drop, "dropped column")
    named = Counter([target, *set(drop), *([] if categorical == "auto" else set(categorical))])
    for name in named:
        if named[name] > 1:
            raise ValueError(
                f"column {shown(name)} of {source.name} is asked for in two ways: as the "
                "target, as categorical, or to be dropped. Choose one."
            )
    left_out = {target, *drop}
    features = [name for name in source.columns if name not in left_out]
    if not features:
        raise ValueError(f"{source.name} has no column left besides the target {shown(target)}.")
    if categorical == "auto":
        return Plan(target, features, source.text_columns(features))
    check_present(source, categorical, "categorical column")
    chosen = set(categorical)
    return Plan(target, features, [name for name in features if name in chosen])


def assemble(
    source: Source, plan: Plan, missing: str, max_bytes: int, progress: ReadProgress
) -> Table:
    """A table for training.

    Args:
        source: the file.
        plan: what its columns are for.
        missing: what is done with missing values, one of MISSING_POLICIES.
        max_bytes: bound on X.
        progress: called after every chunk.

    Raises:
        ValueError: naming the place in the file.
        OSError: if it cannot be read.
    """
    num_columns = len(plan.features)
    check_size(source.name, 8 * num_columns * (source.num_rows or 0), max_bytes)
    rows = Rows(source, plan, missing)
    for chunk in source.chunks(plan.numeric, [plan.target, *plan.categorical]):
        rows.add(chunk)
        progress(chunk.share)
        check_size(source.name, 8 * num_columns * rows.num_rows, max_bytes)
    rows.check()
    orders = [
        class_order(rows.target, rows.coders[0].texts, rows.num_rows),
        *(ordered(coder.texts) for coder in rows.coders[1:]),
    ]
    encoding = _encoding(source, plan, rows, orders[1:], missing)
    names = encoding.feature_names
    check_columns(f"the encoded table of {source.name}", names)
    check_size(source.name, 8 * len(names) * rows.num_rows, max_bytes)
    X, y = _arrays(rows, encoding, orders)
    return Table(source.name, X, y, names, orders[0], encoding, rows.num_dropped)


def _encoding(
    source: Source, plan: Plan, rows: Rows, categories: list[list[str]], missing: str
) -> Encoding:
    means: list[float | None] = [None] * len(plan.numeric)
    if missing == "mean":
        means = [*_means(source, plan.numeric, rows)]
    fill = dict(zip(plan.numeric, means, strict=True))
    of = dict(zip(plan.categorical, categories, strict=True))
    columns = [
        Column(name, tuple(of[name])) if name in of else Column(name, fill=fill[name])
        for name in plan.features
    ]
    return Encoding(tuple(columns))


def _means(source: Source, names: list[str], rows: Rows) -> list[float]:
    """Means of what is there, by column; powers of two keep huge numbers from overflowing."""
    there, size, total = np.zeros((3, len(names)))
    numbers = rows.numbers.array
    for block in rows.blocks():
        there += np.sum(~np.isnan(numbers[block]), axis=0)
        size = np.fmax(size, np.fmax.reduce(np.abs(numbers[block]), axis=0))
    if not np.all(there):
        empty = [name for name, count in zip(names, there, strict=True) if count == 0]
        raise ValueError(
            f"{source.name} holds no value at all in the columns {listed(empty)}. "
            f"Leave them out: --drop {shown(empty[0])}."
        )
    unit = np.ldexp(1.0, np.frexp(size)[1] - 1)
    for block in rows.blocks():
        total += np.nansum(numbers[block] / unit, axis=0)
    return (total / there * unit).tolist()


def _arrays(
    rows: Rows, encoding: Encoding, orders: list[list[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """X and y, the codes by order of appearance made codes by order."""
    for index, (coder, order) in enumerate(zip(rows.coders, orders, strict=True)):
        rank = {text: place for place, text in enumerate(order)}
        codes = rows.codes.array[:, index]
        codes[:] = np.array([rank[text] for text in coder.texts], codes.dtype)[codes]
    numbers, codes = rows.numbers.array, rows.codes.array
    y = codes[:, 0].astype(int)
    if not encoding.categorical:  # the numbers are X, and there is no second array
        for index, column in enumerate(encoding.columns):
            if column.fill is not None:
                numbers[np.isnan(numbers[:, index]), index] = column.fill
        return numbers, y
    X = np.empty((rows.num_rows, len(encoding.feature_names)))
    for block in rows.blocks():
        X[block] = encoding.expand(numbers[block], codes[block, 1:])
    return X, y


def encode_features(
    source: Source, encoding: Encoding, progress: ReadProgress
) -> Iterator[np.ndarray]:
    """The features of a file's rows, chunk by chunk; columns that are no features are ignored.

    Args:
        source: the file; its columns are found by name, in any order.
        encoding: of the training table.
        progress: called before every chunk.

    Raises:
        ValueError: for a missing column, now; for a missing value or an unknown category,
            naming its place, when it is read.
    """
    columns = set(source.columns)
    lacking = [name for name in encoding.names if name not in columns]
    if lacking:
        raise ValueError(
            f"{source.name} lacks {len(lacking)} of the model's {len(encoding.names)} columns: "
            f"{listed(lacking)}. Its columns: {listed(source.columns)}."
        )
    return _encoded(source, encoding, progress)


def _encoded(source: Source, encoding: Encoding, progress: ReadProgress) -> Iterator[np.ndarray]:
    numeric, categorical = encoding.numeric, encoding.categorical
    names = [column.name for column in numeric], [column.name for column in categorical]
    for chunk in source.chunks(*names):
        for index, column in enumerate(numeric):
            if column.fill is None:
                _refuse_gap(source, chunk, np.isnan(chunk.numbers[:, index]), column)
        codes = [
            _known_codes(source, chunk, index, column) for index, column in enumerate(categorical)
        ]
        table = np.array(codes, int).reshape(len(categorical), len(chunk.places)).T
        progress(chunk.share)
        yield encoding.expand(chunk.numbers, table)


def _refuse_gap(source: Source, chunk: Chunk, gaps: np.ndarray, column: Column) -> None:
    if gaps.any():
        place = chunk.places[int(np.argmax(gaps))]
        raise ValueError(
            f"{source.unit} {place}, column {shown(column.name)} of {source.name} is missing, and "
            "the model has nothing to fill it with. Fill it, or train with --missing mean."
        )


def _known_codes(source: Source, chunk: Chunk, index: int, column: Column) -> np.ndarray:
    texts, known = chunk.texts[index], column.categories or ()
    _refuse_gap(source, chunk, texts.codes < 0, Column(column.name))
    rank = {category: code for code, category in enumerate(known)}
    codes = np.array([rank.get(text, -1) for text in texts.values], int)[texts.codes]
    if np.any(codes < 0):
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"{source.unit} {chunk.places[row]}, column {shown(column.name)} of {source.name} "
            f"holds {shown(texts.values[texts.codes[row]])}, a category that the model was not "
            f"trained on. It knows {listed(known)}."
        )
    return codes
