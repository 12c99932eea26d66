"""Mistakes of data, conditions and rows are named in values of any kind, and in parts of θ."""

import numpy as np
import pytest

from jax_logreg import check_derivatives

RNG = np.random.default_rng(5)
N, P = 30, 3
X = RNG.normal(size=(N, P))
Y = (RNG.random(N) < 0.5).astype(float)
T = X @ np.array([1.0, -0.5, 0.3]) + RNG.normal(size=N)
SEEN = (RNG.random(N) < 0.7).astype(float)
EXPOSURE = RNG.uniform(0.5, 2, N)
USERS = RNG.integers(0, 4, N)
AT = RNG.normal(size=P) / 2


def diagnoses(value, gradient, at=AT, **more):
    report = check_derivatives(value, gradient=gradient, at=at, numpy=True, **more)
    assert not report.ok
    return report.diagnoses


def survival(q):  # a normal time, its deviation on the log scale, some times censored
    z = (T - X @ q[:P]) / np.exp(q[P])
    return np.sum(SEEN * (0.5 * z**2 + q[P]) + (1 - SEEN) * np.log1p(np.exp(z)))


def survival_gradient(q, seen_in_slope=SEEN, seen_in_scale=SEEN, scale=None):
    s = np.exp(q[P])
    z = (T - X @ q[:P]) / s
    p = 1 / (1 + np.exp(-z))
    d = seen_in_slope * z + (1 - seen_in_slope) * p
    e = seen_in_scale * z + (1 - seen_in_scale) * p
    return np.r_[-X.T @ d / (s if scale is None else scale), np.sum(seen_in_scale - e * z)]


def test_a_mask_forgotten_in_one_part_of_a_flat_point():
    ones, at = np.ones(N), np.r_[AT, 0.2]
    assert check_derivatives(survival, gradient=survival_gradient, at=at, numpy=True).ok
    (found, *_) = diagnoses(survival, lambda q: survival_gradient(q, seen_in_scale=ones), at)
    assert found.kind == "weights"
    assert "zeros and ones" in found.message
    assert "SEEN" in found.message
    assert "θ[3]" in found.message


def test_another_mistake_beside_it():
    at, ones = np.r_[AT, 0.2], np.ones(N)
    wrong = diagnoses(survival, lambda q: survival_gradient(q, seen_in_scale=ones, scale=1.0), at)
    assert {"weights", "chain-factor"} <= {d.kind for d in wrong}
    assert "in θ[3]" in wrong[0].message
    assert "in θ[:3]" in wrong[0].message


def test_a_mask_forgotten_for_one_of_two_arrays():
    R = (RNG.random((6, 5)) < 0.6).astype(float)
    M = RNG.normal(size=(6, 5))

    def value(p):
        return 0.5 * np.sum(R * (p["U"] @ p["V"].T - M) ** 2)

    def gradient(p):
        E = p["U"] @ p["V"].T - M
        return {"U": (R * E) @ p["V"], "V": E.T @ p["U"]}

    at = {"U": RNG.normal(size=(6, 2)), "V": RNG.normal(size=(5, 2))}
    (found, *_) = diagnoses(value, gradient, at)
    assert "V is wrong" in found.message
    assert "ones in place of" in found.message


@pytest.mark.parametrize("tau", [0.2, 0.7])
def test_the_condition_of_a_piecewise_loss(tau):
    def value(w):
        r = T - X @ w
        return np.sum(np.where(r > 0, tau * r**2, np.abs(r) ** 1.5))

    (found, *_) = diagnoses(value, lambda w: -2 * tau * X.T @ (T - X @ w))
    assert "a condition held everywhere" in found.message
    assert "r > 0" in found.message


def test_a_mask_made_of_the_residuals():
    def value(w):
        r = T - X @ w
        far = np.abs(r) > 0.5
        return np.sum(~far * np.abs(r) ** 3 + far * (0.75 * r**2 - 0.0625))

    def gradient(w):
        return -1.5 * X.T @ (T - X @ w)

    (found, *_) = diagnoses(value, gradient)
    assert "a mask" in found.message
    assert "far = np.abs(r) > 0.5" in found.message


def test_repeated_indices_of_embeddings():
    def value(p):
        return np.sum((p["a"][USERS] * X[:, 0] + p["b"][USERS] - T) ** 2)

    def gradient(p):
        e = 2 * (p["a"][USERS] * X[:, 0] + p["b"][USERS] - T)
        g = {k: np.zeros(4) for k in p}
        g["a"][USERS] += e * X[:, 0]
        g["b"][USERS] += e
        return g

    (found, *_) = diagnoses(value, gradient, {"a": RNG.normal(size=4), "b": RNG.normal(size=4)})
    assert "repeated indices only the last" in found.message


def test_a_residual_of_another_link():
    def value(w):
        p = 1 - np.exp(-np.exp(X @ w))
        return -np.sum(Y * np.log(p) + (1 - Y) * np.log(1 - p))

    (found, *_) = diagnoses(value, lambda w: X.T @ (1 - np.exp(-np.exp(X @ w)) - Y))
    assert "Xᵀr with r = p − Y" in found.message


def test_raw_scores_in_a_residual():
    def value(w):
        return np.sum(EXPOSURE * (np.exp(X @ w) - Y * (X @ w)))

    (found, *_) = diagnoses(value, lambda w: X.T @ (EXPOSURE * (X @ w - Y)))
    assert "raw scores" in found.message


def test_arrays_that_are_broadcast():
    def value(w):
        r = X @ w - T
        return 0.5 * np.mean(r**2)

    def gradient(w):
        r = (X @ w)[:, None] - T
        return X.T @ r.mean(axis=0) / N

    (found, *_) = diagnoses(value, gradient)
    assert "broadcast" in found.message


def test_an_offset_left_out_and_another_penalty():
    def value(w):
        return np.sum(np.exp(X @ w + np.log(EXPOSURE)) - Y * (X @ w)) + 0.7 * w @ w

    found = diagnoses(value, lambda w: X.T @ (np.exp(X @ w) - Y) + 0.7 * w)
    assert found[0].message.startswith("Two mistakes")
    assert any(d.kind == "penalty-factor" for d in found)


def test_residuals_that_are_computed_once():
    kept = np.exp(X @ AT * 0.3) - Y

    def value(w):
        return np.sum(np.exp(X @ w) - Y * (X @ w)) + 0.2 * w @ w

    (found, *_) = diagnoses(value, lambda w: X.T @ kept + 0.4 * w)
    assert found.kind == "hidden-state"
    assert "the same at every point" in found.message


def test_the_outer_product_missing_from_the_hessian_of_a_log_sum():
    groups = [X[i : i + 6] for i in range(0, N, 6)]

    def value(w):
        return sum(np.log(np.sum(np.exp(G @ w))) for G in groups) + 0.1 * np.sum(w**4)

    def hessian(w):
        H = np.diag(1.2 * w**2)
        for G in groups:
            p = np.exp(G @ w)
            H += (G.T * p) @ G / p.sum()
        return H

    report = check_derivatives(value, hessian=hessian, at=AT, numpy=True)
    assert report.diagnosis.kind == "gauss-newton"
    assert "outer product" in report.diagnosis.message
    assert "np.log" in report.diagnosis.message
