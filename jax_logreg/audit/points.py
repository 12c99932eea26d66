"""Audit points: random points at which nothing is stationary and nothing is saturated.

At the optimum a gradient of the wrong sign is as small as the right one. So the points
lie away from it, on the scale on which the function changes: for a function of logits,
where these are a few units in every row, whatever the units of the columns.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.linear_predictor import SplitLoss, column_norms

# Distance of each moderate point from the centre, and of each extreme one, in scales of θ.
_DISTANCES = (0.6, 1.0, 0.1, 1.6)
_EXTREMES = (6.0, 24.0, 1e4)
# Standard deviation of a logit at distance 1: probabilities between about 0.05 and 0.95.
_LOGIT_DEVIATION = 1.5


class AuditPoints(NamedTuple):
    """Points at which a function is audited: flat vectors in float64.

    Attributes:
        moderate: the last one is the user's own point.
        extreme: far out along the direction of the first.
        scale: of every coordinate, (P,).
    """

    moderate: list[np.ndarray]
    extreme: list[np.ndarray]
    scale: np.ndarray


def draw_points(
    at: np.ndarray,
    split: SplitLoss | None,
    is_usable: Callable[[np.ndarray], bool],
    seed: int,
    dtype: str,
) -> AuditPoints:
    """Draw points around ``at`` at which the function is finite.

    Args:
        at: the user's point, flat.
        split: the function, split at its logits, if it has any.
        is_usable: whether the function is finite at a point.
        seed: of the draw.
        dtype: points are rounded to it, so that both precisions see the same ones.
    """
    rng = np.random.default_rng(seed)
    centre, scale = _centre_and_scale(at, split, rng)

    def rounded(point: np.ndarray) -> np.ndarray:
        return point.astype(dtype).astype(np.float64)

    moderate = []
    for distance in _DISTANCES:
        step = distance * scale * rng.normal(size=at.size)
        moderate.append(rounded(_usable_point(centre, at, step, is_usable)))
    direction = (moderate[0] - centre) / _DISTANCES[0]
    extreme = [rounded(centre + distance * direction) for distance in _EXTREMES]
    return AuditPoints([*moderate, rounded(at)], extreme, scale)


def _usable_point(
    centre: np.ndarray, at: np.ndarray, step: np.ndarray, is_usable: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """centre + step, or a point ever nearer to the user's own until the function is finite."""
    if is_usable(centre + step):
        return centre + step
    for shrink in (1.0, 0.3, 0.1, 0.01, 1e-3):
        for sign in (1, -1):
            point = at + sign * shrink * step
            if is_usable(point):
                return point
    return at


def _centre_and_scale(
    at: np.ndarray, split: SplitLoss | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    largest = float(np.max(np.abs(at), initial=0.0))
    scale = np.where(at != 0, 0.5 * np.abs(at), 0.5 * largest if largest else 1.0)
    if split is None:
        return at, scale
    column, per_logit = _column_rms(split, rng)
    known = column > 0
    per_column = _LOGIT_DEVIATION / np.where(known, column, 1) / np.sqrt(per_logit)
    return np.where(known, 0.0, at), np.where(known, per_column, scale)


def _column_rms(split: SplitLoss, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Root mean square of every column of X, and how many coordinates change one logit."""
    shape = split.shape
    classes = min(shape[-2:]) if len(shape) > 1 else 1
    rows = float(np.prod(shape)) / max(classes, 1)
    column = column_norms(split.vjp_to_parameters, shape, rng) / np.sqrt(rows)
    column[column < 1e-14 * np.max(column, initial=0.0)] = 0.0
    return column, max(1.0, float(np.sum(column > 0)) / max(classes, 1))
