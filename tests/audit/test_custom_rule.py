"""Rules of ``custom_jvp`` and ``custom_vjp``: what the audit says of right and wrong ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives
from jax_logreg.audit.custom_rule import check_rule
from jax_logreg.audit.without_rules import has_rules, without_rules


def with_vjp(body, forward, backward, **how):
    rule = jax.custom_vjp(body, **how)
    rule.defvjp(forward, backward)
    return rule


def with_jvp(body, rule):
    decorated = jax.custom_jvp(body)
    decorated.defjvp(rule)
    return decorated


def named(report):
    return {check.name: check.agrees for check in report.checks}


def error_kinds(report):
    return {(f.where, f.kind) for f in report.findings if f.severity == "error"}


def softplus_rule(primals, tangents):
    (x,), (t,) = primals, tangents
    return softplus(x), (1 - 1 / (1 + jnp.exp(x))) * t


softplus = with_jvp(lambda x: jnp.log(1 + jnp.exp(x)), softplus_rule)


@pytest.mark.parametrize("at", [2.0, np.array([0.3, -1.0]), np.array([0.5], np.float32)])
def test_a_right_rule_is_right_in_every_mode(at):
    report = check_rule(softplus, at)
    assert report.ok, report
    assert named(report) == {"reverse": True, "forward": True, "second order": True}
    assert not report.diagnoses


def test_a_rule_without_forward_mode_is_right():
    square = with_vjp(lambda x: x**2, lambda x: (x**2, x), lambda x, g: (2 * x * g,))
    report = check_rule(square, 3.0)
    assert report.ok
    assert named(report) == {"reverse": True, "second order": True}
    assert [(f.kind, f.severity) for f in report.findings] == [("unavailable", "note")]


def test_a_second_derivative_alone_can_be_wrong():
    """The residual is cut off from the second derivative, the first one is right."""
    cube = with_vjp(
        lambda x: x**3, lambda x: (x**3, jax.lax.stop_gradient(x)), lambda x, g: (3 * x**2 * g,)
    )
    report = check_rule(cube, 2.0)
    assert named(report) == {"reverse": True, "second order": False}
    assert (report.diagnosis.where, report.diagnosis.kind) == ("second order", "zero")


def test_a_rule_that_ignores_its_cotangent_is_found():
    """For a cotangent of one its numbers are right."""
    sine = with_vjp(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, g: (jnp.cos(x),))
    report = check_rule(sine, 2.0)
    assert named(report)["reverse"]
    assert ("reverse", "not-linear") in error_kinds(report)
    assert "ignores its cotangent" in str(report)


@pytest.mark.parametrize("change", [lambda t: t**2, jnp.abs, lambda t: t + 1e-3])
def test_a_rule_that_is_not_linear_in_its_tangent_is_found(change):
    sine = with_jvp(jnp.sin, lambda p, t: (jnp.sin(p[0]), jnp.cos(p[0]) * change(t[0])))
    assert ("forward", "not-linear") in error_kinds(check_rule(sine, 2.0))


def test_a_cotangent_that_is_forgotten_is_named_by_its_argument():
    """One of two outputs contributes nothing, one of two arguments gets nothing."""

    def body(p, x):
        return {"out": p["w"] @ x, "size": jnp.sum(p["w"] ** 2)}

    def backward(saved, g):
        x = saved[1]
        return {"w": jnp.outer(g["out"], x)}, None

    layer = with_vjp(body, lambda p, x: (body(p, x), (p, x)), backward)
    report = check_rule(layer, {"w": np.arange(4.0).reshape(2, 2)}, np.ones(2))
    assert not named(report)["reverse"]
    worst = {entry.name for entry in report.checks[0].worst}
    assert worst <= {f"output {i}, {name}" for i in range(3) for name in (
        "p.w[0, 0]", "p.w[0, 1]", "p.w[1, 0]", "p.w[1, 1]", "x[0]", "x[1]")}  # fmt: skip
    assert report.checks[0].num_wrong == 4 + 4  # ∂out/∂x, and ∂size/∂w


def test_another_value_under_differentiation_is_found():
    shifted = with_vjp(
        lambda x: jnp.sum(jnp.log(x + 1)),
        lambda x: (jnp.sum(jnp.log(x)), x),
        lambda x, g: (g / (x + 1),),
    )
    report = check_rule(shifted, np.ones(2))
    assert named(report)["reverse"]
    assert ("reverse", "value") in error_kinds(report)


def test_arguments_that_do_not_vary_are_kept():
    """A function, an integer, and an array of integers; names are those of the signature."""

    def body(f, x, n, rows, scale):
        return f(x)[rows] * n * scale

    def backward(f, n, saved, g):
        x, rows, scale = saved
        out = jnp.zeros_like(x).at[rows].add(g * n * scale)
        return out * jnp.cos(x), None, jnp.sum(g * f(x)[rows]) * n

    take = with_vjp(
        body,
        lambda f, x, n, rows, scale: (body(f, x, n, rows, scale), (x, rows, scale)),
        backward,
        nondiff_argnums=(0, 2),
    )
    given = jnp.sin, np.array([0.3, 0.4, 0.7]), 3, np.array([0, 2, 2]), 1.5
    assert check_rule(take, *given).ok
    wrong = with_vjp(
        body,
        lambda f, x, n, rows, scale: (body(f, x, n, rows, scale), (x, rows, scale)),
        lambda f, n, saved, g: (*backward(f, n, saved, g)[:2], 0.5),
        nondiff_argnums=(0, 2),
    )
    report = check_rule(wrong, *given)
    assert {entry.name.split(", ")[1] for entry in report.checks[0].worst} == {"scale"}


def test_rules_inside_a_jitted_loop_are_found():
    square = with_vjp(lambda x: x**2, lambda x: (x**2, x), lambda x, g: (3 * x * g,))

    @jax.jit
    def nested(x):
        x, _ = jax.lax.scan(lambda c, _: (square(jnp.sin(c)), None), x, None, length=2)
        return jax.checkpoint(lambda c: jax.lax.cond(c[0] > 2, jnp.sin, square, c))(x)

    at = jnp.array([0.3, 0.4])
    assert has_rules(nested, at)
    assert not has_rules(without_rules(nested), at)
    assert np.allclose(without_rules(nested)(at), nested(at))
    report = check_rule(nested, at)
    assert not report.ok
    assert report.dtype == "float32"
    assert nested(at).dtype == jnp.float32  # its trace is not left in the audit's precision


def test_a_rule_that_branches_on_values_is_checked_by_differences():
    def body(x):
        return x**2 if x > 0 else -x

    branching = with_jvp(body, lambda p, t: (body(p[0]), (2 * p[0] if p[0] > 0 else -1) * t[0]))
    report = check_rule(branching, 2.0)
    assert report.ok
    assert ("vmap", "warning") in {(f.kind, f.severity) for f in report.findings}


def test_what_differs_under_vmap_is_found():
    """The callback takes its batch for one vector."""

    def callback(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x: x - np.mean(x), shape, x, vmap_method="expand_dims")

    centre = with_vjp(
        lambda x: x - jnp.mean(x), lambda x: (x - jnp.mean(x), ()), lambda _, g: (callback(g),)
    )
    weighted = np.array([1.0, 2.0, 5.0])
    report = check_rule(lambda x: jnp.sum(centre(x) ** 2 * weighted), np.array([0.3, 0.5, 0.9]))
    assert named(report)["reverse"]
    assert ("reverse", "vmap") in error_kinds(report)


def test_many_outputs_and_arguments_are_one_sum_and_products():
    tanh = with_vjp(jnp.tanh, lambda x: (jnp.tanh(x), x), lambda x, g: (g / jnp.cosh(x) ** 2,))
    report = check_rule(tanh, np.linspace(-1, 1, 300))
    assert report.ok
    assert [check.num_entries for check in report.checks] == [300, 300]


def test_a_rule_that_raises_is_reported():
    broken = with_vjp(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, g: (jnp.ones(7),))
    report = check_rule(broken, 2.0)
    assert ("reverse", "raises") in error_kinds(report)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_rule(jnp.sin, 1.0), "uses no custom_jvp"),
        (lambda: check_rule(jax.nn.relu, 1.0), "uses no custom_jvp"),
        (lambda: check_rule(softplus, 1), "floating-point"),
        (lambda: check_rule(softplus), "floating-point"),
        (lambda: check_rule("f", 1.0), "must be a function"),
        (lambda: check_rule(lambda x: jnp.round(softplus(x)).astype(int), 1.0), "must return"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_rules_of_defjvps_are_the_users_own():
    """They are made in a file of JAX."""
    scaled = jax.custom_jvp(lambda x, y: x**2 * y)
    scaled.defjvps(None, lambda t, _, x, y: 2 * x**2 * t)
    report = check_rule(scaled, 2.0, 3.0)
    assert {d.where for d in report.diagnoses} == {"reverse", "forward", "second order"}
    right = jax.custom_jvp(lambda x, y: x**2 * y)
    right.defjvps(lambda t, _, x, y: 2 * x * y * t, lambda t, _, x, y: x**2 * t)
    assert check_rule(right, 2.0, 3.0).ok  # the same text, another rule


def test_who_gives_a_rule_and_no_derivative_is_sent_here():
    with pytest.raises(ValueError, match="check_rule"):
        check_derivatives(softplus, at=1.0)


def test_partial_and_methods_have_their_own_arguments():
    scaled = partial(lambda c, x: c * softplus(x), 2.0)
    assert check_rule(scaled, 0.5).ok
