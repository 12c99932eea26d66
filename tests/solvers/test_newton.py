import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, Newton, Status, fit
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.fitting import loop
from jax_logreg.interfaces.tables import load_embedded
from jax_logreg.solvers.newton import minimum_norm_solve
from tests.problems import OVERSHOOT_X, OVERSHOOT_Y


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


@pytest.mark.parametrize("start", [[-1.2, 1.0], [5.0, -5.0], [0.0, 0.0]])
def test_newton_knows_no_data_rosenbrock(start, x64):
    oracle = FunctionOracle(rosenbrock)
    run = loop.start(oracle, Newton(), jnp.array(start), jnp.asarray(1e-10), 200)
    run = jax.jit(loop.advance)(oracle, Newton(), run, jnp.asarray(1e-10), jnp.asarray(200))
    assert run.status == Status.CONVERGED
    np.testing.assert_allclose(run.state.point.theta, [1.0, 1.0], atol=1e-9)


def test_the_minimum_norm_solution_is_numpys(x64):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 3)) * [[1], [10], [1e3], [1], [1e-2], [1]]
    b = A @ rng.normal(size=3)
    x, rank, _ = minimum_norm_solve(jnp.asarray(A @ A.T), jnp.asarray(b))
    assert rank == 3
    np.testing.assert_allclose(x, np.linalg.pinv(A @ A.T, rcond=1e-11) @ b, rtol=1e-6)


def test_scale_decides_nothing_about_rank(dtype):
    """Columns in units a million apart are independent all the same."""
    d = jnp.array([1e-6, 1.0, 1e6], dtype)
    H = d[:, None] * jnp.array([[2.0, 1, 0], [1, 2, 1], [0, 1, 2]], dtype) * d
    x, rank, _ = minimum_norm_solve(H, H @ (1 / d))
    assert rank == 3
    np.testing.assert_allclose(x * d, 1, rtol=1e-4)


def test_a_column_of_zeros_gets_a_zero_step(x64):
    x, rank, _ = minimum_norm_solve(jnp.diag(jnp.array([2.0, 0.0])), jnp.array([2.0, 0.0]))
    assert rank == 1
    np.testing.assert_array_equal(x, [1.0, 0.0])


def test_a_direction_without_curvature_takes_no_round_off_from_the_others(x64):
    A = np.random.default_rng(3).normal(size=(9, 4)) * [1.0, 0.0, 1e-8, 1e3]
    _, rank, null = minimum_norm_solve(jnp.asarray(A.T @ A), jnp.asarray(A.sum(axis=0)))
    assert rank == 3
    assert np.array_equal(np.abs(null), [0, 1, 0, 0])


def test_products_tell_the_curvature_that_round_off_hides(x64):
    rng = np.random.default_rng(4)
    A = rng.normal(size=(50, 3)) @ [[1, 1, 0], [0, 1e-5, 0], [0, 0, 1]]
    b = A.T @ A @ [1.0, 2.0, 3.0]
    H = jnp.asarray(A.T @ A, jnp.float32)
    x, rank, null = minimum_norm_solve(
        H, jnp.asarray(b, jnp.float32), lambda v: (A.T @ (A @ v)).astype(jnp.float32),
        lambda null: jnp.asarray(True),
    )  # fmt: skip
    assert rank == 3
    assert not np.any(null)
    error = A @ (np.asarray(x, float) - [1, 2, 3])
    assert np.linalg.norm(error) < 1e-2 * np.linalg.norm(A @ [1, 2, 3])


def test_raw_columns_in_float32(x64):
    """Columns of many sizes, nearly dependent, and a weak penalty: a Hessian in float32 cannot tell
    its smaller eigenvalues from zero."""
    table = load_embedded("breast-cancer")
    X, y, penalty = table.X, table.y, L2(1 / len(table.y))
    exact = fit(X, y, penalty=penalty)
    result = fit(X.astype(np.float32), y, penalty=penalty, solver="newton")
    assert result.status is Status.CONVERGED
    change = X @ (np.asarray(result.coef, float) - exact.coef) + result.intercept - exact.intercept
    assert np.max(np.abs(change)) < 0.02


def test_a_weak_penalty_does_not_amplify_round_off(x64):
    """Along dependent columns the gradient in float32 is noise, and the curvature the penalty's."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 2))
    X = np.column_stack([X, X.sum(axis=1), rng.normal(size=60)])
    y = (rng.random(60) < 0.5).astype(int)
    exact = fit(X, y, penalty=L2(1e-6))
    result = fit(X.astype(np.float32), y, penalty=L2(1e-14), solver="newton")
    np.testing.assert_allclose(result.coef, exact.coef, atol=1e-4)


def undamped_newton(X, y, steps):
    Z = np.column_stack([X, np.ones(len(X))])
    theta = np.zeros(Z.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            mu = 1 / (1 + np.exp(-Z @ theta))
            H = Z.T @ ((mu * (1 - mu))[:, None] * Z)
            theta = theta - np.linalg.pinv(H) @ (Z.T @ (mu - y))
            if not np.all(np.abs(theta) < 1e6):
                return np.inf
    return np.max(np.abs(theta))


def test_overshoot_that_throws_undamped_newton_off_does_not_diverge(x64):
    assert undamped_newton(OVERSHOOT_X, OVERSHOOT_Y, 12) == np.inf
    result = fit(OVERSHOOT_X, OVERSHOOT_Y, tol=1e-10).raise_if_failed()
    assert result.gradient_norm <= 1e-10
    assert np.all(np.diff(result.history.objective[: int(result.num_steps) + 1]) < 1e-12)


@pytest.mark.parametrize("size", [10.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_it_comes_back_from_a_saturated_start(size, seed, x64):
    """Far out every probability is 0 or 1 and the Hessian vanishes or misleads."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    answer = fit(X, y).raise_if_failed()
    far = fit(X, y, init=(size * rng.normal(size=3), size)).raise_if_failed()
    np.testing.assert_allclose(far.coef, answer.coef, atol=1e-7)


def test_dependent_columns_share_the_coefficient_and_are_reported(x64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 1)), rng.integers(0, 2, 60)
    single = fit(x, y).raise_if_failed()
    twice = fit(np.hstack([x, 2 * x, rng.normal(size=(60, 1)) * 0]), y)
    assert twice.status == Status.NOT_UNIQUE
    assert twice.converged
    assert twice.rank == 2  # the column and the intercept
    # The shortest of all (a, b, c) with a + 2b equal to the single coefficient.
    np.testing.assert_allclose(twice.coef, single.coef * np.array([0.2, 0.4, 0.0]), atol=1e-8)


def test_round_off_stalls_no_fit(x64):
    """A plain Armijo search stops short on about one fit in seventy-five here."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 200, 5))
    eta = X @ rng.normal(size=5)
    y = (rng.uniform(size=eta.shape) < 1 / (1 + np.exp(-eta))).astype(float)
    results = jax.vmap(lambda X, y: fit(X, y, tol=1e-12))(X, y)
    assert np.all(results.status == Status.CONVERGED)
