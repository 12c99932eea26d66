"""A batch of fits is as many single ones, each with its own verdict."""

import numpy as np
import pytest

from jax_logreg import L2, ElasticNet, Status, fit, fit_many
from tests.problems import OVERSHOOT_X, OVERSHOOT_Y


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = (X[:, 0] + rng.logistic(size=50) > 0) * 1.0
    return X, y, rng.multinomial(50, np.full(50, 0.02), size=5).astype(float)


def test_resamples_are_those_of_single_fits(data, x64):
    X, y, counts = data
    tol = 1e-12  # they start from different points, and end within tol of one
    many = fit_many(X, y, sample_weight=counts, tol=tol)
    assert many.coef.shape == (5, 2)
    for i, weight in enumerate(counts):
        one = fit(X, y, sample_weight=weight, tol=tol)
        assert many.status[i] == one.status
        np.testing.assert_allclose(many.coef[i], one.coef, atol=1e-9)
        np.testing.assert_allclose(many.newton_decrement[i], one.newton_decrement, atol=1e-9)
        assert many.gradient_norm[i] <= tol


def test_where_whole_steps_diverge_a_search_is_made(x64):
    """Undamped Newton leaves this table for infinity; most fits of the batch are like it."""
    X, y = np.asarray(OVERSHOOT_X), np.asarray(OVERSHOOT_Y)
    many = fit_many(np.stack([X, X]), y)
    assert many.status.tolist() == [Status.CONVERGED] * 2
    np.testing.assert_allclose(many.coef[1], fit(X, y).coef, atol=1e-6)


def test_one_bad_fit_spoils_no_other(data, x64):
    """Separated, rank deficient (a column doubled by its weight), and ordinary, in one call."""
    X, y, _ = data
    apart = np.where((X[:, 0] > 0) == (y == 1), 1.0, 0.0)
    two_rows = np.zeros(50)
    two_rows[[np.argmax(y == 1), np.argmax(y == 0)]] = 1
    many = fit_many(X, y, sample_weight=np.stack([apart, np.ones(50), two_rows]), penalty=None)
    assert many.status.tolist() == [Status.SEPARATED, Status.CONVERGED, Status.SEPARATED]
    ridge = fit_many(X[:, [0, 0]], y, sample_weight=np.ones((2, 50)))
    assert ridge.status.tolist() == [Status.NOT_UNIQUE] * 2
    np.testing.assert_allclose(ridge.coef[0], fit(X[:, [0, 0]], y).coef, atol=1e-8)


@pytest.mark.parametrize("what", ["strength", "labels", "table", "offset"])
def test_any_argument_may_vary(what, data, x64):
    X, y, _ = data
    rng = np.random.default_rng(1)
    varied = {
        "strength": {"penalty": L2(np.array([0.01, 0.1, 1.0]))},
        "labels": {"y": np.stack([y, 1 - y, rng.integers(0, 2, 50)])},
        "table": {"X": np.stack([X, 2 * X, X[::-1]])},
        "offset": {"offset": rng.normal(size=(3, 50))},
    }[what]
    arguments = {"X": X, "y": y, "penalty": L2(0.05)} | varied
    many = fit_many(**arguments)
    for i in range(3):
        mine = dict(arguments)
        for name, value in varied.items():
            mine[name] = L2(value.strength[i]) if name == "penalty" else value[i]
        np.testing.assert_allclose(many.coef[i], fit(**mine).coef, atol=1e-8)


def test_softmax_folds(data, x64):
    X, _, counts = data
    y = np.arange(50) % 3
    many = fit_many(X, y, sample_weight=counts > 0, penalty=L2(0.1))
    assert many.coef.shape == (5, 2, 3)
    one = fit(X, y, sample_weight=(counts > 0)[1], penalty=L2(0.1))
    np.testing.assert_allclose(many.coef[1], one.coef, atol=1e-8)


def test_labels_mean_the_same_where_there_are_as_many_fits_as_rows(data, x64):
    X, y, _ = data
    labels = np.stack([np.roll(y, shift) for shift in range(50)])
    many, fewer = (fit_many(X, Y, penalty=L2(0.1)) for Y in (labels, labels[:-1]))
    np.testing.assert_allclose(many.coef[:-1], fewer.coef, atol=1e-7)
    one_each = fit_many(X[:6], np.eye(6), penalty=L2(0.1))
    assert one_each.coef.shape == (6, 2)
    soft = fit_many(X[:6], np.eye(6)[None], penalty=L2(0.1))
    np.testing.assert_allclose(soft.coef[0], fit(X[:6], np.eye(6), penalty=L2(0.1)).coef, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"y": np.ones((2, 50))}, "y of fit 0 shows no row of class 0.*such fits, 2 here: 0, 1"),
        ({"y": np.ones(50), "sample_weight": np.ones((2, 50))}, "of fit 0 .* class 0"),
        ({"sample_weight": np.stack([np.ones(50), np.arange(50) == 0])}, "of fit 1 .* no row"),
        ({"y": np.stack([np.arange(50) % 3, np.arange(50) % 2])}, "of fit 1 .* class 2"),
        ({}, "leading axis.*absent"),
        ({"sample_weight": np.ones((2, 50)), "offset": np.zeros((3, 50))}, "leading axis"),
        ({"sample_weight": np.ones((2, 49))}, r"sample_weight must have shape \(2, 50\)"),
        ({"sample_weight": -np.ones((2, 50))}, "sample_weight.*negative"),
        ({"penalty": L2(np.array([0.1, -1.0]))}, "strength must not be negative"),
        ({"y": np.full((2, 50), 0.5) * 3}, "whole numbers|y must"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, named, data, x64):
    X, y, _ = data
    with pytest.raises(ValueError, match=named):
        fit_many(**({"X": X, "y": y} | arguments))


@pytest.mark.parametrize("ratios", [[0.0, 0.0], [0.0, 0.5]])
def test_l1_ratios_that_vary_are_refused_by_name(ratios, x64):
    X, y = np.arange(6.0).reshape(-1, 1), np.array([0, 0, 1, 0, 1, 1])
    with pytest.raises(ValueError, match=r"ElasticNet\(...\), but .* smooth penalty"):
        fit_many(X, y, penalty=ElasticNet(0.1, l1_ratio=np.array(ratios)))
