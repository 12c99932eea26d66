"""Row blocks: one pass over a large table for a product forward and one back.

The two products read X twice. A table larger than the caches is taken by row blocks, each read
once, and no vector of length n is stored beyond those that are asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_logreg.objective.objective import Objective


class BlockResult(NamedTuple):
    """What is computed from some rows, each a pytree.

    Attributes:
        sums: over those rows, linear in their weights.
        maxima: over those rows, whatever their weights; none negative.
        rows: arrays (n,), an entry a row.
    """

    sums: Any = ()
    maxima: Any = ()
    rows: Any = ()


# (the objective of some rows, other arrays with an entry a row) ↦ their result
RowFunction = Callable[[Objective, Any], BlockResult]


def map_row_blocks(objective: Objective, rows: Any, function: RowFunction) -> BlockResult:
    """``function`` of all rows: of one block after the other if the features have blocks, else
    at once.

    Args:
        objective: the data; blocks are for the sigmoid model.
        rows: a pytree of arrays (n,).
        function: what to compute from some rows.
    """
    n, size = objective.X.shape[0], objective.X.block_rows
    if not size:
        return function(objective, rows)

    def step(i: jax.Array, result: BlockResult) -> BlockResult:
        # The last block ends with the data: its first rows were in the block before.
        start = jnp.minimum(i * size, n - size)
        block = _take(objective, start, i * size - start if n % size else None, size)
        new = function(block, jax.tree.map(lambda row: _cut(row, start, size), rows))
        return BlockResult(
            jax.tree.map(jnp.add, result.sums, new.sums),
            jax.tree.map(jnp.maximum, result.maxima, new.maxima),
            jax.tree.map(
                lambda a, b: lax.dynamic_update_slice_in_dim(a, b, start, 0), result.rows, new.rows
            ),
        )

    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, objective, rows)
    )
    return lax.fori_loop(0, -(-n // size), step, zeros)


def _cut(rows: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(rows, start, size)


def _take(
    objective: Objective, start: jax.Array, num_overlapping: jax.Array | None, size: int
) -> Objective:
    """The objective of some rows; the first ``num_overlapping``, already counted, get weight
    zero."""
    weight, offset = objective.row_weight, objective.offset
    weight = _cut(weight, start, size) if weight.ndim else weight
    if num_overlapping is not None:
        weight = jnp.where(jnp.arange(size) < num_overlapping, 0, weight)
    return replace(
        objective,
        X=objective.X.row_block(start, size),
        y=_cut(objective.y, start, size),
        row_weight=weight,
        offset=None if offset is None else _cut(offset, start, size),
    )
