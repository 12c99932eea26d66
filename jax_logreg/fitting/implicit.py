r"""The derivative of a fit, by the implicit function theorem: not of its steps, but of its answer.

A minimum θ* of F(θ; d) fulfils :math:`g(\theta^*; d) = 0` with g = ∂F/∂θ, whatever the data d. So

.. math::
    \dot\theta = -H^{-1}\,\frac{\partial g}{\partial d}\,\dot d, \qquad
    H = \frac{\partial g}{\partial\theta},

one linear system with a symmetric matrix for forward and reverse mode alike, whatever the solver
was. With an L1 penalty the same holds for the coefficients that are not zero, whose signs stay.
Source: Bertrand et al. (2022), JMLR 23, "Implicit differentiation for fast hyperparameter
selection in non-smooth convex learning".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.firth import half_log_determinant, score_change
from jax_logreg.derivatives.linear_algebra import Dense, Diagonal, invert
from jax_logreg.derivatives.oracle import HessianProduct, cast
from jax_logreg.fitting.auto_solver import GRAM_LIMIT, NEWTON_LIMIT
from jax_logreg.fitting.column_scaling import ColumnScaling
from jax_logreg.fitting.padding import Dataset, scaling_of
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.objective.dense_features import (
    DenseFeatures,
    as_features,
    is_on_one_device,
    precision,
)
from jax_logreg.objective.identifiability import LogisticProblem, add_gauge_curvature
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.objective import Objective, normalized_weights
from jax_logreg.objective.penalties import L2, Penalty
from jax_logreg.programs.compiled import is_concrete
from jax_logreg.programs.jax_settings import own_settings
from jax_logreg.solvers.base import compute_unless, vary_alike, while_loop
from jax_logreg.solvers.newton import Product, cg_init, cg_run

# Multiply-adds of a Hessian up to which its entries are computed in full precision: beyond, some
# products with it cost less.
_DIRECT_COST = 1e8
# A residual is brought to a power of round-off, and is not to be trusted above the other power.
_TARGET, _TRUSTED = 0.6, 0.45
_MAX_CG_STEPS = 1000
# What a correction may leave of a residual that is worth another.
_LEAST_GAIN = 0.1
# A guess in float32, and the steps that it may take.
_GUESS, _GUESS_STEPS = 3e-5, 30
# Columns up to which their matrix costs less than some steps.
_FEW_COLUMNS = 200

T = TypeVar("T")
# (what is differentiated, θ) ↦ the gradient in θ, (P,)
Slope = Callable[[Any, jax.Array], jax.Array]


# --- any minimum --------------------------------------------------------------------------


def differentiable(
    solve: Callable[[T], Any], args: T, derivative: Callable[[Any, T, T], Any]
) -> Any:
    """``solve(args)``, with a derivative where one is asked for; else nothing but that.

    Args:
        solve: what computes the answer, of whatever JAX does not differentiate.
        args: a pytree. Where none of its arrays is traced, ``solve`` is called and no more.
        derivative: (answer, args, tangents) ↦ the tangent of the answer, linear in those of args:
            a tree like args, with None where nothing moves.
    """
    leaves, structure = flatten(args)
    traced = [i for i, leaf in enumerate(leaves) if not is_concrete(leaf)]
    if not traced:
        return solve(args)

    leaves = vary_alike(leaves)

    def fill(values: Any, rest: list[Any]) -> Any:
        values = [v if v is None else jnp.asarray(v) for v in values]  # of a number of Python's
        return replace_leaves(structure, rest, traced, values)

    @jax.custom_jvp
    def answer(*values: jax.Array) -> Any:
        with own_settings():
            return solve(fill(values, leaves))

    def rule(values: Any, tangents: Any) -> tuple[Any, Any]:
        found = answer(*values)
        moves = [None if isinstance(t, SymbolicZero) else t for t in tangents]
        if all(move is None for move in moves):
            return found, jax.tree.map(zero_tangent, found)
        with own_settings():
            args = fill(values, leaves)
            return found, derivative(found, args, fill(moves, [None] * len(leaves)))

    answer.defjvp(rule, symbolic_zeros=True)
    return answer(*[leaves[i] for i in traced])


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a pytree, and its structure."""
    return jax.tree.flatten(tree)


