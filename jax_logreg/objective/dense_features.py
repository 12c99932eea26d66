r"""Dense features, and the questions that any table of features answers.

All costs of a fit are here: :math:`X\beta` forward, :math:`X^\top r` backward, and
:math:`X^\top D X`, which is worth many of the other two. Each is written in the form that XLA
runs fastest. ``SparseFeatures`` answers the same questions from another layout.
"""

import functools
import math
import reprlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

_CACHE_SIZE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")  # of Linux
_MIN_COLUMNS_OF_WHOLE = 32
# Entries of a row block: about the size of a core's second-level cache.
_BLOCK_ENTRIES = 2**18
_MIN_BLOCK_ROWS = 1024
# Narrower tables gain nothing from a transposed copy.
_MIN_COLUMNS_TO_COPY = 64
# Up to so many columns the transposed operand of a Gram matrix is stored, not implied.
_NARROW_COLUMNS = 32
# Tables so narrow and short have their products of column pairs formed explicitly.
_PAIR_COLUMNS = 16
_PAIR_ENTRIES = 2**18
# A pass goes by row blocks of about so many bytes, which stay in the last-level cache, if the
# table is too large for that cache and its rows are so long that copying them costs little.
_PASS_BYTES = 2**22
_MIN_PASS_BYTES = 2**25
_MIN_ROW_BYTES = 128
_MIN_ROWS_PER_PASS = 256
# Parts of such a block, which XLA's threads multiply side by side.
_PARTS = 8
# JAX adopts a NumPy table without a copy if it begins on a multiple of so many bytes.
_ALIGNMENT = 64
_THREADS = 2
# Up to so many entries a copy costs nothing.
_SMALL = 2**18


