"""The minimum of somebody's own function, by any solver, with evidence for it.

Hand-written derivatives are audited before they train. The end is judged by the Hessian: a
gradient near zero is also that of a saddle point, of a maximum, and of a function that falls
forever.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.custom_rule import check_rule
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.derivatives.function_oracle import Layout, TreeOracle, hoist
from jax_logreg.derivatives.linear_algebra import invert, times
from jax_logreg.derivatives.oracle import Oracle, Point
from jax_logreg.fitting import validation
from jax_logreg.fitting.auto_solver import NEWTON_LIMIT
from jax_logreg.fitting.certificate import gradient_norm
from jax_logreg.fitting.implicit import (
    Near,
    differentiable,
    flatten,
    nan_unless,
    replace_leaves,
    solve_to_last_digits,
    tangent_of_minimum,
    zero_tangent,
)
from jax_logreg.fitting.loop import advance, check_capabilities, start
from jax_logreg.fitting.recording import Patience, Record, Recording, check_record
from jax_logreg.fitting.result import History, Outcome, Status
from jax_logreg.programs.compiled import Compiled, are_concrete, is_traced
from jax_logreg.programs.jax_settings import own_settings
from jax_logreg.solvers.base import Solver, State, cond, scan
from jax_logreg.solvers.bfgs import BFGS
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.line_search import full_step_or_search
from jax_logreg.solvers.newton import (
    Newton,
    Product,
    count_idle,
    newton_direction,
    scaled_system,
)
from jax_logreg.solvers.newton import conjugate_gradients as approximate_solve
from jax_logreg.solvers.newton_cg import NewtonCG

if TYPE_CHECKING:
    import optax

# By name those that need no bound on the curvature, which nobody knows of any function.
SOLVERS: dict[str, Solver] = {
    "newton": Newton(),
    "newton_cg": NewtonCG("none"),
    "lbfgs": LBFGS("none"),
    "bfgs": BFGS(),
    "gradient_descent": GradientDescent(backtracking=True),
}
# Newton's step shows a minimum where a second one is so much shorter.
_CONTRACTION = 0.1
# Trials of a line search that halves its step.
_MAX_TRIALS = 60
# Products that look for negative curvature, and the relative residual of Newton's step by them.
_LANCZOS_STEPS, _RESIDUAL = 50, 1e-3
# The rounding of an eigenvalue that is zero, in units of P · eps.
_ROUND_OFF_UNITS = 8
# How far a flat valley is followed, in units of the largest parameter.
_VALLEY_SHARES = (1.0, -0.5)
# Functions whose derivatives were found right; those used last.
_MAX_REMEMBERED = 128

_MESSAGES = {
    Status.CONVERGED: "The gradient is within tol, and the Hessian is positive definite.",
    Status.NOT_UNIQUE: (
        "The gradient is within tol, but the Hessian is singular, and the function stays the same "
        "along a line: other parameters are as good. Add a penalty, or fix one of them."
    ),
    Status.MAX_STEPS: (
        "The step limit came first. Raise max_steps or tol, or try solver='newton' or 'lbfgs'."
    ),
    Status.STALLED: (
        "Round-off hides any further progress, and the gradient is above tol. Use float64 (with "
        "jax.enable_x64(True)), divide the function by its number of terms, or raise tol."
    ),
    Status.NOT_FINITE: (
        "The function or its gradient became infinite or NaN. Begin elsewhere, take shorter "
        "steps, or write the function so that it stays finite."
    ),
    Status.STOPPED: "stop_when ended the run before the gradient came within tol.",
    Status.LOOSE: ("The gradient is within tol, but this is no verified minimum: {reason}."),
}
_INDEFINITE = (
    "the Hessian is not positive definite, as at a saddle point or a maximum. Begin elsewhere, not "
    "on a symmetry of the function"
)
_FALLING = (
    "a Newton step from here does not make the gradient smaller, as where the function falls "
    "forever or its curvature vanishes. Lower tol, or add a penalty"
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Minimum(Outcome):
    r"""Where a run of :func:`jax_logreg.minimize` ended. It is a pytree, of arrays.

    Attributes:
        theta: θ, of the caller's structure.
        value: F there.
        gradient_norm: the largest absolute entry of ∇F there, which tol bounds.
        newton_decrement: :math:`\sqrt{g^\top H^{-1}g}` there; half its square estimates how far F
            is above its minimum. NaN where the Hessian is not positive definite.
        is_positive: whether no negative curvature was found there.
        status_code: the number of the status, int8.
        num_steps: taken.
        history: the curve.
        solver: in words.

    >>> from jax_logreg import minimize
    >>> result = minimize(lambda t: (t - 3.0) ** 2, 0.0)
    >>> result.theta.item(), str(result.status), result.num_steps.item()
    (3.0, 'CONVERGED', 1)
    """

    theta: Any
    value: jax.Array
    gradient_norm: jax.Array
    newton_decrement: jax.Array
    is_positive: jax.Array
    status_code: jax.Array
    num_steps: jax.Array
    history: History = field(repr=False)
    solver: str = field(default="", metadata={"static": True})

    def _meaning(self, status: Status) -> str:
        reason = _FALLING if jnp.all(self.is_positive) else _INDEFINITE
        return _MESSAGES[status].format(reason=reason)


@own_settings()
def minimize(
    function: Callable[..., jax.Array],
    theta: Any,
    *args: Any,
    solver: "str | Solver | optax.GradientTransformation" = "auto",
    gradient: Callable[..., Any] | None = None,
    hessian: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    audit: bool = True,
    tol: Any = None,
    max_steps: int | None = None,
    record: "Callable[..., Any] | Record | None" = None,
    stop_when: "Callable[[Any], Any] | Patience | None" = None,
) -> Minimum:
    r"""Minimise a smooth function of a pytree, by autodiff or by your own derivatives.

    Hand-written derivatives are first compared with autodiff at random points around the start, by
    :func:`jax_logreg.check_derivatives`: wrong ones are refused, with its report, and right ones
    are not asked again for arguments of the same shapes. What is not given is taken by autodiff,
    of the gradient if that is given. Not inside ``jit`` and ``vmap``, where no value is known.

    **What CONVERGED promises.** The gradient is within tol, the Hessian is positive definite, and
    Newton's step from there, which is the last that is taken, makes the gradient smaller as it
    does beside a minimum. Up to 500 parameters that is read off the Hessian; beyond, products with
    it look for negative curvature from a random direction.

    **Derivatives.** ``jax.grad``, ``jax.jvp`` and whatever is made of them go through it, twice
    too: θ and F at the minimum with respect to ``args``, and to whatever of JAX's the functions
    close over, by the implicit function theorem. From the start, tol and the solver none comes
    through, for the minimum does not depend on them. Without ``Status.CONVERGED`` they are NaN.

    Args:
        function: function(θ, \*args), a scalar, in ``jax.numpy``. It is compiled in: give data as
            ``args``, and the same function again, or every call compiles anew.
        theta: the start, any pytree of floating arrays.
        args: pytrees of arrays.
        solver: "auto" (Newton's method up to 500 parameters, else L-BFGS), "newton",
            "newton_cg", "lbfgs", "bfgs", "gradient_descent" (with backtracking), a solver object,
            or any Optax transformation.
        gradient: gradient(θ, \*args), of the structure of θ, or flat.
        hessian: hessian(θ, \*args), (P, P), or nested as by ``jax.hessian``.
        hvp: hvp(θ, v, \*args), the Hessian times v, of the structure of θ, or flat.
        audit: whether to check the derivatives that are given, and the rule of a function with
            ``jax.custom_vjp`` or ``jax.custom_jvp``.
        tol: bound on the largest absolute entry of ∇F; 1e-8 in float64 and 1e-5 in float32 if
            absent.
        max_steps: the solver's own default if absent.
        record: a function of θ, in ``jax.numpy``, whose pytree of numbers is kept in
            ``history.record`` for every step, or a ``jax_logreg.fitting.recording.Record`` of one,
            for every few steps, and with data.
        stop_when: a function of the newest record that says whether to stop, or a
            ``jax_logreg.fitting.recording.Patience``; the status is then ``STOPPED``.

    Returns:
        A ``jax_logreg.fitting.minimize.Minimum``. A run that fails does not raise: ask
        ``converged``, or call ``raise_if_failed()``.

    Raises:
        ValueError: for bad input, and for derivatives that are wrong, with the report.

    Source:
        Nocedal & Wright, *Numerical Optimization*, chapters 3 and 7.

    >>> def rosenbrock(t):
    ...     return (1 - t["x"]) ** 2 + 100 * (t["y"] - t["x"] ** 2) ** 2
    >>> result = minimize(rosenbrock, {"x": -1.2, "y": 1.0})
    >>> {name: round(float(value), 4) for name, value in result.theta.items()}
    {'x': 1.0, 'y': 1.0}
    """
    theta, args = _as_arrays("theta", theta), _as_arrays("args", args)
    oracle = TreeOracle(function, Layout.of(theta), args, gradient, hessian, hvp)
    method = _choose_solver(solver, oracle.layout.size)
    check_capabilities(oracle, method)
    oracle = _checked(oracle, theta, validation.check_flag("audit", audit))
    bound = validation.check_tol(tol, oracle.layout.dtype)
    limit = method.default_max_steps
    if max_steps is not None:
        limit = validation.check_count("max_steps", max_steps)
    running: Solver = method
    if watch := check_record(record, stop_when, theta):
        running = watch.around(method, _Measure(oracle.layout, watch.record), limit)
    found = minimum_of(oracle, running, theta, bound, limit)
    return replace(found, solver=repr(method))


def minimum_of(oracle: TreeOracle, solver: Solver, theta: Any, tol: Any, max_steps: int) -> Minimum:
    """The minimum of an oracle's function, differentiable in its arguments.

    Args:
        oracle: the function.
        solver: a capable one, perhaps one that records.
        theta: the start, as the oracle's layout has it.
        tol: bound on the gradient.
        max_steps: at most.
    """
    if type(solver) is Newton and solver.search:
        solver = _Newton(solver.singular)
    run = partial(_run, max_steps=max_steps)
    return differentiable(run, (oracle, solver, theta, tol), _tangent)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Newton(Newton):
    """Newton's method where a trial on a line costs as much as an evaluation: the full step is
    tried by one."""

    def step(self, oracle: Oracle, state: State) -> State:
        direction = newton_direction(oracle, state.point, singular=self.singular)
        moved, found = full_step_or_search(
            oracle, state.point, direction.step, max_trials=_MAX_TRIALS, curvature=1.0
        )
        idle = count_idle(state.memory, found, state.point, moved)
        stalled = ~found.found | (idle >= self.max_idle_steps) | (direction.rank < 0)
        return State(moved, stalled, idle)


def _run(args: Any, max_steps: int) -> Minimum:
    return _minimize(*args, max_steps=max_steps)


@partial(Compiled, static_argnames="max_steps")
def _minimize(
    oracle: TreeOracle, solver: Solver, theta: Any, tol: jax.Array, max_steps: int
) -> Minimum:
    """The whole run, and what its end is worth, in one program."""
    x = oracle.layout.flatten(theta)
    run = start(oracle, solver, x, tol, max_steps)
    run = advance(oracle, solver, run, tol, jnp.asarray(max_steps))
    state, stopped = run.state, run.status
    if isinstance(solver, Recording):
        state, stopped = solver.end(oracle, state, stopped)
    evidence = _find_evidence(oracle, solver, state)
    status = _status(stopped, evidence)
    is_minimum = status <= int(Status.NOT_UNIQUE)
    before, after = state.point, evidence.after
    better = (
        is_minimum & (gradient_norm(after) <= gradient_norm(before)) & jnp.isfinite(after.value)
    )
    point = jax.tree.map(lambda a, b: jnp.where(better, a, b), after, before)
    last = jax.tree.map(lambda a, b: jnp.where(better, a, b), after, run.state.point)
    past = jnp.arange(max_steps + 1) < run.num_steps
    history: Any = History(
        jnp.where(past, run.history.objective, last.value),
        jnp.where(past, run.history.gradient_norm, gradient_norm(last)),
    )
    if isinstance(solver, Recording):
        history = solver.history(state, history, last.theta)
    decrement = jnp.where(better, evidence.remaining, evidence.decrement)
    return Minimum(
        theta=oracle.layout.unflatten(point.theta),
        value=point.value,
        gradient_norm=gradient_norm(point),
        newton_decrement=jnp.where(evidence.is_positive, decrement, jnp.nan),
        is_positive=evidence.is_positive,
        status_code=status,
        num_steps=run.num_steps,
        history=history,
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Measure:
    """A record of a vector."""

    layout: Layout = field(metadata={"static": True})
    record: Record

    def __call__(self, theta: jax.Array) -> Any:
        return self.record(self.layout.unflatten(theta))


# --- its derivative --------------------------------------------------------------------------


def _tangent(found: Minimum, args: Any, moves: Any) -> Minimum:
    """The tangents of θ and of F there; that of its diagnostics is zero. NaN without CONVERGED.

    Args:
        found: the minimum.
        args: the oracle, and what the minimum does not depend on.
        moves: their tangents; None where nothing moves.
    """
    (oracle, *_), (moved, *_) = args, moves
    leaves, structure = flatten(oracle)
    tangents = structure.flatten_up_to(moved)
    moving = [i for i, tangent in enumerate(tangents) if tangent is not None]
    zero = jax.tree.map(zero_tangent, found)
    if not moving:
        return zero

    def oracle_of(values: list[Any]) -> TreeOracle:
        return replace_leaves(structure, leaves, moving, values)

    layout, x = oracle.layout, oracle.layout.flatten(found.theta)
    values, change = [leaves[i] for i in moving], [tangents[i] for i in moving]

    def slope(values: list[Any], x: jax.Array) -> jax.Array:
        return oracle_of(values).gradient(x)

    def inverse(product: Product) -> Product:
        if layout.size > NEWTON_LIMIT:
            near = Near(product, None, lambda _: lambda v: v, jnp.ones_like(x))
            return partial(solve_to_last_digits, near)
        H = jax.lax.stop_gradient(oracle.exact_hessian(x))
        return partial(cho_solve, (jnp.linalg.cholesky(H), True))

    step = tangent_of_minimum(slope, x, values, change, inverse)
    _, rise = jax.jvp(lambda values: oracle_of(values).value(x), (values,), (change,))
    step, rise = nan_unless(found.status_code == int(Status.CONVERGED), (step, rise))
    return replace(zero, theta=layout.unflatten(step), value=rise.astype(found.value.dtype))


# --- evidence of a minimum ------------------------------------------------------------------


class Evidence(NamedTuple):
    """What the curvature at a point shows.

    Attributes:
        after: the point after Newton's step from there.
        decrement: √(gᵀH⁻¹g) there.
        remaining: the same after the step, with the Hessian before it.
        is_positive: whether there is no negative curvature.
        contracts: whether Newton's step made the gradient as much smaller as beside a minimum.
        is_unique: whether every direction has curvature.
        is_valley: whether the function stays the same along those that have none.
    """

    after: Point
    decrement: jax.Array
    remaining: jax.Array
    is_positive: jax.Array
    contracts: jax.Array
    is_unique: jax.Array
    is_valley: jax.Array


def _status(stopped: jax.Array, found: Evidence) -> jax.Array:
    solved = jnp.where(found.is_unique, int(Status.CONVERGED), int(Status.NOT_UNIQUE))
    is_minimum = found.is_positive & found.contracts & (found.is_unique | found.is_valley)
    solved = jnp.where(is_minimum, solved, int(Status.LOOSE))
    status = jnp.where(stopped == int(Status.CONVERGED), solved, stopped)
    return jnp.where(status < 0, int(Status.MAX_STEPS), status).astype(jnp.int8)  # still running


def _find_evidence(oracle: TreeOracle, solver: Solver, state: State) -> Evidence:
    if oracle.layout.size <= NEWTON_LIMIT:
        return _by_hessian(oracle, state.point)
    return _by_products(oracle, solver, state)


def _by_hessian(oracle: TreeOracle, point: Point) -> Evidence:
    curvature = _Curvature.at(oracle, point)
    step = -times(curvature.inverse, point.gradient)
    after = oracle.evaluate(point.theta + step)
    decrement, remaining = (
        jnp.sqrt(jnp.abs(jnp.vdot(g, times(curvature.inverse, g))))
        for g in (point.gradient, after.gradient)
    )
    is_unique = curvature.rank == len(step)
    return Evidence(
        after,
        decrement,
        remaining,
        curvature.is_positive,
        _contracts(point, step, decrement, remaining),
        is_unique,
        cond(is_unique, lambda: jnp.asarray(False), lambda: _is_valley(oracle, after, curvature)),
    )


def _contracts(
    point: Point, step: jax.Array, decrement: jax.Array, remaining: jax.Array
) -> jax.Array:
    """Whether a step is one towards a minimum nearby, or too short to tell from none."""
    eps = float(jnp.finfo(step.dtype).eps)
    at_round_off = 0.5 * decrement**2 <= eps * jnp.abs(point.value)
    at_round_off |= jnp.all(jnp.abs(step) <= eps**0.5 * jnp.abs(point.theta))
    return (remaining <= _CONTRACTION * decrement) | at_round_off


class _Curvature(NamedTuple):
    """A Hessian's inverse, along what has curvature, its rank, whether no eigenvalue is negative,
    and a combination of the directions that have none, (P,)."""

    inverse: jax.Array
    rank: jax.Array
    is_positive: jax.Array
    null: jax.Array

    @classmethod
    def at(cls, oracle: TreeOracle, point: Point) -> "_Curvature":
        H = oracle.exact_hessian(point.theta)
        system = scaled_system(H, point.gradient)
        scale, P = system.scale, len(H)

        def by_factor() -> _Curvature:
            inverse = invert(H).to_matrix().astype(H.dtype)
            return cls(inverse, jnp.asarray(P), jnp.asarray(True), jnp.zeros_like(scale))

        def by_eigenvalues() -> _Curvature:
            values, vectors = jnp.linalg.eigh(system.matrix)
            noise = _ROUND_OFF_UNITS * P * jnp.finfo(H.dtype).eps * jnp.max(jnp.abs(values))
            keep = jnp.abs(values) > noise
            vectors = scale[:, None] * vectors
            inverse = times(vectors * jnp.where(keep, 1 / jnp.where(keep, values, 1), 0), vectors.T)
            null = times(vectors, jnp.where(keep, 0, jnp.cos(1 + jnp.arange(P, dtype=H.dtype))))
            return cls(inverse, jnp.sum(keep), jnp.all(values > -noise), null)

        return cond(system.sound, by_factor, by_eigenvalues)


def _is_valley(oracle: TreeOracle, point: Point, curvature: _Curvature) -> jax.Array:
    """Whether the gradient stays what it is far along a direction without curvature."""
    size = jnp.maximum(jnp.max(jnp.abs(point.theta)), 1)
    direction = curvature.null * size / jnp.max(jnp.abs(curvature.null))
    norms = [gradient_norm(oracle.evaluate(point.theta + t * direction)) for t in _VALLEY_SHARES]
    noise = jnp.finfo(size.dtype).eps ** 0.5 * jnp.max(jnp.abs(jnp.diag(curvature.inverse))) ** -0.5
    return jnp.max(jnp.stack(norms)) <= jnp.maximum(10 * gradient_norm(point), noise)


def _by_products(oracle: TreeOracle, solver: Solver, state: State) -> Evidence:
    """The same from Hessian-vector products alone, which tell nothing of the rank."""
    point = state.point
    product = partial(oracle.hvp, point.theta)
    solve = partial(solver.apply_inverse_hessian, oracle, state)
    step = approximate_solve(product, -point.gradient, solve, _RESIDUAL)
    after = oracle.evaluate(point.theta + step)
    decrement = jnp.sqrt(jnp.abs(jnp.vdot(point.gradient, step)))
    norm = jnp.linalg.norm
    remaining = decrement * norm(after.gradient) / jnp.maximum(norm(point.gradient), 1e-300)
    return Evidence(
        after,
        decrement,
        remaining,
        _has_no_negative_curvature(product, step),
        _contracts(point, step, decrement, remaining),
        jnp.asarray(True),
        jnp.asarray(False),
    )


def _has_no_negative_curvature(
    product: Callable[[jax.Array], jax.Array], like: jax.Array
) -> jax.Array:
    """Whether Lanczos' method from a random direction finds no negative eigenvalue."""
    tiny = jnp.finfo(like.dtype).tiny

    def turn(carry: Any, _: None) -> tuple[Any, Any]:
        before, now, beta = carry
        w = product(now) - beta * before
        alpha = jnp.vdot(w, now)
        w = w - alpha * now
        length = jnp.linalg.norm(w)
        return (now, w / jnp.maximum(length, tiny), length), (alpha, length)

    first = jax.random.normal(jax.random.key(0), like.shape, like.dtype)
    first = first / jnp.linalg.norm(first)
    start = jnp.zeros_like(first), first, jnp.zeros((), like.dtype)
    _, (alpha, beta) = scan(turn, start, length=min(_LANCZOS_STEPS, like.size))
    T = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
    values = jnp.linalg.eigvalsh(T)
    return values[0] > -(jnp.finfo(like.dtype).eps ** 0.5) * jnp.max(jnp.abs(values))


# --- what the caller gives ------------------------------------------------------------------


def _as_arrays(name: str, tree: Any) -> Any:
    """A pytree of JAX's arrays: of parameters if it is theta, which must be floating."""

    def convert(path: Any, leaf: Any) -> jax.Array:
        where = name + jax.tree_util.keystr(path)
        try:
            array = jnp.asarray(leaf)
        except (TypeError, ValueError):
            raise ValueError(
                f"{where} must be an array, but it is {leaf!r}. What is no array the function may "
                "hold: functools.partial, or a lambda."
            ) from None
        if name == "theta" and not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"{where} must hold floating numbers, but its dtype is {array.dtype}. Write "
                "jnp.asarray(x, float); what is no parameter belongs into args."
            )
        return array

    converted = jax.tree_util.tree_map_with_path(convert, tree)
    if name == "theta" and not sum(x.size for x in jax.tree.leaves(converted)):
        raise ValueError(f"theta must hold at least one number, but it is {tree!r}.")
    return converted


