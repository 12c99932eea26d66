"""The first audit of a process: its seconds, each in a process of its own.

``python -m tests.audit.planting.cold "a right gradient" 300 20`` prints those of one as JSON: the
processor's and the clock's, after the imports, with nothing compiled before.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg import check_derivatives
from tests.audit.planting.recipe import Array

_CLASSES, _STRENGTH = 3, 0.1


def loss(w: Array, X: Array, y: Array) -> Array:
    z = X @ w
    return jnp.mean(jnp.logaddexp(0, z) - y * z) + _STRENGTH / 2 * jnp.sum(w**2)


def gradient(w: Array, X: Array, y: Array) -> Array:
    return X.T @ (jax.nn.sigmoid(X @ w) - y) / len(y) + _STRENGTH * w


def without_penalty(w: Array, X: Array, y: Array) -> Array:
    return X.T @ (jax.nn.sigmoid(X @ w) - y) / len(y)


def hessian(w: Array, X: Array, y: Array) -> Array:
    p = jax.nn.sigmoid(X @ w)
    return (X.T * (p * (1 - p))) @ X / len(y) + _STRENGTH * jnp.eye(len(w))


def without_complement(w: Array, X: Array, y: Array) -> Array:
    return (X.T * jax.nn.sigmoid(X @ w)) @ X / len(y) + _STRENGTH * jnp.eye(len(w))


def softmax_loss(W: Array, X: Array, Y: Array) -> Array:
    return -jnp.mean(jnp.sum(Y * jax.nn.log_softmax(X @ W), axis=1))


def softmax_gradient(W: Array, X: Array, Y: Array) -> Array:
    return X.T @ (jax.nn.softmax(X @ W) - Y) / len(Y)


def of_sigmoids(W: Array, X: Array, Y: Array) -> Array:
    return X.T @ (jax.nn.sigmoid(X @ W) - Y) / len(Y)


# What is audited, and the kind of the mistake in it, None if it is right.
_CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "a right gradient": ({"value": loss, "gradient": gradient}, None),
    "a wrong gradient": ({"value": loss, "gradient": without_penalty}, "penalty-missing"),
    "a right softmax gradient": ({"value": softmax_loss, "gradient": softmax_gradient}, None),
    "a wrong softmax gradient": (
        {"value": softmax_loss, "gradient": of_sigmoids}, "sigmoid-softmax",
    ),
    "a right Hessian": ({"value": loss, "hessian": hessian}, None),
    "a wrong Hessian": ({"value": loss, "hessian": without_complement}, "chain-factor"),
}  # fmt: skip
SIZES = ((100, 5), (1000, 50))


class ColdReport(NamedTuple):
    """What the first audit of a process takes.

    Attributes:
        name, rows, features: the case.
        cpu, wall: seconds.
    """

    name: str
    rows: int
    features: int
    cpu: float
    wall: float


def measure_cold_reports() -> list[ColdReport]:
    """Every case at every size."""
    return [_in_a_process(name, *size) for name in _CASES for size in SIZES]


def _in_a_process(name: str, rows: int, features: int) -> ColdReport:
    command = [sys.executable, "-m", "tests.audit.planting.cold", name, str(rows), str(features)]
    without_cache = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=without_cache)
    return ColdReport(**json.loads(done.stdout))


def _audit(name: str, rows: int, features: int) -> ColdReport:
    functions, mistake = _CASES[name]
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(rows, features)), rng.integers(0, _CLASSES, rows)
    softmax = functions["value"] is softmax_loss
    y = np.eye(_CLASSES)[labels] if softmax else (labels > 0) * 1.0
    at = np.zeros((features, _CLASSES) if softmax else features)
    jax.devices()  # to start the backend is no part of an audit
    cpu, wall = time.process_time(), time.perf_counter()
    report = check_derivatives(**functions, at=at, args=(X, y))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert report.ok == (mistake is None), report
    assert mistake is None or report.diagnosis.kind == mistake, report
    return ColdReport(name, rows, features, cpu, wall)


if __name__ == "__main__":
    print(json.dumps(_audit(sys.argv[1], *map(int, sys.argv[2:]))._asdict()))
