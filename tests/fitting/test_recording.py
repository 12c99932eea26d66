"""record= and stop_when=: learning curves and early stopping inside the compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import LBFGS, GradientDescent, Status, minimize
from jax_logreg.fitting.recording import Patience, Record


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def bowl(t):
    return (t - 3.0) ** 2


def by_hand(steps, rate=0.1, start=0.0):
    """Gradient descent on the bowl, as everybody writes it."""
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - rate * 2 * (path[-1] - 3))
    return np.array(path)


def run(**options):
    return minimize(bowl, 0.0, solver=GradientDescent(0.1), **options)


@pytest.mark.parametrize("every", [1, 3, 50])
def test_the_record_is_that_of_a_loop_in_python(every):
    found = run(record=Record(lambda t: {"theta": t, "pair": t * jnp.ones(2)}, every=every))
    steps = int(found.num_steps)
    path = by_hand(steps)[np.arange(steps) // every * every]
    record = found.history.record
    assert np.allclose(record["theta"][:steps], path, rtol=1e-12)
    assert np.allclose(record["pair"][:steps], path[:, None], rtol=1e-12)
    assert (record["theta"][steps:] == found.theta).all()
    assert len(record["theta"]) == len(found.history.objective)


@pytest.mark.parametrize(
    "solver",
    ["newton", "newton_cg", "lbfgs", "bfgs", pytest.param(optax.adam(0.1), id="adam")],
)
def test_a_record_changes_nothing_else(solver):
    def hills(t):
        return jnp.sum(t**4 / 4 - t**2 / 2 + 0.1 * t)

    start = np.array([1.5, -0.3])
    plain = minimize(hills, start, solver=solver)
    kept = minimize(hills, start, solver=solver, record=jnp.sum)
    assert plain.history.record is None
    for name in ("theta", "value", "status_code", "num_steps", "newton_decrement"):
        assert np.allclose(getattr(plain, name), getattr(kept, name), rtol=1e-12, atol=1e-15)
    assert kept.solver == plain.solver
    assert np.allclose(kept.history.objective, plain.history.objective)
    assert np.isclose(kept.history.record[0], start.sum())


def test_data_of_a_record_are_arguments():
    record = Record(lambda t, goal: jnp.abs(t - goal), args=(jnp.asarray(3.0),))
    assert np.allclose(run(record=record).history.record[:5], 3 - by_hand(4))


def watched(t):
    return {"loss": (t - 2.0) ** 2, "accuracy": -jnp.abs(t - 2.0)}


@pytest.mark.parametrize("of", ["loss", lambda r: -r["accuracy"]], ids=["key", "function"])
@pytest.mark.parametrize("records", [1, 4])
def test_patience_returns_to_the_lowest(records, of):
    found = run(record=watched, stop_when=Patience(records, of))
    path = by_hand(100)
    best = int(np.argmin((path - 2) ** 2))
    assert found.status == Status.STOPPED
    assert not found.converged
    assert "stop_when" in found.message
    assert found.num_steps == best + records
    assert np.isclose(found.theta, path[best], rtol=1e-12)
    assert np.isclose(found.value, bowl(path[best]))
    last = found.history.record["loss"][found.num_steps]
    assert np.isclose(last, (path[best + records] - 2) ** 2)  # the curve is what happened


def test_patience_counts_records_and_small_falls_as_none():
    every_third = run(record=Record(watched, every=3), stop_when=Patience(2, "loss"))
    assert every_third.num_steps == 12  # best at 6, then 9 and 12
    flat = run(record=lambda t: t * 0, stop_when=Patience(5))
    assert flat.num_steps == 5
    slow = run(record=watched, stop_when=Patience(2, "loss", least_change=1.0))
    assert slow.num_steps < run(record=watched, stop_when=Patience(2, "loss")).num_steps
    nothing = run(record=lambda t: jnp.nan * t, stop_when=Patience(3))
    assert nothing.num_steps == 3


def test_a_function_of_the_record_stops():
    found = run(record=lambda t: t, stop_when=lambda t: t > 2)
    assert found.status == Status.STOPPED
    assert found.num_steps == np.argmax(by_hand(50) > 2)
    assert found.theta > 2


def test_who_arrives_first_has_converged():
    found = minimize(bowl, 0.0, record=bowl, stop_when=Patience(20))
    assert found.status == Status.CONVERGED
    assert found.theta == 3


def test_inside_jit_and_vmap_each_run_stops_by_itself():
    def one(goal):
        record = Record(lambda t, goal: (t - goal) ** 2, (goal,))
        return run(record=record, stop_when=Patience(2))

    goals = jnp.array([0.5, 1.0, 2.9, 5.0])
    many = jax.jit(jax.vmap(one))(goals)
    alone = [one(goal) for goal in goals]
    assert many.num_steps.tolist() == [int(r.num_steps) for r in alone]
    assert many.status_code.tolist() == [7, 7, 7, 0]
    assert np.allclose(many.theta, [r.theta for r in alone])
    assert many.history.record.shape[0] == 4


def grows():
    kept = []

    def record(t):
        kept.append(t)
        return jnp.ones(len(kept))

    return record


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"record": grows()}, r"same shapes every time.*\[1\] and then float64\[2\]"),
        ({"record": lambda t: "text"}, "pytree of numbers"),
        ({"record": lambda t: None}, "pytree of numbers"),
        ({"record": lambda t: np.sin(np.asarray(t))}, "jax.numpy"),
        ({"record": 3}, "must be a function"),
        ({"record": Record(bowl, args=(1.0,))}, "record.*raised"),
        ({"stop_when": Patience(3)}, "give record="),
        ({"record": bowl, "stop_when": 3}, "Patience or a function"),
        ({"record": watched, "stop_when": Patience(3)}, "cannot read the record"),
        ({"record": watched, "stop_when": Patience(3, "los")}, "cannot read the record"),
        ({"record": lambda t: t * jnp.ones(2), "stop_when": Patience(3)}, "a number.*of="),
        ({"record": lambda t: t * jnp.ones(2), "stop_when": lambda r: r > 0}, "True or False"),
    ],
)
def test_bad_records_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        run(**options)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="every"):
        Record(bowl, every=0)
    with pytest.raises(ValueError, match="tuple"):
        Record(bowl, args=1.0)
    with pytest.raises(ValueError, match="records"):
        Patience(0)


def test_what_the_solver_requires_is_still_asked_for():
    with pytest.raises(ValueError, match="LBFGS.*preconditioner"):
        minimize(bowl, 0.0, solver=LBFGS(), record=bowl)
