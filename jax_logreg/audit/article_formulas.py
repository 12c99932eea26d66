r"""The formulas of the article *Logistic Regression Math Deduction* by Fernando Guzman.

(Towards AI, 2023.) Its formulas are pictures; these are the ones that its prose states.
The two-class entries want a sample with y of shape (n,), the softmax entries one-hot
labels (n, K) with K of 3 or more.
"""

import jax
import jax.numpy as jnp

from jax_logreg.audit.text_entry import (
    Array,
    Sample,
    TextFormula,
    backward,
    gradient_entry,
    mean_loss,
    seen,
    slope_of,
    true,
)
from jax_logreg.objective.losses import binary_cross_entropy, cross_entropy_of_probability
from jax_logreg.objective.model import logit, odds, sigmoid, softmax

_LOGIT = "article: Logit"
_PREDICTION = "article: Prediction"
_LOSS = "article: Loss Function"
_DESCENT = "article: Gradient Descent"
_SOFTMAX = "article: Softmax Regression"

_ANY = "every logit"
_INSIDE = "0 < p < 1"
_LABELS = "labels 0 and 1, 0 < ŷ < 1"
_ROWS = "rows of X are examples; labels in [0, 1], 0 < ŷ < 1"
_FEW = "as long as the product is a normal number; here 50 rows"
_ONE_HOT = "rows of Y sum to one, 0 < ŷ < 1"

# Steps of gradient descent and penalty for the two claims about training.
_RATE = 0.1
_STRENGTH = 0.1
_NEWTON_STEPS = 20


def _log_bernoulli(s: Sample) -> Array:
    return s.y * jnp.log(s.p) + (1 - s.y) * jnp.log(1 - s.p)


def _bernoulli(s: Sample) -> Array:
    return s.p**s.y * (1 - s.p) ** (1 - s.y)


def _first_link(s: Sample) -> Array:
    return -s.y / s.p + (1 - s.y) / (1 - s.p)


def _first_link_by_autodiff(s: Sample) -> Array:
    return jax.grad(lambda p: jnp.sum(cross_entropy_of_probability(p, s.y)))(s.p)


def _chain(s: Sample) -> Array:
    links = _first_link_by_autodiff(s) * slope_of(sigmoid)(s)
    return links[:, None] * jax.jacobian(lambda w: s.X @ w)(s.w)


@jax.jit
def _row_slopes(s: Sample) -> Array:
    return jax.jacobian(lambda w: binary_cross_entropy(s.X @ w, s.y))(s.w)


def _descended(s: Sample) -> Array:
    return s.w - _RATE * backward(s, s.p - s.y)


def _descended_by_autodiff(s: Sample) -> Array:
    return s.w - _RATE * jax.grad(lambda w: mean_loss(s._replace(w=w)))(s.w)


def _steps_down(s: Sample) -> Array:
    size = jnp.sum(s.X**2) / len(s.X)  # bounds the curvature, so 1/size is a safe rate
    gradient = backward(s, s.p - s.y)
    return mean_loss(s._replace(w=s.w - gradient / size)) < mean_loss(s)


@jax.jit
def _nothing_else_arrives(s: Sample) -> Array:
    """Whether Newton's method fails to make the gradient zero."""

    def loss(w: Array) -> Array:
        return mean_loss(s._replace(w=w)) + _STRENGTH / 2 * jnp.sum(w**2)

    slope, curvature = jax.grad(loss), jax.hessian(loss)
    w = jax.lax.fori_loop(
        0,
        _NEWTON_STEPS,
        lambda _, w: w - jnp.linalg.solve(curvature(w), slope(w)),
        jnp.zeros_like(s.w),
    )
    return jnp.max(jnp.abs(slope(w))) > 1e-10


