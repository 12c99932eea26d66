"""The command line: ``jax-logreg fit``, ``check``, ``predict``, ``info`` and ``export``.

Options and help are here; what a command does is in ``commands.py``, which loads JAX and is
imported when a command runs, so that ``--help`` and a mistyped option answer at once.
"""

import argparse
import importlib
import io
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jax_logreg.interfaces.table_options import (
    EMBEDDED,
    MAX_BYTES,
    MAX_CATEGORIES,
    MISSING_POLICIES,
)
from jax_logreg.interfaces.version import __version__

_SIGNAL_DELAY = 0.01  # seconds

_FIT = """\
Train by gradient descent, Optax Adam, Optax L-BFGS and Newton, then compare
every derivative that was used with autodiff."""

_FIT_EXAMPLES = """\
a file is one of
  .csv .tsv .txt          UTF-8 with a header: comma, semicolon, tab or bar;
                          also .csv.gz, .csv.bz2, .csv.zst
  .parquet                columns of numbers and text
  .arrow .feather .ipc    the same, as Arrow writes it
  .npy                    a matrix; --target is a column's index
  .npz                    arrays X and y, perhaps feature_names
  .svmlight .libsvm .svm  "label index:value ..."; also .svm.gz and so on
or a folder of them, or a quoted pattern: 'data/2024-*.csv'
Missing are empty cells, NA, N/A, NaN, null and ?, in capitals or not; --na says
otherwise, such as --na -99, or --na '' where NA is a value.

examples:
  jax-logreg fit                               breast cancer, two classes
  jax-logreg fit --data iris --plot iris.png   three classes, and a plot
  jax-logreg fit --l2 0                        no penalty: effect of separation
  jax-logreg fit my.csv --target outcome       your own file
  jax-logreg fit my.csv --target outcome --categorical auto --missing mean
  jax-logreg fit my.npy --target -1            labels in the last column
  jax-logreg fit my.csv --target outcome --inference     standard errors, tests
  jax-logreg fit --save my.model               keep the model, for predict
  jax-logreg fit --json | python -m json.tool  for machines

exit status: 0 when a solver converged and every derivative agrees with
autodiff, 1 otherwise, 2 for bad input.
"""

_CHECK = """\
Compare derivatives written by hand with autodiff, and say what is wrong with
them. Without a file: every formula of the two texts that this project follows,
and every derivative of this project in both precisions, on its two data sets.
A misprint that comes out wrong as expected is no failure."""

_CHECK_EXAMPLES = """\
a file of formulas defines
  value(theta, *args)     a number (or an array, with a jacobian)
  at                      a point theta: an array, or a dict or list of them
and any of
  gradient(theta, *args)  hessian(theta, *args)  jacobian(theta, *args)
  hvp(theta, v, *args)    the Hessian times v
and optionally
  args = (X, y)           further arguments of the functions
  names = ["age", ...]    names of the entries of theta
  numpy = True            call the derivatives with NumPy arrays, not JAX's
A suffix makes another group: value_softmax, gradient_softmax, at_softmax, ...
Arrays that the file makes are float64 unless it says otherwise.
THE FILE IS RUN: name only files that you would run with python.

examples:
  jax-logreg check                               this project's own formulas
  jax-logreg check my_formulas.py                your formulas
  jax-logreg check my_formulas.py --plot my.png  with a plot of the errors
  jax-logreg check my_formulas.py --json         for machines

exit status: 0 when all is right, 1 when a derivative is wrong or a verdict is
not the expected one, 2 for a file that cannot be used.
"""

_PREDICT = """\
Predict the class of every row of a file, and the probability of every class,
with a model that fit --save wrote. Rows are read and written in chunks: a file
of any size takes the same memory."""

_PREDICT_EXAMPLES = """\
FILE must have every column that the model was trained on, under the same
name, in any order; a matrix without names has these columns in their order.
Columns that the model does not use (an identifier, the target) are left out,
and named on the error stream.
OUT has the columns "predicted" and "probability_CLASS" for every class, one
row for each row of FILE, in its order. It is written to a temporary file and
moved into place when it is complete; a file of that name is replaced.

examples:
  jax-logreg predict my.model new.csv --out answers.csv
  jax-logreg predict my.model new.parquet --out answers.parquet
  jax-logreg predict my.model new.csv --out - | head   to the screen, as CSV

exit status: 0 when every row was predicted, 2 for a file that cannot be used.
"""

