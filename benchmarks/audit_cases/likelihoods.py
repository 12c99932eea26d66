"""Likelihoods of regressions and of Gaussian models, in NumPy and SciPy."""

import warnings

import numpy as np
from scipy import linalg
from scipy.special import digamma, expit, gammaln, xlogy
from scipy.stats import norm, t

from benchmarks.audit_cases.case import CHAIN, PENALTY, SIGN, approximate, right, table, wrong

# ---- counts ---------


def counts(seed, p=3):
    rng, X, _ = table(seed, 40, p)
    exposure = rng.uniform(0.5, 4, 40)
    beta = rng.normal(size=p) * 0.4
    y = rng.poisson(exposure * np.exp(X @ beta))
    return rng, X, y, np.log(exposure), beta


def poisson_nll(params, endog, exog, offset):
    lin = np.dot(exog, params) + offset
    return -np.sum(-np.exp(lin) + endog * lin - gammaln(endog + 1))


def poisson(seed, **derivatives):
    _, X, y, offset, beta = counts(seed)
    return dict(value=poisson_nll, at=beta, args=(y, X, offset), numpy=True, **derivatives)


@right("Poisson with an offset; gradient, and Hessian row by row")
def poisson_offset(seed):
    def hess(params, endog, exog, offset):
        H = np.zeros((len(params), len(params)))
        for xi, oi in zip(exog, offset, strict=True):
            H += np.exp(xi @ params + oi) * np.outer(xi, xi)
        return H

    return poisson(
        seed,
        gradient=lambda b, y, X, o: X.T @ (np.exp(X @ b + o) - y),
        hessian=hess,
    )


@wrong("the offset is missing from the gradient", "offset", "exposure")
def poisson_offset_forgotten(seed):
    return poisson(seed, gradient=lambda b, y, X, offset: -np.dot(X.T, y - np.exp(X @ b)))


@wrong(
    "the offset is missing from the gradient, and the intercept is penalised there alone",
    "offset",
    "exposure",
    also=(*PENALTY, "intercept"),
)
def poisson_offset_and_intercept(seed):
    _, X, y, offset, beta = counts(seed)
    lam = 2.5

    def value(b, offset):
        return np.sum(np.exp(X @ b + offset) - y * (X @ b)) + 0.5 * lam * np.sum(b[1:] ** 2)

    def gradient(b, offset):
        return X.T @ (np.exp(X @ b) - y) + lam * b

    return dict(value=value, gradient=gradient, at=beta + 0.5, args=(offset,), numpy=True)


@approximate("the Hessian is made by forward differences of the gradient, h = 1e-5")
def poisson_hessian_of_gradient(seed):
    def score(b, y, X, o):
        return X.T @ (np.exp(X @ b + o) - y)

    def hess(b, *args):
        H = np.empty((len(b), len(b)))
        for i in range(len(b)):
            e = np.zeros(len(b))
            e[i] = 1e-5
            H[:, i] = (score(b + e, *args) - score(b, *args)) / 1e-5
        return H

    return poisson(seed, gradient=score, hessian=hess)


@approximate("the Hessian is made by second differences of the value, h = 1e-4")
def poisson_hessian_of_value(seed):
    def hess(b, *args):
        n, h = len(b), 1e-4
        E = np.eye(n) * h
        H = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                H[i, j] = (
                    poisson_nll(b + E[i] + E[j], *args)
                    - poisson_nll(b + E[i] - E[j], *args)
                    - poisson_nll(b - E[i] + E[j], *args)
                    + poisson_nll(b - E[i] - E[j], *args)
                ) / (4 * h * h)
        return H

    return poisson(seed, hessian=hess)


