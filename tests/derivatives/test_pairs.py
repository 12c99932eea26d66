"""Every derivative of the proof: by hand against autodiff, away from the optimum."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.audit.proof import FORMULAS, both_versions, compare
from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import value
from jax_logreg.objective.model import probability
from tests.problems import make_problem, random_theta

NAMES = [formula.name for formula in FORMULAS]


@pytest.mark.parametrize("seed", range(3))
def test_every_formula_agrees(model, dtype, seed):
    F = make_problem(model, dtype.name, seed).objective()
    answers = both_versions(F, random_theta(F, seed), random_theta(F, seed + 50))
    assert sorted(answers) == sorted(NAMES)
    for name, (hand, auto) in answers.items():
        verdict = compare(name, hand, auto)
        assert verdict.agrees, verdict
        assert hand.dtype == auto.dtype == dtype, name
        assert np.any(hand != 0), name  # a derivative that vanishes proves nothing


def public_functions(module):
    return {
        name: f
        for name, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not name.startswith("_")
    }


def test_every_derivative_by_autodiff_has_a_namesake_by_hand():
    hand, auto = public_functions(analytic), public_functions(autodiff)
    auto.pop("smooth_value")  # the function that is differentiated
    for name, function in auto.items():
        assert (
            inspect.signature(function).parameters.keys()
            == inspect.signature(hand[name]).parameters.keys()
        )


class Recorder:
    """A module that remembers which of its functions were called."""

    def __init__(self, module):
        self.module, self.names = module, set()

    def __getattr__(self, name):
        self.names.add(name)
        return getattr(self.module, name)


def test_every_pair_is_in_the_proof(x64):
    """By name, those by which solvers ask included; three are shorthands of these."""
    F = make_problem("softmax", "float64").objective()
    recorder = Recorder(analytic)
    for formula in FORMULAS:
        formula.compute(recorder, F, random_theta(F), random_theta(F, 1))
    shorthands = {"smooth_value", "gradient", "hvp", "hessian"}
    assert recorder.names == set(public_functions(autodiff)) - shorthands


def test_what_trains_is_what_is_proved():
    """A point, a product and a Hessian of the oracle come out of the functions in the pairs."""
    assert ModelOracle.__dataclass_fields__["derivatives"].default is analytic
    source = inspect.getsource(ModelOracle)
    for name in ("evaluate", "hessian_at", "hessian_operator", "line"):
        assert f"self.derivatives.{name}(" in source


def test_the_chain_of_the_texts_multiplies_to_the_gradient(x64, model):
    """∂ℓ/∂ŷ · ∂ŷ/∂z · ∂z/∂w, link by link, is minus the row's score."""
    F = make_problem(model, "float64").objective()
    theta = random_theta(F)
    eta = F.add_offset(F.linear(theta))
    first = analytic.loss_wrt_prediction(probability(eta), F.y)
    second = analytic.prediction_wrt_logits(eta)
    third = analytic.logits_wrt_coef(F.X.to_array(), F.split(theta)[0])
    if model == "sigmoid":
        chain = (first * second)[:, None] * third
    else:
        chain = jnp.einsum("nk,nkm,nmjc->njc", first, second, third).reshape(len(F.y), -1)
    scores = analytic.scores(F, theta)[:, : chain.shape[1]]
    np.testing.assert_allclose(chain, -scores, rtol=1e-9, atol=1e-12)


def test_scores_sum_to_the_gradient(problem):
    F = problem.objective()
    theta = random_theta(F)
    coef, intercept = F.split(theta)
    penalty = F.join(F.penalty.curvature(coef) * coef, 0 * intercept)
    total = penalty - F.row_weight @ analytic.scores(F, theta)
    np.testing.assert_allclose(total, analytic.gradient(F, theta), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("module", [analytic, autodiff])
def test_the_hessian_is_symmetric_semidefinite_and_consistent(module, problem):
    F = problem.objective()
    theta, v = random_theta(F), random_theta(F, 1)
    H = module.hessian(F, theta)
    np.testing.assert_allclose(H, H.T, atol=1e-15)
    assert np.linalg.eigvalsh(H)[0] > -1e-15
    np.testing.assert_allclose(H @ v, module.hvp(F, theta, v), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("start", [0.0, 1e4, 1e20])
def test_extreme_points_have_finite_derivatives(model, dtype, start):
    """From θ = 0, where a kink in softplus would give a wrong Hessian, to saturation."""
    F = make_problem(model, dtype.name).objective()
    theta = start * jnp.sign(random_theta(F))
    for name in ("gradient", "hessian", "scores"):
        hand, auto = getattr(analytic, name)(F, theta), getattr(autodiff, name)(F, theta)
        assert np.all(np.isfinite(hand)), name
        assert compare(name, hand, auto).agrees, name


def test_the_value_of_the_analytic_oracle_is_differentiated_by_hand(problem):
    """An Optax line search takes this gradient; in the data autodiff steps in."""
    F = problem.objective()
    theta = random_theta(F)
    oracle = ModelOracle(F)
    by_hand = jax.grad(value, argnums=1)(oracle, theta)
    np.testing.assert_array_equal(by_hand, oracle.evaluate(theta).gradient)

    def in_data(module):
        return jax.grad(lambda F, t: value(ModelOracle(F, module), t), argnums=(0, 1))(F, theta)

    pair = in_data(analytic), in_data(autodiff)
    for hand, auto in zip(*map(jax.tree.leaves, pair), strict=True):
        np.testing.assert_allclose(hand, auto, rtol=1e-10, atol=1e-14)
