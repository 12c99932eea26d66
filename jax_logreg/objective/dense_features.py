r"""Every product with X, in the forms that XLA runs fastest: the only place that knows them.

All costs of a fit are here: :math:`X\beta` forward, :math:`X^\top r` backward, and
:math:`X^\top D X`, which is worth many of the other two.
"""

from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_logreg.objective.sparse_features import SparseFeatures

Features = jax.Array | SparseFeatures

# Entries of a row block: about what a core's second cache holds.
_BLOCK_ENTRIES = 2**18
_FEWEST_ROWS = 1024
# Narrower tables gain nothing from a transposed copy.
_COPY_FROM = 64
# Beyond so many columns a product bears a transposed operand.
_NARROW = 32
# Tables so narrow and short have their products of two columns spelt out.
_FEW_COLUMNS = 16
_FEW_PAIRS = 2**18
# A pass goes by row blocks of about so many bytes, which stay in the last cache, where the
# table is too large for that and its rows are so long that copying them costs little.
_PASS_BYTES = 2**22
_PASS_FROM = 2**25
_LONG_ROW = 128
_FEWEST_A_PASS = 256
# Shares of such a block, which the threads multiply side by side.
_SHARES = 8


def precision() -> lax.Precision | None:
    """Of products: full, unless the user asked JAX for another.

    On a GPU JAX's own default for float32 keeps about three digits (TF32). Who wants that
    speed for a first look says ``with jax.default_matmul_precision("tensorfloat32"):``;
    the gradient that is then verified has those digits too.
    """
    asked = getattr(jax.config, "jax_default_matmul_precision", None)
    return lax.Precision.HIGHEST if asked is None else None


