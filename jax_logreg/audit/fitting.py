"""Does an explanation fit? Least squares on a few parts, judged entry by entry."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# An explanation reproduces the hand-written numbers within so many times the allowance.
_SLACK = 20.0


class Case(NamedTuple):
    """A derivative that differs, over several points: arrays (m, …) of one shape.

    Attributes:
        name: "gradient", "jacobian", "hessian" or "hvp".
        theta: (m, P). vector: (m, P), or None unless it is an HVP.
        hand, expected, allowed, wrong: as in a Place, stacked.
    """

    name: str
    theta: np.ndarray
    vector: np.ndarray | None
    hand: np.ndarray
    expected: np.ndarray
    allowed: np.ndarray
    wrong: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """By hand minus the reference."""
        return self.hand - self.expected

    def restrict(self, keep: np.ndarray) -> "Case":
        """The entries (a mask of the shape of one point) alone, flattened."""
        hand, expected, allowed, wrong = (
            part[:, keep] for part in (self.hand, self.expected, self.allowed, self.wrong)
        )
        return self._replace(hand=hand, expected=expected, allowed=allowed, wrong=wrong)


class Fit(NamedTuple):
    """Coefficients of the parts, whether all entries are met, and the residual left,
    relative to the error that was to be explained."""

    factors: tuple[float, ...]
    exact: bool
    residual: float


def fit_parts(case: Case, parts: Sequence[np.ndarray]) -> Fit:
    """hand ≈ Σ factor · part, over all points and entries."""
    weight = 1 / _positive(case.allowed)
    A = np.stack([(part * weight).ravel() for part in parts], axis=1)
    b = (case.hand * weight).ravel()
    good = np.isfinite(b) & np.isfinite(A).all(axis=1)
    A, b = A[good], b[good]
    # The entries' units differ by decades: scale before solving.
    size = np.linalg.norm(A, axis=0)
    size = np.where(size > 0, size, 1)
    factors = np.linalg.lstsq(A / size, b, rcond=None)[0] / size
    factors = np.array([_rounded(f) for f in factors])
    model = sum(f * part for f, part in zip(factors, parts, strict=True))
    return Fit(tuple(map(float, factors)), matches(case, model), residual(case, model))


def matches(case: Case, model: np.ndarray) -> bool:
    """Whether a model reproduces the hand-written numbers at every point.

    What may be left is round-off, and never more than a tenth of a percent of the error
    that is to be explained.
    """
    with np.errstate(all="ignore"):
        off = np.abs(case.hand - model)
        size = np.maximum(1.0, np.abs(model) / np.maximum(np.abs(case.expected), 1e-300))
        allowed = _SLACK * case.allowed * np.minimum(size, 1e6)
        known = np.isfinite(case.hand) & np.isfinite(case.expected)
        explained = np.max(np.abs(case.error / _positive(case.allowed))[known], initial=0.0)
        left = np.max((off / _positive(case.allowed))[known], initial=0.0)
        worst = np.max((off - allowed)[known], initial=-1.0)
    return bool(known.any() and worst <= 0 and left <= max(1e-3 * explained, 1.0))


def residual(case: Case, model: np.ndarray) -> float:
    """Norm of what a model leaves over the norm of the error."""
    with np.errstate(all="ignore"):
        scale = _positive(case.allowed)
        left = np.nansum(((case.hand - model) / scale) ** 2)
        error = np.nansum((case.error / scale) ** 2)
    return float(np.sqrt(left / error)) if error > 0 else 0.0


def _positive(allowed: np.ndarray) -> np.ndarray:
    least = np.min(allowed[allowed > 0], initial=np.inf)
    return np.where(allowed > 0, allowed, least if np.isfinite(least) else 1.0)


def _rounded(factor: float) -> float:
    """A factor that is a small number up to round-off is that number."""
    for candidate in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        if abs(factor - candidate) <= 1e-9:
            return candidate
    return float(factor)
