"""L1 and elastic net: optimality judged in NumPy alone, identities, refusals.

Most fits here share one compiled program a model: weights, offset and factor are always given.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.special import expit, softmax

from jax_logreg import (
    L2,
    ElasticNet,
    Status,
    diagnose_separation,
    fit,
    fit_many,
    infer,
)
from jax_logreg.solvers.proximal_newton import ProximalNewton

N, P, K = 64, 6, 3
STRENGTH = 0.03


def make(model, dtype="float64", seed=0):
    """Data of which the first three columns matter, and everything else that fit takes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)).astype(dtype)
    if model == "sigmoid":
        y = (rng.uniform(size=N) < expit(2 * X[:, 0] - X[:, 1])).astype(dtype)
    else:
        chances = softmax(2 * X[:, :K], axis=1)
        y = np.array([rng.choice(K, p=row) for row in chances])
    shape = (N,) if model == "sigmoid" else (N, K)
    options = {
        "sample_weight": rng.uniform(0.5, 2, size=N).astype(dtype),
        "offset": (0.3 * rng.normal(size=shape)).astype(dtype),
    }
    return X, y, options


def net(strength=STRENGTH, l1_ratio=1.0, factor=(1.0, 0.5, 2.0, 1.0, 1.5, 1.0)):
    return ElasticNet(strength, l1_ratio, np.asarray(factor))


def subgradient(X, y, result, penalty, sample_weight, offset):
    """The largest entry of the shortest subgradient, from the definition alone."""
    X, coef, intercept = (np.asarray(a, float) for a in (X, result.coef, result.intercept))
    eta = X @ coef + intercept + offset
    wide = (-1,) + (1,) * (eta.ndim - 1)
    residual = expit(eta) - y if eta.ndim == 1 else softmax(eta, axis=1) - np.eye(K)[y]
    residual = residual * np.reshape(sample_weight / np.sum(sample_weight), wide)
    held = penalty.strength * np.broadcast_to(penalty.factor, X.shape[1]).reshape(wide)
    slope = X.T @ residual + (1 - penalty.l1_ratio) * held * coef
    kink = penalty.l1_ratio * held
    at_zero = np.maximum(np.abs(slope) - kink, 0)
    beside = np.abs(slope + kink * np.sign(coef))
    return max(np.where(coef == 0, at_zero, beside).max(), np.abs(residual.sum(axis=0)).max())


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize(
    ("model", "dtype"), [("sigmoid", "float64"), ("softmax", "float64"), ("sigmoid", "float32")]
)
def test_the_answer_is_optimal_by_the_definition(model, dtype, l1_ratio):
    with jax.enable_x64(dtype == "float64"):
        X, y, options = make(model, dtype)
        penalty = net(l1_ratio=l1_ratio)
        result = fit(X, y, penalty=penalty, **options).raise_if_failed()
        norm, coef = float(result.gradient_norm), np.asarray(result.coef)
        found = subgradient(X, y, result, penalty, **options)
    tol = 1e-8 if dtype == "float64" else 1e-5
    assert norm <= tol
    np.testing.assert_allclose(found, norm, rtol=1e-3, atol=tol / 10)
    assert 0 < np.sum(coef == 0) < coef.size


def test_the_objective_counts_the_whole_penalty(x64):
    X, y, options = make("sigmoid")
    penalty = net(l1_ratio=0.5)
    result = fit(X, y, penalty=penalty, **options)
    eta = X @ result.coef + result.intercept + options["offset"]
    mean = np.average(np.logaddexp(0, eta) - y * eta, weights=options["sample_weight"])
    np.testing.assert_allclose(result.objective, mean + penalty.value(result.coef), rtol=1e-12)


def test_from_the_largest_useful_strength_on_all_is_zero(x64):
    X, y, options = make("sigmoid")
    penalty = net(1e3)
    null = fit(X, y, penalty=penalty, **options).raise_if_failed()
    assert np.all(np.asarray(null.coef) == 0)
    share = options["sample_weight"] / options["sample_weight"].sum()
    slope = X.T @ (share * (expit(null.intercept + options["offset"]) - y))
    largest = np.max(np.abs(slope) / penalty.factor)
    assert np.all(np.asarray(fit(X, y, penalty=net(largest * 1.0001), **options).coef) == 0)
    assert np.any(np.asarray(fit(X, y, penalty=net(largest * 0.9), **options).coef) != 0)


def test_many_strengths_and_ratios_in_one_program(x64):
    X, y, options = make("sigmoid")
    strengths, ratios = jnp.array([STRENGTH, 0.01, STRENGTH]), jnp.array([1.0, 0.5, 0.0])
    program = jax.jit(jax.vmap(lambda s, r: fit(X, y, penalty=net(s, r), tol=1e-10, **options)))
    many = program(strengths, ratios).raise_if_failed()
    one = fit(X, y, penalty=net(), tol=1e-10, **options)
    np.testing.assert_allclose(many.coef[0], one.coef, atol=1e-8)
    ridge = fit(X, y, penalty=L2(STRENGTH, net().factor), tol=1e-10, **options)
    np.testing.assert_allclose(many.coef[2], ridge.coef, atol=1e-8)
    np.testing.assert_allclose(many.objective[2], ridge.objective, rtol=1e-12)


def test_a_ratio_of_zero_is_the_ridge_penalty(x64):
    X, y, options = make("sigmoid")
    result = fit(X, y, penalty=net(l1_ratio=0.0), solver="newton", **options)
    ridge = fit(X, y, penalty=L2(STRENGTH, net().factor), solver="newton", **options)
    np.testing.assert_array_equal(result.coef, ridge.coef)


