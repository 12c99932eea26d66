r"""Mistakes that people make in logistic and softmax regression, each as a formula.

Every entry is the row's slope (or curvature) as the mistake has it; carried back through
the same logits it gives the whole wrong gradient or Hessian, to be held against the
hand-written one.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.logistic import LogisticModel

Array = jax.Array


class Mistake(NamedTuple):
    """One wrong formula.

    Attributes:
        kind: slug.
        text: a sentence.
        rows: η ↦ residual (gradient), or (η, z) ↦ curved (Hessian), for all rows.
        any_factor: whether the factor in front is part of the mistake.
    """

    kind: str
    text: str
    rows: Callable[..., Array]
    any_factor: bool = False


def offset_mistakes(model: LogisticModel, right: Callable[..., Array]) -> Iterator[Mistake]:
    """The offset left out, or with another sign."""
    o = model.offset
    if not model.has_offset:
        return
    for text, times in (
        ("The offset is left out", -1.0),
        ("The offset has the wrong sign", -2.0),
        ("The offset is added twice", 1.0),
    ):
        yield Mistake("offset", text, lambda eta, *z, t=times: right(eta + t * o, *z))


def other_weights(model: LogisticModel) -> Iterator[tuple[str, Array]]:
    """What may stand in for the sample weights: a sentence, and the weights."""
    w = model.weight
    if not model.has_weights:
        return
    size = jnp.mean(jnp.abs(w))
    shapes = [
        ("The sample weights are left out", jnp.full_like(w, size)),
        ("The sample weights are squared", w**2 / size),
        ("The square roots of the sample weights stand in for them", jnp.sqrt(jnp.abs(w) * size)),
        ("It divides by the sample weights",
         jnp.where(w == 0, 0, size**2 / jnp.where(w == 0, 1, w))),
        ("The sample weights are shifted by one row", jnp.roll(w, 1)),
        ("The sample weights are shifted by one row", jnp.roll(w, -1)),
        ("The sample weights are in reverse order", w[::-1]),
    ]  # fmt: skip
    for text, other in shapes:
        yield text, column(model, other)


def column(model: LogisticModel, rows: Array) -> Array:
    """One number a row, to be multiplied with what the logits are shaped like."""
    return rows[:, None] if model.softmax else rows


def class_of(model: LogisticModel) -> np.ndarray:
    """Which class each coordinate of θ moves, (P,); −1 where several."""
    classes = model.offset.shape[1] if model.softmax else 1
    rng = np.random.default_rng(3)
    z = rng.normal(size=(classes, *model.offset.shape))
    if model.softmax:
        z *= np.eye(classes)[:, None, :]
    table = np.abs(model.pull(z)) > 0
    return np.where(table.sum(axis=0) == 1, np.argmax(table, axis=0), -1)


def intercepts(model: LogisticModel) -> np.ndarray:
    """Which coordinates add the same to every row of a class, (P,) of bool."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=model.offset.shape)
    centred, plain = model.pull(np.stack([z - z.mean(axis=0), np.abs(z) + 1]))
    return (np.abs(centred) <= 1e-12 * np.abs(plain)) & (plain != 0)
