"""Derivatives of a value in plain NumPy, judged by differences."""

import numpy as np
import pytest
from scipy.special import jv as bessel

from jax_logreg import check_derivatives

RNG = np.random.default_rng(0)
N, P = 60, 4
X = np.column_stack([np.ones(N), RNG.normal(size=(N, P - 1)) * [1, 10, 50]])
Y = (RNG.uniform(size=N) < 0.5).astype(float)
Z, T = RNG.normal(size=(N, 3)), RNG.normal(size=N)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def loss(w):
    z = X @ w
    return np.mean(np.logaddexp(0, z) - Y * z)


def slope(w):
    return X.T @ (sigmoid(X @ w) - Y) / N


def curvature(w):
    mu = sigmoid(X @ w)
    return (X.T * (mu * (1 - mu))) @ X / N


def cross_entropy(h, guard=0.0):
    return -np.mean(Y * np.log(h + guard) + (1 - Y) * np.log(1 - h + guard))


GUARDED = {
    "plus": lambda w: cross_entropy(sigmoid(X @ w), 1e-15),
    "clipped logits": lambda w: cross_entropy(sigmoid(np.clip(X @ w, -30, 30))),
    "clipped probabilities": lambda w: cross_entropy(np.clip(sigmoid(X @ w), 1e-7, 1 - 1e-7)),
}


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("seed", range(3))
def test_a_value_that_its_guard_makes_flat_condemns_no_gradient(name, seed):
    def value(w):
        return GUARDED[name](w) + 0.05 * w @ w

    right = check_derivatives(
        value, gradient=lambda w: slope(w) + 0.1 * w, at=np.zeros(P), numpy=True, seed=seed
    )
    assert right.ok, str(right)
    assert right.reference == "autodiff" or "flat-value" in [f.kind for f in right.findings]
    wrong = check_derivatives(
        value, gradient=lambda w: slope(w) + 0.2 * w, at=np.zeros(P), numpy=True, seed=seed
    )
    assert not wrong.ok


@pytest.mark.parametrize(("rows", "size"), [(50, 5), (100, 2), (100, 5), (500, 2), (200, 8)])
def test_a_right_gradient_takes_two_values_for_each_parameter_and_twenty_more(rows, size):
    rng = np.random.default_rng(size)
    A, y = rng.normal(size=(rows, size)), (rng.random(rows) < 0.5).astype(float)
    calls = {"value": 0, "gradient": 0}

    def value(w):
        calls["value"] += 1
        h = sigmoid(A @ w)
        return -np.mean(y * np.log(h + 1e-15) + (1 - y) * np.log(1 - h + 1e-15))

    def gradient(w):
        calls["gradient"] += 1
        return A.T @ (sigmoid(A @ w) - y) / rows

    at = rng.normal(size=size) / np.sqrt(size)
    assert check_derivatives(value, gradient=gradient, at=at, numpy=True).ok
    assert calls["value"] <= 2 * size + 22
    assert calls["gradient"] <= 10


@pytest.mark.parametrize("seed", range(4))
def test_few_differences_find_a_small_error_of_one_entry_and_a_clipped_logit(seed):
    def value(w):
        return np.mean(np.logaddexp(0, Z @ w)) + 0.05 * w @ w

    def one_entry(w):
        g = Z.T @ sigmoid(Z @ w) / N + 0.1 * w
        g[1] *= 1 + 1e-5
        return g

    def clipped(w):
        return Z.T @ sigmoid(np.clip(Z @ w, -1.5, 1.5)) / N + 0.1 * w

    at = 0.5 * np.random.default_rng(seed).normal(size=3)
    for gradient in (one_entry, clipped):
        assert not check_derivatives(value, gradient=gradient, at=at, numpy=True, seed=seed).ok


def test_a_value_that_grows_slower_far_out_is_no_guard():
    """Huber's loss with the gradient of its middle: right near zero, wrong far out."""

    def value(w):
        r = np.abs(Z @ w) / 10
        return np.mean(np.where(r < 1, r**2 / 2, r - 0.5))

    report = check_derivatives(
        value, gradient=lambda w: Z.T @ (Z @ w) / 100 / N, at=np.zeros(3), numpy=True
    )
    assert not report.ok
    right = check_derivatives(
        value, gradient=lambda w: Z.T @ np.clip(Z @ w / 10, -1, 1) / 10 / N, at=np.zeros(3),
        numpy=True,
    )  # fmt: skip
    assert right.ok, str(right)


def network(theta):
    W, v, b = theta[:18].reshape(3, 6), theta[18:24], theta[24]
    return np.mean((np.maximum(Z @ W, 0) @ v + b - T) ** 2)


def network_slope(theta, mask=True):
    W, v, b = theta[:18].reshape(3, 6), theta[18:24], theta[24]
    A = Z @ W
    H = np.maximum(A, 0)
    r = 2 * (H @ v + b - T) / N
    back = np.outer(r, v) * ((A > 0) if mask else 1)
    return np.concatenate([(Z.T @ back).ravel(), H.T @ r, [r.sum()]])


@pytest.mark.parametrize("seed", range(4))
def test_kinks_are_seen(seed):
    """Of a ReLU network every coarse difference crosses kinks."""
    at = np.random.default_rng(seed).normal(size=25)
    right = check_derivatives(network, gradient=network_slope, at=at, numpy=True, seed=seed)
    assert right.ok, str(right)
    wrong = check_derivatives(
        network, gradient=lambda t: network_slope(t, mask=False), at=at, numpy=True, seed=seed
    )
    assert not wrong.ok


