"""Published tables, as statsmodels carries them in its own tests."""

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.discrete.tests.results.results_discrete import Anes, Spector

from jax_logreg import fit, log_likelihood, logits


def test_spector_and_mazzeo_to_the_published_digits(x64):
    """Binary: Greene's table, from Stata."""
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    result = fit(X, y, tol=1e-12).raise_if_failed()
    published = Spector.logit
    found = np.append(result.coef, result.intercept)
    np.testing.assert_allclose(found, published.params, rtol=2e-6)
    total = log_likelihood(logits(X, result.coef, result.intercept), y)
    # The table stopped in the seventh digit; run to its end, statsmodels says what we say.
    assert float(total) == pytest.approx(published.llf, abs=1e-6)
    design = np.column_stack([X, np.ones(len(X))])
    theirs = sm.Logit(y, design).fit(disp=0, tol=1e-14)
    assert float(total) == pytest.approx(theirs.llf, abs=1e-11)


def test_anes96_to_the_published_digits(x64):
    """Seven classes: Stata's contrasts against class 0, checked against R's nnet."""
    data = sm.datasets.anes96.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    result = fit(X, y, tol=1e-10).raise_if_failed()
    published = Anes.mnlogit_basezero
    found = np.vstack([result.coef, result.intercept])
    contrasts = found[:, 1:] - found[:, :1]
    # Printed to eight significant digits at most; the smallest entries to five.
    np.testing.assert_allclose(contrasts, published.params, rtol=1e-5, atol=5e-8)
    eta = logits(X, result.coef, result.intercept)
    total = log_likelihood(eta, np.eye(7)[y.astype(int)])
    assert float(total) == pytest.approx(published.llf, abs=1e-7)
