r"""How well a fit describes its data, and how well one without features would.

The log-likelihood is :math:`\sum_i w_i \log p(y_i)`, without the penalty; the deviance is
twice its distance from that of the labels themselves, which is zero for labels 0 and 1.

Counts, s of m, enter as the label s/m with weight m. Programs for binomial counts then add the
constant :math:`\sum_i \log\binom{m_i}{s_i}`, which no estimate and no test depends on, and count
rows in the BIC; here an observation is one of the m.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import xlogy

from jax_logreg.fitting.fit import fit as run_fit
from jax_logreg.inference.fitted import Fitted
from jax_logreg.objective.losses import cross_entropy


def log_likelihood(fit: Fitted) -> float:
    """Of the fit, in nats."""
    return -float(fit.weight @ fit.row_losses)


def saturated_log_likelihood(fit: Fitted) -> float:
    """Of probabilities that are the labels: zero unless labels are soft."""
    return float(fit.weight @ saturated_rows(fit))


def saturated_rows(fit: Fitted) -> np.ndarray:
    """The same, unweighted, row by row."""
    y = np.asarray(fit.objective.y)
    return xlogy(y, y) + xlogy(1 - y, 1 - y) if y.ndim == 1 else xlogy(y, y).sum(axis=1)


def null_log_likelihood(fit: Fitted) -> float:
    """Of the model with an intercept alone, or with nothing where none was fitted.

    An offset stays. Without one the probabilities are the shares of the classes.
    """
    F = fit.objective
    if F.offset is None and F.fit_intercept:
        y = np.asarray(F.y)
        table = y if y.ndim == 2 else np.column_stack([1 - y, y])
        counts = fit.weight @ table
        return float(np.sum(xlogy(counts, counts / fit.num_observations)))
    with jax.enable_x64(True):
        nothing = jnp.zeros((F.X.shape[0], 1))
        if not F.fit_intercept:
            logits = jnp.zeros_like(F.y) if F.offset is None else F.offset
            return -float(fit.weight @ np.asarray(cross_entropy(logits, F.y)))
        constant = run_fit(
            nothing + 1, F.y, offset=F.offset, sample_weight=fit.weight, fit_intercept=False,
            solver="newton",
        ).raise_if_failed()  # fmt: skip
        return -fit.num_observations * float(constant.objective)
