"""What the commands of the command line do. ``cli.py`` has their options and help.

Each ``run_…`` takes the parsed options and returns the exit status. Bad input is a ValueError
or an OSError with a message of one line.
"""

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

from jax_logreg.audit.report import DerivativeReport
from jax_logreg.fitting.result import Status
from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces.array_formats import ParquetOutput
from jax_logreg.interfaces.comparison import (
    ComparisonSettings,
    SolverComparison,
    compare_solvers,
)
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.files import as_json, check_can_write, comma_list, open_output, printable
from jax_logreg.interfaces.formula_audits import check_own_formulas, own_report, run_formula_file
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.plot_style import check_plot_path, save_figure
from jax_logreg.interfaces.plots import (
    plot_inference,
    plot_reports,
    plot_training,
    require_scikit_learn,
)
from jax_logreg.interfaces.report import (
    StatusLine,
    comparison_as_json,
    print_comparison,
    print_model,
    print_own_check,
    require_rich,
    wrapped,
)
from jax_logreg.interfaces.table_files import table_files
from jax_logreg.interfaces.table_source import ReadProgress, require_pyarrow
from jax_logreg.interfaces.tables import (
    Features,
    Table,
    densified,
    load_embedded,
    read_features,
    read_table,
)
from jax_logreg.programs.jax_settings import in_float64, own_settings
from jax_logreg.programs.store import programs_on_disk as programs_on_disk

# Options that say how to read a file.
_FILE_OPTIONS = ("target", "missing", "na", "categorical", "drop", "delimiter", "decimal")
_ANSWERS = (Status.CONVERGED.name, Status.NOT_UNIQUE.name)


@own_settings()
def run_fit(options: argparse.Namespace) -> int:
    """Compare the solvers on a table: 0 if one converged and every derivative agrees, else 1."""
    if not options.json:
        require_rich()
    training_plot = None if options.plot is None else check_plot_path(options.plot)
    inference_plot = options.inference_plot and check_plot_path(options.inference_plot)
    if inference_plot:
        require_scikit_learn()
    if options.save is not None:
        check_can_write(options.save)
    line = StatusLine()
    with line.shown():
        table = _read(options, line.for_file(f"reading {options.file}"))
    _report_encoding(table)
    settings = ComparisonSettings(
        l2=options.l2,
        derivatives=options.derivatives,
        dtype=options.dtype,
        standardize=not options.no_standardize,
        fit_intercept=not options.no_intercept,
        tol=options.tol,
        max_steps=options.max_steps,
        seed=options.seed,
        inference=options.inference or bool(options.inference_l2 or options.inference_plot),
        inference_l2=options.inference_l2,
    )
    with line.shown():
        comparison = compare_solvers(table, settings, line.for_fits())
    if training_plot is not None:
        _draw(_training_figure(comparison), training_plot)
    if inference_plot and isinstance(comparison.inference, Inference):
        _draw(plot_inference(comparison.inference), inference_plot)
    elif inference_plot:
        print("no inference to draw: there are no standard errors", file=sys.stderr)
    if options.save is not None:
        _save(comparison, options.save)
    # Last, because the reader of a pipe may end the program here.
    if options.json:
        print(comparison_as_json(comparison))
    else:
        print_comparison(comparison)
    return 0 if comparison.sound else 1


def _read(options: argparse.Namespace, progress: ReadProgress) -> Table:
    """The table that the options name, dense.

    Raises:
        ValueError: if they contradict one another, or the file cannot be used.
        OSError: if it cannot be read.
    """
    if options.file is None:
        given = [
            name
            for name in _FILE_OPTIONS
            if getattr(options, name) not in (None, [], "refuse", ".")
        ]
        if given:
            raise ValueError(
                f"--{given[0]} goes with a file: jax-logreg fit FILE --{given[0]} …, not with "
                "a data set that ships inside."
            )
        return load_embedded(options.data or "breast-cancer")
    if options.data is not None:
        raise ValueError(f"give either a file or --data, not both ({options.file!r}).")
    max_bytes = int(options.max_gib * 2**30)
    table = read_table(
        options.file,
        options.target,
        missing=options.missing,
        na=options.na,
        categorical=options.categorical,
        max_categories=options.max_categories,
        drop=options.drop,
        delimiter=options.delimiter,
        decimal=options.decimal,
        max_bytes=max_bytes,
        progress=progress,
    )
    return densified(table, max_bytes)


