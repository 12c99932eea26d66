"""Calls of the user's functions: whatever they do becomes an array or a finding.

The functions take pytrees; the audit knows one flat vector θ. A call of NumPy code on a bare array
costs a few microseconds beside the code itself: the reference may be thousands of calls.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.findings import ERROR, Finding, UnusableOutput
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.readings import Reading, Shape
from jax_logreg.audit.returned import DIAGONAL, Reader, first_line
from jax_logreg.audit.traced import by_steps

DERIVATIVES = ("gradient", "jacobian", "hessian", "hvp")
# Parts of JAX's errors where a trace holds a captured array in the other precision.
_STALE_TRACE = ("RuntimeProgramInputMismatch", "same dtypes", "verifier errors")
# Parts of the errors where code writes into an array that must stay as it is.
_READ_ONLY, _IMMUTABLE = "read-only", "JAX arrays are immutable"
Vectors = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class UserFunction:
    """One of the user's functions, as a map from flat vectors to a flat array.

    It is called where an audit has set JAX's 64 bits, and silenced warnings.

    Attributes:
        name: "value" or one of DERIVATIVES.
        function: called as function(θ, *args), an hvp as function(θ, v, *args).
        layout: of θ.
        args: its other arguments.
        numpy: whether it is called with NumPy arrays.
        out_shape: shape of the value, () for a number; of the value itself None for any.
        reading: how an answer in another form is read; None for the likeliest way.
    """

    name: str
    function: Callable[..., Any]
    layout: PytreeLayout
    args: tuple[Any, ...]
    numpy: bool
    out_shape: Shape | None = ()
    reading: Reading | None = None

    def __call__(self, *vectors: np.ndarray, dtype: str) -> np.ndarray:
        """The function at flat vectors, in the named precision.

        Returns:
            The value as it is; (P,) for gradient and hvp, (M, P), (P, P), or (P,) for a Hessian
            of which the function returns the diagonal.

        Raises:
            UnusableOutput: with the finding, whatever went wrong.
        """
        if dtype == "float64":
            raw = self._call_directly(vectors) if self._is_direct else None
            raw = self._call(vectors, np.float64) if raw is None else raw
        else:
            with jax.enable_x64(False):
                raw = self._call(vectors, np.dtype(dtype))
        if type(raw) is np.ndarray and raw.dtype == np.float64 and raw.shape == self._usual_shape:
            return raw.copy()  # the function may write its next answer into the same array
        if type(raw) in (float, np.float64) and self.name == "value":
            return np.asarray(raw)
        return self.reader.read(raw).copy()

    def attempt(self, *vectors: np.ndarray, dtype: str) -> np.ndarray | None:
        """The same, or None if the function gives nothing to compare."""
        try:
            return self(*vectors, dtype=dtype)
        except UnusableOutput:
            return None

    def settled(self, theta: np.ndarray, prefer_numpy: bool) -> "UserFunction":
        """The function with the arrays that it takes, NumPy's or JAX's.

        A Hessian that returns its diagonal only goes by that name from then on.
        """
        vectors = vectors_at(theta, self.name)
        for numpy in (True,) if self.numpy else (prefer_numpy, not prefer_numpy):
            function = replace(self, numpy=numpy)
            found = function.attempt(*vectors, dtype="float64")
            if found is not None:
                is_diagonal = self.name == "hessian" and found.ndim == 1
                return replace(function, name=DIAGONAL) if is_diagonal else function
        return replace(self)

    def read_as(self, reading: Reading) -> "UserFunction":
        """The same function, its answers read in another way."""
        return replace(self, reading=reading)

    @cached_property
    def reader(self) -> Reader:
        """Reads its answers, and remembers what is to be remarked about them."""
        return Reader(self.name, self.layout, self.out_shape, self.reading)

    @cached_property
    def _usual_shape(self) -> Shape | None:
        """Of an answer that needs no reading; None if every one does."""
        size, is_plain = self.layout.size, self.layout.is_plain
        if self.name == "value" or self.reading is not None or not is_plain:
            return None
        if self.layout.shapes != ((size,),):
            return None
        if self.name == "jacobian":
            return (*(self.out_shape or ()), size) if len(self.out_shape or ()) == 1 else None
        return (size, size) if self.name == "hessian" else (size,)

    @cached_property
    def safe_args(self) -> tuple[Any, ...]:
        """The other arguments; NumPy arrays among them cannot be written to."""
        return jax.tree.map(_as_numpy if self.numpy else _as_readonly, self.args)

    @cached_property
    def _called(self) -> Callable[..., Any]:
        """The function; a value, which is traced anyway, without compiling its steps."""
        is_traced = self.name == "value" and not self.numpy
        return by_steps(self.function) if is_traced else self.function

    @cached_property
    def _is_direct(self) -> bool:
        """Whether it takes arrays of NumPy as they are."""
        return self.numpy and self.layout.is_plain and self._called is self.function

    def _call_directly(self, vectors: Vectors) -> Any:
        """The answer of a call without events; None after one that is to be looked at."""
        shape = self.layout.shapes[0]
        given = [v.copy() if v.shape == shape else v.reshape(shape).copy() for v in vectors]
        try:
            raw = self.function(*given, *self.safe_args)
        except Exception:
            return None
        for array, vector in zip(given, vectors, strict=True):
            if array.tobytes() != vector.tobytes():
                return None
        return raw

    def _call(self, vectors: Vectors, dtype: Any) -> Any:
        before = [np.asarray(v, dtype) for v in vectors]
        try:
            return self._evaluate(before, self.safe_args)
        except Exception as error:
            if _READ_ONLY in str(error):
                return self._call_with_copies(before)
            if not any(sign in str(error) for sign in _STALE_TRACE):
                raise self._told(error) from None
        # Out here the error is gone, and with it the last reference to a trace in which a live
        # jitted function holds a captured NumPy array in the other precision.
        jax.clear_caches()
        try:
            return self._evaluate(before, self.safe_args)
        except Exception as error:
            raise self._told(error) from None

    def _evaluate(self, before: list[np.ndarray], args: tuple[Any, ...]) -> Any:
        copies = [v.copy() for v in before]
        given = [self.layout.unravel(c if self.numpy else jnp.asarray(c)) for c in copies]
        raw = self._called(*given, *args)
        if not self.numpy:
            raw = jax.block_until_ready(raw)
        for i, (tree, copy, flat) in enumerate(zip(given, copies, before, strict=True)):
            if not self.layout.is_plain:
                leaves = self.layout.parameters_of(tree) or []
                copy = np.concatenate([np.ravel(leaf) for leaf in leaves] or [flat[:0]])
            if copy.tobytes() != flat.tobytes():
                text = f"changes {'its vector' if i else 'θ'} in place."
                self.reader.remark("hidden-state", ERROR, text)
        return raw

    def _call_with_copies(self, before: list[np.ndarray]) -> Any:
        """The call of a function that writes into its other arguments, or seems to."""
        args = jax.tree.map(_as_copy, self.safe_args)
        try:
            raw = self._evaluate(before, args)
        except Exception as error:
            raise self._told(error) from None
        names = argument_names(self.function, len(before), len(args))
        for name, own, given in zip(names, self.safe_args, args, strict=True):
            if not _is_equal(own, given):
                self.reader.remark("hidden-state", ERROR, f"changes its argument {name} in place.")
        return raw

    def _told(self, error: Exception) -> UnusableOutput:
        if isinstance(error, UnusableOutput):
            return error
        if isinstance(error, jax.errors.UnexpectedTracerError):
            return self._unusable("hidden-state", "uses what another call left behind.")
        if _IMMUTABLE in str(error):
            text = "writes into an array in place, which JAX's arrays do not allow: numpy=True calls it with NumPy's."  # noqa: E501
            return self._unusable("raises", text)
        if _READ_ONLY in str(error):
            text = f"writes into an array that is read-only ({first_line(error)})"
            return self._unusable("raises", text)
        return self._unusable("raises", f"raises {first_line(error)}")

    def _unusable(self, kind: str, text: str) -> UnusableOutput:
        return UnusableOutput(Finding(kind, ERROR, self.name, f"{self.name} {text}"))


def vectors_at(theta: np.ndarray, name: str) -> Vectors:
    """What a derivative of that name is called with at a point: θ, and a vector of ones if it
    takes a product."""
    return (theta, np.ones(theta.size)) if name == "hvp" else (theta,)


def argument_names(function: Callable[..., Any], first: int, count: int) -> list[str]:
    """The names of a function's arguments from the first-th on, as far as it has any."""
    try:
        parameters = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ][first : first + count]
    except (TypeError, ValueError):  # a builtin
        parameters = []
    return [*parameters, *(f"args[{i}]" for i in range(len(parameters), count))]


def _as_readonly(leaf: Any) -> Any:
    """A NumPy array that cannot be written to: the data belong to the user."""
    if not isinstance(leaf, np.ndarray):
        return leaf
    view = leaf.view()
    view.flags.writeable = False
    return view


def _as_numpy(leaf: Any) -> Any:
    is_array = isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return _as_readonly(np.asarray(leaf) if is_array else leaf)


def _as_copy(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _is_equal(own: Any, given: Any) -> bool:
    """Whether the arrays in two trees are the same, bit by bit."""
    pairs = zip(jax.tree.leaves(own), jax.tree.leaves(given), strict=False)
    return all(a.tobytes() == b.tobytes() for a, b in pairs if isinstance(a, np.ndarray))
