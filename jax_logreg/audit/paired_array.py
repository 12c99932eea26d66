"""NumPy arrays that carry a JAX value beside their numbers.

NumPy code runs on the numbers as ever: every branch, every index and every size is that of
the point at which it is called. What depends on θ is computed a second time by the function
of the same name in JAX, so that the run leaves a trace that JAX can differentiate.
"""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import jax.scipy.special as jss
import numpy as np

# Steps after which a trace is given up: XLA would compile for longer than anyone waits.
MAX_STEPS = 2000
steps_left: ContextVar[int] = ContextVar("steps_left", default=MAX_STEPS)


class Untranslatable(TypeError):
    """A step of NumPy code has no counterpart in JAX."""


class StandInType(type):
    """The type of classes that stand for ``real``, for which a paired number counts too."""

    real: type

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(plain(instance), cls.real)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """A number of the type that keeps its trace."""
        if args and isinstance(args[0], PairedArray) and args[0].is_traced:
            return _convert(cls.real, args[0])
        return pair(cls.real(*plain(args), **plain(kwargs)), None)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.real, name)


def stand_in_type(real: type) -> type:
    """A class in whose place ``real`` is called, but for paired arrays."""
    return StandInType(real.__name__, (), {"real": real})


def _convert(real: type, array: "PairedArray") -> Any:
    if real is float:
        return array.item()
    if issubclass(real, np.ndarray):
        return apply(real, jnp.atleast_2d, array)
    return array.astype(real)


class PairedArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array or scalar, and the JAX value that it is a number of.

    A view follows the array of which it is a part, and writes through to it.
    """

    def __init__(self, concrete: Any, traced: Any = None):
        self._concrete, self._traced, self._version = concrete, traced, 0
        self._owner: PairedArray | None = None
        self._read: Callable[[Any], Any] = lambda x: x
        self._seen, self._index = 0, None

    @property
    def concrete(self) -> Any:
        """The numbers at the point of the trace."""
        self._follow()
        return self._concrete

    @property
    def traced(self) -> Any:
        """The same as a function of θ; None for what does not depend on θ."""
        self._follow()
        return self._traced

    @property
    def is_traced(self) -> bool:
        """Whether it depends on θ."""
        return self.traced is not None

    def _follow(self) -> None:
        if self._owner is None:
            return
        self._owner._follow()
        if self._seen != self._owner._version:
            part = self._read(self._owner)
            self._concrete, self._traced = part.concrete, part.traced
            self._seen, self._version = self._owner._version, self._version + 1

    def view_of(self, owner: "PairedArray", read: Callable[[Any], Any], index: Any = None) -> Any:
        """Itself, as ``read(owner)`` from now on if NumPy made a view."""
        if isinstance(self._concrete, np.ndarray) and np.may_share_memory(
            self._concrete, owner.concrete
        ):
            self._owner, self._read, self._index = owner, read, index
            self._seen = owner._version
        return self

    def assign(self, concrete: Any, traced: Any) -> None:
        """Take other numbers; so does the array of which this is a view."""
        self._follow()
        self._concrete, self._traced, self._version = concrete, traced, self._version + 1
        owner = self._owner
        if owner is not None:
            places = np.arange(owner.concrete.size).reshape(owner.shape)
            places = self._read(PairedArray(places)).concrete
            whole = owner.concrete.flatten()
            whole[places] = concrete
            follows = traced
            if traced is not None or owner.is_traced:
                follows = jnp.asarray(lifted(owner)).ravel()
                follows = follows.at[places].set(concrete if traced is None else traced)
                follows = follows.reshape(owner.shape)
            owner.assign(whole.reshape(owner.shape), follows)
            self._seen = owner._version

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(ufunc, method, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return call_library(function, *args, **options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.concrete, dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _METHODS:
            return functools.partial(_METHODS[name], self)
        found = getattr(self.concrete, name)
        if name in _PARTS:
            return apply(_PARTS[name], _PARTS[name], self).view_of(self, _PARTS[name])
        return functools.partial(call_method, name, self) if callable(found) else found

    @property
    def flat(self) -> Any:
        """Its entries in C order; what is written to them is written to it."""
        return self.reshape(-1)

    @property
    def values(self) -> Any:
        """Itself, if it was a column of a table."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return np.shape(self.concrete)

    @shape.setter
    def shape(self, shape: Any) -> None:
        reshaped = call_method("reshape", self, shape)
        self._owner = None
        self.assign(reshaped.concrete, reshaped.traced)

    def __getitem__(self, index: Any) -> Any:
        def read(x: Any) -> Any:
            return x._item(index)

        part = self._item(index)
        return part.view_of(self, read, index) if isinstance(part, PairedArray) else part

    def _item(self, index: Any) -> Any:
        if not self.is_traced and not any_traced(index):
            return pair(self.concrete[plain(index)], None)
        return apply(lambda x: x[plain(index)], lambda x: x[_jax_index(index)], self, of=index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, PairedArray) and value._owner is self and value._index is index:
            return  # x[i] += 1: the view has written already
        concrete = np.array(self.concrete, copy=True, order="K")
        concrete[plain(index)] = plain(value)
        traced = _with_item(self, index, value) if any_traced((self, index, value)) else None
        self.assign(concrete, traced)

    def __mul__(self, other: Any) -> Any:
        is_matrix = isinstance(self.concrete, np.matrix) or isinstance(plain(other), np.matrix)
        both = np.ndim(self.concrete) and np.ndim(plain(other))
        return call_ufunc(np.matmul if is_matrix and both else np.multiply, "__call__", self, other)

    def __rmul__(self, other: Any) -> Any:
        return PairedArray(other) * self if isinstance(other, np.ndarray) else self * other

    def __len__(self) -> int:
        return len(self.concrete)

    def __iter__(self) -> Iterator[Any]:
        iter(self.concrete)  # a number is no sequence
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return plain(item) in self.concrete

    def __hash__(self) -> int:
        return hash(self.concrete)

    def __bool__(self) -> bool:
        return bool(self.concrete)

    def __int__(self) -> int:
        return int(self.concrete)

    def __index__(self) -> int:
        return self.concrete.__index__()

    def __float__(self) -> float:
        return float(self.concrete)

    def __complex__(self) -> complex:
        return complex(self.concrete)

    def __round__(self, digits: int = 0) -> Any:
        return call_library(np.round, self, digits)

    def __repr__(self) -> str:
        return repr(self.concrete)

    def __str__(self) -> str:
        return str(self.concrete)

    def __format__(self, form: str) -> str:
        return format(self.concrete, form)

    def __copy__(self) -> "PairedArray":
        return PairedArray(np.array(self.concrete, copy=True, subok=True), self.traced)

    def __deepcopy__(self, memo: Any) -> "PairedArray":
        return self.__copy__()


