"""The report of an audit, as text and as plain data."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.audit.compare_entries import DerivativeComparison, PointComparison
from jax_logreg.audit.findings import ERROR, Finding
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import Diagnosis
from jax_logreg.audit.step_sweep import StepSweep

_WIDTH = 80
_MAX_SHOWN, _MAX_NAMES = 5, 100
# Names of entries up to this length share a line with their numbers.
_NAME_WIDTH = 30


class Entry(NamedTuple):
    """One entry of a derivative at one point, and how far round-off may carry it.

    >>> Entry("θ[0]", 1.5, 1.0, 1e-14).absolute
    0.5
    """

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
        """|hand − reference| / |reference|."""
        if self.absolute == 0:
            return 0.0
        return self.absolute / abs(self.reference) if self.reference else math.inf


@dataclass(frozen=True)
class Check:
    """One derivative against the reference.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        agrees: whether every entry at every point is within round-off.
        num_points: at how many points it is wrong; how many were tried, if it is right.
        num_entries: how many entries at each.
        num_wrong: entries that are wrong at some point.
        worst: the entries furthest from the reference, in units of what is allowed.
        absolute: largest |hand − reference| at the worst point.
        relative: norm of the difference over the norm of the reference there.
        hand_norm: norm of the derivative by hand at that point.
        reference_norm: norm of the reference there.
        units: of round-off that are allowed, times the sensitivity of each entry.
        error_matrix: |hand − reference| at the worst point, in the shape compared.
        names: of the entries of θ, if they are at most 100.

    >>> from jax_logreg.audit.check import check_derivatives
    >>> report = check_derivatives(lambda t: t**2, gradient=lambda t: 2 * t, at=1.0)
    >>> report.checks[0].agrees, report.checks[0].num_wrong
    (True, 0)
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
    names: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The check in plain numbers, without the error matrix."""
        left_out = ("worst", "error_matrix", "names")
        plain = {k: v for k, v in vars(self).items() if k not in left_out}
        worst = [
            {**entry._asdict(), "absolute": entry.absolute, "relative": entry.relative}
            for entry in self.worst
        ]
        return {**plain, "worst": worst}


@dataclass(frozen=True)
class DerivativeReport:
    """The verdict of :func:`jax_logreg.check_derivatives`.

    Attributes:
        ok: whether every derivative given is right. True also where warnings remain.
        checks: one per derivative that could be compared.
        findings: remarks; those of severity "error" make ``ok`` False.
        diagnoses: what is wrong with each wrong derivative, most likely first.
        properties: symmetry, definiteness, null directions, consistency: sentences.
        sweep: error of differences of the value over a range of steps; or None.
        reference: "autodiff" or "differences".
        dtype: the precision of the audit.

    >>> from jax_logreg.audit.check import check_derivatives
    >>> report = check_derivatives(lambda t: t**2, gradient=lambda t: 3 * t, at=1.0)
    >>> report.ok, report.diagnosis.message
    (False, 'It is off by the factor 1.5.')
    """

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosis, ...]
    properties: tuple[str, ...]
    sweep: StepSweep | None
    reference: str
    dtype: str

    @property
    def ok(self) -> bool:
        """Whether every derivative given is right."""
        return not any(finding.severity == ERROR for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One of "right", "wrong" and "could not be checked" (no reference, random numbers)."""
        if self.ok:
            return "right"
        checked = {check.name for check in self.checks}
        unchecked = {"not-compared", "hidden-state"}
        is_wrong = any(
            bool(checked) if f.where == "value" else f.where in checked or f.kind not in unchecked
            for f in self.findings
            if f.severity == ERROR
        )
        return "wrong" if is_wrong else "could not be checked"

    def __bool__(self) -> bool:
        return self.ok

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The likeliest mistake, or None if nothing is wrong."""
        return self.diagnoses[0] if self.diagnoses else None

    def raise_if_wrong(self) -> None:
        """For a test suite: an AssertionError with the report, unless all is right."""
        __tracebackhide__ = True  # pytest shows the caller's line and the report
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __repr__(self) -> str:  # at a prompt, and where "assert report" fails
        return str(self)

    def as_dict(self) -> dict[str, Any]:
        """The report in plain numbers, strings, lists and dicts."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "dtype": self.dtype,
            "reference": self.reference,
            "checks": [check.as_dict() for check in self.checks],
            "diagnoses": _as_plain(self.diagnoses),
            "findings": _as_plain(self.findings),
            "properties": list(self.properties),
            "differences": _as_plain(self.sweep),
        }


