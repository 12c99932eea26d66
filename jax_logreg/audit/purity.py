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
from jax_logreg.audit.reference import AuditPoints, Autodiff
from jax_logreg.audit.target import Target
from jax_logreg.audit.user_calls import UserFunction, argument_names, vectors_at
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


class Surroundings:
    """What a function captures and is given, and what its calls have done to that.

    Args:
        function: one of the user's.
    """

    def __init__(self, function: UserFunction) -> None:
        owner = getattr(function.function, "__self__", function.function)
        attributes = {f"self.{k}": v for k, v in getattr(owner, "__dict__", {}).items()}
        self._function, self._captured = function, captured(function.function) | attributes
        arrays = {k: v for k, v in self._captured.items() if isinstance(v, np.ndarray)}
        few = sum(array.size for array in arrays.values()) <= _MAX_WATCHED
        self._arrays = {name: array.copy() for name, array in arrays.items()} if few else {}
        self._states = self._generators()

    def changed(self) -> Iterator[str]:
        """What it does in place to arrays that it captures, and to the contents of containers
        among its arguments."""
        for name, before in self._arrays.items():
            if not _is_unchanged(self._captured[name], before):
                yield f"changes {name}, which it captures, in place."
        function = self._function
        skipped = 1 + (function.name == "hvp")
        names = argument_names(function.function, skipped, len(function.args))
        for name, own, given in zip(names, function.args, function.safe_args, strict=True):
            if isinstance(own, dict | list) and not _has_same_contents(own, given):
                yield f"changes its argument {name} in place."

    def drawn(self) -> list[str]:
        """The random generators from which it has drawn."""
        now = self._generators() if self._states else {}
        return [name for name, state in now.items() if state != self._states[name]]

    def _generators(self) -> dict[str, Any]:
        """The states of the random generators that it may use."""
        found: dict[str, Any] = {}
        if _mentions_random(self._function.function, self._captured):
            state = np.random.get_state()
            found["np.random"] = bytes(state[1]), *state[2:]  # type: ignore[index]
            found["random"] = random.getstate()
        given = {f"args[{i}]": arg for i, arg in enumerate(self._function.args)}
        for name, value in {**self._captured, **given}.items():
            if isinstance(value, np.random.Generator):
                found[name] = str(value.bit_generator.state)
            elif isinstance(value, np.random.RandomState):
                found[name] = str(value.get_state())
            elif isinstance(value, random.Random):
                found[name] = value.getstate()
        return found


def find_impurities(function: UserFunction, *vectors: np.ndarray) -> tuple[list[Finding], bool]:
    """What a function does beside answering, and whether two equal calls agree.

    Args:
        function: one of the user's functions.
        vectors: its flat arguments.
    """
    around = Surroundings(function)
    first, second, drawn = _two_answers(function, vectors, around)
    said = list(around.changed())
    agree = first is None or second is None or (not drawn and is_same(first, second))
    if not agree and drawn:
        by = _by_how_much(first, second)
        said.append(f"draws random numbers ({', '.join(drawn)}): two equal calls differ{by}.")
    elif not agree:
        said.append(_ANOTHER_ANSWER)
    name = function.name
    return [Finding("hidden-state", ERROR, name, f"{name} {text}") for text in said], agree


def _two_answers(
    function: UserFunction, vectors: tuple[np.ndarray, ...], around: Surroundings
) -> tuple[Any, Any, list[str]]:
    """Answers of two equal calls, and the random generators that made them differ.

    Random numbers may twice be the same, so where a generator was used more calls are made.
    """
    first, second = (function.attempt(*vectors, dtype="float64") for _ in range(2))
    drawn = around.drawn()
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


def _mentions_random(function: Callable[..., Any], captured: dict[str, Any]) -> bool:
    """Whether its code may use the global generators, which are slow to look at."""
    for used in (function, *captured.values()):
        used = getattr(used, "__func__", used)
        names = getattr(getattr(used, "__code__", None), "co_names", ())
        owner = getattr(used, "__self__", None)
        is_module = inspect.ismodule(used) and used.__name__ in ("random", "numpy.random")
        is_method = isinstance(owner, np.random.RandomState | random.Random)
        if "random" in names or is_module or is_method:
            return True
    return False


def _is_unchanged(array: np.ndarray, before: np.ndarray) -> bool:
    if array.dtype.kind in "fiu" and bool((array == before).all()):  # the usual case, and fast
        return True
    return array.tobytes() == before.tobytes()


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

    They are called with the same arguments again, after other calls, and at a point very near.
    """
    everyone = [target.user_function, *functions]
    first, other = points.moderate[0], points.moderate[1]
    before, _, after = (_answers(everyone, theta) for theta in (first, other, first))
    for name in sorted(set(before) & set(after)):
        if not is_same(before[name], after[name]):
            yield Finding("hidden-state", ERROR, name, f"{name} {_ANOTHER_ANSWER}")
    right = {c.name for c in comparisons if not (c.wrong or c.wrong_far_out)}
    if target.function is not None:
        answers = {name: answer for name, answer in before.items() if name in right}
        yield from _check_for_cache(target, Autodiff(target.function), functions, first, answers)


def _answers(functions: list[UserFunction], theta: np.ndarray) -> Answers:
    answers = {f.name: f.attempt(*vectors_at(theta, f.name), dtype="float64") for f in functions}
    return {name: answer for name, answer in answers.items() if answer is not None}


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
        arguments = vectors_at(theta, name)
        before = autodiff(name, *arguments)
        after = autodiff(name, *vectors_at(near, name))
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
