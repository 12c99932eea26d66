"""More values in NumPy: objects, odd corners of the library, tables, matrices, branches."""

import abc
import collections
import enum
import functools
import itertools
import math
import operator
import random
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.linalg as la
import pandas as pd
import scipy.linalg as sla
import scipy.sparse as sp
import scipy.special as s
import scipy.stats as st
from scipy.spatial.distance import cdist
from scipy.special import expit

rng = np.random.default_rng(0)
N = 10
X = rng.normal(size=(N, 6))
X3 = X[:, :3].copy()
y = (rng.random(N) < 0.5).astype(int)
names = np.array(["a", "b"])[y]
lab = rng.integers(0, 3, N)
XS = sp.csr_matrix(X)
DF = pd.DataFrame(X3, columns=list("abc"))
DF["y"] = y
VALUES = []
BRANCHING = []


def v(function):
    VALUES.append(function)
    return function


def b(function):
    BRANCHING.append(function)
    return function


@v
def unpack(theta):
    a, b, *rest = theta
    s = rest[-1]
    al, be = theta[:2]
    return (a - 1) ** 2 + b * al + math.exp(s) + sum(r**2 for r in rest) + be


@v
def checks(theta):
    theta = np.asarray(theta, dtype=np.float64)
    assert theta.ndim == 1
    assert isinstance(theta, np.ndarray)
    assert len(theta) == 6
    assert np.issubdtype(theta.dtype, np.floating)
    t = np.array(theta, dtype=float).astype(np.float64).flatten()
    t = np.atleast_2d(t).T
    assert np.allclose(t.ravel(), theta)
    if np.isnan(t).any() or np.isinf(t).any():
        return np.inf
    return np.float64((t**2).sum()) + float(t[0, 0]) + t[1].item()


@v
def reduces(theta):
    M = theta[:, None] * theta[None, :]
    return (
        (
            np.logaddexp.reduce(M, axis=1).sum()
            + np.add.reduce(M).max()
            + np.maximum.reduce(M, axis=0).sum()
            + np.multiply.accumulate(theta).sum()
            + np.subtract.outer(theta, theta)[0].sum()
            + np.add.accumulate(theta)[-1]
        )
        + M.std(ddof=1)
        + np.var(M, ddof=1)
        + M.max(axis=1)[:, None].sum()
        + M.argmax(1).sum()
    )


@v
def many(theta):
    t = theta
    z = (
        np.sign(t) * np.cbrt(t)
        + np.exp2(t)
        + np.log2(1 + t**2)
        + np.log10(1 + t**2)
        + np.hypot(t, 1)
        + np.arctan2(t, 2.0)
        + np.sinc(t)
        + np.nan_to_num(t)
        + np.heaviside(t, 0.5)
    )
    return (
        z.sum()
        + np.nansum(t)
        + np.ptp(t)
        + np.flip(t)[0]
        + np.sort(t)[::-1][0]
        + np.cumprod(t)[-1]
        + np.take(t, [0, 2]).sum()
        + np.repeat(t, 2).mean()
        + np.broadcast_to(t, (2, 6)).sum()
        + np.split(t, 2)[0].sum()
        + np.array_split(t, [2, 4])[1].sum()
        + np.delete(t, 1).sum()
        + np.insert(t, 1, 5.0).sum()
        + np.swapaxes(t.reshape(2, 3), 0, 1)[0, 0]
        + np.expand_dims(t, 1).squeeze()[0]
        + np.median(t)
        + np.percentile(t, 30)
        + np.trapezoid(t, dx=0.1)
        + np.convolve(t, [1, 2.0])[2]
        + np.correlate(t, t[:2])[0]
        + np.roll(t, 1)[0] * t[0]
        + np.pad(t, 1)[1]
        + np.interp(0.3, [0, 1.0], t[:2])
        + np.cross(t[:3], t[3:]).sum()
        + np.average(t, weights=np.arange(6))
        + np.average(t)
        + np.gradient(t).sum()
        + np.cov(t[:3], t[3:])[0, 1]
        + np.corrcoef(t[:3], t[3:])[0, 1]
    )