def test_sparse_features_give_the_same(x64):
    X, y, options = make("sigmoid")
    X = np.where(np.abs(X) < 0.5, 0, X)
    dense = fit(X, y, penalty=net(), **options)
    sparse = fit(scipy.sparse.csr_array(X), y, penalty=net(), **options).raise_if_failed()
    np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-8)


def test_a_row_of_weight_zero_is_no_row(x64):
    X, y, options = make("sigmoid")
    weight = options["sample_weight"].copy()
    weight[5] = 0
    without = {name: np.delete(part, 5, axis=0) for name, part in options.items()}
    left = fit(np.delete(X, 5, axis=0), np.delete(y, 5), penalty=net(), **without)
    zero = fit(X, y, penalty=net(), **(options | {"sample_weight": weight}))
    np.testing.assert_allclose(zero.coef, left.coef, atol=1e-8)


def test_units_of_a_column_and_their_factor_cancel(x64):
    X, y, options = make("sigmoid")
    units = np.array([1e3, 1, 1e-3, 1, 10, 1])
    one = fit(X, y, penalty=net(), **options)
    other = fit(X * units, y, penalty=net(factor=net().factor * units), **options)
    np.testing.assert_allclose(other.coef * units, one.coef, rtol=1e-5, atol=1e-12)


def test_an_answer_is_a_start_that_needs_no_step(x64):
    X, y, options = make("sigmoid")
    first = fit(X, y, penalty=net(), **options)
    again = fit(X, y, penalty=net(), init=first, **options)
    assert again.num_steps == 0
    np.testing.assert_array_equal(again.coef, first.coef)


def test_repeated_columns_are_reported(x64):
    X, y, options = make("sigmoid")
    X[:, 3] = X[:, 0]
    even = np.ones(P)
    lasso = fit(X, y, penalty=net(factor=even), **options)
    assert lasso.converged
    mixed = fit(X, y, penalty=net(l1_ratio=0.5, factor=even), **options)
    assert mixed.status == Status.CONVERGED
    np.testing.assert_allclose(mixed.coef[3], mixed.coef[0], atol=1e-6)


def test_a_column_without_penalty_that_separates_is_reported(x64):
    X, y, options = make("sigmoid")
    X[:, 0] = np.where(y > 0, 1, -1) * (1 + np.abs(X[:, 0]))
    free, held = np.array([0.0, 1, 1, 1, 1, 1]), np.ones(P)
    assert fit(X, y, penalty=net(factor=free), **options).status == Status.SEPARATED
    assert fit(X, y, penalty=net(factor=held), **options).status == Status.CONVERGED


def test_some_columns_at_a_time_lead_to_the_same(x64):
    X, y, options = make("sigmoid")
    whole = fit(X, y, penalty=net(), **options)
    solver = ProximalNewton(columns=3)  # fewer than end up nonzero
    assert np.sum(np.asarray(whole.coef) != 0) >= 3
    part = fit(X, y, penalty=net(), solver=solver, max_steps=500, **options).raise_if_failed()
    np.testing.assert_allclose(part.coef, whole.coef, atol=1e-6)


def test_more_columns_than_are_worked_on(x64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 300))
    y = (X[:, 0] > 0.3 * rng.normal(size=N)).astype(float)
    result = fit(X, y, penalty=ElasticNet(0.05)).raise_if_failed()
    assert "ProximalNewton(columns=256)" in result.solver
    assert 0 < np.sum(np.asarray(result.coef) != 0) < N
    penalty = ElasticNet(0.05, 1.0, np.ones(300))
    assert subgradient(X, y, result, penalty, np.ones(N), 0.0) <= 1e-8


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (ElasticNet(-1.0), "strength must not be negative"),
        (ElasticNet(1.0, 1.5), r"l1_ratio must lie in \[0, 1\], but it is 1.5"),
        (ElasticNet(1.0, np.nan), "l1_ratio must be finite"),
        (ElasticNet(1.0, np.ones(2)), r"l1_ratio must be a scalar, but its shape is \(2,\)"),
        (ElasticNet(1.0, 1.0, np.ones(2)), r"factor must have shape \(6,\)"),
    ],
)
def test_illegal_numbers_are_refused(penalty, message):
    X, y, _ = make("sigmoid")
    with pytest.raises(ValueError, match=message):
        fit(X, y, penalty=penalty)


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs", "gradient_descent"])
def test_solvers_for_smooth_functions_refuse_an_l1_part(solver):
    X, y, _ = make("sigmoid")
    with pytest.raises(
        ValueError, match="requires '.*': an L1 penalty has no gradient at zero.*solver='auto'"
    ):
        fit(X, y, penalty=net(), solver=solver)


def test_what_needs_a_smooth_penalty_refuses_it_with_the_reason(x64):
    X, y, _ = make("sigmoid")
    result = fit(X, y, penalty=L2(STRENGTH))
    with pytest.raises(ValueError, match=r"ElasticNet\(...\), but .* no standard errors"):
        infer(result, X, y, penalty=net())
    with pytest.raises(ValueError, match=r"ElasticNet\(...\), but .* keeps the same"):
        diagnose_separation(X, y, penalty=net())
    with pytest.raises(ValueError, match=r"ElasticNet\(...\), but .* jax.vmap over fit"):
        fit_many(X, y, penalty=net(), sample_weight=np.ones((2, N)))
    with pytest.raises(ValueError, match=r"ElasticNet\(strength, l1_ratio\), Firth"):
        fit(X, y, penalty="l1")
