r"""Influence of single rows: leverage, residuals, and the fit without the row.

With A the information, :math:`J_i` the row's design (c × P, c = 1 or K − 1), :math:`W_i` its
curvature, :math:`w_i` its weight and :math:`r_i = y_i - \mu_i`, one Newton step from the
estimate on the data without the row is

.. math::
    \hat\gamma_{(i)} - \hat\gamma \approx
    -w_i A^{-1} J_i^\top (I - w_i W_i J_i A^{-1} J_i^\top)^{-1} r_i.

Residuals are computed from logits: the probability of a row that is fitted to the last digit is
0 or 1, and the residual that its logit tells is a number as good as any other.

Sources: Pregibon (1981), Annals of Statistics 9; for several classes Lesaffre & Albert
(1989), Applied Statistics 38; for Anscombe's residuals Cox & Snell (1968), Journal of the
Royal Statistical Society B 30.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import beta, betainc, logsumexp

from jax_logreg.inference.covariance import deleted_residuals, hat_blocks
from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.inference import Inference, check_inference, label_probabilities
from jax_logreg.programs.jax_settings import own_settings

# Below it t − log(1 + t) is taken from its series, whose terms beyond the last one kept are
# round-off.
_SMALL = 1e-2
_SERIES_TERMS = 9


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
        dffits: the change of the row's own logit in its standard errors, (n,).
        difdev: the decrease of the deviance when the row is left out, (n,).
        difchisq: that of Pearson's χ², the square of ``studentised``, (n,).
        working: (y − μ)/σ′(η), in logits, (n,).
        anscombe: residuals of y on a scale on which they are nearly normal, (n,).

    The last five are of the sigmoid model: NaN for softmax.

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
    dffits: np.ndarray
    difdev: np.ndarray
    difchisq: np.ndarray
    working: np.ndarray
    anscombe: np.ndarray


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
    check_inference(inference)
    fit, full = inference.fit, inference.information
    JL, hat = hat_blocks(fit, full)
    hat = fit.weight[:, None, None] * hat
    deleted = deleted_residuals(hat, -fit.contrast_residuals)
    # In the coordinates of L, where the covariance is the identity.
    change = -fit.weight[:, None] * np.einsum("ncm,nc->nm", JL, deleted)
    one_step = change @ fit.to_original(full.root).T
    leverage = np.trace(hat, axis1=1, axis2=2)
    labels, log_mu = label_probabilities(fit), _log_probabilities(fit.logits)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        pearson = _sign(fit) * _root_of_sum(_pearson_terms(fit, labels, log_mu), fit.weight)
        deviance = _sign(fit) * _root_of_sum(_deviance_terms(fit, labels, log_mu), fit.weight)
        of_sigmoid = _of_sigmoid(fit, pearson, deviance, leverage)
    return Influence(
        leverage=leverage,
        pearson=pearson,
        deviance=deviance,
        one_step=one_step,
        dfbetas=one_step / inference.standard_error,
        cooks_distance=np.sum(change**2, axis=1) / inference.rank,
        **of_sigmoid,
    )


def _of_sigmoid(
    fit: FitContext, pearson: np.ndarray, deviance: np.ndarray, leverage: np.ndarray
) -> dict[str, np.ndarray]:
    """The diagnostics that softmax has not."""
    names = ("studentised", "dffits", "difdev", "difchisq", "working", "anscombe")
    if fit.reference is not None:
        return {name: np.full(len(pearson), np.nan) for name in names}
    studentised = pearson / np.sqrt(1 - leverage)
    odds = leverage / (1 - leverage)
    values = (
        studentised, studentised * np.sqrt(odds), deviance**2 + pearson**2 * odds,
        studentised**2, _working(fit), _weighted(fit.weight, _anscombe(fit)),
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


# --- residuals --------------------------------------------------------------------------------


def _sign(fit: FitContext) -> np.ndarray:
    """Of y − μ, also where both are 0 or 1; 1 for softmax."""
    if fit.reference is not None:
        return np.ones(len(fit.weight))
    y = np.asarray(fit.objective.y)
    return np.where(y == 0, -1, np.where(y == 1, 1, -np.sign(fit.residuals)))


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    """log μ of every class, (n, K)."""
    if logits.ndim == 1:
        return -np.logaddexp(0, np.column_stack([logits, -logits]))
    return logits - logsumexp(logits, axis=1, keepdims=True)


def _pearson_terms(fit: FitContext, labels: np.ndarray, log_mu: np.ndarray) -> np.ndarray:
    """Logarithms of (μ − y)²/μ of every class, (n, K), which is μ for y = 0."""
    residuals = _class_residuals(fit)
    return np.where(labels == 0, log_mu, 2 * np.log(np.abs(residuals)) - log_mu)


def _deviance_terms(fit: FitContext, labels: np.ndarray, log_mu: np.ndarray) -> np.ndarray:
    r"""Logarithms of terms, none negative, whose sum is twice the row's distance from the
    saturated likelihood, (n, K).

    .. math::
        \sum_k y_k \log\frac{y_k}{\mu_k} = \sum_k y_k\,(t_k - \log(1 + t_k)), \qquad
        t_k = \frac{\mu_k - y_k}{y_k},

    because the y and the μ have one sum; a term is μ where y = 0.
    """
    y = np.where(labels == 0, 1, labels)
    t = _class_residuals(fit) / y
    log_ratio = np.where(t < -0.5, log_mu - np.log(y), np.log1p(t))
    series = np.zeros_like(t)
    for k in range(_SERIES_TERMS, 1, -1):
        series = (1 / k) - t * series
    excess = np.where(np.abs(t) < _SMALL, t**2 * series, t - log_ratio)
    return np.log(2) + np.where(labels == 0, log_mu, np.log(y) + np.log(excess))


def _class_residuals(fit: FitContext) -> np.ndarray:
    """μ − y of every class, (n, K)."""
    r = fit.residuals
    return r if r.ndim == 2 else np.column_stack([-r, r])


def _root_of_sum(log_terms: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The root of w times a sum whose terms, of given logarithms, may underflow, (n,)."""
    return _weighted(weight, np.exp(logsumexp(log_terms, axis=1) / 2))


