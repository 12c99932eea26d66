"""The command: ``python -m benchmarks.differentiable``: digits and time of a fit's derivatives.

Digits: on thirty random problems of every kind the derivative at the default ``tol``, in forward
and in reverse mode, against central differences of order six of whole fits. Time: what reverse mode
adds to a warm fit. Optimistix, JAXopt and 200 unrolled steps of gradient descent take part where
they are installed, each with a loss of its own as their users write it.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO

from benchmarks.machine import machine
from jax_logreg import L2, ElasticNet, Firth, fit, log_likelihood, logits

_PROBLEMS, _REPEATS, _STEP = 30, 7, 2e-4
_N, _P, _K = 60, 5, 3
_UNROLLED = 200


# --- digits -----------------------------------------------------------------------------


class Kind(NamedTuple):
    """One kind of problem.

    Attributes:
        name: of the row.
        make: rng ↦ what is differentiated, a pytree, and a direction.
        answer: (that, options of ``fit``) ↦ a vector.
    """

    name: str
    make: Callable[[np.random.Generator], tuple[Any, Any]]
    answer: Callable[..., jax.Array]


def _parts(rng: np.random.Generator, penalty: Any, classes: int) -> tuple[Any, Any]:
    """Everything that a fit is differentiable in, and a direction."""
    shape = (_N, classes) if classes else (_N,)
    parts = {
        "X": rng.normal(size=(_N, _P)),
        "y": rng.dirichlet(np.ones(classes), size=_N) if classes else rng.uniform(size=_N),
        "sample_weight": rng.uniform(0.5, 2, size=_N),
        "offset": 0.3 * rng.normal(size=shape),
    }
    parts["y"] = 0.9 * parts["y"] + 0.1 / max(classes, 2)  # may move both ways
    parts = jax.tree.map(jnp.asarray, parts | {"penalty": penalty})
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), parts)
    direction["y"] = 0.05 * direction["y"]
    if classes:
        direction["y"] -= jnp.mean(direction["y"], axis=1, keepdims=True)
    direction["penalty"] = jax.tree.map(lambda a: 0.1 * a, penalty)
    return parts, direction


def _answer(parts: Any, **options: Any) -> jax.Array:
    found = fit(**parts, **options)
    return jnp.hstack([found.coef.ravel(), found.intercept.ravel(), found.objective])


def _kind(name: str, penalty: Callable[[np.random.Generator], Any], classes: int = 0) -> Kind:
    return Kind(name, lambda rng: _parts(rng, penalty(rng), classes), _answer)


def _ridge(rng: np.random.Generator) -> L2:
    return L2(jnp.asarray(rng.uniform(0.01, 0.1)), jnp.asarray(rng.uniform(0.5, 2, _P)))


def _elastic_net(rng: np.random.Generator) -> ElasticNet:
    strength, ratio = rng.uniform(0.01, 0.03), rng.uniform(0.3, 0.95)
    return ElasticNet(*map(jnp.asarray, (strength, ratio, rng.uniform(0.5, 2, _P))))


def _sparse(rng: np.random.Generator) -> tuple[Any, Any]:
    entries = rng.normal(size=_N * _P // 2)
    return jnp.asarray(entries), jnp.asarray(rng.normal(size=entries.shape))


def _of_entries(entries: jax.Array, **options: Any) -> jax.Array:
    places = np.random.default_rng(0).choice(_N * _P, _N * _P // 2, replace=False)
    indices = jnp.asarray(np.stack(np.divmod(places, _P), axis=1))
    y = np.random.default_rng(1).uniform(size=_N)
    X = BCOO((entries, indices), shape=(_N, _P))
    return _answer({"X": X, "y": y, "penalty": L2(0.05)}, **options)


def _held_out(rng: np.random.Generator) -> tuple[Any, Any]:
    """A data set and the logarithm of a lasso's strength, which alone moves."""
    X = rng.normal(size=(2 * _N, _P))
    y = (rng.uniform(size=2 * _N) < 1 / (1 + np.exp(X[:, 1] - 2 * X[:, 0]))).astype(float)
    data = jnp.asarray(X), jnp.asarray(y), jnp.asarray(np.log(rng.uniform(0.01, 0.05)))
    return data, (jnp.zeros_like(X), jnp.zeros_like(y), jnp.ones(()))


