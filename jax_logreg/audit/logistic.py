r"""Recognising a logistic loss by its derivatives alone.

Where the logits η enter, its slope is :math:`\tilde w(\mu-y)` and its curvature
:math:`\tilde w\,\mathrm d\mu/\mathrm d\eta` with μ the sigmoid or the softmax of η.
From the two, weights and labels of every row follow, whatever way the loss was written;
a second set of logits proves or refutes it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.anatomy import Cut, column_norms
from jax_logreg.audit.program import run
from jax_logreg.audit.reference import along


@dataclass(frozen=True)
class LogisticModel:
    """What a logistic loss is made of, as its derivatives tell.

    Attributes:
        cut: logits and rest.
        softmax: whether μ is the softmax of the logits, else their sigmoid.
        class_axis: of the loss's own logits; −1 for the sigmoid.
        weight: w̃ of every row, (n,).
        y: labels, (n,) or (n, K).
        offset: η where θ is zero, (n,) or (n, K).
        has_offset, has_weights: whether these differ from none, and from constant.
    """

    cut: Cut
    softmax: bool
    class_axis: int
    weight: Any
    y: Any
    offset: Any
    has_offset: bool
    has_weights: bool

    @property
    def identity(self) -> Hashable:
        """See :class:`Program`."""
        flags = (self.softmax, self.class_axis, self.has_offset, self.has_weights)
        return self.cut.identity, flags

    @property
    def constants(self) -> list[Any]:
        """The data, and what was read off them."""
        return [*self.cut.constants, self.weight, self.y, self.offset]

    def with_constants(self, constants: Sequence[Any]) -> "LogisticModel":
        """The same model of other data."""
        *data, weight, y, offset = constants
        return replace(self, cut=self.cut.with_constants(data), weight=weight, y=y, offset=offset)

    @property
    def size(self) -> int:
        """Length of θ."""
        return self.cut.size

    def mean(self, eta: jax.Array) -> jax.Array:
        """μ of logits (n,) or (n, K)."""
        return _mean(eta, self.softmax)

    def logits(self, theta: jax.Array) -> jax.Array:
        """η, (n,) or (n, K)."""
        return rows_first(self.cut.logits(theta), self.class_axis, self.softmax)

    def pull(self, stack: np.ndarray) -> np.ndarray:
        """Xᵀ r for a stack of r, (m, n) or (m, n, K): (m, P)."""
        if self.softmax:
            shape = self.cut.shape
            moved = np.moveaxis(np.zeros(shape), self.class_axis, -1).shape
            back = stack.reshape(len(stack), *moved)
            axis = self.class_axis % len(shape) + 1
            return self.cut.pull(np.moveaxis(back, -1, axis))
        return self.cut.pull(stack.reshape(len(stack), *self.cut.shape))


def _mean(eta: jax.Array, softmax: bool) -> jax.Array:
    return jax.nn.softmax(eta, axis=-1) if softmax else jax.nn.sigmoid(eta)


def rows_first(eta: jax.Array, class_axis: int, softmax: bool) -> jax.Array:
    """Logits as (n,), or as (n, K) where the classes lie along an axis."""
    if not softmax:
        return eta.reshape(-1)
    eta = jnp.moveaxis(eta, class_axis, -1)
    return eta.reshape(-1, eta.shape[-1])


def recognise(cut: Cut, theta: jax.Array) -> LogisticModel | None:
    """Read weights, labels and penalty off the derivatives; None if it is no such loss."""
    axes = [axis for axis, size in enumerate(cut.shape) if size > 1]
    attempts = [(True, axis) for axis in reversed(axes) if len(cut.shape) > 1]
    for softmax, axis in [*attempts, (False, -1)]:
        static = (("softmax", softmax), ("axis", axis))
        weight, y, offset, gap = run(cut, _read_off, theta, static=static)
        if gap <= 1e-9:
            weight, y, offset = (np.asarray(x) for x in (weight, y, offset))
            varies = np.ptp(weight) > 1e-9 * np.max(np.abs(weight))
            return LogisticModel(
                cut, softmax, axis, weight, y, offset, bool(offset.any()), bool(varies)
            )
    return None


def _read_off(
    cut: Cut, theta: jax.Array, softmax: bool, axis: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Weights, labels, offset, and how far another slope is from what these predict."""

    def rest(eta: jax.Array) -> jax.Array:
        if softmax:
            moved = jnp.moveaxis(jnp.zeros(cut.shape), axis, -1).shape
            eta = jnp.moveaxis(eta.reshape(moved), -1, axis)
        return cut.rest(theta, eta.reshape(cut.shape))

    offset = rows_first(cut.logits(jnp.zeros_like(theta)), axis, softmax)
    here, there, probe = jax.random.normal(jax.random.key(0), (3, *offset.shape), theta.dtype)
    slope, curved = jax.grad(rest)(here), along(jax.grad(rest), here, probe)
    mu, mu_curved = jax.jvp(lambda eta: _mean(eta, softmax), (here,), (probe,))
    if softmax:
        weight = jnp.sum(curved * mu_curved, axis=1) / jnp.sum(mu_curved**2, axis=1)
    else:
        weight = curved / mu_curved
    rows = weight[:, None] if softmax else weight
    # A row of no weight has no label to be read.
    y = mu - jnp.where(rows == 0, mu, slope / jnp.where(rows == 0, 1, rows))
    expected = rows * (_mean(there, softmax) - y)
    gap = jnp.max(jnp.abs(jax.grad(rest)(there) - expected)) / jnp.max(jnp.abs(rows))
    return weight, y, offset, gap


def column_sizes(model: LogisticModel) -> np.ndarray:
    """√Σ wᵢ xᵢⱼ² of every column behind the logits, (P,), by random projections."""
    root = np.sqrt(np.abs(model.weight))
    root = root[:, None] if model.softmax else root
    return column_norms(model.pull, model.offset.shape, np.random.default_rng(5), root)


def stable_derivative(model: LogisticModel, kind: str, *vectors: np.ndarray) -> np.ndarray:
    """A derivative by w̃(μ − y) and its curvature: exact where the loss's own form is not."""
    if kind == "hessian":
        (theta,) = vectors
        columns = np.eye(model.size)
        return np.stack([stable_derivative(model, "hvp", theta, v) for v in columns])
    return np.asarray(run(model, _stable, *vectors))


def _stable(model: LogisticModel, theta: jax.Array, *vector: jax.Array) -> jax.Array:
    eta, pull = jax.vjp(model.logits, theta)
    w = model.weight[:, None] if model.softmax else model.weight

    def residual(eta: jax.Array) -> jax.Array:
        return w * (model.mean(eta) - model.y)

    rows = residual(eta)
    if vector:
        z = jax.jvp(model.logits, (theta,), vector)[1]
        rows = jax.jvp(residual, (eta,), (z,))[1]
    return pull(rows)[0] + penalty_slope(model.cut, theta, *vector)


def penalty_slope(cut: Cut, theta: jax.Array, *vector: jax.Array) -> jax.Array:
    """Slope of all that is no data term, or its derivative along a vector, (P,)."""
    eta = cut.logits(theta)

    def slope(t: jax.Array) -> jax.Array:
        return jax.grad(cut.rest)(t, eta)

    return along(slope, theta, *vector) if vector else slope(theta)
