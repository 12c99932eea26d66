"""Logistic and softmax regression and linear classifiers, in the manner of courses and blogs."""

import math

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax
from scipy.stats import norm

from benchmarks.audit_cases.case import CHAIN, MEAN, PENALTY, SIGN, right, table, wrong


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


# ---- theta of shape (n, 1), m examples, lambda / 2m ---------


def cost_function(theta, X, y, lam):
    m = len(y)
    h = sigmoid(X @ theta)
    J = (-1 / m) * (y.T @ np.log(h + 1e-15) + (1 - y).T @ np.log(1 - h + 1e-15))
    return J + lam / (2 * m) * np.sum(theta[1:] ** 2)


def course(seed, gradient, lam=3.0):
    rng, X, y = table(seed, 50, 5)
    theta = rng.normal(size=(5, 1)) * 0.5
    y = y.reshape(-1, 1)
    return dict(value=cost_function, gradient=gradient, at=theta, args=(X, y, lam), numpy=True)


@right("theta and the cost are matrices: the cost is of shape (1, 1); logarithms are guarded")
def course_guarded(seed):
    def gradient(theta, X, y, lam):
        m = len(y)
        grad = X.T @ (sigmoid(X @ theta) - y) / m
        grad[1:] = grad[1:] + lam / m * theta[1:]
        return grad

    return course(seed, gradient)


@right("as before; the gradient is returned flat")
def course_flattened(seed):
    def gradient(theta, X, y, lam):
        m = len(y)
        reg = lam / m * theta
        reg[0] = 0
        return (X.T @ (sigmoid(X @ theta) - y) / m + reg).flatten()

    return course(seed, gradient)


@wrong(
    "the gradient penalises the intercept, the cost does not",
    *PENALTY,
    "intercept",
    "bias",
    where="entry 0",
)
def course_penalised_bias(seed):
    def gradient(theta, X, y, lam):
        m = len(y)
        return 1 / m * X.T @ (sigmoid(X @ theta) - y) + lam / m * theta

    return course(seed, gradient)


@wrong(
    "the penalty is differentiated to half of what it is: lam/(2m) theta",
    *PENALTY,
    "half",
    where="all but entry 0",
)
def course_half_penalty(seed):
    def gradient(theta, X, y, lam):
        m = len(y)
        mask = np.ones_like(theta)
        mask[0] = 0
        return 1 / m * X.T @ (sigmoid(X @ theta) - y) + lam / (2 * m) * theta * mask

    return course(seed, gradient)


