"""Wrong gradients of logistic losses: what people write for w(μ − y)."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from jax_logreg.audit.logistic import LogisticModel
from jax_logreg.audit.mistakes import Array, Mistake, column, offset_mistakes, other_weights


def slope_mistakes(model: LogisticModel) -> Iterator[Mistake]:
    """Wrong residuals: η ↦ what stands for w(μ − y)."""
    w, y, mean = column(model, model.weight), model.y, model.mean

    def right(eta: Array) -> Array:
        return w * (mean(eta) - y)

    yield from offset_mistakes(model, right)
    for text, other in other_weights(model):
        yield Mistake("weights", text, lambda eta, v=other: v * (mean(eta) - y), True)
    yield from _label_mistakes(model)
    yield from _chain_mistakes(model, right)
    yield from _mean_mistakes(model)
    for shift in (1, -1):
        text = "The rows of X and the residuals are shifted by one"
        yield Mistake("off-by-one", text, lambda eta, s=shift: jnp.roll(right(eta), s, axis=0))
        text = "Residuals are shifted by one row against X and the sample weights"
        yield Mistake(
            "off-by-one", text, lambda eta, s=shift: w * jnp.roll(mean(eta) - y, s, axis=0)
        )
        text = "Predictions are shifted by one row"
        yield Mistake(
            "off-by-one", text, lambda eta, s=shift: w * (jnp.roll(mean(eta), s, axis=0) - y)
        )
        text = "Labels and predictions are shifted by one row"
        yield Mistake(
            "off-by-one", text, lambda eta, s=shift: w * (mean(eta) - jnp.roll(y, s, axis=0))
        )
    yield Mistake("off-by-one", "The rows are in reverse order", lambda eta: right(eta)[::-1])


def _label_mistakes(model: LogisticModel) -> Iterator[Mistake]:
    w, y, mean = column(model, model.weight), model.y, model.mean

    def against(labels: Array) -> Callable[[Array], Array]:
        return lambda eta: w * (mean(eta) - labels)

    yield Mistake("labels", "Labels in {−1, 1} are used where {0, 1} is meant", against(2 * y - 1))
    yield Mistake("labels", "Labels are halved as if they were in {−1, 1}", against((y + 1) / 2))
    yield Mistake("complement", "y stands against 1 − y: labels are flipped", against(1 - y))
    yield Mistake("complement", "p stands against 1 − p", lambda eta: w * (1 - mean(eta) - y))
    if model.softmax:
        for shift in (1, -1):
            text = "Class labels are shifted by one"
            yield Mistake("labels", text, against(jnp.roll(y, shift, axis=1)))
            text = "The residuals are shifted by one class"
            yield Mistake(
                "off-by-one", text, lambda eta, s=shift: jnp.roll(w * (mean(eta) - y), s, axis=1)
            )
        yield Mistake("labels", "Class labels are in reverse order", against(y[:, ::-1]))
    else:
        sign = 2 * y - 1
        text = "Labels in {0, 1} stand in the formula for {−1, 1} (or one of the two terms of the cross-entropy is missing)"  # noqa: E501
        yield Mistake("labels", text, lambda eta: -w * y * mean(-eta))
        text = "The margin y·η is taken with labels in {−1, 1} but the residual with {0, 1}"
        yield Mistake("labels", text, lambda eta: -w * sign * mean(sign * eta))
        text = "The label's sign in front is forgotten in the formula for labels in {−1, 1}"
        yield Mistake("labels", text, lambda eta: -w * mean(-sign * eta))
        text = "Only the (1 − y) term of the cross-entropy is there"
        yield Mistake("labels", text, lambda eta: w * (1 - y) * mean(eta))
    yield Mistake("labels", "The labels are left out: μ alone", lambda eta: w * mean(eta))
    yield Mistake("labels", "The prediction is left out: y alone", lambda eta: -w * y, True)


def _chain_mistakes(model: LogisticModel, right: Callable[[Array], Array]) -> Iterator[Mistake]:
    w, y, mean = column(model, model.weight), model.y, model.mean

    def spread(eta: Array) -> Array:
        return mean(eta) * (1 - mean(eta))

    name = "μ(1 − μ)" if model.softmax else "σ(1 − σ)"
    yield Mistake(
        "chain-factor", f"The factor {name} stands there once too often",
        lambda eta: right(eta) * spread(eta),
    )  # fmt: skip
    yield Mistake(
        "chain-factor", f"The factor {name} of the chain rule is missing",
        lambda eta: right(eta) / spread(eta),
    )  # fmt: skip
    for text, factor in (("μ", mean), ("1 − μ", lambda eta: 1 - mean(eta))):
        yield Mistake(
            "chain-factor", f"A factor {text} stands there too much",
            lambda eta, f=factor: right(eta) * f(eta),
        )  # fmt: skip
        yield Mistake(
            "chain-factor", f"A factor {text} is missing", lambda eta, f=factor: right(eta) / f(eta)
        )
    if model.softmax:
        yield Mistake(
            "chain-factor", "The Jacobian of the softmax is missing: −Y/μ",
            lambda eta: -w * y / mean(eta),
        )  # fmt: skip
        text = "Only the diagonal of the softmax Jacobian is used: the cross-class part is dropped"
        yield Mistake("cross-class", text, lambda eta: -w * y * (1 - mean(eta)))
        text = "The sign of the cross-class part of the softmax Jacobian is flipped"
        yield Mistake("cross-class", text, lambda eta: -w * (y * (1 - 2 * mean(eta)) + mean(eta)))


def _mean_mistakes(model: LogisticModel) -> Iterator[Mistake]:
    """Something else in place of μ."""
    w, y = column(model, model.weight), model.y

    def predicting(other: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda eta: w * (other(eta) - y)

    if model.softmax:
        kind = "sigmoid-softmax"
        yield Mistake(
            kind, "The sigmoid of each logit stands in for the softmax", predicting(jax.nn.sigmoid)
        )
        text = "The sigmoid of the distance to the last class stands in for the softmax"
        yield Mistake(kind, text, predicting(lambda eta: jax.nn.sigmoid(eta - eta[:, -1:])))
        text = "The softmax is taken over the rows, not over the classes"
        yield Mistake(kind, text, predicting(lambda eta: jax.nn.softmax(eta, axis=0)))
        yield Mistake("chain-factor", "The softmax is not normalised: exp(η)", predicting(jnp.exp))
    else:
        text = "The softmax over the rows stands in for the sigmoid"
        yield Mistake("sigmoid-softmax", text, predicting(lambda e: jax.nn.softmax(e)))
        yield Mistake(
            "chain-factor", "The sigmoid lacks its denominator: exp(η)", predicting(jnp.exp)
        )
        text = "The normal distribution (probit) stands in for the sigmoid"
        yield Mistake("sigmoid-softmax", text, predicting(jax.scipy.stats.norm.cdf))
        yield Mistake("sigmoid-softmax", "tanh stands in for the sigmoid", predicting(jnp.tanh))
        yield Mistake(
            "chain-factor", "The class, 0 or 1, stands in for its probability",
            predicting(lambda eta: (eta > 0).astype(eta.dtype)),
        )  # fmt: skip
    yield Mistake("chain-factor", "The logits stand in for the probabilities", predicting(_same))
    for factor in (2.0, 0.5):
        text = f"The logits have the factor {factor:g}"
        yield Mistake("factor", text, lambda eta, f=factor: w * (model.mean(f * eta) - y))


def _same(eta: Array) -> Array:
    return eta
