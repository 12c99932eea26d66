"""Newton's steps of a fit in its contrasts: in all of them, or within some directions."""

import numpy as np

from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.information import Information, information, triangle

# Halvings of a step that climbs. One of so few standard errors changes the value by less than
# its round-off may be, and is right as it is.
_HALVINGS = 40
NEARLY = 1e-4
_ROUND_OFF = 1e-12
# A step that moves no logit by one proves that a minimum exists (fitting/certificate.py); half of
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


def solve_within(factor: np.ndarray, basis: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ · right among the combinations of some directions, the columns of ``basis``
    (P, m); the shortest where that has no inverse."""
    along = factor @ basis
    length = np.linalg.norm(along, axis=0)
    length = np.where(length > 0, length, 1)  # lstsq would cut small columns off
    if not len(length):
        return np.zeros(len(right))
    R = triangle(along / length)
    half = np.linalg.lstsq(R.T, (right @ basis) / length, rcond=None)[0]
    return basis @ (np.linalg.lstsq(R, half, rcond=None)[0] / length)


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
    return solve_within(curvature_factor(fit, full), np.eye(len(slope)), -slope)


def settle_within(fit: Fitted, basis: np.ndarray, most: int, near: float) -> tuple[Fitted, bool]:
    """The best fit that some directions, (P, m), lead to; whether the last step was as short as
    ``near`` standard errors."""
    for _ in range(most):
        slope = fit.gradient()
        step = solve_within(curvature_factor(fit, information(fit)), basis, -slope)
        if -slope @ step <= near**2:
            return fit, True
        fit = downhill(fit, step)
    return fit, False
