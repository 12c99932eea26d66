"""Explanations through the logits: which changed piece of the recipe reproduces the numbers?

The right derivative of a loss of logits is a data term, carried back through the logits,
and a penalty. Each explanation changes one of the two, and least squares finds a factor
for either.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.linear_predictor import SplitLoss, logits_at
from jax_logreg.audit.logistic import LogisticModel, penalty_slope
from jax_logreg.audit.match import (
    REPRODUCED,
    SLACK,
    Diagnosis,
    Fit,
    Mismatch,
    complexity,
    fit_parts,
    inner_sentence,
    matches,
)
from jax_logreg.audit.mistakes import (
    PENALTY_MISTAKES,
    Mistake,
    Recipe,
    catalogue,
    changes_of_data,
    names_of_mistakes,
    right_recipe,
)
from jax_logreg.audit.models import Model
from jax_logreg.audit.penalties import add_linear
from jax_logreg.audit.places import describe_block
from jax_logreg.audit.reference import directional_derivative
from jax_logreg.audit.traced import run_compiled
from jax_logreg.audit.user_names import UserNames

# Random vectors that stand for a Hessian at each point.
_PROBES = 2
# Up to this many numbers the rows are tried one by one, and data are changed and tried again.
_MAX_CONTRIBUTIONS = 5_000_000
_MAX_DATA = 1_000_000
# A value of more steps, such as a loop over rows, takes too long to be asked again and again.
_MAX_STEPS = 300


class Parts(NamedTuple):
    """A wrong derivative and the right one in two parts, arrays of one shape.

    Attributes:
        mismatch: the wrong derivative; for a Hessian its products with probe vectors.
        data: the right data term.
        penalty: the rest.
    """

    mismatch: Mismatch
    data: np.ndarray
    penalty: np.ndarray

    @property
    def order(self) -> int:
        """1 for a gradient, 2 for products with a Hessian."""
        return len(self.mismatch.call_arguments)

    def fit(self, data: np.ndarray, penalty: np.ndarray) -> Fit:
        """A data term and a penalty, each with a factor of its own."""
        return fit_parts(self.mismatch, [data, penalty] if penalty.any() else [data])

    def is_right(self, data: np.ndarray, penalty: np.ndarray) -> bool:
        """Whether a changed data term or penalty makes no difference on these data."""
        off = np.abs(data + penalty - self.data - self.penalty)
        return bool(np.all(off <= SLACK * self.mismatch.allowed))


def split_parts(mismatch: Mismatch, split: SplitLoss) -> Parts:
    """Data term and penalty of the right derivative at the points of a mismatch."""
    if mismatch.name == "hessian":
        mismatch = _as_products(mismatch)
    penalty = np.asarray(run_compiled(split, _penalties, *mismatch.call_arguments))
    # What is round-off is no penalty.
    penalty = np.where(np.abs(penalty) > 1e-3 * mismatch.allowed, penalty, 0.0)
    return Parts(mismatch, mismatch.expected - penalty, penalty)


def is_penalty(parts: Parts, split: SplitLoss) -> bool:
    """Whether what is not the data term is a penalty: the data term does not depend on it."""
    theta = parts.mismatch.theta
    if len(theta) < 2 or not parts.penalty.any():
        return True
    eta = np.repeat(run_compiled(split, logits_at, theta)[:1], 2, axis=0)
    here, there = np.asarray(run_compiled(split, _slopes, theta[:2], eta))
    return np.allclose(here, there, rtol=1e-9, atol=1e-9 * np.max(np.abs(here), initial=0.0))


def _as_products(mismatch: Mismatch) -> Mismatch:
    """A Hessian's products with random vectors: the same mistakes, in P numbers."""
    rng = np.random.default_rng(0)
    size = mismatch.theta.shape[1]
    diagonal = np.abs(np.einsum("mii->mi", mismatch.expected)).mean(0)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-300))
    scale = np.where(np.isfinite(scale) & (scale < 1e100), scale, 1.0)
    points = np.repeat(np.arange(len(mismatch.theta)), _PROBES)
    probes = rng.normal(size=(len(points), size)) * scale

    def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return np.einsum("mij,mj->mi", matrices[points], vectors)

    return Mismatch(
        "hessian", mismatch.theta[points], probes, times(mismatch.hand, probes),
        times(mismatch.expected, probes), times(mismatch.allowed, np.abs(probes)),
        np.ones(probes.shape, bool),
    )  # fmt: skip


def _penalties(split: SplitLoss, *stacks: jax.Array) -> jax.Array:
    return jax.vmap(lambda *row: penalty_slope(split, *row))(*stacks)