@wrong(
    "lam // m is 0, so that the penalty is missing from the gradient",
    *PENALTY,
    where="all but entry 0",
)
def course_integer_division(seed):
    def gradient(theta, X, y, lam):
        m = X.shape[0]
        grad = np.zeros(theta.shape)
        error = sigmoid(np.dot(X, theta)) - y
        for j in range(theta.shape[0]):
            grad[j] = np.sum(error * X[:, j : j + 1]) / m
            if j > 0:
                grad[j] += (lam // m) * theta[j]
        return grad

    return course(seed, gradient, lam=8)


@wrong(
    "the data's gradient is not divided by m, and the penalty's sign is wrong",
    *MEAN,
    also=PENALTY,
)
def course_sum_and_penalty_sign(seed):
    def gradient(theta, X, y, lam):
        m = len(y)
        grad = X.T @ (sigmoid(X @ theta) - y)
        grad[1:] -= lam / m * theta[1:]
        return grad

    return course(seed, gradient)


# ---- w of shape (p,), a mean ---------


def log_loss(w, X, y):
    z = np.clip(X.dot(w), -30, 30)
    p = 1 / (1 + np.exp(-z))
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def log_loss_eps(w, X, y, eps=1e-7):
    p = np.clip(expit(X.dot(w)), eps, 1 - eps)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


def blog(seed, value, gradient, p=6, **more):
    rng, X, y = table(seed, 60, p)
    return dict(
        value=value, gradient=gradient, at=rng.normal(size=p), args=(X, y), numpy=True, **more
    )


@right("logits are clipped to ±30")
def blog_clipped_logits(seed):
    return blog(seed, log_loss, lambda w, X, y: X.T.dot(expit(X.dot(w)) - y) / len(y))


@right("probabilities are clipped to 1e-7; the gradient is of shape (1, P)")
def blog_clipped_probabilities(seed):
    def gradient(w, X, y):
        return (np.dot((expit(X @ w) - y).reshape(1, -1), X)) / X.shape[0]

    return blog(seed, log_loss_eps, gradient)


@wrong(
    "the sum over the examples is not divided by n",
    *MEAN,
)
def blog_sum(seed):
    return blog(seed, log_loss_eps, lambda w, X, y: X.T @ (expit(X @ w) - y))


@wrong("the gradient of the log likelihood, for a loss: the sign", *SIGN)
def blog_ascent(seed):
    def gradient(w, X, y):
        return np.dot(X.T, y - sigmoid(np.dot(X, w))) / y.size

    return blog(seed, log_loss, gradient)


@wrong(
    "(n,) - (n, 1) is an (n, n) matrix, whose average over the wrong axis is taken",
    "broadcast",
    "shape",
    "(n, n)",
    "mean prediction",
    "average prediction",
)
def blog_broadcast(seed):
    def gradient(w, X, y):
        y = y[:, None]
        error = sigmoid(X @ w) - y
        return (X.T @ error).mean(axis=1) / len(y)

    return blog(seed, log_loss, gradient)


@wrong(
    "sigmoid' is multiplied in, as of squared error: (p - y) p (1 - p)",
    "sigmoid",
    "activation",
    "p(1",
    "p (1",
    "p·(1",
    "squared",
)
def blog_extra_sigmoid_prime(seed):
    def gradient(w, X, y):
        a = sigmoid(X @ w)
        return X.T @ ((a - y) * a * (1 - a)) / len(y)

    return blog(seed, log_loss, gradient)


@wrong("weights of the examples are missing from the gradient", "weight")
def weighted_forgotten(seed):
    rng, X, y = table(seed, 45, 5)
    s = rng.uniform(0.2, 3.0, 45)

    def loss(w, X, y, s):
        return np.sum(s * (np.logaddexp(0, X @ w) - y * (X @ w))) / s.sum()

    def gradient(w, X, y, s):
        return X.T @ (expit(X @ w) - y) / s.sum()

    return dict(value=loss, gradient=gradient, at=rng.normal(size=5), args=(X, y, s), numpy=True)


@wrong(
    "weights of the examples, and the penalty, are missing from the gradient",
    "weight",
    also=PENALTY,
)
def weighted_forgotten_and_penalty(seed):
    rng, X, y = table(seed, 45, 5)
    s = rng.uniform(0.2, 3.0, 45)
    alpha = 0.7

    def loss(w):
        z = X @ w
        return np.sum(s * (np.logaddexp(0, z) - y * z)) + 0.5 * alpha * w @ w

    def gradient(w):
        return X.T @ (expit(X @ w) - y)

    return dict(value=loss, gradient=gradient, at=rng.normal(size=5), numpy=True)


@right("everything in float32")
def single_precision(seed):
    rng, X, y = table(seed, 40, 5)
    X, y = X.astype(np.float32), y.astype(np.float32)
    return dict(
        value=lambda w: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)),
        gradient=lambda w: X.T @ (sigmoid(X @ w) - y) / X.dtype.type(len(y)),
        at=rng.normal(size=5).astype(np.float32),
        numpy=True,
    )


@right("a list of three floats, and nothing but the standard library")
def pure_python(seed):
    rng, X, y = table(seed, 12, 3)
    rows = [(list(map(float, x)), int(t)) for x, t in zip(X, y, strict=True)]

    def predict(theta, row):
        total = 0.0
        for j in range(len(theta)):
            total += float(theta[j]) * row[j]
        return 1.0 / (1.0 + math.exp(-total))

    def loss(theta):
        total = 0.0
        for row, label in rows:
            p = predict(theta, row)
            total -= math.log(p) if label == 1 else math.log(1 - p)
        return total / len(rows)

    def gradient(theta):
        grad = [0.0] * len(theta)
        for row, label in rows:
            error = predict(theta, row) - label
            for j in range(len(theta)):
                grad[j] += error * row[j] / len(rows)
        return grad

    return dict(value=loss, gradient=gradient, at=[0.2, -0.4, 0.1], numpy=True)


# ---- labels ±1, a penalty, second derivatives ---------


