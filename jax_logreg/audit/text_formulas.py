"""The formulas of the two source texts, misprints included, in one table.

The teaching notebook *Logistic Regression: The Math* (SELENE), and the article *Logistic
Regression Math Deduction* by Fernando Guzman (Towards AI, 2023), whose formulas are pictures:
these are the ones that its prose states. Misprints are numbered ①–⑥ as in
``notebooks/01_the_math.ipynb``, which tells the derivation.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, grad, jacobian, jit, vmap
from jax.numpy import exp, log, tanh

from jax_logreg.audit.proof import Comparison, compare, kind_of_difference
from jax_logreg.objective.losses import cross_entropy, cross_entropy_of_probability
from jax_logreg.objective.model import logit, odds, probability, sigmoid, softmax

_LARGEST_LOGIT = 3.0  # no row is saturated, and not all are near ½
_RATE, _STRENGTH, _NEWTON_STEPS = 0.1, 0.1, 20  # of the claims about training
_OPEN, _BELOW = "0 < p < 1", "z below 36: beyond, 1 − ŷ rounds to 0"
_EXP, _MINUS = "e^z is finite: z below 709 in float64", "e^−z is finite: z above −709 in float64"
_LABELS, _ONE_HOT = "labels 0 and 1, 0 < ŷ < 1", "rows of Y sum to one, 0 < ŷ < 1"
_ROWS = "rows of X are examples; labels in [0, 1], 0 < ŷ < 1"
_FEW, _REJECTED = "the product is a normal number; here 50 rows", "nowhere; the text rejects it"
_SAFE = "α up to one over the largest curvature"


class TextFormula(NamedTuple):
    """One formula of a text: a row of the table.

    ``hand`` computes it as printed, ``counterpart`` what it claims to equal. They name their
    arguments, of these: X, labels y (one-hot for softmax), weights w, logits z = Xw, o = eᶻ,
    e = e⁻ᶻ, predictions p, q = P(observed label). By hand a claim in words is True.
    """

    name: str  # at most 48 characters
    hand: Callable[..., Any]
    counterpart: Callable[..., Any]
    domain: str = "every logit"
    expected: str = "right"  # or "wrong: …" for a misprint
    where: str = ""  # text and heading


def _log_likelihood(y: Array, p: Array) -> Array:
    return y * log(p) + (1 - y) * log(1 - p)


def _mean_log_likelihood(w: Array, X: Array, y: Array) -> Array:
    return jnp.mean(_log_likelihood(y, probability(X @ w)))


def _loss(w: Array, X: Array, y: Array) -> Array:
    return jnp.mean(cross_entropy(X @ w, y))


def _back(X: Array, r: Array) -> Array:
    return X.T @ r / len(X)


def _lowest(w: Array, X: Array, y: Array) -> Array:
    """The smallest eigenvalue of the loss's Hessian, over the largest."""
    values = jnp.linalg.eigvalsh(jit(jax.hessian(_loss))(w, X, y))
    return values[0] / values[-1]


def _step_lowers_loss(w: Array, X: Array, y: Array, p: Array) -> Array:
    bound = jnp.sum(X**2) / len(X)  # of the curvature, so 1/bound is a safe rate
    return _loss(w - _back(X, p - y) / bound, X, y) < _loss(w, X, y)


def _newton_fails(w: Array, X: Array, y: Array) -> Array:
    slope = jit(lambda w: grad(_loss)(w, X, y) + _STRENGTH * w)
    curvature = jit(jacobian(slope))
    w = jnp.zeros_like(w)
    for _ in range(_NEWTON_STEPS):
        w = w - jnp.linalg.solve(curvature(w), slope(w))
    return jnp.max(jnp.abs(slope(w))) > 1e-10