def negative_binomial(seed, last_entry):
    """Parameters: beta, log alpha."""
    rng, X, y, _, beta = counts(seed)

    def loglike(params):
        mu, r = np.exp(X @ params[:-1]), np.exp(-params[-1])
        ll = gammaln(y + r) - gammaln(r) - gammaln(y + 1)
        return np.sum(ll + r * np.log(r / (r + mu)) + xlogy(y, mu / (r + mu)))

    def score(params):
        mu, alpha = np.exp(X @ params[:-1]), np.exp(params[-1])
        d_beta = X.T @ ((y - mu) / (1 + alpha * mu))
        return np.concatenate((d_beta, [last_entry(y, mu, alpha)]))

    return dict(value=loglike, gradient=score, at=np.append(beta, -0.7), numpy=True)


def by_r(y, mu, alpha, psi=digamma):
    r = 1 / alpha
    return np.sum(psi(y + r) - psi(r) + np.log(r / (r + mu)) + 1 - (y + r) / (mu + r))


@right("negative binomial regression by log alpha")
def negbin(seed):
    return negative_binomial(seed, lambda y, mu, alpha: -by_r(y, mu, alpha) / alpha)


@wrong(
    "the derivative by alpha is returned for that by log alpha",
    *CHAIN,
    "alpha",
    where="the last entry",
)
def negbin_log_alpha(seed):
    return negative_binomial(seed, lambda y, mu, alpha: -by_r(y, mu, alpha) / alpha**2)


@wrong(
    "gammaln is used where its derivative, digamma, belongs",
    "gamma",
    where="the last entry",
)
def negbin_gammaln(seed):
    return negative_binomial(seed, lambda y, mu, alpha: -by_r(y, mu, alpha, gammaln) / alpha)


def zero_inflated(seed, with_cross_block):
    """gamma (inflation) first, then beta."""
    rng, X, y, _, beta = counts(seed)
    y = y * (rng.random(40) < 0.7)
    Z = X[:, :2]

    def parts(params):
        pi, mu = expit(Z @ params[:2]), np.exp(X @ params[2:])
        inflated = pi / (pi + (1 - pi) * np.exp(-mu))
        return pi, mu, np.where(y == 0, inflated, 0.0)

    def loglike(params):
        pi, mu, _ = parts(params)
        zero = y == 0
        ll = np.empty(len(y))
        ll[zero] = np.log(pi[zero] + (1 - pi[zero]) * np.exp(-mu[zero]))
        pos = ~zero
        ll[pos] = np.log(1 - pi[pos]) - mu[pos] + y[pos] * np.log(mu[pos]) - gammaln(y[pos] + 1)
        return ll.sum()

    def score(params):
        pi, mu, post = parts(params)
        return np.r_[Z.T @ (post - pi), X.T @ (y - mu * (1 - post))]

    def hessian(params):
        pi, mu, post = parts(params)
        v = post * (1 - post)
        H = np.zeros((5, 5))
        H[:2, :2] = (Z.T * (v - pi * (1 - pi))) @ Z
        H[2:, 2:] = (X.T * (mu**2 * v - mu * (1 - post))) @ X
        if with_cross_block:
            H[:2, 2:] = (Z.T * (mu * v)) @ X
            H[2:, :2] = H[:2, 2:].T
        return H

    at = np.r_[-0.3, 0.4, beta + 0.3]
    return dict(value=loglike, gradient=score, hessian=hessian, at=at, numpy=True)


@right("a zero-inflated Poisson regression with its Hessian")
def zip_right(seed):
    return zero_inflated(seed, with_cross_block=True)


@wrong(
    "the Hessian's block between inflation and mean is zero",
    "block",
    "off-diagonal",
    "cross",
    "between",
)
def zip_cross_block(seed):
    return zero_inflated(seed, with_cross_block=False)


# ---- continuous responses ---------


def gaussian(seed, score):
    rng, X, _ = table(seed, 30, 4)
    y = X @ rng.normal(size=4) + 0.5 * rng.normal(size=30)

    def negloglik(theta):
        sigma = np.exp(theta[-1])
        return -np.sum(norm.logpdf(y, loc=X @ theta[:-1], scale=sigma))

    def gradient(theta):
        sigma = np.exp(theta[-1])
        return score(X, y - X @ theta[:-1], sigma)

    return dict(value=negloglik, gradient=gradient, at=np.r_[rng.normal(size=4), 0.6], numpy=True)


