import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, log_likelihood, make_objective
from tests.problems import K, N, P, make_problem, random_theta


def test_the_layout_of_theta_is_rows_then_intercepts(x64):
    F = make_problem("softmax", "float64").objective()
    theta = jnp.arange(float(F.num_parameters))
    coef, intercept = F.split(theta)
    assert coef.shape == (P, K)
    assert coef[1, 2] == 1 * K + 2
    np.testing.assert_array_equal(intercept, theta[-K:])
    np.testing.assert_array_equal(F.join(coef, intercept), theta)


def test_without_an_intercept_theta_is_the_coefficients(x64):
    F = make_objective(np.ones((4, 2)), np.array([0.0, 1, 0, 1]), fit_intercept=False)
    coef, intercept = F.split(jnp.array([1.0, 2.0]))
    assert F.num_parameters == 2
    assert intercept == 0
    np.testing.assert_array_equal(F.join(coef, intercept), [1.0, 2.0])


def test_the_value_is_the_formula(problem):
    F = problem.objective()
    theta = random_theta(F)
    coef, intercept = F.split(theta)
    eta = problem.X @ coef + intercept + problem.offset
    loss = -log_likelihood(eta, jnp.asarray(problem.y), problem.sample_weight, mean=True)
    factor = np.asarray(problem.penalty.factor).reshape(-1, *[1] * (coef.ndim - 1))
    penalty = 0.5 * problem.penalty.strength * jnp.sum(factor * coef**2)
    np.testing.assert_allclose(F.value(theta), loss + penalty, rtol=1e-13)


def test_the_intercept_is_never_penalised(problem):
    F = problem.objective()
    theta = random_theta(F)
    coef, intercept = F.split(theta)
    without = make_objective(
        problem.X, problem.y, sample_weight=problem.sample_weight, offset=problem.offset
    )
    for shift in (0.0, 5.0):
        moved = F.join(coef, intercept + shift)
        np.testing.assert_allclose(
            F.value(moved) - without.value(moved), problem.penalty.value(coef)
        )


def test_a_minibatch_with_every_row_is_the_objective(problem):
    F = problem.objective()
    theta = random_theta(F)
    np.testing.assert_allclose(F.take(jnp.arange(N), jnp.ones(N)).value(theta), F.value(theta))


def test_it_composes_with_vmap_over_strengths(problem):
    F = problem.objective()
    theta = random_theta(F)

    def value(strength):
        penalty = L2(strength)
        return make_objective(problem.X, problem.y, penalty).value(theta)

    strengths = jnp.array([0.0, 0.1, 1.0])
    np.testing.assert_allclose(jax.vmap(value)(strengths), [value(s) for s in strengths])


@pytest.mark.parametrize("coef", [np.ones(2), np.ones((2, 3))])
def test_the_factor_belongs_to_the_feature(coef, x64):
    found = L2(2.0, jnp.array([1.0, 3.0])).curvature(jnp.asarray(coef))
    np.testing.assert_array_equal(
        found, np.broadcast_to([[2.0], [6.0]], (2, 3))[:, : coef.size // 2].reshape(coef.shape)
    )
