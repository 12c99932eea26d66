"""NumPy code that JAX can trace: a copy of a user's function, in which NumPy is replaced.

The copy has the user's code and a copy of all that it uses: globals, closures, helper
functions, the object whose method it is. Arrays become paired arrays, the functions of NumPy,
SciPy and math become steps that JAX follows. Nothing of the user's is changed.
"""

import builtins
import copy
import functools
import sys
import types
from abc import ABCMeta
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.stats
import numpy as np

from jax_logreg.audit.both_branches import BRANCHING, with_both_branches
from jax_logreg.audit.paired_array import (
    MAX_STEPS,
    PairedArray,
    StandInType,
    any_traced,
    apply,
    call_library,
    call_ufunc,
    lifted,
    pair,
    plain,
    stand_in_type,
    steps_left,
)

# Code of these packages is replaced, that of the standard library is run as it is.
_ARRAY_LIBRARIES = {"numpy", "scipy", "math", "autograd"}
_OPAQUE = _ARRAY_LIBRARIES | {"pandas", "jaxlib", "sklearn", "torch", "tensorflow", "patsy"}
_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, types.CodeType)


def translated(
    function: Callable[..., Any], theta: Any, args: tuple[Any, ...], both_branches: bool = False
) -> Callable[[Any], Any]:
    """A function of NumPy code as a function that JAX can trace.

    Args:
        function: of θ and args.
        theta: the point, a pytree of NumPy arrays, at which branches are taken.
        args: its other arguments.
        both_branches: of an ``if`` that depends on θ, as far as the source can be rewritten.

    Returns:
        A function of a pytree of JAX values. It raises whatever the copy raises.

    >>> def loss(w):
    ...     total = np.zeros(2)
    ...     total[0] = np.exp(w).sum()
    ...     return float(total.sum())
    >>> point = np.array([0.0, 1.0])
    >>> np.exp(point) == jax.grad(translated(loss, point, ()))(jnp.asarray(point))
    Array([ True,  True], dtype=bool)
    """

    def traced(tree: Any) -> Any:
        steps_left.set(MAX_STEPS)
        copied = Copies(both_branches)
        given = jax.tree.map(lambda x, t: PairedArray(np.array(x), jnp.asarray(t)), theta, tree)
        answer = copied.of(function)(copied.of(given), *copied.of(tuple(args)))
        if isinstance(answer, list | tuple):
            answer = call_library(np.array, answer)
        return jnp.asarray(lifted(answer))

    return traced


class _Globals(dict[str, Any]):
    """The globals of a module, each copied when it is first used."""

    def __init__(self, original: dict[str, Any], copies: "Copies"):
        super().__init__(__builtins__=copies.builtins, __name__=original.get("__name__"))
        self._original, self._copies = original, copies

    def __missing__(self, name: str) -> Any:
        self[name] = found = self._copies.of(self._original[name])
        return found


