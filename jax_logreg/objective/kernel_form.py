r"""A problem with more columns than rows, carried over to the space that the rows span.

With a ridge penalty on every coefficient the gradient is zero only where
:math:`\beta_j = \alpha^\top x_j/c_j`, with c the penalty's curvature: nothing is lost by
looking there alone (the representer theorem: Kimeldorf & Wahba, 1970, Ann. Math.
Statist. 41). With :math:`X C^{-1} X^\top = LL^\top` and :math:`\gamma = L^{-1}X\beta` the
logits are Lγ and the penalty is ½‖γ‖²: the same problem with L in the place of X.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jax_logreg.objective.dense_features import precision, transposed_times
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.penalties import L2
from jax_logreg.objective.sparse_features import dense


class RowSpaceProblem(NamedTuple):
    """The n-dimensional problem and what leads back from it.

    Attributes:
        objective: with L for X and a penalty of strength one.
        original: the problem that was carried over.
    """

    objective: Objective
    original: Objective

    def lift(self, gamma: jax.Array) -> jax.Array:
        """θ of the original for the parameters of the n-dimensional problem."""
        coef, intercept = self.objective.split(gamma)
        alpha = solve_triangular(dense(self.objective.X).T, coef, lower=False)
        beta = transposed_times(self.original.X, alpha)
        return self.original.join(beta / self.original.penalty.curvature(beta), intercept)


def carry_over(objective: Objective) -> RowSpaceProblem:
    """The same problem over the span of its rows; every coefficient must be penalised."""
    X = dense(objective.X)
    curvature = objective.penalty.curvature(jnp.zeros(X.shape[1], X.dtype))
    K = jnp.matmul(X / curvature, X.T, precision=precision())
    # Rows that repeat make K singular: a lift by round-off costs digits, not the answer.
    lift = len(K) * jnp.finfo(X.dtype).eps * jnp.max(jnp.diag(K))
    L = jnp.linalg.cholesky(K + lift * jnp.eye(len(K), dtype=X.dtype))
    one = L2(jnp.ones((), X.dtype))
    return RowSpaceProblem(replace(objective, X=L, penalty=one), objective)