@right("linear regression by log sigma; the gradient is of shape (P, 1)")
def gaussian_column(seed):
    def score(X, r, s):
        last = len(r) - np.sum(r**2) / s**2
        return np.vstack([(-X.T @ r / s**2)[:, None], [[last]]])

    return gaussian(seed, score)


@wrong(
    "the derivative by sigma is returned for that by log sigma",
    *CHAIN,
    "sigma",
    where="the last entry",
)
def gaussian_log_sigma(seed):
    return gaussian(
        seed, lambda X, r, s: np.append(-X.T @ r / s**2, len(r) / s - np.sum(r**2) / s**3)
    )


@wrong(
    "the coefficients lack 1/sigma², and log sigma's entry lacks its chain factor sigma",
    "sigma",
    "factor",
    "variance",
    also=CHAIN,
    where="all but the last entry; the last entry",
)
def gaussian_two(seed):
    return gaussian(seed, lambda X, r, s: np.append(-X.T @ r, len(r) / s - np.sum(r**2) / s**3))


@wrong(
    "digamma(phi), of the normaliser, is missing from the entry of log phi",
    "digamma",
    "normalis",
    "normaliz",
    "gamma",
    where="the last entry",
)
def beta_regression(seed):
    rng, X, _ = table(seed, 30, 3)
    y = np.clip(rng.beta(2, 3, 30), 0.02, 0.98)

    def ll(par):
        mu, phi = expit(X @ par[:-1]), np.exp(par[-1])
        a, b = mu * phi, (1 - mu) * phi
        return np.sum(
            gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1) * np.log(y) + (b - 1) * np.log(1 - y)
        )

    def dll(par):
        mu, phi = expit(X @ par[:-1]), np.exp(par[-1])
        ystar = np.log(y / (1 - y))
        mustar = digamma(mu * phi) - digamma((1 - mu) * phi)
        db = phi * X.T @ ((ystar - mustar) * mu * (1 - mu))
        dphi = mu * (ystar - mustar) + np.log(1 - y) - digamma((1 - mu) * phi)
        return np.append(db, phi * dphi.sum())

    return dict(value=ll, gradient=dll, at=np.r_[0.3 * rng.normal(size=3), 1.2], numpy=True)


def tobit(seed, censored_too):
    """Censored from below at 0; beta, sigma."""
    rng, X, _ = table(seed, 40, 3)
    y = np.maximum(0, X @ rng.normal(size=3) + rng.normal(size=40))
    cens = y <= 0

    def negll(par):
        s = par[-1]
        if s <= 0:
            return 1e10
        xb = X @ par[:-1]
        ll = np.where(cens, norm.logcdf(-xb / s), norm.logpdf((y - xb) / s) - np.log(s))
        return -ll.sum()

    def grad(par):
        s = par[-1]
        if s <= 0:
            return np.zeros_like(par)
        xb = X @ par[:-1]
        z, u = (y - xb)[~cens] / s, -xb[cens] / s
        g = np.append(-X[~cens].T @ z / s, np.sum(1 - z**2) / s)
        if censored_too:
            mills = np.exp(norm.logpdf(u) - norm.logcdf(u))
            g += np.append(X[cens].T @ mills / s, np.sum(mills * u) / s)
        return g

    return dict(value=negll, gradient=grad, at=np.r_[0.5 * rng.normal(size=3), 1.1], numpy=True)


@right("tobit; the value is 1e10 for sigma <= 0, and the gradient zero")
def tobit_sentinel(seed):
    return tobit(seed, censored_too=True)


@wrong("the censored rows give nothing to the gradient", "censor", "rows", "mask", "subset")
def tobit_censored(seed):
    return tobit(seed, censored_too=False)


