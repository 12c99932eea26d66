"""The course of one audit: draw points, choose a reference, examine, diagnose, report."""

from dataclasses import replace
from functools import partial

import numpy as np

from jax_logreg.audit import facts
from jax_logreg.audit.calls import Caller
from jax_logreg.audit.diagnose import Diagnoser
from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.differences import Sweep
from jax_logreg.audit.examine import Examination, Examiner, examine
from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding
from jax_logreg.audit.points import Points, draw_points
from jax_logreg.audit.program import Program
from jax_logreg.audit.reference import Autodiff, Differences, Referred, Vectors
from jax_logreg.audit.report import DerivativeReport, make_check
from jax_logreg.audit.state import look_for_state
from jax_logreg.audit.subject import Subject
from jax_logreg.audit.witnesses import choose_reference, scan

# Random lines along which convexity is looked at.
_LINES = 8


class Auditor:
    """One audit.

    Args:
        subject: the value.
        callers: its hand-written derivatives, in the order of examination.
        seed: of points and directions.
    """

    def __init__(self, subject: Subject, callers: list[Caller], seed: int):
        self._subject, self._callers, self._seed = subject, callers, seed
        self._findings = list(subject.findings)

    def report(self) -> DerivativeReport:
        """Everything, in order."""
        subject = self._subject
        if any(finding.severity == ERROR for finding in self._findings):
            return self._summary([], [], None, "nothing")
        points = self._points()
        if not any(map(subject.has_value, points.moderate)):
            text = "the value is finite at no point around the one given."
            self._findings.append(Finding("not-finite", ERROR, "value", text))
            return self._summary([], [], None, "nothing")
        sweep = scan(subject, points, self._seed)
        gradient = next((c for c in self._callers if c.name == "gradient"), None)
        reference, remarks = choose_reference(subject, gradient, points, sweep)
        self._findings += remarks
        found = [self._examine(caller, reference, points) for caller in self._callers]
        self._findings += look_for_state(subject, self._callers, points, found)
        return self._summary(found, self._facts(found, points), sweep, reference.name)

    def _points(self) -> Points:
        subject = self._subject
        draw = partial(draw_points, subject.at, subject.cut, seed=self._seed, dtype=subject.dtype)
        points = draw(subject.has_slope)
        # Where autodiff is finite nowhere, the value itself must do.
        return points if subject.has_slope(points.moderate[0]) else draw(subject.has_value)

    def _examine(
        self, caller: Caller, reference: Autodiff | Differences, points: Points
    ) -> Examination:
        if isinstance(reference, Differences) and any(f.kind == "wrong" for f in self._findings):
            reference = replace(reference, slopes=None)  # a wrong gradient is no reference
        rng = np.random.default_rng(self._seed + 1)

        def vectors(theta: np.ndarray) -> Vectors:
            if caller.name != "hvp":
                return (theta,)
            v = points.scale * rng.normal(size=theta.size)
            return theta, v.astype(self._subject.dtype).astype(np.float64)

        places = [vectors(theta) for theta in points.moderate + points.extreme]
        asked = list(zip(places, reference.refer(caller.name, places), strict=True))
        count = len(points.moderate)
        asked[count - 1] = self._off_the_kinks(caller.name, reference, points, asked[:count])
        found = examine(Examiner(caller, self._subject), asked[:count], asked[count:])
        found.findings += _verdict(found)
        self._findings += found.findings
        return found

    def _off_the_kinks(
        self,
        kind: str,
        reference: Autodiff | Differences,
        points: Points,
        asked: list[tuple[Vectors, Referred]],
    ) -> tuple[Vectors, Referred]:
        """The user's own point, where entries that jump beside it have no one value.

        At zero, the usual start, an L1 penalty has a kink: any slope between the two
        sides is right.
        """
        (theta, *rest), (expected, spread, own) = asked[-1]
        step = (
            1e-6 * points.scale * np.random.default_rng(self._seed + 3).choice([-1, 1], len(theta))
        )
        (before, *_), (after, *_) = reference.refer(
            kind, [(theta - step, *rest), (theta + step, *rest)]
        )
        usual = np.max([np.abs(referred[0]) for _, referred in asked[:-1]], axis=0)
        jumps = np.abs(after - before) > 1e-3 * usual
        if jumps.any():
            text = f"at the point given {int(jumps.sum())} entries have a kink: not compared there."
            self._findings.append(Finding("kink", NOTE, kind, text))
            expected = np.where(jumps, np.nan, expected)
        return (theta, *rest), (expected, spread, own)

    def _facts(self, examinations: list[Examination], points: Points) -> list[str]:
        by_name = {e.name: e for e in examinations}
        found = facts.model_facts(self._subject.model)
        if "hessian" in by_name:
            subject = self._subject
            found += facts.hessian_facts(by_name["hessian"], subject.layout, subject.model)
        if "hvp" in by_name:
            found += facts.product_facts(by_name["hvp"], by_name.get("hessian"))
        if self._subject.program is not None and self._subject.is_scalar:
            found += self._convexity(self._subject.program, points)
        return found

    def _convexity(self, program: Program, points: Points) -> list[str]:
        rng = np.random.default_rng(self._seed + 2)
        chosen = rng.integers(0, len(points.moderate) - 1, _LINES)
        theta = np.stack([points.moderate[i] for i in chosen])
        lines = points.scale * rng.normal(size=theta.shape)
        curvatures = np.sum(lines * Autodiff(program).at_all("hvp", theta, lines), axis=1)
        return [facts.convexity_fact(curvatures)] if np.isfinite(curvatures).all() else []

    def _summary(
        self, found: list[Examination], remarks: list[str], sweep: Sweep | None, reference: str
    ) -> DerivativeReport:
        subject = self._subject
        checks = (make_check(e, subject.layout, subject.units) for e in found)
        diagnoses = self._diagnoses(found)
        return DerivativeReport(
            checks=tuple(check for check in checks if check is not None),
            findings=tuple(dict.fromkeys(self._findings)),
            diagnoses=tuple(diagnoses),
            facts=tuple(remarks),
            sweep=sweep,
            reference=reference,
            dtype=subject.dtype,
        )

    def _diagnoses(self, examinations: list[Examination]) -> list[Diagnosis]:
        """What the findings say outright, then what explains the numbers."""
        found = [
            Diagnosis(f.kind, f.where, f.message, "seen when it was called", 0.0)
            for f in dict.fromkeys(self._findings)
            if f.severity == ERROR and f.kind not in ("wrong", "not-compared")
        ]
        for examination in examinations:
            if not (examination.wrong or examination.wrong_far_out or examination.rejected):
                continue
            try:
                found += Diagnoser(self._subject)(examination)
            except Exception as error:  # the verdict stands, whatever its explanation meets
                text = (
                    f"the diagnosis of {examination.name} failed ({type(error).__name__}: {error})."
                )
                self._findings.append(Finding("diagnosis-failed", WARNING, examination.name, text))
        return found


def _verdict(found: Examination) -> list[Finding]:
    name = found.name
    if found.wrong or found.wrong_far_out:
        where = "" if found.wrong else " far out"
        return [Finding("wrong", ERROR, name, f"{name} is wrong{where}.")]
    if found.places or any(f.severity == ERROR for f in found.findings):
        return []
    text = f"{name} could not be compared: the reference is finite nowhere."
    return [Finding("not-compared", ERROR, name, text)]
