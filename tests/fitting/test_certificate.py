"""'Converged' is said of minima only; separated data are told from the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linprog

from jax_logreg import (
    L2,
    LBFGS,
    GradientDescent,
    Newton,
    Optax,
    Status,
    fit,
    fit_many,
    make_objective,
)
from jax_logreg.derivatives.analytic import gradient, hessian
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.fitting import certificate
from jax_logreg.fitting.certificate import CertificateMethod, certify, make_tolerance
from jax_logreg.fitting.loop import _finish
from jax_logreg.interfaces.tables import load_embedded
from jax_logreg.solvers import newton_cg
from tests.problems import count_programs

SOLVERS = {
    "newton": Newton(),
    "gradient descent": GradientDescent(),
    "backtracking": GradientDescent(backtracking=True),
    "adam": Optax(optax.adam(0.1)),
    "lbfgs": Optax(optax.lbfgs()),
}


def standardized(name):
    table = load_embedded(name)
    return (table.X - table.X.mean(axis=0)) / table.X.std(axis=0), table.y


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("name", ["breast-cancer", "iris"])
def test_no_solver_calls_separated_data_converged(name, solver, x64):
    """Complete separation, and quasi-complete (iris: setosa apart, the others not)."""
    X, y = standardized(name)
    result = fit(X, y, solver=solver, max_steps=min(solver.default_max_steps, 2000))
    assert result.status == Status.SEPARATED
    assert not result.converged
    assert "penalty=L2" in result.message
    assert fit(X, y, solver=Newton(), penalty=L2(1e-4)).status == Status.CONVERGED


def test_an_empty_cell_is_quasi_separation(x64):
    """One level of a factor holds one class only; other packages call this converged."""
    rng = np.random.default_rng(0)
    cell, x = (np.arange(80) < 8) * 1.0, rng.normal(size=80)
    y = np.where(cell == 1, 1, rng.integers(0, 2, 80))
    for solver in ("newton", "lbfgs"):
        assert fit(np.column_stack([cell, x]), y, solver=solver).status == Status.SEPARATED


def overlaps(X, y):
    """Exact, by linear programming: no direction agrees with every label."""
    Z = (2 * y - 1)[:, None] * np.column_stack([X, np.ones(len(X))])
    best = linprog(-Z.sum(axis=0), A_ub=-Z, b_ub=np.zeros(len(X)), bounds=(-1, 1))
    return -best.fun < 1e-9


def test_the_verdict_agrees_with_linear_programming(x64):
    """Small random tables, of which many are separated and many are nearly so."""
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(150):
        X = rng.integers(-3, 4, size=(12, 2)).astype(float)
        y = (X @ [1.0, -0.5] + rng.normal(size=12) > 0).astype(int)
        if 0 < y.sum() < 12 and np.linalg.matrix_rank(X - X.mean(axis=0)) == 2:
            status = fit(X, y).status
            verdicts.append((status == Status.CONVERGED, overlaps(X, y)))
            assert status in (Status.CONVERGED, Status.SEPARATED)
    assert len(verdicts) > 100
    assert 20 < sum(overlap for _, overlap in verdicts) < len(verdicts) - 20
    assert all(converged == overlap for converged, overlap in verdicts)


def test_a_large_but_finite_answer_is_not_called_separated(x64):
    """One row in ten thousand on the wrong side: steep, and finite all the same."""
    x = np.linspace(-1, 1, 10_000)
    y = (x > 0).astype(float)
    y[4000] = 1.0
    result = fit(x[:, None], y)
    assert result.status == Status.CONVERGED
    assert result.coef[0] > 5


def test_dependent_columns_are_not_mistaken_for_separation(x64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1))
    result = fit(np.hstack([x, x]), rng.integers(0, 2, 50))
    assert result.status == Status.NOT_UNIQUE


def test_a_penalty_on_some_columns_leaves_the_others_free_to_run_away(x64):
    x = np.array([[-1.0, 0.3], [-0.5, -0.2], [0.5, 0.1], [1.0, -0.4]])
    y = np.array([0, 0, 1, 1])
    assert fit(x, y, penalty=L2(0.1, [0.0, 1.0])).status == Status.SEPARATED
    assert fit(x, y, penalty=L2(0.1, [1.0, 0.0])).status == Status.CONVERGED


def test_an_offset_separates_nothing(x64):
    """The offset puts every row on its side; the direction that does so is not ours."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    assert fit(X, y, offset=8.0 * (2 * y - 1)).status == Status.CONVERGED


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_tol_below_round_off_is_a_stall_not_an_answer(scale, x64):
    X, y = overlapping()
    result = fit(scale * X, y, tol=1e-19)
    assert result.status == Status.STALLED
    assert result.num_steps < 20


