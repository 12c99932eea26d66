"""The derivatives of minimize in its arguments, by the implicit function theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import GradientDescent, minimize


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def cubic(t, strength):
    """Stationary where t² + 2λt = 1: at −λ + √(λ² + 1), and at a maximum."""
    return t**3 / 3 + strength * t**2 - t


def root(strength):
    """Where ``cubic`` has its minimum."""
    return -strength + jnp.sqrt(strength**2 + 1)


def by_hand(strength):
    return minimize(
        cubic, 1.0, strength,
        gradient=lambda t, s: t**2 + 2 * s * t - 1,
        hessian=lambda t, s: 2 * t + 2 * s,
        hvp=lambda t, v, s: (2 * t + 2 * s) * v,
    )  # fmt: skip


FORMS = {
    "args": lambda s: minimize(cubic, 1.0, s),
    "closure": lambda s: minimize(lambda t: cubic(t, s), 1.0),
    "both": lambda s: minimize(lambda t, a: cubic(t, s / 2 + a / 2), 1.0, s),
    "by hand": by_hand,
    "recorded": lambda s: minimize(cubic, 1.0, s, record=jnp.sum),
    **{
        name: lambda s, name=name: minimize(cubic, 1.0, s, solver=name)
        for name in ("lbfgs", "bfgs")
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [0.0, 0.7, 3.0])
def test_the_derivatives_of_a_closed_form(form, strength):
    def found(s):
        return FORMS[form](s).theta

    for derivative in (
        jax.grad,
        jax.jacfwd,
        lambda f: jax.jit(jax.grad(f)),
        lambda f: jax.grad(jax.grad(f)),
        lambda f: jax.jacfwd(jax.jacrev(f)),
    ):
        assert abs(derivative(found)(strength) - derivative(root)(strength)) <= 1e-12


def test_the_derivative_of_the_value_is_that_of_the_envelope():
    def lowest(s):
        return minimize(cubic, 1.0, s).value

    assert abs(jax.grad(lowest)(2.0) - root(2.0) ** 2) <= 1e-12
    slope = jax.grad(lambda s: root(s) ** 2)(2.0)
    assert abs(jax.grad(jax.grad(lowest))(2.0) - slope) <= 1e-12


@pytest.mark.parametrize("form", ["args", "closure", "both", "by hand"])
def test_derivatives_under_vmap(form):
    strengths = jnp.array([0.1, 1.0, 10.0])
    slopes = jax.vmap(jax.grad(lambda s: FORMS[form](s).theta))(strengths)
    assert jnp.allclose(slopes, jax.vmap(jax.grad(root))(strengths), rtol=1e-12)


@pytest.mark.parametrize("size", [5, 520])  # 520 is solved by products
def test_derivatives_in_data_are_those_of_differences(size):
    rng = np.random.default_rng(0)
    data = {"A": rng.normal(size=(20, size)), "y": rng.normal(size=20)}

    def robust(t, data, strength):
        r = data["A"] @ t["w"] + t["b"] - data["y"]
        return jnp.mean(jnp.sqrt(1 + r**2)) + strength * (jnp.sum(t["w"] ** 2) + t["b"] ** 2)

    def answer(data, strength):
        start = {"w": jnp.zeros(size), "b": 0.0}
        found = minimize(robust, start, data, strength, tol=1e-11)
        return jnp.sum(jnp.sin(found.theta["w"])) + found.theta["b"]

    along = jax.tree.map(lambda x: rng.normal(size=x.shape), data), 0.3
    _, forward = jax.jvp(answer, (data, 0.2), along)
    slopes = jax.grad(answer, (0, 1))(data, 0.2)
    reverse = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), slopes, along)))

    def moved(h):
        return answer(*jax.tree.map(lambda x, v: x + h * v, (data, 0.2), along))

    h = 1e-4
    differences = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    assert np.isclose(forward, differences, rtol=1e-6)
    assert np.isclose(reverse, forward, rtol=1e-9)


def test_without_a_minimum_there_is_no_derivative():
    def stops(s):
        return minimize(cubic, 1.0, s, solver=GradientDescent(1e-3), max_steps=3).theta

    def stays(s):
        return minimize(lambda t, s: -s * t**2, 0.0, s).theta

    assert jnp.isnan(jax.grad(stops)(1.0))
    assert jnp.isnan(jax.grad(stays)(1.0))


def test_the_start_has_no_part_in_the_minimum():
    assert jax.grad(lambda start: minimize(cubic, start, 1.0).theta)(1.0) == 0


def test_whole_numbers_among_the_arguments_are_data():
    def loss(t, which, weights):
        return jnp.sum(weights[which] * (t - 1) ** 2) + t**2

    def found(weights):
        return minimize(loss, 0.0, np.array([0, 2]), weights).theta

    a = 4.0  # t = a / (a + 1)
    slopes = jax.grad(found)(jnp.array([1.0, 2.0, 3.0]))
    assert jnp.allclose(slopes, jnp.array([1.0, 0.0, 1.0]) / (a + 1) ** 2, rtol=1e-12)
