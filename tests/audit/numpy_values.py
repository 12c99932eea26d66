"""Values in NumPy, in the styles in which people write them: each a function of θ in R⁶."""

import functools
import math
from collections import namedtuple
from dataclasses import dataclass
from math import exp, lgamma, log

import numpy as np
import scipy.linalg
import scipy.special as sc
import scipy.stats
from numpy.linalg import slogdet
from scipy import stats
from scipy.special import expit, gammaln, log_ndtr, logsumexp, softmax, xlogy

_RNG = np.random.default_rng(0)
N, K = 12, 2
X = _RNG.normal(size=(N, 3))
X6 = _RNG.normal(size=(N, 6))
Y = (_RNG.random(N) < 0.5).astype(float)
LABELS = _RNG.integers(0, K, N)
COUNTS = _RNG.poisson(2.0, N)
TIMES = _RNG.exponential(size=N)
S = np.cov(_RNG.normal(size=(3, 50)))
BUFFER = np.zeros(6)
CALLS = {"n": 0}
VALUES = []


def value(function):
    VALUES.append(function)
    return function


@value
def textbook(theta):
    h = 1 / (1 + np.exp(-X6.dot(theta)))
    return -np.mean(Y * np.log(h + 1e-15) + (1 - Y) * np.log(1 - h + 1e-15))


@value
def course(theta):
    m = len(Y)
    reg = theta.copy()
    reg[0] = 0
    h = expit(X6 @ theta)
    J = 1 / m * (-Y.T.dot(np.log(h)) - (1 - Y).T.dot(np.log(1 - h)))
    return float(J + 0.5 / (2 * m) * np.sum(reg**2))


@value
def column_vectors(theta):
    w = theta.reshape(-1, 1)
    z = np.dot(X6, w)
    cost = np.logaddexp(0, z) - Y[:, None] * z
    return np.squeeze(np.sum(cost, axis=0)) / N


@value
def python_loops(theta):
    loss = 0.0
    for i in range(N):
        z = 0.0
        for j in range(3):
            z += theta[j] * X[i][j]
        loss += -log(1 / (1 + exp(-z))) if Y[i] == 1 else math.log1p(exp(z))
    return loss


@value
def stable_sigmoid_by_mask(theta):
    z = X6 @ theta
    p = np.zeros_like(z)
    pos = z >= 0
    p[pos] = 1 / (1 + np.exp(-z[pos]))
    e = np.exp(z[~pos])
    p[~pos] = e / (1 + e)
    return -np.sum(np.log(np.where(Y == 1, p, 1 - p)))


@value
def one_hot_softmax(theta):
    W = theta.reshape(3, K)
    logits = X @ W
    logits -= logits.max(axis=1, keepdims=True)
    P = np.exp(logits)
    P /= P.sum(axis=1, keepdims=True)
    return -np.sum(np.eye(K)[LABELS] * np.log(P)) / N


@value
def fancy_indexing(theta):
    W = theta.reshape((3, K), order="F")
    P = softmax(X.dot(W), axis=1)
    return -np.log(P[np.arange(len(LABELS)), LABELS]).mean() + 0.1 * np.linalg.norm(W) ** 2


@value
def baseline_class(theta):
    eta = np.hstack([np.zeros((N, 1)), X @ theta.reshape(3, 2)])
    y = LABELS + (COUNTS > 2)
    return logsumexp(eta, axis=1).sum() - eta[range(N), y].sum()


@value
def network(theta):
    W1, b1, w2 = theta[:3].reshape(3, 1), theta[3], theta[4:]
    hidden = np.tanh(X @ W1 + b1)
    out = np.column_stack((hidden, np.ones(N))) @ w2
    return 0.5 * np.square(out - Y).mean()


@value
def relu_layer(theta):
    a = np.maximum(0, X6 * theta + 5)
    return (a**2).sum() + np.clip(a, 0.5, 1e3).sum() + a.clip(min=0.1).mean()


@value
def mask_assignment(theta):
    z = X6 * theta
    z[z < 0] = 0
    z[z > 1.5] *= 1.0
    return np.sum(z**3)


@value
def poisson(theta):
    eta = X6 @ theta
    return -np.sum(COUNTS * eta - np.exp(eta) - gammaln(COUNTS + 1))


@value
def negative_binomial(theta):
    mu, r = np.exp(X @ theta[:3]), np.exp(theta[3])
    ll = [lgamma(k + r) - lgamma(r) + r * log(r / (r + m)) + k * log(m / (r + m))
          for k, m in zip(COUNTS, mu, strict=True)]  # fmt: skip
    return -sum(ll)


@value
def zero_inflated(theta):
    pi, mu = sc.expit(X @ theta[:3]), np.exp(X @ theta[3:])
    ll = np.empty(N)
    zero = COUNTS == 0
    ll[zero] = np.log(pi[zero] + (1 - pi[zero]) * np.exp(-mu[zero]))
    ll[~zero] = np.log1p(-pi[~zero]) + stats.poisson.logpmf(COUNTS[~zero], mu[~zero])
    return -ll.sum()


