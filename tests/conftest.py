"""Both precisions for whoever asks: x64 off and on, scoped, never global."""

import os

# Two devices, so that "the device of the data" is a choice. Read when JAX first computes.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import jax.numpy as jnp
import pytest

from tests.problems import MODELS, make_problem


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
