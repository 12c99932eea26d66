"""record= and stop_when= of a fit, in the units of the caller."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import L2, ElasticNet, Firth, GradientDescent, Status, fit, minimize
from jax_logreg.fitting.recording import Patience, Record
from tests.problems import make_problem


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def parameters(coef, intercept):
    return {"coef": coef, "intercept": intercept}


@pytest.mark.parametrize("penalty", [None, L2(0.1), ElasticNet(0.1, 0.5)], ids=repr)
@pytest.mark.parametrize("model", ["sigmoid", "softmax"])
def test_a_fit_is_recorded_in_the_units_of_the_caller(model, penalty):
    problem = make_problem(model, "float64")
    X = problem.X * np.geomspace(1e-3, 1e3, problem.X.shape[1]) + 5
    plain = fit(X, problem.y, penalty=penalty)
    kept = fit(X, problem.y, penalty=penalty, record=parameters)
    assert kept.status == plain.status
    assert np.allclose(kept.coef, plain.coef, rtol=1e-6, atol=1e-9 * np.abs(plain.coef).max())
    end = jax.tree.map(lambda x: x[kept.num_steps], kept.history.record)
    assert np.allclose(end["coef"], kept.coef, rtol=1e-9)
    assert np.allclose(end["intercept"], kept.intercept, rtol=1e-9)
    assert plain.history.record is None


def test_a_fit_stops_early_where_validation_says_so():
    rng = np.random.default_rng(3)
    X, new = rng.normal(size=(40, 15)), rng.normal(size=(400, 15))
    y, seen = ((Z[:, 0] + rng.normal(size=len(Z)) > 0).astype(float) for Z in (X, new))

    def validation(coef, intercept, X, y):
        eta = X @ coef + intercept
        return {"loss": jnp.mean(jax.nn.softplus(eta) - y * eta)}

    record = Record(validation, args=(new, seen))
    found = fit(
        X,
        y,
        solver=GradientDescent(),
        record=record,
        stop_when=Patience(10, "loss"),
        penalty=L2(1e-4),
    )
    assert found.status == Status.STOPPED
    assert np.isnan(found.newton_decrement)
    losses = np.asarray(found.history.record["loss"])[: int(found.num_steps) + 1]
    assert np.argmin(losses) == len(losses) - 11
    assert np.isclose(validation(found.coef, found.intercept, new, seen)["loss"], losses.min())
    whole = fit(X, y, penalty=L2(1e-4))
    assert validation(whole.coef, whole.intercept, new, seen)["loss"] > losses.min()


def test_a_recorded_fit_inside_jit_vmap_and_grad():
    problem = make_problem("sigmoid", "float64")

    def run(strength, goal):
        record = Record(lambda coef, b, goal: jnp.sum((coef - goal) ** 2), (goal,))
        return fit(problem.X, problem.y, penalty=L2(strength), record=record)

    many = jax.jit(jax.vmap(run))(jnp.array([0.1, 1.0]), jnp.zeros(2))
    assert many.converged.all()
    ends = [r[n] for r, n in zip(many.history.record, many.num_steps, strict=True)]
    assert np.allclose(ends, np.sum(many.coef**2, axis=1))

    def plain(strength, goal):
        return fit(problem.X, problem.y, penalty=L2(strength))

    slopes = [jax.grad(lambda s, f=f: jnp.sum(f(s, 0.0).coef))(0.1) for f in (run, plain)]
    assert np.isclose(*slopes, rtol=1e-8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"record": lambda coef: coef}, "record must return"),
        ({"record": parameters, "penalty": Firth()}, "Firth"),
        ({"record": parameters, "progress": print}, "progress"),
        ({"stop_when": Patience(3)}, "give record="),
        ({"record": parameters, "stop_when": Patience(3, "coef")}, "a number"),
    ],
)
def test_bad_records_of_a_fit_are_refused(options, says):
    problem = make_problem("sigmoid", "float64")
    with pytest.raises(ValueError, match=says):
        fit(problem.X, problem.y, **options)


def test_a_record_may_close_over_what_jax_traces():
    def distance(goal):
        record = minimize(
            lambda t: (t - 3.0) ** 2, 0.0, solver=GradientDescent(0.1),
            record=lambda t: jnp.abs(t - goal),
        ).history.record  # fmt: skip
        return record[3]

    goals = jnp.array([1.0, 3.0])
    expected = np.abs(3 - 3 * 0.8**3 - goals)
    assert np.allclose(jax.vmap(distance)(goals), expected)
    assert np.allclose(jax.jit(jax.vmap(distance))(goals), expected)