@value
def probit(theta):
    q = 2 * Y - 1
    return -np.sum(log_ndtr(q * (X6 @ theta)))


@value
def ordinal(theta):
    cuts = np.concatenate([[-np.inf], theta[:1], theta[:1] + np.exp(theta[1:2]), [np.inf]])
    eta = X @ theta[3:]
    y = np.minimum(COUNTS, 2)
    upper, lower = expit(cuts[y + 1] - eta), expit(cuts[y] - eta)
    return -np.log(upper - lower).sum()


@value
def cox(theta):
    order = np.argsort(-TIMES)
    eta = (X6 @ theta)[order]
    at_risk = np.log(np.cumsum(np.exp(eta)))
    return -np.sum((eta - at_risk)[Y[order] == 1])


@value
def weibull(theta):
    k, scale = np.exp(theta[0]), np.exp(X @ theta[1:4])
    z = (TIMES / scale) ** k
    return -np.sum(Y * (np.log(k) - np.log(scale) + (k - 1) * np.log(TIMES / scale)) - z)


@value
def gaussian(theta):
    L = np.zeros((3, 3))
    L[np.tril_indices(3)] = theta
    np.fill_diagonal(L, np.exp(np.diag(L)))
    Sigma = L @ L.T
    logdet = slogdet(Sigma)[1]
    d = X - X.mean(0)
    return 0.5 * (N * logdet + np.trace(np.linalg.solve(Sigma, d.T @ d)))


@value
def by_cholesky(theta):
    A = S + np.outer(theta[:3], theta[:3]) + np.diag(theta[3:] ** 2)
    c = scipy.linalg.cho_factor(A)
    return scipy.linalg.cho_solve(c, Y[:3]).dot(Y[:3]) + np.log(np.linalg.det(A))


@value
def gaussian_process(theta):
    d2 = np.sum((X[:, None, :] - X[None, :, :]) ** 2 / np.exp(theta[:3]), axis=-1)
    C = np.exp(theta[3]) * np.exp(-0.5 * d2) + np.exp(theta[4]) * np.identity(N)
    L = np.linalg.cholesky(C)
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, Y))
    return 0.5 * Y @ alpha + np.log(np.diagonal(L)).sum() + N / 2 * np.log(2 * np.pi)


@value
def posterior(theta):
    prior = stats.norm(0, 2.0)
    lp = prior.logpdf(theta).sum() + stats.t.logpdf(theta, df=4).sum()
    return -lp - stats.norm.logpdf(Y, loc=X6 @ theta, scale=0.5).sum()


@value
def mixture(theta):
    w = np.exp(theta[:2]) / np.exp(theta[:2]).sum()
    like = 0
    for k in range(2):
        like = like + w[k] * scipy.stats.norm.pdf(Y, theta[2 + k], np.exp(theta[4 + k]))
    return -np.log(like).sum()


@value
def hidden_markov(theta):
    A = softmax(theta[:4].reshape(2, 2), axis=1)
    means = theta[4:]
    alpha = np.zeros((N, 2))
    alpha[0] = 0.5 * np.exp(-0.5 * (Y[0] - means) ** 2)
    ll = 0.0
    for t in range(1, N):
        alpha[t] = alpha[t - 1] @ A * np.exp(-0.5 * (Y[t] - means) ** 2)
        c = alpha[t].sum()
        ll += np.log(c)
        alpha[t] /= c
    return -ll


@value
def garch(theta):
    omega, a, b = np.exp(theta[0]), expit(theta[1]) / 2, expit(theta[2]) / 2
    sigma2 = np.full(N, np.var(Y))
    for t in range(1, N):
        sigma2[t] = omega + a * Y[t - 1] ** 2 + b * sigma2[t - 1]
    return 0.5 * np.sum(np.log(sigma2) + Y**2 / sigma2)


@value
def einsum(theta):
    W = theta.reshape(2, 3)
    M = np.einsum("ni,ki->nk", X, W)
    return np.einsum("nk,nk->", M, np.sin(M)) + np.tensordot(W, W) + np.vdot(W, W)


@value
def stacks(theta):
    A = np.vstack([theta[:3], theta[3:]]) ** 2
    B = np.stack([A, 2 * A], axis=-1).transpose(2, 0, 1)
    C = np.r_[theta[0], 1.0, theta[1:3] ** 2]
    D = np.c_[np.ones(N), X] @ C
    return B.sum() + np.prod(C[1:]) + D.var() + np.append(C, [1.0]).std()


@value
def cross_entropy_with_xlogy(theta):
    p = expit(X6 @ theta)
    return -(xlogy(Y, p) + sc.xlog1py(1 - Y, -p)).sum()


@value
def scatter_add(theta):
    total = np.zeros(K)
    np.add.at(total, LABELS, np.exp(X6 @ theta))
    counts = np.bincount(LABELS, minlength=K)
    return np.sum(np.log(total) * counts)


@value
def counted_with_weights(theta):
    return np.sum(np.bincount(LABELS, weights=np.exp(X6 @ theta), minlength=K) ** 2)


