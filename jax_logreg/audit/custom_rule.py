"""Audit of ``custom_jvp`` and ``custom_vjp`` rules: they are hand-written derivatives too.

The value is the function with its rules taken out, which autodiff and differences can
differentiate by themselves. What a rule makes of ``jax.vjp``, ``jax.jvp`` and of a second
derivative is compared with that. A rule can be wrong where its derivatives at one point are
right: it may not be linear, return another value than the function, or fail in a batch.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding
from jax_logreg.audit.purity import is_same
from jax_logreg.audit.reference import hvp
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.returned import first_line
from jax_logreg.audit.traced import keeps_traces, without_jit
from jax_logreg.audit.user_calls import argument_names
from jax_logreg.audit.without_rules import has_rules, without_rules

REVERSE, FORWARD, SECOND = MODES = "reverse", "forward", "second order"
_NEED = {REVERSE: "reverse mode", FORWARD: "forward mode", SECOND: "second derivative"}
_INPUT = {REVERSE: "cotangent", FORWARD: "tangent", SECOND: "tangent"}
# More outputs than this are summed with random weights; for more arguments there is no
# Jacobian column by column, and in place of a Hessian there are products with vectors.
_MAX_OUTPUTS, _MAX_ARGUMENTS, _MAX_HESSIAN = 100, 100, 10
# Relative error up to which a rule is linear, gives the same in a batch, and the same value.
_SAME = 1e-5
_BATCH = 3


def check_rule(f: Callable[..., Any], *args: Any, seed: int = 0) -> DerivativeReport:
    """Check the ``custom_jvp`` and ``custom_vjp`` rules of a JAX function.

    What the rules say is compared with autodiff and differences of the same function without
    them: in reverse and forward mode, and differentiated once more. They must also be linear
    in the tangent or cotangent, return the function's own value, and give the same under
    :func:`jax.vmap`.

    Args:
        f: a function with a rule, or one that uses such functions, jitted or not. Its
            outputs may be any pytree. JAX's own rules (``jax.nn.relu``) are taken as given.
        *args: arguments at which it is defined, any pytrees. Floating-point arrays and
            numbers in them vary; all else, and ``nondiff_argnums``, is kept.
        seed: of the points.

    Returns:
        A report, whose checks are called "reverse", "forward" and "second order". A mode in
        which the rule cannot be used is a note or a warning there, no error.

    Raises:
        ValueError: if there is no rule, or nothing to differentiate.
        Exception: whatever f raises where it is called without derivatives.

    >>> @jax.custom_vjp
    ... def product(x, y):
    ...     return x * y
    >>> product.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, g: (g * saved[1], g))
    >>> report = check_rule(product, 2.0, 3.0)
    >>> report.ok, report.checks[0].name, report.checks[0].worst[0].name
    (False, 'reverse', 'y')
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        report = _make_rule(f, args, seed).report()
    if keeps_traces(f):
        jax.clear_caches()
    return report


def _make_rule(f: Callable[..., Any], args: tuple[Any, ...], seed: int) -> "_Rule":
    if not callable(f):
        raise ValueError(f"f must be a function, but it is {f!r}.")
    fixed = getattr(without_jit(f), "nondiff_argnums", ())
    names = argument_names(f, 0, len(args))
    at = {
        name: None if i in fixed else jax.tree.map(lambda x: x if _is_float(x) else None, arg)
        for i, (name, arg) in enumerate(zip(names, args, strict=True))
    }
    if not jax.tree.leaves(at):
        given = ", ".join(type(arg).__name__ for arg in args) or "none"
        raise ValueError(f"args must have floating-point numbers or arrays, but are: {given}.")
    rule = _Rule(f, args, names, at, seed)
    if not (has_rules(partial(rule.outputs, f), at) if rule.is_traceable else rule.is_rule):
        raise ValueError("f uses no custom_jvp or custom_vjp: its derivatives are JAX's own.")
    return rule


class _LinearMap(NamedTuple):
    """What the rules make of tangents or cotangents at one point.

    Attributes:
        apply: to one vector.
        example: of such a vector.
        value: of the function, as the rules return it.
    """

    apply: Callable[[jax.Array], jax.Array]
    example: jax.Array
    value: jax.Array

    def directions(self, seed: int) -> jax.Array:
        """Two random vectors."""
        rng = np.random.default_rng(seed)
        return jnp.asarray(rng.normal(size=(2, self.example.size)), self.example.dtype)


