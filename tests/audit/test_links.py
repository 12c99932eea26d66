"""Links of the chain rule: which derivative is forgotten; and two mistakes at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives

RNG = np.random.default_rng(0)
N, D, H, C = 20, 3, 5, 3
X = RNG.normal(size=(N, D))
Y = np.eye(C)[RNG.integers(0, C, N)]
PARAMETERS = {
    "W1": RNG.normal(size=(D, H)) / 2,
    "b1": RNG.normal(size=H) / 10,
    "W2": RNG.normal(size=(H, C)) / 2,
    "b2": RNG.normal(size=C) / 10,
}


def relu(z):
    return jnp.maximum(z, 0)


def sigmoid(z):
    return 1 / (1 + jnp.exp(-z))


def forward(p, X, activation):
    z = X @ p["W1"] + p["b1"]
    h = activation(z)
    e = jnp.exp(h @ p["W2"] + p["b2"])
    return z, h, e / jnp.sum(e, axis=1, keepdims=True)


def network(activation):
    def loss(p, X, Y, reg):
        q = forward(p, X, activation)[2]
        penalty = 0.5 * reg * (jnp.sum(p["W1"] ** 2) + jnp.sum(p["W2"] ** 2))
        return -jnp.sum(Y * jnp.log(q)) / len(Y) + penalty

    return loss


def backward(activation, slope, n=N, kept=(1, 1), normalised=True):
    def gradient(p, X, Y, reg):
        z, h, q = forward(p, X, activation)
        d = (q - Y if normalised else -Y) / n
        dh = d @ p["W2"].T * slope(z, h)
        return {
            "W1": X.T @ dh + kept[0] * reg * p["W1"],
            "b1": dh.sum(axis=0),
            "W2": h.T @ d + kept[1] * reg * p["W2"],
            "b2": d.sum(axis=0),
        }

    return gradient


def audit(activation, gradient):
    args = (X, Y, 0.1)
    return check_derivatives(network(activation), gradient=gradient, at=PARAMETERS, args=args)


CHAIN = {
    "mask": (relu, lambda z, h: 1.0, {}, "derivative of the ReLU is left out (its mask)"),
    "sigmoid": (sigmoid, lambda z, h: 1.0, {}, "derivative of the sigmoid is left out"),
    "twice": (
        sigmoid, lambda z, h: sigmoid(h) * (1 - sigmoid(h)), {},
        "derivative of the sigmoid is taken at its value",
    ),
    "argument": (jnp.tanh, lambda z, h: 1 - z**2, {}, "1 − x² is of its argument"),
    "normaliser": (jnp.tanh, lambda z, h: 1 - h**2, {"normalised": False}, "the denominator"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAIN)
def test_the_link_is_named(name):
    activation, slope, options, words = CHAIN[name]
    report = audit(activation, backward(activation, slope, **options))
    assert report.diagnosis.kind == "chain-factor", str(report)
    assert words in report.diagnosis.message, str(report)
    assert "in `" in report.diagnosis.message  # the line of the code


BESIDE = {
    "a sum": ({"n": 1}, "factor", "the sum where the mean is due"),
    "a penalty": ({"kept": (1, 0)}, "penalty-missing", "in W2 only"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_two_mistakes(name):
    options, kind, words = BESIDE[name]
    report = audit(relu, backward(relu, lambda z, h: 1.0, **options))
    assert {"chain-factor", kind} <= {d.kind for d in report.diagnoses}, str(report)
    assert "mask" in report.diagnosis.message
    assert words in report.diagnosis.message


def test_what_is_no_link_gets_no_name():
    report = audit(relu, backward(relu, lambda z, h: jnp.cos(3 * z)))
    assert {d.kind for d in report.diagnoses} <= {"unknown", "block"}, str(report)


W = RNG.uniform(0.5, 2, N)
OFFSET = RNG.normal(size=N)
LABELS = (RNG.uniform(size=N) < 0.5).astype(float)


def logistic(t, X, y, w, offset):
    eta = X @ t + offset
    return jnp.sum(w * (jax.nn.softplus(eta) - y * eta)) + 0.07 * jnp.sum(t[1:] ** 2)


def slope(t, X, y, w, offset, mask=(0, 1, 1)):
    return X.T @ (w * (jax.nn.sigmoid(X @ t + offset) - y)) + 0.14 * t * jnp.array(mask)


PAIRS = {
    "weights and offset": (lambda t, X, y, w, o: slope(t, X, y, 1, 0), {"weights", "offset"}),
    "labels and penalty on the intercept": (
        lambda t, X, y, w, o: slope(t, X, 2 * y - 1, w, o, (1, 1, 1)),
        {"labels", "penalty-on-intercept"},
    ),
    "weights and a sign": (
        lambda t, X, y, w, o: slope(t, X, y, 1, o) * jnp.array([1, 1, -1]), {"weights", "sign"},
    ),
    "offset and order": (
        lambda t, X, y, w, o: slope(t, X, y, w, 0)[::-1], {"offset", "off-by-one"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_in_a_logistic_gradient(name):
    gradient, kinds = PAIRS[name]
    X1 = np.column_stack([np.ones(N), X[:, :2]])
    report = check_derivatives(
        logistic, gradient=gradient, at=np.zeros(3), args=(X1, LABELS, W, OFFSET)
    )
    assert kinds <= {d.kind for d in report.diagnoses}, str(report)


GAMES = [(int(a), int(b)) for a, b in RNG.integers(0, 5, (15, 2)) if a != b]


def bradley_terry(strength):
    total = 0.0
    for winner, loser in GAMES:
        total += np.log1p(np.exp(strength[loser] - strength[winner]))
    return total


def winners_only(strength):
    g = np.zeros_like(strength)
    for winner, loser in GAMES:
        g[winner] -= 1 / (1 + np.exp(strength[winner] - strength[loser]))
    return g


TIMES = np.linspace(0.1, 3, 12)
SEEN = RNG.normal(size=30)


def decay(p):
    return p[0] * np.exp(-p[1] * TIMES) + p[2]


def decay_without_inner_derivative(p):
    e = np.exp(-p[1] * TIMES)
    return np.column_stack([e, -p[0] * e, np.ones_like(e)])


def cuts(d):
    return np.sum(np.tanh(SEEN[:, None] - np.cumsum(d)) ** 2)


def cuts_apart(d):
    t = np.tanh(SEEN[:, None] - np.cumsum(d))
    return -np.sum(2 * t * (1 - t**2), axis=0)


LOOPS = {
    "a loop": (bradley_terry, {"gradient": winners_only}, RNG.normal(size=5), "path is left out"),
    "an inner derivative": (
        decay, {"jacobian": decay_without_inner_derivative}, np.array([1.0, 0.7, 0.2]),
        "A factor is forgotten",
    ),
    "a cumulative sum": (
        cuts, {"gradient": cuts_apart}, np.array([0.1, 0.3, 0.2]), "cumulative sum is forgotten",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_plain_numpy_code(name):
    value, derivative, at, words = LOOPS[name]
    report = check_derivatives(value, at=at, **derivative)
    assert report.diagnosis.kind == "chain-factor", str(report)
    assert words in report.diagnosis.message, str(report)
