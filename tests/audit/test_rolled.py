"""A loop that is written out is rolled up: fewer steps, the same numbers, the same lines."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives
from jax_logreg.audit.numpy_trace import translated
from jax_logreg.audit.rolled import rolled
from jax_logreg.audit.source_lines import source_of
from jax_logreg.audit.stepwise import known_integers
from jax_logreg.audit.traced import is_described_by_text, trace

RNG = np.random.default_rng(0)
N, P = 25, 4
X = RNG.normal(size=(N, P))
Y = RNG.integers(0, 2, N).astype(float)
LABELS = RNG.integers(0, 2, N)
WEIGHTS = RNG.uniform(0.5, 3, N)
GAMES = [(i, j) for i, j in itertools.product(range(P), repeat=2) if i != j]


def rows(t):
    total = 0.0
    for x, y in zip(X, Y, strict=True):
        m = x @ t
        total += jnp.log1p(jnp.exp(m)) - y * m
    return total / N + 0.1 * jnp.sum(t**2)


def classes(t):
    W, total = t.reshape(P, 1) * jnp.array([1.0, -2.0]), 0.0
    for i in range(N):
        scores = X[i] @ W
        total -= jax.nn.log_softmax(scores)[LABELS[i]]
    return total


def games(t):
    return sum(jnp.log(1 + jnp.exp(t[j] - t[i])) for i, j in GAMES)


def entries(t):
    total = 0.0
    for i in range(N):
        m = sum(X[i, j] * t[j] for j in range(P))
        total = total + jnp.tanh(m) * (2.0 if i % 3 else 5.0)
    return total


def windows(t):
    long = jnp.concatenate([t, t**2, jnp.sin(t)])
    return sum(jnp.prod(long[k : k + 3]) for k in range(10)) - sum(
        long[k] * long[-k - 1] for k in range(6)
    )


def squares_and_products(t):
    pairs = itertools.product(range(P), repeat=2)
    return sum(t[i] * t[j] / (1 + i + j) for i, j in pairs) + sum(
        jnp.logaddexp(t[i % P], 0.3 * i) for i in range(60)
    )


def recurrence(t):
    state, total = jnp.zeros(2), 0.0
    for k in range(N):
        state = jnp.tanh(t[:2] * state + X[k, :2] * t[2:])
        total += jnp.sum(state)
    return total


LOOPS = {f.__name__: f for f in (rows, classes, games, entries, windows, squares_and_products)}


def unrolled(function):
    return jax.make_jaxpr(function)(np.zeros(P))


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_takes_a_few_steps_and_has_the_same_derivatives(name, x64):
    function = LOOPS[name]
    found, steps = trace(function, jnp.ones(P)), len(unrolled(function).jaxpr.eqns)
    assert steps > 60
    assert len(found.closed.jaxpr.eqns) < steps / 5
    for theta in RNG.normal(size=(3, P)):
        np.testing.assert_allclose(found(theta), function(theta), rtol=1e-12)
        for derivative in (jax.grad, jax.hessian):
            right = derivative(function)(theta)
            np.testing.assert_allclose(derivative(found)(theta), right, rtol=1e-9, atol=1e-9)


def test_the_rows_are_data_again(x64):
    shapes = [c.shape for c in trace(rows, jnp.ones(P)).constants]
    assert (N, P) in shapes
    assert any(np.array_equal(c, X) for c in trace(rows, jnp.ones(P)).constants)


def test_every_step_keeps_its_line(x64):
    lines = {source_of(eqn) for eqn in trace(classes, jnp.ones(P)).closed.jaxpr.eqns}
    assert ", in `scores = X[i] @ W`" in lines
    assert ", in `total -= jax.nn.log_softmax(scores)[LABELS[i]]`" in lines


def test_what_waits_for_the_round_before_stays_in_order(x64):
    found = trace(recurrence, jnp.ones(P))
    for theta in RNG.normal(size=(3, P)):
        np.testing.assert_allclose(found(theta), recurrence(theta), rtol=1e-12)


def test_few_steps_and_few_layers_stay_as_they_are(x64):
    def layers(t):
        for _ in range(3):
            t = jnp.tanh(t) + 1
        return jnp.sum(t)

    closed = unrolled(layers)
    assert rolled(closed, is_described_by_text, known_integers) is closed


def test_a_rule_of_the_users_own_is_no_step_of_jax(x64):
    @jax.custom_jvp
    def odd(x):
        return x**2

    odd.defjvp(lambda p, t: (p[0] ** 2, 7 * p[0] * t[0]))

    def loop(t):
        return sum(odd(X[i] @ t) + jnp.sin(X[i] @ t) for i in range(N))

    found = trace(loop, jnp.ones(P))
    theta = RNG.normal(size=P)
    np.testing.assert_allclose(jax.grad(found)(theta), jax.grad(loop)(theta), rtol=1e-10)


def loop_in_numpy(w):
    total = 0.0
    for i in range(N):
        p = 1 / (1 + np.exp(-np.dot(X[i], w)))
        total -= WEIGHTS[i] * (Y[i] * np.log(p) + (1 - Y[i]) * np.log(1 - p))
    return total / N


def loop_in_plain_python(w):
    total = 0.0
    for i in range(N):
        m = 0.0
        for j in range(P):
            m += X[i][j] * w[j]
        total += WEIGHTS[i] * (np.log(1 + np.exp(m)) - Y[i] * m)
    return total / N


@pytest.mark.parametrize("loop", [loop_in_numpy, loop_in_plain_python])
@pytest.mark.parametrize(
    ("wrong", "kind", "word"),
    [
        (lambda w: X.T @ (1 / (1 + np.exp(-X @ w)) - Y) / N, "weights", "weights"),
        (lambda w: X.T @ (WEIGHTS * (1 / (1 + np.exp(-X @ w)) - 1 + Y)) / N, "complement", "y"),
        (lambda w: X.T @ (WEIGHTS * (1 / (1 + np.exp(-X @ w)) - Y)), "factor", "25"),
    ],
)
def test_a_mistake_against_a_loop_is_named_as_against_arrays(loop, wrong, kind, word):
    report = check_derivatives(loop, gradient=wrong, at=np.ones(P) / 3, numpy=True)
    assert report.diagnosis.kind == kind
    assert word in report.diagnosis.message


def test_a_value_that_drops_its_gradient_is_asked_for_the_value_only():
    def both(w):
        total, g = 0.0, np.zeros(P)
        for i in range(N):
            p = 1 / (1 + np.exp(-X[i] @ w))
            total -= np.log(p) if Y[i] else np.log(1 - p)
            g += (p - Y[i]) * X[i]
        return total + 0.3 * w @ w, g + 0.3 * w

    report = check_derivatives(value_and_grad=both, at=np.ones(P), numpy=True)
    assert "penalty" in report.diagnosis.message
    assert "½" in report.diagnosis.message


R = RNG.normal(size=60)


def volatility(p):
    w, a, b = np.exp(p)
    s, total = np.var(R), 0.0
    for t in range(1, len(R)):
        s = w + a * R[t - 1] ** 2 + b * s
        total += 0.5 * (np.log(s) + R[t] ** 2 / s)
    return total


def without_memory(p):
    w, a, b = np.exp(p)
    s, g = np.var(R), np.zeros(3)
    for t in range(1, len(R)):
        ds = np.array([w, a * R[t - 1] ** 2, b * s])
        s = w + a * R[t - 1] ** 2 + b * s
        g += 0.5 * (1 / s - R[t] ** 2 / s**2) * ds
    return g


def test_a_loop_with_a_state_is_named_by_the_path_that_is_forgotten():
    at = np.array([-2.0, -1.5, -0.7])
    (found, *_) = check_derivatives(
        volatility, gradient=without_memory, at=at, numpy=True
    ).diagnoses
    assert "the path is left out through the second factor of the product" in found.message
    assert "s = w + a * R[t - 1] ** 2 + b * s" in found.message


def test_what_does_not_feed_the_state_is_done_for_all_rounds_at_once(x64):
    found = trace(translated(volatility, np.zeros(3), ()), jnp.zeros(3))
    steps = Counter(eqn.primitive.name for eqn in found.closed.jaxpr.eqns)
    assert steps["log"] == steps["div"] == 1
    np.testing.assert_allclose(found(np.ones(3) / 3), volatility(np.ones(3) / 3), rtol=1e-12)