def signed_problem(seed, p=5):
    rng, X, y = table(seed, 40, p)
    y = np.where(y > 0, 1, -1)
    alpha = 0.3

    def loss(w):
        return np.mean(np.log1p(np.exp(-y * X.dot(w)))) + 0.5 * alpha * np.dot(w, w)

    def gradient(w):
        return -(X.T * (y * expit(-y * X.dot(w)))).sum(axis=1) / len(y) + alpha * w

    return X, y, alpha, loss, gradient, rng.normal(size=p)


@right("labels ±1; gradient, Hessian, and Hessian times a vector")
def signed_labels(seed):
    X, y, alpha, loss, gradient, at = signed_problem(seed)

    def hvp(w, v):
        p = expit(X @ w)
        return X.T @ (p * (1 - p) * (X @ v)) / len(y) + alpha * v

    def hessian(w):
        p = expit(X @ w)
        return X.T @ np.diag(p * (1 - p)) @ X / len(y) + alpha * np.eye(len(w))

    return dict(value=loss, gradient=gradient, hessian=hessian, hvp=hvp, at=at, numpy=True)


@wrong("the penalty is missing from the Hessian", *PENALTY, "identity")
def signed_hessian_penalty(seed):
    X, y, _, loss, gradient, at = signed_problem(seed)

    def hessian(w):
        p = expit(X @ w)
        return np.einsum("ij,i,ik->jk", X, p * (1 - p), X) / len(y)

    return dict(value=loss, gradient=gradient, hessian=hessian, at=at, numpy=True)


@wrong(
    "Hessian times v: the penalty adds alpha w, in place of alpha v",
    *PENALTY,
    "alpha",
    "instead of v",
    "in place of v",
)
def signed_hvp_wrong_vector(seed):
    X, y, alpha, loss, _, at = signed_problem(seed)

    def hess_p(w, v):
        p = expit(X @ w)
        return X.T @ (p * (1 - p) * (X @ v)) / len(y) + alpha * w

    return dict(value=loss, hvp=hess_p, at=at, numpy=True)


@wrong(
    "the Hessian is that of the sum, not of the mean",
    *MEAN,
)
def irls_hessian_sum(seed):
    def gradient(w, X, y):
        return X.T @ (expit(X @ w) - y) / len(y)

    def hessian(w, X, y):
        mu = expit(X @ w)
        W = np.diag(mu * (1 - mu))
        return X.T @ W @ X

    return blog(seed, log_loss, gradient, p=4, hessian=hessian)


@wrong(
    "the Hessian's weights are p in place of p (1 - p)",
    "p(1",
    "p (1",
    "p·(1",
    "1 - p",
    "1 − p",
    "variance",
    "weight",
)
def irls_hessian_weights(seed):
    def hessian(w, X, y):
        return (X.T * expit(X @ w)) @ X / len(y)

    return blog(seed, log_loss, None, p=4, hessian=hessian)


class LogisticRegression:
    """coef then intercept, as in w = np.append(coef, intercept)."""

    def __init__(self, X, y, C=1.0):
        self.X, self.y, self.C = X, y, C
        self.n_calls = 0
        self.cache = {}

    def decision(self, w):
        return self.X @ w[:-1] + w[-1]

    def loss(self, w):
        self.n_calls += 1
        z = self.decision(w)
        nll = np.where(z > 0, np.log1p(np.exp(-np.abs(z))) + z, np.log1p(np.exp(-np.abs(z))))
        return self.C * np.sum(nll - self.y * z) + 0.5 * np.sum(w[:-1] ** 2)

    def residual(self, w):
        key = np.asarray(w).tobytes()
        if key not in self.cache:
            self.cache[key] = expit(self.decision(w)) - self.y
        return self.cache[key]

    def grad(self, w):
        r = self.residual(w)
        return np.append(self.C * self.X.T @ r + w[:-1], self.C * r.sum())

    def grad_swapped(self, w):
        r = self.residual(w)
        return np.r_[self.C * r.sum(), self.C * self.X.T @ r + w[:-1]]

    def grad_stale(self, w):
        if not hasattr(self, "r"):
            self.r = expit(self.decision(w)) - self.y
        return np.append(self.C * self.X.T @ self.r + w[:-1], self.C * self.r.sum())


def model_object(seed):
    rng, X, y = table(seed, 30, 4)
    return LogisticRegression(X[:, 1:], y, C=0.8), rng.normal(size=4)


