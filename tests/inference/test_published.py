"""Against published tables and against statsmodels, printed digit for printed digit."""

import numpy as np
import pytest
import statsmodels.api as sm

from jax_logreg import fit, hypothesis_test, infer, marginal_effects, predict_interval


def inferred(X, y, **options):
    shared = {k: v for k, v in options.items() if k in ("sample_weight", "offset")}
    result = fit(X, y, tol=1e-7, **shared)
    return infer(result, X, y, **options)


@pytest.fixture(scope="module")
def spector():
    data = sm.datasets.spector.load()
    return np.asarray(data.exog, float), np.asarray(data.endog, float)


def test_spector_and_mazzeo(spector, x64):
    """Greene, *Econometric Analysis*, and Stata's logit: grades after a new way of teaching."""
    found = inferred(*spector, feature_names=["gpa", "tuce", "psi"])
    np.testing.assert_allclose(
        found.estimate, [2.826113, 0.0951577, 2.378688, -13.02135], rtol=5e-7
    )
    np.testing.assert_allclose(
        found.standard_error, [1.262941, 0.1415542, 1.064564, 4.931325], rtol=1e-6
    )
    np.testing.assert_allclose(found.z, [2.24, 0.67, 2.23, -2.64], atol=0.005)
    np.testing.assert_allclose(found.p_value, [0.025, 0.501, 0.025, 0.008], atol=0.0005)
    low, high = found.confidence_interval().T
    np.testing.assert_allclose(low, [0.3507938, -0.1822835, 0.29218, -22.68657], rtol=1e-6)
    np.testing.assert_allclose(high, [5.301432, 0.3725988, 4.465195, -3.35613], rtol=1e-6)
    np.testing.assert_allclose(found.log_likelihood, -12.889633, rtol=1e-7)
    np.testing.assert_allclose(found.mcfadden_r2, 0.3740, atol=5e-5)
    test = found.likelihood_ratio_test()
    np.testing.assert_allclose(test.statistic, 15.40, atol=0.005)
    assert test.degrees_of_freedom == 3
    np.testing.assert_allclose(test.p_value, 0.0015, atol=5e-5)


@pytest.mark.parametrize("kind", ["observed", "HC0", "clustered", "two-way"])
def test_every_covariance_is_that_of_statsmodels(kind, x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3)) * [1, 20, 0.1]
    y = (X @ [1, 0.02, -5] + rng.logistic(size=150) > 0.3).astype(float)
    groups = rng.integers(12, size=150)
    if kind == "two-way":
        groups, kind = np.column_stack([groups, rng.integers(15, size=150)]), "clustered"
    options = {
        "observed": {},
        "clustered": {"cov_type": "cluster", "cov_kwds": {"groups": groups}},
    }.get(kind, {"cov_type": kind})
    theirs = sm.Logit(y, sm.add_constant(X, prepend=False)).fit(
        disp=0, method="newton", tol=1e-14, **options
    )
    ours = inferred(X, y, covariance=kind, groups=groups if kind == "clustered" else None)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(ours.p_value, theirs.pvalues, rtol=1e-6)
    np.testing.assert_allclose(ours.confidence_interval(0.9), theirs.conf_int(0.1), rtol=1e-7)
    R = np.array([[1, 0, 0, 0], [0, 1, 0.5, 0]])
    wald = theirs.wald_test(R, use_f=False, scalar=True)
    test = hypothesis_test(ours, R, method="wald")
    np.testing.assert_allclose(test.statistic, wald.statistic, rtol=1e-7)
    np.testing.assert_allclose(test.p_value, wald.pvalue, rtol=1e-6)


