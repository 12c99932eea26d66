"""NumPy code that JAX cannot trace: what is wrong with a block, and with the whole, and the fix.

A small network with a dict of parameters, a Gamma regression with a logarithm among them, and
a ridge with a flat vector.
"""

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


def forward(p, X):
    h = np.tanh(X @ p["W1"] + p["b1"])
    e = np.exp(h @ p["W2"] + p["b2"])
    return h, e / e.sum(axis=1, keepdims=True)


def network(p, X, Y, reg):
    assert all(type(a) is np.ndarray for a in p.values())
    penalty = 0.5 * reg * (np.sum(p["W1"] ** 2) + np.sum(p["W2"] ** 2))
    return -np.sum(Y * np.log(forward(p, X)[1])) / len(Y) + penalty


def backward(p, X, Y, reg, n=N, kept=1.0):
    h, q = forward(p, X)
    d = (q - Y) / n
    dh = d @ p["W2"].T * (1 - h**2)
    return {
        "W1": X.T @ dh + kept * reg * p["W1"],
        "b1": dh.sum(axis=0),
        "W2": h.T @ d + kept * reg * p["W2"],
        "b2": d.sum(axis=0),
    }


def spoiled(**how):
    """The right gradient, with some of its arrays spoiled."""

    def gradient(p, *args):
        g = backward(p, *args)
        return g | {name: change(g[name], p[name]) for name, change in how.items()}

    return gradient


