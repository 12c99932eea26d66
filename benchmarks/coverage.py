"""The command: ``python -m benchmarks.coverage``: how often 95 % intervals contain the truth.

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

# Coefficients, and the intercept last.
_TRUTH = np.array([0.5, -0.5, 0.25, 0.0, 0.3])
_QUANTILE = 1.959963984540054


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--fits", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    print(machine())
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        X = jnp.asarray(rng.normal(size=(options.rows, len(_TRUTH) - 1)))
        mu = np.asarray(sigmoid(X @ _TRUTH[:-1] + _TRUTH[-1]))
        Y = jnp.asarray(rng.uniform(size=(options.fits, options.rows)) < mu, float)
        fit_many(X, Y)  # compiles
        began = time.perf_counter()
        many = fit_many(X, Y)
        theta = jnp.column_stack([many.coef, many.intercept])
        errors = np.asarray(_standard_errors(X, Y, theta))
        seconds = time.perf_counter() - began
    covered = np.abs(np.asarray(theta) - _TRUTH) <= _QUANTILE * errors
    covered = covered[np.asarray(many.converged)]
    print(f"{options.fits} fits of {options.rows} x {len(_TRUTH) - 1}: {seconds:.1f} s, compiled")
    print(f"{len(covered)} converged; how many of the 95 % intervals contain the truth:")
    names = ["coefficient"] * (len(_TRUTH) - 1) + ["intercept"]
    for name, truth, fraction in zip(names, _TRUTH, covered.mean(axis=0), strict=True):
        print(f"  {f'{name} {truth:g}':18} {100 * fraction:.2f} %")
    return 0


@jax.jit
def _standard_errors(X: jax.Array, Y: jax.Array, theta: jax.Array) -> jax.Array:
    def one(X: jax.Array, fitted: tuple[jax.Array, jax.Array]) -> jax.Array:
        y, at = fitted
        information = len(y) * hessian(make_objective(X, y), at)
        return jnp.sqrt(jnp.diag(jnp.linalg.inv(information)))

    return jax.lax.map(partial(one, X), (Y, theta), batch_size=64)


if __name__ == "__main__":
    sys.exit(main())
