"""The command: ``python -m benchmarks.minimize``: functions of one's own, by hand and by autodiff.

Every row minimises one function both ways: the answers must agree to 1e-9, and where the function
is ours, ``minimize`` may take a tenth longer than ``fit``. Each time is the fastest of many calls,
the two taken in turn.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import machine
from jax_logreg import L2, fit, load_embedded, minimize
from jax_logreg.fitting.row_loss import RowLoss
from jax_logreg.objective.model import softmax

_REPEATS = 30
_STRENGTH = 0.01
Call = Callable[[], Any]


class Row(NamedTuple):
    """One function.

    Attributes:
        name: of the row.
        by_hand: minimises it with hand-written derivatives.
        by_autodiff: the same by autodiff.
        fit: the same by ``fit``, where the function is ours.
    """

    name: str
    by_hand: Call
    by_autodiff: Call
    fit: Call | None = None


# --- Rosenbrock ---------------------------------------------------------------------------


def rosenbrock(t: jax.Array) -> jax.Array:
    """Of ten variables."""
    return jnp.sum(100 * (t[1:] - t[:-1] ** 2) ** 2 + (1 - t[:-1]) ** 2)


def rosenbrock_gradient(t: jax.Array) -> jax.Array:
    """(P,)."""
    off = t[1:] - t[:-1] ** 2
    left = -400 * t[:-1] * off - 2 * (1 - t[:-1])
    return jnp.append(left, 0.0) + jnp.append(0.0, 200 * off)


def rosenbrock_hessian(t: jax.Array) -> jax.Array:
    """(P, P)."""
    diagonal = jnp.append(1200 * t[:-1] ** 2 - 400 * t[1:] + 2, 0.0)
    diagonal = diagonal + jnp.append(0.0, jnp.full(len(t) - 1, 200.0))
    beside = -400 * t[:-1]
    return jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)


def _rosenbrock() -> Row:
    start = jnp.zeros(10)
    by_hand: dict[str, Any] = {"gradient": rosenbrock_gradient, "hessian": rosenbrock_hessian}
    return Row(
        "Rosenbrock, 10 variables",
        lambda: minimize(rosenbrock, start, **by_hand),
        lambda: minimize(rosenbrock, start),
    )


# --- a focal loss -------------------------------------------------------------------------


def focal(y: jax.Array, eta: jax.Array) -> jax.Array:
    """With γ = 1: (1 − q) · −log q, q the probability of the label."""
    s = jnp.where(y > 0.5, eta, -eta)
    return -jax.nn.sigmoid(-s) * jax.nn.log_sigmoid(s)


def focal_slope(y: jax.Array, eta: jax.Array) -> jax.Array:
    """In η."""
    s = jnp.where(y > 0.5, eta, -eta)
    q, rest = jax.nn.sigmoid(s), jax.nn.sigmoid(-s)
    slope = rest * (q * jax.nn.log_sigmoid(s) - rest)
    return jnp.where(y > 0.5, slope, -slope)


def _focal() -> Row:
    table = load_embedded("breast-cancer")
    X, y = _standardised(table.X), jnp.asarray(table.y, float)
    penalty = L2(_STRENGTH)
    by_hand, plain = RowLoss(focal, focal_slope), RowLoss(focal)
    return Row(
        "focal loss, breast cancer",
        lambda: fit(X, y, penalty=penalty, loss=by_hand),
        lambda: fit(X, y, penalty=penalty, loss=plain),
    )


# --- the cross-entropy, as a loss of one's own --------------------------------------------


def entropy(y: jax.Array, eta: jax.Array) -> jax.Array:
    """That of the sigmoid."""
    return jax.nn.softplus(eta) - y * eta


def entropy_slope(y: jax.Array, eta: jax.Array) -> jax.Array:
    """μ − y."""
    return jax.nn.sigmoid(eta) - y


def entropy_curvature(y: jax.Array, eta: jax.Array) -> jax.Array:
    """μ(1 − μ)."""
    return jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta)


def _own_entropy() -> Row:
    table = load_embedded("breast-cancer")
    X, y = _standardised(table.X), jnp.asarray(table.y, float)
    penalty = L2(_STRENGTH)
    by_hand, plain = RowLoss(entropy, entropy_slope, entropy_curvature), RowLoss(entropy)
    return Row(
        "cross-entropy by loss=, breast cancer",
        lambda: fit(X, y, penalty=penalty, loss=by_hand),
        lambda: fit(X, y, penalty=penalty, loss=plain),
        lambda: fit(X, y, penalty=penalty),
    )


# --- softmax regression, derived by hand --------------------------------------------------


def softmax_loss(t: jax.Array, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Mean cross-entropy and a ridge penalty, of coefficients (p, K)."""
    eta = X @ t
    loss = jax.nn.logsumexp(eta, axis=1) - jnp.sum(Y * eta, axis=1)
    return jnp.mean(loss) + 0.5 * _STRENGTH * jnp.sum(t**2)


