"""The function under test: the user's value, traced and analysed as far as possible."""

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.differences import round_off
from jax_logreg.audit.findings import NOTE, Finding, UnusableOutput
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.linear_predictor import SplitLoss, split_at_logits
from jax_logreg.audit.logistic import (
    LogisticModel,
    recognise,
    stable_derivative,
    weighted_column_norms,
)
from jax_logreg.audit.numpy_trace import translated
from jax_logreg.audit.reference import DERIVATIVE, Autodiff, batched, round_off_units
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.stepwise import evaluate
from jax_logreg.audit.traced import TracedFunction, run_compiled, trace
from jax_logreg.audit.user_calls import UserFunction
from jax_logreg.audit.user_names import UserNames, find_names, named_data

# Above this many parameters the stable form of a derivative is not computed.
_MAX_STABLE = 500
# Numbers are the same that differ by so many units of round-off.
_SAME = 2.0**22
# And by so many times the round-off of a value that loses digits, such as log(1 - h + 1e-15).
_NOISE = 100.0
# A value this much larger than at the user's point that does not change over such a step,
# relative to θ, is outside its domain.
_SENTINEL, _NEARBY = 1e3, 1e-6
_TIMED_CALLS = 3
# The values at so many points are kept.
_RECENT = 200


class Target:
    """The function under test.

    Args:
        value: as it is traced.
        at: the user's point, flat.
        layout: of θ.
        dtype: of the audit.
        args: the value's other arguments.
        numpy: whether it is called with NumPy arrays.
        any_shape: whether it may return more than a number.
        called: the value as it is called, if that is another function.

    Attributes:
        at: the user's point, flat.
        layout: of θ.
        dtype: of the audit.
        findings: remarks that came up.
        out_shape: of the value.
        function: the traced value; None if JAX cannot trace it.
        split: the loss, split at its logits; None if it has none.
        model: the logistic model in it; None if it is not logistic.
    """

    def __init__(
        self,
        value: Callable[..., Any],
        at: np.ndarray,
        layout: PytreeLayout,
        dtype: str,
        args: tuple[Any, ...],
        numpy: bool = False,
        any_shape: bool = False,
        called: Callable[..., Any] | None = None,
    ):
        self.at, self.layout, self.dtype = at, layout, dtype
        self.findings: list[Finding] = []
        self.out_shape: tuple[int, ...] = ()
        self.function: TracedFunction | None = None
        self.split: SplitLoss | None = None
        self.model: LogisticModel | None = None
        self._value, self._args = value, args
        self._recent: dict[bytes, np.ndarray] = {}
        self._translated: Callable[[Any], Any] | None = None
        self.user_function = UserFunction(
            "value", called or value, layout, args, numpy, None if any_shape else ()
        )
        try:
            found = self.value_at(at)
        except UnusableOutput as problem:
            self.findings.append(problem.finding)
            return
        self.out_shape, self._recent[at.tobytes()] = found.shape, found
        self._trace()

    def _trace(self) -> None:
        if self.user_function.numpy and not self.user_function.reader.is_of_jax:
            text = "the value is NumPy code: differences are the reference."
            self.findings.append(Finding("not-traceable", NOTE, "value", text))
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function = trace(self.flat_value, jnp.asarray(self.at))
                Autodiff(function)(self.first_derivative, self.at)
        except Exception as error:  # NumPy code, or a step without a derivative
            text = f"JAX cannot differentiate the value ({type(error).__name__}): differences are the reference."  # noqa: E501
            self.findings.append(Finding("not-traceable", NOTE, "value", text))
            self._prefer_numpy()
            return
        self._analyse(function)

    def translate(self, points: list[np.ndarray], far: Sequence[np.ndarray] = ()) -> bool:
        """Trace NumPy code with JAX in NumPy's place, if that gives the same numbers.

        A branch is taken as at the user's point; where that matters, both are.

        Args:
            points: at which the numbers must be the same.
            far: at which they are if that can be had.

        Returns:
            Whether it did: ``function`` is then the traced value.
        """
        usable = []
        with suppress(Exception), warnings.catch_warnings(), np.errstate(all="ignore"):
            # Code may be such that it cannot be run on anything but NumPy arrays.
            warnings.simplefilter("ignore")
            for both_branches in (False, True):
                copied = self._translated_value(both_branches)
                function = trace(copied, jnp.asarray(self.at))
                if self._has_same_numbers(function, points) and self._is_smooth(function, points):
                    usable.append((copied, function))
                    if self._has_same_numbers(function, far):
                        usable = usable[-1:]
                        break
        if usable:
            self._take_translation(*usable[0])
        return bool(usable)

    def _translated_value(self, both_branches: bool) -> Callable[[Any], Any]:
        point = self.layout.unravel(self.at)
        copied = translated(self._value, point, self._args, both_branches)
        return lambda theta: copied(self.layout.unravel(theta))

    def _take_translation(self, copied: Callable[[Any], Any], function: TracedFunction) -> None:
        self._translated = copied
        self.__dict__.pop("values", None)
        text = "the value is NumPy code; it was run with jax.numpy in its place, and gives the same numbers: autodiff is the reference."  # noqa: E501
        self.findings = [f for f in self.findings if f.kind != "not-traceable"]
        self.findings.append(Finding("translated", NOTE, "value", text))
        self._analyse(function)

    def _has_same_numbers(self, function: TracedFunction, points: Sequence[np.ndarray]) -> bool:
        """Whether a traced function has the user's numbers, up to their round-off."""
        if not len(points):
            return True
        users_own = np.stack([self._value_or_nan(p) for p in points])
        found = np.asarray(batched(function)(np.stack(points))).reshape(users_own.shape)
        eps = np.finfo("float32" if function.has_float32_inside else "float64").eps
        usual = np.median(np.abs(users_own)[np.isfinite(users_own)])
        close = _SAME * eps * (np.abs(users_own) + usual)
        close += _NOISE * np.stack([round_off(self.values, p, np.abs(p) + 1) for p in points])
        same = (found == users_own) | (np.isnan(found) & np.isnan(users_own))
        return bool((same | (np.abs(found - users_own) <= close)).all())

    def _is_smooth(self, function: TracedFunction, points: list[np.ndarray]) -> bool:
        """Whether a traced function has derivatives where the value is finite, and where it is."""
        finite = [p for p in points if np.isfinite(self._value_or_nan(p)).all()]
        slopes = Autodiff(function).at_rows(self.first_derivative, np.stack(finite))
        return bool(np.isfinite(slopes).all())

    def _analyse(self, function: TracedFunction) -> None:
        theta = jnp.asarray(self.at)
        self.function = function
        if not self.is_scalar:
            return
        # A jaxpr may have a form that the reader of jaxprs does not know.
        with suppress(TypeError, ValueError, NotImplementedError):
            split = split_at_logits(function, theta)
            self.model = None if split is None else recognise(split, theta)
            self.split = split

    def _prefer_numpy(self) -> None:
        """Call code that JAX cannot trace with NumPy arrays, if it takes them: that is faster."""
        in_numpy = replace(self.user_function, numpy=True)
        found = in_numpy.attempt(self.at, dtype="float64")
        if found is not None:
            self.user_function, self._recent = in_numpy, {self.at.tobytes(): found}

    def flat_value(self, theta: Any) -> Any:
        """The value of a flat vector of JAX's."""
        if self._translated is not None:
            return self._translated(theta)
        return self._value(self.layout.unravel(theta), *self._args)

    def value_at(self, theta: np.ndarray) -> np.ndarray:
        """The value in float64, called with NumPy arrays if it fails with JAX's.

        Raises:
            UnusableOutput: if it returns no number.
        """
        try:
            return self.user_function(theta, dtype="float64")
        except UnusableOutput:
            if self.user_function.numpy:
                raise
            self.user_function = replace(self.user_function, numpy=True)
            return self.user_function(theta, dtype="float64")

    def _value_or_nan(self, theta: np.ndarray) -> np.ndarray:
        """The value, of the points asked for last without another call."""
        key = theta.tobytes()
        if key not in self._recent:
            value = self.user_function.attempt(theta, dtype="float64")
            self._recent[key] = np.full(self.out_shape, np.nan) if value is None else value
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
        return self._recent[key]

    def has_value(self, theta: np.ndarray) -> bool:
        """Whether the value is finite, and no number that stands for infinity."""
        value = self._value_or_nan(theta)
        size = _largest(value)
        usual = 1 + _largest(self._value_or_nan(self.at))
        if not size < np.inf:
            return False
        # A huge value that stays the same nearby, as of ``if (w <= 0).any(): return 1e10``.
        if size < _SENTINEL * usual or not usual < np.inf:
            return True
        near = theta + _NEARBY * (np.abs(theta) + np.max(np.abs(theta)))
        return not np.array_equal(value, self._value_or_nan(near))

    def has_first_derivative(self, theta: np.ndarray) -> bool:
        """Whether value and first derivatives are finite."""
        if self.function is None:
            return self.has_value(theta)
        return bool(np.isfinite(Autodiff(self.function)(self.first_derivative, theta)).all())

    @cached_property
    def seconds_per_call(self) -> float:
        """How much processor time a call of the value takes, whatever else the machine does."""
        began = time.thread_time()
        for _ in range(_TIMED_CALLS):
            self.user_function.attempt(self.at, dtype="float64")
        return max((time.thread_time() - began) / _TIMED_CALLS, 1e-9)

    @property
    def is_translated(self) -> bool:
        """Whether it is NumPy code that was run with JAX in NumPy's place."""
        return self._translated is not None

    @property
    def is_scalar(self) -> bool:
        """Whether the value is one number."""
        return int(np.prod(self.out_shape, dtype=int)) == 1

    @property
    def first_derivative(self) -> str:
        """What its first derivative is called: "gradient" or "jacobian"."""
        return "gradient" if self.is_scalar else "jacobian"

    @cached_property
    def complex_value(self) -> Callable[[np.ndarray], np.ndarray]:
        """The value of complex parameters, if it takes such."""
        function = trace(self.flat_value, jnp.asarray(self.at.astype(complex)))
        return partial(run_compiled, function, TracedFunction.__call__)

    @cached_property
    def values(self) -> Callable[[np.ndarray], np.ndarray]:
        """The value at the rows of an array."""
        if self.function is None:
            return lambda points: np.array([self._value_or_nan(p) for p in points])
        return batched(self.function)

    @property
    def round_off_units(self) -> float:
        """How many units of round-off, times its sensitivity, an entry may be off."""
        function = self.function
        return round_off_units(self.at.size if function is None else function.longest_axis)

    @property
    def eps(self) -> float:
        """Unit round-off of the value when it is called in float64."""
        low = self.function is not None and self.function.has_float32_inside
        return float(np.finfo("float32" if low else "float64").eps)

    @cached_property
    def _columns(self) -> np.ndarray:
        assert self.model is not None
        return weighted_column_norms(self.model)

    def unsaturated_size(self, kind: str, *vectors: np.ndarray) -> np.ndarray | float:
        """The size of a logistic loss's derivative where no row is saturated."""
        if self.model is None or kind == "jacobian":
            return 0.0
        column = self._columns
        if kind == "gradient":
            return column * float(np.sqrt(np.sum(np.abs(self.model.weight))))
        if kind == "hvp":
            return column * float(column @ np.abs(vectors[1]))
        if kind == DIAGONAL:
            return column**2
        return np.outer(column, column)

    def stable_derivative(self, kind: str, *vectors: np.ndarray) -> np.ndarray | None:
        """The derivative in a form that keeps its digits, if one is known."""
        if self.model is None or kind == "jacobian" or self.at.size > _MAX_STABLE:
            return None
        if kind == DIAGONAL:
            return np.diagonal(stable_derivative(self.model, "hessian", *vectors))
        return stable_derivative(self.model, kind, *vectors)

    def autodiff_in_float32(self, kind: str, *vectors: np.ndarray) -> np.ndarray | None:
        """Autodiff of the value in float32, which shows what round-off does to it."""
        if self.function is None:
            return None
        try:
            with jax.enable_x64(False), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = [np.asarray(v, np.float32) for v in vectors]
                closed = jax.make_jaxpr(partial(DERIVATIVE[kind], self.flat_value))(*given)
                return np.asarray(evaluate(closed, given)[0], np.float64)
        except Exception:  # a value that works in float64 only
            return None

    def data_names(self) -> list[str]:
        """The name of each array that the value uses, in the user's code."""
        if self.function is None:
            return []
        known = [(name, x) for name, x in self.data.items() if np.ndim(x)]
        return [_name_of(constant, known) for constant in self.function.constants]

    @cached_property
    def data(self) -> dict[str, Any]:
        """Arrays and numbers that the value is given or captured, by their names."""
        return dict(named_data(self._value, self._args))

    def user_names(self, kind: str) -> UserNames:
        """What the user's code calls things, and numbers that a factor may be."""
        known = {"P (parameters)": float(self.layout.size)}
        if self.model is not None:
            known["n (rows)"] = float(len(self.model.weight))
            if self.model.softmax:
                known["K (classes)"] = float(self.model.y.shape[1])
        unnamed = [] if self.function is None else self.function.constants
        return find_names(self._value, self._args, kind, self.layout, known, unnamed)


def _largest(value: np.ndarray) -> float:
    """The largest |number|; NaN if one is."""
    return float(np.abs(value) if value.ndim == 0 else np.max(np.abs(value), initial=0.0))


def _name_of(constant: Any, known: list[tuple[str, Any]]) -> str:
    for name, array in known:
        if array.shape == np.shape(constant) and np.array_equal(np.asarray(array), constant):
            return name
    for name, array in known:
        if array.shape == np.shape(constant) and np.array_equal(1 - np.asarray(array), constant):
            return f"1 − {name}"
    return f"the data of shape {np.shape(constant)}"