def _held_out_loss(data: Any, **options: Any) -> jax.Array:
    X, y, log_strength = data
    X, y = jax.lax.stop_gradient((X, y))
    found = fit(X[:_N], y[:_N], penalty=ElasticNet(jnp.exp(log_strength)), **options)
    eta = logits(X[_N:], found.coef, found.intercept)
    return -log_likelihood(eta, y[_N:], mean=True)[None]


KINDS = [
    _kind("ridge", _ridge),
    _kind("ridge, softmax", _ridge, _K),
    _kind("no penalty", lambda _: None),
    _kind("elastic net", _elastic_net),
    _kind("elastic net, softmax", _elastic_net, _K),
    _kind("Firth", lambda _: Firth()),
    _kind("Firth, softmax", lambda _: Firth(), _K),
    Kind("entries of a sparse X", _sparse, _of_entries),
    Kind("held-out loss in the L1 strength", _held_out, _held_out_loss),
]


def errors(kind: Kind, seed: int) -> tuple[float, float, float]:
    """The relative errors of forward and reverse mode, and of the second derivative; NaN where the
    differences cross a kink."""
    rng = np.random.default_rng(seed)
    at, direction = kind.make(rng)
    there = [_along(at, direction, t * _STEP) for t in (-3, -2, -1, 1, 2, 3)]
    values = [kind.answer(x, tol=1e-12) for x in there]
    if len({tuple(np.flatnonzero(np.asarray(v) == 0)) for v in values}) > 1:
        return (np.nan,) * 3
    expected = _difference(values)
    found = jax.jvp(kind.answer, (at,), (direction,))[1]
    weights = jnp.asarray(rng.normal(size=expected.shape))
    gradient = jax.grad(lambda x: weights @ kind.answer(x))(at)
    reverse = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)))

    def slope(x: Any) -> jax.Array:
        return jax.jvp(lambda x: kind.answer(x, tol=1e-12), (x,), (direction,))[1]

    second = _difference([slope(x) for x in there])
    twice = jax.jvp(slope, (at,), (direction,))[1]
    return (
        _error(found, expected),
        float(abs(reverse - weights @ expected) / jnp.sum(jnp.abs(weights * expected))),
        _error(twice, second),
    )


def _along(at: Any, direction: Any, t: float) -> Any:
    return jax.tree.map(lambda a, b: a + t * b, at, direction)


def _difference(values: list[jax.Array]) -> jax.Array:
    """Of order six."""
    a, b, c = (values[3 + i] - values[2 - i] for i in range(3))
    return (45 * a - 9 * b + c) / (60 * _STEP)


def _error(found: jax.Array, expected: jax.Array) -> float:
    return float(jnp.max(jnp.abs(found - expected)) / jnp.max(jnp.abs(expected)))


# --- time -------------------------------------------------------------------------------