_PARTS: dict[str, Callable[[Any], Any]] = {
    name: operator.attrgetter(name) for name in ("T", "mT", "real", "imag")
}


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of lists, tuples, dicts and slices, with the function applied to its leaves."""
    if isinstance(tree, list | tuple):
        return _rebuild(tree, [map_leaves(function, x) for x in tree])
    if isinstance(tree, dict):
        return {key: map_leaves(function, x) for key, x in tree.items()}
    if isinstance(tree, slice):
        return slice(*(function(x) for x in (tree.start, tree.stop, tree.step)))
    return function(tree)


def _rebuild(like: Any, items: list[Any]) -> Any:
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


def plain(tree: Any) -> Any:
    """What the user's NumPy would have seen."""
    return map_leaves(_plain, tree)


def _plain(x: Any) -> Any:
    if isinstance(x, PairedArray):
        return x.concrete
    return x.real if isinstance(x, StandInType) else getattr(x, "stands_for", x)


def lifted(tree: Any) -> Any:
    """What JAX is to see."""
    return map_leaves(lambda x: x.traced if is_traced(x) else _plain(x), tree)


def is_traced(x: Any) -> bool:
    """Whether x depends on θ."""
    return isinstance(x, PairedArray) and x.is_traced


def any_traced(tree: Any) -> bool:
    """Whether anything in a tree depends on θ."""
    if isinstance(tree, list | tuple):
        return any(map(any_traced, tree))
    if isinstance(tree, dict):
        return any(map(any_traced, tree.values()))
    return is_traced(tree)