def summarise(comparison: DerivativeComparison, layout: PytreeLayout, units: float) -> Check | None:
    """The summary of one derivative at its worst point; None if nothing could be compared."""
    points = comparison.moderate + [p for p in comparison.extreme if p.wrong.any()]
    if not points:
        return None
    distances = [_distance(p) for p in points]
    at = max(range(len(points)), key=lambda i: float(np.max(distances[i], initial=0.0)))
    point = points[at]
    shown = min(_MAX_SHOWN, int(point.wrong.sum()) or 1)
    order = np.argsort(distances[at], axis=None)[::-1][:shown]
    wrong = np.any([p.wrong for p in points], axis=0)
    error = np.abs(point.hand - point.expected)
    known = np.isfinite(error)
    norm, off = _norm(point.expected[known]), _norm(error[known])
    return Check(
        name=comparison.name,
        agrees=not wrong.any(),
        num_points=sum(bool(p.wrong.any()) for p in points)
        or len(points) + comparison.num_more_points,
        num_entries=point.expected.size,
        num_wrong=int(wrong.sum()),
        worst=tuple(
            Entry(
                _entry_name(layout, comparison.name, int(i), point.expected.shape),
                *(float(x.flat[i]) for x in (point.hand, point.expected, point.allowed)),
            )
            for i in order
        ),
        absolute=float(np.max(error[known], initial=0.0)),
        relative=off / norm if norm else (math.inf if off else 0.0),
        hand_norm=_norm(point.hand[known]),
        reference_norm=norm,
        units=units,
        error_matrix=error,
        names=tuple(map(layout.name, range(layout.size))) if layout.size <= _MAX_NAMES else (),
    )


def _norm(entries: np.ndarray) -> float:
    return float(np.linalg.norm(entries))


def _distance(point: PointComparison) -> np.ndarray:
    """Error of every entry in units of what is allowed; what is wrong comes first."""
    with np.errstate(all="ignore"):
        distance = np.abs(point.hand - point.expected) / np.maximum(point.allowed, 1e-300)
    distance[np.isnan(distance)] = np.inf
    distance[point.wrong] += 1e30
    distance[~np.isfinite(point.expected)] = 0
    return distance


def _entry_name(layout: PytreeLayout, name: str, index: int, shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return layout.name(index)
    row, column = divmod(index, shape[1])
    first = layout.name(row) if name == "hessian" else f"output {row}"
    return f"{first}, {layout.name(column)}"


def _lines(report: DerivativeReport) -> list[str]:
    verdict = {"right": "all right", "wrong": "WRONG"}.get(report.verdict, report.verdict)
    against = f" against {report.reference}" if report.reference != "nothing" else ""
    lines = [f"derivatives{against}, {report.dtype}: {verdict}"]
    for check in report.checks:
        lines += ["", *_check_lines(check)]
        lines += _diagnosis_lines([d for d in report.diagnoses if d.where == check.name])
    compared = {check.name for check in report.checks}
    others = [d for d in report.diagnoses if d.where not in compared]
    lines += ["", *_diagnosis_lines(others, named=True)] if others else []
    remarks = [finding for finding in report.findings if finding.kind != "wrong"]
    lines += [""] if remarks else []
    for finding in remarks:
        lines += _wrap(f"{finding.severity}: {finding.message}", "")
    if report.sweep is not None:
        lines += ["", *_wrap(_sweep_text(report.sweep), "")]
    for sentence in report.properties:
        lines += _wrap(sentence, "")
    return lines


def _diagnosis_lines(diagnoses: list[Diagnosis], named: bool = False) -> list[str]:
    """What may be wrong; one sentence may be of several kinds."""
    lines: list[str] = []
    kinds: dict[Diagnosis, list[str]] = {}
    for d in diagnoses:
        kinds.setdefault(d._replace(kind=""), []).append(d.kind)
    for d, names in kinds.items():
        where = f"{d.where}: " if named else ""
        text = f"{where}diagnosis ({', '.join(names)}): {d.message}"
        lines += _wrap(text, "" if named else "  ") + _wrap(d.evidence, "    ")
        lines += [f"    fix, verified: {d.fix}"] if d.fix else []
    return lines


def _check_lines(check: Check) -> list[str]:
    verdict = "right" if check.agrees else "WRONG"
    counts = f"{check.num_wrong} of {check.num_entries} entries differ" if check.num_wrong else (
        f"all {check.num_entries} entries agree"
    )  # fmt: skip
    lines = [f"{check.name}: {verdict}; {counts} at {check.num_points} points"]
    lines += _wrap(
        f"largest difference {check.absolute:.1e}, relative in norm {check.relative:.1e}, "
        f"norms {check.hand_norm:.4g} and {check.reference_norm:.4g}", "  ",
    )  # fmt: skip
    shown = check.worst if check.num_wrong else check.worst[:1]
    width = min(_NAME_WIDTH, max([len("worst"), *(len(entry.name) for entry in shown)]))
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


def _sweep_text(sweep: StepSweep) -> str:
    text = (
        f"differences of the value: relative error {sweep.best_error:.1e} at step "
        f"{sweep.best_step:.1e}"
    )
    if math.isfinite(sweep.slope):
        text += f", falling with slope {sweep.slope:.2f} before it"
    tried = f"all {sweep.coordinates} coordinates" if sweep.coordinates else "random directions"
    if sweep.complex_error is None:
        return f"{text} ({tried})."
    exact = f"{sweep.complex_error:.1e}." if math.isfinite(sweep.complex_error) else (
        "the value does not allow it."
    )  # fmt: skip
    return f"{text} ({tried}); complex step: {exact}"


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _as_plain(value: Any) -> Any:
    """A named tuple, array, or tuple of them in lists, dicts and numbers."""
    if hasattr(value, "_asdict"):
        return {name: _as_plain(x) for name, x in value._asdict().items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_as_plain(x) for x in value] if isinstance(value, tuple) else value
