"""Values written in NumPy, traced with JAX in NumPy's place."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import statsmodels.api as sm
from statsmodels.discrete.count_model import ZeroInflatedPoisson

from jax_logreg.audit.layout import make_layout
from jax_logreg.audit.numpy_trace import translated
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.target import Target
from jax_logreg.audit.traced import trace
from tests.audit import numpy_values as values
from tests.audit import odd_numpy_values as odd

AT = np.random.default_rng(1).normal(size=6) * 0.7
NEAR = [AT + 0.3 * v for v in np.random.default_rng(2).normal(size=(3, 6))]


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True), np.errstate(all="ignore"):
        yield


def target(value, at=AT, args=()):
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(at)])
    return Target(value, flat, make_layout(at), "float64", args)


def central_differences(value, theta, h=1e-5):
    columns = [(value(theta + h * e) - value(theta - h * e)) / (2 * h) for e in np.eye(theta.size)]
    return np.array([np.asarray(c).item() for c in columns])


def named(value):
    return getattr(value, "__qualname__", "object")


def statsmodels_values():
    """Likelihoods of three parameters, and one of four."""
    X, counts = sm.add_constant(values.X[:, :2]), values.COUNTS
    models = [sm.Logit(values.Y, X), sm.Probit(values.Y, X), sm.Poisson(counts, X)]
    models += [sm.GLM(counts + 0.5, X, family=sm.families.Gamma(sm.families.links.Log()))]
    models += [ZeroInflatedPoisson(counts, X[:, :2], exog_infl=X[:, :1])]
    return [functools.partial(lambda m, t: m.loglike(t[:3]), m) for m in models] + [
        lambda t: sm.NegativeBinomial(counts, X).loglike(np.abs(t[:4]))
    ]


def check_translation(value, points):
    found = target(value)
    assert found.function is None
    assert found.translate(points)
    assert [f.kind for f in found.findings] == ["translated"]
    for theta in points[-2:]:
        slope = Autodiff(found.function)("gradient", theta)
        np.testing.assert_allclose(
            slope, central_differences(value, theta), rtol=1e-6, atol=1e-6 * np.abs(slope).max()
        )


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("value", [*values.VALUES, *odd.VALUES], ids=named)
def test_numpy_code_becomes_traceable(value):
    check_translation(value, [*NEAR, AT])


@pytest.mark.parametrize("value", statsmodels_values())
def test_likelihoods_of_a_library_become_traceable(value):
    check_translation(value, [*NEAR, AT])


@pytest.mark.parametrize("value", odd.BRANCHING, ids=named)
def test_branches_that_depend_on_the_point_are_selected(value):
    check_translation(value, [AT, *(2 * v for v in np.random.default_rng(2).normal(size=(4, 6)))])


def test_nothing_of_the_users_is_changed():
    kept = copy.deepcopy((values.BUFFER, values.CALLS, values.X6, vars(values.MODEL)))
    names, theta = set(vars(values)), AT.copy()
    for value in (values.written_to_a_global, values.MODEL.loss):
        trace(translated(value, theta, ()), jnp.asarray(AT))
    now = values.BUFFER, values.CALLS, values.X6, vars(values.MODEL)
    jax.tree.map(np.testing.assert_array_equal, now, kept)
    np.testing.assert_array_equal(AT, theta)
    assert set(vars(values)) == names


def stops_when_small(theta):
    steps = 0
    while np.sum(theta**2) > 1e-3:
        theta = theta / 2
        steps += 1
    return np.sum(theta) + steps


def sum_of_some(theta):
    z = values.X6 @ theta
    return z[z > 0].sum()


def optimum_inside(theta):
    return scipy.optimize.minimize(lambda x: np.sum((x - theta) ** 2), np.zeros(6)).fun


def without_counterpart(theta):
    return scipy.special.jv(1, theta).sum()


def draws(theta):
    return np.sum(theta * np.random.default_rng().normal(size=6))


def counts_its_calls(theta):
    values.CALLS["n"] += 1
    return np.sum(theta**2) * (1 + values.CALLS["n"])


def endless(theta):
    return sum(np.exp(theta[0] * k / 1e5) for k in range(30_000))


def divides_zero_by_zero(theta):
    z = theta * np.array([0, 1, 1, 1, 1, 1])
    return np.sum(np.where(z == 0, 0, np.sqrt(np.abs(z))))


@pytest.mark.parametrize(
    "value",
    [
        stops_when_small,
        sum_of_some,
        optimum_inside,
        without_counterpart,
        draws,
        counts_its_calls,
        endless,
        divides_zero_by_zero,
    ],
)
def test_what_would_give_other_numbers_is_left_to_differences(value):
    found = target(value)
    before = dict(vars(found))
    assert not found.translate([-AT, AT, *NEAR])
    assert {name: x for name, x in vars(found).items() if name != "values"} == before


def test_code_that_was_run_without_a_modules_name():
    code = """
import math
class Rate:
    def of(self, z):
        return math.exp(z)
def value(theta):
    return sum(max(Rate().of(z), 1) for z in theta)
"""
    names = {}
    exec(code, names)
    assert target(names["value"]).translate([AT, *NEAR])


def test_two_kinks_that_cancel_at_the_usual_start():
    def value(w):
        z = values.X6 @ w
        return np.sum(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))

    found = target(value, np.zeros(6))
    assert found.translate([found.at, AT])
    slope = Autodiff(found.function)("gradient", np.zeros(6))
    np.testing.assert_allclose(slope, values.X6.sum(axis=0) / 2, rtol=1e-12)


def test_a_branch_taken_only_far_out_is_followed():
    def huber(theta):
        return sum(z**2 if abs(z) < 50 else 100 * abs(z) - 2500 for z in values.X6 @ theta)

    found = target(lambda theta: huber(np.asarray(theta)))
    far = [100 * AT]
    assert found.translate([*NEAR, AT], far)
    np.testing.assert_allclose(found.function(far[0]), huber(far[0]))


def test_pytrees_arguments_and_names_of_the_data():
    def value(params, x, y, weights=None):
        z = np.dot(x, params["w"]) + params["b"]
        return np.sum(weights * (np.log1p(np.exp(z)) - y * z))

    at = {"b": np.array(0.5), "w": np.ones((6,))}
    weights = np.linspace(1, 2, values.N)
    found = target(functools.partial(value, weights=weights), at, (values.X6, values.Y))
    assert found.translate([found.at, -found.at])
    assert {"x", "y", "weights"} <= {*found.data_names()}


def test_the_catalogue_sees_the_logistic_model():
    found = target(values.cross_entropy_with_xlogy)
    assert found.translate([AT, *NEAR])
    assert found.model is not None
    assert "X6" in found.data_names()


def test_the_names_of_an_objects_arrays():
    for value in (values.MODEL.loss, values.MODEL):
        found = target(value)
        assert found.translate([AT, *NEAR])
        assert {"self.X", "self.y"} <= {*found.data_names()}


def test_jacobians_of_residuals():
    def residuals(theta):
        return values.Y - 1 / (1 + np.exp(-values.X6.dot(theta)))

    found = target(residuals)
    assert found.translate([AT, *NEAR])
    jacobian = Autodiff(found.function)("jacobian", AT)
    p = values.Y - residuals(AT)
    np.testing.assert_allclose(jacobian, -(p * (1 - p))[:, None] * values.X6, rtol=1e-12)