def softmax_gradient(t: jax.Array, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Xᵀ(softmax(Xβ) − Y)/n + λβ, (p, K)."""
    return X.T @ (softmax(X @ t) - Y) / len(X) + _STRENGTH * t


def softmax_hessian(t: jax.Array, X: jax.Array, Y: jax.Array) -> jax.Array:
    """Xᵀ diag(μₖ(δₖₗ − μₗ)) X/n + λI, (p, K, p, K)."""
    (p, K), mu = t.shape, softmax(X @ t)

    def block(k: int, m: int) -> jax.Array:
        return (X * (mu[:, k] * ((k == m) - mu[:, m]) / len(X))[:, None]).T @ X

    blocks = {(k, m): block(k, m) for k in range(K) for m in range(k, K)}
    table = [[blocks[min(k, m), max(k, m)] for m in range(K)] for k in range(K)]
    H = jnp.asarray(table).transpose(2, 0, 3, 1)
    return H + _STRENGTH * jnp.eye(p * K).reshape(p, K, p, K)


def _softmax(n: int) -> Row:
    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.normal(size=(n, 10)))
    labels = np.argmax(np.asarray(X)[:, :4] + rng.gumbel(size=(n, 4)), axis=1)
    Y, start = jax.nn.one_hot(labels, 4, dtype=X.dtype), jnp.zeros((10, 4))
    by_hand: dict[str, Any] = {"gradient": softmax_gradient, "hessian": softmax_hessian}
    return Row(
        f"softmax by hand, {n} × 10 × 4",
        lambda: minimize(softmax_loss, start, X, Y, **by_hand),
        lambda: minimize(softmax_loss, start, X, Y),
        lambda: fit(X, Y, penalty=L2(_STRENGTH), fit_intercept=False),
    )


def _standardised(X: Any) -> jax.Array:
    X = np.asarray(X, float)
    return jnp.asarray((X - X.mean(axis=0)) / X.std(axis=0))


# --- the table ----------------------------------------------------------------------------


def _answer(result: Any) -> np.ndarray:
    found = result.coef if hasattr(result, "coef") else result.theta
    return np.asarray(found, float)


def _fastest(*calls: Call) -> list[float]:
    """The least time of each, in milliseconds, the calls taken in turn."""
    for call in calls:
        call()
    times = np.full(len(calls), np.inf)
    for _ in range(_REPEATS):
        for i, call in enumerate(calls):
            began = time.perf_counter()
            jax.block_until_ready(call())
            times[i] = min(times[i], time.perf_counter() - began)
    return list(times * 1e3)


def report(row: Row) -> str:
    """A line of the table."""
    calls = [row.by_hand, row.by_autodiff, *([row.fit] if row.fit else [])]
    results = [call() for call in calls]
    answers = [_answer(result) for result in results]
    apart = float(np.max(np.abs(answers[1] - answers[0])))
    verified = all(bool(result.converged) for result in results)
    hand, auto, *ours = _fastest(*calls)
    times = f"{hand:8.2f} {auto:9.2f}"
    times += f" {ours[0]:8.2f} {hand / ours[0]:7.2f}" if ours else f" {'':8} {'':7}"
    return f"{row.name:40} {times} {apart:9.1e}  {'yes' if verified else 'NO'}"


def main() -> None:
    """Print the table."""
    print(machine())
    columns = f"{'by hand':>8} {'autodiff':>9} {'fit':>8} {'by fit':>7} {'apart':>9}"
    print(f"{'milliseconds':40} {columns}  verified")
    with jax.enable_x64(True):
        rows = _rosenbrock(), _focal(), _own_entropy(), _softmax(1_000), _softmax(20_000)
        for row in rows:
            print(report(row), flush=True)


if __name__ == "__main__":
    main()