def apply(
    numpy_function: Callable[..., Any],
    jax_function: Callable[..., Any] | None,
    *args: Any,
    of: Any = None,
    **options: Any,
) -> Any:
    """A step in NumPy and, if anything in it depends on θ, in JAX.

    Raises:
        Untranslatable: if JAX has no such step.
    """
    concrete = numpy_function(*plain(args), **plain(options))
    if not any_traced((args, options, of)):
        return pair(concrete, None)
    if concrete is None or isinstance(concrete, str | bool):
        return concrete
    steps_left.set(steps_left.get() - 1)
    if jax_function is None or steps_left.get() < 0:
        name = getattr(numpy_function, "__name__", numpy_function)
        raise Untranslatable(f"{name} has no counterpart, or the trace is too long")
    options = {k: x for k, x in options.items() if k not in ("casting", "subok", "copy", "like")}
    return pair(concrete, _in_jax(numpy_function, jax_function, lifted(args), lifted(options)))


def _in_jax(numpy_function: Any, jax_function: Any, args: Any, options: dict[str, Any]) -> Any:
    """JAX's answer. It takes no lists for arrays, and some arguments by name only."""
    with suppress(TypeError):
        return jax_function(*args, **options)
    with suppress(TypeError):
        return jax_function(*(_with_arrays(x) for x in args), **options)
    arrays = [_as_array(x) for x in args]
    with suppress(TypeError):
        return jax_function(*arrays, **options)
    names = list(inspect.signature(numpy_function).parameters)[1:]
    return jax_function(arrays[0], **dict(zip(names, args[1:], strict=False)), **options)


def _with_arrays(x: Any) -> Any:
    return [_as_array(item) for item in x] if isinstance(x, list | tuple) else x


def _as_array(x: Any) -> Any:
    if not isinstance(x, list | tuple):
        return x
    follows = any(isinstance(item, jax.Array) for item in jax.tree.leaves(x))
    return jnp.array(x) if follows else np.array(x)


def pair(concrete: Any, traced: Any) -> Any:
    """Numbers of NumPy with what JAX makes of them, in the shape and dtype of NumPy's."""
    if isinstance(concrete, list | tuple):
        parts = [None] * len(concrete) if traced is None else list(traced)
        return _rebuild(concrete, [pair(*both) for both in zip(concrete, parts, strict=True)])
    if traced is None:
        return PairedArray(concrete) if type(concrete) in (np.ndarray, np.matrix) else concrete
    if not isinstance(concrete, np.ndarray | np.number | np.bool_ | float | complex):
        return concrete
    if isinstance(concrete, np.matrix):
        traced = jnp.reshape(traced, concrete.shape)
    if np.shape(traced) != np.shape(concrete):
        raise Untranslatable(f"shape {np.shape(concrete)} became {np.shape(traced)} in JAX")
    dtype = jax.dtypes.canonicalize_dtype(np.asarray(concrete).dtype)
    return PairedArray(concrete, jnp.asarray(traced).astype(dtype))


def _jax_index(index: Any) -> Any:
    """Masks and slices by their numbers, other indices as JAX follows them."""

    def one(x: Any) -> Any:
        return x.traced if is_traced(x) and x.concrete.dtype != bool else _plain(x)

    if isinstance(index, tuple):
        return tuple(_jax_index(x) for x in index)
    if isinstance(index, slice):
        return plain(index)
    return np.asarray(plain(index)) if isinstance(index, list | range) else one(index)


def _with_item(array: PairedArray, index: Any, value: Any) -> Any:
    whole = jnp.asarray(lifted(array))
    if is_traced(index) and index.concrete.dtype == bool and np.ndim(plain(value)) == 0:
        mask = index.traced.reshape(index.shape + (1,) * (whole.ndim - index.concrete.ndim))
        return jnp.where(mask, lifted(value), whole).astype(whole.dtype)
    given = lifted(value)
    given = _as_array(given) if isinstance(given, list | tuple) else given
    place = np.empty(whole.shape, bool)[plain(index)]
    # NumPy drops leading axes of length one.
    given = jnp.asarray(given).astype(whole.dtype)
    given = given.reshape(given.shape[max(given.ndim - place.ndim, 0) :])
    return whole.at[_jax_index(index)].set(given)


def call_method(name: str, array: PairedArray, *args: Any, **options: Any) -> Any:
    """A method of an array."""

    def method(x: Any, *rest: Any, **further: Any) -> Any:
        return getattr(x, name)(*rest, **further)

    def in_jax(x: Any, *rest: Any, **further: Any) -> Any:
        if name not in ("reshape", "ravel", "flatten"):
            further.pop("order", None)
        return method(jnp.asarray(x), *rest, **further)

    out = options.pop("out", None)
    found = apply(method, in_jax, array, *args, **options)
    if isinstance(found, PairedArray) and name in _VIEWS:
        return found.view_of(array, lambda x: call_method(name, x, *args, **options))
    return found if out is None else _write(out, found)


