"""Whether a function answers by its arguments alone, and leaves everything as it was.

Random numbers, state, and arrays that it writes into are found before anything is compared:
numbers that change from call to call say nothing about a formula.
"""

import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.compare_entries import DerivativeComparison
from jax_logreg.audit.findings import ERROR, Finding
from jax_logreg.audit.reference import AuditPoints, Autodiff, Vectors
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction, argument_names
from jax_logreg.audit.user_names import captured

_ANOTHER_ANSWER = (
    "gives another answer when it is asked the same again: it keeps state, or draws random numbers."
)
# Agreement of two equal calls, relative to the largest entry; the relative distance of a point
# nearby, at which an answer must differ; and how much it must.
_SAME_ANSWER = 1e-5
_NEARBY = 1e-5
_MUST_DIFFER = 1e-8
# So many more calls are made where a random generator was used and the answers are the same.
_MANY = 20
# Captured arrays are watched up to so many entries.
_MAX_WATCHED = 10_000_000


class Watch:
    """Whether calls of functions leave alone what these capture, and draw no random numbers.

    Args:
        functions: the user's.
    """

    def __init__(self, functions: list[UserFunction]) -> None:
        self._functions = functions
        around = [(f, _surroundings(f.function)) for f in functions]
        self._captured = {str(id(x)): x for _, found in around for x in found.values()}
        self._arrays = _snapshots(self._captured)
        states = [(f, found, _generators(f, found)) for f, found in around]
        self._drawing = [(f, found, state) for f, found, state in states if state]

    def is_disturbed(self) -> bool:
        """Whether anything has changed since."""
        return (
            any(_changed(self._captured, self._arrays))
            or any(_generators(f, found) != state for f, found, state in self._drawing)
            or any(any(_changed_args(f)) for f in self._functions)
        )


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
        said.append(_ANOTHER_ANSWER)
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
        if not _is_unchanged(around[name], array):
            yield name


def _is_unchanged(array: np.ndarray, before: np.ndarray) -> bool:
    if array.dtype.kind in "fiu" and bool((array == before).all()):  # the usual case, and fast
        return True
    return array.tobytes() == before.tobytes()


def _changed_args(function: UserFunction) -> Iterator[str]:
    """Arguments whose containers have other contents than the user's."""
    if not function.args:
        return
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


Answers = dict[str, np.ndarray]


def check_purity(
    target: Target,
    functions: list[UserFunction],
    points: AuditPoints,
    comparisons: list[DerivativeComparison],
) -> Iterator[Finding]:
    """Do the functions answer by their arguments alone? State, caches and random numbers.

    They are called with the same arguments again, with other calls between, and at a point
    very near.
    """
    everyone = [target.user_function, *functions]
    first, other = points.moderate[0], points.moderate[1]
    rounds = [_answers(everyone, theta) for theta in (first, first, other, first)]
    for name, answer in rounds[0].items():
        again = [answers[name] for answers in (rounds[1], rounds[3]) if name in answers]
        if not all(is_same(answer, later) for later in again):
            yield Finding("hidden-state", ERROR, name, f"{name} {_ANOTHER_ANSWER}")
    right = {c.name for c in comparisons if not (c.wrong or c.wrong_far_out)}
    if target.function is not None:
        answers = {name: answer for name, answer in rounds[0].items() if name in right}
        yield from _check_for_cache(target, Autodiff(target.function), functions, first, answers)


def _answers(functions: list[UserFunction], theta: np.ndarray) -> Answers:
    answers = {
        f.name: f.attempt(*_call_arguments(f.name, theta), dtype="float64") for f in functions
    }
    return {name: answer for name, answer in answers.items() if answer is not None}


def _call_arguments(name: str, theta: np.ndarray) -> Vectors:
    return (theta, np.ones(theta.size)) if name == "hvp" else (theta,)


def _check_for_cache(
    target: Target,
    autodiff: Autodiff,
    functions: list[UserFunction],
    theta: np.ndarray,
    answers: Answers,
) -> Iterator[Finding]:
    """At a point very near, the very same answer is one too many."""
    near = theta * (1 + _NEARBY)
    nearby = _answers(functions, near)
    for name in sorted(set(nearby) & set(answers)):
        arguments = _call_arguments(name, theta)
        before = autodiff(name, *arguments)
        after = autodiff(name, *_call_arguments(name, near))
        size = np.abs(before) + target.unsaturated_size(name, *arguments)
        differs = np.abs(after - before) > _MUST_DIFFER * size
        is_coarse = float(jnp.finfo(answers[name].dtype).eps) > _NEARBY
        if differs.any() and not is_coarse and np.array_equal(nearby[name], answers[name]):
            text = (
                f"{name} gives the very same answer at a point a hundred-thousandth away: a cache?"
            )
            yield Finding("hidden-state", ERROR, name, text)


def is_same(one: Any, other: Any, within: float = _SAME_ANSWER) -> bool:
    """Whether two answers are the same up to round-off, relative to the largest entry."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    if np.array_equal(one, other):  # the usual case, and the fastest
        return True
    size = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return np.allclose(one, other, rtol=0, atol=within * size, equal_nan=True)
