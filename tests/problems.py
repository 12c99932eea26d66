"""Problems that tests share; one shape a model, so that each program compiles once."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jax_logreg import L2
from jax_logreg.objective.objective import Objective, make_objective
from jax_logreg.programs.compiled import _programs

MODELS = ("sigmoid", "softmax")
N, P, K = 24, 3, 3


class Problem(NamedTuple):
    """Arguments of ``fit`` and of ``make_objective``, all NumPy of one dtype."""

    X: np.ndarray
    y: np.ndarray
    penalty: L2
    sample_weight: np.ndarray
    offset: np.ndarray

    def objective(self) -> Objective:
        X, y, penalty, *rest = map(_as_arrays, self)
        return make_objective(X, y, penalty, sample_weight=rest[0], offset=rest[1])

    def options(self) -> dict:
        return {
            "penalty": self.penalty,
            "sample_weight": self.sample_weight,
            "offset": self.offset,
        }


def _as_arrays(part):
    if isinstance(part, L2):
        return L2(jnp.asarray(part.strength), jnp.asarray(part.factor))
    return jnp.asarray(part)


def make_problem(model: str, dtype: str, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    shape = (N,) if model == "sigmoid" else (N, K)
    y = rng.uniform(size=N) if model == "sigmoid" else rng.dirichlet(np.ones(K), size=N)
    parts = (
        rng.normal(size=(N, P)),
        y,
        L2(np.asarray(0.05, dtype), rng.uniform(0.5, 2, size=P).astype(dtype)),
        rng.uniform(0.5, 2, size=N),
        0.3 * rng.normal(size=shape),
    )
    return Problem(*(p if isinstance(p, L2) else p.astype(dtype) for p in parts))


def random_theta(objective: Objective, seed: int = 0):
    """A point away from the optimum, where a wrong sign cannot hide."""
    rng = np.random.default_rng(100 + seed)
    return jnp.asarray(rng.normal(size=objective.num_parameters), objective.X.dtype)


# Undamped Newton from zero leaves every bound on these eight rows; they overlap, so
# the minimum is finite. Found by random search over rounded heavy-tailed rows.
OVERSHOOT_X = np.array(
    [
        [30.8, -2.5, 8.5],
        [-6.8, -30.4, 17.5],
        [16.8, -18.5, 1.7],
        [0.3, 0.3, 0.3],
        [-34.0, -41.5, -0.5],
        [1.2, 1.5, 2.2],
        [0.0, -0.1, 0.0],
        [-0.4, 1.3, -0.1],
    ]
)
OVERSHOOT_Y = np.array([0.0, 0, 0, 1, 1, 0, 1, 0])


def count_programs(*functions):
    """How many programs these ``Compiled`` have made by now."""
    return sum(_programs.num_made[f] + f._within._cache_size() for f in functions)
