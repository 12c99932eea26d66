r"""What is added to the loss to keep coefficients small. The intercept is never penalised."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class L2:
    r"""Ridge penalty :math:`P(\beta) = \tfrac12\,\text{strength}\sum_j f_j\|\beta_j\|^2`.

    The strength multiplies the *mean* loss: scikit-learn's ``C`` is
    1 / (strength · Σw), glmnet's ``lambda`` with ``alpha=0`` is the strength.

    Attributes:
        strength: scalar ≥ 0; zero is no penalty.
        factor: f, (p,), ≥ 0; one factor a feature, ones if absent.

    >>> L2(0.5).value(jnp.array([1.0, 2.0])).item()
    1.25
    >>> L2(0.5, factor=[1.0, 0.0]).value(jnp.array([1.0, 2.0])).item()
    0.25
    """

    strength: ArrayLike
    factor: ArrayLike | None = None

    def curvature(self, coef: jax.Array) -> jax.Array:
        """strength · factor for every coefficient: the diagonal of P's Hessian."""
        strength = jnp.asarray(self.strength, coef.dtype)
        if self.factor is None:
            return jnp.broadcast_to(strength, coef.shape)
        factor = jnp.asarray(self.factor, coef.dtype).reshape((-1,) + (1,) * (coef.ndim - 1))
        return jnp.broadcast_to(strength * factor, coef.shape)

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β), a scalar, for coefficients (p,) or (p, K)."""
        return 0.5 * jnp.sum(self.curvature(coef) * coef**2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ElasticNet:
    r"""Lasso and ridge together: it sets coefficients to zero, exactly.

    .. math::
        P(\beta) = \text{strength}\sum_j f_j\sum_k\Big(\text{l1\_ratio}\,|\beta_{jk}|
        + \tfrac12(1-\text{l1\_ratio})\,\beta_{jk}^2\Big).

    The strength multiplies the *mean* loss, as in ``L2``. Every coefficient of softmax
    counts for itself. Source: Zou & Hastie (2005), J. R. Statist. Soc. B 67.

    Attributes:
        strength: scalar ≥ 0.
        l1_ratio: scalar in [0, 1]: 1 is the lasso, 0 is ``L2``.
        factor: f, (p,), ≥ 0; one factor a feature, ones if absent.

    >>> ElasticNet(0.5).value(jnp.array([1.0, -2.0])).item()
    1.5
    >>> ElasticNet(0.5, l1_ratio=0.0).value(jnp.array([1.0, -2.0])).item()
    1.25
    """

    strength: ArrayLike
    l1_ratio: ArrayLike = 1.0
    factor: ArrayLike | None = None

    def smooth(self) -> L2:
        """The ridge part."""
        return L2(jnp.asarray(self.strength) * (1 - jnp.asarray(self.l1_ratio)), self.factor)

    def kinks(self, coef: jax.Array) -> jax.Array:
        """strength · l1_ratio · factor for every coefficient: the slope of P beside zero."""
        strength = jnp.asarray(self.strength) * jnp.asarray(self.l1_ratio)
        return L2(strength, self.factor).curvature(coef)

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β), a scalar, for coefficients (p,) or (p, K)."""
        return self.smooth().value(coef) + jnp.sum(self.kinks(coef) * jnp.abs(coef))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Firth:
    r"""Jeffreys' prior: half the log-determinant of the information joins the log-likelihood.

    It takes the first-order bias out of the estimates, and they stay finite on separated
    data. Columns must not depend on one another: the determinant is zero then, and the fit
    ends ``NOT_FINITE``. Source: Firth (1993), "Bias reduction of maximum likelihood
    estimates", Biometrika 80.
    """
