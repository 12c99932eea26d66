"""Answers in another form than the one due: their numbers are compared all the same."""

from itertools import islice

import numpy as np

from jax_logreg.audit.compare_entries import DerivativeComparison, compare_at_points
from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding, UnusableOutput
from jax_logreg.audit.readings import Arrays, Reading
from jax_logreg.audit.reference import ReferenceValue
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction

_MAX_READINGS = 100
# Another order is preferred to the likeliest where it is nearer to the reference by this much.
_NEARER = 1e-6


def compare_in_any_form(
    function: UserFunction,
    target: Target,
    moderate: list[ReferenceValue],
    extreme: list[ReferenceValue],
) -> DerivativeComparison:
    """:func:`compare_at_points`, with the order of entries in which the answer comes nearest."""
    found = compare_at_points(function, target, moderate, extreme)
    how = _usual_reading(function)
    if function.reader.arrays and (found.wrong or not found.moderate):
        for reading in _likeliest(function, moderate):
            again = compare_at_points(function.read_as(reading), target, moderate, extreme)
            if found.moderate or (again.moderate and not again.wrong):
                found, how = again, reading.text
                break
    found.reading = how if found.moderate else ""
    found.findings = [*form_findings(function, found), *found.findings]
    return found


def add_form(function: UserFunction, found: DerivativeComparison) -> None:
    """Say in a comparison by the likeliest reading what form the answers have."""
    found.reading = _usual_reading(function)
    found.findings = [*form_findings(function, found), *found.findings]


def _usual_reading(function: UserFunction) -> str:
    if not function.reader.form:
        return ""
    return next((reading.text for reading in function.reader.readings()), "")


def form_findings(function: UserFunction, found: DerivativeComparison) -> list[Finding]:
    """What is to be said about the form of a function's answers."""
    reader, remarks = function.reader, list(function.reader.remarks)
    if found.wrong:  # whole numbers that are wrong may have been cut
        remarks = [
            r._replace(severity=ERROR) if (r.kind, r.severity) == ("dtype", WARNING) else r
            for r in remarks
        ]
    if not reader.form or not found.moderate or (reader.tolerated and not found.reading):
        return remarks
    how = f"{found.reading}, " if found.reading else ""
    verdict = f"{how}its numbers are right."
    if found.wrong:
        verdict = f"{how}its numbers are wrong, too."
    text = f"{function.name} {reader.form}; {verdict}"
    # The right numbers in the right order in an array of another shape: a right derivative.
    is_array = reader.form.startswith("has shape")
    severity = WARNING if is_array and not found.wrong and not found.reading else ERROR
    return [*remarks, Finding("shape", severity, function.name, text)]


def diagonal_remark(off_diagonal: float) -> Finding:
    """That only a diagonal is given, and how large the rest of the Hessian is.

    Args:
        off_diagonal: the largest entry off the diagonal; NaN if it is not known.
    """
    text = "hessian returns a diagonal, which is compared with that of the Hessian"
    if np.isfinite(off_diagonal):
        text += f"; off-diagonal entries reach {off_diagonal:.2g}"
    return Finding("diagonal", NOTE, DIAGONAL, f"{text}.")


def _likeliest(function: UserFunction, references: list[ReferenceValue]) -> list[Reading]:
    """Readings nearer to the reference than the first one, the nearest first."""
    samples = [s for r in references if (s := _sample(function, r)) is not None]
    readings = list(islice(function.reader.readings(), _MAX_READINGS))
    if not samples or not readings:
        return []
    near = [float(np.mean([_alikeness(r.read(a), e) for a, e in samples])) for r in readings]
    is_reduced = function.reader.arrays[0].size != samples[0][1].size and len(samples[0][0]) == 1
    # What is accepted as it is must be right, or off by a factor, in another order to be so read.
    bar = 1 - _NEARER if is_reduced or function.reader.tolerated else 0.0
    bar = bar if is_reduced else max(bar, near[0] + _NEARER)
    best = sorted(range(len(near)), key=lambda i: -near[i])
    chosen = [readings[i] for i in best if near[i] > bar]
    return chosen if is_reduced else chosen[:1]


def _sample(function: UserFunction, reference: ReferenceValue) -> tuple[Arrays, np.ndarray] | None:
    """The arrays that a function returns, in whatever form, and the numbers due."""
    try:
        function(*reference.vectors, dtype="float64")
    except UnusableOutput as problem:
        if not problem.arrays:
            return None
    return function.reader.arrays, np.ravel(reference.expected)


def _alikeness(found: np.ndarray, expected: np.ndarray) -> float:
    """|cosine| of the angle between two vectors."""
    found, expected = (np.nan_to_num(x.astype(float)) for x in (found, expected))
    size = float(np.linalg.norm(found) * np.linalg.norm(expected))
    return abs(float(found @ expected)) / size if size else 0.0
