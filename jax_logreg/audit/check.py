"""The audit of derivatives: points, reference, comparison, diagnosis, report."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.compare_entries import (
    DerivativeComparison,
)
from jax_logreg.audit.diagnose import diagnose
from jax_logreg.audit.differences import FiniteDifferences, shrink_to_curvature
from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding
from jax_logreg.audit.form import add_form, compare_in_any_form, diagonal_remark
from jax_logreg.audit.judgement import forgive_flat_value, forgive_numerical
from jax_logreg.audit.layout import PytreeLayout, make_layout
from jax_logreg.audit.match import Diagnosis
from jax_logreg.audit.properties import (
    convexity,
    hessian_properties,
    hvp_properties,
    model_properties,
)
from jax_logreg.audit.purity import Surroundings, check_purity, find_impurities
from jax_logreg.audit.quick_check import QuickCheck
from jax_logreg.audit.reference import (
    AuditPoints,
    Autodiff,
    BatchedFunction,
    ReferenceValue,
    Vectors,
    draw_points,
)
from jax_logreg.audit.report import DerivativeReport, summarise
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.step_sweep import StepSweep, sweep_steps
from jax_logreg.audit.target import Target
from jax_logreg.audit.traced import (
    TracedFunction,
    has_many_shapes,
    keeps_traces,
    without_jit,
)
from jax_logreg.audit.user_calls import DERIVATIVES, UserFunction, vectors_at
from jax_logreg.audit.value_and_grad import SharedCalls, first_of

# A sweep that comes this near has confirmed autodiff.
_CONFIRMED = 1e-5
# Up to this many parameters differences are extrapolated coordinate by coordinate.
_MAX_EXTRAPOLATED = 2000
# Autodiff contradicts the differences from this relative difference on.
_CONTRADICTED = 1e-3
# An entry jumps at a point if it changes by this part of its usual size over a step of this
# part of the scale.
_JUMP, _JUMP_STEP = 1e-3, 1e-6
# Differences of plain NumPy code may take so long; but so many points near and far are tried: a
# mistake is named by what it does at three.
_SECONDS, _LEAST_NEAR, _LEAST_FAR = 1.5, 3, 2
# Up to this many parameters a Hessian is formed beside its diagonal, by autodiff, by differences.
_MAX_HESSIAN, _MAX_DIFFERENCED = 1000, 10
# Random lines along which convexity is checked; and steps of the longest value that is.
_LINES, _MAX_STEPS = 8, 150

Reference = Autodiff | FiniteDifferences


def check_derivatives(
    value: Callable[..., Any] | None = None,
    *,
    value_and_grad: Callable[..., Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    hessian: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    jacobian: Callable[..., Any] | None = None,
    at: Any = None,
    args: tuple[Any, ...] = (),
    names: Any = None,
    numpy: bool = False,
    seed: int = 0,
) -> DerivativeReport:
    """Check hand-written derivatives of any function, and say what is wrong with them.

    Each is compared with autodiff of the value, entry by entry, at seeded random points
    around ``at``; and autodiff with central differences of the value over a range of steps
    and with the complex step. What differs by more than round-off is diagnosed:
    explanations are tried until one reproduces the hand-written numbers.

    Args:
        value: value(θ, *args), a number, or an array if ``jacobian`` is given. It may be
            plain NumPy code: then finite differences are the reference; and where these find
            a mistake, autodiff of a copy that runs with JAX in NumPy's place.
        value_and_grad: value_and_grad(θ, *args), a tuple (value, gradient), in place of
            ``value`` and ``gradient``: the form of SciPy's ``jac=True``.
        gradient: gradient(θ, *args), of the structure of θ, or flat.
        hessian: hessian(θ, *args), (P, P), or nested as by ``jax.hessian``; sparse, or a
            linear operator; or (P,), its diagonal.
        hvp: hvp(θ, v, *args), of the structure of θ, or flat.
        jacobian: jacobian(θ, *args), of the shape of the value followed by that of θ.
        at: a point θ, any pytree of arrays. It gives structure, precision (NumPy's and
            Python's floats are float64 whatever JAX's setting) and a rough scale.
        args: further arguments of all the functions.
        names: a name for every entry of θ; or in place of each array of θ a list with
            the names along each axis (``{"coef": [features, classes]}``).
        numpy: call the functions with NumPy arrays, not JAX's.
        seed: of the points.

    Returns:
        A report; print it, or ask ``.ok`` and ``.diagnoses``. Whatever the functions do,
        such as raising, becomes a finding of the report.

    Raises:
        ValueError: for a call that makes no sense, naming the argument.

    >>> def loss(w, x):
    ...     return jnp.sum(jnp.log1p(jnp.exp(x * w)))
    >>> def slope(w, x):
    ...     return -x / (1 + jnp.exp(-x * w))
    >>> report = check_derivatives(loss, gradient=slope, at=np.zeros(3), args=(np.ones(3),))
    >>> report.ok, report.diagnosis.kind
    (False, 'sign')
    """
    functions = {"gradient": gradient, "jacobian": jacobian, "hessian": hessian, "hvp": hvp}
    given = {name: f for name, f in functions.items() if f is not None}
    _check_arguments(value, value_and_grad, given, args)
    flat, layout, dtype = _flatten_point(_as_array(at), names)
    users_own = [f for f in (value, value_and_grad, *given.values()) if f is not None]
    given = {name: without_jit(f) for name, f in given.items()}
    called = None
    if value_and_grad is not None:
        shared = SharedCalls(without_jit(value_and_grad))
        value, called = first_of(without_jit(value_and_grad)), shared.value
        given = {"gradient": shared.gradient, **given}
    assert value is not None
    value = without_jit(value)
    # Overflow and 0/0 far out are findings, not warnings; JAX's checks of a caller's program
    # are for the caller's run of it.
    with (
        jax.enable_x64(True),
        jax.debug_nans(False),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.transfer_guard("allow"),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        target = Target(value, flat, layout, dtype, tuple(args), numpy, "jacobian" in given, called)
        target.findings += map(_kept_as_it_is, layout.integers)
        _check_kinds(target, given)
        derivatives = [
            UserFunction(name, given[name], layout, tuple(args), numpy, target.out_shape)
            for name in DERIVATIVES
            if name in given
        ]
        derivatives = [f.settled(flat, target.user_function.numpy) for f in derivatives]
        report = Audit(target, derivatives, seed).report()
    if has_many_shapes(target.function) or any(map(keeps_traces, users_own)):
        jax.clear_caches()
    return report


def assert_derivatives(value: Callable[..., Any] | None = None, **options: Any) -> None:
    """:func:`check_derivatives` for a test suite.

    Args:
        value: see :func:`check_derivatives`.
        **options: its other arguments.

    Returns:
        None: every derivative that could be checked agrees.

    Raises:
        AssertionError: with the report, if a derivative is wrong.
        ValueError: for a call that makes no sense.

    >>> assert_derivatives(lambda t: jnp.sum(t**3), gradient=lambda t: 3 * t**2, at=np.ones(2))
    """
    __tracebackhide__ = True  # pytest shows the caller's line and the report
    check_derivatives(value, **options).raise_if_wrong()


def _as_array(at: Any) -> Any:
    """A list of numbers, or of rows of numbers, means an array, not a pytree."""
    leaves = jax.tree.leaves(at)
    kinds = {type(leaf) for leaf in leaves}
    if not isinstance(at, list) or not leaves or not kinds <= {int, float}:
        return at
    try:
        return np.asarray(at, np.float64)
    except ValueError:  # rows of different lengths: a pytree after all
        return at


def _flatten_point(at: Any, names: Any) -> tuple[np.ndarray, PytreeLayout, str]:
    """θ as a flat float64 vector, its layout, and the precision it came in."""
    layout = make_layout(at)
    leaves = [np.asarray(leaf) for leaf in layout.parameters_of(at) or []]
    if not leaves and any(leaf is not None for _, _, leaf in layout.static):
        held = {str(getattr(x, "dtype", type(x).__name__)) for _, _, x in layout.static}
        raise ValueError(f"at= must hold real numbers, but it has {sorted(held)}.")
    if not sum(leaf.size for leaf in leaves):
        raise ValueError("at= must be a point: an array, or a pytree of arrays, of parameters.")
    if any(leaf.dtype.kind == "c" for leaf in leaves):
        raise ValueError("at= must hold real numbers, but it has complex ones.")
    kinds = [leaf.dtype for leaf in leaves]
    floats = [k for k in kinds if jnp.issubdtype(k, jnp.floating)]
    dtype = max(floats, key=lambda k: jnp.finfo(k).bits).name if floats else "float64"
    flat = np.concatenate([leaf.astype(np.float64).ravel() for leaf in leaves])
    if not np.isfinite(flat).all():
        raise ValueError("at= must be finite: give a point at which the value is defined.")
    return flat, layout if names is None else make_layout(at, names), dtype


def _kept_as_it_is(leaf: tuple[str, int]) -> Finding:
    text = f"{leaf[0]} is the whole number {leaf[1]} and kept as it is; {leaf[1]}.0 is a parameter."
    return Finding("static", NOTE, "value", text)


def _check_arguments(value: Any, pair: Any, given: dict[str, Any], args: Any) -> None:
    if pair is not None and (value is not None or "gradient" in given):
        raise ValueError("give either value_and_grad=, or value and gradient=.")
    if value is None and pair is None:
        raise ValueError("give the value, or value_and_grad=: derivatives are compared with it.")
    if not given and pair is None:
        rule = isinstance(value, jax.custom_jvp | jax.custom_vjp)
        hint = " For its own rule: jax_logreg.audit.custom_rule.check_rule." if rule else ""
        text = "give at least one of gradient=, hessian=, hvp=, jacobian= to check."
        raise ValueError(text + hint)
    functions = {"value": value, "value_and_grad": pair, **given}
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ValueError(f"{name}= must be a function, but it is {function!r}.")
    if not isinstance(args, tuple | list):
        raise ValueError(f"args= must be a tuple, but it is a {type(args).__name__}.")


def _check_kinds(target: Target, given: dict[str, Any]) -> None:
    """A gradient needs a value that is a number, a Jacobian one that is an array."""
    if target.findings and target.function is None and not target.out_shape:
        return  # the value itself could not be called
    for name in given:
        if (name == "jacobian") == target.is_scalar and target.out_shape != (1,):
            kind = f"shape {target.out_shape}" if target.out_shape else "a single number"
            other = "gradient=" if target.is_scalar else "jacobian=, or sum the value"
            raise ValueError(f"{name}= does not fit: the value returns {kind}; use {other}.")


class Audit:
    """One audit.

    Args:
        target: the value.
        functions: its hand-written derivatives, in the order in which they are compared.
        seed: of points and directions.
        impurities: what was found of functions that answer by more than their arguments, if that
            was looked for; these are left out.
        settled: by name, the derivatives that few differences have shown to be right.
    """

    def __init__(
        self,
        target: Target,
        functions: list[UserFunction],
        seed: int,
        impurities: list[Finding] | None = None,
        settled: dict[str, DerivativeComparison] | None = None,
    ):
        self._target, self._functions, self._seed = target, functions, seed
        self._impurities, self._settled = impurities, settled or {}
        self._findings = [*target.findings, *(impurities or [])]

    def report(self) -> DerivativeReport:
        """Run the audit."""
        target = self._target
        if any(finding.severity == ERROR for finding in self._findings):
            return self._make_report([], [], None, "nothing")
        points = self._draw_points()
        if not any(map(target.has_value, points.moderate)):
            text = "the value is finite at no point around the one given."
            self._findings.append(Finding("not-finite", ERROR, "value", text))
            return self._make_report([], [], None, "nothing")
        is_settled = target.function is None and self._settle(points)
        if self._impurities is None and not is_settled:
            if not self._leave_out_impure(points.moderate[0]):
                return self._make_report([], [], None, "nothing")
            is_settled = target.function is None and len(self._settled) == len(self._functions)
        if is_settled:
            found = self._add_settled()
            sentences = self._properties(found, points)
            return self._make_report(found, sentences, None, "differences")
        if target.function is None and target.translate(points.moderate, points.extreme):
            known = self._impurities, self._settled
            return Audit(target, self._functions, self._seed, *known).report()
        sweep = _sweep(target, points, self._seed)
        reference, remarks = _choose_reference(target, self._gradient_rows(), points, sweep)
        self._findings += remarks
        settled = self._add_settled()
        others = [f for f in self._functions if f.name not in self._settled]
        compared = [self._compare(function, reference, points) for function in others]
        self._findings += check_purity(target, self._functions, points, compared)
        found = [*settled, *compared]
        return self._make_report(found, self._properties(found, points), sweep, reference.name)

    def _leave_out_impure(self, theta: np.ndarray) -> bool:
        """Leave out functions that answer by more than their arguments; False if none is left."""
        pure = []
        for function in (self._target.user_function, *self._functions):
            findings, agree = find_impurities(function, *vectors_at(theta, function.name))
            self._impurities = [*(self._impurities or []), *findings]
            self._findings += findings
            if not agree and function.name == "value":
                return False
            pure += [function] if agree and function.name != "value" else []
        self._functions = pure
        names = {function.name for function in pure}
        self._settled = {name: c for name, c in self._settled.items() if name in names}
        return bool(pure)

    def _settle(self, points: AuditPoints) -> bool:
        """Whether few differences show all the derivatives to be right, in calls that leave
        everything as it was."""
        around = [Surroundings(f) for f in (self._target.user_function, *self._functions)]
        self._settled = self._quick_comparisons(points)
        disturbed = any(any(a.changed()) or a.drawn() for a in around)
        return len(self._settled) == len(self._functions) and not disturbed

    def _draw_points(self) -> AuditPoints:
        target = self._target
        draw = partial(draw_points, target.at, target.split, seed=self._seed, dtype=target.dtype)
        if target.split is None:
            draw = partial(draw, shrink=partial(shrink_to_curvature, target.values))
        if target.function is None:
            return draw(target.has_value)
        points = draw(target.has_first_derivative)
        # Where autodiff is finite nowhere, it is enough that the value is.
        return points if target.has_first_derivative(points.moderate[0]) else draw(target.has_value)

    def _quick_comparisons(self, points: AuditPoints) -> dict[str, DerivativeComparison]:
        """The derivatives that few differences show to be right, by name."""
        found: dict[str, DerivativeComparison] = {}
        rng, gradients = np.random.default_rng(self._seed + 1), None
        for function in self._functions:
            comparison = QuickCheck(self._target, function, points, gradients, rng).comparison()
            if comparison is None:
                continue
            add_form(function, comparison)
            if function.name == DIAGONAL:
                differences = FiniteDifferences(self._target.values, points.scale, gradients)
                remark = diagonal_remark(_off_diagonal(differences, points.moderate[0]))
                comparison.findings.append(remark)
            found[function.name] = comparison
            if function.name == "gradient" and function is not self._functions[-1]:
                gradients = _gradient_rows(function, self._target.at)
        return found

    def _add_settled(self) -> list[DerivativeComparison]:
        settled = list(self._settled.values())
        self._findings += [finding for comparison in settled for finding in comparison.findings]
        return settled

    def _compare(
        self, function: UserFunction, reference: Reference, points: AuditPoints
    ) -> DerivativeComparison:
        is_wrong = any(f.kind == "wrong" for f in self._findings)
        if isinstance(reference, FiniteDifferences) and is_wrong:
            reference = replace(reference, gradients=None)  # a wrong gradient is no reference
        rng = np.random.default_rng(self._seed + 1)

        def arguments(theta: np.ndarray) -> Vectors:
            if function.name != "hvp":
                return (theta,)
            v = points.scale * rng.normal(size=theta.size)
            return theta, v.astype(self._target.dtype).astype(np.float64)

        points = self._affordable(function.name, reference, points)
        calls = [arguments(theta) for theta in points.moderate + points.extreme]
        values = reference.reference_values(function.name, calls)
        moderate, extreme = values[: len(points.moderate)], values[len(points.moderate) :]
        if isinstance(reference, Autodiff):  # differences know where slopes jump
            moderate[-1] = self._without_jumps(function.name, reference, points, moderate)
        found = compare_in_any_form(function, self._target, moderate, extreme)
        if function.name == DIAGONAL:
            remark = diagonal_remark(_off_diagonal(reference, points.moderate[0]))
            found.findings.append(remark)
        forgive_flat_value(found, points, self._target.values)
        found.findings += _verdict(found)
        self._findings += found.findings
        return found

    def _affordable(self, kind: str, reference: Reference, points: AuditPoints) -> AuditPoints:
        """Fewer points where differences at all of them would take too long."""
        if isinstance(reference, Autodiff):
            return points
        calls = reference.num_calls(kind)
        count = int(_SECONDS / (calls * self._target.seconds_per_call))
        if count >= len(points.moderate) + len(points.extreme):
            return points
        extreme = points.extreme[:_LEAST_FAR]
        most = int(np.clip(count - len(extreme), _LEAST_NEAR, len(points.moderate))) - 1
        return points._replace(
            moderate=[*points.moderate[:most], points.moderate[-1]], extreme=extreme
        )

    def _without_jumps(
        self,
        kind: str,
        reference: Reference,
        points: AuditPoints,
        moderate: list[ReferenceValue],
    ) -> ReferenceValue:
        """The user's own point, without the entries whose derivative jumps there.

        At zero, the usual start, an L1 penalty is not differentiable: any slope between those of
        the two sides is right.
        """
        given = moderate[-1]
        theta, *rest = given.vectors
        rng = np.random.default_rng(self._seed + 3)
        step = _JUMP_STEP * points.scale * rng.choice([-1, 1], len(theta))
        sides: list[Vectors] = [(theta - step, *rest), (theta + step, *rest)]
        before, after = reference.reference_values(kind, sides)
        usual = np.max([np.abs(value.expected) for value in moderate[:-1]], axis=0)
        jumps = np.abs(after.expected - before.expected) > _JUMP * usual
        if jumps.any():
            text = f"at the point given {int(jumps.sum())} entries have a kink: not compared there."
            self._findings.append(Finding("kink", NOTE, kind, text))
            given = given._replace(expected=np.where(jumps, np.nan, given.expected))
        return given

    def _properties(
        self, comparisons: list[DerivativeComparison], points: AuditPoints
    ) -> list[str]:
        target, by_name = self._target, {c.name: c for c in comparisons}
        found = model_properties(target.model)
        if "hessian" in by_name:
            found += hessian_properties(by_name["hessian"], target.layout, target.model)
        if "hvp" in by_name:
            found += hvp_properties(by_name["hvp"], by_name.get("hessian"))
        function = target.function
        if function is not None and target.is_scalar and function.num_steps <= _MAX_STEPS:
            found += self._convexity(function, points)
        return found

    def _convexity(self, function: TracedFunction, points: AuditPoints) -> list[str]:
        rng = np.random.default_rng(self._seed + 2)
        chosen = rng.integers(0, len(points.moderate) - 1, _LINES)
        theta = np.stack([points.moderate[i] for i in chosen])
        lines = points.scale * rng.normal(size=theta.shape)
        curvatures = np.sum(lines * Autodiff(function).at_rows("hvp", theta, lines), axis=1)
        return [convexity(curvatures)] if np.isfinite(curvatures).all() else []

    def _make_report(
        self,
        comparisons: list[DerivativeComparison],
        sentences: list[str],
        sweep: StepSweep | None,
        reference: str,
    ) -> DerivativeReport:
        target = self._target
        checks = (summarise(c, target.layout, target.round_off_units) for c in comparisons)
        diagnoses = self._diagnoses(comparisons)
        return DerivativeReport(
            checks=tuple(check for check in checks if check is not None),
            findings=tuple(dict.fromkeys([*target.user_function.reader.remarks, *self._findings])),
            diagnoses=tuple(diagnoses),
            properties=tuple(sentences),
            sweep=sweep,
            reference=reference,
            dtype=target.dtype,
        )

    def _diagnoses(self, comparisons: list[DerivativeComparison]) -> list[Diagnosis]:
        """What the findings say outright, then what explains the numbers."""
        found = [
            Diagnosis(f.kind, f.where, f.message, "seen when it was called", 0.0)
            for f in dict.fromkeys([*self._target.user_function.reader.remarks, *self._findings])
            if f.severity == ERROR and f.kind not in ("wrong", "not-compared")
        ]
        for comparison in comparisons:
            if not (comparison.wrong or comparison.wrong_far_out or comparison.reading):
                continue
            name = comparison.name
            function = next(f for f in self._functions if f.name == name)
            try:
                named = diagnose(self._target, comparison)
                if forgive_numerical(
                    comparison, function, self._users_functions(), self._differenced(name), named
                ):
                    self._drop_verdict(comparison)
                else:
                    found += named
            except Exception as error:  # the verdict stands, even if its explanation fails
                text = f"the diagnosis of {name} failed ({type(error).__name__}: {error})."
                self._findings.append(Finding("diagnosis-failed", WARNING, name, text))
        return found

    def _differenced(self, kind: str) -> BatchedFunction | None:
        """The function of which a derivative is the first derivative."""
        if kind in ("gradient", "jacobian"):
            return self._target.values
        if self._target.function is not None:
            return partial(Autodiff(self._target.function).at_rows, "gradient")
        return self._gradient_rows()

    def _gradient_rows(self) -> BatchedFunction | None:
        """The hand-written gradient, if there is one, at the rows of an array."""
        gradient = next((f for f in self._functions if f.name == "gradient"), None)
        return None if gradient is None else _gradient_rows(gradient, self._target.at)

    def _users_functions(self) -> list[Callable[..., Any]]:
        return [self._target.user_function.function, *(f.function for f in self._functions)]

    def _drop_verdict(self, comparison: DerivativeComparison) -> None:
        """A derivative that is not wrong after all, but approximate."""
        self._findings = [
            f for f in self._findings if f.kind != "wrong" or f.where != comparison.name
        ] + comparison.findings[-1:]


def _off_diagonal(reference: Reference, theta: np.ndarray) -> float:
    """The largest entry of the Hessian off its diagonal; NaN where that would take long."""
    if theta.size > (_MAX_HESSIAN if isinstance(reference, Autodiff) else _MAX_DIFFERENCED):
        return float("nan")
    if isinstance(reference, Autodiff):
        matrix = reference("hessian", theta)
    else:
        matrix = reference.at("hessian", theta).expected
    return float(np.max(np.abs(matrix - np.diag(np.diagonal(matrix))), initial=0.0))


def _verdict(found: DerivativeComparison) -> list[Finding]:
    name = found.name
    if found.wrong or found.wrong_far_out:
        where = "" if found.wrong else " far out"
        return [Finding("wrong", ERROR, name, f"{name} is wrong{where}.")]
    if found.moderate or any(f.severity == ERROR for f in found.findings):
        return []
    text = f"{name} could not be compared: the reference is finite nowhere."
    return [Finding("not-compared", ERROR, name, text)]


def _sweep(target: Target, points: AuditPoints, seed: int) -> StepSweep | None:
    """Differences of the value against its autodiff; None if one of them is missing."""
    if target.function is None or not target.is_scalar:
        return None
    theta = points.moderate[0]
    slope = Autodiff(target.function)("gradient", theta)
    if not np.isfinite(slope).all():
        return None

    def value(theta: Any) -> Any:
        return target.complex_value(theta).reshape(())

    complex_value = None if target.is_translated else value
    return sweep_steps(target.values, complex_value, theta, points.scale, slope, seed)


def _choose_reference(
    target: Target,
    gradients: BatchedFunction | None,
    points: AuditPoints,
    sweep: StepSweep | None,
) -> tuple[Reference, list[Finding]]:
    """Autodiff, unless there is none, or differences of the value contradict it.

    The hand-written gradient, if there is one, is differenced for second derivatives.
    """
    differences = FiniteDifferences(target.values, points.scale, gradients)
    if target.function is None:
        return differences, []
    autodiff = Autodiff(target.function)
    theta = points.moderate[0]
    slope = autodiff(target.first_derivative, theta)
    if not np.isfinite(slope).any():
        text = "autodiff of the value is not finite where the value is (a jnp.where that hides NaN?): differences are the reference."  # noqa: E501
        return differences, [Finding("reference-not-finite", NOTE, "value", text)]
    if sweep is not None:
        worst = sweep.worst_coordinate[0] if sweep.coordinates else 0.0
        if max(sweep.best_error, worst) < _CONFIRMED:
            return autodiff, []
    if target.at.size > _MAX_EXTRAPOLATED or target.function.has_float32_inside:
        return autodiff, []
    found = differences.at(target.first_derivative, theta)
    largest = float(np.max(np.abs(found.expected), initial=0.0))
    size = np.abs(found.expected) + 1e-3 * largest
    if not np.any(np.abs(found.expected - slope) > found.error + _CONTRADICTED * size):
        return autodiff, []
    text = "JAX's derivative of the value is not that of its numbers (a custom rule, a stop_gradient or a rounding step in it?): differences are the reference."  # noqa: E501
    return differences, [Finding("autodiff-differs", ERROR, "value", text)]


def _gradient_rows(
    gradient: UserFunction, at: np.ndarray
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The hand-written gradient at the rows of an array; None if it fails at the user's point."""
    if gradient.attempt(at, dtype="float64") is None:
        return None

    def at_point(theta: np.ndarray) -> np.ndarray:
        found = gradient.attempt(theta, dtype="float64")  # None outside its domain
        return np.full(at.shape, np.nan) if found is None else found

    return lambda points: np.stack([at_point(p) for p in points])
