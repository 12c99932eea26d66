"""Compiled with options where JAX takes them, and the same function everywhere."""

import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.programs import compiled
from jax_logreg.programs.compiled import Compiled
from tests.problems import count_programs


def _double(x):
    return 2 * x


@pytest.fixture(params=[None, {"xla_no_such_option": True}], ids=["ours", "unknown"])
def double(request):
    """Also by an XLA that does not know the option."""
    return Compiled(_double) if request.param is None else Compiled(_double, (), request.param)


def test_it_is_the_function_inside_and_outside_of_transformations(double):
    assert double(1.5) == 3
    assert jax.jit(double)(1.5) == 3
    assert jax.jit(lambda x: x + double(1.5))(1.0) == 4  # known, but part of a program
    assert jax.lax.map(lambda x: x + double(1.5), jnp.ones(2)).tolist() == [4, 4]
    assert jax.grad(double)(1.5) == 2
    assert jax.grad(lambda x: x * double(1.5))(1.0) == 3
    assert jax.vmap(double)(jnp.arange(2.0)).tolist() == [0, 2]


def test_it_compiles_once_for_a_shape(double):
    double(jnp.array(1.5))
    before = count_programs(double)
    double(jnp.array(2.5))
    assert count_programs(double) == before
    double(jnp.ones(7))
    assert count_programs(double) == before + 1


def made(double, arguments):
    """Wait for the program of some arguments, as a call does, and count."""
    double(arguments)
    return count_programs(double)


def test_what_was_compiled_ahead_is_found(double):
    before = count_programs(double)
    double.compile_ahead(np.ones(11))
    double.compile_ahead(np.ones(11))
    assert made(double, np.ones(11)) == before + 1
    double.compile_ahead(np.ones(11))  # nothing to do
    assert made(double, np.ones(11)) == before + 1


def test_in_a_scope_that_threads_do_not_have_nothing_is_compiled_ahead(double):
    before = count_programs(double)
    with jax.default_matmul_precision("float32"):
        double.compile_ahead(np.ones(12))
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join(timeout=10 if "compile_there" in thread.name else 0)
        assert count_programs(double) == before
        assert made(double, np.ones(12)) == before + 1
    jax.jit(lambda x: double.compile_ahead(x))(np.ones(13))  # part of another program
    assert count_programs(double) == before + 1


def test_what_the_device_refuses_is_not_taken_for_an_unknown_option():
    def fail(x):
        return jax.pure_callback(_refuse, x, x)

    with pytest.raises(jax.errors.JaxRuntimeError, match="refused"):
        jax.block_until_ready(Compiled(fail)(jnp.ones(())))


def _refuse(x):
    raise ValueError("refused")


@pytest.mark.parametrize("least", [True, False])
def test_options_are_for_the_cpu_and_less_polish_stays_less(least, monkeypatch):
    monkeypatch.setattr(compiled, "_is_set", lambda option: least)
    assert ("xla_backend_optimization_level" in compiled._for_device()) is not least
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiled._for_device() == {}


def test_what_jax_was_told_is_read():
    told = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    assert compiled._is_set("jax_disable_most_optimizations") is told
    assert not compiled._is_set("jax_no_such_option")