def _choose_solver(solver: Any, size: int) -> Solver:
    if isinstance(solver, str) and solver in SOLVERS:
        return SOLVERS[solver]
    if isinstance(solver, str) and solver != "auto":
        names = ", ".join(map(repr, SOLVERS))
        raise ValueError(
            f"solver must be 'auto', {names}, a solver object or an Optax transformation, but it "
            f"is {solver!r}."
        )
    method = validation.check_solver(solver)
    return method or (Newton() if size <= NEWTON_LIMIT else LBFGS("none"))


# Functions that were checked ↦ whether they are differentiated backward.
_right: OrderedDict[Hashable, bool] = OrderedDict()


def _checked(oracle: TreeOracle, theta: Any, audit: bool) -> TreeOracle:
    """The oracle as it can be compiled and differentiated.

    Raises:
        ValueError: for what is no function to minimise, and for derivatives that are wrong.
    """
    by_hand = {"gradient": oracle.by_gradient, "hessian": oracle.by_hessian, "hvp": oracle.by_hvp}
    given: dict[str, Any] = {name: f for name, f in by_hand.items() if f is not None}
    for name, f in {"function": oracle.function, **given}.items():
        if not callable(f):
            raise ValueError(f"{name} must be a function, but it is {f!r}.")
    has_rule = isinstance(oracle.function, jax.custom_jvp | jax.custom_vjp)
    audit = (
        audit and (has_rule or bool(given)) and are_concrete(theta, oracle.args) and not is_traced()
    )
    leaves, structure = jax.tree.flatten(oracle.args)
    kinds = tuple((x.shape, x.dtype) for x in leaves)
    key = oracle.function, *by_hand.values(), oracle.layout, structure, kinds, audit
    if _is_hashable(key) and key in _right:
        _right.move_to_end(key)
        return replace(oracle, backward=_right[key])
    _check_shapes(oracle, theta)
    lifted = _hoisted(oracle, theta)
    backward = "custom_vjp" in str(jax.make_jaxpr(oracle.function)(theta, *oracle.args))
    if lifted is not oracle:
        return replace(lifted, backward=backward)
    if audit and has_rule:
        _refuse("The rule of the function", check_rule(oracle.function, theta, *oracle.args))
    if audit and given:
        names = " and ".join(f"{name}=" for name in given)
        _refuse(names, check_derivatives(oracle.function, at=theta, args=oracle.args, **given))
    if _is_hashable(key):
        _right[key] = backward
        while len(_right) > _MAX_REMEMBERED:
            _right.popitem(last=False)
    return replace(oracle, backward=backward)


