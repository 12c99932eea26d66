r"""The observed information as a triangular factor, never as a matrix.

The information of γ is a sum of squares, :math:`A^\top A`, with A the design whose rows are
weighted by the root of their curvature, and below it a row for each penalised coefficient. The
QR factor R of A gives :math:`R^\top R = A^\top A` at the condition of A; the matrix itself has
the square of that condition, and loses twice as many digits.

For softmax the curvature of a row is :math:`\mathrm{diag}(\mu) - \mu\mu^\top = B^\top B` with
:math:`B = \mathrm{diag}(\sqrt\mu)\,(I - 1\mu^\top)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from scipy.linalg import lapack, solve_triangular

from jax_logreg.inference.fit_context import FitContext
from jax_logreg.objective.jax_settings import in_float64

# Weighted rows are factored in blocks of so many entries: 32 MB.
_BLOCK_ENTRIES = 2**22
# A combination is estimable if no larger fraction of it lies in the null space.
_NULL_SPACE_TOLERANCE = 1e-7
# A factor of a larger reciprocal condition has full rank for certain, and its square has digits
# enough for a step.
_CERTAIN_CONDITION = 1e-8


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
    fit: FitContext, *, penalised: bool = True, pinned: np.ndarray | None = None
) -> Information:
    """The observed information of a fit's γ, with the penalty's curvature or without.

    Args:
        fit: the fit.
        penalised: whether the penalty's curvature counts.
        pinned: all directions without curvature, (P, m), of a fit without a penalty. They are
            given some, so that steps have no part in them, and the factor is Cholesky's of the
            Hessian where that leaves half of the digits: it is many times as fast.
    """
    if pinned is not None and (found := _by_cholesky(fit, pinned)):
        return found
    P = fit.num_parameters
    R, num_rows, squares = np.zeros((0, P)), 0, np.zeros(P)
    for block in _weighted_rows(fit, penalised):
        num_rows += len(block)
        squares += np.sum(block**2, axis=0)
        R = triangle(np.vstack([R, block]))
    R = np.vstack([R, np.zeros((P - len(R), P))])  # A may have fewer rows than columns
    return Information(R, np.where(squares > 0, np.sqrt(squares), 1), num_rows)


def _by_cholesky(fit: FitContext, pinned: np.ndarray) -> Information | None:
    H = fit.hessian()
    found = scaled_cholesky(H + np.max(np.diag(H)) * pinned @ pinned.T)
    if found is None:
        return None
    factor, scale = found
    return Information(factor * scale, scale, len(fit.weight) * len(fit.selection))


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
    q, root_weight = fit.num_columns, np.sqrt(fit.weight)
    count = max(1, _BLOCK_ENTRIES // (q * fit.selection.size))
    for start in range(0, len(root_weight), count):
        rows = slice(start, start + count)
        root = root_weight[rows, None, None] * fit.curvature_root(rows)
        yield np.einsum("nj,nkc->nkjc", fit.design(rows), root).reshape(-1, fit.num_parameters)
    if penalised:
        # The penalty of γ is the least one of all β that have these contrasts.
        with in_float64():
            coef, _ = fit.objective.split(jnp.asarray(fit.theta))
            curvature = np.asarray(fit.penalty.curvature(coef)).reshape(len(coef), -1)
        root = np.sqrt(curvature * fit.num_observations)
        features = np.eye(len(coef), q)  # none on the intercept
        table = np.einsum("ak,aj,kc->akjc", root, features, fit.lift)
        yield table.reshape(-1, fit.num_parameters)
