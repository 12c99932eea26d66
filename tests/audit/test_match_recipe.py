"""Losses that are not logistic: what would the data have to be for the hand to be right?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives

N = 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, N))
counts = RNG.poisson(2.0, N).astype(float)
exposure = RNG.uniform(0.5, 2, N)
offset = RNG.normal(size=N)
AT = np.zeros(N)


def poisson(beta, X, counts, exposure, offset):
    eta = X @ beta + offset
    return jnp.mean(exposure * (jnp.exp(eta) - counts * eta))


ARGS = (X, counts, exposure, offset)


def rate(beta, by=X):
    return jnp.exp(by @ beta + offset)


WRONG = {
    "weights": ("exposure", lambda b, *_: X.T @ (rate(b) - counts) / N),
    "offset": ("offset", lambda b, *_: X.T @ (exposure * (jnp.exp(X @ b) - counts)) / N),
    "transposed": ("X", lambda b, *_: X @ (exposure * (rate(b) - counts)) / N),
    "off-by-one": ("counts", lambda b, *_: X.T @ (exposure * (rate(b) - jnp.roll(counts, 1))) / N),
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_datum_is_named(kind):
    name, gradient = WRONG[kind]
    report = check_derivatives(poisson, gradient=gradient, at=AT, args=ARGS)
    assert report.diagnosis.kind == kind, str(report)
    assert name in report.diagnosis.message


def test_the_logits_by_the_transpose():
    """The notebook text prints σ(wᵀX): with as many rows as features nothing complains."""
    labels = (counts > 2).astype(float)

    def loss(w):
        return jnp.mean(jnp.logaddexp(0, X @ w) - labels * (X @ w))

    report = check_derivatives(
        loss, gradient=lambda w: X.T @ (jax.nn.sigmoid(w @ X) - labels) / N, at=AT
    )
    assert report.diagnosis.kind == "transposed"
    assert "in the logits" in report.diagnosis.message


def test_captured_types_are_no_data():
    kind = np.float64  # has a shape and a dtype, as a class

    def value(t):
        return jnp.sum(jnp.exp(t * kind(2)))

    report = check_derivatives(value, gradient=lambda t: jnp.exp(2 * t), at=AT)
    assert report.diagnosis.kind == "factor"


def test_what_nothing_explains_is_unknown():
    report = check_derivatives(
        poisson, gradient=lambda b, *_: jnp.sin(3 * b) + X[0], at=AT, args=ARGS
    )
    assert report.diagnosis.kind == "unknown"
    assert "correlation" in report.diagnosis.evidence
