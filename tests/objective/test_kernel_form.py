"""Fewer dimensions, the same problem."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, fit, make_objective
from jax_logreg.objective.kernel_form import carry_over
from jax_logreg.solvers.row_space import RowSpace


def wide(model, factor=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 30)) * 10 ** rng.uniform(-2, 2, size=30)
    y = rng.uniform(size=12) if model == "sigmoid" else rng.dirichlet(np.ones(3), size=12)
    return X, y, L2(jnp.asarray(0.1), factor)


def test_a_point_there_is_worth_what_its_lift_is_worth(model, x64):
    X, y, penalty = wide(model, factor=jnp.linspace(0.5, 2, 30))
    F = make_objective(X, y, penalty)
    problem = carry_over(F)
    gamma = jnp.asarray(np.random.default_rng(1).normal(size=problem.objective.num_parameters))
    theta = problem.lift(gamma)
    assert theta.shape == (F.num_parameters,)
    np.testing.assert_allclose(problem.objective.value(gamma), F.value(theta), rtol=1e-9)
    np.testing.assert_allclose(problem.objective.linear(gamma), F.linear(theta), atol=1e-9)


def test_it_ends_where_newton_ends(model, x64):
    X, y, penalty = wide(model)
    wide_fit = fit(X, y, penalty=penalty, solver=RowSpace()).raise_if_failed()
    newton = fit(X, y, penalty=penalty, solver="newton").raise_if_failed()
    np.testing.assert_allclose(wide_fit.coef, newton.coef, atol=1e-8)


@pytest.mark.parametrize("copies", [2])
def test_rows_that_repeat_do_no_harm(copies, x64):
    X, y, penalty = wide("sigmoid")
    X, y = np.tile(X, (copies, 1)), np.tile(y, copies)
    found = fit(X, y, penalty=penalty, solver=RowSpace())
    np.testing.assert_allclose(
        found.coef, fit(X, y, penalty=penalty, solver="newton").coef, atol=1e-8
    )
