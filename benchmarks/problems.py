"""The problems that are timed, and the rows of the table: shapes, strengths, goals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jax_logreg.interfaces.tables import load_embedded

# Entries in a row of the sparse problem, and the share of columns that matter there.
_ENTRIES = 50
_RELEVANT = 0.1

# Words of a text, the median; by how much more often the words of a class come in its texts, the
# one in how many words that has a class; and the commonest words, which have none.
_WORDS = 95
_LIFT, _ONE_IN, _COMMON = 8, 4, 50
# Fields of a click, each with one level; how often one is clicked at most levels.
_FIELDS = 5
_CLICKED = -2.0
# Ranges of the ten measurements of a raw table, as those of a land survey, and the numbers of
# levels of its two fields of indicators.
_RANGES = (
    (1859, 3858), (0, 360), (0, 66), (0, 1397), (-173, 601), (0, 7117), (0, 254), (0, 254),
    (0, 254), (0, 7173),
)  # fmt: skip
_LEVELS = (4, 40)

# The relative suboptimality that every contestant must reach.
TARGETS = {"float64": 1e-9, "float32": 1e-5}


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, class numbers and the strength of the L2 penalty on the mean loss.

    Attributes:
        X: (n, p), an array or a SciPy CSR matrix, float64 or float32.
        y: class numbers, (n,).
        strength: of the penalty; the intercept is free.
        resamples: how often each row counts in each of B fits, (B, n); None for one fit.
    """

    X: Any
    y: np.ndarray
    strength: float
    resamples: np.ndarray | None = None

    @cached_property
    def num_classes(self) -> int:
        return int(self.y.max()) + 1

    @property
    def kind(self) -> str:
        """Which contestants can take part: binary, softmax, sparse, sparse softmax or bootstrap."""
        if self.resamples is not None:
            return "bootstrap"
        if sparse.issparse(self.X):
            return "sparse" if self.num_classes == 2 else "sparse softmax"
        return "softmax" if self.num_classes > 2 else "binary"

    @property
    def nbytes(self) -> int:
        """Bytes of the features and the resamples: what a fit cannot do without."""
        X, is_sparse = self.X, sparse.issparse(self.X)
        arrays = [X.data, X.indices, X.indptr] if is_sparse else [X]
        return sum(array.nbytes for array in [*arrays, self.resamples] if array is not None)

    @cached_property
    def on_device(self) -> Any:
        """X where JAX computes, converted once for all contestants; CSR stays as it is."""
        return self.X if sparse.issparse(self.X) else jnp.asarray(self.X)


def embedded(name: str, dtype: str = "float64") -> Problem:
    """One of the package's own tables, standardised; it does not shrink."""
    table = load_embedded(name)
    X = (table.X - table.X.mean(axis=0)) / table.X.std(axis=0)
    return Problem(X.astype(dtype), table.y, 1e-3)


def random(
    shape: tuple[int, int, int], strength: float, *, spread: float = 0.0, dtype: str = "float64"
) -> Problem:
    """Normal features (n, p), labels of K classes from a true model with logits of a few units.

    Columns are scaled over 10^±spread. float32 numbers are drawn as such, to save memory.
    """
    n, p, K = shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.dtype(dtype).type)
    eta = X @ rng.normal(size=(p, K)).astype(dtype) * (2 / np.sqrt(p))
    y = np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)
    if spread:
        X *= (10 ** np.linspace(-spread, spread, p)).astype(dtype)
    return Problem(X, y, strength)


def random_sparse(
    shape: tuple[int, int, int], strength: float, *, dtype: str = "float64"
) -> Problem:
    """CSR with 50 normal entries a row; a tenth of the columns matters for the labels."""
    n, p, _ = shape
    entries = min(_ENTRIES, p)
    rng = np.random.default_rng(0)
    columns = _distinct_columns(rng, n, p, entries)
    values = rng.standard_normal(n * entries).astype(dtype)
    starts = np.arange(0, n * entries + 1, entries, dtype=np.int32)
    X = sparse.csr_matrix((values, columns.ravel(), starts), shape=(n, p))
    relevant = rng.uniform(size=p) < _RELEVANT
    coef = np.where(relevant, rng.normal(size=p), 0) * 2 / np.sqrt(entries * _RELEVANT)
    y = (X @ coef + rng.logistic(size=n) > 0).astype(int)
    return Problem(X, y, strength)


def _distinct_columns(rng: np.random.Generator, n: int, p: int, entries: int) -> np.ndarray:
    """Sorted column numbers, (n, entries); a row with a duplicate is redrawn."""
    columns = np.empty((n, entries), np.int32)
    pending = np.arange(n)
    while pending.size:
        drawn = np.sort(rng.integers(p, size=(pending.size, entries)), axis=1)
        columns[pending] = drawn
        pending = pending[np.any(np.diff(drawn) == 0, axis=1)]
    return columns


