r"""The observed information as a triangular factor.

The information of γ is a sum of squares, :math:`A^\top A`, with A the design whose rows are
weighted by the root of their curvature, and below it a row for each penalised coefficient. The
QR factor R of A gives :math:`R^\top R = A^\top A` at the condition of A; the matrix itself has
the square of that condition, and loses twice as many digits. Cholesky's factor of it serves where
those do not matter, or where a second step restores them.

For softmax the curvature of a row is :math:`\mathrm{diag}(\mu) - \mu\mu^\top = B^\top B` with
:math:`B = \mathrm{diag}(\sqrt\mu)\,(I - 1\mu^\top)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack, solve_triangular

from jax_logreg.inference.fit_context import FitContext

# Weighted rows are factored in blocks of so many entries: 32 MB.
_BLOCK_ENTRIES = 2**22
# A combination is estimable if no larger fraction of it lies in the null space.
_NULL_SPACE_TOLERANCE = 1e-7
# A factor of a larger reciprocal condition has full rank for certain, and its square has digits
# enough for a step.
_CERTAIN_CONDITION = 1e-8
# From the matrix, one of such a condition loses four of sixteen digits at most; down to the next
# a second factorisation restores them all.
_GOOD_CONDITION, _FAIR_CONDITION = 1e-2, 1e-6
_NEARLY_ORTHOGONAL = 0.01
# Sums of squares below may have lost digits at the lower end of float64's range.
_LEAST_SQUARE = 1e-280


@dataclass(frozen=True)
class Information:
    """The observed information of γ as RᵀR, and which parameters are estimable.

    Attributes:
        factor: R, (P, P), upper triangular.
        scale: the norms of the columns of A, (P,); 1 where a column is zero.
        num_rows: of A.
    """

    factor: np.ndarray
    scale: np.ndarray
    num_rows: int

    @cached_property
    def _scaled_svd(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values, and right vectors as columns, of R with columns of unit norm."""
        _, values, vectors = np.linalg.svd(self.factor / self.scale)
        return values, vectors.T

    @cached_property
    def rank(self) -> int:
        """The number of estimable combinations of the parameters."""
        if _reciprocal_condition(self.factor / self.scale) > _CERTAIN_CONDITION:
            return len(self.scale)
        values, _ = self._scaled_svd
        tolerance = max(self.num_rows, len(values)) * np.finfo(float).eps
        return int(np.sum(values > tolerance * values[0]))

    @cached_property
    def is_estimable(self) -> np.ndarray:
        """Which entries of γ are estimable, (P,)."""
        return self.estimable(np.eye(len(self.scale)))

    def estimable(self, combinations: np.ndarray) -> np.ndarray:
        """Which rows c of an array (m, P) have an estimable cᵀγ, (m,)."""
        if self.rank == len(self.scale):
            return np.ones(len(combinations), bool)
        _, vectors = self._scaled_svd
        scaled = combinations / self.scale
        norm = row_norms(scaled)
        in_null_space = row_norms(scaled @ vectors[:, self.rank :])
        return in_null_space <= _NULL_SPACE_TOLERANCE * np.where(norm, norm, 1)

    @cached_property
    def root(self) -> np.ndarray:
        """L with LLᵀ the inverse of the information, (P, P), or its pseudo-inverse in the
        scaled units."""
        if self.rank == len(self.scale):
            return solve_triangular(self.factor, np.eye(len(self.scale)))
        values, vectors = self._scaled_svd
        inverse = np.zeros(len(values))
        inverse[: self.rank] = 1 / values[: self.rank]
        return vectors * inverse / self.scale[:, None]

    def solve(self, gradient: np.ndarray) -> np.ndarray:
        """The inverse of the information, times a vector (P,)."""
        return self.root @ (self.root.T @ gradient)


@dataclass(frozen=True)
class RestrictedInformation:
    """The information within the span of some directions, for the covariance of a fit that may
    move along them only.

    Attributes:
        root: L with LLᵀ the inverse of the information there, (P, m).
        rank: the number of estimable combinations of the directions.
    """

    root: np.ndarray
    rank: int


def restricted_information(full: Information, directions: np.ndarray) -> RestrictedInformation:
    """The same information within the span of directions, (P, m)."""
    projected = full.factor @ directions
    length = np.linalg.norm(projected, axis=0)
    length = np.where(length > 0, length, 1)
    _, values, vectors = np.linalg.svd(projected / length, full_matrices=False)
    tolerance = max(full.num_rows, len(directions)) * np.finfo(float).eps
    rank = int(np.sum(values > tolerance * np.max(values, initial=0.0)))
    root = directions / length @ vectors[:rank].T / values[:rank]
    return RestrictedInformation(root, rank)


def row_norms(table: np.ndarray) -> np.ndarray:
    """The length of each row, also where its square leaves float64's range.

    >>> row_norms(np.array([[3e-200, 4e-200], [0.0, 0.0]]))
    array([5.e-200, 0.e+000])
    """
    largest = np.max(np.abs(table), axis=1, initial=0.0)
    unit = table / np.where(largest > 0, largest, 1.0)[:, None]
    return largest * np.linalg.norm(unit, axis=1)


