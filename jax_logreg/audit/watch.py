"""A watch over a hand-written gradient while it trains, for a fraction of a step's cost.

A gradient may be right where training starts and wrong where it leads: a branch that is
taken later, a clipped logit, a row that another batch has. So it is compared again and again,
along one random direction; only where that disagrees the whole audit is made.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.report import DerivativeReport

# Relative differences that call for the whole audit: autodiff's by precision, and
# differences'. Their step is relative to the parameters.
_SUSPICIOUS = {"float64": 1e-8, "float32": 1e-4, "bfloat16": 0.1, "float16": 0.03}
_SUSPICIOUS_DIFFERENCES, _STEP = 1e-5, 1e-5
# A suspicion that the audit did not confirm must be exceeded by this to be followed again.
_RELUCTANCE = 10.0
# Of the largest norm of a leaf's gradient: smaller ones count as if they had this.
_SMALLEST_LEAF = 1e-3

Slope = Callable[..., Any]


class DerivativeWatch:
    """Audits a hand-written gradient at the current parameters of a training loop.

    Every so many calls the gradient times a random direction is compared with the derivative
    of the value along it: one forward derivative, compiled once; or two values, for a value
    that JAX cannot differentiate. At the first disagreement the whole
    :func:`~jax_logreg.check_derivatives` is made there, which has the verdict.

    Args:
        value: value(params, *args), a number.
        gradient: gradient(params, *args), of the structure of the parameters.
        every: how many calls lie between two comparisons; the first call is one.
        numpy: call the gradient with NumPy arrays.
        stop: raise where the gradient is wrong. Otherwise the report is kept, and the
            watch is over.
        seed: of the directions.

    Attributes:
        report: of the audit that found it wrong; None as long as it is right.

    Raises:
        ValueError: if ``every`` is below one, or a call is inside a transformation.
        AssertionError: with the report, where the gradient is wrong.

    >>> def loss(w, x):
    ...     return jnp.sum(jax.nn.relu(x @ w) ** 2)
    >>> def slope(w, x):
    ...     return 2 * x.T @ (x @ w)
    >>> watch, x = DerivativeWatch(loss, slope, every=2, stop=False), np.array([[1.0], [2.0]])
    >>> for w in np.array([[1.0], [0.5], [-0.2]]):
    ...     watch(w, x)
    >>> watch.report.diagnosis.where
    'gradient'
    """

    def __init__(
        self,
        value: Callable[..., Any],
        gradient: Callable[..., Any],
        *,
        every: int = 100,
        numpy: bool = False,
        stop: bool = True,
        seed: int = 0,
    ):
        if not callable(value) or not callable(gradient):
            wrong = gradient if callable(value) else value
            raise ValueError(f"value and gradient must be functions, but one is {wrong!r}.")
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a whole number from one on, but it is {every!r}.")
        self.report: DerivativeReport | None = None
        self._value, self._gradient, self._numpy = value, gradient, numpy
        self._every, self._stop, self._seed = every, stop, seed
        self._calls, self._tolerance, self._norms = 0, 0.0, np.zeros(1)
        self._rng = np.random.default_rng(seed)
        self._slopes: list[Slope] = [jax.jit(self._forward), self._forward, self._differences]

    def __call__(self, params: Any, *args: Any) -> None:
        """Compare, if it is time to.

        Args:
            params: the current ones, a pytree of arrays.
            *args: the other arguments of value and gradient, such as the batch.
        """
        __tracebackhide__ = True  # pytest shows the caller's line and the report
        self._calls += 1
        if self.report is not None or (self._calls - 1) % self._every:
            return
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, args))):
            raise ValueError("the watch must be called outside of jit, grad, vmap and scan.")
        error = self._error(params, args)
        if error <= self._tolerance:
            return
        report = check_derivatives(
            self._value, gradient=self._gradient, at=params, args=args,
            numpy=self._numpy, seed=self._seed,
        )  # fmt: skip
        if report.ok:  # round-off
            self._tolerance = _RELUCTANCE * error
            return
        self.report = report
        if self._stop:
            raise AssertionError(f"in call {self._calls} of the watch:\n{report}")

    def _error(self, params: Any, args: tuple[Any, ...]) -> float:
        """Of gradient times direction, relative; infinite if the shapes do not fit."""
        given = jax.tree.map(np.asarray, params) if self._numpy else params
        found = jax.tree.leaves(self._gradient(given, *args))
        hand = [np.asarray(leaf, np.float64).ravel() for leaf in found]
        if [g.size for g in hand] != [np.size(leaf) for leaf in jax.tree.leaves(params)]:
            return np.inf
        # Round-off does not shrink with the gradient: its size is the largest one seen.
        self._norms = np.maximum(self._norms, [np.linalg.norm(g) for g in hand])
        drawn = self._directions([g.size for g in hand])
        slope = self._slope(params, _as_tree(drawn, params), args)
        size = sum(n * np.linalg.norm(d) for n, d in zip(self._norms, drawn, strict=True))
        product = sum(g @ d for g, d in zip(hand, drawn, strict=True))
        return float(abs(slope - product) / (size or 1.0))

    def _directions(self, sizes: list[int]) -> list[np.ndarray]:
        """Random, and such that every leaf counts, whatever the size of its gradient."""
        lengths = np.maximum(self._norms, _SMALLEST_LEAF * np.max(self._norms) or 1.0)
        return [self._rng.normal(size=n) / x for n, x in zip(sizes, lengths, strict=True)]

    def _slope(self, params: Any, direction: Any, args: tuple[Any, ...]) -> float:
        """The value's derivative along a direction, by the first way that works."""
        while len(self._slopes) > 1:
            try:
                found = float(self._slopes[0](params, direction, *args))
            except Exception:  # a value that JAX cannot trace, or not differentiate forward
                del self._slopes[0]
            else:
                dtypes = (jnp.result_type(leaf).name for leaf in jax.tree.leaves(params))
                coarse = max(_SUSPICIOUS.get(name, 0.0) for name in dtypes)
                self._tolerance = max(self._tolerance, coarse)
                return found
        self._tolerance = max(self._tolerance, _SUSPICIOUS_DIFFERENCES)
        return float(self._slopes[0](params, direction, *args))

    def _forward(self, params: Any, direction: Any, *args: Any) -> Any:
        return jax.jvp(lambda p: self._value(p, *args), (params,), (direction,))[1]

    def _differences(self, params: Any, direction: Any, *args: Any) -> float:
        leaves = jax.tree.leaves(params)
        size = max(float(np.max(np.abs(leaf), initial=0.0)) for leaf in leaves) or 1.0
        longest = max(float(np.max(np.abs(d))) for d in jax.tree.leaves(direction))
        step = _STEP * size / longest

        def value(sign: int) -> float:
            moved = jax.tree.map(lambda p, d: np.asarray(p + sign * step * d), params, direction)
            return float(np.squeeze(self._value(moved, *args)))

        return (value(1) - value(-1)) / (2 * step)


def _as_tree(flat: list[np.ndarray], params: Any) -> Any:
    """Vectors in the shapes, dtypes and structure of the parameters."""
    leaves, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, [
        np.asarray(d, jnp.result_type(leaf)).reshape(np.shape(leaf))
        for d, leaf in zip(flat, leaves, strict=True)
    ])  # fmt: skip