@right("Gamma regression with identity link: inf where a mean is not positive")
def gamma_identity_link(seed):
    rng = np.random.default_rng(seed)
    A = rng.uniform(0.2, 2, size=(30, 3))
    b = A @ [1.0, 0.5, 0.8] * rng.gamma(3, 1 / 3, 30)

    def f(w):
        mu = A @ w
        if np.any(mu <= 0):
            return np.inf
        return 3 * np.sum(b / mu + np.log(mu))

    def g(w):
        mu = A @ w
        return 3 * (1 / mu - b / mu**2) @ A

    return dict(value=f, gradient=g, at=np.array([0.6, 0.4, 0.9]), numpy=True)


@right("Student t errors with scipy.stats")
def student_t(seed):
    rng, X, _ = table(seed, 30, 4)
    y = X @ rng.normal(size=4) + rng.standard_t(4, 30)

    def gradient(b, df=4.0, s=0.8):
        r = y - X @ b
        return -X.T @ ((df + 1) * r / (df * s**2 + r**2))

    return dict(
        value=lambda b: -t.logpdf((y - X @ b) / 0.8, df=4).sum(),
        gradient=gradient,
        at=rng.normal(size=4),
        numpy=True,
    )


@right("least squares by np.matrix: the cost is a matrix of one number")
def least_squares_matrix(seed):
    rng, X, _ = table(seed, 20, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        X, y = np.asmatrix(X), np.asmatrix(rng.normal(size=(20, 1)))

    def cost(w):
        r = X @ w.reshape(-1, 1) - y
        return r.T @ r / (2 * len(y))

    def grad(w):
        return X.T @ (X @ w.reshape(-1, 1) - y) / len(y)

    return dict(value=cost, gradient=grad, at=rng.normal(size=3), numpy=True)


def robust_data(seed):
    rng, X, _ = table(seed, 25, 4)
    return X, X @ rng.normal(size=4) + rng.standard_t(2, 25), rng.normal(size=4)


@right("the lasso, with the sign as subgradient")
def lasso(seed):
    X, y, at = robust_data(seed)
    return dict(
        value=lambda w: 0.5 * np.mean((y - X @ w) ** 2) + 0.2 * np.abs(w).sum(),
        gradient=lambda w: -X.T @ (y - X @ w) / len(y) + 0.2 * np.sign(w),
        at=at,
        numpy=True,
    )


def check_loss(b, X, y, tau):
    u = y - X @ b
    return np.where(u < 0, (tau - 1) * u, tau * u).sum()


@right("quantile regression")
def quantile(seed):
    X, y, at = robust_data(seed)
    return dict(
        value=check_loss,
        gradient=lambda b, X, y, tau: X.T @ ((y < X @ b) - tau),
        at=at,
        args=(X, y, 0.3),
        numpy=True,
    )


@wrong("quantile regression for 1 - tau in place of tau", "tau", "quantile", "1 -", "constant")
def quantile_reversed(seed):
    X, y, at = robust_data(seed)
    return dict(
        value=check_loss,
        gradient=lambda b, X, y, tau: -X.T @ np.where(y - X @ b > 0, 1 - tau, -tau),
        at=at,
        args=(X, y, 0.3),
        numpy=True,
    )


@wrong(
    "Huber: outside of delta the residual is not clipped in the gradient",
    "clip",
    "huber",
    "delta",
    "outlier",
    "mask",
    "branch",
)
def huber_unclipped(seed):
    X, y, at = robust_data(seed)

    def huber(w, delta=1.0):
        r = y - X @ w
        small = np.abs(r) <= delta
        return np.sum(small * 0.5 * r**2 + ~small * delta * (np.abs(r) - delta / 2))

    return dict(value=huber, gradient=lambda w: -X.T @ (y - X @ w), at=at, numpy=True)


# ---- covariances ---------


@wrong(
    "the log-determinant is missing from the Cholesky factor's gradient",
    "determinant",
    "logdet",
    "diag",
    where="the diagonal of L",
)
def gaussian_cholesky(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(25, 3)) @ rng.normal(size=(3, 3))
    rows, cols = np.tril_indices(3)

    def unpack(p):
        L = np.zeros((3, 3))
        L[rows, cols] = p[3:]
        return p[:3], L

    def nll(p):
        mean, L = unpack(p)
        Z = linalg.solve(L, (X - mean).T)
        return 0.5 * np.sum(Z**2) + len(X) * np.sum(np.log(np.abs(np.diag(L))))

    def grad(p):
        mean, L = unpack(p)
        Z = linalg.solve_triangular(L, (X - mean).T, lower=True)
        back = linalg.solve_triangular(L.T, Z)
        return np.concatenate([-back.sum(axis=1), -(back @ Z.T)[rows, cols]])

    at = np.r_[0.3, -0.2, 0.1, 1.2, 0.4, 1.5, -0.3, 0.2, 0.9]
    return dict(value=nll, gradient=grad, at=at, numpy=True)


def gaussian_process(seed, trace=True, ell_sign=1, noise_power=2):
    """log length scale, log signal, log noise."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 5, 15))
    y = np.sin(x) + 0.2 * rng.normal(size=15)
    d2 = (x[:, None] - x[None]) ** 2

    def kernel(p):
        ell, sf, sn = np.exp(p)
        Kf = sf**2 * np.exp(-0.5 * d2 / ell**2)
        return Kf, Kf + sn**2 * np.eye(len(x))

    def nlml(p):
        _, K = kernel(p)
        sign, logdet = np.linalg.slogdet(K)
        return 0.5 * y @ np.linalg.solve(K, y) + 0.5 * logdet + 0.5 * len(x) * np.log(2 * np.pi)

    def gradient(p):
        ell, sf, sn = np.exp(p)
        Kf, K = kernel(p)
        c = linalg.cho_factor(K)
        a = linalg.cho_solve(c, y)
        Kinv = linalg.cho_solve(c, np.eye(len(x)))
        inner = trace * Kinv - np.outer(a, a)
        dKs = [ell_sign * Kf * d2 / ell**2, 2 * Kf, 2 * sn**noise_power * np.eye(len(x))]
        return np.array([0.5 * np.trace(inner @ dK) for dK in dKs])

    return dict(value=nlml, gradient=gradient, at=np.array([0.1, 0.2, -0.9]), numpy=True)


@right("a Gaussian process's marginal likelihood by log hyperparameters")
def gp_marginal(seed):
    return gaussian_process(seed)


@wrong("the trace, of the log-determinant, is missing", "trace of", "determinant", "logdet")
def gp_trace(seed):
    return gaussian_process(seed, trace=False)


@wrong(
    "the length scale's entry has the wrong sign, and log noise lacks its chain factor",
    *SIGN,
    also=CHAIN,
    where="entry 0; entry 2",
)
def gp_two(seed):
    return gaussian_process(seed, ell_sign=-1, noise_power=1)


@wrong(
    "the halves of the traces, of half the log-determinant, are missing",
    "half",
    "trace of",
    "determinant",
    "0.5",
    where="log variances",
)
def variance_components(seed):
    rng, X, _ = table(seed, 24, 2)
    Z = np.kron(np.eye(6), np.ones((4, 1)))
    y = X @ [1.0, -0.5] + Z @ rng.normal(size=6) + 0.7 * rng.normal(size=24)
    components = [Z @ Z.T, np.eye(24)]

    def deviance(theta):
        V = sum(np.exp(s) * C for s, C in zip(theta[2:], components, strict=True))
        r = y - X @ theta[:2]
        return 0.5 * np.linalg.slogdet(V)[1] + 0.5 * r @ np.linalg.inv(V) @ r

    def grad(theta):
        V = sum(np.exp(s) * C for s, C in zip(theta[2:], components, strict=True))
        r = y - X @ theta[:2]
        Vi = np.linalg.inv(V)
        g = np.zeros(4)
        g[:2] = -X.T @ Vi @ r
        for k, C in enumerate(components):
            dV = np.exp(theta[2 + k]) * C
            g[2 + k] = np.sum(Vi * dV) - 0.5 * r @ Vi @ dV @ Vi @ r
        return g

    return dict(value=deviance, gradient=grad, at=np.array([0.8, -0.3, 0.1, -0.6]), numpy=True)
