r"""Every formula of the notebook text, *Logistic Regression: The Math* (SELENE).

``hand`` computes what is printed, ``counterpart`` what it claims to equal, by another
way: autodiff of the function differentiated, or the definition in this package's form.
Misprints are entries of their own, numbered ①–⑥ as in ``notebooks/01_the_math.ipynb``.
"""

from collections.abc import Callable

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
from jax_logreg.objective.losses import binary_cross_entropy
from jax_logreg.objective.model import sigmoid


def _printed_sigmoid(z: Array) -> Array:
    return 1 / (1 + jnp.exp(-z))


def _printed_log(s: Sample) -> Array:
    return s.y * jnp.log(s.p) + (1 - s.y) * jnp.log(1 - s.p)


def _printed_mean(s: Sample) -> Array:
    return jnp.mean(_printed_log(s))


def _printed_terms(s: Sample) -> Array:
    first = s.y / s.p * s.p * (1 - s.p)
    return first + (1 - s.y) / (1 - s.p) * (-1) * s.p * (1 - s.p)


def _slipped_expansion(s: Sample) -> Array:
    first = 2 * s.w[0] * s.X[:, 0] + s.w[1] * s.X[:, 1] + s.w[0] * s.X[:, 2]
    return first + s.X[:, 3:] @ s.w[3:]


def _doubled_definite(s: Sample) -> Array:
    twice = Sample(jnp.hstack([s.X, s.X[:, :1]]), s.y, jnp.append(s.w, s.w[0]))
    return _smallest(twice) > 1e-12


@jax.jit
def _smallest(s: Sample) -> Array:
    """The smallest eigenvalue of the loss's Hessian, over the largest."""
    values = jnp.linalg.eigvalsh(jax.hessian(lambda w: mean_loss(s._replace(w=w)))(s.w))
    return values[0] / values[-1]


_WHY = "notebook: Why the Sigmoid Function?"
_LOSS = "notebook: Deriving the Cross-Entropy Loss"
_SIDE = "notebook: Calculating the Derivative of the Cross Entropy Loss"
_SIGMA = "notebook: Calculating the Derivative of σ(z)"
_PARTIAL = "notebook: Calculating partial derivatives"
_SUM = "notebook: Summary"

_ANY = "every logit"
_INSIDE = "0 < p < 1"
_EXP = "as long as e^z is finite: z below 709 in float64"
_MINUS = "as long as e^−z is finite: z above −709 in float64"
_LABELS = "labels 0 and 1, 0 < ŷ < 1"
_ROWS = "rows of X are examples; labels in [0, 1], 0 < ŷ < 1"
_REJECTED = "nowhere; the text itself rejects it"

# Numerator and denominator of the quotient rule, as the text has them.
_FRACTIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("σ′ = (0·(1+e⁻ᶻ) − 1·(e⁻ᶻ·(−1))) / (1+e⁻ᶻ)²",
     r"\frac{0\cdot(1+e^{-z})-(1)\cdot(e^{-z}\cdot(-1))}{(1+e^{-z})^2}",
     lambda e: (0 * (1 + e) - 1 * (e * (-1))) / (1 + e) ** 2),
    ("σ′ = e⁻ᶻ / (1+e⁻ᶻ)²", r"\frac{e^{-z}}{(1+e^{-z})^2}", lambda e: e / (1 + e) ** 2),
    ("σ′ = (1 + e⁻ᶻ − 1) / (1+e⁻ᶻ)²", r"\frac{1+e^{-z}-1}{(1+e^{-z})^2}",
     lambda e: (1 + e - 1) / (1 + e) ** 2),
    ("σ′ = (1+e⁻ᶻ)/(1+e⁻ᶻ)² − 1/(1+e⁻ᶻ)²", r"\frac{1+e^{-z}}{(1+e^{-z})^2}-\frac{1}{(1+e^{-z})^2}",
     lambda e: (1 + e) / (1 + e) ** 2 - 1 / (1 + e) ** 2),
    ("σ′ = 1/(1+e⁻ᶻ) − 1/(1+e⁻ᶻ)²", r"\frac{1}{1+e^{-z}}-\frac{1}{(1+e^{-z})^2}",
     lambda e: 1 / (1 + e) - 1 / (1 + e) ** 2),
    ("σ′ = 1/(1+e⁻ᶻ) · (1 − 1/(1+e⁻ᶻ))", r"\frac{1}{1+e^{-z}}\left(1-\frac{1}{1+e^{-z}}\right)",
     lambda e: 1 / (1 + e) * (1 - 1 / (1 + e))),
)  # fmt: skip