def overlapping(n=60, p=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)), rng.integers(0, 2, n)


def with_outlier(X, y):
    X, y = X.copy(), y.copy()
    X[0], y[0] = [1e6, 0.0], 1
    return X, y


UNFINISHED = {
    "a wild step": (overlapping(), dict(solver=GradientDescent(1e4), max_steps=50)),
    "a wild step on large columns": (
        (100 * overlapping()[0], overlapping()[1]), dict(solver=optax.sgd(10.0), max_steps=50)
    ),
    "an outlier, no step": (with_outlier(*overlapping()), dict(max_steps=0)),
    "an outlier, descent": (
        with_outlier(*overlapping()), dict(solver=GradientDescent(), max_steps=100)
    ),
    "an outlier, adam": (with_outlier(*overlapping()), dict(solver=optax.adam(0.1), max_steps=100)),
    "bad scales": (
        (overlapping(60, 5)[0] * 10 ** np.linspace(-2, 2, 5), overlapping(60, 5)[1]),
        dict(solver=GradientDescent(1.0), max_steps=200),
    ),
    "smoothed labels": (
        (np.linspace(-1, 1, 40)[:, None], np.clip(np.arange(40) >= 20, 1e-6, 1 - 1e-6)),
        dict(solver=optax.adam(0.1), max_steps=200),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFINISHED)
def test_an_unfinished_fit_of_overlapping_data_is_not_called_separated(case, x64):
    (X, y), options = UNFINISHED[case]
    assert fit(X, y, **options).status == Status.MAX_STEPS
    assert fit(X, y).status == Status.CONVERGED


def test_nearly_separated_data_have_an_answer(x64):
    """Two rows, a millionth on the wrong side of each other; a barely felt penalty."""
    x = np.append(np.linspace(-1, 1, 58), [2e-6, -2e-6])
    y = np.append(np.linspace(-1, 1, 58) > 0, [False, True]).astype(float)
    assert fit(x[:, None], y, tol=1e-12).status == Status.CONVERGED
    assert fit(x[:, None], y).status != Status.SEPARATED
    table = np.tile([[-2, 0.3], [-1, -0.2], [1, 0.1], [2, -0.4]], (15, 1))
    unequal = fit(table, np.tile([0, 0, 1, 1], 15), penalty=L2(1.0, [1e-9, 1.0]), tol=1e-12)
    assert unequal.status == Status.CONVERGED


def test_ill_conditioned_single_precision_is_not_called_separated():
    """Columns far from zero, nearly parallel to the intercept; 300 tables at once."""
    rng = np.random.default_rng(0)
    tables = np.float32(rng.normal(size=(300, 60, 2)) + 1000)
    labels = rng.integers(0, 2, size=(300, 60))
    status = jax.vmap(lambda X, y: fit(X, y).status)(tables, labels)
    assert not np.any(status == Status.SEPARATED)


def test_one_far_row_is_not_mistaken_for_separation(x64):
    """Whatever moves it by a logit moves all others by next to nothing: they do not stay."""
    rng = np.random.default_rng(1041)
    n = int(rng.integers(25, 60))
    X, y = rng.normal(size=(n, 3)).astype("float32"), rng.uniform(size=n) < 0.5
    X[41] *= 1e8
    assert fit(X, y, solver="newton").status != Status.SEPARATED
    assert fit_many(X, np.stack([y, y])).status[0] != Status.SEPARATED
    x = np.array([3.0, 4, 5, 6, 7, 8, 1e100])[:, None]
    assert fit(x, np.array([1, 1, 0, 1, 0, 0, 0]), init=(np.zeros(1), 0.0)).status == (
        Status.MAX_STEPS
    )


@pytest.mark.parametrize("dtype_", ["float64", "float32"])
@pytest.mark.parametrize("seed", [18, 88, 99])
def test_a_step_downhill_in_place_of_newtons_proves_no_minimum(seed, dtype_, x64):
    """Far out nothing is left of a Hessian that could explain the gradient."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((48, 40)) < 0.03, rng.random((48, 40)).round(2), 0)
    y = rng.random(48) < 0.35
    assert fit(X.astype(dtype_), y, solver="lbfgs").status == Status.SEPARATED


@pytest.mark.parametrize(
    "options",
    [
        dict(init=(np.array([np.nan, 0.0]), 0.0)),
        dict(solver=GradientDescent(np.asarray(np.nan))),
        dict(solver=GradientDescent(10.0), penalty=L2(1.0, np.array([1.0, 0.0]))),
    ],
)
def test_nan_and_infinity_are_not_mistaken_for_separation(options, x64):
    X, y = overlapping()
    status = (
        jax.jit(lambda X: fit(X, y, max_steps=2000, **options).status)(X)
        if ("init" not in options)
        else jax.jit(lambda c: fit(X, y, init=(c, 0.0)).status)(options["init"][0])
    )
    assert status == Status.NOT_FINITE


def test_a_class_that_a_lane_never_shows_is_separation_even_with_a_penalty(x64):
    """Bootstrap weights can drop a class; its unpenalised intercept then runs away."""
    X, y = overlapping(20)
    weights = np.stack([np.ones(20), (y == 1) * 1.0])
    lanes = jax.vmap(lambda w: fit(X, y, sample_weight=w, penalty=L2(0.1)).status)(weights)
    np.testing.assert_array_equal(lanes, [Status.CONVERGED, Status.SEPARATED])
    Y = np.eye(3)[np.arange(20) % 3]
    weights = np.stack([np.ones(20), np.arange(20) % 3 > 0])
    lanes = jax.vmap(lambda w: fit(X, Y, sample_weight=w, penalty=L2(0.1)).status)(weights)
    np.testing.assert_array_equal(lanes, [Status.CONVERGED, Status.SEPARATED])


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_tiny_gradients_of_tiny_columns_are_no_convergence(solver, x64):
    X, _ = overlapping()
    y = X[:, 0] + 0.5 * np.random.default_rng(1).normal(size=60) > 0
    expected = fit(X, y, fit_intercept=False, tol=1e-12)
    result = fit(1e-9 * X, y, fit_intercept=False, solver=solver)
    assert result.status == Status.CONVERGED
    np.testing.assert_allclose(1e-9 * result.coef, expected.coef, rtol=1e-4)
    # A traced program chooses no units: there the Newton step that remains decides.
    traced = jax.jit(lambda X: fit(X, y.astype(float), fit_intercept=False))(1e-9 * X)
    assert traced.status == Status.CONVERGED
    np.testing.assert_allclose(1e-9 * traced.coef, expected.coef, rtol=1e-4)


@pytest.mark.parametrize("far", [1e8, 1e10])
@pytest.mark.parametrize("solver", ["newton", "lbfgs", "gradient_descent"])
def test_columns_parallel_to_the_last_digits_are_not_mistaken_for_dependent(far, solver, x64):
    """Gradient descent keeps the caller's units, and does not arrive."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    y = rng.uniform(size=300) < 1 / (1 + np.exp(-z))
    result = fit((far + z)[:, None], y, solver=solver, max_steps=500)
    assert result.converged == (solver != "gradient_descent")
    if result.converged:
        assert result.status == Status.CONVERGED
        np.testing.assert_allclose(result.coef, fit(z[:, None], y).coef, rtol=1e-5)


@pytest.mark.parametrize("dtype_", ["float64", "float32"])
def test_converged_promises_a_thousandth_of_a_standard_error(dtype_, x64):
    """Rare classes, weak penalties: a bound on the mean loss's gradient alone knows neither."""
    y = np.zeros(20_000)
    y[7] = 1
    result = fit(np.zeros((20_000, 1), dtype_), y, penalty=L2(0.1)).raise_if_failed()
    # One event: the standard error of the intercept is one.
    np.testing.assert_allclose(result.intercept, -np.log(19_999.0), atol=1e-3)
    assert result.remaining_step <= 1e-3
    X, y = overlapping()
    y[0] = 1 - y[0]
    weak = fit(X.astype(dtype_), y, penalty=L2(1e-9)).raise_if_failed()
    exact = fit(X, y, penalty=L2(1e-9), tol=1e-13)
    F = make_objective(X, y.astype(float), L2(1e-9))
    H = 60 * hessian(F, F.join(exact.coef, exact.intercept))
    off = F.join(weak.coef - exact.coef, weak.intercept - exact.intercept)
    assert np.sqrt(off @ H @ off) <= 1e-3


def test_a_tighter_tol_promises_more(x64):
    X, y = overlapping()
    for tol, most in ((1e-6, 0.1), (1e-8, 1e-3), (1e-12, 1e-6)):
        for solver in ("newton", "lbfgs"):
            result = fit(X, y, tol=tol, solver=solver).raise_if_failed()
            assert result.remaining_step <= most
            np.testing.assert_allclose(
                result.remaining_step, np.sqrt(60) * result.newton_decrement, rtol=1e-12
            )


def test_many_parameters_do_not_hide_an_empty_cell(x64):
    """Beyond 500 parameters L-BFGS is judged by products: it cannot prove, nor be fooled."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 510))
    y = rng.integers(0, 2, 1600)
    X[:, 0] = np.arange(1600) < 8
    y[:8] = 1
    assert not fit(X, y, solver="lbfgs").converged
    assert fit(X, y, solver="newton").status == Status.SEPARATED
    X[:, 0] = X[:, 1]
    assert fit(X, y, solver="newton").status == Status.NOT_UNIQUE


def test_any_function_can_be_judged(x64):
    """An oracle that knows no rows: (t - 1)⁴ has a minimum without curvature."""
    oracle = FunctionOracle(lambda t: jnp.sum((t - 1) ** 4))
    state = Newton().init(oracle, jnp.ones(2))
    converged = jnp.asarray(int(Status.CONVERGED))
    tol = make_tolerance(np.float64(1e-8), np.float64(1e-8), 1.0)
    end = certify(oracle, Newton(), state, converged, tol, CertificateMethod.EIGENVALUES)
    assert end.status == Status.NOT_UNIQUE
    assert end.rank == 0


@pytest.mark.parametrize("begun", ["afresh", "at the answer"])
def test_a_fit_judged_by_products_is_judged_in_its_own_program(begun, x64):
    """The product that verified its end leads to the Newton direction, to a few tenths."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 520)), rng.integers(0, 2, 700).astype(float)
    options = {"penalty": L2(1e-2), "solver": LBFGS("diagonal"), "tol": 1e-4}
    init = fit(X, y, **options | {"tol": 5e-5}) if begun == "at the answer" else None
    before = count_programs(_finish)
    result = fit(X, y, init=init, **options)
    assert count_programs(_finish) == before
    assert result.status == Status.CONVERGED
    F = make_objective(X, y, L2(1e-2))
    theta = F.join(result.coef, result.intercept)
    g, H = gradient(F, theta), hessian(F, theta)
    np.testing.assert_allclose(
        result.newton_decrement, np.sqrt(g @ np.linalg.solve(H, g)), rtol=0.1
    )


def test_a_first_look_that_ends_too_soon_leaves_the_fit_to_another(monkeypatch, x64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 523)), rng.integers(0, 2, 700).astype(float)
    monkeypatch.setattr(newton_cg, "_LOOSE_RESIDUAL", 1e-3)
    monkeypatch.setattr(certificate, "_FIRST_CG_STEPS", 2)
    before = count_programs(_finish)
    assert fit(X, y, penalty=L2(1e-2), solver=LBFGS("diagonal"), tol=1e-4).converged
    assert count_programs(_finish) == before + 1
