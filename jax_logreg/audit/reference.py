r"""The other side of the comparison: autodiff of the value, and how exact one may ask it to be.

What round-off may do to an entry is measured, not assumed: every datum and every
parameter is moved by a relative amount ε of random sign, and the root mean square of
what happens to the entry, over ε, is its *sensitivity* S. Any careful formula has an
error of some units of round-off times S, whatever the scale of the columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.differences import extrapolate
from jax_logreg.audit.program import Program, run

# Relative to the largest entry, differences are never trusted beyond this.
_ACCURACY = 1e-9
# Entries of batches that are computed in one go, and the number of points in one.
_AT_ONCE = 4_000_000
_PADDED = 8
# Of the extrapolation's own estimate of its error.
_DISTRUST = 30.0
# Beyond this many entries fewer samples are taken.
_LARGE = 100_000


def gradient(program: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """Slope of a scalar function, (P,); forwards where a loop cannot be gone back through."""

    def scalar(t: jax.Array) -> jax.Array:
        return program(t).reshape(())

    try:
        return jax.grad(scalar)(theta)
    except ValueError:
        return jax.jacfwd(scalar)(theta)


def hvp(program: Callable[..., Any], theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Second derivative along a vector, (P,)."""
    return along(lambda t: gradient(program, t), theta, vector)


def along(slope: Callable[[jax.Array], jax.Array], at: jax.Array, vector: jax.Array) -> jax.Array:
    """Derivative of a gradient along a vector; backwards where a custom rule is one-way."""
    try:
        return jax.jvp(slope, (at,), (vector,))[1]
    except TypeError:
        return jax.grad(lambda x: jnp.vdot(slope(x), vector))(at)