def _fraction(name: str, latex: str, of_e: Callable[[Array], Array]) -> TextFormula:
    printed = rf"\frac{{d\sigma}}{{dz}} = {latex}"
    reference = slope_of(sigmoid)
    return TextFormula(name, printed, lambda s: of_e(jnp.exp(-s.z)), reference, _MINUS, _SIGMA)


FROM_ODDS_TO_LOSS = (
    TextFormula("ŷ = 1 / (1 + e⁻ᶻ)", r"\hat y_i=\sigma(w^Tx_i)=\frac{1}{1+e^{-w^Tx_i}}",
        lambda s: _printed_sigmoid(s.z), lambda s: (1 + jnp.tanh(s.z / 2)) / 2, _MINUS, _WHY),
    TextFormula("step function: ŷ = 1 where wᵀx > 0",
        r"\hat y_i=\begin{cases}1,&w^Tx_i>0\\0,&\text{otherwise}\end{cases}",
        lambda s: jnp.where(s.z > 0, 1.0, 0.0), lambda s: jnp.round(s.p), _ANY, _WHY),
    TextFormula("p = wᵀx (tried and rejected there)", r"p(x_i)=w^Tx_i",
        lambda s: s.z, lambda s: s.p, _REJECTED, _WHY, "wrong: values"),
    TextFormula("log p = wᵀx (tried and rejected there)", r"\log p(x_i)=w^Tx_i",
        lambda s: s.z, lambda s: jnp.log(s.p), _REJECTED, _WHY, "wrong: values"),
    TextFormula("log(p/(1−p)) = wᵀx", r"\log\left(\frac{p(x_i)}{1-p(x_i)}\right)=w^Tx_i",
        lambda s: jnp.log(s.p / (1 - s.p)), lambda s: s.z, _INSIDE, _WHY),
    TextFormula("p/(1−p) = eᶻ", r"\frac{p(x_i)}{1-p(x_i)}=e^{w^Tx_i}",
        lambda s: s.p / (1 - s.p), lambda s: jnp.exp(s.z), _INSIDE, _WHY),
    TextFormula("p = eᶻ(1−p)", r"p(x_i)=e^{w^Tx_i}[1-p(x_i)]",
        lambda s: jnp.exp(s.z) * (1 - s.p), lambda s: s.p, _EXP, _WHY),
    TextFormula("p = eᶻ − p eᶻ", r"p(x_i)=e^{w^Tx_i}-p(x_i)e^{w^Tx_i}",
        lambda s: jnp.exp(s.z) - s.p * jnp.exp(s.z), lambda s: s.p, _EXP, _WHY),
    TextFormula("p + p eᶻ = eᶻ", r"p(x_i)+p(x_i)e^{w^Tx_i}=e^{w^Tx_i}",
        lambda s: s.p + s.p * jnp.exp(s.z), lambda s: jnp.exp(s.z), _EXP, _WHY),
    TextFormula("p(1 + eᶻ) = eᶻ", r"p(x_i)[1+e^{w^Tx_i}]=e^{w^Tx_i}",
        lambda s: s.p * (1 + jnp.exp(s.z)), lambda s: jnp.exp(s.z), _EXP, _WHY),
    TextFormula("p = eᶻ/(1 + eᶻ)", r"p(x_i)=\frac{e^{w^Tx_i}}{1+e^{w^Tx_i}}",
        lambda s: jnp.exp(s.z) / (1 + jnp.exp(s.z)), lambda s: s.p, _EXP, _WHY),
    TextFormula("p = 1/((1 + eᶻ)/eᶻ)", r"p(x_i)=\frac{1}{\frac{1+e^{w^Tx_i}}{e^{w^Tx_i}}}",
        lambda s: 1 / ((1 + jnp.exp(s.z)) / jnp.exp(s.z)), lambda s: s.p, _EXP, _WHY),
    TextFormula("p = 1/(1/eᶻ + eᶻ/eᶻ)",
        r"p(x_i)=\frac{1}{\frac{1}{e^{w^Tx_i}}+\frac{e^{w^Tx_i}}{e^{w^Tx_i}}}",
        lambda s: 1 / (1 / jnp.exp(s.z) + jnp.exp(s.z) / jnp.exp(s.z)), lambda s: s.p, _EXP, _WHY),
    TextFormula("p(x) = ŷ = 1/(1 + e⁻ᶻ), the logit's inverse", r"p(x_i)=\frac{1}{1+e^{-w^Tx_i}}",
        lambda s: _printed_sigmoid(jnp.log(s.p) - jnp.log1p(-s.p)), lambda s: s.p, _MINUS, _WHY),
    TextFormula("ŷ = 1 − P(y=0|x)", r"\hat y_i=1-P(y_i=0|x_i,w)",
        lambda s: 1 - sigmoid(-s.z), lambda s: s.p, _ANY, _LOSS),
    TextFormula("P(y|x) in two cases, ŷ and 1 − ŷ",
        r"P(y_i|x_i,w)=\begin{cases}\hat y_i&y_i=1\\1-\hat y_i&y_i=0\end{cases}",
        lambda s: jnp.where(s.y == 1, s.p, 1 - s.p), seen, _LABELS, _LOSS),
    TextFormula("P(y|x) = ŷʸ(1−ŷ)¹⁻ʸ", r"P(y_i|x_i,w)=\hat y_i^{y_i}(1-\hat y_i)^{1-y_i}",
        lambda s: s.p**s.y * (1 - s.p) ** (1 - s.y), seen, _LABELS, _LOSS),
    TextFormula("① log P(y=1|x) = y log ŷ + (1−y) log(1−ŷ)",
        r"\log P(y_i=1|x_i,w)=y_i\log\hat y_i+(1-y_i)\log(1-\hat y_i)",
        _printed_log, lambda s: jnp.log(s.p), "y = 1 only", _LOSS, "wrong: where y = 0"),
    TextFormula("① mended: log P(y|x) = y log ŷ + …",
        r"\log P(y_i|x_i,w)=y_i\log\hat y_i+(1-y_i)\log(1-\hat y_i)",
        _printed_log, lambda s: jnp.log(seen(s)), _LABELS, _LOSS),
    TextFormula("L_CE = −[y log ŷ + (1−y) log(1−ŷ)]",
        r"L_{CE}(\hat y,y)=-\left[y_i\log\hat y_i+(1-y_i)\log(1-\hat y_i)\right]",
        lambda s: -_printed_log(s), lambda s: binary_cross_entropy(s.z, s.y), _LABELS, _LOSS),
)  # fmt: skip

