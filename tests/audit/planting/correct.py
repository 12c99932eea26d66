"""Right derivatives of logistic losses, each written in one of many ways: no audit may object."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tests.audit.planting.ways import (
    ASSEMBLIES,
    BACKWARD,
    SIGMOIDS,
    SLOPES,
    SOFTMAXES,
    Piece,
    Way,
    value_with_intercept,
    value_without_intercept,
)

# Formulas that share a loss and its shapes, and so what was compiled for it.
_PER_SETUP = 40
_FEWEST_SETUPS = 4


class Setup(NamedTuple):
    """What fixes the program of a loss.

    Attributes:
        rows, features, classes: shapes; 2 classes are a sigmoid or a softmax.
        softmax, weighted, offset, intercept: which terms there are.
    """

    rows: int
    features: int
    classes: int
    softmax: bool
    weighted: bool
    offset: bool
    intercept: bool

    def describe(self) -> str:
        terms = [t for t in ("weighted", "offset", "intercept") if getattr(self, t)]
        kind = f"softmax of {self.classes}" if self.softmax else "sigmoid"
        return f"({self.rows} x {self.features}, {kind}, {' '.join(terms) or 'plain'})"


class CorrectCase(NamedTuple):
    """A right derivative: what it is, and the arguments of ``check_derivatives``."""

    name: str
    kwargs: dict[str, Any]


def correct_cases(count: int, seed: int = 0) -> Iterator[CorrectCase]:
    """``count`` right formulas, those of one setup after another.

    Args:
        count: how many.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng([seed, 77])
    setups = max(_FEWEST_SETUPS, count // _PER_SETUP)
    for i in range(setups):
        setup = _draw_setup(rng, softmax=bool(i % 2))
        for _ in range((count + i) // setups):
            yield _draw_case(setup, rng)


def _draw_setup(rng: np.random.Generator, softmax: bool) -> Setup:
    rows, features, classes = (
        int(rng.choice(c)) for c in ((1, 2, 7, 30, 200), (1, 3, 8), (2, 3, 5))
    )
    flags = (bool(rng.integers(2)) for _ in range(3))
    return Setup(rows, features, classes if softmax else 1, softmax, *flags)


def _draw_case(setup: Setup, rng: np.random.Generator) -> CorrectCase:
    dtype = str(rng.choice(["float64", "float32"]))
    derivative = str(rng.choice(["gradient", "hessian", "hvp"]))
    uses_numpy = bool(rng.random() < 0.3)
    theta, args = _draw_data(setup, dtype, rng)
    names, way = _draw_way(setup, derivative, np if uses_numpy else jnp, rng)
    name = f"{derivative} {dtype} {way.xp.__name__} {names} {setup.describe()}"
    loss = value_with_intercept if setup.intercept else value_without_intercept
    kwargs = {"value": loss, derivative: getattr(way, derivative), "at": theta, "args": args,
              "numpy": uses_numpy, "seed": int(rng.integers(1000))}  # fmt: skip
    return CorrectCase(name, kwargs)


def _draw_data(
    setup: Setup, dtype: str, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """θ of the scale of the data, and what the functions take beside it."""
    n, p, K = setup.rows, setup.features, setup.classes
    columns = 10 ** rng.uniform(-6, 6, p) if rng.random() < 0.6 else np.ones(p)
    X = rng.normal(size=(n, p)) * columns
    coef = rng.normal(size=(p, K)) / np.sqrt(p) / columns[:, None]
    table = np.vstack([coef, rng.normal(size=(1, K))]) if setup.intercept else coef
    labels = rng.integers(max(K, 2), size=n)
    y = np.eye(K)[labels] if setup.softmax else labels * 1.0
    w = 10 ** rng.uniform(-3, 3, n) * (rng.random(n) < 0.9)
    w[0] = 1.0  # all zero would leave nothing to audit
    offset = rng.normal(size=y.shape)
    strength = 0.0 if rng.random() < 0.4 else 10 ** rng.uniform(-4, 1)
    scale = 10 ** rng.uniform(-6, 6) if rng.random() < 0.5 else 1.0
    arrays = (
        X, y, w if setup.weighted else None, offset if setup.offset else None,
        np.full((p, 1), strength), np.full(1, scale),
    )  # fmt: skip
    cast = tuple(None if a is None else a.astype(dtype) for a in arrays)
    return table.ravel().astype(dtype), cast


def _pick(options: dict[str, Piece], rng: np.random.Generator) -> tuple[str, Piece]:
    name = str(rng.choice(list(options)))
    return name, options[name]


def _draw_way(setup: Setup, derivative: str, xp: Any, rng: np.random.Generator) -> tuple[str, Way]:
    mean_name, mean = _pick(SOFTMAXES if setup.softmax else SIGMOIDS, rng)
    slope_name, slope = _pick(SLOPES, rng)
    back_name, backward = _pick(BACKWARD, rng)
    assembly_name, assembly = _pick(ASSEMBLIES, rng)
    used = [mean_name] if setup.softmax or derivative == "gradient" else [slope_name, mean_name]
    used.append(assembly_name if derivative == "hessian" else back_name)
    way = Way(xp, setup.intercept, mean, None if setup.softmax else slope, backward, assembly)
    return ", ".join(used), way
