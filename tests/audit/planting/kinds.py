"""The planted mistakes: pieces of the right recipe swapped, or the right numbers misplaced."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.audit.planting.recipe import (
    FEATURES,
    ROWS,
    STRENGTH,
    Array,
    Model,
    observed_information,
    ridge,
)

ALL = ("gradient", "hessian", "hvp")
SECOND = ("hessian", "hvp")
BOTH = ("sigmoid", "softmax")


class Setting(NamedTuple):
    """Where and how large.

    Attributes:
        model: the loss.
        relative: size of the smallest errors.
        row, column: a place in a matrix; the first also a coordinate.
        label: a class. feature: a feature.
        total: sum of the weights.
    """

    model: Model
    relative: float
    row: int
    column: int
    label: int
    feature: int
    total: float


Spoil = Callable[[Array, Setting], Array]


@dataclass(frozen=True)
class Kind:
    """One mistake.

    Attributes:
        name: in words.
        accepted: slugs of a right diagnosis.
        pieces: model ↦ pieces of the recipe that are swapped.
        spoil: what becomes of the derivative.
        matrix: what becomes of the Hessian, where that is another thing; a product is
            then one with the spoiled Hessian.
        read: what becomes of θ (and of the vector) before.
        derivatives, models: where it makes sense.
        far: whether it shows at large logits only.
    """

    name: str
    accepted: tuple[str, ...]
    pieces: Callable[[Model], dict[str, Any]] = lambda model: {}
    spoil: Spoil = lambda array, s: array
    matrix: Spoil | None = None
    read: Callable[[Array], Array] = lambda theta: theta
    derivatives: tuple[str, ...] = ALL
    models: tuple[str, ...] = BOTH
    far: bool = False


def swap(name: str, *accepted: str, on: tuple[str, ...] = ALL, **pieces: Any) -> Kind:
    return Kind(name, accepted, lambda model: pieces, derivatives=on)


def swap_in_softmax(name: str, *accepted: str, on: tuple[str, ...] = ALL, **pieces: Any) -> Kind:
    return Kind(name, accepted, lambda model: pieces, derivatives=on, models=("softmax",))


def times(name: str, factor: Callable[[Setting], float], kind: str = "factor") -> Kind:
    return Kind(name, (kind,), spoil=lambda array, s: factor(s) * array)


# Within reach at the larger of the points that an audit draws.
_CLIP = 6.0


def _overall() -> list[Kind]:
    """The whole derivative, or the data term alone, with a factor."""
    data = {
        "data term: sign": ("sign", lambda w: -1.0),
        "data term times n": ("factor", lambda w: ROWS),
        "data term over n": ("factor", lambda w: 1 / ROWS),
        "data term over the sum of weights": ("factor", lambda w: 1 / jnp.sum(w)),
    }
    return [
        times("sign", lambda s: -1.0, "sign"),
        times("times 2", lambda s: 2.0),
        times("halved", lambda s: 0.5),
        times("times n", lambda s: ROWS),
        times("over n", lambda s: 1 / ROWS),
        times("times the sum of weights", lambda s: s.total),
        times("slightly too large", lambda s: 1 + s.relative),
        times("zero", lambda s: 0.0, "zero"),
        Kind("times K", ("factor",), spoil=lambda a, s: s.model.columns * a, models=("softmax",)),
        *(swap(name, kind, factor=factor) for name, (kind, factor) in data.items()),
    ]  # fmt: skip


def _penalties() -> list[Kind]:
    factors = {"doubled": 2.0, "halved": 0.5, "of the wrong sign": -1.0, "times n": ROWS}
    factors["with the strength squared"] = STRENGTH
    return [
        swap("penalty missing", "penalty-missing", penalty=jnp.zeros_like),
        *(
            swap(f"penalty {how}", "penalty-factor", penalty=lambda t, f=f: f * ridge(t))
            for how, f in factors.items()
        ),
        swap("penalty on the intercept", "penalty-on-intercept", penalty=lambda t: STRENGTH * t),
        swap(
            "penalty lacks θ", "penalty-factor", on=("gradient",),
            penalty=lambda t: ridge(jnp.ones_like(t)),
        ),
    ]  # fmt: skip


def _rows() -> list[Kind]:
    """Weights, offsets, and rows shifted or left out."""
    return [
        swap("weights left out", "weights", weights=jnp.ones_like),
        swap("weights squared", "weights", weights=jnp.square),
        swap("weights under a root", "weights", weights=jnp.sqrt),
        swap(
            "weights shifted by a row", "weights", "off-by-one", weights=partial(jnp.roll, shift=1)
        ),
        swap("weights of mean 1", "weights", "factor", weights=lambda w: w / jnp.mean(w)),
        swap("offset left out", "offset", offset=jnp.zeros_like),
        swap("offset of the wrong sign", "offset", offset=jnp.negative),
        swap("offset twice", "offset", offset=lambda o: 2 * o),
        swap("intercept not in the logits", "intercept", logits=lambda X, t: X[:, :-1] @ t[:-1]),
        swap("rows shifted by one", "off-by-one", rows=partial(jnp.roll, shift=1, axis=0)),
        swap("last row left out", "off-by-one", rows=lambda r: r.at[-1].set(0)),
        swap("first row counted twice", "off-by-one", rows=lambda r: r.at[0].multiply(2)),
        swap(
            "features shifted in the logits", "off-by-one",
            logits=lambda X, t: jnp.roll(X[:, :-1], 1, axis=1) @ t[:-1] + t[-1],
        ),
    ]  # fmt: skip


def _labels() -> list[Kind]:
    on = ("gradient",)
    shifted = partial(jnp.roll, shift=1, axis=0)
    return [
        swap("labels in {-1, 1}", "labels", on=on, labels=lambda y: 2 * y - 1),
        Kind(
            "labels plus 1", ("labels",), lambda model: {"labels": lambda y: y + 1},
            derivatives=on, models=("sigmoid",),
        ),
        swap("labels shifted by a row", "labels", "off-by-one", on=on, labels=shifted),
        swap("labels left out", "labels", on=on, labels=jnp.zeros_like),
        swap_in_softmax(
            "labels shifted by a class", "labels", "off-by-one", on=on,
            labels=partial(jnp.roll, shift=1, axis=1),
        ),
        swap("y against 1 - y", "complement", on=on, labels=lambda y: 1 - y),
        Kind("p against 1 - p", ("complement",), lambda m: {"mean": lambda e: 1 - m.mean(e)}),
    ]  # fmt: skip


def _means() -> list[Kind]:
    """Something else in place of μ."""

    def clipped(model: Model) -> dict[str, Any]:
        return {"mean": lambda eta: model.mean(jnp.clip(eta, -_CLIP, _CLIP))}

    def own_sigmoid(mu: Array, y: Array) -> Array:
        return _diagonal(mu * (1 - mu))

    over_rows = partial(jax.nn.softmax, axis=0)
    return [
        swap_in_softmax("sigmoid for softmax", "sigmoid-softmax", mean=jax.nn.sigmoid),
        swap_in_softmax(
            "sigmoid's curvature for softmax's", "sigmoid-softmax", on=SECOND,
            mean=jax.nn.sigmoid, curvature=own_sigmoid,
        ),
        swap("softmax over the rows", "sigmoid-softmax", mean=over_rows),
        Kind("clipped logits", ("large-logits",), clipped, far=True),
    ]  # fmt: skip


def _diagonal(rows: Array) -> Array:
    return rows[:, :, None] * jnp.eye(rows.shape[1])


def _spread(mu: Array) -> Array:
    return mu * (1 - mu)


_FACTORS: dict[str, Callable[[Array], Array]] = {
    "mu (1 - mu)": _spread,
    "mu": lambda mu: mu,
    "1 - mu": lambda mu: 1 - mu,
}


def _chain() -> list[Kind]:
    """Factors of the chain rule too much or too little, outer products, cross-class parts."""
    kinds = []
    for name, f in _FACTORS.items():
        too_much, too_little = f"{name} too much", f"{name} missing"
        kinds += [
            swap(too_much, "chain-factor", on=("gradient",),
                  residual=lambda mu, y, f=f: (mu - y) * f(mu)),
            swap(too_little, "chain-factor", on=("gradient",),
                  residual=lambda mu, y, f=f: (mu - y) / f(mu)),
            swap(too_much, "chain-factor", on=SECOND,
                  curvature=lambda mu, y, f=f: observed_information(mu, y) * f(mu)[:, :, None]),
        ]  # fmt: skip

    def outer(mu: Array, y: Array) -> Array:
        return (mu - y)[:, :, None] * (mu - y)[:, None, :]

    missing = {
        "mu (1 - mu) missing": lambda mu, y: _diagonal(jnp.ones_like(mu)),
        "mu missing": lambda mu, y: jnp.eye(mu.shape[1]) - mu[:, None, :],
    }
    return [
        *kinds,
        *(swap(name, "chain-factor", on=SECOND, curvature=f) for name, f in missing.items()),
        swap("1 - mu missing", "chain-factor", "cross-class", on=SECOND,
              curvature=lambda mu, y: _diagonal(mu)),
        swap("outer products of scores", "fisher", on=SECOND, curvature=outer),
        swap("outer products of weighted scores", "fisher", on=SECOND,
              curvature=outer, weights=jnp.square),
        *_cross_class(),
    ]  # fmt: skip


def _cross_class() -> list[Kind]:
    def turned(mu: Array, y: Array) -> Array:
        return 2 * _diagonal(_spread(mu)) - observed_information(mu, y)

    def own_classes(mu: Array, y: Array) -> Array:
        return _diagonal(_spread(mu))

    blocks = {"dropped": own_classes, "of the wrong sign": turned}
    parts = {
        "dropped": lambda mu, y: -y * (1 - mu),
        "of the wrong sign": lambda mu, y: -y * (1 - 2 * mu) - mu,
    }
    return [
        *(
            swap_in_softmax(f"cross-class blocks {how}", "cross-class", on=SECOND, curvature=f)
            for how, f in blocks.items()
        ),
        *(
            swap_in_softmax(f"cross-class part {how}", "cross-class", on=("gradient",), residual=f)
            for how, f in parts.items()
        ),
    ]


FORMULAS = [*_overall(), *_penalties(), *_rows(), *_labels(), *_means(), *_chain()]


def _moved(name: str, *accepted: str, order: np.ndarray, where: str = "out") -> Kind:
    """Entries in another order, on the way in, on the way out, or both."""

    def out(array: Array, s: Setting) -> Array:
        return array[order] if array.ndim == 1 else array[order][:, order]

    both = "softmax" if order.size > FEATURES + 1 else "sigmoid"
    return Kind(
        name, accepted, models=(both,),
        spoil=out if where != "in" else lambda array, s: array,
        read=(lambda theta: theta[np.argsort(order)]) if where != "out" else lambda theta: theta,
    )  # fmt: skip


def _orders() -> list[Kind]:
    table = np.arange((FEATURES + 1) * FEATURES).reshape(FEATURES + 1, FEATURES)
    line = np.arange(FEATURES + 1)

    def with_coef(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.vstack([change(table[:-1]), table[-1:]]).ravel()

    transposed, major = with_coef(np.transpose), table.T.ravel()
    shifted = with_coef(lambda coef: np.roll(coef, 1, axis=0))
    return [
        _moved("transposed", "transposed", "class-order", order=transposed),
        _moved("class-major", "class-order", order=major),
        _moved("θ read class-major", "class-order", order=major, where="in"),
        _moved("class-major in and out", "class-order", order=major, where="both"),
        _moved("features shifted", "off-by-one", order=shifted),
        _moved("features shifted", "off-by-one", order=np.append(np.roll(line[:-1], 1), line[-1])),
        _moved("classes shifted", "off-by-one", order=np.roll(table, 1, axis=1).ravel()),
        Kind("Hessian's rows shifted", ("off-by-one",), derivatives=("hessian",),
             matrix=lambda H, s: jnp.roll(H, 1, axis=0)),
    ]  # fmt: skip


def _part(
    name: str, accepted: tuple[str, ...], mask: Callable[[Setting], np.ndarray],
    models: tuple[str, ...] = BOTH, factor: float | None = None,
) -> Kind:  # fmt: skip
    """Wrong in the entries of a mask (p + 1, C); in a Hessian in their rows and columns."""

    def spoil(array: Array, s: Setting) -> Array:
        m = mask(s).ravel()
        m = m if array.ndim == 1 else m[:, None] | m[None, :]
        return jnp.where(m, (1 + s.relative if factor is None else factor) * array, array)

    return Kind(name, accepted, spoil=spoil, models=models)


def _mask(*, row: int | None = None, column: int | None = None) -> Callable[[Setting], np.ndarray]:
    """A row of the table (a feature) or a column (a class), as the setting has it if −1."""

    def mask(s: Setting) -> np.ndarray:
        m = np.zeros((FEATURES + 1, s.model.columns), bool)
        if row is not None:
            m[s.feature if row < 0 else row] = True
        if column is not None:
            m[:, s.label if column < 0 else column] = True
        return m

    return mask


def _parts() -> list[Kind]:
    intercepts = _mask(row=FEATURES)
    soft, sigmoid = ("softmax",), ("sigmoid",)
    return [
        _part("one class", ("block",), _mask(column=-1), soft),
        _part("one class zero", ("block",), _mask(column=-1), soft, 0.0),
        _part("one feature", ("block",), _mask(row=-1), soft),
        _part("one feature", ("coordinate", "block"), _mask(row=-1), sigmoid),
        _part("intercept only", ("block", "intercept"), intercepts, soft),
        _part("intercept only", ("coordinate", "block", "intercept"), intercepts, sigmoid),
        _part("intercept zero", ("block", "intercept"), intercepts, soft, 0.0),
        Kind("one coordinate", ("coordinate",), spoil=_nudged),
        Kind("one coordinate of the wrong sign", ("coordinate",), spoil=_turned),
    ]


def _scaled_at(array: Array, s: Setting, factor: float) -> Array:
    place = s.row if array.ndim == 1 else (s.row, s.column)
    return array.at[place].multiply(factor)


def _nudged(array: Array, s: Setting) -> Array:
    return _scaled_at(array, s, 1 + s.relative)


def _turned(array: Array, s: Setting) -> Array:
    return _scaled_at(array, s, -1.0)


def _matrices() -> list[Kind]:
    def eye(H: Array) -> Array:
        return jnp.eye(len(H))

    shapes: dict[str, tuple[str, Spoil]] = {
        "upper triangle only": ("triangle", lambda H, s: jnp.triu(H)),
        "lower triangle only": ("triangle", lambda H, s: jnp.tril(H)),
        "diagonal only": ("diagonal", lambda H, s: H * eye(H)),
        "diagonal twice": ("diagonal", lambda H, s: H * (1 + eye(H))),
        "diagonal left out": ("diagonal", lambda H, s: H * (1 - eye(H))),
    }
    return [
        Kind(name, (slug,), matrix=matrix, derivatives=("hessian", "hvp"))
        for name, (slug, matrix) in shapes.items()
    ]


def _vectors() -> list[Kind]:
    def of_length_one(theta: Array, v: Array) -> Array:
        return v / jnp.linalg.norm(v)

    return [
        swap("θ in place of v", "vector", on=("hvp",), vector=lambda theta, v: theta),
        swap("v normalised", "vector", on=("hvp",), vector=of_length_one),
        swap("v squared", "vector", on=("hvp",), vector=lambda theta, v: v**2),
    ]


PLACES = [*_orders(), *_parts(), *_matrices(), *_vectors()]
KINDS = [*FORMULAS, *PLACES]