TWO_CLASSES = (
    TextFormula("odds of a fair coin: 0.5/0.5 = 1", r"\frac{0.5}{0.5}=1",
        lambda s: jnp.array(0.5 / 0.5), lambda s: jnp.exp(logit(jnp.array(0.5))), _INSIDE, _LOGIT),
    TextFormula("odds = p/q, q = 1 − p", r"\text{odds}=\frac pq,\quad q=1-p",
        lambda s: s.p / (1 - s.p), lambda s: sigmoid(s.z) / sigmoid(-s.z), _INSIDE, _LOGIT),
    TextFormula("logit = ln odds, odd around ½",
        r"\ln\frac{p}{1-p}=-\ln\frac{1-p}{p}",
        lambda s: jnp.log(odds(s.p)), lambda s: -jnp.log(odds(1 - s.p)), _INSIDE, _LOGIT),
    TextFormula("logit = ln(ŷ/(1−ŷ)) = Z", r"Z=\ln\frac{\hat y}{1-\hat y}",
        lambda s: jnp.log(s.p / (1 - s.p)), lambda s: s.z, _INSIDE, _LOGIT),
    TextFormula("Z = Xw, as in linear regression", r"Z=Xw",
        lambda s: s.X @ s.w, lambda s: jnp.sum(s.X * s.w, axis=1), _ANY, _LOGIT),
    TextFormula("e^Z is the odds again", r"e^Z=\frac{\hat y}{1-\hat y}",
        lambda s: jnp.exp(s.z), lambda s: odds(s.p), "Z below 709 in float64", _PREDICTION),
    TextFormula("ŷ = σ(Z) = 1/(1 + e⁻ᶻ)", r"\hat y=\frac{1}{1+e^{-Z}}",
        lambda s: 1 / (1 + jnp.exp(-s.z)), lambda s: (1 + jnp.tanh(s.z / 2)) / 2,
        "Z above −709 in float64", _PREDICTION),
    TextFormula("Bernoulli: pˣ(1−p)¹⁻ˣ", r"P(x)=p^x(1-p)^{1-x}",
        _bernoulli, lambda s: jnp.where(s.y == 1, s.p, 1 - s.p), _LABELS, _LOSS),
    TextFormula("P(y|x) = ŷʸ(1−ŷ)¹⁻ʸ", r"P(y|x)=\hat y^y(1-\hat y)^{1-y}",
        _bernoulli, seen, _LABELS, _LOSS),
    TextFormula("likelihood = Πᵢ P(yᵢ|xᵢ)", r"\prod_{i=1}^nP(y_i|x_i)",
        lambda s: jnp.prod(_bernoulli(s.few)), lambda s: jnp.prod(seen(s.few)), _FEW, _LOSS),
    TextFormula("ln Πᵢ P(yᵢ|xᵢ) = Σᵢ ln P(yᵢ|xᵢ)", r"\ln\prod_iP(y_i|x_i)=\sum_i\ln P(y_i|x_i)",
        lambda s: jnp.sum(jnp.log(_bernoulli(s.few))),
        lambda s: jnp.log(jnp.prod(seen(s.few))), _FEW, _LOSS),
    TextFormula("= Σᵢ[y ln ŷ + (1−y) ln(1−ŷ)]",
        r"\sum_i\left[y_i\ln\hat y_i+(1-y_i)\ln(1-\hat y_i)\right]",
        lambda s: jnp.sum(_log_bernoulli(s)), lambda s: -len(s.y) * mean_loss(s), _LABELS, _LOSS),
    TextFormula("chain rule: ∂ℓ/∂ŷ · ∂ŷ/∂Z · ∂Z/∂w",
        r"\frac{\partial E}{\partial w}=\frac{\partial E}{\partial\hat y}"
        r"\frac{\partial\hat y}{\partial Z}\frac{\partial Z}{\partial w}",
        _chain, _row_slopes, _LABELS, _DESCENT),
    TextFormula("∂ℓ/∂ŷ = −y/ŷ + (1−y)/(1−ŷ)",
        r"\frac{\partial E}{\partial\hat y}=-\frac{y}{\hat y}+\frac{1-y}{1-\hat y}",
        _first_link, _first_link_by_autodiff, _LABELS, _DESCENT),
    TextFormula("∂ŷ/∂Z = ŷ(1−ŷ)", r"\frac{\partial\hat y}{\partial Z}=\hat y(1-\hat y)",
        lambda s: s.p * (1 - s.p), slope_of(sigmoid), "Z below 36: beyond, 1 − ŷ rounds to 0",
        _DESCENT),
    TextFormula("∂Z/∂w = X", r"\frac{\partial Z}{\partial w}=X",
        lambda s: s.X, lambda s: jax.jacobian(lambda w: s.X @ w)(s.w), _ANY, _DESCENT),
    gradient_entry("∇L = (1/n)Xᵀ(ŷ − y), as in linear regression",
        r"\nabla L=\frac1nX^T(\hat y-y)", lambda s: backward(s, s.p - s.y), mean_loss,
        _ROWS, _DESCENT),
    TextFormula("w ← w − α(1/n)Xᵀ(ŷ − y)", r"w\leftarrow w-\alpha\frac1nX^T(\hat y-y)",
        _descended, _descended_by_autodiff, _ROWS, _DESCENT),
    TextFormula("a step of gradient descent lowers the loss", r"L(w-\alpha\nabla L)<L(w)",
        true, _steps_down, "α up to one over the largest curvature", _DESCENT),
    TextFormula("⑥ the only method available is gradient descent",
        r"\nabla L(w)=0\;\text{by descent alone}", true, _nothing_else_arrives,
        "false: Newton's method gets there, here with an L2 penalty", _DESCENT, "wrong: claim"),
)  # fmt: skip


