r"""Column scaling: units of the features in which floating point keeps its digits.

The products of a Hessian have no digits left for a column of 10⁸ plus noise, or of 10¹⁵⁰. Such
a column is centred and divided by a power of two, which rounds nothing:

.. math::
    x_j' = (x_j - c_j)/s_j, \qquad \beta_j' = s_j\beta_j, \qquad b' = b + \sum_j c_j\beta_j.

The intercept is free, so the minimum is the same where the penalty is evaluated at
:math:`\beta_j'/s_j`. Centre and spread are medians: one far point does not move them.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.compiled import Compiled

# A column keeps its units if its entries lie within 1/limit and limit, and its centre within
# limit half ranges of zero: squares of the limit then cost a third of the digits.
_LIMIT = {"float64": 2.0**10, "float32": 2.0**3}
# Powers of two that are finite, and whose reciprocal is.
_LARGEST_EXPONENT = {"float64": 1000, "float32": 120}


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
    """The affine change of units x′ = (x − centre)/scale.

    Attributes:
        centre: c, (p,).
        scale: s, (p,), powers of two.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def identity(cls, p: int) -> "ColumnScaling":
        """That of p columns which keep their units."""
        return cls(np.zeros(p), np.ones(p))

    @property
    def is_identity(self) -> bool:
        """Whether every column keeps its units."""
        return not self.centre.any() and bool((self.scale == 1).all())

    def bounded_by(self, growth: np.ndarray) -> "ColumnScaling":
        """The same, but no column enlarged so far that its penalty outweighs the loss.

        Args:
            growth: (p,), how strongly each coefficient is penalised.
        """
        least = np.ldexp(1.0, np.frexp(np.minimum(np.sqrt(growth), 1.0))[1])
        enlarged = (self.scale < 1) & (growth > 0)
        return replace(self, scale=np.where(enlarged, np.maximum(self.scale, least), self.scale))

    def transform(self, X: Any) -> Any:
        """X in the new units, (n, p), of its own kind and dtype."""
        if isinstance(X, np.ndarray):
            return ((X - self.centre) / self.scale).astype(X.dtype)
        return _transform(X, self.centre.astype(X.dtype), (1 / self.scale).astype(X.dtype))

    def to_scaled(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """β′ and b′ from β, (p,) or (p, K), and b."""
        return (coef.T * self.scale).T, intercept + self.centre @ coef

    def to_original(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """β and b from β′ and b′."""
        original = (coef.T / self.scale).T
        return original, intercept - self.centre @ original

    def gradient_to_scaled(self, coef: Any, intercept: Any) -> Any:
        """The derivative by β′ from those by β and b; that by b′ is that by b."""
        return ((coef - np.multiply.outer(self.centre, intercept)).T / self.scale).T

    def gradient_to_original(self, coef: Any, intercept: Any) -> Any:
        """The derivative by β from those by β′ and b′."""
        return (coef.T * self.scale).T + np.multiply.outer(self.centre, intercept)


@Compiled
def _transform(X: jax.Array, centre: Any, factor: Any) -> jax.Array:
    return (X - centre) * factor


def choose_scaling(sample: np.ndarray, dtype: Any, *, centre: bool) -> ColumnScaling:
    """The units that a table needs.

    Args:
        sample: some of its rows, (m, p), or all.
        dtype: of the fit.
        centre: whether columns may be shifted: there is an intercept, which absorbs it.

    >>> X = np.array([[1e8 + 1, 1.0], [1e8 - 1, 3.0], [1e8, 2.0]])
    >>> choose_scaling(X, "float64", centre=True).centre
    array([1.e+08, 0.e+00])
    """
    limit = _LIMIT[np.dtype(dtype).name]
    low, high = (f(sample, axis=0).astype(float) for f in (np.min, np.max))
    largest = np.maximum(np.abs(low), np.abs(high))
    shifted = centre & (np.abs(low / 2 + high / 2) > limit * (high / 2 - low / 2))
    odd = (largest > 0) & ((largest > limit) | (largest < 1 / limit) | shifted)
    c, s = np.zeros(len(low)), np.ones(len(low))
    for j in np.flatnonzero(odd):
        c[j], s[j] = centre_and_spread(sample[:, j].astype(float), limit, may_shift=centre)
    return ColumnScaling(c, _power_of_two(s, dtype))


def choose_sparse_scaling(size: np.ndarray, dtype: Any) -> ColumnScaling:
    """The units of sparse columns, which are not shifted: that would fill them.

    Args:
        size: of the entries of each, (p,): ``typical_size``.
        dtype: of the fit.
    """
    return ColumnScaling(np.zeros(len(size)), _power_of_two(size, dtype))


def _power_of_two(spread: np.ndarray, dtype: Any) -> np.ndarray:
    """What to divide columns by; 1 where the spread is zero or of ordinary size."""
    limit, most = (table[np.dtype(dtype).name] for table in (_LIMIT, _LARGEST_EXPONENT))
    kept = (spread == 0) | ((spread <= limit) & (spread >= 1 / limit))
    return np.where(kept, 1.0, np.ldexp(1.0, np.frexp(spread)[1].clip(-most, most)))


def centre_and_spread(
    column: np.ndarray, limit: float = 0.0, *, may_shift: bool
) -> tuple[float, float]:
    """Robust ones: the median, and the median distance of what differs from it.

    Args:
        column: (n,).
        limit: in spreads: a column that lies no further from zero keeps its origin.
        may_shift: whether another may be shifted.
    """
    median = float(np.median(column))
    away = np.abs(column / 2 - median / 2)
    spread = 2 * float(np.median(away[away > 0])) if away.any() else 0.0
    if may_shift and abs(median) > limit * spread:
        return median, spread or 1.0
    size = np.abs(column[column != 0])
    return 0.0, float(np.median(size)) if len(size) else 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScaledPenalty(Penalty):
    """A penalty in the caller's units, asked about coefficients of scaled and padded columns.

    Attributes:
        inner: the caller's, for all columns.
        scale: s, (p,): the inner one sees β′/s.
        padding: (p,), the curvature of columns of zeros, which no data determine; zero for others.
    """

    inner: Penalty
    scale: Any
    padding: Any

    @property
    def has_l1(self) -> bool:  # type: ignore[override]
        """That of the caller's."""
        return self.inner.has_l1

    @property
    def is_quadratic(self) -> bool:  # type: ignore[override]
        """That of the caller's."""
        return self.inner.is_quadratic

    def _column(self, vector: Any, coef: jax.Array) -> jax.Array:
        return jnp.asarray(vector, coef.dtype).reshape((-1,) + (1,) * (coef.ndim - 1))

    def _original(self, coef: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """β, 1/s and the curvature of padded columns, each against the shape of β′.

        A coefficient that is not penalised counts as zero: its square may overflow.
        """
        inverse = 1 / self._column(self.scale, coef)
        is_penalised = self.inner.growth(jnp.zeros_like(coef)) > 0
        original = jnp.where(is_penalised, coef * inverse, 0)
        return original, inverse, self._column(self.padding, coef)

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β′/s), and the padded columns' own."""
        original, _, padding = self._original(coef)
        return self.inner.value(original) + 0.5 * jnp.sum(padding * coef**2)

    def smooth_value(self, coef: jax.Array) -> jax.Array:
        """S(β′/s), likewise."""
        original, _, padding = self._original(coef)
        return self.inner.smooth_value(original) + 0.5 * jnp.sum(padding * coef**2)

    def gradient(self, coef: jax.Array) -> jax.Array:
        """By the chain rule, divided by s."""
        original, inverse, padding = self._original(coef)
        return self.inner.gradient(original) * inverse + padding * coef

    def curvature(self, coef: jax.Array) -> jax.Array:
        """Divided by s²."""
        original, inverse, padding = self._original(coef)
        return self.inner.curvature(original) * inverse * inverse + padding

    def largest_curvature(self, coef: jax.Array) -> jax.Array:
        """Likewise."""
        original, inverse, padding = self._original(coef)
        return self.inner.largest_curvature(original) * inverse * inverse + padding

    def l1_weights(self, coef: jax.Array) -> jax.Array:
        """κ/s."""
        original, inverse, _ = self._original(coef)
        return self.inner.l1_weights(original) * inverse

    def growth(self, coef: jax.Array) -> jax.Array:
        """In the caller's units: it is asked for its sign, and would underflow."""
        original, _, padding = self._original(coef)
        return self.inner.growth(original) + padding

    def allows_class_shift(self, coef: jax.Array) -> jax.Array:
        """That of the caller's; padded columns are zero for every class."""
        original, _, padding = self._original(coef)
        return self.inner.allows_class_shift(original) | (padding > 0)

    def for_columns(self, which: jax.Array) -> "ScaledPenalty":
        """Of those columns alone."""
        return replace(
            self,
            inner=self.inner.for_columns(which),
            scale=jnp.asarray(self.scale)[which],
            padding=jnp.asarray(self.padding)[which],
        )
