"""Right derivatives of logistic losses, each written in one of many ways: no audit may object.

A way is made of interchangeable pieces. ``xp`` is ``jax.numpy`` or ``numpy``; η, μ and the
labels are (n, C), with C = 1 for a sigmoid.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Formulas that share a loss and its shapes, and so what was compiled for it.
_PER_SETUP = 40
_FEWEST_SETUPS = 4


def value(intercept: bool, theta: Any, *args: Any) -> jax.Array:
    """scale · (Σ w ℓ + ½ strength · coef²); binary where y is a vector.

    Strength and scale are arrays, for JAX would compile every number as a constant anew.
    """
    X, y, w, offset, strength, scale = args
    rows = X.shape[0]
    y = y.reshape(rows, -1)
    table = theta.reshape(-1, y.shape[1])
    coef, bias = (table[:-1], table[-1]) if intercept else (table, 0)
    eta = X @ coef + bias
    eta = eta if offset is None else eta + offset.reshape(rows, -1)
    if y.shape[1] == 1:
        losses = (jnp.logaddexp(0, eta) - y * eta)[:, 0]
    else:
        losses = jax.nn.logsumexp(eta, axis=1) - jnp.sum(y * eta, axis=1)
    total = jnp.sum(losses if w is None else w * losses)
    return jnp.sum(scale * (total + 0.5 * jnp.sum(strength * coef**2)))


def value_with_intercept(theta: Any, *args: Any) -> jax.Array:
    """The last row of the table are the intercepts."""
    return value(True, theta, *args)


def value_without_intercept(theta: Any, *args: Any) -> jax.Array:
    """The whole table are coefficients."""
    return value(False, theta, *args)


Piece = Callable[..., Any]


def _exp_over_one_plus(xp: Any, eta: Any) -> Any:
    return xp.exp(eta) / (1 + xp.exp(eta))


SIGMOIDS: dict[str, Piece] = {
    "1/(1+exp(-z))": lambda xp, z: 1 / (1 + xp.exp(-z)),
    "exp(z)/(1+exp(z))": _exp_over_one_plus,
    "(1+tanh(z/2))/2": lambda xp, z: 0.5 * (1 + xp.tanh(z / 2)),
    "by the sign of z": lambda xp, z: xp.where(
        z > 0, 1 / (1 + xp.exp(-xp.abs(z))), xp.exp(-xp.abs(z)) / (1 + xp.exp(-xp.abs(z)))
    ),
}
SOFTMAXES: dict[str, Piece] = {
    "exp/sum": lambda xp, z: xp.exp(z) / xp.sum(xp.exp(z), axis=1, keepdims=True),
    "shifted exp/sum": lambda xp, z: SOFTMAXES["exp/sum"](xp, z - z.max(axis=1, keepdims=True)),
    "exp(z - lse)": lambda xp, z: xp.exp(z - _lse(xp, z)),
    "1/sum of exp(zj - zk)": lambda xp, z: 1 / xp.sum(xp.exp(z[:, None] - z[:, :, None]), axis=2),
}


def _lse(xp: Any, z: Any) -> Any:
    top = z.max(axis=1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(z - top), axis=1, keepdims=True))


# (xp, z, sigmoid) ↦ σ'(z)
SLOPES: dict[str, Piece] = {
    "mu(1-mu)": lambda xp, z, s: s(xp, z) * (1 - s(xp, z)),
    "s(z)s(-z)": lambda xp, z, s: s(xp, z) * s(xp, -z),
    "exp(-z)/(1+exp(-z))^2": lambda xp, z, s: xp.exp(-z) / (1 + xp.exp(-z)) ** 2,
    "1/(4cosh^2)": lambda xp, z, s: 0.25 / xp.cosh(z / 2) ** 2,
    "mu-mu^2": lambda xp, z, s: s(xp, z) - s(xp, z) ** 2,
}
# (xp, X with ones, rows (n, C)) ↦ (p + 1, C)
BACKWARD: dict[str, Piece] = {
    "X.T@r": lambda xp, X, r: X.T @ r,
    "einsum": lambda xp, X, r: xp.einsum("ij,ik->jk", X, r),
    "class loop": lambda xp, X, r: xp.stack([X.T @ r[:, k] for k in range(r.shape[1])], axis=1),
    "sum of row products": lambda xp, X, r: xp.sum(X[:, :, None] * r[:, None, :], axis=0),
    "(r.T@X).T": lambda xp, X, r: (r.T @ X).T,
}


def _information(xp: Any, mu: Any) -> Any:
    return mu[:, :, None] * xp.eye(mu.shape[1], dtype=mu.dtype) - mu[:, :, None] * mu[:, None, :]


def _dense(xp: Any, X: Any, A: Any) -> Any:
    return xp.einsum("ij,ikl,im->jkml", X, A, X)


def _class_blocks(xp: Any, X: Any, A: Any) -> Any:
    K = A.shape[1]
    blocks = [[X.T @ (A[:, k, m, None] * X) for m in range(K)] for k in range(K)]
    return xp.transpose(xp.stack([xp.stack(row) for row in blocks]), (2, 0, 3, 1))


def _feature_rows(xp: Any, X: Any, A: Any) -> Any:
    rows = [xp.einsum("ikl,im->kml", X[:, j, None, None] * A, X) for j in range(X.shape[1])]
    return xp.stack(rows)


ASSEMBLIES: dict[str, Piece] = {
    "einsum": _dense, "class blocks": _class_blocks, "feature rows": _feature_rows,
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to write gradient, Hessian and product.

    Attributes:
        xp: the array module.
        intercept: whether the last row of the table are the intercepts.
        mean: (xp, η) ↦ μ.
        slope: (xp, η, mean) ↦ σ'(η), or None for a softmax.
        backward: one of BACKWARD.
        assembly: one of ASSEMBLIES.
    """

    xp: Any
    intercept: bool
    mean: Piece
    slope: Piece | None
    backward: Piece
    assembly: Piece

    def gradient(self, theta: Any, *args: Any) -> Any:
        """(P,)."""
        X, y, w, offset, strength, scale = args
        X, table, eta, w = self._prepare(theta, X, y, w, offset)
        rows = w[:, None] * (self.mean(self.xp, eta) - y.reshape(eta.shape))
        return scale * (self.backward(self.xp, X, rows) + self._ridge(strength, table)).ravel()

    def hvp(self, theta: Any, v: Any, *args: Any) -> Any:
        """(P,)."""
        X, y, w, offset, strength, scale = args
        X, table, eta, w = self._prepare(theta, X, y, w, offset)
        vectors = v.reshape(table.shape)
        rows = self.xp.einsum("ikl,il->ik", self._information(eta, w), X @ vectors)
        return scale * (self.backward(self.xp, X, rows) + self._ridge(strength, vectors)).ravel()

    def hessian(self, theta: Any, *args: Any) -> Any:
        """(P, P)."""
        X, y, w, offset, strength, scale = args
        X, table, eta, w = self._prepare(theta, X, y, w, offset)
        data = self.assembly(self.xp, X, self._information(eta, w))
        penalty = self._ridge(strength, self.xp.ones_like(table)).ravel()
        return scale * (data.reshape(theta.size, theta.size) + self.xp.diag(penalty))

    def _prepare(self, theta: Any, X: Any, y: Any, w: Any, offset: Any) -> tuple[Any, ...]:
        if self.intercept:
            X = self.xp.concatenate([X, self.xp.ones_like(X[:, :1])], axis=1)
        table = theta.reshape(X.shape[1], -1)
        eta = X @ table
        eta = eta if offset is None else eta + offset.reshape(eta.shape)
        return X, table, eta, self.xp.ones_like(X[:, 0]) if w is None else w

    def _information(self, eta: Any, w: Any) -> Any:
        if self.slope is None:
            return w[:, None, None] * _information(self.xp, self.mean(self.xp, eta))
        return w[:, None, None] * self.slope(self.xp, eta, self.mean)[:, :, None]

    def _ridge(self, strength: Any, table: Any) -> Any:
        if not self.intercept:
            return strength * table
        return self.xp.concatenate([strength * table[:-1], self.xp.zeros_like(table[-1:])])


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