def test_hc3_is_that_of_the_last_least_squares_step(x64):
    """As R's sandwich defines it; statsmodels has it for least squares alone."""
    rng = np.random.default_rng(0)
    X, counts = rng.normal(size=(40, 2)), rng.integers(0, 4, size=40)
    y = (X[:, 0] + rng.logistic(size=40) > 0).astype(float)
    rows = np.repeat(np.arange(40), counts)
    design = sm.add_constant(X[rows], prepend=False)
    theirs = sm.Logit(y[rows], design).fit(disp=0, method="newton", tol=1e-14)
    mu = theirs.predict()
    root = np.sqrt(mu * (1 - mu))
    working = design @ theirs.params + (y[rows] - mu) / root**2
    hc3 = sm.OLS(root * working, root[:, None] * design).fit().cov_HC3
    repeated = inferred(X[rows], y[rows], covariance="HC3")
    np.testing.assert_allclose(repeated.covariance, hc3, rtol=1e-7, atol=1e-12)
    weighted = inferred(X, y, sample_weight=counts, covariance="HC3")
    np.testing.assert_allclose(weighted.covariance, hc3, rtol=1e-7, atol=1e-12)


def test_statistics_weights_and_offsets_are_those_of_statsmodels(x64):
    rng = np.random.default_rng(1)
    X, offset, counts = rng.normal(size=(90, 2)), rng.normal(size=90), rng.integers(1, 4, size=90)
    y = (X @ [1.0, -1.0] + offset + rng.logistic(size=90) > 0).astype(float)
    theirs = sm.GLM(
        y, sm.add_constant(X, prepend=False), sm.families.Binomial(), offset=offset,
        freq_weights=counts,
    ).fit(tol=1e-14)  # fmt: skip
    ours = inferred(X, y, sample_weight=counts, offset=offset)
    np.testing.assert_allclose(ours.standard_error, theirs.bse, rtol=1e-7)
    for mine, other in {
        "log_likelihood": theirs.llf, "deviance": theirs.deviance,
        "null_deviance": theirs.null_deviance, "aic": theirs.aic, "bic": theirs.bic_llf,
    }.items():  # fmt: skip
        np.testing.assert_allclose(getattr(ours, mine), other, rtol=1e-7, err_msg=mine)


def test_softmax_contrasts_are_those_of_statsmodels(x64):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(200, 2))
    y = np.argmax(X @ rng.normal(size=(2, 3)) + rng.gumbel(size=(200, 3)), axis=1)
    theirs = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(
        disp=0, method="newton", tol=1e-14
    )
    ours = inferred(X, y, class_names=["a", "b", "c"])
    np.testing.assert_allclose(ours.estimate.reshape(3, 2), theirs.params, rtol=1e-7)
    np.testing.assert_allclose(ours.standard_error.reshape(3, 2), theirs.bse, rtol=1e-7)
    np.testing.assert_allclose(ours.log_likelihood, theirs.llf, rtol=1e-10)
    np.testing.assert_allclose(ours.null_log_likelihood, theirs.llnull, rtol=1e-9)
    assert ours.names[:2] == ["b: x0", "c: x0"]
    effects = theirs.get_margeff()
    np.testing.assert_allclose(marginal_effects(ours).estimate, effects.margeff[:2], rtol=1e-6)
    np.testing.assert_allclose(
        marginal_effects(ours).standard_error, effects.margeff_se[:2], rtol=1e-5
    )


@pytest.mark.parametrize("at_mean", [False, True])
def test_marginal_effects_are_those_of_statsmodels(at_mean, spector, x64):
    X, y = spector
    theirs = sm.Logit(y, sm.add_constant(X, prepend=False)).fit(disp=0, method="newton", tol=1e-14)
    effects = theirs.get_margeff(at="mean" if at_mean else "overall")
    ours = marginal_effects(inferred(X, y), at_mean=at_mean)
    np.testing.assert_allclose(ours.estimate, effects.margeff, rtol=1e-7)
    np.testing.assert_allclose(ours.standard_error, effects.margeff_se, rtol=1e-6)
    np.testing.assert_allclose(ours.confidence_interval(), effects.conf_int(), rtol=1e-6)


@pytest.mark.parametrize("method", ["dydx", "eydx"])
@pytest.mark.parametrize("at", ["overall", "mean", "median", "zero"])
def test_effects_on_three_classes_are_those_of_statsmodels(method, at, x64):
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.normal(size=120), rng.integers(0, 4, size=120)]) * 1.0
    y = np.argmax(X @ rng.normal(size=(2, 3)) + rng.gumbel(size=(120, 3)), axis=1)
    theirs = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(
        disp=0, method="newton", tol=1e-14
    )
    effects = theirs.get_margeff(at=at, method=method)
    found = marginal_effects(inferred(X, y), at=at, method=method)
    np.testing.assert_allclose(found.estimate, effects.margeff[:2], rtol=1e-6)
    np.testing.assert_allclose(found.standard_error, effects.margeff_se[:2], rtol=1e-5)