class Copies:
    """Copies of a user's functions and objects that take paired arrays."""

    def __init__(self, both_branches: bool) -> None:
        self._both_branches = both_branches
        self._memo: dict[int, tuple[Any, Any]] = {}
        self._globals: dict[int, _Globals] = {}
        own = {name: self.of(getattr(builtins, name)) for name in ("float", *_BUILTINS)}
        self.builtins = {**vars(builtins), **own, **BRANCHING, "__import__": self._import}

    def _import(self, name: str, *context: Any) -> Any:
        return self.of(builtins.__import__(name, *context))

    def of(self, original: Any) -> Any:
        """The copy of anything; the same one every time."""
        if isinstance(original, _ATOMS) or type(original) is PairedArray:
            return original
        if id(original) not in self._memo:
            self._remember(original, self._copy(original))
        return self._memo[id(original)][1]

    def _remember(self, original: Any, copied: Any) -> Any:
        self._memo.setdefault(id(original), (original, copied))
        return copied

    def _copy(self, x: Any) -> Any:
        if isinstance(x, types.BuiltinFunctionType) and x.__module__ == "builtins":
            return _BUILTINS.get(x.__name__, x)
        if isinstance(x, jax.Array):
            return PairedArray(np.asarray(x)) if not isinstance(x, jax.core.Tracer) else x
        if type(x) in (np.ndarray, np.matrix):
            data = x.view()
            data.flags.writeable = False
            return PairedArray(data)
        if isinstance(x, list | tuple | dict):
            return self._container(x)
        if isinstance(x, types.ModuleType):
            return _Module(x, self)
        if isinstance(x, types.FunctionType) and _package(x) not in _OPAQUE | {"jax"}:
            return x if _is_standard(x) else self._function(x)
        if isinstance(x, types.MethodType) and _package(x) not in _OPAQUE | {"jax"}:
            return types.MethodType(self.of(x.__func__), self.of(x.__self__))
        if isinstance(x, functools.partial):
            keywords = {k: self.of(v) for k, v in x.keywords.items()}
            return functools.partial(self.of(x.func), *map(self.of, x.args), **keywords)
        if isinstance(x, type):
            return self._class(x)
        if hasattr(x, "tocsr"):  # a sparse matrix
            return PairedArray(x.toarray())
        if _package(x) == "pandas" and hasattr(x, "to_frame"):  # a column
            return PairedArray(x.to_numpy())
        if isinstance(x, types.BuiltinMethodType) and type(x.__self__) is np.ndarray:
            return getattr(self.of(x.__self__), x.__name__)
        return self._object(x)

    def _container(self, x: Any) -> Any:
        if isinstance(x, tuple):
            items = [self.of(item) for item in x]
            return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
        copied = self._remember(x, copy.copy(x))
        if isinstance(x, list):
            copied[:] = [self.of(item) for item in x]
        else:
            copied.update({key: self.of(item) for key, item in x.items()})
        return copied

    def _function(self, x: types.FunctionType) -> Any:
        key = id(x.__globals__)
        if key not in self._globals:
            self._globals[key] = _Globals(x.__globals__, self)
        code = with_both_branches(x) if self._both_branches else x.__code__
        cells = {name: types.CellType() for name in x.__code__.co_freevars}
        closure = tuple(cells[name] for name in code.co_freevars)
        copied = types.FunctionType(code, self._globals[key], x.__name__, None, closure or None)
        self._remember(x, copied)
        for cell, original in zip(cells.values(), x.__closure__ or (), strict=True):
            with suppress(ValueError):  # a name that has no value yet
                cell.cell_contents = self.of(original.cell_contents)
        copied.__defaults__ = self.of(x.__defaults__)
        copied.__kwdefaults__ = self.of(x.__kwdefaults__)
        copied.__dict__.update({k: self.of(v) for k, v in x.__dict__.items() if k != "__wrapped__"})
        return copied

    def _class(self, x: Any) -> Any:
        if issubclass(x, np.generic | np.ndarray | float | np.dtype | np.finfo | np.iinfo):
            return stand_in_type(x)
        if x in (np.vectorize, np.ndenumerate):
            return functools.partial(call_library, x)
        if _is_standard(x) or _package(x) in _OPAQUE | {"jax"} or type(x) not in (type, ABCMeta):
            return x
        members = {
            name: member
            for name, member in vars(x).items()
            if name not in ("__dict__", "__weakref__")
            and not isinstance(member, types.MemberDescriptorType)
        }
        bases = tuple(b if _is_standard(b) else self._class_of(b) for b in x.__bases__)
        try:
            copied = self._remember(x, type(x)(x.__name__, bases, members))
        except TypeError:  # of compiled code
            return x
        for name, member in members.items():
            mended = self._member(member)
            if mended is not member:
                setattr(copied, name, mended)
        return copied

    def _class_of(self, base: Any) -> Any:
        found = self.of(base)
        return base if isinstance(found, StandInType) else found

    def _member(self, member: Any) -> Any:
        if isinstance(member, staticmethod | classmethod):
            return type(member)(self.of(member.__func__))
        if isinstance(member, property):
            return property(*map(self.of, (member.fget, member.fset, member.fdel)))
        if isinstance(member, functools.cached_property):
            mended = functools.cached_property(self.of(member.func))
            mended.attrname = member.attrname
            return mended
        return self.of(member)

    def _object(self, x: Any) -> Any:
        if isinstance(x, np.random.Generator | np.random.RandomState):
            return _Library(copy.deepcopy(x), self)
        if isinstance(x, np.vectorize):
            return call_library(np.vectorize, self.of(x.pyfunc))
        inner = getattr(x, "py_func", None) or getattr(x, "__wrapped__", None)
        if inner is not None and callable(x) and not isinstance(x, np.ufunc):
            return self.of(inner)  # numba, lru_cache, jax.jit
        package = _package(x)
        if package in _OPAQUE or isinstance(x, np.ufunc):
            return _Library(x, self)
        if package == "jax" or _is_standard(x):
            return _JaxFunction(x) if package == "jax" and callable(x) else self._plain_object(x)
        return self._instance(x)

    def _plain_object(self, x: Any) -> Any:
        if isinstance(x, types.SimpleNamespace):
            return types.SimpleNamespace(**{k: self.of(v) for k, v in vars(x).items()})
        return x

    def _instance(self, x: Any) -> Any:
        kind = self.of(type(x))
        if kind is type(x):
            return x
        copied = self._remember(x, object.__new__(kind))
        slots = [n for c in type(x).__mro__ for n in vars(c).get("__slots__", ()) if hasattr(x, n)]
        attributes = {name: getattr(x, name) for name in slots} | getattr(x, "__dict__", {})
        for name, value in attributes.items():
            object.__setattr__(copied, name, self.of(value))
        return copied


def _package(x: Any) -> str:
    owner = x if hasattr(x, "__module__") and isinstance(x.__module__, str) else type(x)
    return str(owner.__module__).split(".")[0]


