"""Published tables, as statsmodels carries them in its own tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.stats.tests
from scipy.special import gammaln
from statsmodels.discrete.tests.results.results_discrete import Anes, Spector
from statsmodels.discrete.tests.results.results_glm_logit_constrained import (
    results_noconstraint_robust,
)
from statsmodels.genmod.tests.results.results_glm import Star98

from jax_logreg import fit, infer, influence, log_likelihood, logits, marginal_effects


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
    found = infer(result, X, y)
    by_class = (6, 6)
    np.testing.assert_allclose(found.standard_error.reshape(by_class), published.bse, rtol=1e-7)
    np.testing.assert_allclose(found.z.reshape(by_class), published.z, rtol=1e-6)
    np.testing.assert_allclose(found.p_value.reshape(by_class), published.pvalues, atol=2e-8)
    ends = found.confidence_interval().reshape(*by_class, 2).swapaxes(0, 1)
    np.testing.assert_allclose(ends, published.conf_int, atol=5e-6)  # printed so
    for name, value in {
        "null_log_likelihood": published.llnull, "aic": published.aic, "bic": published.bic,
        "mcfadden_r2": published.prsquared,
    }.items():  # fmt: skip
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-9, err_msg=name)
    test = found.likelihood_ratio_test()
    np.testing.assert_allclose(test.statistic, published.llr, rtol=1e-9)
    for at_mean, dydx, error in (
        (False, published.margeff_dydx_overall, published.margeff_dydx_overall_se),
        (True, published.margeff_dydx_mean, published.margeff_dydx_mean_se),
    ):
        effects = marginal_effects(found, at_mean=at_mean)
        np.testing.assert_allclose(effects.estimate, dydx, rtol=1e-5)
        np.testing.assert_allclose(effects.standard_error, error, rtol=1e-6)


def test_spector_and_mazzeo_with_the_robust_errors_of_stata(x64):
    """Stata's factor is n/(n − 1); its iteration stopped in the seventh digit."""
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    found = infer(fit(X, y), X, y, covariance="HC0")
    published = results_noconstraint_robust.params_table[:, 1]
    np.testing.assert_allclose(found.standard_error * np.sqrt(32 / 31), published, rtol=3e-7)
    effects = marginal_effects(infer(fit(X, y), X, y))
    np.testing.assert_allclose(effects.estimate, Spector.logit.margeff_nodummy_dydx, rtol=1e-6)
    se = Spector.logit.margeff_nodummy_dydx_se
    np.testing.assert_allclose(effects.standard_error, se, rtol=5e-6)


def test_star98_counts_as_labels_with_weights(x64):
    """Binomial counts, from R's glm: 303 districts, 20 features."""
    data, published = sm.datasets.star98.load_pandas(), Star98()
    X, (above, below) = data.exog.to_numpy(), data.endog.to_numpy().T
    count = above + below
    found = infer(fit(X, above / count, sample_weight=count), X, above / count, sample_weight=count)
    np.testing.assert_allclose(found.estimate, published.params, rtol=1e-7)
    np.testing.assert_allclose(found.standard_error, published.bse, rtol=1e-6)
    np.testing.assert_allclose(found.deviance, published.deviance, rtol=1e-11)
    np.testing.assert_allclose(found.null_deviance, published.null_deviance, rtol=1e-11)
    pearson = np.sum(influence(found).pearson ** 2)
    np.testing.assert_allclose(pearson, published.pearson_chi2, rtol=1e-6)
    ways = np.sum(gammaln(count + 1) - gammaln(above + 1) - gammaln(below + 1))
    np.testing.assert_allclose(found.log_likelihood + ways, published.llf, rtol=1e-12)


def test_finneys_vasoconstriction_with_the_diagnostics_of_sas(x64):
    """The rows that Pregibon (1981) introduced his diagnostics with."""
    folder = Path(statsmodels.stats.tests.__file__).parent / "results"
    data = pd.read_csv(folder / "binary_constrict.csv", index_col=0)
    printed = pd.read_csv(folder / "results_influence_logit.csv", index_col=0)
    X, y = data[["log_rate", "log_volumne"]].to_numpy(), data["constrict"].to_numpy()
    rows = influence(infer(fit(X, y), X, y))
    for name, column in {
        "pearson": "resid_pearson", "deviance": "resid_deviance",
        "leverage": "hat_matrix_diagonal", "difdev": "d_deviance", "difchisq": "d_pearson_chi2",
    }.items():  # fmt: skip
        np.testing.assert_allclose(
            getattr(rows, name), printed[column], rtol=1e-3, atol=6e-5, err_msg=name
        )