DERIVATIVE_OF_SIGMA = (
    TextFormula("⑤ the Hessian remains positive definite", r"v^T\nabla^2L\,v>0",
        true, _doubled_definite, "linearly independent columns; here one stands twice",
        _SIDE, "wrong: claim"),
    TextFormula("⑤ mended: L is convex, ∇²L semidefinite", r"v^T\nabla^2L\,v\ge0",
        true, lambda s: _smallest(s) > -1e-12, _ANY, _SIDE),
    *(_fraction(*row) for row in _FRACTIONS),
    TextFormula("σ′ = σ(1−σ)", r"\frac{d\sigma}{dz}=\sigma(z)(1-\sigma(z))",
        lambda s: s.p * (1 - s.p), slope_of(sigmoid), "z below 36: beyond, 1 − σ rounds to 0",
        _SIGMA),
)  # fmt: skip

PARTIAL_DERIVATIVES = (
    TextFormula("③ L = (1/n) Σ[y log σ + (1−y) log(1−σ)]",
        r"L=\frac1n\sum_{i=1}^n\left[y_i\log\sigma(w^Tx_i)+(1-y_i)\log(1-\sigma(w^Tx_i))\right]",
        _printed_mean, mean_loss, "it is the mean log-likelihood, not the loss",
        _PARTIAL, "wrong: sign"),
    TextFormula("d log f/dx = (1/f) df/dx, with f = σ",
        r"\frac{d(\log f)}{dx}=\frac{1}{f(x)}\frac{df}{dx}",
        lambda s: slope_of(sigmoid)(s) / s.p, slope_of(lambda z: jnp.log(sigmoid(z))),
        "f above 0", _PARTIAL),
    TextFormula("∂(wᵀx)/∂wⱼ = xᵢⱼ", r"\frac{d(w^Tx_i)}{dw_j}=x_{ij}",
        lambda s: s.X, lambda s: jax.jacobian(lambda w: s.X @ w)(s.w), _ANY, _PARTIAL),
    TextFormula("② wᵀx = w₀x₀ + w₀x₀ + w₁x₁ + w₀x₂ + …",
        r"w^Tx_i=w_0x_{0i}+w_0x_{0i}+w_1x_{1i}+w_0x_{2i}+\dots+w_dx_{di}",
        _slipped_expansion, lambda s: s.z, "nowhere: two terms are slips", _PARTIAL,
        "wrong: values"),
    TextFormula("② mended: wᵀx = Σⱼ wⱼ xᵢⱼ", r"w^Tx_i=\sum_jw_jx_{ij}",
        lambda s: sum((s.w[j] * s.X[:, j] for j in range(len(s.w))), jnp.zeros(len(s.X))),
        lambda s: s.z, _ANY, _PARTIAL),
    gradient_entry("∂L/∂wⱼ = (1/n)Σ[y/σ·σ(1−σ)x + …(−1)…]",
        r"\frac{\partial L}{\partial w_j}=\frac1n\sum_i\left[\frac{y}{\sigma}\sigma(1-\sigma)x_{ij}"
        r"+\frac{1-y}{1-\sigma}(-1)\sigma(1-\sigma)x_{ij}\right]",
        lambda s: backward(s, _printed_terms(s)), _printed_mean, _ROWS, _PARTIAL),
    gradient_entry("… factored: (1/n)Σ[y/σ − (1−y)/(1−σ)] σ(1−σ)x",
        r"\frac1n\sum_i\left[\frac{y}{\sigma}-\frac{1-y}{1-\sigma}\right]\sigma(1-\sigma)x_{ij}",
        lambda s: backward(s, (s.y / s.p - (1 - s.y) / (1 - s.p)) * s.p * (1 - s.p)),
        _printed_mean, _ROWS, _PARTIAL),
    gradient_entry("… one denominator: [(y−yσ−(σ−yσ))/(σ(1−σ))]…",
        r"\frac1n\sum_i\left[\frac{y-y\sigma-(\sigma-y\sigma)}{\sigma(1-\sigma)}\right]"
        r"\sigma(1-\sigma)x_{ij}",
        lambda s: backward(s, (s.y - s.y * s.p - (s.p - s.y * s.p)) / (s.p * (1 - s.p))
                            * s.p * (1 - s.p)),
        _printed_mean, _ROWS, _PARTIAL),
    gradient_entry("… simplified: [(y−σ)/(σ(1−σ))] σ(1−σ)x",
        r"\frac1n\sum_i\left[\frac{y-\sigma}{\sigma(1-\sigma)}\right]\sigma(1-\sigma)x_{ij}",
        lambda s: backward(s, (s.y - s.p) / (s.p * (1 - s.p)) * s.p * (1 - s.p)),
        _printed_mean, _ROWS, _PARTIAL),
    gradient_entry("… cancelled: (1/n)Σ(y−σ)xᵢⱼ",
        r"\frac{\partial L}{\partial w_j}=\frac1n\sum_i(y_i-\sigma(w^Tx_i))x_{ij}",
        lambda s: backward(s, s.y - s.p), _printed_mean, _ROWS, _PARTIAL),
    gradient_entry("③ ∂L/∂w = (1/n)Xᵀ(σ − y), of the L printed",
        r"\frac{\partial L}{\partial w}=\frac1nX^T(\sigma-y)",
        lambda s: backward(s, s.p - s.y), _printed_mean, "of −L, not of the L above it",
        _PARTIAL, "wrong: sign"),
    gradient_entry("④ (1/n)Xᵀ(σ(wᵀX) − y)",
        r"\frac{\partial L}{\partial w}=\frac1nX^T(\sigma(w^TX)-y)",
        lambda s: backward(s, sigmoid(s.w @ s.X) - s.y), mean_loss,
        "defined for as many rows as features only", _PARTIAL, "wrong: shape"),
    TextFormula("④ σ(wᵀX) with as many rows as features", r"\sigma(w^TX)",
        lambda s: sigmoid(s.square.w @ s.square.X), lambda s: s.square.p,
        "defined there, and wrong in silence", _PARTIAL, "wrong: values"),
    TextFormula("④ mended: h_w(X) = σ(Xw)", r"h_w(X)=\sigma(Xw)",
        lambda s: _printed_sigmoid(s.X @ s.w), lambda s: s.p, _MINUS, _PARTIAL),
    TextFormula("L(y, ŷ) = −[y log ŷ + (1−y) log(1−ŷ)], mean",
        r"L(y,\hat y)=-\left[y\log(\hat y)+(1-y)\log(1-\hat y)\right]",
        lambda s: -_printed_mean(s), mean_loss, _LABELS, _SUM),
    gradient_entry("∂L/∂w = (1/n)Xᵀ(ŷ − y)",
        r"\frac{\partial L}{\partial w}=\frac1nX^T(\hat y-y)",
        lambda s: backward(s, s.p - s.y), mean_loss, _ROWS, _SUM),
)  # fmt: skip

NOTEBOOK = FROM_ODDS_TO_LOSS + DERIVATIVE_OF_SIGMA + PARTIAL_DERIVATIVES
