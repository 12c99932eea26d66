import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import L2, Minibatch, Optax, Status, fit
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.fitting import loop
from tests.problems import N, make_problem


def test_a_plain_step_is_optaxs_own(x64):
    problem = make_problem("sigmoid", "float64")
    transform = optax.adam(0.1)
    result = fit(problem.X, problem.y, solver=transform, max_steps=3, fit_intercept=False)
    w, memory = jnp.zeros(3), transform.init(jnp.zeros(3))
    for _ in range(3):
        gradient = problem.X.T @ (jax.nn.sigmoid(problem.X @ w) - problem.y) / N
        updates, memory = transform.update(gradient, memory)
        w = w + updates
    np.testing.assert_allclose(result.coef, w, rtol=1e-12)


def test_a_schedule_that_begins_at_zero_is_no_stall(x64):
    problem = make_problem("sigmoid", "float64")
    warm_up = optax.linear_schedule(0.0, 2.0, 5)
    result = fit(problem.X, problem.y, penalty=L2(0.1), solver=optax.sgd(warm_up))
    assert result.status == Status.CONVERGED


def test_updates_that_no_longer_move_are_a_stall(x64):
    problem = make_problem("sigmoid", "float64")
    result = fit(problem.X, problem.y, solver=optax.sgd(0.0))
    assert result.status == Status.STALLED
    assert result.num_steps < 20


@pytest.mark.parametrize("derivatives", ["analytic", "autodiff"])
def test_lbfgs_searches_with_either_kind_of_derivative(derivatives, model, x64):
    problem = make_problem(model, "float64")
    options = problem.options() | {"tol": 1e-9}
    quasi = fit(problem.X, problem.y, solver="lbfgs", derivatives=derivatives, **options)
    newton = fit(problem.X, problem.y, **options)
    assert quasi.converged
    np.testing.assert_allclose(quasi.coef, newton.coef, atol=1e-7)


def test_lbfgs_minimises_any_function(x64):
    solver, tol = Optax(optax.lbfgs()), jnp.asarray(1e-8)
    oracle = FunctionOracle(lambda t: jnp.sum((t - 3) ** 4 + (t - 3) ** 2))
    run = loop.start(oracle, solver, jnp.zeros(2), tol, 100)
    run = loop.advance(oracle, solver, run, tol, jnp.asarray(100))
    np.testing.assert_allclose(run.state.point.theta, 3.0, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 7, N, 10 * N])
def test_minibatches_train_with_a_decaying_schedule(batch_size, x64):
    """Seven does not divide the rows: the last batch takes what is left."""
    problem = make_problem("sigmoid", "float64")
    epochs = 60
    updates = epochs * -(-N // min(batch_size, N))
    transform = optax.adam(optax.cosine_decay_schedule(0.1, updates))
    solver = Minibatch(transform, batch_size, jax.random.key(0))
    result = fit(problem.X, problem.y, solver=solver, max_steps=epochs, **problem.options())
    best = fit(problem.X, problem.y, **problem.options())
    assert result.objective - best.objective < 1e-3
    assert result.history.objective[0] - best.objective > 1e-2


def test_one_batch_of_all_rows_is_the_full_batch(x64):
    problem = make_problem("sigmoid", "float64")
    transform = optax.sgd(0.5)
    options = problem.options() | {"max_steps": 10}
    batch = fit(problem.X, problem.y, solver=Minibatch(transform, N, jax.random.key(1)), **options)
    full = fit(problem.X, problem.y, solver=transform, **options)
    np.testing.assert_allclose(batch.coef, full.coef, rtol=1e-12)


def test_batches_visit_every_row_once_and_weigh_alike():
    rows, scale = Minibatch(optax.sgd(1.0), 7, jax.random.key(0))._batches(N, jax.random.key(2))
    seen = np.asarray(rows)[np.asarray(scale) > 0]
    np.testing.assert_array_equal(np.sort(seen), np.arange(N))
    np.testing.assert_allclose(np.sum(scale, axis=1), N, rtol=1e-6)


def test_the_key_decides_the_training(x64):
    problem = make_problem("sigmoid", "float64")

    def train(seed):
        solver = Minibatch(optax.sgd(0.3), 7, jax.random.key(seed))
        return fit(problem.X, problem.y, solver=solver, max_steps=3).coef

    np.testing.assert_array_equal(train(0), train(0))
    assert np.any(train(0) != train(1))