_INFO_EXAMPLES = """\
examples:
  jax-logreg info my.model          classes, how the fit ended, coefficients
  jax-logreg info my.model --json   all of it, every digit, for machines

exit status: 0, or 2 for a file that is damaged or not a model.
"""

_EXPORT_EXAMPLES = """\
StableHLO and ONNX take the features, of any number of rows, and give the
probability of every class, in float64; JSON is the model file itself.

examples:
  jax-logreg export my.model --to onnx --out my.onnx
  jax-logreg export my.model --to stablehlo --out my.stablehlo
  jax-logreg export my.model --to json --out -       to the screen

exit status: 0, or 2 for a file that cannot be used.
"""

_MODEL, _JSON = "what fit --save wrote", "print one JSON object"


def run_process() -> int:
    """Run the command line as a process of its own, with signals and a compilation cache.

    Returns:
        The exit status.
    """
    enable_compilation_cache()
    if isinstance(sys.stdout, io.TextIOWrapper):  # ASCII where there is no locale, as in cron
        sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _exit_on_signal)
    sys.unraisablehook = _repeat_interrupt
    return main()


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as after an error, so that temporary files are removed."""
    raise SystemExit(128 + number)


def _repeat_interrupt(lost: Any) -> None:
    """JAX has Python run code in the garbage collector, where a Ctrl-C is lost."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(_SIGNAL_DELAY, signal.raise_signal, [signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)


