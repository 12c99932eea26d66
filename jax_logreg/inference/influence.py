r"""How much each row weighs in the answer: leverage, residuals, and the fit without it.

With A the information, :math:`J_i` the row's design (c × P, c = 1 or K − 1), :math:`W_i` its
curvature, :math:`w_i` its weight and :math:`r_i = y_i - \mu_i`, one Newton step from the
estimate takes a row out exactly:

.. math::
    \hat\gamma_{(i)} - \hat\gamma \approx
    -w_i A^{-1} J_i^\top (I - w_i W_i J_i A^{-1} J_i^\top)^{-1} r_i.

Sources: Pregibon (1981), Annals of Statistics 9; for several classes Lesaffre & Albert
(1989), Applied Statistics 38.
"""

from dataclasses import dataclass

import numpy as np

from jax_logreg.inference.inference import Inference, saturated_rows

# Leverages this near to one are one: the row alone decides some parameter.
_LEVERAGE_ONE = 1e-10


@dataclass(frozen=True)
class Influence:
    """One entry a row, all NumPy.

    Attributes:
        leverage: the trace of the hat matrix' block, (n,); they sum to the rank.
        pearson: Pearson's residual, (n,); for softmax the root of its square, ≥ 0.
        deviance: the deviance residual, (n,), with the sign of y − μ; for softmax ≥ 0.
        studentised: Pearson's residual over √(1 − leverage), (n,); NaN for softmax.
        one_step: how far leaving the row out moves the estimates, (n, P); NaN where the
            others do not tell them all, as for a dummy that occurs in one row.
        dfbetas: the same in standard errors, (n, P).
        cooks_distance: (n,).
    """

    leverage: np.ndarray
    pearson: np.ndarray
    deviance: np.ndarray
    studentised: np.ndarray
    one_step: np.ndarray
    dfbetas: np.ndarray
    cooks_distance: np.ndarray


def influence(inference: Inference) -> Influence:
    """Every row's part in a fit, from the one factor that the standard errors come from.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> rows = influence(lr.infer(lr.fit(X, y), X, y))
    >>> rows.leverage.sum().round(6).item()
    2.0
    """
    fit, full = inference.fit, inference.information
    classes = 1 if fit.reference is None else fit.num_contrasts
    n = len(fit.weight)
    whitened = full.root.reshape(-1, classes, full.root.shape[1])  # (q, c, m)
    # J L, a block a row: the c logits that the row's design makes of L's columns.
    JL = np.einsum("nj,jcm->ncm", fit.design, whitened)
    curved = _curvature(inference) * fit.weight[:, None, None]
    spread = np.einsum("ncm,ndm->ncd", JL, JL)  # J A⁻¹ Jᵀ
    hat = curved @ spread
    residual = -fit.residuals if fit.reference is None else -fit.residuals[:, fit.non_reference]
    residual = residual.reshape(n, classes)
    left = _without_row(hat, residual)
    change = -fit.weight[:, None] * np.einsum("ncm,nc->nm", JL, left)  # in L's coordinates
    one_step = change @ full.root.T
    leverage = np.trace(hat, axis1=1, axis2=2)
    pearson = _pearson(inference)
    with np.errstate(divide="ignore", invalid="ignore"):
        student = pearson / np.sqrt(1 - leverage)
    return Influence(
        leverage=leverage,
        pearson=pearson,
        deviance=_deviance(inference),
        studentised=student if classes == 1 and fit.reference is None else np.full(n, np.nan),
        one_step=one_step,
        dfbetas=one_step / inference.standard_error,
        cooks_distance=np.sum(change**2, axis=1) / inference.rank,
    )


def _without_row(hat: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(I − hat)⁻¹ r of every row; NaN where the others do not tell all that the row tells."""
    rest = np.eye(hat.shape[1]) - hat
    told = np.linalg.svd(rest, compute_uv=False)[:, -1] > _LEVERAGE_ONE
    safe = np.where(told[:, None, None], rest, np.eye(hat.shape[1]))
    left = np.linalg.solve(safe, residual[:, :, None])[:, :, 0]
    return np.where(told[:, None], left, np.nan)


def _curvature(inference: Inference) -> np.ndarray:
    """W of every row in its contrasts, (n, c, c)."""
    fit = inference.fit
    if fit.reference is None:
        return fit.curvature[:, None, None]
    mu = fit.curvature[:, fit.non_reference]
    return np.einsum("nc,cd->ncd", mu, np.eye(mu.shape[1])) - mu[:, :, None] * mu[:, None, :]


def _pearson(inference: Inference) -> np.ndarray:
    fit = inference.fit
    if fit.reference is None:
        return -fit.residuals * np.sqrt(fit.weight / fit.curvature)
    return np.sqrt(fit.weight * np.sum(fit.residuals**2 / fit.curvature, axis=1))


def _deviance(inference: Inference) -> np.ndarray:
    fit = inference.fit
    # A soft label that is met exactly leaves the round-off of its own entropy.
    size = np.sqrt(2 * fit.weight * np.maximum(fit.row_losses + saturated_rows(fit), 0))
    return -np.sign(fit.residuals) * size if fit.reference is None else size