def _report_encoding(table: Table) -> None:
    """Say on the error stream what became of rows and columns."""
    if table.num_dropped:
        print(f"left out {table.num_dropped} rows with missing values", file=sys.stderr)
    for column in table.encoding.categorical:
        categories = column.categories or ()
        print(
            f"{printable(column.name)}: {len(categories)} categories, "
            f"reference {printable(categories[0])}",
            file=sys.stderr,
        )


def _training_figure(comparison: SolverComparison) -> Any:
    results = {run.solver: run.result for run in comparison.runs}
    seconds = {run.solver: run.run_seconds for run in comparison.runs}
    title = f"{comparison.table.name}, L2 strength {comparison.settings.l2:g}"
    return plot_training(results, title=title, costs={"seconds": seconds})


def _draw(figure: Any, path: Path) -> None:
    save_figure(figure, path)
    print(f"wrote {path}", file=sys.stderr)


def _save(comparison: SolverComparison, path: str) -> None:
    if not comparison.sound:
        print("no model saved: no solver converged, or a derivative is wrong", file=sys.stderr)
        return
    comparison.to_model().save(path)
    print(f"wrote {path}", file=sys.stderr)


@own_settings()
def run_check(options: argparse.Namespace) -> int:
    """Audit a file of formulas, or this project's own: 0 if all is as expected, else 1."""
    plot = None if options.plot is None else check_plot_path(options.plot)
    if options.file is None:
        return _check_own_formulas(options, plot)
    return _check_formula_file(options, plot)


def _check_own_formulas(options: argparse.Namespace, plot: Path | None) -> int:
    if not options.json:
        require_rich()
    line = StatusLine()
    with line.shown():
        checks = check_own_formulas(options.seed, line.for_fits())
    sound = all(check.sound for check in checks)
    if options.json:
        found = [check.as_dict() for check in checks]
        print(as_json({"seed": options.seed, "tables": found, "ok": sound}))
    else:
        print_own_check(checks)
    if plot is not None:
        _draw(plot_reports({"this project, breast cancer": own_report(options.seed)}), plot)
    return 0 if sound else 1


def _check_formula_file(options: argparse.Namespace, plot: Path | None) -> int:
    line = StatusLine()
    show = line.for_fits()
    reports, places = {}, {}
    with in_float64(), run_formula_file(Path(options.file)) as groups, line.shown():
        for group in groups:
            show(f"audit of {group.name}")
            reports[group.name], places[group.name] = group.audit(options.seed), group.where
    ok = all(report.ok for report in reports.values())
    if options.json:
        found = {name: report.as_dict() for name, report in reports.items()}
        file = {"file": options.file, "seed": options.seed, "groups": found, "ok": ok}
        print(as_json(file))
    else:
        _print_reports(reports, places)
    if plot is not None:
        _draw(plot_reports(reports), plot)
    return 0 if ok else 1


def _print_reports(reports: dict[str, DerivativeReport], places: dict[str, str]) -> None:
    for name, report in reports.items():
        print(wrapped(f"{name} ({places[name]})\n{report}\n"))
    wrong = [name for name, report in reports.items() if not report.ok]
    if len(reports) > 1:
        verdict = f"wrong: {', '.join(wrong)}" if wrong else "all right"
        print(f"{len(reports)} groups, {verdict}")


