"""L-BFGS and Newton-CG on functions that are no logistic regression, and what they refuse."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import LBFGS, NewtonCG, Status
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.derivatives.linear_algebra import Diagonal, inner_products
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import HessianProduct
from jax_logreg.fitting import loop
from jax_logreg.objective.dense_features import as_features
from jax_logreg.solvers.lbfgs import _remember, inverse_hessian
from jax_logreg.solvers.newton import (
    cg_init,
    cg_run,
    cg_step,
    conjugate_gradients,
)
from tests.problems import make_problem, random_theta


def rosenbrock(t):
    return 100 * (t[1] - t[0] ** 2) ** 2 + (1 - t[0]) ** 2


@pytest.mark.parametrize("solver", [LBFGS("none"), NewtonCG("none")], ids=["lbfgs", "newton-cg"])
def test_rosenbrocks_valley_is_followed(solver, x64):
    oracle, tol = FunctionOracle(rosenbrock), jnp.asarray(1e-9)
    run = loop.start(oracle, solver, jnp.array([-1.2, 1.0]), tol, 200)
    run = loop.advance(oracle, solver, run, tol, jnp.asarray(200))
    np.testing.assert_allclose(run.state.point.theta, 1, atol=1e-8)


def bowl(size):
    A = np.random.default_rng(0).normal(size=(size, size))
    return jnp.asarray(A @ A.T + np.eye(size))


def test_on_a_quadratic_lbfgs_learns_the_inverse(x64):
    """With as many pairs as dimensions the recursion is the inverse Hessian."""
    A = bowl(4)
    oracle = FunctionOracle(lambda t, A: 0.5 * t @ A @ t, (A,))
    solver = LBFGS("none", memory=8)
    state = solver.init(oracle, jnp.ones(4))
    for _ in range(8):
        state = solver.step(oracle, state)
    v = jnp.arange(1.0, 5.0)
    np.testing.assert_allclose(inverse_hessian(state.memory, v), jnp.linalg.solve(A, v), rtol=0.05)


def test_conjugate_gradients_solve_in_as_many_steps_as_dimensions(x64):
    A, b = bowl(5), jnp.arange(1.0, 6.0)
    products = []

    def product(v):
        jax.debug.callback(lambda: products.append(1))
        return A @ v

    x = conjugate_gradients(product, b, lambda v: v / jnp.diag(A), 1e-9)
    np.testing.assert_allclose(A @ x, b, rtol=1e-6)
    jax.effects_barrier()
    assert len(products) <= 7


def test_without_curvature_the_direction_is_still_downhill(x64):
    x = conjugate_gradients(lambda v: 0 * v, jnp.ones(2), lambda v: v, 0.1)
    np.testing.assert_array_equal(x, 1)


@pytest.mark.parametrize("kind", ["diagonal", "gram", "hessian"])
def test_float32_leads_and_float64_goes_on_with_its_pairs(kind, model, x64):
    """The lead ends near the optimum, where few steps with its pairs do the rest."""
    F = make_problem(model, "float64").objective()
    oracle, solver = ModelOracle(F), LBFGS(kind, float32_steps=100)
    theta = oracle.problem.project_gauge(random_theta(F))
    begin = jax.jit(solver.init)(oracle, theta)
    assert begin.point.theta.dtype == jnp.float64
    assert jnp.max(jnp.abs(begin.point.gradient)) < 1e-5
    assert jnp.sum(begin.memory.pairs.curvatures > 0) >= 3
    run = loop.start(oracle, solver, theta, jnp.asarray(1e-12), 20)
    run = loop.advance(oracle, solver, run, jnp.asarray(1e-12), jnp.asarray(20))
    assert run.status == Status.CONVERGED
    assert run.num_steps <= 12


def test_where_float32_does_not_suffice_the_start_is_kept(x64):
    """A column that overflows float32 leads nowhere; float64 begins as if it had not been tried."""
    F = make_problem("sigmoid", "float64").objective()
    oracle = ModelOracle(replace(F, X=as_features(F.X.array.at[:, 0].multiply(1e60))))
    theta = jnp.zeros(F.num_parameters)
    led, plain = (LBFGS("diagonal", float32_steps=n).init(oracle, theta) for n in (50, 0))
    jax.tree.map(np.testing.assert_array_equal, led, plain)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: LBFGS("cholesky"), "preconditioner.*'cholesky'"),
        (lambda: LBFGS(sample=-1), "sample.*-1"),
        (lambda: LBFGS(memory=0), "memory.*0"),
        (lambda: LBFGS(float32_steps=1.5), "float32_steps.*1.5"),
        (lambda: LBFGS(float32_steps=7, search=False), "search must be True.*7"),
        (lambda: NewtonCG(sample=0.5), "sample.*0.5"),
    ],
)
def test_bad_settings_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_a_sample_of_more_rows_than_there_are_is_all_of_them(x64):
    F = make_problem("sigmoid", "float64").objective()
    oracle, theta = ModelOracle(F), jnp.zeros(F.num_parameters)
    found = LBFGS("gram", sample=10**4).prepare(oracle, theta)[1].preconditioner
    jax.tree.map(np.testing.assert_array_equal, found, oracle.preconditioner("gram"))


def same(v):
    return v


def test_conjugate_gradients_build_on_a_product_that_is_known(x64):
    """Of their own first direction it is one product less; one beside it costs a few more."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4, 4))
    H, b, other = jnp.asarray(A @ A.T), *jnp.asarray(rng.normal(size=(2, 4)))

    def left(direction, steps):
        def curve(v):
            return HessianProduct(v, H @ v, jnp.zeros(()))

        begun = cg_step(cg_init(b, direction), curve(direction), same)
        end = cg_run(curve, begun, same, jnp.zeros(()), steps)
        return jnp.max(jnp.abs(H @ end.solution - b))

    assert left(b, 4) < 1e-10 < 1e-3 < left(b, 3)
    assert left(b + 0.1 * other, 40) < 1e-10


