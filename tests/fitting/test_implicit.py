"""The derivative of a fit: against differences of the whole fit, in every mode of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.sparse import BCOO

from jax_logreg import L2, ElasticNet, Firth, Status, fit
from jax_logreg.fitting import implicit
from jax_logreg.objective.sparse_features import sparse_features
from tests.problems import N, P, make_problem

STEP = 2e-3  # of central differences of order six


def differences(f, x, direction):
    """The derivative of f at x along a direction; x and the direction are pytrees."""

    def at(t):
        return f(jax.tree.map(lambda a, b: a + t * STEP * b, x, direction))

    pairs = [at(t) - at(-t) for t in (1, 2, 3)]
    return (45 * pairs[0] - 9 * pairs[1] + pairs[2]) / (60 * STEP)


def parts_of(problem):
    """All that a fit can be differentiated in."""
    names = ("X", "y", "sample_weight", "offset")
    parts = {name: jnp.asarray(getattr(problem, name)) for name in names}
    return parts | {"penalty": L2(jnp.asarray(0.1), jnp.asarray(problem.penalty.factor))}


def direction_of(parts, seed=1):
    """A random direction; labels stay probabilities."""
    rng = np.random.default_rng(seed)
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), parts)
    y = 0.05 * direction["y"]
    direction["y"] = y if y.ndim == 1 else y - jnp.mean(y, axis=1, keepdims=True)
    return direction


def slope_along(loss, parts, direction):
    """The derivative along a direction, by reverse mode."""
    gradient = jax.grad(loss)(parts)
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)))


def answer(parts, **options):
    """Coefficients, intercept and minimum of a fit, to the last digits."""
    result = fit(**parts, **{"tol": 1e-13} | options)
    return jnp.concatenate([result.coef.ravel(), result.intercept.ravel(), result.objective[None]])


def close(found, expected, rtol=1e-8):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


@pytest.fixture
def parts(problem):
    middle = 1 / (2 if problem.y.ndim == 1 else problem.y.shape[1])
    return parts_of(problem._replace(y=0.8 * problem.y + 0.2 * middle))  # may move both ways


def test_every_mode_gives_the_derivative_in_all_parts(parts):
    direction = direction_of(parts)
    expected = differences(answer, parts, direction)
    close(jax.jvp(answer, (parts,), (direction,))[1], expected)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=expected.shape))

    def loss(parts):
        return weights @ answer(parts)

    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.grad(jax.jit(loss))):
        slopes = jax.tree.map(jnp.vdot, gradient(parts), direction)
        close(sum(jax.tree.leaves(slopes)), weights @ expected)


def test_twice(parts):
    direction = direction_of(parts)

    def slope(parts):
        return jax.jvp(answer, (parts,), (direction,))[1]

    expected = differences(slope, parts, direction)
    close(jax.jvp(slope, (parts,), (direction,))[1], expected, 1e-7)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=expected.shape))
    found = slope_along(lambda parts: weights @ slope(parts), parts, direction)
    close(found, weights @ expected, 1e-7)


def test_under_vmap(parts):
    strengths = jnp.array([0.05, 0.1, 0.3])

    def coef(strength):
        return answer(parts | {"penalty": L2(strength)})

    many = jax.vmap(jax.jacfwd(coef))(strengths)
    for strength, found in zip(strengths, many, strict=True):
        close(found, differences(coef, strength, 0.1) / 0.1)
    close(jax.vmap(jax.jacrev(coef))(strengths), many)


PENALTIES = {
    "elastic net": lambda factor: ElasticNet(jnp.asarray(0.03), jnp.asarray(0.7), factor),
    "Firth": lambda _: Firth(),
}


@pytest.mark.parametrize("penalty", PENALTIES)
def test_other_penalties(penalty, parts):
    parts = parts | {"penalty": PENALTIES[penalty](parts["penalty"].factor)}
    direction = direction_of(parts)
    if penalty == "elastic net":
        direction["penalty"] = ElasticNet(0.01, 0.05, 0.1 * direction["penalty"].factor)
        coef = fit(**parts).coef
        assert 0 < jnp.sum(coef == 0) < coef.size
    expected = differences(answer, parts, direction)
    close(jax.jvp(answer, (parts,), (direction,))[1], expected)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=expected.shape))
    close(slope_along(lambda parts: weights @ answer(parts), parts, direction), weights @ expected)


@pytest.mark.parametrize("penalty", [L2(0.1), ElasticNet(0.02)])
def test_the_entries_of_a_sparse_table(penalty, parts):
    dense = np.where(np.abs(parts["X"]) > 0.5, parts["X"], 0)
    places = jnp.asarray(np.argwhere(dense))
    others = {name: part for name, part in parts.items() if name != "X"} | {"penalty": penalty}

    def of_entries(entries):
        return answer(others | {"X": BCOO((entries, places), shape=dense.shape)})

    def of_table(table):
        return answer(others | {"X": table})

    entries, table = jnp.asarray(dense[tuple(places.T)]), jnp.asarray(dense)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=of_table(table).shape))
    expected = jax.grad(lambda X: weights @ of_table(X))(table)[tuple(places.T)]
    for loss in (lambda e: weights @ of_entries(e), jax.jit(lambda e: weights @ of_entries(e))):
        close(jax.grad(loss)(entries), expected)
    close(jax.jacfwd(of_entries)(entries).T @ weights, expected)


METHODS = {
    "entries": (40, 3),
    "the columns' matrix": (16000, 80),
    "float32, then the columns' matrix": (1500, 501),
    "a diagonal": (60, 700),
}


@pytest.mark.parametrize("method", METHODS)
def test_however_the_system_is_solved(method, x64):
    """By the columns' matrix too, where those are nearly parallel: float32 gives up there."""
    n, p = METHODS[method]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) + (30 * rng.normal(size=(n, 1)) if "then" in method else 0)
    y = rng.uniform(size=n)

    def coef(strength):
        return fit(X, y, penalty=L2(strength), tol=1e-12).coef

    direction = jax.jvp(coef, (0.1,), (1.0,))[1]
    close(direction, differences(coef, 0.1, 0.01) / 0.01, 1e-6)
    weights = rng.normal(size=p)
    close(jax.grad(lambda s: weights @ coef(s))(0.1), weights @ direction)