@dataclass(frozen=True)
class _Rule:
    """A function with rules, as a vector function of those arguments that vary.

    Attributes:
        function: as the user wrote it.
        args: its arguments.
        names: of these.
        at: those that vary, by name, with None in place of what does not.
        seed: of points and weights.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    names: list[str]
    at: dict[str, Any]
    seed: int

    @property
    def is_rule(self) -> bool:
        """Whether the function is decorated, not only a caller of such functions."""
        return isinstance(without_jit(self.function), jax.custom_jvp | jax.custom_vjp)

    def outputs(self, function: Callable[..., Any], at: dict[str, Any]) -> jax.Array:
        """The floating-point outputs in one vector; very many as one weighted sum."""
        varying = tuple(at[name] for name in self.names)
        given = jax.tree.map(_either, varying, self.args, is_leaf=lambda leaf: leaf is None)
        found = [jnp.ravel(x) for x in jax.tree.leaves(function(*given)) if _is_inexact(x)]
        if not found:
            raise ValueError("f must return floating-point numbers or arrays, but returns none.")
        flat = jnp.concatenate(found)
        return flat if flat.size <= _MAX_OUTPUTS else self.weighted(flat)[None]

    def weighted(self, outputs: jax.Array) -> jax.Array:
        """A sum of the outputs with random weights; a single one as it is."""
        if outputs.size == 1:
            return outputs.reshape(())
        weights = np.random.default_rng(self.seed).uniform(0.5, 2.0, outputs.size)
        return jnp.vdot(jnp.asarray(weights, outputs.dtype), outputs)

    def body(self, at: dict[str, Any]) -> jax.Array:
        """The outputs without the rules."""
        if self.is_rule and not self.is_traceable:
            return self.outputs(inspect.unwrap(self.function), at)
        return without_rules(partial(self.outputs, self.function))(at)

    @cached_property
    def is_traceable(self) -> bool:
        """Whether it has a jaxpr: not if it branches on values."""
        try:
            jax.make_jaxpr(partial(self.outputs, self.function))(self.at)
        except jax.errors.JAXTypeError:
            return False
        return True

    def linear_map(self, mode: str, at: dict[str, Any]) -> _LinearMap:
        """The map of (co)tangents of a mode at a point."""
        flat, unravel = ravel_pytree(at)

        def outputs(v: jax.Array) -> jax.Array:
            return self.outputs(self.function, unravel(v))

        if mode == REVERSE:
            value, pull = jax.vjp(outputs, flat)
            return _LinearMap(lambda c: pull(c)[0], value, value)
        if mode == FORWARD:
            value = jax.jvp(outputs, (flat,), (flat,))[0]
            return _LinearMap(lambda t: jax.jvp(outputs, (flat,), (t,))[1], flat, value)
        scalar = partial(hvp, lambda v: self.weighted(outputs(v)), flat)
        return _LinearMap(scalar, flat, outputs(flat))

    def matrix(self, mode: str, at: dict[str, Any]) -> jax.Array:
        """The Jacobian or Hessian that the rules give, a row an output."""
        linear = self.linear_map(mode, at)
        units = jnp.eye(linear.example.size, dtype=linear.example.dtype)
        return jnp.stack([linear.apply(u) for u in units], axis=-1 if mode == FORWARD else 0)

    def first_derivative(self, mode: str, at: dict[str, Any]) -> Any:
        """The Jacobian, or the gradient of a single output, in the structure of the point."""
        unravel, rows = ravel_pytree(at)[1], self.matrix(mode, at)
        return unravel(rows[0]) if len(rows) == 1 else jax.vmap(unravel)(rows)

    def product(self, at: dict[str, Any], vector: Any) -> jax.Array:
        """Second derivatives of the weighted outputs times a vector."""
        return self.linear_map(SECOND, at).apply(ravel_pytree(vector)[0])

    def report(self) -> DerivativeReport:
        """All modes in one report; in one of the first order the rules must be usable."""
        problems = {mode: self._problem(mode) for mode in MODES}
        usable = [mode for mode in MODES if problems[mode] is None]
        if not {REVERSE, FORWARD} & set(usable):
            problems[REVERSE] = None  # its audit says what is raised
            return _merged([self._audit(REVERSE)], [])
        findings = [problem for problem in problems.values() if problem is not None]
        for mode in usable:
            findings += self._same_value(mode) + self._linearity(mode)
        findings += self._batch(usable[0])
        if REVERSE in usable and ravel_pytree(self.at)[0].size > _MAX_ARGUMENTS:
            usable = [mode for mode in usable if mode != FORWARD]  # the transpose of reverse mode
        return _merged([self._audit(mode) for mode in usable], findings)

    def _problem(self, mode: str) -> Finding | None:
        """Why the rules cannot be used in a mode."""
        try:
            linear = self.linear_map(mode, self.at)
            linear.apply(linear.directions(self.seed)[0])
        except Exception as error:
            severity = NOTE if mode == FORWARD else WARNING
            text = f"there is no {_NEED[mode]} ({first_line(error)})."
            return Finding("unavailable", severity, mode, text)
        return None

    def _audit(self, mode: str) -> DerivativeReport:
        check = partial(check_derivatives, at=self.at, seed=self.seed)
        hand: dict[str, Any]
        if mode == SECOND:
            small = ravel_pytree(self.at)[0].size <= _MAX_HESSIAN
            hand = {"hessian": partial(self.matrix, mode)} if small else {"hvp": self.product}
            return _renamed(check(lambda at: self.weighted(self.body(at)), **hand), mode)
        first = partial(self.first_derivative, mode)
        if self.outputs(self.function, self.at).size > 1:
            return _renamed(check(self.body, jacobian=first), mode)
        hand = {"gradient": first}
        return _renamed(check(lambda at: self.body(at)[0], **hand), mode)

    def _same_value(self, mode: str) -> list[Finding]:
        found, expected = self.linear_map(mode, self.at).value, self.body(self.at)
        if is_same(found, expected, _SAME):
            return []
        error = float(jnp.max(jnp.abs(found - expected)))
        text = f"with the rule the function returns another value, off by up to {error:.2g}."
        return [Finding("value", ERROR, mode, text)]

    def _linearity(self, mode: str) -> list[Finding]:
        """A rule that squares its tangent is right for unit vectors, and wrong."""
        linear = self.linear_map(mode, self.at)
        first, second = linear.directions(self.seed)
        one, other = linear.apply(first), linear.apply(second)
        found = linear.apply(0.7 * second - 1.5 * first)
        if is_same(found, 0.7 * other - 1.5 * one, _SAME):
            return []
        what = _INPUT[mode]
        text = f"the rule is not linear in its {what}: 2·{what} must give twice as much."
        if is_same(one, other, _SAME) and is_same(found, one, _SAME):
            text = f"the rule ignores its {what}: it gives the same whatever that is."
        return [Finding("not-linear", ERROR, mode, text)]

    def _batch(self, mode: str) -> list[Finding]:
        """The rules under :func:`jax.vmap`, against one point after another."""
        flat, unravel = ravel_pytree(self.at)
        rng = np.random.default_rng(self.seed)
        size = float(jnp.max(jnp.abs(flat))) or 1.0
        points = flat + 0.01 * size * jnp.asarray(rng.normal(size=(_BATCH, flat.size)), flat.dtype)

        def derivative(point: jax.Array) -> jax.Array:
            linear = self.linear_map(mode, unravel(point))
            return linear.apply(jnp.ones_like(linear.example))

        singly = jnp.stack([derivative(point) for point in points])
        try:
            together = jax.vmap(derivative)(points)
        except Exception as error:
            text = f"it fails under jax.vmap ({first_line(error)})."
            return [Finding("vmap", WARNING, mode, text)]
        if is_same(together, singly, _SAME):
            return []
        return [Finding("vmap", ERROR, mode, "under jax.vmap the rule gives something else.")]


def _merged(reports: list[DerivativeReport], findings: list[Finding]) -> DerivativeReport:
    """The reports of all modes in one; what the rules do besides comes before the numbers."""
    everything = [f for report in reports for f in report.findings]
    return replace(
        reports[0],
        checks=tuple(check for report in reports for check in report.checks),
        findings=tuple(dict.fromkeys(findings + everything)),
        diagnoses=tuple(d for report in reports for d in report.diagnoses),
        properties=tuple(dict.fromkeys(s for report in reports for s in report.properties)),
    )


def _renamed(report: DerivativeReport, mode: str) -> DerivativeReport:
    """A report of a "gradient", say, as one of reverse mode."""

    def named(item: Any) -> Any:
        old = item.where
        if old == "value":
            return item
        message = item.message
        start = f"{old} "
        if message.startswith(start):
            message = f"{mode} {message.removeprefix(start)}"
        return item._replace(where=mode, message=message)

    return replace(
        report,
        checks=tuple(replace(check, name=mode) for check in report.checks),
        findings=tuple(map(named, report.findings)),
        diagnoses=tuple(map(named, report.diagnoses)),
    )


def _either(varying: Any, given: Any) -> Any:
    return given if varying is None else varying


def _is_float(x: Any) -> bool:
    return isinstance(x, float) or jnp.issubdtype(getattr(x, "dtype", None) or object, jnp.floating)


def _is_inexact(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)
