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

from benchmarks import outcomes, plot, report
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import machine, on_gpu
from benchmarks.outcomes import Outcome
from benchmarks.rows import EXTRAS, ROWS
from benchmarks.run import Plan, run_row
from benchmarks.tables import WIDTH, details, summary

_EXAMPLES = """\
examples:
  python -m benchmarks                         every row; writes RESULTS.md
  python -m benchmarks --quick                 smaller rows, under three minutes
  python -m benchmarks tall medium             some rows; keeps them for --report
  python -m benchmarks --report                RESULTS.md from all rows kept so far
  python -m benchmarks softmax --repeats 9 --only jax_logreg --only lbfgs
  python -m benchmarks --dtype float32         at an accuracy of 1e-5
  python -m benchmarks.memory tall             the peak memory of our fit alone
"""


def main() -> int:
    options = _parser().parse_args()
    if options.report:
        return _report()
    unknown = [w for w in options.only or [] if not any(w in c.name for c in CONTESTANTS)]
    if unknown:
        print(f"--only {unknown}: no contestant of that name", file=sys.stderr)
        return 2
    plan = _plan(options)
    complete = not (options.quick or options.only or options.scale != 1)
    print(textwrap.fill(machine(), WIDTH))
    finished, broken = [], []
    for name in _wanted(options.rows):
        outcome = _run(name, plan)
        if outcome is None:
            broken.append(name)
            continue
        print(f"\n{details(outcome)}", flush=True)
        finished.append(outcome)
        if name in ROWS and (complete or options.write):
            outcomes.keep(outcome)
    print(f"\n{summary(finished)}")
    if broken:
        print(f"broke off: {', '.join(broken)}", file=sys.stderr)
    if options.write or (complete and not options.rows):
        _report()
    return 1 if broken else 0


def _run(name: str, plan: Plan) -> Outcome | None:
    """The outcome; None, with the traceback, where the row broke off: the others go on."""
    began = time.perf_counter()

    def tell(text: str) -> None:
        elapsed = time.perf_counter() - began
        print(f"  {name} {elapsed:4.0f} s: {text}", file=sys.stderr, flush=True)

    try:
        with jax.enable_x64(True):
            return run_row(name, plan, tell)
    except Exception:
        traceback.print_exc()
        return None


def _wanted(rows: list[str]) -> list[str]:
    """The rows named, or all that this machine can run."""
    return rows or [name for name, row in ROWS.items() if on_gpu() or not row.needs_gpu]


def _plan(options: argparse.Namespace) -> Plan:
    repeats, patience = (2, 1.0) if options.quick else (5, 15.0)
    return Plan(
        dtype=options.dtype,
        target=options.target,
        repeats=options.repeats or repeats,
        patience=options.patience or patience,
        quick=options.quick,
        scale=options.scale,
        only=options.only,
    )


def _report() -> int:
    kept = outcomes.kept_outcomes()
    if not kept:
        print(f"{outcomes.PATH.name} holds no rows: run some first", file=sys.stderr)
        return 2
    plot.draw(kept)
    report.write(kept)
    print(f"wrote {report.RESULTS.name} and {plot.PATH.name} from {len(kept)} rows")
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [*ROWS, *EXTRAS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time fits against other libraries at equal accuracy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", choices=[*names, []],
        help=f"any of {', '.join(names)} (default: all but the last {len(EXTRAS)}; "
        "gpu only where there is one)",
    )  # fmt: skip
    _add_options(parser)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
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


if __name__ == "__main__":
    sys.exit(main())