def text(shape: tuple[int, int, int], strength: float, *, dtype: str = "float64") -> Problem:
    """TF-IDF of texts: words by Zipf's law, some of them more often in the texts of a class."""
    n, p, K = shape
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=n)
    lengths = np.maximum(5, _WORDS * np.exp(0.8 * rng.standard_normal(n))).astype(int)
    frequency, topic = _zipf(p), rng.integers(_ONE_IN * K, size=p)
    topic[:_COMMON] = -1
    rows, words = [], []
    for k in range(K):
        rows.append(np.repeat(np.flatnonzero(y == k), lengths[y == k]))
        weight = np.where(topic == k, _LIFT, 1) * frequency
        words.append(_draw(rng, weight, rows[-1].size))
    where = np.concatenate(rows), np.concatenate(words)
    counts = sparse.coo_matrix((np.ones(where[0].size), where), shape=(n, p)).tocsr()
    inverse_frequency = np.log((1 + n) / (1 + np.bincount(counts.indices, minlength=p))) + 1
    counts.data *= inverse_frequency[counts.indices]
    lengths = np.sqrt(np.add.reduceat(counts.data**2, counts.indptr[:-1]))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return Problem(counts.astype(dtype), y, strength)


def _zipf(count: int) -> np.ndarray:
    """How often each of some words or levels comes, by Zipf's law as Mandelbrot shifted it."""
    return 1 / (np.arange(count) + 3.0)


def _draw(rng: np.random.Generator, weight: np.ndarray, size: int) -> np.ndarray:
    """Numbers below len(weight), each as often as its weight says."""
    total = np.cumsum(weight)
    return np.searchsorted(total, rng.uniform(0, total[-1], size), side="right")


def one_hot(shape: tuple[int, int, int], strength: float, *, dtype: str = "float64") -> Problem:
    """CSR of indicators: five fields of equally many levels, by Zipf's law, and rare clicks."""
    n, p, _ = shape
    rng, levels = np.random.default_rng(0), p // _FIELDS
    drawn = [_draw(rng, _zipf(levels), n) for _ in range(_FIELDS)]
    columns = np.stack([field * levels + level for field, level in enumerate(drawn)], axis=1)
    starts = np.arange(0, n * _FIELDS + 1, _FIELDS, dtype=np.int32)
    entries = np.ones(n * _FIELDS, dtype), columns.astype(np.int32).ravel(), starts
    X = sparse.csr_matrix(entries, shape=(n, p))
    y = (_CLICKED + X @ rng.normal(size=p) * 0.5 + rng.logistic(size=n) > 0).astype(int)
    return Problem(X, y, strength)


def raw(shape: tuple[int, int, int], strength: float, *, dtype: str = "float64") -> Problem:
    """A table as people have it: correlated measurements in their own units, and indicators."""
    n, _, K = shape
    rng = np.random.default_rng(0)
    low, high = np.transpose(_RANGES)
    mixed = rng.standard_normal((n, len(low))) @ rng.normal(size=(len(low), len(low))) / 3
    share = (1 + np.tanh(mixed)) / 2
    fields = [np.eye(count)[_draw(rng, _zipf(count), n)] for count in _LEVELS]
    unit = np.column_stack([2 * share - 1, *fields])
    eta = unit @ rng.normal(size=(unit.shape[1], K)) * 2
    y = np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)
    X = np.column_stack([np.round(low + share * (high - low)), *fields])
    return Problem(X.astype(dtype), y, strength)


def bootstrap(shape: tuple[int, int, int], fits: int, *, dtype: str = "float64") -> Problem:
    """One table and many resamples of its rows, as the number of times a row was drawn."""
    table = random(shape, 0.0, dtype=dtype)
    n = shape[0]
    counts = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=fits)
    return Problem(table.X, table.y, 0.0, counts.astype(dtype))


@dataclass(frozen=True)
class Row:
    """A problem at full and at quick size, and the goals for our time.

    Attributes:
        build: (n, p, dtype) ↦ the problem.
        full, quick: (n, p).
        ratio_goal: our time over that of the best rival, at most.
        floor_goal: our time over the floor, at most.
        limit: what limits the row, as far as is known; printed where it misses a goal.
        dtype: the only one that makes sense for this row, or None for any.
        needs_gpu: whether to leave it out without one.
    """

    build: Callable[[int, int, str], Problem]
    full: tuple[int, int]
    quick: tuple[int, int]
    ratio_goal: float = 0.5
    floor_goal: float | None = None
    limit: str = "not yet known"
    dtype: str | None = None
    needs_gpu: bool = False

    def problem(
        self, dtype: str = "float64", *, quick: bool = False, scale: float = 1.0
    ) -> Problem:
        """The problem, with n shrunk by ``scale`` for a trial."""
        n, p = self.quick if quick else self.full
        return self.build(max(int(n * scale), min(n, 50)), p, self.dtype or dtype)


