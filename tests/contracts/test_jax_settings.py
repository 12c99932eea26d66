"""A caller's settings of JAX, each of which checks the caller's program, change no answer."""

from contextlib import nullcontext
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from jax.experimental.sparse import BCSR

import jax_logreg as lr
from jax_logreg.derivatives import analytic
from jax_logreg.solvers.proximal_newton import ProximalNewton
from tests.problems import K, N, P, make_problem

SETTINGS = {
    "none": nullcontext,
    "debug_nans": lambda: jax.debug_nans(True),
    "rank_promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype_promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "transfer_guard": lambda: jax.transfer_guard("disallow"),
}
SOLVERS = {
    "auto": "auto",
    "Newton-CG": lr.NewtonCG("gram"),
    "lbfgs": lr.LBFGS("hessian", sample=12),
    "float32 steps": lr.LBFGS(float32_steps=5),
    "gradient descent": lr.GradientDescent(backtracking=True),
    "proximal Newton": ProximalNewton(),
    "adam": lr.Optax(optax.adam(0.1)),
}


@pytest.fixture
def data(x64):
    """Everything that a door takes, on the device."""
    problem = make_problem("sigmoid", "float64")
    sets = np.random.default_rng(0).poisson(1.0, size=(3, N)) + 0.1
    parts = {
        "X": problem.X,
        "y": (problem.y > 0.5).astype(float),
        "codes": np.arange(N) % K,
        "Y": make_problem("softmax", "float64").y,
        "separated": (problem.X[:, 0] > 0).astype(float),
        "weight": problem.sample_weight,
        "offset": problem.offset,
        "sets": sets,
        "strength": np.float64(0.1),
        "theta": np.linspace(-1, 1, P + 1),
        "long_theta": np.linspace(-1, 1, (P + 1) * K),
        "table": np.linspace(-1, 1, P * K).reshape(P, K),
        "classes": np.linspace(-1, 1, K),
        "added": problem.X[:, :1] ** 2,
        "rows": np.where(problem.X > 0, problem.X, 0),
    }
    data = SimpleNamespace(**{name: jax.device_put(part) for name, part in parts.items()})
    data.sparse = lr.sparse_features(BCSR.fromdense(data.rows))
    data.penalty, data.key = lr.L2(data.strength), jax.random.key(0)
    data.everything = {
        "penalty": data.penalty, "sample_weight": data.weight, "offset": data.offset
    }  # fmt: skip
    return data


def unchanged(door, data):
    """Run a door under each setting; its numbers are those without."""
    results = {}
    for name, setting in SETTINGS.items():
        with setting():
            results[name] = door(data)
    expected = jax.tree.map(np.asarray, results.pop("none"))
    for name, result in results.items():
        for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(np.asarray(a), b, err_msg=name)
    return expected


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver(solver, data):
    def door(d):
        result = lr.fit(d.X, d.y, solver=SOLVERS[solver], max_steps=300, **d.everything)
        return result.raise_if_failed() if solver != "adam" else result

    assert np.all(np.isfinite(unchanged(door, data).history.objective))


