"""A sparse X is fitted as the dense one is, and never made dense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from benchmarks.problems import text
from jax_logreg import L2, LBFGS, NewtonCG, Status, fit, sparse_features
from jax_logreg.derivatives import autodiff
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.sparse_features import SparseFeatures
from tests.problems import random_theta


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    D = rng.normal(size=(60, 5)) * (rng.uniform(size=(60, 5)) < 0.4)
    return scipy.sparse.csr_array(D), D


@pytest.mark.parametrize("solver", ["auto", "newton", "newton_cg", "gradient_descent"])
def test_every_method_finds_the_dense_answer(solver, pair, x64):
    S, D = pair
    y = np.arange(60) % 2
    dense = fit(D, y, penalty=L2(0.1))
    sparse = fit(S, y, penalty=L2(0.1), solver=solver, tol=1e-9)
    assert sparse.converged
    np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-7)


def test_softmax_weights_offsets_and_both_oracles(pair, x64):
    S, D = pair
    rng = np.random.default_rng(1)
    y, options = np.arange(60) % 3, {"penalty": L2(0.1), "sample_weight": rng.uniform(size=60)}
    options["offset"] = rng.normal(size=(60, 3))
    dense = fit(D, y, **options)
    for derivatives in ("analytic", "autodiff"):
        sparse = fit(S, y, derivatives=derivatives, **options)
        np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-7)


def test_derivatives_agree_with_autodiff(pair, model, x64):
    S, _ = pair
    y = np.arange(60) % 2 if model == "sigmoid" else np.eye(3)[np.arange(60) % 3]
    F = make_objective(sparse_features(S), y, L2(jnp.asarray(0.1)))
    theta = random_theta(F)
    hand, auto = ModelOracle(F), ModelOracle(F, autodiff)
    a, b = hand.evaluate(theta), auto.evaluate(theta)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-13)
    np.testing.assert_allclose(hand.hessian(a), auto.hessian(b), atol=1e-12)


def test_text_of_many_classes_takes_few_products(monkeypatch, x64):
    """The diagonal of the Hessian, and of no bound on it, and two digits a direction: fifty
    products with Xᵀ, evaluations and certificate included, where L-BFGS takes more."""
    counted = []
    rmatvec = SparseFeatures.rmatvec

    def counting(X, residual):
        jax.debug.callback(lambda: counted.append(residual.dtype.name))
        return rmatvec(X, residual)

    monkeypatch.setattr(SparseFeatures, "rmatvec", counting)
    problem = text((500, 4000, 7), 1 / 500)

    def products(solver):
        counted.clear()
        fit(problem.X, problem.y, penalty=L2(1 / 500), solver=solver).raise_if_failed()
        jax.effects_barrier()
        return len(counted), counted.count("float32")

    few, narrow = products(NewtonCG(float32=True))
    assert few <= 50
    assert narrow >= few / 2
    assert few < products(LBFGS("diagonal"))[0]


def test_systems_in_float32_lead_to_the_minimum_in_float64(pair, model, x64):
    S, _ = pair
    y = np.arange(60) % (2 if model == "sigmoid" else 3)
    found = fit(S * 1e4, y, penalty=L2(0.1), solver=NewtonCG(float32=True), tol=1e-10)
    exact = fit(S * 1e4, y, penalty=L2(0.1), solver="newton", tol=1e-10)
    assert found.converged
    np.testing.assert_allclose(found.coef, exact.coef, rtol=1e-7, atol=1e-11)


def test_it_is_never_made_dense(x64):
    """A table of 10¹⁰ entries, of which 10⁵ are kept."""
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(100_000, 100_000, 1e-5, random_state=rng, format="csr")
    result = fit(X, np.arange(100_000) % 2, penalty=L2(1.0), tol=1e-4)
    assert result.status == Status.CONVERGED


def test_separation_is_reported(x64):
    X = scipy.sparse.csr_array(np.array([[1.0], [2.0], [0.0], [-1.0]]))
    assert fit(X, [1, 1, 0, 0]).status == Status.SEPARATED


def test_it_may_be_laid_out_once_and_passed_through_jit(pair, x64):
    S, _ = pair
    y = jnp.arange(60) % 2
    X = sparse_features(S)
    inside = jax.jit(lambda X, y: fit(X, y, penalty=L2(0.1), num_classes=2).coef)(X, y)
    np.testing.assert_allclose(inside, fit(X, y, penalty=L2(0.1), num_classes=2).coef, atol=1e-7)


@pytest.mark.parametrize(
    ("X", "named"),
    [
        (scipy.sparse.csr_array((0, 2)), r"shape is \(0, 2\)"),
        (scipy.sparse.csr_array(np.array([[np.nan], [1.0]])), r"X.data\[0\] is nan"),
    ],
)
def test_bad_tables_are_refused_by_name(X, named, x64):
    with pytest.raises(ValueError, match=named):
        fit(X, np.zeros(X.shape[0]))


def test_only_x_may_be_sparse(x64):
    with pytest.raises(ValueError, match="y is sparse; X alone"):
        fit(np.eye(2), scipy.sparse.csr_array(np.eye(2)))


def test_the_byte_order_of_sparse_entries_does_not_matter(x64):
    X = np.array([[0.5, 1.0], [1.0, 0.0], [0.2, 3.0], [3.0, 0.0], [0.0, 2.0]])
    y = np.array([0, 1, 1, 0, 0])
    table = scipy.sparse.csr_array(X)
    table.data = table.data.astype(">f8")
    found = fit(table, y, penalty=L2(0.1)).coef
    np.testing.assert_array_equal(found, fit(scipy.sparse.csr_array(X), y, penalty=L2(0.1)).coef)
