"""Mistakes of place: the right numbers in a wrong order, in a part only, or of a wrong vector."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from tests.audit.planting.kinds import BOTH, Kind, Setting, Spoil, swap
from tests.audit.planting.recipe import FEATURES, Array


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
