"""Both precisions for whoever asks: x64 off and on, scoped, never global."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from tests.xla_flags import xla_flags

os.environ["XLA_FLAGS"] = xla_flags()

# Most of a run is compilation: what one process has compiled the others take from disk.
# JAX_COMPILATION_CACHE_DIR, if it is set, keeps it for the next run as well.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(tempfile.gettempdir(), f"jax_logreg_tests_{os.getpid()}")),
)
# Not so the programs that the estimator keeps: tests change the code that they are made of.
os.environ.setdefault("JAX_LOGREG_PROGRAMS", "off")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# And most programs run once: LLVM's polish of them would cost more than it gives back.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 runs the tests on programs as a user has them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


import jax
import jax.numpy as jnp
import pytest

from tests.problems import MODELS, make_problem

_MAPS = Path("/proc/self/maps")
_LOOK_EVERY = 25
_MANY_MAPS = 30_000
_tests = itertools.count(1)


def pytest_unconfigure(config):
    """The process that named the folder takes it away; its workers have ended by now."""
    programs = Path(tempfile.gettempdir(), f"jax_logreg_tests_{os.getpid()}")
    if programs.exists():
        shutil.rmtree(programs)


@pytest.fixture(autouse=True)
def few_programs():
    """Every compiled program holds some memory maps, and Linux gives a process 65530: in a
    long run the compiler would crash for want of one."""
    yield
    due = next(_tests) % _LOOK_EVERY == 0 and _MAPS.exists()
    if due and _MAPS.read_bytes().count(b"\n") > _MANY_MAPS:
        jax.clear_caches()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def problem(model, x64):
    """A float64 problem with everything in it: weights, offset, soft labels, factors."""
    return make_problem(model, "float64")
