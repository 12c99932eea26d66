"""More columns than rows: solved in the n dimensions that the rows span."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.solvers.base import State, steeper_than
from jax_logreg.solvers.lbfgs import LBFGS
from jax_logreg.solvers.newton_cg import NewtonCG

_STEPS = 100


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowSpace(LBFGS):
    """L-BFGS that begins where Newton-CG in the span of the rows ends.

    For p > n and a ridge penalty on every coefficient: a Gram matrix of the rows is made
    once, and each step then costs n² in place of n·p, however the columns are scaled and
    correlated. See ``objective/kernel_form.py``.
    """

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return super().needs | {"row_space"}

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        inner, lift = oracle.row_space()
        small = 1e3 * float(jnp.finfo(theta.dtype).eps)
        method = NewtonCG("gram")
        begin = method.init(inner, jnp.zeros(inner.num_parameters(), theta.dtype))
        end = method.run_roughly(inner, begin, steeper_than(small), _STEPS)
        return super().init(oracle, lift(end.point.theta))
