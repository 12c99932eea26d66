"""Neighbouring shapes share a program, and the answer does not notice."""

import numpy as np
import pytest

from jax_logreg import L2, ElasticNet, Firth, fit, make_objective
from jax_logreg.fitting.loop import _solve_regular
from jax_logreg.fitting.padding import padded_shape
from tests.problems import count_programs


def test_small_shapes_share_a_few_sizes():
    shapes = {padded_shape(n, p) for n in range(1, 8000, 7) for p in range(1, 65)}
    assert len(shapes) <= 8


@pytest.mark.parametrize("p", [1, 3, 40, 100, 3000])
@pytest.mark.parametrize("num_outputs", [1, 10])
def test_padding_costs_less_than_compiling(p, num_outputs):
    """At most 35 million multiply-adds a Hessian, four milliseconds, or a quarter more."""
    for n in (2, 33, 150, 569, 1025, 5000, 20_000, 10**6):
        rows, columns = padded_shape(n, p, num_outputs)
        assert rows >= n
        assert columns >= p
        cost, padded = n * (p * num_outputs) ** 2, rows * (columns * num_outputs) ** 2
        assert padded <= 3.5e7 or padded <= 1.125**3 * cost
        assert rows * columns <= 2**19 or (rows, columns) == (n, p)


def test_folds_and_selections_of_features_compile_once(x64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(800, 16)), np.arange(800) % 2
    fit(X, y, penalty=L2(0.1))
    before = count_programs(_solve_regular)
    for n, p in ((769, 5), (790, 7), (799, 12), (800, 15)):
        fit(X[:n, :p], y[:n], penalty=L2(0.1))
    assert count_programs(_solve_regular) == before


def test_padding_changes_the_answer_by_round_off_only(model, x64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(149, 3)), np.arange(149) % (2 if model == "sigmoid" else 3)
    offset = rng.normal(size=(149,) if model == "sigmoid" else (149, 3))
    result = fit(X, y, penalty=L2(0.1), offset=offset, tol=1e-11)
    labels = y if model == "sigmoid" else np.eye(3)[y]
    F = make_objective(X, labels, L2(0.1), offset=offset)
    theta = F.join(result.coef, result.intercept)
    np.testing.assert_allclose(result.objective, F.value(theta), rtol=1e-14)


@pytest.mark.parametrize("factor", [None, [1.0, 0.0, 2.0]])
@pytest.mark.parametrize("penalty", [L2, ElasticNet])
def test_a_penalty_of_padded_columns_is_that_of_the_columns(penalty, factor, x64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(149, 3)), np.arange(149) % 2
    penalty = penalty(0.01, factor=factor)
    result = fit(X, y, penalty=penalty, tol=1e-11)
    F = make_objective(X, y, penalty)
    assert result.coef.shape == (3,)
    assert result.rank == -1 or result.rank == 4
    np.testing.assert_allclose(
        result.objective, F.value(F.join(result.coef, result.intercept)), rtol=1e-13
    )


@pytest.mark.parametrize("penalty", [None, L2(0.1), Firth()])
def test_rows_of_weight_zero_are_deleted_rows(penalty, dtype, model):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)).astype(dtype), np.arange(90) % (2 if model == "sigmoid" else 3)
    expected = fit(X[1:], y[1:], penalty=penalty)
    weight = (np.arange(90) > 0).astype(dtype)
    for far in (1e5, 1e30):
        X[0] = far
        result = fit(X, y, penalty=penalty, sample_weight=weight)
        assert result.status == expected.status == 0
        np.testing.assert_allclose(result.coef, expected.coef, rtol=1e-4)
