"""``jax-logreg predict``: the classes and probabilities of a file's rows, in any number."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jax_logreg.fitting.result import Status
from jax_logreg.interfaces.command_options import add_command
from jax_logreg.interfaces.console import Progress
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.files import check_can_write, open_output
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.parquet import ParquetOutput, require_pyarrow
from jax_logreg.interfaces.readers import Features, read_features
from jax_logreg.interfaces.sources import listed
from jax_logreg.interfaces.table_options import add_delimiter, delimiter

SUMMARY = """\
Predict the class of every row of a file, and the probability of every class,
with a model that fit --save wrote. Rows are read and written some at a time:
a file of any size takes the same memory."""

EXAMPLES = """\
FILE must have every column that the model was trained on, under the same
name, in any order; a matrix without names has these columns in their order.
Columns that the model does not know (an identifier, the target) are left out,
and named on the error stream.
OUT has the columns "predicted" and "probability_CLASS" for every class, one
row for each row of FILE, in its order. It is written beside its place and
moved there when it is whole; a file of that name is replaced.

examples:
  jax-logreg predict my.model new.csv --out answers.csv
  jax-logreg predict my.model new.parquet --out answers.parquet
  jax-logreg predict my.model new.csv --out - | head   to the screen, as CSV

exit status: 0 when every row was predicted, 2 for a file that cannot be used.
"""

_ANSWERS = tuple(status.name for status in (Status.CONVERGED, Status.NOT_UNIQUE))


def add_predict(commands: Any) -> None:
    """Tell the command line of the command."""
    predict = add_command(
        commands,
        "predict",
        run_predict,
        summary="predict the rows of a file with a saved model",
        description=SUMMARY,
        examples=EXAMPLES,
    )
    predict.add_argument("model", metavar="MODEL", help="what fit --save wrote")
    predict.add_argument(
        "file", metavar="FILE", help="rows to predict, of any format that fit reads"
    )
    add_delimiter(predict)
    predict.add_argument(
        "--out", required=True, metavar="OUT", help="a .csv or .parquet file, or - for the screen"
    )


def run_predict(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: model, file, delimiter and out.

    Returns:
        The exit status, 0.

    Raises:
        ValueError: in one line, for a file that cannot be used.
        OSError: the same.
    """
    as_parquet = _check_out(options)
    model = Model.load(options.model)
    encoding = model.encoding or Encoding.of_numbers(list(model.feature_names))
    progress = Progress()
    bar = progress.bar(f"predicting {options.file}")
    rows = read_features(options.file, encoding, delimiter=delimiter(options), progress=bar)
    _tell(options, model, rows)
    out = sys.stdout.buffer if options.out == "-" else options.out
    with (
        open_output(out) as stream,
        closing(_output(model, stream, as_parquet)) as output,
        progress.shown(),
    ):
        _predict(model, rows, output.write)
    return 0


def _output(model: Model, stream: BinaryIO, as_parquet: bool) -> "CsvOutput | ParquetOutput":
    headings = _headings(model)
    if not as_parquet:
        return CsvOutput(stream, ["predicted", *headings])
    numbers = dict.fromkeys(headings, np.zeros(len(headings)))
    return ParquetOutput(stream, {"predicted": model.classes, **numbers})


def _check_out(options: argparse.Namespace) -> bool:
    """Whether the output is Parquet; it must be a file that can be written."""
    if options.out == "-":
        return False
    suffix = Path(options.out).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"--out must end in .csv or .parquet, or be -, not {options.out!r}.")
    for given in (options.model, options.file):
        if os.path.exists(options.out) and os.path.samefile(options.out, given):
            raise ValueError(f"--out is {given} itself: name another file.")
    check_can_write(options.out)
    if suffix == ".parquet":
        require_pyarrow(options.out)
    return suffix == ".parquet"


def _tell(options: argparse.Namespace, model: Model, rows: Features) -> None:
    """What a user should know before trusting the answers."""
    if rows.unused:
        print(f"not used, of {options.file}: {listed(rows.unused)}", file=sys.stderr)
    status = model.training.get("status", "CONVERGED")
    if status not in _ANSWERS:
        print(f"{options.model}: its fit ended {status}, which is no answer.", file=sys.stderr)


def _predict(model: Model, rows: Features, write: Callable[[dict[str, np.ndarray]], None]) -> None:
    done = 0
    for X in rows.chunks:
        try:
            columns = _columns(model, X)
        except ValueError as error:
            raise ValueError(f"after row {done}: {error}") from error
        write(columns)
        done += len(X)


def _headings(model: Model) -> list[str]:
    names = [f"probability_{name}" for name in model.class_names]
    if len(set(names)) < len(names):
        raise ValueError("two of the model's classes read the same, so no column can be named.")
    return names


def _columns(model: Model, X: np.ndarray) -> dict[str, np.ndarray]:
    probability = model.probability(X).T
    return {"predicted": model.predict(X), **dict(zip(_headings(model), probability, strict=True))}


class CsvOutput:
    """Writes columns to a stream as CSV in UTF-8, every digit of a number."""

    def __init__(self, stream: BinaryIO, names: list[str]) -> None:
        self._stream = stream
        self._write([names])

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Add rows."""
        first, *rest = columns.values()
        labels = [str(label) for label in first.tolist()]
        self._write(zip(labels, *(x.tolist() for x in rest), strict=True))

    def _write(self, lines: Iterable[Sequence[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._stream.write(text.getvalue().encode())

    def close(self) -> None:
        """Hand over what is left."""
        self._stream.flush()