@v
def linalg_many(theta):
    A = X3.T @ X3 + np.outer(theta[:3], theta[:3])
    b = theta[3:]
    L = sla.cholesky(A, lower=True)
    return (
        la.norm(X3 * b, axis=1).sum()
        + la.pinv(A).sum()
        + la.lstsq(X3, X @ theta, rcond=None)[0].sum()
        + la.matrix_power(A, 2).trace()
        + la.multi_dot([b, A, b])
        + sla.solve_triangular(L, b, lower=True).sum()
        + sla.expm(A / 10).sum()
        + sla.block_diag(A, A).sum()
        + sla.toeplitz(b).sum()
        + la.slogdet(A).logabsdet
        + la.cond(A) * 0
        + sla.solve(A, b, assume_a="pos").sum()
        + sla.inv(A).sum()
        + sla.det(A)
        + la.norm(A, "fro")
        + la.norm(b, 1)
        + la.eigvalsh(A).sum()
        + np.linalg.svd(A, compute_uv=False)[0]
        + la.qr(A)[1][0, 0]
        + sla.cho_solve((L, True), b).sum()
        + np.inner(b, b)
        + np.matmul(A, b).sum()
    )


@v
def by_labels(theta):
    tot = 0
    for c in np.unique(names):
        rows = X[names == c]
        tot += np.sum((rows @ theta) ** 2) / (names == c).sum()
    return (
        tot
        + (names == "a").astype(float).dot(np.exp(X @ theta))
        + len(set(y))
        + collections.Counter(y.tolist())[1]
    )


@v
def pieces(theta):
    z = X @ theta
    a = np.select([z < -1, z > 1], [-z, z], default=z**2)
    b = np.piecewise(z, [z < 0, z >= 0], [lambda x: x**2, lambda x: x**3])
    return a.sum() + b.sum()


@v
def sparse_data(theta):
    z = XS @ theta
    z2 = XS.dot(theta)
    return (
        np.sum(np.logaddexp(0, z))
        + (XS.T @ np.tanh(z2)).sum()
        + XS.toarray().dot(theta).sum()
        + XS.shape[0]
    )


@v
def params_dict(theta):
    p = {"W": theta[:4].reshape(2, 2), "b": theta[4:]}
    q = collections.OrderedDict(p)
    d = collections.defaultdict(float)
    for k, val in q.items():
        d[k] += np.sum(val**2)
    for k in p:
        p[k] = np.array(p[k]) * 2
    return sum(np.sum(z**2) for z in p.values()) + d["W"] + sum(d.values())


@v
def fromiter(theta):
    g = np.fromiter((math.exp(t) for t in theta), dtype=float, count=6)
    h = np.fromfunction(lambda i, j: i * j, (2, 3)) + np.array(list(map(math.sin, theta))).reshape(
        2, 3
    )
    tot = 0.0
    for (i, j), x in np.ndenumerate(theta.reshape(2, 3)):
        tot += x * i + j * x**2
    for i, j in np.ndindex(2, 3):
        tot += theta[3 * i + j]
    return g.sum() + h.sum() + tot


@v
def fft(theta):
    s = np.fft.fft(theta)
    r = np.fft.rfft(theta)
    return np.sum(np.abs(s) ** 2 * np.arange(6)) + np.real(r[1]) + r[2].imag ** 2


class Layer:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def __call__(self, x):
        return np.tanh(x @ self.W + self.b)


class Net:
    scale = np.array([1.0, 2.0])

    def __init__(self, sizes):
        self.sizes = sizes
        self.layers = []

    def load(self, theta):
        self.layers = []
        i = 0
        for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=False):
            W = theta[i : i + a * b].reshape(a, b)
            i += a * b
            self.layers.append(Layer(W, np.zeros(b)))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def __getitem__(self, i):
        return self.layers[i]

    @classmethod
    def make(cls):
        return cls([2, 2, 1])

    @functools.cached_property
    def c(self):
        return np.ones(2) * self.scale


