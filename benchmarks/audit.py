"""The command: ``python -m benchmarks.audit``: how good the audit of derivatives is."""

import argparse
import os
import platform
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax

from benchmarks.audit_public import numpy_cost, public_code
from jax_logreg import check_derivatives
from tests.audit.planting.cold import measure_cold_reports
from tests.audit.planting.correct import CorrectCase, correct_cases
from tests.audit.planting.kinds import KINDS
from tests.audit.planting.large import lone_coordinates, measure
from tests.audit.planting.planted import RELATIVE, PlantedCase, candidates
from tests.audit.planting.recipe import MODELS
from tests.audit.planting.uncatalogued import PLACES, UNCATALOGUED

_WIDTH = 80
# The bars: shares, seconds, megabytes.
_RIGHT = 0.95
_SECONDS = 5.0
_COLD_SECONDS = 1.5
_MEGABYTES = 1000.0
_FORGET_AFTER = 200

_EXAMPLES = """\
examples:
  python -m benchmarks.audit --quick               one seed, 100 right formulas
  python -m benchmarks.audit --only "false alarms"
  python -m benchmarks.audit --only "softmax hessian float32 weights" --seeds 3
"""


class Outcome(NamedTuple):
    """What an audit made of one planted error.

    Attributes:
        case: the error.
        found: whether anything was called wrong.
        first, right: whether the first, one of the first two, diagnoses is right.
        said: the first two, or the exception.
    """

    case: PlantedCase
    found: bool
    first: bool
    right: bool
    said: str


class Verdict(NamedTuple):
    """What is printed of a bar, and whether it is met."""

    text: str
    met: bool


class Options(NamedTuple):
    """What was asked for."""

    seeds: int
    formulas: int
    only: str


def main() -> int:
    options = _options()
    print(_machine(), flush=True)
    met = True
    for name, bar in _wanted(options.only).items():
        began = time.perf_counter()
        verdict = bar(options)
        seconds = time.perf_counter() - began
        print(f"\n{name}: {'met' if verdict.met else 'MISSED'} ({seconds:.0f} s)")
        print(verdict.text, flush=True)
        met = met and verdict.met
    return 0 if met else 1


def _wanted(only: str) -> dict[str, Callable[[Options], Verdict]]:
    """The bars of that name; if there is none, the text names planted errors."""
    chosen = {name: bar for name, bar in BARS.items() if only in name}
    return chosen or {"planted errors": _planted}


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {jax.devices()[0].platform}; "
        f"Python {platform.python_version()}, jax {jax.__version__}"
    )


def _tell(text: str) -> None:
    print(f"  … {text}", file=sys.stderr, flush=True)


def _planted(options: Options) -> Verdict:
    only = "" if options.only in "planted errors" else options.only
    outcomes, skipped = [], []
    for case in _all_planted(options.seeds, only):
        if case.counts:
            outcomes.append(_outcome(case))
        else:
            skipped.append(case)
    if not outcomes:
        return Verdict(f"no planted error has {only!r} in its name", False)
    kinds = len({kind.name for kind in KINDS})
    head = f"{kinds} kinds, {options.seeds} seeds, n = 40, 4 features, 4 classes"
    return _verdict(head, outcomes, skipped)


def _all_planted(seeds: int, only: str) -> Iterator[PlantedCase]:
    for seed in range(seeds):
        for model in MODELS:
            for dtype in RELATIVE:
                _tell(f"planted errors: seed {seed}, {model}, {dtype}")
                yield from candidates(model, dtype, seed, only)


def _uncatalogued(options: Options) -> Verdict:
    """What becomes of mistakes that the audit's catalogue does not contain."""
    fates: dict[str, list[str]] = defaultdict(list)
    for seed in range(options.seeds):
        for model in MODELS:
            _tell(f"uncatalogued errors: seed {seed}, {model}")
            for case in candidates(model, "float64", seed, "", UNCATALOGUED):
                if case.counts:
                    fates[_fate(_outcome(case))].append(case.name)
    count = sum(map(len, fates.values()))
    shares = (f"{fate} {100 * len(names) / count:.1f}%" for fate, names in sorted(fates.items()))
    lines = [f"{len(UNCATALOGUED)} kinds, {count} cases, float64: {', '.join(shares)}"]
    for fate in ("not found", "misnamed"):
        names = dict.fromkeys(fates[fate])
        lines += _wrapped(f"{fate}: {'; '.join(names)}") if names else []
    return Verdict("\n".join(lines), not fates["not found"])


def _fate(outcome: Outcome) -> str:
    if not outcome.found:
        return "not found"
    first = outcome.said.split(", ")[0]
    if outcome.right:
        return "named"
    return "located" if first in PLACES else "unknown" if first == "unknown" else "misnamed"


def _lone(options: Options) -> Verdict:
    outcomes = []
    for dtype in RELATIVE:
        _tell(f"lone coordinate: {dtype}")
        outcomes += [_outcome(case) for case in lone_coordinates(dtype, min(5, options.seeds))]
    return _verdict("one wrong of 10 000: softmax, 1 000 x 10", outcomes, [])


def _outcome(case: PlantedCase) -> Outcome:
    try:
        report = check_derivatives(**case.kwargs)
    except Exception as error:  # an audit that breaks has found nothing
        return Outcome(case, False, False, False, f"raised {error!r}")
    kinds = [diagnosis.kind for diagnosis in report.diagnoses[:2]]
    hits = [kind in case.accepted for kind in kinds]
    said = ", ".join(kinds) or "nothing"
    return Outcome(case, not report.ok, any(hits[:1]), any(hits), said)


