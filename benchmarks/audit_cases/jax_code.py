"""Derivatives by hand beside values in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from benchmarks.audit_cases.case import MEAN, PENALTY, SIGN, approximate, right, table, wrong

# ---- regressions ---------


def guarded_nll(params, X, y):
    p = jax.nn.sigmoid(X @ params["w"] + params["b"])
    return -jnp.mean(y * jnp.log(p + 1e-15) + (1 - y) * jnp.log(1 - p + 1e-15))


def guarded(seed, grads):
    rng, X, y = table(seed, 40, 5)
    at = {"w": rng.normal(size=4), "b": 0.3}
    return dict(value=guarded_nll, gradient=grads, at=at, args=(X[:, 1:], y))


@right("a guarded loss; a dictionary of weights and a float")
def jax_guarded(seed):
    def grads(params, X, y):
        r = (jax.nn.sigmoid(X @ params["w"] + params["b"]) - y) / y.size
        return {"w": r @ X, "b": r.sum()}

    return guarded(seed, grads)


@wrong("the bias is summed, not averaged", *MEAN, where="b")
def jax_bias_sum(seed):
    def grads(params, X, y):
        r = jax.nn.sigmoid(X @ params["w"] + params["b"]) - y
        return {"w": r @ X / X.shape[0], "b": r.sum()}

    return guarded(seed, grads)


def softmax_problem(seed, **derivatives):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(30, 3)), np.eye(3)[rng.integers(0, 3, 30)]

    def nll(W, X, Y, l2):
        logits = X @ W
        return jnp.mean(logsumexp(logits, axis=1) - jnp.sum(Y * logits, 1)) + l2 * jnp.sum(W**2)

    return dict(value=nll, at=rng.normal(size=(3, 3)), args=(X, y, 0.1), **derivatives)


def softmax_grad(W, X, Y, l2):
    return X.T @ (jax.nn.softmax(X @ W) - Y) / len(X) + 2 * l2 * W


@right("softmax regression; the product of Hessian and direction, by hand")
def jax_softmax_hvp(seed):
    def hvp(W, V, X, Y, l2):
        p, u = jax.nn.softmax(X @ W), X @ V
        return X.T @ (p * (u - jnp.sum(p * u, 1, keepdims=True))) / len(X) + 2 * l2 * V

    return softmax_problem(seed, gradient=softmax_grad, hvp=hvp)


@wrong(
    "Hessian times V: p pᵀ is missing", "outer", "diag", "cross", "between", "off-diagonal", "pp"
)
def jax_softmax_hvp_diagonal(seed):
    def hvp(W, V, X, Y, l2):
        p = jax.nn.softmax(X @ W)
        return X.T @ (p * (1 - p) * (X @ V)) / len(X) + 2 * l2 * V

    return softmax_problem(seed, gradient=softmax_grad, hvp=hvp)


@wrong(
    "the data's gradient is of the sum, the penalty's factor 2 is missing",
    *MEAN,
    also=PENALTY,
)
def jax_softmax_two(seed):
    def grad(W, X, Y, l2):
        return X.T @ (jax.nn.softmax(X @ W, axis=-1) - Y) + l2 * W

    return softmax_problem(seed, gradient=grad)


@wrong("softmax over the wrong axis", "axis", "normal")
def jax_softmax_axis(seed):
    def grad(W, X, Y, l2):
        return jnp.einsum("nd,nc->dc", X, jax.nn.softmax(X @ W, axis=0) - Y) / 30 + 2 * l2 * W

    return softmax_problem(seed, gradient=grad)


def poisson(seed, **derivatives):
    rng, X, _ = table(seed, 30, 3)
    y, exposure = rng.poisson(2.0, 30).astype(float), rng.uniform(0.5, 3, 30)

    def nll(beta, X, y, exposure):
        mu = exposure * jnp.exp(X @ beta)
        return jnp.sum(mu - y * jnp.log(mu) + gammaln(y + 1))

    return dict(value=nll, at=0.4 * rng.normal(size=3), args=(X, y, exposure), **derivatives)


@right("Poisson with exposure: Hessian by a double vmap")
def jax_poisson_hessian(seed):
    def hessian(beta, X, y, exposure):
        mu = exposure * jnp.exp(X @ beta)
        entry = lambda a, b: jnp.sum(mu * a * b)  # noqa: E731
        return jax.vmap(lambda a: jax.vmap(lambda b: entry(a, b))(X.T))(X.T)

    return poisson(seed, hessian=hessian)


@wrong("the exposure is missing from the Hessian", "exposure", "offset", "weight")
def jax_poisson_exposure(seed):
    return poisson(seed, hessian=lambda b, X, y, exposure: (X.T * jnp.exp(X @ b)) @ X)


@approximate("central differences with h = 1e-3, in a vmap")
def jax_central_differences(seed):
    call = poisson(seed)
    f = call["value"]

    def grad(beta, *args):
        shift = lambda e: (f(beta + e, *args) - f(beta - e, *args)) / 2e-3  # noqa: E731
        return jax.vmap(shift)(1e-3 * jnp.eye(3))

    return call | dict(gradient=grad)


# ---- parameters under a transformation ---------


def softplus_scale(seed, factor):
    x = np.random.default_rng(seed).normal(size=20) * 2

    def nll(p):
        s = jax.nn.softplus(p["raw"])
        return jnp.sum(0.5 * ((x - p["mu"]) / s) ** 2 + jnp.log(s))

    def grad(p):
        s = jax.nn.softplus(p["raw"])
        z = (x - p["mu"]) / s
        ds = jnp.sum(1 - z**2) / s
        return {"mu": -jnp.sum(z) / s, "raw": ds * factor(p["raw"])}

    return dict(value=nll, gradient=grad, at={"mu": np.array(0.4), "raw": np.array(0.9)})


@right("a scale by softplus; parameters of shape ()")
def jax_softplus(seed):
    return softplus_scale(seed, jax.nn.sigmoid)


@wrong(
    "the softplus of the scale is forgotten in the chain rule",
    "chain",
    "softplus",
    "sigmoid",
    where="raw",
)
def jax_softplus_chain(seed):
    return softplus_scale(seed, jnp.ones_like)


def kl(seed, grad):
    rng = np.random.default_rng(seed)
    at = (rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))

    def divergence(params):
        mu, logvar = params
        return -0.5 * jnp.sum(1 + logvar - mu**2 - jnp.exp(logvar)) / 3

    return dict(value=divergence, gradient=grad, at=at)


@wrong(
    "KL of a variational encoder: the half is missing for the log variance",
    "half",
    "factor",
    "twice",
    "0.5",
    where="logvar",
)
def jax_kl_half(seed):
    return kl(seed, lambda p: (p[0] / 3, (jnp.exp(p[1]) - 1) / 3))


@wrong(
    "KL: the means are not divided by the batch's size, the log variances have the wrong sign",
    *MEAN,
    "factor",
    also=SIGN,
    where="mu; logvar",
)
def jax_kl_two(seed):
    return kl(seed, lambda p: (p[0], 0.5 * (1 - jnp.exp(p[1])) / 3))


def precision(seed, grad):
    rng = np.random.default_rng(seed)
    S = np.cov(rng.normal(size=(3, 20)))
    A = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    return dict(
        value=lambda A: jnp.trace(S @ A) - jnp.linalg.slogdet(A)[1],
        gradient=lambda A: grad(S, A),
        at=A,
    )


@right("trace and log-determinant of a general matrix")
def jax_log_determinant(seed):
    return precision(seed, lambda S, A: S - jnp.linalg.inv(A).T)


@wrong("the inverse, of the log-determinant, is not transposed", "transpos", ".t", "symmetr")
def jax_inverse_transposed(seed):
    return precision(seed, lambda S, A: S - jnp.linalg.inv(A))


# ---- networks ---------


def perceptron(seed, act, slope):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(15, 3)), rng.normal(size=15)

    def mse(params):
        (W, b), v = params
        return jnp.mean((act(X @ W + b) @ v - y) ** 2)

    def backprop(params):
        (W, b), v = params
        z = X @ W + b
        d = 2 * (act(z) @ v - y) / len(y)
        dz = d[:, None] * v * slope(z)
        return [(X.T @ dz, dz.sum(0)), act(z).T @ d]

    at = [(rng.normal(size=(3, 4)), rng.normal(size=4)), rng.normal(size=4)]
    return dict(value=mse, gradient=backprop, at=at)


@right("a ReLU network in nested lists and tuples")
def jax_relu(seed):
    return perceptron(seed, jax.nn.relu, lambda z: (z > 0).astype(z.dtype))


@wrong(
    "silu's derivative is taken to be the sigmoid: the product rule",
    "silu",
    "swish",
    "product",
    "activation",
    "path",
    where="the first layer",
)
def jax_silu(seed):
    return perceptron(seed, jax.nn.silu, jax.nn.sigmoid)


@wrong(
    "tanh' is missing in the backward pass",
    "tanh",
    "activation",
    "chain",
    where="the first layer",
)
def jax_tanh(seed):
    return perceptron(seed, jnp.tanh, jnp.ones_like)


@wrong(
    "the norm in a cosine similarity is held constant",
    "norm",
    "constant",
    "projection",
    "path",
)
def jax_cosine(seed):
    rng = np.random.default_rng(seed)
    T = rng.normal(size=(4, 3))
    T = T / np.linalg.norm(T, axis=1, keepdims=True)
    return dict(
        value=lambda e: -jnp.sum(T * e / jnp.linalg.norm(e, axis=1, keepdims=True)),
        gradient=lambda e: -T / jnp.linalg.norm(e, axis=1, keepdims=True),
        at=rng.normal(size=(4, 3)),
    )


@wrong(
    "a scanned linear recurrence: the state's own dependence on `a` is forgotten",
    "recurren",
    "time step",
    "through time",
    "path",
    "earlier",
    "state",
    where="a",
)
def jax_scan(seed):
    rng = np.random.default_rng(seed)
    u, target = rng.normal(size=10), rng.normal(size=10)

    def states(p):
        def step(x, ut):
            x = p["a"] * x + p["b"] * ut
            return x, x

        return jax.lax.scan(step, 0.0 * p["a"], u)[1]

    def grad(p):
        x = states(p)
        before = jnp.concatenate([jnp.zeros(1), x[:-1]])

        def sensitivity(s, ut):
            s = p["a"] * s + ut
            return s, s

        db = jax.lax.scan(sensitivity, 0.0 * p["a"], u)[1]
        return {"a": jnp.sum((x - target) * before), "b": jnp.sum((x - target) * db)}

    return dict(
        value=lambda p: 0.5 * jnp.sum((states(p) - target) ** 2),
        gradient=grad,
        at={"a": np.array(0.7), "b": np.array(1.2)},
    )