def rows_a_pass(X: Features) -> int:
    """How many rows to take at a time for a product forward and one back; 0 for all.

    >>> rows_a_pass(jnp.ones((100, 3)))
    0
    """
    if isinstance(X, SparseFeatures):
        return 0
    row = X.shape[1] * X.dtype.itemsize
    if row < _LONG_ROW or X.shape[0] * row < _PASS_FROM:
        return 0
    blocks = -(-X.shape[0] * row // _PASS_BYTES)
    rows = -(-X.shape[0] // (blocks * _SHARES)) * _SHARES
    return rows if rows >= _FEWEST_A_PASS else 0


def row_block(X: jax.Array, start: jax.Array, rows: int) -> jax.Array:
    """Rows of X in shares, (8, rows/8, p), copied once for both products."""
    block = lax.dynamic_slice_in_dim(X, start, rows)
    return lax.optimization_barrier(block.reshape(_SHARES, -1, X.shape[1]))


def times(X: Features, beta: jax.Array) -> jax.Array:
    """Xβ, (n,) or (n, K), for coefficients (p,) or (p, K), those alone where X is in shares."""
    if isinstance(X, SparseFeatures):
        return X.times(beta)
    if X.ndim == 3:
        each = jnp.broadcast_to(beta, (len(X), *beta.shape))
        return jnp.einsum("snp,sp->sn", X, each, precision=precision()).reshape(-1)
    return jnp.matmul(X, beta, precision=precision())


def transposed_times(X: Features, residual: jax.Array) -> jax.Array:
    """Xᵀr, (p,) or (p, K), for residuals (n,) or (n, K).

    Contracting r with X, not Xᵀ with r, is 3 to 9 times faster in XLA on the CPU for the
    same number; of a vector block by block twice as fast again.
    """
    if isinstance(X, SparseFeatures):
        return X.transposed_times(residual)
    blocks = _number_of_blocks(X.shape[0])
    if X.ndim == 2 and residual.ndim == 1 and blocks > 1:
        X = X.reshape(blocks, -1, X.shape[1])
    if X.ndim == 3:
        each = residual.reshape(len(X), -1)
        return jnp.sum(jnp.einsum("bn,bnp->bp", each, X, precision=precision()), axis=0)
    if residual.ndim == 1:
        return jnp.matmul(residual, X, precision=precision())
    if X.dtype == jnp.float64:  # XLA multiplies by a transposed operand at half speed
        rows = lax.optimization_barrier(residual.T)
        return lax.optimization_barrier(jnp.matmul(rows, X, precision=precision())).T
    blocks = gcd(X.shape[0], _SHARES)
    parts = residual.reshape(blocks, -1, residual.shape[1]), X.reshape(blocks, -1, X.shape[1])
    product = jnp.sum(jnp.einsum("bnk,bnp->bkp", *parts, precision=precision()), axis=0)
    return lax.optimization_barrier(product).T


def _number_of_blocks(n: int) -> int:
    """A number of equal blocks that gives each core a share; 1 where n has no such divisor."""
    return next((b for b in range(64, 7, -1) if n >= _FEWEST_ROWS * 8 and n % b == 0), 1)


def take_columns(X: Features, which: jax.Array) -> jax.Array:
    """Columns ``which``, (m,), of X, spelt out, (n, m)."""
    if isinstance(X, SparseFeatures):
        return X.times((jnp.arange(X.shape[1])[:, None] == which).astype(X.dtype))
    return X[:, which]


def column_squares(X: Features, weight: jax.Array) -> jax.Array:
    """The diagonal of Xᵀ diag(weight) X, (p,) or (p, K), for weights (n,) or (n, K)."""
    if isinstance(X, SparseFeatures):
        return X.transposed_times(weight, jnp.square)
    if X.ndim == 3:
        return transposed_times(lax.optimization_barrier(jnp.square(X)), weight)
    return jnp.einsum("ij,ij,i...->j...", X, X, weight, precision=precision())


def total(rows: jax.Array) -> jax.Array:
    """The sum over the rows of one number each, (n,), a scalar.

    Of many rows the halves of each block are added first: XLA computes what a sum reads inside
    the sum, one number after the other, and what is read twice on all cores and vector units.
    Blocks, so that rows that lie on several devices stay there.
    """
    if len(rows) < _FEWEST_ROWS * 16:
        return jnp.sum(rows)
    table = rows.reshape(_number_of_blocks(len(rows)), -1)
    half = table.shape[1] // 2
    return jnp.sum(table[:, :half] + table[:, half : 2 * half]) + jnp.sum(table[:, 2 * half :])


def row_squares(X: Features) -> jax.Array:
    """The squared length of every row, (n,)."""
    ones = jnp.ones(X.shape[1], X.dtype)
    if isinstance(X, SparseFeatures):
        return X.times(ones, jnp.square)
    return jnp.sum(X * X, axis=1)


def gram(X: jax.Array, weight: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
    """Xᵀ diag(weight) X, (p, p), of a dense X.

    On the CPU it goes by row blocks that stay in the cache; an accelerator takes the
    product whole.

    Args:
        X: (n, p).
        weight: (n,).
        dtype: of the product and the result; that of X if absent. float32 costs a
            third of float64.
    """
    dtype = X.dtype if dtype is None else jnp.dtype(dtype)
    if X.shape[1] <= _FEW_COLUMNS and X.shape[0] * X.shape[1] ** 2 <= _FEW_PAIRS:
        return _gram_by_pairs(X, weight).astype(dtype)
    rows = max(_FEWEST_ROWS, _BLOCK_ENTRIES // X.shape[1])
    whole = X.shape[0] // rows

    def by_blocks(X: jax.Array, weight: jax.Array) -> jax.Array:
        def add(i: jax.Array, total: jax.Array) -> jax.Array:
            block = lax.dynamic_slice_in_dim(X, i * rows, rows)
            return total + _block_gram(
                block, lax.dynamic_slice_in_dim(weight, i * rows, rows), dtype
            )

        total = jnp.zeros((X.shape[1],) * 2, dtype)
        total = lax.fori_loop(0, whole, add, total)
        return total + _block_gram(X[whole * rows :], weight[whole * rows :], dtype)

    def at_once(X: jax.Array, weight: jax.Array) -> jax.Array:
        return _block_gram(X, weight, dtype)

    if whole < 2 and X.shape[1] <= _NARROW:
        return _narrow_gram(X, weight).astype(dtype)
    if whole < 2:
        return at_once(X, weight)
    return lax.platform_dependent(X, weight, cpu=by_blocks, default=at_once)


def _gram_by_pairs(X: jax.Array, weight: jax.Array) -> jax.Array:
    """Each entry is one weighted sum of a product of two columns, which no weight changes:
    for a batch of weights over one X all entries are one matrix product."""
    left, right = np.triu_indices(X.shape[1])
    entries = jnp.matmul(weight, X[:, left] * X[:, right], precision=precision())
    which = np.zeros((X.shape[1],) * 2, int)
    which[left, right] = which[right, left] = np.arange(len(left))
    return entries[which]


def _narrow_gram(X: jax.Array, weight: jax.Array) -> jax.Array:
    """Of few columns and rows: the table is transposed once for all steps of a loop, and the
    product of two operands that lie right takes half the time."""
    return jnp.matmul(lax.optimization_barrier(X.T) * weight, X, precision=precision())


def _block_gram(X: jax.Array, weight: jax.Array, dtype: jnp.dtype) -> jax.Array:
    # Weighted before the cast: what overflows float32 alone may not in the product.
    left = (X * weight[:, None]).astype(dtype)
    right = X.astype(dtype)
    if dtype == jnp.float64 and X.shape[1] >= _COPY_FROM:
        # XLA multiplies by a transposed float64 operand at half speed; a copy is cheap.
        return jnp.matmul(lax.optimization_barrier(left.T), right, precision=precision())
    return jnp.tensordot(left, right, axes=(0, 0), precision=precision())
