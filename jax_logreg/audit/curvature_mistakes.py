"""Wrong Hessians of logistic losses: what people write for w ∂μ/∂η."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from jax_logreg.audit.logistic import LogisticModel
from jax_logreg.audit.mistakes import Array, Mistake, column, offset_mistakes, other_weights


def curvature_mistakes(model: LogisticModel) -> Iterator[Mistake]:
    """Wrong curvatures: (η, z) ↦ what stands for w ∂μ/∂η z."""
    w, y, mean = column(model, model.weight), model.y, model.mean

    def right(eta: Array, z: Array) -> Array:
        return w * jax.jvp(mean, (eta,), (z,))[1]

    yield from offset_mistakes(model, right)
    for text, other in other_weights(model):
        yield Mistake(
            "weights", text,
            lambda eta, z, v=other: v * jax.jvp(mean, (eta,), (z,))[1], True,
        )  # fmt: skip

    def scores(eta: Array, z: Array) -> Array:
        r = mean(eta) - y
        return r * (jnp.sum(r * z, axis=1, keepdims=True) if model.softmax else r * z)

    text = "Outer products of the scores (the empirical Fisher information) stand in for the observed information"  # noqa: E501
    yield Mistake("fisher", text, lambda eta, z: w * scores(eta, z), True)
    yield Mistake("fisher", f"{text}, with w²", lambda eta, z: w**2 * scores(eta, z), True)
    for shift in (1, -1):
        text = "The rows of X and their curvatures are shifted by one"
        yield Mistake("off-by-one", text, lambda eta, z, s=shift: _rolled_with(w, mean, eta, z, s))
        text = "The rows of X and their μ are shifted by one, the sample weights are not"
        yield Mistake("off-by-one", text, lambda eta, z, s=shift: _rolled(right, eta, z, s))
    yield from (_softmax_curvatures if model.softmax else _sigmoid_curvatures)(model)
    for factor in (2.0, 0.5):
        text = f"The logits have the factor {factor:g}"
        yield Mistake("factor", text, lambda eta, z, f=factor: right(f * eta, z))


def _rolled_with(
    w: Array, mean: Callable[[Array], Array], eta: Array, z: Array, shift: int
) -> Array:
    curved = jax.jvp(mean, (jnp.roll(eta, shift, axis=0),), (z,))[1]
    return jnp.roll(w, shift, axis=0) * curved


def _rolled(right: Callable[..., Array], eta: Array, z: Array, shift: int) -> Array:
    return right(jnp.roll(eta, shift, axis=0), z)


def _sigmoid_curvatures(model: LogisticModel) -> Iterator[Mistake]:
    w, mean = model.weight, model.mean
    options: list[tuple[str, str, Callable[[Array], Array]]] = [
        ("chain-factor", "The factor σ(1 − σ) is missing", jnp.ones_like),
        ("chain-factor", "The factor 1 − σ is missing", mean),
        ("chain-factor", "The factor σ is missing", lambda e: 1 - mean(e)),
        ("chain-factor", "σ² stands in for σ(1 − σ)", lambda e: mean(e) ** 2),
        ("chain-factor", "(1 − σ)² stands in for σ(1 − σ)", lambda e: (1 - mean(e)) ** 2),
        ("chain-factor", "σ(1 − σ) is squared", lambda e: (mean(e) * (1 - mean(e))) ** 2),
        ("chain-factor", "σ(1 − σ) has a root over it",
         lambda e: jnp.sqrt(mean(e) * (1 - mean(e)))),
        ("chain-factor", "It divides by σ(1 − σ)", lambda e: 1 / (mean(e) * (1 - mean(e)))),
        ("chain-factor", "σ(1 + σ) stands in for σ(1 − σ)", lambda e: mean(e) * (1 + mean(e))),
        ("chain-factor", "A factor 1 − 2σ, that of the next derivative, is too much",
         lambda e: mean(e) * (1 - mean(e)) * (1 - 2 * mean(e))),
        ("chain-factor", "A factor σ is too much", lambda e: mean(e) ** 2 * (1 - mean(e))),
        ("chain-factor", "A factor 1 − σ is too much", lambda e: mean(e) * (1 - mean(e)) ** 2),
        ("sigmoid-softmax", "The softmax over the rows stands in for the sigmoid",
         lambda e: jax.nn.softmax(e) * (1 - jax.nn.softmax(e))),
        ("fisher", "The bound ¼ stands in for σ(1 − σ)", lambda e: jnp.full_like(e, 0.25)),
        ("labels", "The residual |μ − y| stands in for σ(1 − σ)",
         lambda e: jnp.abs(mean(e) - model.y)),
        ("labels", "The residual μ − y stands in for σ(1 − σ)", lambda e: mean(e) - model.y),
        ("labels", "The label's sign, −1 or 1, is a factor too much",
         lambda e: (2 * model.y - 1) * mean(e) * (1 - mean(e))),
        ("complement", "y(1 − y) stands in for σ(1 − σ)", lambda e: model.y * (1 - model.y)),
        ("sigmoid-softmax", "The slope of tanh stands in for σ(1 − σ)",
         lambda e: 1 - jnp.tanh(e) ** 2),
        ("sigmoid-softmax", "The normal density stands in for σ(1 − σ)", jax.scipy.stats.norm.pdf),
    ]  # fmt: skip
    for kind, text, weight in options:
        yield Mistake(kind, text, lambda eta, z, f=weight: w * f(eta) * z)


def _softmax_curvatures(model: LogisticModel) -> Iterator[Mistake]:
    w, mean, y = model.weight[:, None], model.mean, model.y
    classes = y.shape[1]

    def total(z: Array) -> Array:
        return jnp.sum(z, axis=1, keepdims=True)

    def sigmoid_slope(e: Array) -> Array:
        return jax.nn.sigmoid(e) * jax.nn.sigmoid(-e)

    options: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        ("cross-class", "The blocks between classes are dropped: only μₖ(1 − μₖ) is there, as if each class were a sigmoid",  # noqa: E501
         lambda e, z: mean(e) * (1 - mean(e)) * z),
        ("cross-class", "The blocks between classes have the wrong sign",
         lambda e, z: mean(e) * (1 - 2 * mean(e)) * z + mean(e) * total(mean(e) * z)),
        ("cross-class", "The outer product μμᵀ is missing: diag(μ) alone",
         lambda e, z: mean(e) * z),
        ("cross-class", "diag(μ) is missing: −μμᵀ alone",
         lambda e, z: -mean(e) * total(mean(e) * z)),
        ("cross-class", "diag(μ) + μμᵀ stands in for diag(μ) − μμᵀ",
         lambda e, z: mean(e) * (z + total(mean(e) * z))),
        ("sigmoid-softmax", "The sigmoid's σ(1 − σ) stands in for the softmax weights, class by class",  # noqa: E501
         lambda e, z: sigmoid_slope(e) * z),
        ("sigmoid-softmax", "Sigmoids stand in for the softmax in diag(μ) − μμᵀ",
         lambda e, z: jax.nn.sigmoid(e) * (z - total(jax.nn.sigmoid(e) * z))),
        ("fisher", "Böhning's bound ½(I − 11ᵀ/K) stands in for diag(μ) − μμᵀ",
         lambda e, z: 0.5 * (z - total(z) / classes)),
        ("chain-factor", "The softmax weights are missing altogether", lambda e, z: z),
        ("chain-factor", "μ(1 − μ) is squared, class by class",
         lambda e, z: (mean(e) * (1 - mean(e))) ** 2 * z),
        ("complement", "1 − μ stands in for μ",
         lambda e, z: (1 - mean(e)) * (z - total((1 - mean(e)) * z))),
        ("chain-factor", "The factor μ in front is missing: δ − μ",
         lambda e, z: z - total(mean(e) * z)),
        ("chain-factor", "The factor μ behind is missing: δ − μ",
         lambda e, z: z - mean(e) * total(z)),
        ("sigmoid-softmax", "The softmax is taken over the rows, not over the classes",
         lambda e, z: _of(jax.nn.softmax(e, axis=0), z)),
        ("complement", "diag(1 − μ) stands in for diag(μ)",
         lambda e, z: (1 - mean(e)) * z - mean(e) * total(mean(e) * z)),
        ("labels", "Labels stand in for μ in diag(μ) − μμᵀ", lambda e, z: y * (z - total(y * z))),
        ("labels", "μYᵀ stands in for μμᵀ", lambda e, z: mean(e) * (z - total(y * z))),
        ("off-by-one", "The classes of μ are shifted by one",
         lambda e, z: jnp.roll(mean(e), 1, axis=1) * (z - total(jnp.roll(mean(e), 1, axis=1) * z))),
    ]  # fmt: skip
    for kind, text, curved in options:
        yield Mistake(kind, text, lambda eta, z, f=curved: w * f(eta, z))
    factors: list[tuple[str, Callable[[Array], Array]]] = [
        ("μ", mean),
        ("1 − μ", lambda e: 1 - mean(e)),
        ("μ(1 − μ)", lambda e: mean(e) * (1 - mean(e))),
    ]  # fmt: skip
    for name, factor in factors:
        text = f"A factor {name} is too much"
        yield Mistake("chain-factor", text, lambda eta, z, f=factor: w * f(eta) * _of(mean(eta), z))
        yield Mistake("chain-factor", text, lambda eta, z, f=factor: w * _of(mean(eta), f(eta) * z))


def _of(mu: Array, z: Array) -> Array:
    """(diag(μ) − μμᵀ) z, row by row."""
    return mu * (z - jnp.sum(mu * z, axis=1, keepdims=True))
