"""The oracle of the logistic objective, by hand-written derivatives or by autodiff."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.linear_algebra import Preconditioner
from jax_logreg.derivatives.oracle import HessianProduct, Line, Oracle, Point, cast
from jax_logreg.derivatives.preconditioners import preconditioner
from jax_logreg.objective.dense_features import DenseFeatures
from jax_logreg.objective.identifiability import LogisticProblem, add_gauge_curvature
from jax_logreg.objective.objective import Objective
from jax_logreg.programs.compiled import Compiled


@Compiled
def _to_float32(tree: Any) -> Any:
    return cast(tree, jnp.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ModelOracle(Oracle):
    """The logistic objective, without the L1 part of its penalty.

    Attributes:
        objective: F.
        derivatives: the module ``analytic`` or ``autodiff``, which have the same functions.
        float32_copy: of the objective, or None to make one when it is asked for. It is made by
            a program of its own: inside another XLA converts X anew for every product.
        watches_separation: see ``LogisticProblem``.
    """

    objective: Objective
    derivatives: Any = field(default=analytic, metadata={"static": True})
    float32_copy: Objective | None = None
    watches_separation: bool = field(default=True, metadata={"static": True})

    capabilities = frozenset(
        {
            "gradient", "hessian", "hvp", "line", "curvature_bound", "rows", "preconditioner",
            "float32",
        }
    )  # fmt: skip

    @property
    def limits(self) -> dict[str, str]:
        """What these features, or so many parameters, rule out."""
        X, P, reasons = self.objective.X, self.objective.num_parameters, {}
        if not X.can_take_rows:
            reasons["rows"] = "rows cannot be taken out of sparse features"
        if X.hessian_limit < P:
            reasons["hessian"] = (
                f"with {P} parameters it is too large: for these features one is formed up to "
                f"{X.hessian_limit}"
            )
        return reasons

    @property
    def num_rows(self) -> int:
        """n."""
        return self.objective.X.shape[0]

    @property
    def problem(self) -> LogisticProblem:
        """Gauge, separation, existence of a minimum."""
        return LogisticProblem(self.objective, self.watches_separation)

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        return self.derivatives.evaluate(self.objective, theta, direction)

    def hessian(self, point: Point) -> jax.Array:
        return add_gauge_curvature(
            self.objective, self.derivatives.hessian_at(self.objective, point)
        )

    def hessian_operator(self, point: Point) -> Callable[[jax.Array], HessianProduct]:
        return self.derivatives.hessian_operator(self.objective, point)

    def line(self, point: Point, direction: jax.Array) -> Line:
        return self.derivatives.line(self.objective, point, direction)

    def preconditioner(self, kind: str, point: Point | None = None) -> Preconditioner:
        return preconditioner(self.objective, kind, point)

    def subset(self, rows: jax.Array, scale: jax.Array | None = None) -> "ModelOracle":
        if scale is None:
            total = jnp.sum(self.objective.row_weights()[rows])
            scale = 1 / jnp.where(total > 0, total, 1)
        part = self.objective.take(rows, scale)
        return replace(self, objective=part, float32_copy=None)

    def as_float32(self) -> "ModelOracle":
        narrow = _to_float32(self.objective) if self.float32_copy is None else self.float32_copy
        return replace(self, objective=narrow, float32_copy=None)

    def with_float32_copy(self) -> "ModelOracle":
        """The same oracle with its float32 copy made, unless it is float32 itself."""
        F = self.objective
        if F.X.dtype == jnp.float32:
            return self
        X = F.X.float32_on_host() or _to_float32(F.X)
        narrow = replace(_to_float32(replace(F, X=DenseFeatures(F.y))), X=X)
        return replace(self, float32_copy=narrow)
