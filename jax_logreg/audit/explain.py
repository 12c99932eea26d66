"""Holding the catalogue of mistakes against the hand-written numbers."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.anatomy import Cut
from jax_logreg.audit.curvature_mistakes import curvature_mistakes
from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.fitting import Case, Fit, fit_parts, matches
from jax_logreg.audit.layout import Layout
from jax_logreg.audit.logistic import LogisticModel
from jax_logreg.audit.mistakes import Mistake, class_of
from jax_logreg.audit.patterns import Numbers, describe_block
from jax_logreg.audit.penalty import Parts, asked
from jax_logreg.audit.program import run
from jax_logreg.audit.reference import along
from jax_logreg.audit.slope_mistakes import slope_mistakes

# Beyond this many numbers the rows are not tried one by one.
_LARGE = 5_000_000


def by_catalogue(parts: Parts, model: LogisticModel, numbers: Numbers) -> Iterator[Diagnosis]:
    """Every known wrong formula, with the penalty as it should be, or without it."""
    case = parts.case
    catalogue = slope_mistakes if case.vector is None else curvature_mistakes
    all_wrong = np.asarray(run(model, _all_wrong, *asked(case)))
    for mistake, wrong in zip(catalogue(model), all_wrong, strict=True):
        if np.isfinite(wrong).all() and not _same(wrong, parts.data, case):
            yield from _explained(parts, mistake, wrong, numbers)


def _same(wrong: np.ndarray, right: np.ndarray, case: Case) -> bool:
    """Whether a mistake makes no difference on these data."""
    return bool(np.all(np.abs(wrong - right) <= 20 * case.allowed))


def _explained(
    parts: Parts, mistake: Mistake, wrong: np.ndarray, numbers: Numbers
) -> Iterator[Diagnosis]:
    case = parts.case
    if matches(case, wrong + parts.penalty):
        evidence = "with this mistake the numbers are reproduced at every point"
        yield Diagnosis(mistake.kind, case.name, f"{mistake.text}.", evidence, 1.0)
        return
    fit = parts.fit(wrong)
    if not fit.exact or fit.factors[0] == 0:
        return
    yield _with_factors(case, mistake, fit, numbers)


def _with_factors(case: Case, mistake: Mistake, fit: Fit, numbers: Numbers) -> Diagnosis:
    a, kappa = fit.factors[0], (fit.factors[1] if len(fit.factors) > 1 else 1.0)
    also = "" if a == 1 or mistake.any_factor else f", and a factor {numbers.name(a)}"
    if kappa != 1:
        also += (
            ", and the penalty is left out" if kappa == 0 else f", and the penalty × {kappa:.6g}"
        )
    cost = 1.1 if mistake.any_factor else 1.8
    cost += 0.7 if kappa not in (1, a) else 0.0
    evidence = f"with this the numbers are reproduced up to the factor {a:.8g}, residual {fit.residual:.0e}"  # noqa: E501
    return Diagnosis(mistake.kind, case.name, f"{mistake.text}{also}.", evidence, cost)


def _all_wrong(model: LogisticModel, *stacks: jax.Array) -> jax.Array:
    """The wrong data term of every mistake at every point, (mistakes, m, P)."""
    pull = jax.vjp(model.logits, jnp.zeros(model.size))[1]
    catalogue = slope_mistakes if len(stacks) == 1 else curvature_mistakes

    def one(theta: jax.Array, *vector: jax.Array) -> jax.Array:
        arguments = [model.logits(theta)]
        arguments += [jax.jvp(model.logits, (theta,), vector)[1]] if vector else []
        rows = jnp.stack([mistake.rows(*arguments) for mistake in catalogue(model)])
        return jax.vmap(lambda r: pull(r)[0])(rows)

    return jnp.moveaxis(jax.lax.map(lambda row: one(*row), stacks), 0, 1)


def rows_miscounted(parts: Parts, cut: Cut) -> Iterator[Diagnosis]:
    """One row left out or counted twice, whatever the loss."""
    case = parts.case
    if len(cut.shape) > 2 or np.prod(cut.shape) * cut.size * len(case.theta) > _LARGE:
        return
    contributions = np.asarray(run(cut, _row_contributions, *asked(case)))
    n = contributions.shape[1]
    yield from _row_dropped(parts, contributions)
    weight = 1 / np.where(case.allowed > 0, case.allowed, np.inf)
    e = case.error * weight
    rows = contributions * weight[:, None, :]
    top = np.einsum("mp,mnp->n", e, rows)
    bottom = np.einsum("mnp,mnp->n", rows, rows)
    factors = top / np.where(bottom > 0, bottom, 1)
    left = np.sum(e**2) - top * factors
    for i in np.argsort(left)[:2]:
        if matches(case, case.expected + factors[i] * contributions[:, i]):
            c = factors[i]
            how = (
                "left out"
                if abs(c + 1) < 1e-6
                else "counted twice"
                if abs(c - 1) < 1e-6
                else f"weighted by {1 + c:.6g}"
            )
            evidence = f"hand − reference = {c:.6g} × the part of row {i} of {n}"
            text = f"Row {i} of the data (of {n}) is {how}."
            yield Diagnosis("off-by-one", case.name, text, evidence, 1.2)


def _row_dropped(parts: Parts, contributions: np.ndarray) -> Iterator[Diagnosis]:
    """The first or the last row left out, and the mean taken over the others."""
    case, n = parts.case, contributions.shape[1]
    for row, word in ((0, "first"), (n - 1, "last")):
        fit = parts.fit(parts.data - contributions[:, row])
        penalised = fit.factors[1:] in ((), (1.0,))
        if n > 1 and fit.exact and penalised and fit.factors[0] not in (0.0, 1.0):
            text = (
                f"The {word} row of the data is left out, and the factor is {fit.factors[0]:.6g}."
            )
            evidence = f"of {n} rows; residual {fit.residual:.0e}"
            yield Diagnosis("off-by-one", case.name, text, evidence, 1.2)


def _row_contributions(cut: Cut, *stacks: jax.Array) -> jax.Array:
    """What each row gives to the derivative, (m, n, P)."""
    columns = jax.jacobian(cut.logits)(jnp.zeros(cut.size))
    columns = columns.reshape(cut.shape[0], -1, cut.size)

    def one(theta: jax.Array, *vector: jax.Array) -> jax.Array:
        given = _rows(cut, theta, cut.logits(theta), *vector)
        return jnp.einsum("nk,nkp->np", given.reshape(len(columns), -1), columns)

    return jax.vmap(one)(*stacks)


def rows_of(cut: Cut, thetas: jax.Array, etas: jax.Array, *moves: jax.Array) -> jax.Array:
    """∂ loss / ∂η at every point's logits, or its change along moves of them."""
    return jax.vmap(lambda *row: _rows_moved(cut, *row))(thetas, etas, *moves)