@own_settings()
def run_predict(options: argparse.Namespace) -> int:
    """Predict every row of a file, in chunks: 0."""
    as_parquet = _is_parquet(options)
    model = Model.load(options.model)
    encoding = model.encoding or Encoding.of_numbers(list(model.feature_names))
    line = StatusLine()
    progress = line.for_file(f"predicting {options.file}")
    rows = read_features(
        options.file,
        encoding,
        delimiter=options.delimiter,
        decimal=options.decimal,
        progress=progress,
    )
    _report_doubts(options, model, rows)
    with (
        open_output(_stream_or_path(options.out)) as stream,
        closing(_output(model, stream, as_parquet)) as output,
        line.shown(),
    ):
        _predict(model, rows, output.write)
    return 0


def _stream_or_path(out: str) -> BinaryIO | str:
    return sys.stdout.buffer if out == "-" else out


def _is_parquet(options: argparse.Namespace) -> bool:
    """Whether the output is Parquet; it must be a file that can be written."""
    if options.out == "-":
        return False
    suffix = Path(options.out).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"--out must end in .csv or .parquet, or be -, not {options.out!r}.")
    for given in (options.model, *table_files(options.file)):
        if os.path.exists(options.out) and os.path.samefile(options.out, given):
            raise ValueError(f"--out is {given} itself: name another file.")
    check_can_write(options.out)
    if suffix == ".parquet":
        require_pyarrow(options.out)
    return suffix == ".parquet"


def _report_doubts(options: argparse.Namespace, model: Model, rows: Features) -> None:
    """Say on the error stream what a user should know before trusting the predictions."""
    if rows.unused:
        print(f"not used, of {options.file}: {comma_list(rows.unused)}", file=sys.stderr)
    status = model.training.get("status", Status.CONVERGED.name)
    if status not in _ANSWERS:
        print(f"{options.model}: its fit ended {status}, which is no answer.", file=sys.stderr)


def _output(model: Model, stream: BinaryIO, as_parquet: bool) -> "CsvOutput | ParquetOutput":
    headings = _headings(model)
    if not as_parquet:
        return CsvOutput(stream, ["predicted", *headings])
    numbers = dict.fromkeys(headings, np.zeros(len(headings)))
    return ParquetOutput(stream, {"predicted": model.classes, **numbers})


def _headings(model: Model) -> list[str]:
    names = [f"probability_{name}" for name in model.class_names]
    if len(set(names)) < len(names):
        raise ValueError("two of the model's classes read the same, so no column can be named.")
    return names


def _predict(model: Model, rows: Features, write: Callable[[dict[str, np.ndarray]], None]) -> None:
    headings, done = _headings(model), 0
    for X in rows.chunks:
        try:
            probability = model.probability(X).T
            predicted = model.predict(X)
        except ValueError as error:
            raise ValueError(f"after row {done}: {error}") from error
        write({"predicted": predicted, **dict(zip(headings, probability, strict=True))})
        done += len(X)


class CsvOutput:
    """Writes columns to a stream as CSV in UTF-8, every digit of a number."""

    def __init__(self, stream: BinaryIO, names: list[str]) -> None:
        self._stream = stream
        self._write([names])

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Append rows."""
        self._write(zip(*(column.tolist() for column in columns.values()), strict=True))

    def _write(self, lines: Iterable[Sequence[Any]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._stream.write(text.getvalue().encode())

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()


@own_settings()
def run_info(options: argparse.Namespace) -> int:
    """Show what is in a model file: 0."""
    if not options.json:
        require_rich()
    model = Model.load(options.model)
    if options.json:
        print(model.to_json())
    else:
        print_model(options.model, model)
    return 0


@own_settings()
def run_export(options: argparse.Namespace) -> int:
    """Write a model in another format: 0."""
    if options.out != "-":
        check_can_write(options.out)
    model, out = Model.load(options.model), _stream_or_path(options.out)
    if options.to == "onnx":
        model.export_onnx(out)
    elif options.to == "stablehlo":
        model.export_stablehlo(out)
    else:
        with open_output(out) as stream:
            stream.write(f"{model.to_json()}\n".encode("ascii"))
    return 0
