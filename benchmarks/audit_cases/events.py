"""Survival, ordered and ranked outcomes, choices, mixtures, sequences: in NumPy."""

import itertools

import numpy as np
from scipy.special import expit, logsumexp, softmax

from benchmarks.audit_cases.case import SIGN, approximate, right, table, wrong

# ---- survival ---------


def cox(seed, lag=0, outer=True, second_order=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 3))  # by time, ascending
    event = rng.random(30) < 0.7
    event[-1] = False
    event[:3] = True

    def neg_log_partial(beta):
        total = 0.0
        for i in np.flatnonzero(event):
            total -= X[i] @ beta - np.log(np.sum(np.exp(X[i:] @ beta)))
        return total

    def gradient(beta):
        g = np.zeros(3)
        for i in np.flatnonzero(event):
            w = np.exp(X[i + lag :] @ beta)
            g -= X[i] - w @ X[i + lag :] / w.sum()
        return g

    def hessian(beta):
        risk = np.exp(X @ beta)
        s0 = np.cumsum(risk[::-1])[::-1]
        s1 = np.cumsum((X * risk[:, None])[::-1], axis=0)[::-1]
        s2 = np.cumsum((X[:, :, None] * X[:, None] * risk[:, None, None])[::-1], axis=0)[::-1]
        mean = s1 / s0[:, None]
        H = s2 / s0[:, None, None] - outer * mean[:, :, None] * mean[:, None]
        return H[event].sum(axis=0)

    call = dict(value=neg_log_partial, at=rng.normal(size=3) * 0.5, numpy=True)
    return call | (dict(hessian=hessian) if second_order else dict(gradient=gradient))


@right("Cox's partial likelihood: sums over sets at risk")
def cox_gradient(seed):
    return cox(seed)


@right("Cox's Hessian alone, by reversed cumulative sums")
def cox_hessian(seed):
    return cox(seed, second_order=True)


@wrong(
    "whoever fails is not counted in the set at risk: off by one",
    "risk set",
    "at risk",
    "off by one",
    "shift",
    "cumulative",
)
def cox_risk_set(seed):
    return cox(seed, lag=1)


@wrong(
    "the outer product of the means at risk is missing from the Hessian",
    "outer",
    "mean",
    "second moment",
    "covariance",
)
def cox_hessian_outer(seed):
    return cox(seed, outer=False, second_order=True)


def weibull(seed, score):
    rng, X, _ = table(seed, 35, 3)
    logt = X @ rng.normal(size=3) * 0.5 + 0.6 * np.log(rng.exponential(size=35))
    d = (rng.random(35) < 0.6).astype(float)

    def value(par):
        z = (logt - X @ par[:3]) / np.exp(par[3])
        return -np.sum(d * (z - par[3] - logt) - np.exp(z))

    def gradient(par):
        s = np.exp(par[3])
        return score(X, d, (logt - X @ par[:3]) / s, s)

    return dict(
        value=value, gradient=gradient, at=np.r_[rng.normal(size=3) * 0.4, -0.4], numpy=True
    )


@right("Weibull accelerated failure times with censoring")
def weibull_aft(seed):
    def score(X, d, z, s):
        return np.hstack((-X.T @ (np.exp(z) - d) / s, np.sum(d * (1 + z) - z * np.exp(z))))

    return weibull(seed, score)


@wrong(
    "censored times are treated as events in the coefficients' gradient",
    "censor",
    "event",
    "mask",
    "indicator",
    where="the coefficients",
)
def weibull_censoring(seed):
    def score(X, d, z, s):
        return np.hstack((-X.T @ (np.exp(z) - 1) / s, np.sum(d * (1 + z) - z * np.exp(z))))

    return weibull(seed, score)


@wrong(
    "the coefficients lack 1/s, and log s counts the censored as events",
    "scaled",
    "scaling",
    "factor",
    "sigma",
    also=("censor", "event", "mask"),
    where="the coefficients; the last entry",
)
def weibull_two(seed):
    def score(X, d, z, s):
        return np.hstack((-X.T @ (np.exp(z) - d), np.sum(1 + z - z * np.exp(z))))

    return weibull(seed, score)