_dloss, _dlikelihood = jit(grad(_loss)), jit(grad(_mean_log_likelihood))
_dloss_dp = grad(lambda p, y: jnp.sum(cross_entropy_of_probability(p, y)))
_dp_dz, _F = vmap(grad(lambda z: sigmoid(z))), TextFormula
# fmt: off
_TABLE: tuple[str | TextFormula, ...] = (  # a string is the text and heading of what follows
    "notebook: Why the Sigmoid Function?",
    _F("ŷ = 1 / (1 + e⁻ᶻ)", lambda e: 1 / (1 + e), lambda z: (1 + tanh(z / 2)) / 2, _MINUS),
    _F("step function: ŷ = 1 where wᵀx > 0", lambda z: 1.0 * (z > 0), lambda p: jnp.round(p)),
    _F("p = wᵀx (tried and rejected there)", lambda z: z, lambda p: p, _REJECTED, "wrong: values"),
    _F("log p = wᵀx (tried and rejected there)", lambda z: z, lambda p: log(p),
       _REJECTED, "wrong: values"),
    _F("log(p/(1−p)) = wᵀx", lambda p: log(p / (1 - p)), lambda z: z, _OPEN),
    _F("p/(1−p) = eᶻ", lambda p: p / (1 - p), lambda o: o, _OPEN),
    _F("p = eᶻ(1−p)", lambda o, p: o * (1 - p), lambda p: p, _EXP),
    _F("p = eᶻ − p eᶻ", lambda o, p: o - p * o, lambda p: p, _EXP),
    _F("p + p eᶻ = eᶻ", lambda o, p: p + p * o, lambda o: o, _EXP),
    _F("p(1 + eᶻ) = eᶻ", lambda o, p: p * (1 + o), lambda o: o, _EXP),
    _F("p = eᶻ/(1 + eᶻ)", lambda o: o / (1 + o), lambda p: p, _EXP),
    _F("p = 1/((1 + eᶻ)/eᶻ)", lambda o: 1 / ((1 + o) / o), lambda p: p, _EXP),
    _F("p = 1/(1/eᶻ + eᶻ/eᶻ)", lambda o: 1 / (1 / o + o / o), lambda p: p, _EXP),
    _F("p(x) = ŷ = 1/(1 + e⁻ᶻ), the logit's inverse",
       lambda p: 1 / (1 + exp(-(log(p) - jnp.log1p(-p)))), lambda p: p, _MINUS),
    "notebook: Deriving the Cross-Entropy Loss",
    _F("ŷ = 1 − P(y=0|x)", lambda z: 1 - sigmoid(-z), lambda p: p),
    _F("P(y|x) in two cases, ŷ and 1 − ŷ",
       lambda y, p: jnp.where(y == 1, p, 1 - p), lambda q: q, _LABELS),
    _F("P(y|x) = ŷʸ(1−ŷ)¹⁻ʸ", lambda y, p: p**y * (1 - p) ** (1 - y), lambda q: q, _LABELS),
    _F("① log P(y=1|x) = y log ŷ + (1−y) log(1−ŷ)",
       _log_likelihood, lambda p: log(p), "y = 1 only", "wrong: where y = 0"),
    _F("① corrected: log P(y|x) = y log ŷ + …", _log_likelihood, lambda q: log(q), _LABELS),
    _F("L_CE = −[y log ŷ + (1−y) log(1−ŷ)]",
       lambda y, p: -_log_likelihood(y, p), lambda y, z: cross_entropy(z, y), _LABELS),
    "notebook: Calculating the Derivative of the Cross Entropy Loss",
    _F("⑤ the Hessian remains positive definite", lambda: True, lambda w, X, y:
       _lowest(jnp.append(w, w[0]), jnp.hstack([X, X[:, :1]]), y) > 1e-12,
       "linearly independent columns; here one stands twice", "wrong: claim"),
    _F("⑤ corrected: L is convex, ∇²L ≥ 0",
       lambda: True, lambda w, X, y: _lowest(w, X, y) > -1e-12),
    "notebook: Calculating the Derivative of σ(z)",
    _F("σ′ = (0·(1+e⁻ᶻ) − 1·(e⁻ᶻ·(−1))) / (1+e⁻ᶻ)²",
       lambda e: (0 * (1 + e) - 1 * (e * (-1))) / (1 + e) ** 2, _dp_dz, _MINUS),
    _F("σ′ = e⁻ᶻ / (1+e⁻ᶻ)²", lambda e: e / (1 + e) ** 2, _dp_dz, _MINUS),
    _F("σ′ = (1 + e⁻ᶻ − 1) / (1+e⁻ᶻ)²", lambda e: (1 + e - 1) / (1 + e) ** 2, _dp_dz, _MINUS),
    _F("σ′ = (1+e⁻ᶻ)/(1+e⁻ᶻ)² − 1/(1+e⁻ᶻ)²",
       lambda e: (1 + e) / (1 + e) ** 2 - 1 / (1 + e) ** 2, _dp_dz, _MINUS),
    _F("σ′ = 1/(1+e⁻ᶻ) − 1/(1+e⁻ᶻ)²", lambda e: 1 / (1 + e) - 1 / (1 + e) ** 2, _dp_dz, _MINUS),
    _F("σ′ = 1/(1+e⁻ᶻ) · (1 − 1/(1+e⁻ᶻ))",
       lambda e: 1 / (1 + e) * (1 - 1 / (1 + e)), _dp_dz, _MINUS),
    _F("σ′ = σ(1−σ)", lambda p: p * (1 - p), _dp_dz, _BELOW),
    "notebook: Calculating partial derivatives",
    _F("③ L = (1/n) Σ[y log σ + (1−y) log(1−σ)]", _mean_log_likelihood, _loss,
       "it is the mean log-likelihood, not the loss", "wrong: sign"),
    _F("d log f/dx = (1/f) df/dx, with f = σ", lambda z, p: _dp_dz(z) / p,
       lambda z: vmap(grad(lambda z: log(sigmoid(z))))(z), "f above 0"),
    _F("∂(wᵀx)/∂wⱼ = xᵢⱼ", lambda X: X, lambda w, X: jacobian(lambda w: X @ w)(w)),
    _F("② wᵀx = w₀x₀ + w₀x₀ + w₁x₁ + w₀x₂ + …", lambda w, X:
       2 * w[0] * X[:, 0] + w[1] * X[:, 1] + w[0] * X[:, 2] + X[:, 3:] @ w[3:],
       lambda z: z, "nowhere: two terms are slips", "wrong: values"),
    _F("② corrected: wᵀx = Σⱼ wⱼ xᵢⱼ", lambda w, X: jnp.sum(w * X, axis=1), lambda z: z),
    _F("∂L/∂wⱼ = (1/n)Σ[y/σ·σ(1−σ)x + …(−1)…]", lambda X, y, p: _back(
        X, y / p * p * (1 - p) + (1 - y) / (1 - p) * (-1) * p * (1 - p)), _dlikelihood, _ROWS),
    _F("… factored: (1/n)Σ[y/σ − (1−y)/(1−σ)] σ(1−σ)x", lambda X, y, p: _back(
        X, (y / p - (1 - y) / (1 - p)) * p * (1 - p)), _dlikelihood, _ROWS),
    _F("… one denominator: [(y−yσ−(σ−yσ))/(σ(1−σ))]…", lambda X, y, p: _back(
        X, (y - y * p - (p - y * p)) / (p * (1 - p)) * p * (1 - p)), _dlikelihood, _ROWS),
    _F("… simplified: [(y−σ)/(σ(1−σ))] σ(1−σ)x", lambda X, y, p: _back(
        X, (y - p) / (p * (1 - p)) * p * (1 - p)), _dlikelihood, _ROWS),
    _F("… cancelled: (1/n)Σ(y−σ)xᵢⱼ", lambda X, y, p: _back(X, y - p), _dlikelihood, _ROWS),
    _F("③ ∂L/∂w = (1/n)Xᵀ(σ − y), of the L printed", lambda X, y, p: _back(X, p - y),
       _dlikelihood, "of −L, not of the L above it", "wrong: sign"),
    _F("④ (1/n)Xᵀ(σ(wᵀX) − y)", lambda w, X, y: _back(X, sigmoid(w @ X) - y),
       _dloss, "defined for as many rows as features only", "wrong: shape"),
    _F("④ σ(wᵀX) with as many rows as features", lambda w, X: sigmoid(w @ X[: len(w)]),
       lambda w, p: p[: len(w)], "defined there, and wrong in silence", "wrong: values"),
    _F("④ corrected: h_w(X) = σ(Xw)", lambda w, X: 1 / (1 + exp(-(X @ w))), lambda p: p, _MINUS),
    "notebook: Summary",
    _F("L(y, ŷ) = −[y log ŷ + (1−y) log(1−ŷ)], mean",
       lambda y, p: -jnp.mean(_log_likelihood(y, p)), _loss, _LABELS),
    _F("∂L/∂w = (1/n)Xᵀ(ŷ − y)", lambda X, y, p: _back(X, p - y), _dloss, _ROWS),
    "article: Logit",
    _F("odds of a fair coin: 0.5/0.5 = 1", lambda: 0.5 / 0.5, lambda: exp(logit(0.5)), _OPEN),
    _F("odds = p/q, q = 1 − p", lambda p: p / (1 - p), lambda z: sigmoid(z) / sigmoid(-z), _OPEN),
    _F("logit = ln odds, odd around ½", lambda p: log(odds(p)), lambda p: -log(odds(1 - p)), _OPEN),
    _F("logit = ln(ŷ/(1−ŷ)) = Z", lambda p: log(p / (1 - p)), lambda z: z, _OPEN),
    _F("Z = Xw, as in linear regression", lambda z: z, lambda w, X: jnp.sum(X * w, axis=1)),
    "article: Prediction",
    _F("e^Z is the odds again", lambda o: o, lambda p: odds(p), _EXP),
    _F("ŷ = σ(Z) = 1/(1 + e⁻ᶻ)", lambda e: 1 / (1 + e), lambda z: (1 + tanh(z / 2)) / 2, _MINUS),
    "article: Loss Function",
    _F("Bernoulli: pˣ(1−p)¹⁻ˣ", lambda y, p: p**y * (1 - p) ** (1 - y),
       lambda y, p: jnp.where(y == 1, p, 1 - p), _LABELS),
    _F("P(y|x) = ŷʸ(1−ŷ)¹⁻ʸ", lambda y, p: p**y * (1 - p) ** (1 - y), lambda q: q, _LABELS),
    _F("likelihood = Πᵢ P(yᵢ|xᵢ)", lambda y, p: jnp.prod((p**y * (1 - p) ** (1 - y))[:50]),
       lambda q: jnp.prod(q[:50]), _FEW),
    _F("ln Πᵢ P(yᵢ|xᵢ) = Σᵢ ln P(yᵢ|xᵢ)", lambda y, p: jnp.sum(log(p**y * (1 - p) ** (1 - y))[:50]),
       lambda q: log(jnp.prod(q[:50])), _FEW),
    _F("= Σᵢ[y ln ŷ + (1−y) ln(1−ŷ)]", lambda y, p: jnp.sum(_log_likelihood(y, p)),
       lambda w, X, y: -len(X) * _loss(w, X, y), _LABELS),
    "article: Gradient Descent",
    _F("chain rule: ∂ℓ/∂ŷ · ∂ŷ/∂Z · ∂Z/∂w",
       lambda X, y, z, p: (_dloss_dp(p, y) * _dp_dz(z))[:, None] * X,
       lambda w, X, y: jacobian(lambda w: cross_entropy(X @ w, y))(w), _LABELS),
    _F("∂ℓ/∂ŷ = −y/ŷ + (1−y)/(1−ŷ)", lambda y, p: -y / p + (1 - y) / (1 - p), _dloss_dp, _LABELS),
    _F("∂ŷ/∂Z = ŷ(1−ŷ)", lambda p: p * (1 - p), _dp_dz, _BELOW),
    _F("∂Z/∂w = X", lambda X: X, lambda w, X: jacobian(lambda w: X @ w)(w)),
    _F("∇L = (1/n)Xᵀ(ŷ − y), as in linear regression",
       lambda X, y, p: _back(X, p - y), _dloss, _ROWS),
    _F("w ← w − α(1/n)Xᵀ(ŷ − y)", lambda w, X, y, p: w - _RATE * _back(X, p - y),
       lambda w, X, y: w - _RATE * _dloss(w, X, y), _ROWS),
    _F("a step of gradient descent lowers the loss", lambda: True, _step_lowers_loss, _SAFE),
    _F("⑥ the only method available is gradient descent", lambda: True, _newton_fails,
       "false: Newton's method gets there, here with an L2 penalty", "wrong: claim"),
    "article: Softmax Regression",
    _F("Z = XW, a logit for each class",
       lambda z: z, lambda w, X: jnp.stack([X @ v for v in w.T], 1)),
    _F("Ŷ = eᶻᵏ / Σₘ eᶻᵐ", lambda o: (o.T / o.sum(1)).T, lambda p: p, _EXP),
    _F("Ŷ is a vector of probabilities: Σₖ Ŷₖ = 1", lambda o: (o.T / o.sum(1)).sum(0),
       lambda X: jnp.ones(len(X)), _EXP),
    _F("the class is that of the highest probability",
       lambda o: jnp.argmax(o.T / o.sum(1), axis=0), lambda z: jnp.argmax(z, axis=1)),
    _F("two classes: softmax(0, z)₁ = σ(z)",
       lambda z: softmax(jnp.stack([0 * z, z], 2))[..., 1], lambda z: sigmoid(z)),
    _F("categorical cross-entropy −(1/n)ΣΣ Y log Ŷ",
       lambda y, o: -jnp.sum(y.T * log(o.T / o.sum(1))) / len(y), _loss, _ONE_HOT),
    _F("two classes: it is the binary cross-entropy", lambda y, z: -jnp.sum(
        jnp.stack([1 - y, y], 2) * log(softmax(jnp.stack([0 * z, z], 2))), axis=2)[:, 0],
       lambda y, z: cross_entropy(z[:, 0], y[:, 0]), _ONE_HOT),
    _F("∂Ŷₖ/∂Zₘ = Ŷₖ(δₖₘ − Ŷₘ)", lambda p: p[:, :, None] * (jnp.eye(p.shape[1]) - p[:, None]),
       lambda z: vmap(jacobian(softmax))(z)),
    _F("∂L/∂W = (1/n)Xᵀ(Ŷ − Y)", lambda X, y, p: _back(X, p - y), _dloss, _ONE_HOT),
    _F("W ← W − α(1/n)Xᵀ(Ŷ − Y)", lambda w, X, y, p: w - _RATE * _back(X, p - y),
       lambda w, X, y: w - _RATE * _dloss(w, X, y), _ONE_HOT),
    _F("softmax: a step of descent lowers the loss", lambda: True, _step_lowers_loss, _SAFE),
)
# fmt: on


