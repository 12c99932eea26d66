"""Residuals, factorisations, metric losses, objectives for boosting: in NumPy."""

import numpy as np
from scipy.special import expit

from benchmarks.audit_cases.case import SIGN, approximate, right, table, wrong

# ---- residuals and systems ---------


def decay(seed, jac):
    t = np.linspace(0, 3, 15)
    y = 2.5 * np.exp(-1.3 * t) + 0.5 + 0.1 * np.random.default_rng(seed).normal(size=15)

    def fun(p, t, y):
        return p[0] * np.exp(-p[1] * t) + p[2] - y

    return dict(value=fun, jacobian=jac, at=np.array([2.0, 1.0, 0.3]), args=(t, y), numpy=True)


@right("residuals of an exponential decay, their Jacobian filled by columns")
def decay_jacobian(seed):
    def jac(p, t, y):
        J = np.empty((t.size, 3))
        J[:, 0] = np.exp(-p[1] * t)
        J[:, 1] = -p[0] * t * np.exp(-p[1] * t)
        J[:, 2] = 1
        return J

    return decay(seed, jac)


@wrong(
    "the rate's column lacks the inner derivative t",
    "chain",
    "inner",
    "times t",
    "· t",
    "* t",
    where="column 1",
)
def decay_chain(seed):
    def jac(p, t, y):
        e = np.exp(-p[1] * t)
        return np.column_stack([e, -p[0] * e, np.ones_like(t)])

    return decay(seed, jac)


@wrong(
    "the rate's column has the wrong sign, and the constant's column is 0, not 1",
    *SIGN,
    also=("zero", "constant", "column 2"),
    where="column 1; column 2",
)
def decay_two(seed):
    def jac(p, t, y):
        e = np.exp(-p[1] * t)
        return np.array([e, p[0] * t * e, np.zeros(t.size)]).T

    return decay(seed, jac)


@approximate("the Jacobian is made by forward differences, h = 1e-5")
def decay_two_point(seed):
    def jac(p, t, y):
        f = lambda q: q[0] * np.exp(-q[1] * t) + q[2] - y  # noqa: E731
        return np.stack([(f(p + h) - f(p)) / 1e-5 for h in 1e-5 * np.eye(3)], axis=1)

    return decay(seed, jac)


def arm(seed, jacobian):
    lengths = np.random.default_rng(seed).uniform(0.5, 1.5, 3)

    def position(q):
        x = y = angle = 0.0
        for length, theta in zip(lengths, q, strict=True):
            angle += theta
            x += length * np.cos(angle)
            y += length * np.sin(angle)
        return np.array([x, y])

    return dict(
        value=position,
        jacobian=lambda q: jacobian(q, lengths),
        at=np.array([0.4, 0.7, -0.5]),
        numpy=True,
    )


@right("the hand of a robot arm by its three joints")
def arm_jacobian(seed):
    def jacobian(q, L):
        a = np.cumsum(q)
        return np.array(
            [
                [-np.sum(L[k:] * np.sin(a[k:])) for k in range(3)],
                [np.sum(L[k:] * np.cos(a[k:])) for k in range(3)],
            ]
        )

    return arm(seed, jacobian)


@wrong(
    "a joint moves only its own link in the Jacobian, not all those after it",
    "cumulative",
    "cumsum",
    "later",
    "path",
    "after",
    where="joints 0 and 1",
)
def arm_own_link(seed):
    def jacobian(q, L):
        a = np.cumsum(q)
        return np.vstack((-L * np.sin(a), L * np.cos(a)))

    return arm(seed, jacobian)


