"""The command line: ``jax-logreg fit`` and ``jax-logreg check``."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jax_logreg.interfaces import check_command, fit_command
from jax_logreg.interfaces.assemble import MISSING_POLICIES
from jax_logreg.interfaces.main_job import Settings
from jax_logreg.interfaces.readers import EMBEDDED
from jax_logreg.interfaces.sources import MAX_BYTES


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
        return options.run(options)
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
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_check(commands)
    return parser


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser(
        "fit",
        help="train on a table by four solvers and audit their derivatives",
        description=fit_command.SUMMARY,
        epilog=fit_command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.set_defaults(run=fit_command.run_fit)
    _add_table(fit)
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
    fit.add_argument("--json", action="store_true", help="print one JSON object")


def _add_table(fit: argparse.ArgumentParser) -> None:
    fit.add_argument("file", nargs="?", metavar="FILE", help="a table: see the formats below")
    fit.add_argument("--target", metavar="NAME", help="the file's column of classes")
    fit.add_argument("--data", choices=list(EMBEDDED), help="a data set that ships inside")
    fit.add_argument(
        "--missing",
        choices=MISSING_POLICIES,
        default="refuse",
        help="rows with missing values: refuse the file (default), drop them, or fill "
        "numbers with the mean of their column",
    )
    fit.add_argument(
        "--categorical",
        action="append",
        default=[],
        metavar="NAME",
        help="one-hot encode this column, its first category being the reference; may be "
        'repeated; "auto" takes every column that is not numbers',
    )
    fit.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="ignore this column; as often"
    )
    fit.add_argument(
        "--delimiter", metavar="C", help='of a CSV file (default: by its header); "tab" is one'
    )
    fit.add_argument(
        "--max-gib",
        type=_positive,
        default=MAX_BYTES / 2**30,
        metavar="G",
        help="largest table in memory (default %(default)g GiB)",
    )


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
