"""The loop that runs every solver, its programs, and the result of a fit.

A run is one ``lax.while_loop``: step after step under a cheap test, and where that says so a
verification of the point. ``certificate`` then judges the end. Both are compiled into one program
where that is enough for most fits.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.derivatives.oracle import HessianProduct, Oracle, Point, missing_capabilities
from jax_logreg.fitting.auto_solver import NEWTON_LIMIT, Stage, has_cheap_hessian
from jax_logreg.fitting.certificate import (
    UNVERIFIED,
    Certificate,
    CertificateMethod,
    Tolerance,
    certify,
    cheap_status,
    gradient_norm,
    tighter,
    verified_status,
)
from jax_logreg.fitting.regular import run_regular
from jax_logreg.fitting.result import RUNNING, FitResult, History, Status
from jax_logreg.objective.dense_features import is_on_one_device
from jax_logreg.programs.compiled import Compiled, are_concrete, is_concrete
from jax_logreg.solvers.base import NewtonType, Solver, State, compute_unless, while_loop
from jax_logreg.solvers.newton import Newton

# How often a run may go on because the Newton step that remains is too large. Each time the
# gradient at least halves; Newton's method needs one or two, a first-order method some more.
MAX_ROUNDS = 20
# A progress report is due about this often, in seconds.
_SECONDS_PER_REPORT = 0.5

# An oracle of an objective; its class is known to its maker alone.
FittedOracle = Any
# (steps taken, loss, gradient norm), called between slices of the compiled loop
Progress = Callable[[int, float, float], None]


class Run(NamedTuple):
    """A run in progress: everything needed to go on, or to stop and certify.

    Attributes:
        state: the solver's.
        num_steps: taken so far.
        status: ``RUNNING``, ``UNVERIFIED``, or the reason to stop.
        history: the curve so far, zero beyond; None where a certificate does not need it.
        hvp: the Hessian's product with about the next Newton step at a verified point, for
            ``CONTINUED_CG``; None where that is not used.
    """

    state: State
    num_steps: jax.Array
    status: jax.Array
    history: Any
    hvp: HessianProduct | None = None


class _Plan(NamedTuple):
    """How the end of a run is certified.

    Attributes:
        first: a cheap method that is enough for most fits, or None.
        last: the method that decides the others.
        with_loop: the one of them that is compiled together with the loop, or None.
    """

    first: CertificateMethod | None
    last: CertificateMethod
    with_loop: CertificateMethod | None = None

    @property
    def keeps_product(self) -> bool:
        """Whether the verification computes a Hessian product for the first method."""
        return self.first is CertificateMethod.CONTINUED_CG


# --- the loop -----------------------------------------------------------------------------


def start(
    oracle: Oracle,
    solver: Solver,
    theta: jax.Array,
    tol: jax.Array,
    max_steps: int,
    *,
    keep_product: bool = False,
) -> Run:
    """The run before its first step; one that starts at the answer takes none."""
    theta = oracle.problem.project_gauge(theta)
    state = jax.tree.map(_strong_dtype, solver.init(oracle, theta))
    blank, unknown = jnp.zeros(max_steps + 1, theta.dtype), jnp.zeros_like(theta)
    hvp = HessianProduct(unknown, unknown, jnp.zeros((), theta.dtype)) if keep_product else None
    status, steps = cheap_status(oracle, state, tol), jnp.zeros((), jnp.int32)
    run = Run(state, steps, status, History(blank, blank), hvp)
    return run._replace(history=_record(run))


def advance(oracle: Oracle, solver: Solver, run: Run, tol: jax.Array, until: jax.Array) -> Run:
    """Step until the run is over or ``until`` steps have been taken in all."""

    def unfinished(run: Run) -> jax.Array:
        return (run.status == UNVERIFIED) | ((run.status < 0) & (run.num_steps < until))

    def running(run: Run) -> jax.Array:
        return (run.status == RUNNING) & (run.num_steps < until)

    def step(run: Run) -> Run:
        state = solver.step(oracle, run.state)
        status = cheap_status(oracle, state, tol)
        run = run._replace(state=state, num_steps=run.num_steps + 1, status=status)
        return run._replace(history=_record(run))

    def steps_and_verification(run: Run) -> Run:
        return _verify(oracle, solver, while_loop(running, step, run), tol)

    return while_loop(unfinished, steps_and_verification, run)


def _verify(oracle: Oracle, solver: Solver, run: Run, tol: jax.Array) -> Run:
    """The run with its point computed from θ alone, if it was not, and its verified status.

    Steps along a line update the logits by adding to them, and classes may have drifted off
    their mean: by round-off, but what is returned is computed from θ.
    """
    here, hvp = run.state.point, run.hvp
    theta = oracle.problem.project_gauge(here.theta)
    is_exact = here.recomputed & jnp.all(theta == here.theta)
    if hvp is None:
        point = compute_unless(is_exact, here, lambda: oracle.evaluate(theta))
    else:
        # The step from where the drift is: it need only be close to Newton's.
        step = -solver.apply_inverse_hessian(oracle, run.state, here.gradient)

        def evaluate() -> tuple[Point, HessianProduct]:
            point = oracle.evaluate(theta, step)
            assert point.hvp is not None
            return point._replace(hvp=None), point.hvp

        point, hvp = compute_unless(is_exact, (here, hvp), evaluate)
        hvp = compute_unless(~is_exact, hvp, lambda: oracle.hessian_operator(here)(step))
    state = run.state._replace(point=point)
    run = run._replace(state=state, status=verified_status(oracle, state, tol), hvp=hvp)
    return run._replace(history=_record(run))


def _record(run: Run) -> History:
    history, point = run.history, run.state.point
    return History(
        history.objective.at[run.num_steps].set(point.value),
        history.gradient_norm.at[run.num_steps].set(gradient_norm(point)),
    )


def _last_repeated(run: Run) -> Any:
    """The curve with its last entry in place of all that follow; None where there is none."""
    if run.history is None:
        return None
    if are_concrete(run.history):
        # In NumPy: by JAX every length of a curve would be a program of its own.
        last = int(run.num_steps)
        return _put_like(jax.tree.map(lambda curve: _held(curve, last), run.history), run.history)

    def repeat(curve: jax.Array) -> jax.Array:
        return jnp.where(jnp.arange(len(curve)) <= run.num_steps, curve, curve[run.num_steps])

    return History(*map(repeat, run.history))


def _held(curve: jax.Array, last: int) -> np.ndarray:
    held = np.array(curve)
    held[last:] = held[last]
    return held


def _put_like(values: Any, like: Any) -> Any:
    """Values of NumPy where others are, which compiles nothing."""
    return jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), values, like)


def _strong_dtype(leaf: jax.Array) -> jax.Array:
    """A leaf whose dtype no later step can promote: a second program would be compiled."""
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)


# --- its end ------------------------------------------------------------------------------


class _Round(NamedTuple):
    """A run with the certificate of its last stop, and the bounds under which it goes on."""

    run: Run
    certificate: Certificate
    tol: Tolerance
    rounds: jax.Array


def advance_to_certificate(
    oracle: FittedOracle,
    solver: Solver,
    run: Run,
    tol: Tolerance,
    until: jax.Array,
    method: CertificateMethod,
) -> tuple[Run, Certificate]:
    """Step until the certificate accepts the end, or cannot: where the Newton step that remains
    is too large, the run goes on towards a smaller gradient."""

    def once(before: _Round) -> _Round:
        run = advance(oracle, solver, before.run, before.tol.gradient, until)
        end = judge(oracle, solver, run, tol, method)
        goes_on = end.is_short & (run.num_steps < until) & (before.rounds < MAX_ROUNDS)
        end = end._replace(is_short=goes_on)
        stricter = tighter(tol, gradient_norm(run.state.point), end.newton_decrement)
        run = run._replace(status=jnp.where(goes_on, RUNNING, run.status).astype(jnp.int8))
        return _Round(run, end, stricter, before.rounds + 1)

    dtype = run.state.point.theta.dtype
    none = Certificate(
        run.status, jnp.zeros((), dtype), jnp.zeros((), jnp.int32), jnp.asarray(True)
    )
    end = while_loop(
        lambda at: at.certificate.is_short,
        once,
        _Round(run, none, jax.tree.map(jnp.asarray, tol), jnp.zeros((), jnp.int32)),
    )
    return end.run, end.certificate


def judge(
    oracle: FittedOracle, solver: Solver, run: Run, tol: Tolerance, method: CertificateMethod
) -> Certificate:
    """The certificate of a run."""
    state = run.state._replace(point=run.state.point._replace(hvp=run.hvp))
    found = certify(oracle, solver, state, run.status, tol, method)
    return found._replace(rank=jnp.asarray(found.rank, jnp.int32))


class _Verdict(NamedTuple):
    """A result, and whether the run should go on towards a smaller gradient."""

    result: FitResult
    is_short: jax.Array


def make_result(
    oracle: FittedOracle, run: Run, certificate: Certificate, tol: Tolerance
) -> FitResult:
    """The result of a certified run."""
    point, decrement = run.state.point, certificate.newton_decrement
    coef, intercept = oracle.objective.split(point.theta)
    return FitResult(
        coef=coef,
        intercept=intercept,
        status_code=certificate.status,
        num_steps=run.num_steps,
        objective=point.value,
        gradient_norm=gradient_norm(point),
        newton_decrement=decrement,
        remaining_step=jnp.sqrt(tol.total_weight) * decrement,
        rank=certificate.rank,
        history=_last_repeated(run),
    )


def finish(
    oracle: FittedOracle, solver: Solver, run: Run, tol: Tolerance, method: CertificateMethod
) -> _Verdict:
    """The verdict on a run."""
    certificate = judge(oracle, solver, run, tol, method)
    return _Verdict(make_result(oracle, run, certificate, tol), certificate.is_short)


def _plan(oracle: FittedOracle, solver: Solver, *, concrete: bool) -> _Plan:
    """By a Hessian where it is cheap or was formed anyway, else by products.

    Args:
        oracle: the function.
        solver: what runs.
        concrete: whether the arrays have values, as they do not inside ``jit``.
    """
    method, P = CertificateMethod, oracle.objective.num_parameters
    if not concrete:
        last = method_of_one_program(oracle, solver)
        return _Plan(None, last, with_loop=last)
    if _has_hessian(oracle, solver) or (P <= NEWTON_LIMIT and bool(_minimum_may_not_exist(oracle))):
        return _Plan(method.CHOLESKY, method.EIGENVALUES)
    if "hvp" in oracle.capabilities:
        return _Plan(method.CONTINUED_CG, method.CG, with_loop=method.CONTINUED_CG)
    return _Plan(None, method.CG)


def method_of_one_program(oracle: FittedOracle, solver: Solver) -> CertificateMethod:
    """The method that decides every fit, where one program must do."""
    method = CertificateMethod
    if _has_hessian(oracle, solver):
        return method.EIGENVALUES
    return method.BY_PENALTY if oracle.objective.num_parameters <= NEWTON_LIMIT else method.CG


def _has_hessian(oracle: FittedOracle, solver: Solver) -> bool:
    cheap = has_cheap_hessian(oracle.num_rows, oracle.objective.num_parameters)
    return isinstance(solver, Newton) or cheap


def _by_products(oracle: FittedOracle) -> bool:
    """Whether products judge better than a Hessian: in float32 its smallest eigenvalues have no
    digits, and where a penalty guarantees a minimum nothing else is asked of them."""
    is_float32 = oracle.objective.X.dtype == jnp.float32 and "hvp" in oracle.capabilities
    return is_float32 and not bool(_minimum_may_not_exist(oracle))


def _certifies_itself(oracle: FittedOracle, solver: Solver) -> bool:
    """Whether the small loop of a regular fit can be tried."""
    if not isinstance(solver, NewtonType):
        return False
    return solver.is_regular and (solver.is_exact or "hvp" in oracle.capabilities)


def _prepared(
    oracle: FittedOracle, method: NewtonType, theta: Any, tol: Tolerance, max_steps: int
) -> tuple[Any, Any]:
    """Where a method of Newton's type starts, and its memory there, unless the loop prepares it."""
    blank = method.blank_memory(theta)
    if blank is None:
        return theta, None
    arrays = [leaf for leaf in jax.tree.leaves(oracle) if isinstance(leaf, jax.Array)]
    if not all(map(is_on_one_device, arrays)):
        return _prepare(oracle, method, theta)
    # In NumPy, whose kind is known before the values are: both programs are compiled at once.
    theta = np.asarray(theta)
    _solve_regular.compile_ahead(oracle, method, theta, blank, tol, max_steps)
    return jax.tree.map(np.asarray, _prepare(oracle, method, theta))


