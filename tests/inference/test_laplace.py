"""Standard errors and evidence in JAX: the numbers of ``infer`` and of an integral, and their
derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from jax_logreg import L2, ElasticNet, Firth, fit, infer, log_likelihood, logits, probability
from jax_logreg.inference.laplace import log_marginal_likelihood, standard_error
from tests.problems import make_problem


@pytest.mark.parametrize("penalty", [None, L2(0.1), Firth()])
def test_standard_errors_are_those_of_infer(penalty, problem):
    options = problem.options() | {"penalty": penalty}
    result = fit(problem.X, problem.y, tol=1e-12, **options)
    expected = infer(result, problem.X, problem.y, **options).standard_error
    found = standard_error(result, problem.X, **options)
    np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-8)


def following(problem, parts):
    """All that is differentiable after a fit."""
    X, weight, strength = parts
    options = {"sample_weight": weight, "penalty": L2(strength), "offset": problem.offset}
    result = fit(X, problem.y, tol=1e-13, **options)
    eta = logits(X, result.coef, result.intercept, problem.offset)
    errors = standard_error(result, X, **options)
    evidence = log_marginal_likelihood(result, X, problem.y, **options)
    parts = errors, probability(eta).ravel(), log_likelihood(eta, problem.y, weight), evidence
    return jnp.hstack(parts)


def test_what_follows_a_fit_is_differentiable(problem):
    rng = np.random.default_rng(0)
    parts = jnp.asarray(problem.X), jnp.asarray(problem.sample_weight), jnp.asarray(0.1)
    change = jax.tree.map(lambda a: jnp.asarray(0.1 * rng.normal(size=a.shape)), parts)

    def along(t):
        return following(problem, jax.tree.map(lambda a, b: a + t * b, parts, change))

    h = 1e-2
    pairs = [along(t * h) - along(-t * h) for t in (1, 2, 3)]
    expected = (45 * pairs[0] - 9 * pairs[1] + pairs[2]) / (60 * h)
    found = jax.jvp(lambda parts: following(problem, parts), (parts,), (change,))[1]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
    weights = rng.normal(size=found.shape)
    gradient = jax.grad(lambda parts: weights @ following(problem, parts))(parts)
    total = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, change)))
    np.testing.assert_allclose(total, weights @ found, rtol=1e-8)


def test_the_evidence_is_about_the_integral(x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    y, strength = (rng.uniform(size=200) < expit(X[:, 0])).astype(float), 0.05
    result = fit(X, y, penalty=L2(strength), fit_intercept=False)
    found = log_marginal_likelihood(result, X, y, penalty=L2(strength), fit_intercept=False)
    precision, peak = 200 * strength, 200 * result.objective

    def density(beta):
        eta = X[:, 0] * beta
        log_joint = np.sum(y * eta - np.logaddexp(0, eta)) - precision * beta**2 / 2
        return np.exp(log_joint + peak) * np.sqrt(precision / (2 * np.pi))

    np.testing.assert_allclose(found, np.log(quad(density, -3, 5)[0]) - peak, atol=0.01)


def test_an_l1_penalty_is_refused(x64):
    problem = make_problem("sigmoid", "float64")
    result = fit(problem.X, problem.y, penalty=L2(0.1))
    with pytest.raises(ValueError, match="no standard error"):
        standard_error(result, problem.X, penalty=ElasticNet(0.1))
    with pytest.raises(ValueError, match=r"must be L2\(strength\)"):
        log_marginal_likelihood(result, problem.X, problem.y, penalty=Firth())