def _write(out: Any, found: Any) -> Any:
    """The answer, in the array that it is to be written to; a number is not written to."""
    if not isinstance(out.concrete, np.ndarray):
        return found
    concrete = np.array(out.concrete, copy=True, subok=True)
    np.copyto(concrete, plain(found), casting="same_kind")
    traced = lifted(found) if is_traced(found) else None
    if traced is not None:
        traced = jnp.broadcast_to(traced, out.shape).astype(
            jax.dtypes.canonicalize_dtype(concrete.dtype)
        )
    out.assign(concrete, traced)
    return out


def call_ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """A ufunc or one of its methods."""
    outs = options.pop("out", None) or ()
    if method == "__call__":
        inputs, outs = inputs[: ufunc.nin], outs or inputs[ufunc.nin :]
    out = outs[0] if outs else None
    where = options.pop("where", True)
    in_jax = counterpart(ufunc)
    if method == "at":
        return _ufunc_at(ufunc, in_jax, *inputs)
    if where is not True:
        return _ufunc_where(ufunc, in_jax, where, out, *inputs)
    if method == "__call__":
        function = ufunc
        inputs = tuple(np.asarray(x) if _is_plain_list(x) else x for x in inputs)
    else:
        function, in_jax = getattr(ufunc, method), getattr(in_jax, method, None)
    found = apply(function, in_jax, *inputs, **options)
    return found if out is None else _write(out, found)


def _is_plain_list(x: Any) -> bool:
    return isinstance(x, list | tuple) and not any_traced(x)


def _ufunc_at(ufunc: np.ufunc, in_jax: Any, array: PairedArray, index: Any, *b: Any) -> None:
    concrete = np.array(array.concrete, copy=True)
    ufunc.at(concrete, plain(index), *plain(b))
    traced = None
    if any_traced((array, index, b)):
        given = (jnp.asarray(x) for x in lifted(b))
        traced = in_jax.at(jnp.asarray(lifted(array)), _jax_index(index), *given, inplace=False)
    array.assign(concrete, traced)


def _ufunc_where(ufunc: np.ufunc, in_jax: Any, where: Any, out: Any, *inputs: Any) -> Any:
    """np.divide(a, b, out=…, where=b != 0), without a 0/0 in the derivative."""
    kept = None if out is None else out.concrete.copy()
    concrete = ufunc(*plain(inputs), where=plain(where), out=kept)
    traced = None
    if any_traced((inputs, where, out)):
        mask = lifted(where)
        safe = (jnp.where(mask, x, jnp.ones((), jnp.result_type(x))) for x in lifted(inputs))
        unchanged = 0.0 if out is None else lifted(out)
        traced = jnp.where(mask, in_jax(*safe), unchanged).astype(concrete.dtype)
    if out is None:
        return pair(concrete, traced)
    out.assign(concrete, traced)
    return out


def call_library(function: Any, *args: Any, **options: Any) -> Any:
    """A function of NumPy, SciPy or math."""
    if isinstance(function, np.ufunc):
        return call_ufunc(function, "__call__", *args, **_with_tuple_out(options))
    name = function.__name__
    if name in _OWN and _is_numpy(function):
        return _OWN[name](*args, **options)
    out = options.pop("out", None)
    if name not in ("reshape", "ravel") and any_traced((args, options)):
        options.pop("order", None)
    if name in _CONCRETE or (name == "where" and len(args) == 1):
        return pair(function(*plain(args), **plain(options)), None)
    found = apply(function, counterpart(function), *args, **options)
    if name in _VIEWS and isinstance(found, PairedArray) and isinstance(args[0], PairedArray):
        rest = args[1:]
        return found.view_of(args[0], lambda x: call_library(function, x, *rest, **options))
    return found if out is None else _write(out, found)


def _with_tuple_out(options: dict[str, Any]) -> dict[str, Any]:
    out = options.get("out")
    return options if out is None or isinstance(out, tuple) else {**options, "out": (out,)}


def _is_numpy(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).split(".")[0] in ("numpy", "autograd")