def replace_leaves(
    structure: Any, leaves: list[Any], which: Sequence[int], values: Sequence[Any]
) -> Any:
    """The pytree of these leaves, with other values in the place of some."""
    changed = dict(zip(which, values, strict=True))
    return structure.unflatten([changed.get(i, leaf) for i, leaf in enumerate(leaves)])


def zero_tangent(x: Any) -> Any:
    """Zero, of the type that JAX has for the tangent of x."""
    return zero_from_primal(x, symbolic_zeros=True)


def tangent_of_minimum(
    slope: Slope, theta: jax.Array, data: Any, data_tangent: Any, inverse: Callable[[Product], Any]
) -> jax.Array:
    r""":math:`-H^{-1}\,(\partial g/\partial d)\,\dot d`, (P,), by one solve in either mode.

    Args:
        slope: g, symmetric in θ: a gradient.
        theta: the minimum, (P,).
        data: d, a pytree.
        data_tangent: its tangent.
        inverse: v ↦ Hv ↦ a function that applies H⁻¹.
    """
    _, product = jax.linearize(partial(slope, data), theta)
    _, moved = jax.jvp(lambda data: slope(data, theta), (data,), (data_tangent,))
    solve = inverse(product)
    return -jax.lax.custom_linear_solve(product, moved, lambda _, b: solve(b), symmetric=True)


class Near(NamedTuple):
    """What is known of a matrix H before a system with it is solved.

    Attributes:
        product: v ↦ Hv.
        guess: v ↦ about H⁻¹v, which is taken again of what it leaves; None where there is none.
        precondition: () ↦ (v ↦ M⁻¹v), M positive definite, for what is left then.
        diagonal: of H, (P,), positive.
    """

    product: Product
    guess: Product | None
    precondition: Callable[[jax.Array], Product]
    diagonal: jax.Array

    def size(self, residual: jax.Array) -> jax.Array:
        """Of a residual, in the units of H."""
        return jnp.sqrt(jnp.vdot(residual, residual / self.diagonal))


class _Refined(NamedTuple):
    """A solution so far, its residual and the size of that, what the last correction left of it,
    and whether no more are needed: then the residual is not computed."""

    solution: jax.Array
    residual: jax.Array
    size: jax.Array
    rate: jax.Array
    done: jax.Array


def solve_to_last_digits(near: Near, right: jax.Array) -> jax.Array:
    """The x with Hx = right; NaN where it is not found."""
    eps = float(jnp.finfo(right.dtype).eps)
    target = eps**_TARGET * near.size(right)
    at = _refine(near, right, target)
    solve = near.precondition(at.done)
    start = cg_init(at.residual, solve(at.residual))
    bound = jnp.where(at.done, jnp.inf, (target / near.size(right)) ** 2 * start.norm_squared)

    def apply(vector: jax.Array) -> HessianProduct:
        return HessianProduct(vector, near.product(vector), jnp.zeros((), vector.dtype))

    end = cg_run(apply, start, solve, bound, _MAX_CG_STEPS)
    # A direction without curvature ends the steps, and shows as an infinite change.
    solved = near.size(end.residual) <= eps**_TRUSTED * near.size(right)
    solved &= jnp.isfinite(end.max_logit_change)
    return jnp.where(at.done | solved, at.solution + end.solution, jnp.nan)


