"""Separation is found and named, with its direction, by linear programming."""

import numpy as np
import pytest
import scipy.sparse

from jax_logreg import L2, Firth, Status, diagnose_separation, fit, sparse_features
from jax_logreg.inference import separation


def design(kind, seed, K):
    """A table of known kind: a column that tells classes apart, in all rows or in some."""
    rng = np.random.default_rng(seed)
    n = 40
    X = rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-3, 4, size=3)
    y = rng.integers(K, size=n)
    y[:K] = np.arange(K)
    if kind == "complete":
        X[:, 1] = y + rng.uniform(-0.3, 0.3, size=n)
    if kind == "quasi":  # a dummy that only occurs with the last class
        X[:, 1] = (y == K - 1) & (rng.uniform(size=n) < 0.4)
        X[np.flatnonzero(y == K - 1)[0], 1] = 1
    return X, y


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", ["none", "quasi", "complete"])
@pytest.mark.parametrize("seed", range(5))
def test_every_design_is_named(kind, seed, K, x64):
    X, y = design(kind, seed, K)
    found = diagnose_separation(X, y)
    assert found.kind == kind
    assert bool(found) == (kind != "none")
    result = fit(X, y)
    assert (result.status == Status.SEPARATED) == (kind != "none")
    if kind == "none":
        return
    # The direction agrees with every label, and tells the rows that it names.
    z = X @ found.coef + found.intercept
    margin = z * (2 * y - 1) if K == 2 else z[np.arange(40), y] - np.max(z, axis=1)
    assert np.all(margin >= -1e-9 * np.max(np.abs(z)))
    assert np.all(found.rows == (kind == "complete")) or kind == "quasi"
    if kind == "quasi":
        np.testing.assert_array_equal(np.any(found.coef.reshape(3, -1) != 0, axis=1), [0, 1, 0])
        np.testing.assert_array_equal(found.rows, X[:, 1] == 1)
        assert np.all(found.diverging_sign[1].reshape(-1)[-1] == 1)
    assert "infinity" in found.message


def test_a_step_beyond_the_digits_does_not_pass_for_a_minimum(dtype):
    """L-BFGS leaps: the row that runs away is left without a slope that plain digits show."""
    X, y = design("quasi", 0, 2)
    assert fit(X.astype(dtype), y, solver="lbfgs").status == Status.SEPARATED


def test_dependent_columns_are_no_separation(x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    X = np.column_stack([X, X.sum(axis=1)])
    assert diagnose_separation(X, rng.integers(2, size=30)).kind == "none"
    y = (X[:, 0] > 0).astype(int)
    assert diagnose_separation(X, y).kind == "complete"


def test_weights_of_zero_soft_labels_and_penalties_count(x64):
    X = np.arange(6.0).reshape(-1, 1)
    y = np.array([0.0, 0, 1, 0, 1, 1])
    assert diagnose_separation(X, y).kind == "none"
    weight = np.array([1.0, 1, 0, 1, 1, 1])
    assert diagnose_separation(X, y, sample_weight=weight).kind == "complete"
    soft = np.array([0.0, 0, 0.5, 0.5, 1, 1])
    assert diagnose_separation(X, soft).kind == "none"
    assert diagnose_separation(X[[0, 1, 4, 5]], y[[0, 1, 4, 5]], penalty=L2(0.1)).kind == "none"


@pytest.mark.parametrize("outlier", [1e8, 1e10, 1e12])
def test_an_outlier_neither_hides_separation_nor_feigns_it(outlier, x64):
    """The programme's seven digits must not decide: rows and columns get units of their own."""
    x = np.arange(10.0)
    apart, mixed = (x > 4.5).astype(float), np.array([0.0, 0, 0, 1, 0, 1, 0, 1, 1, 1])
    lone = np.append(x - 4.6, outlier)[:, None]
    assert diagnose_separation(lone, np.append(apart, 1)).kind == "complete"
    assert diagnose_separation(lone, np.append(mixed, 1)).kind == "none"
    nuisance = np.column_stack([np.append(x, 5), np.append(np.sin(x), outlier)])
    assert diagnose_separation(nuisance, np.append(mixed, 1)).kind == "none"


@pytest.mark.parametrize(("shift", "unit"), [(1e12, 1), (0, 1e-300), (0, 1e200)])
def test_units_and_origin_of_a_column_do_not_matter(shift, unit, x64):
    x = np.arange(10.0)
    found = diagnose_separation((shift + x)[:, None] * unit, x > 4.5)
    assert found.kind == "complete"
    assert found.diverging_sign.tolist() == [1]


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.coo_matrix, sparse_features])
def test_a_sparse_table_gets_the_answer_of_the_dense_one(form, x64):
    X, y = design("quasi", 0, 2)
    X[np.abs(X) < 0.5] = 0
    dense, sparse = (
        diagnose_separation(X, y),
        diagnose_separation(form(scipy.sparse.csr_array(X)), y),
    )
    assert sparse.kind == dense.kind == "quasi"
    np.testing.assert_array_equal(sparse.coef, dense.coef)
    np.testing.assert_array_equal(sparse.rows, dense.rows)
    with pytest.raises(ValueError, match="sparse, 20000 × 10000.*fewer columns"):
        diagnose_separation(scipy.sparse.csr_array((20_000, 10_000)), np.arange(20_000) % 2)