def test_no_matrix_of_many_parameters_is_formed(x64):
    kind = jax.ShapeDtypeStruct((50, 20_000), jnp.float64)

    def coef(X, strength):
        return jnp.sum(fit(X, jnp.linspace(0.1, 0.9, 50), penalty=L2(strength)).coef)

    program = str(jax.make_jaxpr(jax.grad(coef, argnums=1))(kind, 0.1))
    assert "20000,2000" not in program.replace("20001", "20000")


NO_ANSWER = {
    "SEPARATED": {"y": np.array([0.0, 0, 1, 1])},
    "NOT_UNIQUE": {"X": np.array([[-2.0, -2], [-1, -1], [1, 1], [2, 2]])},
    "MAX_STEPS": {"max_steps": 1},
}


@pytest.mark.parametrize("status", NO_ANSWER)
def test_without_an_answer_it_is_nan(status, x64):
    arguments = {"X": np.array([[-2.0], [-1], [1], [2]]), "y": np.array([0.0, 1, 0, 1])}
    arguments |= NO_ANSWER[status]

    def result(weight):
        return fit(**arguments, sample_weight=weight)

    weight = jnp.array([1.0, 1.1, 1.2, 1.4])
    assert result(weight).status is Status[status]
    for jacobian in (jax.jacfwd, jax.jacrev):
        found = jacobian(lambda w: (result(w).coef, result(w).objective))(weight)
        assert all(jnp.all(jnp.isnan(part)) for part in found)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-10, 1 - 1e-10, 1.01, 0.99])
