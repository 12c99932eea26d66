r"""Would more columns describe the data better? Asked of the smaller fit alone.

.. math:: s^\top I^{-1} s

with s the score and I the information of the larger model at the smaller one's answer: nothing
is fitted anew. Source: Rao (1948), Proceedings of the Cambridge Philosophical Society 44.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.fitting import validation
from jax_logreg.inference.inference import ChiSquaredTest, Inference, chi_squared
from jax_logreg.inference.information import information
from jax_logreg.objective.sparse_features import dense


def score_test(inference: Inference, more: ArrayLike) -> ChiSquaredTest:
    """Whether the coefficients of further columns are zero.

    Args:
        inference: of the fit without them, without a penalty.
        more: the columns, (n, m).

    Raises:
        ValueError: where the columns do not match, tell nothing new, or a penalty was used.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> small = lr.infer(lr.fit(X, y), X, y)
    >>> round(score_test(small, X**2).p_value, 3)
    0.42
    """
    fit = inference.fit
    F = fit.objective
    if fit.is_penalised:
        raise ValueError("a score test needs a fit without a penalty.")
    with jax.enable_x64(True):
        columns = validation.check_features(more)
        if columns.shape[0] != F.X.shape[0]:
            raise ValueError(
                f"more must have {F.X.shape[0]} rows, as the fit had, but it has "
                f"{columns.shape[0]}."
            )
        coef, intercept = F.split(jnp.asarray(fit.theta))
        wide = replace(F, X=jnp.column_stack([dense(F.X), dense(columns).astype(float)]))
        new = jnp.zeros((columns.shape[1], *coef.shape[1:]))
        theta = np.asarray(wide.join(jnp.concatenate([coef, new]), intercept))
    larger = replace(fit, objective=wide, theta=theta)
    full = information(larger)
    gained = full.rank - inference.rank
    if gained == 0:
        raise ValueError("more tells nothing new: its columns depend on those of the fit.")
    return chi_squared(float(np.sum((full.root.T @ larger.gradient()) ** 2)), gained)
