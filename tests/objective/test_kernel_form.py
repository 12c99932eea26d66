"""Fewer dimensions, the same problem."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, fit, make_objective
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.fitting.auto_solver import kernel_start
from jax_logreg.objective.kernel_form import kernel_form


def wide(model, factor=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 30)) * 10 ** rng.uniform(-2, 2, size=30)
    y = rng.uniform(size=12) if model == "sigmoid" else rng.dirichlet(np.ones(3), size=12)
    return X, y, L2(jnp.asarray(0.1), factor)


def test_a_point_there_is_worth_what_its_lift_is_worth(model, x64):
    X, y, penalty = wide(model, factor=jnp.linspace(0.5, 2, 30))
    F = make_objective(X, y, penalty)
    problem = kernel_form(F)
    gamma = jnp.asarray(np.random.default_rng(1).normal(size=problem.objective.num_parameters))
    theta = problem.to_original(gamma)
    assert theta.shape == (F.num_parameters,)
    np.testing.assert_allclose(problem.objective.value(gamma), F.value(theta), rtol=1e-9)
    np.testing.assert_allclose(problem.objective.linear(gamma), F.linear(theta), atol=1e-9)


def test_it_ends_where_newton_ends(model, x64):
    X, y, penalty = wide(model)
    F = make_objective(X, y, penalty)
    found, _ = F.split(kernel_start(ModelOracle(F), jnp.zeros(F.num_parameters)))
    newton = fit(X, y, penalty=penalty, solver="newton").raise_if_failed()
    np.testing.assert_allclose(found, newton.coef, atol=1e-7)


@pytest.mark.parametrize("copies", [2])
def test_rows_that_repeat_do_no_harm(copies, x64):
    X, y, penalty = wide("sigmoid")
    X, y = np.tile(X, (copies, 1)), np.tile(y, copies)
    F = make_objective(X, y, penalty)
    found, _ = F.split(kernel_start(ModelOracle(F), jnp.zeros(F.num_parameters)))
    newton = fit(X, y, penalty=penalty, solver="newton").raise_if_failed()
    np.testing.assert_allclose(found, newton.coef, atol=1e-7)
