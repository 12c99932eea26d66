"""The bounds bound, and dividing divides."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.derivatives.analytic import evaluate, hessian
from jax_logreg.derivatives.linear_algebra import invert
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.preconditioners import (
    bound_diagonal,
    bound_gram,
    hessian_diagonal,
)
from jax_logreg.solvers.base import stratified_rows
from tests.problems import random_theta


def as_matrix(preconditioner, P):
    """M from its action: the inverse of M⁻¹ on every basis vector."""
    return np.linalg.inv(np.stack([preconditioner.solve(e) for e in jnp.eye(P)], axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_boehnings_bound_lies_above_every_hessian(problem, seed):
    """M − H is positive semi-definite at random points, near zero and far out."""
    F = problem.objective()
    M = as_matrix(bound_gram(F), F.num_parameters)
    for scale in (0.0, 1.0, 10.0):
        H = hessian(F, scale * random_theta(F, seed))
        assert np.linalg.eigvalsh(M - H)[0] >= -1e-9 * np.linalg.eigvalsh(M)[-1]


def test_the_bound_is_the_hessian_of_even_odds(x64):
    """For two sigmoid classes it is attained at zero: the constant is no larger than it must be."""
    from tests.problems import make_problem

    F = make_problem("sigmoid", "float64").objective()
    F = F.__class__(**{**vars(F), "offset": None})
    M = as_matrix(bound_gram(F), F.num_parameters)
    np.testing.assert_allclose(M, hessian(F, jnp.zeros(F.num_parameters)), rtol=1e-9, atol=1e-12)


def test_the_diagonal_is_that_of_the_bound(problem):
    F = problem.objective()
    M = as_matrix(bound_gram(F), F.num_parameters)
    np.testing.assert_allclose(1 / bound_diagonal(F).inverse, np.diag(M), rtol=1e-9)


def test_the_diagonal_of_the_hessian_is_its_diagonal(problem):
    F = problem.objective()
    theta = random_theta(F)
    found = 1 / hessian_diagonal(F, evaluate(F, theta)).inverse
    np.testing.assert_allclose(found, np.diag(hessian(F, theta)), rtol=1e-9, atol=1e-12)


def test_a_singular_matrix_gets_a_jitter_and_is_not_refused(x64):
    solved = invert(jnp.array([[1.0, 1.0], [1.0, 1.0]])).solve(jnp.array([1.0, 1.0]))
    assert np.all(np.isfinite(solved))
    broken = invert(jnp.array([[1.0, 5.0], [5.0, 1.0]])).solve(jnp.array([1.0, 1.0]))
    assert np.all(np.isfinite(broken))


@pytest.mark.parametrize("size", [1, 7, 255, 256])
def test_small_and_large_matrices_are_inverted_alike(size, x64):
    """Sweeps up to 255, LAPACK beyond, both to what the condition allows."""
    A = np.random.default_rng(0).normal(size=(size, 2 * size))
    M = A @ A.T * np.outer(*[10.0 ** np.linspace(-3, 3, size)] * 2)
    v = np.ones(size)
    np.testing.assert_allclose(invert(jnp.asarray(M)).solve(v), np.linalg.solve(M, v), rtol=1e-8)


def test_a_sample_is_drawn_evenly_and_weighs_one(problem):
    oracle = ModelOracle(problem.objective())
    part = oracle.subset(stratified_rows(oracle.num_rows, 6))
    assert part.num_rows == 6
    np.testing.assert_allclose(jnp.sum(part.objective.row_weight), 1)
    rows = [
        int(np.flatnonzero((x == problem.X).all(axis=1))[0]) for x in part.objective.X.to_array()
    ]
    assert [row // 4 for row in rows] == list(range(6))  # one of each stretch of four