def test_a_hinge_is_right_on_either_side():
    sign = 2 * Y - 1

    def value(w):
        return np.mean(np.maximum(0, 1 - sign * (X @ w))) + 0.05 * w @ w

    def gradient(w):
        return -X.T @ (sign * (sign * (X @ w) < 1)) / N + 0.1 * w

    for at in (np.zeros(P), np.full(P, 0.3)):
        report = check_derivatives(value, gradient=gradient, at=at, numpy=True)
        assert report.ok, str(report)


def test_a_number_that_stands_for_infinity_is_outside_the_domain():
    def value(w):
        return 1e10 if (w <= 0).any() else float(np.sum(w * np.log(w)) - np.log(w.sum()))

    for seed in range(4):
        at = np.random.default_rng(seed).uniform(0.01, 0.5, 3)
        report = check_derivatives(
            value, gradient=lambda w: np.log(w) + 1 - 1 / w.sum(), at=at, numpy=True, seed=seed
        )
        assert report.ok, str(report)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_second_derivatives(with_gradient):
    options = {"gradient": slope} if with_gradient else {}
    at = np.full(P, 0.01)
    for right in ({"hessian": curvature}, {"hvp": lambda w, v: curvature(w) @ v}):
        report = check_derivatives(loss, at=at, numpy=True, **options, **right)
        assert report.ok, str(report)
    wrong = check_derivatives(
        loss, hessian=lambda w: N * curvature(w), at=at, numpy=True, **options
    )
    assert wrong.diagnosis.kind == "factor"
    assert "n = 60" in wrong.diagnosis.message or "60" in wrong.diagnosis.message


def test_a_hessian_alone_takes_few_values():
    calls = 0

    def value(w):
        nonlocal calls
        calls += 1
        return loss(w)

    report = check_derivatives(value, hessian=curvature, at=np.full(P, 0.01), numpy=True)
    assert report.ok
    assert calls < 20 * P**2


def central(f, w, step):
    rows = [(f(w + step * e) - f(w - step * e)) / (2 * step) for e in np.eye(P)]
    return np.array(rows)


def of_values(w, step=1e-4):
    pairs = step * np.eye(P)
    return np.array([
        [(loss(w + a + b) - loss(w + a - b) - loss(w - a + b) + loss(w - a - b)) / (4 * step**2)
         for a in pairs] for b in pairs
    ])  # fmt: skip


@pytest.mark.parametrize(
    "derivative",
    [
        {"hessian": of_values, "gradient": slope},
        {"hessian": of_values},
        {"gradient": lambda w: [(loss(w + 1e-7 * e) - loss(w)) / 1e-7 for e in np.eye(P)]},
    ],
)
def test_numerical_differentiation_is_approximate(derivative):
    report = check_derivatives(loss, at=np.full(P, 0.01), numpy=True, **derivative)
    assert report.ok, str(report)
    assert "approximate" in [f.kind for f in report.findings]
    assert not report.diagnoses


def test_differences_over_a_kink_are_approximate_too():
    at, step = np.array([0.3, -0.4, 0.6]), 1e-4

    def value(w):
        return np.sum(np.exp(w) * np.cos(w)) + np.maximum(w[1] + 0.4 + 4e-5, 0.0)

    def forward(w):
        return np.array([(value(w + step * e) - value(w)) / step for e in np.eye(3)])

    def backward(w):  # at the kink, and nowhere else
        return np.array([(value(w) - value(w - step * e)) / step for e in np.eye(3)])

    for gradient in (forward, backward):
        report = check_derivatives(value, gradient=gradient, at=at, numpy=True)
        assert report.ok, str(report)
        assert "approximate" in [f.kind for f in report.findings]


def test_a_small_mistake_is_no_numerical_differentiation():
    """An error of 2e-6 of the largest entry that has a simple explanation."""
    report = check_derivatives(
        lambda w: loss(w) + 5e-4 * w @ w, gradient=slope, at=np.full(P, 0.01), numpy=True
    )
    assert not report.ok, str(report)


def of_bessel_functions(w):
    """A value that has no counterpart in JAX: only differences of it are known."""
    return float(np.sum(bessel(0, Z @ w)))


def bessel_slope(w):
    return -Z.T @ bessel(1, Z @ w)


def bessel_curvature(w):
    return (Z.T * (bessel(2, Z @ w) - bessel(0, Z @ w)) / 2) @ Z


SECOND = {
    "hessian": bessel_curvature,
    "hessian diagonal": lambda w: np.diag(bessel_curvature(w)),
    "hvp": lambda w, v: bessel_curvature(w) @ v,
}


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("with_gradient", [False, True])
def test_second_derivatives_where_only_differences_are_known(name, with_gradient):
    function, keyword = SECOND[name], name.split()[0]
    given = {"gradient": bessel_slope} if with_gradient else {}

    def audit(derivative):
        options = {**given, keyword: derivative}
        return check_derivatives(of_bessel_functions, at=0.3 * np.ones(3), numpy=True, **options)

    right, wrong = audit(function), audit(lambda *x: 2 * function(*x))
    assert right.ok, str(right)
    assert right.reference == wrong.reference == "differences"
    assert [(c.name, c.agrees) for c in wrong.checks if c.name != "gradient"] == [(name, False)]
    assert wrong.diagnosis.kind == "factor"
