r"""Intervals from the likelihood itself, which need not be symmetric about the estimate.

A value c of one parameter lies within the interval as long as the best fit that has it there
describes the data nearly as well as the best of all:

.. math::
    r(c)^2 = 2\,(\ell(\hat\gamma) - \max_{\gamma_j = c} \ell(\gamma)) \le \chi^2_1(\text{level}),

with ℓ the log-likelihood, penalised as the fit was. r is nearly a straight line in c, so a few
secants find each end. Source: Venzon & Moolgavkar (1988), Applied Statistics 37.
"""

import numpy as np
from scipy.special import ndtri

from jax_logreg.fitting.result import FitError
from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.inference import ChiSquaredTest, Inference, check_level
from jax_logreg.inference.information import information
from jax_logreg.inference.newton import curvature_factor, settle_within, solve_within
from jax_logreg.inference.restrictions import restriction_test

_CLOSE = 1e-9
_SECANTS = 60
_STEPS = 100
# An end this many standard errors away is none: the likelihood has a flat tail.
_FURTHEST = 1e3


def profile_interval(
    inference: Inference, level: float = 0.95, parameters: list[str] | None = None
) -> np.ndarray:
    """Profile-likelihood intervals, (m, 2); infinite where the likelihood never falls enough.

    Args:
        inference: what ``infer`` returned; its kind of covariance does not matter here.
        level: of confidence.
        parameters: names; all if absent.

    Raises:
        ValueError: for a level out of range or a name that is none of the parameters.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> profile_interval(lr.infer(lr.fit(X, y), X, y), parameters=["x0"]).round(2).tolist()
    [[-0.3..., 2.3...]]
    """
    check_level(level)
    goal = -float(ndtri((1 - level) / 2))
    rows = _rows(inference, inference.names if parameters is None else parameters)
    return np.array([[_end(inference, j, -goal), _end(inference, j, goal)] for j in rows])


def profile_test(inference: Inference, parameters: list[str]) -> ChiSquaredTest:
    r"""Whether some parameters are zero, by the likelihood of the best fit that has them there.

    .. math:: 2\,(\ell(\hat\gamma) - \max_{\gamma_j = 0} \ell(\gamma)) \sim \chi^2

    Under Firth's penalty ℓ is the penalised likelihood of the full model on both sides, as
    Heinze & Schemper (2002) have it: the columns stay in its information.

    Args:
        inference: what ``infer`` returned; its kind of covariance does not matter here.
        parameters: names.

    Raises:
        ValueError: for a name that is none of the parameters, one that the data do not tell,
            or under ``L2``, whose shrinkage has no such distribution.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> found = lr.infer(lr.fit(X, y, penalty=lr.Firth()), X, y, penalty=lr.Firth())
    >>> round(profile_test(found, ["x0"]).p_value, 3)
    0.311
    """
    held = np.unique(_rows(inference, parameters))
    if not len(held):
        raise ValueError("parameters is empty: name at least one.")
    return restriction_test(inference, np.eye(len(inference.names))[held])


def _rows(inference: Inference, names: list[str]) -> list[int]:
    if unknown := [name for name in names if name not in inference.names]:
        raise ValueError(f"parameters holds {unknown}, but the names are {inference.names}.")
    return [inference.names.index(name) for name in names]


def _end(inference: Inference, j: int, goal: float) -> float:
    """Where the signed root of the deviance, r, is ``goal``."""
    error = np.sqrt(np.sum(inference.information.root[j] ** 2))
    if not inference.information.is_estimable[j]:
        return float("nan")
    best, estimate = inference.fit.value(), inference.estimate[j]
    sign = np.sign(goal)
    low, low_root = 0.0, 0.0  # distances from the estimate, in standard errors
    high, high_root = np.inf, np.inf
    fit, at, distance = inference.fit, 0.0, abs(goal)
    for _ in range(_SECANTS):
        change = sign * (distance - at) * error * np.eye(len(inference.names))[j]
        fit = _restricted(inference, fit, np.array([j]), change)
        at = distance
        root = np.sqrt(max(2 * (fit.value() - best), 0.0))
        if abs(root - abs(goal)) <= _CLOSE * abs(goal):
            break
        if root < abs(goal):
            low, low_root = distance, root
        else:
            high, high_root = distance, root
        if low > _FURTHEST:
            return float(sign * np.inf)
        distance = _next(low, low_root, high, high_root, abs(goal))
    return float(estimate + sign * at * error)


def _next(low: float, low_root: float, high: float, high_root: float, goal: float) -> float:
    """By the straight line through both ends, kept well inside; further out if there is but
    one."""
    if np.isinf(high):
        return min(low * goal / low_root if low_root > 0 else 2 * low, 3 * low)
    share = (goal - low_root) / (high_root - low_root)
    return low + min(max(share, 0.02), 0.98) * (high - low)


def _restricted(inference: Inference, fit: Fitted, held: np.ndarray, change: np.ndarray) -> Fitted:
    """The best fit whose γ has moved by so much where it is held.

    Raises:
        FitError: where Newton's steps do not settle.
    """
    full = curvature_factor(fit, information(fit))
    others = np.delete(np.eye(len(change)), held, axis=1)
    # To first order the others follow.
    follow = solve_within(full, others, -full.T @ (full @ change))
    fit, settled = settle_within(fit.moved(change + follow), others, _STEPS, _CLOSE)
    if not settled:
        raise FitError(
            f"the best fit with {', '.join(inference.names[j] for j in held)} held was not found "
            f"in {_STEPS} steps. Standardise the columns of X."
        )
    return fit
