"""Tables that NumPy made and JAX took over hold what a program would have made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_logreg import L2, fit
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.objective.dense_features import aligned_empty, float32_on_cpu, is_on_one_cpu
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
