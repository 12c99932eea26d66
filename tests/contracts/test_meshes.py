"""Data on several devices: meshes of either kind of axes, uneven rows, and ``jax.shard_map``."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jax_logreg as lr
from tests.problems import K, N, P, make_problem

ROWS = PartitionSpec("rows")


@pytest.fixture
def mesh(x64):
    """Of explicit axes, JAX's default."""
    return jax.make_mesh((2,), ("rows",))


def spread(mesh, *arrays):
    return jax.device_put(arrays, NamedSharding(mesh, ROWS))


DOORS = {
    "newton": lambda X, y, Y: lr.fit(X, y),
    "lbfgs": lambda X, y, Y: lr.fit(X, Y, solver="lbfgs"),
    "gradient descent": lambda X, y, Y: lr.fit(X, y, solver="gradient_descent"),
    "elastic net": lambda X, y, Y: lr.fit(X, y, penalty=lr.ElasticNet(0.1, 0.5)),
    "Firth": lambda X, y, Y: lr.fit(X, y, penalty=lr.Firth()),
    "weights": lambda X, y, Y: lr.fit(X, y, sample_weight=y + 1, offset=y),
    "warm": lambda X, y, Y: lr.fit(X, Y, init=lr.fit(X, Y, tol=0.1)),
    "class numbers": lambda X, y, Y: lr.fit(X, jnp.argmax(Y, axis=1)),
    "jit": lambda X, y, Y: jax.jit(lr.fit)(X, Y),
    "vmap": lambda X, y, Y: jax.vmap(lambda s: lr.fit(X, y, penalty=lr.L2(s)))(jnp.ones(2)),
    "fit_many": lambda X, y, Y: lr.fit_many(X, y, penalty=lr.L2(np.array([0.1, 1.0]))),
    "infer": lambda X, y, Y: lr.infer(lr.fit(X, Y), X, Y).standard_error,
    "influence": lambda X, y, Y: lr.influence(lr.infer(lr.fit(X, y), X, y)).leverage,
    "tests": lambda X, y, Y: _hypothesis_tests(lr.infer(lr.fit(X, y > 0.5), X, y > 0.5)),
    "profile": lambda X, y, Y: lr.profile_interval(lr.infer(lr.fit(X, y), X, y), 0.9, ["x0"]),
    "marginal effects": lambda X, y, Y: (
        lr.marginal_effects(lr.infer(lr.fit(X, Y), X, Y)).standard_error
    ),
    "intervals": lambda X, y, Y: lr.predict_interval(lr.infer(lr.fit(X, Y), X, Y), X)[1],
    "null likelihood": lambda X, y, Y: (
        lr.infer(lr.fit(X, y, offset=y), X, y, offset=y).null_log_likelihood
    ),
    "separation": lambda X, y, Y: lr.diagnose_separation(X, y > 0.5).diverging_sign,
    "formulas": lambda X, y, Y: lr.log_likelihood(lr.logits(X, np.ones((P, K)), np.ones(K)), Y),
    "estimator": lambda X, y, Y: lr.LogisticRegression().fit(X, y > 0.5).predict_proba(X),
}


def _hypothesis_tests(inference):
    methods = ("wald", "score", "likelihood_ratio")
    return [lr.hypothesis_test(inference, ["x0"], method=m).p_value for m in methods]


@pytest.mark.parametrize("door", DOORS)
def test_the_answers_are_those_of_one_device(door, mesh):
    problem, Y = make_problem("sigmoid", "float64"), make_problem("softmax", "float64").y
    one = DOORS[door](*map(jnp.asarray, (problem.X, problem.y, Y)))
    several = DOORS[door](*spread(mesh, problem.X, problem.y, Y))
    if isinstance(one, lr.FitResult):
        np.testing.assert_array_equal(several.status, one.status)
        one, several = one.coef, several.coef
        assert several.sharding.is_fully_replicated
    np.testing.assert_allclose(several, one, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "placed"),
    [(AxisType.Explicit, False), (AxisType.Explicit, True), (AxisType.Auto, True)],
)
@pytest.mark.parametrize("door", DOORS)
def test_a_mesh_that_is_set_changes_no_answer(door, kind, placed, x64):
    problem, Y = make_problem("sigmoid", "float64"), make_problem("softmax", "float64").y
    mesh, data = jax.make_mesh((2,), ("rows",), axis_types=(kind,)), (problem.X, problem.y, Y)
    without = DOORS[door](*data)
    with jax.set_mesh(mesh):
        within = DOORS[door](*spread(mesh, *data) if placed else data)
    if isinstance(without, lr.FitResult):
        without, within = without.coef, within.coef
    np.testing.assert_allclose(within, without, atol=1e-6)