def _weighted(weight: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Residuals times √w, also where they overflow in a row that does not count."""
    return np.where(weight > 0, np.sqrt(weight) * residuals, 0)


def _working(fit: FitContext) -> np.ndarray:
    """(y − μ)/σ′(η) = y/μ − (1 − y)/(1 − μ)."""
    y, eta = np.asarray(fit.objective.y), fit.logits
    above, below = (1 + np.exp(-eta)) * y, (1 + np.exp(eta)) * (1 - y)
    return np.where(y > 0, above, 0) - np.where(y < 1, below, 0)


def _anscombe(fit: FitContext) -> np.ndarray:
    r""":math:`(A(y) - A(\mu))/(\mu(1-\mu))^{1/6}` with :math:`A(x) = B_x(2/3, 2/3)`, Euler's
    incomplete beta function.

    Seen from the side, 0 or 1, that η is on: with m the probability of the other side, q the
    distance of y from this one, and a = e^{−|η|}.
    """
    y, size = np.asarray(fit.objective.y), np.abs(fit.logits)
    above, a = fit.logits >= 0, np.exp(-size)
    q = np.abs(above - y)
    scale = np.exp(size / 6) * np.cbrt(1 + a)
    of_mu = np.where(a > _SMALL**10, _incomplete_beta(a / (1 + a)) * scale, 1.5 * np.exp(-size / 2))
    of_y = np.where(q > 0, _incomplete_beta(q) * scale, 0)
    return np.where(above, of_mu - of_y, of_y - of_mu)


def _incomplete_beta(x: np.ndarray) -> np.ndarray:
    return beta(2 / 3, 2 / 3) * betainc(2 / 3, 2 / 3, x)