def test_a_known_direction_without_curvature_leads_nowhere():
    nothing = HessianProduct(jnp.zeros(2), jnp.zeros(2), jnp.zeros(()))
    end = cg_step(cg_init(jnp.ones(2), nothing.vector), nothing, same)
    assert (end.norm_squared, end.max_logit_change) == (0, jnp.inf)


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 7])
def test_the_products_of_matrices_are_the_two_loops(steps, x64):
    """Nocedal & Wright, algorithm 7.4, over the last four pairs of a quadratic."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(9, 6))
    A, inverse = root.T @ root, rng.uniform(0.5, 2, size=6)
    oracle = FunctionOracle(lambda theta, A: 0.5 * theta @ A @ theta, (jnp.asarray(A),))
    solver = LBFGS("none", memory=4)
    state = solver.init(oracle, jnp.zeros(6))
    memory, pairs = state.memory._replace(preconditioner=Diagonal(jnp.asarray(inverse))), []
    for _ in range(steps):
        before, after = (oracle.evaluate(jnp.asarray(rng.normal(size=6))) for _ in range(2))
        memory = _remember(memory, before, after, jnp.asarray(True))
        pairs.append((after.theta - before.theta, after.gradient - before.gradient))
    vector = rng.normal(size=6)
    r, shares = vector, []
    for s, y in reversed(pairs[-4:]):
        shares.append(s @ r / (s @ y))
        r = r - shares[-1] * y
    r = memory.pairs.scale * inverse * r
    for s, y in pairs[-4:]:
        r = r + (shares.pop() - y @ r / (s @ y)) * s
    np.testing.assert_allclose(inverse_hessian(memory, jnp.asarray(vector)), r, rtol=1e-9)


@pytest.mark.parametrize("length", [3, 5000])
def test_inner_products_of_short_and_of_long_vectors_are_the_same_table(length, x64):
    vectors = np.random.default_rng(0).normal(size=(3, length))
    np.testing.assert_allclose(inner_products(*map(jnp.asarray, vectors)), vectors @ vectors.T)


def test_inner_products_of_long_vectors_make_no_copy_of_them():
    vectors = [jax.ShapeDtypeStruct((5000,), np.float32)] * 3
    shapes = re.findall(r"tensor<([0-9x]+)xf32>", jax.jit(inner_products).lower(*vectors).as_text())
    assert not {shape for shape in shapes if "5000" in shape} - {"5000"}
