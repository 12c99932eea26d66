"""The command line: ``jax-logreg fit``, ``check``, ``predict``, ``info`` and ``export``."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces import check_command
from jax_logreg.interfaces.atomic_file import check_can_write
from jax_logreg.interfaces.console import Progress, job_as_json, print_job, require_rich
from jax_logreg.interfaces.info_command import add_export, add_info
from jax_logreg.interfaces.job_model import model_of_job
from jax_logreg.interfaces.main_job import Job, Settings, run_main_job
from jax_logreg.interfaces.model_files import save
from jax_logreg.interfaces.plot_style import check_plot_path, save_figure
from jax_logreg.interfaces.plots import plot_inference, plot_training
from jax_logreg.interfaces.predict_command import add_predict
from jax_logreg.interfaces.readers import EMBEDDED, Table, load_embedded, read_csv
from jax_logreg.interfaces.version import __version__

_EXAMPLES = """\
examples:
  jax-logreg fit                               breast cancer, two classes
  jax-logreg fit --data iris --plot iris.png   three classes, and a picture
  jax-logreg fit --l2 0                        no penalty: what separation does
  jax-logreg fit my.csv --target outcome       your own file
  jax-logreg fit --inference                   standard errors, tests, intervals
  jax-logreg fit --save my.model               keep the model, for predict
  jax-logreg fit --json | python -m json.tool  for machines

exit status: 0 when a solver converged and every derivative agrees with
autodiff, 1 when not, 2 for bad input.
"""


def run_process() -> int:
    """The program as a process of its own: what it compiles is kept for the next one."""
    keep_programs()
    return main()


def keep_programs() -> None:
    """Have JAX keep compiled programs on disk, if the user has not set a place already.

    In ``$XDG_CACHE_HOME/jax_logreg``, by default ``~/.cache/jax_logreg``. JAX's own
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off, ``JAX_COMPILATION_CACHE_DIR``
    moves it.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(Path(home) / "jax_logreg"))
    # Two dozen programs of a tenth of a second each: JAX by itself keeps those of a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; those of the process if absent.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"jax-logreg: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jax-logreg: interrupted", file=sys.stderr)
        return 130


def _fit(options: argparse.Namespace) -> int:
    if not options.json:
        require_rich()
    plot = None if options.plot is None else check_plot_path(options.plot)
    second = options.inference_plot and check_plot_path(options.inference_plot)
    if options.save is not None:
        check_can_write(options.save)
    table = _table(options)
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
    progress = Progress()
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
    save(model_of_job(job), path)
    print(f"wrote {path}", file=sys.stderr)


def _table(options: argparse.Namespace) -> Table:
    if options.csv is None:
        if options.target is not None:
            raise ValueError("--target goes with a CSV file: jax-logreg fit FILE --target NAME.")
        return load_embedded(options.data or "breast-cancer")
    if options.data is not None:
        raise ValueError(f"give either a CSV file or --data, not both ({options.csv!r}).")
    if options.target is None:
        raise ValueError("a CSV file needs --target NAME, the column that holds the classes.")
    return read_csv(options.csv, options.target)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jax-logreg",
        description="Sigmoid and softmax regression, every derivative proved against autodiff.",
    )
    parser.add_argument("--version", action="version", version=f"jax-logreg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_check(commands)
    add_predict(commands)
    add_info(commands)
    add_export(commands)
    return parser


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        help="train on a table by four solvers and audit their derivatives",
        description="Train by gradient descent, Optax Adam, Optax L-BFGS and Newton,\n"
        "then hold every derivative that was used against autodiff.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.set_defaults(run=_fit)
    fit.add_argument("csv", nargs="?", metavar="FILE.csv", help="a table with a header")
    fit.add_argument("--target", metavar="NAME", help="the file's column of classes")
    fit.add_argument("--data", choices=list(EMBEDDED), help="a data set that ships inside")
    fit.add_argument(
        "--l2",
        type=_nonnegative,
        default=Settings.l2,
        metavar="S",
        help="strength of the L2 penalty on the mean loss (default %(default)s)",
    )
    fit.add_argument(
        "--derivatives",
        choices=["analytic", "autodiff"],
        default="analytic",
        help="which kind trains (default analytic, that is by hand)",
    )
    fit.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    fit.add_argument(
        "--tol",
        type=_positive,
        metavar="T",
        help="bound on the largest gradient entry (default 1e-8, 1e-5 in float32)",
    )
    fit.add_argument(
        "--max-steps", type=_count, metavar="N", help="for every solver (default: its own)"
    )
    fit.add_argument("--no-intercept", action="store_true", help="fit no intercept")
    fit.add_argument("--no-standardize", action="store_true", help="take columns as they are")
    fit.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of the audit's random point"
    )
    fit.add_argument("--plot", metavar="FILE.png", help="draw the training (png, pdf, svg)")
    fit.add_argument(
        "--inference", action="store_true", help="add standard errors, tests and intervals"
    )
    fit.add_argument(
        "--inference-plot",
        metavar="FILE.png",
        help="draw intervals, ROC, calibration and influence as well",
    )
    fit.add_argument("--save", metavar="MODEL", help="keep the best solver's model in a file")
    fit.add_argument("--json", action="store_true", help="print one JSON object")


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="audit derivatives written by hand: this project's, or those of a file",
        description=check_command.SUMMARY,
        epilog=check_command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.set_defaults(run=check_command.run_check)
    check.add_argument("file", nargs="?", metavar="FILE.py", help="a file of formulas; it is run")
    check.add_argument("--seed", type=_count, default=0, metavar="N", help="of the points")
    check.add_argument(
        "--plot", metavar="FILE.png", help="draw differences and errors (png, pdf, svg)"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object")


def _number(text: str, least: float, allow_least: bool, kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and (value > least or (allow_least and value == least)):
        return value
    raise argparse.ArgumentTypeError(f"must be a {kind}, but it is {text!r}")


def _nonnegative(text: str) -> float:
    return _number(text, 0, True, "number of at least 0")


def _positive(text: str) -> float:
    return _number(text, 0, False, "number above 0")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, but it is {text!r}")
    return int(text)
