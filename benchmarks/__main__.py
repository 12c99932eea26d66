"""The command: ``python -m benchmarks [ROW ...]``."""

import argparse
import os
import sys
import textwrap
import time
import traceback

# Other libraries, and the processes that measure memory and cold starts, need room on a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax

from benchmarks import report, results
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import machine, on_gpu
from benchmarks.problems import EXTRAS, ROWS
from benchmarks.race import Rules
from benchmarks.results import Outcome
from benchmarks.run import run_row

_EXAMPLES = """\
examples:
  python -m benchmarks                         every row; writes RESULTS.md
  python -m benchmarks --quick                 smaller rows, under three minutes
  python -m benchmarks tall medium             some rows; keeps them for --report
  python -m benchmarks --report                RESULTS.md from all rows kept so far
  python -m benchmarks softmax --repeats 9 --only jax_logreg --only lbfgs
  python -m benchmarks --dtype float32         at an accuracy of 1e-5
  python -m benchmarks.memory tall             the peak memory of our fit alone
  python -m benchmarks.first                   the first fits of a process
  python -m benchmarks.minimize                functions of one's own, by hand and by autodiff
  python -m benchmarks.differentiable          digits and time of a fit's derivatives
"""


def main() -> int:
    options = _parser().parse_args()
    if options.report:
        return _report()
    unknown = [w for w in options.only or [] if not any(w in c.name for c in CONTESTANTS)]
    if unknown:
        print(f"--only {unknown}: no contestant of that name", file=sys.stderr)
        return 2
    rules = Rules(
        target=options.target or 0.0,
        repeats=options.repeats or (2 if options.quick else 5),
        patience=options.patience or (1.0 if options.quick else 15.0),
        dtype=options.dtype,
        quick=options.quick,
        scale=options.scale,
        only=options.only,
    )
    # All rows that this machine can run, unless some are named.
    names = options.rows or [name for name, row in ROWS.items() if on_gpu() or not row.needs_gpu]
    complete = not (options.quick or options.only or options.scale != 1)
    print(textwrap.fill(machine(), report.WIDTH))
    finished = []
    for name in names:
        if outcome := _run(name, rules):
            print(f"\n{report.details(outcome)}", flush=True)
            finished.append(outcome)
            if name in ROWS and (complete or options.write):
                results.save(outcome)
    print(f"\n{report.summary(finished)}")
    if options.write or (complete and not options.rows):
        _report()
    if failed := [name for name in names if name not in {outcome.row for outcome in finished}]:
        print(f"raised: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, rules: Rules) -> Outcome | None:
    """The outcome; None, with the traceback, if the row raised: the others go on."""
    began = time.perf_counter()

    def log(text: str) -> None:
        elapsed = time.perf_counter() - began
        print(f"  {name} {elapsed:4.0f} s: {text}", file=sys.stderr, flush=True)

    try:
        with jax.enable_x64(True):
            return run_row(name, rules, log)
    except Exception:
        traceback.print_exc()
        return None


def _report() -> int:
    outcomes = results.load()
    if not outcomes:
        print(f"{results.PATH.name} holds no rows: run some first", file=sys.stderr)
        return 2
    report.draw(outcomes)
    report.write(outcomes)
    print(f"wrote {report.RESULTS.name} and {report.PICTURE.name} from {len(outcomes)} rows")
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [*ROWS, *EXTRAS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time fits against other libraries at equal accuracy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "rows", nargs="*", metavar="ROW", choices=[*names, []],
        help=f"any of {', '.join(names)} (default: all but the last {len(EXTRAS)}; "
        "gpu only where there is one)",
    )  # fmt: skip
    add("--quick", action="store_true", help="smaller rows, fewer contestants, nothing kept")
    add("--report", action="store_true", help="write RESULTS.md from the rows kept, and stop")
    add("--write", action="store_true", help="keep and report what would not be: --quick, --only")
    add("--dtype", choices=["float64", "float32"], default="float64", help="default %(default)s")
    add("--target", type=float, help="relative suboptimality (1e-9; 1e-5 in float32)")
    add("--repeats", type=int, help="interleaved pairs (5; 2 with --quick)")
    add(
        "--patience", type=float,
        help="seconds to find a contestant's tolerance, and to time it (15; 1 with --quick)",
    )  # fmt: skip
    add("--only", action="append", metavar="TEXT", help="contestants whose name contains this")
    add("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
