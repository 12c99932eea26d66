"""What is kept of a run besides its curve, and early stopping on it, inside the compiled loop.

A solver that records is a solver around another: a run without a record has no part of it in its
program.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.function_oracle import hoist
from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.fitting.certificate import CertificateMethod, Tolerance
from jax_logreg.fitting.column_scaling import ColumnScaling
from jax_logreg.fitting.loop import (
    advance_to_certificate,
    check_capabilities,
    make_result,
    method_of_one_program,
    start,
)
from jax_logreg.fitting.result import FitResult, History, RecordedHistory, Status
from jax_logreg.objective.objective import Objective, split_parameters
from jax_logreg.programs.compiled import Compiled
from jax_logreg.solvers.base import Solver, State, check_count, cond


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Record:
    """What to keep, and how often: for ``record=``, where a bare function is kept every step.

    Attributes:
        function: of the parameters and ``args``: a pytree of numbers or arrays, in ``jax.numpy``.
        args: arrays that it needs, such as validation data; what a bare function closes over is
            compiled in.
        every: it is called before the first step, after every so many and at the end; the entries
            between repeat the last.

    >>> from jax_logreg import minimize
    >>> record = Record(lambda t, goal: {"distance": jnp.abs(t - goal)}, args=(3.0,))
    >>> curve = minimize(lambda t: (t - 3.0) ** 2, 0.0, record=record).history.record
    >>> curve["distance"][:2].tolist()
    [3.0, 0.0]
    """

    function: Callable[..., Any] = field(metadata={"static": True})
    args: tuple[Any, ...] = ()
    every: int = field(default=1, metadata={"static": True})

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if not callable(self.function):
            raise ValueError(
                f"record must be a function of the parameters, but it is {self.function!r}."
            )
        if not isinstance(self.args, tuple):
            raise ValueError(f"args of a record must be a tuple, but they are {self.args!r}.")
        check_count("every", self.every, least=1)

    def __call__(self, *parameters: Any) -> Any:
        """The record at some parameters, of arrays whose dtype no later one can promote."""
        recorded = self.function(*parameters, *self.args)
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), recorded)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Patience:
    """Stop where a recorded number has not fallen for so many records, and return to the lowest.

    Attributes:
        records: how many in a row may bring nothing.
        of: which number: a key of the record, or a function of it; the record itself if absent.
            What should rise is given with its sign changed.
        least_change: a smaller fall counts as none.

    >>> from jax_logreg import GradientDescent, minimize
    >>> result = minimize(  # what is trained and what is watched disagree
    ...     lambda t: (t - 3.0) ** 2, 0.0, solver=GradientDescent(0.1),
    ...     record=lambda t: (t - 2.0) ** 2, stop_when=Patience(3),
    ... )
    >>> print(result.status, result.theta.round(2), result.num_steps)
    STOPPED 2.02 8
    """

    records: int = field(metadata={"static": True})
    of: str | Callable[[Any], Any] | None = field(default=None, metadata={"static": True})
    least_change: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        check_count("records", self.records, least=1)

    def number(self, record: Any) -> jax.Array:
        """The number that should fall."""
        if self.of is None:
            return record
        return record[self.of] if isinstance(self.of, str) else self.of(record)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _StopIf:
    """A rule that looks at the newest record alone."""

    function: Callable[[Any], Any] = field(metadata={"static": True})

    def __call__(self, record: Any) -> jax.Array:
        return jnp.asarray(self.function(record), bool)


class Best(NamedTuple):
    """The lowest number so far, its θ, and how many records have brought nothing since."""

    number: jax.Array
    theta: jax.Array
    idle: jax.Array


class Memory(NamedTuple):
    """What a recording solver carries from step to step.

    Attributes:
        inner: of the solver itself.
        records: those so far, (max_steps + 1, ...) each.
        last: the last.
        best: see ``Best``; None without patience.
        num_steps: taken.
        stopped: whether ``stop_when`` ended the run.
    """

    inner: Any
    records: Any
    last: Any
    best: Best | None
    num_steps: jax.Array
    stopped: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recording(Solver):
    """A solver that keeps a record of its steps.

    Attributes:
        solver: what takes the steps.
        measure: θ, (P,) ↦ the record there; a pytree.
        every: how often it is called.
        stop_when: a ``Patience``, another rule, or None.
        max_steps: how many records there can be.
    """

    solver: Solver
    measure: Any
    every: int = field(metadata={"static": True})
    stop_when: Any
    max_steps: int = field(metadata={"static": True})

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override]
        """Those of the solver."""
        return self.solver.requires

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        """The state at the start, which is the first record."""
        state = self.solver.init(oracle, theta)
        last, zero = self.measure(state.point.theta), jnp.zeros((), jnp.int32)
        blank = jax.tree.map(lambda x: jnp.zeros((self.max_steps + 1, *x.shape), x.dtype), last)
        best = None
        if isinstance(self.stop_when, Patience):
            best = Best(self.stop_when.number(last), state.point.theta, zero)
        memory = Memory(state.memory, _put(blank, zero, last), last, best, zero, jnp.asarray(False))
        return state._replace(memory=memory)

    def step(self, oracle: Oracle, state: State) -> State:
        """A step of the solver, and what is recorded after it."""
        before: Memory = state.memory
        after = self.solver.step(oracle, state._replace(memory=before.inner))
        num_steps = before.num_steps + 1
        last, best, stopped = cond(
            num_steps % self.every == 0,
            lambda: self._recorded(before, after.point.theta),
            lambda: (before.last, before.best, jnp.asarray(False)),
        )
        records = _put(before.records, num_steps, last)
        memory = Memory(after.memory, records, last, best, num_steps, stopped)
        return State(after.point, after.stalled | stopped, memory)

    def _recorded(self, before: Memory, theta: jax.Array) -> tuple[Any, Best | None, jax.Array]:
        """The record at θ, the best so far, and whether to stop."""
        last = self.measure(theta)
        if self.stop_when is None:
            return last, None, jnp.asarray(False)
        if before.best is None:
            return last, None, self.stop_when(last)
        number, best = self.stop_when.number(last), before.best
        falls = number < best.number - self.stop_when.least_change
        idle = jnp.where(falls, 0, best.idle + 1).astype(best.idle.dtype)
        lowest = jnp.where(falls, number, best.number)
        found = Best(lowest, jnp.where(falls, theta, best.theta), idle)
        return last, found, idle >= self.stop_when.records

    def apply_inverse_hessian(self, oracle: Oracle, state: State, vector: jax.Array) -> jax.Array:
        """That of the solver."""
        inner = state._replace(memory=state.memory.inner)
        return self.solver.apply_inverse_hessian(oracle, inner, vector)

    def end(self, oracle: Oracle, state: State, status: jax.Array) -> tuple[State, jax.Array]:
        """Where the run ends, and how: at the best point if patience ended it.

        Args:
            oracle: the function.
            state: the last.
            status: of the run.
        """
        memory: Memory = state.memory
        stopped = memory.stopped & (status == int(Status.STALLED))
        if memory.best is not None:
            theta = jnp.where(stopped, memory.best.theta, state.point.theta)
            state = state._replace(point=oracle.evaluate(theta))
        return state, jnp.where(stopped, int(Status.STOPPED), status).astype(status.dtype)

    def history(self, state: State, history: History, end: jax.Array) -> RecordedHistory:
        """The curve with the records.

        Args:
            state: the last.
            history: the curve.
            end: θ at its end, whose record is repeated.
        """
        memory: Memory = state.memory

        def repeat(table: jax.Array, last: jax.Array) -> jax.Array:
            past = jnp.arange(len(table)) < memory.num_steps
            return jnp.where(past.reshape(-1, *[1] * last.ndim), table, last)

        return RecordedHistory(*history, jax.tree.map(repeat, memory.records, self.measure(end)))


def _put(records: Any, index: jax.Array, record: Any) -> Any:
    return jax.tree.map(lambda table, row: table.at[index].set(row), records, record)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Watch:
    """A record and the rule that stops by it, validated."""

    record: Record
    stop_when: Any

    def around(self, solver: Solver, measure: Any, max_steps: int) -> Recording:
        """A solver that records by a function of θ, (P,)."""
        return Recording(solver, measure, self.record.every, self.stop_when, max_steps)


# --- a fit ------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _MeasureOfFit:
    """A record of θ in the caller's units.

    Attributes:
        record: of (coef, intercept).
        centre: of the columns, (p,).
        scale: of the columns, (p,).
        class_shape: of the coefficients.
        fit_intercept: whether θ has one.
    """

    record: Record
    centre: Any
    scale: Any
    class_shape: tuple[int, ...] = field(metadata={"static": True})
    fit_intercept: bool = field(metadata={"static": True})

    def __call__(self, theta: jax.Array) -> Any:
        coef, intercept = split_parameters(theta, self.class_shape, self.fit_intercept)
        coef = (coef.T / self.scale).T.astype(theta.dtype)
        return self.record(coef, (intercept - self.centre @ coef).astype(theta.dtype))


def record_of_fit(
    watch: Watch, F: Objective, scaling: ColumnScaling, solver: Solver, max_steps: int
) -> Recording:
    """A solver that records a fit.

    Args:
        watch: what, of (coef, intercept) in the caller's units.
        F: in the units of the solve.
        scaling: from the caller's to these.
        solver: what takes the steps.
        max_steps: at most.
    """
    units = scaling.centre, scaling.scale
    measure = _MeasureOfFit(watch.record, *units, F.class_shape, F.fit_intercept)
    return watch.around(solver, measure, max_steps)


def fit_recorded(oracle: Any, solver: Recording, theta: Any, tol: Tolerance) -> FitResult:
    """A fit by one solver, in one program, as inside ``jit``; see ``loop.solve_and_certify``."""
    check_capabilities(oracle, solver.solver)
    result = _solve(oracle, solver, theta, tol, method_of_one_program(oracle, solver.solver))
    return replace(result, solver=repr(solver.solver))


@partial(Compiled, static_argnames="method")
def _solve(
    oracle: Any, solver: Recording, theta: jax.Array, tol: Tolerance, method: CertificateMethod
) -> FitResult:
    run = start(oracle, solver, theta, tol.gradient, solver.max_steps)
    until = jnp.asarray(solver.max_steps)
    run, certificate = advance_to_certificate(oracle, solver, run, tol, until, method)
    state, status = solver.end(oracle, run.state, certificate.status)
    is_known = status != int(Status.STOPPED)  # the certificate is that of the last point
    certificate = certificate._replace(
        status=status,
        newton_decrement=jnp.where(is_known, certificate.newton_decrement, jnp.nan),
        rank=jnp.where(is_known, certificate.rank, -1),
    )
    result = make_result(oracle, run._replace(state=state), certificate, tol)
    history: Any = solver.history(run.state, result.history, run.state.point.theta)
    return replace(result, history=history)


# --- what the caller gives ------------------------------------------------------------------


def check_record(record: Any, stop_when: Any, *parameters: Any) -> Watch | None:
    """What is to be recorded, or None.

    Args:
        record: the caller's.
        stop_when: the caller's.
        parameters: what the function takes, or their shapes.

    Raises:
        ValueError: for one that keeps no numbers, or not always the same.
    """
    if record is None:
        if stop_when is not None:
            raise ValueError("stop_when decides by a record: give record= as well.")
        return None
    record = record if isinstance(record, Record) else Record(record)
    first, second = (_shapes(record, parameters) for _ in range(2))
    if first != second:
        raise ValueError(
            f"record must return the same shapes every time, but it returned {first} and then "
            f"{second}. It is a function of the parameters: what it returned before is kept for it."
        )
    lifted, held = hoist(record.function, (*parameters, *record.args))
    if held:
        record = replace(record, function=lifted, args=(*record.args, *held))
    example = jax.eval_shape(record, *parameters)
    if stop_when is None:
        return Watch(record, None)
    _check_stop(stop_when, example)
    rule = stop_when if isinstance(stop_when, Patience) else _StopIf(stop_when)
    return Watch(record, rule)


def _shapes(record: Record, parameters: tuple[Any, ...]) -> str:
    try:
        # A new function, so that JAX calls it again.
        shapes = jax.eval_shape(lambda *given: record(*given), *parameters)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            "record must be written in jax.numpy: NumPy cannot work on what JAX traces."
        ) from error
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"record must return a pytree of numbers, but it raised: {error}"
        ) from error
    if not jax.tree.leaves(shapes):
        raise ValueError(f"record must return a pytree of numbers, but it returned {shapes}.")
    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", shapes))


def _check_stop(stop_when: Any, example: Any) -> None:
    if not isinstance(stop_when, Patience) and not callable(stop_when):
        raise ValueError(
            f"stop_when must be a Patience or a function of a record, but it is {stop_when!r}."
        )
    ask = stop_when.number if isinstance(stop_when, Patience) else stop_when
    try:
        answer = jax.eval_shape(lambda record: jnp.asarray(ask(record)), example)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"stop_when cannot read the record: {error!r}.") from error
    if answer.shape:
        kind = "a number" if isinstance(stop_when, Patience) else "True or False"
        raise ValueError(
            f"stop_when needs {kind} of each record, but the shape is {answer.shape}: say which "
            "by Patience(records, of=...)."
        )
