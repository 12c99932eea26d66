"""A pass by row blocks says what a pass at once says."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_logreg import L2, fit, sigmoid
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.objective import dense_features
from jax_logreg.objective.objective import make_objective
from tests.problems import random_theta

P = 16


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 rows at most, of any table."""
    for name, value in {
        "_MIN_PASS_BYTES": 0,
        "_MIN_ROWS_PER_PASS": 0,
        "_PASS_BYTES": 64 * 8 * P,
    }.items():
        monkeypatch.setattr(dense_features, name, value)
    monkeypatch.setattr(dense_features, "last_cache_bytes", lambda: 0)


def objective(n, *, weighted, y="share", intercept=True):
    rng = np.random.default_rng(n)
    labels = {"share": rng.uniform(size=n), "bits": rng.integers(0, 2, n)}[y]
    F = make_objective(
        rng.normal(size=(n, P)),
        labels,
        L2(jnp.asarray(0.1)),
        sample_weight=rng.uniform(size=n) if weighted else None,
        offset=rng.normal(size=n) if weighted else None,
        fit_intercept=intercept,
    )
    return replace(F, y=jnp.asarray(labels, np.int8)) if y == "bits" else F


def by_blocks(F):
    X = F.X if isinstance(F.X, jax.Array) else F.X.array
    F = replace(F, X=dense_features.as_features(X, by_blocks=True))
    assert F.X.block_rows
    return F


@pytest.mark.parametrize(
    "F",
    [
        pytest.param(partial(objective, 192, weighted=False), id="blocks without a rest"),
        pytest.param(partial(objective, 203, weighted=False, y="bits"), id="bits and a rest"),
        pytest.param(partial(objective, 203, weighted=True, intercept=False), id="weights"),
    ],
)
def test_blocks_say_the_same_as_all_rows(F, x64, small_blocks):
    F = F()
    theta, d = random_theta(F), random_theta(F, 1)

    @jax.jit
    def asked(F):
        oracle = ModelOracle(F)
        point = oracle.evaluate(theta)
        both, squares = oracle.evaluate(theta, d), oracle.preconditioner("diagonal")
        return point, oracle.hessian_operator(point)(d), both, squares

    close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    jax.tree.map(close, asked(by_blocks(F)), asked(F))


def test_a_number_that_is_none_is_not_lost_between_blocks(x64, small_blocks):
    F = objective(203, weighted=False)
    oracle = ModelOracle(by_blocks(replace(F, X=F.X.array.at[100, 3].set(jnp.nan))))
    point = oracle.evaluate(random_theta(F))
    hvp = oracle.hessian_operator(point)(random_theta(F, 1))
    assert all(np.isnan(x).all() for x in (point.value, point.gradient, *hvp[1:]))


def test_blocks_are_for_large_tables_of_long_rows_on_one_cpu():
    rows = dense_features.rows_per_block
    assert 0 < rows(10**6, 20, 8) * 20 * 8 <= 2**22 + 20 * 64
    assert rows(20_000, 1000, 8) % 8 == 0
    assert not rows(10**6, 20, 4)  # short rows
    assert not rows(10**4, 20, 8)  # a table that the cache holds
    assert not rows(10**3, 10**5, 8)  # few rows


@pytest.mark.parametrize(
    ("columns", "missing", "is_blocked"), [(40, 0, False), (40, 1, True), (20, 0, True)]
)
def test_a_wide_table_that_the_last_cache_holds_is_taken_at_once(
    columns, missing, is_blocked, monkeypatch, small_blocks
):
    X = np.zeros((203, columns))
    monkeypatch.setattr(dense_features, "last_cache_bytes", lambda: X.nbytes - missing)
    features = dense_features.as_features(X, by_blocks=True)
    assert isinstance(features, dense_features.BlockedFeatures) == is_blocked


def test_rows_on_several_devices_stay_there(x64, small_blocks):
    F = objective(192, weighted=False)
    mesh = Mesh(np.asarray(jax.devices()[:2]), "rows")
    apart = jax.device_put(F.X.array, NamedSharding(mesh, PartitionSpec("rows")))
    assert dense_features.is_on_one_cpu(F.X.array)
    assert not dense_features.is_on_one_cpu(apart)


@pytest.mark.parametrize("kind", [np.int64, bool, float])
def test_a_large_fit_is_the_answer_by_numpy(kind, x64):
    n = dense_features._MIN_PASS_BYTES // (8 * P) + 5
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, P))
    y = (X[:, 0] + rng.logistic(size=n) > 0).astype(kind)
    result = fit(X, y, penalty=L2(0.01), tol=1e-8)
    assert result.converged
    residual = sigmoid(X @ result.coef + result.intercept) - y
    slope = np.asarray(residual @ X / n + 0.01 * result.coef)
    np.testing.assert_allclose([*slope, residual.mean()], 0, atol=1.1e-8)


def test_many_labels_that_are_not_bits_are_refused_as_few_are(x64):
    n = 2**18 + 1
    y = np.zeros(n, int)
    y[7] = -1
    with pytest.raises(ValueError, match=r"y\[7\] is -1"):
        fit(np.ones((n, 1)), y)


def test_many_labels_that_are_known_inside_jit_are_looked_at_there(x64):
    n = 2**18 + 1
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 1))
    y = jnp.asarray(X[:, 0] + rng.logistic(size=n) > 0)
    result = jax.jit(lambda strength: fit(X, y, penalty=L2(strength)))(0.01)
    assert result.converged
