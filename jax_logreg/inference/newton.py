"""Newton's steps of a fit in its contrasts: in all of them, or with some held."""

import numpy as np

from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.information import Information, information, triangle

# Halvings of a step that climbs. One of so few standard errors changes the value by less than
# its round-off may be, and is right as it is.
_HALVINGS = 40
NEARLY = 1e-4
_ROUND_OFF = 1e-12
# A step that moves no logit by one proves that a minimum exists (fitting/verdict.py); half of
# that leaves room for round-off.
SETTLED_LOGIT = 0.5


def curvature_factor(fit: Fitted, full: Information) -> np.ndarray:
    """R with RᵀR the curvature of Σw · F in γ, (P, P).

    That is the information; under Firth's penalty the exact Hessian where it is positive
    definite, for Fisher's scoring settles slowly there.
    """
    if not fit.firth:
        return full.factor
    H = fit.hessian()
    scale = np.sqrt(np.abs(np.diag(H)))
    scale = np.where(scale > 0, scale, 1)
    try:
        return np.linalg.cholesky(H / scale / scale[:, None]).T * scale
    except np.linalg.LinAlgError:
        return full.factor


def solve_among(factor: np.ndarray, others: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ · right among some parameters, zero for the rest; the shortest where that has
    no inverse."""
    length = np.linalg.norm(factor, axis=0)[others]
    length = np.where(length > 0, length, 1)  # lstsq would cut small columns off
    R = triangle(factor[:, others] / length)
    step = np.zeros(len(right))
    if len(others):
        half = np.linalg.lstsq(R.T, right[others] / length, rcond=None)[0]
        step[others] = np.linalg.lstsq(R, half, rcond=None)[0] / length
    return step


def downhill(fit: Fitted, step: np.ndarray) -> Fitted:
    """The fit after a step, halved until it does not climb."""
    if -step @ fit.gradient() <= NEARLY**2:
        return fit.moved(step)
    before = fit.value()
    for _ in range(_HALVINGS):
        moved = fit.moved(step)
        if moved.value() <= before + _ROUND_OFF * abs(before):
            return moved
        step = step / 2
    return fit


def newton_step(fit: Fitted, full: Information) -> np.ndarray:
    """The step in all contrasts from a fit whose information is known."""
    slope = fit.gradient()
    if not fit.firth:
        return -full.solve(slope)
    return solve_among(curvature_factor(fit, full), np.arange(len(slope)), -slope)


def settle_others(fit: Fitted, held: np.ndarray, most: int, near: float) -> tuple[Fitted, bool]:
    """The best fit with some contrasts where they are; whether its last step was as short as
    ``near`` standard errors."""
    others = np.setdiff1d(np.arange(fit.num_parameters), held)
    for _ in range(most):
        slope = fit.gradient()
        step = solve_among(curvature_factor(fit, information(fit)), others, -slope)
        if -slope @ step <= near**2:
            return fit, True
        fit = downhill(fit, step)
    return fit, False
