"""Where to audit: random points at which nothing is stationary and nothing saturated.

At the optimum a gradient with the wrong sign is as small as the right one. So the
points lie away from it, on the scale on which the function changes: for a function of
logits, where these are a few units in every row, whatever the units of the columns.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.anatomy import Cut, column_norms

# Of the scale of θ, one a point.
_REACH = (0.6, 1.0, 0.1, 1.6)
# Deviation of a logit at reach 1: probabilities between about 0.05 and 0.95.
_LOGIT = 1.5
_EXTREMES = (6.0, 24.0, 1e4)


class Points(NamedTuple):
    """Where a function is audited, all flat vectors in float64.

    Attributes:
        moderate: (m, P); the last is the user's own point.
        extreme: far out along the directions of the first.
        scale: of every coordinate, (P,).
    """

    moderate: list[np.ndarray]
    extreme: list[np.ndarray]
    scale: np.ndarray


def draw_points(
    at: np.ndarray,
    cut: Cut | None,
    is_usable: Callable[[np.ndarray], bool],
    seed: int,
    dtype: str,
) -> Points:
    """Seeded random points around ``at`` at which the function is finite.

    Args:
        at: the user's point, flat.
        cut: the function's linear predictor, where it has one.
        is_usable: whether value and slope are finite at a point.
        seed: of the draw.
        dtype: points are rounded to it, so that both precisions see the same one.
    """
    rng = np.random.default_rng(seed)
    centre, scale = _scale(at, cut, rng)

    def rounded(point: np.ndarray) -> np.ndarray:
        return point.astype(dtype).astype(np.float64)

    moderate = []
    for reach in _REACH:
        move = reach * scale * rng.normal(size=at.size)
        point = _nearest_usable(centre, at, move, is_usable)
        moderate.append(rounded(point))
    extreme = [rounded(centre + reach * (moderate[0] - centre) / _REACH[0]) for reach in _EXTREMES]
    return Points([*moderate, rounded(at)], extreme, scale)


def _nearest_usable(
    centre: np.ndarray, at: np.ndarray, move: np.ndarray, is_usable: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """The point, drawn back to the user's own until the function is finite there."""
    if is_usable(centre + move):
        return centre + move
    for shrink in (1.0, 0.3, 0.1, 0.01, 1e-3):
        for sign in (1, -1):
            point = at + sign * shrink * move
            if is_usable(point):
                return point
    return at


def _scale(
    at: np.ndarray, cut: Cut | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of every coordinate of θ."""
    largest = float(np.max(np.abs(at), initial=0.0))
    scale = np.where(at != 0, 0.5 * np.abs(at), 0.5 * largest if largest else 1.0)
    if cut is None:
        return at, scale
    column, rows_of = _column_sizes(cut, rng)
    known = column > 0
    scale = np.where(known, _LOGIT / np.where(known, column, 1) / np.sqrt(rows_of), scale)
    return np.where(known, 0.0, at), scale


def _column_sizes(cut: Cut, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Root mean square of every column behind the logits, by random projections, and
    how many coordinates move one logit."""
    shape = cut.shape
    classes = min(shape[-2:]) if len(shape) > 1 else 1
    rows = float(np.prod(shape)) / max(classes, 1)
    column = column_norms(cut.pull, shape, rng) / np.sqrt(rows)
    column[column < 1e-14 * np.max(column, initial=0.0)] = 0.0
    return column, max(1.0, float(np.sum(column > 0)) / max(classes, 1))