def _is_standard(x: Any) -> bool:
    """Whether it is of Python itself, and not of code that was run without a module's name."""
    package = _package(x)
    if package == "builtins":
        return not isinstance(x, types.FunctionType) and not _is_nameless(x)
    return package in sys.stdlib_module_names and package not in _ARRAY_LIBRARIES | {"__main__"}


def _is_nameless(x: Any) -> bool:
    kind = x if isinstance(x, type) else type(x)
    return kind.__module__ == "builtins" and "__dict__" in vars(kind)


class _Module:
    """A module whose members are copied when they are first used."""

    def __init__(self, module: types.ModuleType, copies: Copies):
        self.stands_for, self._copies = module, copies

    def __getattr__(self, name: str) -> Any:
        found = self._copies.of(getattr(self.stands_for, name))
        setattr(self, name, found)
        return found


class _Library(np.lib.mixins.NDArrayOperatorsMixin):
    """An object or function of an array library: it takes and gives paired arrays."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        given = (np.asarray(plain(x)) if isinstance(x, _Library) else x for x in inputs)
        return call_ufunc(ufunc, method, *given, **options)

    def __init__(self, original: Any, copies: Copies):
        self.stands_for, self._copies = original, copies

    def __call__(self, *args: Any, **options: Any) -> Any:
        original = self.stands_for
        if _distribution(original) is not None:
            return _Frozen(original, args, options)
        if hasattr(original, "__name__") and not isinstance(original, type):
            owner = getattr(original, "__self__", None)
            if _distribution(owner) is not None:
                return apply(original, _density(owner, original.__name__), *args, **options)
            return self._copies.of(call_library(original, *args, **options))
        return self._copies.of(apply(original, None, *args, **options))

    def __getattr__(self, name: str) -> Any:
        original = self.stands_for
        if isinstance(original, np.ufunc) and name in ("reduce", "accumulate", "outer", "at"):
            return functools.partial(call_ufunc, original, name)
        if name == "dot" and hasattr(original, "to_numpy"):
            return PairedArray(original.to_numpy()).dot
        return self._copies.of(getattr(original, name))

    def __getitem__(self, index: Any) -> Any:
        original = self.stands_for
        in_jax = {id(np.c_): jnp.c_, id(np.r_): jnp.r_}.get(id(original))
        if in_jax is None:
            return self._copies.of(original[plain(index)])
        parts = index if isinstance(index, tuple) else (index,)
        if not any_traced(parts):
            return pair(original[plain(index)], None)
        return apply(
            lambda *x: original[tuple(x)],
            lambda *x: in_jax[tuple(jnp.atleast_1d(i) for i in x)],
            *(np.asarray(x) if isinstance(x, list) else x for x in parts),
        )

    def __len__(self) -> int:
        return len(self.stands_for)

    def __iter__(self) -> Any:
        return (self._copies.of(item) for item in self.stands_for)


class _Frozen:
    """A distribution of SciPy with its parameters, such as norm(0, s)."""

    def __init__(self, original: Any, args: Any, options: Any):
        self._original, self._args, self._options = original, args, options

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._original, name)

        def call(x: Any) -> Any:
            return apply(method, _density(self._original, name), x, *self._args, **self._options)

        return call


def _distribution(x: Any) -> Any:
    """The name of one of SciPy's distributions, or None."""
    if not type(x).__module__.startswith("scipy.stats"):
        return None
    return getattr(x, "name", None) or type(x).__name__.removesuffix("_gen")


def _density(distribution: Any, method: str) -> Any:
    in_jax = getattr(jax.scipy.stats, _distribution(distribution), None)
    return getattr(in_jax, method.removeprefix("_"), None)


class _JaxFunction:
    """A function of JAX amid NumPy code."""

    def __init__(self, function: Any):
        self._function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        def now(*given: Any, **further: Any) -> Any:
            with jax.ensure_compile_time_eval():
                return jax.tree.map(np.asarray, self._function(*given, **further))

        return apply(now, self._function, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def _extreme(name: str, in_jax: Any) -> Callable[..., Any]:
    builtin, reduce = getattr(builtins, name), getattr(np, name)

    def of_two(a: Any, b: Any) -> Any:
        return np.asarray(builtin(a, b), np.result_type(a, b))[()]  # 0 of 0 and -0.3 is 0.0

    def extreme(*items: Any, **options: Any) -> Any:
        if options or not any_traced(items):
            return builtin(*items, **options)
        if len(items) == 1:
            if isinstance(items[0], PairedArray):
                return apply(reduce, lambda x: getattr(jnp, name)(x), items[0])
            items = tuple(items[0])
        return functools.reduce(lambda a, b: apply(of_two, in_jax, a, b), items)

    return extreme


def _sum(items: Any, start: Any = 0) -> Any:
    if isinstance(items, PairedArray) and items.shape:
        return start + call_library(np.sum, items, axis=0)
    return builtins.sum(items, start)


_BUILTINS: dict[str, Any] = {
    "max": _extreme("max", jnp.maximum),
    "min": _extreme("min", jnp.minimum),
    "sum": _sum,
}
