"""What the numbers were measured on, and whether it was quiet."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

_LIBRARIES = ("jax", "scikit-learn", "glum", "torch", "statsmodels")
_LISTEN = 0.5
# Others may use this many cores before a row counts as disturbed.
QUIET = 0.2


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


def busy_cores() -> float | None:
    """Cores that others keep busy while we sleep for a moment; None where it is not told.

    Libraries that wait for their threads at barriers, as scikit-learn and PyTorch do, lose
    far more by it than we do: on a busy machine the ratios flatter us.
    """
    before = _busy_ticks()
    time.sleep(_LISTEN)
    after = _busy_ticks()
    if before is None or after is None:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / _LISTEN


def _busy_ticks() -> int | None:
    """All that Linux counts as neither idle nor waiting, of all cores together."""
    try:
        ticks = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(int, ticks)
    return user + nice + system + sum(interrupts)


def _processor() -> str:
    """The model where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(library: str) -> str | None:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return None