def _refuse(names: str, report: DerivativeReport) -> None:
    if not report.ok:
        raise ValueError(
            f"{names} did not pass the audit, whose report follows; audit=False would skip it."
            f"\n\n{report}"
        )


def _hoisted(oracle: TreeOracle, theta: Any) -> TreeOracle:
    """The oracle with the traced values that its functions close over among its arguments; itself
    where there are none."""
    extra: list[Any] = []

    def lift(function: Callable[..., Any] | None, *leading: Any) -> Callable[..., Any] | None:
        if function is None:
            return None
        lifted, held = hoist(function, (*leading, *oracle.args), skip=len(extra))
        extra.extend(held)
        return lifted

    by_function = lift(oracle.function, theta)
    by_gradient, by_hessian = lift(oracle.by_gradient, theta), lift(oracle.by_hessian, theta)
    by_hvp = lift(oracle.by_hvp, theta, theta)
    if not extra:
        return oracle
    assert by_function is not None
    args = (*oracle.args, *extra)
    return TreeOracle(by_function, oracle.layout, args, by_gradient, by_hessian, by_hvp)


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _check_shapes(oracle: TreeOracle, theta: Any) -> None:
    """What the functions return, without running them."""
    try:
        out = jax.eval_shape(oracle.function, theta, *oracle.args)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            "function must be written in jax.numpy: NumPy cannot work on what JAX traces."
        ) from error
    is_number = isinstance(out, jax.ShapeDtypeStruct) and out.shape == ()
    if not is_number or not jnp.issubdtype(out.dtype, jnp.floating):
        found = jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", out)
        raise ValueError(
            f"function must return one floating number, but it returns {found}. Take jnp.sum or "
            "jnp.mean of an array, and the first of a tuple."
        )
    x = jax.eval_shape(oracle.layout.flatten, theta)
    jax.eval_shape(oracle.value_and_gradient, x)
    if oracle.by_hessian is not None:
        jax.eval_shape(oracle.exact_hessian, x)
    if oracle.by_hvp is not None:
        jax.eval_shape(oracle.hvp, x, x)
