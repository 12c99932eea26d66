r"""Penalties: what is added to the loss to keep coefficients small.

The intercept is never penalised. A penalty is a convex function of the coefficients,

.. math:: P(\beta) = S(\beta) + \sum_{jk} \kappa_{jk}\,|\beta_{jk}|,

with a smooth part S that is separable, so that its Hessian is diagonal. Subclass
:class:`Penalty` to add one: everything else asks only the methods below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class Penalty:
    r"""The contract of a penalty.

    Register a subclass with ``jax.tree_util.register_dataclass`` as a frozen dataclass: its
    numbers are then leaves, over which ``jax.vmap`` runs and of which a new value does not
    recompile. A smooth penalty needs ``value``, ``gradient`` and ``curvature``.

    Attributes:
        has_l1: whether κ may be positive, so that P has no gradient where a coefficient is zero.
        is_quadratic: whether P is ½ Σ cⱼβⱼ², which the representer theorem needs.
        is_jeffreys: whether the fit adds the log-determinant of the information, which keeps
            every estimate finite.
        domains: field ↦ what ``fit`` checks before it starts: "nonnegative", "fraction" (in
            [0, 1]), each a scalar, or "nonnegative per feature", (p,) or None.
    """

    has_l1: ClassVar[bool] = False
    is_quadratic: ClassVar[bool] = False
    is_jeffreys: ClassVar[bool] = False
    domains: ClassVar[Mapping[str, str]] = {}

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β), a scalar, for coefficients (p,) or (p, K)."""
        raise NotImplementedError

    def smooth_value(self, coef: jax.Array) -> jax.Array:
        """S(β), a scalar."""
        return self.value(coef)

    def gradient(self, coef: jax.Array) -> jax.Array:
        """∇S(β), of the shape of β."""
        raise NotImplementedError

    def curvature(self, coef: jax.Array) -> jax.Array:
        """The diagonal of S's Hessian at β, of the shape of β, none negative."""
        raise NotImplementedError

    def largest_curvature(self, coef: jax.Array) -> jax.Array:
        """A bound on the curvature at any β: that at zero, unless a subclass knows better."""
        return self.curvature(jnp.zeros_like(coef))

    def l1_weights(self, coef: jax.Array) -> jax.Array:
        """κ, of the shape of β: the slope of P on either side of zero."""
        return jnp.zeros_like(coef)

    def growth(self, coef: jax.Array) -> jax.Array:
        """How strongly each coefficient is penalised, of the shape of β: positive where P grows
        without bound in that coefficient, zero where it leaves it free."""
        return self.largest_curvature(coef) + self.l1_weights(coef)

    def allows_class_shift(self, coef: jax.Array) -> jax.Array:
        """Whether moving a feature's coefficients to mean zero over the classes never raises P,
        one boolean a coefficient; only free coefficients, unless a subclass knows better."""
        return self.growth(coef) == 0

    def for_columns(self, which: jax.Array) -> "Penalty":
        """The penalty of some columns, (m,), alone."""
        return self

    def simplified(self) -> "Penalty":
        """The same penalty of a simpler kind, where its numbers allow that."""
        return self


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class L2(Penalty):
    r"""Ridge penalty :math:`P(\beta) = \tfrac12\,\text{strength}\sum_j f_j\|\beta_j\|^2`.

    The strength multiplies the *mean* loss: it is 1 / (C · Σw) for scikit-learn's ``C``, and
    glmnet's ``lambda`` with ``alpha=0``.

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

    is_quadratic = True
    domains = {"strength": "nonnegative", "factor": "nonnegative per feature"}  # noqa: RUF012

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β), a scalar, for coefficients (p,) or (p, K)."""
        return 0.5 * jnp.sum(self.curvature(coef) * coef**2)

    def gradient(self, coef: jax.Array) -> jax.Array:
        """strength · factor · β."""
        return self.curvature(coef) * coef

    def curvature(self, coef: jax.Array) -> jax.Array:
        """strength · factor for every coefficient."""
        return _per_feature(self.strength, self.factor, coef)

    def growth(self, coef: jax.Array) -> jax.Array:
        """strength · factor."""
        return self.curvature(coef)

    def allows_class_shift(self, coef: jax.Array) -> jax.Array:
        """True: the mean of a feature's coefficients adds to the sum of their squares."""
        return jnp.ones(coef.shape, bool)

    def for_columns(self, which: jax.Array) -> "L2":
        """With the factors of those columns."""
        return replace(self, factor=_take(self.factor, which))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ElasticNet(Penalty):
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

    has_l1 = True
    domains = L2.domains | {"l1_ratio": "fraction"}

    def value(self, coef: jax.Array) -> jax.Array:
        """P(β), a scalar, for coefficients (p,) or (p, K)."""
        return self.smooth_value(coef) + jnp.sum(self.l1_weights(coef) * jnp.abs(coef))

    def smooth_value(self, coef: jax.Array) -> jax.Array:
        """The ridge part."""
        return 0.5 * jnp.sum(self.curvature(coef) * coef**2)

    def gradient(self, coef: jax.Array) -> jax.Array:
        """strength · (1 − l1_ratio) · factor · β."""
        return self.curvature(coef) * coef

    def curvature(self, coef: jax.Array) -> jax.Array:
        """strength · (1 − l1_ratio) · factor for every coefficient."""
        strength = jnp.asarray(self.strength) * (1 - jnp.asarray(self.l1_ratio))
        return _per_feature(strength, self.factor, coef)

    def l1_weights(self, coef: jax.Array) -> jax.Array:
        """strength · l1_ratio · factor for every coefficient."""
        strength = jnp.asarray(self.strength) * jnp.asarray(self.l1_ratio)
        return _per_feature(strength, self.factor, coef)

    def growth(self, coef: jax.Array) -> jax.Array:
        """strength · factor, whichever part acts."""
        return _per_feature(self.strength, self.factor, coef)

    def allows_class_shift(self, coef: jax.Array) -> jax.Array:
        """Where the L1 part does not act."""
        return self.l1_weights(coef) == 0

    def for_columns(self, which: jax.Array) -> "ElasticNet":
        """With the factors of those columns."""
        return replace(self, factor=_take(self.factor, which))

    def simplified(self) -> Penalty:
        """L2 where the ratio is known to be zero."""
        if isinstance(self.l1_ratio, jax.core.Tracer) or np.any(np.asarray(self.l1_ratio) != 0):
            return self
        return L2(self.strength, self.factor)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Firth(Penalty):
    r"""Jeffreys' prior: half the log-determinant of the information joins the log-likelihood.

    It removes the first-order bias of the estimates, and they stay finite on separated
    data. Columns must be linearly independent: otherwise the determinant is zero, and the fit
    ends ``NOT_FINITE``. Source: Firth (1993), "Bias reduction of maximum likelihood
    estimates", Biometrika 80.

    >>> from jax_logreg import fit
    >>> separated = fit(jnp.array([[-1.0], [1.0]]), jnp.array([0.0, 1.0]), penalty=Firth())
    >>> bool(separated.converged)
    True
    """

    is_jeffreys = True

    def value(self, coef: jax.Array) -> jax.Array:
        """Zero: the determinant depends on the data, see ``derivatives/firth.py``."""
        return jnp.zeros((), coef.dtype)

    def gradient(self, coef: jax.Array) -> jax.Array:
        """Zero, likewise."""
        return jnp.zeros_like(coef)

    def curvature(self, coef: jax.Array) -> jax.Array:
        """Zero, likewise."""
        return jnp.zeros_like(coef)

    def allows_class_shift(self, coef: jax.Array) -> jax.Array:
        """True: the determinant is the same for all shifts."""
        return jnp.ones(coef.shape, bool)


def _per_feature(strength: ArrayLike, factor: ArrayLike | None, coef: jax.Array) -> jax.Array:
    """strength · factor, of the shape and dtype of β."""
    strength = jnp.asarray(strength, coef.dtype)
    if factor is None:
        return jnp.broadcast_to(strength, coef.shape)
    factor = jnp.asarray(factor, coef.dtype).reshape((-1,) + (1,) * (coef.ndim - 1))
    return jnp.broadcast_to(strength * factor, coef.shape)


def _take(factor: ArrayLike | None, which: jax.Array) -> jax.Array | None:
    return None if factor is None else jnp.asarray(factor)[which]
