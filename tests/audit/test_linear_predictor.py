"""A loss is recognised however it was written."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.special import logsumexp

from jax_logreg.audit.linear_predictor import split_at_logits
from jax_logreg.audit.logistic import recognise, stable_derivative
from jax_logreg.audit.traced import trace

N, P, K = 12, 3, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P))
X1 = np.hstack([X, np.ones((N, 1))])
y = (RNG.uniform(size=N) < 0.5).astype(float)
sign = 2 * y - 1
w = RNG.uniform(0.5, 2, N)
o = RNG.normal(size=N)
labels = RNG.integers(0, K, N)
Y = np.eye(K)[labels]


def weighted(t):
    eta = X @ t[:-1] + t[-1] + o
    return jnp.sum(w * (jax.nn.softplus(eta) - y * eta)) / w.sum() + 0.05 * jnp.sum(t[:-1] ** 2)


def of_probabilities(t):
    mu = 1 / (1 + jnp.exp(-(X1 @ t)))
    return -jnp.sum(y * jnp.log(mu) + (1 - y) * jnp.log(1 - mu))


def by_rows(t):
    def row(x, label):
        eta = x @ t
        return jnp.logaddexp(0, eta) - label * eta

    return jnp.mean(jax.vmap(row)(X1, y))


def class_major(t):
    return -jnp.mean(jax.nn.log_softmax(t.reshape(K, P) @ X.T, axis=0)[labels, jnp.arange(N)])


def reference_class(t):
    eta = jnp.concatenate([X @ t.reshape(P, K - 1), jnp.zeros((N, 1))], axis=1)
    return jnp.mean(w * (logsumexp(eta, axis=1) - eta[jnp.arange(N), labels]))


SIGMOID = {
    "weights, offset, intercept, penalty": (weighted, P + 1),
    "margins": (lambda t: jnp.mean(jnp.log1p(jnp.exp(-sign * (X1 @ t)))), P + 1),
    "log of probabilities": (of_probabilities, P + 1),
    "row by row": (by_rows, P + 1),
    "jitted": (jax.jit(lambda t: jnp.mean(jnp.logaddexp(0, -sign * (X @ t)))), P),
    "optax": (lambda t: optax.sigmoid_binary_cross_entropy(X @ t, y).mean(), P),
    "sum over columns": (lambda t: -jnp.mean(jax.nn.log_sigmoid(sign * jnp.sum(X * t, 1))), P),
}
SOFTMAX = {
    "log_softmax": (
        lambda t: -jnp.mean(jnp.sum(Y * jax.nn.log_softmax(X @ t.reshape(P, K)), 1)), P * K,
    ),
    "class-major": (class_major, K * P),
    "reference class": (reference_class, P * (K - 1)),
}  # fmt: skip


def taken_apart(loss, size):
    theta = jnp.asarray(RNG.normal(size=size))
    program = trace(loss, theta)
    split = split_at_logits(program, theta)
    return program, split, None if split is None else recognise(split, theta), theta


@pytest.mark.parametrize("name", [*SIGMOID, *SOFTMAX])
def test_the_parts_give_the_gradient_back(name, x64):
    loss, size = (SIGMOID | SOFTMAX)[name]
    _, _, model, theta = taken_apart(loss, size)
    assert model is not None
    assert model.softmax is (name in SOFTMAX)
    np.testing.assert_allclose(np.asarray(model.y), Y if model.softmax else y[:, None], atol=1e-9)
    found = stable_derivative(model, "gradient", np.asarray(theta))
    np.testing.assert_allclose(found, jax.grad(loss)(theta), rtol=1e-10, atol=1e-12)


def test_weights_and_offset_are_read_off(x64):
    _, _, model, _ = taken_apart(weighted, P + 1)
    np.testing.assert_allclose(model.weight[:, 0], w / w.sum(), rtol=1e-10)
    np.testing.assert_allclose(model.offset[:, 0], o, rtol=1e-10)
    assert model.has_weights
    assert model.has_offset


@pytest.mark.parametrize(
    "loss",
    [
        lambda t: jnp.mean(jnp.exp(X @ t) - y * (X @ t)),
        lambda t: jnp.sum((X @ t - y) ** 2),
        lambda t: -jnp.mean(jax.scipy.stats.norm.logcdf(sign * (X @ t))),
        lambda t: jnp.sum(100 * (t[1:] - t[:-1] ** 2) ** 2),
    ],
    ids=["Poisson", "least squares", "probit", "Rosenbrock"],
)
def test_other_losses_are_not_taken_for_logistic(loss, x64):
    assert taken_apart(loss, P)[2] is None


def test_programs_of_one_text_share_their_compilation(x64):
    def of(data):
        return trace(lambda t: jnp.sum(jax.nn.softplus(data @ t)), jnp.zeros(P))

    assert of(X).identity == of(2 * X).identity
    other = trace(lambda t: jnp.sum(jax.nn.softplus(-(X @ t))), jnp.zeros(P))
    assert of(X).identity != other.identity


def test_a_custom_rule_is_never_shared(x64):
    @jax.custom_jvp
    def f(t):
        return jnp.sum(t**2)

    f.defjvp(lambda p, t: (f(*p), jnp.sum(t[0])))
    assert trace(lambda t: f(t), jnp.zeros(P)).identity != trace(f, jnp.zeros(P)).identity