def _refine(near: Near, right: jax.Array, target: jax.Array) -> _Refined:
    """Corrections by the guess, as long as each leaves a tenth at most."""
    size = near.size(right)
    nothing = _Refined(jnp.zeros_like(right), right, size, jnp.zeros_like(size), size == 0)
    if near.guess is None:
        return nothing
    guess = near.guess

    def correct(at: _Refined) -> _Refined:
        residual = right - near.product(at.solution)
        size = near.size(residual)
        rate = size / at.size
        helps = rate <= _LEAST_GAIN
        solution = at.solution + jnp.where(helps, guess(residual), 0)
        # Of what the next correction leaves, if it is as good as this one.
        return _Refined(solution, residual, size, rate, helps & (rate * size <= target))

    return while_loop(
        lambda at: ~at.done & (at.rate <= _LEAST_GAIN),
        correct,
        nothing._replace(solution=guess(right)),
    )


# --- a fit --------------------------------------------------------------------------------


class FitArgs(NamedTuple):
    """The arguments of a fit, validated. Its answer depends on the first two.

    Attributes:
        data: what has one entry a row.
        penalty: in the units of the caller.
        start: (coef, intercept), or None.
        tol: what the certificate holds the end to.
        solver: the caller's, or None.
        watch: what to record, or None.
    """

    data: Dataset
    penalty: Penalty
    start: Any
    tol: Any
    solver: Any
    watch: Any = None


def tangent_of_fit(fit_intercept: bool, result: FitResult, args: FitArgs, moves: FitArgs) -> Any:
    """The tangent of a result: of the answer and of F there; that of its diagnostics is zero.

    NaN where there is no derivative: without ``CONVERGED``, and of the coefficients where the
    signs of an L1 penalty are about to change.

    Args:
        fit_intercept: see ``fit``.
        result: the answer.
        args: its arguments.
        moves: their tangents; None where nothing moves.
    """
    leaves, structure = flatten((args.data, args.penalty))
    tangents = structure.flatten_up_to((moves.data, moves.penalty))
    moving = tuple(i for i, tangent in enumerate(tangents) if tangent is not None)
    zero = jax.tree.map(zero_tangent, result)
    if not moving:
        return zero
    scaling = _scaling(args, fit_intercept)
    coef, intercept, objective = _tangent(
        result, leaves, [tangents[i] for i in moving], args.tol.gradient, scaling,
        structure=structure, moving=moving, fit_intercept=fit_intercept,
    )  # fmt: skip
    return replace(zero, coef=coef, intercept=intercept, objective=objective)


def _scaling(args: FitArgs, fit_intercept: bool) -> tuple[Any, Any] | None:
    """Centre and scale of units in which the columns keep their digits; None for the caller's."""
    if not is_on_one_device(args.data.X):
        return None
    scaling = scaling_of(args.data, args.penalty, fit_intercept)
    return None if scaling.is_identity else (scaling.centre, scaling.scale)


