import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import cross_entropy, log_likelihood, probability
from jax_logreg.objective.losses import cross_entropy_of_probability


def test_the_loss_from_logits_is_the_texts_loss_of_the_probability(x64):
    eta = jnp.linspace(-5, 5, 11)
    for y in (0.0, 0.3, 1.0):
        labels = jnp.full(11, y)
        np.testing.assert_allclose(
            cross_entropy(eta, labels),
            cross_entropy_of_probability(probability(eta), labels),
            rtol=1e-13,
        )
    table, labels = jnp.stack([eta, -eta, 0 * eta], 1), jax.nn.one_hot(jnp.arange(11) % 3, 3)
    np.testing.assert_allclose(
        cross_entropy(table, labels),
        cross_entropy_of_probability(probability(table), labels),
        rtol=1e-13,
    )


def test_labels_of_another_shape_do_not_broadcast():
    with pytest.raises(ValueError, match=r"y must have the shape of the logits, \(3, 3\)"):
        cross_entropy(np.zeros((3, 3)), np.arange(3))


def test_a_small_loss_keeps_its_digits(dtype):
    """At η = 30 the loss is e⁻³⁰; softplus(η) − η would give zero in float32."""
    loss = cross_entropy(jnp.array([30.0, -30.0], dtype), jnp.array([1.0, 0.0], dtype))
    np.testing.assert_allclose(loss, np.exp(-30.0), rtol=1e-5)


@pytest.mark.parametrize("size", [1e4, 1e20])
@pytest.mark.parametrize("y", [0.0, 0.4, 1.0])
def test_extreme_logits_give_finite_losses_and_slopes(size, y, dtype):
    eta = jnp.array([size, -size], dtype)
    labels = jnp.full(2, y, dtype)
    table, rows = jnp.stack([eta, -eta], 1), jnp.stack([labels, 1 - labels], 1)
    for z, Y in ((eta, labels), (table, rows)):
        loss = cross_entropy(z, Y)
        slope = jax.grad(lambda z, Y=Y: jnp.sum(cross_entropy(z, Y)))(z)
        assert np.all(np.isfinite(loss))
        assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(cross_entropy(eta, labels), [size * (1 - y), size * y], rtol=1e-5)


def test_certain_and_wrong_is_infinite_in_the_texts_form():
    assert np.isinf(cross_entropy_of_probability(jnp.array([1.0]), jnp.array([0.0])))[0]
    assert cross_entropy_of_probability(jnp.array([1.0]), jnp.array([1.0]))[0] == 0


def test_the_log_likelihood_in_both_forms(x64):
    eta, y, w = jnp.array([0.2, -1.0]), jnp.array([1.0, 0.0]), jnp.array([2.0, 3.0])
    total = log_likelihood(eta, y, w)
    np.testing.assert_allclose(total, -jnp.sum(w * cross_entropy(eta, y)))
    np.testing.assert_allclose(log_likelihood(eta, y, w, mean=True), total / 5)
    np.testing.assert_allclose(log_likelihood(eta, y), log_likelihood(eta, y, jnp.ones(2)))


def test_autodiff_of_an_almost_certain_row_does_not_cancel(dtype):
    eta, Y = jnp.asarray([[40.0, 0.0, -1.0]], dtype), jnp.asarray([[1.0, 0.0, 0.0]], dtype)
    slope = jax.grad(lambda eta: cross_entropy(eta, Y)[0])(eta)[0]
    others = np.exp(-40.0) + np.exp(-41.0)
    np.testing.assert_allclose(slope, [-others, np.exp(-40.0), np.exp(-41.0)], rtol=1e-5)
