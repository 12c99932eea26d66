"""Newton's method, which for this model is iteratively reweighted least squares (IRLS).

Its system is solved from the entries of the Hessian, and, where round-off has taken their digits,
by conjugate gradients from products with it. Source of those: Nocedal & Wright, *Numerical
Optimization*, algorithm 5.3.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.derivatives.linear_algebra import inner_products, jacobi_scaling, times
from jax_logreg.derivatives.oracle import HessianProduct, Oracle, Point
from jax_logreg.solvers.base import NewtonType, Proposal, State, cond, while_loop
from jax_logreg.solvers.line_search import Search, line_search_step

# The rounding of an eigenvalue that is zero, in units of P · eps: up to 2 was seen. A pivot
# this close to it means that Cholesky's digits cannot be trusted.
_ROUND_OFF_UNITS = 8
_TRUSTED_PIVOT = 1e2
# An entry of the product with an inverse that has a digit.
_NEARLY_IDENTITY = 0.1
MAX_IDLE_STEPS = 3
# The relative residual of a direction by products, where the entries of H lack the digits.
_RESIDUAL = 1e-2
_CG_STEPS = 250

Product = Callable[[jax.Array], jax.Array]


class Direction(NamedTuple):
    """A Newton direction, and the rank of the Hessian.

    Attributes:
        step: d, (P,), of minimum norm among all that solve Hd = −g.
        rank: numerical rank of H, an integer scalar; −1 where it was not computed.
        null: a combination of all directions without curvature, (P,); zero if there are none.
    """

    step: jax.Array
    rank: jax.Array
    null: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Newton(NewtonType):
    r"""Newton's method, :math:`\theta \leftarrow \theta - t\,H(\theta)^{-1}\nabla F(\theta)`.

    Undamped (t = 1) it can diverge from an ordinary start. Here a line search chooses
    t, a singular H gives the step of minimum norm, and round-off does not stall it.
    Source: the notebook text's side note; Nocedal & Wright, *Numerical Optimization*,
    section 3.3.

    Attributes:
        singular: whether to go on where H is singular, by its eigenvalues; without it the
            method stalls there, compiles in half the time, and a batch costs half.
        search: whether to search along the line. Without it every step is a full one, and the
            method stalls if that did not shrink the gradient: for a start near the answer,
            at a third of the cost in a batch.

    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(4.0).reshape(-1, 1), jnp.array([0, 1, 0, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=Newton()).converged)
    True
    """

    singular: bool = field(default=True, repr=False, metadata={"static": True})
    search: bool = field(default=True, repr=False, metadata={"static": True})

    requires = frozenset({"gradient", "hessian", "line"})
    default_max_steps = 100
    scale_invariant = True

    is_exact = True
    max_idle_steps = MAX_IDLE_STEPS

    @property
    def is_regular(self) -> bool:  # type: ignore[override]
        return self.search and not self.singular

    def prepare(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, tuple[()]]:
        return theta, ()

    def propose(self, oracle: Oracle, memory: tuple[()], before: Point, after: Point) -> Proposal:
        system = scaled_system(oracle.hessian(after), -after.gradient)
        return Proposal(system.solve(), (), system.sound)

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        return State(oracle.evaluate(theta), jnp.asarray(False), jnp.zeros((), jnp.int32))

    def step(self, oracle: Oracle, state: State) -> State:
        direction = newton_direction(oracle, state.point, singular=self.singular)
        take_step = newton_step if self.search else _full_step
        moved = take_step(oracle, state, direction.step)
        return moved._replace(stalled=moved.stalled | (direction.rank < 0))


def newton_step(oracle: Oracle, state: State, direction: jax.Array) -> State:
    """The state after a line search along a Newton direction, full step first.

    ``memory`` counts consecutive steps without progress: after a few of those, or if no step
    was found, the method has stalled.
    """
    point = state.point
    moved, found = line_search_step(oracle, point, direction)
    idle = count_idle(state.memory, found, point, moved)
    return State(moved, ~found.found | (idle >= MAX_IDLE_STEPS), idle)


def _full_step(oracle: Oracle, state: State, direction: jax.Array) -> State:
    """The state at θ + d, stalled if the gradient is no smaller there."""
    before, after = state.point, oracle.evaluate(state.point.theta + direction)
    shrinks = jnp.max(jnp.abs(after.gradient)) < jnp.max(jnp.abs(before.gradient))
    return State(after, ~shrinks, state.memory)


def count_idle(idle: jax.Array, found: Search, before: Point, after: Point) -> jax.Array:
    """One more if F changed by noise alone and the gradient did not halve, else zero."""
    norms = (jnp.max(jnp.abs(point.gradient)) for point in (before, after))
    return count_idle_by_norms(idle, found.within_noise, *norms)


def count_idle_by_norms(
    idle: jax.Array, within_noise: jax.Array, before: jax.Array, after: jax.Array
) -> jax.Array:
    """The same, from the largest entries of the gradient before and after the step."""
    return jnp.where(within_noise & ~(after <= 0.5 * before), idle + 1, 0).astype(jnp.int32)


def newton_direction(
    oracle: Oracle, point: Point, *, singular: bool = True, sharpen_null: bool = False
) -> Direction:
    """The minimum-norm solution of Hd = −g from the dense Hessian.

    Where H explains too little of the gradient (a start so far out that every
    probability is saturated) the direction is that of steepest descent. ``sharpen_null`` gives
    the null direction to more digits than the entries of H hold.
    """
    H = oracle.hessian(point)
    if not singular:
        return regular_solve(H, -point.gradient)
    product = _product(oracle, point) if "hvp" in oracle.capabilities else None
    problem = oracle.problem

    def hides_curvature(null: jax.Array) -> jax.Array:
        return problem.is_strictly_convex() & ~problem.is_in_null_space(null)

    direction = minimum_norm_solve(
        H, -point.gradient, product, hides_curvature, sharpen_null=sharpen_null
    )
    descends = jnp.vdot(point.gradient, direction.step) < 0
    return direction._replace(step=jnp.where(descends, direction.step, -point.gradient))


def _product(oracle: Oracle, point: Point) -> Product:
    apply = oracle.hessian_operator(point)
    return lambda vector: apply(vector).product


class ScaledSystem(NamedTuple):
    """A system scaled to a unit diagonal, and its Cholesky factor; sound if that can be trusted."""

    matrix: jax.Array
    right: jax.Array
    scale: jax.Array
    factor: jax.Array
    sound: jax.Array

    def solve(self) -> jax.Array:
        """The x with Hx = b, where that is sound."""
        return self.scale * cho_solve((self.factor, True), self.right)


def scaled_system(H: jax.Array, b: jax.Array) -> ScaledSystem:
    """The system Hx = b, H (P, P) symmetric, scaled and factored."""
    scale = jacobi_scaling(H)
    matrix = H * scale[:, None] * scale[None, :]
    factor = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    sound = jnp.min(jnp.diag(factor)) ** 2 > _TRUSTED_PIVOT * _round_off(H)  # False on NaN
    return ScaledSystem(matrix, b * scale, scale, factor, sound)


def has_full_rank(H: jax.Array, inverse: jax.Array) -> jax.Array:
    """Whether a matrix is one of full rank, by its inverse: no diagonal entry is mostly explained
    by the others, as 1/(H⁻¹)ⱼⱼ is what they leave of Hⱼⱼ."""
    left = 1 / (jnp.diag(inverse) * jnp.diag(H))
    is_inverse = (
        jnp.max(jnp.abs(times(inverse, H) - jnp.eye(len(H), dtype=H.dtype))) < _NEARLY_IDENTITY
    )
    return (jnp.min(left) > _TRUSTED_PIVOT * _round_off(H)) & is_inverse


def _round_off(H: jax.Array) -> float:
    return _ROUND_OFF_UNITS * H.shape[0] * float(jnp.finfo(H.dtype).eps)


def regular_solve(H: jax.Array, b: jax.Array) -> Direction:
    """The x that solves Hx = b by Cholesky alone; where H is singular zero, and rank −1."""
    system = scaled_system(H, b)
    x = jnp.where(system.sound, system.solve(), 0)
    return Direction(x, jnp.where(system.sound, H.shape[0], -1), jnp.zeros_like(x))


def minimum_norm_solve(
    H: jax.Array,
    b: jax.Array,
    product: Product | None = None,
    hides_curvature: Callable[[jax.Array], jax.Array] | None = None,
    *,
    sharpen_null: bool = False,
) -> Direction:
    """The shortest x that solves Hx = b in the least-squares sense, H symmetric.

    H is first scaled to a unit diagonal, so that the units of a column have no influence on
    rank. Cholesky does the work; where its pivots come near round-off the
    eigenvalues decide. A negative eigenvalue counts by its size, so that the step goes
    downhill where a general function is not convex.

    Args:
        H: (P, P), symmetric.
        b: (P,).
        product: v ↦ Hv to more digits than H holds.
        hides_curvature: whether a direction that has no curvature by the entries of H has some:
            then the product, which this needs, tells it.
        sharpen_null: whether the product gives the null direction more digits.

    >>> H = jnp.array([[1.0, 2.0], [2.0, 4.0]])
    >>> x, rank, _ = minimum_norm_solve(H, jnp.array([5.0, 10.0]))
    >>> x.round(3).tolist(), rank.item()
    ([1.0, 2.0], 1)
    """
    system = scaled_system(H, b)

    def direct() -> Direction:
        x = system.solve()
        return Direction(x, jnp.asarray(H.shape[0]), jnp.zeros_like(x))

    def by_eigenvalues() -> Direction:
        spectrum = _Spectrum.of(system, _round_off(H))
        truncated = _pseudo_solve(system, spectrum, product if sharpen_null else None)
        if product is None or hides_curvature is None:
            return truncated
        whole = partial(_solve_by_products, system, spectrum, product)
        return cond(hides_curvature(truncated.null), whole, lambda: truncated)

    return cond(system.sound, direct, by_eigenvalues)


class _Spectrum(NamedTuple):
    """The eigenvectors of a scaled matrix, the sizes of its eigenvalues, and which of them are not
    zero to round-off, which is a share of the largest."""

    vectors: jax.Array
    size: jax.Array
    keep: jax.Array
    round_off: float

    @classmethod
    def of(cls, system: ScaledSystem, round_off: float) -> "_Spectrum":
        values, vectors = jnp.linalg.eigh(system.matrix)
        size = jnp.abs(values)
        return cls(vectors, size, size > round_off * jnp.max(size), round_off)


def _solve_by_products(system: ScaledSystem, spectrum: _Spectrum, product: Product) -> Direction:
    """The solve where round-off hides eigenvalues, by conjugate gradients: those that are known
    make the preconditioner, so that there are about as many steps as hidden ones."""
    vectors, scale = spectrum.vectors, system.scale
    size = jnp.maximum(spectrum.size, spectrum.round_off * jnp.max(spectrum.size))

    def precondition(vector: jax.Array) -> jax.Array:
        return scale * (vectors @ (vectors.T @ (scale * vector) / size))

    x = conjugate_gradients(product, system.right / scale, precondition, _RESIDUAL)
    return Direction(x, jnp.asarray(len(x)), jnp.zeros_like(x))


def _pseudo_solve(system: ScaledSystem, spectrum: _Spectrum, product: Product | None) -> Direction:
    """The solve where the scaled matrix has eigenvalues that are zero to round-off."""
    scale, right = system.scale, system.right
    vectors, size, keep, round_off = spectrum

    def solve(parts: jax.Array) -> jax.Array:
        return scale * (vectors @ jnp.where(keep, parts / jnp.where(keep, size, 1), 0))

    parts = vectors.T @ right
    unexplained = jnp.linalg.norm(jnp.where(keep, 0, parts)) > 0.1 * jnp.linalg.norm(parts)
    null = _null_directions(vectors, keep, scale, round_off)
    # Shortest in the caller's units, not in the scaled ones: drop the null directions.
    # By a singular value decomposition: beside columns of very different scale they are parallel.
    basis, length, _ = jnp.linalg.svd(null, full_matrices=False)
    basis = jnp.where(length > round_off * length[0], basis, 0)
    x = solve(parts)
    x = jnp.where(jnp.diag(system.matrix) > 0, x - basis @ (basis.T @ x), 0)
    shortest = jnp.where(unexplained, right / scale, x)  # else steepest descent
    combined = jnp.sum(null, axis=1)
    if product is not None:  # take out its error along the other directions
        combined = combined - solve(vectors.T @ (scale * product(combined)))
    return Direction(shortest, jnp.sum(keep), combined)


def _null_directions(
    vectors: jax.Array, keep: jax.Array, scale: jax.Array, round_off: float
) -> jax.Array:
    """The eigenvectors that are not kept, in the caller's units and of length 1, (P, P); zero
    for the others."""
    # Their round-off would look like a dependence on columns that have no part in it.
    exact = jnp.where(jnp.abs(vectors) > round_off, vectors, 0)
    null = jnp.where(keep, 0, scale[:, None] * exact)
    return null / jnp.where(keep, 1, jnp.linalg.norm(null, axis=0))


# --- conjugate gradients ----------------------------------------------------------------


class CGState(NamedTuple):
    """The state of conjugate gradients.

    Attributes:
        solution: so far.
        residual: of the system.
        direction: the next.
        norm_squared: of the residual, in the metric of M⁻¹.
        max_logit_change: a bound on the largest change of a logit over the solution; infinite
            if a direction had no curvature.
        steps: taken so far.
    """

    solution: jax.Array
    residual: jax.Array
    direction: jax.Array
    norm_squared: jax.Array
    max_logit_change: jax.Array
    steps: jax.Array


def conjugate_gradients(
    product: Product,
    right: jax.Array,
    solve: Product,
    tol: jax.Array | float,
    start: "CGState | None" = None,
) -> jax.Array:
    r"""An x with Hx nearly ``right``, H positive semi-definite.

    Unlike ``jax.scipy.sparse.linalg.cg`` it stops on the residual in the norm of
    :math:`M^{-1}`, which the units of the columns do not influence, and where H has no
    curvature along its direction.

    Args:
        product: v ↦ Hv.
        right: (P,).
        solve: v ↦ M⁻¹v, M positive definite.
        tol: residual at which to stop, relative to the right-hand side.
        start: from :func:`cg_init`, where M⁻¹ · right is known.

    >>> H = jnp.array([[2.0, 0.0], [0.0, 8.0]])
    >>> conjugate_gradients(lambda v: H @ v, jnp.ones(2), lambda v: v, 1e-6).tolist()
    [0.5, 0.125]
    """
    if start is None:
        start = cg_init(right, solve(right))

    def apply(direction: jax.Array) -> HessianProduct:
        return HessianProduct(direction, product(direction), jnp.zeros_like(start.norm_squared))

    return cg_run(apply, start, solve, tol**2 * start.norm_squared).solution


def cg_init(right: jax.Array, direction: jax.Array, size: jax.Array | None = None) -> CGState:
    """Before the first step, along M⁻¹ · right, whose product with it may be known."""
    size = jnp.vdot(right, direction) if size is None else size
    steps = jnp.zeros((), jnp.int32)
    return CGState(jnp.zeros_like(right), right, direction, size, jnp.zeros_like(size), steps)


def cg_step(now: CGState, hvp: HessianProduct, solve: Product) -> CGState:
    """After a step along the current direction, whose product is given."""
    direction, product = now.direction, hvp.product
    curvature = inner_products(direction, product)[0, 1]
    is_flat = ~((curvature > 0) & (now.norm_squared > 0))
    curvature = jnp.where(is_flat, 1, curvature)
    share = jnp.where(is_flat, 0, now.norm_squared / curvature)
    residual = now.residual - share * product
    scaled = solve(residual)
    overlap, norm_squared, _ = inner_products(product, residual, scaled)[-1]
    # No curvature at the very first direction: it is still downhill.
    length = jnp.where(is_flat & (now.steps == 0), 1, share)
    return CGState(
        now.solution + length * direction,
        residual,
        scaled - overlap / curvature * direction,
        jnp.where(is_flat, 0, norm_squared),
        now.max_logit_change + jnp.where(is_flat, jnp.inf, share * hvp.max_logit_change),
        now.steps + 1,
    )


def cg_run(
    apply: Callable[[jax.Array], HessianProduct],
    start: CGState,
    solve: Product,
    tol_squared: jax.Array,
    max_steps: int = _CG_STEPS,
) -> CGState:
    """Steps until the residual's squared norm is ``tol_squared``, at most ``max_steps``."""

    def unfinished(now: CGState) -> jax.Array:
        return (now.norm_squared > tol_squared) & (now.steps < max_steps)

    def step(now: CGState) -> CGState:
        return cg_step(now, apply(now.direction), solve)

    return while_loop(unfinished, step, start)
