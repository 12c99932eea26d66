import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import (
    logit,
    logits,
    make_objective,
    odds,
    predict_class,
    probability,
    sigmoid,
    softmax,
)

EXTREMES = [0.0, 1.0, -1.0, 40.0, -40.0, 1e4, -1e4, 1e20, -1e20]


def test_logits_add_every_part():
    X = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    found = logits(X, np.float32([1, 2]), np.float32(0.5), np.float32([1, 2, 3]))
    np.testing.assert_array_equal(found, X @ [1, 2] + 0.5 + [1, 2, 3])


def test_sigmoid_and_softmax_stay_in_bounds_at_the_extremes(dtype):
    z = jnp.array(EXTREMES, dtype)
    for p in (sigmoid(z), softmax(jnp.stack([z, -z], axis=1))):
        assert p.dtype == dtype
        assert np.all(np.isfinite(p) & (p >= 0) & (p <= 1))


def test_softmax_of_two_classes_is_the_sigmoid_of_the_difference(dtype):
    z = jnp.array(EXTREMES, dtype)
    pair = softmax(jnp.stack([jnp.zeros_like(z), z], axis=1))[:, 1]
    np.testing.assert_allclose(pair, sigmoid(z), rtol=4 * jnp.finfo(dtype).eps)


def test_softmax_ignores_a_shift_of_all_classes(x64):
    z = jnp.array([[0.3, -1.0, 2.0]])
    np.testing.assert_allclose(softmax(z + 100.0), softmax(z), rtol=1e-13)


def test_logit_inverts_the_sigmoid_and_is_the_log_of_the_odds(x64):
    p = jnp.array([1e-12, 0.1, 0.5, 0.9])
    np.testing.assert_allclose(sigmoid(logit(p)), p, rtol=1e-14)
    np.testing.assert_allclose(jnp.log(odds(p)), logit(p), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("eta", [[-1.0, 1.0, 3.0], [[2.0, 0.0], [0.0, 2.0], [0.0, 5.0]]])
def test_the_class_is_the_likelier_one(eta):
    eta = jnp.array(eta)
    p = probability(eta)
    likelier = p > 0.5 if p.ndim == 1 else jnp.argmax(p, axis=1)
    np.testing.assert_array_equal(predict_class(eta), likelier)


def test_whole_numbers_are_accepted():
    assert sigmoid([0, 0]).tolist() == softmax([0, 0]).tolist() == [0.5, 0.5]
    assert make_objective(np.array([[1], [2]]), [0.3, 0.7]).y.tolist() == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize(
    "given", ["a", None, [1, [2]], {"a": 1}, np.array(["2020-01-01"], "M8[D]")]
)
def test_what_is_no_number_is_refused_by_name(given):
    with pytest.raises(ValueError, match="p must be an array of numbers, but it is"):
        logit(given)
    with pytest.raises(ValueError, match="X must be an array of numbers, but it is"):
        make_objective(given, [0.0])