@right("methods of an object that counts its calls and caches what it computed")
def class_with_cache(seed):
    model, at = model_object(seed)
    return dict(value=model.loss, gradient=model.grad, at=at, numpy=True)


@wrong(
    "the intercept's entry comes first in the gradient, and last in w",
    "order",
    "permut",
    "position",
    "shift",
    "roll",
    "swap",
)
def class_intercept_first(seed):
    model, at = model_object(seed)
    return dict(value=model.loss, gradient=model.grad_swapped, at=at, numpy=True)


@wrong(
    "the residuals of the very first call are kept and used at all later points",
    "cache",
    "stale",
    "state",
    "first call",
    "another point",
    "earlier",
    "previous",
    "same at",
    "does not depend",
    "constant",
)
def class_stale_cache(seed):
    model, at = model_object(seed)
    return dict(value=model.loss, gradient=model.grad_stale, at=at, numpy=True)


# ---- softmax ---------


def softmax_loss_naive(W, X, y, reg):
    """Loops; returns loss and dW."""
    loss, dW = 0.0, np.zeros(W.shape)
    num_train = X.shape[0]
    for i in range(num_train):
        scores = X[i].dot(W)
        scores -= np.max(scores)
        p = np.exp(scores) / np.sum(np.exp(scores))
        loss += -np.log(p[y[i]])
        for k in range(W.shape[1]):
            dW[:, k] += (p[k] - (k == y[i])) * X[i]
    return loss / num_train + reg * np.sum(W * W), dW


def softmax_loss_vectorized(W, X, y, reg):
    N = len(X)
    scores = X @ W
    scores -= scores.max(axis=1, keepdims=True)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(probs[range(N), y]).mean() + reg * np.sum(W[:-1] ** 2)
    probs[range(N), y] -= 1
    dW = X.T @ probs / N
    dW[:-1] += 2 * reg * W[:-1]
    return loss, dW


def images(seed, D=4, C=3, N=25):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(N, D)) + 0.5, rng.integers(0, C, N)
    return X, y, rng.normal(size=(D, C)) * 0.5


@right("one function returns loss and gradient; bias stacked as a last row, unpenalised")
def softmax_vectorized(seed):
    X, y, W = images(seed, 5)
    X[:, -1] = 1
    return dict(
        value=lambda W: softmax_loss_vectorized(W, X, y, 0.1)[0],
        gradient=lambda W: softmax_loss_vectorized(W, X, y, 0.1)[1],
        at=W,
        numpy=True,
    )


@wrong(
    "the derivative of reg·W² is taken to be reg·W: factor 2 of the penalty missing",
    *PENALTY,
)
def softmax_reg_factor(seed):
    X, y, W = images(seed)

    def gradient(W):
        _, dW = softmax_loss_naive(W, X, y, 0.4)
        return dW / len(X) + 0.4 * W

    return dict(
        value=lambda W: softmax_loss_naive(W, X, y, 0.4)[0], gradient=gradient, at=W, numpy=True
    )


@wrong(
    "dW is not divided by the number of examples, and the penalty is missing from it",
    *MEAN,
    also=PENALTY,
)
def softmax_unscaled_unpenalised(seed):
    X, y, W = images(seed)

    def both(W, X, y, reg):
        return softmax_loss_naive(W, X, y, reg)

    return dict(
        value=lambda W: both(W, X, y, 0.4)[0],
        gradient=lambda W: both(W, X, y, 0.4)[1],
        at=W,
        numpy=True,
    )


@wrong("the gradient is transposed, of a square W", "transpos", ".t", "order", "permut")
def softmax_transposed(seed):
    X, y, W = images(seed, 4, 4)
    Y = np.eye(4)[y]

    def gradient(W):
        return (softmax(X @ W, axis=1) - Y).T @ X / len(X)

    return dict(
        value=lambda W: -np.sum(Y * log_softmax(X @ W, axis=1)) / len(X),
        gradient=gradient,
        at=W,
        numpy=True,
    )


@wrong(
    "softmax is normalised over the examples (axis 0) in the gradient",
    "axis",
    "normal",
    "examples",
)
def softmax_axis(seed):
    X, y, W = images(seed)
    onehot = np.eye(3)[y]

    def my_softmax(z):
        e = np.exp(z - np.max(z))
        return e / e.sum(axis=0)

    def cross_entropy(W):
        z = X @ W
        return np.mean(logsumexp(z, axis=1) - z[np.arange(len(y)), y])

    def gradient(W):
        return X.T @ (my_softmax(X @ W) - onehot) / len(y)

    return dict(value=cross_entropy, gradient=gradient, at=W, numpy=True)


