"""Hypothesis tests and profile-likelihood intervals."""

import numpy as np
import pytest
import statsmodels.api as sm

from jax_logreg import (
    L2,
    Firth,
    fit,
    hypothesis_test,
    infer,
    profile_interval,
)
from jax_logreg.inference.hypothesis_tests import restricted_estimate
from jax_logreg.inference.inference import chi_squared


def data(K=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 2))
    return X, np.argmax(X @ rng.normal(size=(2, K)) + rng.gumbel(size=(40, K)), axis=1)


@pytest.mark.parametrize("penalty", [None, Firth()], ids=["likelihood", "firth"])
def test_at_each_end_the_best_fit_is_worse_by_the_quantile(penalty, model, x64):
    """Refitted with the parameter held at the end by an offset: deviance 3.84 higher."""
    X, y = data(2 if model == "sigmoid" else 3)
    found = infer(fit(X, y, penalty=penalty, tol=1e-10), X, y, penalty=penalty)
    low, high = profile_interval(found, parameters=[found.names[0]])[0]
    assert low < found.estimate[0] < high
    if penalty is not None or model == "softmax":
        return  # an offset would change the prior, and cannot hold one class alone
    best = found.log_likelihood
    for end in (low, high):
        held = fit(X[:, 1:], y, offset=end * X[:, 0], tol=1e-10)
        np.testing.assert_allclose(2 * (best + 40 * held.objective), 3.841458820694124, rtol=1e-6)


def test_two_classes_of_softmax_have_the_interval_of_the_sigmoid(x64):
    X, y = data()
    for penalty in (None, Firth(), L2(0.02)):
        one, two = (
            profile_interval(infer(fit(X, y, penalty=p, num_classes=K, tol=1e-10), X, y, penalty=p))
            for K, p in ((None, penalty), (2, L2(0.04) if isinstance(penalty, L2) else penalty))
        )
        np.testing.assert_allclose(one, two, rtol=1e-6)


def test_a_separated_column_has_one_finite_end_under_firth(x64):
    """The profile of Firth's penalty falls on both sides, however slowly."""
    X = np.array([0.0] * 8 + [1.0] * 4).reshape(-1, 1)
    y = np.array([0.0, 1] * 4 + [1] * 4)
    found = infer(fit(X, y, penalty=Firth()), X, y, penalty=Firth())
    low, high = profile_interval(found, parameters=["x0"])[0]
    assert -1 < low < found.estimate[0] < high < 40


def test_restrictions_are_tested_as_by_the_fit_that_obeys_them(model, x64):
    """A column left out, two coefficients alike, one of a given value."""
    X, y = data(2 if model == "sigmoid" else 3)
    found = infer(fit(X, y, tol=1e-10), X, y)
    count = found.fit.num_contrasts
    pick = np.eye(3 * count).reshape(3, count, -1)  # feature, class
    value = 0.3
    without = infer(fit(X[:, :1], y, tol=1e-10), X[:, :1], y)
    cases = [
        (pick[1], 0.0, without),
        (pick[0] - pick[1], 0.0, infer(fit(X.sum(1, keepdims=True), y), X.sum(1)[:, None], y)),
    ]
    if model == "sigmoid":
        offset = value * X[:, 1]
        held = infer(fit(X[:, :1], y, offset=offset), X[:, :1], y, offset=offset)
        cases.append((pick[1], value, held))
    for R, r, smaller in cases:
        ours = hypothesis_test(found, R, r)
        np.testing.assert_allclose(ours.statistic, smaller.deviance - found.deviance, rtol=1e-7)
        assert ours.degrees_of_freedom == count
    score = hypothesis_test(found, pick[1], method="score")
    np.testing.assert_allclose(
        score, hypothesis_test(without, added_columns=X[:, 1:], method="score"), rtol=1e-7
    )
    np.testing.assert_allclose(
        hypothesis_test(found, pick[1]), hypothesis_test(found, found.names[count : 2 * count])
    )
    with pytest.raises(ValueError, match="follow"):
        hypothesis_test(found, np.vstack([pick[1], pick[1]]))


