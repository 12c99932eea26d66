r"""Firth's bias reduction: the log-likelihood plus half the log-determinant of its information.

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

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from jax_logreg.derivatives.assembly import backward, hessian_from_logits
from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial
from jax_logreg.derivatives.preconditioners import (
    PRECONDITIONERS,
    Preconditioner,
    invert,
    unit_scale,
)
from jax_logreg.derivatives.rows import loss_and_residual
from jax_logreg.objective.identifiability import centre_classes, pin_class_shifts
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.model import probability
from jax_logreg.objective.objective import Objective
from jax_logreg.objective.sparse_features import dense


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FirthOracle(Oracle):
    """Firth's objective; its Hessian is the information, as in Fisher's scoring, unless it is
    wanted exact.

    Attributes:
        objective: the problem, without a penalty.
        total: Σw.
        by_hand: the score as written above; else the gradient of the value by autodiff.
        exact: whether the Hessian is that of F*, the score's Jacobian.
    """

    objective: Objective
    total: jax.Array
    by_hand: bool = field(default=True, metadata={"static": True})
    exact: bool = field(default=False, metadata={"static": True})

    offers = frozenset({"gradient", "hessian", "along", "preconditioner"})

    def value(self, theta: jax.Array) -> jax.Array:
        """F* at θ, from the plain formulas."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        bonus = half_log_determinant(F, eta) / self.total
        return F.mean(cross_entropy(eta, F.y)) - bonus

    def at(self, theta: jax.Array) -> Point:
        """Value and gradient at θ."""
        F = self.objective
        eta = F.add_offset(F.linear(theta))
        slope = self._score(eta) if self.by_hand else jax.grad(self.value)(theta)
        return Point(theta, self.value(theta), slope, eta)

    def _score(self, eta: jax.Array) -> jax.Array:
        F = self.objective
        residual = loss_and_residual(eta, F.y).residual
        # backward() weighs by w/Σw, and S was made of w/Σw: Σw is left over once.
        return backward(F, residual - score_change(F, eta) / self.total)

    def hessian(self, point: Point) -> jax.Array:
        """The information by Σw, (P, P), or the curvature of F*."""
        if self.exact:
            return jax.jacfwd(lambda theta: self.at(theta).gradient)(point.theta)
        return hessian_from_logits(self.objective, point.logits)

    def inverted_hessian(self, point: Point) -> Preconditioner:
        """The information at a point, ready to divide by."""
        return invert(self.pin(self.hessian(point)))

    def preconditioner(self, kind: str) -> Preconditioner:
        """That of the likelihood, "gram" or "diagonal"."""
        return PRECONDITIONERS[kind](self.objective)

    def along(self, point: Point, direction: jax.Array) -> Line:
        """F*, its slope and its points along a line: a Hessian for each."""

        def at(t: jax.Array) -> Trial:
            there = self.at(point.theta + t * direction)
            return Trial(there.value, jnp.vdot(there.gradient, direction))

        return Line(at, lambda t, _: self.at(point.theta + t * direction))

    def num_parameters(self) -> int:
        """P, the length of θ."""
        return self.objective.num_parameters

    def num_rows(self) -> int:
        """How many rows there are."""
        return self.objective.X.shape[0]

    def centre(self, theta: jax.Array) -> jax.Array:
        """θ with classes of mean zero."""
        return centre_classes(self.objective, theta)

    def pin(self, hessian: jax.Array) -> jax.Array:
        """The Hessian with curvature along the class shifts."""
        return pin_class_shifts(self.objective, hessian)


class _Factor:
    """The Cholesky factor of the information by Σw in contrasts with class 0, scaled."""

    def __init__(self, objective: Objective, eta: jax.Array) -> None:
        H = hessian_from_logits(objective, eta)
        if objective.class_shape:
            (K,) = objective.class_shape
            H = H.reshape(-1, K, len(H) // K, K)[:, 1:, :, 1:]
            H = H.reshape(H.shape[0] * (K - 1), -1)
        self.scale = unit_scale(H)
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
    X = dense(objective.X)
    Z = jnp.pad(X, ((0, 0), (0, 1)), constant_values=1) if objective.fit_intercept else X
    inverse = _Factor(objective, eta).inverse()
    mu = probability(eta)
    if eta.ndim == 1:
        spread = jnp.sum((Z @ inverse) * Z, axis=1)
        return 0.5 * spread * mu * (1 - mu) * (1 - 2 * mu)
    (K,) = objective.class_shape
    blocks = inverse.reshape(Z.shape[1], K - 1, Z.shape[1], K - 1)
    spread = jnp.einsum("nj,jckd,nk->ncd", Z, blocks, Z, optimize=True)
    spread = jnp.pad(spread, ((0, 0), (1, 0), (1, 0)))  # class 0 has no contrast
    v = jnp.diagonal(spread, axis1=1, axis2=2) - 2 * jnp.einsum("ncd,nd->nc", spread, mu)
    return 0.5 * mu * (v - jnp.sum(v * mu, axis=1, keepdims=True))
