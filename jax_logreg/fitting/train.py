"""The compiled programs of a fit, and running them one after the other."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.nonsmooth import KinkedOracle
from jax_logreg.fitting import certificate, driver
from jax_logreg.fitting.auto_solver import NEWTON_LIMIT, Stage, has_cheap_hessian
from jax_logreg.fitting.certificate import RUNNING, Way
from jax_logreg.fitting.jit_options import Compiled, are_concrete
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.solvers.base import Solver, State
from jax_logreg.solvers.newton import Newton

# A progress report is due about this often, in seconds.
_REPORT_EVERY = 0.5

Problem = ModelOracle | FirthOracle | KinkedOracle
# (steps taken, loss, gradient norm), called between runs of the compiled loop
Progress = Callable[[int, float, float], None]


_can_recede = Compiled(lambda oracle: oracle.can_recede())
_start = Compiled(driver.start, static_argnames=("max_steps", "curved"))
_advance = Compiled(driver.advance)


@partial(Compiled, static_argnames=("max_steps", "curved", "look"))
def _run_whole(
    oracle: Problem,
    solver: Solver,
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int,
    curved: bool,
    look: bool,
) -> driver.Run:
    """The whole loop of one solver in one program, and perhaps a first look at its end."""
    run = driver.start(oracle, solver, theta, tol, max_steps, curved=curved)
    run = driver.advance(oracle, solver, run, tol, jnp.asarray(max_steps))
    return run._replace(looked=assemble(oracle, solver, run, tol, Way.FIRST)) if look else run


def train(
    oracle: Problem,
    stages: list[Stage],
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int | None,
    progress: Progress | None,
) -> tuple[driver.Run, Solver]:
    """Run one solver after the other until one arrives; the whole run, and the last solver.

    Args:
        oracle: the problem.
        stages: the solvers; each begins where the one before it was left.
        theta: the start.
        tol: bound on the gradient norm.
        max_steps: of all together; the solvers' own limits if absent.
        progress: see ``fit``.
    """
    (solver, steps), *others = stages
    driver.refuse_unmet_needs(oracle, solver, theta.size)
    if not others:
        limit = solver.default_max_steps if max_steps is None else max_steps
        return _run(oracle, solver, theta, tol, limit, progress), solver
    limit = solver.default_max_steps if steps is None else steps
    limit = limit if max_steps is None else min(limit, max_steps)
    run = _run(oracle, solver, theta, tol, limit, progress)
    taken = int(run.num_steps)
    if int(run.status) not in (RUNNING, Status.STALLED) or taken == max_steps:
        return run, solver
    max_steps = None if max_steps is None else max_steps - taken
    report = progress and _counting_from(taken, progress)
    rest, last = train(oracle, others, run.state.point.theta, tol, max_steps, report)
    return _joined(run, rest), last


def result_of(oracle: Problem, solver: Solver, run: driver.Run, tol: jax.Array) -> FitResult:
    """The end of a run, judged: by a Hessian where that is cheap, or was used anyway."""
    # A run that was given curvature knows already.
    how = _how_to_look(oracle, solver) if run.curved is None else Way.PRODUCTS
    name, first, run = repr(solver), run.looked, run._replace(looked=None)
    if how is Way.HESSIAN:  # nothing of the solver's is used: one program for all
        bare = State(run.state.point, run.state.stalled)
        solver, run = Newton(), run._replace(state=bare)
    if are_concrete(oracle, run, tol) and (how is Way.HESSIAN or run.curved is not None):
        # Most fits need no more than this, and it compiles in a third of the time.
        first = first or _assemble(oracle, solver, run, tol, Way.FIRST)
        if int(first.status) == Status.CONVERGED:
            return replace(first, solver=name)
    run = run._replace(curved=None)
    return replace(_assemble(oracle, solver, run, tol, how), solver=name)


def _how_to_look(oracle: Problem, solver: Solver) -> Way:
    P = oracle.num_parameters()
    if isinstance(solver, Newton) or has_cheap_hessian(oracle.num_rows(), P):
        return Way.HESSIAN
    if P > NEWTON_LIMIT:
        return Way.PRODUCTS
    if not are_concrete(oracle):
        return Way.EITHER
    # One of the two need not be compiled.
    return Way.HESSIAN if bool(_can_recede(oracle)) else Way.PRODUCTS


def assemble(
    oracle: Problem, solver: Solver, run: driver.Run, tol: jax.Array, how: Way
) -> FitResult:
    """The judged result, in one program."""
    end = certificate.conclude(
        oracle, solver, run.state, run.status, tol, how=how, curved=run.curved
    )
    coef, intercept = oracle.objective.split(end.point.theta)
    return FitResult(
        coef=coef,
        intercept=intercept,
        status=end.status,
        num_steps=run.num_steps,
        objective=end.point.value,
        gradient_norm=certificate.gradient_norm(end.point),
        newton_decrement=end.newton_decrement,
        rank=end.rank,
        history=run.history,
    )


_assemble = Compiled(assemble, static_argnames="how")


def _run(
    oracle: Problem,
    solver: Solver,
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int,
    progress: Progress | None,
) -> driver.Run:
    """The whole loop at once, or left now and then for a report."""
    if "rounded" in solver.needs:
        assert isinstance(oracle, ModelOracle)  # no other offers it
        oracle = oracle.with_rounded()
    known = are_concrete(oracle, solver, theta, tol)
    how = _how_to_look(oracle, solver)
    curved = known and how is Way.PRODUCTS and "hvp" in oracle.offers
    if progress is None:
        # A small fit takes hardly longer than the dispatch of a second program.
        regular = how is Way.HESSIAN and isinstance(solver, Newton) and not solver.singular
        return _run_whole(oracle, solver, theta, tol, max_steps, curved, look=curved or regular)
    if not known:
        raise ValueError("progress works outside jit and vmap only: leave it out inside them.")
    run = _start(oracle, solver, theta, tol, max_steps, curved=curved)
    stride = 1
    while True:
        began = time.perf_counter()
        until = min(int(run.num_steps) + stride, max_steps)
        run = jax.block_until_ready(_advance(oracle, solver, run, tol, jnp.asarray(until)))
        point = run.state.point
        progress(int(run.num_steps), float(point.value), float(certificate.gradient_norm(point)))
        if int(run.status) != RUNNING or int(run.num_steps) >= max_steps:
            return run
        if time.perf_counter() - began < _REPORT_EVERY:
            stride *= 2


def _counting_from(taken: int, progress: Progress) -> Progress:
    return lambda steps, loss, norm: progress(taken + steps, loss, norm)


def _joined(first: driver.Run, second: driver.Run) -> driver.Run:
    """The second run, counted and recorded as the continuation of the first; a look at it
    knows nothing of that."""
    taken = int(first.num_steps)
    history = jax.tree.map(
        lambda a, b: jnp.concatenate([a[: taken + 1], b[1:]]), first.history, second.history
    )
    steps = second.num_steps + taken
    return second._replace(num_steps=steps, history=history, looked=None)