def test_under_firth_there_is_no_score_test_of_restrictions(x64):
    X, y = data()
    found = infer(fit(X, y, penalty=Firth()), X, y, penalty=Firth())
    with pytest.raises(ValueError, match="score test needs a fit without"):
        hypothesis_test(found, [1.0, 0, 0], method="score")
    ridge = infer(fit(X, y, penalty=L2(0.1)), X, y, penalty=L2(0.1))
    with pytest.raises(ValueError, match="likelihood ratio test needs"):
        hypothesis_test(ridge, [1.0, 0, 0])


def test_what_cannot_be_estimated_has_no_interval(x64):
    X, y = data()
    X = np.column_stack([X, X[:, 0]])
    ends = profile_interval(infer(fit(X, y), X, y))
    np.testing.assert_array_equal(np.isnan(ends[:, 0]), [True, False, True, False])


def test_bad_names_and_levels_are_refused(x64):
    X, y = data()
    found = infer(fit(X, y), X, y)
    with pytest.raises(ValueError, match="'dose'"):
        profile_interval(found, parameters=["dose"])
    with pytest.raises(ValueError, match="level.*95"):
        profile_interval(found, 95)


def test_the_score_test_is_that_of_statsmodels(x64):
    X, y = data()
    small = infer(fit(X[:, :1], y), X[:, :1], y)
    theirs = sm.GLM(y, sm.add_constant(X[:, :1]), sm.families.Binomial()).fit(tol=1e-14)
    statistic, p_value = theirs.score_test(exog_extra=X[:, 1:])
    ours = hypothesis_test(small, added_columns=X[:, 1:], method="score")
    np.testing.assert_allclose(ours.statistic, np.squeeze(statistic), rtol=1e-6)
    np.testing.assert_allclose(ours.p_value, np.squeeze(p_value), rtol=1e-5)
    assert ours.degrees_of_freedom == 1
    with pytest.raises(ValueError, match="nothing new"):
        hypothesis_test(small, added_columns=2 * X[:, :1], method="score")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"restrictions": "x0", "method": "f"}, "method.*'f'"),
        ({"restrictions": "x0", "added_columns": np.ones((40, 1))}, "without restrictions"),
        ({"added_columns": np.ones((40, 1))}, "method='score'"),
        ({"added_columns": np.ones((3, 1)), "method": "score"}, "40 rows"),
        ({"restrictions": []}, "empty"),
        ({"restrictions": ["x0", "dose"]}, "'dose'"),
        ({"restrictions": [1.0, 0.0]}, "3 columns"),
        ({"restrictions": [0.0, 0.0, 0.0]}, "zeros"),
        ({"restrictions": "x0", "value": [1.0, 2.0]}, "value"),
    ],
)
def test_a_bad_hypothesis_is_refused_by_name(arguments, named, x64):
    X, y = data()
    with pytest.raises(ValueError, match=named):
        hypothesis_test(infer(fit(X, y), X, y), **arguments)


def test_the_units_of_a_column_change_its_interval_by_their_factor(x64):
    X, y = data()
    units = np.array([1e8, 1e-8])
    plain = profile_interval(infer(fit(X, y, tol=1e-10), X, y))
    scaled = X * units
    start = fit(X, y, tol=1e-10)
    result = fit(scaled, y, init=(start.coef / units, start.intercept), max_steps=0, tol=np.inf)
    ends = profile_interval(infer(result, scaled, y))
    np.testing.assert_allclose(ends[:2] * units[:, None], plain[:2], rtol=1e-7)


