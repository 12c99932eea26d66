"""A function that returns (value, gradient), as two functions that share its calls."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import numpy as np

from jax_logreg.audit.findings import ERROR, Finding, UnusableOutput


def first_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The value alone, for a trace."""

    @wraps(function)
    def value(theta: Any, *args: Any) -> Any:
        return function(theta, *args)[0]

    return value


class SharedCalls:
    """One call for the value and the gradient at the same point.

    Each is handed out once: who asks for the same again makes a new call, so that a function
    that keeps state is still found out.

    Args:
        function: (θ, *args) ↦ (value, gradient).

    >>> shared = SharedCalls(lambda t: (np.sum(t**2), 2 * t))
    >>> shared.value(np.ones(2)), shared.gradient(np.ones(2))
    (np.float64(2.0), array([2., 2.]))
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._kept: tuple[tuple[str, bytes], Any] | None = None
        self.value, self.gradient = self._asking("value"), self._asking("gradient")

    def _asking(self, wanted: str) -> Callable[..., Any]:
        @wraps(self._function)
        def ask(theta: Any, *args: Any) -> Any:
            return self._ask(wanted, theta, args)

        return ask

    def _ask(self, wanted: str, theta: Any, args: tuple[Any, ...]) -> Any:
        key, kept = _key(theta), self._kept
        self._kept = None
        if kept is not None and kept[0] == (wanted, key):
            return kept[1]
        value, gradient = _pair(self._function(theta, *args), wanted)
        if isinstance(gradient, np.ndarray):
            gradient = gradient.copy()  # the function may write its next answer into it
        other, answer = ("gradient", gradient) if wanted == "value" else ("value", value)
        self._kept = (other, key), answer
        return value if wanted == "value" else gradient


def _key(theta: Any) -> bytes:
    """The numbers of a point, and what arrays hold them."""
    leaves = [theta] if isinstance(theta, np.ndarray) else jax.tree.leaves(theta)
    return b"|".join(
        f"{type(leaf)}{leaf.dtype}".encode() + np.asarray(leaf).tobytes()
        for leaf in leaves
        if hasattr(leaf, "dtype")
    )


def _pair(answer: Any, wanted: str) -> tuple[Any, Any]:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        size = f" of {len(answer)}" if isinstance(answer, tuple | list) else ""
        raise _unusable(f"returns a {type(answer).__name__}{size}", wanted)
    value, gradient = answer
    if isinstance(value, tuple) and len(value) == 2:  # jax.value_and_grad(..., has_aux=True)
        value = value[0]
    if np.size(value) > 1 and not isinstance(gradient, dict) and np.size(gradient) == 1:
        raise _unusable("returns (array, number)", wanted)
    return value, gradient


def _unusable(what: str, wanted: str) -> UnusableOutput:
    text = f"value_and_grad {what} where (value, gradient) is expected."
    return UnusableOutput(Finding("shape", ERROR, wanted, text))
