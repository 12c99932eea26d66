import jax
import numpy as np
import pytest

from jax_logreg import L2, FitError, Newton, Status, fit, make_objective
from jax_logreg.derivatives import autodiff
from jax_logreg.interfaces.tables import load_embedded
from tests.problems import K, N, P, make_problem


def standardized(name):
    table = load_embedded(name)
    return (table.X - table.X.mean(axis=0)) / table.X.std(axis=0), table.y


@pytest.mark.parametrize("name", ["breast-cancer", "iris"])
def test_newton_on_the_embedded_data_to_ten_digits(name, x64):
    X, y = standardized(name)
    result = fit(X, y, penalty=L2(0.01), tol=1e-10).raise_if_failed()
    labels = y if result.coef.ndim == 1 else np.eye(3)[y]
    F = make_objective(X, labels, L2(0.01))
    gradient = autodiff.gradient(F, F.join(result.coef, result.intercept))
    assert np.max(np.abs(gradient)) <= 1e-10
    assert result.gradient_norm <= 1e-10


@pytest.mark.parametrize("name", ["breast-cancer", "iris"])
def test_newton_on_the_embedded_data_in_single_precision(name):
    X, y = standardized(name)
    result = fit(np.float32(X), y, penalty=L2(0.01), tol=1e-5).raise_if_failed()
    assert result.coef.dtype == np.float32
    assert result.gradient_norm <= 1e-5


def test_newton_on_raw_columns_needs_no_scaling(x64):
    table = load_embedded("breast-cancer")
    assert fit(table.X, table.y, penalty=L2(1e-3), tol=1e-10).converged


@pytest.mark.parametrize("solver", ["newton", "gradient_descent", "lbfgs"])
def test_either_kind_of_derivative_gives_the_same_answer(solver, model, dtype):
    problem = make_problem(model, dtype.name)
    answers = [
        fit(problem.X, problem.y, solver=solver, derivatives=kind, **problem.options())
        for kind in ("analytic", "autodiff")
    ]
    assert all(a.raise_if_failed().coef.dtype == dtype for a in answers)
    # Both are within tol of one optimum, whose curvature is at least 0.025 here.
    bound = 1e-6 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(answers[0].coef, answers[1].coef, atol=bound)


def test_the_result_has_the_promised_shapes(x64):
    problem = make_problem("softmax", "float64")
    result = fit(problem.X, problem.y, max_steps=9, **problem.options())
    assert result.coef.shape == (P, K)
    assert result.intercept.shape == (K,)
    assert result.history.objective.shape == (10,)
    steps = int(result.num_steps)
    for curve in result.history:
        assert np.all(np.isfinite(curve[: steps + 1]))
        assert np.all(curve[steps + 1 :] == curve[steps])
    np.testing.assert_allclose(result.history.objective[steps], result.objective)


def test_softmax_coefficients_sum_to_zero_whatever_the_start_and_solver(x64):
    problem = make_problem("softmax", "float64")
    start = np.ones((P, K)) + np.arange(K), np.arange(K) * 1.0
    for solver in ("newton", "lbfgs"):
        result = fit(problem.X, problem.y, solver=solver, init=start, tol=1e-7)
        assert result.raise_if_failed().status == Status.CONVERGED
        np.testing.assert_allclose(np.sum(result.coef, axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(np.sum(result.intercept), 0, atol=1e-12)


def test_a_start_at_the_answer_takes_no_step(problem):
    first = fit(problem.X, problem.y, **problem.options()).raise_if_failed()
    again = fit(problem.X, problem.y, init=first, **problem.options())
    assert again.num_steps == 0
    assert again.converged
    # Centring the classes of a centred answer may move its last digit.
    np.testing.assert_allclose(again.coef, first.coef, rtol=1e-14)


def test_no_steps_allowed_is_a_status_not_an_error(problem):
    result = fit(problem.X, problem.y, max_steps=0, **problem.options())
    assert result.status == Status.MAX_STEPS
    assert result.num_steps == 0


def test_the_newton_decrement_estimates_the_suboptimality(problem):
    best = fit(problem.X, problem.y, **problem.options())
    near = fit(problem.X, problem.y, solver="gradient_descent", max_steps=8, **problem.options())
    gap = near.objective - best.objective
    assert gap > 1e-13
    np.testing.assert_allclose(near.newton_decrement**2 / 2, gap, rtol=0.05)


def test_progress_reports_and_changes_nothing(problem):
    seen = []
    quiet = fit(problem.X, problem.y, solver="gradient_descent", **problem.options())
    reported = fit(
        problem.X,
        problem.y,
        solver="gradient_descent",
        progress=lambda *numbers: seen.append(numbers),
        **problem.options(),
    )
    np.testing.assert_allclose(reported.coef, quiet.coef, rtol=1e-12)
    assert reported.num_steps == quiet.num_steps
    assert [steps for steps, _, _ in seen] == sorted({steps for steps, _, _ in seen})
    assert seen[-1][0] == reported.num_steps


def test_a_failure_is_explained_and_raised_on_demand(problem):
    result = fit(problem.X, problem.y, solver="gradient_descent", max_steps=2)
    assert not result.converged
    with pytest.raises(FitError, match=r"MAX_STEPS after 2 steps.*raise max_steps"):
        result.raise_if_failed()


def test_the_message_of_many_fits_names_the_worst(x64):
    problem = make_problem("sigmoid", "float64")
    limits = np.array([1e-2, 1e-9])
    results = jax.vmap(lambda tol: fit(problem.X, problem.y, tol=tol, max_steps=1))(limits)
    assert "Fit 1 of 2: MAX_STEPS" in results.message


def test_every_status_has_a_message():
    assert all(status.message.endswith(".") for status in Status)


def test_importing_and_fitting_change_no_global_setting():
    before = jax.config.jax_enable_x64
    fit(np.zeros((N, P)), np.arange(N) % 2)
    assert jax.config.jax_enable_x64 == before is False
    assert repr(Newton()) == "Newton()"
