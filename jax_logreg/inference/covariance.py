r"""Covariance estimators: model-based, robust (sandwich) and clustered.

With A the observed information (the penalty's curvature included), J that of the data alone
and :math:`s_i` the score of a row, the covariance is

=============  =============================================================  ===========
name           covariance                                                     also called
=============  =============================================================  ===========
"observed"     :math:`A^{-1}`                                                 model-based
"frequentist"  :math:`A^{-1} J A^{-1}`; "observed" without a penalty
"HC0"          :math:`A^{-1} (\sum_i w_i s_i s_i^\top) A^{-1}`                sandwich
"HC1"          "HC0" times n/(n − P), n = Σw
"HC3"          "HC0" with :math:`(I - H_i)^{-1} s_i`, :math:`H_i` the row's   jackknife
               block of the hat matrix
"clustered"    "HC0" with the scores summed within groups first, times
               G/(G − 1) · (n − 1)/(n − P), n at least the rows of positive weight
=============  =============================================================  ===========

Groups of several kinds, such as firms and years, are the columns of ``groups``. The covariance is
then the sum of those of either kind less that of their intersection, V₁ + V₂ − V₁₂, and so on by
inclusion and exclusion. Where that is not a covariance, its negative eigenvalues, in units of
the model-based one, are set to zero, as the authors recommend.

Programs differ in the factor. For a logistic fit Stata's ``vce(robust)`` takes n/(n − 1), R's
``sandwich`` none as ``vcovHC(type = "HC0")`` and n/(n − P) as ``"HC1"``, statsmodels none under
either name. For clusters R's ``vcovCL`` and statsmodels take the factor above, Stata's ``logit``
G/(G − 1) alone. Divide one factor by the other, and multiply the covariance.

Weights are frequencies: a row of weight 2 counts as two rows. If they are reciprocals of
sampling probabilities, make each row a group of its own: ``groups=range(n)``.

Sources: Huber (1967); White (1980), Econometrica 48; MacKinnon & White (1985), Journal of
Econometrics 29; Liang & Zeger (1986), Biometrika 73; Cameron, Gelbach & Miller (2011), Journal of
Business & Economic Statistics 29.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.information import Information, RestrictedInformation, information

Inverse = Information | RestrictedInformation
# A leverage this near to 1 is 1: some parameter is estimable from that row alone.
_LEVERAGE_ONE = 1e-10


def covariance_root(
    kind: str, fit: FitContext, full: Inverse, groups: np.ndarray | None
) -> np.ndarray:
    """C with CCᵀ the covariance, (P, m): standard errors need no more than its row norms."""
    return _KINDS[kind](fit, full, groups)


def check_kind(kind: str, groups: object) -> None:
    """Refuse an unknown kind of covariance, and groups without "clustered"."""
    if not isinstance(kind, str) or kind not in _KINDS:
        names = ", ".join(map(repr, _KINDS))
        raise ValueError(f"covariance must be one of {names}, but it is {kind!r}.")
    if (kind == "clustered") != (groups is not None):
        raise ValueError("groups= goes with covariance='clustered', and 'clustered' with groups=.")


def check_groups(groups: Any, weight: np.ndarray) -> np.ndarray:
    """Labels of groups as an array, (n,) or (n, d).

    Raises:
        ValueError: for another shape, or one group only.
    """
    groups = np.asarray(groups)
    if groups.shape[:1] != weight.shape or groups.ndim > 2 or not groups.size:
        raise ValueError(
            f"groups must have shape {weight.shape}, or a column for each of several kinds, but "
            f"its shape is {groups.shape}."
        )
    for column in groups[weight > 0].reshape(-1, groups[0].size).T:
        if len(np.unique(column)) < 2:
            raise ValueError("groups holds one group only: clustering needs two or more.")
    return groups


def _observed(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    return full.root


def _frequentist(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    data = information(fit, penalised=False)
    return full.root @ (data.factor @ full.root).T


def hat_blocks(fit: FitContext, full: Inverse) -> tuple[np.ndarray, np.ndarray]:
    """J L of every row, (n, c, m), with LLᵀ = A⁻¹; and its block D J A⁻¹ Jᵀ of the hat matrix,
    (n, c, c), for one observation: a row of weight w has w such blocks."""
    root = full.root.reshape(-1, fit.num_contrasts, full.root.shape[1])  # (q, c, m)
    JL = np.einsum("nj,jcm->ncm", fit.design(), root)
    B = fit.curvature_root()
    return JL, np.einsum("nkc,nkd->ncd", B, B) @ np.einsum("ncm,ndm->ncd", JL, JL)


def deleted_residuals(hat: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(I − hat)⁻¹ r of every row; NaN where some parameter is estimable from that row alone."""
    matrix = np.eye(hat.shape[1]) - hat
    regular = np.linalg.svd(matrix, compute_uv=False)[:, -1] > _LEVERAGE_ONE
    matrix = np.where(regular[:, None, None], matrix, np.eye(hat.shape[1]))
    deleted = np.linalg.solve(matrix, residual[:, :, None])[:, :, 0]
    return np.where(regular[:, None], deleted, np.nan)


