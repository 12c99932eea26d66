import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, make_objective
from jax_logreg.derivatives import analytic
from jax_logreg.objective.identifiability import (
    LogisticProblem,
    add_gauge_curvature,
    curvature_bound,
)
from jax_logreg.objective.model import probability
from tests.problems import make_problem, random_theta


def test_centring_changes_no_logit_difference_and_lowers_the_penalty(x64):
    F = make_problem("softmax", "float64").objective()
    theta = random_theta(F)
    centred = LogisticProblem(F).project_gauge(theta)
    np.testing.assert_allclose(jnp.sum(centred.reshape(-1, 3), axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(
        probability(F.linear(centred)), probability(F.linear(theta)), rtol=1e-12
    )
    assert F.value(centred) < F.value(theta)


def test_pinning_leaves_the_newton_step_and_makes_the_matrix_definite(x64):
    problem = make_problem("softmax", "float64")
    F = make_objective(jnp.asarray(problem.X), jnp.asarray(problem.y))
    theta = LogisticProblem(F).project_gauge(random_theta(F))
    H, g = analytic.hessian(F, theta), analytic.gradient(F, theta)
    pinned = add_gauge_curvature(F, H)
    assert np.linalg.matrix_rank(H) == F.num_parameters - 4  # one shift a row of θ
    assert np.linalg.eigvalsh(pinned)[0] > 0
    np.testing.assert_allclose(jnp.linalg.solve(pinned, g), np.linalg.pinv(H) @ g, rtol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(30, 4), (4, 30)])
def test_no_hessian_exceeds_the_bound(model, shape, fit_intercept, x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * 10 ** rng.uniform(-2, 2, size=shape[1])
    y = (
        rng.uniform(size=shape[0])
        if model == "sigmoid"
        else np.eye(3)[rng.integers(0, 3, shape[0])]
    )
    F = make_objective(X, y, L2(0.1), fit_intercept=fit_intercept)
    bound = curvature_bound(F)
    largest = max(
        float(jnp.linalg.eigvalsh(analytic.hessian(F, scale * random_theta(F, seed)))[-1])
        for seed, scale in enumerate([0.0, 1e-3, 1e-1, 1.0])
    )
    assert largest <= bound
    if model == "sigmoid":  # at even odds the bound is reached
        assert largest >= 0.9 * (bound - 0.1)


def recedes(objective, direction):
    return LogisticProblem(objective).is_recession_direction(direction, exact=True)


def test_a_direction_of_recession_is_told_from_any_other(x64):
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    complete = make_objective(X, [0.0, 0, 1, 1])
    quasi = make_objective(X - [[1.0]], [0.0, 0, 0, 1])
    overlap = make_objective(X, [0.0, 1, 0, 1])
    slope = jnp.array([1.0, 0.0])
    assert recedes(complete, slope)
    assert not recedes(complete, -slope)
    assert recedes(quasi, slope)
    assert not recedes(overlap, slope)
    assert not recedes(complete, 0 * slope)
    assert not recedes(make_objective(X, [0.0, 0, 1, 1], L2(1e-9)), slope)
    assert not recedes(make_objective(X, [0.0, 0.1, 1, 1]), slope)  # a soft label
    weights = np.array([1.0, 0, 0, 1])
    assert recedes(make_objective(X, [0.0, 1, 0, 1], sample_weight=weights), slope)


def test_softmax_recession(x64):
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    labels = np.eye(3)[[0, 0, 1, 2]]  # 1 and 2 overlap, 0 lies apart
    F = make_objective(X, labels)
    apart = F.join(jnp.array([[-2.0, 1.0, 1.0]]), jnp.zeros(3))
    assert recedes(F, apart)
    assert not recedes(F, F.join(jnp.array([[-2.0, 1.5, 0.5]]), jnp.zeros(3)))
    assert not recedes(F, jnp.ones(6))  # a class shift moves nothing


def test_a_separating_theta_is_recognised_by_its_value(x64):
    F = make_objective(np.array([[-1.0], [1.0]]), [0.0, 1.0])
    far, near = jnp.array([3.0, 0.0]), jnp.array([1e-3, 0.0])
    assert LogisticProblem(F).proves_separation(far, F.value(far))
    assert not LogisticProblem(F).proves_separation(
        near, F.value(near)
    )  # not yet below half of log 2
    overlap = make_objective(np.array([[-1.0], [1.0], [1.0]]), [0.0, 1.0, 0.0])
    assert not LogisticProblem(overlap).proves_separation(far, overlap.value(far))
