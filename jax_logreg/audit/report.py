"""What an audit found, for people and for machines."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.differences import Sweep
from jax_logreg.audit.examine import Examination
from jax_logreg.audit.findings import ERROR, Finding
from jax_logreg.audit.layout import Layout

_WIDTH = 80
_SHOWN = 5
# Names of entries up to this length share a line with their numbers.
_NAME = 30


class Entry(NamedTuple):
    """One entry of a derivative at one point."""

    name: str
    hand: float
    reference: float
    allowed: float

    @property
    def absolute(self) -> float:
        """|hand − reference|."""
        return abs(self.hand - self.reference)

    @property
    def relative(self) -> float:
        """The same over |reference|."""
        if self.absolute == 0:
            return 0.0
        return self.absolute / abs(self.reference) if self.reference else math.inf


@dataclass(frozen=True)
class Check:
    """One derivative against the reference.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        agrees: whether every entry at every point is within round-off.
        num_points: at how many points it is wrong; how many were tried, if nowhere.
        num_entries: how many entries at each.
        num_wrong: entries that are wrong at some point.
        worst: the entries furthest from the reference, in units of what is allowed.
        absolute: largest |hand − reference|; relative: in norm, at the worst point.
        hand_norm: norm of the derivative by hand at that point.
        reference_norm: norm of the reference there.
        units: of round-off that are allowed, times the sensitivity of each entry.
        error_matrix: |hand − reference| at the worst point, in the shape compared.
    """

    name: str
    agrees: bool
    num_points: int
    num_entries: int
    num_wrong: int
    worst: tuple[Entry, ...]
    absolute: float
    relative: float
    hand_norm: float
    reference_norm: float
    units: float
    error_matrix: np.ndarray


@dataclass(frozen=True)
class DerivativeReport:
    """The verdict on somebody's derivatives.

    Attributes:
        ok: whether every derivative given is right. True also where warnings remain.
        checks: one a derivative that could be compared.
        findings: remarks; those of severity "error" make ``ok`` False.
        diagnoses: what is wrong with each wrong derivative, most likely first.
        facts: symmetry, definiteness, null directions, consistency: one sentence each.
        sweep: differences of the value over a range of steps; None if not to be had.
        reference: "autodiff" or "differences".
        dtype: the precision of the audit.
    """

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosis, ...]
    facts: tuple[str, ...]
    sweep: Sweep | None
    reference: str
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether every derivative given is right."""
        return not any(finding.severity == ERROR for finding in self.findings)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The likeliest mistake, or None where nothing is wrong."""
        return self.diagnoses[0] if self.diagnoses else None

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def as_dict(self) -> dict[str, Any]:
        """The report in plain numbers, strings, lists and dicts."""
        return {
            "ok": self.ok,
            "dtype": self.dtype,
            "reference": self.reference,
            "checks": [_check_as_dict(check) for check in self.checks],
            "diagnoses": [d._asdict() for d in self.diagnoses],
            "findings": [f._asdict() for f in self.findings],
            "facts": list(self.facts),
            "differences": None if self.sweep is None else _sweep_as_dict(self.sweep),
        }


def make_check(examination: Examination, layout: Layout, units: float) -> Check | None:
    """The summary of an examination, or None if nothing could be compared."""
    places = examination.places + [p for p in examination.extreme if p.wrong.any()]
    if not places:
        return None
    with np.errstate(all="ignore"):
        distances = [
            np.where(
                np.isfinite(p.expected),
                np.abs(p.hand - p.expected) / np.maximum(p.allowed, 1e-300),
                0,
            )
            for p in places
        ]
    distances = [np.where(np.isnan(d), np.inf, d) for d in distances]
    at = max(range(len(places)), key=lambda i: _most(distances[i], places[i].wrong))
    place, distance = places[at], np.where(places[at].wrong, distances[at] + 1e30, distances[at])
    shown = min(_SHOWN, int(place.wrong.sum()) or 1)
    order = np.argsort(distance, axis=None)[::-1][:shown]
    wrong = np.any([p.wrong for p in places], axis=0)
    error = np.abs(place.hand - place.expected)
    known = np.isfinite(place.expected) & np.isfinite(place.hand)
    norm = float(np.linalg.norm(place.expected[known]))
    off = float(np.linalg.norm(error[known]))
    return Check(
        name=examination.name,
        agrees=not wrong.any(),
        num_points=sum(bool(p.wrong.any()) for p in places) or len(places),
        num_entries=place.expected.size,
        num_wrong=int(wrong.sum()),
        worst=tuple(
            Entry(
                entry_name(layout, examination.name, int(i), place.expected.shape),
                *(float(x.flat[i]) for x in (place.hand, place.expected, place.allowed)),
            )
            for i in order
        ),
        absolute=float(np.max(error[known], initial=0.0)),
        relative=off / norm if norm else (math.inf if off else 0.0),
        hand_norm=float(np.linalg.norm(place.hand[known])),
        reference_norm=norm,
        units=units,
        error_matrix=error,
    )


def _most(distance: np.ndarray, wrong: np.ndarray) -> tuple[bool, float]:
    return bool(wrong.any()), float(np.max(distance, initial=0.0))


def entry_name(layout: Layout, name: str, index: int, shape: tuple[int, ...]) -> str:
    """What an entry of a derivative is called."""
    if len(shape) == 1:
        return layout.name(index)
    row, column = divmod(index, shape[1])
    first = layout.name(row) if name == "hessian" else f"output {row}"
    return f"{first}, {layout.name(column)}"


def _lines(report: DerivativeReport) -> list[str]:
    verdict = "all right" if report.ok else "WRONG"
    lines = [f"derivatives against {report.reference}, {report.dtype}: {verdict}"]
    for check in report.checks:
        lines += ["", *_check_lines(check)]
        for d in (d for d in report.diagnoses if d.where == check.name):
            lines += _wrapped(f"diagnosis ({d.kind}): {d.message}", "  ")
            lines += _wrapped(d.evidence, "    ")
    compared = {check.name for check in report.checks}
    for d in (d for d in report.diagnoses if d.where not in compared):
        lines += ["", *_wrapped(f"{d.where}: diagnosis ({d.kind}): {d.message}", "")]
        lines += _wrapped(d.evidence, "    ")
    told = [finding for finding in report.findings if finding.kind != "wrong"]
    lines += [""] if told else []
    for finding in told:
        lines += _wrapped(f"{finding.severity}: {finding.message}", "")
    if report.sweep is not None:
        lines += ["", *_wrapped(_sweep_text(report.sweep), "")]
    for fact in report.facts:
        lines += _wrapped(fact, "")
    return lines


def _check_lines(check: Check) -> list[str]:
    verdict = "right" if check.agrees else "WRONG"
    points = f"{check.num_points} points"
    counts = f"{check.num_wrong} of {check.num_entries} entries differ" if check.num_wrong else (
        f"all {check.num_entries} entries agree"
    )  # fmt: skip
    lines = [f"{check.name}: {verdict}; {counts} at {points}"]
    lines += _wrapped(
        f"largest difference {check.absolute:.1e}, relative in norm {check.relative:.1e}, "
        f"norms {check.hand_norm:.4g} and {check.reference_norm:.4g}", "  ",
    )  # fmt: skip
    shown = check.worst if check.num_wrong else check.worst[:1]
    width = min(_NAME, max([len("worst"), *(len(entry.name) for entry in shown)]))
    lines.append(
        f"  {'worst':{width}} {'by hand':>13} {'reference':>13} {'diff':>8} {'allowed':>8}"
    )
    for entry in shown:
        name = entry.name
        if len(name) > width:  # a line of its own
            lines.append(f"  {name if len(name) <= _WIDTH - 2 else name[: _WIDTH - 3] + '…'}")
            name = ""
        lines.append(
            f"  {name:{width}} {entry.hand:13.6g} {entry.reference:13.6g} "
            f"{entry.absolute:8.1e} {entry.allowed:8.1e}"
        )
    return lines


def _sweep_text(sweep: Sweep) -> str:
    text = (
        f"differences of the value: relative error {sweep.best_error:.1e} at step "
        f"{sweep.best_step:.1e}"
    )
    if math.isfinite(sweep.slope):
        text += f", falling with slope {sweep.slope:.2f} before it"
    every = (
        f"all {sweep.coordinates} coordinates" if sweep.coordinates else "random directions only"
    )
    text += f" ({every}); complex step: "
    return text + (
        f"{sweep.complex_error:.1e}."
        if math.isfinite(sweep.complex_error)
        else "the value does not allow it."
    )


def _wrapped(text: str, indent: str) -> list[str]:
    lines, line = [], indent
    for word in text.split(" "):
        if len(line) + len(word) + 1 > _WIDTH and line.strip():
            lines.append(line.rstrip())
            line = indent + "  "
        line += word + " "
    return [*lines, line.rstrip()]


def _check_as_dict(check: Check) -> dict[str, Any]:
    plain = {k: v for k, v in vars(check).items() if k not in ("worst", "error_matrix")}
    worst = [
        {**entry._asdict(), "absolute": entry.absolute, "relative": entry.relative}
        for entry in check.worst
    ]
    return {**plain, "worst": worst}


def _sweep_as_dict(sweep: Sweep) -> dict[str, Any]:
    return {
        **sweep._asdict(),
        "steps": sweep.steps.tolist(),
        "errors": sweep.errors.tolist(),
        "worst_coordinate": list(sweep.worst_coordinate),
    }
