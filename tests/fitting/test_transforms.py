"""``fit`` inside jit and under vmap, over each thing one would map; on a given device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import (
    L2,
    ElasticNet,
    Firth,
    Newton,
    Status,
    diagnose_separation,
    fit,
    fit_many,
    infer,
)
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.fitting import loop
from tests.problems import K, N, P, count_programs, make_problem


def close(batch, singles):
    for i, single in enumerate(singles):
        np.testing.assert_allclose(batch.coef[i], single.coef, atol=1e-9)
        assert batch.status[i] == single.status
        assert batch.num_steps[i] == single.num_steps


def test_inside_jit_it_gives_the_same_answer(problem):
    inside = jax.jit(lambda X, y: fit(X, y, **problem.options()))(problem.X, problem.y)
    outside = fit(problem.X, problem.y, **problem.options())
    np.testing.assert_allclose(inside.coef, outside.coef, atol=1e-12)
    assert inside.status == outside.status


def test_a_status_has_its_name_wherever_it_is_known(x64):
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    result = jax.jit(lambda X, y: fit(X, y))(X, y)
    for known in (result, jax.tree.map(np.asarray, result), fit(X, y)):
        assert known.status is Status.CONVERGED
        assert f"{known.status}" == "CONVERGED"
        assert repr(known).startswith("FitResult(status=CONVERGED, coef=")
    codes = jax.jit(lambda X, y: fit(X, y).status + 1)(X, y)
    assert codes == Status.CONVERGED + 1
    many = jax.vmap(lambda y: fit(X, y, penalty=L2(0.1)))(np.stack([y, 1 - y]))
    assert many.status.tolist() == [Status.CONVERGED] * 2


def test_inside_jit_class_numbers_that_are_known_count_themselves(x64):
    X, y = jnp.linspace(-1, 1, 30).reshape(10, 3), jnp.arange(10) % 3
    found, one = (f(lambda s: fit(X, y, penalty=L2(s)).coef) for f in (jax.jit, lambda f: f))
    np.testing.assert_allclose(found(0.1), one(0.1), atol=1e-8)


def test_inside_jit_integer_labels_need_the_number_of_classes(x64):
    X, y = make_problem("sigmoid", "float64").X, np.arange(N) % K
    inside = jax.jit(lambda X, y: fit(X, y, num_classes=K, penalty=L2(0.1)).coef)(X, y)
    np.testing.assert_allclose(inside, fit(X, y, penalty=L2(0.1)).coef, atol=1e-12)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "gradient_descent"])
def test_over_strengths(solver, model, x64):
    problem = make_problem(model, "float64")
    strengths = jnp.array([0.05, 0.1, 1.0])

    def train(strength):
        return fit(problem.X, problem.y, penalty=L2(strength), solver=solver)

    close(jax.vmap(train)(strengths), [train(s) for s in strengths])


def test_over_weights_data_and_starts(model, x64):
    problem = make_problem(model, "float64")
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.poisson(1.0, size=(3, N)) + 0.1)
    tables = jnp.asarray(problem.X + 0.1 * rng.normal(size=(3, N, P)))
    shape = (3, P) if model == "sigmoid" else (3, P, K)
    starts = jnp.asarray(rng.normal(size=shape))

    def train(w, X, start):
        init = start, jnp.zeros(() if model == "sigmoid" else K)
        return fit(X, problem.y, sample_weight=w, init=init, penalty=L2(0.1))

    together = jax.vmap(train)(weights, tables, starts)
    assert np.all(together.converged)
    close(together, [train(*part) for part in zip(weights, tables, starts, strict=True)])


def test_each_fit_of_a_batch_has_its_own_status(x64):
    """One table overlaps, one is separated, one holds NaN: none disturbs another."""
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    y = np.array([0.0, 1, 0, 1])
    tables = np.stack([X, X[[0, 2, 1, 3]], X * np.nan])
    result = jax.vmap(lambda X: fit(X, y))(tables)
    expected = [Status.CONVERGED, Status.SEPARATED, Status.NOT_FINITE]
    np.testing.assert_array_equal(result.status, expected)


def test_the_answer_stays_on_the_device_of_the_data(x64):
    default, device = jax.devices()[0], jax.devices()[-1]
    assert device != default
    problem = make_problem("sigmoid", "float64")
    result = fit(jax.device_put(problem.X, device), jax.device_put(problem.y, device))
    assert result.coef.devices() == {device}


def test_the_loop_makes_no_trip_to_the_host(problem):
    oracle, solver = ModelOracle(problem.objective()), Newton()
    theta, tol = jnp.zeros(oracle.objective.num_parameters), jnp.asarray(1e-8)

    def train(oracle, theta):
        run = loop.start(oracle, solver, theta, tol, 20)
        return loop.advance(oracle, solver, run, tol, jnp.asarray(20))

    program = str(jax.make_jaxpr(train)(oracle, theta))
    assert "while" in program
    assert "callback" not in program


def test_a_second_fit_of_the_same_shape_compiles_nothing(problem):
    def compiled_programs():
        from jax_logreg.fitting.loop import _finish, _solve, _solve_regular

        return count_programs(_solve, _solve_regular, _finish)

    fit(problem.X, problem.y, **problem.options())
    before = compiled_programs()
    options = problem.options() | {"penalty": L2(np.asarray(0.3), problem.penalty.factor)}
    fit(problem.X + 1, problem.y, tol=1e-6, **options)
    assert compiled_programs() == before


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs", "gradient_descent", Newton()])
def test_a_start_at_the_answer_has_no_derivative_of_zero(solver, x64):
    """Where no step is taken, that of the steps would be zero; right is up to 2.54."""
    problem = make_problem("sigmoid", "float64")
    answer = fit(problem.X, problem.y, penalty=L2(0.1))

    def coef(strength, **options):
        return fit(problem.X, problem.y, penalty=L2(strength), **options).coef

    found = jax.jvp(lambda s: coef(s, init=answer, solver=solver), (0.1,), (1.0,))[1]
    expected = (coef(0.1001, tol=1e-13) - coef(0.0999, tol=1e-13)) / 0.0002
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_answer_does_not_depend_on_where_the_fit_began(x64):
    problem = make_problem("sigmoid", "float64")

    def coef(start, tol):
        return fit(problem.X, problem.y, penalty=L2(0.1), init=start, tol=tol).coef

    start = jnp.ones(P), jnp.ones(())
    for slope in jax.tree.leaves(jax.jacrev(coef, argnums=(0, 1))(start, 1e-8)):
        assert not slope.any()


def test_fit_many_refuses_to_be_differentiated(x64):
    problem = make_problem("sigmoid", "float64")
    with pytest.raises(ValueError, match=r"jax.grad hide.*jax.vmap over fit"):
        jax.jvp(lambda s: fit_many(problem.X, problem.y, penalty=L2(s)).coef, *[(jnp.ones(2),)] * 2)


def test_a_fit_beside_what_is_differentiated_is_none_of_it(x64):
    """Stopped, or of constants: the derivative of the rest is as it would be."""
    problem = make_problem("sigmoid", "float64")

    def product(strength):
        stopped = jax.lax.stop_gradient(strength)
        both = [fit(problem.X, problem.y, penalty=L2(s)).coef[0] for s in (0.1, stopped)]
        return strength * (both[0] + both[1])

    expected = 2 * fit(problem.X, problem.y, penalty=L2(0.1)).coef[0]
    for differentiated in (jax.grad(product), jax.grad(jax.jit(product)), jax.jacfwd(product)):
        np.testing.assert_allclose(differentiated(0.1), expected, rtol=1e-6)


@pytest.mark.parametrize("penalty", [None, L2(0.1), ElasticNet(0.1), Firth()])
def test_a_fit_of_constants_is_a_constant_of_the_program(penalty, x64):
    problem = make_problem("sigmoid", "float64")
    inside = jax.jit(lambda s: s * fit(problem.X, problem.y, penalty=penalty).coef)(2.0)
    np.testing.assert_allclose(inside, 2 * fit(problem.X, problem.y, penalty=penalty).coef)


VALUE_DOORS = {
    "fit_many": lambda X, y: fit_many(X, y, penalty=L2(np.ones(2))).coef,
    "infer": lambda X, y: infer(fit(X, y), X, y).standard_error,
    "diagnose_separation": lambda X, y: diagnose_separation(X, y).diverging_sign,
}


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: jax.vmap(jax.jit(f))])
@pytest.mark.parametrize("door", VALUE_DOORS)
def test_a_door_that_looks_at_values_is_called_outside_of_a_program(door, transform, x64):
    problem = make_problem("sigmoid", "float64")
    tables, labels = jnp.asarray(problem.X)[None], jnp.asarray(problem.y)[None]
    tables, labels = (tables[0], labels[0]) if transform is jax.jit else (tables, labels)
    with pytest.raises(ValueError, match=f"{door} looks at the values.*outside"):
        transform(VALUE_DOORS[door])(tables, labels)
