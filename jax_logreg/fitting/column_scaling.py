r"""Columns of X in units that floating point can bear, and few enough shapes of X.

A column of 1e8 plus noise, or one of 1e150, leaves the products of a Hessian no digits. Where
it must be, a column is centred and divided by a power of two:

.. math::
    x_j' = (x_j - c_j)/s_j, \qquad \beta_j' = s_j\beta_j, \qquad b' = b + \sum_j c_j\beta_j.

The intercept is free, so the minimum is the same where a ridge's factors are divided by
:math:`s_j^2`, and a lasso's by :math:`s_j`. Small tables are padded with columns and rows of
zeros, which change nothing: compiling a program takes seconds, running it a moment.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# Columns whose largest entry lies within keep their units: scaling gains nothing there.
_SMALLEST, _LARGEST = 2.0**-10, 2.0**10
# A column is centred where its middle is so many times its half range.
_OFF_CENTRE = 2.0**10
# Powers of two that are finite, and so is one over them.
_FURTHEST_EXPONENT = 1000
# Sizes that small tables are padded to, while a Hessian has no more multiply-adds than this.
_COLUMNS, _ROWS = (16, 64), (256, 1024)
_CHEAP = 4e6
# What holds a padded column where there is no penalty.
_HOLD = 2.0**-10


@dataclass(frozen=True)
class Units:
    """Where columns are centred, (p,), what they are divided by, (p,), and how many of
    zeros follow them."""

    centre: np.ndarray
    scale: np.ndarray
    extra: int

    def table(self, X: Any) -> Any:
        """X in these units, with its zeros; X itself where nothing changes."""
        if np.any(self.centre != 0):
            X = X - self.centre.astype(X.dtype)
        if np.any(self.scale != 1):
            X = X.multiply(1 / self.scale).tocsr() if hasattr(X, "tocsr") else X / self.scale
        return np.pad(X, ((0, 0), (0, self.extra))) if self.extra else X

    def penalty(self, strength: float, power: int) -> tuple[float, np.ndarray]:
        """Strength and factors, (p + extra,), of a penalty of this strength and power of the
        old β: 2 of a ridge, 1 of a lasso."""
        if strength == 0:
            factor = np.concatenate([np.zeros(len(self.scale)), np.ones(self.extra)])
            return (_HOLD if self.extra else 0.0), factor
        return strength, np.concatenate([self.scale**-power, np.ones(self.extra)])

    def to_new(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """β′ and b′ for β, (p,) or (p, K), and b."""
        scaled = (coef.T * self.scale).T
        zeros = np.zeros((self.extra, *coef.shape[1:]), coef.dtype)
        return np.concatenate([scaled, zeros]), intercept + self.centre @ coef

    def to_old(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """β and b for β′ and b′."""
        old = (coef[: len(self.scale)].T / self.scale).T
        return old, intercept - self.centre @ old


def units_of(X: Any, *, centre: bool, power: int, strength: float, extra: int) -> Units:
    """The units that a table needs.

    Args:
        X: (n, p), NumPy's or a SciPy CSR matrix; that is never centred.
        centre: whether there is an intercept that takes a shift up.
        power: of β in the penalty, 2 or 1; 0 for a mixture, which no scaling leaves one.
        strength: of the penalty; no column is enlarged beyond where that outweighs it.
        extra: how many columns of zeros are to follow.

    >>> X = np.array([[1e8 + 1, 1.0], [1e8 - 1, 3.0]])
    >>> units_of(X, centre=True, power=2, strength=1.0, extra=0).centre
    array([1.e+08, 0.e+00])
    """
    low, high = _extremes(X)
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    shifted = np.abs(middle) > _OFF_CENTRE * half
    shifted &= centre and isinstance(X, np.ndarray)
    largest = np.where(shifted, half, np.maximum(np.abs(low), np.abs(high)))
    kept = (largest == 0) | ((largest >= _SMALLEST) & (largest <= _LARGEST)) | (power == 0)
    least = -_FURTHEST_EXPONENT
    if strength > 0 and power > 0:
        least = min(math.frexp(strength)[1] // power, 0)
    exponent = np.where(kept, 0, np.frexp(largest)[1]).clip(least, _FURTHEST_EXPONENT)
    return Units(np.where(shifted, middle, 0.0), np.ldexp(1.0, exponent), extra)


def _extremes(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest entry of every column, in float64."""
    low, high = X.min(axis=0), X.max(axis=0)
    if not isinstance(X, np.ndarray):
        low, high = low.toarray().ravel(), high.toarray().ravel()
    return low.astype(float), high.astype(float)


def padded_shape(n: int, p: int, num_outputs: int) -> tuple[int, int]:
    """The shape to pad a table (n, p) to; its own where that would cost something.

    Args:
        n: rows.
        p: columns.
        num_outputs: columns of the coefficients.

    >>> padded_shape(150, 4, 3), padded_shape(569, 30, 1), padded_shape(10**6, 20, 1)
    ((256, 16), (1024, 30), (1000000, 20))
    """
    rows, columns = (_next(size, sizes) for size, sizes in ((n, _ROWS), (p, _COLUMNS)))
    for shape in ((rows, columns), (rows, p)):
        if shape[0] * (shape[1] * num_outputs) ** 2 <= _CHEAP:
            return shape
    return n, p


def _next(size: int, sizes: tuple[int, ...]) -> int:
    return next((s for s in sizes if s >= size), size)


def pad_rows(rows: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Features, labels and weights with zeros after them, up to ``count``; a weight of zero
    makes a row count for nothing."""
    extra = count - len(rows[-1])
    if extra == 0:
        return rows
    return tuple(np.pad(part, [(0, extra)] + [(0, 0)] * (part.ndim - 1)) for part in rows)
