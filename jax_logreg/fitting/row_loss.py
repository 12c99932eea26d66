"""A loss of one's own in place of the cross-entropy: one row's, in its label and its logits.

The chain rule from the logits to the coefficients is the package's own; what is written by hand of
the loss is audited before it trains. Such a loss need not be convex: the end is judged as that of
any function (``minimize.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.check import check_derivatives
from jax_logreg.derivatives.analytic import backward, bordered_gram, materialize, weighted
from jax_logreg.derivatives.function_oracle import Layout, TreeOracle, hoist
from jax_logreg.derivatives.linear_algebra import Diagonal, Preconditioner
from jax_logreg.derivatives.oracle import Line, Point, Trial
from jax_logreg.derivatives.preconditioners import preconditioner
from jax_logreg.fitting.loop import check_capabilities
from jax_logreg.fitting.minimize import minimum_of
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.objective.identifiability import LogisticProblem, Problem, add_gauge_curvature
from jax_logreg.objective.objective import Objective
from jax_logreg.programs.compiled import are_concrete, is_traced
from jax_logreg.solvers.base import Solver

# A slope whose classes sum to less than this is that of a loss which a shift of all logits leaves
# as it is.
_NO_SHIFT = 1e-5
# Losses whose derivatives were found right, and whether a shift leaves them as they are.
_known: dict[Any, bool] = {}
_MAX_KNOWN = 128


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowLoss:
    r"""A loss of one row, for ``fit(loss=)``, in ``jax.numpy``.

    Attributes:
        value: value(y, η, \*args) of one row: y in [0, 1] and the logit η, scalars; for softmax
            the label probabilities and the logits, (K,) each. A number.
        slope: its derivative in η, of the shape of η; by autodiff if absent.
        curvature: the second, a scalar, or (K, K); of the slope by autodiff if absent.
        args: numbers that the functions need, such as an exponent; ``jax.grad`` reaches them.
        audit: whether to check slope and curvature before they train.

    >>> from jax_logreg import L2, fit
    >>> def squared(y, eta):  # Brier's score
    ...     return (y - jax.nn.sigmoid(eta)) ** 2
    >>> X, y = np.arange(4.0)[:, None], np.array([0, 1, 0, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), loss=RowLoss(squared)).converged)
    True
    """

    value: Callable[..., jax.Array] = field(metadata={"static": True})
    slope: Callable[..., jax.Array] | None = field(default=None, metadata={"static": True})
    curvature: Callable[..., jax.Array] | None = field(default=None, metadata={"static": True})
    args: tuple[Any, ...] = ()
    audit: bool = field(default=True, metadata={"static": True})

    def __post_init__(self) -> None:
        """Refuse what is no function."""
        for name in ("value", "slope", "curvature"):
            function = getattr(self, name)
            if not callable(function) and (name == "value" or function is not None):
                raise ValueError(f"{name} of a loss must be a function, but it is {function!r}.")
        if not isinstance(self.args, tuple):
            raise ValueError(f"args of a loss must be a tuple, but they are {self.args!r}.")

    # --- of all rows: (n,) or (n, K) ---

    def values(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """The loss of every row, (n,)."""
        return jax.vmap(lambda y, eta: self.value(y, eta, *self.args))(y, eta)

    def slopes(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """Of the shape of η."""
        return jax.vmap(self._slope)(y, eta)

    def curvatures(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        """(n,) or (n, K, K)."""
        by_hand = self.curvature
        if by_hand is None:
            return jax.vmap(jax.jacfwd(self._slope, argnums=1))(y, eta)
        return jax.vmap(lambda y, eta: by_hand(y, eta, *self.args))(y, eta)

    def _slope(self, y: jax.Array, eta: jax.Array) -> jax.Array:
        by_hand = self.slope or jax.grad(self.value, argnums=1)
        return by_hand(y, eta, *self.args)

    # --- before it trains ---

    def checked(self, row: jax.ShapeDtypeStruct) -> tuple["RowLoss", bool]:
        """The loss, with what its functions close over among its arguments where JAX traces that;
        and whether a shift of all of a row's logits leaves it as it is.

        Args:
            row: labels of one, () or (K,).

        Raises:
            ValueError: for what returns other shapes, and with the report of the audit for
                derivatives that are wrong.
        """
        is_known = are_concrete(self.args) and not is_traced()
        key = self.value, self.slope, self.curvature, self.audit, row.shape, is_known
        if key in _known:
            return self, _known[key]
        self._check_shapes(row)
        loss = self._hoisted(row)
        ignores_shifts = loss._ignores_shifts(row.shape)
        if loss is self:
            if self.audit and is_known and (self.slope or self.curvature):
                self._audit(row.shape)
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[key] = ignores_shifts
        return loss, ignores_shifts

    def _check_shapes(self, row: jax.ShapeDtypeStruct) -> None:
        shapes = {"value": (), "slope": row.shape, "curvature": row.shape * 2}
        for name, shape in shapes.items():
            if (function := getattr(self, name)) is None:
                continue
            out = jax.eval_shape(function, row, row, *self.args)
            if getattr(out, "shape", None) != shape:
                raise ValueError(
                    f"{name} of a loss must return shape {shape} for one row, whose y and logits "
                    f"have shape {row.shape}, but it returns {getattr(out, 'shape', out)}."
                )

    def _hoisted(self, row: jax.ShapeDtypeStruct) -> "RowLoss":
        lifted: dict[str, Any] = {}
        extra: list[Any] = []
        for name in ("value", "slope", "curvature"):
            if (function := getattr(self, name)) is not None:
                lifted[name], held = hoist(function, (row, row, *self.args), skip=len(extra))
                extra += held
        return replace(self, **lifted, args=(*self.args, *extra)) if extra else self

    def _audit(self, shape: tuple[int, ...]) -> None:
        by_hand = {"gradient": self.slope, "hessian": self.curvature}
        for y in _labels(shape):
            by_logits: dict[str, Any] = {
                name: partial(_of_logits, f, y) for name, f in by_hand.items() if f is not None
            }
            report = check_derivatives(
                partial(_of_logits, self.value, y), at=np.zeros(shape), args=self.args, **by_logits
            )
            if not report.ok:
                raise ValueError(
                    "slope (the gradient) and curvature (the hessian) of the loss did not pass the "
                    f"audit at y = {y}, whose report follows; audit=False would skip it.\n\n"
                    f"{report}"
                )

    def _ignores_shifts(self, shape: tuple[int, ...]) -> bool:
        if not shape:
            return False
        with jax.ensure_compile_time_eval():
            eta = jnp.linspace(-1, 2, shape[0]) ** 2
            args = jax.tree.map(jnp.ones_like, self.args)
            slope = replace(self, args=args)._slope(jnp.eye(shape[0])[0], eta)
            return bool(jnp.abs(jnp.sum(slope)) <= _NO_SHIFT * jnp.max(jnp.abs(slope)))

    # --- training ---

    def fit(
        self, F: Objective, theta: Any, solver: Solver, running: Solver, tol: Any, max_steps: int
    ) -> FitResult:
        """The result of a fit of this loss, in the units of F.

        Args:
            F: the data, and a smooth penalty.
            theta: the start, (P,).
            solver: what takes the steps.
            running: the same, perhaps as it records.
            tol: a ``Tolerance``.
            max_steps: at most.
        """
        loss, has_gauge = self.checked(jax.ShapeDtypeStruct(F.class_shape, F.y.dtype))
        layout = Layout.of(jax.ShapeDtypeStruct(theta.shape, theta.dtype))
        oracle = LossOracle(loss.value, layout, (F, loss), has_gauge=has_gauge)
        check_capabilities(oracle, solver)
        found = minimum_of(oracle, running, theta, tol.gradient, max_steps)
        coef, intercept = F.split(found.theta)
        is_unique = found.status_code == int(Status.CONVERGED)
        return FitResult(
            coef=coef,
            intercept=intercept,
            status_code=found.status_code,
            num_steps=found.num_steps,
            objective=found.value,
            gradient_norm=found.gradient_norm,
            newton_decrement=found.newton_decrement,
            remaining_step=jnp.sqrt(tol.total_weight) * found.newton_decrement,
            rank=jnp.where(is_unique, F.num_parameters, -1).astype(jnp.int32),
            history=found.history,
            solver=repr(solver),
        )


def _labels(shape: tuple[int, ...]) -> list[Any]:
    """Labels of a row for an audit."""
    if not shape:
        return [0.0, 1.0, 0.3]
    return [np.eye(shape[0])[0], np.full(shape, 1 / shape[0])]


def _of_logits(function: Callable[..., Any], y: Any, eta: Any, *args: Any) -> Any:
    return function(y, eta, *args)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LossProblem(Problem):
    """The gauge of a loss that no shift of the logits changes."""

    objective: Objective

    def project_gauge(self, theta: jax.Array) -> jax.Array:
        """See ``LogisticProblem``."""
        return LogisticProblem(self.objective).project_gauge(theta)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LossOracle(TreeOracle):
    """The mean of a loss over the rows, and a penalty; ``args`` are the objective and the loss.

    Attributes:
        has_gauge: whether no shift of all of a row's logits changes the loss.
    """

    has_gauge: bool = field(default=False, kw_only=True, metadata={"static": True})

    capabilities = frozenset({"gradient", "hessian", "hvp", "line", "rows", "preconditioner"})
    remedy = (
        "For a loss of your own use Newton(), NewtonCG(), LBFGS(), GradientDescent(step_size) or "
        "GradientDescent(backtracking=True), or an Optax transformation."
    )

    @property
    def limits(self) -> dict[str, str]:
        """What sparse features rule out."""
        if self._objective.X.can_take_rows:
            return {}
        return {"rows": "rows cannot be taken out of sparse features"}

    @property
    def num_rows(self) -> int:
        """n."""
        return self._objective.X.shape[0]

    @property
    def problem(self) -> Problem:
        return LossProblem(self._objective) if self.has_gauge else Problem()

    @property
    def _objective(self) -> Objective:
        return self.args[0]

    @property
    def _loss(self) -> RowLoss:
        return self.args[1]

    def _logits(self, theta: jax.Array) -> jax.Array:
        return self._objective.add_offset(self._objective.linear(theta))

    def value(self, theta: jax.Array) -> jax.Array:
        F = self._objective
        return F.mean(self._loss.values(F.y, self._logits(theta))) + F.penalty_terms(theta)[0]

    def value_and_gradient(self, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        point = self.evaluate(theta)
        return point.value, point.gradient

    def gradient(self, theta: jax.Array) -> jax.Array:
        return self.evaluate(theta).gradient

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        point = self._at(theta, self._logits(theta))
        if direction is None:
            return point
        return point._replace(hvp=self.hessian_operator(point)(direction))

    def _at(self, theta: jax.Array, eta: jax.Array, *, recomputed: Any = np.True_) -> Point:
        F = self._objective
        penalty, slope, _ = F.penalty_terms(theta)
        value = F.mean(self._loss.values(F.y, eta)) + penalty
        gradient = backward(F, self._loss.slopes(F.y, eta)) + slope
        return Point(theta, value, gradient, eta, recomputed=recomputed)

    def hvp(self, theta: jax.Array, vector: jax.Array) -> jax.Array:
        F = self._objective
        z, curvature = F.linear(vector), self._loss.curvatures(F.y, self._logits(theta))
        rows = curvature * z if z.ndim == 1 else jnp.einsum("nkl,nl->nk", curvature, z)
        return backward(F, rows) + F.penalty_terms(theta)[2] * vector

    def exact_hessian(self, theta: jax.Array) -> jax.Array:
        """With curvature added along the gauge, if there is one."""
        F = self._objective
        if F.class_shape or not F.X.has_gram:
            identity = jnp.eye(len(theta), dtype=theta.dtype)
            H = jax.vmap(partial(self.hvp, theta))(identity)
        else:
            rows = weighted(F, self._loss.curvatures(F.y, self._logits(theta)))
            H = bordered_gram(F, rows) + jnp.diag(F.penalty_terms(theta)[2])
        return add_gauge_curvature(F, H) if self.has_gauge else H

    def line(self, point: Point, direction: jax.Array) -> Line:
        F, loss = self._objective, self._loss
        z = F.linear(direction)

        def at(t: jax.Array) -> Trial:
            eta = point.logits + t * z
            value, slope, _ = F.penalty_terms(point.theta + t * direction)
            along = loss.slopes(F.y, eta) * z
            along = along if z.ndim == 1 else jnp.sum(along, axis=1)
            value = F.mean(loss.values(F.y, eta)) + value
            return Trial(value, F.mean(along) + jnp.sum(slope * direction))

        def point_at(t: jax.Array, _: Trial) -> Point:
            eta = materialize(point.logits + t * z)
            return self._at(point.theta + t * direction, eta, recomputed=np.False_)

        return Line(at, point_at)

    def preconditioner(self, kind: str, point: Point | None = None) -> Preconditioner:
        """That of the cross-entropy: positive definite, and of the same columns. At a point that of
        the sizes of the rows' curvatures, which need not be positive."""
        if point is None or kind != "diagonal":
            return preconditioner(self._objective, kind)
        F = self._objective
        rows = self._loss.curvatures(F.y, point.logits)
        own = jnp.diagonal(rows, axis1=1, axis2=2) if rows.ndim == 3 else rows
        weight = weighted(F, jnp.abs(own))
        of_data = F.join(F.X.column_squares(weight), jnp.sum(weight, axis=0))
        diagonal = of_data + F.penalty_terms(point.theta)[2]
        return Diagonal(1 / jnp.where(diagonal > 0, diagonal, 1))

    def subset(self, rows: jax.Array, scale: jax.Array | None = None) -> "LossOracle":
        F, loss = self.args
        if scale is None:
            total = jnp.sum(F.row_weights()[rows])
            scale = 1 / jnp.where(total > 0, total, 1)
        return replace(self, args=(F.take(rows, scale), loss))
