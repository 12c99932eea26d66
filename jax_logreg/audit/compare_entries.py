"""Entry-by-entry comparison of a derivative with its reference, at every point.

An error that shrinks with the unit round-off is round-off; one that stays is a mistake.
So the hand-written function is called in both precisions where that is possible: a
mistake is sought in float64, whatever the dtype of the audit, and where float64
disagrees, float32 shows whether the disagreement scales with the precision.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding, UnusableOutput
from jax_logreg.audit.reference import ReferenceValue, Vectors
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction

_EPS = {name: float(jnp.finfo(name).eps) for name in ("float16", "bfloat16", "float32", "float64")}
# A difference below this, relative to an entry and its sensitivity, is not called wrong:
# that is the size of numerical differentiation and of constants with few digits.
_APPROXIMATE = 1e-7
# The same at the most extreme point, relative to the largest entry.
_GROSS = 1e-3
# A difference above this, relative to the largest entry, is never round-off at a moderate point.
_NEVER_ROUND_OFF = 1e-2
# An error is round-off if it is this much smaller in float64 than in float32.
_ROUND_OFF_RATIO = 1e-5
# What rounding the same datum to float32 twice explains, in units.
_TWICE_ROUNDED = 8.0


@dataclass
class PointComparison:
    """A derivative at one point; all arrays of one shape, in float64.

    Attributes:
        theta: the point.
        vector: of an HVP, or None.
        hand: by hand, in the best precision that the function returns.
        expected: by the reference.
        allowed: how far round-off may carry each entry.
        wrong: entries that differ by more.
        lossy: whether entries differ, but by round-off.
        approximate: whether entries differ, but too little to call the formula wrong.
        low: by hand in the audit's own precision.
        narrow_dtype: the dtype returned, if it has fewer digits than that; or "".
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
    narrow_dtype: str

    @property
    def vectors(self) -> Vectors:
        """What the derivative was called with: θ, and v if there is one."""
        return (self.theta,) if self.vector is None else (self.theta, self.vector)

    def keep_gross_errors(self, relative: float) -> None:
        """Call only those entries wrong that are off by a part of the largest entry."""
        size = float(np.max(np.abs(self.expected), initial=0.0, where=np.isfinite(self.expected)))
        with np.errstate(all="ignore"):
            self.wrong &= np.abs(self.hand - self.expected) > relative * size


@dataclass
class DerivativeComparison:
    """One derivative at all points.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        moderate: at the moderate points; the last is the user's own.
        extreme: far out; without those where the reference is not finite.
        findings: remarks that came up.
        reading: how an answer in another form is read, such as "transposed"; "" as it is.
        num_more_points: at how many further points products with random directions agree.
    """

    name: str
    moderate: list[PointComparison] = field(default_factory=list)
    extreme: list[PointComparison] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    reading: str = ""
    num_more_points: int = 0

    @property
    def wrong(self) -> bool:
        """Whether some entry at some moderate point is wrong."""
        return any(point.wrong.any() for point in self.moderate)

    @property
    def wrong_far_out(self) -> bool:
        """Whether entries are wrong at extreme points."""
        return any(point.wrong.any() for point in self.extreme)


class EntryComparer:
    """Compares a user's function with a reference at one point after another.

    Args:
        function: the hand-written derivative.
        target: the value.
        usual_sensitivity: median sensitivity of each entry over the moderate points: at a
            saturated point an entry may be off by as much as at an ordinary one.
    """

    def __init__(
        self, function: UserFunction, target: Target, usual_sensitivity: np.ndarray | float
    ):
        self._function, self._target = function, target
        self._dtype, self._usual_sensitivity = target.dtype, usual_sensitivity

    def compare(self, reference: ReferenceValue, far: bool) -> PointComparison | None:
        """The derivative at a point, or None where no entry of the reference is finite.

        Far out, overflow is a weakness and no mistake.

        Raises:
            UnusableOutput: if the user's function returns nothing to compare.
        """
        vectors, expected = reference.vectors, reference.expected
        raw = self._function(*vectors, dtype=self._dtype)
        known = np.isfinite(expected)
        if not known.any():
            return None
        low = raw.astype(np.float64)
        high = None if self._dtype == "float64" else self._called_in("float64", *vectors)
        hand = low if high is None else high
        sensitivity = np.maximum(
            np.maximum(reference.sensitivity, self._usual_sensitivity),
            self._target.unsaturated_size(self._function.name, *vectors),
        )
        eps = max(self._target.eps, _EPS[raw.dtype.name] if hand is low else 0.0)
        allowed = self._allowed(sensitivity, expected, eps) + reference.error
        differs = known & ~_is_within(hand, expected, allowed)
        approximation = _APPROXIMATE * (sensitivity + np.abs(expected))
        wrong = differs & ~_is_within(hand, expected, approximation)
        approximate, lossy = bool(differs.any() and not wrong.any()), False
        if wrong.any():
            wrong &= self._differs_from_stable_form(hand, allowed, *vectors)
        if wrong.any() and self._is_round_off(wrong, hand, expected, far, *vectors):
            lossy, wrong = True, np.zeros_like(wrong)
        if hand is not low:
            coarse = self._allowed(sensitivity, expected, _EPS[self._dtype]) + reference.error
            off = known & ~_is_within(low, expected, coarse) & ~wrong
            wrong |= off & ~np.isfinite(low)
            lossy |= bool(off.any())
        if far:
            wrong &= np.isfinite(low)
        return PointComparison(
            vectors[0], vectors[1] if len(vectors) > 1 else None,
            hand, expected, allowed, wrong, lossy, approximate, low,
            raw.dtype.name if _EPS[raw.dtype.name] > _EPS[self._dtype] else "",
        )  # fmt: skip

    def _allowed(self, sensitivity: np.ndarray, expected: np.ndarray, eps: float) -> np.ndarray:
        units = self._target.round_off_units * eps
        if self._dtype != "float64" and eps == _EPS["float64"]:
            units += _TWICE_ROUNDED * _EPS[self._dtype]
        allowed = units * (sensitivity + np.abs(expected))
        return np.where(np.isfinite(allowed), allowed, 0.0)

    def _differs_from_stable_form(
        self, hand: np.ndarray, allowed: np.ndarray, *vectors: np.ndarray
    ) -> np.ndarray | bool:
        """False where it is autodiff of the value as written that lost digits, not the hand."""
        stable = self._target.stable_derivative(self._function.name, *vectors)
        return True if stable is None else ~_is_within(hand, stable, allowed)

    def _called_in(self, dtype: str, *vectors: np.ndarray) -> np.ndarray | None:
        """The function in a precision, None if it fails or returns another one."""
        found = self._function.attempt(*vectors, dtype=dtype)
        return found if found is not None and found.dtype == dtype else None

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
        single = self._called_in("float32", *vectors)
        if single is None:
            return False
        coarse = np.abs(single - expected)[wrong]
        if _scales_with_precision(error, coarse, far):
            return True
        autodiff = self._target.autodiff_in_float32(self._function.name, *vectors)
        if autodiff is None:
            return False
        coarse = np.maximum(coarse, np.abs(autodiff - expected)[wrong])
        return _scales_with_precision(error, coarse, far)


