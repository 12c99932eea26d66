"""Scaled columns keep their digits, and verdicts and answers are those of any other units."""

import jax
import numpy as np
import pytest
from scipy.sparse import csr_array

from jax_logreg import L2, ElasticNet, Firth, Status, fit, fit_many, make_objective
from jax_logreg.fitting.column_scaling import (
    ColumnScaling,
    ScaledPenalty,
    choose_scaling,
    scale_by_largest,
)
from jax_logreg.objective.sparse_features import sparse_features, typical_size
from tests.problems import random_theta

# Shifts in spreads, and scales, of both columns; the first keeps the units.
UNITS = {
    "float64": [(0, 1), (1e3, 1e8), (1e6, 1), (1e8, 1e-20), (0, 1e150), (0, 1e-150)],
    "float32": [(0, 1), (1e2, 1), (1e4, 1e3), (0, 1e15), (0, 1e-15)],
}


def overlapping(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, (X[:, 0] + rng.logistic(size=n) > 0).astype(int)


def test_no_square_of_a_scaled_column_overflows():
    X = np.array([[1e300, 0.0, -5e-324], [-1e300, 0.0, 5e-324]])
    unit, divisor = scale_by_largest(X)
    np.testing.assert_array_equal(unit, [[1, 0, -1], [-1, 0, 1]])
    np.testing.assert_array_equal(unit * divisor, X)


def test_columns_of_ordinary_size_keep_their_units():
    X = np.random.default_rng(0).normal(size=(20, 2))
    assert choose_scaling(X, "float64", centre=True).is_identity
    assert choose_scaling(X, "float32", centre=True).is_identity


def test_a_far_point_moves_neither_centre_nor_scale():
    X = np.random.default_rng(0).normal(size=(21, 1)) + 1e6
    expected = choose_scaling(X, "float64", centre=True)
    X[3] = 1e12
    found = choose_scaling(X, "float64", centre=True)
    np.testing.assert_allclose(found.centre, expected.centre, rtol=1e-6)
    assert found.scale == expected.scale


@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_coefficients_return_to_their_units(shape):
    X = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 1e150, 1e-40] + [1e12, 0, 0]
    scaling = choose_scaling(X, "float64", centre=True)
    coef = np.random.default_rng(1).normal(size=shape)
    back, intercept = scaling.to_original(*scaling.to_scaled(coef, np.ones(shape[1:])))
    np.testing.assert_array_equal(back, coef)
    np.testing.assert_allclose(intercept, 1.0, rtol=1e-3)


@pytest.mark.parametrize("inner", [L2(0.3, [1.0, 2.0, 0.0]), ElasticNet(0.3, 0.4, [1.0, 2.0, 0.0])])
def test_a_scaled_penalty_is_the_same_function(inner, x64, model):
    scale, padding = np.array([4.0, 0.5, 1.0]), np.zeros(3)
    scaled = ScaledPenalty(inner, scale, padding)
    F = make_objective(np.ones((2, 3)), np.eye(2, 3) if model == "softmax" else np.ones(2))
    coef, _ = F.split(random_theta(F))
    beta = (coef.T / scale).T
    np.testing.assert_allclose(scaled.value(coef), inner.value(beta), rtol=1e-14)
    for ours, theirs, power in (
        (scaled.gradient, inner.gradient, 1),
        (scaled.l1_weights, inner.l1_weights, 1),
        (scaled.curvature, inner.curvature, 2),
    ):
        np.testing.assert_allclose(ours(coef), (theirs(beta).T / scale**power).T, rtol=1e-14)


@pytest.mark.parametrize("penalty", [None, L2(0.01), ElasticNet(0.01), Firth()])
def test_the_answer_is_the_same_in_any_units(penalty, dtype):
    """Under a penalty in the caller's units its factors follow the units."""
    X, y = overlapping()
    expected = fit(X.astype(dtype), y, penalty=penalty).raise_if_failed()
    for shift, scale in UNITS[dtype.name]:
        units = np.array([scale, 1.0])
        factor = {}
        if isinstance(penalty, L2 | ElasticNet):
            power = 2 if isinstance(penalty, L2) else 1
            if not 1e-16 < scale**power < 1e16:
                continue
            factor = {"factor": units**power}
        same = penalty if not factor else type(penalty)(0.01, **factor)
        result = fit(((X + shift) * units).astype(dtype), y, penalty=same)
        assert result.status == Status.CONVERGED, (shift, scale, result.message)
        # A shift leaves so many digits of X.
        rtol = max(1e-3 if dtype == "float32" else 1e-6, 10 * shift * np.finfo(dtype).eps)
        np.testing.assert_allclose(
            np.asarray(result.coef, float) * units, expected.coef, rtol=rtol, atol=rtol
        )
        # The determinant of Firth's information is in the caller's units, too.
        volume = np.log(scale) / len(y) if isinstance(penalty, Firth) else 0.0
        np.testing.assert_allclose(result.objective, expected.objective - volume, rtol=rtol)


@pytest.mark.parametrize("kind", ["complete", "quasi"])
def test_separation_is_found_in_any_units(kind, dtype):
    X, y = overlapping()
    X[:, 0] = np.where(y == 1, np.abs(X[:, 0]) + 0.1, -np.abs(X[:, 0]) - 0.1)
    if kind == "quasi":
        X[:20, 0] = 0.0
    for shift, scale in UNITS[dtype.name]:
        result = fit(((X + shift) * [scale, 1.0]).astype(dtype), y)
        assert result.status == Status.SEPARATED, (shift, scale, result.message)