def _verdict(head: str, outcomes: list[Outcome], skipped: list[PlantedCase]) -> Verdict:
    met = all(o.found for o in outcomes) and _share(o.right for o in outcomes) >= _RIGHT
    text = "\n".join([head, _table(outcomes, skipped), *_complaints(outcomes)])
    return Verdict(text, met)


def _share(flags: Iterable[bool]) -> float:
    flags = list(flags)
    return sum(flags) / len(flags)


def _group(case: PlantedCase) -> str:
    return case.name.removesuffix(f" {case.kind}")


def _table(outcomes: list[Outcome], skipped: list[PlantedCase]) -> str:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[_group(outcome.case)].append(outcome)
    groups["all"] = outcomes
    rows = [f"{'':33} cases skipped    found    first first two"]
    for name, members in groups.items():
        left_out = sum(name in ("all", _group(case)) for case in skipped)
        marks = ("found", "first", "right")
        shares = [_share(getattr(o, mark) for o in members) for mark in marks]
        cells = " ".join(f"{100 * share:7.1f}%" for share in shares)
        rows.append(f"{name:33} {len(members):5} {left_out:7} {cells}")
    return "\n".join(rows)


def _complaints(outcomes: list[Outcome]) -> list[str]:
    """What was not found, and what was called something else, with what was said."""
    lines = []
    for title, wanted in (
        ("not found:", lambda o: not o.found),
        (
            "found, but neither of the first two diagnoses is right:",
            lambda o: o.found and not o.right,
        ),
    ):
        said: dict[str, list[str]] = defaultdict(list)
        for outcome in filter(wanted, outcomes):
            said[outcome.case.name].append(outcome.said)
        if said:
            lines.append(title)
        for name, words in said.items():
            answers = "; ".join(dict.fromkeys(words))
            lines += _wrapped(f"{name} ({len(words)}): {answers}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _false_alarms(options: Options) -> Verdict:
    alarms, warned, count = [], 0, 0
    for case in correct_cases(options.formulas):
        if count % _FORGET_AFTER == 0:
            _tell(f"false alarms: {count} of {options.formulas}")
            jax.clear_caches()  # the programs of ever new shapes would fill the memory
        count += 1
        said, has_warning = _objection(case)
        warned += has_warning
        if said:
            alarms.append((case.name, said))
    lines = [f"{count} right formulas: {len(alarms)} false alarms, {warned} warned about"]
    for name, said in alarms:
        lines += _wrapped(f"{name}: {said}")
    return Verdict("\n".join(lines), not alarms)


def _objection(case: CorrectCase) -> tuple[str, bool]:
    """What an audit has against a right formula, "" for nothing; whether it warns."""
    try:
        report = check_derivatives(**case.kwargs)
    except Exception as error:
        return f"raised {error!r}", False
    has_warning = any(finding.severity == "warning" for finding in report.findings)
    if report.ok:
        return "", has_warning
    errors = [f.message for f in report.findings if f.severity == "error"]
    return " ".join([*errors, *(d.message for d in report.diagnoses[:1])]), has_warning


def _cost(options: Options) -> Verdict:
    _tell("10 000 parameters, in a process of its own")
    cost = measure()
    met = cost.seconds < _SECONDS and cost.megabytes < _MEGABYTES
    text = (
        f"gradient, 2 000 rows, softmax 1 000 x 10, float64: {cost.seconds:.2f} s warm "
        f"(below {_SECONDS:g}),\n{cost.first_seconds:.2f} s the first time; "
        f"the process took {cost.megabytes:.0f} MB at most (below {_MEGABYTES:g})"
    )
    return Verdict(text, met)


def _public_code(options: Options) -> Verdict:
    text, met = public_code(options.seeds, _tell)
    lines = [line for long in text.splitlines() for line in _wrapped(long) or [long]]
    return Verdict("\n".join(lines), met)


def _numpy_cost(options: Options) -> Verdict:
    return Verdict(*numpy_cost())


def _cold(options: Options) -> Verdict:
    """The processor's seconds are the bar, for they do not depend on what else runs."""
    _tell("cold reports, each in a process of its own")
    reports = measure_cold_reports()
    lines = [
        f"{r.name:26} {r.rows:5} x {r.features:<3} {r.cpu:5.2f} s of CPU, {r.wall:5.2f} s"
        for r in reports
    ]
    lines.insert(0, f"the first audit of a process, after the imports (CPU below {_COLD_SECONDS})")
    return Verdict("\n".join(lines), all(r.cpu < _COLD_SECONDS for r in reports))


BARS: dict[str, Callable[[Options], Verdict]] = {
    "planted errors": _planted,
    "uncatalogued errors": _uncatalogued,
    "lone coordinate": _lone,
    "false alarms": _false_alarms,
    "10 000 parameters": _cost,
    "public code": _public_code,
    "NumPy cost": _numpy_cost,
    "cold report": _cold,
}


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.audit",
        description="Measure what the audit of derivatives finds, and what it finds wrongly.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one seed, 100 right formulas")
    parser.add_argument("--seeds", type=int, help="of the planted errors (default 20)")
    parser.add_argument("--formulas", type=int, help="right formulas (default 2000)")
    parser.add_argument(
        "--only", default="", metavar="TEXT",
        help=f"a part of the name of a planted error, or of a bar: {', '.join(BARS)}",
    )  # fmt: skip
    given = parser.parse_args()
    seeds, formulas = (1, 100) if given.quick else (20, 2000)
    return Options(given.seeds or seeds, given.formulas or formulas, given.only)


if __name__ == "__main__":
    sys.exit(main())
