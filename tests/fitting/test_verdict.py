"""'Converged' is said of minima only; separated data are told from the rest."""

import numpy as np
import optax
import pytest
from scipy.optimize import linprog

from jax_logreg import (
    L2,
    BacktrackingGradientDescent,
    GradientDescent,
    Newton,
    Optax,
    Status,
    fit,
)
from jax_logreg.interfaces.readers import load_embedded

SOLVERS = {
    "newton": Newton(),
    "gradient descent": GradientDescent(),
    "backtracking": BacktrackingGradientDescent(),
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


def test_tol_below_round_off_is_a_stall_not_an_answer():
    rng = np.random.default_rng(0)
    X = np.float32(1e4 * rng.normal(size=(100, 3)) + 1e5)
    result = fit(X, rng.integers(0, 2, 100), tol=1e-9)
    assert result.status in (Status.STALLED, Status.MAX_STEPS)
    assert not result.converged
