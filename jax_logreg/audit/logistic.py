r"""Recognition of a logistic loss by its derivatives alone.

With respect to the logits η its slope is :math:`\tilde w(\mu-y)` and its curvature
:math:`\tilde w\,\mathrm d\mu/\mathrm d\eta`, with μ the sigmoid or the softmax of η. From
the two follow weight and label of every row, however the loss was written; its slope at a
second set of logits proves or refutes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.linear_predictor import SplitLoss, column_norms
from jax_logreg.audit.reference import directional_derivative
from jax_logreg.audit.traced import run_compiled, run_in_batches

# Columns of a Hessian that are computed in one call.
_STABLE_BATCH = 20


@dataclass(frozen=True)
class LogisticModel:
    """The pieces of a logistic loss, read off its derivatives.

    Attributes:
        split: the loss, split at its logits.
        softmax: whether μ is the softmax of the logits, not their sigmoid.
        class_axis: axis of the classes in the loss's own logits; −1 for the sigmoid.
        weight: w̃ of every row, (n, 1).
        y: labels, (n, K); K = 1 for the sigmoid.
        offset: η where θ is zero, (n, K).
        has_offset: whether the offset is not zero.
        has_weights: whether the weights are not all equal.
    """

    split: SplitLoss
    softmax: bool
    class_axis: int
    weight: Any
    y: Any
    offset: Any
    has_offset: bool
    has_weights: bool

    @property
    def constants(self) -> list[Any]:
        """The data, and what was read off them."""
        return [*self.split.constants, self.weight, self.y, self.offset]

    def with_constants(self, constants: Sequence[Any]) -> "LogisticModel":
        """The same model of other data."""
        *data, weight, y, offset = constants
        split = self.split.with_constants(data)
        return replace(self, split=split, weight=weight, y=y, offset=offset)

    def mean(self, eta: jax.Array) -> jax.Array:
        """μ of logits (n, K)."""
        return _mean(eta, self.softmax)

    def logits(self, theta: jax.Array) -> jax.Array:
        """η, (n, K)."""
        return _rows_first(self.split.logits(theta), self.class_axis, self.softmax)

    def vjp_to_parameters(self, stack: np.ndarray) -> np.ndarray:
        """Xᵀ r for a stack of r, (m, n, K): (m, P)."""
        if self.softmax:
            shape = self.split.shape
            moved = np.moveaxis(np.zeros(shape), self.class_axis, -1).shape
            axis = self.class_axis % len(shape) + 1
            stack = np.moveaxis(stack.reshape(len(stack), *moved), -1, axis)
        return self.split.vjp_to_parameters(stack.reshape(len(stack), *self.split.shape))


def _mean(eta: jax.Array, softmax: bool) -> jax.Array:
    return jax.nn.softmax(eta, axis=-1) if softmax else jax.nn.sigmoid(eta)


def _rows_first(eta: jax.Array, class_axis: int, softmax: bool) -> jax.Array:
    """The loss's own logits as (n, K)."""
    if not softmax:
        return eta.reshape(-1, 1)
    eta = jnp.moveaxis(eta, class_axis, -1)
    return eta.reshape(-1, eta.shape[-1])


def recognise(split: SplitLoss, theta: jax.Array) -> LogisticModel | None:
    """Read weights and labels off the derivatives of a loss; None if it is not logistic."""
    axes = [axis for axis, size in enumerate(split.shape) if size > 1]
    attempts = [(True, axis) for axis in reversed(axes) if len(split.shape) > 1]
    for softmax, axis in [*attempts, (False, -1)]:
        static = (("softmax", softmax), ("axis", axis))
        probes = np.random.default_rng(0).normal(size=(3, *split.shape))
        weight, y, offset, gap = run_compiled(split, _read_off, theta, probes, static=static)
        if gap <= 1e-9:
            weight, y, offset = (np.asarray(x) for x in (weight, y, offset))
            varies = np.ptp(weight) > 1e-9 * np.max(np.abs(weight))
            return LogisticModel(
                split, softmax, axis, weight, y, offset, bool(offset.any()), bool(varies)
            )
    return None


