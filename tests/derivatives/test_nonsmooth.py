"""The L1 part: the proximal map and the minimum-norm subgradient by their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import ElasticNet
from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.linear_algebra import min_norm_subgradient, soft_threshold
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.nonsmooth import NonsmoothOracle
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.objective import make_objective
from tests.problems import make_problem, random_theta


def test_the_proximal_map_minimises_what_it_says(x64):
    grid = np.linspace(-4, 4, 80_001)
    for x in (-2.5, -0.3, 0.0, 0.7, 3.1):
        for width in (0.0, 0.5, 2.0):
            best = grid[np.argmin(0.5 * (grid - x) ** 2 + width * np.abs(grid))]
            np.testing.assert_allclose(soft_threshold(jnp.asarray(x), width), best, atol=1e-4)


def test_the_shortest_subgradient_is_the_shortest(x64):
    theta = jnp.array([0.0, 0.0, 0.0, 1.5, -1.5])
    slope = jnp.array([0.3, -2.0, 2.0, 0.4, 0.4])
    found = min_norm_subgradient(theta, slope, jnp.ones(5))
    signs = np.linspace(-1, 1, 2001)  # the subdifferential of |·| at zero
    for t, s, g in zip(theta, slope, found, strict=True):
        candidates = s + signs if t == 0 else s + np.sign(t)[None]
        np.testing.assert_allclose(g, candidates[np.argmin(np.abs(candidates))], atol=1e-3)


@pytest.fixture
def oracles(x64):
    """A softmax problem with both kinds of derivatives, and a point with zeros."""
    problem = make_problem("softmax", "float64")
    penalty = ElasticNet(jnp.asarray(0.2), jnp.asarray(0.6), jnp.asarray(problem.penalty.factor))
    F = make_objective(
        problem.X, problem.y, penalty, sample_weight=problem.sample_weight,
        offset=problem.offset,
    )  # fmt: skip
    theta = random_theta(F).at[jnp.array([0, 2])].set(0)
    hand, auto = (NonsmoothOracle(ModelOracle(F, module)) for module in (analytic, autodiff))
    return hand, auto, theta


def value_by_hand(oracle, theta):
    """Loss and penalty, each from its own formula."""
    F = oracle.objective
    coef, _ = F.split(theta)
    eta = F.add_offset(F.linear(theta))
    return F.mean(cross_entropy(eta, F.y)) + F.penalty.value(coef)


def test_both_kinds_of_derivatives_agree(oracles):
    hand, auto, theta = oracles
    one, other = hand.evaluate(theta), auto.evaluate(theta)
    np.testing.assert_allclose(one.value, value_by_hand(hand, theta), rtol=1e-12)
    np.testing.assert_allclose(one.value, other.value, atol=1e-12)
    np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-12)
    np.testing.assert_allclose(one.smooth.gradient, other.smooth.gradient, atol=1e-12)


def test_the_subgradient_foretells_the_steepest_descent(oracles):
    """Its length is the steepest slope of F there: so it is no other subgradient."""
    hand, _, theta = oracles
    g = hand.evaluate(theta).gradient
    length, h = jnp.linalg.norm(g), 1e-7
    fall = value_by_hand(hand, theta - h * g / length) - value_by_hand(hand, theta)
    np.testing.assert_allclose(fall / h, -length, rtol=1e-5)


def test_the_line_is_that_of_the_whole_function(oracles):
    hand, _, theta = oracles
    point = hand.evaluate(theta)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=theta.size))
    line, h = hand.line(point, direction), 1e-6
    for t in (0.3, 1.0):
        trial = line.at(jnp.asarray(t))
        there = theta + t * direction
        np.testing.assert_allclose(trial.value, value_by_hand(hand, there), rtol=1e-12)
        ahead, behind = (value_by_hand(hand, there + s * h * direction) for s in (1, -1))
        np.testing.assert_allclose(trial.slope, (ahead - behind) / (2 * h), atol=1e-6)
        made, anew = line.point(jnp.asarray(t), trial), hand.evaluate(there)
        np.testing.assert_allclose(made.gradient, anew.gradient, atol=1e-12)


def test_products_are_those_of_the_hessian_where_coefficients_move(oracles):
    hand, _, theta = oracles
    point = hand.evaluate(theta)
    moves = theta != 0
    v = jnp.where(moves, random_theta(hand.objective, 7), 0)
    v = hand.problem.project_gauge(v)  # beside which the Hessian has added curvature
    product, H = hand.hessian_operator(point)(v).product, hand.hessian(point)
    np.testing.assert_allclose(product, H @ v, atol=1e-12)
    assert not np.any(np.asarray(H)[np.ix_(~np.asarray(moves), np.asarray(moves))])


def test_some_columns_are_the_whole_with_the_others_fixed(oracles):
    hand, _, theta = oracles
    point = hand.evaluate(theta)
    part = hand.restrict_columns(point, jnp.abs(point.gradient), 2)
    np.testing.assert_allclose(part.to_original(part.theta), theta)
    shift = jnp.linspace(0.1, 0.3, part.theta.size)
    inner = part.oracle.evaluate(part.theta + shift).value - part.oracle.evaluate(part.theta).value
    outer = hand.evaluate(part.to_original(part.theta + shift)).value - point.value
    np.testing.assert_allclose(inner, outer, atol=1e-12)
