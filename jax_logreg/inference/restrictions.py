r"""Do the data bear linear restrictions? By the best fit that obeys them.

.. math::
    2\,(\ell(\hat\gamma) - \ell(\tilde\gamma)), \qquad s^\top I^{-1} s,
    \qquad \tilde\gamma = \operatorname{argmax}_{R\gamma = r} \ell(\gamma),

with s and I the score and the information there. Sources: Wilks (1938), Annals of Mathematical
Statistics 9; Rao (1948), Proceedings of the Cambridge Philosophical Society 44.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import null_space

from jax_logreg.fitting.result import FitError
from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.inference import ChiSquaredTest, Inference, chi_squared
from jax_logreg.inference.information import information
from jax_logreg.inference.newton import settle_within

_STEPS = 100
_CLOSE = 1e-9


def restriction_test(
    inference: Inference,
    combinations: ArrayLike,
    value: ArrayLike = 0.0,
    *,
    kind: Literal["likelihood_ratio", "score"] = "likelihood_ratio",
) -> ChiSquaredTest:
    """Whether linear combinations of the parameters have given values, Rγ = r.

    ``inference.wald_test`` asks the same without another fit. Under Firth's penalty ℓ is the
    penalised likelihood of the full model on both sides.

    Args:
        inference: what ``infer`` returned; its kind of covariance does not matter here.
        combinations: R, (m, P) or (P,).
        value: r, a number or (m,).
        kind: "likelihood_ratio", or "score", which needs a fit without a penalty.

    Raises:
        ValueError: for bad input, combinations that the data do not tell, or a penalty that
            leaves the statistic no χ² distribution.
        FitError: where the best fit under the restrictions is not found.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> found = lr.infer(lr.fit(X, y), X, y)
    >>> tests = (restriction_test(found, [1, 0], kind=k) for k in ("likelihood_ratio", "score"))
    >>> [round(test.p_value, 3) for test in tests]
    [0.214, 0.232]
    """
    if kind not in ("likelihood_ratio", "score"):
        raise ValueError(f"kind must be 'likelihood_ratio' or 'score', but it is {kind!r}.")
    if inference.fit.is_penalised and (kind == "score" or not inference.fit.firth):
        raise ValueError(
            f"a {kind.replace('_', ' ')} test needs a fit without a penalty: use wald_test."
        )
    R, off = inference.restrictions(combinations, value)
    fit = _restricted(inference, R, off)
    if kind == "score":
        statistic = float(np.sum((information(fit).root.T @ fit.gradient()) ** 2))
    else:
        statistic = max(2 * (fit.value() - inference.fit.value()), 0.0)
    return chi_squared(statistic, len(R))


def _restricted(inference: Inference, R: np.ndarray, off: np.ndarray) -> Fitted:
    """The best fit whose Rγ is less by ``off``."""
    full = inference.information
    change = full.root @ np.linalg.lstsq(R @ full.root, -off, rcond=None)[0]
    unit = R / full.scale
    level = null_space(unit / np.linalg.norm(unit, axis=1, keepdims=True)) / full.scale[:, None]
    if level.shape[1] != R.shape[1] - len(R):
        raise ValueError("combinations holds rows that follow from others: leave them out.")
    fit, settled = settle_within(inference.fit.moved(change), level, _STEPS, _CLOSE)
    if not settled:
        raise FitError(
            f"the best fit under the restrictions was not found in {_STEPS} steps. Standardise "
            "the columns of X."
        )
    return fit