@Compiled
def _proves_separation(oracle: FittedOracle, point: Point) -> jax.Array:
    return oracle.problem.proves_separation(point.theta, point.value)


@Compiled
def _evaluate(oracle: FittedOracle, theta: jax.Array) -> Point:
    return oracle.evaluate(theta)


@Compiled
def _minimum_may_not_exist(oracle: FittedOracle) -> jax.Array:
    return oracle.problem.minimum_may_not_exist()


_start = Compiled(start, static_argnames=("max_steps", "keep_product"))
_advance = Compiled(advance)
_finish = Compiled(finish, static_argnames="method")


@partial(Compiled, static_argnames=("max_steps", "plan"))
def _solve(
    oracle: FittedOracle,
    solver: Solver,
    theta: jax.Array,
    tol: Tolerance,
    max_steps: int,
    plan: _Plan,
) -> tuple[Run, _Verdict | None]:
    """The whole loop of one solver, and perhaps its certificate, in one program."""
    run = start(oracle, solver, theta, tol.gradient, max_steps, keep_product=plan.keeps_product)
    until = jnp.asarray(max_steps)
    if plan.with_loop is None:
        return advance(oracle, solver, run, tol.gradient, until), None
    run, certificate = advance_to_certificate(oracle, solver, run, tol, until, plan.with_loop)
    return run, _Verdict(make_result(oracle, run, certificate, tol), jnp.asarray(False))


