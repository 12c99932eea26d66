"""The rule of ``solver="auto"``, and that its answers are Newton's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from jax_logreg import L2, LBFGS, Newton, NewtonCG, fit, make_objective, sparse_features
from jax_logreg.fitting import auto_solver as module
from jax_logreg.fitting.auto_solver import choose_stages, kernel_start
from jax_logreg.objective.dense_features import DenseFeatures
from jax_logreg.solvers.bfgs import BFGS

pytestmark = pytest.mark.usefixtures("x64")


def objective(n, p, K=None, strength=0.0, dtype=np.float64):
    """A problem of which only the shape is there."""
    labels = (n,) if K is None else (n, K)
    F = make_objective(np.zeros((1, p)), np.zeros((1, *labels[1:])), L2(jnp.asarray(strength)))
    X = jax.ShapeDtypeStruct((n, p), np.dtype(dtype))
    features = DenseFeatures(X)
    return F.__class__(**{**vars(F), "X": features, "y": jax.ShapeDtypeStruct(labels, F.X.dtype)})


LAST = (Newton(), None, None)


GRAM_OF_54 = LBFGS("gram", sample=64 * 54, float32_steps=200)


def trial(steps):
    return LBFGS("diagonal", float32_steps=steps)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((569, 30), [(Newton(singular=False), None), LAST]),
        ((1_000_000, 20), [(BFGS(sample=31_250), 200), LAST]),
        ((100_000, 100), [(BFGS(sample=64 * 101), 200), LAST]),
        ((300_000, 54, 7), [(BFGS(sample=32 * 385), 200), LAST]),
        ((200_000, 54, 7), [(trial(20), 10), (GRAM_OF_54, 200), LAST]),
        ((20_000, 1000), [(trial(31), 15), (LBFGS("gram", float32_steps=200), 200), LAST]),
        (
            (1_000_000, 1000),
            [(trial(31), 15), (LBFGS("gram", sample=64_000, float32_steps=200), 200), LAST],
        ),
        ((20_000, 200, 10), [(LBFGS("gram", sample=6400, search=False), 200), LAST]),
        # few classes do little with what a pass reads: float32 pays
        (
            (50_000, 300, 3),
            [(trial(20), 10), (LBFGS("gram", sample=19_200, float32_steps=200), 200), LAST],
        ),
        # too many parameters for a Hessian
        ((60_000, 784, 20), [(trial(24), 12), (LBFGS("gram", float32_steps=200), 200)]),
        ((1000, 5000), [(trial(200), 200), LAST]),
        # a pass takes less than a millisecond: one program, without float32
        ((1000, 50, 10), [(LBFGS("gram", search=False), 200), LAST]),
        ((400, 80, 300), [(LBFGS("gram", search=False), 200), (LBFGS("gram"), 20)]),
        ((100, 5000), [(LBFGS("diagonal"), 200), LAST]),
        ((200_000, 20_000), [(trial(200), 200)]),
    ],
)
def test_the_rule_by_shape(shape, expected):
    stages = choose_stages(objective(*shape), has_init=False, concrete=True)
    assert [stage[:2] for stage in stages] == [stage[:2] for stage in expected]


def test_in_float32_nothing_leads_and_no_copy_is_made():
    square = choose_stages(objective(20_000, 1000, dtype=np.float32), has_init=False, concrete=True)
    products = (NewtonCG(), None, None)  # a float32 Hessian has no digits for small eigenvalues
    assert square == [(LBFGS("diagonal"), 31, None), (LBFGS("gram"), 200, None), products]
    wide = choose_stages(objective(1000, 5000, dtype=np.float32), has_init=False, concrete=True)
    assert wide == [(LBFGS("diagonal"), 200, None), products]
    small = choose_stages(objective(100, 5, dtype=np.float32), has_init=False, concrete=True)
    assert small[1:] == [LAST, products]


def test_wide_and_penalised_is_finished_from_the_kernel_form():
    last = choose_stages(objective(1000, 5000, strength=0.1), has_init=False, concrete=True)[-1]
    assert last == (LBFGS("diagonal"), None, kernel_start)


def test_a_given_start_is_not_thrown_away():
    first, second, _ = choose_stages(objective(100_000, 100), has_init=True, concrete=True)
    assert first == (LBFGS("diagonal"), 20, None)
    assert second == (LBFGS("gram", sample=6400), 200, None)


def test_sparse_features_take_their_diagonal():
    X = sparse_features(scipy.sparse.csr_array(np.eye(5)))
    assert choose_stages(make_objective(X, np.zeros(5)), has_init=False, concrete=True) == [
        (LBFGS("diagonal"), None, None)
    ]


def test_a_large_sparse_table_under_a_ridge_takes_newtons_products():
    X = sparse_features(scipy.sparse.random_array((3000, 1000), density=0.1, rng=0))
    Y, last = np.eye(10)[np.arange(3000) % 10], (LBFGS("diagonal"), None, None)
    for strength, first in ((0.1, [(NewtonCG(float32=True), 20, None)]), (0.0, [])):
        F = make_objective(X, Y, L2(strength))
        assert choose_stages(F, has_init=False, concrete=True) == [*first, last]


def test_in_float32_a_sparse_table_of_few_entries_a_column_takes_newtons_products():
    """Products are no cheaper there, but the pairs of L-BFGS are longer than X."""
    Y = np.eye(20, dtype="float32")[np.arange(3000) % 20]
    for columns, first in ((20_000, NewtonCG()), (1000, LBFGS("diagonal"))):
        X = scipy.sparse.random_array((3000, columns), density=100 / columns, rng=0)
        F = make_objective(sparse_features(X, "float32"), Y, L2(0.1))
        assert choose_stages(F, has_init=False, concrete=True)[0].solver == first


def test_inside_jit_one_method_must_see_it_through():
    assert choose_stages(objective(10_000, 400), has_init=False, concrete=False) == [LAST]
    assert choose_stages(objective(60_000, 784), has_init=False, concrete=False) == [
        (LBFGS("gram"), None, None)
    ]


@pytest.mark.parametrize("case", ["sampled", "rented", "bought", "wide", "sparse"])
def test_every_branch_ends_where_newton_ends(case, model, monkeypatch, x64):
    """The limits are lowered, so that problems of a few rows take the branches of large ones."""
    monkeypatch.setattr(module, "_CHEAP_HESSIAN", 0)
    monkeypatch.setattr(module, "_SMALL_PASS", 0)
    monkeypatch.setattr(module, "_SHORT_PASS", (0, 0))
    monkeypatch.setattr(module, "_ROWS_PER_PARAMETER", 4 if case == "sampled" else 10**9)
    monkeypatch.setattr(module, "_FEW_STEPS", 2 if case == "bought" else 20)
    n, p = (10, 20) if case == "wide" else (120, 4)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) + (5 * rng.normal(size=(n, 1)) if case == "bought" else 0)
    y = np.arange(n) % (2 if model == "sigmoid" else 3)
    given = scipy.sparse.csr_array(X) if case == "sparse" else X
    auto = fit(given, y, penalty=L2(0.05)).raise_if_failed()
    newton = fit(X, y, penalty=L2(0.05), solver="newton").raise_if_failed()
    name = {"sampled": "BFGS(", "bought": "LBFGS(preconditioner='gram'", "sparse": "NewtonCG("}
    assert auto.solver.startswith(name.get(case, "LBFGS(preconditioner='diagonal'"))
    np.testing.assert_allclose(auto.coef, newton.coef, atol=1e-7)
    np.testing.assert_allclose(auto.objective, newton.objective, rtol=1e-13)


def test_what_lbfgs_leaves_short_newton_finishes(monkeypatch, x64):
    """One step is not enough; the second method goes on from there, and the history with it."""
    monkeypatch.setattr(module, "_CHEAP_HESSIAN", 0)
    monkeypatch.setattr(module, "_ENOUGH_STEPS", 1)
    monkeypatch.setattr(module, "_ROWS_PER_PARAMETER", 4)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    seen = []
    result = fit(X, y, penalty=L2(0.05), progress=lambda *told: seen.append(told[0]))
    assert result.converged
    assert result.solver == repr(Newton())
    curve = np.asarray(result.history.objective)[: int(result.num_steps) + 1]
    assert np.all(np.isfinite(curve))
    assert np.all(np.diff(curve) <= 1e-15)
    assert seen == sorted(seen)
    assert seen[-1] == result.num_steps
    assert fit(X, y, penalty=L2(0.05), max_steps=1).num_steps == 1
