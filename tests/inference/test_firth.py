"""Firth's bias reduction: its score by hand and by autodiff, and its published answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import Firth, Status, fit, infer
from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.firth import FirthOracle
from tests.problems import random_theta


@pytest.mark.parametrize("seed", range(3))
def test_the_score_by_hand_is_the_gradient_of_the_log_determinant(problem, seed):
    F = problem.objective()
    total = jnp.asarray(problem.sample_weight.sum())
    theta = random_theta(F, seed)
    by_hand, by_autodiff = (
        jax.jit(FirthOracle(F, total, module).evaluate)(theta) for module in (analytic, autodiff)
    )
    np.testing.assert_allclose(by_hand.gradient, by_autodiff.gradient, rtol=1e-10, atol=1e-13)


def two_by_two(a, b, c, d):
    """A table of counts as rows: x = 0 with a zeros and b ones, x = 1 with c and d."""
    X = np.repeat([0.0, 0.0, 1.0, 1.0], [a, b, c, d]).reshape(-1, 1)
    return X, np.repeat([0.0, 1.0, 0.0, 1.0], [a, b, c, d])


@pytest.mark.parametrize("counts", [(5, 3, 2, 7), (6, 0, 4, 5), (8, 0, 0, 8)])
def test_a_table_of_counts_is_that_with_a_half_in_each_cell(counts, x64):
    """For a saturated model Firth's estimate is known: ½ is added to every cell."""
    X, y = two_by_two(*counts)
    result = fit(X, y, penalty=Firth(), tol=1e-10).raise_if_failed()
    a, b, c, d = np.array(counts) + 0.5
    np.testing.assert_allclose(result.intercept, np.log(b / a), rtol=1e-8)
    np.testing.assert_allclose(result.coef[0], np.log(d / c) - np.log(b / a), rtol=1e-8)


def test_two_classes_of_softmax_are_the_sigmoid(x64):
    X, y = two_by_two(6, 0, 4, 5)
    one = fit(X, y, penalty=Firth(), tol=1e-10)
    two = fit(X, y, penalty=Firth(), tol=1e-10, num_classes=2)
    np.testing.assert_allclose(two.coef[:, 1] - two.coef[:, 0], one.coef, rtol=1e-8)


def test_three_classes_of_a_saturated_table_have_a_half_in_each_cell(x64):
    counts = np.array([[4, 0, 3], [1, 5, 2]])
    X = np.repeat([0.0, 1.0], counts.sum(axis=1)).reshape(-1, 1)
    y = np.concatenate([np.repeat(np.arange(3), row) for row in counts])
    result = fit(X, y, penalty=Firth(), tol=1e-10).raise_if_failed()
    logs = np.log(counts + 0.5)
    np.testing.assert_allclose(
        np.asarray(result.intercept), logs[0] - logs[0].mean(), rtol=1e-7, atol=1e-9
    )
    slopes = logs[1] - logs[0]
    np.testing.assert_allclose(np.asarray(result.coef[0]), slopes - slopes.mean(), rtol=1e-7)


def test_a_weight_is_that_many_rows(x64):
    X, y = two_by_two(5, 3, 2, 7)
    cells, counts = np.unique(np.column_stack([X, y]), axis=0, return_counts=True)
    whole = fit(X, y, penalty=Firth(), tol=1e-10)
    weighted = fit(cells[:, :1], cells[:, 1], sample_weight=counts, penalty=Firth(), tol=1e-10)
    np.testing.assert_allclose(weighted.coef, whole.coef, rtol=1e-8)
    a = infer(whole, X, y, penalty=Firth())
    b = infer(weighted, cells[:, :1], cells[:, 1], sample_weight=counts, penalty=Firth())
    np.testing.assert_allclose(a.standard_error, b.standard_error, rtol=1e-8)
    # The information at the estimate, for a 2 × 2 table the reciprocals of its expected cells.
    mu = 1 / (1 + np.exp(-(X[:, 0] * a.estimate[0] + a.estimate[1])))
    Z = np.column_stack([X, np.ones(len(X))])
    plain = np.linalg.inv((Z * (mu * (1 - mu))[:, None]).T @ Z)
    np.testing.assert_allclose(a.covariance, plain, rtol=1e-8)