@wrong(
    "the gradient is that of hard labels, the loss smooths them",
    "smooth",
    "label",
    "target",
)
def softmax_label_smoothing(seed):
    X, y, W = images(seed)
    hard = np.eye(3)[y]
    soft = hard * (1 - 0.15) + 0.15 / 3

    return dict(
        value=lambda W, X, hard, soft: -np.mean(np.sum(soft * log_softmax(X @ W, 1), axis=1)),
        gradient=lambda W, X, hard, soft: X.T @ (softmax(X @ W, 1) - hard) / len(X),
        at=W,
        args=(X, hard, soft),
        numpy=True,
    )


def reference_problem(seed, order):
    rng = np.random.default_rng(seed)
    n, p, K = 40, 3, 4
    X, y = rng.normal(size=(n, p)), rng.integers(0, K, n)
    D = np.eye(K)[y][:, 1:]

    def probabilities(params):
        eta = np.column_stack((np.zeros(n), X @ params.reshape(p, K - 1, order=order)))
        return np.exp(eta) / np.exp(eta).sum(1)[:, None]

    def nll(params):
        return -np.log(probabilities(params)[np.arange(n), y]).sum()

    return X, D, probabilities, nll, rng.normal(size=p * (K - 1)) * 0.5


@right("multinomial logit with a reference class, unrolled column by column")
def mnlogit_fortran(seed):
    X, D, probabilities, nll, at = reference_problem(seed, "F")

    def score(params):
        return -(X.T @ (D - probabilities(params)[:, 1:])).flatten(order="F")

    def hessian(params):
        pr = probabilities(params)[:, 1:]
        blocks = [
            [(X.T * (pr[:, i] * ((i == j) - pr[:, j]))) @ X for j in range(pr.shape[1])]
            for i in range(pr.shape[1])
        ]
        return np.block(blocks)

    return dict(value=nll, gradient=score, hessian=hessian, at=at, numpy=True)


@wrong(
    "the parameters are unrolled by columns, the gradient by rows",
    "order",
    "permut",
    "fortran",
    "transpos",
)
def mnlogit_c_for_fortran(seed):
    X, D, probabilities, nll, at = reference_problem(seed, "F")
    return dict(
        value=nll,
        gradient=lambda params: (X.T @ (probabilities(params)[:, 1:] - D)).ravel(),
        at=at,
        numpy=True,
    )