@Compiled
def _prepare(oracle: FittedOracle, method: NewtonType, theta: jax.Array) -> tuple[jax.Array, Any]:
    """Where a method of Newton's type starts, and its memory there."""
    return method.prepare(oracle, theta)


@partial(Compiled, static_argnames="max_steps")
def _solve_regular(
    oracle: FittedOracle,
    method: NewtonType,
    theta: jax.Array,
    memory: Any,
    tol: Tolerance,
    max_steps: int,
) -> tuple[Run, _Verdict]:
    """The loop of a method of Newton's type and its certificate, while all is regular."""
    if memory is None:
        theta, memory = method.prepare(oracle, theta)
    end = run_regular(oracle, method, theta, memory, tol, max_steps)
    run = Run(
        State(end.point, end.status == int(Status.STALLED), end.memory),
        end.num_steps,
        end.status,
        end.history,
    )
    # A run that is not over has no certificate; another method gives it one.
    status = jnp.where(end.status < 0, int(Status.MAX_STEPS), end.status)
    full_rank = method.proves_full_rank(end.memory) | oracle.problem.is_strictly_convex()
    if theta.size <= NEWTON_LIMIT:  # else the rank is not asked for
        is_open = (status == int(Status.CONVERGED)) & ~full_rank
        status = jnp.where(is_open, int(Status.STALLED), status)
    rank = jnp.where(full_rank, theta.size, -1).astype(jnp.int32)
    certificate = Certificate(status.astype(jnp.int8), end.decrement, rank, jnp.asarray(False))
    result = make_result(oracle, run._replace(history=None), certificate, tol)
    return run, _Verdict(replace(result, history=end.history), certificate.is_short)