@v
def nets(theta):
    net = Net.make()
    net.load(theta)
    return (
        np.mean((net.forward(X[:, :2]) - y[:, None]) ** 2)
        + net[0].W.sum() * net.c.sum()
        + len(net.layers)
    )


NET = Net([2, 2, 1])


@v
def net_global(theta):
    NET.load(theta)
    return np.mean((NET.forward(X[:, :2]) - y[:, None]) ** 2)


@dataclass(frozen=True)
class Par:
    a: float
    b: object
    c: list = field(default_factory=list)

    def pen(self):
        return self.a**2 + np.sum(np.square(self.b))


class NT(NamedTuple):
    a: float
    b: object

    def pen(self):
        return self.a * np.sum(self.b)


class Sl:
    __slots__ = ("u",)

    def __init__(self, u):
        self.u = u

    def f(self):
        return np.zeros(3) + self.u


SL = Sl(np.ones(3))


class Kind(enum.Enum):
    A = 1
    B = 2


T = TypeVar("T")


class Base(abc.ABC, Generic[T]):
    @abc.abstractmethod
    def f(self, x): ...
    def g(self, x):
        return self.f(x) * 2


class Der(Base[int]):
    def f(self, x):
        return np.zeros(2) + x[:2]

    def g(self, x):
        return super().g(x) + 1


@v
def objects(theta):
    p = Par(theta[0], theta[1:])
    q = replace(p, a=theta[2])
    nt = NT(theta[3], theta)
    k = Kind.A
    return (
        p.pen()
        + q.pen()
        + nt.pen()
        + (SL.f() * theta[:3]).sum()
        + Der().g(theta).sum()
        + (1 if k is Kind.A else 0)
        + isinstance(p, Par)
    )


