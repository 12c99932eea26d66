"""A pass over the data: what is made of every row, and of all of them together.

A forward product and a backward one read X twice. Of a table that is larger than the caches
they go by row blocks, each read once, and no vector of n is kept but what is asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_logreg.objective.dense_features import row_block, rows_a_pass
from jax_logreg.objective.host_memory import is_on_one_cpu
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import dense


class Made(NamedTuple):
    """What some rows make, each a pytree.

    Attributes:
        sums: over those rows, linear in their weights.
        most: the largest of what they have, whatever they weigh; none negative.
        rows: arrays (n,).
    """

    sums: Any = ()
    most: Any = ()
    rows: Any = ()


# (the objective of some rows, what else has one entry a row) ↦ what they make
Part = Callable[[Objective, Any], Made]


def goes_by_blocks(objective: Objective) -> bool:
    """Whether blocks pay. The rows must be known to lie on one CPU, for a block is cut out of
    their middle, and the model be the sigmoid."""
    return is_on_one_cpu(objective.X) and not objective.class_shape and rows_a_pass(objective.X) > 0


def pass_over(objective: Objective, rows: Any, part: Part, *, by_blocks: bool) -> Made:
    """What ``part`` makes of all rows.

    Args:
        objective: the data.
        rows: a pytree of arrays (n,) that belong to them.
        part: what some of the rows make.
        by_blocks: whether to go by blocks, see ``goes_by_blocks``.
    """
    n, size = objective.X.shape[0], rows_a_pass(objective.X) if by_blocks else 0
    if not size:  # or of a copy in float32, which is half as large
        return part(objective, rows)

    def turn(i: jax.Array, made: Made) -> Made:
        # The last block ends with the data, and begins with rows that another had.
        start = jnp.minimum(i * size, n - size)
        block = _take(objective, start, i * size - start if n % size else None, size)
        new = part(block, jax.tree.map(lambda row: _cut(row, start, size), rows))
        return Made(
            jax.tree.map(jnp.add, made.sums, new.sums),
            jax.tree.map(jnp.maximum, made.most, new.most),
            jax.tree.map(
                lambda a, b: lax.dynamic_update_slice_in_dim(a, b, start, 0), made.rows, new.rows
            ),
        )

    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(part, objective, rows)
    )
    return lax.fori_loop(0, -(-n // size), turn, blank)


def _cut(rows: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(rows, start, size)


def _take(objective: Objective, start: jax.Array, met: jax.Array | None, size: int) -> Objective:
    """The objective of some rows; the first ``met`` of them weigh nothing."""
    weight, offset = objective.row_weight, objective.offset
    weight = _cut(weight, start, size) if weight.ndim else weight
    return replace(
        objective,
        X=row_block(dense(objective.X), start, size),
        y=_cut(objective.y, start, size),
        row_weight=weight if met is None else jnp.where(jnp.arange(size) < met, 0, weight),
        offset=None if offset is None else _cut(offset, start, size),
    )
