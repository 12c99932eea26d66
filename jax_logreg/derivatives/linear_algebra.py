r"""Linear algebra in θ: preconditioners as approximate inverses, and soft thresholding.

Nothing here knows where a matrix comes from.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

# From this size on an inverse by LAPACK's Cholesky is faster than one by sweeps.
SWEEP_LIMIT = 256

# Up to this length of a vector its product with a matrix is taken twice: see ``times``.
_SHORT_VECTOR = 2048

_matmul = partial(jnp.matmul, precision="highest")


def times(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of two matrices, or of a matrix and a vector, with all digits of their dtype on
    every device.

    Two matrices are multiplied by a library. For a matrix and a vector XLA writes a kernel on the
    CPU, and takes 25 ms to compile it: a short vector is multiplied as a matrix of two alike.

    >>> A, v = jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.array([1.0, 1.0])
    >>> times(A, v).tolist(), times(v, A).tolist()
    ([3.0, 3.0], [1.0, 5.0])
    """
    if (a.ndim, b.ndim) == (2, 1) and len(b) <= _SHORT_VECTOR:
        return _matmul(a, jnp.stack([b, b], axis=1))[:, 0]
    if (a.ndim, b.ndim) == (1, 2) and b.shape[1] <= _SHORT_VECTOR:
        # Behind a barrier, or XLA would take the row before the product.
        return jax.lax.optimization_barrier(_matmul(jnp.stack([a, a]), b))[0]
    return _matmul(a, b)


def inner_products(*vectors: jax.Array) -> jax.Array:
    """All inner products of some vectors, (k, k): of short ones by one product of matrices; a table
    of long ones would be a copy of them, so each of theirs is taken by itself.

    >>> inner_products(jnp.array([1.0, 2.0]), jnp.array([3.0, 0.0])).tolist()
    [[5.0, 3.0], [3.0, 9.0]]
    """
    if vectors[0].size <= _SHORT_VECTOR:
        table = jnp.stack(vectors)
        return _matmul(table, table.T)
    return jnp.stack([jnp.stack([_matmul(a, b) for b in vectors]) for a in vectors])


class Preconditioner:
    """A positive definite M with a cheap inverse; the nearer to the Hessian, the fewer steps."""

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,)."""
        raise NotImplementedError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonal(Preconditioner):
    """A diagonal M.

    Attributes:
        inverse: of its entries, (P,), or () for a multiple of the identity.
    """

    inverse: jax.Array

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,)."""
        return self.inverse * vector


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense(Preconditioner):
    """A dense M, the same for every class.

    The inverse is kept, not a factor: a product per step is faster than two triangular solves.

    Attributes:
        inverse: of SMS, (q, q), perhaps in float32.
        scale: the diagonal of S, (q,), with which SMS has a unit diagonal.
    """

    inverse: jax.Array
    scale: jax.Array

    def solve(self, vector: jax.Array) -> jax.Array:
        """M⁻¹ times a vector (P,), one block a class."""
        table = vector.reshape(len(self.scale), -1) * self.scale[:, None]
        solved = times(self.inverse, table.astype(self.inverse.dtype))
        return (solved.astype(vector.dtype) * self.scale[:, None]).reshape(-1)

    def to_matrix(self) -> jax.Array:
        """M⁻¹, (q, q)."""
        return self.inverse * self.scale[:, None] * self.scale


def jacobi_scaling(M: jax.Array) -> jax.Array:
    """The diagonal of S for which SMS has a unit diagonal, (q,): then the units of a column
    have no influence on rank."""
    diagonal = jnp.abs(jnp.diag(M))
    return jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)


def invert(M: jax.Array) -> Dense:
    """The inverse of a positive definite M, (q, q), with a jitter where it is singular to
    round-off.

    >>> invert(jnp.diag(jnp.array([4.0, 1.0]))).solve(jnp.ones(2)).round(3).tolist()
    [0.25, 1.0]
    """
    scale = jacobi_scaling(M)
    identity = jnp.eye(len(scale), dtype=M.dtype)
    jitter = len(scale) * jnp.finfo(M.dtype).eps
    scaled = M * scale[:, None] * scale[None, :] + jitter * identity
    if len(scale) < SWEEP_LIMIT:
        inverse = inverse_by_sweep(scaled)
    else:
        inverse = cho_solve((jnp.linalg.cholesky(scaled), True), identity)
    # Indefinite by more than round-off: its diagonal alone is still a scaling.
    is_finite = jnp.all(jnp.isfinite(inverse))
    return Dense(jnp.where(is_finite, inverse, identity), scale)


def inverse_by_sweep(M: jax.Array) -> jax.Array:
    """The inverse of a small positive definite matrix by the sweep operator.

    LAPACK's threads go on spinning after a call, and occupy XLA's cores for tens of
    milliseconds: as long as a fit to a hundred thousand rows.

    Source: Beaton (1964), "The use of special matrix operators in statistical calculus".
    """
    index = jnp.arange(len(M))

    def sweep(k: jax.Array, A: jax.Array) -> jax.Array:
        row, here = A[k] / A[k, k], index == k
        swept = A - A[:, k][:, None] * row
        swept = jnp.where(here[:, None], row, swept)
        column = jnp.where(here, -1, A[:, k]) / A[k, k]
        return jnp.where(here[None, :], column[:, None], swept)

    return -jax.lax.fori_loop(0, len(M), sweep, M)


def soft_threshold(x: jax.Array, width: jax.Array) -> jax.Array:
    r"""The proximal map of ``width`` · |·|: :math:`\arg\min_z \tfrac12(z-x)^2 + \text{width}|z|`.

    >>> soft_threshold(jnp.array([3.0, -3.0]), jnp.array(1.0)).tolist()
    [2.0, -2.0]
    """
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - width, 0)


def min_norm_subgradient(theta: jax.Array, slope: jax.Array, l1_weights: jax.Array) -> jax.Array:
    r"""The shortest subgradient at θ of S + Σ κⱼ|θⱼ|, (P,): zero at a minimum and nowhere else.

    Args:
        theta: θ, (P,).
        slope: ∇S(θ), (P,).
        l1_weights: κ, (P,).

    >>> args = jnp.array([0.0, 2.0]), jnp.array([3.0, -3.0]), jnp.ones(2)
    >>> min_norm_subgradient(*args).tolist()
    [2.0, -2.0]
    """
    beside_zero = slope + l1_weights * jnp.sign(theta)
    return jnp.where(theta == 0, soft_threshold(slope, l1_weights), beside_zero)
