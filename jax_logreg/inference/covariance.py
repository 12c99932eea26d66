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
"clustered"    "HC0" with the scores summed within groups first, times
               G/(G − 1) · (n − 1)/(n − P), n at least the rows of positive weight
=============  =============================================================  ===========

Programs differ in the factor. For a logistic fit Stata's ``vce(robust)`` takes n/(n − 1), R's
``sandwich`` none as ``vcovHC(type = "HC0")`` and n/(n − P) as ``"HC1"``, statsmodels none under
either name. For clusters R's ``vcovCL`` and statsmodels take the factor above, Stata's ``logit``
G/(G − 1) alone. Divide one factor by the other, and multiply the covariance.

Weights are frequencies: a row of weight 2 counts as two rows. If they are reciprocals of
sampling probabilities, make each row a group of its own: ``groups=range(n)``.

Sources: Huber (1967); White (1980), Econometrica 48; Liang & Zeger (1986), Biometrika 73.
"""

from collections.abc import Callable

import numpy as np

from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.information import Information, information


def covariance_root(
    kind: str, fit: FitContext, full: Information, groups: np.ndarray | None
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


def _observed(fit: FitContext, full: Information, groups: np.ndarray | None) -> np.ndarray:
    return full.root


def _frequentist(fit: FitContext, full: Information, groups: np.ndarray | None) -> np.ndarray:
    data = information(fit, penalised=False)
    return full.root @ (data.factor @ full.root).T


def influence_rows(fit: FitContext, full: Information) -> np.ndarray:
    """The first-order influence of each observation on the estimates, A⁻¹sᵢ, (n, P)."""
    scores = -np.einsum("nj,nc->njc", fit.design, fit.contrast_residuals)
    return scores.reshape(len(scores), -1) @ full.root @ full.root.T


def _hc0(fit: FitContext, full: Information, groups: np.ndarray | None) -> np.ndarray:
    return (np.sqrt(fit.weight)[:, None] * influence_rows(fit, full)).T


def _hc1(fit: FitContext, full: Information, groups: np.ndarray | None) -> np.ndarray:
    n = fit.num_observations
    if not n > full.rank:
        raise ValueError(
            f"covariance='HC1' divides by Σw − P, and sample_weight sums to {n:g} for "
            f"{full.rank} parameters: give weights that count rows, or use 'HC0'."
        )
    return np.sqrt(n / (n - full.rank)) * _hc0(fit, full, groups)


def _clustered(fit: FitContext, full: Information, groups: np.ndarray | None) -> np.ndarray:
    counted = fit.weight > 0
    labels, group_of = np.unique(np.asarray(groups)[counted], return_inverse=True)
    sums = np.zeros((len(labels), len(full.scale)))
    np.add.at(sums, group_of, (fit.weight[:, None] * influence_rows(fit, full))[counted])
    # The sum of frequency weights counts observations; that of small weights does not.
    n, G = max(fit.num_observations, float(counted.sum())), len(labels)
    if not n > full.rank:
        raise ValueError(
            "covariance='clustered' needs more observations than parameters, but there are "
            f"{n:g} for {full.rank}."
        )
    return np.sqrt(G / (G - 1) * (n - 1) / (n - full.rank)) * sums.T


_KINDS: dict[str, Callable[[FitContext, Information, np.ndarray | None], np.ndarray]] = {
    "observed": _observed,
    "frequentist": _frequentist,
    "HC0": _hc0,
    "HC1": _hc1,
    "clustered": _clustered,
}