def test_the_answer_to_data_of_no_mesh_goes_with_arrays_of_any(mesh):
    problem = make_problem("sigmoid", "float64")
    (X,) = spread(mesh, 1000 + problem.X)  # far from zero: the answer is brought to its units
    result = lr.fit(np.asarray(X), problem.y)
    with jax.set_mesh(mesh):
        assert (X @ result.coef).shape == (N,)
    np.testing.assert_allclose(lr.fit(X, problem.y, init=result).coef, result.coef, atol=1e-6)


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
def test_rows_stay_on_their_devices(kind, x64):
    """The loop reads each row where it is: no program gathers them."""
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(kind,))
    X, y = spread(mesh, np.ones((4096, 4)), np.ones(4096))
    compiled = jax.jit(lambda X, y: lr.fit(X, y, penalty=lr.L2(0.1))).lower(X, y).compile()
    assert "all-gather" not in compiled.as_text()


def test_uneven_rows_are_padded_with_rows_of_weight_zero(mesh):
    problem = make_problem("sigmoid", "float64")
    X, y = problem.X[:-1], problem.y[:-1]
    extra = -len(X) % mesh.size
    weight = np.pad(np.ones(len(X)), (0, extra))
    padded = spread(mesh, np.pad(X, ((0, extra), (0, 0))), np.pad(y, (0, extra)), weight)
    result = lr.fit(*padded[:2], sample_weight=padded[2])
    np.testing.assert_allclose(result.coef, lr.fit(X, y).coef, atol=1e-12)


FITS = {
    "newton": {},
    "autodiff": {"derivatives": "autodiff"},
    "newton_cg": {"solver": "newton_cg", "penalty": lr.L2(0.1)},
    "lbfgs": {"solver": lr.LBFGS("hessian", sample=6)},
    "gradient descent": {"solver": lr.GradientDescent(backtracking=True), "max_steps": 20},
    "elastic net": {"penalty": lr.ElasticNet(0.1, 0.5)},
    "softmax": {},
    "Firth": {"penalty": lr.Firth(), "solver": "newton"},
    "adam": {"solver": optax.adam(0.1), "max_steps": 20},
    "minibatch": {"solver": lr.Minibatch(optax.sgd(0.1), 4, jax.random.key(0)), "max_steps": 2},
}


@pytest.mark.parametrize("fit", FITS)
def test_a_fit_to_the_rows_of_each_device(fit, x64):
    """Inside shard_map, whose types say over which axes a number varies: nothing is summed."""
    problem = make_problem("softmax" if fit == "softmax" else "sigmoid", "float64")
    X, y = problem.X, problem.y
    mesh = jax.make_mesh((2,), ("rows",))

    def train(X, y):
        result = lr.fit(X, y, **FITS[fit])
        return result.coef[None], result.num_steps[None]

    both = jax.shard_map(train, mesh=mesh, in_specs=(ROWS, ROWS), out_specs=ROWS)
    coef, steps = map(np.asarray, jax.jit(both)(*spread(mesh, X, y)))
    for i, rows in enumerate(np.split(np.arange(N), 2)):
        alone = jax.jit(lambda X, y: lr.fit(X, y, **FITS[fit]))(X[rows], y[rows])
        np.testing.assert_allclose(coef[i], alone.coef, atol=1e-9)
        assert steps[i] == alone.num_steps
