from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.autodiff import AutodiffOracle
from jax_logreg.derivatives.function_oracle import FunctionOracle
from jax_logreg.derivatives.oracle import HESSIAN_LIMIT, Oracle
from tests.problems import make_problem, random_theta

ORACLES = [AnalyticOracle, AutodiffOracle]


@pytest.mark.parametrize("make", ORACLES)
def test_a_line_is_the_function_along_it(make, problem):
    oracle = make(problem.objective())
    theta, d = random_theta(oracle.objective), random_theta(oracle.objective, 1)
    line = oracle.along(oracle.at(theta), d)
    for t in (0.0, 0.3, -2.0):
        there = oracle.at(theta + t * d)
        trial = line.at(jnp.asarray(t))
        moved = line.point(jnp.asarray(t), trial)
        np.testing.assert_allclose(trial.value, there.value, rtol=1e-12)
        np.testing.assert_allclose(trial.slope, there.gradient @ d, rtol=1e-9, atol=1e-12)
        there = there._replace(fresh=moved.fresh)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13), moved, there)


@pytest.mark.parametrize("make", ORACLES)
def test_a_function_oracle_says_the_same_as_the_models(make, problem):
    F = problem.objective()
    model, plain = make(F), FunctionOracle(lambda theta, F: F.value(theta), (F,))
    theta, v = random_theta(F), random_theta(F, 1)
    a, b = model.at(theta), plain.at(theta)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-13)
    np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.hessian(a), plain.hessian(b), atol=1e-13)
    np.testing.assert_allclose(model.hvp(a, v), plain.hvp(b, v), atol=1e-13)


def test_what_an_oracle_lacks_is_told_with_the_reason():
    F = AnalyticOracle(make_problem("sigmoid", "float32").objective())
    assert F.lacks(frozenset({"hessian"}), 10) == {}
    assert str(HESSIAN_LIMIT + 1) in F.lacks(frozenset({"hessian"}), HESSIAN_LIMIT + 1)["hessian"]
    assert "rows" in FunctionOracle(jnp.sum).lacks(frozenset({"rows"}), 2)


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("at", 1),
        ("value", 1),
        ("hessian", 1),
        ("products_at", 1),
        ("along", 2),
        ("curvature_bound", 0),
        ("num_rows", 0),
        ("minibatch", 2),
    ],
)
def test_a_bare_oracle_answers_nothing(question, arguments):
    with pytest.raises(NotImplementedError):
        getattr(Oracle(), question)(*[None] * arguments)
