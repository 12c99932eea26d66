r"""The kernel form of a problem with more columns than rows.

With a ridge penalty on every coefficient the gradient is zero only where
:math:`\beta_j = \alpha^\top x_j/c_j`, with c the penalty's curvature: nothing is lost by
searching there alone (the representer theorem: Kimeldorf & Wahba, 1970, Ann. Math.
Statist. 41). With :math:`X C^{-1} X^\top = LL^\top` and :math:`\gamma = L^{-1}X\beta` the
logits are Lγ and the penalty is ½‖γ‖²: the same problem with L in place of X.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jax_logreg.objective.dense_features import DenseFeatures, precision
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.penalties import L2


class KernelForm(NamedTuple):
    """The n-dimensional problem, and the way back from it.

    Attributes:
        objective: with L for X and a ridge penalty of strength one.
        original: the problem with p columns.
    """

    objective: Objective
    original: Objective

    def to_original(self, gamma: jax.Array) -> jax.Array:
        """θ of the original problem, (P,), for the parameters of the n-dimensional one."""
        coef, intercept = self.objective.split(gamma)
        alpha = solve_triangular(self.objective.X.to_array().T, coef, lower=False)
        beta = self.original.X.rmatvec(alpha)
        return self.original.join(beta / self.original.penalty.curvature(beta), intercept)


def kernel_form(objective: Objective) -> KernelForm:
    """The same problem over the span of its rows.

    Args:
        objective: dense, with a quadratic penalty on every coefficient.
    """
    X = objective.X.to_array()
    curvature = objective.penalty.curvature(jnp.zeros(X.shape[1], X.dtype))
    K = jnp.matmul(X / curvature, X.T, precision=precision())
    # Repeated rows make K singular: a jitter of round-off costs digits, not the answer.
    jitter = len(K) * jnp.finfo(X.dtype).eps * jnp.max(jnp.diag(K))
    L = jnp.linalg.cholesky(K + jitter * jnp.eye(len(K), dtype=X.dtype))
    ridge = L2(jnp.ones((), X.dtype))
    return KernelForm(replace(objective, X=DenseFeatures(L), penalty=ridge), objective)