# Name ↦ gradient, kinds that must be among the diagnoses, words of the message, fix.
NETWORK = {
    "b1 is a mean": (
        spoiled(b1=lambda g, w: g / N), {"factor", "block"}, "Only b1", "g['b1'] *= len(X)",
    ),
    "both biases are means": (
        spoiled(b1=lambda g, w: g / N, b2=lambda g, w: g / N), {"factor"}, "b1 and b2",
        "g['b1'] *= len(X); g['b2'] *= len(X)",
    ),
    "no penalty": (
        lambda *a: backward(*a, kept=0), {"penalty-missing"}, "W1 and W2",
        "g['W1'] += reg * p['W1']; g['W2'] += reg * p['W2']",
    ),
    "biases penalised": (
        spoiled(b1=lambda g, w: g + 0.1 * w, b2=lambda g, w: g + 0.1 * w),
        {"penalty-on-intercept"}, "b1 and b2",
        "g['b1'] -= reg * p['b1']; g['b2'] -= reg * p['b2']",
    ),
    "sign of W1": (spoiled(W1=lambda g, w: -g), {"sign", "block"}, "W1", "g['W1'] *= -1"),
    "b2 is zero": (spoiled(b2=lambda g, w: 0 * g), {"zero", "block"}, "b2", ""),
    "a class doubled": (
        spoiled(W2=lambda g, w: g * [1, 1, 2]), {"factor", "block"}, "W2[:, 2]",
        "g['W2'][:, 2] /= 2",
    ),
    "W2 in the wrong order": (
        spoiled(W2=lambda g, w: g.T.reshape(g.shape)), {"class-order"}, "column by column",
        "g['W2'] = g['W2'].reshape(3, 5).T",
    ),
    "two mistakes: W2 lacks its penalty, b2 is a sum": (
        spoiled(W2=lambda g, w: g - 0.1 * w, b2=lambda g, w: g * N),
        {"penalty-missing", "factor"}, "in b2", "g['W2'] += reg * p['W2']; g['b2'] /= len(X)",
    ),
    "two mistakes: a sum, no penalty": (
        lambda *a: backward(*a, n=1, kept=0), {"penalty-missing", "factor"}, "reg = 0.1",
        "g = {k: a / len(X) for k, a in g.items()}; g['W1'] += reg * p['W1']; g['W2'] += reg * p['W2']",  # noqa: E501
    ),
    "the data term is a sum, the penalty is right": (
        lambda *a: backward(*a, n=1), {"factor"}, "All but the penalty", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORK)
def test_a_network(name):
    gradient, kinds, words, fix = NETWORK[name]
    report = check_derivatives(
        network, gradient=gradient, at=PARAMETERS, args=(X, Y, 0.1), numpy=True
    )
    assert kinds <= {d.kind for d in report.diagnoses}, str(report)
    assert words in report.diagnosis.message, str(report)
    assert fix is None or report.diagnosis.fix == fix, str(report)


def test_what_nothing_explains_is_only_located():
    gradient = spoiled(W1=lambda g, w: np.sin(3 * g) + 0.1)
    report = check_derivatives(
        network, gradient=gradient, at=PARAMETERS, args=(X, Y, 0.1), numpy=True
    )
    assert [d.kind for d in report.diagnoses] == ["block"], str(report)
    assert not report.diagnosis.fix


MU = np.exp(X @ [0.3, -0.2, 0.1])
COUNTS = RNG.gamma(2.0, MU / 2.0)
GAMMA_AT = np.array([0.3, -0.2, 0.1, 0.5])


def gamma(theta, X, y):
    """−log likelihood of Gamma regression, but for terms in y alone; the last entry is the
    logarithm of the dispersion."""
    from math import lgamma

    eta, k = X @ theta[:-1], np.exp(-theta[-1])
    return float(np.sum(k * (y / np.exp(eta) + eta) - k * np.log(k * y))) + len(y) * lgamma(k)


def gamma_slope(theta, X, y, inner=True, scaled=True):
    from scipy.special import digamma

    eta, k = X @ theta[:-1], np.exp(-theta[-1])
    of_k = np.sum(y / np.exp(eta) + eta - np.log(k * y) - 1 + digamma(k))
    beta = X.T @ (1 - y / np.exp(eta)) * (k if scaled else 1.0)
    return np.append(beta, -of_k * (k if inner else 1.0))


@pytest.mark.parametrize(
    ("options", "place", "fix"),
    [
        ({"inner": False}, "θ[3]", "g[3] /= np.exp(theta[3])"),
        ({"scaled": False}, "θ[:3]", "g[:3] /= np.exp(theta[3])"),
    ],
)
def test_a_forgotten_factor_of_a_logarithm(options, place, fix):
    report = check_derivatives(
        gamma, gradient=lambda *a: gamma_slope(*a, **options), at=GAMMA_AT, args=(X, COUNTS),
        numpy=True,
    )  # fmt: skip
    assert report.diagnosis.kind == "chain-factor", str(report)
    assert place in report.diagnosis.message
    assert "e^θ" in report.diagnosis.message
    assert report.diagnosis.fix == fix


def ridge(w, X, y, lam):
    assert type(w) is np.ndarray
    return np.mean((X @ w - y) ** 2) + lam * np.sum(w**2)


def ridge_slope(w, X, y, lam):
    return 2 * X.T @ (X @ w - y) / len(y) + 2 * lam * w


RIDGE = {
    "sign": (lambda g, w: -g, "sign", "g *= -1"),
    "sum": (lambda g, w: g * N, "factor", "g /= len(X)"),
    "penalty halved": (lambda g, w: g - 0.07 * w, "penalty-factor", "g += lam * w"),
    "penalty on one too many": (
        lambda g, w: g + 0.14 * w * [1, 0, 0], "penalty-on-intercept", "g[:1] -= 2 * lam * w[:1]",
    ),
    "one of the wrong sign": (lambda g, w: g * [1, -1, 1], "coordinate", "g[1] *= -1"),
    "normalised": (lambda g, w: g / np.linalg.norm(g), "chain-factor", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", RIDGE)
def test_a_ridge(name):
    change, kind, fix = RIDGE[name]

    def gradient(w, *args):
        return change(ridge_slope(w, *args), w)

    at, args = np.array([0.4, -0.7, 0.2]), (X, COUNTS, 0.07)
    report = check_derivatives(ridge, gradient=gradient, at=at, args=args, numpy=True)
    assert kind in [d.kind for d in report.diagnoses], str(report)
    assert report.diagnosis.fix == fix, str(report)