def hessian(program: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """Second derivatives, (P, P)."""
    return jax.vmap(lambda v: hvp(program, theta, v))(jnp.eye(theta.size, dtype=theta.dtype))


def jacobian(program: Callable[..., Any], theta: jax.Array) -> jax.Array:
    """First derivatives of a function with M values, (M, P)."""

    def flat(t: jax.Array) -> jax.Array:
        return jnp.ravel(program(t))

    tall = jax.eval_shape(flat, theta).size >= theta.size
    try:
        return (jax.jacfwd if tall else jax.jacrev)(flat)(theta)
    except TypeError:  # a custom_vjp knows only the way back
        return jax.jacrev(flat)(theta)


DERIVATIVE: dict[str, Callable[..., jax.Array]] = {
    "gradient": gradient,
    "hvp": hvp,
    "hessian": hessian,
    "jacobian": jacobian,
}


Vectors = tuple[np.ndarray, ...]
# A derivative, the sensitivity S of its entries, and what the reference itself may be off.
Referred = tuple[np.ndarray, np.ndarray, np.ndarray | float]


@dataclass(frozen=True)
class Autodiff:
    """Derivatives of a traced value by JAX, in float64."""

    program: Program
    name = "autodiff"

    def __call__(self, kind: str, *vectors: np.ndarray) -> np.ndarray:
        """A derivative at flat vectors."""
        return self.at_all(kind, *(v[None] for v in vectors))[0]

    def at_all(self, kind: str, *stacks: np.ndarray) -> np.ndarray:
        """A derivative at every row of stacked vectors."""
        count = len(stacks[0])
        small = self._entries(kind) * _PADDED <= _AT_ONCE
        if small:  # always as many rows, so that one compiled program serves all
            missing = -count % _PADDED
            stacks = tuple(np.concatenate([s, np.repeat(s[:1], missing, axis=0)]) for s in stacks)
        static = (("kind", kind), ("together", small))
        return np.asarray(run(self.program, _at_rows, *stacks, static=static))[:count]

    def refer(self, kind: str, places: list[Vectors]) -> list[Referred]:
        """A derivative at several places, each with its sensitivity."""
        stacks = tuple(np.stack(rows) for rows in zip(*places, strict=True))
        exact = self.at_all(kind, *stacks)
        spread = self._sensitivity(kind, stacks, exact)
        return [(e, s, 0.0) for e, s in zip(exact, spread, strict=True)]

    def _sensitivity(self, kind: str, stacks: Vectors, exact: np.ndarray) -> np.ndarray:
        """S of every entry: root mean square change for a relative change of all data."""
        rng = np.random.default_rng(1)
        amount = max(2.0**-22, 2.0**7 * self.program.coarsest)
        samples = 8 if exact.size <= _LARGE else 4 if exact.size <= 10 * _LARGE else 2
        total = np.zeros(exact.shape)
        for _ in range(samples):
            moved = [v * (1 + amount * (rng.integers(0, 2, v.shape) * 2.0 - 1)) for v in stacks]
            change = Autodiff(self.program.shaken(rng, amount)).at_all(kind, *moved) - exact
            total += np.where(np.isfinite(change), change, 0.0) ** 2
        return np.sqrt(total / samples) / amount

    def _entries(self, kind: str) -> int:
        """What one derivative holds in memory at a time, roughly."""
        data = sum(int(np.size(c)) for c in self.program.constants)
        theta = int(self.program.closed.jaxpr.invars[0].aval.size)
        rows = theta if kind in ("hessian", "jacobian") else 1
        return data + rows * (theta + data // max(theta, 1))


def _at_rows(program: Program, *stacks: jax.Array, kind: str, together: bool) -> jax.Array:
    def one(row: tuple[jax.Array, ...]) -> jax.Array:
        return DERIVATIVE[kind](program, *row)

    return jax.vmap(one)(stacks) if together else jax.lax.map(one, stacks)


@dataclass(frozen=True)
class Differences:
    """Derivatives by extrapolated differences, where the value cannot be differentiated.

    Attributes:
        many: values at the rows of an array.
        scale: of every coordinate of θ.
        slopes: gradients at the rows of an array, for second derivatives.
    """

    many: Callable[[np.ndarray], np.ndarray]
    scale: np.ndarray
    slopes: Callable[[np.ndarray], np.ndarray] | None
    name = "differences"

    def refer(self, kind: str, places: list[Vectors]) -> list[Referred]:
        """A derivative at several places, no sensitivity, and what the differences may be off."""
        found = [self.at(kind, *vectors) for vectors in places]
        # At a stationary point everything is zero: take the size from the other points.
        usual = np.median([np.nanmax(np.abs(f), initial=0.0) for f, _, _ in found])
        return [(f, s, error + _ACCURACY * usual) for f, s, error in found]

    def at(self, kind: str, *vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same at one place."""
        theta, directions = vectors[0], np.diag(self.scale)
        if kind in ("gradient", "jacobian"):
            found, error = extrapolate(self.many, theta, directions)
            if kind == "jacobian":  # values of any shape, one after the other
                found, error = (x.reshape(len(theta), -1) for x in (found, error))
            found, error = (x.T / self.scale for x in (found, error))
        else:
            directions = vectors[1][None] if kind == "hvp" else directions
            found, error = extrapolate(self._slope_rows, theta, directions)
            if kind == "hvp":
                found, error = found[0], error[0]
            else:
                found, error = (x / self.scale[:, None] for x in (found, error))
        floor = _ACCURACY * float(np.nanmax(np.abs(found), initial=0.0))
        return found, np.zeros(found.shape), _DISTRUST * error + floor

    def _slope_rows(self, points: np.ndarray) -> np.ndarray:
        if self.slopes is not None:
            return self.slopes(points)
        rows = [extrapolate(self.many, p, np.diag(self.scale))[0] / self.scale for p in points]
        return np.stack(rows)


def round_off_units(longest: int) -> float:
    """How many units of round-off times S a right formula may be off.

    Sums of n terms in any order err by up to about √n units; the rest is room for
    formulas that take a detour.

    >>> round_off_units(100)
    224.0
    """
    return 16.0 * (4.0 + float(np.sqrt(longest)))