@pytest.mark.parametrize("covariance", ["observed", "HC0"])
@pytest.mark.parametrize("K", [2, 3])
def test_the_robust_score_test_is_that_of_statsmodels(covariance, K, x64):
    X, y = data(K)
    design = sm.add_constant(X[:, :1], prepend=False)
    model = sm.Logit if K == 2 else sm.MNLogit
    theirs = model(y, design).fit(disp=0, method="newton", tol=1e-14)
    cov_type = "nonrobust" if covariance == "observed" else covariance
    statistic, p_value = theirs.score_test(exog_extra=X[:, 1:], cov_type=cov_type)
    small, large = (infer(fit(Z, y, tol=1e-9), Z, y) for Z in (X[:, :1], X))
    added = hypothesis_test(small, added_columns=X[:, 1:], method="score", covariance=covariance)
    names = large.names[K - 1 : 2 * (K - 1)]
    restricted = hypothesis_test(large, names, method="score", covariance=covariance)
    np.testing.assert_allclose(added, restricted, rtol=1e-6)
    if covariance == "HC0" and K == 3:
        return  # theirs tests the last parameters of the last class, whatever was added
    for ours in (added, restricted):
        T, n = ours.statistic, len(y)
        if covariance == "HC0":  # theirs is centred at the mean score, over n − 1
            T = (n - 1) / n * T / (1 - T / n)
        np.testing.assert_allclose(T, np.squeeze(statistic), rtol=1e-6)
        np.testing.assert_allclose(chi_squared(T, K - 1).p_value, np.squeeze(p_value), rtol=1e-5)
        assert ours.degrees_of_freedom == K - 1


def test_a_robust_score_knows_its_kinds(x64):
    X, y = data()
    found = infer(fit(X, y), X, y)
    for options, words in (
        ({"covariance": "HC0"}, "for method='score'"),
        ({"covariance": "HC9", "method": "score"}, "'HC9'"),
        ({"covariance": "clustered", "method": "score"}, "groups"),
    ):
        with pytest.raises(ValueError, match=words):
            hypothesis_test(found, "x0", **options)
    with pytest.raises(ValueError, match="leave those out for covariance='HC0'"):
        hypothesis_test(
            found, added_columns=np.column_stack([X[:, :1], X[:, :1] ** 2]), method="score",
            covariance="HC0",
        )  # fmt: skip


@pytest.mark.parametrize("covariance", ["observed", "HC0", "HC1", "HC3", "clustered"])
def test_a_restricted_estimate_is_that_of_the_model_that_obeys(covariance, model, x64):
    """Two coefficients alike: a fit to the sum of their columns; one known: an offset."""
    K = 2 if model == "sigmoid" else 3
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 3))
    y = np.argmax(X @ rng.normal(size=(3, K)) + rng.gumbel(size=(60, K)), axis=1)
    options = {"covariance": covariance}
    if covariance == "clustered":
        options["groups"] = np.arange(60) // 4
    found, c = infer(fit(X, y, tol=1e-9), X, y), K - 1
    axes = np.eye(4 * c)
    ours = restricted_estimate(found, axes[:c] - axes[c : 2 * c], **options)
    Z = np.column_stack([X[:, 0] + X[:, 1], X[:, 2]])
    theirs = infer(fit(Z, y, tol=1e-9), Z, y, **options)
    which = np.r_[0:c, 2 * c : 4 * c]
    np.testing.assert_allclose(ours.estimate[which], theirs.estimate, rtol=1e-6)
    np.testing.assert_allclose(ours.standard_error[which], theirs.standard_error, rtol=1e-6)
    np.testing.assert_allclose(ours.standard_error[:c], ours.standard_error[c : 2 * c])
    if model == "softmax":
        return
    offset = 0.3 * X[:, 0]
    ours = restricted_estimate(found, "x0", 0.3, **options)
    result = fit(X[:, 1:], y, offset=offset, tol=1e-9)
    theirs = infer(result, X[:, 1:], y, offset=offset, **options)
    np.testing.assert_allclose(ours.estimate[1:], theirs.estimate, rtol=1e-6)
    np.testing.assert_allclose(ours.standard_error[1:], theirs.standard_error, rtol=1e-6)
    np.testing.assert_allclose((ours.estimate[0], ours.standard_error[0]), (0.3, 0))


def test_a_restricted_estimate_leaves_what_is_not_estimable_unknown(x64):
    X, y = data()
    X = np.column_stack([X, X[:, 0]])
    ours = restricted_estimate(infer(fit(X, y), X, y), "x1", 0.5)
    np.testing.assert_array_equal(np.isnan(ours.standard_error), [True, False, True, False])
    offset = 0.5 * X[:, 1]
    theirs = infer(fit(X[:, :1], y, offset=offset), X[:, :1], y, offset=offset)
    np.testing.assert_allclose(ours.standard_error[3], theirs.standard_error[1], rtol=1e-6)
