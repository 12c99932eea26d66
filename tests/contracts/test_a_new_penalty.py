"""A penalty that the package does not have is one class, and every door takes it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import diagnose_separation, fit, fit_many, infer, make_objective
from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.objective.penalties import Penalty
from tests.problems import make_problem, random_theta

WIDTH = 0.1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SmoothL1(Penalty):
    """strength · Σ (√(β² + w²) − w): linear far out, a parabola near zero."""

    strength: Any

    domains = {"strength": "nonnegative"}  # noqa: RUF012

    def value(self, coef):
        return self.strength * jnp.sum(jnp.sqrt(coef**2 + WIDTH**2) - WIDTH)

    def gradient(self, coef):
        return self.strength * coef / jnp.sqrt(coef**2 + WIDTH**2)

    def curvature(self, coef):
        return self.strength * WIDTH**2 / (coef**2 + WIDTH**2) ** 1.5


@pytest.fixture
def data(model, x64):
    problem = make_problem(model, "float64")
    return problem.X, problem.y


def test_its_derivatives_are_audited_with_the_others(data):
    F = make_objective(*data, SmoothL1(0.3))
    theta, v = random_theta(F), random_theta(F, 1)
    for name, arguments in {"gradient": (), "hessian": (), "hvp": (v,)}.items():
        hand, auto = (
            getattr(module, name)(F, theta, *arguments) for module in (analytic, autodiff)
        )
        np.testing.assert_allclose(hand, auto, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("solver", ["auto", "newton", "newton_cg", "lbfgs", "gradient_descent"])
def test_every_solver_minimises_with_it(data, solver):
    X, y = data
    result = fit(X, y, penalty=SmoothL1(0.3), solver=solver, tol=1e-9).raise_if_failed()
    F = make_objective(X, y, SmoothL1(0.3))
    theta = F.join(result.coef, result.intercept)
    np.testing.assert_allclose(jax.grad(F.value)(theta), 0, atol=2e-9)
    if y.ndim == 2:  # a class shift would raise it, but for the intercept
        np.testing.assert_allclose(jnp.sum(result.intercept), 0, atol=1e-9)


def test_a_batch_runs_over_its_strengths(data):
    X, y = data
    strengths = np.array([0.05, 0.3, 2.0])
    many = fit_many(X, y, penalty=SmoothL1(strengths))
    for i, strength in enumerate(strengths):
        np.testing.assert_allclose(
            many.coef[i], fit(X, y, penalty=SmoothL1(strength)).coef, atol=1e-7
        )


def test_inference_counts_its_curvature_as_information(x64):
    problem = make_problem("sigmoid", "float64")
    X, y, penalty = problem.X, problem.y, SmoothL1(0.3)
    result = fit(X, y, penalty=penalty, tol=1e-10)
    F = make_objective(X, y, penalty)
    H = len(y) * autodiff.hessian(F, F.join(result.coef, result.intercept))
    found = infer(result, X, y, penalty=penalty)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(H), rtol=1e-7)


def test_inference_of_softmax_is_refused(x64):
    problem = make_problem("softmax", "float64")
    result = fit(problem.X, problem.y, penalty=SmoothL1(0.3))
    with pytest.raises(ValueError, match=r"penalty is SmoothL1.*quadratic penalties only"):
        infer(result, problem.X, problem.y, penalty=SmoothL1(0.3))


def test_it_keeps_separated_coefficients_finite(x64):
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    assert diagnose_separation(X, y).kind == "complete"
    assert diagnose_separation(X, y, penalty=SmoothL1(0.1)).kind == "none"
    assert fit(X, y, penalty=SmoothL1(0.1)).converged


def test_its_numbers_are_checked_before_the_fit(data):
    with pytest.raises(ValueError, match=r"penalty strength must not be negative.*-1"):
        fit(*data, penalty=SmoothL1(-1.0))