def penalty_hessians(mismatch: Mismatch, split: SplitLoss) -> np.ndarray:
    """Second derivatives of a penalty that is a sum over the parameters, (m, P, P)."""
    ones = np.ones(mismatch.theta.shape)
    diagonals = np.asarray(run_compiled(split, _penalties, mismatch.theta, ones))
    return diagonals[:, :, None] * np.eye(split.size)


def by_catalogue(parts: Parts, model: LogisticModel, names: UserNames) -> Iterator[Diagnosis]:
    """Every mistake of the catalogue, with the penalty as it should be, or with a factor."""
    data_terms = np.asarray(run_compiled(model, _wrong_data_terms, *parts.mismatch.call_arguments))
    for mistake, data in zip(names_of_mistakes(model, parts.order), data_terms, strict=True):
        yield from _explain(parts, mistake, data, parts.penalty, names)


def by_pairs(parts: Parts, model: LogisticModel, names: UserNames) -> Iterator[Diagnosis]:
    """Two mistakes of the catalogue in different pieces."""
    pairs = _pairs(model, parts.order)
    rows = len(pairs) * len(parts.mismatch.theta) * np.size(model.y)
    if not pairs or rows > _MAX_CONTRIBUTIONS:
        return
    data_terms = np.asarray(run_compiled(model, _wrong_pairs, *parts.mismatch.call_arguments))
    for (one, other), data in zip(pairs, data_terms, strict=True):
        both = Mistake(
            one.kind, f"{one.text}; and {inner_sentence(other.text)}",
            one.pieces | other.pieces, one.any_factor or other.any_factor,
        )  # fmt: skip
        for diagnosis in _explain(parts, both, data, parts.penalty, names):
            yield diagnosis
            yield diagnosis._replace(kind=other.kind)


def wrong_gradients(parts: Parts, model: LogisticModel) -> Iterator[Model]:
    """Every mistake of the catalogue as the first of two."""
    data_terms = np.asarray(run_compiled(model, _wrong_data_terms, *parts.mismatch.call_arguments))
    for mistake, data in zip(catalogue(model, parts.order), data_terms, strict=True):
        if not parts.is_right(data, parts.penalty):
            # The factor of weights that are no weights is 1, or the size of those that are.
            size = np.mean(np.abs(model.weight)) if mistake.any_factor else 1.0
            for scale in dict.fromkeys((1.0, 1 / size)):
                yield Model(mistake.kind, partial(str, mistake.text), scale * data + parts.penalty)


def _pairs(model: LogisticModel, order: int) -> list[tuple[Mistake, Mistake]]:
    """Of data with anything else; of labels with the mean."""
    mistakes = catalogue(model, order)

    def goes_with(one: Mistake, other: Mistake) -> bool:
        pieces = set(one.pieces) | set(other.pieces)
        disjoint = len(pieces) == len(one.pieces) + len(other.pieces)
        return disjoint and (bool(pieces & {"weights", "offset"}) or pieces == {"labels", "mean"})

    return [pair for pair in itertools.combinations(mistakes, 2) if goes_with(*pair)]


def _wrong_pairs(model: LogisticModel, *stacks: jax.Array) -> jax.Array:
    """The data term with every pair of mistakes at every point, (pairs, m, P)."""
    recipe = right_recipe(model)
    both = [other.change(one.change(recipe)) for one, other in _pairs(model, len(stacks))]
    return _data_terms(model, both, *stacks)


def _wrong_data_terms(model: LogisticModel, *stacks: jax.Array) -> jax.Array:
    """The data term with every mistake at every point, (mistakes, m, P)."""
    recipe = right_recipe(model)
    wrong = [mistake.change(recipe) for mistake in catalogue(model, len(stacks))]
    return _data_terms(model, wrong, *stacks)


def _data_terms(model: LogisticModel, recipes: list[Recipe], *stacks: jax.Array) -> jax.Array:
    """The data term by every recipe at every point, (recipes, m, P)."""
    vjp = jax.vjp(model.logits, jnp.zeros(model.split.size))[1]

    def at_point(theta: jax.Array, *vector: jax.Array) -> jax.Array:
        linear = model.logits(theta) - model.offset
        z = [jax.jvp(model.logits, (theta,), (v,))[1] for v in vector]
        rows = jnp.stack([recipe.rows(linear, *z) for recipe in recipes])
        return jax.vmap(lambda r: vjp(r)[0])(rows)

    return jnp.moveaxis(jax.lax.map(lambda row: at_point(*row), stacks), 0, 1)


