"""What both oracles of the logistic objective share: facts that need no derivative."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle, Point, cast
from jax_logreg.derivatives.preconditioners import (
    PRECONDITIONERS,
    Preconditioner,
    invert,
)
from jax_logreg.objective.host_memory import in_float32, is_on_one_cpu
from jax_logreg.objective.identifiability import (
    centre_classes,
    curvature_bound,
    furthest,
    ignores,
    is_bounded_by_design,
    may_separate,
    pin_class_shifts,
    recedes,
    separates,
)
from jax_logreg.objective.kernel_form import carry_over
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import SparseFeatures

# Of sparse features a Hessian is made column by column.
SPARSE_HESSIAN_LIMIT = 500

_narrow = jax.jit(partial(cast, dtype=jnp.float32))


class ModelOracle(Oracle):
    """An oracle of the logistic objective; how it differentiates is for a subclass.

    Attributes:
        objective: the problem.
        rough: its copy in float32, or None to make one when it is asked for. Made by a
            program of its own: inside another XLA converts X anew for every product.
    """

    offers = frozenset(
        {
            "gradient", "hessian", "hvp", "along", "curvature_bound", "rows",
            "preconditioner", "row_space", "rounded",
        }
    )  # fmt: skip
    objective: Objective
    rough: Objective | None

    def lacks(self, needs: frozenset[str], num_parameters: int) -> dict[str, str]:
        missing = super().lacks(needs, num_parameters)
        if isinstance(self.objective.X, SparseFeatures):
            for name in {"rows", "row_space"} & needs:
                missing[name] = "rows cannot be taken out of sparse features"
            if "hessian" in needs and num_parameters > SPARSE_HESSIAN_LIMIT:
                missing["hessian"] = (
                    f"of sparse features it is formed up to {SPARSE_HESSIAN_LIMIT} "
                    f"parameters, and here are {num_parameters}"
                )
        return missing

    def num_rows(self) -> int:
        return self.objective.X.shape[0]

    def minibatch(self, rows: jax.Array, scale: jax.Array) -> "ModelOracle":
        return type(self)(self.objective.take(rows, scale))  # type: ignore[call-arg]

    def preconditioner(self, kind: str) -> Preconditioner:
        return PRECONDITIONERS[kind](self.objective)

    def inverted_hessian(self, point: Point) -> Preconditioner:
        return invert(self.pin(self.hessian(point)))

    def row_space(self) -> tuple["ModelOracle", Callable[[jax.Array], jax.Array]]:
        problem = carry_over(self.objective)
        return type(self)(problem.objective), problem.lift  # type: ignore[call-arg]

    def num_parameters(self) -> int:
        return self.objective.num_parameters

    def sample(self, count: int) -> "ModelOracle":
        n = self.num_rows()
        stride = n // count
        # One row of each stretch, at random: an even step could fall in with a pattern.
        jitter = jax.random.randint(jax.random.key(0), (count,), 0, stride)
        rows = jnp.arange(count) * stride + jitter
        total = jnp.sum(self.objective.row_weights()[rows])
        return self.minibatch(rows, 1 / jnp.where(total > 0, total, 1))

    def rounded(self) -> "ModelOracle":
        rough = _narrow(self.objective) if self.rough is None else self.rough
        return replace(self, objective=rough, rough=None)  # type: ignore[type-var]

    def with_rounded(self) -> "ModelOracle":
        """The same oracle with its float32 copy at hand, where it is not float32 itself."""
        F = self.objective
        if F.X.dtype == jnp.float32:
            return self
        X = in_float32(F.X) if is_on_one_cpu(F.X) else _narrow(F.X)
        rough = replace(_narrow(replace(F, X=F.y)), X=X)  # a program would copy X once more
        return replace(self, rough=rough)  # type: ignore[type-var]

    def curvature_bound(self) -> jax.Array:
        return curvature_bound(self.objective)

    def centre(self, theta: jax.Array) -> jax.Array:
        return centre_classes(self.objective, theta)

    def pin(self, hessian: jax.Array) -> jax.Array:
        return pin_class_shifts(self.objective, hessian)

    def may_separate(self, point: Point) -> jax.Array:
        return may_separate(self.objective, point.value)

    def separates(self, point: Point) -> jax.Array:
        return separates(self.objective, point.theta, point.value)

    def recedes(self, direction: jax.Array) -> jax.Array:
        # A Newton direction is exact to a few units of round-off in the rows that have
        # curvature; two thirds of the digits leave room for their number.
        rtol = float(jnp.finfo(self.objective.X.dtype).eps) ** (2 / 3)
        return recedes(self.objective, direction, rtol)

    def can_recede(self) -> jax.Array:
        return ~is_bounded_by_design(self.objective)

    def reach(self, direction: jax.Array) -> jax.Array:
        return furthest(self.objective.linear(direction))

    def ignores(self, direction: jax.Array) -> jax.Array:
        return ignores(self.objective, direction)

    def at_even_odds(self, point: Point) -> Point:
        return self.at(jnp.zeros_like(point.theta))