def enable_compilation_cache() -> None:
    """Have JAX keep compiled programs on disk, unless the user has named a folder already.

    The folder is ``$XDG_CACHE_HOME/jax_logreg``, by default ``~/.cache/jax_logreg``. JAX's own
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns the cache off, ``JAX_COMPILATION_CACHE_DIR``
    moves it. Environment variables, because JAX is not loaded yet.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(home) / "jax_logreg")
    # Two dozen programs of a tenth of a second each: JAX by itself keeps those of a second.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; those of the process if absent.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        commands = importlib.import_module("jax_logreg.interfaces.commands")
        with commands.programs_on_disk():
            status: int = getattr(commands, f"run_{options.command}")(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"jax-logreg: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jax-logreg: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jax-logreg",
        description="Sigmoid and softmax regression, every derivative proved against autodiff.",
        epilog="jax-logreg COMMAND --help has examples. Without a file, fit and check use "
        "the data sets that ship inside.",
    )
    parser.add_argument("--version", action="version", version=f"jax-logreg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (summary, description, examples, add_options) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(command)
    return parser


def _add_fit_options(fit: argparse.ArgumentParser) -> None:
    _add_table_options(fit)
    fit.add_argument(
        "--l2", type=_nonnegative, default=0.01, metavar="S",
        help="strength of the L2 penalty on the mean loss (default %(default)s)",
    )  # fmt: skip
    fit.add_argument(
        "--derivatives", choices=["analytic", "autodiff"], default="analytic",
        help="which kind trains (default analytic, that is by hand)",
    )  # fmt: skip
    fit.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    fit.add_argument(
        "--tol", type=_positive, metavar="T",
        help="bound on the largest gradient entry (default 1e-8, 1e-5 in float32)",
    )  # fmt: skip
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
        "--inference", action="store_true",
        help="add standard errors, tests and intervals, per unit of the columns and of a fit "
        "without a penalty",
    )  # fmt: skip
    fit.add_argument(
        "--inference-l2", type=_nonnegative, default=0.0, metavar="S",
        help="strength of the penalty of that fit (default 0)",
    )  # fmt: skip
    fit.add_argument(
        "--inference-plot", metavar="FILE.png",
        help="draw intervals, ROC, calibration and influence as well",
    )  # fmt: skip
    fit.add_argument("--save", metavar="MODEL", help="keep the best solver's model in a file")
    fit.add_argument("--json", action="store_true", help=_JSON)


def _add_table_options(fit: argparse.ArgumentParser) -> None:
    fit.add_argument("file", nargs="?", metavar="FILE", help="a table: see the formats below")
    fit.add_argument("--target", metavar="NAME", help="the file's column of classes")
    fit.add_argument("--data", choices=list(EMBEDDED), help="a data set that ships inside")
    fit.add_argument(
        "--missing", choices=MISSING_POLICIES, default="refuse",
        help="rows with missing values: refuse the file (default), drop them, or fill "
        "numbers with the mean of their column",
    )  # fmt: skip
    fit.add_argument(
        "--categorical", action="append", default=[], metavar="NAME",
        help="one-hot encode this column, its first category being the reference; may be "
        'repeated; "auto" takes every column that is not numbers',
    )  # fmt: skip
    fit.add_argument(
        "--max-categories", type=_count, default=MAX_CATEGORIES, metavar="N",
        help="most categories of a column that auto takes (default %(default)s)",
    )  # fmt: skip
    fit.add_argument(
        "--na", action="append", metavar="TEXT",
        help="what stands for a missing value, besides an empty cell; may be repeated; '' "
        "for empty cells alone (default: NA, N/A, NaN, null and ?)",
    )  # fmt: skip
    fit.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="NAME",
        help="ignore a column; may be repeated; '' is the one without a name",
    )
    _add_delimiter(fit)
    fit.add_argument(
        "--max-gib", type=_positive, default=MAX_BYTES / 2**30, metavar="G",
        help="largest table in memory (default %(default)g GiB)",
    )  # fmt: skip


def _add_check_options(check: argparse.ArgumentParser) -> None:
    check.add_argument("file", nargs="?", metavar="FILE.py", help="a file of formulas; it is run")
    check.add_argument("--seed", type=_count, default=0, metavar="N", help="of the points")
    check.add_argument(
        "--plot", metavar="FILE.png", help="draw differences and errors (png, pdf, svg)"
    )
    check.add_argument("--json", action="store_true", help=_JSON)


def _add_predict_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("model", metavar="MODEL", help=_MODEL)
    predict.add_argument(
        "file", metavar="FILE", help="rows to predict, of any format that fit reads"
    )
    _add_delimiter(predict)
    predict.add_argument(
        "--out", required=True, metavar="OUT", help="a .csv or .parquet file, or - for the screen"
    )


def _add_info_options(info: argparse.ArgumentParser) -> None:
    info.add_argument("model", metavar="MODEL", help=_MODEL)
    info.add_argument("--json", action="store_true", help=_JSON)


def _add_export_options(export: argparse.ArgumentParser) -> None:
    export.add_argument("model", metavar="MODEL", help=_MODEL)
    export.add_argument(
        "--to", required=True, choices=["stablehlo", "onnx", "json"], help="the format"
    )
    export.add_argument("--out", required=True, metavar="OUT", help="a file, or - for the screen")


def _add_delimiter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--delimiter", metavar="C", type=lambda text: "\t" if text == "tab" else text,
        help='of a CSV file (default: by its header); "tab" is one',
    )  # fmt: skip
    command.add_argument(
        "--decimal", choices=[".", ","], default=".", help="mark of decimals in a CSV file"
    )


def _number(text: str, is_legal: Callable[[float], bool], kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and is_legal(value):
        return value
    raise argparse.ArgumentTypeError(f"must be a {kind}, but it is {text!r}")


def _nonnegative(text: str) -> float:
    return _number(text, lambda value: value >= 0, "number of at least 0")


def _positive(text: str) -> float:
    return _number(text, lambda value: value > 0, "number above 0")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, but it is {text!r}")
    return int(text)


# Summary, description, examples, and the function that adds the options.
_COMMANDS = {
    "fit": ("train on a table by four solvers and audit their derivatives",
            _FIT, _FIT_EXAMPLES, _add_fit_options),
    "check": ("audit derivatives written by hand: this project's, or those of a file",
              _CHECK, _CHECK_EXAMPLES, _add_check_options),
    "predict": ("predict the rows of a file with a saved model",
                _PREDICT, _PREDICT_EXAMPLES, _add_predict_options),
    "info": ("show what is in a saved model",
             "Show what is in a model file.", _INFO_EXAMPLES, _add_info_options),
    "export": ("write a saved model as StableHLO, ONNX or JSON",
               "Write a saved model in a format that other programs read.",
               _EXPORT_EXAMPLES, _add_export_options),
}  # fmt: skip
