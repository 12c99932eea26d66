"""What an audit is about: somebody's value, and all that can be learnt of it."""

import inspect
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.anatomy import Cut, cut_at_logits
from jax_logreg.audit.calls import Caller
from jax_logreg.audit.differences import batch
from jax_logreg.audit.findings import NOTE, Finding, Unusable
from jax_logreg.audit.layout import Layout
from jax_logreg.audit.logistic import LogisticModel, column_sizes, recognise, stable_derivative
from jax_logreg.audit.patterns import Numbers
from jax_logreg.audit.program import Program, trace
from jax_logreg.audit.reference import DERIVATIVE, Autodiff, round_off_units

# Entries that a batch of function values may hold at a time.
_BATCH_ENTRIES = 4_000_000
# Of larger problems no second opinion is asked.
_SECOND_OPINION = 500
_LENGTH = " (a length of the data)"


class Subject:
    """A value, traced and taken apart as far as that goes.

    Attributes:
        at: the user's point, flat.
        layout: of θ.
        dtype: of the audit.
        findings: remarks that came up.
        out_shape: of the value.
        program: the traced value; None where JAX cannot trace it.
        cut: its linear predictor; None where there is none.
        model: the logistic model in it; None where it is no such loss.
    """

    def __init__(
        self,
        value: Callable[..., Any],
        at: np.ndarray,
        layout: Layout,
        dtype: str,
        args: tuple[Any, ...],
    ):
        self.at, self.layout, self.dtype = at, layout, dtype
        self.findings: list[Finding] = []
        self.out_shape: tuple[int, ...] = ()
        self.program: Program | None = None
        self.cut: Cut | None = None
        self.model: LogisticModel | None = None
        self._value, self._args = value, args
        self.caller = Caller("value", value, layout, args, numpy=False)
        try:
            self.out_shape = self.value_at(at).shape
        except Unusable as problem:
            self.findings.append(problem.finding)
            return
        self._trace()

    def _trace(self) -> None:
        theta = jnp.asarray(self.at)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = trace(self.flat_value, theta)
                Autodiff(program)(self.first, self.at)
        except Exception as error:  # NumPy code, or a step without a derivative: an answer
            text = f"JAX cannot differentiate the value ({type(error).__name__}): differences are the reference."  # noqa: E501
            self.findings.append(Finding("not-traceable", NOTE, "value", text))
            return
        self.program = program
        if not self.is_scalar:
            return
        try:
            self.cut = cut_at_logits(program, theta)
            self.model = None if self.cut is None else recognise(self.cut, theta)
        except (TypeError, ValueError, NotImplementedError):
            # A program of a form that the reader of jaxprs does not know.
            self.cut = self.model = None

    def flat_value(self, theta: Any) -> Any:
        """The value of a flat vector, as the user wrote it."""
        return self._value(self.layout.unravel(theta), *self._args)

    def value_at(self, theta: np.ndarray) -> np.ndarray:
        """The value in float64; by NumPy where the function will not have JAX's arrays.

        Raises:
            Unusable: when it gives no number.
        """
        try:
            return self.caller(theta, dtype="float64")
        except Unusable:
            if self.caller.numpy:
                raise
            self.caller = Caller("value", self._value, self.layout, self._args, numpy=True)
            return self.caller(theta, dtype="float64")

    def _value_or_nan(self, theta: np.ndarray) -> np.ndarray:
        try:
            return self.value_at(theta)
        except Unusable:  # outside its domain
            return np.full(self.out_shape, np.nan)

    def has_value(self, theta: np.ndarray) -> bool:
        """Whether the value is finite."""
        try:
            return bool(np.isfinite(self.value_at(theta)).all())
        except Unusable:
            return False

    def has_slope(self, theta: np.ndarray) -> bool:
        """Whether value and first derivatives are finite."""
        if self.program is None:
            return self.has_value(theta)
        return bool(np.isfinite(Autodiff(self.program)(self.first, theta)).all())

    @property
    def is_scalar(self) -> bool:
        """Whether the value is one number."""
        return int(np.prod(self.out_shape, dtype=int)) == 1

    @property
    def first(self) -> str:
        """What its first derivative is called."""
        return "gradient" if self.is_scalar else "jacobian"

    @cached_property
    def many(self) -> Callable[[np.ndarray], np.ndarray]:
        """Points in rows ↦ values in rows."""
        if self.program is None:
            return lambda points: np.stack([self._value_or_nan(p) for p in points])
        heaviest = max([self.at.size, *(np.size(c) for c in self.program.constants)])
        return batch(self.program, max(1, min(64, _BATCH_ENTRIES // heaviest)))

    @property
    def units(self) -> float:
        """Of round-off, times the sensitivity, that an entry may be off."""
        return round_off_units(self.at.size if self.program is None else self.program.longest)

    @property
    def eps(self) -> float:
        """Unit round-off of the value, where everything is asked in float64."""
        low = self.program is not None and self.program.has_float32_inside
        return float(np.finfo("float32" if low else "float64").eps)

    @cached_property
    def _columns(self) -> np.ndarray:
        assert self.model is not None
        return column_sizes(self.model)

    def natural_size(self, kind: str, *vectors: np.ndarray) -> np.ndarray | float:
        """How large a logistic loss's derivative is where no row is saturated."""
        if self.model is None or kind == "jacobian":
            return 0.0
        column = self._columns
        if kind == "gradient":
            return column * float(np.sqrt(np.sum(np.abs(self.model.weight))))
        if kind == "hvp":
            return column * float(column @ np.abs(vectors[1]))
        return np.outer(column, column)

    def second_opinion(self, kind: str, *vectors: np.ndarray) -> np.ndarray | None:
        """The derivative in a form that keeps its digits, where one is known."""
        if self.model is None or kind == "jacobian" or self.at.size > _SECOND_OPINION:
            return None
        return stable_derivative(self.model, kind, *vectors)

    def in_float32(self, kind: str, *vectors: np.ndarray) -> np.ndarray | None:
        """Autodiff of the value itself in float32, to see what round-off does to it."""
        if self.program is None:
            return None
        try:
            with jax.enable_x64(False), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = [jnp.asarray(np.asarray(v, np.float32)) for v in vectors]
                return np.asarray(DERIVATIVE[kind](self.flat_value, *given), np.float64)
        except Exception:  # a value that works in float64 only: nothing to be learnt
            return None

    def data_names(self) -> list[str]:
        """What each array that the value uses is called where it was written."""
        constants = [] if self.program is None else self.program.constants
        known = _named_arrays(self._value, self._args)
        return [_name_of(constant, known) for constant in constants]

    def numbers(self) -> Numbers:
        """What a factor may be: the sizes of the data, sums of what may be weights."""
        named = {"P (parameters)": float(self.layout.size)}
        if self.model is not None:
            named["n (rows)"] = float(len(self.model.weight))
            if self.model.softmax:
                named["K (classes)"] = float(self.model.y.shape[1])
        for array in [] if self.program is None else self.program.constants:
            named |= {f"{size}{_LENGTH}": float(size) for size in np.shape(array)}
            if np.ndim(array) == 1 and jnp.issubdtype(jnp.result_type(array), jnp.floating):
                total = float(np.sum(np.asarray(array, np.float64)))
                if total > 0 and np.all(np.asarray(array) >= 0):
                    named["Σw (a sum of the data)"] = total
        better = {value for name, value in named.items() if not name.endswith(_LENGTH)}
        for name in [n for n, v in named.items() if v in (0.0, 1.0)]:
            del named[name]
        for name in [n for n, v in named.items() if n.endswith(_LENGTH) and v in better]:
            del named[name]
        return Numbers(named)


def _named_arrays(value: Callable[..., Any], args: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Arrays among the arguments of a function, and among what it captured."""
    found: list[tuple[str, Any]] = []
    with suppress(TypeError, ValueError):  # a builtin has no signature, nothing is captured
        parameters = list(inspect.signature(value).parameters)[1:]
        found += zip(parameters, args, strict=False)
    with suppress(TypeError, ValueError):
        captured = inspect.getclosurevars(value)
        found += [*captured.nonlocals.items(), *captured.globals.items()]
    arrays = [(name, x) for name, x in found if isinstance(x, np.ndarray | jax.Array)]
    return [(name, x) for name, x in arrays if jnp.issubdtype(x.dtype, np.number)]


def _name_of(constant: Any, known: list[tuple[str, Any]]) -> str:
    for name, array in known:
        if array.shape == np.shape(constant) and np.array_equal(np.asarray(array), constant):
            return name
    return f"the data of shape {np.shape(constant)}"
