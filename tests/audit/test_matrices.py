"""Hessians by hand: blocks that are zero, on one side only, transposed; terms of the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives

RNG = np.random.default_rng(0)
N = 30
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
Z = np.column_stack([np.ones(N), RNG.normal(size=N)])
COUNTS = np.where(RNG.uniform(size=N) < 0.3, 0, RNG.poisson(2.0, N))
AT = np.array([-0.5, 0.3, 0.6, -0.2])


def zero_inflated_poisson(theta, Z, X, y):
    """−log likelihood: θ[:2] of the inflation, θ[2:] of the mean."""
    assert type(theta) is np.ndarray
    w, mu = 1 / (1 + np.exp(-Z @ theta[:2])), np.exp(X @ theta[2:])
    with np.errstate(divide="ignore"):
        zero = np.log(w + (1 - w) * np.exp(-mu))
        positive = np.log(1 - w) - mu + y * np.log(mu)
    return -np.sum(np.where(y == 0, zero, positive))


def slope(theta, Z, X, y):
    w, mu = 1 / (1 + np.exp(-Z @ theta[:2])), np.exp(X @ theta[2:])
    p = w + (1 - w) * np.exp(-mu)
    of_inflation = np.where(y == 0, w * (1 - w) * (1 - np.exp(-mu)) / p, -w)
    of_mean = np.where(y == 0, -(1 - w) * np.exp(-mu) * mu / p, y - mu)
    return -np.concatenate([Z.T @ of_inflation, X.T @ of_mean])


def right(theta, Z, X, y):
    """By central differences of the gradient, which is right; good to 1e-9."""
    h = 1e-4
    steps = h * np.eye(4)

    def central(k):
        return np.stack([
            slope(theta + k * s, Z, X, y) - slope(theta - k * s, Z, X, y) for s in steps
        ]) / (2 * k * h)  # fmt: skip

    H = (4 * central(1) - central(2)) / 3
    return (H + H.T) / 2


def with_zero_block(*args):
    H = right(*args)
    H[:2, 2:] = H[2:, :2] = 0
    return H


def one_side(*args):
    H = right(*args)
    H[:2, 2:] = 0
    return H


def transposed_block(*args):
    H = right(*args)
    H[:2, 2:], H[2:, :2] = H[2:, :2].copy(), H[:2, 2:].copy()
    return H


def opposite_block(*args):
    H = right(*args)
    H[:2, 2:] *= -1
    H[2:, :2] *= -1
    return H


ZIP = {
    "zero": (with_zero_block, "block", "θ[:2] with θ[2:]", ""),
    "one side": (one_side, "block", "above the diagonal", "H[:2, 2:] = H[2:, :2].T"),
    "transposed": (transposed_block, "transposed", "θ[:2] with θ[2:]", ""),
    "sign": (opposite_block, "sign", "θ[:2] with θ[2:]", ""),
    "triangle": (
        lambda *a: np.triu(right(*a)), "triangle", "upper", "H = np.triu(H) + np.triu(H, 1).T",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ZIP)
def test_a_zero_inflated_poisson(name):
    hessian, kind, words, fix = ZIP[name]
    report = check_derivatives(
        zero_inflated_poisson, gradient=slope, hessian=hessian, at=AT, args=(Z, X, COUNTS),
        numpy=True,
    )  # fmt: skip
    assert kind in [d.kind for d in report.diagnoses], str(report)
    assert words in report.diagnosis.message, str(report)
    assert report.diagnosis.fix == fix, str(report)


def value(t):
    """The logarithm of a sum, of a parameter on the log scale."""
    return jnp.log(jnp.sum(jnp.cosh(X @ t[:2])) + jnp.exp(t[2]))


SLOPE, HESSIAN = jax.grad(value), jax.hessian(value)
TERMS = {
    "outer product missing": (lambda t: HESSIAN(t) + jnp.outer(SLOPE(t), SLOPE(t)), "fisher"),
    "outer product alone": (lambda t: jnp.outer(SLOPE(t), SLOPE(t)), "fisher"),
    "gradient of the transformed": (
        lambda t: HESSIAN(t).at[2, 2].add(-SLOPE(t)[2]), "chain-factor",
    ),
    "gradient on the diagonal": (lambda t: HESSIAN(t) - jnp.diag(SLOPE(t)), "chain-factor"),
}  # fmt: skip


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_the_gradient(name):
    hessian, kind = TERMS[name]
    report = check_derivatives(value, hessian=hessian, at=np.array([0.3, -0.5, 0.4]))
    assert report.diagnosis.kind == kind, str(report)


TARGETS = RNG.normal(size=N)


def curve(t):
    return jnp.tanh(X @ t[:2]) * jnp.exp(t[2]) - TARGETS


def squares(t):
    return 0.5 * jnp.sum(curve(t) ** 2) + 0.05 * jnp.sum(t**2)


def test_gauss_newton():
    def hessian(t):
        J = jax.jacobian(curve)(t)
        return J.T @ J + 0.1 * jnp.eye(3)

    report = check_derivatives(squares, hessian=hessian, at=np.array([0.3, -0.5, 0.4]))
    assert report.diagnosis.kind == "gauss-newton", str(report)
    assert "in `" in report.diagnosis.message


def reordered(*order):
    return lambda g: g[jnp.array(order)]


EXCHANGES = {
    "two entries": (
        reordered(4, 1, 2, 3, 0), "swapped", "g[[0, 4]] = g[[4, 0]]", "θ[0] and θ[4]",
    ),
    "three": (
        reordered(3, 0, 2, 1, 4), "swapped", "g[[0, 1, 3]] = g[[1, 3, 0]]", "θ[0] holds",
    ),
    "a copy": (lambda g: g.at[3].set(g[1]), "swapped", "", "θ[3] holds the number of θ[1]"),
    "all by one": (lambda g: jnp.roll(g, 1), "off-by-one", "g = np.roll(g, -1)", "shifted"),
    "all but the last": (
        reordered(3, 0, 1, 2, 4), "off-by-one", "g[:4] = np.roll(g[:4], -1)", "but for",
    ),
    "reversed": (lambda g: g[::-1], "off-by-one", "g = g[::-1]", "reverse"),
    "blocks": (reordered(2, 3, 4, 0, 1), "swapped", "g = np.roll(g, 2)", "The first 3 entries"),
    "a table": (
        reordered(0, 2, 1, 3, 4), "swapped", "g[[1, 2]] = g[[2, 1]]", "exchanged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCHANGES)
def test_entries_in_wrong_places(name):
    change, kind, fix, words = EXCHANGES[name]

    def five(t):
        return jnp.sum(jnp.exp(Z @ t[:2]) + jnp.cosh(X @ t[2:4])) + jnp.sin(t[4])

    at = np.append(AT, 0.7)
    report = check_derivatives(five, gradient=lambda t: change(jax.grad(five)(t)), at=at)
    assert report.diagnosis.kind == kind, str(report)
    assert words in report.diagnosis.message, str(report)
    assert report.diagnosis.fix == fix, str(report)


def test_two_arrays_are_exchanged():
    at = {"a": AT[:2], "b": AT[2:]}

    def four(p):
        return jnp.sum(jnp.exp(Z @ p["a"]) + jnp.cosh(X @ p["b"]))

    def gradient(p):
        g = jax.grad(four)(p)
        return {"a": g["b"], "b": g["a"]}

    report = check_derivatives(four, gradient=gradient, at=at)
    assert report.diagnosis.kind == "swapped", str(report)
    assert "a and b are exchanged" in report.diagnosis.message


def test_one_entry_of_a_hessian_is_a_coordinate():
    hessian = jax.hessian(value)
    report = check_derivatives(
        value, hessian=lambda t: hessian(t).at[2, 0].multiply(-1), at=np.array([0.3, -0.5, 0.4])
    )
    assert [d.kind for d in report.diagnoses] == ["coordinate", "sign"], str(report)
    assert report.diagnosis.fix == "H[2:, :1] = H[:1, 2:].T"


def test_a_hessian_of_zeros_is_zero_and_nothing_else():
    X = np.random.default_rng(2).normal(size=(20, 3))

    def value(t):
        return jnp.sum(jnp.logaddexp(0, X @ t))

    report = check_derivatives(value, hessian=lambda t: jnp.zeros((3, 3)), at=np.ones(3))
    assert report.diagnosis.kind == "zero"
    assert "fisher" not in {d.kind for d in report.diagnoses}


@pytest.mark.parametrize("digits", [7, 8])
def test_a_derivative_that_is_nearly_right_is_told_its_digits(digits):
    def value(t):
        return jnp.sum(jnp.exp(t) * jnp.sin(t))

    def nearly(t):
        return jax.grad(value)(t) * (1 + 5 * 10.0 ** -(digits + 1))

    report = check_derivatives(value, gradient=nearly, at=np.ones(3) / 3)
    (said,) = [f.message for f in report.findings if f.kind == "approximate"]
    assert f"about {digits} digits" in said
