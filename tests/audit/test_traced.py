"""The programs of an audit: few, and a bounded number of them in one process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives
from jax_logreg.audit import traced

RNG = np.random.default_rng(0)


def audit(rows):
    X = RNG.normal(size=(rows, 2))

    def loss(w):
        return jnp.sum(jax.nn.softplus(X @ w))

    return check_derivatives(loss, gradient=lambda w: X.T @ jax.nn.sigmoid(X @ w), at=np.ones(2))


def test_audits_of_many_shapes_keep_a_bounded_number_of_programs(monkeypatch):
    monkeypatch.setattr(traced, "_MAX_SHAPES", 2)
    monkeypatch.setattr(traced, "_audited", set())
    kept = jax.jit(lambda x: x + 1)
    kept(1.0)
    for rows in (5, 6, 5, 6):
        assert audit(rows).ok
    assert kept._cache_size() == 1
    assert audit(7).ok
    assert kept._cache_size() == 0
    assert not traced._audited


def test_a_small_program_is_not_compiled_and_a_large_one_is(x64):
    def total(owner, t):
        return owner(t)

    for rows, is_compiled in ((10, False), (1_000_000, True)):
        X = np.ones((rows, 3))
        function = traced.trace(lambda t, X=X: jnp.sum(jnp.exp(X @ t)), jnp.zeros(3))
        value = traced.run_compiled(function, total, np.zeros(3))
        assert value == rows
        assert isinstance(value, jax.Array) == is_compiled


def test_the_value_runs_in_every_call_though_its_steps_are_not_compiled(x64):
    calls = []

    def value(t):
        calls.append(type(t))
        return jnp.sum(jnp.exp(t))

    called = traced.by_steps(value)
    for k in range(3):
        assert float(called(jnp.full(2, float(k)))) == pytest.approx(2 * np.exp(k))
    assert len(calls) == 3
    for _ in range(traced._MAX_CALLS):
        called(jnp.ones(2))
    assert not issubclass(calls[-1], jax.core.Tracer)


def test_what_cannot_be_traced_is_called_as_it_is(x64):
    called = traced.by_steps(lambda t: float(t[0]) if t[0] > 0 else -1.0)
    assert called(jnp.ones(2)) == 1
    assert called(-jnp.ones(2)) == -1


def test_a_gradient_that_needs_what_the_value_left_behind_keeps_state():
    kept = {}

    def value(w):
        kept["p"] = jax.nn.sigmoid(w)
        return -jnp.sum(jnp.log(kept["p"]))

    report = check_derivatives(value, gradient=lambda w: kept["p"] - 1, at=np.zeros(3))
    assert report.diagnosis.kind == "hidden-state"
