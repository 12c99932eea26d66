"""One exponential says what the plain formulas say, at any logit."""

import jax.numpy as jnp
import numpy as np

from jax_logreg.derivatives import autodiff
from jax_logreg.derivatives.analytic import (
    apply_curvature,
    curvature,
    log1p_of_fraction,
    loss_and_residual,
)
from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.model import probability
from tests.problems import K

EXTREME = np.array([0.0, -0.0, 1e-9, 1.0, -3.0, 30.0, -40.0, 700.0, -800.0, 1e4, -1e20])


def logits(model, dtype):
    if model == "sigmoid":
        return jnp.asarray(EXTREME, dtype)
    return jnp.asarray(np.random.default_rng(0).permuted(np.tile(EXTREME, (K, 1)), axis=1).T, dtype)


def labels(model, dtype, n):
    rng = np.random.default_rng(1)
    y = rng.uniform(size=n) if model == "sigmoid" else rng.dirichlet(np.ones(K), size=n)
    return [jnp.asarray(y, dtype), jnp.asarray(np.round(y), dtype)]


def test_loss_residual_and_curvature_are_the_plain_ones(model, dtype):
    eta = logits(model, dtype)
    eps = 8 * float(jnp.finfo(dtype).eps)
    for y in labels(model, dtype, len(eta)):
        rows = loss_and_residual(eta, y)
        np.testing.assert_allclose(rows.loss, cross_entropy(eta, y), rtol=eps, atol=eps)
        np.testing.assert_allclose(rows.residual, probability(eta) - y, atol=eps)
    z = jnp.ones_like(eta) + jnp.arange(eta[0].size, dtype=dtype)
    jacobian = autodiff.prediction_wrt_logits(eta)
    plain = jacobian * z if model == "sigmoid" else jnp.einsum("nkm,nm->nk", jacobian, z)
    np.testing.assert_allclose(apply_curvature(curvature(eta), z), plain, rtol=eps, atol=4 * eps)


def test_a_small_loss_keeps_its_digits(x64):
    """softplus(η) − yη would be zero here."""
    loss = loss_and_residual(jnp.array([40.0]), jnp.array([1.0])).loss
    np.testing.assert_allclose(loss, np.exp(-40.0), rtol=1e-12)


def test_a_row_that_is_almost_certain_keeps_its_slope(model, dtype):
    """μ − y would be zero here, and a row that runs away would pass for one at rest."""
    one = jnp.asarray([40.0] if model == "sigmoid" else [[40.0, 0.0, 0.0]], dtype)
    label = jnp.ones(1, dtype) if model == "sigmoid" else jnp.asarray([[1.0, 0, 0]], dtype)
    residual = loss_and_residual(one, label).residual.reshape(-1)[0]
    others = 1 if model == "sigmoid" else 2
    np.testing.assert_allclose(residual, -others * np.exp(-40.0), rtol=1e-5)


def test_the_series_of_the_logarithm_has_every_digit(dtype):
    tiny = float(jnp.finfo(dtype).tiny)
    a = np.concatenate([np.linspace(0, 1, 10_001), np.geomspace(4 * tiny, 1, 1_001)]).astype(dtype)
    exact = np.log1p(a.astype(np.longdouble)).astype(dtype)
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(log1p_of_fraction(jnp.asarray(a)), exact, rtol=3 * eps)
