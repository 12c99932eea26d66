"""What is timed: seeded problems by name, the embedded data among them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jax_logreg.interfaces.readers import load_embedded


@dataclass(frozen=True)
class Problem:
    """Data, class numbers and the strength of the L2 penalty on the mean loss."""

    name: str
    X: np.ndarray
    y: np.ndarray
    strength: float

    @property
    def num_classes(self) -> int:
        return int(self.y.max()) + 1

    def describe(self) -> str:
        n, p = self.X.shape
        return f"{self.name}: {n} x {p}, K = {self.num_classes}, strength {self.strength:g}"


def _embedded(name: str, strength: float) -> Callable[[], Problem]:
    def make() -> Problem:
        table = load_embedded(name)
        X = (table.X - table.X.mean(axis=0)) / table.X.std(axis=0)
        return Problem(name, X, table.y, strength)

    return make


def _random(
    name: str, n: int, p: int, K: int, strength: float, spread: float = 0.0
) -> Callable[[], Problem]:
    """Normal features, labels drawn from a true model with logits of a few units.

    Args:
        name: of the problem.
        n: rows.
        p: columns.
        K: classes.
        strength: of the penalty.
        spread: columns are scaled over 10^±spread.
    """

    def make() -> Problem:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, p))
        eta = X @ rng.normal(size=(p, K)) * (2 / np.sqrt(p))
        y = np.argmax(eta + rng.gumbel(size=eta.shape), axis=1)
        return Problem(name, X * 10 ** np.linspace(-spread, spread, p), y, strength)

    return make


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "breast-cancer": _embedded("breast-cancer", 1e-3),
    "iris": _embedded("iris", 1e-3),
    "small": _random("small", 1_000, 10, 2, 1e-3),
    "medium": _random("medium", 100_000, 50, 2, 1e-5),
    "badly-scaled": _random("badly-scaled", 20_000, 30, 2, 1e-6, spread=2.0),
    "softmax": _random("softmax", 20_000, 50, 5, 1e-4),
}
