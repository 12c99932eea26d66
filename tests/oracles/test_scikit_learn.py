"""scikit-learn finds the same minimum: strength = 1 / (C Σw)."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jax_logreg import L2, ElasticNet, fit
from tests.problems import K, N, P


@pytest.mark.parametrize("strength", [1e-3, 0.1])
def test_the_same_answer(model, strength, x64):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(N, P)), rng.uniform(0.5, 2, N)
    y = np.arange(N) % (2 if model == "sigmoid" else K)
    rival = LogisticRegression(C=1 / (strength * w.sum()), tol=1e-10, max_iter=10_000)
    rival.fit(X, y, w)
    ours = fit(X, y, penalty=L2(strength), sample_weight=w).raise_if_failed()
    np.testing.assert_allclose(ours.coef.T.reshape(rival.coef_.shape), rival.coef_, atol=1e-5)
    np.testing.assert_allclose(np.atleast_1d(ours.intercept), rival.intercept_, atol=1e-5)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_the_same_elastic_net(model, l1_ratio, x64):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(N, P)), rng.uniform(0.5, 2, N)
    y = np.arange(N) % (2 if model == "sigmoid" else K)
    settings = {"C": 1 / (0.02 * w.sum()), "l1_ratio": l1_ratio, "solver": "saga"}
    rival = LogisticRegression(**settings, tol=1e-11, max_iter=100_000).fit(X, y, w)
    ours = fit(X, y, penalty=ElasticNet(0.02, l1_ratio), sample_weight=w).raise_if_failed()
    theirs = rival.coef_[0] if model == "sigmoid" else rival.coef_.T
    np.testing.assert_allclose(ours.coef, theirs, atol=1e-6)
    np.testing.assert_array_equal(ours.coef == 0, theirs == 0)
    start = theirs, rival.intercept_.reshape(ours.intercept.shape)
    there = fit(X, y, penalty=ElasticNet(0.02, l1_ratio), sample_weight=w, init=start, max_steps=0)
    assert ours.objective <= there.objective + 1e-15
