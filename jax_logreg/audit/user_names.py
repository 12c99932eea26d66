"""What the user's code calls things: parameters, data, and the numbers that a factor may be.

A factor such as 0.02 says little; "1/n, the length of X" says what happened. So numbers are
looked for among the user's own: lengths of arrays, scalars among the arguments, and simple
products.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.layout import PytreeLayout

# What a derivative is called in a fix.
RESULTS = {"gradient": "g", "hessian": "H", "jacobian": "J", "hvp": "Hv"}
# Numbers agree to this relative difference; the fix itself is held to that of the audit.
_SAME = 1e-5
_PLAIN = {2.0: "2", 0.5: "½", -1.0: "−1", -2.0: "−2", -0.5: "−½", 4.0: "4", 0.25: "¼"}
_MEANS = {1: ": the sum where the mean is due", -1: ": the mean where the sum is due"}


@dataclass(frozen=True)
class UserNames:
    """What the user's code calls things.

    Attributes:
        constants: numbers that a factor may be, in words: {"n (rows)": 50.0}.
        theta: the parameters, such as ``w``.
        result: what the derivative returns: g, H, J or Hv.
        numbers: the same by expression: {"len(X)": 50.0, "lam": 0.05}.
        data: arrays and numbers by name.
        layout: of θ; None if no fix is sought.
    """

    constants: dict[str, float] = field(default_factory=dict)
    theta: str = "theta"
    result: str = "g"
    numbers: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    layout: PytreeLayout | None = None

    def describe(self, factor: float) -> str:
        """'2', or 'n = 50', or all that fit; the bare number if none does."""
        fitting = []
        for name, number in self.constants.items():
            for power, shown in ((1, name), (-1, f"1/{name}")):
                for sign, text in ((1, shown), (-1, f"−{shown}")):
                    if abs(factor - sign * number**power) <= 1e-6 * number**power:
                        why = _MEANS[power] if name.startswith("n (") else ""
                        fitting.append(f"{text} = {sign * number**power:.6g}{why}")
        simple = [text for value, text in _PLAIN.items() if abs(factor - value) <= 1e-9]
        code = self.code(factor)
        found = simple + fitting or ([f"`{code}`"] if code and not _is_number(code) else [])
        return " or ".join(found) or f"{factor:.7g}"

    def has_name(self, factor: float) -> bool:
        """Whether a number is simple, or one of the user's."""
        return (
            abs(factor) in (0.0, *map(abs, _PLAIN), 1.0)
            or next(self._expressions(factor), "") != ""
        )

    def is_users(self, number: float) -> bool:
        """Whether a number is an expression of the user's scalars."""
        return next(self._expressions(number), "") != ""

    def code(self, number: float) -> str:
        """An expression for a number; "" if it is none that a person would write."""
        plain = next((t for t in (f"{number:.2g}", f"{number:.3g}") if _is_same(number, t)), "")
        if plain and abs(number) in (0.5, 1, 2, 3, 4, 10):
            return plain
        short = next(self._expressions(number, compound=False), "")
        return short or plain or next(self._expressions(number), "")

    def _expressions(self, number: float, compound: bool = True) -> Iterator[str]:
        """Products of the user's numbers, the simplest first."""
        sign, size = ("-" if number < 0 else ""), abs(number)
        atoms = [(code, value) for code, value in self.numbers.items() if value > 0]
        for (text, value), (times, factor) in itertools.product(
            _products(atoms) if compound else _single(atoms),
            (("", 1.0), ("2 * ", 2.0), ("0.5 * ", 0.5)),
        ):
            if abs(size - factor * value) <= _SAME * size:
                is_inverse = text.startswith("1 / ") and times
                yield f"{sign}{times[:-3]}{text[1:]}" if is_inverse else f"{sign}{times}{text}"

    def within(self, path: str) -> "UserNames":
        """The same of a part: ``['b1']`` or ``[3:6]``."""
        return replace(self, theta=self.theta + path, result=self.result + path)

    def unscale(self, factor: float) -> str:
        """The fix where the hand is ``factor`` times what is right."""
        if factor == -1:
            return self._times("*", "-1")
        up, down = self.code(1 / factor), _bracketed(self.code(factor))
        lines = [self._times("*", up)] if up else []
        lines += [self._times("/", down)] if down else []
        return min(lines, key=lambda line: ("len(" not in line, len(line)), default="")

    def _times(self, sign: str, code: str) -> str:
        """The result times, or over, a number, for every array of it."""
        if self.result not in RESULTS.values() or self.layout is None or self.paths() == [""]:
            return f"{self.result} {sign}= {code}"
        if all(path.count("[") == 1 and path.startswith("['") for path in self.paths()):
            return f"{self.result} = {{k: a {sign} {code} for k, a in {self.result}.items()}}"
        return f"{self.result} = jax.tree.map(lambda a: a {sign} {code}, {self.result})"

    def add(self, factor: float, what: str) -> str:
        """The fix where ``factor`` times something is missing."""
        code = self.code(abs(factor))
        times = "" if code == "1" else f"{code} * "
        return f"{self.result} {'+' if factor > 0 else '-'}= {times}{what}" if code else ""

    def paths(self) -> list[str]:
        """What stands behind the name of θ for each of its leaves, such as ``['b1']``."""
        return [] if self.layout is None else self.paths_of(self.layout)

    def paths_of(self, layout: PytreeLayout) -> list[str]:
        """The same for the arrays of a layout."""
        if layout.treedef is None or (len(layout.shapes) == 1 and not layout.labels[0]):
            return ["" for _ in layout.shapes]
        return layout.keys()


