"""The quick check: does a derivative agree with a few differences of the user's own numbers?

For a value in plain NumPy a right derivative should cost little more than SciPy's ``check_grad``:
one difference for every coordinate at one point, one along a random direction at others. Agreement
of two independent numbers is the evidence, so no error of the differences has to be estimated.
Where the numbers disagree nothing is said: a closer comparison decides.
"""

from dataclasses import dataclass, field

import numpy as np

from jax_logreg.audit.compare_entries import (
    DerivativeComparison,
    PointComparison,
    remarks,
)
from jax_logreg.audit.differences import (
    STEP,
    central_differences,
    mixed_differences,
    sign_directions,
    two_sides,
)
from jax_logreg.audit.findings import Finding
from jax_logreg.audit.judgement import flat_value, is_flatter, is_guarded
from jax_logreg.audit.purity import is_same
from jax_logreg.audit.reference import AuditPoints, BatchedFunction
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction

# Steps, relative to the scale: of first differences where the slope may jump; of second ones.
_FINE_STEP, _SECOND_STEP = 1e-7, 3e-4
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
            found = self._diagonal(first)
            for theta in others:
                self._diagonal(theta)
        elif self.function.name in ("hessian", "hvp") and self.gradients is None:
            found = self._entries_by_pairs(first)
            for theta in others:
                self._pairs(theta)
        else:
            found = self._entries(first)
            self._products(found)
        self._in_single_precision(found)
        again = self._call(*found.vectors)
        if not is_same(found.hand, again):
            raise Disagreement
        return DerivativeComparison(
            self.function.name, [found], findings=self.findings, num_more_points=len(others)
        )

    def _diagonal(self, theta: np.ndarray) -> PointComparison:
        """The diagonal of a Hessian, by differences along each coordinate."""
        scale, hand, directions = self.points.scale, self._call(theta), np.diag(self.points.scale)
        if self.gradients is None:
            found = self._second(theta, directions, directions, hand * scale**2) / scale**2
            return _agreement(theta, None, hand, found)
        slopes = central_differences(self.gradients, theta, STEP * directions) / STEP
        found = np.diagonal(slopes) / scale
        level = np.abs(self.gradients(theta[None])[0])
        off = np.abs(found - hand) - _OF_ENTRY * np.abs(hand) - _NOISE * level / (STEP * scale)
        if not np.all(off <= _OF_LARGEST * np.abs(hand).max()):
            raise Disagreement
        return _agreement(theta, None, hand, found)

    @property
    def _differenced(self) -> BatchedFunction:
        """The function whose first differences are the derivative's products."""
        return self.gradients or self.target.values

    def _call(self, *vectors: np.ndarray) -> np.ndarray:
        hand = self.function.attempt(*vectors, dtype="float64")
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

    def _products(self, first: PointComparison) -> None:
        """At each other point the product with one direction; what is far out need not be exact.

        Directions are random but at the user's own point, where values along one are known; and
        far out, where it is the ray.
        """
        others, far = self.points.moderate[1:], self._answers_far_out()
        random = self.rng.normal(size=(len(others) - 1, others[0].size))
        near = self.points.scale * np.concatenate([random, sign_directions(others[0].size)[:1]])
        directions = np.concatenate([near, *([self.points.ray[None]] * len(far))])
        points = np.stack([*others, *(theta for theta, _ in far)])
        # Beside a random point, whose own value is known; around the others.
        start = np.where(np.arange(len(points)) < len(random), 0.0, -1.0)[:, None]
        before, middle, after = (points + (start + k) * (STEP * directions) for k in range(3))
        hand, size = self._by_hand(middle[: len(others)], near, [answer for _, answer in far])
        low, high = (self._differenced(x).reshape(hand.shape) for x in (before, after))
        found, noise = (high - low) / (2 * STEP), _NOISE * np.abs(low) / STEP
        exact, rough = slice(len(others)), slice(len(others), None)
        allowed = _OF_LARGEST * size + _OF_ENTRY * np.abs(hand)
        allowed[rough] = _FAR_OUT * np.maximum(size, np.abs(found))[rough]
        bad = ~(np.abs(found - hand) <= allowed + noise)
        for i in np.flatnonzero(bad[exact].any(axis=1)):
            self._beside_jumps(middle[i], near[i : i + 1], hand[i : i + 1], size[i])
        if (bad[rough] & np.isfinite(found[rough])).any():
            self._judge_far_out(first, found[rough], hand[rough], ~bad[rough])

    def _by_hand(
        self, points: np.ndarray, directions: np.ndarray, far: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Products at points and far out, (d, M) each, and how large their parts are."""
        pairs = zip(points, directions, strict=True)
        if self.function.name == "hvp":
            hand = np.stack([self._call(theta, v) for theta, v in pairs])
            return hand, np.broadcast_to(np.abs(hand).max(axis=1, keepdims=True), hand.shape)
        parts = [self._call(theta) * v for theta, v in pairs] + [x * self.points.ray for x in far]
        stacked = np.stack(parts).reshape(len(parts), -1, len(self.points.ray))
        return stacked.sum(axis=-1), np.sqrt(np.square(stacked).sum(axis=-1))

    def _first(
        self, theta: np.ndarray, directions: np.ndarray, hand: np.ndarray, size: np.ndarray
    ) -> np.ndarray:
        """First differences along directions, (d, …): those of the hand are alike.

        Raises:
            Disagreement: if they are not.
        """
        values = self._differenced
        found = central_differences(values, theta, STEP * directions) / STEP
        found = found.reshape(hand.shape)
        noise = _NOISE * np.abs(values(theta[None])[0]).reshape(hand.shape[1:]) / STEP
        off = np.abs(found - hand) - _OF_ENTRY * np.abs(hand)
        rows = ~(off <= _OF_LARGEST * size + noise).reshape(len(hand), -1).all(axis=1)
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

    def _answers_far_out(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The derivative at each extreme point at which a difference can judge it."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        if self.function.name == "hvp":
            return found
        for theta in self.points.extreme:
            raw = self.function.attempt(theta, dtype="float64")
            if raw is None:
                continue
            if np.isfinite(raw).all():
                found.append((theta, raw))
            elif self.target.has_value(theta):
                point = _agreement(theta, None, raw, np.zeros(raw.shape))
                self.findings += remarks(self.function.name, point, far=True)
        # Differences of a right gradient are right at any distance.
        return found if self.gradients is None else []

    def _judge_far_out(
        self, first: PointComparison, found: np.ndarray, hand: np.ndarray, near: np.ndarray
    ) -> None:
        """Far out, a guard of the value's own may have made it flat.

        Args:
            first: the comparison of every entry, where the value has its slope.
            found: slopes along the ray at extreme points, the last the furthest, (d, M).
            hand: by hand.
            near: which are alike.
        """
        near |= ~np.isfinite(found).all(axis=1, keepdims=True)
        if near.all():
            return
        slope = first.expected.reshape(-1, len(first.theta))[0] @ self.points.ray
        slopes = np.array([slope, *found[:-1, 0]])
        flatter = is_flatter(found, hand, np.sign(hand[-1]))
        if not np.all(near | flatter) or not is_guarded(self.target.values, self.points, slopes):
            raise Disagreement
        self.findings.append(flat_value(self.function.name))

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
        low = self.function.attempt(*found.vectors, dtype=self.target.dtype)
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
