r"""The oracle of Firth's bias reduction: the log-likelihood plus half the log-determinant of its
information.

.. math::
    F^*(\theta) = F(\theta) - \frac{1}{2 \sum_i w_i} \log\det I(\theta),
    \qquad I = \textstyle\sum_i w_i J_i^\top W_i J_i,

with :math:`J_i` the row's design in contrasts with class 0 and :math:`W_i` its curvature. With
:math:`S_i = J_i I^{-1} J_i^\top` the score is that of the data with each residual changed, for
the sigmoid and for class m of softmax, by

.. math::
    -\tfrac12 S_i\,\mu_i(1-\mu_i)(1-2\mu_i), \qquad
    -\tfrac12\,\mu_{im}\Big(v_{im} - \sum_k v_{ik}\mu_{ik}\Big),
    \quad v_i = \operatorname{diag} S_i - 2 S_i\mu_i .

Sources: Firth (1993), Biometrika 80; Heinze & Schemper (2002), Statistics in Medicine 21.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.linear_algebra import Preconditioner, jacobi_scaling
from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial
from jax_logreg.derivatives.preconditioners import preconditioner
from jax_logreg.objective.identifiability import LogisticProblem, add_gauge_curvature
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.model import probability
from jax_logreg.objective.objective import Objective


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FirthOracle(Oracle):
    """Firth's objective; its Hessian is the information, as in Fisher scoring, unless the exact
    one is asked for.

    Attributes:
        objective: the problem; its penalty is ``Firth()``.
        total: Σw.
        derivatives: ``analytic`` for the score as written above; with ``autodiff`` it is the
            gradient of the value by JAX.
        exact: whether the Hessian is that of F*, the score's Jacobian.
        log_volume: Σ log s of columns that were divided by s, once a contrast: the value is that in
            the units before.
    """

    objective: Objective
    total: jax.Array
    derivatives: Any = field(default=analytic, metadata={"static": True})
    exact: bool = field(default=False, metadata={"static": True})
    log_volume: Any = 0.0

    capabilities = frozenset({"gradient", "hessian", "line", "preconditioner"})

    @property
    def num_rows(self) -> int:
        """n."""
        return self.objective.X.shape[0]

    @property
    def problem(self) -> LogisticProblem:
        """The gauge; a minimum always exists."""
        return LogisticProblem(self.objective)

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        """Value and gradient at θ; there is no product along a direction."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        by_hand = self.derivatives is analytic
        slope = self._score(eta) if by_hand else jax.grad(self._value)(theta)
        return Point(theta, self._value(theta), slope, eta)

    def _value(self, theta: jax.Array) -> jax.Array:
        """F* at θ, from the plain formulas."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        log_determinant = half_log_determinant(F, eta) + self.log_volume
        return F.mean(cross_entropy(eta, F.y)) - log_determinant / self.total

    def _score(self, eta: jax.Array) -> jax.Array:
        F = self.objective
        residual = analytic.loss_and_residual(eta, F.y).residual
        # backward() weighs by w/Σw, and S was made with w/Σw: one Σw remains.
        return analytic.backward(F, residual - score_change(F, eta) / self.total)

    def hessian(self, point: Point) -> jax.Array:
        """The information by Σw, (P, P), or the curvature of F*."""
        if self.exact:
            H = jax.jacfwd(lambda theta: self.evaluate(theta).gradient)(point.theta)
        else:
            H = analytic.information(self.objective, point.logits)
        return add_gauge_curvature(self.objective, H)

    def preconditioner(self, kind: str, point: Point | None = None) -> Preconditioner:
        """That of the likelihood."""
        return preconditioner(self.objective, kind, point)

    def line(self, point: Point, direction: jax.Array) -> Line:
        """F*, its slope and its points along a line: a Hessian for each trial."""

        def at(t: jax.Array) -> Trial:
            there = self.evaluate(point.theta + t * direction)
            return Trial(there.value, jnp.vdot(there.gradient, direction))

        return Line(at, lambda t, _: self.evaluate(point.theta + t * direction))


class _Factor:
    """The Cholesky factor of the information by Σw, in contrasts with class 0, scaled to a unit
    diagonal."""

    def __init__(self, objective: Objective, eta: jax.Array) -> None:
        H = analytic.information(objective, eta)
        if objective.class_shape:
            (K,) = objective.class_shape
            H = H.reshape(-1, K, len(H) // K, K)[:, 1:, :, 1:]
            H = H.reshape(H.shape[0] * (K - 1), -1)
        self.scale = jacobi_scaling(H)
        self.cholesky = jnp.linalg.cholesky(H * self.scale[:, None] * self.scale[None, :])

    def inverse(self) -> jax.Array:
        identity = jnp.eye(len(self.scale), dtype=self.scale.dtype)
        inverse = cho_solve((self.cholesky, True), identity)
        return inverse * self.scale[:, None] * self.scale[None, :]


def half_log_determinant(objective: Objective, eta: jax.Array) -> jax.Array:
    """½ log det of the information by Σw, in contrasts with any class."""
    factor = _Factor(objective, eta)
    return jnp.sum(jnp.log(jnp.diag(factor.cholesky))) - jnp.sum(jnp.log(factor.scale))


def score_change(objective: Objective, eta: jax.Array) -> jax.Array:
    r"""∂/∂η of ½ log det of the information by Σw, divided by w/Σw; of the shape of η."""
    X = objective.X.to_array()
    Z = jnp.pad(X, ((0, 0), (0, 1)), constant_values=1) if objective.fit_intercept else X
    inverse = _Factor(objective, eta).inverse()
    mu = probability(eta)
    if eta.ndim == 1:
        leverage = jnp.sum((Z @ inverse) * Z, axis=1)
        return 0.5 * leverage * mu * (1 - mu) * (1 - 2 * mu)
    (K,) = objective.class_shape
    blocks = inverse.reshape(Z.shape[1], K - 1, Z.shape[1], K - 1)
    leverage = jnp.einsum("nj,jckd,nk->ncd", Z, blocks, Z, optimize=True)
    leverage = jnp.pad(leverage, ((0, 0), (1, 0), (1, 0)))  # class 0 has no contrast
    v = jnp.diagonal(leverage, axis1=1, axis2=2) - 2 * jnp.einsum("ncd,nd->nc", leverage, mu)
    return 0.5 * mu * (v - jnp.sum(v * mu, axis=1, keepdims=True))
