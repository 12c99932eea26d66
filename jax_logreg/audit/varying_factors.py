"""Factors that vary: an entry multiplied by e^θ, or by the value, or by another parameter.

They come from the chain rule. A parameter that is kept as its logarithm brings a factor e^θ;
a loss that is the logarithm of something brings one over that. Forgotten, or applied twice,
they leave a ratio of hand and reference that is a known function of the point.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.match import SLACK, Diagnosis, Mismatch, complexity, fit_parts
from jax_logreg.audit.user_names import UserNames

# Ratios are compared at no fewer points than this, and first to this relative difference.
_MIN_POINTS = 3
_SCREEN = 1e-4


class Factor(NamedTuple):
    """A factor that depends on the point.

    Attributes:
        words: what it is called.
        why: where it comes from.
        code: of the parameter's name; "" if it cannot be written with it.
        values: (m, 1) or (m, P).
    """

    words: str
    why: str
    code: str
    values: np.ndarray


def _softplus(t: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, t)


def _sigmoid(t: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -t))


_S = "(1 / (1 + np.exp(-{0})))"
# Words, where it comes from, code, function.
_FUNCTIONS: tuple[tuple[str, str, str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("e^{0}", "a parameter on the log scale", "np.exp({0})", np.exp),
    ("{0}", "a square, or a product", "{0}", lambda t: t),
    ("e^(2·{0})", "a square of a parameter on the log scale", "np.exp(2 * {0})",
     lambda t: np.exp(2 * t)),
    ("e^({0}/2)", "half a parameter on the log scale", "np.exp({0} / 2)", lambda t: np.exp(t / 2)),
    ("{0}²", "a power", "{0}**2", np.square),
    ("{0}³", "a power", "{0}**3", lambda t: t**3),
    ("σ({0})", "a softplus, or a logistic", _S, _sigmoid),
    ("1 − σ({0})", "a logistic", f"(1 - {_S})", lambda t: _sigmoid(-t)),
    ("σ({0})(1 − σ({0}))", "a parameter behind a sigmoid", f"({_S} * (1 - {_S}))",
     lambda t: _sigmoid(t) * _sigmoid(-t)),
    ("1 − tanh²({0})", "a parameter behind a tanh", "(1 - np.tanh({0})**2)",
     lambda t: 1 - np.tanh(t) ** 2),
    ("softplus({0})", "a parameter behind a softplus", "np.log1p(np.exp({0}))", _softplus),
    ("softplus({0})²", "a parameter behind a softplus", "np.log1p(np.exp({0}))**2",
     lambda t: _softplus(t) ** 2),
)  # fmt: skip


def own_factors(theta: np.ndarray) -> Iterator[Factor]:
    """Functions of the entry's own parameter."""
    for words, why, code, f in _FUNCTIONS:
        yield Factor(words.format("θ"), why, code, f(theta))


def factors_of_one(theta: np.ndarray, paths: list[tuple[str, str]]) -> Iterator[Factor]:
    """Functions of one parameter; ``paths`` hold the name and the code of each."""
    for (name, code), column in zip(paths, theta.T, strict=True):
        for words, why, form, f in _FUNCTIONS:
            yield Factor(words.format(name), why, form.format(code), f(column)[:, None])


def common_factors(mismatch: Mismatch) -> Iterator[Factor]:
    """Functions of the whole: the value, norms, sums."""
    theta, axes = mismatch.theta, tuple(range(1, mismatch.hand.ndim))
    size = np.sqrt(np.sum(mismatch.expected**2, axis=axes))[:, None]
    yield Factor("its norm", "a derivative that is normalised", "", size)
    norm = np.linalg.norm(theta, axis=1)[:, None]
    yield Factor("‖θ‖", "a norm", "np.linalg.norm({0})", norm)
    yield Factor("‖θ‖²", "a norm", "np.sum({0}**2)", norm**2)
    yield Factor("Σ e^θ", "a softmax", "np.sum(np.exp({0}))", np.exp(theta).sum(1)[:, None])
    if mismatch.values is None:
        return
    value = mismatch.values[:, None]
    outer = "the function around the value (a logarithm, a root, an exponential)"
    yield Factor("the value itself", outer, "", value)
    yield Factor("the value squared", outer, "", value**2)
    yield Factor("e^value", outer, "", np.exp(value))