def _explain(
    parts: Parts,
    mistake: Mistake,
    data: np.ndarray,
    penalty: np.ndarray,
    names: UserNames,
) -> Iterator[Diagnosis]:
    """A mistake's data term and penalty, alone or with factors."""
    mismatch, pieces = parts.mismatch, mistake.num_pieces(parts.order)
    if not np.isfinite(data + penalty).all() or parts.is_right(data, penalty):
        return
    if matches(mismatch, data + penalty):
        effort = complexity(pieces)
        yield Diagnosis(mistake.kind, mismatch.name, f"{mistake.text}.", REPRODUCED, effort)
        return
    fit = parts.fit(data, penalty)
    a, kappa = (*fit.factors, 1.0)[:2]
    if not fit.exact or a == 0 or (kappa == 0 and "penalty" in mistake.pieces):
        return
    also, factors = "", 0
    if a != 1 and not mistake.any_factor:
        also, factors = f", and a factor {names.describe(a)}", 1
    if kappa not in (1, a):
        how = "is left out" if kappa == 0 else f"× {kappa:.6g}"
        also, factors = f"{also}, and the penalty {how}", factors + 1
    evidence = f"with this the numbers are reproduced up to the factor {a:.8g}, residual {fit.residual:.0e}"  # noqa: E501
    effort = complexity(pieces, factors)
    yield Diagnosis(mistake.kind, mismatch.name, f"{mistake.text}{also}.", evidence, effort)


def by_penalty(
    parts: Parts, intercepts: np.ndarray, layout: PytreeLayout, names: UserNames
) -> Iterator[Diagnosis]:
    """The penalty left out, scaled, misshapen, or on the intercepts (a mask, (P,))."""
    if parts.penalty.any():
        yield from _scaled_parts(parts, layout, names)
        theta, x = parts.mismatch.theta, parts.mismatch.call_arguments[-1]
        with np.errstate(all="ignore"):
            strength = np.where(x != 0, parts.penalty / x, 0.0)
        for mistake in PENALTY_MISTAKES:
            penalty = mistake.pieces["penalty"](strength, theta, x)
            yield from _explain(parts, mistake, parts.data, penalty, names)
    yield from _penalised_intercept(parts, intercepts, layout, names)


