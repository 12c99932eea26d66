"""BFGS from the Hessian of a sample: its update, its start, and what its steps certify."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, Status, fit, make_objective
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.solvers.base import minimise_sample
from jax_logreg.solvers.bfgs import BFGS

pytestmark = pytest.mark.usefixtures("x64")


def bowl(size):
    A = np.random.default_rng(0).normal(size=(size, size))
    return jnp.asarray(A @ A.T + np.eye(size))


def data(n=640, p=4, K=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    if K:
        return X, np.argmax(X @ rng.normal(size=(p, K)) + rng.gumbel(size=(n, K)), axis=1)
    return X, (X[:, 0] + rng.logistic(size=n) > 0).astype(int)


def test_the_update_is_symmetric_and_maps_the_change_of_the_gradient_to_the_step():
    A = bowl(4)
    oracle = FunctionOracle(lambda t, A: 0.5 * t @ A @ t, (A,))
    before, after = (oracle.evaluate(theta) for theta in (jnp.ones(4), jnp.arange(4.0)))
    memory = BFGS().prepare(oracle, before.theta)[1]._replace(inverse=jnp.eye(4))
    proposal = BFGS().propose(oracle, memory, before, after)
    B = proposal.memory.inverse
    np.testing.assert_allclose(B, B.T, rtol=1e-14)
    step, change = after.theta - before.theta, after.gradient - before.gradient
    np.testing.assert_allclose(B @ change, step, atol=1e-14)
    np.testing.assert_allclose(proposal.direction, -B @ after.gradient, atol=1e-14)
    assert jnp.min(jnp.linalg.eigvalsh(B)) > 0


def test_a_step_without_curvature_leaves_the_estimate():
    oracle = FunctionOracle(lambda t: jnp.sum(t))
    before, after = (oracle.evaluate(theta) for theta in (jnp.ones(4), jnp.zeros(4)))
    memory = BFGS().prepare(FunctionOracle(lambda t: t @ t), before.theta)[1]
    proposal = BFGS().propose(oracle, memory, before, after)
    np.testing.assert_array_equal(proposal.memory.inverse, memory.inverse)


@pytest.mark.parametrize("K", [None, 3])
def test_it_starts_at_the_minimum_of_a_sample(K):
    X, y = data(K=K)
    y = np.eye(K)[y] if K else y.astype(float)
    F = make_objective(X, y, L2(0.01))
    oracle = ModelOracle(F)
    zero = jnp.zeros(F.num_parameters)
    theta, hessian, inverse = minimise_sample(oracle, zero)
    point = oracle.evaluate(theta)
    assert jnp.max(jnp.abs(point.gradient)) < 1e-4
    np.testing.assert_allclose(hessian, oracle.hessian(point), atol=0.01)
    np.testing.assert_allclose(inverse.to_matrix() @ hessian, np.eye(len(theta)), atol=1e-8)


@pytest.mark.parametrize("penalty", [None, L2(0.01)])
@pytest.mark.parametrize("sample", [0, 320])
@pytest.mark.parametrize("K", [None, 3])
def test_its_certificate_is_newtons(K, sample, penalty):
    X, y = data(K=K)
    found = fit(X, y, penalty=penalty, solver=BFGS(sample=sample))
    exact = fit(X, y, penalty=penalty, solver="newton", init=found, max_steps=0)
    assert found.status == exact.status == Status.CONVERGED
    assert found.solver.startswith("BFGS")
    assert found.rank == exact.rank
    np.testing.assert_allclose(found.newton_decrement, exact.newton_decrement, rtol=0.5)
    np.testing.assert_allclose(
        found.coef, fit(X, y, penalty=penalty, solver="newton").coef, atol=1e-6
    )


@pytest.mark.parametrize("sample", [0, 320])
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("twice", "NOT_UNIQUE"),
        ("constant", "NOT_UNIQUE"),
        ("apart", "SEPARATED"),
        ("half apart", "SEPARATED"),
        ("rare", "CONVERGED"),
    ],
)
def test_what_a_sample_cannot_show_is_found(kind, status, sample):
    X, y = data()
    if kind == "apart":
        y = (X[:, 0] > 0).astype(int)
    elif kind == "half apart":  # those that have the last feature are all of one class
        X[:, -1] = 0
        X[np.flatnonzero(y)[:5], -1] = 1
    elif kind == "rare":
        X[:, -1] = 0
        X[[*np.flatnonzero(y)[:2], *np.flatnonzero(1 - y)[:2]], -1] = 1
    else:
        X[:, -1] = X[:, 0] if kind == "twice" else 1
    result = fit(X, y, solver=BFGS(sample=sample))
    assert result.status == Status[status]
    if status != "SEPARATED":
        assert result.rank == (5 if kind == "rare" else 4)


def test_inside_jit_it_runs_in_the_general_loop():
    X, y = data()
    solver = BFGS(sample=320)
    within = jax.jit(lambda X: fit(X, y.astype(float), penalty=L2(0.01), solver=solver))(X)
    outside = fit(X, y, penalty=L2(0.01), solver=solver)
    assert within.converged
    np.testing.assert_allclose(within.coef, outside.coef, atol=1e-7)
    seen = []
    slowly = fit(X, y, penalty=L2(0.01), solver=solver, progress=lambda *at: seen.append(at))
    assert slowly.converged
    assert seen
    np.testing.assert_allclose(slowly.coef, outside.coef, atol=1e-7)


def test_it_refuses_a_sample_that_is_no_number():
    with pytest.raises(ValueError, match="sample must be a whole number"):
        BFGS(sample=-1)