def _read_off(
    split: SplitLoss, theta: jax.Array, probes: jax.Array, softmax: bool, axis: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Weights, labels, offset, and the relative error of the slope that they predict elsewhere."""

    def loss(eta: jax.Array) -> jax.Array:
        if softmax:
            moved = jnp.moveaxis(jnp.zeros(split.shape), axis, -1).shape
            eta = jnp.moveaxis(eta.reshape(moved), -1, axis)
        return split.loss_of_logits(theta, eta.reshape(split.shape))

    offset = _rows_first(split.logits(jnp.zeros_like(theta)), axis, softmax)
    here, there, probe = (_rows_first(r, axis, softmax) for r in probes)
    slope = jax.grad(loss)(here)
    curved = directional_derivative(jax.grad(loss), here, probe)
    mu, mu_curved = jax.jvp(lambda eta: _mean(eta, softmax), (here,), (probe,))
    top, bottom = (jnp.sum(a * mu_curved, axis=1, keepdims=True) for a in (curved, mu_curved))
    weight = top / bottom
    # The label of a row of weight zero cannot be read.
    y = mu - jnp.where(weight == 0, mu, slope / jnp.where(weight == 0, 1, weight))
    expected = weight * (_mean(there, softmax) - y)
    gap = jnp.max(jnp.abs(jax.grad(loss)(there) - expected)) / jnp.max(jnp.abs(weight))
    return weight, y, offset, gap


def weighted_column_norms(model: LogisticModel) -> np.ndarray:
    """√Σᵢ wᵢ xᵢⱼ² of every column behind the logits, (P,), by random projections."""
    root, rng = np.sqrt(np.abs(model.weight)), np.random.default_rng(5)
    return column_norms(model.vjp_to_parameters, model.offset.shape, rng, root)


def stable_derivative(model: LogisticModel, kind: str, *vectors: np.ndarray) -> np.ndarray:
    """A derivative from w̃(μ − y): accurate where autodiff of the loss as written is not."""
    if kind == "hessian":
        columns = np.eye(model.split.size)
        thetas = np.broadcast_to(vectors[0], columns.shape)
        return run_in_batches(model, _stable_rows, _STABLE_BATCH, thetas, columns)
    return np.asarray(run_compiled(model, _stable, *vectors))


def _stable_rows(model: LogisticModel, *stacks: jax.Array) -> jax.Array:
    return jax.vmap(lambda *row: _stable(model, *row))(*stacks)


def _stable(model: LogisticModel, theta: jax.Array, *vector: jax.Array) -> jax.Array:
    eta, vjp_to_parameters = jax.vjp(model.logits, theta)

    def residual(eta: jax.Array) -> jax.Array:
        return model.weight * (model.mean(eta) - model.y)

    rows = residual(eta)
    if vector:
        z = jax.jvp(model.logits, (theta,), vector)[1]
        rows = jax.jvp(residual, (eta,), (z,))[1]
    return vjp_to_parameters(rows)[0] + penalty_slope(model.split, theta, *vector)


def penalty_slope(split: SplitLoss, theta: jax.Array, *vector: jax.Array) -> jax.Array:
    """Gradient of all that is not the data term, or its derivative along a vector, (P,)."""
    eta = split.logits(theta)

    def slope(t: jax.Array) -> jax.Array:
        return jax.grad(split.loss_of_logits)(t, eta)

    return directional_derivative(slope, theta, *vector) if vector else slope(theta)


def intercept_mask(model: LogisticModel) -> np.ndarray:
    """Which coordinates of θ add the same to every row of a class, (P,) of bool."""
    z = np.random.default_rng(4).normal(size=model.offset.shape)
    centred, plain = model.vjp_to_parameters(np.stack([z - z.mean(axis=0), np.abs(z) + 1]))
    return (np.abs(centred) <= 1e-12 * np.abs(plain)) & (plain != 0)
