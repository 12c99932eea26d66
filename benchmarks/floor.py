"""The time that no fit of this kind can beat by much: four reads of X and one XᵀDX.

Both rates are measured on the spot, and the best of several ways and tries counts, so that
the floor is not flattered by a slow library.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from scipy.linalg import get_blas_funcs

from benchmarks.machine import on_gpu
from benchmarks.problems import Problem

_TRIES = 7
# Entries of the block whose symmetric product is timed: it stays in the cache.
_BLOCK = 1 << 17
_READS = 4


@dataclass(frozen=True)
class Floor:
    """Seconds, and the two rates that they come from.

    Attributes:
        seconds: four reads of X and one symmetric product of it.
        bandwidth: bytes a second of a reduction over all of X.
        product_rate: operations a second of AᵀA, counted as n·p·(p + 1).
    """

    seconds: float
    bandwidth: float
    product_rate: float


def floor(problem: Problem) -> Floor | None:
    """Only for the problem with one dense Hessian that is smaller than the data."""
    n, p = problem.X.shape
    if problem.kind != "binary" or n < p:
        return None
    bandwidth = _bandwidth(problem)
    rate = _product_rate(problem)
    seconds = _READS * problem.nbytes / bandwidth + _products(n, p) / rate
    return Floor(seconds, bandwidth, rate)


def _bandwidth(problem: Problem) -> float:
    total = jax.jit(jnp.sum)
    ways: list[Callable[[], Any]] = [lambda: total(problem.on_device).block_until_ready()]
    if not on_gpu():
        entries = problem.X.reshape(-1)
        ways += [lambda: problem.X.sum(), lambda: entries @ entries]
    return problem.nbytes / min(map(_best_of, ways))


def _product_rate(problem: Problem) -> float:
    """Of a block that stays in the cache; on a GPU, of as many rows as columns times eight."""
    n, p = problem.X.shape
    rows = min(n, 8 * max(p, 1024) if on_gpu() else max(p, _BLOCK // p))
    block = problem.X[:rows]
    on_device = jnp.asarray(block)
    product = jax.jit(lambda A: A.T @ A)
    ways: list[Callable[[], Any]] = [lambda: product(on_device).block_until_ready()]
    if not on_gpu():
        (syrk,) = get_blas_funcs(("syrk",), (block,))
        ways += [lambda: syrk(1.0, block.T)]
    return _products(rows, p) / min(map(_best_of, ways))


def _products(n: int, p: int) -> float:
    return float(n) * p * (p + 1)


def _best_of(compute: Callable[[], Any]) -> float:
    compute()
    seconds = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