def _table(n: int, p: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    chance = 1 / (1 + np.exp(-X @ rng.normal(size=p) / np.sqrt(p)))
    return jnp.asarray(X), jnp.asarray((rng.uniform(size=n) < chance).astype(float))


def seconds(*calls: Callable[[], Any]) -> list[float]:
    """The fastest of some calls, taken in turn."""
    best = [np.inf] * len(calls)
    for repeat in range(_REPEATS + 1):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            if repeat:  # the first compiles
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def times() -> list[tuple[str, float, float]]:
    """(name, seconds of a fit, seconds that its derivative adds)."""
    rows = []
    X, y = _table(10_000, 1_000)
    held = _table(2_000, 1_000)

    def of_strengths(factor: jax.Array) -> Any:
        return fit(X, y, penalty=L2(0.01, factor))

    def loss(factor: jax.Array) -> jax.Array:
        found = of_strengths(factor)
        return -log_likelihood(logits(held[0], found.coef, found.intercept), held[1], mean=True)

    plain, both = seconds(
        lambda: of_strengths(jnp.ones(1_000)), lambda: jax.grad(loss)(jnp.ones(1_000))
    )
    rows.append(("10 000 x 1 000, held-out loss in 1 000 strengths", plain, both - plain))
    X, y = _table(100_000, 100)
    ones = jnp.ones(len(y))

    def coef(X: jax.Array, weight: jax.Array, strength: float) -> jax.Array:
        return jnp.sum(fit(X, y, sample_weight=weight, penalty=L2(strength)).coef)

    for name, which in {"the strength": 2, "100 000 weights": 1, "X": 0}.items():
        slope = jax.grad(coef, argnums=which)
        plain, both = seconds(*(partial(f, X, ones, 1e-3) for f in (coef, slope)))
        rows.append((f"100 000 x 100, {name}", plain, both - plain))
    return rows


# --- others -----------------------------------------------------------------------------


def rivals() -> list[tuple[str, float, float]]:
    """(name, seconds, relative error) of the gradient of Σβ in the strength, 20 000 x 50."""
    X, y = _table(20_000, 50)
    Z = jnp.pad(X, ((0, 0), (0, 1)), constant_values=1.0)

    def loss(theta: jax.Array, strength: Any) -> jax.Array:
        eta = Z @ theta
        mean = jnp.mean(jnp.logaddexp(0, eta) - y * eta)
        return mean + 0.5 * strength * jnp.sum(theta[:-1] ** 2)

    start = jnp.zeros(51)
    entries: dict[str, Callable[[Any], jax.Array]] = {
        "jax_logreg": lambda s: fit(X, y, penalty=L2(s)).coef,
        f"{_UNROLLED} unrolled steps": lambda s: _unrolled(loss, start, s)[:-1],
    }
    if importlib.util.find_spec("optimistix"):
        optimistix: Any = importlib.import_module("optimistix")
        solver, adjoint = optimistix.BFGS(rtol=1e-10, atol=1e-10), optimistix.ImplicitAdjoint()

        def by_optimistix(strength: Any) -> Any:
            return optimistix.minimise(loss, solver, start, strength, adjoint=adjoint).value[:-1]

        entries["optimistix, ImplicitAdjoint"] = by_optimistix
    if importlib.util.find_spec("jaxopt"):
        lbfgs = importlib.import_module("jaxopt").LBFGS(loss, tol=1e-8, maxiter=500)
        entries["jaxopt.LBFGS"] = lambda s: lbfgs.run(start, s).params[:-1]
    at, h = 1e-2, 1e-5
    right = [jnp.sum(fit(X, y, penalty=L2(at + t * h), tol=1e-13).coef) for t in (-2, -1, 1, 2)]
    expected = (8 * (right[2] - right[1]) - (right[3] - right[0])) / (12 * h)
    rows = []
    for name, coef in entries.items():
        slope = jax.grad(partial(_sum_of, coef))
        slope = slope if name == "jax_logreg" else jax.jit(slope)
        (took,) = seconds(partial(slope, at))
        rows.append((name, took, float(abs(slope(at) / expected - 1))))
    return rows


def _sum_of(coef: Callable[[Any], jax.Array], strength: Any) -> jax.Array:
    return jnp.sum(coef(strength))


def _unrolled(loss: Any, theta: jax.Array, strength: Any) -> jax.Array:
    def step(theta: jax.Array, _: None) -> tuple[jax.Array, None]:
        return theta - jax.grad(loss)(theta, strength), None

    return jax.lax.scan(step, theta, length=_UNROLLED)[0]


def main() -> None:
    print(machine())
    print(f"{'largest relative error of 30 problems':40} forward  reverse    twice  at a kink")
    for kind in KINDS:
        found = np.array([errors(kind, seed) for seed in range(_PROBLEMS)])
        crossed = np.isnan(found[:, 0])
        worst = " ".join(f"{x:8.0e}" for x in found[~crossed].max(axis=0))
        print(f"{kind.name:40}{worst}  {crossed.sum()}", flush=True)
    print(f"\n{'time':55} fit s   adds s  ratio")
    for name, plain, added in times():
        print(f"{name:54} {plain:6.3f}  {added:6.3f}  {added / plain:5.2f}", flush=True)
    print(f"\n{'gradient in the strength, 20 000 x 50':40} seconds  relative error")
    for name, took, error in rivals():
        print(f"{name:40} {took:6.3f}   {error:.0e}", flush=True)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
