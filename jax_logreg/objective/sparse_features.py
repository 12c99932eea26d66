r"""Features with few entries a row, in a layout that multiplies fast both ways.

XLA gathers fast and scatters slowly, so the table is kept twice, once by rows for
:math:`X\beta` and once by columns for :math:`X^\top r`, and both products gather.
Each copy is a stack of *jagged diagonals*: the lines (rows, or columns) are sorted by
their number of entries, and layer j holds the j-th entry of every line that has one, so
that one layer is one fused multiply-add over many lines. Layers of about equal length
share a loop. Source: Saad (1989), SIAM J. Sci. Stat. Comput. 10, "Krylov subspace
methods on supercomputers".
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_logreg.objective.dense_features import DenseFeatures, Features, aligned_empty
from jax_logreg.programs.compiled import is_concrete
from jax_logreg.programs.jax_settings import own_settings

# A line longer than this is cut into pieces: a loop over the layers of one heavy column
# would run a step an entry.
_LONGEST_PIECE = 256

# Entries of a line further apart than this: some may lie far from all others.
_WIDE = 2.0**16

# Layers that a loop adds in one step.
_LAYERS_PER_STEP = 5

# Applied to entries as they are read: a table of the results would be as large as X. It must
# keep zero.
EntryMap = Callable[[jax.Array], jax.Array]


def _identity(values: jax.Array) -> jax.Array:
    return values


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonals:
    """One direction of a sparse table: m lines over ``width`` positions.

    Attributes:
        positions: one array (layers, lines) a group: where in the other direction an entry is.
        values: as ``positions``; padding is zero.
        piece_of: (m,): where a line's first piece came in the sorting.
        extra_of: (e,): lines of the pieces beyond the first.
        extra: (e,): where those came in the sorting.
    """

    positions: tuple[Any, ...]
    values: tuple[Any, ...]
    piece_of: Any
    extra_of: Any
    extra: Any

    def matvec(self, vector: jax.Array, entrywise: EntryMap = _identity) -> jax.Array:
        """The sum over each line of entrywise(value) · vector[position], (m,) or (m, K)."""
        total = jnp.zeros((0, *vector.shape[1:]), vector.dtype)
        for positions, values in zip(reversed(self.positions), reversed(self.values), strict=True):
            # The shortest groups come first: their lines head all the longer ones.
            begun = jnp.zeros((positions.shape[1], *vector.shape[1:]), vector.dtype)
            begun = begun.at[: total.shape[0]].set(total)
            total = _add_layers(begun, positions, values, vector, entrywise)
        lines = total.at[self.piece_of].get(mode="promise_in_bounds")
        return lines.at[self.extra_of].add(total[self.extra]) if self.extra.size else lines

    def typical_sizes(self) -> np.ndarray:
        """The ``typical_size`` of every line, (m,), of concrete arrays."""
        sizes = [np.abs(np.asarray(values)) for values in self.values]
        largest = self._reduce(np.maximum, sizes, 0.0)
        smallest = self._reduce(np.minimum, [np.where(s > 0, s, np.inf) for s in sizes], np.inf)
        extra_of, extra = np.asarray(self.extra_of), np.asarray(self.extra)
        for line in np.flatnonzero(largest > _WIDE * smallest):
            pieces = [np.asarray(self.piece_of)[line], *extra[extra_of == line]]
            entries = [s[:, piece] for piece in pieces for s in sizes if piece < s.shape[1]]
            largest[line] = typical_size(np.concatenate(entries))
        return largest

    def _reduce(self, ufunc: np.ufunc, tables: list[np.ndarray], initial: float) -> np.ndarray:
        """``ufunc`` over the entries of every line, (m,), from tables like ``values``."""
        found = np.full(self.piece_of.size + self.extra.size, initial)
        for table in tables:
            head = found[: table.shape[1]]
            ufunc(head, ufunc.reduce(table, axis=0, initial=initial), out=head)
        lines = found[np.asarray(self.piece_of)]
        ufunc.at(lines, np.asarray(self.extra_of), found[np.asarray(self.extra)])
        return lines

    def scale_lines(self, factor: np.ndarray) -> "Diagonals":
        """Every line times its factor, (m,)."""
        pieces = np.ones(self.piece_of.size + self.extra.size)
        pieces[np.asarray(self.piece_of)] = factor
        pieces[np.asarray(self.extra)] = factor[np.asarray(self.extra_of)]
        return self._times(pieces[: values.shape[1]] for values in self.values)

    def scale_positions(self, factor: np.ndarray) -> "Diagonals":
        """Every entry times the factor of its position in the other direction, (width,)."""
        return self._times(factor[np.asarray(positions)] for positions in self.positions)

    def _times(self, factors: Iterable[np.ndarray]) -> "Diagonals":
        products = [
            np.asarray(values) * factor.astype(values.dtype)
            for values, factor in zip(self.values, factors, strict=True)
        ]
        return replace(self, values=tuple(map(jax.device_put, products)))


def typical_size(entries: np.ndarray) -> float:
    """The largest absolute entry of a line; where they lie far apart their median, for then the
    largest is no unit of the others. Zeros do not count.

    >>> typical_size(np.array([1.0, -3.0, 0.0])), typical_size(np.array([1.0, -3.0, 1e9]))
    (3.0, 3.0)
    """
    size = np.abs(entries[entries != 0]).astype(float)
    if not size.size:
        return 0.0
    return float(np.max(size) if np.max(size) <= _WIDE * np.min(size) else np.median(size))


def _add_layers(
    total: jax.Array,
    positions: jax.Array,
    values: jax.Array,
    vector: jax.Array,
    entrywise: EntryMap,
) -> jax.Array:
    """total + Σⱼ entrywise(values[j]) · vector[positions[j]], one layer after the other."""
    trailing = (1,) * (vector.ndim - 1)

    def add(total: jax.Array, layer: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        positions, values = layer
        taken = vector.at[positions].get(mode="promise_in_bounds")
        return total + entrywise(values).reshape(-1, *trailing) * taken, None

    # In between the total stays in registers. Layers that were left over would be copied.
    unroll = _LAYERS_PER_STEP if len(positions) % _LAYERS_PER_STEP == 0 else 1
    return lax.scan(add, total, (positions, values), unroll=unroll)[0]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparseFeatures(Features):
    """A table (n, p) that stores only its nonzero entries.

    Build it with :func:`sparse_features`; ``fit`` does so itself.

    Attributes:
        by_rows: for Xβ.
        by_columns: for Xᵀr.
        shape: (n, p).

    >>> import scipy.sparse
    >>> X = sparse_features(scipy.sparse.csr_array([[0.0, 2.0], [1.0, 0.0]]))
    >>> X.shape, X.matvec(jnp.array([3.0, 5.0])).tolist()
    ((2, 2), [10.0, 3.0])
    """

    by_rows: Diagonals
    by_columns: Diagonals
    shape: tuple[int, int] = field(metadata={"static": True})

    has_gram = False
    can_take_rows = False
    hessian_limit = 500  # it is made column by column

    @property
    def dtype(self) -> Any:
        """Of the values."""
        return self.by_rows.values[0].dtype

    @property
    def num_entries(self) -> int:
        """That are stored, padding included."""
        return sum(values.size for values in self.by_rows.values)

    def matvec(self, beta: jax.Array) -> jax.Array:
        return self.by_rows.matvec(jnp.asarray(beta))

    def rmatvec(self, residual: jax.Array) -> jax.Array:
        return self.by_columns.matvec(jnp.asarray(residual))

    def absolute_matvec(self, beta: jax.Array) -> jax.Array:
        return self.by_rows.matvec(jnp.asarray(beta), jnp.abs)

    def column_squares(self, weight: jax.Array) -> jax.Array:
        return self.by_columns.matvec(jnp.asarray(weight), jnp.square)

    def row_squares(self) -> jax.Array:
        return self.by_rows.matvec(jnp.ones(self.shape[1], self.dtype), jnp.square)

    def scale_columns(self, factor: np.ndarray) -> "SparseFeatures":
        """Every column times its factor, (p,), of concrete arrays."""
        by_rows = self.by_rows.scale_positions(factor)
        return replace(self, by_rows=by_rows, by_columns=self.by_columns.scale_lines(factor))

    def scale_rows(self, factor: np.ndarray) -> "SparseFeatures":
        """Every row times its factor, (n,), of concrete arrays."""
        by_columns = self.by_columns.scale_positions(factor)
        return replace(self, by_rows=self.by_rows.scale_lines(factor), by_columns=by_columns)

    def columns(self, which: jax.Array) -> DenseFeatures:
        basis = (jnp.arange(self.shape[1])[:, None] == which).astype(self.dtype)
        return DenseFeatures(self.matvec(basis))

    def to_array(self) -> jax.Array:
        """Refused: the dense table may not fit into memory.

        Raises:
            TypeError: always.
        """
        raise TypeError("sparse features are never made dense, and this needs a dense X.")


@own_settings()
def sparse_features(X: Any, dtype: Any = None) -> SparseFeatures:
    """The layout of a SciPy sparse matrix or array of any format.

    Args:
        X: (n, p); repeated entries are summed. Of a matrix of JAX the values may be traced, as
            under ``jax.grad``, if no entry is repeated.
        dtype: of the values; JAX's for those of X if absent.

    Returns:
        The table, which ``fit`` takes inside ``jit`` as well.

    Raises:
        ValueError: for a dense X, and for one whose places are traced.

    >>> import scipy.sparse
    >>> sparse_features(scipy.sparse.eye_array(3)).shape
    (3, 3)
    """
    if not hasattr(X, "tocsr") and not hasattr(X, "todense"):
        raise ValueError(
            f"X must be a sparse matrix of SciPy or JAX, but it is a {type(X).__name__}: give "
            "scipy.sparse.csr_array(X), or X itself to fit."
        )
    n, p = X.shape
    is_jax = hasattr(X, "todense") and hasattr(X, "tree_flatten")
    if is_jax and not is_concrete(X.data):
        return _of_traced_values(X.to_bcoo() if hasattr(X, "to_bcoo") else X, dtype)
    rows, make_columns = _by_jax(X) if is_jax else _by_scipy(X)
    native = np.dtype(rows.data.dtype if dtype is None else dtype).newbyteorder("=")
    dtype = jnp.asarray(np.zeros(0, native)).dtype if dtype is None else native
    by_rows, by_columns = jax.device_put(_both(rows, make_columns, dtype))
    return SparseFeatures(by_rows, by_columns, (int(n), int(p)))


def _of_traced_values(X: Any, dtype: Any) -> SparseFeatures:
    """The layout of the numbers 1, 2, … of the entries, with the entries in their places."""
    if not is_concrete(X.indices):
        raise ValueError(
            "the places of a sparse X must be concrete: inside jit pass what sparse_features(X) "
            "returned."
        )
    numbers = np.arange(1, X.nse + 1, dtype=np.int32)
    with jax.ensure_compile_time_eval():
        layout = sparse_features(type(X)((jnp.asarray(numbers), X.indices), shape=X.shape))
    if sum(int((np.asarray(v) > 0).sum()) for v in layout.by_rows.values) != X.nse:
        raise ValueError("a sparse X of traced values must not repeat an entry: sum them first.")
    entries = jnp.pad(X.data if dtype is None else X.data.astype(dtype), (1, 0))

    def filled(side: Diagonals) -> Diagonals:
        return replace(side, values=tuple(entries[numbers] for numbers in side.values))

    return replace(layout, by_rows=filled(layout.by_rows), by_columns=filled(layout.by_columns))


# The table by rows, and what makes it by columns.
_Sides = tuple[Any, Callable[[], Any]]


def _by_scipy(X: Any) -> _Sides:
    rows = X.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows, rows.tocsc


def _by_jax(X: Any) -> _Sides:
    from jax.experimental.sparse import BCSR

    table = (X.to_bcoo() if hasattr(X, "to_bcoo") else X).sum_duplicates()
    columns = BCSR.from_bcoo(table.T.sum_duplicates())
    return BCSR.from_bcoo(table), lambda: columns


def _both(rows: Any, make_columns: Callable[[], Any], dtype: np.dtype) -> list[Diagonals]:
    """Both directions; NumPy and SciPy let threads run at the same time."""
    with ThreadPoolExecutor(2) as pool:
        columns = pool.submit(make_columns)
        by_rows = _diagonals(rows, dtype, pool)
        return [by_rows, _diagonals(columns.result(), dtype, pool)]


def _diagonals(side: Any, dtype: np.dtype, pool: ThreadPoolExecutor) -> Diagonals:
    """Jagged diagonals, of NumPy's arrays, of the lines of a compressed table."""
    starts, positions, values = (
        np.asarray(part) for part in (side.indptr, side.indices, side.data)
    )
    positions, values = positions.astype(np.int32, copy=False), values.astype(dtype, copy=False)
    line, first, length = _pieces(starts)
    order = np.argsort(-length, kind="stable").astype(np.int32)
    first, length = first[order].astype(np.intp, copy=False), length[order]
    groups = _layer_groups(length)
    tables = [
        [pool.submit(_layers, first, length, layers, entries) for layers in groups]
        for entries in (positions, values)
    ]
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=np.int32)
    lines = len(starts) - 1  # the first piece of each line was listed first
    return Diagonals(
        positions=tuple(table.result() for table in tables[0]),
        values=tuple(table.result() for table in tables[1]),
        piece_of=position[:lines],
        extra_of=line[lines:].astype(np.int32),
        extra=position[lines:],
    )


