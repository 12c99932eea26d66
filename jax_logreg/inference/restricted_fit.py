r"""Restricted fits by Newton's method: the best fit in all contrasts, or within some directions.

A step solves a least-squares problem with the triangular factor of the information. The solvers
of ``solvers/`` factor the Hessian: that takes fewer operations, but its condition is the square
of the factor's, and an answer that is reported to ten digits needs those that it loses.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.fitting.result import FitError
from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.information import Information, information, triangle

# A step of fewer standard errors than this changes the value by less than its round-off may be:
# it is taken whole, without a look at the value.
SHORT_STEP = 1e-4
_MAX_HALVINGS = 40
_VALUE_ROUND_OFF = 1e-12
# A restricted fit ends at a step of at most so many standard errors.
_MAX_STEPS = 100
_CONVERGED_DECREMENT = 1e-9


class NewtonPoint(NamedTuple):
    """A point on Newton's path.

    Attributes:
        fit: the fit there.
        information: its observed information, to the digits that a step needs.
        step: Newton's step from there, (P,).
        decrement: the length of the step in standard errors, √(−∇ᵀ step).
    """

    fit: FitContext
    information: Information
    step: np.ndarray
    decrement: float


def newton_path(
    fit: FitContext,
    max_steps: int,
    directions: np.ndarray | None = None,
    *,
    pinned: np.ndarray | None = None,
) -> Iterator[NewtonPoint]:
    """The points that Newton's method visits, the start first, at most ``max_steps`` after it.

    The caller decides which of the points is the last: by the decrement, or by the largest change
    of a logit.

    Args:
        fit: the start.
        max_steps: the most steps.
        directions: the columns, (P, m), that span the steps; all of γ if absent.
        pinned: see ``information``, of which the points have a rough one.
    """
    for _ in range(max_steps + 1):
        full = information(fit, is_rough=True, pinned=pinned)
        step = _newton_step(fit, full, directions)
        yield NewtonPoint(fit, full, step, np.sqrt(max(-step @ fit.gradient(), 0.0)))
        fit = _backtrack(fit, step)


def restricted_fit(fit: FitContext, change: np.ndarray, directions: np.ndarray) -> FitContext:
    """The best fit among γ + change + the span of some directions.

    Args:
        fit: a fit that is the best one without the change.
        change: of γ, (P,), which breaks the old restriction, or sets a new one.
        directions: a basis of the changes that the restriction leaves free, (P, m).

    Raises:
        FitError: where Newton's steps do not converge.
    """
    factor = _curvature_factor(fit, information(fit, is_rough=True))
    # The response of the free directions to the change, to first order: a good start.
    response = _solve_within(factor, directions, -factor.T @ (factor @ change))
    for point in newton_path(fit.shifted(change + response), _MAX_STEPS, directions):
        if point.decrement <= _CONVERGED_DECREMENT:
            return point.fit
    raise FitError(
        f"the best fit under the restriction was not found in {_MAX_STEPS} steps. Standardise "
        "the columns of X."
    )


def _newton_step(
    fit: FitContext, full: Information, directions: np.ndarray | None = None
) -> np.ndarray:
    gradient = fit.gradient()
    if directions is None and not fit.penalty.is_jeffreys:
        return -full.solve(gradient)
    if directions is None:
        directions = np.eye(len(gradient))
    return _solve_within(_curvature_factor(fit, full), directions, -gradient)


def _curvature_factor(fit: FitContext, full: Information) -> np.ndarray:
    """R with RᵀR the curvature of Σw · F in γ, (P, P).

    That is the information; under Firth's penalty the exact Hessian where it is positive
    definite, because Fisher scoring converges slowly there.
    """
    if not fit.penalty.is_jeffreys:
        return full.factor
    H = fit.firth_hessian()
    scale = np.sqrt(np.abs(np.diag(H)))
    scale = np.where(scale > 0, scale, 1)
    try:
        return np.linalg.cholesky(H / scale / scale[:, None]).T * scale
    except np.linalg.LinAlgError:
        return full.factor


def _solve_within(factor: np.ndarray, directions: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ · right within the span of some directions, (P, m); of minimum norm where the
    curvature is singular there."""
    projected = factor @ directions
    length = np.linalg.norm(projected, axis=0)
    length = np.where(length > 0, length, 1)  # lstsq would cut small columns off
    if not len(length):
        return np.zeros(len(right))
    R = triangle(projected / length)
    half = np.linalg.lstsq(R.T, (right @ directions) / length, rcond=None)[0]
    return directions @ (np.linalg.lstsq(R, half, rcond=None)[0] / length)


def _backtrack(fit: FitContext, step: np.ndarray) -> FitContext:
    """The fit after a step, which is halved until the value does not rise."""
    if -step @ fit.gradient() <= SHORT_STEP**2:
        return fit.shifted(step)
    before = fit.value()
    for _ in range(_MAX_HALVINGS):
        shifted = fit.shifted(step)
        if shifted.value() <= before + _VALUE_ROUND_OFF * abs(before):
            return shifted
        step = step / 2
    return fit
