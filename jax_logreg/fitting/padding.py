"""The design: the data of a fit in units that keep their digits and in one of a few sizes.

Compiling a program takes seconds, running it a moment: small tables are padded, by rows of weight
zero and by columns of zeros, to sizes that many of them share. Their products change by the
order of a sum.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.fitting.column_scaling import (
    ColumnScaling,
    ScaledPenalty,
    choose_scaling,
    choose_sparse_scaling,
)
from jax_logreg.fitting.result import FitResult
from jax_logreg.objective.dense_features import is_on_one_cpu, is_on_one_device
from jax_logreg.objective.penalties import Penalty
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.programs.compiled import are_concrete

# Heights, each with the multiply-adds of a Hessian for which it is taken: microseconds, half a
# millisecond, one, two and four at most, where compiling takes five hundred. Beyond them sizes
# grow by an eighth.
_HEIGHTS = ((256, 7e4), (1024, 4.4e6), (8192, 1e7), (4096, 2e7), (8192, 3.5e7))
# A softmax fit pays for every height once more per class.
_SOFTMAX_HEIGHTS = tuple((height, 1.1e6) for height in (64, 256, 1024, 4096))
_MAX_SOFTMAX_COST = 2e7
# Entries of X that are copied in no more time than a call takes, and than such a fit takes.
_SMALL, _MAX_ENTRIES = 2**17, 2**19
_WIDTHS, _MAX_WIDTH = (4, 16, 32, 64), 512
# Entries of the rows that are looked at to choose units.
_SAMPLE = 2**16


class Dataset(NamedTuple):
    """Everything that has one entry a row."""

    X: Any
    y: Any
    weight: Any
    offset: Any


def padded_shape(n: int, p: int, num_outputs: int = 1) -> tuple[int, int]:
    """The shape that a table of n rows and p columns is padded to.

    Args:
        n: rows.
        p: columns.
        num_outputs: columns of the coefficients: K for softmax, else 1.

    >>> padded_shape(7, 4), padded_shape(569, 30), padded_shape(10**6, 20)
    ((256, 16), (1024, 32), (1000000, 20))
    """
    is_softmax = num_outputs > 1
    widths = _WIDTHS if is_softmax else _WIDTHS[1:]
    width = next((width for width in widths if width >= p), _next_width(p))
    heights = [*_SOFTMAX_HEIGHTS, (_next_power(n), _MAX_SOFTMAX_COST)] if is_softmax else _HEIGHTS
    for rows, most in heights:
        is_cheap = rows * (width * num_outputs) ** 2 <= most and rows * width <= _MAX_ENTRIES
        if rows >= n and is_cheap:
            return rows, width
    return (_next_eighth(n), _next_width(p)) if n * p <= _SMALL else (n, p)


def _next_width(p: int) -> int:
    """Wide tables have methods that depend on p: they keep it."""
    return _next_eighth(p) if p <= _MAX_WIDTH else p


def _next_power(n: int) -> int:
    return max(64, 1 << (n - 1).bit_length())


def _next_eighth(n: int) -> int:
    """The next of 8 sizes between powers of two."""
    step = max(1, 2 ** (n.bit_length() - 4))
    return -(-n // step) * step


@dataclass(frozen=True)
class Design:
    """The data and the penalty that a solver sees, and the way back to the caller's.

    Attributes:
        data: scaled and padded.
        penalty: of the scaled coefficients.
        scaling: of the columns.
        num_columns: how many are the caller's; those that follow are zero.
    """

    data: Dataset
    penalty: Penalty
    scaling: ColumnScaling
    num_columns: int

    @property
    def _num_padded(self) -> int:
        return self.data.X.shape[1] - self.num_columns

    @property
    def _is_identity(self) -> bool:
        return self.scaling.is_identity and self._num_padded == 0

    @property
    def log_volume(self) -> float:
        """Half of what the change of units adds to the log-determinant of an information."""
        num_contrasts = self.data.y.shape[1] - 1 if self.data.y.ndim == 2 else 1
        return num_contrasts * float(np.sum(np.log(self.scaling.scale)))

    def start(self, coef: Any, intercept: Any) -> tuple[Any, Any]:
        """The solver's parameters from the caller's."""
        if self._is_identity:
            return coef, intercept
        dtype, xp = self.data.X.dtype, _namespace(coef, intercept)
        coef, intercept = self.scaling.to_scaled(xp.asarray(coef), xp.asarray(intercept))
        padded = xp.pad(coef, ((0, self._num_padded), *[(0, 0)] * (coef.ndim - 1)))
        return padded.astype(dtype), xp.asarray(intercept, dtype)

    def restore(self, result: FitResult) -> FitResult:
        """The result in the caller's units and shape."""
        if self._is_identity:
            return result
        xp = _namespace(result.coef)
        coef = xp.asarray(result.coef)[: self.num_columns]
        coef, intercept = self.scaling.to_original(coef, xp.asarray(result.intercept))
        extra = self._num_padded * math.prod(coef.shape[1:])
        rank = xp.asarray(result.rank)
        changed = {
            "coef": coef.astype(result.coef.dtype),
            "intercept": xp.asarray(intercept, result.intercept.dtype),
            "rank": xp.where(rank >= 0, rank - extra, rank).astype(rank.dtype),
        }
        if xp is np:  # a slice by JAX would compile for every shape
            # Bound to a device only where the data are: JAX mixes what is not with any placement.
            place = result.coef.sharding if result.coef.committed else None
            changed = jax.device_put(changed, place)
        return replace(result, **changed)