def test_a_known_table_has_its_units_inside_vmap(x64):
    """Weights vary from fit to fit, and X is no argument."""
    X, y = overlapping()
    weights = np.random.default_rng(1).integers(0, 3, (2, len(y))).astype(float)
    for shift, scale in ((1e8, 1e-20), (0.0, 1e150)):
        Z = (X + np.array([shift, 0.0])) * [scale, 1.0]
        many = jax.vmap(lambda weight, Z=Z: fit(Z, y, sample_weight=weight))(weights)
        assert many.status_code.tolist() == [Status.CONVERGED] * 2
        expected = [fit(Z, y, sample_weight=weight).coef for weight in weights]
        np.testing.assert_allclose(many.coef, expected, rtol=1e-6)


def test_fits_of_different_tables_have_the_verdicts_of_fit(dtype):
    """The first keeps its units, the last is separated; the third row of each does not count."""
    X, y = overlapping()
    wide = np.where(y == 1, np.abs(X[:, 0]) + 0.1, -np.abs(X[:, 0]) - 0.1)
    bases = [X, X[:, ::-1], np.column_stack([wide, X[:, 1]])]
    weight = np.ones(len(y))
    weight[2] = 0
    for shift, scale in UNITS[dtype.name]:
        moved = [(base + np.array([shift, 0.0])) * [scale, 1.0] for base in bases[1:]]
        tables = np.stack([X, *moved]).astype(dtype)
        tables[:, 2] = 1e5
        many = fit_many(tables, y, sample_weight=weight, penalty=L2(np.zeros(3)))
        for i, table in enumerate(tables):
            one = fit(table, y, sample_weight=weight)
            assert int(many.status[i]) == one.status, (shift, scale, i)
            if one.converged:
                np.testing.assert_allclose(many.coef[i], one.coef, rtol=1e-4)
    assert many.status.tolist() == [Status.CONVERGED, Status.CONVERGED, Status.SEPARATED]


@pytest.mark.parametrize("far", [1e5, 1e9, 1e14])
def test_one_far_point_separates_nothing(far, dtype):
    X = np.array([3, 4, 5, 6, 7, 8, far])[:, None]
    result = fit(X.astype(dtype), np.array([1, 1, 0, 1, 0, 0, 0]))
    assert result.status == Status.CONVERGED
    np.testing.assert_allclose(result.coef, [-1.2140275947], rtol=1e-3)
    np.testing.assert_allclose(result.intercept, 6.6771517222, rtol=1e-3)


def test_no_table_with_one_far_row_or_entry_is_called_separated():
    """Sixty overlapping tables in float32."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(48, 3)).astype(np.float32)
        y = (rng.random(48) < 0.5).astype(int)
        X[(seed, slice(None)) if seed % 2 and seed < 48 else (seed % 48, seed % 3)] *= (
            10.0 ** rng.integers(2, 8)
        )
        assert fit(X, y).status != Status.SEPARATED


def test_an_identity_changes_nothing():
    assert ColumnScaling(np.zeros(2), np.ones(2)).is_identity


@pytest.mark.parametrize("penalty", [L2(0.01, [1e16, 1.0, 1.0]), ElasticNet(0.01)])
def test_sparse_columns_are_scaled(penalty, x64):
    X, y = overlapping()
    X = np.column_stack([X, X[:, 0] * X[:, 1]]) * (np.abs(X[:, :1]) > 0.3)
    expected = fit(X, y, penalty=type(penalty)(0.01)).raise_if_failed()
    units = np.array([1e8, 1.0, 1.0] if isinstance(penalty, L2) else [1.0, 1.0, 1.0])
    result = fit(csr_array(X * units), y, penalty=penalty).raise_if_failed()
    np.testing.assert_allclose(result.coef * units, expected.coef, rtol=1e-4, atol=1e-6)
    assert result.status == Status.CONVERGED


def test_scaling_a_sparse_table_scales_both_of_its_sides(x64):
    """A column of 600 entries is cut into pieces."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((600, 5)) < [1.0, 0.3, 0.0, 0.01, 0.5], rng.normal(size=(600, 5)), 0)
    features = sparse_features(csr_array(X))
    factor = np.array([2.0, 0.5, 4.0, 8.0, 1.0])
    scaled = features.scale_columns(factor)
    np.testing.assert_allclose(scaled.matvec(np.ones(5)), (X * factor).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(scaled.rmatvec(np.ones(600)), (X * factor).sum(axis=0), atol=1e-12)
    counted = features.scale_rows(np.arange(600) % 2).matvec(np.ones(5))
    np.testing.assert_allclose(counted, X.sum(axis=1) * (np.arange(600) % 2), atol=1e-12)
    X[7] = 1e9  # the largest entry, unless all others are far from it
    sizes = sparse_features(csr_array(X)).by_columns.typical_sizes()
    np.testing.assert_array_equal(sizes, [typical_size(column) for column in X.T])
    assert sizes[2] == 1e9
    assert sizes[0] < 1


@pytest.mark.parametrize("dtype_", ["float64", "float32"])
def test_one_far_entry_of_a_sparse_column_is_not_its_unit(dtype_, x64):
    """Divided by it, all other entries are nothing, and the fit converged at zero."""
    X = np.array([3, 4, 5, 6, 7, 8, 1e9], dtype_)[:, None]
    result = fit(csr_array(X), np.array([1, 1, 0, 1, 0, 0, 0]))
    assert result.status == Status.CONVERGED
    np.testing.assert_allclose(result.coef, -1.2140275947, rtol=1e-4)


@pytest.mark.parametrize("far", [1e30, 1e200])
def test_a_sparse_row_of_weight_zero_may_hold_anything(far, x64):
    X, y = overlapping()
    expected = fit(X[1:], y[1:]).coef
    X[0] = far
    weight = np.r_[0.0, np.ones(59)]
    found = fit(csr_array(X), y, sample_weight=weight).coef
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