@wrong(
    "the quotient rule of the projection: the depth's dependence on the yaw is forgotten",
    "quotient",
    "denominator",
    "depth",
    "constant",
    "path",
    where="the yaw",
)
def reprojection(seed):
    rng = np.random.default_rng(seed)
    P = rng.uniform(-1, 1, size=(6, 3)) + [0, 0, 5]

    def camera(p):
        c, s = np.cos(p[0]), np.sin(p[0])
        Xc, Zc = c * P[:, 0] + s * P[:, 2] + p[1], -s * P[:, 0] + c * P[:, 2]
        return c, s, Xc, P[:, 1] + p[2], Zc

    def project(p):
        _, _, x, y, z = camera(p)
        return np.concatenate([p[3] * x / z, p[3] * y / z])

    def jac(p):
        c, s, x, y, z = camera(p)
        f, zero = p[3], np.zeros(6)
        du = np.c_[f * (-s * P[:, 0] + c * P[:, 2]) / z, f / z, zero, x / z]
        dv = np.c_[zero, zero, f / z, y / z]
        return np.vstack([du, dv])

    return dict(value=project, jacobian=jac, at=np.array([0.2, 0.3, -0.1, 1.5]), numpy=True)


@wrong("the Jacobian of a system of five equations is transposed", "transpos", ".t")
def system_transposed(seed):
    b = np.random.default_rng(seed).uniform(0.5, 2, 5)

    def F(x):
        out = (3 - b * x) * x + 1
        out[1:] -= x[:-1]
        out[:-1] -= 2 * x[1:]
        return out

    def fprime(x):
        J = np.diag(3 - 2 * b * x)
        for i in range(4):
            J[i, i + 1] = -1
            J[i + 1, i] = -2
        return J

    return dict(value=F, jacobian=fprime, at=np.full(5, -0.8), numpy=True)


@wrong(
    "the Hessian is J'J (Gauss–Newton): the residuals' own curvature is missing",
    "gauss",
    "second-order",
    "second order",
    "curvature",
    "residual",
)
def gauss_newton_hessian(seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 2, 12)
    y = 1.5 * np.sin(1.2 * t) + rng.normal(size=12)

    def cost(p):
        return 0.5 * np.sum((p[0] * np.sin(p[1] * t) - y) ** 2)

    def J(p):
        return np.c_[np.sin(p[1] * t), p[0] * t * np.cos(p[1] * t)]

    return dict(
        value=cost,
        gradient=lambda p: J(p).T @ (p[0] * np.sin(p[1] * t) - y),
        hessian=lambda p: J(p).T @ J(p),
        at=np.array([1.2, 0.9]),
        numpy=True,
    )


def banana(seed, off):
    a = np.random.default_rng(seed).uniform(5, 20)

    def f(x):
        return sum(a * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))

    def g(x):
        out = np.zeros_like(x)
        out[:-1] = -4 * a * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
        out[1:] += 2 * a * (x[1:] - x[:-1] ** 2)
        return out

    def h(x):
        d = np.full(len(x), 2 * a)
        d[0] = 0
        d[:-1] += 12 * a * x[:-1] ** 2 - 4 * a * x[1:] + 2
        return np.diag(d) + np.diag(off * a * x[:-1], 1) + np.diag(off * a * x[:-1], -1)

    return dict(value=f, gradient=g, hessian=h, at=np.linspace(0.6, 1.4, 5), numpy=True)


@right("a banana-shaped valley in five dimensions, with its tridiagonal Hessian")
def valley(seed):
    return banana(seed, -4)


@wrong(
    "the Hessian's off-diagonal entries are half of what they are",
    "half",
    "factor",
    "off-diagonal",
    "0.5",
    "tridiagonal",
)
def valley_half(seed):
    return banana(seed, -2)


# ---- factorisations and embeddings ---------


def collaborative(seed, gradient, lam=0.5):
    """X and Theta, unrolled into one vector."""
    rng = np.random.default_rng(seed)
    n = 4
    Y, R = rng.normal(size=(n, n)), rng.random((n, n)) < 0.6

    def unroll(params):
        return params[: n * 2].reshape(n, 2), params[n * 2 :].reshape(n, 2)

    def cofi_cost(params):
        X, Theta = unroll(params)
        return 0.5 * np.sum(((X @ Theta.T - Y) * R) ** 2) + lam / 2 * np.sum(params**2)

    def cofi_grad(params):
        X, Theta = unroll(params)
        X_grad, Theta_grad = gradient(X, Theta, X @ Theta.T - Y, R, lam)
        return np.concatenate([X_grad.ravel(), Theta_grad.ravel()])

    return dict(value=cofi_cost, gradient=cofi_grad, at=rng.normal(size=4 * n), numpy=True)


