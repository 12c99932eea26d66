"""Tables that NumPy made and JAX took over hold what a program would have made."""

import gc
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_logreg import L2, LogisticRegression, fit, fit_many, infer
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.inference import information
from jax_logreg.objective.dense_features import (
    aligned_copy,
    aligned_empty,
    float32_on_cpu,
    is_on_one_cpu,
    to_device,
)
from jax_logreg.objective.objective import make_objective
from jax_logreg.solvers.lbfgs import LBFGS


@pytest.mark.parametrize("shape", [(1,), (3, 5), (1000, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_an_empty_table_begins_where_jax_can_take_it_over(shape, dtype, x64):
    made = aligned_empty(shape, dtype)
    assert made.shape == shape
    assert made.dtype == dtype
    assert made.ctypes.data % 64 == 0
    made[...] = 3
    np.testing.assert_array_equal(jax.device_put(made), np.full(shape, 3, dtype))


def test_the_float32_copy_is_that_of_a_program(x64):
    X = jnp.asarray(np.random.default_rng(0).normal(size=(50, 4)) * [1e-50, 1, 1e30, 1e300])
    copy = float32_on_cpu(X)
    assert copy.devices() == X.devices()
    np.testing.assert_array_equal(copy, X.astype(jnp.float32))
    assert X.dtype == jnp.float64  # left as it was


def test_only_a_known_table_on_one_device_is_copied_outside_a_program(x64):
    X = jnp.ones((8, 2))
    seen = []
    jax.jit(lambda X: seen.append(is_on_one_cpu(X)))(X)
    assert seen == [False]
    assert is_on_one_cpu(X)
    assert not is_on_one_cpu(np.ones(2))
    both = NamedSharding(Mesh(np.array(jax.devices()[:2]), "rows"), PartitionSpec("rows"))
    assert not is_on_one_cpu(jax.device_put(X, both))


@pytest.mark.parametrize("classes", [2, 3])
def test_an_oracle_rounds_alike_inside_a_program_and_outside(classes, x64):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)), np.eye(classes)[rng.integers(0, classes, 30)]
    F = make_objective(X, Y, L2(0.1), sample_weight=rng.uniform(size=30))
    oracle = ModelOracle(F)
    inside = jax.jit(lambda oracle: oracle.with_float32_copy().float32_copy)(oracle)
    outside = oracle.with_float32_copy().float32_copy
    assert jax.tree.structure(inside) == jax.tree.structure(outside)
    for a, b in zip(jax.tree.leaves(inside), jax.tree.leaves(outside), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        np.testing.assert_array_equal(a, b)


def test_entries_beyond_float32_are_led_by_float64_alone(x64):
    """A column of 1e300 is infinite in float32; the fit goes on without it, and says nothing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) * [1.0, 1.0, 1e150]
    y = (X[:, 0] + rng.logistic(size=200) > 0).astype(int)
    result = fit(X, y, penalty=L2(0.1), solver=LBFGS("diagonal", float32_steps=50))
    plain = fit(X, y, penalty=L2(0.1), solver=LBFGS("diagonal"))
    assert result.status == plain.status
    np.testing.assert_allclose(result.coef, plain.coef, rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_table_is_taken_over_where_it_can_be(dtype, x64):
    table = aligned_copy(np.arange(2**19).reshape(-1, 4), dtype)
    assert to_device(table, dtype).unsafe_buffer_pointer() == table.ctypes.data
    rows = table[16:]  # of 16 or 32 bytes
    assert to_device(rows, dtype).unsafe_buffer_pointer() == rows.ctypes.data
    for other in (table[1:], table[:, :3], table.T, table.astype(int), table.astype(">f8")):
        array = to_device(other, dtype)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, other)
        assert not np.shares_memory(np.asarray(array), table)


@pytest.mark.parametrize("rows", [100, 2**17])
def test_an_answer_does_not_change_with_the_table(rows, x64):
    """Whoever lent the memory of X may change it once the fit has returned."""
    X = aligned_copy(np.random.default_rng(0).normal(size=(rows, 4)), float)
    y = (X[:, 0] > np.random.default_rng(1).logistic(size=rows)).astype(int)
    result, expected = fit(X, y), fit(X.copy(), y)
    X[...] = np.nan
    np.testing.assert_allclose(result.coef, expected.coef)
    np.testing.assert_allclose(result.newton_decrement, expected.newton_decrement, atol=1e-12)


_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def memory(kind):
    """This process's resident memory in bytes, now (VmRSS) or at its peak (VmHWM)."""
    return 1024 * int(re.search(rf"{kind}:\s+(\d+)", _STATUS.read_text())[1])


def peak_of(door, X, y):
    """The peak of a second run of a door, whose programs are compiled, in tables beyond X."""
    door(X, y)
    gc.collect()
    _CLEAR.write_text("5")  # sets the peak to what is used now
    before = memory("VmRSS")
    door(X, y)
    return (memory("VmHWM") - before) / X.nbytes


DOORS = {
    "fit": lambda X, y: fit(X, y, penalty=L2(0.1)),
    "fit_many": lambda X, y: fit_many(X, y, penalty=L2(np.array([0.1, 1.0]))),
    "estimator": lambda X, y: LogisticRegression().fit(X, y) and None,
    "infer": lambda X, y: infer(fit(X, y), X, y),
}
# A copy of X where it cannot be taken over; the rest is what the steps of a fit need.
CASES = [
    ("fit", float, True, 0.5),
    ("fit", float, False, 1.5),
    ("fit_many", float, False, 2.0),
    ("estimator", float, False, 1.8),
    ("estimator", np.float32, False, 3.0),  # a float64 copy is two tables
    ("infer", float, False, 2.0),
]


@pytest.mark.skipif(not _CLEAR.exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(("door", "dtype", "aligned", "bound"), CASES)
def test_the_peak_beyond_a_table(door, dtype, aligned, bound, x64, monkeypatch):
    monkeypatch.setattr(information, "_BLOCK_ENTRIES", 2**18)  # as small as the table here
    rng = np.random.default_rng(0)
    rows, columns = 150_000, 24 if door == "infer" else 64
    first = 0 if aligned else 1  # one entry further on, no table is aligned
    X = aligned_empty((rows * columns + first,), dtype)[first:].reshape(rows, columns)
    X[...] = rng.standard_normal(X.shape, dtype=np.float32)
    y = (X[:, 0] + rng.logistic(size=rows) > 0).astype(int)
    assert (X.ctypes.data % 64 == 0) == aligned
    assert peak_of(DOORS[door], X, y) < bound
