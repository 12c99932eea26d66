import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.derivatives.oracle import Trial
from jax_logreg.solvers.line_search import full_step_or_search, search


def line_of(f):
    return lambda t: Trial(*jax.value_and_grad(f)(t))


def run(f, first_step, **options):
    line = line_of(f)
    value, slope, _ = line(jnp.asarray(0.0))
    return search(line, value, slope, jnp.asarray(first_step), **options), value, slope


@pytest.mark.parametrize("first_step", [1e-6, 0.3, 1.0, 1e6, 1e12])
def test_it_finds_a_good_step_from_any_first_trial(first_step, x64):
    """Steps far too long or far too short, as Newton takes on a saturated start."""

    def f(t):
        return jnp.logaddexp(t - 3, 0) + jnp.logaddexp(1 - t, 0)

    found, value, slope = run(f, first_step)
    end_value, end_slope, _ = line_of(f)(found.step)
    assert found.found
    assert end_value <= value + 1e-4 * found.step * slope
    assert end_slope >= 0.9 * slope


def test_a_full_newton_step_is_taken_as_it_is(x64):
    found, _, _ = run(lambda t: (t - 1) ** 2, 1.0)
    assert found.step == 1


def test_nan_and_infinity_are_too_far(x64):
    found, _, _ = run(lambda t: jnp.where(t < 0.1, (t - 1) ** 2, jnp.nan), 1.0)
    assert found.found
    assert 0 < found.step < 0.1


def test_no_step_is_found_uphill(x64):
    found, _, _ = run(lambda t: t + t**2, 1.0)
    assert not found.found
    assert found.step == 0


def test_pure_backtracking_never_grows_the_step(x64):
    found, _, _ = run(lambda t: (t - 100) ** 2, 0.5, curvature=1.0)
    assert found.step == 0.5


def test_round_off_does_not_stop_it(x64):
    """Where F is flat to its last digit, a step that shrinks the slope is progress."""

    def noisy(t):
        return Trial(1.0 + 1e-16 * jnp.sign(t), -1e-9 * (1 - t))

    value, slope, _ = noisy(jnp.asarray(0.0))
    assert search(noisy, value, slope, jnp.asarray(1.0)).found
    stuck = search(lambda t: Trial(value + 1e-12, slope), value, slope, jnp.asarray(1.0))
    assert not stuck.found


@pytest.mark.parametrize(("scale", "whole"), [(1.0, True), (1.9, False), (0.1, False), (30, False)])
def test_the_full_step_is_taken_only_where_a_search_would(scale, whole, x64):
    bowl = FunctionOracle(lambda theta: jnp.sum(theta**2))
    point, d = bowl.evaluate(jnp.ones(2)), -scale * jnp.ones(2)
    there, found = full_step_or_search(bowl, point, d, curvature=0.2, overshoot=0.2, max_trials=25)
    assert found.found
    assert (found.step == 1) == whole
    np.testing.assert_allclose(there.theta, point.theta + found.step * d, atol=1e-15)
    assert jnp.abs(there.gradient @ d) <= 0.2 * jnp.abs(point.gradient @ d)


def test_it_runs_under_vmap(x64):
    def one(target):
        return search(line_of(lambda t: (t - target) ** 2), target**2, -2 * target, 1.0).step

    targets = jnp.array([0.1, 1.0, 50.0])
    np.testing.assert_allclose(jax.vmap(one)(targets), [one(t) for t in targets])
