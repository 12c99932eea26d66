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

from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.inference import Inference, check_level
from jax_logreg.inference.information import information, triangle

_CLOSE = 1e-9
_SECANTS = 60
_STEPS = 100
_HALVINGS = 40
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
    names = inference.names if parameters is None else parameters
    if unknown := [name for name in names if name not in inference.names]:
        raise ValueError(f"parameters holds {unknown}, but the names are {inference.names}.")
    goal = -float(ndtri((1 - level) / 2))
    rows = [inference.names.index(name) for name in names]
    return np.array([[_end(inference, j, -goal), _end(inference, j, goal)] for j in rows])


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
        fit = _restricted(fit, j, sign * (distance - at) * error)
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


def _restricted(fit: Fitted, j: int, change: float) -> Fitted:
    """The best fit whose γ_j has moved by so much, by Newton's steps in the others."""
    unit = np.eye(fit.design.shape[1] * fit.num_contrasts)[j]
    others = np.flatnonzero(unit == 0)
    full = information(fit)
    # To first order the others follow.
    follow = _solve(full.factor, others, -full.factor.T @ (full.factor @ unit) * change)
    fit = fit.moved(unit * change + follow)
    for _ in range(_STEPS):
        slope = fit.gradient()
        step = _solve(information(fit).factor, others, -slope)
        if -slope @ step <= _CLOSE**2:
            break
        fit = _downhill(fit, step)
    return fit


def _solve(factor: np.ndarray, others: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ · right among some parameters, zero for the rest."""
    length = np.linalg.norm(factor, axis=0)[others]
    length = np.where(length > 0, length, 1)  # lstsq would cut small columns off
    R = triangle(factor[:, others] / length)
    step = np.zeros(len(right))
    if len(others):
        half = np.linalg.lstsq(R.T, right[others] / length, rcond=None)[0]
        step[others] = np.linalg.lstsq(R, half, rcond=None)[0] / length
    return step


def _downhill(fit: Fitted, step: np.ndarray) -> Fitted:
    """The step, halved until it does not climb."""
    before = fit.value()
    for _ in range(_HALVINGS):
        moved = fit.moved(step)
        if moved.value() <= before + 1e-12 * abs(before):
            return moved
        step = step / 2
    return fit
