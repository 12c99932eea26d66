r"""The catalogue of mistakes: each is a changed piece of the recipe of the right derivative.

A logistic derivative is a recipe: logits, their mean, a residual (for a Hessian: a
curvature), weights, an order of rows, a penalty. Whoever writes one by hand and errs has
written another piece in one of these places. So a mistake is a sentence and the changed
pieces, and gradient, Hessian and Hessian-vector product follow from the same ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.logistic import LogisticModel

Array = jax.Array
# Pieces that a gradient does not have, and pieces that a Hessian does not have: the labels
# drop out of the observed information.
_SECOND_ORDER_ONLY = {"curvature"}
_FIRST_ORDER_ONLY = {"residual", "labels"}


def information(mu: Array, y: Array, z: Array) -> Array:
    """(diag(μ) − μμᵀ) z row by row; μ(1 − μ) z for a sigmoid. y does not enter."""
    return mu * (z - (_total(mu * z) if mu.ndim > 1 else mu * z))


def _total(rows: Array) -> Array:
    return jnp.sum(rows, axis=1, keepdims=True)


def _unchanged(rows: Array) -> Array:
    return rows


@dataclass(frozen=True)
class Recipe:
    r"""A logistic derivative in pieces, with respect to the logits; rows (n,) or (n, K).

    With μ = mean(Xθ + offset), and weights w, labels y and μ taken in an order of rows,

    .. math:: g_i = w_i\,\mathrm{residual}(\mu_i, y_i), \qquad
              (Hv)_i = w_i\,\mathrm{curvature}(\mu_i, y_i, x_i^\top v),

    and the derivative is Xᵀg + penalty(s, θ, θ), or XᵀHv + penalty(s, θ, v), with s the
    strength of the penalty on each parameter.

    Attributes:
        weights: w, (n,) or (n, 1).
        labels: y.
        offset: of the logits.
        mean: η ↦ μ.
        residual: (μ, y) ↦ μ − y.
        curvature: (μ, y, z) ↦ ∂μ/∂η z.
        order: the rows of w, y and μ, in an order.
        penalty: (s, θ, x) ↦ s x.
    """

    weights: Array
    labels: Array
    offset: Array
    mean: Callable[[Array], Array]
    residual: Callable[[Array, Array], Array] = jnp.subtract
    curvature: Callable[[Array, Array, Array], Array] = information
    order: Callable[[Array], Array] = _unchanged
    penalty: Callable[[Any, Any, Any], Any] = lambda strength, theta, x: strength * x

    def rows(self, linear: Array, *z: Array) -> Array:
        """g of linear predictors Xθ; or Hv, where z = Xv is given."""
        mu = self.order(self.mean(linear + self.offset))
        w, y = self.order(self.weights), self.order(self.labels)
        return w * (self.curvature(mu, y, *z) if z else self.residual(mu, y))


def right_recipe(model: LogisticModel) -> Recipe:
    """The recipe without a mistake."""
    weights = model.weight[:, None] if model.softmax else model.weight
    return Recipe(weights, model.y, model.offset, model.mean)


class Mistake(NamedTuple):
    """Changed pieces of the recipe.

    Attributes:
        kind: one of ``match.KINDS``.
        text: a sentence.
        pieces: of the Recipe, by name.
        any_factor: whether the factor in front is part of the mistake.

    >>> Mistake("labels", "The labels are left out", {"labels": 0.0}).num_pieces(order=1)
    1
    """

    kind: str
    text: str
    pieces: dict[str, Any]
    any_factor: bool = False

    def change(self, recipe: Recipe) -> Recipe:
        """The recipe with this mistake."""
        return replace(recipe, **self.pieces)

    def num_pieces(self, order: int) -> int:
        """How many pieces of the first or second derivative it changes."""
        absent = _SECOND_ORDER_ONLY if order == 1 else _FIRST_ORDER_ONLY
        return len(set(self.pieces) - absent)


def catalogue(model: LogisticModel, order: int) -> list[Mistake]:
    """Every known mistake in a first or second derivative of a logistic loss.

    Args:
        model: the loss.
        order: 1 for a gradient, 2 for a Hessian or its product with a vector.

    Returns:
        Mistakes that change a piece which that derivative has.
    """
    recipe = right_recipe(model)
    found = [*_data_mistakes(model, recipe), *_mean_mistakes(recipe, model.softmax)]
    found += _softmax_formulas() if model.softmax else _sigmoid_formulas()
    found += _fisher(recipe.weights)
    return [mistake for mistake in found if mistake.num_pieces(order)]


def _data_mistakes(model: LogisticModel, recipe: Recipe) -> Iterator[Mistake]:
    """Offset, weights, labels, and the order of the rows."""
    w, y, offset, mean = recipe.weights, recipe.labels, recipe.offset, recipe.mean
    if model.has_offset:
        for text, times in (
            ("The offset is left out", 0.0),
            ("The offset has the wrong sign", -1.0),
            ("The offset is added twice", 2.0),
        ):
            yield Mistake("offset", text, {"offset": times * offset})
    if model.has_weights:
        for text, other in _other_weights(w):
            yield Mistake("weights", text, {"weights": other}, any_factor=True)
    labels = [
        ("labels", "Labels in {−1, 1} are used where {0, 1} is meant", 2 * y - 1),
        ("labels", "Labels are halved as if they were in {−1, 1}", (y + 1) / 2),
        ("labels", "The labels are left out: μ alone", jnp.zeros_like(y)),
        ("complement", "y stands against 1 − y: labels are flipped", 1 - y),
    ]
    if model.softmax:
        labels.append(("labels", "Class labels are in reverse order", y[:, ::-1]))
    for kind, text, other in labels:
        yield Mistake(kind, text, {"labels": other})
    text = "The prediction is left out: y alone"
    yield Mistake("labels", text, {"residual": lambda mu, y: -y}, any_factor=True)
    for shift in (1, -1):

        def shifted(rows: Array, by: int = shift) -> Array:
            return jnp.roll(rows, by, axis=0)

        def shifted_mean(eta: Array, by: int = shift) -> Array:
            return jnp.roll(mean(eta), by, axis=0)

        def shifted_class(rows: Array, by: int = shift) -> Array:
            return jnp.roll(rows, by, axis=1)

        text = "The rows of X are shifted by one against everything else"
        yield Mistake("off-by-one", text, {"order": shifted})
        text = "Predictions are shifted by one row"
        yield Mistake("off-by-one", text, {"mean": shifted_mean})
        text = "Labels and predictions are shifted by one row"
        yield Mistake("off-by-one", text, {"labels": shifted(y)})
        text = "Residuals are shifted by one row against X and the sample weights"
        yield Mistake("off-by-one", text, {"mean": shifted_mean, "labels": shifted(y)})
        if model.softmax:
            text = "Class labels are shifted by one"
            yield Mistake("labels", text, {"labels": shifted_class(y)})
            text = "The classes of residuals or of μ are shifted by one"
            yield Mistake("off-by-one", text, {"order": shifted_class})
    yield Mistake("off-by-one", "The rows are in reverse order", {"order": lambda r: r[::-1]})


def _other_weights(w: Array) -> list[tuple[str, Array]]:
    """What may stand in for the sample weights: a sentence, and the weights."""
    size = jnp.mean(jnp.abs(w))
    inverse = jnp.where(w == 0, 0, size**2 / jnp.where(w == 0, 1, w))
    return [
        ("The sample weights are left out", jnp.full_like(w, size)),
        ("The sample weights are squared", w**2 / size),
        ("The square roots of the sample weights stand in for them", jnp.sqrt(jnp.abs(w) * size)),
        ("It divides by the sample weights", inverse),
        ("The sample weights are shifted by one row", jnp.roll(w, 1, axis=0)),
        ("The sample weights are shifted by one row", jnp.roll(w, -1, axis=0)),
        ("The sample weights are in reverse order", w[::-1]),
    ]


def _mean_mistakes(recipe: Recipe, softmax: bool) -> Iterator[Mistake]:
    """Another function of the logits in place of μ.

    In a Hessian it enters the formula of the curvature; where that is not the derivative
    of the function, a curvature says what is.
    """
    mean, sigmoid = recipe.mean, jax.nn.sigmoid
    yield Mistake("complement", "p stands against 1 − p", {"mean": lambda eta: 1 - mean(eta)})
    text = "The logits stand in for the probabilities"
    yield Mistake("chain-factor", text, {"mean": _unchanged})
    for factor in (2.0, 0.5):
        text = f"The logits have the factor {factor:g}"
        yield Mistake("factor", text, {"mean": lambda eta, f=factor: mean(f * eta)})

    def over_rows(eta: Array) -> Array:
        return jax.nn.softmax(eta, axis=0)

    kind = "sigmoid-softmax"
    if softmax:
        text = "The sigmoid of each logit stands in for the softmax"
        yield Mistake(kind, text, {"mean": sigmoid})
        text = "The sigmoid and its σ(1 − σ) stand in for the softmax and its curvature"
        own = {"mean": sigmoid, "curvature": lambda mu, y, z: mu * (1 - mu) * z}
        yield Mistake(kind, text, own)
        text = "The sigmoid of the distance to the last class stands in for the softmax"
        yield Mistake(kind, text, {"mean": lambda eta: sigmoid(eta - eta[:, -1:])})
        text = "The softmax is taken over the rows, not over the classes"
        yield Mistake(kind, text, {"mean": over_rows})
        text = "The softmax is not normalised: exp(η)"
        yield Mistake("chain-factor", text, {"mean": jnp.exp})
        return
    text = "The softmax over the rows stands in for the sigmoid"
    yield Mistake(kind, text, {"mean": over_rows})
    text = "The sigmoid lacks its denominator: exp(η)"
    yield Mistake("chain-factor", text, {"mean": jnp.exp})
    text = "tanh stands in for the sigmoid"
    tanh = {"mean": jnp.tanh, "curvature": lambda mu, y, z: (1 - mu**2) * z}
    yield Mistake(kind, text, tanh)
    text = "The normal distribution (probit) stands in for the sigmoid"
    norm = jax.scipy.stats.norm
    probit = {"mean": norm.cdf, "curvature": lambda mu, y, z: norm.pdf(norm.ppf(mu)) * z}
    yield Mistake(kind, text, probit)
    text = "The class, 0 or 1, stands in for its probability"
    yield Mistake("chain-factor", text, {"mean": lambda eta: (eta > 0).astype(eta.dtype)})


def _too_much(name: str, factor: Callable[[Array], Array]) -> Mistake:
    """A factor too much in the residual and in the curvature."""
    pieces = {
        "residual": lambda mu, y: (mu - y) * factor(mu),
        "curvature": lambda mu, y, z: factor(mu) * information(mu, y, z),
    }
    return Mistake("chain-factor", f"A factor {name} is too much", pieces)


def _fisher(weights: Array) -> Iterator[Mistake]:
    def outer_products(mu: Array, y: Array, z: Array) -> Array:
        r = mu - y
        return r * (_total(r * z) if r.ndim > 1 else r * z)

    text = "Outer products of the scores (the empirical Fisher information) stand in for the observed information"  # noqa: E501
    pieces = {"curvature": outer_products}
    yield Mistake("fisher", text, pieces, any_factor=True)
    pieces_squared = {**pieces, "weights": weights**2 / jnp.mean(jnp.abs(weights))}
    yield Mistake("fisher", f"{text}, with w²", pieces_squared, any_factor=True)


def _spread(mu: Array) -> Array:
    return mu * (1 - mu)


def _complement(mu: Array) -> Array:
    return 1 - mu


def _sigmoid_formulas() -> Iterator[Mistake]:
    """Wrong residuals and curvatures of a sigmoid."""
    yield _too_much("σ", _unchanged)
    yield _too_much("1 − σ", _complement)
    yield _too_much("σ(1 − σ)", _spread)
    yield _too_much("1 − 2σ, that of the next derivative,", lambda mu: 1 - 2 * mu)

    def seen(mu: Array, y: Array) -> Array:
        """The probability of the label that was seen."""
        return y * mu + (1 - y) * (1 - mu)

    chain, labels = "chain-factor", "labels"
    both: list[tuple[str, str, Callable[..., Array] | None, Callable[..., Array] | None]] = [
        # kind, sentence, residual of (μ, y), factor of z in the curvature
        (chain, "The factor σ(1 − σ) of the chain rule is missing",
         lambda m, y: (m - y) / _spread(m), lambda m, y: jnp.ones_like(m)),
        (chain, "A factor 1 − σ is missing", lambda m, y: (m - y) / (1 - m), lambda m, y: m),
        (chain, "A factor σ is missing", lambda m, y: (m - y) / m, lambda m, y: 1 - m),
        (chain, "σ² stands in for σ(1 − σ)", None, lambda m, y: m**2),
        (chain, "(1 − σ)² stands in for σ(1 − σ)", None, lambda m, y: (1 - m) ** 2),
        (chain, "σ(1 − σ) has a root over it", None, lambda m, y: jnp.sqrt(_spread(m))),
        (chain, "It divides by σ(1 − σ)", None, lambda m, y: 1 / _spread(m)),
        (chain, "σ(1 + σ) stands in for σ(1 − σ)", None, lambda m, y: m * (1 + m)),
        ("fisher", "The bound ¼ stands in for σ(1 − σ)", None,
         lambda m, y: jnp.full_like(m, 0.25)),
        (labels, "The residual |μ − y| stands in for σ(1 − σ)", None, lambda m, y: jnp.abs(m - y)),
        (labels, "The residual μ − y stands in for σ(1 − σ)", None, lambda m, y: m - y),
        (labels, "The label's sign, −1 or 1, is a factor too much", None,
         lambda m, y: (2 * y - 1) * _spread(m)),
        ("complement", "y(1 − y) stands in for σ(1 − σ)", None, lambda m, y: _spread(y)),
        (labels, "Labels in {0, 1} stand in the formula for {−1, 1} (or one of the two terms of the cross-entropy is missing)",  # noqa: E501
         lambda m, y: -y * (1 - m), None),
        (labels, "The margin y·η is taken with labels in {−1, 1} but the residual with {0, 1}",
         lambda m, y: (1 - 2 * y) * seen(m, y), None),
        (labels, "The label's sign in front is forgotten in the formula for labels in {−1, 1}",
         lambda m, y: seen(m, y) - 1, None),
        (labels, "Only the (1 − y) term of the cross-entropy is there",
         lambda m, y: (1 - y) * m, None),
    ]  # fmt: skip
    for kind, text, residual, weight in both:
        pieces: dict[str, Any] = {}
        if residual is not None:
            pieces["residual"] = residual
        if weight is not None:
            pieces["curvature"] = lambda mu, y, z, f=weight: f(mu, y) * z
        yield Mistake(kind, text, pieces)


def _softmax_formulas() -> Iterator[Mistake]:
    """Wrong residuals and curvatures of a softmax."""
    for name, factor in (("μ", _unchanged), ("1 − μ", _complement), ("μ(1 − μ)", _spread)):
        yield _too_much(name, factor)
        behind = {"curvature": lambda m, y, z, f=factor: information(m, y, f(m) * z)}
        yield Mistake("chain-factor", f"A factor {name} is too much", behind)
    chain, cross = "chain-factor", "cross-class"
    residuals: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        (chain, "The factor μ(1 − μ) of the chain rule is missing",
         lambda m, y: (m - y) / _spread(m)),
        (chain, "A factor μ is missing", lambda m, y: (m - y) / m),
        (chain, "A factor 1 − μ is missing", lambda m, y: (m - y) / (1 - m)),
        (chain, "The Jacobian of the softmax is missing: −Y/μ", lambda m, y: -y / m),
        (cross, "Only the diagonal of the softmax Jacobian is used: the cross-class part is dropped",  # noqa: E501
         lambda m, y: -y * (1 - m)),
        (cross, "The sign of the cross-class part of the softmax Jacobian is flipped",
         lambda m, y: -y * (1 - 2 * m) - m),
    ]  # fmt: skip
    for kind, text, residual in residuals:
        yield Mistake(kind, text, {"residual": residual})
    curvatures: list[tuple[str, str, Callable[[Array, Array, Array], Array]]] = [
        (cross, "The blocks between classes are dropped: only μₖ(1 − μₖ) is there, as if each class were a sigmoid",  # noqa: E501
         lambda m, y, z: _spread(m) * z),
        (cross, "The blocks between classes have the wrong sign",
         lambda m, y, z: m * (1 - 2 * m) * z + m * _total(m * z)),
        (cross, "The outer product μμᵀ is missing: diag(μ) alone", lambda m, y, z: m * z),
        (cross, "diag(μ) is missing: −μμᵀ alone", lambda m, y, z: -m * _total(m * z)),
        (cross, "diag(μ) + μμᵀ stands in for diag(μ) − μμᵀ",
         lambda m, y, z: m * (z + _total(m * z))),
        ("fisher", "Böhning's bound ½(I − 11ᵀ/K) stands in for diag(μ) − μμᵀ",
         lambda m, y, z: 0.5 * (z - jnp.mean(z, axis=1, keepdims=True))),
        (chain, "The softmax weights are missing altogether", lambda m, y, z: z),
        (chain, "μ(1 − μ) is squared, class by class", lambda m, y, z: _spread(m) ** 2 * z),
        (chain, "The factor μ in front is missing: δ − μ", lambda m, y, z: z - _total(m * z)),
        (chain, "The factor μ behind is missing: δ − μ", lambda m, y, z: z - m * _total(z)),
        ("complement", "diag(1 − μ) stands in for diag(μ)",
         lambda m, y, z: (1 - m) * z - m * _total(m * z)),
        ("labels", "Labels stand in for μ in diag(μ) − μμᵀ",
         lambda m, y, z: y * (z - _total(y * z))),
        ("labels", "μYᵀ stands in for μμᵀ", lambda m, y, z: m * (z - _total(y * z))),
    ]  # fmt: skip
    for kind, text, curvature in curvatures:
        yield Mistake(kind, text, {"curvature": curvature})


# Changed penalties: (s, θ, x) ↦ what stands for s x, with x = θ in a gradient and v in an HVP.
PENALTY_MISTAKES = tuple(
    Mistake("penalty-factor", f"The penalty's part {text}", {"penalty": penalty})
    for text, penalty in (
        ("lacks the factor θ", lambda s, theta, x: s),
        ("has |θ| for θ", lambda s, theta, x: s * np.abs(theta)),
        ("has the sign of θ for θ", lambda s, theta, x: s * np.sign(theta)),
        ("has θ² for θ", lambda s, theta, x: s * theta**2),
        ("has the strength squared", lambda s, theta, x: s**2 * x),
        ("has θ for the vector", lambda s, theta, x: s * theta),
        ("has a factor θ too much", lambda s, theta, x: s * theta * x),
    )
)


def changed_data(datum: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """What may stand in for an array that a loss uses: (kind, words, the array).

    Args:
        datum: any array of numbers.
    """
    if datum.ndim == 2 and datum.shape[0] == datum.shape[1]:
        yield "transposed", "the transpose of", datum.T.copy()
    for axis in range(datum.ndim):
        for shift in (1, -1) if datum.shape[axis] > 1 else ():
            words = f"the entries shifted by one along axis {axis} of"
            yield "off-by-one", words, np.roll(datum, shift, axis)
    labels = bool(np.all((datum == 0) | (datum == 1)))
    if datum.ndim == 1 and bool(np.all(datum >= 0)) and not labels:
        yield "weights", "ones in place of", np.ones_like(datum)
        yield "weights", "the square of", datum**2
        yield "weights", "the root of", np.sqrt(datum)
    if labels:
        yield "labels", "−1 for 0 in", 2 * datum - 1
        yield "complement", "0 and 1 exchanged in", 1 - datum
    if bool(np.all(np.abs(datum) == 1)):
        yield "labels", "0 for −1 in", (datum + 1) / 2
    if datum.ndim == 1:
        yield "offset", "zeros in place of", np.zeros_like(datum)
        yield "offset", "the opposite sign of", -datum
