"""The command: ``python -m benchmarks [PROBLEM ...]``."""

import argparse
import os
import platform
import sys

import jax
import sklearn

from benchmarks.contestants import CONTESTANTS
from benchmarks.harness import Timing, race
from benchmarks.problems import PROBLEMS, Problem

_EXAMPLES = """\
examples:
  python -m benchmarks                         every problem, every contestant
  python -m benchmarks softmax --repeats 9     one problem, more pairs
  python -m benchmarks --only jax_logreg --only lbfgs
"""


def main() -> int:
    options = _parser().parse_args()
    chosen = {
        name: make
        for name, make in CONTESTANTS.items()
        if not options.only or any(word in name for word in options.only)
    }
    if not chosen:
        print(f"--only {options.only}: no contestant of that name", file=sys.stderr)
        return 2
    print(_machine())
    print(f"target: relative suboptimality {options.target:g}; float64; warm; one process")
    with jax.enable_x64(True):
        for name in options.problems or PROBLEMS:
            problem = PROBLEMS[name]()
            print(f"\n{problem.describe()}")
            binary_only = problem.num_classes > 2
            contestants = {
                label: make(problem)
                for label, make in chosen.items()
                if not (binary_only and "binary only" in label)
            }
            timings = race(
                problem,
                contestants,
                target=options.target,
                repeats=options.repeats,
                patience=options.patience,
                tell=lambda text: print(f"  … {text}", file=sys.stderr, flush=True),
            )
            print(_table(problem, timings), flush=True)
    return 0


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {jax.devices()[0].platform}; "
        f"Python {platform.python_version()}, jax {jax.__version__}, "
        f"scikit-learn {sklearn.__version__}"
    )


def _table(problem: Problem, timings: list[Timing]) -> str:
    """Ratios above 1 mean slower than the first row; 'first' is the very first call."""
    width = max(len(t.contestant) for t in timings)
    head = f"{'':{width}}  median ms  ratio    spread       tol  subopt.  first s"
    rows = [head]
    for t in timings:
        mark = " " if t.calibration.reached else "!"
        low, high = t.spread
        rows.append(
            f"{t.contestant:{width}} {1e3 * t.seconds:10.1f} {t.ratio:6.2f} "
            f"{low:5.2f}-{high:<5.2f} {t.calibration.tol:7.0e} "
            f"{t.calibration.suboptimality:8.0e}{mark} {t.calibration.first_seconds:6.2f}"
        )
    if not all(t.calibration.reached for t in timings):
        rows.append("! fell short of the target at every tolerance tried in the time allowed")
    if any("liblinear" in t.contestant for t in timings):
        rows.append("  (liblinear penalises the intercept: its minimum is another one)")
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time fits against scikit-learn at equal accuracy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "problems", nargs="*", metavar="PROBLEM", choices=[*PROBLEMS, []],
        help=f"any of {', '.join(PROBLEMS)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--target", type=float, default=1e-9, help="default %(default)g")
    parser.add_argument("--repeats", type=int, default=5, help="pairs (default %(default)s)")
    parser.add_argument(
        "--patience", type=float, default=30.0,
        help="seconds to find a contestant's tolerance, and to time it (default %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="contestants whose name contains this"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