def _namespace(*arrays: Any) -> Any:
    return np if are_concrete(arrays) else jnp


def make_design(
    data: Dataset, penalty: Penalty, *, centre: bool, may_scale: bool, may_pad: bool
) -> Design:
    """The data as a solver should see them, as far as their values are known.

    Small dense data are padded. For JAX's default device they become NumPy arrays: a compiled
    program transfers them anyway. Data on several devices stay as they are.

    Args:
        data: validated.
        penalty: validated.
        centre: whether columns may be shifted: there is an intercept.
        may_scale: whether the solver takes the same path in other units.
        may_pad: whether rows may be added.
    """
    n, p = data.X.shape
    plain = Design(data, penalty, ColumnScaling.identity(p), p)
    if isinstance(data.X, SparseFeatures) and may_scale and are_concrete(data):
        return _sparse_design(plain)
    leaves = jax.tree.leaves(data)
    known = [leaf for leaf in leaves if are_concrete(leaf)]
    if not all(map(is_on_one_device, [data.X, *known])):
        return plain
    may_pad &= len(known) == len(leaves)
    scaling = scaling_of(data, penalty, centre) if may_scale else plain.scaling
    rows, columns = padded_shape(n, p, math.prod(data.y.shape[1:])) if may_pad else (n, p)
    if penalty.is_jeffreys or not (may_scale and _can_pad(penalty)):
        columns = p
    if (rows, columns) != (n, p) or (may_pad and n * p <= _SMALL):
        data = _pad(data, scaling, rows, columns)
    elif not scaling.is_identity:
        data = data._replace(X=scaling.transform(data.X))
    else:
        return plain
    if not penalty.is_jeffreys:
        penalty = scaled_penalty(penalty, scaling, columns - p)
    return Design(data, penalty, scaling, p)


def _sparse_design(plain: Design) -> Design:
    data, penalty = plain.data, plain.penalty
    if data.weight is not None and not (counts := np.asarray(data.weight) > 0).all():
        data = data._replace(X=data.X.scale_rows(counts))  # entries there may be of any size
        plain = replace(plain, data=data)
    units = choose_sparse_scaling(data.X.by_columns.typical_sizes(), data.X.dtype)
    scaling = _bounded(units, penalty, data.X.dtype)
    if scaling.is_identity:
        return plain
    data = data._replace(X=data.X.scale_columns(1 / scaling.scale))
    return replace(plain, data=data, penalty=scaled_penalty(penalty, scaling), scaling=scaling)


def scaling_of(data: Dataset, penalty: Penalty, centre: bool) -> ColumnScaling:
    """From a sample of rows of positive weight; no column is enlarged under a traced penalty.

    X, and then the units, may have a leading axis of fits; the weights may have it as well.
    """
    sample = np.moveaxis(_sample_rows(data.X, data.weight), -2, 0)
    units = choose_scaling(sample.reshape(len(sample), -1), data.X.dtype, centre=centre)
    shape = sample.shape[1:]
    units = ColumnScaling(units.centre.reshape(shape), units.scale.reshape(shape))
    return _bounded(units, penalty, data.X.dtype)


