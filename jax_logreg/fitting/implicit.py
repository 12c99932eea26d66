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

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.firth import half_log_determinant, score_change
from jax_logreg.derivatives.linear_algebra import Dense, Diagonal, invert
from jax_logreg.derivatives.oracle import HessianProduct
from jax_logreg.derivatives.preconditioners import inverse_dtype
from jax_logreg.fitting.auto_solver import GRAM_LIMIT, NEWTON_LIMIT
from jax_logreg.fitting.column_scaling import ColumnScaling
from jax_logreg.fitting.padding import Dataset, scaling_of
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.objective.dense_features import as_features, is_on_one_device
from jax_logreg.objective.identifiability import LogisticProblem, add_gauge_curvature
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.objective import Objective, normalized_weights
from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.compiled import is_concrete
from jax_logreg.programs.jax_settings import own_settings
from jax_logreg.solvers.newton import Product, cg_init, cg_run

# Multiply-adds of a Hessian up to which its entries are computed in full precision: beyond, some
# products with it cost less.
_DIRECT_COST = 2e9
# Conjugate gradients go on to the power of round-off, for so many steps at most, and are not to be
# trusted above the other power.
_TARGET, _TRUSTED, _MAX_CG_STEPS = 0.75, 0.5, 1000

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
    leaves, structure = _flatten(args)
    traced = [i for i, leaf in enumerate(leaves) if not is_concrete(leaf)]
    if not traced:
        return solve(args)

    def fill(values: Any, rest: list[Any]) -> Any:
        values = [v if v is None else jnp.asarray(v) for v in values]  # of a number of Python's
        changed = dict(zip(traced, values, strict=True))
        return structure.unflatten([changed.get(i, leaf) for i, leaf in enumerate(rest)])

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


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)


def zero_tangent(x: Any) -> Any:
    """Zero, of the type that JAX has for the tangent of x."""
    dtype = jnp.result_type(x)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


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


def conjugate_gradients(product: Product, right: jax.Array, solve: Product) -> jax.Array:
    """The x with Hx = right to the last digits; NaN where they are not reached.

    Args:
        product: v ↦ Hv.
        right: (P,).
        solve: v ↦ M⁻¹v, M positive definite.
    """
    eps = float(jnp.finfo(right.dtype).eps)

    def apply(vector: jax.Array) -> HessianProduct:
        return HessianProduct(vector, product(vector), jnp.zeros((), vector.dtype))

    start = cg_init(right, solve(right))
    target = eps ** (2 * _TARGET) * start.norm_squared
    end = cg_run(apply, start, solve, target, _MAX_CG_STEPS)
    # A direction without curvature ends the steps, and shows as an infinite change.
    solved = (end.norm_squared <= eps ** (2 * _TRUSTED) * start.norm_squared) & jnp.isfinite(
        end.max_logit_change
    )
    return jnp.where(solved, end.solution, jnp.nan)


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
    leaves, structure = _flatten((args.data, args.penalty))
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
        changed = dict(zip(moving, values, strict=True))
        data, penalty = structure.unflatten([changed.get(i, x) for i, x in enumerate(leaves)])
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
    inverse = partial(fixed.inverse, point, free)
    moved = at.project(tangent_of_minimum(slope, theta, values, tangents, inverse))
    converged = result.status_code == int(Status.CONVERGED)
    smooth = converged & ~fixed.is_kink(point, tol)
    coef, intercept = at.to_original(moved * jnp.where(smooth, 1, jnp.nan).astype(moved.dtype))
    _, change = jax.jvp(lambda values: optimality(values).value(theta), (values,), (tangents,))
    objective = change * jnp.where(converged, 1, jnp.nan).astype(change.dtype)
    return coef, intercept, objective


def _optimality(data: Dataset, penalty: Penalty, scaling: Any, fit_intercept: bool) -> "Optimality":
    X = data.X if scaling is None else ColumnScaling(*scaling).transform(data.X)
    features = as_features(X)
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
        F = self.objective
        (n, p), P = F.X.shape, len(theta)
        if F.penalty.is_jeffreys:
            H = jax.vmap(product)(jnp.eye(P, dtype=theta.dtype))
            return _inverse(add_gauge_curvature(F, H))
        if F.X.has_gram and P <= NEWTON_LIMIT and n * P**2 <= _DIRECT_COST:
            both = free[:, None] & free[None, :]
            H = add_gauge_curvature(F, self._hessian(theta))
            return _inverse(jnp.where(both, H, jnp.eye(P, dtype=H.dtype)))
        if F.X.has_gram and not F.penalty.has_l1 and p <= GRAM_LIMIT and p < n:
            return partial(conjugate_gradients, product, solve=self._gram(theta).solve)
        near = Diagonal(jnp.where(free, 1 / self.diagonal(theta), 1))
        return partial(conjugate_gradients, product, solve=near.solve)

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
        M = analytic.bordered_gram(F, analytic.weighted(F, rows), inverse_dtype(q, F.X.dtype))
        curvature = self._of_coef(F.penalty.curvature, theta, power=2).reshape(q, -1)[:, 0]
        return invert(M + jnp.diag(curvature.astype(M.dtype)))


def _inverse(H: jax.Array) -> Product:
    """v ↦ H⁻¹v of a matrix of few entries; NaN where that is singular."""
    return partial(conjugate_gradients, partial(jnp.matmul, H), solve=invert(H).solve)


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
