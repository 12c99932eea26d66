"""Influence against its definitions: the fit without the row, and statsmodels."""

import numpy as np
import statsmodels.api as sm

from jax_logreg import Firth, fit, infer, influence
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
