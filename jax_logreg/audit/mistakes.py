r"""The catalogue of mistakes: each is a changed piece of the recipe of the right derivative.

A logistic derivative is a recipe: logits, their mean, a residual (in a Hessian: a
curvature), weights, an order of rows, a penalty. An error in a hand-written derivative is
another piece in one of these places. So a mistake is a sentence and the changed pieces;
gradient, Hessian and Hessian-vector product follow from the same ones.

Rows are (n, K) with one column per class, and (n, 1) for a sigmoid: then
:math:`\operatorname{diag}(\mu)-\mu\mu^\top` is μ(1 − μ), and one formula serves both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.logistic import LogisticModel

Array = jax.Array
# Pieces that a gradient does not have; and that a Hessian does not have, as the labels drop
# out of the observed information.
_SECOND_ORDER_ONLY = {"curvature"}
_FIRST_ORDER_ONLY = {"residual", "labels"}
# Of more arrays none is changed.
_MAX_ARRAYS = 20


def _total(rows: Array) -> Array:
    return jnp.sum(rows, axis=1, keepdims=True)


def _information(mu: Array, y: Array, z: Array) -> Array:
    """(diag(μ) − μμᵀ) z of every row; y does not enter."""
    return mu * (z - _total(mu * z))


def _unchanged(rows: Array) -> Array:
    return rows


@dataclass(frozen=True)
class Recipe:
    r"""A logistic derivative in pieces.

    With μ = mean(Xθ + offset), and weights w, labels y and μ taken in an order of rows,

    .. math:: g_i = w_i\,\mathrm{residual}(\mu_i, y_i), \qquad
              (Hv)_i = w_i\,\mathrm{curvature}(\mu_i, y_i, x_i^\top v),

    the gradient is Xᵀg + penalty(s, θ, θ), the product XᵀHv + penalty(s, θ, v), with s the
    strength of the penalty on each parameter.

    Attributes:
        weights: w, (n, 1).
        labels: y, (n, K).
        offset: of the logits, (n, K).
        mean: η ↦ μ.
        residual: (μ, y) ↦ μ − y.
        curvature: (μ, y, z) ↦ ∂μ/∂η z.
        order: rows ↦ the rows in an order.
        penalty: (s, θ, x) ↦ s x.
    """

    weights: Array
    labels: Array
    offset: Array
    mean: Callable[[Array], Array]
    residual: Callable[[Array, Array], Array] = jnp.subtract
    curvature: Callable[[Array, Array, Array], Array] = _information
    order: Callable[[Array], Array] = _unchanged
    penalty: Callable[[Any, Any, Any], Any] = lambda strength, theta, x: strength * x

    def rows(self, linear: Array, *z: Array) -> Array:
        """g of linear predictors Xθ; or Hv, where z = Xv is given."""
        mu = self.order(self.mean(linear + self.offset))
        w, y = self.order(self.weights), self.order(self.labels)
        return w * (self.curvature(mu, y, *z) if z else self.residual(mu, y))


def right_recipe(model: LogisticModel) -> Recipe:
    """The recipe without a mistake."""
    return Recipe(model.weight, model.y, model.offset, model.mean)


class Mistake(NamedTuple):
    """Changed pieces of the recipe.

    Attributes:
        kind: one of ``match.KINDS``.
        text: a sentence, without its full stop.
        pieces: of the Recipe, by name.
        any_factor: whether the factor in front is part of the mistake.

    >>> Mistake("labels", "The labels are left out", {"labels": 0.0}).num_pieces(order=2)
    0
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
    """Every known mistake in the first or second derivative of a logistic loss, but for those
    of its penalty, which any loss may have."""
    recipe = right_recipe(model)
    found = [*_data_mistakes(model, recipe), *_order_mistakes(recipe, model.softmax)]
    found += [*_mean_mistakes(recipe.mean, model.softmax), *_formula_mistakes(model.softmax)]
    if order == 2:
        found += _fisher_mistakes(recipe.weights)
    return [mistake for mistake in found if mistake.num_pieces(order)]


def names_of_mistakes(model: LogisticModel, order: int) -> list[Mistake]:
    """The catalogue without the values of its pieces, which take programs to compute."""
    found: list[Mistake] = []

    def look(constants: list[Any]) -> None:
        for mistake in catalogue(model.with_constants(constants), order):
            found.append(mistake._replace(pieces=dict.fromkeys(mistake.pieces)))

    jax.eval_shape(look, model.constants)
    return found


