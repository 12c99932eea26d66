"""How often the 95 % intervals hold the truth: ``python -m benchmarks.coverage``.

Ten thousand data sets are drawn from one true model and fitted at once by ``fit_many``; the
standard errors come from the information at each answer.
"""

import argparse
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import machine
from jax_logreg import fit_many
from jax_logreg.derivatives.analytic import hessian
from jax_logreg.objective.model import sigmoid
from jax_logreg.objective.objective import make_objective

_TRUTH = np.array([0.5, -0.5, 0.25, 0.0])
_INTERCEPT = 0.3
_QUANTILE = 1.959963984540054


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--fits", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    print(machine())
    with jax.enable_x64(True):
        held, seconds, converged = coverage(options.fits, options.rows)
    print(f"{options.fits} fits of {options.rows} x {len(_TRUTH)}: {seconds:.1f} s, compiled")
    print(f"{converged} converged; share of 95 % intervals that hold the truth:")
    names = [*(f"coefficient {t:g}" for t in _TRUTH), f"intercept {_INTERCEPT:g}"]
    for name, share in zip(names, held, strict=True):
        print(f"  {name:18} {100 * share:.2f} %")
    return 0


def coverage(fits: int, rows: int) -> tuple[np.ndarray, float, int]:
    """The share of intervals that hold each parameter, the seconds, and how many converged."""
    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.normal(size=(rows, len(_TRUTH))))
    mu = sigmoid(X @ _TRUTH + _INTERCEPT)
    Y = jnp.asarray(rng.uniform(size=(fits, rows)) < np.asarray(mu), float)
    fit_many(X, Y)
    began = time.perf_counter()
    many = fit_many(X, Y)
    theta = jnp.column_stack([many.coef, many.intercept])
    errors = np.asarray(_standard_errors(X, Y, theta))
    seconds = time.perf_counter() - began
    truth = np.append(_TRUTH, _INTERCEPT)
    held = np.abs(np.asarray(theta) - truth) <= _QUANTILE * errors
    sound = np.asarray(many.converged)
    return held[sound].mean(axis=0), seconds, int(sound.sum())


@jax.jit
def _standard_errors(X: jax.Array, Y: jax.Array, theta: jax.Array) -> jax.Array:
    def one(X: jax.Array, pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        y, at = pair
        information = len(y) * hessian(make_objective(X, y), at)
        return jnp.sqrt(jnp.diag(jnp.linalg.inv(information)))

    return jax.lax.map(partial(one, X), (Y, theta), batch_size=64)


if __name__ == "__main__":
    sys.exit(main())
