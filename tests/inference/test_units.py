"""Inference is the same in any units of the columns."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from jax_logreg import (
    Firth,
    delta,
    fit,
    hypothesis_test,
    infer,
    influence,
    marginal_effects,
    predict_interval,
    profile_interval,
)
from jax_logreg.inference.hypothesis_tests import restricted_estimate

# Shifts and scales of the first column.
UNITS = {
    "float64": [(0, 1e150), (0, 1e-150), (1e8, 1), (1e6, 1e-20)],
    "float32": [(0, 1e15), (0, 1e-15), (100, 1)],
}


def table(K=2):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    return X, np.argmax(X @ rng.normal(size=(2, K)) + rng.gumbel(size=(50, K)), axis=1)


def statistics(found, X, units):
    """What inference says of the coefficients, in units of one."""
    c = found.fit.num_contrasts
    p, scale = 2 * c, np.repeat(units, c)
    first = found.names[0]
    rows, effects = influence(found), marginal_effects(found)
    restricted = restricted_estimate(found, first, 0.3 / units[0])
    product = delta(found, lambda coef, _: (coef.T * units).T)
    return {
        "z": found.z[:p],
        "error": found.standard_error[:p] * scale,
        "degrees": found.degrees_of_freedom,
        "wald": hypothesis_test(found, method="wald").statistic,
        "ratio": hypothesis_test(found, [first]).statistic,
        "profile": profile_interval(found, parameters=[first]) * units[0],
        "restricted": restricted.estimate[:p] * scale,
        "restricted error": restricted.standard_error[:p] * scale,
        "leverage": rows.leverage,
        "dfbetas": rows.dfbetas[:, :p],
        "delta": product.standard_error,
        "interval": predict_interval(found, X[:5])[1],
        "effects": (effects.estimate.T * units).T,
        "effects error": (effects.standard_error.T * units).T,
    }


@pytest.mark.parametrize("penalty", [None, Firth()], ids=["likelihood", "firth"])
def test_every_statistic_is_the_same_in_any_units(penalty, dtype, model):
    X, y = table(2 if model == "sigmoid" else 3)
    for shift, scale in UNITS[dtype.name]:
        units = np.array([scale, 1.0])
        offset = np.array([shift, 0.0])
        there = ((X + offset) * units).astype(dtype)
        here = there / units - offset  # rounded as they are
        a, b = (
            statistics(
                infer(fit(Z, y, penalty=penalty), Z, y, penalty=penalty, covariance="HC0"), Z, s
            )
            for Z, s in ((there, units), (here, np.ones(2)))
        )
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=1e-9, err_msg=name)


def test_score_tests_are_the_same_in_any_units(x64):
    X, y = table()
    found = []
    for scale in (1.0, 1e120):
        Z = X * [scale, 1.0]
        inference = infer(fit(Z, y), Z, y)
        product = hypothesis_test(inference, added_columns=Z[:, :1] * Z[:, 1:], method="score")
        robust = hypothesis_test(inference, "x0", method="score", covariance="HC0")
        found.append([product.statistic, robust.statistic])
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_a_variance_that_leaves_the_range_of_floats_is_never_zero(x64):
    X, y = table()
    expected = infer(fit(X, y), X, y)
    for scale in (1e200, 1e-200):
        Z = X * [scale, 1.0]
        found = infer(fit(Z, y), Z, y)
        np.testing.assert_allclose(
            found.standard_error[0] * scale, expected.standard_error[0], rtol=1e-6
        )
        with pytest.raises(ValueError, match="variance of x0 leaves"):
            _ = found.covariance


def test_a_far_entry_moves_no_other_row(x64):
    """A logit of 1e30 moves by its own rounding; beyond 1e152 its square overflows."""
    X, y = table()
    found, side = [], float(np.sign(fit(X, y).coef[0]) * (2 * y[0] - 1))
    for far in (1e5, 1e30):
        X[0, 0] = far * side
        found.append(infer(fit(X, y), X, y).z)
    np.testing.assert_allclose(*found, rtol=1e-6)
    X[0, 0] = 1e200 * side
    with pytest.raises(ValueError, match=r"column 0 of X has an entry 1.0e\+200 times"):
        infer(fit(X, y), X, y)


@pytest.mark.parametrize("far", [1e30, 1e200])
def test_a_far_row_of_weight_zero_is_a_deleted_row(far, x64):
    X, y = table()
    expected = infer(fit(X[1:], y[1:]), X[1:], y[1:])
    X[0] = far
    weight = np.r_[0.0, np.ones(len(y) - 1)]
    found = infer(fit(X, y, sample_weight=weight), X, y, sample_weight=weight)
    np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-9)


def test_a_sparse_fit_is_known_by_its_dense_table(x64):
    """Sparse columns are scaled by their largest entry if that is not far from all others, dense
    ones by an ordinary one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = (X[:, 0] + rng.logistic(size=80) > 0).astype(int)
    X = np.where(rng.random(X.shape) < 0.5, X, 0) * [1e6, 1, 1e-6]
    X[3] = [1e8 * (1 - 2 * y[3]), X[3, 1], 1e-4]
    for solver in ("auto", "lbfgs"):
        assert infer(fit(csr_array(X), y, solver=solver), X, y).rank == 4


def test_a_constant_column_depends_on_the_intercept_however_far(x64):
    X, y = table()
    Z = np.column_stack([X, np.full(len(X), 1e8)])
    found = infer(fit(Z, y), Z, y)
    assert np.isnan(found.z).tolist() == [False, False, True, True]
    assert found.dependent == [["x2", "intercept"]]
