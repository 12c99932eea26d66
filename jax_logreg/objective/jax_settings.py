"""JAX's settings within this package.

``jax_numpy_rank_promotion="raise"``, ``jax_numpy_dtype_promotion="strict"`` and
``transfer_guard("disallow")`` check a program for what its author may not have meant. A caller
who sets them checks the caller's code: here arrays broadcast, and a zero of ours moves to the
device, on purpose. ``jax_debug_nans`` stays on: here no NaN stands for anything but itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def own_settings() -> Iterator[None]:
    """A scope, or a decorator, in which JAX computes as this package expects.

    >>> with jax.numpy_rank_promotion("raise"), own_settings():
    ...     (jax.numpy.ones((2, 2)) + jax.numpy.ones(2)).shape
    (2, 2)
    """
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.transfer_guard("allow"),
    ):
        yield


@contextmanager
def in_float64() -> Iterator[None]:
    """The same with float64 arrays, whatever the caller's setting."""
    with own_settings(), jax.enable_x64(True):
        yield