def _rows(cut: Cut, theta: jax.Array, eta: jax.Array, *vector: jax.Array) -> jax.Array:
    """∂ loss / ∂η at the given logits, or its change along a vector of parameters."""
    moves = [jax.jvp(cut.logits, (theta,), (v,))[1] for v in vector]
    return _rows_moved(cut, theta, eta, *moves)


def _rows_moved(cut: Cut, theta: jax.Array, eta: jax.Array, *move: jax.Array) -> jax.Array:
    if not move:
        return cut.slope(theta, eta)
    return along(lambda e: cut.slope(theta, e), eta, *move)


def class_blocks(case: Case, model: LogisticModel) -> Iterator[Diagnosis]:
    """The blocks between classes of a softmax Hessian, scaled or dropped."""
    which = class_of(model)
    if case.name != "hessian" or not model.softmax or (which < 0).any():
        return
    same = which[:, None] == which[None, :]
    parts = [np.where(same, case.expected, 0.0), np.where(same, 0.0, case.expected)]
    fit = fit_parts(case, parts)
    a, b = fit.factors
    if fit.exact and a == 1 and b != 1:
        how = "dropped" if b == 0 else "of the wrong sign" if b == -1 else f"off by {b:.6g}"
        evidence = f"blocks of one class × {a:g}, between classes × {b:.6g}"
        text = f"The blocks between classes are {how}."
        yield Diagnosis("cross-class", case.name, text, evidence, 0.95)


def intercept_mistakes(
    parts: Parts, cut: Cut, on_intercept: np.ndarray, layout: Layout
) -> Iterator[Diagnosis]:
    """The intercept left out of the logits."""
    case = parts.case
    if not on_intercept.any() or on_intercept.all():
        return
    kept = np.where(on_intercept, 0.0, 1.0)
    data = np.asarray(run(cut, _data_terms_keeping, kept, *asked(case)))
    if not _same(data, parts.data, case) and matches(case, data + parts.penalty):
        where = describe_block(layout, on_intercept) or "the intercept"
        text = f"The logits lack {where}: the intercept is left out of them."
        evidence = "with this mistake the numbers are reproduced at every point"
        yield Diagnosis("intercept", case.name, text, evidence, 1.0)


def _data_terms_keeping(cut: Cut, kept: jax.Array, *stacks: jax.Array) -> jax.Array:
    """What comes through the logits, were these computed from some parameters only."""
    pull = jax.vjp(cut.logits, jnp.zeros(cut.size))[1]

    def one(theta: jax.Array, *vector: jax.Array) -> jax.Array:
        return pull(_rows(cut, theta, cut.logits(kept * theta), *vector))[0]

    return jax.vmap(one)(*stacks)


def outer_products(parts: Parts, cut: Cut) -> Iterator[Diagnosis]:
    """Σ (∂ℓᵢ/∂η)² x xᵀ in place of the curvature, whatever the loss."""
    products = np.asarray(run(cut, _score_products, *asked(parts.case)))
    fit = parts.fit(products)
    if fit.exact and products.any():
        text = "Outer products of the scores (the empirical Fisher information) stand in for the observed information."  # noqa: E501
        evidence = f"reproduced up to the factor {fit.factors[0]:.6g}"
        yield Diagnosis("fisher", parts.case.name, text, evidence, 1.1)


def _score_products(cut: Cut, *stacks: jax.Array) -> jax.Array:
    pull = jax.vjp(cut.logits, jnp.zeros(cut.size))[1]

    def one(theta: jax.Array, vector: jax.Array) -> jax.Array:
        r = cut.slope(theta, cut.logits(theta))
        z = jax.jvp(cut.logits, (theta,), (vector,))[1]
        axes = tuple(range(1, r.ndim))
        return pull(r * jnp.sum(r * z, axis=axes, keepdims=True))[0]

    return jax.vmap(one)(*stacks)
