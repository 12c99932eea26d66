r"""Influence of single rows: leverage, residuals, and the fit without the row.

With A the information, :math:`J_i` the row's design (c × P, c = 1 or K − 1), :math:`W_i` its
curvature, :math:`w_i` its weight and :math:`r_i = y_i - \mu_i`, one Newton step from the
estimate on the data without the row is

.. math::
    \hat\gamma_{(i)} - \hat\gamma \approx
    -w_i A^{-1} J_i^\top (I - w_i W_i J_i A^{-1} J_i^\top)^{-1} r_i.

Sources: Pregibon (1981), Annals of Statistics 9; for several classes Lesaffre & Albert
(1989), Applied Statistics 38.
"""

from dataclasses import dataclass

import numpy as np

from jax_logreg.inference.inference import Inference, saturated_rows
from jax_logreg.objective.jax_settings import own_settings

# A leverage this near to 1 is 1: some parameter is estimable from that row alone.
_LEVERAGE_ONE = 1e-10


@dataclass(frozen=True)
class Influence:
    """Diagnostics of every row, as NumPy arrays; :func:`influence` returns them.

    Attributes:
        leverage: the trace of the row's block of the hat matrix, (n,); they sum to the rank.
        pearson: Pearson residuals, (n,); for softmax the root of their squared sum, ≥ 0.
        deviance: deviance residuals, (n,), with the sign of y − μ; for softmax ≥ 0.
        studentised: Pearson residuals over √(1 − leverage), (n,); NaN for softmax.
        one_step: the change of the estimates when the row is left out, (n, P); NaN where not
            all are estimable from the other rows, as for a dummy that is 1 in one row only.
        dfbetas: ``one_step`` in standard errors, (n, P).
        cooks_distance: (n,).

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> rows = influence(lr.infer(lr.fit(X, y), X, y))
    >>> int(rows.cooks_distance.argmax()), rows.one_step.shape
    (1, (6, 2))
    """

    leverage: np.ndarray
    pearson: np.ndarray
    deviance: np.ndarray
    studentised: np.ndarray
    one_step: np.ndarray
    dfbetas: np.ndarray
    cooks_distance: np.ndarray


@own_settings()
def influence(inference: Inference) -> Influence:
    """The influence of every row on a fit, from the factor that gives the standard errors.

    Args:
        inference: what ``infer`` returned.

    Returns:
        Leverage, residuals, and the first-order change of the estimates without each row.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> rows = influence(lr.infer(lr.fit(X, y), X, y))
    >>> rows.leverage.sum().round(6).item()
    2.0
    """
    fit, full = inference.fit, inference.information
    root = full.root.reshape(-1, fit.num_contrasts, len(full.scale))  # (q, c, m)
    # J L, (n, c, m): the c logits of each row under the columns of L.
    JL = np.einsum("nj,jcm->ncm", fit.design, root)
    B = np.sqrt(fit.weight)[:, None, None] * fit.curvature_root()
    # w W J A⁻¹ Jᵀ, (n, c, c)
    hat = np.einsum("nkc,nkd->ncd", B, B) @ np.einsum("ncm,ndm->ncd", JL, JL)
    residual = -fit.contrast_residuals
    deleted = _deleted_residuals(hat, residual)
    # In the coordinates of L, where the covariance is the identity.
    change = -fit.weight[:, None] * np.einsum("ncm,nc->nm", JL, deleted)
    one_step = change @ full.root.T
    leverage = np.trace(hat, axis1=1, axis2=2)
    pearson = _pearson(inference)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = pearson / np.sqrt(1 - leverage)
    return Influence(
        leverage=leverage,
        pearson=pearson,
        deviance=_deviance(inference),
        studentised=studentised if fit.reference is None else np.full(len(JL), np.nan),
        one_step=one_step,
        dfbetas=one_step / inference.standard_error,
        cooks_distance=np.sum(change**2, axis=1) / inference.rank,
    )


def _deleted_residuals(hat: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(I − hat)⁻¹ r of every row; NaN where some parameter is estimable from that row alone."""
    matrix = np.eye(hat.shape[1]) - hat
    regular = np.linalg.svd(matrix, compute_uv=False)[:, -1] > _LEVERAGE_ONE
    matrix = np.where(regular[:, None, None], matrix, np.eye(hat.shape[1]))
    deleted = np.linalg.solve(matrix, residual[:, :, None])[:, :, 0]
    return np.where(regular[:, None], deleted, np.nan)


def _pearson(inference: Inference) -> np.ndarray:
    fit = inference.fit
    if fit.reference is None:
        return -fit.residuals * np.sqrt(fit.weight / fit.curvature)
    return np.sqrt(fit.weight * np.sum(fit.residuals**2 / fit.curvature, axis=1))


def _deviance(inference: Inference) -> np.ndarray:
    fit = inference.fit
    # For a soft label that equals μ the difference is round-off, which may be negative.
    size = np.sqrt(2 * fit.weight * np.maximum(fit.row_losses + saturated_rows(fit), 0))
    return -np.sign(fit.residuals) * size if fit.reference is None else size