@v
def state(theta, hist=None):
    if hist is None:
        hist = []
    hist.append(float(np.sum(theta)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        time.time()
    np.random.seed(1)
    e = np.random.randn(6)
    r = np.random.RandomState(3).uniform(size=6)
    random.seed(3)
    return np.sum((theta * e + r) ** 2) + random.random()


@v
def tries(theta):
    tot = 0
    for z in X @ theta * 300:
        try:
            tot += math.log(1 + math.exp(z))
        except OverflowError:
            tot += z
    return tot


@v
def ops(theta):
    a = theta.copy()
    a **= 2
    a /= 3
    a -= 1
    a[1:] *= 2
    a[0] += 5
    a[[1, 2]] = a[[2, 1]]
    a[-1] = pow(a[0], 2)
    B = a.reshape(2, 3).copy()
    B[:, 0] += 1
    B[0] = B[1] ** 2
    B[1, :2] *= theta[:2]
    B[B < 0] = 0
    C = np.zeros((2, 3))
    np.dot(B, np.eye(3), out=C)
    C[:, [0, 2]] += 1
    C.T[0] = 7
    return (
        functools.reduce(np.dot, [np.ones(2), C, np.ones(3)])
        + operator.matmul(a, a)
        + (a % 1).sum()
        + (a // 2).sum()
        + divmod(a[0], 2)[1]
        + round(a[1], 3) * 0
        + -a[2]
    )


def deco(f):
    @functools.wraps(f)
    def w(*a, **k):
        return f(*a, **k) * 2

    return w


@functools.cache
def cached(n):
    return np.ones(n)


@deco
def inner(z, power=2):
    return np.sum(np.asarray(z) ** power)


@np.vectorize
def soft(z):
    return math.log1p(math.exp(z)) if z < 30 else z


@v
def decorated(theta):
    return inner(theta, power=3) + cached(6) @ theta + soft(X @ theta).sum() + soft(theta[0])


@v
def gens(theta):
    def g():
        for i in range(6):
            yield theta[i] ** 2

    return (
        np.sum(list(g()))
        + sum(g())
        + max(g())
        + min(theta[0], theta[1], 5)
        + any(t > 100 for t in theta)
        + np.sum([a * b for a, b in itertools.combinations(theta, 2)])
        + sorted(theta)[0]
        + np.max([theta[0] ** 2, theta[1]])
    )


@v
def jaxy(theta):
    import jax.numpy as jnp

    return float(jnp.sum(jnp.exp(theta))) + np.asarray(jnp.dot(X, theta)).sum()


@v
def specials(theta):
    t = np.exp(theta) + 0.1
    return (
        (
            s.gammaln(t)
            + s.digamma(t)
            + s.erf(t)
            + s.erfc(t)
            + s.expit(t)
            + s.logit(s.expit(t))
            + s.log1p(t)
            + s.xlogy(2, t)
            + s.ndtr(t)
            + s.log_ndtr(t)
            + s.betaln(t, 2)
            + s.polygamma(1, t)
            + s.i0(t)
            + s.entr(t)
            + s.expm1(t)
            + s.log_expit(t)
            + s.huber(1, t)
            + s.exprel(t)
            + s.gamma(t)
            + s.beta(t, 2.0)
            + s.boxcox(t, 0.5)
            + s.rel_entr(t, 0.3)
            + s.psi(t)
            + s.ndtri(expit(t))
        ).sum()
        + s.logsumexp(t, b=2.0)
        + s.log_softmax(X * theta, 1).sum()
        + s.comb(5, 2)
        + s.gammainc(2.0, t).sum()
        + s.loggamma(t).sum()
        + s.multigammaln(5 + t[0], 2)
    )


@v
def dists(theta):
    s = np.exp(theta[0])
    return (
        st.norm.logcdf(theta).sum()
        + st.norm(loc=theta[1], scale=s).logpdf(y).sum()
        + st.poisson.logpmf(y, np.exp(X @ theta)).sum()
        + st.bernoulli.logpmf(y, expit(X @ theta)).sum()
        + st.gamma.logpdf(1.5, s)
        + st.gamma.logpdf([1.5], a=s, scale=2).sum()
        + st.multivariate_normal.logpdf(X3, theta[:3], np.eye(3)).sum()
        + st.beta.logpdf(0.3, s, 2)
        + st.expon.logpdf(2.0, scale=s)
        + st.multivariate_normal(theta[:3], np.eye(3)).logpdf(X3).sum()
        + st.laplace.logpdf(theta).sum()
        + st.nbinom.logpmf(y, 3, expit(theta[1])).sum()
        + st.binom.logpmf(y, 1, expit(theta[2])).sum()
        + st.norm.sf(theta).sum()
        + st.logistic.logpdf(theta).sum()
        + st.t(5).logpdf(theta).sum()
    )


@v
def kernel(theta):
    D = cdist(X3, X3, "sqeuclidean")
    K = theta[0] ** 2 * np.exp(-D / (2 * theta[1] ** 2))
    K[np.diag_indices_from(K)] += 0.1
    K.flat[:: N + 1] += 0.1
    L, low = sla.cho_factor(K, lower=True)
    return y @ sla.cho_solve((L, low), y) + 2 * np.log(np.diag(L)).sum()


@v
def kernel2(theta):
    D = cdist(X3 * theta[:3], X3 * theta[:3])
    return np.exp(-D).sum()


@v
def view_writes(theta):
    Z = np.outer(theta, theta)
    for row in Z:
        row -= row.max()
        row[:] = np.exp(row)
        row /= row.sum()
    W = Z[:3]
    W *= 2
    d = Z.ravel()
    return Z[0].sum() + (Z**2).sum() + d[0]


@v
def reshape_view(theta):
    p = theta.copy()
    W = p[:4].reshape(2, 2)
    W[0] *= 3
    q = p.reshape(2, 3)
    q += 1
    p.T[2] = 4
    return np.sum(p**2)


@v
def put_along(theta):
    P = np.zeros((3, 2))
    np.put_along_axis(P, np.array([[0], [1], [0]]), theta[:3, None], axis=1)
    T = np.take_along_axis(theta.reshape(3, 2), np.array([[0], [1], [0]]), axis=1)
    idx = np.ix_([0, 1], [1])
    P[idx] += theta[4]
    M = np.triu(np.outer(theta, theta)) + np.tril(np.ones((6, 6)), -1)
    m = M[np.triu_indices(6, 1)]
    return (
        P.sum() * T.sum()
        + (P**2).sum()
        + m.sum()
        + np.block([[P, P], [P, P]]).sum()
        + np.dstack([P, P]).sum()
        + np.choose(y[:6], [theta, theta**2]).sum()
    )


@v
def matrix_type(theta):
    M = np.matrix(X)
    w = np.matrix(theta).T
    return float((M * w).sum())


@v
def shape_set(theta):
    t = theta.copy()
    t.shape = (2, 3)
    t.sort(axis=1)
    u = t.copy()
    u.fill(2.0)
    return (t @ t.T)[0, 1] + u.sum()


@v
def strings(theta):
    text = f"{theta[0]:.2f}"
    text += f"{theta.sum():.2e} {theta}"
    text += str(theta) + repr(theta[0]) + f"{theta[0]:.1f}"
    return np.sum(theta**2) + np.sign(len(text))


@v
def newton_inside(theta):
    x = 1.0
    for _ in range(20):
        f = x**3 + x - math.exp(theta[0])
        x -= f / (3 * x**2 + 1)
        if abs(f) < 1e-14:
            break
    return x + np.sum(theta**2)


@v
def frames(theta):
    eta = (
        DF[["a", "b", "c"]].values @ theta[:3]
        + DF["a"] * theta[3]
        + theta[4] * DF.b.to_numpy()
        + DF.c.values * theta[5]
    )
    return float(np.sum(DF["y"] * eta - np.log1p(np.exp(eta))))


@v
def frames2(theta):
    Xd = DF.drop(columns="y")
    eta = Xd @ theta[:3]
    eta2 = Xd.dot(theta[3:])
    return np.mean((DF.y - eta) ** 2) + eta2.sum()


@b
def svm_naive(theta):
    W = theta.reshape(2, 3)
    loss = 0.0
    dW = np.zeros_like(W)
    for i in range(N):
        s = X[i, :2].dot(W)
        c = s[lab[i]]
        count = 0
        for j in range(3):
            if j == lab[i]:
                continue
            margin = s[j] - c + 1
            if margin > 0:
                loss += margin
                dW[:, j] += X[i, :2]
                count += 1
        dW[:, lab[i]] -= count * X[i, :2]
    loss /= N
    return loss + 0.5 * np.sum(W * W)


def relu(z):
    return z if z > 0 else 0.0


def huber(r, d=1.0):
    if abs(r) <= d:
        return 0.5 * r**2
    return d * (abs(r) - d / 2)


def pin(r, q):
    if r >= 0:
        return q * r
    return (q - 1) * r


@b
def helpers(theta):
    return sum(relu(z) + huber(z) + pin(z, 0.3) for z in X @ theta)


@b
def chained(theta):
    t = 0
    for i, z in enumerate(X @ theta):
        if 0 < z < 1 and y[i] == 1:
            t += z**2
        elif z >= 1 or not y[i]:
            a = 2 * z
            t = t + a
        else:
            t -= z
    return t


@b
def in_closure(theta):
    k = 2.0

    def loss(z):
        w = k * z if z > 0.5 else z
        return w * w

    return np.sum([loss(z) for z in X @ theta])


class M:
    def __init__(self, d):
        self.d = d

    def rho(self, r):
        if np.abs(r) < self.d:
            return r * r
        return 2 * self.d * np.abs(r) - self.d**2

    def loss(self, theta):
        tot = 0.0
        for i in range(N):
            tot += self.rho(y[i] - X[i] @ theta)
        return tot


BRANCHING.append(M(1.0).loss)


@b
def lam(theta):
    def f(z):
        return z if z > 0 else 0.1 * z

    return sum(f(z) for z in X @ theta)