def _pieces(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Line, first entry and length of every piece; the first piece of each line leads."""
    length = np.diff(starts)
    extra = np.maximum(0, -(-length // _LONGEST_PIECE) - 1)
    line = np.concatenate([np.arange(len(length)), np.repeat(np.arange(len(length)), extra)])
    within = np.arange(extra.sum()) - np.repeat(np.cumsum(extra) - extra, extra) + 1
    skipped = np.concatenate([np.zeros(len(length), int), within * _LONGEST_PIECE])
    return line, starts[line] + skipped, np.minimum(length[line] - skipped, _LONGEST_PIECE)


def _layer_groups(length: np.ndarray) -> list[range]:
    """Layers that share a loop; the first, which may have none, holds every line.

    A group ends where fewer than half of its lines go on: padding is never more than the
    entries, and a program has few loops. Layers beyond a multiple of those that are added
    together are left to the next.
    """
    reach = _reach(length, range(int(length[0])))
    groups, start, lines = [], 0, len(length)
    while True:
        few = np.flatnonzero(reach[start:] < 0.5 * lines)
        stop = start + int(few[0]) if few.size else len(reach)
        if stop - start > _LAYERS_PER_STEP:
            stop -= (stop - start) % _LAYERS_PER_STEP
        groups.append(range(start, stop))
        if stop == len(reach):
            return groups
        start, lines = stop, int(reach[stop])


def _reach(length: np.ndarray, layers: range) -> np.ndarray:
    """How many lines, the longest first, have an entry in each of some layers."""
    return np.searchsorted(-length, -np.asarray(layers), side="left")


def _layers(
    first: np.ndarray, length: np.ndarray, layers: range, entries: np.ndarray
) -> np.ndarray:
    """What the lines hold in some layers, (layers, lines), zero beyond a line's end."""
    reach = _reach(length, layers)
    lines = len(length) if layers.start == 0 else reach[0]
    table = aligned_empty((len(layers), int(lines)), entries.dtype)
    for row, layer, reached in zip(table, layers, reach, strict=True):
        # "clip" writes in place; no index is beyond the end.
        np.take(entries, first[:reached] + layer, out=row[:reached], mode="clip")
        row[reached:] = 0
    return table
