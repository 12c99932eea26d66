"""Wrong derivatives, planted on purpose: what an audit must find and name."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.audit.planting.kinds import ALL, KINDS, Kind, Setting
from tests.audit.planting.recipe import FEATURES, MODELS, ROWS, Model, Recipe, make_data

# What counts as an error to be found, relative to the entry that is wrong.
RELATIVE = {"float64": 1e-4, "float32": 1e-2}
_POINTS = 3
# Where an error shows only at large logits.
_FAR = 10.0


class PlantedCase(NamedTuple):
    """One wrong derivative.

    Attributes:
        name: model, derivative, dtype and kind.
        kind: name of the mistake.
        derivative: which argument of ``check_derivatives`` it is.
        kwargs: for ``check_derivatives``, the value among them.
        accepted: slugs that are a right diagnosis.
        size: how wrong it is, relative to an entry.
        counts: whether that is enough to be held against an audit.
    """

    name: str
    kind: str
    derivative: str
    kwargs: dict[str, Any]
    accepted: frozenset[str]
    size: float
    counts: bool


def planted_cases(model: str, dtype: str, seed: int) -> Iterator[PlantedCase]:
    """Every wrong derivative that is large enough to be found.

    Args:
        model: "sigmoid" or "softmax".
        dtype: "float64" or "float32".
        seed: of data, points and the places of the mistakes.
    """
    return (case for case in candidates(model, dtype, seed) if case.counts)


def candidates(
    model: str, dtype: str, seed: int, only: str = "", kinds: Sequence[Kind] = KINDS
) -> Iterator[PlantedCase]:
    """The same, with those that make too little difference on these data.

    Args:
        model: as there.
        dtype: as there.
        seed: as there.
        only: a part of the name of those wanted.
        kinds: of mistakes.
    """
    loss = MODELS[model]
    rng = np.random.default_rng([seed, *model.encode()])
    data = make_data(loss, ROWS, FEATURES, dtype, rng)
    size = (FEATURES + 1) * loss.columns
    points = rng.normal(size=(_POINTS, 2, size)) / np.sqrt(FEATURES)
    setting = Setting(
        loss, RELATIVE[dtype], int(rng.integers(size)), int(rng.integers(size)),
        int(rng.integers(loss.columns)), int(rng.integers(FEATURES)),
        float(np.sum(data[2])),
    )  # fmt: skip
    for derivative in ALL:
        for kind in kinds:
            name = f"{model} {derivative} {dtype} {kind.name}"
            wrong = plant(kind, derivative, setting)
            if wrong is None or only not in name:
                continue
            reach = _FAR if kind.far else 1.0
            off = _relative_size(loss, derivative, wrong, reach * points, data)
            yield PlantedCase(
                name, kind.name, derivative,
                {"value": loss.value, derivative: wrong, "args": data, "seed": seed,
                 "at": points[0, 0].astype(dtype)},
                frozenset(kind.accepted), off, off >= 0.99 * RELATIVE[dtype],
            )  # fmt: skip


def plant(kind: Kind, derivative: str, setting: Setting) -> Callable[..., Any] | None:
    """The wrong function, or None where the mistake makes no sense."""
    if setting.model.name not in kind.models or derivative not in kind.derivatives:
        return None
    recipe = Recipe(**{"mean": setting.model.mean, **kind.pieces(setting.model)})
    right = getattr(recipe, derivative)
    if kind.matrix is not None and derivative == "hvp":
        matrix, hessian = kind.matrix, recipe.hessian
        return lambda theta, v, *data: matrix(hessian(theta, *data), setting) @ v
    spoil = kind.matrix if derivative == "hessian" and kind.matrix is not None else kind.spoil
    if derivative == "hvp":
        return lambda theta, v, *data: spoil(right(kind.read(theta), kind.read(v), *data), setting)
    return lambda theta, *data: spoil(right(kind.read(theta), *data), setting)


def _relative_size(
    model: Model,
    derivative: str,
    wrong: Callable[..., Any],
    points: np.ndarray,
    data: tuple[np.ndarray, ...],
) -> float:
    """How wrong it is at most, relative to an entry that is not nearly zero itself."""
    exact = tuple(array.astype(np.float64) for array in data)
    sizes = []
    with jax.enable_x64(True):
        for theta, v in points:
            right = _by_autodiff(model, derivative, theta, v, exact)
            given = (theta, v) if derivative == "hvp" else (theta,)
            found = np.asarray(wrong(*map(jnp.asarray, given), *exact))
            floor = 1e-3 * np.max(np.abs(right))
            off = np.abs(found - right) / np.maximum(np.abs(right), floor)
            sizes.append(np.max(np.nan_to_num(off, nan=0.0)))
    return float(np.max(sizes))


def _by_autodiff(
    model: Model, derivative: str, theta: np.ndarray, v: np.ndarray, data: tuple[np.ndarray, ...]
) -> np.ndarray:
    if derivative == "gradient":
        return np.asarray(jax.grad(model.value)(theta, *data))
    hessian = np.asarray(_HESSIAN[model.name](theta, *data))
    return hessian if derivative == "hessian" else hessian @ v


_HESSIAN = {name: jax.jit(jax.hessian(model.value)) for name, model in MODELS.items()}