def _scaled_parts(parts: Parts, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
    name, fit = parts.mismatch.name, parts.fit(parts.data, parts.penalty)
    a, kappa = fit.factors
    if not fit.exact or a == kappa or not parts.data.any():
        return
    evidence = f"data term × {a:.8g}, penalty × {kappa:.8g}, residual {fit.residual:.0e}"
    factor, of_data = names.describe(a), "sign" if a == -1 else "factor"
    effort = complexity(factors=(a != 1) + (kappa != 1))

    def added(times: float) -> str:
        return add_linear(times * _strength(parts), layout, names) if times else ""

    if a == 1:
        lines = [added(1 - kappa)]
    elif kappa == 0:
        lines = [names.unscale(a), added(1.0)]
    else:
        lines = [added(-kappa), names.unscale(a), added(1.0)]
    fix = "; ".join(lines) if all(lines) else ""
    if a == 1 and kappa == 0:
        text = "The penalty is left out."
        yield Diagnosis("penalty-missing", name, text, evidence, effort, fix)
    elif a == 1:
        text = f"The penalty has the factor {names.describe(kappa)}."
        yield Diagnosis("penalty-factor", name, text, evidence, effort, fix)
    elif kappa == 1:
        text = f"The data term, but not the penalty, has the factor {factor}."
        yield Diagnosis(of_data, name, text, evidence, effort, fix)
    elif kappa == 0:
        text = f"The penalty is left out, and the factor is {factor}."
        yield Diagnosis("penalty-missing", name, text, evidence, effort, fix)
        yield Diagnosis(of_data, name, text, evidence, effort, fix)
    else:
        text = f"Factors {factor} on the data term and {names.describe(kappa)} on the penalty."
        yield Diagnosis("factor", name, text, evidence, effort, fix)


def _strength(parts: Parts) -> np.ndarray:
    """The penalty over the parameter, or over the vector, of every coordinate, (P,)."""
    x = parts.mismatch.call_arguments[-1]
    with np.errstate(all="ignore"):
        found = np.nan_to_num(np.nanmedian(np.where(x != 0, parts.penalty / x, np.nan), axis=0))
    # The same up to round-off is the same.
    return np.asarray([float(f"{c:.11g}") for c in found])


def _penalised_intercept(
    parts: Parts, intercepts: np.ndarray, layout: PytreeLayout, names: UserNames
) -> Iterator[Diagnosis]:
    if not intercepts.any() or intercepts.all():
        return
    name, x = parts.mismatch.name, parts.mismatch.call_arguments[-1]
    fit = fit_parts(parts.mismatch, [parts.mismatch.expected, np.where(intercepts, x, 0.0)])
    a, c = fit.factors
    if not fit.exact or a != 1 or c == 0:
        return
    evidence = f"hand − reference = {c:.6g} · θ on the intercept, nothing elsewhere"
    fix = add_linear(np.where(intercepts, -c, 0.0), layout, names)
    if parts.penalty[:, intercepts].any():
        text = "The penalty on the intercept is left out or has a wrong factor."
        yield Diagnosis("penalty-factor", name, text, evidence, fix=fix)
        return
    with np.errstate(all="ignore"):
        ratios = (parts.penalty / x)[:, ~intercepts]
    same = bool(np.any(np.abs(ratios - c) <= 1e-6 * abs(c)))
    text = "The penalty is applied to the intercept too"
    text += ", with the strength that the coefficients have." if same else "."
    yield Diagnosis("penalty-on-intercept", name, text, evidence, fix=fix)


def _data_term(
    mismatch: Mismatch,
    logits: SplitLoss,
    moves: SplitLoss,
    loss: SplitLoss,
    back: SplitLoss,
    linear: np.ndarray | None = None,
) -> np.ndarray:
    """The data term where each link of the chain rule uses data of its own.

    The links are: parameters to logits, a Hessian's vector to a move of the logits, the loss
    of the logits, and back to the parameters. ``linear`` are the parameters of the logits,
    if not those of the points.
    """
    theta, *vector = mismatch.call_arguments
    eta = run_compiled(logits, logits_at, theta if linear is None else linear)
    z = [run_compiled(moves, _moves_of_logits, v) for v in vector]
    return back.vjp_to_parameters(np.asarray(run_compiled(loss, _slopes, theta, eta, *z)))


def _moves_of_logits(split: SplitLoss, vectors: jax.Array) -> jax.Array:
    zero = jnp.zeros(split.size)
    return jax.vmap(lambda v: jax.jvp(split.logits, (zero,), (v,))[1])(vectors)


def _slopes(split: SplitLoss, *stacks: jax.Array) -> jax.Array:
    """∂ loss / ∂η at every (θ, η), or its derivative along z at every (θ, η, z)."""

    def one(theta: jax.Array, eta: jax.Array, *z: jax.Array) -> jax.Array:
        if not z:
            return split.loss_wrt_logits(theta, eta)
        return directional_derivative(lambda e: split.loss_wrt_logits(theta, e), eta, *z)

    return jax.vmap(one)(*stacks)


def by_changed_data(parts: Parts, split: SplitLoss, names: list[str]) -> Iterator[Diagnosis]:
    """Every change of every array of numbers that the loss uses, by its name.

    The derivative is taken anew with one array changed: everywhere, or in one link of the
    chain rule. So it works for any loss, logistic or not.
    """
    if split.num_steps > _MAX_STEPS:
        return
    for kind, words, constants in changes_of_data(split.constants, names, _MAX_DATA):
        found = _where_changed(parts, split, split.with_constants(constants))
        if found is not None:
            where, a = found
            also = "" if a == 1 else f", and a factor {a:.6g}"
            text = f"It would be right with {words}{where}{also}."
            effort = complexity(1, factors=int(a != 1))
            yield Diagnosis(kind, parts.mismatch.name, text, REPRODUCED, effort)


def _where_changed(parts: Parts, split: SplitLoss, other: SplitLoss) -> tuple[str, float] | None:
    """Where other data reproduce the numbers, in words, and with what factor."""
    for where, links in (
        ("", (other, other, other, other)),
        (", in the logits", (other, split, split, split)),
        (", on the way to the logits", (other, other, split, split)),
        (", on the way back from the logits", (split, split, split, other)),
        (", in the loss of the logits", (split, split, other, split)),
    ):
        data = _data_term(parts.mismatch, *links)
        if np.isfinite(data).all() and not np.array_equal(data, parts.data):
            fit = parts.fit(data, parts.penalty)
            if fit.exact and fit.factors[0] != 0 and fit.factors[1:] in ((), (1.0,)):
                return where, fit.factors[0]
    return None


def by_rows(parts: Parts, split: SplitLoss) -> Iterator[Diagnosis]:
    """One row left out or counted twice, whatever the loss."""
    mismatch = parts.mismatch
    if split.num_steps > _MAX_STEPS:
        return
    if len(split.shape) > 2 or np.prod(split.shape) * mismatch.theta.size > _MAX_CONTRIBUTIONS:
        return
    contributions = _row_contributions(mismatch, split)
    n = contributions.shape[1]
    yield from _first_or_last_row(parts, contributions)
    e, rows = mismatch.error * mismatch.weight, contributions * mismatch.weight[:, None, :]
    top, bottom = np.einsum("mp,mnp->n", e, rows), np.einsum("mnp,mnp->n", rows, rows)
    factors = top / np.where(bottom > 0, bottom, 1)
    left = np.sum(e**2) - top * factors
    for i in np.argsort(left)[:2]:
        c = factors[i]
        if matches(mismatch, mismatch.expected + c * contributions[:, i]):
            how, effort = f"weighted by {1 + c:.6g}", complexity(1, factors=1)
            if abs(abs(c) - 1) < 1e-6:
                how, effort = "counted twice" if c > 0 else "left out", complexity(1)
            evidence = f"hand − reference = {c:.6g} × the part of row {i} of {n}"
            text = f"Row {i} of the data (of {n}) is {how}."
            yield Diagnosis("off-by-one", mismatch.name, text, evidence, effort)


def _row_contributions(mismatch: Mismatch, split: SplitLoss) -> np.ndarray:
    """The part of each row in the derivative, (m, n, P)."""
    theta, *vector = mismatch.call_arguments
    z = [run_compiled(split, _moves_of_logits, v) for v in vector]
    slopes = run_compiled(split, _slopes, theta, run_compiled(split, logits_at, theta), *z)
    columns = np.asarray(run_compiled(split, _columns))
    slopes = np.asarray(slopes).reshape(len(theta), len(columns), -1)
    return np.einsum("mnk,nkp->mnp", slopes, columns)


def _columns(split: SplitLoss) -> jax.Array:
    columns = jax.jacfwd(split.logits)(jnp.zeros(split.size))
    return columns.reshape(split.shape[0], -1, split.size)


def _first_or_last_row(parts: Parts, contributions: np.ndarray) -> Iterator[Diagnosis]:
    """The first or the last row left out, and the mean taken over the others."""
    n = contributions.shape[1]
    for row, word in ((0, "first"), (n - 1, "last")):
        fit = parts.fit(parts.data - contributions[:, row], parts.penalty)
        a = fit.factors[0]
        if n > 1 and fit.exact and fit.factors[1:] in ((), (1.0,)) and a not in (0.0, 1.0):
            text = f"The {word} row of the data is left out, and the factor is {a:.6g}."
            evidence = f"of {n} rows; residual {fit.residual:.0e}"
            follows = abs(a - n / (n - 1)) <= 1e-6 * a
            effort = complexity(1, factors=int(not follows))
            yield Diagnosis("off-by-one", parts.mismatch.name, text, evidence, effort)


def without_intercept(
    parts: Parts, split: SplitLoss, intercepts: np.ndarray, layout: PytreeLayout
) -> Iterator[Diagnosis]:
    """The intercept left out of the logits."""
    if not intercepts.any() or intercepts.all():
        return
    kept = np.where(intercepts, 0.0, parts.mismatch.theta)
    data = _data_term(parts.mismatch, split, split, split, split, linear=kept)
    right = parts.is_right(data, parts.penalty)
    if not right and matches(parts.mismatch, data + parts.penalty):
        where = describe_block(layout, intercepts) or "the intercept"
        text = f"The logits lack {where}: the intercept is left out of them."
        yield Diagnosis("intercept", parts.mismatch.name, text, REPRODUCED)


def outer_products(parts: Parts, split: SplitLoss) -> Iterator[Diagnosis]:
    """Σ (∂ℓᵢ/∂η)² x xᵀ in place of the curvature, whatever the loss."""
    theta, vector = parts.mismatch.call_arguments
    slopes = run_compiled(split, _slopes, theta, run_compiled(split, logits_at, theta))
    r, z = np.asarray(slopes), np.asarray(run_compiled(split, _moves_of_logits, vector))
    products = r * np.sum(r * z, axis=tuple(range(2, r.ndim)), keepdims=True)
    data = split.vjp_to_parameters(products)
    fit = parts.fit(data, parts.penalty)
    if fit.exact and fit.factors[0] != 0:
        text = "Outer products of the scores (the empirical Fisher information) stand in for the observed information."  # noqa: E501
        evidence = f"reproduced up to the factor {fit.factors[0]:.6g}"
        yield Diagnosis("fisher", parts.mismatch.name, text, evidence)