def _printed_softmax(s: Sample) -> Array:
    return jnp.exp(s.z) / jnp.sum(jnp.exp(s.z), axis=1, keepdims=True)


def _softmax_slopes(s: Sample) -> Array:
    return s.p[:, :, None] * (jnp.eye(s.p.shape[1]) - s.p[:, None, :])


def _two_of_them(s: Sample) -> Array:
    """Softmax of the logits 0 and z, with the first class's logit for z."""
    return jnp.stack([jnp.zeros(len(s.X)), s.z[:, 0]], axis=1)


def _two_class_losses(s: Sample) -> Array:
    Y = jnp.stack([1 - s.y[:, 0], s.y[:, 0]], axis=1)
    return -jnp.sum(Y * jnp.log(softmax(_two_of_them(s))), axis=1)


SOFTMAX = (
    TextFormula("Z = XW, a logit for each class", r"Z=XW", lambda s: s.X @ s.w,
        lambda s: jnp.stack([s.X @ column for column in s.w.T], axis=1), _ANY, _SOFTMAX),
    TextFormula("Ŷ = eᶻᵏ / Σₘ eᶻᵐ", r"\hat Y_{ik}=\frac{e^{Z_{ik}}}{\sum_{m=1}^Ke^{Z_{im}}}",
        _printed_softmax, lambda s: s.p, "largest Z below 709 in float64", _SOFTMAX),
    TextFormula("Ŷ is a vector of probabilities: Σₖ Ŷₖ = 1", r"\sum_{k=1}^K\hat Y_{ik}=1",
        lambda s: jnp.sum(_printed_softmax(s), axis=1), lambda s: jnp.ones(len(s.X)),
        "largest Z below 709 in float64", _SOFTMAX),
    TextFormula("the class is that of the highest probability", r"\arg\max_k\hat Y_{ik}",
        lambda s: 1.0 * jnp.argmax(_printed_softmax(s), axis=1),
        lambda s: 1.0 * jnp.argmax(s.z, axis=1), _ANY, _SOFTMAX),
    TextFormula("two classes: softmax(0, z)₁ = σ(z)", r"\frac{e^z}{e^0+e^z}=\sigma(z)",
        lambda s: softmax(_two_of_them(s))[:, 1], lambda s: sigmoid(s.z[:, 0]), _ANY, _SOFTMAX),
    TextFormula("categorical cross-entropy −(1/n)ΣΣ Y log Ŷ",
        r"L=-\frac1n\sum_i\sum_kY_{ik}\log\hat Y_{ik}",
        lambda s: -jnp.mean(jnp.sum(s.y * jnp.log(_printed_softmax(s)), axis=1)), mean_loss,
        _ONE_HOT, _SOFTMAX),
    TextFormula("two classes: it is the binary cross-entropy",
        r"-\sum_{k=0}^1Y_k\log\hat Y_k=-[y\log\hat y+(1-y)\log(1-\hat y)]",
        _two_class_losses, lambda s: binary_cross_entropy(s.z[:, 0], s.y[:, 0]), _ONE_HOT,
        _SOFTMAX),
    TextFormula("∂Ŷₖ/∂Zₘ = Ŷₖ(δₖₘ − Ŷₘ)",
        r"\frac{\partial\hat Y_k}{\partial Z_m}=\hat Y_k(\delta_{km}-\hat Y_m)",
        _softmax_slopes, lambda s: jax.vmap(jax.jacobian(softmax))(s.z), _ANY, _SOFTMAX),
    gradient_entry("∂L/∂W = (1/n)Xᵀ(Ŷ − Y)", r"\frac{\partial L}{\partial W}=\frac1nX^T(\hat Y-Y)",
        lambda s: backward(s, s.p - s.y), mean_loss, _ONE_HOT, _SOFTMAX),
    TextFormula("W ← W − α(1/n)Xᵀ(Ŷ − Y)", r"W\leftarrow W-\alpha\frac1nX^T(\hat Y-Y)",
        _descended, _descended_by_autodiff, _ONE_HOT, _SOFTMAX),
    TextFormula("softmax: a step of descent lowers the loss", r"L(W-\alpha\nabla L)<L(W)",
        true, _steps_down, "α up to one over the largest curvature", _SOFTMAX),
)  # fmt: skip