def _headed(table: tuple[str | TextFormula, ...]) -> Iterator[TextFormula]:
    for row in table:
        if isinstance(row, str):
            heading = row
        else:
            yield row._replace(where=heading)


FORMULAS = tuple(_headed(_TABLE))


class TextVerdict(NamedTuple):
    """One formula's comparison, and "right", "wrong: sign", "wrong: ratio 2", … read off it."""

    formula: TextFormula
    comparison: Comparison
    verdict: str

    @property
    def as_expected(self) -> bool:
        """Whether a right formula came out right, and a misprint wrong in its way."""
        return self.verdict == self.formula.expected

    def as_dict(self) -> dict[str, Any]:
        """The verdict in plain numbers and strings."""
        words = {key: getattr(self.formula, key) for key in ("name", "domain", "where", "expected")}
        found = {"verdict": self.verdict, **self.comparison._asdict()}
        return words | found | {"as_expected": self.as_expected}


def audit_texts(X: Any, y: Any, seed: int = 0) -> list[TextVerdict]:
    """Compare every formula of the texts with what it claims to equal, in float64.

    Args:
        X: features, (n, p) with n ≥ p ≥ 3, of a few units each.
        y: classes 0 … K−1, (n,); two for the sigmoid's formulas, more for the softmax's.
        seed: of the weights at which the formulas are evaluated.

    Returns:
        A verdict for each formula, in the order of the texts.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> {formula.verdict for formula in audit_texts(X, np.arange(60) % 3)}
    {'right'}
    """
    with jax.enable_x64(True):
        quantities = draw_quantities(np.asarray(X, float), np.asarray(y), seed)
        is_softmax = quantities["y"].ndim == 2
        return [judge(f, quantities) for f in FORMULAS if ("Softmax" in f.where) == is_softmax]


