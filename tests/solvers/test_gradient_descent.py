import jax
import numpy as np
import pytest

from jax_logreg import GradientDescent, Status, fit
from tests.problems import make_problem


def losses(result):
    return np.asarray(result.history.objective)[: int(result.num_steps) + 1]


@pytest.mark.parametrize("solver", [GradientDescent(), GradientDescent(backtracking=True)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_every_safe_or_searched_step_lowers_the_loss(solver, scale, model, x64):
    problem = make_problem(model, "float64")
    result = fit(scale * problem.X, problem.y, solver=solver, max_steps=50)
    assert np.all(np.diff(losses(result)) <= 1e-14)


def test_the_fixed_step_is_the_texts_update(x64):
    problem = make_problem("sigmoid", "float64")
    X, y = problem.X, problem.y
    result = fit(X, y, solver=GradientDescent(0.5), max_steps=7, fit_intercept=False)
    w = np.zeros(X.shape[1])
    for _ in range(7):
        w -= 0.5 * X.T @ (1 / (1 + np.exp(-X @ w)) - y) / len(X)
    np.testing.assert_allclose(result.coef, w, rtol=1e-13)


def test_too_long_a_fixed_step_is_reported(x64):
    problem = make_problem("sigmoid", "float64")
    result = fit(1e200 * problem.X, problem.y, solver=GradientDescent(1e200), max_steps=50)
    assert result.status == Status.NOT_FINITE
    assert "another step size" in result.message


def test_a_new_step_size_compiles_nothing_and_vmaps(x64):
    problem = make_problem("sigmoid", "float64")

    def train(step):
        return fit(problem.X, problem.y, solver=GradientDescent(step), max_steps=5).objective

    steps = np.array([0.1, 0.2, 0.4])
    together = jax.vmap(train)(steps)
    np.testing.assert_allclose(together, [train(step) for step in steps], rtol=1e-13)
