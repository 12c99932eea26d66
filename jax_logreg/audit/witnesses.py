"""Who may be believed: autodiff of the value, or only differences of its numbers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.calls import Caller
from jax_logreg.audit.differences import Sweep, sweep
from jax_logreg.audit.findings import ERROR, NOTE, Finding, Unusable
from jax_logreg.audit.points import Points
from jax_logreg.audit.reference import Autodiff, Differences
from jax_logreg.audit.subject import Subject

# A sweep that comes this near has confirmed autodiff.
_CONFIRMED = 1e-5
# Larger problems are not extrapolated coordinate by coordinate.
_EXTRAPOLATED = 2000


def scan(subject: Subject, points: Points, seed: int) -> Sweep | None:
    """Differences of the value against its autodiff; None where there is nothing to compare."""
    if subject.program is None or not subject.is_scalar:
        return None
    theta = points.moderate[0]
    slope = Autodiff(subject.program)("gradient", theta)
    if not np.isfinite(slope).all():
        return None

    def value(theta: Any) -> Any:
        return jnp.reshape(subject.flat_value(theta), ())

    return sweep(subject.many, value, theta, points.scale, slope, seed)


def choose_reference(
    subject: Subject, gradient: Caller | None, points: Points, sweep: Sweep | None
) -> tuple[Autodiff | Differences, list[Finding]]:
    """Autodiff, unless there is none, or the value's own numbers contradict it.

    Args:
        subject: the value.
        gradient: the hand-written one, from which differences get second derivatives.
        points: where the audit looks.
        sweep: how near differences came to autodiff.
    """
    differences = Differences(subject.many, points.scale, _slopes(gradient, subject.at))
    if subject.program is None:
        return differences, []
    autodiff = Autodiff(subject.program)
    theta = points.moderate[0]
    slope = autodiff(subject.first, theta)
    if not np.isfinite(slope).any():
        text = "autodiff of the value is not finite where the value is (a jnp.where that hides NaN?): differences are the reference."  # noqa: E501
        return differences, [Finding("reference-not-finite", NOTE, "value", text)]
    confirmed = sweep is not None and max(sweep.best_error, _worst(sweep)) < _CONFIRMED
    if confirmed or subject.at.size > _EXTRAPOLATED or subject.program.has_float32_inside:
        return autodiff, []
    found, _, error = differences.at(subject.first, theta)
    size = np.abs(found) + 1e-3 * float(np.max(np.abs(found), initial=0.0))
    if not np.any(np.abs(found - slope) > error + 1e-3 * size):
        return autodiff, []
    text = "JAX's derivative of the value is not that of its numbers (a custom rule, a stop_gradient or a rounding step in it?): differences are the reference."  # noqa: E501
    return differences, [Finding("autodiff-differs", ERROR, "value", text)]


def _worst(sweep: Sweep) -> float:
    return sweep.worst_coordinate[0] if sweep.coordinates else 0.0


def _slopes(gradient: Caller | None, at: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
    """Points in rows ↦ hand-written gradients in rows, where there are any."""
    if gradient is None:
        return None
    try:
        gradient(at, dtype="float64")
    except Unusable:
        return None

    def slope(theta: np.ndarray) -> np.ndarray:
        try:
            return gradient(theta, dtype="float64")
        except Unusable:  # outside its domain
            return np.full(at.shape, np.nan)

    return lambda points: np.stack([slope(p) for p in points])
