"""The watch over a gradient in training: silent while it is right, loud where it goes wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import L2, make_objective
from jax_logreg.audit.watch import DerivativeWatch
from jax_logreg.derivatives import analytic

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (RNG.uniform(size=40) < 0.5).astype(float)


def loss(p, X, y):
    eta = X @ p["coef"] + p["bias"]
    return jnp.mean(jax.nn.softplus(eta) - y * eta)


def gradient(p, X, y):
    error = (jax.nn.sigmoid(X @ p["coef"] + p["bias"]) - y) / len(y)
    return {"coef": X.T @ error, "bias": jnp.sum(error)}


def train(watch, slope, steps, dtype):
    params = {"coef": jnp.zeros(3, dtype), "bias": jnp.zeros((), dtype)}
    data = X.astype(dtype), Y.astype(dtype)
    optimizer = optax.adam(0.1)
    state = optimizer.init(params)
    for _ in range(steps):
        watch(params, *data)
        updates, state = optimizer.update(slope(params, *data), state)
        params = optax.apply_updates(params, updates)
    return params


def test_a_right_gradient_trains_in_silence(dtype):
    watch = DerivativeWatch(loss, gradient, every=3)
    train(watch, gradient, 20, dtype)
    assert watch.report is None


def counted(function):
    def call(*args):
        call.count += 1
        return function(*args)

    call.count = 0
    return call


def test_a_comparison_is_due_every_so_many_calls():
    slope, value = counted(gradient), counted(loss)
    watch = DerivativeWatch(value, slope, every=4)
    train(watch, gradient, 9, "float32")
    assert slope.count == 3
    assert value.count == 1  # traced once


@pytest.mark.parametrize("part", ["coef", "bias"])
def test_a_wrong_gradient_raises_with_the_report(dtype, part):
    def wrong(p, X, y):
        right = gradient(p, X, y)
        return right | {part: right[part] * 1.01}

    with pytest.raises(AssertionError, match=rf"in call \d of the watch[^$]*{part}"):
        train(DerivativeWatch(loss, wrong, every=1), wrong, 3, dtype)


def test_a_gradient_that_goes_wrong_on_the_way_is_caught_there(x64):
    def clipped(p, X, y):
        eta = jnp.clip(X @ p["coef"] + p["bias"], -0.5, 0.5)
        error = (jax.nn.sigmoid(eta) - y) / len(y)
        return {"coef": X.T @ error, "bias": jnp.sum(error)}

    watch = DerivativeWatch(loss, clipped, every=1, stop=False)
    train(watch, clipped, 1, "float64")
    assert watch.report is None
    train(watch, clipped, 30, "float64")
    assert not watch.report.ok
    kept = watch.report
    train(watch, clipped, 5, "float64")
    assert watch.report is kept


def numpy_loss(w):
    assert type(w) is np.ndarray
    return float(np.sum(np.log1p(np.exp(X @ w)) - Y * (X @ w)))


def numpy_gradient(w):
    assert type(w) is np.ndarray
    return X.T @ (1 / (1 + np.exp(-X @ w)) - Y)


def test_numpy_code_is_compared_with_differences():
    watch = DerivativeWatch(numpy_loss, numpy_gradient, every=1, numpy=True)
    w = np.zeros(3)
    for _ in range(10):
        watch(w)
        w = w - 0.05 * numpy_gradient(w)
    assert watch.report is None
    with pytest.raises(AssertionError, match="WRONG"):
        DerivativeWatch(numpy_loss, lambda w: 1.001 * numpy_gradient(w), numpy=True)(w)


def test_a_value_with_a_rule_of_its_own_has_no_forward_derivative():
    @jax.custom_vjp
    def square(x):
        return jnp.sum(x**2)

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * g * x,))
    watch = DerivativeWatch(square, lambda x: 2 * x)
    watch(np.array([1.0, -2.0]))
    assert watch.report is None


def test_a_static_argument_is_no_obstacle():
    def power(x, n):
        return jnp.sum(jnp.stack([x] * n).prod(0))

    watch = DerivativeWatch(power, lambda x, n: n * x ** (n - 1))
    watch(np.array([1.5, 0.5]), 3)
    assert watch.report is None


def test_a_gradient_of_another_shape_is_reported():
    watch = DerivativeWatch(loss, lambda p, X, y: {"coef": jnp.zeros(2), "bias": 0.0}, stop=False)
    watch({"coef": np.zeros(3), "bias": np.zeros(())}, X, Y)
    assert watch.report.diagnosis.kind in ("shape", "raises")


def test_our_own_objective_can_be_watched(x64):
    F = make_objective(X, Y, L2(0.1))
    watch = DerivativeWatch(F.value, partial(analytic.gradient, F))
    watch(np.ones(F.num_parameters))
    assert watch.report is None


def test_inside_a_transformation_it_is_refused():
    watch = DerivativeWatch(jnp.sum, jnp.ones_like)
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(lambda x: watch(x))(np.ones(2))


@pytest.mark.parametrize("every", [0, -1, 2.5, None])
def test_every_must_be_a_whole_number(every):
    with pytest.raises(ValueError, match="every must be"):
        DerivativeWatch(loss, gradient, every=every)


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match="must be functions"):
        DerivativeWatch(loss, None)