@partial(jax.jit, static_argnames=("structure", "moving", "fit_intercept"))
def _tangent(
    result: FitResult,
    leaves: list[Any],
    tangents: list[Any],
    tol: Any,
    scaling: Any,
    *,
    structure: Any,
    moving: tuple[int, ...],
    fit_intercept: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The tangents of coef, of the intercept and of F."""

    def optimality(values: list[Any]) -> Optimality:
        data, penalty = replace_leaves(structure, leaves, moving, values)
        return _optimality(data, penalty, scaling, fit_intercept)

    values = [leaves[i] for i in moving]
    at = optimality(values)
    theta = at.theta_of(result.coef, result.intercept)
    free = at.is_free(theta)

    def slope(values: list[Any], theta: jax.Array) -> jax.Array:
        """On the face of θ*; elsewhere, where nothing moves, as if H were the identity."""
        on_face = jnp.where(free, theta, jax.lax.stop_gradient(theta))
        return jnp.where(free, at.project(optimality(values).slope(on_face)), theta)

    fixed, point = jax.lax.stop_gradient((at, theta))
    inverse = partial(at.inverse, point, free)
    solved = result.status_code == int(Status.CONVERGED)
    # On what moves and on what it moves: either may be zero where the other has no derivative.
    smooth = partial(nan_unless, solved & ~fixed.is_kink(point, tol))
    moved = tangent_of_minimum(slope, theta, values, smooth(tangents), inverse)
    coef, intercept = at.to_original(at.project(smooth(moved)))
    _, change = jax.jvp(
        lambda values: optimality(values).value(theta), (values,), (nan_unless(solved, tangents),)
    )
    return coef, intercept, change


def nan_unless(holds: jax.Array, tangents: Any) -> Any:
    """Linear in the tangents, so that reverse mode is NaN as well."""
    return jax.tree.map(lambda t: t * jnp.where(holds, 1, jnp.nan).astype(t.dtype), tangents)


def _optimality(data: Dataset, penalty: Penalty, scaling: Any, fit_intercept: bool) -> "Optimality":
    X = data.X if scaling is None else ColumnScaling(*scaling).transform(data.X)
    features = as_features(X)
    if isinstance(features, DenseFeatures):
        features = _PlainFeatures(features.array)
    F = Objective(
        X=features,
        y=data.y.astype(features.dtype),
        row_weight=normalized_weights(features, data.weight),
        offset=data.offset,
        penalty=penalty,
        fit_intercept=fit_intercept,
    )
    total = features.shape[0] if data.weight is None else jnp.sum(data.weight)
    return Optimality(F, total, scaling)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Optimality:
    """The gradient of a fit's function, to be differentiated.

    Attributes:
        objective: the data in units in which columns keep their digits; the penalty in the
            caller's.
        total: Σw.
        scaling: centre and scale of the columns, (p,) each, or None.
    """

    objective: Objective
    total: Any
    scaling: tuple[Any, Any] | None

    def slope(self, theta: jax.Array) -> jax.Array:
        """g at θ, (P,), with the signs of an L1 part as they are."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        rows = _residual(eta, F.y)
        if F.penalty.is_jeffreys:
            rows = rows - score_change(F, eta) / self.total
        return (
            analytic.backward(F, rows)
            + self._of_coef(F.penalty.gradient, theta)
            + (self.l1_weights(theta) * jnp.sign(theta))
        )

    def value(self, theta: jax.Array) -> jax.Array:
        """F at θ."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        value = F.mean(cross_entropy(eta, F.y)) + F.penalty.value(self._original(theta))
        return value - half_log_determinant(F, eta) / self.total if F.penalty.is_jeffreys else value

    def l1_weights(self, theta: jax.Array) -> jax.Array:
        """κ in the layout of θ, (P,)."""
        return self._of_coef(self.objective.penalty.l1_weights, theta)

    def is_free(self, theta: jax.Array) -> jax.Array:
        """Which parameters move as the data do, (P,)."""
        return (theta != 0) | (self.l1_weights(theta) == 0)

    def is_kink(self, theta: jax.Array, tol: jax.Array) -> jax.Array:
        """Whether a coefficient is about to become zero, or nonzero, to the rounding of a fit
        whose gradient is within tol: there is no derivative, but one on either side."""
        if not self.objective.penalty.has_l1:
            return jnp.asarray(False)
        l1 = self.l1_weights(theta)
        to_zero = jnp.abs(theta) * self.diagonal(theta)
        from_zero = l1 - jnp.abs(self.slope(theta))  # where θ is zero no sign is added
        return jnp.any((l1 > 0) & (jnp.where(theta == 0, from_zero, to_zero) <= tol))

    def project(self, vector: jax.Array) -> jax.Array:
        """A vector in the layout of θ without its class shifts."""
        return LogisticProblem(self.objective).project_gauge(vector)

    def theta_of(self, coef: jax.Array, intercept: jax.Array) -> jax.Array:
        """θ, (P,), from the caller's coefficients."""
        if self.scaling is not None:
            centre, scale = self.scaling
            coef, intercept = (coef.T * scale).T, intercept + centre @ coef
        return self.objective.join(coef, intercept)

    def to_original(self, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The caller's coefficients from θ, (P,)."""
        coef, intercept = self._original(theta), self.objective.split(theta)[1]
        return coef, intercept if self.scaling is None else intercept - self.scaling[0] @ coef

    def _original(self, theta: jax.Array) -> jax.Array:
        coef, _ = self.objective.split(theta)
        return coef if self.scaling is None else (coef.T / self.scaling[1]).T

    def _of_coef(self, function: Any, theta: jax.Array, power: int = 1) -> jax.Array:
        """A derivative of the penalty in θ, of an order, from that in the coefficients."""
        values = function(self._original(theta))
        if self.scaling is not None:
            values = (values.T / self.scaling[1] ** power).T
        return self.objective.join(values, jnp.zeros_like(self.objective.split(theta)[1]))

    # --- its inverse ---

    def inverse(self, theta: jax.Array, free: jax.Array, product: Product) -> Product:
        """v ↦ H⁻¹v at θ, by the entries of H if those cost little, else by its product."""
        # What is computed here has no derivative. What a solve reads has none anyway, and X is not
        # to be an array of its own there.
        F, fixed = self.objective, jax.lax.stop_gradient(self)
        (n, p), P = F.X.shape, len(theta)
        if F.penalty.is_jeffreys:
            H = jax.vmap(product)(jnp.eye(P, dtype=theta.dtype))
            return _by_entries(add_gauge_curvature(F, H))
        if F.X.has_gram and P <= NEWTON_LIMIT and n * P**2 <= _DIRECT_COST:
            both = free[:, None] & free[None, :]
            H = add_gauge_curvature(F, fixed._hessian(theta))
            return _by_entries(jnp.where(both, H, jnp.eye(P, dtype=H.dtype)))
        may_use_gram = F.X.has_gram and not F.penalty.has_l1 and p <= GRAM_LIMIT and p < n
        if may_use_gram and p <= _FEW_COLUMNS:
            M = fixed._gram(theta)
            size = jnp.repeat(1 / M.scale**2, P // len(M.scale)).astype(theta.dtype)
            return partial(solve_to_last_digits, Near(product, M.solve, lambda _: M.solve, size))
        diagonal = jnp.where(free, fixed.diagonal(theta), 1)
        near = Near(product, None, lambda _: Diagonal(1 / diagonal).solve, diagonal)
        if may_use_gram:
            near = self._in_float32(theta, near)
        return partial(solve_to_last_digits, near)

    def _in_float32(self, theta: jax.Array, near: Near) -> Near:
        """Guesses in float32; where they converge slowly the matrix of the columns is formed."""

        def precondition(done: jax.Array) -> Product:
            kinds = jax.eval_shape(self._gram, theta)
            blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), kinds)
            return compute_unless(done, blank, lambda: self._gram(theta)).solve

        is_double = self.objective.X.dtype == jnp.float64
        guess = jax.lax.stop_gradient(self)._guess(theta, near.diagonal) if is_double else None
        return near._replace(guess=guess, precondition=precondition)

    def _guess(self, theta: jax.Array, diagonal: jax.Array) -> Product:
        """v ↦ about H⁻¹v, by products in float32."""
        narrow = cast(replace(self.objective, penalty=L2(np.zeros(()))), jnp.float32)
        # Else it would be converted anew for every product.
        narrow = replace(narrow, X=jax.lax.optimization_barrier(narrow.X))
        rows = cast(analytic.curvature(self._eta(theta)), jnp.float32)
        own = cast(self._of_coef(self.objective.penalty.curvature, theta, power=2), jnp.float32)
        scale = jax.lax.rsqrt(diagonal)

        def apply(vector: jax.Array) -> HessianProduct:
            z = analytic.materialize(narrow.linear(vector))
            product = analytic.backward(narrow, analytic.apply_curvature(rows, z)) + own * vector
            return HessianProduct(vector, product, jnp.zeros((), vector.dtype))

        solve = Diagonal(cast(1 / diagonal, jnp.float32)).solve

        def guess(vector: jax.Array) -> jax.Array:
            size = jnp.linalg.norm(scale * vector)
            size = jnp.where(size > 0, size, 1)
            right = cast(vector / size, jnp.float32)
            start = cg_init(right, solve(right))
            end = cg_run(apply, start, solve, _GUESS**2 * start.norm_squared, _GUESS_STEPS)
            return end.solution.astype(vector.dtype) * size

        return guess

    def _eta(self, theta: jax.Array) -> jax.Array:
        return self.objective.add_offset(self.objective.linear(theta))

    def _hessian(self, theta: jax.Array) -> jax.Array:
        """The entries of H without an L1 part, (P, P)."""
        F = self.objective
        diagonal = self._of_coef(F.penalty.curvature, theta, power=2)
        return analytic.information(F, self._eta(theta)) + jnp.diag(diagonal)

    def diagonal(self, theta: jax.Array) -> jax.Array:
        """That of H, (P,); 1 in place of zero."""
        F = self.objective
        rows = analytic.weighted(F, self._variance(theta)) * jnp.ones(F.y.shape, F.X.dtype)
        data = F.join(F.X.column_squares(rows), jnp.sum(rows, axis=0))
        diagonal = data + self._of_coef(F.penalty.curvature, theta, power=2)
        return jnp.where(diagonal > 0, diagonal, 1)

    def _variance(self, theta: jax.Array) -> jax.Array:
        """μ(1 − μ) of every row, of the shape of the logits."""
        mu = analytic.curvature(self._eta(theta))
        return mu if mu.ndim == 1 else mu * (1 - mu)

    def _gram(self, theta: jax.Array) -> Dense:
        """H of the sigmoid, or that of the mean class, in the precision of a preconditioner."""
        F, rows = self.objective, self._variance(theta)
        q = F.X.shape[1] + F.fit_intercept
        rows = rows if rows.ndim == 1 else jnp.mean(rows, axis=1)
        M = analytic.bordered_gram(F, analytic.weighted(F, rows), jnp.float32)
        curvature = self._of_coef(F.penalty.curvature, theta, power=2).reshape(q, -1)[:, 0]
        return invert(M + jnp.diag(curvature.astype(M.dtype)))


def _by_entries(H: jax.Array) -> Product:
    """v ↦ H⁻¹v of a matrix that is formed; NaN where that is singular."""
    inverse = invert(H)
    near = Near(
        partial(jnp.matmul, H), inverse.solve, lambda _: inverse.solve, jnp.abs(jnp.diag(H))
    )
    return partial(solve_to_last_digits, near)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _PlainFeatures(DenseFeatures):
    """A dense table whose products have no other layout of it, which JAX would keep for reverse
    mode."""

    def rmatvec(self, residual: jax.Array) -> jax.Array:
        return jnp.matmul(residual.T, self.array, precision=precision()).T


@jax.custom_jvp
def _residual(eta: jax.Array, y: jax.Array) -> jax.Array:
    """μ − y, of the shape of the logits: by ``analytic``, whose steps have no derivative where a
    logit is zero, or where a label is 0 or 1 to all digits."""
    return analytic.loss_and_residual(eta, y).residual


@_residual.defjvp
def _residual_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (eta, y), (eta_tangent, y_tangent) = primals, tangents
    curvature = _smooth_curvature(eta)
    return _residual(eta, y), analytic.apply_curvature(curvature, eta_tangent) - y_tangent


def _smooth_curvature(eta: jax.Array) -> jax.Array:
    """``analytic.curvature`` in a form that JAX differentiates at zero, too."""
    if eta.ndim == 2:
        return jax.nn.softmax(eta, axis=1)
    return jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)