# --- a fit ----------------------------------------------------------------------------------


class _Ended(NamedTuple):
    """A run that is over: its verdict so far, if there is one, and how to certify it."""

    run: Run
    verdict: _Verdict | None
    plan: _Plan


def solve_and_certify(
    oracle: FittedOracle,
    stages: list[Stage],
    theta: jax.Array,
    tol: Tolerance,
    max_steps: int | None = None,
    progress: Progress | None = None,
    target: jax.Array | None = None,
) -> tuple[FitResult, jax.Array]:
    """Run one solver after the other until one arrives, and certify the end.

    Args:
        oracle: the function.
        stages: the solvers; each begins where the one before it stopped.
        theta: the start, (P,).
        tol: what the certificate holds the end to.
        max_steps: of all together; the solvers' own limits if absent.
        progress: see ``fit``.
        target: a gradient to go on to, smaller than the bound.

    Returns:
        The result, and θ at its point.
    """
    aim = tol if target is None else tol._replace(gradient=target)
    ended, solver = _run_stages(oracle, stages, theta, aim, max_steps, progress)
    verdict = _certified(oracle, solver, ended, tol)
    for _ in range(MAX_ROUNDS):
        taken = ended.run.num_steps
        if not is_concrete(taken) or taken == max_steps or not bool(verdict.is_short):
            break
        aim = tighter(tol, verdict.result.gradient_norm, verdict.result.newton_decrement)
        left = None if max_steps is None else max_steps - int(taken)
        report = progress and _counting_from(int(taken), progress)
        theta = ended.run.state.point.theta
        rest, solver = _run_stages(oracle, stages[-1:], theta, aim, left, report)
        ended = _continued(ended.run, rest)
        verdict = _certified(oracle, solver, ended, tol)
    return verdict.result, ended.run.state.point.theta