def _sample_rows(X: jax.Array, weight: Any) -> np.ndarray:
    """(m, p) or (B, m, p); from another device than the CPU only those are fetched."""
    n, p = X.shape[-2:]
    every = slice(None, None, max(1, n * p // _SAMPLE))
    table: Any = np.asarray(X) if is_on_one_cpu(X) else X
    with jax.ensure_compile_time_eval():  # X may be known where the program is traced
        if weight is None or not are_concrete(weight):
            return np.asarray(table[..., every, :])
        counted = [np.flatnonzero(row)[every] for row in np.atleast_2d(np.asarray(weight) > 0)]
        if len(counted) == 1:
            return np.asarray(table[..., counted[0], :])
        most = max(map(len, counted))
        which = np.stack([np.resize(rows, most) for rows in counted])
        return np.asarray(table[np.arange(len(which))[:, None], which])


def _bounded(scaling: ColumnScaling, penalty: Penalty, dtype: Any) -> ColumnScaling:
    p = scaling.scale.shape[-1]
    if not (scaling.scale < 1).any():
        return scaling
    if not are_concrete(penalty):
        return scaling.bounded_by(np.ones(p))
    with jax.ensure_compile_time_eval():
        return scaling.bounded_by(np.asarray(penalty.growth(jnp.zeros(p, dtype))))


def _can_pad(penalty: Penalty) -> bool:
    """Whether all that a penalty has per column is declared, so that it can be padded."""
    arrays = sum(jnp.ndim(leaf) > 0 for leaf in jax.tree.leaves(penalty))
    return arrays == len(_per_column(penalty))


def _per_column(penalty: Penalty) -> dict[str, Any]:
    """The fields of a penalty that have one number a column."""
    return {
        name: x
        for name, domain in penalty.domains.items()
        if domain.endswith("per feature") and (x := getattr(penalty, name)) is not None
    }


def scaled_penalty(penalty: Penalty, scaling: ColumnScaling, extra: int = 0) -> ScaledPenalty:
    """The penalty of scaled columns and of ``extra`` columns of zeros."""
    padded = {
        name: _namespace(x).pad(_namespace(x).asarray(x), (0, extra))
        for name, x in _per_column(penalty).items()
    }
    inner: Any = replace(penalty, **padded) if padded else penalty  # type: ignore[type-var]
    scale = np.concatenate([scaling.scale, np.ones(extra)])
    return ScaledPenalty(inner, scale, np.repeat([0.0, 1.0], [len(scaling.scale), extra]))


def _pad(data: Dataset, scaling: ColumnScaling, rows: int, columns: int) -> Dataset:
    """The data scaled, with rows of weight zero after them and columns of zeros beside them.

    A row that has weight zero already becomes such a row: its entries may be of any size.
    """
    n = len(data.X)
    # Weights are an array even where no row is added: all tables of a size are one program.
    weight = np.ones(n, data.X.dtype) if data.weight is None else np.asarray(data.weight)
    X = np.asarray(data.X)
    X = X if scaling.is_identity else scaling.transform(X)
    used = slice(n) if weight.all() else np.flatnonzero(weight)
    y, offset = np.asarray(data.y), None if data.offset is None else np.asarray(data.offset)
    padded = Dataset(
        X=_place(X, used, (rows, columns)),
        y=_place(y, used, (rows, *y.shape[1:])),
        weight=_place(weight, used, (rows,)),
        offset=None if offset is None else _place(offset, used, (rows, *y.shape[1:])),
    )
    (device,) = data.X.devices()
    default = getattr(jax.config, "jax_default_device", None) or jax.devices()[0]
    return padded if device == default else Dataset(*jax.device_put(tuple(padded), device))


def _place(part: np.ndarray, used: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The used rows of an array in a larger array of zeros."""
    padded = np.zeros(shape, part.dtype)
    padded[(used, *(slice(size) for size in part.shape[1:]))] = part[used]
    return padded
