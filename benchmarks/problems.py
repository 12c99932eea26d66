"""What is timed: seeded problems, and the data that the package brings along."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jax_logreg.interfaces.readers import load_embedded

# Entries in a row of the sparse problem, and the share of columns that matter there.
_ENTRIES = 50
_RELEVANT = 0.1


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, class numbers and the strength of the L2 penalty on the mean loss.

    Attributes:
        name: of the problem.
        X: (n, p), an array or a SciPy CSR matrix, float64 or float32.
        y: class numbers, (n,).
        strength: of the penalty; the intercept is free.
        resamples: how often each row counts in each of B fits, (B, n); None for one fit.
    """

    name: str
    X: Any
    y: np.ndarray
    strength: float
    resamples: np.ndarray | None = None

    @cached_property
    def num_classes(self) -> int:
        return int(self.y.max()) + 1

    @property
    def kind(self) -> str:
        """Which contestants can take part: binary, softmax, sparse or bootstrap."""
        if self.resamples is not None:
            return "bootstrap"
        if sparse.issparse(self.X):
            return "sparse"
        return "softmax" if self.num_classes > 2 else "binary"

    @property
    def nbytes(self) -> int:
        """Bytes of the features (and of the resamples): what a fit cannot do without."""
        held = [self.X.data, self.X.indices, self.X.indptr] if self.kind == "sparse" else [self.X]
        return sum(array.nbytes for array in [*held, self.resamples] if array is not None)

    @cached_property
    def on_device(self) -> Any:
        """X where JAX computes, converted once for all contestants; CSR stays as it is."""
        return self.X if self.kind == "sparse" else jnp.asarray(self.X)

    def describe(self) -> str:
        n, p = self.X.shape
        fits = "" if self.resamples is None else f", {len(self.resamples)} fits"
        return f"{self.name}: {n} x {p}, K = {self.num_classes}, strength {self.strength:g}{fits}"


def embedded(name: str, strength: float, dtype: str = "float64") -> Problem:
    """One of the package's own tables, standardised."""
    table = load_embedded(name)
    X = (table.X - table.X.mean(axis=0)) / table.X.std(axis=0)
    return Problem(name, X.astype(dtype), table.y, strength)


def random(
    name: str,
    shape: tuple[int, int, int],
    strength: float,
    *,
    spread: float = 0.0,
    dtype: str = "float64",
) -> Problem:
    """Normal features, labels drawn from a true model with logits of a few units.

    Args:
        name: of the problem.
        shape: n, p, K.
        strength: of the penalty.
        spread: columns are scaled over 10^±spread.
        dtype: of the features; float32 numbers are drawn as such, to save memory.
    """
    n, p, K = shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.dtype(dtype).type)
    eta = X @ rng.normal(size=(p, K)).astype(dtype) * (2 / np.sqrt(p))
    y = np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)
    if spread:
        X *= (10 ** np.linspace(-spread, spread, p)).astype(dtype)
    return Problem(name, X, y, strength)


def random_sparse(
    name: str, shape: tuple[int, int, int], strength: float, *, dtype: str = "float64"
) -> Problem:
    """CSR with 50 normal entries a row; a tenth of the columns matters for the labels."""
    n, p, _ = shape
    entries = min(_ENTRIES, p)
    rng = np.random.default_rng(0)
    columns = _distinct(rng, n, p, entries)
    X = sparse.csr_matrix(
        (
            rng.standard_normal(n * entries).astype(dtype),
            columns.ravel(),
            np.arange(0, n * entries + 1, entries, dtype=np.int32),
        ),
        shape=(n, p),
    )
    relevant = rng.uniform(size=p) < _RELEVANT
    coef = np.where(relevant, rng.normal(size=p), 0) * 2 / np.sqrt(entries * _RELEVANT)
    y = (X @ coef + rng.logistic(size=n) > 0).astype(int)
    return Problem(name, X, y, strength)


def _distinct(rng: np.random.Generator, n: int, p: int, entries: int) -> np.ndarray:
    """Sorted column numbers, (n, entries), no two in a row alike: such rows are redrawn."""
    columns = np.empty((n, entries), np.int32)
    open_rows = np.arange(n)
    while open_rows.size:
        drawn = np.sort(rng.integers(p, size=(open_rows.size, entries)), axis=1)
        columns[open_rows] = drawn
        open_rows = open_rows[np.any(np.diff(drawn) == 0, axis=1)]
    return columns


def bootstrap(
    name: str, shape: tuple[int, int, int], fits: int, *, dtype: str = "float64"
) -> Problem:
    """One table and many resamples of its rows, as the number of times a row was drawn."""
    table = random(name, shape, 0.0, dtype=dtype)
    n = shape[0]
    counts = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=fits)
    return Problem(name, table.X, table.y, 0.0, counts.astype(dtype))
