"""How our time grows with the number of rows and of columns."""

import statistics
from dataclasses import dataclass

import numpy as np

from benchmarks import ours
from benchmarks.calibration import turn
from benchmarks.rows import Row

# Which side of which row is grown, and the share of it at the smaller sizes.
AXES = {"tall": "n", "square": "p"}
_SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Growth:
    """Seconds at three sizes, and the power of the size that they follow.

    Attributes:
        axis: what was grown, "n" or "p".
        sizes: rows or columns.
        seconds: the median of our warm fits.
        exponent: the slope of log seconds against log size.
    """

    axis: str
    sizes: list[int]
    seconds: list[float]
    exponent: float


def growth(
    axis: str, row: Row, shape: tuple[int, int], dtype: str, *, tol: float, repeats: int
) -> Growth:
    """Fit a quarter, a half and the whole, in turn."""
    n, p = shape
    shares = [(int(n * s), p) if axis == "n" else (n, int(p * s)) for s in _SHARES]
    fits = [ours.jax_logreg(row.build(*share, dtype)) for share in shares]
    rounds = [[turn(fit, tol) for fit in fits] for _ in range(repeats + 1)]
    # The first round compiles.
    seconds = [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
    sizes = [share["np".index(axis)] for share in shares]
    return Growth(axis, sizes, seconds, exponent(sizes, seconds))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of the line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