def counterpart(function: Any) -> Callable[..., Any] | None:
    """The function of the same name in JAX, or None."""
    name, module = function.__name__, str(getattr(function, "__module__", None) or "")
    own = _RENAMED.get(f"{module}.{name}") or _RENAMED.get(name)
    if own is not None:
        return own
    if module.startswith("scipy.linalg"):
        places: tuple[Any, ...] = (jax.scipy.linalg,)
    elif module.startswith(("numpy.linalg", "numpy.fft")):
        places = (getattr(jnp, module.split(".")[1]),)
    elif module.startswith("numpy"):
        places = (jnp,)
    else:
        places = (jss, jnp)
    found = next((getattr(place, name) for place in places if hasattr(place, name)), None)
    return _of_floats(found) if places[0] is jss and found not in _OF_INTEGERS else found


_OF_INTEGERS = (None, jss.polygamma, jss.multigammaln)


def _of_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    """JAX's special functions have derivatives in floats only."""

    def cast(x: Any) -> Any:
        kind = getattr(x, "dtype", type(x))
        return jnp.asarray(x, float) if kind in (int, bool) or _is_integer(kind) else x

    @functools.wraps(function)
    def of_floats(*args: Any, **options: Any) -> Any:
        return function(*map(cast, args), **options)

    return of_floats


def _is_integer(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and kind.kind in "iub"


def _log(x: Any, base: Any = math.e) -> Any:
    return jnp.log(x) if base == math.e else jnp.log(x) / jnp.log(base)


def _bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    return jnp.bincount(x, weights, length=max(int(np.max(x)) + 1, minlength))


def _cdist(a: Any, b: Any, metric: str = "euclidean") -> Any:
    d = jnp.asarray(a)[:, None] - jnp.asarray(b)[None]
    if metric == "cityblock":
        return jnp.sum(jnp.abs(d), axis=-1)
    square = jnp.sum(d**2, axis=-1)
    if metric == "sqeuclidean":
        return square
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _absolute(x: Any) -> Any:
    """|x| with the slope 0 at zero, where JAX's is 1: that of log(1 + e^-|x|) + max(x, 0)."""
    return jnp.abs(x) if jnp.iscomplexobj(x) else x * jnp.sign(x)


def _huber(delta: Any, r: Any) -> Any:
    inside = jnp.abs(r) <= delta
    return jnp.where(inside, r**2 / 2, delta * (jnp.abs(r) - delta / 2))


_RENAMED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("asanyarray", "ascontiguousarray", "asfortranarray"), jnp.asarray),
    **dict.fromkeys(("asarray_chkfinite", "real_if_close", "require"), jnp.asarray),
    "array": jnp.array,
    "bincount": _bincount,
    "choose": lambda a, choices: jnp.choose(a, choices, mode="clip"),
    "math.log": _log,
    "cdist": _cdist,
    "math.dist": lambda p, q: jnp.linalg.norm(jnp.asarray(p) - jnp.asarray(q)),
    **dict.fromkeys(("absolute", "fabs"), _absolute),
    "fsum": jnp.sum,
    "row_stack": jnp.vstack,
    "fix": jnp.trunc,
    "lgamma": jss.gammaln,
    "psi": jss.digamma,
    "binom": lambda n, k: jnp.exp(-jss.betaln(n - k + 1, k + 1)) / (n + 1),
    "exprel": lambda x: jnp.where(x == 0, 1.0, jnp.expm1(x) / jnp.where(x == 0, 1.0, x)),
    "log_expit": jax.nn.log_sigmoid,
    "softplus": jax.nn.softplus,
    "huber": _huber,
    "pseudo_huber": lambda d, r: d**2 * (jnp.sqrt(1 + (r / d) ** 2) - 1),
}

# Steps that give a view of their argument where they can.
_VIEWS = {
    *("asarray", "asanyarray", "ascontiguousarray", "atleast_1d", "atleast_2d", "atleast_3d"),
    *("reshape", "ravel", "squeeze", "expand_dims", "transpose", "swapaxes", "moveaxis", "view"),
    *("rollaxis", "matrix_transpose", "permute_dims", "require", "asfortranarray", "astype"),
}

# Their answers are the same whatever JAX follows: sizes, places, questions.
_CONCRETE = {
    *("shape", "ndim", "size", "isscalar", "iscomplexobj", "isrealobj", "result_type", "allclose"),
    *("array_equal", "nonzero", "flatnonzero", "argwhere", "unique", "zeros_like", "ones_like"),
    *("empty_like", "count_nonzero", "may_share_memory", "shares_memory", "array2string"),
    *("array_repr", "array_str", "common_type", "can_cast", "iterable", "matrix_rank"),
}


