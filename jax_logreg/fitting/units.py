r"""Columns of X in units that floating point can bear, and few enough shapes of X.

A column of 1e8 plus noise, or one of 1e150, leaves the products of a Hessian no digits. Where
it must be, a column is centred and divided by a power of two:

.. math::
    x_j' = (x_j - c_j)/s_j, \qquad \beta_j' = s_j\beta_j, \qquad b' = b + \sum_j c_j\beta_j.

The intercept is free, so the minimum is the same where the penalty's factors are divided by
:math:`s_j^2`. Small tables are padded with columns of zeros, whose coefficients stay zero:
compiling a program takes seconds, running it a moment.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Columns whose largest entry lies within keep their units: scaling gains nothing there.
_SMALLEST, _LARGEST = 2.0**-10, 2.0**10
# A column is centred where its middle is so many times its half range.
_OFF_CENTRE = 2.0**10
# Scales must be finite, and under a penalty one over their squares.
_LEAST_EXPONENT, _LEAST_PENALISED, _MOST_EXPONENT = -1000, -500, 1000
# Entries of a table up to which padding costs nothing beside a call.
_SMALL = 2**17
_MOST_COLUMNS = 64
_FEWEST_COLUMNS, _FEWEST_ROWS = 4, 64
_MOST_ROWS = 1024
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

    def penalty(self, strength: float) -> tuple[float, np.ndarray]:
        """Strength and factors, (p + extra,), of a ridge of this strength on the old β."""
        if strength == 0:
            factor = np.concatenate([np.zeros(len(self.scale)), np.ones(self.extra)])
            return (_HOLD if self.extra else 0.0), factor
        return strength, np.concatenate([self.scale**-2, np.ones(self.extra)])

    def to_new(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """β′ and b′ for β, (p,) or (p, K), and b."""
        scaled = (coef.T * self.scale).T
        zeros = np.zeros((self.extra, *coef.shape[1:]), coef.dtype)
        return np.concatenate([scaled, zeros]), intercept + self.centre @ coef

    def to_old(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """β and b for β′ and b′."""
        old = (coef[: len(self.scale)].T / self.scale).T
        return old, intercept - self.centre @ old


def units_of(X: Any, *, centre: bool, room: bool, penalised: bool) -> Units:
    """The units that a table needs.

    Args:
        X: (n, p), NumPy's or a SciPy CSR matrix; that is never centred.
        centre: whether there is an intercept that takes a shift up.
        room: whether zeros may follow the columns.
        penalised: whether the penalty's factors are to be finite.

    >>> X = np.array([[1e8 + 1, 1.0], [1e8 - 1, 3.0]])
    >>> units_of(X, centre=True, room=False, penalised=True).centre
    array([1.e+08, 0.e+00])
    """
    dense = isinstance(X, np.ndarray)
    low, high = _extremes(X)
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    shifted = np.abs(middle) > _OFF_CENTRE * half if centre and dense else np.zeros(len(low), bool)
    largest = np.where(shifted, half, np.maximum(np.abs(low), np.abs(high)))
    kept = (largest == 0) | ((largest >= _SMALLEST) & (largest <= _LARGEST))
    least = _LEAST_PENALISED if penalised else _LEAST_EXPONENT
    exponent = np.where(kept, 0, np.frexp(largest)[1]).clip(least, _MOST_EXPONENT)
    extra = _bucket(X.shape[1], _FEWEST_COLUMNS, _MOST_COLUMNS) - X.shape[1]
    roomy = room and dense and X.shape[0] * (X.shape[1] + extra) <= _SMALL
    return Units(np.where(shifted, middle, 0.0), np.ldexp(1.0, exponent), extra if roomy else 0)


def _extremes(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest entry of every column, in float64."""
    low, high = X.min(axis=0), X.max(axis=0)
    if not isinstance(X, np.ndarray):
        low, high = low.toarray().ravel(), high.toarray().ravel()
    return low.astype(float), high.astype(float)


def pad_rows(rows: tuple[Any, ...], num_entries: int) -> tuple[Any, ...]:
    """Zeros after rows of a small table of so many entries: features, labels, weights.

    Their weight is zero, so they count for nothing.
    """
    n = len(rows[-1])
    extra = _bucket(n, _FEWEST_ROWS, _MOST_ROWS) - n
    if extra == 0 or num_entries > _SMALL:
        return rows
    return tuple(np.pad(part, [(0, extra)] + [(0, 0)] * (part.ndim - 1)) for part in rows)


def _bucket(count: int, least: int, most: int) -> int:
    """The next power of two from ``least`` to ``most``, beyond which nothing is padded."""
    return count if count > most else max(least, 1 << (count - 1).bit_length())