FITS = {
    "softmax": lambda d: lr.fit(d.X, d.Y, penalty=d.penalty),
    "class numbers": lambda d: lr.fit(d.X, d.codes, sample_weight=d.weight),
    "softmax by L-BFGS": lambda d: lr.fit(d.X, d.Y, penalty=d.penalty, solver="lbfgs"),
    "autodiff": lambda d: lr.fit(d.X, d.Y, derivatives="autodiff", penalty=d.penalty),
    "sparse": lambda d: lr.fit(d.sparse, d.y, penalty=d.penalty),
    "sparse softmax": lambda d: lr.fit(d.sparse, d.Y, penalty=d.penalty),
    "elastic net": lambda d: lr.fit(d.X, d.y, penalty=lr.ElasticNet(d.strength, 0.5)),
    "lasso of softmax": lambda d: lr.fit(d.X, d.Y, penalty=lr.ElasticNet(d.strength)),
    "Firth": lambda d: lr.fit(d.X, d.y, penalty=lr.Firth()),
    "Firth of softmax": lambda d: lr.fit(d.X, d.Y, penalty=lr.Firth()),
    "minibatch": lambda d: lr.fit(
        d.X, d.y, solver=lr.Minibatch(optax.sgd(0.1), 8, d.key), max_steps=3
    ),
    "separated": lambda d: lr.fit(d.X, d.separated),
    "no step": lambda d: lr.fit(d.X, d.y, max_steps=0),
    "progress": lambda d: lr.fit(d.X, d.y, progress=lambda *_: None).converged,
    "jit": lambda d: jax.jit(lambda X, Y: lr.fit(X, Y, penalty=d.penalty))(d.X, d.Y),
    "vmap": lambda d: jax.vmap(lambda w: lr.fit(d.X, d.y, sample_weight=w))(d.sets),
    "fit_many": lambda d: lr.fit_many(d.X, d.Y, sample_weight=d.sets, penalty=d.penalty),
    "fit_many, singular": lambda d: lr.fit_many(d.X, d.separated, sample_weight=d.sets),
    "diagnose_separation": lambda d: lr.diagnose_separation(d.X, d.separated).diverging_sign,
}


@pytest.mark.parametrize("door", FITS)
def test_every_fit(door, data):
    unchanged(FITS[door], data)


@pytest.mark.parametrize("labels", ["y", "Y"])
def test_inference(labels, data):
    def door(d):
        y = getattr(d, labels)
        inference = lr.infer(lr.fit(d.X, y), d.X, y)
        assert "intercept" in inference.summary()
        return (
            inference.standard_error,
            inference.null_log_likelihood,
            lr.influence(inference).leverage,
            lr.predict_interval(inference, d.X),
            lr.marginal_effects(inference).estimate,
            lr.delta(inference, lambda coef, intercept: coef / intercept).standard_error,
        )

    unchanged(door, data)


def test_hypothesis_tests(data):
    def door(d):
        inference = lr.infer(lr.fit(d.X, d.y), d.X, d.y, covariance="HC1")
        likelihood = lr.infer(lr.fit(d.X, d.y), d.X, d.y)
        return (
            lr.hypothesis_test(inference, ["x0"], method="wald").p_value,
            lr.hypothesis_test(likelihood, ["x0"]).p_value,
            lr.hypothesis_test(likelihood, method="score", added_columns=d.added).p_value,
            lr.profile_interval(likelihood, parameters=["x1"]),
        )

    unchanged(door, data)


def test_formulas(data):
    def door(d):
        F = lr.make_objective(d.X, d.Y, d.penalty)
        eta = lr.logits(d.X, d.table, d.classes)
        likelihood = lr.log_likelihood(eta, d.Y, d.weight)
        return F.value(d.long_theta), lr.probability(eta), likelihood, lr.sigmoid(d.offset)

    unchanged(door, data)


def test_the_audit(data):
    """It calls right derivatives right, and a wrong one wrong."""

    def door(d):
        F = lr.make_objective(d.X, d.y, d.penalty)
        right = lr.check_derivatives(
            F.value, gradient=lambda t: analytic.evaluate(F, t).gradient, at=d.theta
        )
        wrong = lr.check_derivatives(F.value, gradient=lambda t: -jax.grad(F.value)(t), at=d.theta)
        return right.ok, wrong.ok, wrong.diagnosis.kind == "sign"

    assert unchanged(door, data) == (True, False, True)


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.5}, {"dtype": "float32"}, {"C": np.inf}])
def test_the_estimator_and_its_model(options, data):
    def door(d):
        estimator = lr.LogisticRegression(**options).fit(d.X, np.asarray(d.codes))
        model = lr.Model.from_estimator(estimator)
        tables = [] if options.get("l1_ratio") else [estimator.infer().z]
        return estimator.coef_, estimator.predict_proba(d.X), model.probability(d.X), tables

    unchanged(door, data)


def test_a_result_that_is_no_number_is_still_found(data):
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        lr.fit(data.X, data.y, solver=lr.GradientDescent(1e200))
