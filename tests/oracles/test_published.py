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
    results_constraint1,
    results_constraint2,
    results_constraint2_robust,
    results_noconstraint_robust,
)
from statsmodels.genmod.tests.results.results_glm import Star98

from jax_logreg import fit, infer, influence, log_likelihood, logits, marginal_effects
from jax_logreg.inference.hypothesis_tests import restricted_estimate


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


SPECTOR_EFFECTS = {
    "nodummy_": {},
    "dummy_": {"dummies": True},
    "count_": {"counts": ["tuce"]},
    "count_dummy_": {"dummies": ["psi"], "counts": True},
}


@pytest.mark.parametrize("kind", SPECTOR_EFFECTS)
@pytest.mark.parametrize("method", ["dydx", "dyex", "eydx", "eyex"])
@pytest.mark.parametrize("at", ["overall", "mean", "median", "zero"])
def test_the_marginal_effects_of_stata(kind, method, at, x64):
    """Every table of Spector and Mazzeo that statsmodels carries; a median of 0 is a share of 0."""
    published = Spector.logit
    names = [f"margeff_{kind}{method}{'' if at == 'overall' else at}"]
    names.append(f"margeff_{kind}{method}{at}")
    name = next((name for name in names if hasattr(published, name)), None)
    if name is None:
        return
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    inference = infer(fit(X, y), X, y, feature_names=["gpa", "tuce", "psi"])
    effects = marginal_effects(inference, at=at, method=method, **SPECTOR_EFFECTS[kind])
    np.testing.assert_allclose(effects.estimate, getattr(published, name), rtol=2e-5, atol=2e-7)
    error = getattr(published, f"{name}_se")
    np.testing.assert_allclose(effects.standard_error, error, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["nodummy", "dummy"])
@pytest.mark.parametrize(
    ("name", "at", "values"),
    [("atexog1", "overall", {"gpa": 2.0, "psi": 1.0}), ("atexog2", "mean", {1: 21.0, "psi": 0})],
)
def test_the_marginal_effects_of_stata_at_chosen_values(kind, name, at, values, x64):
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    inference = infer(fit(X, y), X, y, feature_names=["gpa", "tuce", "psi"])
    effects = marginal_effects(inference, at=at, values=values, dummies=kind == "dummy")
    published = [getattr(Spector.logit, f"margeff_{kind}_{name}{end}") for end in ("", "_se")]
    np.testing.assert_allclose(effects.estimate, published[0], rtol=1e-5)
    np.testing.assert_allclose(effects.standard_error, published[1], rtol=2e-5)


@pytest.mark.parametrize("method", ["dydx", "eydx"])
def test_the_marginal_effects_of_a_dummy_on_seven_classes(method, x64):
    data, published = sm.datasets.anes96.load_pandas(), Anes.mnlogit_basezero
    X, y = np.column_stack([data.exog, data.data["vote"]]), data.endog.to_numpy()
    inference = infer(fit(X, y, tol=1e-9), X, y)
    effects = marginal_effects(inference, method=method, dummies=["x5"])
    estimate = getattr(published, f"margeff_{method}_dummy_overall")
    error = getattr(published, f"margeff_{method}_dummy_overall_se")
    np.testing.assert_allclose(effects.estimate, estimate, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(effects.standard_error, error, atol=1e-6)


@pytest.mark.parametrize(
    ("published", "restriction", "value", "covariance"),
    [
        (results_constraint1, "gpa", 2.8, "observed"),
        (results_constraint2, [1, 0, -1, 0], 0, "observed"),
        (results_constraint2_robust, [1, 0, -1, 0], 0, "HC0"),
    ],
)
def test_spector_and_mazzeo_under_the_constraints_of_stata(
    published, restriction, value, covariance, x64
):
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    inference = infer(fit(X, y), X, y, feature_names=["gpa", "tuce", "psi"])
    ours = restricted_estimate(inference, restriction, value, covariance=covariance)
    table = np.asarray(published.params_table)
    factor = np.sqrt(32 / 31) if covariance == "HC0" else 1
    np.testing.assert_allclose(ours.estimate, table[:, 0], rtol=1e-6)
    error = np.nan_to_num(table[:, 1])
    np.testing.assert_allclose(factor * ours.standard_error, error, rtol=1e-6, atol=1e-12)
