"""What holds of every solver, with either kind of derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import (
    LBFGS,
    GradientDescent,
    Minibatch,
    Newton,
    NewtonCG,
    Optax,
    Solver,
    fit,
)
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.solvers.base import State
from jax_logreg.solvers.bfgs import BFGS
from jax_logreg.solvers.proximal_newton import ProximalNewton
from tests.problems import N, make_problem

SOLVERS = {
    "gradient descent, safe step": GradientDescent(),
    "gradient descent, fixed step": GradientDescent(0.5),
    "gradient descent, backtracking": GradientDescent(backtracking=True),
    "adam": Optax(optax.adam(0.1)),
    "Optax's lbfgs": Optax(optax.lbfgs()),
    "lbfgs": LBFGS(),
    "lbfgs, sampled start": LBFGS("hessian", sample=12),
    "lbfgs, no search": LBFGS("gram", search=False),
    "bfgs, sampled start": BFGS(sample=12),
    "newton-cg, gram": NewtonCG("gram"),
    "newton-cg, float32": NewtonCG(float32=True),
    "minibatch": Minibatch(optax.sgd(0.5), N, jax.random.key(0)),
    "newton": Newton(),
    "proximal newton": ProximalNewton(),
}


@pytest.fixture(params=SOLVERS.values(), ids=SOLVERS)
def solver(request):
    return request.param


def test_the_registry_is_complete():
    def kinds(cls):
        return {cls}.union(*map(kinds, cls.__subclasses__()))

    # Those of solvers/: what fitting/ adds records another solver, or is one with another search.
    shipped = {c for c in kinds(Solver) if c.__module__.startswith("jax_logreg.solvers.")}
    shipped = {c for c in shipped if c.step is not Solver.step}  # the others are bases
    assert {type(s) for s in SOLVERS.values()} == shipped


def test_it_finds_the_minimum(solver, problem):
    options = problem.options()
    best = fit(problem.X, problem.y, tol=1e-12, **options).raise_if_failed()
    found = fit(problem.X, problem.y, solver=solver, max_steps=4000, tol=1e-7, **options)
    assert found.converged, found.message
    np.testing.assert_allclose(found.objective, best.objective, atol=1e-12)
    np.testing.assert_allclose(found.coef, best.coef, atol=1e-4)


def test_a_step_keeps_structure_and_dtype(solver, dtype):
    oracle = ModelOracle(make_problem("sigmoid", dtype.name).objective())
    state = solver.init(oracle, jnp.zeros(4, dtype))
    following = jax.eval_shape(lambda s: solver.step(oracle, s), state)
    assert isinstance(state, State)
    assert jax.tree.structure(state) == jax.tree.structure(following)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(following), strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)


def test_the_point_it_carries_is_of_the_whole_objective(solver, problem):
    oracle = ModelOracle(problem.objective())
    state = solver.init(oracle, jnp.zeros(oracle.objective.num_parameters))
    state = solver.step(oracle, state)
    true = oracle.evaluate(state.point.theta)
    np.testing.assert_allclose(state.point.value, true.value, rtol=1e-14)
    np.testing.assert_allclose(state.point.gradient, true.gradient, atol=1e-14)


def test_its_settings_are_hashable_and_it_can_be_rebuilt(solver):
    leaves, structure = jax.tree.flatten(solver)
    assert isinstance(hash(structure), int)
    rebuilt = jax.tree.unflatten(structure, leaves)
    assert type(rebuilt) is type(solver)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (GradientDescent(0.1), GradientDescent(0.2)),
        (
            GradientDescent(1.0, backtracking=True),
            GradientDescent(3.0, backtracking=True),
        ),
    ],
)
def test_new_numbers_are_the_same_program(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.tree.leaves(one) != jax.tree.leaves(other)