def _data_mistakes(model: LogisticModel, recipe: Recipe) -> Iterator[Mistake]:
    """Offset, weights and labels."""
    w, y, offset = recipe.weights, recipe.labels, recipe.offset
    offsets = [
        ("The offset is left out", 0.0),
        ("The offset has the wrong sign", -1.0),
        ("The offset is added twice", 2.0),
    ]
    for text, times in offsets if model.has_offset else ():
        yield Mistake("offset", text, {"offset": times * offset})
    size = jnp.mean(jnp.abs(w))
    inverse = jnp.where(w == 0, 0, size**2 / jnp.where(w == 0, 1, w))
    weights = [
        ("The sample weights are left out", jnp.full_like(w, size)),
        ("The sample weights are squared", w**2 / size),
        ("The square roots of the sample weights stand in for them", jnp.sqrt(jnp.abs(w) * size)),
        ("It divides by the sample weights", inverse),
        ("The sample weights are shifted by one row", jnp.roll(w, 1, axis=0)),
        ("The sample weights are shifted by one row", jnp.roll(w, -1, axis=0)),
        ("The sample weights are in reverse order", w[::-1]),
    ]
    for text, other in weights if model.has_weights else ():
        yield Mistake("weights", text, {"weights": other}, any_factor=True)
    labels = [
        ("labels", "Labels in {−1, 1} are used where {0, 1} is meant", 2 * y - 1),
        ("labels", "Labels are halved as if they were in {−1, 1}", (y + 1) / 2),
        ("labels", "The labels are left out: μ alone", jnp.zeros_like(y)),
        ("labels", "Class labels are in reverse order", y[:, ::-1]),
        ("complement", "y stands against 1 − y: labels are flipped", 1 - y),
    ]
    for kind, text, other in labels:
        yield Mistake(kind, text, {"labels": other})
    text = "The prediction is left out: y alone"
    yield Mistake("labels", text, {"residual": lambda mu, y: -y}, any_factor=True)


def _order_mistakes(recipe: Recipe, softmax: bool) -> Iterator[Mistake]:
    """Rows, or classes, shifted by one or reversed."""
    y, mean = recipe.labels, recipe.mean
    for shift in (1, -1):
        shifted = partial(jnp.roll, shift=shift, axis=0)
        shifted_class = partial(jnp.roll, shift=shift, axis=1)

        def shifted_mean(eta: Array, by: Callable[[Array], Array] = shifted) -> Array:
            return by(mean(eta))

        changes: list[tuple[str, str, dict[str, Any]]] = [
            ("off-by-one", "The rows of X are shifted by one against all else", {"order": shifted}),
            ("off-by-one", "Predictions are shifted by one row", {"mean": shifted_mean}),
            ("off-by-one", "Labels and predictions are shifted by one row", {"labels": shifted(y)}),
            ("off-by-one", "Residuals are shifted by one row against X and the sample weights",
             {"mean": shifted_mean, "labels": shifted(y)}),
        ]  # fmt: skip
        if softmax:
            text = "The classes of the residuals, or of μ, are shifted by one"
            changes.append(("off-by-one", text, {"order": shifted_class}))
            changes.append(
                ("labels", "Class labels are shifted by one", {"labels": shifted_class(y)})
            )
        yield from (Mistake(*change) for change in changes)
    yield Mistake("off-by-one", "The rows are in reverse order", {"order": lambda rows: rows[::-1]})


def _mean_mistakes(mean: Callable[[Array], Array], softmax: bool) -> Iterator[Mistake]:
    """Another function of the logits in place of μ.

    A Hessian has the formula of the curvature with that function; or, where a curvature is
    given, the derivative of that function.
    """
    kind, sigmoid, norm = "sigmoid-softmax", jax.nn.sigmoid, jax.scipy.stats.norm

    def slope_of_sigmoid(mu: Array, y: Array, z: Array) -> Array:
        return _spread(mu) * z

    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("complement", "p stands against 1 − p", {"mean": lambda eta: 1 - mean(eta)}),
        ("factor", "The logits have the factor 2", {"mean": lambda eta: mean(2 * eta)}),
        ("factor", "The logits have the factor ½", {"mean": lambda eta: mean(eta / 2)}),
        (kind, "The sigmoid of each logit stands in for the softmax", {"mean": sigmoid}),
        (kind, "The sigmoid of each logit and its σ(1 − σ) stand in for the softmax and its curvature",  # noqa: E501
         {"mean": sigmoid, "curvature": slope_of_sigmoid}),
        (kind, "The softmax over the rows stands in for μ",
         {"mean": partial(jax.nn.softmax, axis=0)}),
        (kind, "tanh stands in for the sigmoid",
         {"mean": jnp.tanh, "curvature": lambda mu, y, z: (1 - mu**2) * z}),
        (kind, "The normal distribution (probit) stands in for the sigmoid",
         {"mean": norm.cdf, "curvature": lambda mu, y, z: norm.pdf(norm.ppf(mu)) * z}),
        ("chain-factor", "exp(η), without a denominator, stands in for μ", {"mean": jnp.exp}),
        ("chain-factor", "The logits stand in for the probabilities", {"mean": _unchanged}),
        ("chain-factor", "The class, 0 or 1, stands in for its probability",
         {"mean": lambda eta: (eta > 0).astype(eta.dtype)}),
    ]  # fmt: skip
    if softmax:
        text = "The sigmoid of the distance to the last class stands in for the softmax"
        changes.append((kind, text, {"mean": lambda eta: sigmoid(eta - eta[:, -1:])}))
    yield from (Mistake(*change) for change in changes)


