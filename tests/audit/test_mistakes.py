"""The catalogue: the right recipe is right, and each mistake is changed pieces of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.audit.linear_predictor import split_at_logits
from jax_logreg.audit.logistic import recognise
from jax_logreg.audit.match import KINDS, Diagnosis, complexity, rank
from jax_logreg.audit.mistakes import PENALTY_MISTAKES, catalogue, right_recipe
from jax_logreg.audit.traced import trace

N, P, K = 11, 3, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P))
w = RNG.uniform(0.5, 2, N)
o = RNG.normal(size=N)
y = (RNG.uniform(size=N) < 0.5).astype(float)
Y = np.eye(K)[RNG.integers(0, K, N)]


def sigmoid_loss(t):
    eta = X @ t + o
    return jnp.sum(w * (jax.nn.softplus(eta) - y * eta))


def softmax_loss(t):
    logits = X @ t.reshape(P, K) + o[:, None]
    return -jnp.sum(w[:, None] * Y * jax.nn.log_softmax(logits))


LOSSES = {"sigmoid": (sigmoid_loss, P), "softmax": (softmax_loss, P * K)}


def recognised(name):
    loss, size = LOSSES[name]
    theta = jnp.asarray(RNG.normal(size=size))
    split = split_at_logits(trace(loss, theta), theta)
    return loss, recognise(split, theta), theta


@pytest.mark.parametrize("name", LOSSES)
def test_the_right_recipe_gives_gradient_and_product(name, x64):
    loss, model, theta = recognised(name)
    v = jnp.asarray(RNG.normal(size=theta.size))
    linear = model.logits(theta) - model.offset
    z = jax.jvp(model.logits, (theta,), (v,))[1]
    recipe = right_recipe(model)
    rows = np.stack([recipe.rows(linear), recipe.rows(linear, z)])
    gradient, product = model.vjp_to_parameters(rows)
    np.testing.assert_allclose(gradient, jax.grad(loss)(theta), rtol=1e-10, atol=1e-12)
    expected = jax.jvp(jax.grad(loss), (theta,), (v,))[1]
    np.testing.assert_allclose(product, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_every_mistake_has_a_kind_and_changes_a_piece(name, order, x64):
    _, model, theta = recognised(name)
    linear = model.logits(theta) - model.offset
    z = [jnp.sin(linear)] if order == 2 else []
    recipe = right_recipe(model)
    right = recipe.rows(linear, *z)
    mistakes = catalogue(model, order)
    changed = [mistake.change(recipe).rows(linear, *z) for mistake in mistakes]
    assert all(mistake.kind in KINDS for mistake in (*mistakes, *PENALTY_MISTAKES))
    assert all(wrong.shape == right.shape for wrong in changed)
    differ = sum(not np.allclose(wrong, right) for wrong in changed)
    assert differ > 0.8 * len(mistakes)  # some are the same in a sigmoid


def test_one_sentence_serves_gradient_and_product(x64):
    _, model, _ = recognised("sigmoid")
    first, second = ({m.text for m in catalogue(model, order)} for order in (1, 2))
    assert "The sample weights are left out" in first & second
    assert "The offset is left out" in first & second
    assert not any("information" in text for text in first)


def test_the_least_complex_explanations_are_reported_one_of_each_kind():
    def explained(kind, effort):
        return Diagnosis(kind, "gradient", kind, "", effort)

    simple, also = explained("sign", complexity(1)), explained("factor", complexity(factors=1))
    vague = explained("block", complexity(1, vagueness=0.5))
    assert rank([vague, simple, also, simple]) == [simple, also]
    assert rank([]) == []
