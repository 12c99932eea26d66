"""The machine: what it is, how busy it is, and the time that no fit on it can beat by much."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from scipy.linalg import get_blas_funcs

from benchmarks.problems import Problem

_LIBRARIES = ("jax", "scikit-learn", "glum", "torch", "statsmodels")
_WATCH_SECONDS = 0.5
# Other programs may use this many cores before a row counts as disturbed.
QUIET = 0.2

_TRIES = 7
# Entries of the block whose symmetric product is timed: it stays in the cache.
_BLOCK = 1 << 17
_READS = 4


def on_gpu() -> bool:
    """Whether JAX computes on a GPU."""
    return jax.devices()[0].platform == "gpu"


def machine() -> str:
    """Processor, cores, memory, device and versions."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpu = f", {jax.devices()[0].device_kind}" if on_gpu() else ""
    versions = ", ".join(filter(None, map(_version, _LIBRARIES)))
    return (
        f"{os.cpu_count()} cores, {_processor()}, {gigabytes:.0f} GB{gpu}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    """The model if Linux names it, else the architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(library: str) -> str | None:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return None


def busy_cores() -> float | None:
    """Cores that other programs keep busy while we sleep for a moment; None if unknown.

    Libraries that wait for their threads at barriers, as scikit-learn and PyTorch do, lose
    far more by it than we do: on a busy machine the ratios flatter us.
    """
    before = _busy_ticks()
    time.sleep(_WATCH_SECONDS)
    after = _busy_ticks()
    if before is None or after is None:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / _WATCH_SECONDS


def _busy_ticks() -> int | None:
    """All that Linux counts as neither idle nor waiting, of all cores together."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    ticks = path.read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _waiting, *interrupts = map(int, ticks)
    return user + nice + system + sum(interrupts)


@dataclass(frozen=True)
class Floor:
    """A lower bound on the time of a fit: four reads of X and one XᵀDX.

    Both rates are measured on the spot, and the best of several ways and tries counts, so
    that a slow library does not flatter us.

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
    bandwidth, rate = _bandwidth(problem), _product_rate(problem)
    return Floor(_READS * problem.nbytes / bandwidth + n * p * (p + 1.0) / rate, bandwidth, rate)


def _bandwidth(problem: Problem) -> float:
    total = jax.jit(jnp.sum)
    ways: list[Callable[[], Any]] = [lambda: total(problem.on_device).block_until_ready()]
    if not on_gpu():
        entries = problem.X.reshape(-1)
        ways += [lambda: problem.X.sum(), lambda: entries @ entries]
    return problem.nbytes / min(map(_fastest, ways))


def _product_rate(problem: Problem) -> float:
    """Of a block that stays in the cache; on a GPU, of as many rows as columns times eight."""
    n, p = problem.X.shape
    rows = min(n, 8 * max(p, 1024) if on_gpu() else max(p, _BLOCK // p))
    block = problem.X[:rows]
    on_device, product = jnp.asarray(block), jax.jit(lambda A: A.T @ A)
    ways: list[Callable[[], Any]] = [lambda: product(on_device).block_until_ready()]
    if not on_gpu():
        (syrk,) = get_blas_funcs(("syrk",), (block,))
        ways += [lambda: syrk(1.0, block.T)]
    return rows * p * (p + 1.0) / min(map(_fastest, ways))


def _fastest(compute: Callable[[], Any]) -> float:
    compute()
    seconds = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
