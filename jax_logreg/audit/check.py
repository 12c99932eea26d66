"""The audit of anyone's derivatives: ``check_derivatives`` and ``assert_derivatives``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.auditor import Auditor
from jax_logreg.audit.calls import DERIVATIVES, Caller
from jax_logreg.audit.layout import Layout, make_layout
from jax_logreg.audit.program import keeps_traces, without_jit
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.subject import Subject


def check_derivatives(
    value: Callable[..., Any],
    *,
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
    """Audit hand-written derivatives of any function, and say what is wrong with them.

    Each is held against autodiff of the value, entry by entry, at seeded random points
    around ``at``, and autodiff against differences of the value over a sweep of steps
    and the complex step. What differs by more than round-off is diagnosed: explanations
    are tried until one reproduces the hand-written numbers.

    Args:
        value: value(θ, *args), a number, or an array where ``jacobian`` is given. Plain
            NumPy code will do: then differences are the reference.
        gradient: gradient(θ, *args), of the structure of θ, or flat.
        hessian: hessian(θ, *args), (P, P), or as ``jax.hessian`` lays it out.
        hvp: hvp(θ, v, *args), of the structure of θ, or flat.
        jacobian: jacobian(θ, *args), of the shape of the value and then of θ.
        at: a point θ, any pytree of arrays. It gives structure, precision (NumPy's and
            Python's floats are float64 whatever JAX's setting) and a rough scale.
        args: what the functions take beside θ.
        names: a name for every entry of θ; or in place of each array of θ a list with
            the names along each axis (``{"coef": [features, classes]}``).
        numpy: call the hand-written functions with NumPy arrays, not JAX's.
        seed: of the points.

    Returns:
        A report; print it, or ask ``.ok`` and ``.diagnoses``. Nothing that the functions
        do is raised from here: it becomes a finding of the report.

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
    flat, layout, dtype = _point(_as_array(at), names)
    _refuse_nonsense(value, given, args)
    functions_given = [value, *given.values()]
    value, given = without_jit(value), {name: without_jit(f) for name, f in given.items()}
    # Overflow and 0/0 far out are findings, not warnings.
    with jax.enable_x64(True), np.errstate(all="ignore"):
        subject = Subject(value, flat, layout, dtype, tuple(args))
        _refuse_wrong_kind(subject, given)
        callers = [
            Caller(name, given[name], layout, tuple(args), numpy, subject.out_shape)
            for name in DERIVATIVES
            if name in given
        ]
        report = Auditor(subject, callers, seed).report()
    if any(map(keeps_traces, functions_given)):
        jax.clear_caches()
    return report


def assert_derivatives(value: Callable[..., Any], **options: Any) -> None:
    """:func:`check_derivatives` for a test suite.

    Args:
        value: as there.
        **options: as there.

    Raises:
        AssertionError: with the report, when a derivative is wrong.

    >>> assert_derivatives(lambda t: jnp.sum(t**3), gradient=lambda t: 3 * t**2, at=np.ones(2))
    """
    report = check_derivatives(value, **options)
    if not report.ok:
        raise AssertionError(f"\n{report}")


def _as_array(at: Any) -> Any:
    """A list of numbers, or of rows of numbers, is meant as an array, not as a pytree."""
    leaves = jax.tree.leaves(at)
    kinds = {type(leaf) for leaf in leaves}
    if not isinstance(at, list) or not leaves or not kinds <= {int, float}:
        return at
    try:
        return np.asarray(at, np.float64)
    except ValueError:  # rows of different lengths: a pytree after all
        return at


def _point(at: Any, names: Any) -> tuple[np.ndarray, Layout, str]:
    """θ as a flat float64 vector, its layout, and the precision it came in."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(at)]
    if at is None or not leaves or not sum(leaf.size for leaf in leaves):
        raise ValueError("at= must be a point: an array, or a pytree of arrays, of parameters.")
    kinds = [leaf.dtype for leaf in leaves]
    if not all(jnp.issubdtype(k, jnp.floating) or jnp.issubdtype(k, jnp.integer) for k in kinds):
        raise ValueError(f"at= must hold real numbers, but it has {sorted(map(str, kinds))}.")
    floats = [k for k in kinds if jnp.issubdtype(k, jnp.floating)]
    dtype = max(floats, key=lambda k: jnp.finfo(k).bits).name if floats else "float64"
    flat = np.concatenate([leaf.astype(np.float64).ravel() for leaf in leaves])
    if not np.isfinite(flat).all():
        raise ValueError("at= must be finite: give a point at which the value is defined.")
    return flat, make_layout(at, names), dtype


def _refuse_nonsense(value: Any, given: dict[str, Any], args: Any) -> None:
    if not given:
        raise ValueError("give at least one of gradient=, hessian=, hvp=, jacobian= to check.")
    for name, function in {"value": value, **given}.items():
        if not callable(function):
            raise ValueError(f"{name}= must be a function, but it is {function!r}.")
    if not isinstance(args, tuple | list):
        raise ValueError(f"args= must be a tuple, but it is a {type(args).__name__}.")


def _refuse_wrong_kind(subject: Subject, given: dict[str, Any]) -> None:
    if subject.findings and subject.program is None and not subject.out_shape:
        return  # the value itself did not answer
    for name in given:
        if (name == "jacobian") == subject.is_scalar and subject.out_shape != (1,):
            kind = f"shape {subject.out_shape}" if subject.out_shape else "a single number"
            other = "gradient=" if subject.is_scalar else "jacobian="
            raise ValueError(f"{name}= does not fit: the value returns {kind}; use {other}.")
