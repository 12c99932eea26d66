"""firthmodels finds the same penalised maximum, and the same profile intervals."""

import numpy as np
import pytest
from firthmodels import FirthLogisticRegression

from jax_logreg import Firth, fit, infer, profile_interval


@pytest.mark.parametrize("separated", [False, True])
def test_coefficients_and_profile_intervals_agree(separated, x64):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 3))
    y = (X @ [1.0, -1.0, 0.0] + rng.logistic(size=40) > 0).astype(float)
    if separated:  # a dummy that occurs with ones alone
        X[:, 2] = (y == 1) & (rng.uniform(size=40) < 0.4)
    theirs = FirthLogisticRegression(gtol=1e-10, max_iter=200).fit(X, y)
    ours = fit(X, y, penalty=Firth(), tol=1e-10).raise_if_failed()
    np.testing.assert_allclose(ours.coef, theirs.coef_, rtol=1e-7)
    np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-7)
    inference = infer(ours, X, y, penalty=Firth())
    np.testing.assert_allclose(profile_interval(inference), theirs.conf_int(method="pl"), rtol=1e-6)