@right("collaborative filtering; ratings that are not there are masked")
def cofi(seed):
    return collaborative(
        seed, lambda X, T, E, R, lam: ((E * R) @ T + lam * X, (E * R).T @ X + lam * T)
    )


@wrong(
    "Theta's gradient comes first, X's second: the blocks are swapped",
    "swap",
    "order",
    "permut",
    "block",
)
def cofi_swapped(seed):
    return collaborative(
        seed, lambda X, T, E, R, lam: ((E * R).T @ X + lam * T, (E * R) @ T + lam * X)
    )


@wrong(
    "the mask is missing for Theta, and X's penalty adds Theta in place of X",
    "mask",
    "unobserved",
    also=("penal", "regulari", "theta"),
    where="Theta; X",
)
def cofi_two(seed):
    return collaborative(seed, lambda X, T, E, R, lam: ((E * R) @ T + lam * T, E.T @ X + lam * T))


def ratings(seed, accumulate):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 4, 25), rng.integers(0, 5, 25)
    r = rng.normal(size=25)

    def error(p):
        return np.einsum("nk,nk->n", p["P"][users], p["Q"][items]) + p["b"][items] - r

    def gradient(p):
        e = 2 * error(p) / len(r)
        g = {k: np.zeros_like(v) for k, v in p.items()}
        accumulate(g["P"], users, e[:, None] * p["Q"][items])
        accumulate(g["Q"], items, e[:, None] * p["P"][users])
        accumulate(g["b"], items, e)
        return g

    at = {"P": rng.normal(size=(4, 2)), "Q": rng.normal(size=(5, 2)), "b": rng.normal(size=5)}
    return dict(value=lambda p: np.mean(error(p) ** 2), gradient=gradient, at=at, numpy=True)


@right("matrix factorisation of ratings, scattered with np.add.at")
def factorisation(seed):
    return ratings(seed, np.add.at)


@wrong(
    "g[index] += … keeps only the last of repeated indices",
    "repeat",
    "duplicate",
    "add.at",
    "scatter",
)
def factorisation_repeated_index(seed):
    def accumulate(g, index, values):
        g[index] += values

    return ratings(seed, accumulate)


@wrong(
    "factorisation machine: the square's own term, - v x², is missing for V",
    "x²",
    "square",
    "own term",
    "diagonal",
    "self",
    where="V",
)
def factorisation_machine(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(20, 4)), rng.normal(size=20)

    def predict(p):
        cross = 0.5 * ((X @ p["V"]) ** 2 - X**2 @ p["V"] ** 2).sum(axis=1)
        return p["w0"] + X @ p["w"] + cross

    def grad(p):
        e = predict(p) - y
        return {"w0": e.sum(), "w": X.T @ e, "V": X.T @ (e[:, None] * (X @ p["V"]))}

    at = {"w0": 0.2, "w": rng.normal(size=4), "V": rng.normal(size=(4, 2))}
    return dict(
        value=lambda p: 0.5 * np.sum((predict(p) - y) ** 2), gradient=grad, at=at, numpy=True
    )


def skip_gram(seed, sign):
    """A centre word v; the context's vector is row 0 of U, its negatives are the rest."""
    rng = np.random.default_rng(seed)

    def loss(p):
        s = p["U"] @ p["v"]
        return -np.log(expit(s[0])) - np.sum(np.log(expit(-s[1:])))

    def grad(p):
        s = expit(p["U"] @ p["v"])
        s[0] -= 1
        gv = p["U"].T @ s
        s[1:] *= sign
        return {"U": np.outer(s, p["v"]), "v": gv}

    at = {"U": rng.normal(size=(5, 3)), "v": rng.normal(size=3)}
    return dict(value=loss, gradient=grad, at=at, numpy=True)


@right("skip-gram with negative samples")
def word_vectors(seed):
    return skip_gram(seed, 1)


@wrong("the rows of the negative samples have the wrong sign", *SIGN, where="U, rows 1 on")
def word_vectors_negative_sign(seed):
    return skip_gram(seed, -1)


