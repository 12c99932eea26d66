"""Scaled columns keep their digits, and the way back is exact."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from jax_logreg import L2, ElasticNet, fit
from jax_logreg.fitting.column_scaling import choose_scaling, scale_by_largest


def test_no_square_of_a_scaled_column_overflows():
    X = np.array([[1e300, 0.0, -5e-324], [-1e300, 0.0, 5e-324]])
    unit, divisor = scale_by_largest(X)
    np.testing.assert_array_equal(unit, [[1, 0, -1], [-1, 0, 1]])
    np.testing.assert_array_equal(unit * divisor, X)


def test_columns_of_ordinary_size_keep_their_units():
    X = np.random.default_rng(0).normal(size=(20, 2))
    scaling = choose_scaling(X, centre=True, power=2, strength=0.0)
    assert scaling.transform(X) is X


def test_sparse_columns_are_scaled_but_not_centred():
    X = csr_array([[0.0, 1e9], [2.0, 1e9]])
    scaling = choose_scaling(X, centre=True, power=2, strength=0.0)
    np.testing.assert_array_equal(scaling.centre, 0)
    scaled = scaling.transform(X)
    assert scaled.format == "csr"
    np.testing.assert_array_equal((scaled * scaling.scale).toarray(), X.toarray())


@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_coefficients_return_to_their_units(shape):
    X = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 1e150, 1e-40]
    scaling = choose_scaling(X + 1e12, centre=True, power=2, strength=0.0)
    coef = np.random.default_rng(1).normal(size=shape)
    back, intercept = scaling.to_original(*scaling.to_scaled(coef, np.ones(shape[1:])))
    np.testing.assert_array_equal(back, coef)
    np.testing.assert_allclose(intercept, 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("penalty", "power"), [(L2, 2), (lambda strength, f=None: ElasticNet(strength, 1.0, f), 1)]
)
def test_the_minimum_is_the_same_in_scaled_units(penalty, power, x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) * [1.0, 2.0**12]
    y = (X[:, 0] + rng.logistic(size=60) > 0).astype(int)
    scaling = choose_scaling(X, centre=True, power=power, strength=0.01)
    assert scaling.scale[1] > 1
    factor = scaling.penalty_factor(power)
    scaled = fit(scaling.transform(X), y, penalty=penalty(0.01, factor), tol=1e-12)
    coef, intercept = scaling.to_original(scaled.coef, scaled.intercept)
    plain = fit(X, y, penalty=penalty(0.01), tol=1e-9)
    np.testing.assert_allclose(coef, plain.coef, rtol=1e-6)
    np.testing.assert_allclose(intercept, plain.intercept, rtol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.01])
def test_padded_columns_change_nothing(strength, x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] + rng.logistic(size=60) > 0).astype(int)
    scaling = choose_scaling(X, centre=True, power=2, strength=strength, padding=3)
    factor = scaling.penalty_factor(2)
    penalty = L2(strength, factor) if strength else scaling.padding_penalty()
    padded = fit(scaling.transform(X), y, penalty=penalty, tol=1e-12)
    plain = fit(X, y, penalty=L2(strength), tol=1e-12)
    np.testing.assert_array_equal(padded.coef[2:], 0)
    coef, intercept = scaling.to_original(padded.coef, padded.intercept)
    np.testing.assert_allclose(coef, plain.coef, rtol=1e-10)
    np.testing.assert_allclose(intercept, plain.intercept, rtol=1e-10)
    assert padded.rank - 3 == plain.rank
