"""What an entry of the texts' atlas is, and where the formulas are tried."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.model import probability, sigmoid

Array = jax.Array


class Sample(NamedTuple):
    """Where the formulas are tried.

    Attributes:
        X: features, (n, p).
        y: labels 0 and 1, (n,); or one-hot, (n, K).
        w: weights, (p,) or (p, K).
    """

    X: Array
    y: Array
    w: Array

    @property
    def z(self) -> Array:
        """Logits, (n,) or (n, K)."""
        return self.X @ self.w

    @property
    def p(self) -> Array:
        """Predictions in the stable form, of the shape of z."""
        return probability(self.z)

    @property
    def few(self) -> "Sample":
        """The first 50 rows: a product over many more would underflow."""
        return self._replace(X=self.X[:50], y=self.y[:50])

    @property
    def square(self) -> "Sample":
        """As many rows as features, where w·X and X·w are both defined."""
        m = min(self.X.shape)
        return Sample(self.X[:m, :m], self.y[:m], self.w[:m])


Of = Callable[[Sample], Array]


class TextFormula(NamedTuple):
    """One formula of a text.

    Attributes:
        name: in Unicode, at most 48 characters.
        latex: as printed.
        hand: computes it as printed.
        counterpart: computes what it claims to equal.
        domain: where it holds, in words.
        where: text and heading.
        expected: "right", or "wrong: …" for a misprint.
        of: the function of w that was differentiated, where the formula is its gradient.
    """

    name: str
    latex: str
    hand: Of
    counterpart: Of
    domain: str
    where: str
    expected: str = "right"
    of: Of | None = None


def gradient_entry(
    name: str, latex: str, hand: Of, of: Of, domain: str, where: str, expected: str = "right"
) -> TextFormula:
    """A formula for ∂/∂w of a function; its counterpart is autodiff's."""

    @jax.jit
    def counterpart(s: Sample) -> Array:
        return jax.grad(lambda w: of(s._replace(w=w)))(s.w)

    return TextFormula(name, latex, hand, counterpart, domain, where, expected, of)


def slope_of(f: Callable[[Array], Array]) -> Of:
    """Autodiff's df/dz at every logit."""
    return lambda s: jax.vmap(jax.grad(f))(s.z)


def mean_loss(s: Sample) -> Array:
    """The mean cross-entropy, from logits."""
    return jnp.mean(cross_entropy(s.z, s.y))


def seen(s: Sample) -> Array:
    """The probability of the label that was seen, (n,)."""
    return sigmoid((2 * s.y - 1) * s.z)


def backward(s: Sample, rows: Array) -> Array:
    """(1/n) Xᵀ rows, of the shape of w."""
    return s.X.T @ rows / len(s.X)


def true(s: Sample) -> Array:
    """What a claim in words says of itself; its counterpart is what the numbers say."""
    return jnp.array(True)
