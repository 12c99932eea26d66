r"""Marginal effects: what one more unit of a feature does to the probabilities.

Of the probability :math:`\mu_k` of a class in a row x, by the name that econometrics gives them:

========  ============================================  =====================================
method    effect of feature j                           change of, per
========  ============================================  =====================================
"dydx"    :math:`\partial\mu_k/\partial x_j`            probability, unit
"eydx"    :math:`\partial\log\mu_k/\partial x_j`        share of itself, unit
"dyex"    :math:`x_j\,\partial\mu_k/\partial x_j`       probability, share of the feature
"eyex"    :math:`x_j\,\partial\log\mu_k/\partial x_j`   share of itself, share of the feature
========  ============================================  =====================================

A feature that takes whole numbers has no derivative. Of a dummy it is the difference between 1
and 0, of a count half the difference between one more and one less, in μ or log μ.

Source: Greene (2012), *Econometric Analysis*, section 17.3.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.inference.delta import Derived, Layout, propagate
from jax_logreg.inference.inference import Inference, check_inference
from jax_logreg.programs.compiled import Compiled
from jax_logreg.programs.jax_settings import in_float64, own_settings

Method = Literal["dydx", "eydx", "dyex", "eyex"]
At = Literal["overall", "mean", "median", "zero"]
Columns = bool | Sequence[str | int]


@own_settings()
def marginal_effects(
    inference: Inference,
    *,
    at: At = "overall",
    method: Method = "dydx",
    values: Mapping[str | int, float] | None = None,
    dummies: Columns = False,
    counts: Columns = False,
    at_mean: bool = False,
) -> Derived:
    r"""The change of the probabilities with each feature, averaged over the rows or at one row.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i\, \frac{\partial \mu_{ik}}{\partial x_{ij}}

    Args:
        inference: what ``infer`` returned.
        at: "overall" averages the effects over the rows; "mean", "median" and "zero" take the
            effect at the row of the features' means, medians or zeros.
        method: "dydx", or an elasticity, "eydx", "dyex" or "eyex"; see
            ``inference/marginal_effects.py``.
        values: what some features, by name or position, are held at.
        dummies: the features, by name or position, whose effect is the difference between 1
            and 0; True for all that hold nothing else.
        counts: those whose effect is half the difference between one more and one less; True
            for all others that hold whole numbers from 0 on.
        at_mean: the same as ``at="mean"``.

    Returns:
        The effects, (p,) on class 1 of the sigmoid model, (p, K) for softmax.

    Raises:
        ValueError: for an unknown word or column, and for dummies or counts by the share of
            the feature.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> inference = lr.infer(lr.fit(X, y), X, y)
    >>> marginal_effects(inference).estimate.round(3).tolist()
    [0.128]
    >>> marginal_effects(inference, method="eyex", values={0: 2.5}).estimate.round(3).tolist()
    [0.842]
    """
    check_inference(inference)
    _check_word("at", at, At)
    _check_word("method", method, Method)
    fit = inference.fit
    dummy = _columns(inference, "dummies", dummies, lambda x: (x == 0) | (x == 1))
    count = np.setdiff1d(
        _columns(inference, "counts", counts, lambda x: (x >= 0) & (x % 1 == 0)), dummy
    )
    if method[2:] == "ex" and len(dummy) + len(count):
        raise ValueError(
            f"method={method!r} is per share of the feature, which a dummy or a count has not: use "
            f"{method[:2] + 'dx'!r}, or leave dummies and counts out."
        )
    rows = _rows(inference, "mean" if at_mean else at, values or {})

    question = _Question(
        rows,
        (fit.scaling.centre, fit.scaling.scale),
        Layout.of(fit),
        method,
        tuple(dummy.tolist()),
        tuple(count.tolist()),
    )
    with in_float64():
        found, J = _effects_with_slope(question, fit.contrasts(fit.theta))
    return propagate(inference, np.asarray(found), np.asarray(J))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Question:
    """Which effects, as a function of γ, whose columns are scaled.

    Attributes:
        rows: where they are taken.
        units: centre and scale of the columns.
        layout: of γ.
        method: as of ``marginal_effects``.
        dummies, counts: the positions of such features.
    """

    rows: "_Rows"
    units: tuple[Any, Any]
    layout: Layout = field(metadata={"static": True})
    method: str = field(metadata={"static": True})
    dummies: tuple[int, ...] = field(metadata={"static": True})
    counts: tuple[int, ...] = field(metadata={"static": True})

    def effects(self, gamma: jax.Array) -> jax.Array:
        """(p,) or (p, K)."""
        rows, layout, (centre, scale) = self.rows, self.layout, self.units
        coef, intercept = layout.split(gamma)
        eta = layout.with_reference((rows.X - centre) / scale @ coef + intercept)
        eta = eta if rows.offset is None else eta + rows.offset
        beta = layout.with_reference((coef.T / scale).T)
        found = _continuous(rows, eta, beta, self.method)
        for j in (*self.dummies, *self.counts):
            found = found.at[j].set(self._difference(j, eta, beta[j]))
        return found

    def _difference(self, j: int, eta: jax.Array, slope: jax.Array) -> jax.Array:
        """The effect of a feature of whole numbers."""
        to = j in self.dummies
        (low, high), step = ((0.0, 1.0), 1) if to else ((-1.0, 1.0), 2)
        below, above = (
            _outcome(eta + jnp.multiply.outer(_change(self.rows, j, end, to), slope), self.method)
            for end in (low, high)
        )
        return self.rows.weight @ (above - below) / step


@Compiled
def _effects_with_slope(question: _Question, gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The effects, (p,) or (p, K), and their derivatives by γ."""

    def twice(gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = question.effects(gamma)
        return found, found

    slope, found = jax.jacfwd(twice, has_aux=True)(gamma)
    return found, slope


class _Rows(NamedTuple):
    """Where effects are taken: features, (m, p), an offset or None, and weights of sum 1, (m,)."""

    X: Any
    offset: Any
    weight: Any


def _rows(inference: Inference, at: str, values: Mapping[str | int, float]) -> _Rows:
    F, weight = inference.fit.objective, inference.fit.weight
    X = inference.fit.table
    offset = None if F.offset is None else np.asarray(F.offset)
    if at != "overall":
        summary = {"mean": _mean, "median": _median, "zero": lambda x, _: np.zeros(x.shape[1:])}[at]
        X = summary(X, weight)[None]
        offset = None if offset is None else summary(offset, weight)[None]
        weight = np.ones(1)
    X = X.copy() if values else X
    for column, value in values.items():
        X[:, _columns(inference, "values", [column])] = value
    return _Rows(X, offset, weight / weight.sum())


def _mean(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.tensordot(weight / weight.sum(), x, 1)


def _median(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The median along the first axis of rows that count as many times as their weights say."""
    columns = x.reshape(len(x), -1)
    order = np.argsort(columns, axis=0)
    total = np.cumsum(weight[order], axis=0) / weight.sum()
    ordered = np.take_along_axis(columns, order, axis=0)
    ends = [np.argmax(reached, axis=0)[None] for reached in (total >= 0.5, total > 0.5)]
    middle = [np.take_along_axis(ordered, end, axis=0)[0] for end in ends]
    return np.mean(middle, axis=0).reshape(x.shape[1:])


def _continuous(rows: _Rows, eta: jax.Array, beta: jax.Array, method: str) -> jax.Array:
    """The mean derivative of μ or log μ, times x_j where it is per share."""
    mu = jax.nn.sigmoid(eta) if eta.ndim == 1 else jax.nn.softmax(eta, axis=1)
    of = rows.weight[:, None] * (rows.X if method[2:] == "ex" else jnp.ones((len(rows.X), 1)))
    if eta.ndim == 1:
        slope = jax.nn.sigmoid(-eta) * (1 if method[:2] == "ey" else mu)
        return (of.T @ slope) * beta
    share = jnp.ones_like(mu) if method[:2] == "ey" else mu
    # ∂log μ_k/∂x_j = β_jk − Σ_m μ_m β_jm
    cross = jnp.einsum("nj,nk,nm->jkm", of, share, mu)
    return (of.T @ share) * beta - jnp.sum(cross * beta[:, None, :], axis=-1)


def _outcome(eta: jax.Array, method: str) -> jax.Array:
    """μ or log μ, (m,) or (m, K)."""
    log_mu = jax.nn.log_sigmoid(eta) if eta.ndim == 1 else jax.nn.log_softmax(eta, axis=1)
    return log_mu if method[:2] == "ey" else jnp.exp(log_mu)


def _change(rows: _Rows, j: int, end: float, to: bool) -> jax.Array:
    """How far a feature moves: to an end, or by it, (m,)."""
    return end - rows.X[:, j] if to else jnp.full(len(rows.X), end)


def _check_word(name: str, given: object, words: object) -> None:
    if given not in get_args(words):
        listed = ", ".join(map(repr, get_args(words)))
        raise ValueError(f"{name} must be one of {listed}, but it is {given!r}.")


def _columns(
    inference: Inference,
    argument: str,
    given: Columns,
    detect: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Positions of features that are given by name or position, or are detected by their
    entries."""
    if isinstance(given, bool) and detect is not None:
        return np.flatnonzero(np.all(detect(inference.fit.table), axis=0) if given else ())
    names, p = inference.features, inference.fit.objective.X.shape[1]
    known: dict[object, int] = {name: j for j, name in enumerate(names)}
    known |= {j: j for j in range(p)}
    given = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    if unknown := [column for column in given if column not in known]:
        raise ValueError(
            f"{argument} names no feature {unknown}: the features are {names}, or 0 … {p - 1}."
        )
    return np.array([known[column] for column in given], int)