def test_bad_input_is_refused(x64):
    X = np.arange(4.0).reshape(-1, 1)
    alone = diagnose_separation(X, np.ones(4))
    assert alone.kind == "complete"
    assert "intercept alone" in alone.message
    assert "add penalty" not in alone.message  # it never reaches the intercept
    with pytest.raises(ValueError, match=r"Firth\(\)"):
        diagnose_separation(X, [0, 1, 0, 1], penalty=Firth())
    with pytest.raises(ValueError, match="y must have"):
        diagnose_separation(np.zeros((3, 1)), np.zeros(2))


def large(kind, n=6000, p=10, K=2, seed=0):
    """A table that takes a programme seconds, and the rows that a direction separates."""
    rng = np.random.default_rng(seed)
    X, B = rng.normal(size=(n, p)), rng.normal(size=(p, K))
    y = np.argmax(X @ B + rng.gumbel(size=(n, K)), axis=1)
    last, some = y == K - 1, rng.uniform(size=n) < 0.4
    rows = np.zeros(n, bool)
    if kind == "complete":
        y, rows = np.argmax(X @ B, axis=1), ~rows
    if kind in ("dummy", "nested"):
        X[:, 0] = rows = last & some
    if kind == "half":  # margins of every size down to 1e-5
        X[:, 0] = np.where(last & some, np.abs(X[:, 0]), 0)
        rows = X[:, 0] > 0
    if kind == "nested":  # among the rows that the first column does not settle
        also = ~last & some
        X[:, 1] = np.where(X[:, 0] == 1, X[:, 1], also)
        rows = (X[:, 0] == 1) | also
    if kind == "tied":  # rows of both labels on the plane that separates the others
        difference = B[:, 1] - B[:, 0]
        y, rows = np.argmax(X @ B, axis=1), ~rows
        X[:500] -= np.outer(X[:500] @ difference, difference) / (difference @ difference)
        y[:500], rows[:500] = np.arange(500) % 2, False
    return X, y, rows


@pytest.mark.parametrize(
    ("kind", "K"),
    [("tied", 2)]
    + [(kind, K) for kind in ("none", "dummy", "half", "nested", "complete") for K in (2, 3)],
)
def test_a_large_table_needs_no_programme(kind, K, x64, monkeypatch):
    monkeypatch.setattr(separation, "linprog", None)
    X, y, rows = large(kind, K=K)
    lines = []
    found = diagnose_separation(X, y, progress=lines.append)
    assert found.kind == (kind if kind in ("none", "complete") else "quasi")
    np.testing.assert_array_equal(found.rows, rows)
    eta = X @ found.coef.reshape(10, -1) + found.intercept
    eta = np.column_stack([np.zeros(len(y)), eta]) if K == 2 else eta
    margin = np.take_along_axis(eta, y[:, None], axis=1) - eta
    assert np.all(margin >= -1e-9 * np.max(np.abs(eta)))
    assert kind == "none" or any("6000" in line for line in lines)


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("kind", ["none", "dummy", "half", "nested", "complete"])
@pytest.mark.parametrize("soft", [False, True])
def test_newtons_path_finds_the_rows_of_the_programme(kind, K, soft, x64, monkeypatch):
    X, y, _ = large(kind, n=200, p=3, K=K, seed=1)
    if soft:  # these rows must be tied
        y = np.eye(K)[y]
        y[::67] = 0.9 * y[::67] + 0.1 / K
        y = y if K > 2 else y[:, 1]
    weight = np.arange(200) % 5 > 0
    programme = diagnose_separation(X, y, sample_weight=weight)
    monkeypatch.setattr(separation, "_MAX_LP_ENTRIES", 0)
    found = diagnose_separation(X, y, sample_weight=weight)
    assert found.kind == programme.kind
    np.testing.assert_array_equal(found.rows, programme.rows)


@pytest.mark.parametrize(("K", "seed"), [(2, 4), (4, 0), (4, 5)])
def test_where_the_digits_of_the_programme_do_not_suffice_newtons_do(K, seed, x64):
    """A row of 1e9: the programme's direction does not hold."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 3))
    y = np.argmax(X @ rng.normal(size=(3, K)) + rng.gumbel(size=(60, K)), axis=1)
    y[:K] = np.arange(K)
    X[:, 0] = (y == K - 1) & (rng.uniform(size=60) < 0.3)
    X[3, 2] = 1e9
    found = diagnose_separation(X, y)
    assert found.kind == "quasi"
    np.testing.assert_array_equal(found.rows, X[:, 0] == 1)