# bootstrap makes as many fits as it has rows.
ROWS: dict[str, Row] = {
    "tall": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-6, dtype=dtype),
        (1_000_000, 20), (50_000, 20), floor_goal=3,
        limit="four passes over X and a fit to a sixteenth of its rows; on 20 columns the "
        "exponentials and logarithms of a pass cost half as much as X does",
    ),
    "medium": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-5, dtype=dtype),
        (100_000, 100), (10_000, 50), floor_goal=3,
        limit="in float32 three steps suffice: the answer to a sample and the products that "
        "verify the end are most of the time",
    ),
    "square": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-4, dtype=dtype),
        (20_000, 1_000), (2_000, 150), floor_goal=3,
        limit="in float32 five steps suffice: thirteen reads of X at the speed of the memory, of "
        "which the start, its columns' sizes and the verified end take three",
    ),
    "wide": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-2, dtype=dtype),
        (1_000, 5_000), (150, 300),
        limit="in float32 twenty-three steps of products too short to fill two cores",
    ),
    "softmax": Row(
        lambda n, p, dtype: random((n, p, 10), 1e-4, dtype=dtype),
        (20_000, 200), (2_000, 10),
        limit="in float32 nine steps suffice, and the products that verify the end count as "
        "much as two of them",
    ),
    "softmax-large": Row(
        lambda n, p, dtype: random((n, p, 10), 1e-4, dtype=dtype),
        (60_000, 784), (1_500, 30),
        limit="products at the speed of XLA's own matrix multiplication: fourteen steps, eleven "
        "of them on a float32 copy",
    ),
    "badly-scaled": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-6, spread=3, dtype=dtype),
        (100_000, 50), (5_000, 20),
    ),
    "small": Row(
        lambda n, p, dtype: embedded("breast-cancer", dtype), (569, 30), (569, 30),
        limit="a third of it is checks of the input, the rest nine Newton steps of a fourteenth "
        "of a millisecond",
    ),
    "sparse": Row(
        lambda n, p, dtype: random_sparse((n, p, 2), 1e-5, dtype=dtype),
        (100_000, 50_000), (10_000, 5_000),
        limit="a fifth of it lays the SciPy matrix out for fast products both ways (to fit "
        "more than once, pass sparse_features(X)), half is twenty-eight steps of two such "
        "products",
    ),
    "text-20": Row(
        lambda n, p, dtype: text((n, p, 20), 1 / n, dtype=dtype),
        (11_314, 130_107), (2_000, 20_000),
        limit="forty products with the table, half of them in float32, and, as much again, sums "
        "of vectors of 2.6 million parameters",
    ),
    "one-hot": Row(
        lambda n, p, dtype: one_hot((n, p, 2), 1 / n, dtype=dtype),
        (1_000_000, 5_000), (50_000, 500),
        limit="forty products with the table and laying it out for them",
    ),
    "raw-units": Row(
        lambda n, p, dtype: raw((n, p, 2), 1 / n, dtype=dtype), (300_000, 54), (20_000, 54),
    ),
    "raw-units-7": Row(
        lambda n, p, dtype: raw((n, p, 7), 1 / n, dtype=dtype), (300_000, 54), (10_000, 54),
    ),
    "bootstrap": Row(
        lambda n, p, dtype: bootstrap((n, p, 2), n, dtype=dtype),
        (1_000, 10), (150, 10), ratio_goal=0.1,
        limit="blocks of 32 fits wait for their slowest, and every step forms a Hessian; the "
        "rival has the same two cores in two processes",
    ),
    "cold": Row(
        lambda n, p, dtype: embedded("breast-cancer", dtype), (569, 30), (569, 30),
        limit="importing JAX alone takes longer than half of scikit-learn's whole; then tracing "
        "and compiling, of which only the last can be kept on disk",
    ),
    "gpu": Row(
        lambda n, p, dtype: random((n, p, 2), 1e-6, dtype=dtype),
        (10_000_000, 100), (1_000_000, 100),
        dtype="float32", needs_gpu=True,
    ),
}  # fmt: skip

# Problems outside the table, for a quick look; nothing is kept of them.
EXTRAS: dict[str, Row] = {
    "iris": Row(lambda n, p, dtype: embedded("iris", dtype), (150, 4), (150, 4)),
    "breast-cancer": Row(
        lambda n, p, dtype: embedded("breast-cancer", dtype), (569, 30), (569, 30)
    ),
}