# ---- ordered, ranked and chosen ---------


def ordinal(seed, lower=True, later_cuts=True):
    """beta, the first cut, and logs of the increments between cuts."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 2)), np.r_[0, 1, 2, 3, rng.integers(0, 4, 36)]

    def parts(par):
        steps = np.exp(par[3:])
        cuts = np.r_[-np.inf, np.cumsum(np.r_[par[2], steps]), np.inf]
        eta = X @ par[:2]
        return expit(cuts[y + 1] - eta), expit(cuts[y] - eta), steps

    def value(par):
        hi, lo, _ = parts(par)
        return -np.log(hi - lo).sum()

    def gradient(par):
        hi, lo, steps = parts(par)
        upper, under = hi * (1 - hi) / (hi - lo), lo * (1 - lo) / (hi - lo)
        dcut = np.zeros(3)
        for k in range(3):
            dcut[k] = -upper[y == k].sum() + lower * under[y == k + 1].sum()
        after = np.cumsum(dcut[::-1])[::-1] if later_cuts else dcut
        return np.r_[X.T @ (upper - under), after[0], after[1:] * steps]

    at = np.r_[rng.normal(size=2) * 0.7, -1.0, 0.1, -0.2]
    return dict(value=value, gradient=gradient, at=at, numpy=True)


@right("ordered logit; cuts are cumulative sums of exponentials")
def ordinal_logit(seed):
    return ordinal(seed)


@wrong(
    "the cut below an answer gives nothing to the gradient",
    "lower",
    "below",
    "cut",
    "threshold",
    where="the cuts",
)
def ordinal_lower_cut(seed):
    return ordinal(seed, lower=False)


@wrong(
    "an increment moves all the later cuts: the cumulative sum is forgotten in the chain rule",
    "cumulative",
    "cumsum",
    "later",
    "chain",
    "path",
    where="the cuts",
)
def ordinal_cumsum(seed):
    return ordinal(seed, later_cuts=False)


@wrong(
    "only the winner's strength is updated, not the loser's",
    "loser",
    "path",
    "one of two",
    "sign",
)
def bradley_terry(seed):
    rng = np.random.default_rng(seed)
    games = [tuple(rng.choice(5, 2, replace=False)) for _ in range(30)]

    def nll(s):
        return sum(np.log(1 + np.exp(s[j] - s[i])) for i, j in games)

    def grad(s):
        g = np.zeros_like(s)
        for i, j in games:
            g[i] -= 1 / (1 + np.exp(s[i] - s[j]))
        return g

    return dict(value=nll, gradient=grad, at=rng.normal(size=5), numpy=True)


def plackett_luce(seed, first_left):
    rng = np.random.default_rng(seed)
    rankings = [rng.permutation(6) for _ in range(8)]

    def loglik(s):
        total = 0.0
        for r in rankings:
            for k in range(len(r) - 1):
                total += s[r[k]] - np.log(np.sum(np.exp(s[r[k:]])))
        return total

    def gradient(s):
        g = np.zeros(6)
        for r in rankings:
            for k in range(len(r) - 1):
                left = r[k + first_left :]
                g[r[k]] += 1
                g[left] -= np.exp(s[left]) / np.exp(s[left]).sum()
        return g

    return dict(value=loglik, gradient=gradient, at=rng.normal(size=6), numpy=True)


@right("Plackett-Luce rankings")
def rankings(seed):
    return plackett_luce(seed, 0)


@wrong(
    "the item just ranked is left out of those it was chosen from: off by one",
    "off by one",
    "shift",
    "chosen",
    "denominator",
    "normal",
)
def rankings_off_by_one(seed):
    return plackett_luce(seed, 1)


@right("conditional logit; the data are closed over, and random draws are seeded inside")
def mixed_logit_simulated(seed):
    rng = np.random.default_rng(seed)
    X, choice = rng.normal(size=(20, 3, 2)), rng.integers(0, 3, 20)

    def simulate(par):
        draws = np.random.default_rng(0).standard_normal(15)
        beta = par[:2] + np.outer(draws, [par[2], 0.0])
        P = softmax(np.einsum("njk,rk->nrj", X, beta), axis=2)
        return draws, P, P[np.arange(20), :, choice]

    def value(par):
        return -np.log(simulate(par)[2].mean(axis=1)).sum()

    def gradient(par):
        draws, P, chosen = simulate(par)
        dev = X[np.arange(20), choice][:, None] - np.einsum("nrj,njk->nrk", P, X)
        w = chosen / chosen.sum(axis=1, keepdims=True)
        g = np.einsum("nr,nrk->k", w, dev)
        return -np.append(g, np.einsum("nr,r,nr->", w, draws, dev[:, :, 0]))

    return dict(value=value, gradient=gradient, at=np.array([0.5, -0.8, 0.6]), numpy=True)


@wrong(
    "nested logit: the inclusive value is held constant in the nest parameter's entry",
    "constant",
    "inclusive",
    "path",
    "nest",
    where="the last entry",
)
def nested_logit(seed):
    rng = np.random.default_rng(seed)
    X, choice = rng.normal(size=(25, 4, 2)), rng.integers(0, 4, 25)
    row, nest = np.arange(25), choice // 2

    def parts(par):
        V = (X @ par[:2]).reshape(25, 2, 2)
        lam = par[2]
        inside, incl = softmax(V / lam, axis=2), logsumexp(V / lam, axis=2)
        return V, lam, inside, incl, softmax(lam * incl, axis=1)

    def value(par):
        _, _, inside, _, upper = parts(par)
        return -np.sum(np.log(inside.reshape(25, 4)[row, choice] * upper[row, nest]))

    def gradient(par):
        V, lam, inside, incl, upper = parts(par)
        mean_x = np.einsum("nmj,nmjk->nmk", inside, X.reshape(25, 2, 2, 2))
        mean_v = (inside * V).sum(axis=2)
        g = np.zeros(3)
        within = (X[row, choice] - mean_x[row, nest]) / lam
        g[:2] = (within + mean_x[row, nest] - np.einsum("nm,nmk->nk", upper, mean_x)).sum(0)
        g[2] = np.sum((mean_v[row, nest] - V.reshape(25, 4)[row, choice]) / lam**2)
        g[2] += np.sum(incl[row, nest] - (upper * incl).sum(axis=1))
        return -g

    return dict(value=value, gradient=gradient, at=np.array([0.7, -0.5, 0.6]), numpy=True)


# ---- mixtures and sequences ---------


def mixture(seed, normalised=True, scaled=True):
    rng = np.random.default_rng(seed)
    x, K = rng.normal(size=30) * 1.5, 3

    def joint(p):
        logw = p["logits"] - logsumexp(p["logits"])
        z = (x[:, None] - p["mu"]) / np.exp(p["log_sd"])
        return logw - 0.5 * z**2 - p["log_sd"] - 0.5 * np.log(2 * np.pi), z

    def nll(p):
        return -logsumexp(joint(p)[0], axis=1).sum()

    def grad(p):
        lj, z = joint(p)
        r = softmax(lj, axis=1)
        sd = np.exp(p["log_sd"]) if scaled else 1.0
        weights = r.sum(0) - normalised * len(x) * softmax(p["logits"])
        return {
            "logits": -weights,
            "mu": -(r * z / sd).sum(0),
            "log_sd": -(r * (z**2 - 1)).sum(0),
        }

    at = {"logits": rng.normal(size=K), "mu": np.array([-1.5, 0.2, 2.0]), "log_sd": np.zeros(K)}
    at["log_sd"] = at["log_sd"] + 0.3
    return dict(value=nll, gradient=grad, at=at, numpy=True)


@right("a Gaussian mixture, by its responsibilities")
def gmm(seed):
    return mixture(seed)


@wrong(
    "the softmax of the mixture's weights is not differentiated through its normaliser",
    "normal",
    "softmax",
    "sum to",
    "logsumexp",
    where="logits",
)
def gmm_weights(seed):
    return mixture(seed, normalised=False)


@wrong(
    "the weights' normaliser is forgotten, and the means lack 1/sd",
    "normal",
    "softmax",
    "sum to",
    "logsumexp",
    also=("scaled", "sd", "factor", "variance"),
    where="logits; mu",
)
def gmm_two(seed):
    return mixture(seed, normalised=False, scaled=False)


def hidden_markov(seed, normalised):
    rng = np.random.default_rng(seed)
    obs, S, V = rng.integers(0, 3, 12), 2, 3

    def run(p):
        A, B = softmax(p["A"], axis=1), softmax(p["B"], axis=1)
        alpha, c = np.zeros((12, S)), np.zeros(12)
        for i, o in enumerate(obs):
            alpha[i] = B[:, o] * (alpha[i - 1] @ A if i else np.full(S, 1 / S))
            c[i] = alpha[i].sum()
            alpha[i] /= c[i]
        return A, B, alpha, c

    def baum_welch(p):
        A, B, alpha, c = run(p)
        beta, n_trans, n_emit = np.ones(S), np.zeros((S, S)), np.zeros((S, V))
        for i in range(11, -1, -1):
            n_emit[:, obs[i]] += alpha[i] * beta
            if i:
                back = B[:, obs[i]] * beta / c[i]
                n_trans += np.outer(alpha[i - 1], back) * A
                beta = A @ back
        dA = n_trans - (A * n_trans.sum(axis=1, keepdims=True) if normalised else 0)
        return {"A": dA, "B": n_emit - B * n_emit.sum(axis=1, keepdims=True)}

    at = {"A": rng.normal(size=(S, S)), "B": rng.normal(size=(S, V))}
    return dict(value=lambda p: np.log(run(p)[3]).sum(), gradient=baum_welch, at=at, numpy=True)


@right("a hidden Markov model's scaled forward algorithm, by expected counts")
def hmm(seed):
    return hidden_markov(seed, True)


@wrong(
    "expected counts of transitions are returned without what the rows' softmax takes away",
    "normal",
    "softmax",
    "sum to",
    where="A",
)
def hmm_transitions(seed):
    return hidden_markov(seed, False)


@wrong("the transitions' gradient has the wrong sign", *SIGN, where="transitions")
def crf_transition_sign(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4, 2)), rng.integers(0, 3, 4)
    paths = np.array(list(itertools.product(range(3), repeat=4)))

    def score(p, path):
        local = (X @ p["emission"].T)[np.arange(4), path].sum()
        return local + p["transitions"][path[:-1], path[1:]].sum()

    def nll(p):
        return logsumexp([score(p, path) for path in paths]) - score(p, y)

    def grad(p):
        prob = softmax([score(p, path) for path in paths])
        g = {k: np.zeros_like(v) for k, v in p.items()}
        for path, w in [*zip(paths, prob, strict=True), (y, -1.0)]:
            np.add.at(g["emission"], path, w * X)
            np.add.at(g["transitions"], (path[:-1], path[1:]), -w)
        return g

    at = {"emission": rng.normal(size=(3, 2)), "transitions": rng.normal(size=(3, 3))}
    return dict(value=nll, gradient=grad, at=at, numpy=True)


@approximate("a Kalman filter's likelihood, differentiated by central differences, h = 1e-2")
def kalman_differences(seed):
    y = np.cumsum(np.random.default_rng(seed).normal(size=25)) * 0.5

    def nll(par):
        q, r = np.exp(par)
        m, P, total = y[0], r, 0.0
        for obs in y[1:]:
            P += q
            F, v = P + r, obs - m
            total += 0.5 * (np.log(F) + v * v / F)
            m, P = m + P / F * v, P * r / F
        return total

    def gradient(par):
        e = 1e-2 * np.eye(2)
        return np.array([(nll(par + e[i]) - nll(par - e[i])) / 2e-2 for i in range(2)])

    return dict(value=nll, gradient=gradient, at=np.array([-0.8, -1.5]), numpy=True)
