"""Influence against its definitions: the fit without the row, and statsmodels."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from jax_logreg import L2, Firth, fit, infer, influence
from jax_logreg.derivatives.analytic import gradient, hessian
from jax_logreg.objective.objective import make_objective


def data(K, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 2))
    return X, np.argmax(X @ rng.normal(size=(2, K)) + rng.gumbel(size=(50, K)), axis=1)


def test_it_is_that_of_statsmodels(x64):
    X, y = data(2)
    y = y.astype(float)
    theirs = sm.GLM(y, sm.add_constant(X, prepend=False), sm.families.Binomial()).fit(tol=1e-14)
    table = theirs.get_influence()
    ours = influence(infer(fit(X, y), X, y))
    np.testing.assert_allclose(ours.leverage, table.hat_matrix_diag, rtol=1e-7)
    np.testing.assert_allclose(ours.pearson, theirs.resid_pearson, rtol=1e-6)
    np.testing.assert_allclose(ours.deviance, theirs.resid_deviance, rtol=1e-6)
    np.testing.assert_allclose(ours.studentised, table.resid_studentized, rtol=1e-6)
    np.testing.assert_allclose(ours.cooks_distance, table.cooks_distance[0], rtol=1e-6)
    np.testing.assert_allclose(ours.dffits, table.d_linpred_scaled, rtol=1e-6)
    np.testing.assert_allclose(ours.difchisq, table.resid_studentized**2, rtol=1e-6)
    np.testing.assert_allclose(ours.working, theirs.resid_working, rtol=1e-6)
    np.testing.assert_allclose(ours.anscombe, theirs.resid_anscombe, rtol=1e-6)


def test_counts_have_the_residuals_of_statsmodels(x64):
    """Soft labels with weights, of which one is fitted nearly and one is all of the trials."""
    trials, x = np.array([40.0, 40, 40, 40, 40, 7]), np.arange(1, 7.0)
    successes = np.array([0.0, 2, 14, 19, 30, 7])
    theirs = sm.GLM(
        successes / trials, np.column_stack([x, np.ones(6)]), sm.families.Binomial(),
        var_weights=trials,
    ).fit(tol=1e-14)  # fmt: skip
    X, y = x[:, None], successes / trials
    ours = influence(infer(fit(X, y, sample_weight=trials), X, y, sample_weight=trials))
    np.testing.assert_allclose(ours.pearson, theirs.resid_pearson, rtol=1e-6)
    np.testing.assert_allclose(ours.deviance, theirs.resid_deviance, rtol=1e-6)
    np.testing.assert_allclose(ours.working, theirs.resid_working, rtol=1e-6)
    np.testing.assert_allclose(ours.anscombe, theirs.resid_anscombe, rtol=1e-6)
    R = [0.25220202795934726, 0.26107981497746285, 1.28985614424132389]  # influence.measures
    five = influence(infer(fit(X[:5], y[:5]), X[:5], y[:5]))
    weighted = influence(
        infer(fit(X[:5], y[:5], sample_weight=trials[:5]), X[:5], y[:5], sample_weight=trials[:5])
    )
    np.testing.assert_allclose(weighted.cooks_distance[:3], R, rtol=1e-5)
    np.testing.assert_allclose(weighted.pearson, five.pearson * np.sqrt(40), rtol=1e-9)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("far", [50.0, 1000.0, 1300.0])
def test_a_row_fitted_to_the_last_digit_has_the_residual_of_its_logit(far, label, model, dtype):
    """μ is 0 or 1, and from a logit of 745 on σ′ is 0 too."""
    sign = 2 * label - 1
    X = np.append(np.linspace(-2, 2, 9), sign * far)[:, None].astype(dtype)
    y = np.append([0, 0, 1, 0, 1, 0, 1, 1, 1], label).astype(dtype)
    weight = np.append(np.ones(9), 4.0).astype(dtype)
    K = 2 if model == "softmax" else None
    options = {"sample_weight": weight, "penalty": L2(0.05 if K else 0.025)}
    found = infer(fit(X, y, num_classes=K, **options), X, y, **options)
    rows = influence(found)
    eta = found.estimate[0] * X[-1, 0].astype(float) + found.estimate[1]
    assert far < 1000 or abs(eta) > 745
    root = 2 * np.exp(-abs(eta) / 2)  # of the weight times the odds
    np.testing.assert_allclose(abs(rows.pearson[-1]), root, rtol=1e-9)
    np.testing.assert_allclose(abs(rows.deviance[-1]), np.sqrt(2) * root, rtol=1e-9)
    np.testing.assert_allclose(rows.cooks_distance[-1], 0, atol=1e-15)
    if K:
        assert np.all(np.isnan(rows.studentised))
        assert np.all(np.isnan(rows.anscombe))
        return
    for residual, size in (("pearson", 1), ("studentised", 1), ("anscombe", 1.5)):
        value = getattr(rows, residual)[-1]
        np.testing.assert_allclose(value, sign * size * root, rtol=1e-6, err_msg=residual)
    np.testing.assert_allclose(rows.working[-1], sign * 1.0)
    assert np.sign(rows.deviance[-1]) == sign
    assert np.all(np.isfinite([rows.dffits, rows.difdev, rows.difchisq]))


def test_a_label_that_is_the_probability_has_no_deviance(x64):
    """The terms of the likelihood cancel: their difference would be 1e-8."""
    X = np.linspace(-1, 1, 8)[:, None]
    y = 1 / (1 + np.exp(-(0.5 + 2 * X[:, 0])))
    y[3] += 1e-6
    rows = influence(infer(fit(X, y, tol=1e-12), X, y))
    np.testing.assert_allclose(rows.deviance, rows.pearson, atol=1e-11)
    assert np.max(np.abs(rows.deviance)) > 1e-6


def test_a_step_is_newtons_from_the_estimate_without_the_row(model, x64):
    """Exactly: one Newton step on the other rows, each row in turn."""
    X, y = data(2 if model == "sigmoid" else 3)
    found = infer(fit(X, y, tol=1e-10), X, y)
    ours = influence(found)
    fitted = found.fit
    labels = np.asarray(fitted.objective.y)
    for i in range(0, 50, 7):
        others = np.arange(50) != i
        F = make_objective(X[others], labels[others])
        H, g = hessian(F, fitted.theta), gradient(F, fitted.theta)
        step = -np.linalg.lstsq(np.asarray(H), np.asarray(g), rcond=1e-12)[0]
        np.testing.assert_allclose(ours.one_step[i], fitted.contrasts(step).reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(ours.dfbetas, ours.one_step / found.standard_error)


def test_leverages_sum_to_the_rank(model, x64):
    X, y = data(2 if model == "sigmoid" else 3)
    found = infer(fit(X, y), X, y)
    np.testing.assert_allclose(influence(found).leverage.sum(), found.rank)


def test_softmax_of_two_classes_has_the_leverage_of_the_sigmoid(x64):
    X, y = data(2)
    one, two = (influence(infer(fit(X, y, num_classes=K), X, y)) for K in (None, 2))
    np.testing.assert_allclose(one.leverage, two.leverage, rtol=1e-7)
    np.testing.assert_allclose(np.abs(one.pearson), two.pearson, rtol=1e-7)
    np.testing.assert_allclose(np.abs(one.deviance), two.deviance, rtol=1e-7)
    np.testing.assert_allclose(one.cooks_distance, two.cooks_distance, rtol=1e-7)


def test_a_row_that_alone_tells_a_parameter_has_no_fit_without_it(x64):
    X, y = np.zeros((20, 1)), (np.arange(20) % 2).astype(float)
    X[0] = 1
    rows = influence(infer(fit(X, y, penalty=Firth()), X, y, penalty=Firth()))
    np.testing.assert_allclose(rows.leverage[0], 1)
    assert np.all(np.isnan(rows.one_step[0]))
    assert np.all(np.isfinite(rows.one_step[1:]))


def test_a_far_row_on_the_wrong_side_has_its_residual_unless_it_does_not_count(model, x64):
    """Its probability is 0 in every digit; without weight it has no residual at all."""
    K = 2 if model == "softmax" else None
    X = np.append(np.linspace(-2, 2, 9), [900, 5000])[:, None]
    y = np.array([0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0])
    weight = np.append(np.ones(9), [1, 0])
    found = infer(fit(X, y, num_classes=K, sample_weight=weight), X, y, sample_weight=weight)
    rows = influence(found)
    assert np.abs(rows.pearson[-1]) == np.abs(rows.deviance[-1]) == 0
    assert K or rows.anscombe[-1] == 0
    assert np.all(np.isfinite([rows.pearson, rows.deviance, rows.cooks_distance]))
    # With the coefficients fixed, the label of the far row is turned round.
    wrong = np.append(y[:9], [0, 0])
    logit = abs(found.estimate[0] * 900 + found.estimate[1])
    labels = np.eye(2)[wrong] if K else wrong.astype(float)
    fit_of_wrong = replace(found.fit, objective=replace(found.fit.objective, y=labels))
    turned = replace(found, fit=fit_of_wrong)
    worst = influence(turned)
    np.testing.assert_allclose(abs(worst.deviance[-2]), np.sqrt(2 * logit), rtol=1e-12)
    np.testing.assert_allclose(np.log(abs(worst.pearson[-2])), logit / 2, rtol=1e-12)
