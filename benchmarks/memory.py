"""The command: ``python -m benchmarks.memory ROW``: peak memory of one fit of ours.

Run in a process of its own: the data are in place, JAX is imported and has fitted a tiny
problem; the peak of what the process takes beyond that is divided by the bytes of the data.
The first fit compiles, and that memory counts; the second shows the fit alone.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

from benchmarks.contestants import Fit, jax_logreg
from benchmarks.machine import on_gpu
from benchmarks.problems import ROWS, Problem, bootstrap, random, random_sparse, text

ROOT = Path(__file__).parent.parent
# The peak of this program on Linux; ``resource`` counts in that of its parent.
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Peak memory beyond what was in place before, in bytes of the data.

    Attributes:
        first: of the first fit, with what its compilation takes.
        warm: of the next one; None where a peak cannot be reset.
        data: bytes of the data.
    """

    first: float
    warm: float | None
    data: int


def measure_in_child(row: str, options: list[str]) -> Memory:
    """The memory of a row, from a child process."""
    command = [sys.executable, "-m", "benchmarks.memory", row, *options]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(child.stderr.strip().splitlines()[-1])
    return Memory(**json.loads(child.stdout.splitlines()[-1]))


def measure(problem: Problem, tol: float) -> Memory:
    """Of our fit, on data that are where it wants them."""
    fit, data = jax_logreg(problem), problem.nbytes
    jax_logreg(_tiny(problem))(tol, 0)
    first = _peak(fit, tol) / data
    return Memory(first, _peak(fit, tol) / data if _reset_peak() else None, data)


def _tiny(problem: Problem) -> Problem:
    """The same kind of problem, too small to matter."""
    shape, dtype = (60, 2, problem.num_classes), problem.X.dtype.name
    if problem.kind == "bootstrap":
        return bootstrap(shape, 2, dtype=dtype)
    makers = {"sparse": random_sparse, "sparse softmax": text}
    return makers.get(problem.kind, random)(shape, 0.1, dtype=dtype)


def _peak(fit: Fit, tol: float) -> float:
    """Bytes at the highest beyond those in use before."""
    _reset_peak()
    before = jax.devices()[0].memory_stats()["bytes_in_use"] if on_gpu() else _highest()
    fit(tol, 0)
    return float(_highest() - before)


def _highest() -> float:
    """Bytes of the process, or of the GPU, at the highest so far."""
    if on_gpu():
        return float(jax.devices()[0].memory_stats()["peak_bytes_in_use"])
    if _STATUS.exists():
        return 1024.0 * int(re.findall(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())[0])
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _reset_peak() -> bool:
    """Let the peak start again from what is in use now; Linux can, for a process."""
    if on_gpu():
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("row", choices=[name for name in ROWS if name != "cold"])
    parser.add_argument("--tol", type=float, default=1e-6, help="default %(default)g")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--quick", action="store_true", help="the row at its quick size")
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with jax.enable_x64(True):
        problem = ROWS[options.row].problem(options.dtype, quick=options.quick, scale=options.scale)
        print(json.dumps(asdict(measure(problem, options.tol))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
