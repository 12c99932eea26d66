"""Whether a function answers by its arguments alone, and leaves everything as it was.

Random numbers, state, and arrays that it writes into are found before anything is compared:
numbers that change from call to call say nothing about a formula.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jax_logreg.audit.compare_entries import is_same
from jax_logreg.audit.findings import ERROR, Finding
from jax_logreg.audit.user_calls import UserFunction, argument_names
from jax_logreg.audit.user_names import captured

# So many more calls are made where a random generator was used and the answers are the same.
_MANY = 20
# Captured arrays are watched up to so many entries.
_MAX_WATCHED = 10_000_000


def find_impurities(function: UserFunction, *vectors: np.ndarray) -> tuple[list[Finding], bool]:
    """What a function does beside answering, and whether two equal calls agree.

    Args:
        function: one of the user's functions.
        vectors: its flat arguments.
    """
    around = _surroundings(function.function)
    arrays = _snapshots(around)
    first, second, drawn = _two_answers(function, vectors, around)
    said = [f"changes {what}, which it captures, in place." for what in _changed(around, arrays)]
    said += [f"changes its argument {what} in place." for what in _changed_args(function)]
    agree = first is None or second is None or (not drawn and is_same(first, second))
    if not agree and drawn:
        by = _by_how_much(first, second)
        said.append(f"draws random numbers ({', '.join(drawn)}): two equal calls differ{by}.")
    elif not agree:
        text = "gives another answer when it is asked the same again: it keeps state, or draws random numbers."  # noqa: E501
        said.append(text)
    name = function.name
    return [Finding("hidden-state", ERROR, name, f"{name} {text}") for text in said], agree


def _two_answers(
    function: UserFunction, vectors: tuple[np.ndarray, ...], around: dict[str, Any]
) -> tuple[Any, Any, list[str]]:
    """Answers of two equal calls, and the random generators that made them differ.

    Random numbers may twice be the same, so where a generator was used more calls are made.
    """
    before = _generators(function, around)
    first, second = (function.attempt(*vectors, dtype="float64") for _ in range(2))
    drawn = [k for k, state in _generators(function, around).items() if state != before[k]]
    for _ in range(_MANY if drawn else 0):
        if first is None or second is None or not np.array_equal(first, second):
            return first, second, drawn
        second = function.attempt(*vectors, dtype="float64")
    return first, second, []


def _by_how_much(first: np.ndarray, second: np.ndarray) -> str:
    size = max(float(np.max(np.abs(x), initial=0.0)) for x in (first, second))
    if first.shape != second.shape or not size:
        return ""
    return f" by {float(np.max(np.abs(first - second))) / size:.0%} of the largest entry"


def _surroundings(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function captures, and the attributes of the object that it belongs to."""
    owner = getattr(function, "__self__", function)
    attributes = {f"self.{k}": v for k, v in getattr(owner, "__dict__", {}).items()}
    return captured(function) | attributes


def _generators(function: UserFunction, around: dict[str, Any]) -> dict[str, Any]:
    """The states of the random generators that a function may use."""
    found: dict[str, Any] = {}
    if _mentions_random(function, around):
        state = np.random.get_state()
        found["np.random"] = bytes(state[1]), *state[2:]  # type: ignore[index]
        found["random"] = random.getstate()
    given = {f"args[{i}]": arg for i, arg in enumerate(function.args)}
    for name, value in {**around, **given}.items():
        if isinstance(value, np.random.Generator):
            found[name] = str(value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            found[name] = str(value.get_state())
        elif isinstance(value, random.Random):
            found[name] = value.getstate()
    return found


def _mentions_random(function: UserFunction, around: dict[str, Any]) -> bool:
    """Whether its code may use the global generators, which are slow to look at."""
    for used in (function.function, *around.values()):
        used = getattr(used, "__func__", used)
        names = getattr(getattr(used, "__code__", None), "co_names", ())
        owner = getattr(used, "__self__", None)
        is_module = inspect.ismodule(used) and used.__name__ in ("random", "numpy.random")
        is_method = isinstance(owner, np.random.RandomState | random.Random)
        if "random" in names or is_module or is_method:
            return True
    return False


def _snapshots(around: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = {k: v for k, v in around.items() if isinstance(v, np.ndarray)}
    if sum(a.size for a in arrays.values()) > _MAX_WATCHED:
        return {}
    return {name: array.copy() for name, array in arrays.items()}


def _changed(around: dict[str, Any], before: dict[str, np.ndarray]) -> Iterator[str]:
    for name, array in before.items():
        if around[name].tobytes() != array.tobytes():
            yield name


def _changed_args(function: UserFunction) -> Iterator[str]:
    """Arguments whose containers have other contents than the user's."""
    names = argument_names(function.function, 1 + (function.name == "hvp"), len(function.args))
    for name, own, given in zip(names, function.args, function.safe_args, strict=True):
        if isinstance(own, dict | list) and not _has_same_contents(own, given):
            yield name


def _has_same_contents(own: Any, given: Any) -> bool:
    leaves, structure = jax.tree.flatten(own)
    others, found = jax.tree.flatten(given)
    if str(structure) != str(found):
        return False
    pairs = zip(leaves, others, strict=True)
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a is b
        for a, b in pairs
        if not isinstance(a, jax.Array)
    )
