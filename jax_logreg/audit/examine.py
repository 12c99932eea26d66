"""One derivative at every point: by hand, by the reference, and which entries differ.

An error that shrinks with the unit round-off is round-off; one that stays is a mistake.
So the hand-written function is asked in both precisions where that is possible: a
mistake is sought in float64, whatever the dtype of the audit, and where float64
disagrees, float32 tells whether the disagreement scales with the precision.
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.calls import Caller
from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding, Unusable
from jax_logreg.audit.reference import Referred, Vectors
from jax_logreg.audit.subject import Subject

_EPS = {name: float(jnp.finfo(name).eps) for name in ("float16", "bfloat16", "float32", "float64")}
# Below this, relative to an entry and its sensitivity, no formula is called wrong: that
# is the size of numerical differentiation and of constants with few digits.
_APPROXIMATE = 1e-7
# The same, at the most extreme of points.
_GROSS = 1e-3
# Relative to the largest entry, where nothing is extreme.
_NEVER_ROUND_OFF = 1e-2
# An error that is this much smaller in float64 than in float32 is round-off.
_SHRINKS = 1e-5
# What two roundings of the same datum to float32 explain.
_TWICE_ROUNDED = 8.0


@dataclass
class Place:
    """A derivative at one point; all arrays of one shape, in float64.

    Attributes:
        theta: the point. vector: of an HVP, or None.
        hand: by hand, in the best precision that it could be had in.
        expected: by the reference.
        allowed: how far round-off may carry each entry.
        wrong: entries that differ by more.
        lossy: whether entries differ, but by round-off.
        approximate: whether entries differ, but too little to call the formula wrong.
        low: by hand in the audit's own precision.
        narrow: the dtype that came back, where it has fewer digits than that; or "".
    """

    theta: np.ndarray
    vector: np.ndarray | None
    hand: np.ndarray
    expected: np.ndarray
    allowed: np.ndarray
    wrong: np.ndarray
    lossy: bool
    approximate: bool
    low: np.ndarray
    narrow: str

    def forgive(self, relative: float) -> None:
        """Call nothing wrong that is off by less than a part of the largest entry."""
        size = float(np.max(np.abs(self.expected), initial=0.0, where=np.isfinite(self.expected)))
        with np.errstate(all="ignore"):
            self.wrong &= np.abs(self.hand - self.expected) > relative * size


@dataclass
class Examination:
    """One derivative, examined.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        places: moderate points; the last is the user's own.
        extreme: far out; without those where the reference is not finite.
        findings: remarks that came up.
        rejected: what the function was called with, and arrays of a wrong shape it gave.
    """

    name: str
    places: list[Place] = field(default_factory=list)
    extreme: list[Place] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rejected: tuple[Vectors, list[np.ndarray]] | None = None

    @property
    def wrong(self) -> bool:
        """Whether some entry at some moderate point is wrong."""
        return any(place.wrong.any() for place in self.places)

    @property
    def wrong_far_out(self) -> bool:
        """Whether entries are wrong at extreme points."""
        return any(place.wrong.any() for place in self.extreme)


class Examiner:
    """Compares a user's function with a reference at one point after another."""

    def __init__(self, caller: Caller, subject: Subject):
        self.name = caller.name
        self._caller, self._subject = caller, subject
        self._units, self._dtype, self._eps = subject.units, subject.dtype, subject.eps
        self._ordinary: np.ndarray | float = 0.0

    def place(self, vectors: Vectors, referred: Referred, far: bool) -> Place | None:
        """The derivative at a point, or None where the reference is not finite anywhere.

        Args:
            vectors: what the function is called with.
            referred: what the reference says there.
            far: whether overflow is a weakness there, not a mistake.

        Raises:
            Unusable: when the user's function gives nothing to compare.
        """
        raw = self._caller(*vectors, dtype=self._dtype)
        low = raw.astype(np.float64)
        expected, spread, own = referred
        hand = self._best(low, *vectors)
        eps = max(self._eps, _EPS[raw.dtype.name] if hand is low else 0.0)
        spread = np.maximum(
            np.maximum(spread, self._ordinary), self._subject.natural_size(self.name, *vectors)
        )
        allowed = self._allowed(spread, expected, eps) + own
        known = np.isfinite(expected)
        if not known.any():
            return None
        with np.errstate(all="ignore"):
            error = np.abs(hand - expected)
            differs = known & ~(error <= allowed)
            wrong = differs & ~(error <= _APPROXIMATE * (spread + np.abs(expected)))
        approximate, lossy = bool(differs.any() and not wrong.any()), False
        if wrong.any():
            wrong &= self._is_wrong_for_both(hand, allowed, *vectors)
        if wrong.any() and self._is_round_off(wrong, hand, expected, far, *vectors):
            lossy, wrong = True, np.zeros_like(wrong)
        if hand is not low:
            coarse = self._allowed(spread, expected, _EPS[self._dtype]) + own
            with np.errstate(all="ignore"):
                off = known & ~(np.abs(low - expected) <= coarse) & ~wrong
            wrong |= off & ~np.isfinite(low)
            lossy |= bool(off.any())
        if far:
            wrong &= np.isfinite(low)
        return Place(
            vectors[0], vectors[1] if len(vectors) > 1 else None,
            hand, expected, allowed, wrong, lossy, approximate, low,
            raw.dtype.name if _EPS[raw.dtype.name] > _EPS[self._dtype] else "",
        )  # fmt: skip

    def remember(self, moderate: list[Referred]) -> None:
        """At a saturated point an entry may be off by as much as at an ordinary one."""
        spreads = [np.where(np.isfinite(spread), spread, 0.0) for _, spread, _ in moderate]
        self._ordinary = np.max(spreads, axis=0)

    def _allowed(self, spread: np.ndarray, expected: np.ndarray, eps: float) -> np.ndarray:
        allowed = self._units * eps * (spread + np.abs(expected))
        if self._dtype != "float64" and eps == _EPS["float64"]:
            coarse = _EPS[self._dtype]
            allowed = allowed + _TWICE_ROUNDED * coarse * (spread + np.abs(expected))
        return np.where(np.isfinite(allowed), allowed, 0.0)

    def _is_wrong_for_both(
        self, hand: np.ndarray, allowed: np.ndarray, *vectors: np.ndarray
    ) -> np.ndarray | bool:
        """Far out it may be the value as it was written that loses digits, not the hand."""
        other = self._subject.second_opinion(self.name, *vectors)
        if other is None:
            return True
        with np.errstate(all="ignore"):
            return ~(np.abs(hand - other) <= allowed)

    def _best(self, low: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
        if self._dtype == "float64":
            return low
        try:
            high = self._caller(*vectors, dtype="float64")
        except Unusable:
            return low
        return high if high.dtype == np.float64 else low

    def _is_round_off(
        self,
        wrong: np.ndarray,
        hand: np.ndarray,
        expected: np.ndarray,
        far: bool,
        *vectors: np.ndarray,
    ) -> bool:
        """Whether the same difference is a hundred thousand times larger in float32."""
        error = np.abs(hand - expected)[wrong]
        large = error > _NEVER_ROUND_OFF * np.max(np.abs(expected[wrong]), initial=0.0)
        if not np.isfinite(error).all() or (large.any() and not far):
            return False
        try:
            single = self._caller(*vectors, dtype="float32")
        except Unusable:
            return False
        if single.dtype != np.float32:
            return False
        coarse = np.abs(single - expected)[wrong]
        if _shrinks(error, coarse, far):
            return True
        again = self._subject.in_float32(self.name, *vectors)
        if again is None:
            return False
        return _shrinks(error, np.maximum(coarse, np.abs(again - expected)[wrong]), far)


def _shrinks(error: np.ndarray, coarse: np.ndarray, far: bool) -> bool:
    """Whether errors in float64 are as much smaller than those in float32 as round-off is.

    What overflows in float32 is no evidence, but far out it is to be expected.
    """
    coarse = np.where(np.isfinite(coarse), coarse, np.inf if far else 0.0)
    coarse = np.maximum(coarse, np.median(coarse))
    return bool(np.all(error <= _SHRINKS * coarse))


def examine(
    examiner: Examiner,
    moderate: list[tuple[Vectors, Referred]],
    extreme: list[tuple[Vectors, Referred]],
) -> Examination:
    """A derivative at moderate points, then far out.

    Args:
        examiner: who compares.
        moderate: what the function is called with, and the reference's answer, one a
            point; the last point is the user's own.
        extreme: the same far out; in the last of them only gross errors count.
    """
    result = Examination(examiner.name)
    examiner.remember([referred for _, referred in moderate[:-1]])
    for asked in moderate:
        _visit(result, result.places, examiner, *asked)
    if not result.wrong and not any(f.severity == ERROR for f in result.findings):
        for asked in extreme:
            _visit(result, result.extreme, examiner, *asked)
        if len(result.extreme) == len(extreme) > 0:
            result.extreme[-1].forgive(_GROSS)
    result.findings = list(dict.fromkeys(result.findings))
    return result


def _visit(
    result: Examination,
    places: list[Place],
    examiner: Examiner,
    vectors: Vectors,
    referred: Referred,
) -> None:
    far = places is result.extreme
    try:
        place = examiner.place(vectors, referred, far)
    except Unusable as problem:
        finding = problem.finding
        if problem.arrays:
            result.rejected = vectors, problem.arrays
        if far:
            finding = finding._replace(severity=WARNING, message=f"far out, {finding.message}")
        result.findings.append(finding)
        return
    if place is not None and place.narrow:
        text = f"{result.name} returns {place.narrow}, with fewer digits than it was given."
        result.findings.append(Finding("dtype", ERROR, result.name, text))
    if place is None:
        if not far:
            text = "the reference is not finite at one of the points; it was passed over."
            result.findings.append(Finding("not-finite", NOTE, result.name, text))
        return
    places.append(place)
    result.findings += _finiteness(result.name, place, far)
    if place.approximate:
        text = "is right to about seven digits only, which is more than round-off explains: numerical differentiation, or a constant with few digits?"  # noqa: E501
        result.findings.append(
            Finding("approximate", WARNING, result.name, f"{result.name} {text}")
        )
    if place.lossy:
        text = "differs from the reference by more than careful round-off, but the difference shrinks with the unit round-off: right, and loses digits."  # noqa: E501
        result.findings.append(Finding("precision", NOTE if far else WARNING, result.name, text))


def _finiteness(name: str, place: Place, far: bool) -> list[Finding]:
    hand, expected = np.isfinite(place.low), np.isfinite(place.expected)
    where = "far out, " if far else ""
    found = []
    if (~hand & expected).any():
        text = f"{where}{name} is not finite in {(~hand & expected).sum()} of {hand.size} entries where the reference is."  # noqa: E501
        found.append(Finding("not-finite", WARNING if far else ERROR, name, text))
    if (hand & ~expected).any():
        text = f"{where}the reference is not finite in {(hand & ~expected).sum()} of {hand.size} entries where {name} is."  # noqa: E501
        found.append(Finding("reference-not-finite", NOTE, name, text))
    return found
