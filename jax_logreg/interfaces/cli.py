"""The command line: ``jax-logreg fit``, ``check``, ``predict``, ``info`` and ``export``."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jax

from jax_logreg.interfaces import check_command, fit_command
from jax_logreg.interfaces.command_options import add_command, count, nonnegative, positive
from jax_logreg.interfaces.info_command import add_export, add_info
from jax_logreg.interfaces.main_job import Settings
from jax_logreg.interfaces.predict_command import add_predict
from jax_logreg.interfaces.table_options import add_table
from jax_logreg.interfaces.version import __version__

_A_MOMENT = 0.01  # seconds


def run_process() -> int:
    """The program as a process of its own: what it compiles is kept for the next one."""
    keep_programs()
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _interrupt_again
    return main()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as after an error, so that no half of a file stays behind."""
    raise SystemExit(128 + number)


def _interrupt_again(lost: Any) -> None:
    """JAX has Python run code in the garbage collector, where a Ctrl-C gets lost."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(_A_MOMENT, signal.raise_signal, [signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(lost)


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
    fit = add_command(
        commands,
        "fit",
        fit_command.run_fit,
        summary="train on a table by four solvers and audit their derivatives",
        description=fit_command.SUMMARY,
        examples=fit_command.EXAMPLES,
    )
    add_table(fit)
    fit.add_argument(
        "--l2",
        type=nonnegative,
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
        type=positive,
        metavar="T",
        help="bound on the largest gradient entry (default 1e-8, 1e-5 in float32)",
    )
    fit.add_argument(
        "--max-steps", type=count, metavar="N", help="for every solver (default: its own)"
    )
    fit.add_argument("--no-intercept", action="store_true", help="fit no intercept")
    fit.add_argument("--no-standardize", action="store_true", help="take columns as they are")
    fit.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of the audit's random point"
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
    check = add_command(
        commands,
        "check",
        check_command.run_check,
        summary="audit derivatives written by hand: this project's, or those of a file",
        description=check_command.SUMMARY,
        examples=check_command.EXAMPLES,
    )
    check.add_argument("file", nargs="?", metavar="FILE.py", help="a file of formulas; it is run")
    check.add_argument("--seed", type=count, default=0, metavar="N", help="of the points")
    check.add_argument(
        "--plot", metavar="FILE.png", help="draw differences and errors (png, pdf, svg)"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object")