def draw_quantities(X: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Array]:
    """All that a formula may name, at random weights."""
    K = int(y.max()) + 1
    w = np.random.default_rng(seed).normal(size=X.shape[1:] if K == 2 else (X.shape[1], K))
    w *= _LARGEST_LOGIT / np.max(np.abs(X @ w))
    z, Y = X @ w, y.astype(float) if K == 2 else np.eye(K)[y]
    found = {"X": X, "y": Y, "w": w, "z": z, "p": probability(z), "o": np.exp(z), "e": np.exp(-z)}
    return {name: jnp.asarray(x) for name, x in found.items()} | {"q": sigmoid((2 * Y - 1) * z)}


def judge(formula: TextFormula, quantities: dict[str, Array]) -> TextVerdict:
    """The verdict on one formula, read off the numbers."""

    def call(function: Callable[..., Any]) -> np.ndarray:
        names = inspect.signature(function).parameters
        return np.asarray(function(*(quantities[name] for name in names)))

    y, reference = np.asarray(quantities["y"]), call(formula.counterpart)
    try:
        hand = call(formula.hand)
    except TypeError:  # shapes that do not fit
        hand = np.empty(0)
    comparison = compare(formula.name, 1.0 * hand, 1.0 * reference)
    verdict = "right" if comparison.agrees else f"wrong: {kind_of_difference(hand, reference)}"
    if verdict == "wrong: values" and hand.shape == y.shape:
        labels = set(y[hand != reference])
        verdict = f"wrong: where y = {labels.pop():.0f}" if len(labels) == 1 else verdict
    return TextVerdict(formula, comparison, verdict)
