r"""Column scaling: units of the features in which floating point keeps its digits, and columns of
zeros after them, so that small tables of many widths share a program.

A column of 1e8 plus noise, or one of 1e150, leaves the products of a Hessian no digits. Such a
column is centred and divided by a power of two, which rounds nothing:

.. math::
    x_j' = (x_j - c_j)/s_j, \qquad \beta_j' = s_j\beta_j, \qquad b' = b + \sum_j c_j\beta_j.

The intercept is free, so the minimum is the same where the factors of a ridge penalty are
divided by :math:`s_j^2`, and those of a lasso by :math:`s_j`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jax_logreg.objective.penalties import L2

# Columns whose largest entry lies within keep their units: scaling gains nothing there.
_SMALLEST, _LARGEST = 2.0**-10, 2.0**10
# A column is centred where its midrange is so many times its half range.
_OFF_CENTRE = 2.0**10
# Powers of two that are finite, and whose reciprocal is.
_LARGEST_EXPONENT = 1000
# Widths that small tables are padded to, while a Hessian of so many rows has no more
# multiply-adds than this.
_WIDTHS, _ROWS, _MAX_MULTIPLY_ADDS = (16, 64), 256, 4e6
# The strength of a penalty on padded columns alone.
_PADDING_STRENGTH = 2.0**-10


def scale_by_largest(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X with each column divided by its largest absolute entry, and those divisors, (p,).

    Means, squares and norms of the result neither overflow nor underflow. A column of zeros
    is divided by 1.

    >>> scale_by_largest(np.array([[1e200, 0.0], [-2e200, 0.0]]))[0].tolist()
    [[0.5, 0.0], [-1.0, 0.0]]
    """
    largest = np.max(np.abs(X), axis=0, initial=0.0)
    divisor = np.where(largest > 0, largest, 1.0)
    return X / divisor, divisor


def standardize(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns with mean 0 and deviation 1; a constant column becomes zero.

    Args:
        X: (n, p).

    Returns:
        (X − center) / scale, (n, p); center, (p,); scale, (p,), positive.

    >>> standardize(np.array([[0.0, 5.0], [2.0, 5.0]]))[0].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    unit, divisor = scale_by_largest(X)
    mean = unit.mean(axis=0)
    deviation = (unit - mean).std(axis=0)
    constant = deviation <= 100 * np.finfo(float).eps
    scaled = np.where(constant, 0.0, (unit - mean) / np.where(constant, 1.0, deviation))
    return scaled, mean * divisor, np.where(constant, 1.0, deviation * divisor)


@dataclass(frozen=True)
class ColumnScaling:
    """The affine change of units x′ = (x − centre)/scale, and the padding that follows.

    Attributes:
        centre: c, (p,).
        scale: s, (p,), powers of two.
        padding: number of columns of zeros after the others; their coefficients are zero.
    """

    centre: np.ndarray
    scale: np.ndarray
    padding: int = 0

    def transform(self, X: Any) -> Any:
        """X in the new units, (n, p + padding); X itself where nothing changes."""
        if np.any(self.centre != 0):
            X = X - self.centre.astype(X.dtype)
        if np.any(self.scale != 1):
            X = X.multiply(1 / self.scale).tocsr() if hasattr(X, "tocsr") else X / self.scale
        return np.pad(X, ((0, 0), (0, self.padding))) if self.padding else X

    def penalty_factor(self, power: int) -> np.ndarray:
        """The factors, (p + padding,), of a penalty that is a power of β: 2 for ridge, 1 for
        lasso."""
        return np.concatenate([self.scale**-power, np.ones(self.padding)])

    def padding_penalty(self) -> L2:
        """A penalty on the padded columns alone, where there is no other."""
        factor = np.concatenate([np.zeros(len(self.scale)), np.ones(self.padding)])
        return L2(_PADDING_STRENGTH, factor)

    def to_scaled(self, coef: np.ndarray, intercept: Any) -> tuple[np.ndarray, Any]:
        """β′ and b′ from β, (p,) or (p, K), and b."""
        scaled = (coef.T * self.scale).T
        zeros = np.zeros((self.padding, *coef.shape[1:]), coef.dtype)
        return np.concatenate([scaled, zeros]), intercept + self.centre @ coef

    def to_original(self, coef: np.ndarray, intercept: Any) -> tuple[np.ndarray, Any]:
        """β and b from β′ and b′."""
        original = (coef[: len(self.scale)].T / self.scale).T
        return original, intercept - self.centre @ original


def padded_width(p: int, num_outputs: int) -> int:
    """The number of columns that p are padded to; p where that would cost something.

    Args:
        p: columns.
        num_outputs: columns of the coefficients: K for softmax, else 1.

    >>> padded_width(4, 3), padded_width(30, 1), padded_width(100, 1)
    (16, 64, 100)
    """
    width = next((width for width in _WIDTHS if width >= p), p)
    return width if _ROWS * (width * num_outputs) ** 2 <= _MAX_MULTIPLY_ADDS else p


def choose_scaling(
    X: Any, *, centre: bool, power: int, strength: float, padding: int = 0
) -> ColumnScaling:
    """The units that a table needs.

    Args:
        X: (n, p), a NumPy array or a SciPy CSR matrix; the latter is never centred.
        centre: whether there is an intercept, which absorbs a shift.
        power: of β in the penalty, 2 or 1; 0 for a mixture of both, which no scaling keeps one:
            then nothing is scaled.
        strength: of the penalty; no column is enlarged so far that its penalty outweighs the loss.
        padding: how many columns of zeros follow.

    >>> X = np.array([[1e8 + 1, 1.0], [1e8 - 1, 3.0]])
    >>> choose_scaling(X, centre=True, power=2, strength=1.0).centre
    array([1.e+08, 0.e+00])
    """
    low, high = _extremes(X)
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    shifted = np.abs(middle) > _OFF_CENTRE * half
    shifted &= centre and isinstance(X, np.ndarray)
    largest = np.where(shifted, half, np.maximum(np.abs(low), np.abs(high)))
    kept = (largest == 0) | ((largest >= _SMALLEST) & (largest <= _LARGEST)) | (power == 0)
    least = -_LARGEST_EXPONENT
    if strength > 0 and power > 0:
        least = min(math.frexp(strength)[1] // power, 0)
    exponent = np.where(kept, 0, np.frexp(largest)[1]).clip(least, _LARGEST_EXPONENT)
    return ColumnScaling(np.where(shifted, middle, 0.0), np.ldexp(1.0, exponent), padding)


def _extremes(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest entry of every column, in float64."""
    low, high = X.min(axis=0), X.max(axis=0)
    if not isinstance(X, np.ndarray):
        low, high = low.toarray().ravel(), high.toarray().ravel()
    return low.astype(float), high.astype(float)