def _is_within(hand: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.abs(hand - expected) <= allowed


def _scales_with_precision(error: np.ndarray, coarse: np.ndarray, far: bool) -> bool:
    """Whether errors in float64 are smaller than those in float32 by as much as round-off is.

    Overflow in float32 is no evidence, except far out, where it is to be expected.
    """
    coarse = np.where(np.isfinite(coarse), coarse, np.inf if far else 0.0)
    coarse = np.maximum(coarse, np.median(coarse))
    return bool(np.all(error <= _ROUND_OFF_RATIO * coarse))


def compare_at_points(
    function: UserFunction,
    target: Target,
    moderate: list[ReferenceValue],
    extreme: list[ReferenceValue],
) -> DerivativeComparison:
    """Compare a derivative at moderate points, then far out, where it is right so far.

    Args:
        function: the hand-written derivative.
        target: the value.
        moderate: the reference at each point; the last is the user's own.
        extreme: the same far out; at the last of them only gross errors count.
    """
    result = DerivativeComparison(function.name)
    # Not the largest: where an exponential explodes at one point, its round-off is no measure.
    usual = np.median([np.nan_to_num(r.sensitivity, posinf=0.0) for r in moderate[:-1]], axis=0)
    comparer = EntryComparer(function, target, usual)
    for reference in moderate:
        _compare_at(result, comparer, reference, far=False)
    if not result.wrong and not any(f.severity == ERROR for f in result.findings):
        for reference in extreme:
            _compare_at(result, comparer, reference, far=True)
        if len(result.extreme) == len(extreme) > 0:
            result.extreme[-1].keep_gross_errors(_GROSS)
    result.findings = list(dict.fromkeys([*result.findings, *_few_digits(result)]))
    return result


def _few_digits(result: DerivativeComparison) -> Iterator[Finding]:
    """A warning where entries are right, but not to round-off."""
    points = [p for p in (*result.moderate, *result.extreme) if p.approximate]
    if points:
        off = [
            np.nanmax(np.abs(p.hand - p.expected)) / np.nanmax(np.abs(p.expected)) for p in points
        ]
        digits = int(-np.log10(max(off)))
        text = f"{result.name} is right to about {digits} digits only, which is more than round-off explains: numerical differentiation, or a constant with few digits?"  # noqa: E501
        yield Finding("approximate", WARNING, result.name, text)


def _compare_at(
    result: DerivativeComparison, comparer: EntryComparer, reference: ReferenceValue, far: bool
) -> None:
    try:
        point = comparer.compare(reference, far)
    except UnusableOutput as problem:
        finding = problem.finding
        if far:
            finding = finding._replace(severity=WARNING, message=f"far out, {finding.message}")
        result.findings.append(finding)
        return
    if point is not None:
        (result.extreme if far else result.moderate).append(point)
        result.findings += remarks(result.name, point, far)
    elif not far:
        text = "the reference is not finite at one of the points; it was passed over."
        result.findings.append(Finding("not-finite", NOTE, result.name, text))


def remarks(name: str, point: PointComparison, far: bool) -> Iterator[Finding]:
    """What a comparison at one point shows beside wrong entries."""
    if point.narrow_dtype:
        text = f"{name} returns {point.narrow_dtype}, with fewer digits than it was given."
        yield Finding("dtype", ERROR, name, text)
    hand, expected = np.isfinite(point.low), np.isfinite(point.expected)
    where, size = "far out, " if far else "", hand.size
    if (~hand & expected).any():
        text = f"{where}{name} is not finite in {(~hand & expected).sum()} of {size} entries where the reference is."  # noqa: E501
        yield Finding("not-finite", WARNING if far else ERROR, name, text)
    if (hand & ~expected).any():
        text = f"{where}the reference is not finite in {(hand & ~expected).sum()} of {size} entries where {name} is."  # noqa: E501
        yield Finding("reference-not-finite", NOTE, name, text)
    if point.lossy:
        text = "differs from the reference by more than careful round-off, but the difference shrinks with the unit round-off: right, and loses digits."  # noqa: E501
        yield Finding("precision", NOTE if far else WARNING, name, text)
