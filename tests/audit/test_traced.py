"""The programs of an audit: few, and a bounded number of them in one process."""

import jax
import jax.numpy as jnp
import numpy as np

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