def varying_factor(
    mismatch: Mismatch, names: UserNames, others: list[Factor]
) -> Iterator[Diagnosis]:
    """hand = c · f · expected with a known function f: missing, or too much.

    Args:
        mismatch: of a block; its θ is that of the block alone.
        names: of the block.
        others: factors that are the same for all entries.
    """
    own = [f._replace(code=f.code.format(names.theta)) for f in own_factors(mismatch.theta)]
    if mismatch.hand.ndim == 2:
        for factor in own:
            yield from _fitted(mismatch, names, factor)
    elif mismatch.name in ("hessian", "jacobian"):
        yield from _on_sides(mismatch, names, own)
    ratio = _ratio_of_points(mismatch)
    if ratio is None:
        return
    for factor in others:
        for power in (1, -1):
            with np.errstate(all="ignore"):
                c = ratio / factor.values.ravel() ** power
            c = c[np.isfinite(c)]
            near = len(c) >= _MIN_POINTS and np.ptp(c) <= _SCREEN * np.max(np.abs(c))
            if near and np.ptp(factor.values) > _SCREEN * np.max(np.abs(factor.values)):
                yield from _fitted(mismatch, names, factor, (power,))


def _on_sides(mismatch: Mismatch, names: UserNames, own: list[Factor]) -> Iterator[Diagnosis]:
    """A matrix whose columns, or rows and columns, have a factor of their own."""
    for factor in own:
        columns = factor.values[:, None, :] + np.zeros(mismatch.hand.shape)
        sides = [("of the column's parameter", columns)]
        if mismatch.name == "hessian":
            rows = factor.values[:, :, None]
            sides += [("of the row's parameter", rows + 0 * columns)]
            sides += [("of both parameters", rows * columns)]
        for where, values in sides:
            words = f"{factor.words} {where}"
            changed = factor._replace(words=words, values=values, code="")
            yield from _fitted(mismatch, names, changed)


def _ratio_of_points(mismatch: Mismatch) -> np.ndarray | None:
    """hand / expected at every point, where all entries have the same; else None."""
    ratio = mismatch.ratio(tuple(range(1, mismatch.hand.ndim)))
    off = np.abs(mismatch.hand - ratio * mismatch.expected)
    known = np.isfinite(off)
    near = _SCREEN * np.abs(ratio * mismatch.expected)
    near += SLACK * mismatch.allowed * (1 + np.abs(ratio))
    return ratio.ravel() if np.all((off <= near)[known]) and known.any() else None


def _fitted(
    mismatch: Mismatch, names: UserNames, factor: Factor, powers: tuple[int, ...] = (-1, 1)
) -> Iterator[Diagnosis]:
    shape = (len(mismatch.hand), *(1,) * (mismatch.hand.ndim - 1))
    values = factor.values if factor.values.shape[1:] != (1,) else factor.values.reshape(shape)
    # A point at which the factor is 0 or infinite shows nothing.
    usable = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    usable &= (values != 0).all(axis=tuple(range(1, values.ndim)))
    if usable.sum() < _MIN_POINTS:
        return
    part, values = mismatch.at_points(usable), values[usable]
    for power in powers:
        fit = fit_parts(part, [values**power * part.expected])
        if not fit.exact or fit.factors[0] == 0:
            continue
        (c,) = fit.factors
        how = "is missing" if power < 0 else "is too much"
        also = "" if c == 1 else f", and the factor {names.describe(c)} is there"
        text = f"The factor {factor.words} {how}{also}: that of {factor.why}."
        evidence = (
            f"the ratio is that factor at {int(usable.sum())} points, residual {fit.residual:.0e}"
        )
        fix = ""
        if factor.code:
            fix = f"{names.result} {'*=' if power < 0 else '/='} {factor.code}"
            fix += "" if c == 1 else f"; {names.unscale(c)}"
        effort = complexity(
            1, factors=int(not names.has_name(c)), vagueness=0.0 if c == 1 else 0.25
        )
        yield Diagnosis("chain-factor", mismatch.name, text, evidence, effort, fix)
