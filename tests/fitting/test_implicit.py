"""The derivative of a fit: against differences of the whole fit, in every mode of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.sparse import BCOO

from jax_logreg import L2, ElasticNet, Firth, fit
from jax_logreg.objective.sparse_features import sparse_features

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


def test_a_sparse_table_of_traced_values_repeats_no_entry(x64):
    places = np.array([[0, 0], [1, 0], [1, 0]])

    def product(entries):
        return sparse_features(BCOO((entries, places), shape=(2, 1))).matvec(jnp.ones(1))

    with pytest.raises(ValueError, match="must not repeat an entry"):
        jax.jacfwd(product)(jnp.ones(3))
    with pytest.raises(ValueError, match="places of a sparse X must be concrete"):
        jax.jit(lambda X: sparse_features(X).shape)(BCOO((jnp.ones(3), places), shape=(2, 1)))
