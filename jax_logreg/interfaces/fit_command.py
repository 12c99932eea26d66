"""``jax-logreg fit``: train on a table by four solvers and audit their derivatives."""

import argparse
import sys

from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces.console import Progress, job_as_json, print_job, require_rich
from jax_logreg.interfaces.files import check_can_write
from jax_logreg.interfaces.job_model import model_of_job
from jax_logreg.interfaces.main_job import Job, Settings, run_main_job
from jax_logreg.interfaces.plot_style import check_plot_path, save_figure
from jax_logreg.interfaces.plots import plot_inference, plot_training
from jax_logreg.interfaces.sources import plain
from jax_logreg.interfaces.table import Table
from jax_logreg.interfaces.table_options import table_of

SUMMARY = """\
Train by gradient descent, Optax Adam, Optax L-BFGS and Newton, then hold every
derivative that was used against autodiff."""

EXAMPLES = """\
a file is one of
  .csv .tsv .txt          UTF-8 with a header: comma, semicolon, tab or bar
  .parquet                columns of numbers and text
  .npy                    a matrix; --target is a column's index
  .npz                    arrays X and y, perhaps feature_names
  .svmlight .libsvm .svm  "label index:value ..."
Missing are empty cells, NA, N/A, NaN, null and ?, in capitals or not.

examples:
  jax-logreg fit                               breast cancer, two classes
  jax-logreg fit --data iris --plot iris.png   three classes, and a picture
  jax-logreg fit --l2 0                        no penalty: what separation does
  jax-logreg fit my.csv --target outcome       your own file
  jax-logreg fit my.csv --target outcome --categorical auto --missing mean
  jax-logreg fit my.npy --target -1            labels in the last column
  jax-logreg fit --inference                   standard errors, tests, intervals
  jax-logreg fit --save my.model               keep the model, for predict
  jax-logreg fit --json | python -m json.tool  for machines

exit status: 0 when a solver converged and every derivative agrees with
autodiff, 1 when not, 2 for bad input.
"""


def run_fit(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: those of ``jax-logreg fit``.

    Returns:
        The exit status, 0 or 1.

    Raises:
        ValueError: in one line, for bad input.
        OSError: the same.
    """
    if not options.json:
        require_rich()
    plot = None if options.plot is None else check_plot_path(options.plot)
    second = options.inference_plot and check_plot_path(options.inference_plot)
    if options.save is not None:
        check_can_write(options.save)
    progress = Progress()
    with progress.shown():
        table = table_of(options, progress.bar(f"reading {options.file}"))
    _tell_encoding(table)
    settings = Settings(
        l2=options.l2,
        derivatives=options.derivatives,
        dtype=options.dtype,
        standardize=not options.no_standardize,
        fit_intercept=not options.no_intercept,
        tol=options.tol,
        max_steps=options.max_steps,
        seed=options.seed,
        inference=options.inference or options.inference_plot is not None,
    )
    with progress.shown():
        job = run_main_job(table, settings, progress.report())
    if options.json:
        print(job_as_json(job))
    else:
        print_job(job)
    if plot is not None:
        title = f"{table.name}, L2 strength {settings.l2:g}"
        seconds = {t.solver: t.run_seconds for t in job.trainings}
        results = {t.solver: t.result for t in job.trainings}
        save_figure(plot_training(results, title=title, costs={"seconds": seconds}), plot)
        print(f"wrote {plot}", file=sys.stderr)
    if second is not None and isinstance(job.inference, Inference):
        save_figure(plot_inference(job.inference), second)
        print(f"wrote {second}", file=sys.stderr)
    if options.save is not None:
        _save(job, options.save)
    return 0 if job.sound else 1


def _save(job: Job, path: str) -> None:
    if not job.sound:
        print("no model saved: no solver converged, or a derivative is wrong", file=sys.stderr)
        return
    model_of_job(job).save(path)
    print(f"wrote {path}", file=sys.stderr)


def _tell_encoding(table: Table) -> None:
    """What became of rows and columns, on the error stream."""
    if table.num_dropped:
        print(f"left out {table.num_dropped} rows with missing values", file=sys.stderr)
    for column in table.encoding.categorical:
        categories = column.categories or ()
        print(
            f"{plain(column.name)}: {len(categories)} categories, reference {plain(categories[0])}",
            file=sys.stderr,
        )