def _is_same(number: float, text: str) -> bool:
    return abs(number - float(text)) <= 1e-9 * abs(number)


def _single(atoms: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    yield from atoms
    yield from ((f"1 / {code}", 1 / value) for code, value in atoms)


def _products(atoms: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Numbers, their inverses and roots, and products of two of them."""
    yield from _single(atoms)
    for (one, a), (other, b) in itertools.permutations(atoms, 2):
        yield f"{one} / {other}", a / b
        if one < other:
            yield f"{one} * {other}", a * b
            yield f"1 / ({one} * {other})", 1 / (a * b)
    for code, value in atoms:
        yield f"np.sqrt({code})", value**0.5
        yield f"1 / np.sqrt({code})", value**-0.5
        yield f"{code} ** 2", value**2
        if value > 2:
            yield f"({code} - 1)", value - 1
            yield f"1 / ({code} - 1)", 1 / (value - 1)
            yield f"{code} / ({code} - 1)", value / (value - 1)


def _bracketed(code: str) -> str:
    is_whole = code.startswith("(") and code.endswith(")") and code.count("(") == 1
    return f"({code})" if " " in code and not is_whole else code


def _is_number(code: str) -> bool:
    return code.lstrip("-").replace(".", "").isdigit()


def find_names(
    value: Callable[..., Any],
    args: tuple[Any, ...],
    kind: str,
    layout: PytreeLayout,
    known: dict[str, float],
    unnamed: Sequence[Any],
) -> UserNames:
    """The names of a value's code.

    Args:
        value: the user's function.
        args: beside θ.
        kind: of the derivative.
        layout: of θ.
        known: numbers in words.
        unnamed: arrays that the value is known to use, some of them perhaps without a name.
    """
    numbers: dict[str, float] = {}
    words: dict[str, float] = {}
    for name, x in named_data(value, args):
        for number, word, code in _sizes(name, x):
            numbers.setdefault(code, number)
            words.setdefault(word, number)
    for array in unnamed:
        words |= {f"{size} (a length of the data)": float(size) for size in np.shape(array)}
        words |= _total("w", array)
    constants = dict(known)
    for word, number in words.items():  # a number that has a better name is not listed twice
        if number not in (0.0, 1.0) and number not in constants.values():
            constants[word] = number
    numbers |= {"np.log(2)": float(np.log(2)), "np.log(10)": float(np.log(10)), "np.pi": np.pi}
    first: dict[float, str] = {}
    for code, number in numbers.items():
        first.setdefault(number, code)
    numbers = {code: number for number, code in first.items() if number not in (0.0, 1.0)}
    theta = next(iter(_parameters(value)), "theta")
    space = captured(value) | dict(zip(_parameters(value)[1:], args, strict=False))
    return UserNames(constants, theta, RESULTS[kind], numbers, space, layout)


def named_data(value: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Arrays and numbers among the arguments of a function, and among what it captured; also
    those in a dict, or in the object that a method belongs to."""
    if isinstance(value, functools.partial):
        yield from ((name, x) for name, x in value.keywords.items() if _is_datum(x))
        args, value = (*value.args, *args), value.func
    found = [*zip(_parameters(value)[1:], args, strict=False), *captured(value).items()]
    called: Any = value if inspect.isroutine(value) else type(value).__call__
    owner = value if called is not value else getattr(value, "__self__", None)
    found.append(("self", getattr(owner, "__dict__", {})))
    for name, x in found:
        items = [(name, x)]
        if isinstance(x, dict):
            form = "self.{}" if name == "self" else name + "[{!r}]"
            items = [(form.format(key), y) for key, y in x.items() if isinstance(key, str)]
        yield from ((path, y) for path, y in items if _is_datum(y))


def _parameters(value: Callable[..., Any]) -> list[str]:
    """Names of the arguments that are passed one by one."""
    with suppress(TypeError, ValueError):  # a builtin has no signature
        parameters = inspect.signature(value).parameters.values()
        return [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    return []


def captured(function: Callable[..., Any], depth: int = 2) -> dict[str, Any]:
    """What a function uses beside its arguments, and what those functions use that it calls."""
    function = inspect.unwrap(function)
    called = function if inspect.isroutine(function) else type(function).__call__
    found: dict[str, Any] = {}
    with suppress(TypeError, ValueError):  # a builtin captures nothing
        variables = inspect.getclosurevars(called)
        found = {**variables.globals, **variables.nonlocals}
    helpers = [f for f in found.values() if inspect.isfunction(f)] if depth else []
    for helper in helpers:
        found = {**captured(helper, depth - 1), **found}
    return found


def _is_datum(x: Any) -> bool:
    if isinstance(x, np.ndarray | jax.Array):
        return bool(jnp.issubdtype(x.dtype, jnp.number))
    return isinstance(x, int | float | np.number) and not isinstance(x, bool)


def _sizes(name: str, x: Any) -> Iterator[tuple[float, str, str]]:
    """Numbers that belong to a datum: (number, in words, as code)."""
    if np.ndim(x) == 0:
        yield float(np.real(x)), name, name
        return
    yield float(np.shape(x)[0]), f"n (the length of {name})", f"len({name})"
    for axis, size in enumerate(np.shape(x)[1:], 1):
        yield float(size), f"{size} (columns of {name})", f"{name}.shape[{axis}]"
    if np.ndim(x) > 1:
        yield float(np.size(x)), f"{np.size(x)} (entries of {name})", f"{name}.size"
    for words, total in _total(name, x).items():
        yield total, words, f"np.sum({name})"


def _total(name: str, array: Any) -> dict[str, float]:
    """The sum of what may be weights."""
    if np.ndim(array) != 1 or not jnp.issubdtype(jnp.result_type(array), jnp.floating):
        return {}
    total = float(np.sum(np.asarray(array, np.float64)))
    positive = total > 0 and bool(np.all(np.asarray(array) >= 0))
    return {f"Σ{name} (a sum of the data)": total} if positive else {}