@value
def safe_division(theta):
    w = theta.copy()
    w[1] = 0
    ratio = np.divide(theta, w, out=np.zeros_like(theta), where=w != 0)
    return np.sum(ratio * theta**2)


@value
def written_to_a_global(theta):
    CALLS["n"] += 1
    BUFFER[:] = theta
    np.multiply(BUFFER, 2, out=BUFFER)
    np.exp(BUFFER, BUFFER)
    return BUFFER.sum()


@value
def hinge_by_rows(theta):
    signs = 2 * Y - 1
    return sum(max(0, 1 - float(s * X6[i].dot(theta))) for i, s in enumerate(signs))


@value
def penalties(theta):
    lasso = np.abs(theta).sum() + abs(theta[0]) + sum(abs(t) for t in theta)
    smooth = np.sum(np.diff(theta, n=2) ** 2)
    return 0.1 * lasso + smooth + max(0.0, theta[2] + 10) ** 2 + min(theta) + np.max(theta)


def _sigmoid(z):
    if z >= 0:
        return 1.0 / (1.0 + math.exp(-z))
    e = math.exp(z)
    return e / (1.0 + e)


@value
def helper_per_row(theta):
    probs = [_sigmoid(sum(w * x for w, x in zip(theta, row, strict=True))) for row in X6]
    return -sum(y * math.log(p) + (1 - y) * math.log(1 - p) for y, p in zip(Y, probs, strict=True))


@value
def vectorized_helper(theta):
    return (
        np.vectorize(_sigmoid)(X6 @ theta).sum() + np.apply_along_axis(np.sum, 1, X6 * theta).max()
    )


@value
def recursion(theta):
    def horner(rest, x):
        return rest[0] + x * horner(rest[1:], x) if len(rest) else 0.0

    return sum(math.sqrt(1 + horner(list(theta), x) ** 2) for x in TIMES[:4])


@value
def sentinel(theta):
    scale = theta**2 + 1
    if np.any(scale <= 0) or not np.all(np.isfinite(scale)):
        return 1e10
    return np.sum(np.log(scale)) + np.sum((Y[:6] / scale) ** 2)


@value
def matrices_of_parameters(theta):
    P = namedtuple("P", "W b")(theta[:4].reshape(2, 2), theta[4:])
    params = {"W": P.W, "b": P.b.tolist()}
    h = np.array([np.tanh(params["W"][i] @ X[:2, 0] + params["b"][i]) for i in range(2)])
    return functools.reduce(lambda a, b: a * b, h) + np.asarray([h[0], 2.0]).sum()


@value
def quadratic_form(theta):
    M = np.kron(np.eye(2), S)
    return 0.5 * theta.T @ M @ theta - theta.dot(np.tile(Y[:3], 2)) + np.polyval(theta[:3], 0.5)


@value
def seeded_noise(theta):
    noise = np.random.default_rng(3).normal(size=(5, 6))
    return np.mean(np.sin(noise * theta).sum(axis=1))


@value
def eigenvalues(theta):
    lam, _ = np.linalg.eigh(S + np.diag(theta[:3] ** 2))
    _, s, _ = np.linalg.svd(X + theta[3:], full_matrices=False)
    return np.log(lam).sum() + s[0] + np.linalg.inv(S + np.outer(theta[:3], theta[:3])).trace()


@value
def differential_equation(theta):
    y, dt, total = np.array([1.0, 0.5]), 0.1, 0.0
    for _ in range(10):
        dy = np.array([theta[0] * y[0] - theta[1] * y[0] * y[1], theta[2] * y[0] * y[1] - y[1]])
        y = y + dt * dy
        total += (y[0] - 1) ** 2
    return total


@value
def single_number_of_shape_one(theta):
    return np.array([[np.sum(theta**4)]])


@dataclass
class Regression:
    X: np.ndarray
    y: np.ndarray
    penalty: float = 0.1

    @property
    def n(self):
        return self.X.shape[0]

    @staticmethod
    def sigmoid(z):
        return np.where(z > 0, 1 / (1 + np.exp(-z)), np.exp(z) / (1 + np.exp(z)))

    def loss(self, theta):
        p = self.sigmoid(self.X @ theta)
        self.seen = theta
        return -np.mean(np.log(p) * self.y + np.log(1 - p) * (1 - self.y)) + self.ridge(theta)

    def ridge(self, theta):
        return self.penalty * np.sum(theta**2)


class WithoutIntercept(Regression):
    def ridge(self, theta):
        return super().ridge(theta) - self.penalty * theta[0] ** 2

    def __call__(self, theta):
        return self.loss(theta) * self.n


MODEL = WithoutIntercept(X6, Y)
VALUES += [MODEL.loss, MODEL, functools.partial(Regression.loss, MODEL), lambda t: MODEL.loss(t)]


def closure(data, labels):
    beta = np.linspace(0, 1, 6)

    def objective(theta, scale=2.0, beta=beta):
        return float(np.sum((data @ (theta - beta) - labels) ** 2) / scale)

    return objective


VALUES.append(closure(X6, Y))
