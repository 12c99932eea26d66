from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Oracle, missing_capabilities
from jax_logreg.objective.dense_features import DenseFeatures
from jax_logreg.objective.identifiability import add_gauge_curvature
from tests.problems import make_problem, random_theta

ORACLES = [partial(ModelOracle, derivatives=module) for module in (analytic, autodiff)]


@pytest.mark.parametrize("make", ORACLES)
def test_a_line_is_the_function_along_it(make, problem):
    oracle = make(problem.objective())
    theta, d = random_theta(oracle.objective), random_theta(oracle.objective, 1)
    line = oracle.line(oracle.evaluate(theta), d)
    for t in (0.0, 0.3, -2.0):
        there = oracle.evaluate(theta + t * d)
        trial = line.at(jnp.asarray(t))
        moved = line.point(jnp.asarray(t), trial)
        np.testing.assert_allclose(trial.value, there.value, rtol=1e-12)
        np.testing.assert_allclose(trial.slope, there.gradient @ d, rtol=1e-9, atol=1e-12)
        there = there._replace(recomputed=moved.recomputed)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13), moved, there)


@pytest.mark.parametrize("make", ORACLES)
def test_a_function_oracle_says_the_same_as_the_models(make, problem):
    F = problem.objective()
    model, plain = make(F), FunctionOracle(lambda theta, F: F.value(theta), (F,))
    theta, v = random_theta(F), random_theta(F, 1)
    a, b = model.evaluate(theta), plain.evaluate(theta)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-13)
    np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        model.hessian(a), add_gauge_curvature(F, plain.hessian(b)), atol=1e-13
    )
    products = model.hessian_operator(a)(v), plain.hessian_operator(b)(v)
    np.testing.assert_allclose(products[0].product, products[1].product, atol=1e-13)
    both = model.evaluate(theta, v)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), both.hvp, products[0])


def test_what_an_oracle_lacks_is_reported_with_the_reason(monkeypatch):
    F = ModelOracle(make_problem("sigmoid", "float32").objective())
    needs = frozenset({"hessian"})
    assert missing_capabilities(F, needs) == {}
    monkeypatch.setattr(DenseFeatures, "hessian_limit", 3)
    assert "with 4 parameters" in missing_capabilities(F, needs)["hessian"]
    assert "rows" in missing_capabilities(FunctionOracle(jnp.sum), frozenset({"rows"}))


QUESTIONS = {
    "evaluate": 1, "hessian": 1, "hessian_operator": 1, "line": 2, "preconditioner": 1,
    "subset": 1, "as_float32": 0, "restrict_columns": 3,
}  # fmt: skip


def test_a_solver_may_ask_eight_questions():
    methods = {n for n, m in vars(Oracle).items() if callable(m) and not n.startswith("_")}
    assert methods == set(QUESTIONS)


@pytest.mark.parametrize(("question", "arguments"), QUESTIONS.items())
def test_a_bare_oracle_answers_nothing(question, arguments):
    with pytest.raises(NotImplementedError):
        getattr(Oracle(), question)(*[None] * arguments)
