"""Facts that hold of any data, tried on data that hypothesis draws."""

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jax_logreg import L2, fit
from tests.problems import K, N, P

# One compiled program serves every example; only the numbers are drawn.
# The model fixture is a constant name, so it need not be made anew for each example.
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 2**32 - 1)


def draw(seed, model):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) * 10 ** rng.uniform(-1, 1, size=P)
    classes = 2 if model == "sigmoid" else K
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, N - classes)])
    labels = y.astype(float) if model == "sigmoid" else np.eye(K)[y]
    return rng, X, labels


def solve(X, y, penalty=None, **options):
    penalty = L2(np.asarray(0.05), np.ones(X.shape[1])) if penalty is None else penalty
    with jax.enable_x64(True):
        result = fit(X, y, penalty=penalty, tol=1e-10, **options).raise_if_failed()
        return np.asarray(result.coef), np.asarray(result.intercept)


def same(a, b):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)


@EXAMPLES
@given(seed=seeds)
def test_a_zero_weight_is_a_deleted_row(model, seed):
    rng, X, y = draw(seed, model)
    weight = np.where(np.arange(N) < N - 4, rng.uniform(0.5, 2, N), 0.0)
    same(solve(X, y, sample_weight=weight), solve(X[:-4], y[:-4], sample_weight=weight[:-4]))


@EXAMPLES
@given(seed=seeds)
def test_a_whole_weight_is_a_repeated_row(model, seed):
    _, X, y = draw(seed, model)
    times = np.where(np.arange(N) < 6, 3, 1)
    repeated = solve(np.repeat(X, times, axis=0), np.repeat(y, times, axis=0))
    same(solve(X, y, sample_weight=times.astype(float)), repeated)


@EXAMPLES
@given(seed=seeds)
def test_softmax_of_two_classes_is_the_sigmoid(seed):
    """η₁ − η₀ is the sigmoid's η; ½λ(β₀² + β₁²) is ½(λ/2)β² for β = 2β₁."""
    _, X, y = draw(seed, "sigmoid")
    one = solve(X, y, L2(np.asarray(0.05)))
    pair = solve(X, np.stack([1 - y, y], axis=1), L2(np.asarray(0.1)))
    same(one, [part[..., 1] - part[..., 0] for part in pair])


@EXAMPLES
@given(seed=seeds)
def test_an_offset_is_a_column_with_a_fixed_coefficient(model, seed):
    """Optimality of the fit with the column free, held at its own coefficient."""
    _, X, y = draw(seed, model)
    free = L2(np.asarray(0.05), np.array([1.0, 1.0, 0.0]) + 1e-3)
    coef, intercept = solve(X, y, free)
    offset = X[:, 2:] * coef[2] if model == "softmax" else X[:, 2] * coef[2]
    held = solve(X[:, :2], y, L2(np.asarray(0.05), np.ones(2) + 1e-3), offset=offset)
    same([coef[:2], intercept], held)


@EXAMPLES
@given(seed=seeds, power=st.integers(-3, 3))
def test_scaling_a_column_scales_its_coefficient(model, seed, power):
    _, X, y = draw(seed, model)
    scale = 10.0**power
    coef, intercept = solve(X, y)
    penalty = L2(np.asarray(0.05), np.array([scale**2, 1, 1]))
    scaled = solve(X * np.array([scale, 1, 1]), y, penalty)
    same([coef / np.array([scale, 1, 1]).reshape(-1, *[1] * (coef.ndim - 1)), intercept], scaled)


@EXAMPLES
@given(seed=seeds)
def test_order_does_not_matter(model, seed):
    rng, X, y = draw(seed, model)
    rows, columns = rng.permutation(N), rng.permutation(P)
    coef, intercept = solve(X, y)
    mixed_coef, mixed_intercept = solve(X[rows][:, columns], y[rows])
    same([coef[columns], intercept], [mixed_coef, mixed_intercept])


@EXAMPLES
@given(seed=seeds)
def test_the_order_of_classes_does_not_matter(seed):
    rng, X, y = draw(seed, "softmax")
    classes = rng.permutation(K)
    coef, intercept = solve(X, y)
    same([coef[:, classes], intercept[classes]], solve(X, y[:, classes]))


@EXAMPLES
@given(seed=seeds, shift=st.floats(-5, 5))
def test_shifting_a_column_moves_the_intercept_alone(model, seed, shift):
    _, X, y = draw(seed, model)
    coef, intercept = solve(X, y)
    same([coef, intercept - shift * coef[0]], solve(X + np.array([shift, 0, 0]), y))


@EXAMPLES
@given(seed=seeds)
def test_swapping_the_two_classes_turns_the_signs(seed):
    _, X, y = draw(seed, "sigmoid")
    same([-part for part in solve(X, y)], solve(X, 1 - y))


@pytest.mark.parametrize("count", [3, 30])
def test_constructed_optimum(count, x64):
    """Labels that are the probabilities of a chosen β: no other β has a zero gradient."""
    rng = np.random.default_rng(count)
    X, beta, b = rng.normal(size=(200, count)), rng.normal(size=count), 0.7
    y = 1 / (1 + np.exp(-(X @ beta + b)))
    same([beta, b], solve(X, y, L2(np.asarray(0.0))))
    B = rng.normal(size=(count, K))
    B -= B.mean(axis=1, keepdims=True)
    eta = X @ B
    Y = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    same([B, np.zeros(K)], solve(X, Y, L2(np.asarray(0.0))))