def _run_stages(
    oracle: FittedOracle,
    stages: list[Stage],
    theta: jax.Array,
    tol: Tolerance,
    max_steps: int | None,
    progress: Progress | None,
) -> tuple[_Ended, Solver]:
    (solver, steps, prepare), *others = stages
    check_capabilities(oracle, solver)
    theta = theta if prepare is None else prepare(oracle, theta)
    limit = solver.default_max_steps if steps is None or not others else steps
    if max_steps is not None:
        limit = min(limit, max_steps) if others else max_steps
    ended = _run_solver(oracle, solver, theta, tol, limit, progress)
    if not others:
        return ended, solver
    taken = int(ended.run.num_steps)
    if int(ended.run.status) not in (RUNNING, Status.STALLED) or taken == max_steps:
        return ended, solver
    left = None if max_steps is None else max_steps - taken
    report = progress and _counting_from(taken, progress)
    theta = ended.run.state.point.theta
    rest, last = _run_stages(oracle, others, theta, tol, left, report)
    return _continued(ended.run, rest), last


def check_capabilities(oracle: Oracle, solver: Solver) -> None:
    """Check before the loop that the oracle answers what the solver requires.

    Raises:
        ValueError: naming the solver, what is missing, and the remedy.
    """
    for name, reason in missing_capabilities(oracle, solver.requires).items():
        raise ValueError(
            f"solver {type(solver).__name__} requires '{name}': {reason}. {oracle.remedy}"
        )


def _run_solver(
    oracle: FittedOracle,
    solver: Solver,
    theta: jax.Array,
    tol: Tolerance,
    max_steps: int,
    progress: Progress | None,
) -> _Ended:
    """Run the loop to the end, or in slices between progress reports."""
    if "float32" in solver.requires:
        oracle = oracle.with_float32_copy()
    concrete = are_concrete(oracle, solver, theta, tol)
    if progress is None and concrete and _certifies_itself(oracle, solver):
        assert isinstance(solver, NewtonType)
        return _run_method(oracle, solver, theta, tol, max_steps)
    plan = _plan(oracle, solver, concrete=concrete)
    if progress is None:
        run, verdict = _solve(oracle, solver, theta, tol, max_steps, plan)
        return _Ended(run, verdict, plan)
    bound, keep = tol.gradient, plan.keeps_product
    run = _start(oracle, solver, theta, bound, max_steps, keep_product=keep)
    run = _advance_with_reports(oracle, solver, run, bound, max_steps, progress)
    return _Ended(run, None, plan)


