"""The rows of the table: shapes, strengths, goals, and what limits a row that misses."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import problems
from benchmarks.problems import Problem

# Row ↦ one sentence on what limits it, printed where the row misses its goal.
LIMITS: dict[str, str] = {
    "tall": (
        "four passes over X and a fit to a sixteenth of its rows; on 20 columns the exponentials "
        "and logarithms of a pass cost half as much as X does"
    ),
    "medium": (
        "in float32 three steps suffice: the answer to a sample and the products that verify the "
        "end are most of the time"
    ),
    "wide": "in float32 twenty-three steps of products too short to fill two cores",
    "softmax": (
        "in float32 nine steps suffice, and the products that verify the end count as much as "
        "two of them"
    ),
    "square": (
        "in float32 five steps suffice: thirteen reads of X at the speed of the memory, of which "
        "the start, its columns' sizes and the verified end take three"
    ),
    "softmax-large": (
        "products at the speed of XLA's own matrix multiplication: fourteen steps, eleven of "
        "them on a float32 copy"
    ),
    "sparse": (
        "a fifth of it lays the SciPy matrix out for fast products both ways (who fits more than "
        "once passes sparse_features(X)), half is twenty-eight steps of two such products"
    ),
    "bootstrap": (
        "blocks of 32 fits wait for their slowest, and every step forms a Hessian; the rival "
        "has the same two cores in two processes"
    ),
    "small": (
        "a third of it is checks of the input, the rest nine Newton steps of a fourteenth of a "
        "millisecond"
    ),
    "cold": (
        "importing JAX alone takes longer than half of scikit-learn's whole; then tracing and "
        "compiling, of which only the last can be kept on disk"
    ),
}

# The relative suboptimality that every contestant must reach.
TARGETS = {"float64": 1e-9, "float32": 1e-5}


def limit(name: str) -> str:
    """What limits the row, as far as anybody has looked."""
    return LIMITS.get(name, "not yet looked into")


@dataclass(frozen=True)
class Row:
    """A problem at full and at quick size, and what is asked of our time.

    Attributes:
        build: (n, p, dtype) ↦ the problem.
        full, quick: (n, p).
        ratio_goal: our time by that of the best rival, at most.
        floor_goal: our time by the floor, at most.
        dtype: the only one that makes sense for this row, or None for any.
        needs_gpu: whether to leave it out without one.
    """

    build: Callable[[int, int, str], Problem]
    full: tuple[int, int]
    quick: tuple[int, int]
    ratio_goal: float = 0.5
    floor_goal: float | None = None
    dtype: str | None = None
    needs_gpu: bool = False

    def shape(self, *, quick: bool = False, scale: float = 1.0) -> tuple[int, int]:
        """(n, p), with n shrunk by ``scale`` for a trial."""
        n, p = self.quick if quick else self.full
        return max(int(n * scale), min(n, 50)), p

    def problem(
        self, dtype: str = "float64", *, quick: bool = False, scale: float = 1.0
    ) -> Problem:
        return self.build(*self.shape(quick=quick, scale=scale), self.dtype or dtype)


def _random(name: str, K: int, strength: float, spread: float = 0.0) -> Callable[..., Problem]:
    def build(n: int, p: int, dtype: str) -> Problem:
        return problems.random(name, (n, p, K), strength, spread=spread, dtype=dtype)

    return build


def _embedded(name: str, strength: float) -> Callable[..., Problem]:
    """The table as it is: it does not shrink."""

    def build(n: int, p: int, dtype: str) -> Problem:
        return problems.embedded(name, strength, dtype)

    return build


def _sparse(n: int, p: int, dtype: str) -> Problem:
    return problems.random_sparse("sparse", (n, p, 2), 1e-5, dtype=dtype)


def _bootstrap(n: int, p: int, dtype: str) -> Problem:
    """As many fits as rows."""
    return problems.bootstrap("bootstrap", (n, p, 2), n, dtype=dtype)


ROWS: dict[str, Row] = {
    "tall": Row(_random("tall", 2, 1e-6), (1_000_000, 20), (50_000, 20), floor_goal=3),
    "medium": Row(_random("medium", 2, 1e-5), (100_000, 100), (10_000, 50), floor_goal=3),
    "square": Row(_random("square", 2, 1e-4), (20_000, 1_000), (2_000, 150), floor_goal=3),
    "wide": Row(_random("wide", 2, 1e-2), (1_000, 5_000), (150, 300)),
    "softmax": Row(_random("softmax", 10, 1e-4), (20_000, 200), (2_000, 10)),
    "softmax-large": Row(_random("softmax-large", 10, 1e-4), (60_000, 784), (1_500, 30)),
    "badly-scaled": Row(_random("badly-scaled", 2, 1e-6, spread=3), (100_000, 50), (5_000, 20)),
    "small": Row(_embedded("breast-cancer", 1e-3), (569, 30), (569, 30)),
    "sparse": Row(_sparse, (100_000, 50_000), (10_000, 5_000)),
    "bootstrap": Row(_bootstrap, (1_000, 10), (150, 10), ratio_goal=0.1),
    "cold": Row(_embedded("breast-cancer", 1e-3), (569, 30), (569, 30)),
    "gpu": Row(
        _random("gpu", 2, 1e-6),
        (10_000_000, 100),
        (1_000_000, 100),
        dtype="float32",
        needs_gpu=True,
    ),
}

# Problems outside the table, for a quick look; nothing is kept of them.
EXTRAS: dict[str, Row] = {
    "iris": Row(_embedded("iris", 1e-3), (150, 4), (150, 4)),
    "breast-cancer": Row(_embedded("breast-cancer", 1e-3), (569, 30), (569, 30)),
}