def test_at_a_kink_of_the_lasso_it_is_nan(factor, x64):
    """At the strength where the last coefficient becomes zero its derivative jumps."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    strength = factor * np.max(np.abs(X.T @ (y - np.mean(y)))) / 40

    def result(strength):
        return fit(X, y, penalty=ElasticNet(strength))

    for jacobian in (jax.jacfwd, jax.jacrev):
        slope = jacobian(lambda s: result(s).coef)(strength)
        assert bool(jnp.any(jnp.isnan(slope))) == (abs(factor - 1) < 1e-6)
        assert jnp.isfinite(jacobian(lambda s: result(s).objective)(strength))


def test_labels_and_logits_at_a_corner_of_the_loss(x64):
    """Labels 0 and 1, and logits of zero: |η| and |y − 1| have no derivative there, F has."""
    X, y = jnp.array([[0.0], [0], [1], [2]]), jnp.array([0.0, 1, 0, 1])

    def coef(X, y):
        return fit(X, y, penalty=L2(0.1), fit_intercept=False, tol=1e-14).coef[0]

    h, row = 1e-4, jnp.eye(4)[0]
    in_X, in_y = jax.grad(coef, argnums=(0, 1))(X, y)
    close(
        in_X[0, 0], (coef(X + h * row[:, None], y) - coef(X - h * row[:, None], y)) / (2 * h), 1e-6
    )
    two = 4 * coef(X, y + h * row) - coef(X, y + 2 * h * row) - 3 * coef(X, y)
    close(in_y[0], two / (2 * h), 1e-6)


def test_the_penalty_begins_to_act_in_scaled_columns(x64):
    rng = np.random.default_rng(0)
    X, y = 1e5 * rng.normal(size=(40, 2)) + 1e9, rng.uniform(size=40)

    def coef(strength):
        return fit(X, y, penalty=L2(strength), tol=1e-14).coef

    h = 1e5
    two = (4 * coef(h) - coef(2 * h) - 3 * coef(0.0)) / (2 * h)
    close(jax.jacfwd(coef)(0.0), two, 1e-5)


REFUSED = {
    "progress works outside": lambda s, X, y: fit(X, y, penalty=L2(s), progress=print),
    "strength must not be negative, but it is -1": lambda s, X, y: fit(X, y, penalty=L2(-s)),
    "holds values traced.*make it one array": lambda s, X, y: fit(X, y, penalty=L2(1.0, [s] * P)),
    "class numbers, in which a fit has no derivative": lambda s, X, y: fit(
        X, s * (jnp.arange(N) % 2), num_classes=2
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_it_refuses(message, x64):
    problem = make_problem("sigmoid", "float64")

    def coef(s):
        return REFUSED[message](s, problem.X, problem.y).coef

    with pytest.raises((ValueError, TypeError), match=message):
        jax.jacfwd(coef)(1.0)


def test_nobody_pays_for_it_who_does_not_ask(monkeypatch, problem):
    monkeypatch.setattr(implicit, "_tangent", None)
    fit(problem.X, problem.y, **problem.options())
    jax.jit(lambda X: fit(X, problem.y, **problem.options()).coef)(problem.X)


def test_a_sparse_table_of_traced_values_repeats_no_entry(x64):
    places = np.array([[0, 0], [1, 0], [1, 0]])

    def product(entries):
        return sparse_features(BCOO((entries, places), shape=(2, 1))).matvec(jnp.ones(1))

    with pytest.raises(ValueError, match="must not repeat an entry"):
        jax.jacfwd(product)(jnp.ones(3))
    with pytest.raises(ValueError, match="places of a sparse X must be concrete"):
        jax.jit(lambda X: sparse_features(X).shape)(BCOO((jnp.ones(3), places), shape=(2, 1)))


def test_each_device_fits_its_own_problem_or_all_fit_one(parts):
    """In shard_map, and of rows that lie on several devices."""
    devices = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    here, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("rows")
    tables = jnp.stack([parts["X"], 1.5 * parts["X"]])

    def loss(tables, strength):
        def train(X, strength):
            found = fit(**parts | {"X": X[0], "penalty": L2(strength)})
            return jnp.sum(found.coef * jnp.arange(found.coef.size).reshape(found.coef.shape))[None]

        return jnp.sum(
            jax.shard_map(train, mesh=devices, in_specs=(split, here), out_specs=split)(
                tables, strength
            )
        )

    def alone(tables, strength):
        found = [fit(**parts | {"X": X, "penalty": L2(strength)}).coef for X in tables]
        return sum(jnp.sum(c * jnp.arange(c.size).reshape(c.shape)) for c in found)

    expected = jax.grad(alone, argnums=(0, 1))(tables, 0.1)
    for found, right in zip(
        jax.jit(jax.grad(loss, argnums=(0, 1)))(tables, 0.1), expected, strict=True
    ):
        close(found, right)
    spread = jax.device_put(parts["X"], jax.sharding.NamedSharding(devices, split))
    close(jax.grad(lambda X: alone([X], 0.1))(spread), expected[0][0])