def _run_method(
    oracle: FittedOracle, method: NewtonType, theta: jax.Array, tol: Tolerance, max_steps: int
) -> _Ended:
    """Run the small loop; what it does not certify is left open."""
    theta, memory = _prepared(oracle, method, theta, tol, max_steps)
    run, verdict = _solve_regular(oracle, method, theta, memory, tol, max_steps)
    if int(verdict.result.status) == Status.CONVERGED:
        return _Ended(run, verdict, _Plan(None, CertificateMethod.CG))
    if bool(_proves_separation(oracle, run.state.point)):
        separated = jnp.full_like(run.status, int(Status.SEPARATED))
        verdict = verdict._replace(result=replace(verdict.result, status_code=separated))
        return _Ended(run._replace(status=separated), verdict, _Plan(None, CertificateMethod.CG))
    plan = _plan(oracle, method, concrete=True)
    has_tried = method.is_exact or plan.keeps_product
    return _Ended(run, None, plan._replace(first=None) if has_tried else plan)


def _advance_with_reports(
    oracle: FittedOracle,
    solver: Solver,
    run: Run,
    tol: jax.Array,
    max_steps: int,
    progress: Progress,
) -> Run:
    stride = 1
    while True:
        began = time.perf_counter()
        until = min(int(run.num_steps) + stride, max_steps)
        run = jax.block_until_ready(_advance(oracle, solver, run, tol, jnp.asarray(until)))
        point = run.state.point
        progress(int(run.num_steps), float(point.value), float(gradient_norm(point)))
        if int(run.status) >= 0 or int(run.num_steps) >= max_steps:
            return run
        if time.perf_counter() - began < _SECONDS_PER_REPORT:
            stride *= 2


def _counting_from(taken: int, progress: Progress) -> Progress:
    return lambda steps, loss, norm: progress(taken + steps, loss, norm)


def _continued(first: Run, second: _Ended) -> _Ended:
    """The second run, counted and recorded as the continuation of the first."""
    taken, run, verdict = int(first.num_steps), second.run, second.verdict
    history = _put_like(
        jax.tree.map(
            lambda a, b: np.concatenate([np.asarray(a)[: taken + 1], np.asarray(b)[1:]]),
            first.history,
            run.history,
        ),
        run.history,
    )
    num_steps = _put_like(np.asarray(run.num_steps) + np.int32(taken), run.num_steps)
    run = run._replace(num_steps=num_steps, history=history)
    if verdict is not None:
        result = replace(verdict.result, num_steps=num_steps, history=_last_repeated(run))
        verdict = verdict._replace(result=result)
    return second._replace(run=run, verdict=verdict)


def _with_logits(oracle: FittedOracle, run: Run) -> Run:
    """The run with the logits of its point, which the loop of a regular fit does not keep."""
    point = run.state.point
    if point.logits is not None:
        return run
    return run._replace(state=run.state._replace(point=_evaluate(oracle, point.theta)))


def _certified(oracle: FittedOracle, solver: Solver, ended: _Ended, tol: Tolerance) -> _Verdict:
    """The verdict by the first method of the plan if that certifies convergence, else by the
    last."""
    whole, verdict, plan = ended
    # The curve, whose length depends on the steps of earlier stages, has no part in a program.
    run = whole._replace(history=None) if are_concrete(whole) else whole
    name = repr(solver)
    if plan.last is CertificateMethod.EIGENVALUES:
        # Nothing of the solver's state is used: one program for all of them.
        bare = State(run.state.point, run.state.stalled)
        solver, run = Newton(), run._replace(state=bare)
    if plan.first is not None and int(run.status) != Status.SEPARATED:
        # Most fits need no more than this, and it compiles in a third of the time.
        verdict = verdict or _finish(oracle, solver, _with_logits(oracle, run), tol, plan.first)
        if int(verdict.result.status) != Status.CONVERGED and not bool(verdict.is_short):
            verdict = None
    if verdict is None:
        run = _with_logits(oracle, run)
        by_products = plan.first is CertificateMethod.CHOLESKY and _by_products(oracle)
        method = CertificateMethod.CG if by_products else plan.last
        verdict = _finish(oracle, solver, run._replace(hvp=None), tol, method)
    history: Any = verdict.result.history or _last_repeated(whole)
    return verdict._replace(result=replace(verdict.result, solver=name, history=history))
