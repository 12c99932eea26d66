"""Functions that return (value, gradient)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import assert_derivatives, check_derivatives
from jax_logreg.audit.value_and_grad import SharedCalls

AT = np.array([0.4, -0.7, 1.1])


def both(t):
    return np.sum(np.sin(t) * t), np.cos(t) * t + np.sin(t)


def in_jax(t):
    return jnp.sum(jnp.sin(t) * t)


@pytest.mark.parametrize(
    ("function", "numpy"),
    [
        (both, True),
        (both, False),
        (lambda t: list(both(t)), True),
        (jax.value_and_grad(in_jax), False),
        (jax.jit(jax.value_and_grad(in_jax)), False),
        (jax.value_and_grad(lambda t: (in_jax(t), t), has_aux=True), False),
    ],
)
def test_one_function_for_both(function, numpy):
    assert_derivatives(value_and_grad=function, at=AT, numpy=numpy)
    report = check_derivatives(
        value_and_grad=lambda t: (function(t)[0], -function(t)[1]), at=AT, numpy=numpy
    )
    assert report.diagnosis.kind == "sign"


def test_a_hessian_beside_it():
    assert_derivatives(value_and_grad=both, hessian=jax.hessian(in_jax), at=AT)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda t: both(t)[0], "value_and_grad returns a float64 where (value, gradient)"),
        (lambda t: both(t)[::-1], "value_and_grad returns (array, number) where"),
        (lambda t: (*both(t), 1), "value_and_grad returns a tuple of 3 where"),
        (lambda t: None, "value_and_grad returns a NoneType where"),
    ],
)
def test_something_else_than_a_pair(function, words):
    report = check_derivatives(value_and_grad=function, at=AT, numpy=True)
    assert report.verdict == "could not be checked"
    assert words in report.findings[0].message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": in_jax, "value_and_grad": both}, "give either value_and_grad="),
        ({"gradient": in_jax, "value_and_grad": both}, "give either value_and_grad="),
        ({"gradient": in_jax}, "give the value, or value_and_grad="),
        ({"value_and_grad": 3}, "value_and_grad= must be a function"),
    ],
)
def test_a_call_that_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        check_derivatives(at=AT, **options)


def test_one_evaluation_serves_both_once():
    calls = []
    shared = SharedCalls(lambda t: (calls.append(1), both(t))[1])
    shared.value(AT), shared.gradient(AT)
    assert len(calls) == 1
    shared.gradient(AT), shared.gradient(AT)  # the same again is a new call
    assert len(calls) == 3
    shared.value(AT + 1), shared.gradient(AT)
    assert len(calls) == 5


def test_state_is_found_through_the_shared_calls():
    calls = []

    def stateful(t):
        calls.append(1)
        value, gradient = both(t)
        return value, gradient * (1 + 0.01 * len(calls))

    report = check_derivatives(value_and_grad=stateful, at=AT, numpy=True)
    assert "hidden-state" in [f.kind for f in report.findings]
    assert not report.ok