def _fill_diagonal(a: PairedArray, val: Any, wrap: bool = False) -> None:
    i = np.arange(min(a.shape))
    a[(i,) * a.concrete.ndim] = val


def _copyto(dst: PairedArray, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    dst[...] = src if where is True else call_library(np.where, where, src, dst)


def _put(a: PairedArray, ind: Any, v: Any, mode: str = "raise") -> None:
    a[np.unravel_index(plain(ind), a.shape)] = v


def _place(arr: PairedArray, mask: Any, vals: Any) -> None:
    arr[mask] = vals


def _put_along_axis(arr: PairedArray, indices: Any, values: Any, axis: int) -> None:
    places = np.arange(arr.concrete.size).reshape(arr.shape)
    arr.reshape(-1)[np.take_along_axis(places, plain(indices), axis)] = values


def _fromiter(iter: Any, dtype: Any = None, count: int = -1, **options: Any) -> Any:
    return call_library(np.array, list(iter)[: count if count >= 0 else None], dtype=dtype)


def _fromfunction(function: Any, shape: Any, *, dtype: Any = float, **options: Any) -> Any:
    return function(*map(PairedArray, np.indices(plain(shape), dtype=plain(dtype))), **options)


def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **options: Any) -> Any:
    given = [f(x, *args, **options) if callable(f) else f for f in funclist]
    default = given.pop() if len(given) > len(condlist) else 0
    return call_library(np.select, list(condlist), given, default)


def _ndenumerate(arr: PairedArray) -> Iterator[Any]:
    return ((index, arr[index]) for index in np.ndindex(arr.shape))


def _apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    moved = call_library(np.moveaxis, arr, axis, -1)
    rows = call_method("reshape", moved, -1, moved.shape[-1])
    found = call_library(np.array, [func1d(row, *args, **kwargs) for row in rows])
    return (
        call_library(np.moveaxis, found.reshape(*moved.shape[:-1], *found.shape[1:]), -1, axis)
        if found.ndim > 1
        else found.reshape(moved.shape[:-1])
    )


def _vectorize(pyfunc: Any, **options: Any) -> Callable[..., Any]:
    def vectorized(*args: Any) -> Any:
        arrays = [call_library(np.asarray, x) for x in args]
        arrays = call_library(np.broadcast_arrays, *arrays)
        rows = zip(*(x.ravel() for x in arrays), strict=True)
        found = call_library(np.array, [pyfunc(*row) for row in rows])
        return found.reshape(arrays[0].shape)

    return vectorized


_OWN: dict[str, Callable[..., Any]] = {
    "fill_diagonal": _fill_diagonal,
    "copyto": _copyto,
    "put": _put,
    "place": _place,
    "putmask": _place,
    "apply_along_axis": _apply_along_axis,
    "vectorize": _vectorize,
    "put_along_axis": _put_along_axis,
    "fromiter": _fromiter,
    "fromfunction": _fromfunction,
    "piecewise": _piecewise,
    "ndenumerate": _ndenumerate,
}


def _item(array: PairedArray, *index: Any) -> Any:
    one = array[index] if len(index) > 1 else array.ravel()[index or 0]
    one = call_method("reshape", one, ()) if isinstance(one, PairedArray) else one
    return apply(lambda x: x.item(), lambda x: x, one)


def _tolist(array: PairedArray) -> Any:
    if not array.is_traced:
        return array.concrete.tolist()
    return [x.tolist() for x in array] if array.shape else array.item()


def _set_whole(array: PairedArray, value: Any) -> None:
    array[...] = value


def _sort(array: PairedArray, axis: int = -1, **options: Any) -> None:
    array[...] = call_library(np.sort, array, axis=axis)


_METHODS: dict[str, Callable[..., Any]] = {
    "item": _item,
    "tolist": _tolist,
    "fill": _set_whole,
    "sort": _sort,
    "copy": lambda array, *order, **options: array.__copy__(),
    **dict.fromkeys(("toarray", "todense", "to_numpy"), lambda array, **options: array.__copy__()),
    "setflags": lambda array, **flags: None,
    "nonzero": lambda array: pair(array.concrete.nonzero(), None),
}