@pytest.mark.parametrize("method", ["dydx", "eydx", "dyex", "eyex"])
@pytest.mark.parametrize("at", ["overall", "mean", "median", "zero"])
def test_effects_on_two_classes_of_softmax_are_those_of_the_sigmoid(method, at, spector, x64):
    X, y = spector
    effects = []
    for K in (None, 2):
        found = infer(fit(X, y, num_classes=K, tol=1e-7), X, y, class_names=["no", "yes"])
        options = {"counts": [1], "dummies": ["x2"]} if method[2:] == "dx" else {}
        effects.append(marginal_effects(found, at=at, method=method, values={"x0": 3}, **options))
    sigmoid, softmax = effects
    np.testing.assert_allclose(softmax.estimate[:, 1], sigmoid.estimate, rtol=1e-6)
    np.testing.assert_allclose(softmax.standard_error[:, 1], sigmoid.standard_error, rtol=1e-6)


def test_a_count_on_three_classes_has_the_mean_of_the_steps_up_and_down(x64):
    rng = np.random.default_rng(3)
    X = rng.integers(1, 5, size=(120, 2)) * 1.0
    y = np.argmax(0.3 * X @ rng.normal(size=(2, 3)) + rng.gumbel(size=(120, 3)), axis=1)
    found = inferred(X, y)
    effects = marginal_effects(found, counts=True, method="eydx")
    low, high = (predict_interval(found, X + np.array([step, 0]))[0] for step in (-1, 1))
    np.testing.assert_allclose(effects.estimate[0], np.mean(np.log(high / low) / 2, axis=0))


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_effects_of_frequency_weights_are_those_of_repeated_rows(at, x64):
    rng = np.random.default_rng(4)
    X, counts = rng.normal(size=(40, 2)), rng.integers(0, 4, size=40)
    offset = rng.normal(size=40)
    y = (X[:, 0] + offset + rng.logistic(size=40) > 0).astype(float)
    rows = np.repeat(np.arange(40), counts)
    weighted = inferred(X, y, sample_weight=counts, offset=offset)
    repeated = inferred(X[rows], y[rows], offset=offset[rows])
    for method in ("dydx", "eyex"):
        one, two = (marginal_effects(i, at=at, method=method) for i in (weighted, repeated))
        np.testing.assert_allclose(one.estimate, two.estimate, rtol=1e-8)
        np.testing.assert_allclose(one.standard_error, two.standard_error, rtol=1e-8)


def test_a_bad_question_about_effects_is_refused_by_name(spector, x64):
    found = inferred(*spector, feature_names=["gpa", "tuce", "psi"])
    for options, words in (
        ({"at": "modus"}, "at must be one of 'overall'.*'modus'"),
        ({"method": "xy"}, "method must be one of 'dydx'.*'xy'"),
        ({"values": {"dose": 1}}, r"values.*\['dose'\].*gpa"),
        ({"dummies": ["psi"], "method": "eyex"}, "method='eyex'.*use 'eydx'"),
        ({"counts": [7]}, r"counts.*\[7\]"),
    ):
        with pytest.raises(ValueError, match=words):
            marginal_effects(found, **options)


def test_prediction_intervals_of_the_sigmoid_are_those_of_statsmodels(spector, x64):
    X, y = spector
    theirs = sm.GLM(y, sm.add_constant(X, prepend=False), sm.families.Binomial()).fit(tol=1e-14)
    table = theirs.get_prediction(sm.add_constant(X, prepend=False)).summary_frame()
    mean, ends = predict_interval(inferred(X, y), X)
    np.testing.assert_allclose(mean, table["mean"], rtol=1e-6)
    np.testing.assert_allclose(ends, table[["mean_ci_lower", "mean_ci_upper"]], rtol=1e-6)