def whitened_scores(fit: FitContext, full: Inverse, residuals: np.ndarray) -> np.ndarray:
    """Lᵀsᵢ of each observation with given residuals in contrasts, (n, m): its influence on the
    estimates is L times that."""
    scores = -np.einsum("nj,nc->njc", fit.design(), residuals)
    return scores.reshape(len(scores), -1) @ full.root


def _hc0(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    scores = whitened_scores(fit, full, fit.contrast_residuals)
    return full.root @ (np.sqrt(fit.weight)[:, None] * scores).T


def _hc1(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    n = fit.num_observations
    if not n > full.rank:
        raise ValueError(
            f"covariance='HC1' divides by Σw − P, and sample_weight sums to {n:g} for "
            f"{full.rank} parameters: give weights that count rows, or use 'HC0'."
        )
    return np.sqrt(n / (n - full.rank)) * _hc0(fit, full, groups)


def _hc3(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    _, hat = hat_blocks(fit, full)
    residuals = deleted_residuals(hat, fit.contrast_residuals)
    alone = np.isnan(residuals[:, 0]) & (fit.weight > 0)
    if np.any(alone):
        raise ValueError(
            "covariance='HC3' needs every parameter to be estimable without any one row, but row "
            f"{int(np.argmax(alone))} alone tells one: leave its column out, or use 'HC0'."
        )
    residuals = np.where(fit.weight[:, None] > 0, residuals, 0)
    scores = whitened_scores(fit, full, residuals)
    return full.root @ (np.sqrt(fit.weight)[:, None] * scores).T


def _clustered(fit: FitContext, full: Inverse, groups: np.ndarray | None) -> np.ndarray:
    counted = fit.weight > 0
    table = np.asarray(groups)[counted].reshape(counted.sum(), -1)
    codes = [np.unique(column, return_inverse=True)[1] for column in table.T]
    scores = whitened_scores(fit, full, fit.contrast_residuals)
    scores = (fit.weight[:, None] * scores)[counted]
    # The sum of frequency weights counts observations; that of small weights does not.
    n = max(fit.num_observations, float(counted.sum()))
    if not n > full.rank:
        raise ValueError(
            "covariance='clustered' needs more observations than parameters, but there are "
            f"{n:g} for {full.rank}."
        )
    factor = np.sqrt((n - 1) / (n - full.rank))
    if len(codes) == 1:
        return factor * full.root @ _cluster_sums(scores, codes).T
    meat = np.zeros((scores.shape[1],) * 2)
    for size in range(1, len(codes) + 1):
        for kinds in combinations(codes, size):
            sums = _cluster_sums(scores, kinds)
            meat -= (-1) ** size * sums.T @ sums
    values, vectors = np.linalg.eigh(meat)
    return factor * full.root @ (vectors * np.sqrt(np.maximum(values, 0)))


def _cluster_sums(scores: np.ndarray, codes: Sequence[np.ndarray]) -> np.ndarray:
    """The sums of scores over the rows that share every code, (G, m), times √(G/(G − 1))."""
    labels, group_of = np.unique(np.column_stack(codes), axis=0, return_inverse=True)
    G = len(labels)
    sums = np.zeros((G, scores.shape[1]))
    np.add.at(sums, group_of, scores)
    return np.sqrt(G / (G - 1)) * sums


_KINDS: dict[str, Callable[[FitContext, Inverse, np.ndarray | None], np.ndarray]] = {
    "observed": _observed,
    "frequentist": _frequentist,
    "HC0": _hc0,
    "HC1": _hc1,
    "HC3": _hc3,
    "clustered": _clustered,
}