def _spread(mu: Array) -> Array:
    return mu * (1 - mu)


def _seen(mu: Array, y: Array) -> Array:
    """The probability of the label that was seen."""
    return y * mu + (1 - y) * (1 - mu)


def _bound(mu: Array, y: Array, z: Array) -> Array:
    return z / 4 if mu.shape[1] == 1 else (z - jnp.mean(z, axis=1, keepdims=True)) / 2


# Kind, sentence, and what stands for the residual (μ, y) and the curvature (μ, y, z).
_Formula = tuple[str, str, Callable[..., Array] | None, Callable[..., Array] | None]
_FORMULAS: tuple[_Formula, ...] = (
    ("chain-factor", "The factor μ(1 − μ) of the chain rule is missing",
     lambda m, y: (m - y) / _spread(m), lambda m, y, z: z),
    ("chain-factor", "A factor μ is missing",
     lambda m, y: (m - y) / m, lambda m, y, z: z - _total(m * z)),
    ("chain-factor", "A factor μ is missing", None, lambda m, y, z: z - m * _total(z)),
    ("chain-factor", "A factor 1 − μ (in a softmax, the outer product μμᵀ) is missing",
     lambda m, y: (m - y) / (1 - m), lambda m, y, z: m * z),
    ("chain-factor", "μ² stands in for μ(1 − μ)", None, lambda m, y, z: m**2 * z),
    ("chain-factor", "(1 − μ)² stands in for μ(1 − μ)", None, lambda m, y, z: (1 - m) ** 2 * z),
    ("chain-factor", "μ(1 − μ) is squared, class by class", None,
     lambda m, y, z: _spread(m) ** 2 * z),
    ("chain-factor", "μ(1 − μ) has a root over it", None, lambda m, y, z: jnp.sqrt(_spread(m)) * z),
    ("chain-factor", "It divides by μ(1 − μ)", None, lambda m, y, z: z / _spread(m)),
    ("chain-factor", "The plus sign stands in for minus in diag(μ) − μμᵀ, or in μ(1 − μ)", None,
     lambda m, y, z: m * (z + _total(m * z))),
    ("complement", "diag(1 − μ) stands in for diag(μ)", None,
     lambda m, y, z: (1 - m) * z - m * _total(m * z)),
    ("cross-class", "diag(μ) is missing: −μμᵀ alone", None, lambda m, y, z: -m * _total(m * z)),
    ("cross-class", "The blocks between classes are dropped: only μₖ(1 − μₖ) is there, as if each class were a sigmoid",  # noqa: E501
     None, lambda m, y, z: _spread(m) * z),
    ("cross-class", "The blocks between classes have the wrong sign", None,
     lambda m, y, z: m * (1 - 2 * m) * z + m * _total(m * z)),
    ("fisher", "A bound, ¼ or Böhning's ½(I − 11ᵀ/K), stands in for the curvature",
     None, _bound),
    ("labels", "The residual |μ − y| stands in for μ(1 − μ)", None,
     lambda m, y, z: jnp.abs(m - y) * z),
    ("labels", "The residual μ − y stands in for μ(1 − μ)", None, lambda m, y, z: (m - y) * z),
    ("labels", "The label's sign, −1 or 1, is a factor too much", None,
     lambda m, y, z: (2 * y - 1) * _information(m, y, z)),
    ("labels", "Labels stand in for μ in the curvature", None,
     lambda m, y, z: y * (z - _total(y * z))),
    ("labels", "μYᵀ stands in for μμᵀ", None, lambda m, y, z: m * (z - _total(y * z))),
)  # fmt: skip
# The same formula has another name in a sigmoid than in a softmax.
_Residual = tuple[str, str, Callable[[Array, Array], Array]]
_SIGMOID_RESIDUALS: tuple[_Residual, ...] = (
    ("labels", "Labels in {0, 1} stand in the formula for {−1, 1} (or one of the two terms of the cross-entropy is missing)",  # noqa: E501
     lambda m, y: -y * (1 - m)),
    ("labels", "Only the (1 − y) term of the cross-entropy is there", lambda m, y: (1 - y) * m),
    ("labels", "The margin y·η is taken with labels in {−1, 1} but the residual with {0, 1}",
     lambda m, y: (1 - 2 * y) * _seen(m, y)),
    ("labels", "The label's sign in front is forgotten in the formula for labels in {−1, 1}",
     lambda m, y: _seen(m, y) - 1),
)  # fmt: skip
_SOFTMAX_RESIDUALS: tuple[_Residual, ...] = (
    ("cross-class", "Only the diagonal of the softmax Jacobian is used: the cross-class part is dropped",  # noqa: E501
     lambda m, y: -y * (1 - m)),
    ("cross-class", "The sign of the cross-class part of the softmax Jacobian is flipped",
     lambda m, y: -y * (1 - 2 * m) - m),
    ("chain-factor", "The Jacobian of the softmax is missing: −Y/μ", lambda m, y: -y / m),
)  # fmt: skip


