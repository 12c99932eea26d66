"""Explanations of wrong numbers: does one reproduce them, and how complex is it?

An explanation is a formula. It counts only if it reproduces the hand-written numbers,
entry by entry and at every point, up to round-off. Of those that do, the least complex
are reported (:func:`rank`); there is one rule of complexity (:func:`complexity`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# An explanation must reproduce the numbers within this multiple of the allowed error.
SLACK = 20.0
# Vagueness of an explanation that says where the numbers are wrong and how they are off; of one
# that says of one coordinate that it is wrong; and of one that says where at most.
LOCATED, NEARLY, VAGUE = 0.5, 1.5, 2.5
_MAX_DIAGNOSES = 3
# The evidence for an explanation that needs no number of its own.
REPRODUCED = "with this mistake the numbers are reproduced at every point"
# A fit counts only if so many numbers are left to refute it.
_SPARE = 2

# Kind ↦ what it means; the order is that of the documentation.
KINDS = {
    "sign": "the sign is flipped",
    "factor": "a constant factor too much or too little",
    "zero": "identically zero",
    "penalty-missing": "the penalty is left out",
    "penalty-factor": "the penalty has a wrong factor (doubled, halved, wrong sign, n)",
    "penalty-on-intercept": "the intercept is penalised",
    "weights": "sample weights left out, or not as they should be",
    "offset": "the offset left out, or with a wrong sign",
    "transposed": "transposed",
    "class-order": "class-major where feature-major is meant, or the other way round",
    "labels": "labels in {0, 1} against {−1, 1}, or shifted",
    "sigmoid-softmax": "the sigmoid where the softmax is meant, or the other way round",
    "fisher": "outer products of the scores in place of the observed information",
    "gauss-newton": "the curvature of an inner step left out: JᵀJ, the expected information",
    "chain-factor": "a factor of the chain rule missing or too much, such as σ(1 − σ)",
    "complement": "p against 1 − p, or y against 1 − y",
    "cross-class": "the blocks between classes dropped, or wrong",
    "off-by-one": "a row or a column shifted, left out or counted twice",
    "swapped": "entries or blocks exchanged, or one copied into another",
    "coordinate": "wrong in one coordinate only",
    "block": "wrong in one parameter, class, feature or block only",
    "triangle": "only one triangle of the matrix is filled",
    "diagonal": "only the diagonal is filled",
    "large-logits": "wrong only at large arguments",
    "constant": "a constant is added",
    "vector": "not the product with the vector that was given",
    "intercept": "the intercept is left out of the logits",
    "inverse": "the inverse matrix",
    "shape": "a shape that does not fit",
    "dtype": "numbers of another kind, or with fewer digits, than were given",
    "raises": "the function raises",
    "not-finite": "NaN or infinity where the reference is finite",
    "autodiff-differs": "JAX's own derivative of the value is not that of its numbers",
    "hidden-state": "the answer depends on more than the arguments",
    "unknown": "no known kind of mistake reproduces these numbers",
}


class Diagnosis(NamedTuple):
    """A mistake that reproduces the hand-written numbers.

    Attributes:
        kind: one of KINDS.
        where: the derivative that it is about.
        message: what is wrong, in a sentence.
        evidence: the fitted ratio, the residual that vanishes, and the like.
        complexity: see :func:`complexity`; equally complex diagnoses are equally likely.
        fix: a line of code that makes what the function returns right, in the names of the
            user's functions (g, H, J or Hv is what it returns); "" if none is known. It has
            been run at every point before it is reported.

    >>> Diagnosis("sign", "gradient", "The sign is flipped.", "ratio -1").complexity
    1.0
    """

    kind: str
    where: str
    message: str
    evidence: str
    complexity: float = 1.0
    fix: str = ""


def inner_sentence(sentence: str) -> str:
    """A sentence as a part of another."""
    return f"{sentence[0].lower()}{sentence[1:].rstrip('.')}"


def complexity(pieces: int = 0, factors: int = 0, vagueness: float = 0.0) -> float:
    """How complex an explanation is: the one rule by which explanations are ranked.

    Args:
        pieces: how many pieces of the right formula it changes.
        factors: how many fitted numbers it needs that do not follow from the mistake.
        vagueness: 0 if it says what is wrong, LOCATED or VAGUE if it says where only.

    Returns:
        The sum. One changed piece and one fitted factor count the same.

    >>> complexity(pieces=1) == complexity(factors=1) < complexity(pieces=1, factors=1)
    True
    """
    return pieces + factors + vagueness


# A factor is a simple number if it is this near to one: at least, and at most, whatever the
# round-off of the numbers that it was fitted to.
_SNAPPED = 1e-9, 1e-5
# From here on an explanation is too complex to be taken without trying further ones.
COMPLEX = complexity(pieces=1, factors=1)
# Up to here one changed piece or factor explains every number.
EXPLAINED = complexity(pieces=1)


def rank(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    """The least complex diagnoses, one of each kind, in the order in which they came."""
    found = list(dict.fromkeys(diagnoses))
    least = min((d.complexity for d in found), default=0.0)
    by_kind: dict[str, Diagnosis] = {}
    for diagnosis in found:
        if diagnosis.complexity == least:
            by_kind.setdefault(diagnosis.kind, diagnosis)
    return list(by_kind.values())[:_MAX_DIAGNOSES]


class Mismatch(NamedTuple):
    """A wrong derivative at several points: arrays (m, …) of one shape.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        theta: (m, P).
        vector: (m, P), or None unless it is an HVP.
        hand, expected, allowed, wrong: as in a PointComparison, stacked.
        values: the value at each point, (m,), if it is one number and known.
    """

    name: str
    theta: np.ndarray
    vector: np.ndarray | None
    hand: np.ndarray
    expected: np.ndarray
    allowed: np.ndarray
    wrong: np.ndarray
    values: np.ndarray | None = None

    @property
    def error(self) -> np.ndarray:
        """By hand minus the reference."""
        return self.hand - self.expected

    @property
    def call_arguments(self) -> tuple[np.ndarray, ...]:
        """What the derivative was called with, stacked: θ, and v if there is one."""
        return (self.theta,) if self.vector is None else (self.theta, self.vector)

    @property
    def weight(self) -> np.ndarray:
        """One over the allowed error of every entry; 0 where nothing is allowed."""
        return 1 / np.where(self.allowed > 0, self.allowed, np.inf)

    def ratio(self, axes: int | tuple[int, ...]) -> np.ndarray:
        """hand / expected along axes by least squares, the other axes as they are; NaN where
        nothing is known."""
        h, e = self.hand * self.weight, self.expected * self.weight
        with np.errstate(all="ignore"):
            top = np.nansum(h * e, axis=axes, keepdims=True)
            return top / np.nansum(e**2, axis=axes, keepdims=True)

    def at_points(self, keep: np.ndarray) -> "Mismatch":
        """Only the points of a mask."""
        arrays = {name: array[keep] for name, array in self._asdict().items() if np.ndim(array) > 0}
        return self._replace(**arrays)

    def restrict(self, keep: np.ndarray) -> "Mismatch":
        """Only the entries of a mask of the shape of one point, flattened."""
        hand, expected, allowed, wrong = (
            part[:, keep] for part in (self.hand, self.expected, self.allowed, self.wrong)
        )
        return self._replace(hand=hand, expected=expected, allowed=allowed, wrong=wrong)


class Fit(NamedTuple):
    """Least squares of the hand-written numbers on a few parts.

    Attributes:
        factors: of the parts.
        exact: whether all entries are reproduced.
        residual: norm of what is left over the norm of the error to be explained.
    """

    factors: tuple[float, ...]
    exact: bool
    residual: float


def fit_parts(mismatch: Mismatch, parts: Sequence[np.ndarray]) -> Fit:
    """Fit hand ≈ Σ factor · part over all points and entries.

    Factors that are −2, −1, −½, 0, ½, 1 or 2 up to round-off are exactly that.
    """
    weight = 1 / _positive(mismatch.allowed)
    A = np.stack([(part * weight).ravel() for part in parts], axis=1)
    b = (mismatch.hand * weight).ravel()
    good = np.isfinite(b) & np.isfinite(A).all(axis=1)
    # Entries that no part reaches say nothing about the factors.
    informative = good & np.any(np.abs(A) > 1, axis=1)
    A, b = A[good], b[good]
    # The entries' units differ by decades: scale before solving.
    size = np.linalg.norm(A, axis=0)
    size = np.where(size > 0, size, 1)
    solution = np.linalg.lstsq(A / size, b, rcond=None)[0] / size
    # How far factors move if every entry moves by what is allowed, in the worst direction.
    spread = np.linalg.norm(np.linalg.pinv(A / size), axis=1) / size
    factors = tuple(map(_snapped, solution, np.clip(spread, *_SNAPPED)))
    model = np.sum([f * part for f, part in zip(factors, parts, strict=True)], axis=0)
    enough = np.count_nonzero(informative) >= len(parts) + _SPARE
    return Fit(factors, bool(enough) and matches(mismatch, model), residual(mismatch, model))


def matches(mismatch: Mismatch, model: np.ndarray) -> bool:
    """Whether a model reproduces the hand-written numbers at every point.

    What is left must be round-off, and at most a tenth of a percent of the error that is
    to be explained.
    """
    with np.errstate(all="ignore"):
        off = np.abs(mismatch.hand - model)
        size = np.maximum(1.0, np.abs(model) / np.maximum(np.abs(mismatch.expected), 1e-300))
        allowed = SLACK * mismatch.allowed * np.minimum(size, 1e6)
        known = np.isfinite(mismatch.hand) & np.isfinite(mismatch.expected)
        unit = _positive(mismatch.allowed)
        explained = np.max(np.abs(mismatch.error / unit)[known], initial=0.0)
        left = np.max((off / unit)[known], initial=0.0)
        worst = np.max((off - allowed)[known], initial=-1.0)
    return bool(known.any() and worst <= 0 and left <= max(1e-3 * explained, 1.0))


def residual(mismatch: Mismatch, model: np.ndarray) -> float:
    """Norm of what a model leaves over the norm of the error."""
    with np.errstate(all="ignore"):
        unit = _positive(mismatch.allowed)
        left = np.nansum(((mismatch.hand - model) / unit) ** 2)
        error = np.nansum((mismatch.error / unit) ** 2)
    return float(np.sqrt(left / error)) if error > 0 else 0.0


def _positive(allowed: np.ndarray) -> np.ndarray:
    least = np.min(allowed[allowed > 0], initial=np.inf)
    return np.where(allowed > 0, allowed, least if np.isfinite(least) else 1.0)


def _snapped(factor: float, within: float) -> float:
    for candidate in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        if abs(factor - candidate) <= within:
            return candidate
    return float(factor)
