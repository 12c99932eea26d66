"""The quick check: does a derivative agree with a few differences of the user's own numbers?

For a value in plain NumPy a right derivative should cost little more than SciPy's ``check_grad``:
one difference for every coordinate at one point, one along a random direction at others. Agreement
of two independent numbers is the evidence, so no error of the differences has to be estimated.
Where the numbers disagree nothing is said: a closer comparison decides.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jax_logreg.audit.compare_entries import (
    DerivativeComparison,
    PointComparison,
    remarks,
)
from jax_logreg.audit.differences import central_differences, mixed_differences, two_sides
from jax_logreg.audit.findings import Finding
from jax_logreg.audit.judgement import RAY_STEP, flat_value, is_flatter, is_guarded
from jax_logreg.audit.purity import is_same
from jax_logreg.audit.reference import AuditPoints, BatchedFunction
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction

# Steps, relative to the scale: of first differences; of these again where the slope may jump;
# of second differences.
_STEP, _FINE_STEP, _SECOND_STEP = RAY_STEP, 1e-7, 3e-4
# Agreement, relative to the derivative and to the largest part of it; of second differences; and
# far out, where single rows of a guarded loss are lost in round-off.
_OF_ENTRY, _OF_LARGEST, _OF_SECOND, _FAR_OUT = 1e-7, 2e-8, 1e-6, 1e-2
# Round-off of the user's function, in units of the size of its value.
_NOISE = 16 * float(np.finfo(float).eps)
# Up to this share of the differences may be beside a jump, where they say nothing.
_MOST_JUMPS, _IS_JUMP = 0.2, 1e-3
# Agreement of float32 with float64.
_SINGLE = 1e-2
# So many second differences of a value are taken at most.
_MOST_PAIRS = 2000


class Disagreement(Exception):
    """The quick check saw something that a closer comparison must judge."""


@dataclass
class QuickCheck:
    """One derivative against a few differences.

    Args:
        target: the value.
        function: the hand-written derivative.
        points: at which it is checked.
        gradients: a right gradient at the rows of an array, for second derivatives; or None.
        rng: of the directions.
    """

    target: Target
    function: UserFunction
    points: AuditPoints
    gradients: BatchedFunction | None
    rng: np.random.Generator
    findings: list[Finding] = field(default_factory=list)

    def comparison(self) -> DerivativeComparison | None:
        """The comparison if all agrees, else None."""
        try:
            with np.errstate(all="ignore"):
                return self._comparison()
        except Disagreement:
            return None

    def _comparison(self) -> DerivativeComparison:
        first, *others = self.points.moderate
        if self.function.name == DIAGONAL:
            return self._compared_diagonal(first, others)
        by_pairs = self.function.name in ("hessian", "hvp") and self.gradients is None
        found = self._entries_by_pairs(first) if by_pairs else self._entries(first)
        for theta in others:
            (self._pairs if by_pairs else self._along)(theta)
        if not by_pairs and self.function.name != "hvp":
            self._far_out()
        self._in_single_precision(found)
        again = self._call(found.theta, found.vector)
        if not is_same(found.hand, again):
            raise Disagreement
        return DerivativeComparison(
            self.function.name, [found], findings=self.findings, num_more_points=len(others)
        )

    def _compared_diagonal(
        self, first: np.ndarray, others: list[np.ndarray]
    ) -> DerivativeComparison:
        found = self._diagonal(first)
        for theta in others:
            self._diagonal(theta)
        self._in_single_precision(found)
        return DerivativeComparison(
            DIAGONAL, [found], findings=self.findings, num_more_points=len(others)
        )

    def _diagonal(self, theta: np.ndarray) -> PointComparison:
        """The diagonal of a Hessian, by differences along each coordinate."""
        scale, hand, directions = self.points.scale, self._call(theta), np.diag(self.points.scale)
        if self.gradients is None:
            found = self._second(theta, directions, directions, hand * scale**2) / scale**2
            return _agreement(theta, None, hand, found)
        slopes = central_differences(self.gradients, theta, _STEP * directions) / _STEP
        found = np.diagonal(slopes) / scale
        level = np.abs(self.gradients(theta[None])[0])
        off = np.abs(found - hand) - _OF_ENTRY * np.abs(hand) - _NOISE * level / (_STEP * scale)
        if not np.all(off <= _OF_LARGEST * np.abs(hand).max()):
            raise Disagreement
        return _agreement(theta, None, hand, found)

    @property
    def _differenced(self) -> BatchedFunction:
        """The function whose first differences are the derivative's products."""
        return self.gradients or self.target.values

    def _call(self, *vectors: np.ndarray | None) -> np.ndarray:
        given = [v for v in vectors if v is not None]
        hand = self.function.attempt(*given, dtype="float64")
        if hand is None or hand.dtype != np.float64 or not np.isfinite(hand).all():
            raise Disagreement
        return hand

    def _direction(self) -> np.ndarray:
        return self.points.scale * self.rng.normal(size=self.points.scale.size)

    def _entries(self, theta: np.ndarray) -> PointComparison:
        """Every entry at one point."""
        if self.function.name == "hvp":
            v = self._direction()
            hand = self._call(theta, v)
            found = self._first(theta, v[None], hand[None], np.abs(hand[None]).max())
            return _agreement(theta, v, hand, found[0])
        scale, hand = self.points.scale, self._call(theta)
        along = (np.atleast_2d(hand) * scale).T  # (P, M)
        along = along[:, 0] if hand.ndim == 1 else along
        found = self._first(theta, np.diag(scale), along, np.abs(along).max(axis=0))
        return _agreement(theta, None, hand, (found.T / scale).reshape(hand.shape))

    def _along(self, theta: np.ndarray) -> None:
        """The product with one direction."""
        v = self._direction()
        if self.function.name == "hvp":
            hand = self._call(theta, v)
            self._first(theta, v[None], hand[None], np.abs(hand).max())
            return
        parts = self._call(theta) * v
        self._first(theta, v[None], parts.sum(axis=-1)[None], np.linalg.norm(parts, axis=-1))

    def _first(
        self, theta: np.ndarray, directions: np.ndarray, hand: np.ndarray, size: np.ndarray
    ) -> np.ndarray:
        """First differences along directions, (d, …): those of the hand are alike.

        Raises:
            Disagreement: if they are not.
        """
        values = self._differenced
        found = central_differences(values, theta, _STEP * directions) / _STEP
        found = found.reshape(hand.shape)
        level = np.abs(values(theta[None])[0]).reshape(hand.shape[1:])
        off = np.abs(found - hand) - _OF_ENTRY * np.abs(hand)
        bad = ~(off <= _OF_LARGEST * size + _NOISE * level / _STEP)
        rows = bad.reshape(len(bad), -1).any(axis=1)
        if rows.any():
            if rows.mean() > _MOST_JUMPS and len(rows) > 1:
                raise Disagreement
            self._beside_jumps(theta, directions[rows], hand[rows], size)
            found[rows] = hand[rows]
        return found

    def _beside_jumps(
        self, theta: np.ndarray, directions: np.ndarray, hand: np.ndarray, size: np.ndarray
    ) -> None:
        """Over a finer step, between its two sides; at a jump nothing can be said."""
        found = two_sides(self._differenced, theta, _FINE_STEP, directions)
        centre, slope, jump = (x.reshape(-1, *hand.shape[1:]) for x in found)
        allowed = jump + _OF_ENTRY * np.abs(hand) + _NOISE * np.abs(centre) / _FINE_STEP
        if not np.all(np.abs(slope - hand) <= allowed):
            raise Disagreement
        if np.mean(jump > _IS_JUMP * size) > _MOST_JUMPS and len(directions) > 1:
            raise Disagreement

    def _far_out(self) -> None:
        """The slope along the ray at each extreme point, the furthest first."""
        growth: np.ndarray | None = None
        for theta in reversed(self.points.extreme):
            raw = self.function.attempt(theta, dtype="float64")
            if raw is None:
                continue
            if not np.isfinite(raw).all():
                if not self.target.has_value(theta):
                    continue
                point = _agreement(theta, None, raw, np.zeros(raw.shape))
                self.findings += remarks(self.function.name, point, far=True)
                continue
            parts = np.atleast_2d(raw * self.points.ray)
            hand, size = parts.sum(axis=1), np.linalg.norm(parts, axis=1)
            growth = np.sign(hand) if growth is None else growth
            if self.gradients is None:  # differences of a right gradient are right at any distance
                self._judge_far_out(theta, hand, size, growth)

    def _judge_far_out(
        self,
        theta: np.ndarray,
        hand: np.ndarray,
        size: np.ndarray,
        growth: np.ndarray,
    ) -> None:
        step = _STEP * self.points.ray
        ahead, behind = (
            np.ravel(x) for x in self.target.values(np.stack([theta + step, theta - step]))
        )
        found, level = (ahead - behind) / (2 * _STEP), np.abs(ahead)
        if not np.isfinite(found).all():
            return
        allowed = _FAR_OUT * np.maximum(size, np.abs(found)) + _NOISE * level / _STEP
        near = np.abs(found - hand) <= allowed
        if near.all():
            return
        if not np.all(near | is_flatter(found, hand, growth)) or not self._is_guarded:
            raise Disagreement
        warning = flat_value(self.function.name)
        if warning not in self.findings:
            self.findings.append(warning)

    @cached_property
    def _is_guarded(self) -> bool:
        return is_guarded(self.target.values, self.points)

    def _entries_by_pairs(self, theta: np.ndarray) -> PointComparison:
        """Every entry of a Hessian, or of a product with it, by second differences."""
        scale, directions = self.points.scale, np.diag(self.points.scale)
        if self.function.name == "hvp":
            v = self._direction()
            hand = self._call(theta, v)
            along = np.broadcast_to(v, directions.shape)
            found = self._second(theta, directions, along, hand * scale)
            return _agreement(theta, v, hand, found / scale)
        hand = self._call(theta)
        i, j = np.triu_indices(len(theta))
        if not is_same(hand, hand.T) or len(i) > _MOST_PAIRS:
            raise Disagreement
        pairs = hand[i, j] * scale[i] * scale[j]
        found = self._second(theta, directions[i], directions[j], pairs)
        full = np.zeros(hand.shape)
        full[i, j] = full[j, i] = found / (scale[i] * scale[j])
        return _agreement(theta, None, hand, full)

    def _pairs(self, theta: np.ndarray) -> None:
        """Two numbers uᵀHv of random directions."""
        for _ in range(2):
            u, v = self._direction(), self._direction()
            is_hvp = self.function.name == "hvp"
            product = self._call(theta, v) if is_hvp else self._call(theta) @ v
            self._second(theta, u[None], v[None], np.array([u @ product]))

    def _second(
        self, theta: np.ndarray, u: np.ndarray, v: np.ndarray, hand: np.ndarray
    ) -> np.ndarray:
        values, h = self.target.values, _SECOND_STEP
        found = mixed_differences(values, theta, h * u, h * v).reshape(hand.shape) / h**2
        level = float(np.abs(values(theta[None])).max())
        size = np.abs(hand).max()
        off = np.abs(found - hand) - _OF_SECOND * (size + np.abs(hand))
        if not np.all(off <= _NOISE * level / h**2):
            raise Disagreement
        return found

    def _in_single_precision(self, found: PointComparison) -> None:
        """The function takes the audit's own precision too."""
        if self.target.dtype == "float64":
            return
        given = (found.theta,) if found.vector is None else (found.theta, found.vector)
        low = self.function.attempt(*given, dtype=self.target.dtype)
        size = np.abs(found.hand).max(initial=0.0)
        if low is None or not np.all(np.abs(low - found.hand) <= _SINGLE * size):
            raise Disagreement


def _agreement(
    theta: np.ndarray, vector: np.ndarray | None, hand: np.ndarray, expected: np.ndarray
) -> PointComparison:
    nothing = np.zeros(hand.shape, bool)
    allowed = _OF_ENTRY * (np.abs(hand) + np.abs(hand).max(initial=0.0))
    return PointComparison(
        theta, vector, hand, expected, allowed, nothing, False, False, hand, ""
    )  # fmt: skip