def triangle(A: np.ndarray) -> np.ndarray:
    """The triangular factor R of A = QR."""
    return np.asarray(np.linalg.qr(A, mode="r"))


def _reciprocal_condition(R: np.ndarray) -> float:
    """1/(‖R‖ ‖R⁻¹‖) of a triangular factor, estimated at little cost."""
    return float(lapack.dtrcon(R)[0]) if R.size else 0.0


def information(
    fit: FitContext,
    *,
    penalised: bool = True,
    is_rough: bool = False,
    pinned: np.ndarray | None = None,
) -> Information:
    """The observed information of a fit's γ, with the penalty's curvature or without.

    Args:
        fit: the fit.
        penalised: whether the penalty's curvature counts.
        is_rough: whether the digits that a step needs are enough.
        pinned: all directions without curvature, (P, m), of a fit without a penalty. They are
            given some, so that steps have no part in them, and half of the digits are enough.
    """
    P = fit.num_parameters
    num_rows = len(fit.weight) * len(fit.selection)
    found = _by_cholesky(fit, penalised, is_rough, pinned)
    if found is not None:
        factor, scale = found
        return Information(factor * scale, scale, num_rows)
    R, squares = np.zeros((0, P)), np.zeros(P)
    for block in _weighted_rows(fit, penalised):
        squares += np.sum(block**2, axis=0)
        R = triangle(np.vstack([R, block]))
    R = np.vstack([R, np.zeros((P - len(R), P))])  # A may have fewer rows than columns
    return Information(R, np.where(squares > 0, np.sqrt(squares), 1), num_rows)


def _by_cholesky(
    fit: FitContext, penalised: bool, is_rough: bool, pinned: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """R and s as of :func:`scaled_cholesky`, or None where that has too few digits.

    It is many times as fast as QR, which reads a tall table column by column.
    """
    matrix = fit.data_information()
    for block in _penalty_rows(fit) if penalised else ():
        matrix += block.T @ block
    if pinned is not None:
        matrix += np.max(np.diag(matrix)) * pinned @ pinned.T
        return scaled_cholesky(matrix)
    squares = np.diag(matrix)
    if not (np.min(squares) > _LEAST_SQUARE and np.all(np.isfinite(matrix))):
        return None
    found = scaled_cholesky(matrix)
    condition = 0.0 if found is None else _reciprocal_condition(found[0])
    if found is None or condition > _GOOD_CONDITION or (is_rough and condition > _FAIR_CONDITION):
        return found
    return _refined(fit, penalised, *found) if condition > _FAIR_CONDITION else None


def _refined(
    fit: FitContext, penalised: bool, factor: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The same factor to the digits of QR: R₂R with R₂ that of A R⁻¹, whose columns are nearly
    orthogonal.

    Source: Yamamoto, Nakatsukasa, Yanagisawa & Fukaya (2015), Electronic Transactions on
    Numerical Analysis 44: CholeskyQR2.
    """
    G = np.zeros(factor.shape)
    for block in _weighted_rows(fit, penalised):
        Q = solve_triangular(factor, (block / scale).T, trans="T")
        G += Q @ Q.T
    if not np.max(np.abs(G - np.eye(len(G)))) < _NEARLY_ORTHOGONAL:
        return None
    refined = np.linalg.cholesky(G).T @ factor
    length = np.linalg.norm(refined, axis=0)
    return refined / length, scale * length


def scaled_cholesky(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """R and s with (R s)ᵀ(R s) = A, R upper triangular with columns of length 1; None unless A
    has full rank for certain."""
    scale = np.sqrt(np.diag(matrix))
    scale = np.where(scale > 0, scale, 1)
    factor, failed = lapack.dpotrf(matrix / scale / scale[:, None])
    is_certain = not failed and _reciprocal_condition(factor) > _CERTAIN_CONDITION
    return (factor, scale) if is_certain else None


def _weighted_rows(fit: FitContext, penalised: bool) -> Iterator[np.ndarray]:
    """A in blocks of rows."""
    root_weight = np.sqrt(fit.weight)
    count = max(1, _BLOCK_ENTRIES // (fit.num_columns * fit.selection.size))
    for start in range(0, len(root_weight), count):
        rows = slice(start, start + count)
        root = root_weight[rows, None, None] * fit.curvature_root(rows)
        yield np.einsum("nj,nkc->nkjc", fit.design(rows), root).reshape(-1, fit.num_parameters)
    if penalised:
        yield from _penalty_rows(fit)


def _penalty_rows(fit: FitContext) -> Iterator[np.ndarray]:
    """The rows of A that a penalty adds: that of γ is the least one of all β that have these
    contrasts."""
    if not fit.has_curved_penalty:
        return
    root = np.sqrt(fit.penalty_curvature * fit.num_observations)
    features = np.eye(len(root), fit.num_columns)  # none on the intercept
    table = np.einsum("ak,aj,kc->akjc", root, features, fit.lift)
    yield table.reshape(-1, fit.num_parameters)
