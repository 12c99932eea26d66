"""The audit of derivatives: ``check_derivatives`` and ``assert_derivatives``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.pipeline import Audit
from jax_logreg.audit.pytree_layout import PytreeLayout, make_layout
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.target import Target
from jax_logreg.audit.traced import keeps_traces, without_jit
from jax_logreg.audit.user_calls import DERIVATIVES, UserFunction


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
    """Check hand-written derivatives of any function, and say what is wrong with them.

    Each is compared with autodiff of the value, entry by entry, at seeded random points
    around ``at``; and autodiff with central differences of the value over a range of steps
    and with the complex step. What differs by more than round-off is diagnosed:
    explanations are tried until one reproduces the hand-written numbers.

    Args:
        value: value(θ, *args), a number, or an array if ``jacobian`` is given. It may be
            plain NumPy code: then finite differences are the reference.
        gradient: gradient(θ, *args), of the structure of θ, or flat.
        hessian: hessian(θ, *args), (P, P), or nested as by ``jax.hessian``.
        hvp: hvp(θ, v, *args), of the structure of θ, or flat.
        jacobian: jacobian(θ, *args), of the shape of the value followed by that of θ.
        at: a point θ, any pytree of arrays. It gives structure, precision (NumPy's and
            Python's floats are float64 whatever JAX's setting) and a rough scale.
        args: further arguments of all the functions.
        names: a name for every entry of θ; or in place of each array of θ a list with
            the names along each axis (``{"coef": [features, classes]}``).
        numpy: call the hand-written functions with NumPy arrays, not JAX's.
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
    flat, layout, dtype = _flatten_point(_as_array(at), names)
    _check_arguments(value, given, args)
    users_own = [value, *given.values()]
    value, given = without_jit(value), {name: without_jit(f) for name, f in given.items()}
    # Overflow and 0/0 far out are findings, not warnings.
    with jax.enable_x64(True), np.errstate(all="ignore"):
        target = Target(value, flat, layout, dtype, tuple(args))
        _check_kinds(target, given)
        derivatives = [
            UserFunction(name, given[name], layout, tuple(args), numpy, target.out_shape)
            for name in DERIVATIVES
            if name in given
        ]
        report = Audit(target, derivatives, seed).report()
    if any(map(keeps_traces, users_own)):
        jax.clear_caches()
    return report


def assert_derivatives(value: Callable[..., Any], **options: Any) -> None:
    """:func:`check_derivatives` for a test suite.

    Args:
        value: see :func:`check_derivatives`.
        **options: its other arguments.

    Raises:
        AssertionError: with the report, if a derivative is wrong.
        ValueError: for a call that makes no sense.

    >>> assert_derivatives(lambda t: jnp.sum(t**3), gradient=lambda t: 3 * t**2, at=np.ones(2))
    """
    report = check_derivatives(value, **options)
    if not report.ok:
        raise AssertionError(f"\n{report}")


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


def _check_arguments(value: Any, given: dict[str, Any], args: Any) -> None:
    if not given:
        raise ValueError("give at least one of gradient=, hessian=, hvp=, jacobian= to check.")
    for name, function in {"value": value, **given}.items():
        if not callable(function):
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
            other = "gradient=" if target.is_scalar else "jacobian="
            raise ValueError(f"{name}= does not fit: the value returns {kind}; use {other}.")