@wrong(
    "the anchor is pulled to the positive, but not pushed off the negative: a path is missing",
    "path",
    "negative",
    "anchor",
    where="the anchor",
)
def triplet(seed):
    rng = np.random.default_rng(seed)

    def loss(e):
        a, p, n = e
        return np.maximum(0, np.sum((a - p) ** 2) - np.sum((a - n) ** 2) + 5.0)

    def grad(e):
        a, p, n = e
        if loss(e) == 0:
            return np.zeros_like(e)
        return np.stack([2 * (a - p), -2 * (a - p), 2 * (a - n)])

    return dict(value=loss, gradient=grad, at=0.3 * rng.normal(size=(3, 4)), numpy=True)


@wrong(
    "the denominator of the Dice loss is held constant",
    "denominator",
    "quotient",
    "constant",
    "path",
)
def dice(seed):
    rng, X, y = table(seed, 40, 4)
    y[:2] = 1

    def dice_loss(w):
        p = expit(X @ w)
        return 1 - 2 * np.sum(p * y) / (np.sum(p) + np.sum(y))

    def grad(w):
        p = expit(X @ w)
        dp = -2 * y / (p.sum() + y.sum())
        return X.T @ (dp * p * (1 - p))

    return dict(value=dice_loss, gradient=grad, at=rng.normal(size=4), numpy=True)


@wrong(
    "focal loss: the modulating factor (1 - p)^gamma is held constant",
    "constant",
    "modulat",
    "gamma",
    "path",
    "product",
)
def focal(seed):
    rng, X, y = table(seed, 40, 4)

    def pt(w):
        p = expit(X @ w)
        return np.where(y == 1, p, 1 - p)

    def grad(w, gamma=2.0):
        q = pt(w)
        return -X.T @ ((2 * y - 1) * (1 - q) ** gamma * (1 - q)) / len(y)

    return dict(
        value=lambda w: -np.mean((1 - pt(w)) ** 2 * np.log(pt(w))),
        gradient=grad,
        at=rng.normal(size=4),
        numpy=True,
    )


# ---- objectives for boosting: per row, of raw scores ---------


def boosting(seed, objective):
    """``objective(preds, labels, weights)`` returns grad and hess, one number a row."""
    rng = np.random.default_rng(seed)
    labels, weights = rng.integers(0, 2, 12).astype(float), rng.uniform(0.5, 2, 12)

    def logloss(preds):
        return np.sum(weights * (np.logaddexp(0, preds) - labels * preds))

    return dict(
        value=logloss,
        gradient=lambda s: objective(s, labels, weights)[0],
        hessian=lambda s: objective(s, labels, weights)[1],
        at=rng.normal(size=12),
        numpy=True,
    )


@right("grad and hess of weighted log loss: the Hessian's diagonal as a vector")
def boosting_logloss(seed):
    def objective(preds, labels, weights):
        p = expit(preds)
        return weights * (p - labels), weights * p * (1 - p)

    return boosting(seed, objective)


@wrong(
    "raw scores are used as though they were probabilities",
    "sigmoid",
    "raw",
    "probabilit",
    "link",
    "logit",
)
def boosting_raw_scores(seed):
    def objective(preds, labels, weights):
        return weights * (preds - labels), weights * preds * (1 - preds)

    return boosting(seed, objective)


@wrong(
    "the gradient has the wrong sign, and the Hessian lacks the weights",
    *SIGN,
    also=("weight",),
)
def boosting_two(seed):
    def objective(preds, labels, weights):
        p = expit(preds)
        return weights * (labels - p), p * (1 - p)

    return boosting(seed, objective)


@right("squared log error for boosting: log1p of the prediction")
def boosting_squared_log(seed):
    rng = np.random.default_rng(seed)
    y = rng.uniform(0, 5, 10)
    return dict(
        value=lambda s: 0.5 * np.sum((np.log1p(s) - np.log1p(y)) ** 2),
        gradient=lambda s: (np.log1p(s) - np.log1p(y)) / (s + 1),
        hessian=lambda s: (1 - np.log1p(s) + np.log1p(y)) / (s + 1) ** 2,
        at=rng.uniform(1, 4, 10),
        numpy=True,
    )
