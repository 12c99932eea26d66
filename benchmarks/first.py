"""The command: ``python -m benchmarks.first``: what the first fits of a process take.

Every measurement is a fresh process, and its clock starts after the import. A first process of
ours finds nothing compiled, and keeps its programs in a folder; a second finds them there. Every
method has the options that it has by default.
"""

import argparse
import statistics
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cold import run_child
from benchmarks.machine import busy_cores, machine
from benchmarks.problems import Problem, embedded, random
from benchmarks.report import WIDTH
from jax_logreg.programs.store import VARIABLE

Shape = tuple[int, int, int]  # n, p, K
_BREAST_CANCER = (569, 30, 2)
_FIRST, _SECOND = ", first", ", second"
_HEAD = f"{'':28} {'s':>7} {'spread':>13} {'CPU s':>7} {'×':>6} {'goal':>5}  {'apart':>5}"
_FOOT = """\
s: median seconds after the import; CPU s: those of all processors; ×: by the other
library's, last of each group; goal: seconds, with ! where it is missed; apart: the
largest difference from the other library's answer, by its largest entry"""


@dataclass(frozen=True)
class Case:
    """Some tables, and what is done with them.

    Attributes:
        shapes: of the tables.
        methods: names in ``first_child``; that of the other library is the last.
        first, second: seconds of our first and our second process, at most.
        ratio: of our second to the other library's, at most.
    """

    shapes: tuple[Shape, ...]
    methods: tuple[str, ...]
    first: float = inf
    second: float = inf
    ratio: float = inf

    def tiny(self) -> "Case":
        """Two tables at most, and no goals: only to see that it runs."""
        shapes = tuple((60, 3, min(K, 3)) for _, _, K in self.shapes[:2])
        return Case(shapes, self.methods)

    def __str__(self) -> str:
        one = " × ".join(map(str, self.shapes[0]))
        return one if len(self.shapes) == 1 else f"{len(self.shapes)} tables"


def _thirty_shapes() -> tuple[Shape, ...]:
    rng = np.random.default_rng(0)
    sides = zip(rng.integers(100, 5_001, 30), rng.integers(3, 60, 30), strict=True)
    return tuple((int(n), int(p), 2) for n, p in sides)


def _search(jobs: str, **goals: float) -> Case:
    return Case((_BREAST_CANCER,), (f"estimator, {jobs}", f"scikit-learn, {jobs}"), **goals)


def _first_fit(*shape: int, **goals: float) -> Case:
    n, p, K = shape
    return Case(((n, p, K),), ("fit", "scikit-learn"), **goals)


ROWS: dict[str, list[Case]] = {
    "thirty-shapes": [
        Case(_thirty_shapes(), ("fit", "estimator", "scikit-learn"), first=4, second=0.6)
    ],
    "grid-search": [_search("1 job", second=0.4), _search("2 jobs", ratio=1.5)],
    "first-fit": [
        _first_fit(*_BREAST_CANCER, first=0.5, second=0.1),
        _first_fit(100_000, 100, 2, first=1.2),
        _first_fit(20_000, 200, 10, first=1.2),
        _first_fit(1_000, 50, 10, first=0.8),
    ],
    "first-inference": [
        Case(((100_000, 100, 2),), ("fit and infer", "statsmodels"), first=2, second=0.5)
    ],
}


def _problem(shape: Shape) -> Problem:
    return embedded("breast-cancer") if shape == _BREAST_CANCER else random(shape, 0.0)


def measure(case: Case, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """What the processes of every kind printed; the other library's are the last."""
    *ours, other = case.methods
    kinds = [(method, method + which) for method in ours for which in (_FIRST, _SECOND)]
    kinds.append((other, other))
    reports: dict[str, list[dict[str, Any]]] = {label: [] for _, label in kinds}
    with tempfile.TemporaryDirectory() as folder:
        tables = str(Path(folder, "tables.npz"))
        np.savez(tables, *(array for p in map(_problem, case.shapes) for array in (p.X, p.y)))
        for repeat in range(repeats):
            for method, label in kinds:
                programs = {VARIABLE: str(Path(folder, f"{method} {repeat}"))}
                reports[label] += [run_child("benchmarks.first_child", [method, tables], programs)]
    return reports


def lines(case: Case, reports: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One for each kind of process."""
    theirs = list(reports.values())[-1]
    reference, answer = _median(theirs, "wall"), np.array(theirs[0]["answer"])
    made = []
    for label, runs in reports.items():
        goal = case.first if label.endswith(_FIRST) else inf
        if label.endswith(_SECOND):
            goal = min(case.second, case.ratio * reference)
        wall, walls = _median(runs, "wall"), [run["wall"] for run in runs]
        apart = np.abs(runs[-1]["answer"] - answer).max() / np.abs(answer).max()
        made.append(
            f"  {label:26} {wall:7.3f} {f'{min(walls):.3f}-{max(walls):.3f}':>13} "
            f"{_median(runs, 'cpu'):7.3f} {wall / reference:6.3g} "
            f"{'' if goal == inf else f'{goal:.2g}':>5}{'!' if wall > goal else ' '} {apart:5.0e}"
        )
    return made


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first", description=__doc__)
    add, names = parser.add_argument, list(ROWS)
    add("rows", nargs="*", metavar="ROW", choices=[*names, []], help=f"any of {', '.join(names)}")
    add("--quick", action="store_true", help="tiny tables, at most two of a case, and no goals")
    add("--repeats", type=int, default=5, help="processes of a kind (default %(default)s)")
    options = parser.parse_args()
    print(textwrap.fill(machine(), WIDTH))
    print(f"others kept {busy_cores() or 0:.1f} cores busy just before\n{_HEAD}", flush=True)
    for name in options.rows or ROWS:
        for case in ROWS[name]:
            measured = case.tiny() if options.quick else case
            table = lines(measured, measure(measured, options.repeats))
            print("\n".join([f"{name}: {measured}", *table]), flush=True)
    print(_FOOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