def _formula_mistakes(softmax: bool) -> Iterator[Mistake]:
    """A wrong residual, a wrong curvature, or both by the same confusion."""
    factors: list[tuple[str, Callable[[Array], Array]]] = [
        ("μ", _unchanged), ("1 − μ", lambda mu: 1 - mu),
        ("μ(1 − μ), the derivative of the sigmoid,", _spread),
        ("1 − 2μ, that of the next derivative,", lambda mu: 1 - 2 * mu),
    ]  # fmt: skip
    for name, f in factors:
        text = f"A factor {name} is too much"
        pieces = {
            "residual": lambda m, y, f=f: (m - y) * f(m),
            "curvature": lambda m, y, z, f=f: f(m) * _information(m, y, z),
        }
        yield Mistake("chain-factor", text, pieces)
        if softmax:
            behind = {"curvature": lambda m, y, z, f=f: _information(m, y, f(m) * z)}
            yield Mistake("chain-factor", text, behind)
    for kind, text, residual in _SOFTMAX_RESIDUALS if softmax else _SIGMOID_RESIDUALS:
        yield Mistake(kind, text, {"residual": residual})
    for kind, text, of_gradient, curvature in _FORMULAS:
        given = {"residual": of_gradient, "curvature": curvature}
        yield Mistake(kind, text, {name: f for name, f in given.items() if f is not None})


def _fisher_mistakes(weights: Array) -> Iterator[Mistake]:
    def outer_products(mu: Array, y: Array, z: Array) -> Array:
        return (mu - y) * _total((mu - y) * z)

    text = "Outer products of the scores (the empirical Fisher information) stand in for the observed information"  # noqa: E501
    pieces = {"curvature": outer_products}
    yield Mistake("fisher", text, pieces, any_factor=True)
    squared = {"weights": weights**2 / jnp.mean(jnp.abs(weights))}
    yield Mistake("fisher", f"{text}, with w²", {**pieces, **squared}, any_factor=True)


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


def is_mask(datum: np.ndarray) -> bool:
    """Whether an array holds zeros and ones only."""
    return bool(np.all((datum == 0) | (datum == 1)))


def changed_data(datum: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """What may stand in for an array that a loss uses: (kind, words, array)."""
    if datum.ndim == 2 and datum.shape[0] == datum.shape[1]:
        yield "transposed", "the transpose of", datum.T.copy()
    for axis in range(datum.ndim):
        for shift in (1, -1) if datum.shape[axis] > 1 else ():
            words = f"the entries shifted by one along axis {axis} of"
            yield "off-by-one", words, np.roll(datum, shift, axis)
    labels = is_mask(datum)
    if labels:
        words = "ones in place of the zeros and ones (a mask, an indicator) of"
        yield "weights", words, np.ones_like(datum)
    if datum.dtype == bool:
        return
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


def changes_of_data(
    constants: Sequence[Any], names: Sequence[str], most: int
) -> Iterator[tuple[str, str, list[Any]]]:
    """Every change of every array that a value uses: (kind, words, all the arrays).

    Args:
        constants: the arrays.
        names: of these.
        most: numbers that they may have together; more are not changed.
    """
    if len(constants) > _MAX_ARRAYS or sum(map(np.size, constants)) > most:
        return
    for name, datum in zip(names, constants, strict=True):
        array = np.asarray(datum)
        if array.dtype.kind in "fb" and array.size:
            for kind, words, changed in changed_data(array):
                yield kind, f"{words} {name}", _with_changed(constants, array, changed)


def _with_changed(constants: Sequence[Any], array: np.ndarray, changed: np.ndarray) -> list[Any]:
    """The constants with an array changed wherever it is used; so is 1 minus a mask."""

    def of(constant: Any) -> Any:
        if np.shape(constant) != array.shape:
            return constant
        if np.array_equal(constant, array):
            return changed.astype(array.dtype)
        if is_mask(array) and np.array_equal(constant, 1.0 - array):
            return (1.0 - changed).astype(constant.dtype)
        return constant

    return [of(constant) for constant in constants]