@wrong(
    "the Hessian has only its blocks of a class with itself; those between classes are zero",
    "block",
    "off-diagonal",
    "between",
    "cross",
)
def mnlogit_block_diagonal(seed):
    X, D, probabilities, nll, at = reference_problem(seed, "F")

    def score(params):
        return (X.T @ (probabilities(params)[:, 1:] - D)).ravel(order="F")

    def hessian(params):
        P = probabilities(params)[:, 1:]
        H = np.zeros((9, 9))
        for k in range(3):
            W = np.diag(P[:, k] * (1 - P[:, k]))
            H[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = X.T @ W @ X
        return H

    return dict(value=nll, gradient=score, hessian=hessian, at=at, numpy=True)


# ---- relatives ---------


@right("the loss of calibration by one temperature; a parameter of size one")
def temperature(seed):
    rng = np.random.default_rng(seed)
    logits, y = rng.normal(size=(50, 4)) * 3, rng.integers(0, 4, 50)

    def nll(T):
        z = logits / T
        return np.mean(logsumexp(z, axis=1) - z[np.arange(50), y])

    def dT(T):
        p = softmax(logits / T, axis=1)
        return -np.mean((p * logits).sum(1) - logits[np.arange(50), y]) / T**2

    return dict(value=nll, gradient=dT, at=np.array([1.7]), numpy=True)


@wrong(
    "the parameters are log temperature and a bias; exp(log T) is forgotten in the chain rule",
    *CHAIN,
    where="entry 0",
)
def temperature_log(seed):
    rng = np.random.default_rng(seed)
    s, y = rng.normal(size=60) * 2, rng.integers(0, 2, 60)

    def nll(par):
        z = s / np.exp(par[0]) + par[1]
        return np.sum(np.log(1 + np.exp(z)) - y * z)

    def grad(par):
        T = np.exp(par[0])
        r = sigmoid(s / T + par[1]) - y
        return np.array([np.sum(r * -s / T**2), r.sum()])

    return dict(value=nll, gradient=grad, at=np.array([0.5, 0.2]), numpy=True)


def probit_loglike(beta, X, y):
    q = 2 * y - 1
    return norm.logcdf(q * (X @ beta)).sum()


@right("probit with scipy.stats")
def probit(seed):
    def score(beta, X, y):
        q = 2 * y - 1
        z = q * np.dot(X, beta)
        return np.dot(q * np.exp(norm.logpdf(z) - norm.logcdf(z)), X)

    return blog(seed, probit_loglike, score, p=4)


@wrong(
    "the score is that of the logit with Phi in place of the sigmoid: density factors missing",
    "pdf",
    "density",
    "phi",
    "φ",
    "link",
    "probit",
    "chain",
)
def probit_as_logit(seed):
    def score(beta, X, y):
        return X.T @ (y - norm.cdf(X @ beta))

    return blog(seed, probit_loglike, score, p=4)


@right("hinge loss in a loop, with the subgradient, and a ridge")
def hinge_loop(seed):
    rng, X, y = table(seed, 30, 5)
    y = 2 * y - 1

    def objective(w, lam=0.1):
        losses = [max(0.0, 1 - y[i] * np.dot(w, X[i])) for i in range(len(y))]
        return lam / 2 * np.dot(w, w) + sum(losses) / len(y)

    def subgradient(w, lam=0.1):
        g = lam * w
        for xi, yi in zip(X, y, strict=True):
            if yi * np.dot(w, xi) < 1:
                g = g - yi * xi / len(y)
        return g

    return dict(value=objective, gradient=subgradient, at=rng.normal(size=5), numpy=True)


@wrong(
    "all examples are summed in the gradient, not those inside the margin alone",
    "mask",
    "margin",
    "max",
    "active",
    "hinge",
    "indicator",
)
def hinge_no_mask(seed):
    rng, X, y = table(seed, 40, 4)
    y = 2 * y - 1
    return dict(
        value=lambda w: np.mean(np.maximum(0, 1 - y * (X @ w))) + 0.05 * np.sum(w**2),
        gradient=lambda w: -X.T @ y / len(y) + 0.1 * w,
        at=rng.normal(size=4),
        numpy=True,
    )


@wrong("squared hinge: the factor 2 is missing", "half", "factor", "twice", "0.5")
def squared_hinge_factor(seed):
    rng, X, y = table(seed, 40, 4)
    t = 2 * y - 1

    def grad(w):
        margin = np.maximum(0, 1 - t * (X @ w))
        return -(margin * t) @ X

    return dict(
        value=lambda w: (np.maximum(0, 1 - t * (X @ w)) ** 2).sum(),
        gradient=grad,
        at=rng.normal(size=4),
        numpy=True,
    )


def svm_scores(W, X, y):
    scores = X.dot(W)
    margins = np.maximum(0, scores - scores[np.arange(len(y)), y][:, None] + 1.0)
    margins[np.arange(len(y)), y] = 0
    return margins


@right("multiclass hinge, vectorised")
def svm_multiclass(seed):
    X, y, W = images(seed, N=20)

    def gradient(W):
        binary = (svm_scores(W, X, y) > 0).astype(float)
        binary[np.arange(len(y)), y] = -binary.sum(axis=1)
        return X.T.dot(binary) / len(y) + 2 * 0.05 * W

    return dict(
        value=lambda W: svm_scores(W, X, y).sum() / len(y) + 0.05 * np.sum(W * W),
        gradient=gradient,
        at=W,
        numpy=True,
    )


@wrong(
    "the column of the right class gets no gradient from the margins",
    "class",
    "true",
    "correct",
    "label",
)
def svm_multiclass_label(seed):
    X, y, W = images(seed, N=20)

    def gradient(W):
        mask = svm_scores(W, X, y) > 0
        return X.T.dot(mask.astype(float)) / len(y)

    return dict(
        value=lambda W: svm_scores(W, X, y).sum() / len(y), gradient=gradient, at=W, numpy=True
    )
