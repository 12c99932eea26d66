"""Newton's loop on Hessians of full rank: it certifies itself, or leaves the rest to others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, LBFGS, fit
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.fitting.certificate import Tolerance
from jax_logreg.fitting.loop import _finish, _solve, _solve_regular
from jax_logreg.fitting.regular import run_regular
from jax_logreg.fitting.result import RUNNING, Status
from jax_logreg.solvers.newton import Newton
from tests.problems import count_programs

pytestmark = pytest.mark.usefixtures("x64")
CENTRE = np.array([1.0, -2.0])


def log_cosh(theta):
    """Convex, and so flat far out that a full Newton step overshoots by powers of ten."""
    away = jnp.abs(theta - CENTRE)
    return jnp.sum(away + jnp.log1p(jnp.exp(-2 * away)))


def run(function, start, tol=(1e-9, 1e-6), max_steps=50):
    bounds = Tolerance(*map(jnp.asarray, tol), jnp.asarray(1.0))
    oracle, method = FunctionOracle(function), Newton(singular=False)
    return jax.jit(lambda theta: run_regular(oracle, method, theta, (), bounds, max_steps))(start)


@pytest.mark.parametrize("start", [0.0, 3.0, 12.0])
def test_it_converges_from_where_full_steps_diverge(start):
    end = run(log_cosh, jnp.full(2, float(start), float))
    steps = int(end.num_steps)
    assert end.status == Status.CONVERGED
    np.testing.assert_allclose(end.point.theta, CENTRE, atol=1e-6)
    values = np.asarray(end.history.objective[: steps + 1])
    assert np.all(np.diff(values) < 0)
    np.testing.assert_allclose(values[0], log_cosh(jnp.full(2, float(start), float)), rtol=1e-14)
    for curve, last in zip(end.history, (end.point.value, end.norm), strict=True):
        assert curve[steps:].tolist() == [last] * (51 - steps)


def test_it_takes_no_step_from_the_answer():
    end = run(log_cosh, jnp.asarray(CENTRE))
    assert (end.status, end.num_steps) == (Status.CONVERGED, 0)


def test_it_goes_on_until_the_step_that_remains_is_small():
    loose = run(log_cosh, jnp.zeros(2), tol=(0.5, 1.0))
    strict = run(log_cosh, jnp.zeros(2), tol=(0.5, 1e-7))
    assert loose.decrement > 1e-7 > strict.decrement
    assert strict.num_steps > loose.num_steps


def test_a_limit_ends_the_run_without_a_verdict():
    end = run(log_cosh, jnp.full(2, 12.0, float), max_steps=2)
    assert (end.status, end.num_steps) == (RUNNING, 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda theta: (theta[0] + theta[1] - 1) ** 2,
        lambda theta: jnp.sum(theta * jnp.nan),
        lambda theta: jnp.sum(jnp.where(theta < 5, theta, jnp.nan)),
        lambda theta: -jnp.sum(theta**2) + theta[0],
    ],
    ids=["singular", "no number", "flat", "concave"],
)
def test_what_is_not_regular_is_left_to_others(function):
    end = run(function, jnp.ones(2))
    assert end.status == Status.STALLED


@pytest.mark.parametrize(
    ("kind", "status"), [("regular", "CONVERGED"), ("twice", "NOT_UNIQUE"), ("apart", "SEPARATED")]
)
def test_a_fit_uses_the_larger_programs_only_where_it_must(kind, status):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(70, 66))  # a size that no other test has
    y = (X[:, 0] + rng.logistic(size=70) > 0) if kind != "apart" else X[:, 0] > 0
    X = X[:, [0, 1, 1, 2]] if kind == "twice" else X if kind == "apart" else X[:, :4]
    before = count_programs(_solve, _finish), count_programs(_solve_regular)
    result = fit(X, y.astype(int), penalty=L2(0.0))
    assert result.status == Status[status]
    after = count_programs(_solve, _finish), count_programs(_solve_regular)
    assert (after[0] > before[0]) == (kind == "twice")  # a point proves its rows apart by itself
    assert after[1] >= before[1]


def rows(K, kind="plain"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    if kind == "twice":
        X[:, -1] = X[:, 0]
    if kind == "apart":
        return X, np.argmax(X[:, :K] if K > 2 else np.stack([X[:, 0], -X[:, 0]], 1), axis=1)
    return X, np.argmax(X[:, :K] + rng.gumbel(size=(300, K)), axis=1)


@pytest.mark.parametrize("penalty", [None, L2(0.01)], ids=["none", "L2"])
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", ["gram", "diagonal"])
def test_lbfgs_without_a_search_is_certified_as_newton_is(kind, K, penalty):
    X, y = rows(K)
    before = count_programs(_solve)
    found = fit(X, y, penalty=penalty, solver=LBFGS(kind, search=False))
    assert count_programs(_solve) == before
    exact = fit(X, y, penalty=penalty, solver="newton", init=found, max_steps=0)
    assert found.status == exact.status == Status.CONVERGED
    assert found.rank == exact.rank
    np.testing.assert_allclose(found.newton_decrement, exact.newton_decrement, rtol=0.5)
    np.testing.assert_allclose(found.objective, exact.objective, rtol=1e-13)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", ["twice", "apart"])
def test_lbfgs_without_a_search_finds_what_has_no_single_minimum(kind, K):
    X, y = rows(K, kind)
    result = fit(X, y, solver=LBFGS("gram", search=False))
    assert result.status == {"twice": Status.NOT_UNIQUE, "apart": Status.SEPARATED}[kind]