def test_one_class_alone_has_a_finite_answer(x64):
    """A constant: Firth's estimate adds ½ to either count."""
    result = fit(np.ones((9, 1)), np.ones(9), penalty=Firth(), fit_intercept=False)
    np.testing.assert_allclose(result.raise_if_failed().coef[0], np.log(9.5 / 0.5), rtol=1e-8)
    whole = fit(np.arange(9.0).reshape(-1, 1), np.ones(9), penalty=Firth()).raise_if_failed()
    assert np.all(np.isfinite(whole.coef))


def test_separated_data_have_a_finite_answer(model, x64):
    X = np.arange(9.0).reshape(-1, 1)
    y = (np.arange(9) > 4).astype(int) if model == "sigmoid" else np.arange(9) // 3
    assert fit(X, y).status == Status.SEPARATED
    result = fit(X, y, penalty=Firth()).raise_if_failed()
    assert np.all(np.isfinite(result.coef))


# Rows of a heavy-tailed table: where one lies far out, Firth's function has more than one minimum.
FAR_OUT = {
    "sigmoid": (
        [[1.8, -1.9], [-2.6, -0.3], [-1.6, 0.4], [-0.5, 1.2], [7.8, 1.6], [-1.4, -1.5],
         [1.9, -15.5], [-0.4, -0.7], [1, -0.9], [17.8, 2.2], [-1, 2.2], [-0.6, 0]],
        [1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0],
    ),
    "softmax": (
        [[-14.2], [-0.6], [0.1], [-0.2], [3.1], [-29.7], [0], [1.2], [0.4], [-3.5], [1.4], [0]],
        [2, 1, 1, 1, 0, 2, 1, 0, 0, 2, 0, 1],
    ),
}  # fmt: skip


def test_no_other_start_finds_a_lower_minimum(model, x64):
    X, y = map(np.array, FAR_OUT[model])
    lowest = fit(X, y, penalty=Firth()).raise_if_failed().objective
    rng = np.random.default_rng(0)
    shapes = [(X.shape[1],), ()] if model == "sigmoid" else [(X.shape[1], 3), (3,)]
    ends = []
    for _ in range(20):
        start = [rng.standard_t(2, size=shape) for shape in shapes]
        ends.append(float(fit(X, y, penalty=Firth(), init=start).objective))
    assert max(ends) > lowest + 1e-3  # there are others
    assert min(ends) > lowest - 1e-12


def test_a_solver_that_asks_too_much_is_refused_by_name(x64):
    X, y = two_by_two(5, 3, 2, 7)
    with pytest.raises(ValueError, match=r"Firth\(\).*newton.*NewtonCG"):
        fit(X, y, penalty=Firth(), solver="newton_cg")


@pytest.mark.parametrize("units", [(1, 1, 1), (100, 1, 0.01), (0.01, 0.01, 100)])
def test_units_of_columns_do_not_stall_it(units, x64):
    """Twelve rows: the information explains little of the curvature, and scoring is slow."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    y = (X[:, 0] + rng.logistic(size=12) > 0).astype(float)
    units = np.array(units)
    result = fit(X * units, y, penalty=Firth()).raise_if_failed()
    np.testing.assert_allclose(result.coef * units, [1.49718379, 0.39341562, 2.08813146], rtol=1e-5)


def test_derivatives_by_autodiff_give_the_same_fit(x64):
    X, y = two_by_two(5, 3, 2, 7)
    a, b = (fit(X, y, penalty=Firth(), derivatives=d, tol=1e-9) for d in ("analytic", "autodiff"))
    np.testing.assert_allclose(a.coef, b.coef, rtol=1e-7)


@pytest.mark.parametrize("label", [0, 1])
def test_a_far_point_leads_to_no_lower_maximum(label, x64):
    """It takes some twenty Newton steps towards maximum likelihood to release such a point."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1))
    y = (rng.random(400) < 1 / (1 + np.exp(-(1 + X[:, 0])))).astype(int)
    X[0], y[0] = 1e6, label
    found = fit(X, y, penalty=Firth()).raise_if_failed()
    from_likelihood = fit(X, y, penalty=Firth(), init=fit(X, y)).raise_if_failed()
    assert found.objective <= from_likelihood.objective + 1e-12
    if label == 1:
        np.testing.assert_allclose(-400 * found.objective, -207.7389, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 5.0, 1e8])
def test_a_constant_column_is_told_to_depend_on_the_intercept(value, x64):
    """Its centred copy is zero in every row; the caller's is not."""
    X = np.column_stack([np.arange(6.0), np.full(6, value)])
    with pytest.raises(ValueError, match="column 1 and the intercept are linearly dependent"):
        fit(X, np.array([0, 1, 0, 1, 1, 0]), penalty=Firth())