class Features:
    """A table X, (n, p): its products, and views of some of its rows or columns.

    Attributes:
        has_gram: whether XᵀDX is one product; otherwise a Hessian is made column by column.
        can_take_rows: whether a minibatch can be taken.
        hessian_limit: number of parameters up to which a dense Hessian is formed: beyond
            10,000 one takes 800 MB in float64.
    """

    has_gram: ClassVar[bool] = True
    can_take_rows: ClassVar[bool] = True
    hessian_limit: ClassVar[int] = 10_000

    shape: tuple[int, int]
    dtype: Any

    @property
    def block_rows(self) -> int:
        """Rows per block for a forward and a backward product in one pass; 0 for all."""
        return 0

    def matvec(self, beta: jax.Array) -> jax.Array:
        """Xβ, (n,) or (n, K), for coefficients (p,) or (p, K)."""
        raise NotImplementedError

    def rmatvec(self, residual: jax.Array) -> jax.Array:
        """Xᵀr, (p,) or (p, K), for residuals (n,) or (n, K)."""
        raise NotImplementedError

    def absolute_matvec(self, beta: jax.Array) -> jax.Array:
        """|X|β, the size of the terms of Xβ for β ≥ 0."""
        raise NotImplementedError

    def column_squares(self, weight: jax.Array) -> jax.Array:
        """The diagonal of Xᵀ diag(weight) X, (p,) or (p, K), for weights (n,) or (n, K)."""
        raise NotImplementedError

    def row_squares(self) -> jax.Array:
        """The squared length of every row, (n,)."""
        raise NotImplementedError

    def gram(self, weight: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
        """Xᵀ diag(weight) X, (p, p)."""
        raise NotImplementedError

    def columns(self, which: jax.Array) -> "DenseFeatures":
        """Columns ``which``, (m,), as a dense table (n, m)."""
        raise NotImplementedError

    def rows(self, which: jax.Array) -> "DenseFeatures":
        """Rows ``which``, (m,), as a dense table (m, p)."""
        return DenseFeatures(self.to_array()[which])

    def float32_on_host(self) -> "Features | None":
        """A float32 copy made outside any program; None where a program makes it as well."""
        return None

    def row_block(self, start: jax.Array, rows: int) -> "Features":
        """``rows`` consecutive rows from ``start`` on, copied once for both products."""
        raise NotImplementedError

    def to_array(self) -> jax.Array:
        """X as one dense array, where only that can be worked on.

        Raises:
            TypeError: for sparse features.
        """
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseFeatures(Features):
    """A dense table.

    Attributes:
        array: (n, p).

    >>> DenseFeatures(jnp.eye(2)).matvec(jnp.array([3.0, 5.0])).tolist()
    [3.0, 5.0]
    """

    array: jax.Array

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(n, p)."""
        return self.array.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> Any:
        """Of the entries."""
        return self.array.dtype

    def matvec(self, beta: jax.Array) -> jax.Array:
        if beta.ndim == 2:
            return _matvec_by_class(self.array, beta)
        return jnp.matmul(self.array, beta, precision=precision())

    def rmatvec(self, residual: jax.Array) -> jax.Array:
        """Xᵀr, by contracting r with X.

        Contracting Xᵀ with r is 3 to 9 times slower in XLA on the CPU, for the same numbers;
        a vector by parts is twice as fast again.
        """
        if residual.ndim == 1:
            parts = _num_parts(self.shape[0])
            if parts == 1:
                return jnp.matmul(residual, self.array, precision=precision())
            return RowBlock(self.array.reshape(parts, -1, self.shape[1])).rmatvec(residual)
        return _rmatvec_by_class(self.array, residual)

    def absolute_matvec(self, beta: jax.Array) -> jax.Array:
        return jnp.matmul(jnp.abs(self.array), beta, precision=precision())

    def column_squares(self, weight: jax.Array) -> jax.Array:
        X = self.array
        return jnp.einsum("ij,ij,i...->j...", X, X, weight, precision=precision())

    def row_squares(self) -> jax.Array:
        return jnp.sum(self.array * self.array, axis=1)

    def gram(self, weight: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
        """Xᵀ diag(weight) X, (p, p).

        On the CPU it goes by row blocks that stay in the cache; an accelerator takes the
        product whole.

        Args:
            weight: (n,).
            dtype: of the product and the result; that of X if absent. float32 costs a
                third of float64.
        """
        return _gram(self.array, weight, self.dtype if dtype is None else jnp.dtype(dtype))

    def columns(self, which: jax.Array) -> "DenseFeatures":
        return DenseFeatures(self.array[:, which])

    def float32_on_host(self) -> "DenseFeatures | None":
        if not is_on_one_cpu(self.array):
            return None
        return replace(self, array=float32_on_cpu(self.array))

    def to_array(self) -> jax.Array:
        return self.array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BlockedFeatures(DenseFeatures):
    """A dense table, larger than the caches, that is read once per pass, by row blocks.

    It must lie on one CPU: a block is cut out of its middle.
    """

    @property
    def block_rows(self) -> int:
        """Rows per block; 0 where the table is small, as its float32 copy may be."""
        return rows_per_block(*self.shape, self.dtype.itemsize)

    def row_block(self, start: jax.Array, rows: int) -> "RowBlock":
        block = lax.dynamic_slice_in_dim(self.array, start, rows)
        return RowBlock(lax.optimization_barrier(block.reshape(_PARTS, -1, self.shape[1])))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowBlock(Features):
    """Some rows of a dense table in equal parts, which XLA's threads take side by side.

    Attributes:
        parts: (parts, rows, p).
    """

    parts: jax.Array

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(number of rows, p)."""
        count, rows, p = self.parts.shape
        return count * rows, p

    @property
    def dtype(self) -> Any:
        """Of the entries."""
        return self.parts.dtype

    def matvec(self, beta: jax.Array) -> jax.Array:
        each = jnp.broadcast_to(beta, (len(self.parts), *beta.shape))
        return jnp.einsum("snp,sp->sn", self.parts, each, precision=precision()).reshape(-1)

    def rmatvec(self, residual: jax.Array) -> jax.Array:
        each = residual.reshape(len(self.parts), -1)
        return jnp.sum(jnp.einsum("bn,bnp->bp", each, self.parts, precision=precision()), axis=0)

    def column_squares(self, weight: jax.Array) -> jax.Array:
        return RowBlock(lax.optimization_barrier(jnp.square(self.parts))).rmatvec(weight)


def as_array(x: ArrayLike, name: str = "the argument") -> jax.Array:
    """x in JAX, in whatever byte order NumPy has it: JAX takes the machine's own only.

    Raises:
        ValueError: where x holds no numbers.
    """
    with suppress(TypeError, ValueError):
        if not isinstance(x, str):  # of which NumPy would make a dtype
            return jnp.asarray(_native(x) if isinstance(x, np.ndarray) else x)
    given = " ".join(reprlib.repr(x).split())
    raise ValueError(
        f"{name} must be an array of numbers, but it is {given}. Encode text as numbers, and give "
        "dates as days since one of them."
    )


def _native(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def as_features(X: ArrayLike | Features, *, by_blocks: bool = False) -> Features:
    """X as features.

    Args:
        X: (n, p), an array or features, which are returned as they are.
        by_blocks: whether passes may go by row blocks; see :class:`BlockedFeatures`.
    """
    if isinstance(X, Features):
        return X
    array: Any = _native(X) if isinstance(X, np.ndarray) else as_array(X, "X")
    blocked = BlockedFeatures(array)
    by_blocks = by_blocks and bool(blocked.block_rows) and not _is_faster_whole(array)
    return blocked if by_blocks else DenseFeatures(array)


def _is_faster_whole(array: jax.Array) -> bool:
    """Whether passes take a quarter less time without blocks: where the last cache holds the table,
    beside which their five vectors of n entries are small."""
    return array.nbytes <= last_cache_bytes() and array.shape[1] >= _MIN_COLUMNS_OF_WHOLE


def rows_per_block(n: int, p: int, itemsize: int) -> int:
    """How many rows to take at a time for a product forward and one back; 0 for all.

    >>> rows_per_block(100, 3, 8)
    0
    """
    row = p * itemsize
    if row < _MIN_ROW_BYTES or n * row < _MIN_PASS_BYTES:
        return 0
    blocks = -(-n * row // _PASS_BYTES)
    rows = -(-n // (blocks * _PARTS)) * _PARTS
    return rows if rows >= _MIN_ROWS_PER_PASS else 0


@functools.cache
def last_cache_bytes() -> int:
    """The size of the processor's third-level cache; 0 where there is none, or the system does
    not say."""
    with suppress(OSError, ValueError):
        return 1024 * int(_CACHE_SIZE.read_text().strip().removesuffix("K"))
    return 0


def precision() -> lax.Precision | None:
    """Of products: full, unless the user asked JAX for another.

    On a GPU JAX's own default for float32 keeps about three digits (TF32). To trade digits for
    speed, wrap the fit in ``with jax.default_matmul_precision("tensorfloat32"):``; the gradient
    that is then verified has those digits too.
    """
    asked = getattr(jax.config, "jax_default_matmul_precision", None)
    return lax.Precision.HIGHEST if asked is None else None


def total(rows: jax.Array) -> jax.Array:
    """The sum over the rows of one number each, (n,), a scalar.

    With many rows the halves of each block are added first: XLA computes what a sum reads
    inside the sum, one number after the other, but what is read twice on all cores and vector
    units. By blocks, so that rows on several devices stay there.
    """
    if len(rows) < _MIN_BLOCK_ROWS * 16:
        return jnp.sum(rows)
    table = rows.reshape(_num_parts(len(rows)), -1)
    half = table.shape[1] // 2
    return jnp.sum(table[:, :half] + table[:, half : 2 * half]) + jnp.sum(table[:, 2 * half :])


def _num_parts(n: int) -> int:
    """A number of equal parts that gives each core a share; 1 where n has no such divisor."""
    return next((b for b in range(64, 7, -1) if n >= _MIN_BLOCK_ROWS * 8 and n % b == 0), 1)


def _rmatvec_by_class(X: jax.Array, residual: jax.Array) -> jax.Array:
    """Xᵀr, (p, K), for residuals (n, K).

    By short parts, each with its residuals transposed: XLA multiplies by a transposed operand at
    half speed, and by a long one at two thirds.
    """
    n, K = residual.shape
    parts = n // _rows_per_part(n)
    rows = lax.optimization_barrier(jnp.swapaxes(residual.reshape(parts, -1, K), 1, 2))
    tables = rows, X.reshape(parts, -1, X.shape[1])
    product = jnp.sum(jnp.einsum("bkn,bnp->bkp", *tables, precision=precision()), axis=0)
    return lax.optimization_barrier(product).T


def _rows_per_part(n: int) -> int:
    """A divisor of n near 128; n itself where there is none. Of a number of parts that eight
    devices can share, if possible."""
    near = [rows for rows in range(64, 257) if n % rows == 0]
    return min(near, key=lambda rows: ((n // rows) % 8 > 0, abs(rows - 128)), default=n)


def _matvec_by_class(X: jax.Array, coef: jax.Array) -> jax.Array:
    """Xβ, (n, K), for coefficients (p, K).

    XLA multiplies by 16 columns faster than by 9 to 15, and so on: zeros are added.
    """
    K = coef.shape[1]
    if K % 16 <= 8:
        return jnp.matmul(X, coef, precision=precision())
    wide = lax.optimization_barrier(jnp.pad(coef, ((0, 0), (0, -K % 16))))
    return jnp.matmul(X, wide, precision=precision())[:, :K]


def _gram(X: jax.Array, weight: jax.Array, dtype: Any) -> jax.Array:
    n, p = X.shape
    if p <= _PAIR_COLUMNS and n * p**2 <= _PAIR_ENTRIES:
        return _gram_by_pairs(X, weight).astype(dtype)
    rows = max(_MIN_BLOCK_ROWS, _BLOCK_ENTRIES // p)
    if n // rows < 2 and p <= _NARROW_COLUMNS:
        return _narrow_gram(X, weight).astype(dtype)
    if n // rows < 2:
        return _block_gram(X, weight, dtype)
    return lax.platform_dependent(
        X,
        weight,
        cpu=lambda X, weight: _gram_by_blocks(X, weight, rows, dtype),
        default=lambda X, weight: _block_gram(X, weight, dtype),
    )


def _gram_by_pairs(X: jax.Array, weight: jax.Array) -> jax.Array:
    """Each entry is a weighted sum of a product of two columns. The products do not depend on
    the weight: for a batch of weights over one X all entries are one matrix product."""
    left, right = np.triu_indices(X.shape[1])
    entries = jnp.matmul(weight, X[:, left] * X[:, right], precision=precision())
    which = np.zeros((X.shape[1],) * 2, int)
    which[left, right] = which[right, left] = np.arange(len(left))
    return entries[which]


def _narrow_gram(X: jax.Array, weight: jax.Array) -> jax.Array:
    """With few columns and rows the table is transposed once for all steps of a loop, and the
    product of two operands in the right layout takes half the time."""
    return jnp.matmul(lax.optimization_barrier(X.T) * weight, X, precision=precision())


def _gram_by_blocks(X: jax.Array, weight: jax.Array, rows: int, dtype: Any) -> jax.Array:
    whole = X.shape[0] // rows

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        block = lax.dynamic_slice_in_dim(X, i * rows, rows)
        return total + _block_gram(block, lax.dynamic_slice_in_dim(weight, i * rows, rows), dtype)

    # Of the type of what is added, which inside shard_map names the axes of the data.
    zero = jnp.zeros_like(X[0, 0] * weight[0], shape=(X.shape[1],) * 2, dtype=dtype)
    total = lax.fori_loop(0, whole, add, zero)
    return total + _block_gram(X[whole * rows :], weight[whole * rows :], dtype)


def _block_gram(X: jax.Array, weight: jax.Array, dtype: Any) -> jax.Array:
    # Weighted before the cast: what overflows float32 alone may not in the product.
    left = (X * weight[:, None]).astype(dtype)
    right = X.astype(dtype)
    if dtype == jnp.float64 and X.shape[1] >= _MIN_COLUMNS_TO_COPY:
        # XLA multiplies by a transposed float64 operand at half speed; a copy is cheap.
        return jnp.matmul(lax.optimization_barrier(left.T), right, precision=precision())
    return jnp.tensordot(left, right, axes=(0, 0), precision=precision())


# --- large new tables on the host ---------------------------------------------------


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A NumPy table to be filled, that ``jax.device_put`` adopts without a copy.

    An operating system hands out new memory page by page, as it is touched. NumPy asks for
    large pages where JAX's allocator does not, and a copy of X then takes half the time.

    >>> aligned_empty((3, 5), np.float32).shape
    (3, 5)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def is_on_one_device(x: Any) -> TypeGuard[jax.Array]:
    """Whether x is a concrete array that lies on a single device."""
    is_concrete = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    return is_concrete and len(x.devices()) == 1


def is_on_one_cpu(X: Any) -> TypeGuard[jax.Array]:
    """Whether X is a concrete array on a single CPU."""
    return is_on_one_device(X) and next(iter(X.devices())).platform == "cpu"


def aligned_copy(table: np.ndarray, dtype: Any) -> np.ndarray:
    """A copy in a dtype that ``jax.device_put`` adopts, made by two threads: one does not use all
    of the memory's bandwidth.

    >>> aligned_copy(np.arange(3), np.float32).tolist()
    [0.0, 1.0, 2.0]
    """
    made = aligned_empty(table.shape, dtype)

    def copy(to: np.ndarray, rows: np.ndarray) -> None:
        with np.errstate(over="ignore"):  # the fit reports an infinite entry
            np.copyto(to, rows, casting="unsafe")

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(copy, *(np.array_split(A, _THREADS) for A in (made, table))))
    return made


def float32_on_cpu(X: jax.Array) -> jax.Array:
    """A float32 copy of a concrete array on one CPU.

    >>> float32_on_cpu(jnp.ones((2, 2))).dtype.name
    'float32'
    """
    return jax.device_put(aligned_copy(np.asarray(X), np.float32), next(iter(X.devices())))


def to_device(table: np.ndarray, dtype: Any) -> jax.Array:
    """A NumPy table as an array of a dtype on JAX's default device.

    JAX's own conversion copies a table on the host before it copies it to a CPU device. Here a
    table of that dtype that begins where JAX can take it over is not copied at all, and any other
    once. What is taken over must stay as it is while the array is in use; a small table is copied.

    >>> to_device(np.arange(3), np.float32).tolist()
    [0.0, 1.0, 2.0]
    """
    if table.size <= _SMALL:  # jnp.asarray would compile a program for every shape
        return jax.device_put(table.astype(dtype))
    device = getattr(jax.config, "jax_default_device", None) or jax.devices()[0]
    is_ready = table.flags.c_contiguous and table.ctypes.data % _ALIGNMENT == 0
    if getattr(device, "platform", device) != "cpu":
        return jax.device_put(table.astype(dtype, copy=False))
    is_ready &= table.dtype == dtype
    if not is_ready:
        jax.device_put(np.zeros(()))  # JAX lets go of a table taken over when it is called again
    return jax.device_put(table if is_ready else aligned_copy(table, dtype))
