r"""The information matrix by its triangular factor, never by its entries.

The observed information of γ is a sum of squares, :math:`A^\top A`, with A the design whose
rows are weighted by the root of their curvature, and a row for each penalised coefficient
below. Its QR factor R gives :math:`R^\top R = A^\top A` with the condition of A; the matrix
itself would square that, and lose twice the digits.

For softmax the curvature of a row is :math:`\mathrm{diag}(\mu) - \mu\mu^\top = B^\top B` with
:math:`B = \mathrm{diag}(\sqrt\mu)\,(I - 1\mu^\top)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular

from jax_logreg.inference.fit_context import FitContext

# Entries of a block of weighted rows: 32 MB.
_BLOCK = 2**22


@dataclass(frozen=True)
class Information:
    """The observed information of γ, (P, P), as RᵀR, and what can be estimated.

    Attributes:
        factor: R, (P, P), upper triangular, in the caller's units.
        scale: the length of every column of A, (P,); 1 where a column is zero.
        rows: how many rows A has.
    """

    factor: np.ndarray
    scale: np.ndarray
    rows: int

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Singular values, and right vectors as columns, of R with columns of unit length."""
        _, sizes, rows = np.linalg.svd(self.factor / self.scale)
        return sizes, rows.T

    @cached_property
    def rank(self) -> int:
        """How many combinations of the parameters the data tell."""
        sizes, _ = self._parts
        return int(np.sum(sizes > max(self.rows, len(sizes)) * np.finfo(float).eps * sizes[0]))

    @cached_property
    def is_estimable(self) -> np.ndarray:
        """Which entries of γ the data tell, (P,)."""
        return self.estimable(np.eye(len(self.scale)))

    def estimable(self, combinations: np.ndarray) -> np.ndarray:
        """Which rows c of a table (m, P) have a cᵀγ that the data tell, (m,)."""
        _, vectors = self._parts
        unseen = vectors[:, self.rank :]
        scaled = combinations / self.scale
        length = np.linalg.norm(scaled, axis=1)
        return np.linalg.norm(scaled @ unseen, axis=1) <= 1e-7 * np.where(length, length, 1)

    @cached_property
    def root(self) -> np.ndarray:
        """L with LLᵀ the inverse of the information, (P, P); of minimum norm where that has
        none."""
        if self.rank == len(self.scale):
            return solve_triangular(self.factor, np.eye(len(self.scale)))
        sizes, vectors = self._parts
        seen = np.arange(len(sizes)) < self.rank
        return vectors * np.where(seen, 1 / np.where(seen, sizes, 1), 0) / self.scale[:, None]

    def solve(self, gradient: np.ndarray) -> np.ndarray:
        """The information's inverse times a vector (P,)."""
        return self.root @ (self.root.T @ gradient)


def triangle(A: np.ndarray) -> np.ndarray:
    """R of the QR factors of A."""
    return np.asarray(np.linalg.qr(A, mode="r"))


def information(fit: FitContext, *, penalised: bool = True) -> Information:
    """The observed information of a fit's γ, with the penalty's curvature or without."""
    P = fit.design.shape[1] * fit.num_contrasts
    R, rows, squares = np.zeros((0, P)), 0, np.zeros(P)
    for block in _weighted_rows(fit, penalised):
        rows += len(block)
        squares += np.sum(block**2, axis=0)
        R = triangle(np.vstack([R, block]))
    R = np.vstack([R, np.zeros((P - len(R), P))])  # fewer rows than columns
    return Information(R, np.where(squares > 0, np.sqrt(squares), 1), rows)


def _weighted_rows(fit: FitContext, penalised: bool) -> Iterator[np.ndarray]:
    """A, some rows at a time."""
    n, q = fit.design.shape
    classes = 1 if fit.reference is None else fit.num_contrasts + 1
    count = max(1, _BLOCK // (q * classes**2))
    for start in range(0, n, count):
        some = slice(start, start + count)
        yield _block(fit, fit.design[some], fit.curvature[some], np.sqrt(fit.weight[some]))
    if penalised:
        yield _penalty_rows(fit)


def _block(fit: FitContext, Z: np.ndarray, curved: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if fit.reference is None:
        return (weight * np.sqrt(curved))[:, None] * Z
    K = curved.shape[1]
    # 1 − μ_k as the sum of the others: the difference would lose the small ones.
    complement = curved @ (1 - np.eye(K))
    spread = np.where(np.eye(K, dtype=bool), complement[:, :, None], -curved[:, None, :])
    root = weight[:, None, None] * np.sqrt(curved)[:, :, None] * spread[:, :, fit.non_reference]
    return np.einsum("nj,nkc->nkjc", Z, root).reshape(len(Z) * K, -1)


def _penalty_rows(fit: FitContext) -> np.ndarray:
    """The penalty of γ, the least that any β with these contrasts pays: a row for each
    coefficient, and for softmax for each class."""
    F = fit.objective
    p, q = F.X.shape[1], fit.design.shape[1]
    with jax.enable_x64(True):
        curved = np.asarray(F.penalty.curvature(jnp.ones(p)))
    root = np.zeros((p, q))
    root[:, :p] = np.diag(np.sqrt(curved * fit.num_observations))
    if fit.reference is None:
        return root
    K = fit.num_contrasts + 1
    centre = (np.eye(K) - 1 / K)[:, fit.non_reference]
    return np.einsum("aj,kc->akjc", root, centre).reshape(p * K, -1)
